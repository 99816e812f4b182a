//! The TLS handshake and the certificate of the server, verified as the connection verifies it.

use std::{fs, sync::Arc, time::SystemTime};

use temporal_dsql::dsql::{Config, TlsMode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
        SignatureScheme,
        client::{
            WebPkiServerVerifier,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{self, CryptoProvider},
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    },
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{NETWORK_LIMIT, check::Check, within};

pub(super) const TLS: &str = "tls";

/// The message that asks a server of PostgreSQL's protocol for TLS.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Asks for TLS, as `mode` wants it. Returns whether a connection would be made.
pub(super) async fn examine(
    config: &Config,
    mode: TlsMode,
    mut stream: TcpStream,
) -> (Check, Option<()>) {
    if mode == TlsMode::Disable {
        return (Check::ok(TLS, "none, because the TLS mode is disable"), Some(()));
    }
    let asked = async {
        stream.write_all(&TLS_REQUEST).await?;
        stream.read_u8().await
    };
    match within(NETWORK_LIMIT, asked).await {
        Ok(b'S') => {}
        Ok(b'N') if mode == TlsMode::Prefer => {
            let detail = "the server offers none; the connection is plain text, which the TLS mode \
                          prefer permits";
            return (Check::ok(TLS, detail), Some(()));
        }
        Ok(b'N') => {
            let advice = "turn on TLS at the server, or give a weaker --tls-mode for a PostgreSQL \
                          server";
            return (Check::failed(TLS, "the server offers no TLS", advice), None);
        }
        Ok(_) => return no_server("the server does not speak PostgreSQL's protocol"),
        Err(reason) => return no_server(&format!("the server does not answer: {reason}")),
    }
    match handshake(config, mode, stream).await {
        Ok(check) => (check, Some(())),
        Err(check) => (check, None),
    }
}

fn no_server(detail: &str) -> (Check, Option<()>) {
    let advice = "check that the host and the port are those of the database, and that no proxy is \
                  between";
    (Check::failed(TLS, detail, advice), None)
}

async fn handshake(config: &Config, mode: TlsMode, stream: TcpStream) -> Result<Check, Check> {
    let provider = Arc::new(crypto::ring::default_provider());
    let name = ServerName::try_from(config.host.clone()).map_err(|error| {
        Check::failed(TLS, format!("`{}`: {error}", config.host), "give a host name or an address")
    })?;
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider.clone())))
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    let handshake = within(NETWORK_LIMIT, connector.connect(name.clone(), stream)).await;
    let stream = handshake.map_err(|reason| {
        let advice = "the server must offer TLS 1.2 or 1.3; check what is between";
        Check::failed(TLS, format!("the handshake fails: {reason}"), advice)
    })?;
    let connection = stream.get_ref().1;
    let version = connection
        .protocol_version()
        .map_or_else(String::new, |version| format!("{version:?}").replace("TLSv1_", "TLS 1."));
    let chain = connection.peer_certificates().unwrap_or_default();
    let shown = describe(chain);
    let trust = match mode {
        TlsMode::VerifyFull => trusted_by(config, &name, chain, &provider)
            .map_err(|untrusted| with_values(untrusted.into_check(&shown), &version, &shown))?,
        TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => {
            "not verified, because the TLS mode is not verify-full".to_owned()
        }
    };
    let check = Check::ok(TLS, format!("{version}; {}; {trust}", shown.text));
    Ok(with_values(check, &version, &shown))
}

fn with_values(check: Check, version: &str, shown: &Shown) -> Check {
    let check = check.with("version", version).with("certificate", shown.text.as_str());
    match shown.expires {
        Some(expires) => check.with("expires", expires),
        None => check,
    }
}

fn unusable(error: &rustls::Error) -> Check {
    Check::failed(TLS, error, "report it: this build of the tool has no usable TLS")
}

/// The certificate of the server and its chain, for display.
struct Shown {
    text: String,
    /// The end of the certificate, in seconds since 1970.
    expires: Option<i64>,
}

fn describe(chain: &[CertificateDer<'_>]) -> Shown {
    let parsed = |der| X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate);
    let certificate = chain.first().and_then(|der| parsed(der));
    let Some(certificate) = certificate else {
        return Shown { text: "a certificate that cannot be read".to_owned(), expires: None };
    };
    let end = certificate.validity().not_after;
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_secs());
    let left = i64::try_from(now).map_or(0, |now| end.timestamp() - now);
    let left = match u64::try_from(left) {
        Ok(left) => format!("in {} days", left / 86_400),
        Err(_) => "in the past".to_owned(),
    };
    // The last certificate of the chain names the authority that a client must trust.
    let authority = chain.last().and_then(|der| parsed(der));
    let authority = authority.map_or_else(String::new, |last| last.issuer().to_string());
    let text = format!(
        "certificate of {}, issued by {}, ends {} ({left}); chain of {} up to {authority}",
        certificate.subject(),
        certificate.issuer(),
        end.to_datetime().date(),
        chain.len(),
    );
    Shown { text, expires: Some(end.timestamp()) }
}

/// Why a certificate is not trusted.
enum Untrusted {
    /// The file of the authority cannot be used.
    File(String),
    Certificate(rustls::Error),
}

impl Untrusted {
    fn into_check(self, shown: &Shown) -> Check {
        let error = match self {
            Self::File(reason) => {
                let advice = "give a PEM file of a certificate authority with --tls-ca-file or \
                              SQL_TLS_CA_FILE";
                return Check::failed(TLS, reason, advice);
            }
            Self::Certificate(error) => error,
        };
        let advice = match &error {
            // An authority with the name of the issuer and another key: one that was made again.
            rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => {
                "give the certificate authority of the server with --tls-ca-file or \
                 SQL_TLS_CA_FILE; the public ones are built in"
            }
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => "connect by a host name that is in the certificate",
            rustls::Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) => "renew the certificate of the server, or set the clock of this machine",
            _ => "the server needs another certificate; check what is between",
        };
        Check::failed(TLS, format!("{error}; {}", shown.text), advice)
    }
}

/// The authorities that trust `chain` for `name`: those of the CA file or the public ones, which are
/// the ones that the driver trusts.
fn trusted_by(
    config: &Config,
    name: &ServerName<'_>,
    chain: &[CertificateDer<'_>],
    provider: &Arc<CryptoProvider>,
) -> Result<String, Untrusted> {
    let no_certificate = rustls::Error::NoCertificatesPresented;
    let (certificate, intermediates) =
        chain.split_first().ok_or(Untrusted::Certificate(no_certificate))?;
    let verify = |roots: RootCertStore| {
        let roots = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let verifier = roots.build().map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(certificate, intermediates, name, &[], UnixTime::now())
    };
    let public = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
    if let Some(file) = &config.tls.ca_file {
        let unusable = |reason: &dyn std::fmt::Display| {
            Untrusted::File(format!("the CA file {}: {reason}", file.display()))
        };
        let pem = fs::read(file).map_err(|error| unusable(&error))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| unusable(&error))?;
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
        if roots.is_empty() {
            return Err(unusable(&"has no certificate"));
        }
        match verify(roots) {
            Ok(_) => return Ok(format!("trusted by the CA file {}", file.display())),
            // The authority is the right one, and something else is wrong.
            Err(error) if error != unknown => return Err(Untrusted::Certificate(error)),
            Err(_) => {}
        }
    }
    match verify(public) {
        Ok(_) => Ok("trusted by a public authority".to_owned()),
        Err(error) => Err(Untrusted::Certificate(error)),
    }
}

/// Accepts every certificate, so that one that is not trusted can be shown. Nothing is sent over the
/// connection.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

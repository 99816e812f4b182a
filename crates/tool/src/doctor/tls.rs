//! The TLS handshake and the certificate of the server, verified as the connection verifies it.

use std::{fmt, net::IpAddr, sync::Arc, time::SystemTime};

use temporal_dsql::{
    Engine,
    dsql::{Config, TlsMode},
    migrate::Advice,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
        client::{
            WebPkiServerVerifier,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{self, CryptoProvider},
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    },
};
use x509_cert::{Certificate, der::Decode};

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
            return (Check::failed(TLS, "the server offers no TLS", Advice::NoTls), None);
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
    (Check::failed(TLS, detail, Advice::OtherProtocol), None)
}

async fn handshake(config: &Config, mode: TlsMode, stream: TcpStream) -> Result<Check, Check> {
    let provider = Arc::new(crypto::ring::default_provider());
    let name = ServerName::try_from(config.host.clone()).map_err(|error| {
        Check::failed(TLS, format!("`{}`: {error}", config.host), Advice::NoAddress)
    })?;
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Check::failed(TLS, error, Advice::TlsHandshakeFailed))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider.clone())))
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    let handshake = within(NETWORK_LIMIT, connector.connect(name.clone(), stream)).await;
    let stream = handshake.map_err(|reason| {
        let advice = by_address(config).unwrap_or(Advice::TlsHandshakeFailed);
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
            .map_err(|error| with_values(untrusted(config, &error, &shown), &version, &shown))?,
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

/// The failure of a certificate that is not trusted.
fn untrusted(config: &Config, error: &rustls::Error, shown: &Shown) -> Check {
    let error = error.to_string();
    let advice = by_address(config).unwrap_or_else(|| Advice::on_tls_error(&error));
    Check::failed(TLS, format!("{error}; {}", shown.text), advice)
}

/// The advice about a cluster whose endpoint is an address: no certificate is for one, and a handshake
/// with one has no name of the server (aurora-dsql.md#connections).
fn by_address(config: &Config) -> Option<Advice> {
    let is_cluster = config.resolve().is_ok_and(|target| target.engine == Engine::Dsql);
    let is_address = config.host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    (is_cluster && is_address).then_some(Advice::NoServerName)
}

/// The certificate of the server and its chain, for display.
struct Shown {
    text: String,
    /// The end of the certificate, in seconds since 1970.
    expires: Option<u64>,
}

fn describe(chain: &[CertificateDer<'_>]) -> Shown {
    let parsed = |der: &CertificateDer<'_>| Certificate::from_der(der).ok();
    let Some(certificate) = chain.first().and_then(parsed) else {
        return Shown { text: "a certificate that cannot be read".to_owned(), expires: None };
    };
    let certificate = certificate.tbs_certificate();
    let end = certificate.validity().not_after;
    let expires = end.to_unix_duration().as_secs();
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_secs());
    let left = match expires.checked_sub(now) {
        Some(left) => format!("in {} days", left / 86_400),
        None => "in the past".to_owned(),
    };
    // The last certificate of the chain names the authority that a client must trust.
    let authority = chain.last().and_then(parsed);
    let authority = authority.map(|last| last.tbs_certificate().issuer().to_string());
    let date = end.to_date_time();
    let text = format!(
        "certificate of {}, issued by {}, ends {}-{:02}-{:02} ({left}); chain of {} up to {}",
        certificate.subject(),
        certificate.issuer(),
        date.year(),
        date.month(),
        date.day(),
        chain.len(),
        authority.unwrap_or_default(),
    );
    Shown { text, expires: Some(expires) }
}

/// The authorities that trust `chain` for `name`: those of the CA file or the public ones, which are
/// the ones that the driver trusts. The connector has checked the file.
fn trusted_by(
    config: &Config,
    name: &ServerName<'_>,
    chain: &[CertificateDer<'_>],
    provider: &Arc<CryptoProvider>,
) -> Result<String, rustls::Error> {
    let general = |error: &dyn fmt::Display| rustls::Error::General(error.to_string());
    let (certificate, intermediates) =
        chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let verify = |roots: RootCertStore| {
        let roots = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let verifier = roots.build().map_err(|error| general(&error))?;
        verifier.verify_server_cert(certificate, intermediates, name, &[], UnixTime::now())
    };
    let public = verify(roots.clone());
    let Some(file) = config.tls.ca_file.as_deref().filter(|_| public.is_err()) else {
        return public.map(|_| "trusted by a public authority".to_owned());
    };
    let unusable =
        |error: &dyn fmt::Display| general(&format!("the CA file cannot be used: {error}"));
    for authority in CertificateDer::pem_file_iter(file).map_err(|error| unusable(&error))? {
        let authority = authority.map_err(|error| unusable(&error))?;
        roots.add(authority).map_err(|error| unusable(&error))?;
    }
    verify(roots).map(|_| format!("trusted by the CA file {}", file.display()))
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

//! The certificate authority and certificate of one emulator.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig, crypto,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// The TLS acceptor, and the certificate authority that clients must trust.
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) ca_pem: String,
}

/// Why a certificate could not be created or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate could not be created.
    #[error("making a certificate")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library does not accept the certificate.
    #[error("using the certificate")]
    Configuration(#[from] tokio_rustls::rustls::Error),
}

impl Tls {
    /// Creates a certificate authority, and a certificate for `hosts` and the loopback address.
    pub(crate) fn new(hosts: &[String]) -> Result<Self, TlsError> {
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca.distinguished_name.push(DnType::CommonName, "dsql-emulator CA");
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;

        let mut names = hosts.to_vec();
        names.push("127.0.0.1".into());
        let mut server = CertificateParams::new(names)?;
        let name = hosts.first().map_or("localhost", String::as_str);
        server.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &ca)?;

        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        // Clients with sslnegotiation=direct require this ALPN protocol.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Self { acceptor: Arc::new(config).into(), ca_pem: ca.pem() })
    }
}

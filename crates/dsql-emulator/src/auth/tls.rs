//! The certificate of one emulator, and the handshake.

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

/// A way to TLS, and the certificate authority that clients have to trust.
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) ca_pem: String,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be made.
    #[error("making a certificate")]
    Certificate(#[from] rcgen::Error),
    /// It cannot be used.
    #[error("using the certificate")]
    Configuration(#[from] tokio_rustls::rustls::Error),
}

impl Tls {
    /// A certificate authority, and a certificate of it for `hosts` and the loopback address.
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
        // Clients that begin with TLS at once (sslnegotiation=direct) have to name the protocol.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Self { acceptor: Arc::new(config).into(), ca_pem: ca.pem() })
    }
}

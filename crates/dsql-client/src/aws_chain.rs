//! The standard chain of AWS credentials: variables, profiles, SSO, containers and instances.

use aws_config::{
    Region, default_provider::credentials::DefaultCredentialsChain, provider_config::ProviderConfig,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};

/// The standard chain of AWS credentials for services in `region`. Nothing is read until the first
/// token is signed.
///
/// Its HTTP client uses the crypto provider of the database connection, so that a binary has one.
pub async fn aws_credentials(region: impl Into<String>) -> SharedCredentialsProvider {
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let provider = ProviderConfig::without_region()
        .with_http_client(http)
        .with_region(Some(Region::new(region.into())));
    let chain = DefaultCredentialsChain::builder().configure(provider).build().await;
    SharedCredentialsProvider::new(chain)
}

//! Opens the database that flags and environment variables name.

use aws_credential_types::provider::SharedCredentialsProvider;
use temporal_dsql::{
    Engine,
    dsql::{Auth, Config, Connector, Overrides, Target, TlsMode},
    migrate::{PostgresDatabase, Timeouts},
};

use crate::{
    cli::{Connection, EngineChoice, TlsChoice},
    exit::Failure,
};

/// The configuration that the flags and variables name, and what follows from it.
pub(crate) fn configure(flags: &Connection) -> Result<(Config, Target), Failure> {
    let mut config = Config::from_env_with(overrides(flags))?;
    config.application_name = "temporal-dsql-tool".into();
    let mode = config.tls.mode.take();
    let target = config.resolve()?;
    if target.engine == Engine::Dsql && mode.is_some_and(|mode| mode != TlsMode::VerifyFull) {
        return Err(Failure::usage(
            "Aurora DSQL is reached over TLS that is verified in full; leave --tls-mode and \
             SQL_TLS_MODE out, or set verify-full (--tls-ca-file adds a private authority)",
        ));
    }
    config.tls.mode = mode;
    let target = config.resolve()?;
    Ok((config, target))
}

/// Opens the database that the flags and variables name.
pub(crate) async fn open(
    flags: &Connection,
    timeouts: &Timeouts,
) -> Result<PostgresDatabase, Failure> {
    let (config, target) = configure(flags)?;
    let (engine, credentials) = match target.auth {
        // A server that authenticates by IAM tokens is DSQL, so the engine is not detected.
        Auth::Iam { region } => (Some(Engine::Dsql), Some(credentials(region).await)),
        Auth::Password(_) | Auth::Trust => (config.engine, None),
    };
    let connector = Connector::new(&config, credentials)?;
    PostgresDatabase::connect(connector, engine, &timeouts.retry)
        .await
        .map_err(|error| anyhow::Error::from(error).into())
}

/// The flags that are given.
fn overrides(flags: &Connection) -> Overrides {
    Overrides {
        host: flags.endpoint.clone(),
        port: flags.port,
        user: flags.user.clone(),
        database: flags.database.clone(),
        engine: flags.engine.map(|choice| match choice {
            EngineChoice::Auto => None,
            EngineChoice::Dsql => Some(Engine::Dsql),
            EngineChoice::Postgres => Some(Engine::Postgres),
        }),
        region: flags.region.clone(),
        tls_mode: flags.tls_mode.map(|choice| match choice {
            TlsChoice::Disable => TlsMode::Disable,
            TlsChoice::Prefer => TlsMode::Prefer,
            TlsChoice::Require => TlsMode::Require,
            TlsChoice::VerifyFull => TlsMode::VerifyFull,
        }),
        tls_ca_file: flags.tls_ca_file.clone(),
    }
}

/// The standard chain: variables, profiles, SSO, containers and instances. Its HTTP client uses
/// the crypto provider of the database connection, so that there is one in the binary.
pub(crate) async fn credentials(region: String) -> SharedCredentialsProvider {
    use aws_smithy_http_client::{Builder, tls};
    let http = Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https();
    let chain = aws_config::default_provider::credentials::DefaultCredentialsChain::builder()
        .configure(
            aws_config::provider_config::ProviderConfig::without_region()
                .with_http_client(http)
                .with_region(Some(aws_config::Region::new(region))),
        )
        .build()
        .await;
    SharedCredentialsProvider::new(chain)
}

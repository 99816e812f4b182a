//! From flags and variables to a connection.

use aws_credential_types::provider::SharedCredentialsProvider;
use temporal_dsql::{
    Engine,
    dsql::{Auth, Config, Connector, TlsMode},
    migrate::{PostgresDatabase, SchemaConnector, Timeouts},
};

use crate::{
    cli::{Connection, EngineChoice, TlsChoice},
    exit::Failure,
};

/// Opens the database that the flags and variables name.
pub(crate) async fn open(
    flags: &Connection,
    timeouts: &Timeouts,
) -> Result<PostgresDatabase, Failure> {
    let mut config = Config::from_env_and(|name| value(flags, name))?;
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
    let (engine, credentials) = match target.auth {
        // Whoever takes tokens is DSQL, and need not be asked.
        Auth::Iam { region } => (Some(Engine::Dsql), Some(credentials(region).await)),
        Auth::Password(_) | Auth::Trust => (config.engine, None),
    };
    let connector = SchemaConnector::new(&config, Connector::new(&config, credentials)?);
    PostgresDatabase::connect(Box::new(connector), engine, &timeouts.retry)
        .await
        .map_err(|error| anyhow::Error::from(error).into())
}

/// The value of the flag that goes before a variable, if it is given.
fn value(flags: &Connection, name: &str) -> Option<String> {
    match name {
        "CLUSTER_ENDPOINT" => flags.endpoint.clone(),
        "SQL_PORT" => flags.port.map(|port| port.to_string()),
        "SQL_USER" => flags.user.clone(),
        "SQL_DATABASE" => flags.database.clone(),
        "REGION" => flags.region.clone(),
        "DSQL_ENGINE" => flags.engine.map(|engine| {
            let engine = match engine {
                EngineChoice::Auto => return "auto".to_owned(),
                EngineChoice::Dsql => Engine::Dsql,
                EngineChoice::Postgres => Engine::Postgres,
            };
            engine.to_string()
        }),
        "SQL_TLS_CA_FILE" => {
            flags.tls_ca_file.as_ref().map(|file| file.to_string_lossy().into_owned())
        }
        "SQL_TLS_MODE" => flags.tls_mode.map(|mode| {
            match mode {
                TlsChoice::Disable => "disable",
                TlsChoice::Prefer => "prefer",
                TlsChoice::Require => "require",
                TlsChoice::VerifyFull => "verify-full",
            }
            .to_owned()
        }),
        _ => None,
    }
}

/// The standard chain: variables, profiles, SSO, containers and instances. Its HTTP client uses
/// the crypto provider of the database connection, so that there is one in the binary.
async fn credentials(region: String) -> SharedCredentialsProvider {
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

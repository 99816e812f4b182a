//! Lets a migration connect as a store does: the one place that knows both.

use async_trait::async_trait;
use temporal_dsql_migrate::{Connect, ConnectError, Target};
use temporal_dsql_store::{Config, Connector, PgConnection, Refusal};

/// Opens a migration's connections from the configuration of a store: the same token, password
/// and transport.
pub struct SchemaConnector {
    connector: Connector,
    target: Target,
}

impl SchemaConnector {
    /// Opens connections with `connector`, which was made from `config`.
    pub fn new(config: &Config, connector: Connector) -> Self {
        let target = Target {
            host: config.host.clone(),
            port: config.port,
            user: config.user.clone(),
            database: config.database.clone(),
        };
        Self { connector, target }
    }
}

#[async_trait]
impl Connect for SchemaConnector {
    async fn connect(&self) -> Result<PgConnection, ConnectError> {
        self.connector.try_connect().await.map_err(|refusal| match refusal {
            Refusal::Token(error) => ConnectError::Credentials(error.into()),
            Refusal::Driver(error) => ConnectError::Driver(error),
        })
    }

    fn target(&self) -> Target {
        self.target.clone()
    }
}

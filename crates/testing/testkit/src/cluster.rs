//! Scratch clusters: one DSQL emulator per test.

use std::ops::Deref;

use crate::{
    database::{self, Admin},
    gate,
};
use dsql_emulator::{CatalogConflicts, DsqlEmulator, DsqlEmulatorBuilder, StartError};

/// A DSQL emulator with an empty database, which are dropped with this value.
///
/// Every session gets `OC001` after every catalog change of another session: with this strict
/// setting, a client that does not retry a statement fails in every run.
#[derive(Debug)]
pub struct ScratchCluster(DsqlEmulator);

impl ScratchCluster {
    /// A cluster on the server of `TEST_POSTGRES_URL`, or `None` if the test is skipped without one
    /// (see [`gate`]).
    ///
    /// ```
    /// # async fn test() {
    /// use temporal_dsql_testkit::ScratchCluster;
    ///
    /// let Some(cluster) = ScratchCluster::create(|builder| builder.seed(7)).await else { return };
    /// println!("connect to {}:{}", cluster.host(), cluster.port());
    /// # }
    /// ```
    ///
    /// # Panics
    /// In CI, if there is no server; if the emulator does not start.
    pub async fn create(
        configure: impl FnOnce(DsqlEmulatorBuilder) -> DsqlEmulatorBuilder,
    ) -> Option<Self> {
        let server = gate::server_url()?;
        match Self::create_on(&server, configure).await {
            Ok(cluster) => Some(cluster),
            Err(error) => panic!("no emulator on the server of TEST_POSTGRES_URL: {error}"),
        }
    }

    /// A cluster on the server at `url`.
    ///
    /// # Errors
    /// The emulator does not start.
    pub async fn create_on(
        url: &str,
        configure: impl FnOnce(DsqlEmulatorBuilder) -> DsqlEmulatorBuilder,
    ) -> Result<Self, StartError> {
        let builder =
            DsqlEmulator::builder().postgres_url(url).catalog_conflicts(CatalogConflicts::Always);
        Ok(Self(configure(builder).start().await?))
    }

    /// Runs `sql` as `admin` on a new connection and returns its rows, with columns as PostgreSQL
    /// prints them.
    ///
    /// # Errors
    /// The first statement that fails.
    pub async fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
        database::query(&self.url(), sql).await
    }

    /// A connection as `admin` for many small statements: opening one with TLS takes longer than
    /// most.
    pub fn admin(&self) -> Admin {
        Admin::new(self.url())
    }
}

impl Deref for ScratchCluster {
    type Target = DsqlEmulator;

    fn deref(&self) -> &DsqlEmulator {
        &self.0
    }
}

//! One stand-in for a DSQL cluster per test.

use std::ops::Deref;

use dsql_emulator::{CatalogConflicts, DsqlEmulator, DsqlEmulatorBuilder, StartError};
use sqlx::PgConnection;

use crate::{database, gate};

/// A stand-in for a DSQL cluster with an empty database of its own, gone with this value.
///
/// Every session hears of every change of the catalog that another session makes, by `OC001`: the
/// strict setting, under which a client that does not repeat a statement fails in every run.
#[derive(Debug)]
pub struct ScratchCluster(DsqlEmulator);

impl ScratchCluster {
    /// A cluster on the server of `TEST_POSTGRES_URL`, or `None` if the test is to be skipped for
    /// want of one (see [`gate`]).
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
    /// There is no server and this is CI, or the emulator does not start.
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

    /// Runs `sql` as `admin` on a connection of its own; rows of columns, as PostgreSQL prints
    /// them.
    ///
    /// # Errors
    /// The first statement that fails.
    pub async fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
        database::query(&self.url(), sql).await
    }

    /// A connection as `admin` for many small questions: TLS takes longer than most of them.
    pub fn admin(&self) -> Admin {
        Admin { url: self.url(), connection: None }
    }
}

/// A connection that is made when it is needed, and again when it broke.
#[derive(Debug)]
pub struct Admin {
    url: String,
    connection: Option<PgConnection>,
}

impl Admin {
    /// Runs `sql`, twice if the first connection fails, so that doing it again must do no harm; rows
    /// of columns, as PostgreSQL prints them.
    ///
    /// # Errors
    /// The statement fails on a new connection too.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
        // What is open may have been closed, or have missed a change of the catalog.
        if let Some(connection) = &mut self.connection
            && let Ok(rows) = database::query_on(connection, sql).await
        {
            return Ok(rows);
        }
        let connection = self.connection.insert(database::connect(&self.url).await?);
        database::query_on(connection, sql).await
    }
}

impl Deref for ScratchCluster {
    type Target = DsqlEmulator;

    fn deref(&self) -> &DsqlEmulator {
        &self.0
    }
}

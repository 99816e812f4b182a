//! The DSQL emulator that is measured on, over TLS and with IAM tokens.

use std::{iter, time::Duration};

use anyhow::{Context as _, Result};
use dsql_emulator::{DsqlEmulator, DsqlEmulatorBuilder, JobDelays, Latency};
use temporal_dsql::{
    dsql::{Config, DsqlStore, connect, emulator_credentials},
    migrate::Setup,
};
use temporal_dsql_testkit::{ScratchCluster, postgres::Server};

use crate::database::migrate;

/// A round trip within a region, and a commit (aurora-dsql.md#latency).
pub const LATENCY: Latency =
    Latency { round_trip: Duration::from_millis(4), commit: Duration::from_millis(20) };

/// A cluster with the newest schema.
pub struct Cluster(ScratchCluster);

impl Cluster {
    /// A cluster on `server`.
    ///
    /// # Errors
    /// The emulator does not start, or refuses the schema.
    pub async fn create(
        server: &Server,
        configure: impl FnOnce(DsqlEmulatorBuilder) -> DsqlEmulatorBuilder,
    ) -> Result<Self> {
        let moment = Duration::from_millis(1);
        let jobs = JobDelays { start: moment, work: moment, ..JobDelays::default() };
        let configure = |builder: DsqlEmulatorBuilder| configure(builder.job_delays(jobs));
        let emulator = ScratchCluster::create_on(&server.url(), configure).await;
        let emulator = emulator.context("starting the emulator")?;
        let cluster = Self(emulator);
        let (config, setup) = (cluster.config(1), Setup::default());
        let plan = async |migrator: &mut temporal_dsql::migrate::Migrator<'_>| {
            migrator.plan_setup(&setup).await
        };
        migrate(&config, Some(emulator_credentials(&cluster.0)), plan).await?;
        Ok(cluster)
    }

    /// The host, the port, the region, the credentials and the file of the CA, for programs that are
    /// given them by environment variables.
    pub fn place(&self) -> &DsqlEmulator {
        &self.0
    }

    /// The rows of a query, as PostgreSQL prints them.
    ///
    /// # Errors
    /// The query fails.
    pub async fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        Ok(self.0.query(sql).await?)
    }

    /// Adds latency to round trips and commits.
    pub fn set_latency(&self, latency: Latency) {
        self.0.faults().set_latency(latency);
    }

    /// Makes the next `commits` commits countable: [`uncounted_commits`](Self::uncounted_commits)
    /// decreases by one with each commit that has the latency of a commit.
    pub fn count_commits(&self, commits: usize) {
        self.0.faults().script(iter::repeat_n(None, commits));
    }

    /// The number of countable commits that have not happened.
    pub fn uncounted_commits(&self) -> usize {
        self.0.faults().undecided()
    }

    /// The configuration of a store of `connections` connections, with no effective limit on the
    /// rate of connecting.
    pub fn config(&self, connections: u32) -> Config {
        let mut config = Config::from_emulator(&self.0);
        config.pool.max_connections = connections;
        config.pool.min_connections = 0;
        config.pool.connection_rate = 10_000;
        config.pool.connection_burst = 10_000;
        config
    }

    /// A store on the cluster.
    ///
    /// # Errors
    /// The store cannot connect.
    pub async fn open(&self, config: &Config) -> Result<DsqlStore> {
        Ok(connect(config, Some(emulator_credentials(&self.0))).await?)
    }
}

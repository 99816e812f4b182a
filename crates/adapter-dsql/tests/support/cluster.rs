//! DSQL emulators with the newest schema, and stores on them over TLS with IAM tokens.

use std::time::Duration;

use dsql_emulator::{DsqlEmulatorBuilder, JobDelays};
pub use temporal_dsql_client::emulator_credentials as credentials;
use temporal_dsql_migrate::Timeouts;
use temporal_dsql_ports::RetryPolicy;
use temporal_dsql_store::{Config, DsqlStore, connect};
use temporal_dsql_testkit::ScratchCluster;

use super::{LONG_RETRIES, WAIT_LIMIT, set_up_at};

/// A cluster with the newest schema, or `None` if there is no server to make one on.
pub async fn cluster(
    configure: impl FnOnce(DsqlEmulatorBuilder) -> DsqlEmulatorBuilder,
) -> Option<ScratchCluster> {
    let moment = Duration::from_millis(5);
    let jobs = JobDelays { start: moment, work: moment, ..JobDelays::default() };
    let cluster = ScratchCluster::create(|builder| configure(builder.job_delays(jobs))).await?;
    let mut timeouts = Timeouts::default();
    timeouts.poll = moment;
    set_up_at(&cluster.url(), timeouts).await;
    Some(cluster)
}

/// A configuration for `cluster`, without an effective limit on the rate of connecting.
pub fn config(cluster: &ScratchCluster) -> Config {
    let mut config = Config::from_emulator(cluster);
    config.connect_timeout = WAIT_LIMIT;
    config.retry = LONG_RETRIES;
    config.pool.max_connections = 20;
    config.pool.min_connections = 0;
    config.pool.connection_rate = 1_000;
    config.pool.connection_burst = 1_000;
    config
}

/// A store on `cluster`.
pub async fn open(cluster: &ScratchCluster, retry: RetryPolicy) -> DsqlStore {
    let mut config = config(cluster);
    config.retry = retry;
    connect(&config, Some(credentials(cluster))).await.unwrap()
}

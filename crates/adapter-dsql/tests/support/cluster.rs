//! DSQL emulators with the newest schema, and stores on them over TLS with IAM tokens.

use std::time::Duration;

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use dsql_emulator::{DsqlEmulatorBuilder, JobDelays};
use temporal_dsql_migrate::Timeouts;
use temporal_dsql_ports::RetryPolicy;
use temporal_dsql_store::{Config, DsqlStore, connect};
use temporal_dsql_testkit::ScratchCluster;

use super::set_up_at;

/// A cluster with the newest schema, or `None` if there is no server to make one on.
pub async fn cluster(
    configure: impl FnOnce(DsqlEmulatorBuilder) -> DsqlEmulatorBuilder,
) -> Option<ScratchCluster> {
    let moment = Duration::from_millis(5);
    let jobs = JobDelays { start: moment, work: moment, ..JobDelays::default() };
    let cluster = ScratchCluster::create(|builder| configure(builder.job_delays(jobs))).await?;
    set_up_at(&cluster.url(), Timeouts { poll: moment, ..Timeouts::default() }).await;
    Some(cluster)
}

/// A configuration for `cluster`: host, port, region and CA are sufficient.
pub fn config(cluster: &ScratchCluster) -> Config {
    let mut config = Config::new(cluster.host());
    config.port = cluster.port();
    config.region = Some(cluster.region().into());
    config.tls.ca_file = Some(cluster.ca_file().into());
    config.connect_timeout = Duration::from_secs(10);
    config.pool.max_connections = 20;
    config.pool.min_connections = 0;
    config.pool.connection_rate = 1_000;
    config.pool.connection_burst = 1_000;
    config
}

/// The credentials that the cluster accepts.
pub fn credentials(cluster: &ScratchCluster) -> SharedCredentialsProvider {
    let own = cluster.credentials();
    SharedCredentialsProvider::new(Credentials::from_keys(
        &own.access_key_id,
        &own.secret_access_key,
        own.session_token.clone(),
    ))
}

/// A store on `cluster`.
pub async fn open(cluster: &ScratchCluster, retry: RetryPolicy) -> DsqlStore {
    let mut config = config(cluster);
    config.retry = retry;
    connect(&config, Some(credentials(cluster))).await.unwrap()
}

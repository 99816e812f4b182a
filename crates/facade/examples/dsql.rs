//! The services of `service/` on Aurora DSQL, with the standard chain of AWS credentials, logs, and
//! metrics for Prometheus. They create rows of the namespace `shop` and delete them at the end.
//!
//! `CLUSTER_ENDPOINT=<host> cargo run -p temporal-dsql --example dsql --features aws`
#![expect(clippy::print_stdout, reason = "an example says what it does")]

#[cfg(all(test, feature = "emulator", feature = "migrate"))]
#[path = "service/cluster.rs"]
mod cluster;
#[path = "service/mod.rs"]
mod service;

use std::{io, sync::Arc};

use metrics_exporter_prometheus::PrometheusBuilder;
use temporal_dsql::{
    dsql::{Config, aws_credentials, connect, region_of_host},
    verify_compatible_version,
};

/// The bounds of the histograms, in seconds. The alerts need 0.5.
const BUCKETS: [f64; 8] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 10.0];

#[tokio::main(flavor = "current_thread")]
async fn main() -> service::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    // Installed before the store connects. A service has `with_http_listener` and `install` here.
    let metrics = PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder()?;

    // CLUSTER_ENDPOINT, and the other variables of docs/operations.md.
    let config = Config::from_env()?;
    let region = config.region.clone().or(region_of_host(&config.host));
    let region = region.ok_or("the region is not in the name of the host; set REGION")?;
    let store = connect(&config, Some(aws_credentials(region).await)).await?;
    verify_compatible_version(&store, "postgres").await?;

    service::run(Arc::new(store)).await?;

    let rendered = metrics.render();
    let operations = rendered.lines().filter(|line| line.starts_with("dsql_tx_latency_count"));
    println!("{} operations are measured", operations.count());
    Ok(())
}

#[cfg(all(test, feature = "emulator", feature = "migrate"))]
mod tests {
    use std::{env, process::Command};

    use temporal_dsql::dsql::emulator_credentials;

    use super::*;

    /// Starts itself with the environment that a service on the cluster has.
    #[tokio::test]
    async fn the_example_runs() {
        let emulator = cluster::start().await.unwrap();
        let config = Config::from_emulator(&emulator);
        let credentials = Some(emulator_credentials(&emulator));
        cluster::migrate(&config, credentials, None).await.unwrap();
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "tests::on_the_cluster_of_the_environment"])
            .args(["--ignored", "--nocapture"])
            .env("CLUSTER_ENDPOINT", emulator.host())
            .env("SQL_PORT", emulator.port().to_string())
            .env("SQL_TLS_CA_FILE", emulator.ca_file())
            .env("REGION", emulator.region())
            .env("AWS_ACCESS_KEY_ID", &emulator.credentials().access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &emulator.credentials().secret_access_key)
            .env_remove("AWS_SESSION_TOKEN")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{printed}{}", String::from_utf8_lossy(&child.stderr));
        assert!(printed.contains("everything is deleted"), "{printed}");
        assert!(!printed.contains("\n0 operations are measured"), "{printed}");
    }

    #[test]
    #[ignore = "the other test starts it"]
    fn on_the_cluster_of_the_environment() {
        super::main().unwrap();
    }
}

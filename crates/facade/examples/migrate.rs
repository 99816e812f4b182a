//! A service that keeps the schema of its database up to date by itself: on an empty database, on one of
//! an older version, and on one that is up to date.
//!
//! `cargo run -p temporal-dsql --example migrate --features emulator,migrate`
#![expect(clippy::print_stdout, reason = "an example says what it does")]

#[path = "service/cluster.rs"]
mod cluster;
#[path = "service/mod.rs"]
#[expect(dead_code, reason = "this example has no service")]
mod service;

use temporal_dsql::{
    SchemaVersion, VERSION,
    dsql::{Config, connect, emulator_credentials},
    verify_compatible_version,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> service::Result<()> {
    let emulator = cluster::start().await?;
    let config = Config::from_emulator(&emulator);
    let credentials = || Some(emulator_credentials(&emulator));

    let first = SchemaVersion::new(1, 0);
    let report = cluster::migrate(&config, credentials(), Some(first)).await?;
    println!("an empty database: {} steps to {first}", report.done);

    // A store refuses a database whose schema is too old.
    let store = connect(&config, credentials()).await?;
    let refused = verify_compatible_version(&store, "postgres").await.unwrap_err();
    println!("a service on {first}: {refused}");

    let report = cluster::migrate(&config, credentials(), None).await?;
    assert!(report.done > 0);
    println!("a database at {first}: {} steps to {VERSION}", report.done);
    assert_eq!(verify_compatible_version(&store, "postgres").await?, VERSION);

    let report = cluster::migrate(&config, credentials(), None).await?;
    assert_eq!(report.done, 0);
    println!("a database at {VERSION}: {} steps", report.done);
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_runs() {
        super::main().unwrap();
    }
}

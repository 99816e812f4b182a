//! The services of `service/` on an emulated cluster of Aurora DSQL: TLS, IAM tokens, and a conflict at
//! COMMIT. It needs an installed PostgreSQL.
//!
//! `cargo run -p temporal-dsql --example emulator --features emulator,migrate`
#![expect(clippy::print_stdout, reason = "an example says what it does")]

#[path = "service/cluster.rs"]
mod cluster;
#[path = "service/mod.rs"]
mod service;

use std::sync::Arc;

use temporal_dsql::{
    dsql::{Config, connect, emulator_credentials},
    dsql_emulator::CommitFault,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> service::Result<()> {
    let emulator = cluster::start().await?;
    let config = Config::from_emulator(&emulator);
    let credentials = Some(emulator_credentials(&emulator));
    cluster::migrate(&config, credentials.clone(), None).await?;
    let store = connect(&config, credentials).await?;

    emulator.faults().script([Some(CommitFault::Conflict)]);
    service::run(Arc::new(store)).await?;
    assert_eq!(emulator.faults().report().commits, 1);
    println!("a conflict was injected, and the transaction repeated");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_runs() {
        super::main().unwrap();
    }
}

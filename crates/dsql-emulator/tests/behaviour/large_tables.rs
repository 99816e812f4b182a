//! Statements for which PostgreSQL would start parallel workers.
//!
//! A worker sets the settings of its leader, and the default of `default_text_search_config` names
//! a configuration that DSQL does not have (aurora-dsql.md#refused-statements), so it fails.

use dsql_emulator::{
    DsqlEmulator,
    postgres::{Options, Server},
};

use crate::support::{Client, offline};

/// With these settings a table of a few rows gets the plan of a large one.
const PARALLEL: [(&str, &str); 3] = [
    ("min_parallel_table_scan_size", "0"),
    ("parallel_setup_cost", "0"),
    ("parallel_tuple_cost", "0"),
];

#[tokio::test]
async fn a_large_table_is_read_and_indexed_without_parallel_workers() {
    if offline() {
        return;
    }
    let settings = PARALLEL.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let options = Options { install: false, settings, ..Options::default() };
    let server = Server::start(&options).unwrap();
    let emulator = DsqlEmulator::builder().postgres_url(server.url()).start().await.unwrap();
    let mut client = Client::connect(&emulator).await;
    client.ok("CREATE TABLE t (id int PRIMARY KEY, v int)").await;
    client.ok("INSERT INTO t SELECT n, n FROM generate_series(1, 3000) AS n").await;
    assert_eq!(client.value("SELECT count(*) FROM t WHERE v > 1000").await, "2000");
    let job = client.value("CREATE INDEX ASYNC v ON t (v)").await;
    assert_eq!(client.value(&format!("CALL sys.wait_for_job('{job}')")).await, "t");
    let status = format!("SELECT status FROM sys.jobs WHERE job_id = '{job}'");
    assert_eq!(client.value(&status).await, "completed");
}

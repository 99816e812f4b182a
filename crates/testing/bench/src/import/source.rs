//! The source: the recorded database of a server, with generated executions and histories.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use temporal_dsql_testkit::{RecordedDeployment, ScratchDatabase, postgres::Server};

use crate::database;

/// The largest table, which the loader copies.
pub const LARGEST: &str = "history_node";

/// The rows of [`LARGEST`] with the ids of the target, in the order of the target's columns.
///
/// The recorded and the generated rows are mixed: the loader estimates the number of rows from the
/// size of the first ones, and fails if it copies a quarter fewer.
const EXPORT: &str = "SELECT shard_id, encode(tree_id, 'hex')::uuid, \
     encode(branch_id, 'hex')::uuid, node_id, txn_id, prev_txn_id, data, data_encoding \
     FROM history_node ORDER BY tree_id";

/// How much is generated.
#[derive(Clone, Copy)]
pub struct Size {
    pub nodes: u32,
    pub executions: u32,
}

/// A database of upstream's schema with generated rows: workflows on the four shards of the recording,
/// each with a current execution, a history tree and its share of the nodes. A node has 272 bytes, an
/// execution 1,120, about the sizes of the recording.
pub async fn create(server: &Server, size: Size) -> Result<ScratchDatabase> {
    let recorded = RecordedDeployment::new();
    let source = ScratchDatabase::create_on(&server.url()).await?;
    source.execute(&(recorded.schema_sql() + &recorded.rows_sql())).await?;
    let Size { nodes, executions } = size;
    let id = |kind: &str, number: &str| format!("decode(md5('{kind}' || {number}), 'hex')");
    let bytes = |parts: u32| format!("decode(repeat(md5('blob' || n), {parts}), 'hex')");
    let (namespace, run) = (id("namespace", "0"), id("run", "n"));
    let workflows = format!("FROM generate_series(1, {executions}) AS n");
    let tree = format!("n % {executions}");
    source
        .execute(&format!(
            "INSERT INTO executions (shard_id, namespace_id, workflow_id, run_id, next_event_id, \
                last_write_version, data, data_encoding, state, state_encoding, db_record_version) \
             SELECT n % 4 + 1, {namespace}, 'workflow-' || n, {run}, 30, 0, {data}, 'Proto3', \
                {state}, 'Proto3', 1 {workflows}; \
             INSERT INTO current_executions (shard_id, namespace_id, workflow_id, run_id, \
                create_request_id, state, status, last_write_version, start_time, data, \
                data_encoding) \
             SELECT n % 4 + 1, {namespace}, 'workflow-' || n, {run}, 'request-' || n, 2, 1, 0, \
                now(), {state}, 'Proto3' {workflows}; \
             INSERT INTO history_tree (shard_id, tree_id, branch_id, data, data_encoding) \
             SELECT n % 4 + 1, {run}, {branch}, {state}, 'Proto3' {workflows}; \
             INSERT INTO history_node (shard_id, tree_id, branch_id, node_id, txn_id, data, \
                data_encoding, prev_txn_id) \
             SELECT {tree} % 4 + 1, {of_tree}, {of_branch}, n, -n, {node}, 'Proto3', n - 1 \
             FROM generate_series(1, {nodes}) AS n; \
             ANALYZE",
            data = bytes(60),
            state = bytes(10),
            node = bytes(17),
            branch = id("branch", "n"),
            of_tree = id("run", &format!("({tree})")),
            of_branch = id("branch", &format!("({tree})")),
        ))
        .await?;
    Ok(source)
}

/// Writes [`LARGEST`] into a file that the loader reads.
///
/// # Errors
/// psql fails.
pub fn export(server: &Server, source: &ScratchDatabase, file: &Path) -> Result<()> {
    let psql = database::program(server, "psql")?;
    let output = Command::new(psql)
        .args(["--no-psqlrc", "--quiet", &source.url(), "--command"])
        .arg(format!("COPY ({EXPORT}) TO STDOUT WITH (FORMAT csv)"))
        .stdin(Stdio::null())
        .stdout(fs::File::create(file)?)
        .output()
        .context("psql")?;
    ensure!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

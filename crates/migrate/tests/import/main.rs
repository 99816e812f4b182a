//! The database of a real Temporal server on PostgreSQL, imported into PostgreSQL and into the DSQL
//! emulator.

mod copies;
mod faults;
mod fences;
mod refusals;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, LazyLock},
    time::Duration,
};

use dsql_emulator::JobDelays;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::postgres::PgConnectOptions;
use temporal_dsql_client::connector_with;
use temporal_dsql_migrate::{
    DEFAULT_DATABASE, IgnoreProgress, Migrator, PostgresDatabase, Schema, Setup, Timeouts,
    import::{ImportError, ImportProgress, ImportReport, Importer, Problem, Settings},
};
use temporal_dsql_testkit::{RecordedDeployment, ScratchCluster, ScratchDatabase};

/// The embedded schema.
fn embedded() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::embedded().unwrap());
    &SCHEMA
}

fn timeouts() -> Timeouts {
    let mut timeouts = Timeouts::default();
    timeouts.poll = Duration::from_millis(10);
    timeouts.retry.base = Duration::from_millis(5);
    timeouts.retry.cap = Duration::from_millis(100);
    timeouts
}

fn settings() -> Settings {
    Settings {
        jobs: 3,
        tables: Vec::new(),
        rehearse: false,
        timeouts: timeouts(),
        observer: Arc::new(IgnoreProgress),
        progress: Arc::new(ImportProgress::default()),
    }
}

async fn open(url: &str) -> PostgresDatabase {
    let options: PgConnectOptions = url.parse().unwrap();
    PostgresDatabase::connect(connector_with(options), None, &timeouts().retry).await.unwrap()
}

async fn set_up(url: &str) {
    let mut database = open(url).await;
    let mut migrator =
        Migrator::new(embedded(), &mut database, DEFAULT_DATABASE, timeouts(), &IgnoreProgress);
    let plan = migrator.plan_setup(&Setup::default()).await.unwrap();
    migrator.apply(&plan).await.unwrap();
}

/// The recorded source, or `None` without a server.
async fn source() -> Option<ScratchDatabase> {
    RecordedDeployment::new().create().await
}

/// An empty target on PostgreSQL.
async fn target() -> ScratchDatabase {
    let database = ScratchDatabase::create().await.unwrap();
    set_up(&database.url()).await;
    database
}

/// An empty target on the emulator.
async fn cluster() -> ScratchCluster {
    let moment = Duration::from_millis(5);
    let delays = JobDelays { start: moment, work: moment, ..JobDelays::default() };
    let cluster = ScratchCluster::create(|builder| builder.job_delays(delays)).await.unwrap();
    set_up(&cluster.url()).await;
    cluster
}

/// Runs an import from one URL into another.
async fn import(from: &str, to: &str, settings: Settings) -> Result<ImportReport, ImportError> {
    let (mut source, mut target) = (open(from).await, open(to).await);
    Importer::new(&mut source, &mut target, embedded(), DEFAULT_DATABASE, settings).import().await
}

/// Waits until an import has copied rows.
async fn first_rows(progress: &ImportProgress) {
    while progress.counts().rows == 0 {
        tokio::task::yield_now().await;
    }
}

/// Compares two databases.
async fn verify(from: &str, to: &str) -> Result<ImportReport, ImportError> {
    compare(from, to, settings()).await
}

async fn compare(from: &str, to: &str, settings: Settings) -> Result<ImportReport, ImportError> {
    let (mut source, mut target) = (open(from).await, open(to).await);
    Importer::new(&mut source, &mut target, embedded(), DEFAULT_DATABASE, settings).verify().await
}

/// The problems for which an import is refused.
async fn problems(from: &str, to: &str, settings: Settings) -> Vec<Problem> {
    match import(from, to, settings).await {
        Err(ImportError::Refused(problems)) => problems,
        other => panic!("not refused: {other:?}"),
    }
}

/// The query of all rows of a table of the target, with each value as the recorded JSON would have it
/// after the mapping.
fn rows_query(table: &str, columns: &BTreeMap<&str, &str>) -> String {
    let mut values = Vec::new();
    for (column, data_type) in columns {
        let name = format!("t.\"{column}\"");
        values.push(match (expected_type(table, column, data_type), *data_type) {
            ("text", _) => format!("encode(convert_to({name}, 'UTF8'), 'base64')"),
            ("uuid", _) => format!("{name}::text"),
            (_, "bytea") => format!("encode({name}, 'base64')"),
            (_, "timestamp") => format!("to_char({name}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"),
            _ => format!("{name}::text"),
        });
    }
    format!("SELECT {} FROM \"{table}\" AS t", values.join(", "))
}

/// The type of a column at the target, as far as it differs.
fn expected_type(table: &str, column: &str, data_type: &str) -> &'static str {
    let is_id = ["host_id", "namespace_id", "run_id", "tree_id", "branch_id", "task_queue_id"]
        .contains(&column)
        || column == "id" && ["namespaces", "nexus_endpoints"].contains(&table);
    match data_type {
        "bytea" if is_id => "uuid",
        "bytea" if column == "chasm_path" => "text",
        _ => "",
    }
}

fn uuid(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// A recorded value after the mapping.
fn expected(table: &str, column: &str, data_type: &str, value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => return Some(other.to_string()),
    };
    if expected_type(table, column, data_type) != "uuid" {
        return Some(text);
    }
    let bytes = base64(&text);
    if column != "task_queue_id" {
        return Some(uuid(&bytes));
    }
    let mut hash: [u8; 16] = Sha256::digest(&bytes)[..16].try_into().unwrap();
    hash[6] = hash[6] & 0x0f | 0x40;
    hash[8] = hash[8] & 0x3f | 0x80;
    Some(uuid(&hash))
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let digits: Vec<u32> = group
            .iter()
            .filter_map(|digit| ALPHABET.iter().position(|known| known == digit))
            .map(|digit| u32::try_from(digit).unwrap())
            .collect();
        let number =
            digits.iter().fold(0, |number, digit| number << 6 | digit) << (6 * (4 - digits.len()));
        bytes.extend(&number.to_be_bytes()[1..digits.len()]);
    }
    bytes
}

/// The recorded rows of a table, after the mapping, in the order of their texts.
fn expected_rows(recorded: &RecordedDeployment, table: &str) -> Vec<Vec<Option<String>>> {
    let columns = recorded.columns(table);
    let mut rows: Vec<Vec<_>> = recorded
        .rows(table)
        .iter()
        .map(|row| {
            let value = |(column, data_type): (&&str, &&str)| {
                expected(table, column, data_type, &row[*column])
            };
            columns.iter().map(value).collect()
        })
        .collect();
    rows.sort();
    rows
}

/// Asserts that the target has exactly the recorded rows. `query` runs a query there.
async fn assert_recorded(query: impl AsyncFn(String) -> Vec<Vec<Option<String>>>) {
    let recorded = RecordedDeployment::new();
    let mut count = 0;
    for table in recorded.tables() {
        if ["cluster_metadata", "schema_version", "schema_update_history"].contains(&table) {
            continue;
        }
        let mut rows = query(rows_query(table, &recorded.columns(table))).await;
        for value in rows.iter_mut().flatten().flatten() {
            // The server breaks lines of base64.
            value.retain(|character| character != '\n');
        }
        rows.sort();
        if table == "cluster_membership" {
            assert_eq!(rows.len(), 0, "{table}");
            continue;
        }
        assert_eq!(rows, expected_rows(&recorded, table), "{table}");
        count += rows.len();
    }
    assert_eq!(count, 1626);
}

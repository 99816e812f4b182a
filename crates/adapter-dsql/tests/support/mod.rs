//! Shared code of the tests on a server: databases, proxies, stores and rows.
#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses a part of it")]

pub mod broken_connections;
pub mod cluster;
pub mod emulator;
pub mod harness;
pub mod late;
pub mod operations;
pub mod recorder;
pub mod relay;
pub mod trace;

use std::{
    fmt::Debug,
    net::SocketAddr,
    time::{Duration, Instant},
};

use sqlx::postgres::PgConnectOptions;
use temporal_dsql_client::connector_with;
use temporal_dsql_domain::{
    ArchetypeId, CurrentExecutionsRow, DataBlob, Encoding, Engine, ExecutionState, ExecutionStatus,
    ExecutionsRow, NamespaceId, RequestId, RunId, ShardId, ShardsRow, Table, Timestamp, WorkflowId,
};
use temporal_dsql_migrate::{
    DEFAULT_DATABASE, IgnoreProgress, Migrator, PostgresDatabase, Schema, Setup, Timeouts,
};
use temporal_dsql_ports::RetryPolicy;
use temporal_dsql_store::{Config, DsqlStore, connect};
use temporal_dsql_stores::Owner;
use temporal_dsql_testkit::{FaultProxy, ScratchDatabase};
use uuid::Uuid;

/// The owner of the shard of [`current`] and [`execution`].
pub const OWNER: Owner = Owner { shard_id: ShardId(7), range_id: 1 };

/// Ends all sessions of the database but the one that runs it, and waits for their end. The function
/// that ends a session can wait as well, in steps of 100 ms.
pub const END_SESSIONS: &str = "DO $$ BEGIN LOOP \
                                PERFORM pg_terminate_backend(pid) FROM pg_stat_activity \
                                WHERE datname = current_database() AND pid <> pg_backend_pid(); \
                                EXIT WHEN NOT FOUND; \
                                PERFORM pg_sleep(0.001); PERFORM pg_stat_clear_snapshot(); \
                                END LOOP; END $$";

/// Restores the row of the schema that stores write to.
pub const RESTORE_SEED: &str = "UPDATE namespace_metadata SET notification_version = 1 \
                                WHERE notification_version <> 1";

/// The limit of a wait for an event that is certain to come.
pub const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// The default policy with a longer deadline: on a busy machine, one attempt can take long.
pub const LONG_RETRIES: RetryPolicy =
    RetryPolicy::new(Duration::from_millis(20), Duration::from_secs(1), Duration::from_secs(120));

const POLL: Duration = Duration::from_millis(10);

/// Waits until `is_done` returns true.
///
/// # Panics
/// It does not within [`WAIT_LIMIT`].
pub async fn wait_until(what_if_not: &str, mut is_done: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_done().await {
        assert!(start.elapsed() < WAIT_LIMIT, "{what_if_not}");
        tokio::time::sleep(POLL).await;
    }
}

/// Repeats `operation` until it succeeds.
///
/// # Panics
/// It does not within [`WAIT_LIMIT`].
pub async fn until_ok<T, E: Debug>(mut operation: impl AsyncFnMut() -> Result<T, E>) -> T {
    let start = Instant::now();
    loop {
        match operation().await {
            Ok(value) => return value,
            Err(error) => assert!(start.elapsed() < WAIT_LIMIT, "{error:?}"),
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until the faults of `proxy` have happened: the request that a fault delays has arrived.
pub async fn faults_have_happened(proxy: &FaultProxy) {
    wait_until("a fault does not happen", async || proxy.pending_faults() == 0).await;
}

/// Waits until this many sessions wait for a lock.
pub async fn sessions_wait_for_locks(database: &ScratchDatabase, sessions: usize) {
    let waiting = "SELECT pid FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let wait = async || database.query(waiting).await.unwrap().len() >= sessions;
    wait_until("no session waits for a lock", wait).await;
}

/// Runs `future` until `event` has occurred, and then drops it.
///
/// The event counts if both have come to an end when this process runs again: on a busy machine
/// that may be much later.
///
/// # Panics
/// The future completes before the event.
pub async fn give_up_after(event: impl Future<Output = ()>, future: impl Future) {
    tokio::select! {
        biased;
        () = event => {}
        _ = future => panic!("it completed before the event"),
    }
}

/// Advances the clock of this runtime by `time`. Servers and proxies run on other clocks.
pub async fn advance(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Runs `operation`, and advances the clock of this runtime by `time` when `event` has occurred.
pub async fn advance_after<T>(
    event: impl Future<Output = ()>,
    time: Duration,
    operation: impl Future<Output = T>,
) -> T {
    let passing = async {
        event.await;
        advance(time).await;
    };
    tokio::join!(operation, passing).0
}

/// A database with the schema, and a proxy in front of it that counts round trips and injects
/// faults.
pub async fn database_with_proxy() -> Option<(ScratchDatabase, FaultProxy)> {
    let database = ScratchDatabase::create().await?;
    set_up(&database).await;
    let proxy = FaultProxy::start(database.addr().unwrap()).unwrap();
    Some((database, proxy))
}

/// The shard of [`OWNER`].
pub fn shard() -> ShardsRow {
    ShardsRow { shard_id: OWNER.shard_id, range_id: OWNER.range_id, data: blob() }
}

/// A blob of arbitrary data.
pub fn blob() -> DataBlob {
    DataBlob::new([1, 2, 3], Encoding::new("Proto3").unwrap())
}

/// Sets up the newest schema, as the tool does.
pub async fn set_up(database: &ScratchDatabase) {
    set_up_at(&database.url(), Timeouts::default()).await;
}

/// The same at `url`.
async fn set_up_at(url: &str, timeouts: Timeouts) {
    let schema = Schema::embedded().unwrap();
    let options: PgConnectOptions = url.parse().unwrap();
    let mut database =
        PostgresDatabase::connect(connector_with(options), None, &timeouts.retry).await.unwrap();
    let mut migrator =
        Migrator::new(&schema, &mut database, DEFAULT_DATABASE, timeouts, &IgnoreProgress);
    let plan = migrator.plan_setup(&Setup::default()).await.unwrap();
    migrator.apply(&plan).await.unwrap();
}

/// The same, and a store on the database that is reached over the proxy.
pub async fn store_with_proxy() -> Option<(DsqlStore, FaultProxy, ScratchDatabase)> {
    let (database, proxy) = database_with_proxy().await?;
    let store = open(&database, proxy.addr(), LONG_RETRIES).await;
    Some((store, proxy, database))
}

/// A configuration for `database`, reached over `addr`.
pub fn config(database: &ScratchDatabase, addr: SocketAddr) -> Config {
    let mut config = Config::new(addr.ip().to_string());
    config.port = addr.port();
    config.user = database.user().into();
    config.database = database.name().into();
    config.engine = Some(Engine::Postgres);
    config.tls.mode = Some(temporal_dsql_store::TlsMode::Disable);
    config.connect_timeout = WAIT_LIMIT;
    config.retry = LONG_RETRIES;
    config.pool.max_connections = 20;
    config.pool.min_connections = 0;
    config.pool.connection_rate = 1_000;
    config.pool.connection_burst = 1_000;
    config
}

/// A store on `database`, reached over `addr`.
pub async fn open(database: &ScratchDatabase, addr: SocketAddr, retry: RetryPolicy) -> DsqlStore {
    let mut config = config(database, addr);
    config.retry = retry;
    connect(&config, None).await.unwrap()
}

/// The query for the number of rows of each of `tables`, as columns of one row.
pub fn counts_query(tables: &[Table]) -> String {
    let counts: Vec<_> =
        tables.iter().map(|table| format!("(SELECT count(*) FROM {table})")).collect();
    format!("SELECT {}", counts.join(", "))
}

/// The numbers in the only row of a result.
pub fn numbers(rows: &[Vec<Option<String>>]) -> Vec<u64> {
    rows[0].iter().map(|text| text.as_ref().unwrap().parse().unwrap()).collect()
}

/// The query that builds the query for the tables of the store that have rows.
pub const WRITTEN_TABLES_QUERY: &str = "SELECT string_agg(format('SELECT %L WHERE EXISTS (SELECT FROM %I)', tablename, tablename), \
     ' UNION ALL ') FROM pg_tables WHERE schemaname = 'public' \
     AND tablename NOT IN ('schema_version', 'schema_update_history', 'namespace_metadata')";

/// A current execution in shard 7, with an id of its own.
pub fn current(archetype_id: ArchetypeId) -> CurrentExecutionsRow {
    CurrentExecutionsRow {
        shard_id: ShardId(7),
        namespace_id: NamespaceId(Uuid::from_u128(1)),
        workflow_id: WorkflowId::new(format!("id-{}", fastrand::u64(..))).unwrap(),
        archetype_id,
        run_id: RunId(Uuid::from_u128(fastrand::u128(..))),
        create_request_id: RequestId::new("request").unwrap(),
        start_time: Some(Timestamp::UNIX_EPOCH),
        last_write_version: 1,
        state: ExecutionState::Running,
        status: ExecutionStatus::Running,
        data: Some(vec![1, 2, 3]),
        data_encoding: Encoding::new("Proto3").unwrap(),
    }
}

/// An execution in shard 7, with an id of its own.
pub fn execution() -> ExecutionsRow {
    let current = current(ArchetypeId::WORKFLOW);
    let blob = blob();
    ExecutionsRow {
        shard_id: current.shard_id,
        namespace_id: current.namespace_id,
        workflow_id: current.workflow_id,
        run_id: current.run_id,
        next_event_id: 3,
        last_write_version: 1,
        data: blob.clone(),
        state: blob,
        db_record_version: 1,
    }
}

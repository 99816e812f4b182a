//! The conformance suite on the DSQL emulator, over TLS and with IAM tokens.
//!
//! A trial reuses the cluster of an earlier trial, and empties it: setting up the schema takes
//! longer than most trials.

use std::{
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use async_trait::async_trait;
use dsql_emulator::Faults;
use temporal_dsql_conformance::{Capabilities, CommitFailure, Fixture, Harness, run_filtered};
use temporal_dsql_domain::Table;
use temporal_dsql_ports::{RetryPolicy, Store};
use temporal_dsql_store::{DsqlStore, connect};
use temporal_dsql_testkit::{Admin, ScratchCluster, gate};
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use super::{
    RESTORE_SEED, WRITTEN_TABLES_QUERY,
    cluster::{cluster, config, credentials},
    counts_query, numbers,
};

/// The statements that a cluster accepts, which a store detects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AcceptedStatements {
    /// INSERT, UPDATE and DELETE in WITH, and locks in sub-selects: the one is not recorded, the
    /// other is new (aurora-dsql.md#locks, aurora-dsql.md#data-modifying-with).
    OneStatement,
    /// Neither.
    StatementPerTable,
}

/// The state that the fixtures of one run share.
struct Shared {
    accepted: AcceptedStatements,
    /// Unused clusters, with the contents of their last trial.
    free: Mutex<Vec<Database>>,
    /// The query of [`WRITTEN_TABLES_QUERY`], built once.
    written: OnceCell<String>,
}

/// A cluster, and connections to it that trials hand on: opening a store takes longer than most
/// trials take.
struct Database {
    cluster: ScratchCluster,
    admin: AsyncMutex<Admin>,
    store: Arc<DsqlStore>,
    policy: RetryPolicy,
    /// Whether a trial may use the store after the last one.
    is_reusable: bool,
}

impl Shared {
    /// A database without rows, with a store that retries as `policy` says.
    async fn database(&self, policy: RetryPolicy) -> Database {
        let used = self.free.lock().unwrap().pop();
        if let Some(mut database) = used {
            let cluster = &database.cluster;
            cluster.faults().clear();
            if !database.is_reusable || database.policy != policy {
                database.store.close();
                cluster.faults().drop_connections();
                database.store = self.open(cluster, policy).await;
                (database.policy, database.is_reusable) = (policy, true);
            }
            if clean(database.admin.get_mut(), self.written(&database.cluster).await).await {
                return database;
            }
        }
        let accepted = self.accepted == AcceptedStatements::OneStatement;
        let cluster = cluster(|builder| {
            builder.accept_data_modifying_with(accepted).accept_locking_subqueries(accepted)
        });
        let cluster = cluster.await.unwrap();
        let store = self.open(&cluster, policy).await;
        let admin = AsyncMutex::new(cluster.admin());
        Database { cluster, admin, store, policy, is_reusable: true }
    }

    async fn written(&self, cluster: &ScratchCluster) -> &str {
        let query = async || {
            let rows = cluster.query(WRITTEN_TABLES_QUERY).await.unwrap();
            rows[0][0].clone().unwrap()
        };
        self.written.get_or_init(query).await
    }

    async fn open(&self, cluster: &ScratchCluster, retry: RetryPolicy) -> Arc<DsqlStore> {
        let mut config = config(cluster);
        config.retry = retry;
        let store = connect(&config, Some(credentials(cluster))).await.unwrap();
        let capabilities = store.capabilities().unwrap();
        assert_eq!(capabilities.one_statement, self.accepted == AcceptedStatements::OneStatement);
        assert!(capabilities.key_share);
        Arc::new(store)
    }
}

/// Empties every table that the last trial wrote to, which the query `written` returns. False if one
/// has more rows than a transaction may delete.
async fn clean(admin: &mut Admin, written: &str) -> bool {
    admin.query(RESTORE_SEED).await.unwrap();
    let written = admin.query(written).await.unwrap();
    // One transaction for each table: together they may have more rows than one may delete.
    for row in written {
        let table = row[0].as_ref().unwrap();
        match admin.query(&format!("DELETE FROM {table}")).await {
            Ok(_) => {}
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("54000") => {
                return false;
            }
            Err(error) => panic!("{table} is not emptied: {error}"),
        }
    }
    true
}

struct Emulators(Arc<Shared>);

#[async_trait]
impl Harness for Emulators {
    fn capabilities(&self) -> Capabilities {
        Capabilities { optimistic_locks: true, transaction_limits: true }
    }

    async fn new_fixture(&self, policy: RetryPolicy, _seed: u64) -> Box<dyn Fixture> {
        let shared = Arc::clone(&self.0);
        let database = shared.database(policy).await;
        Box::new(Cluster { database: Some(database), is_reopened: AtomicBool::default(), shared })
    }
}

struct Cluster {
    /// `None` only while the fixture is dropped.
    database: Option<Database>,
    is_reopened: AtomicBool,
    shared: Arc<Shared>,
}

impl Cluster {
    fn database(&self) -> &Database {
        self.database.as_ref().expect("a database until the drop")
    }

    fn faults(&self) -> &Faults {
        self.database().cluster.faults()
    }
}

#[async_trait]
impl Fixture for Cluster {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.database().store) as _
    }

    async fn reopen(&self) -> Arc<dyn Store> {
        self.is_reopened.store(true, Ordering::Relaxed);
        let database = self.database();
        database.store.close();
        self.shared.open(&database.cluster, database.policy).await
    }

    /// The clock of the cluster only moves forward: time zero of a test is one minute on it.
    fn set_clock(&self, seconds: i64) {
        const ZERO: u64 = 60;
        let faults = self.faults();
        assert_eq!(faults.pending(), 0, "they would be forgotten");
        faults.clear();
        faults.shift_clock(Duration::from_secs(ZERO.saturating_add_signed(seconds)));
    }

    async fn counts(&self, tables: &[Table]) -> Vec<u64> {
        numbers(&self.database().admin.lock().await.query(&counts_query(tables)).await.unwrap())
    }

    fn fail_next_commits(&self, faults: &[CommitFailure]) {
        use dsql_emulator::CommitFault::{Conflict, LostAnswer};
        let faults = faults.iter().map(|fault| {
            Some(match fault {
                CommitFailure::Conflict => Conflict,
                CommitFailure::LostCommit => LostAnswer { applied: false },
                CommitFailure::LostAnswer => LostAnswer { applied: true },
            })
        });
        self.faults().script(faults);
    }

    fn faults_left(&self) -> usize {
        self.faults().pending()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let is_reusable = !self.is_reopened.load(Ordering::Relaxed) && self.faults_left() == 0;
        let Some(mut database) = self.database.take() else { return };
        database.is_reusable &= is_reusable;
        // Tasks of a trial that panicked may still write.
        if !thread::panicking() {
            self.shared.free.lock().unwrap().push(database);
        }
    }
}

/// Runs the scenarios on clusters of one variant: all of them if a write is one statement,
/// otherwise only those whose statements then differ.
pub fn run(accepted: AcceptedStatements) -> ExitCode {
    if gate::server_url().is_none() {
        return ExitCode::SUCCESS;
    }
    let shared = Arc::new(Shared { accepted, free: Mutex::default(), written: OnceCell::new() });
    let code = run_filtered(Emulators(Arc::clone(&shared)), |scenario| {
        accepted == AcceptedStatements::OneStatement || scenario.uses_write_sets()
    });
    // While nothing else runs: the databases are dropped here.
    shared.free.lock().unwrap().clear();
    code
}

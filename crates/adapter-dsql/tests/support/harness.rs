//! The conformance suite on stock PostgreSQL, in each write form.
//!
//! A trial reuses the database of an earlier one, and empties it: copying a template takes longer than
//! most trials.

use std::{
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use async_trait::async_trait;
use temporal_dsql_conformance::{Capabilities, CommitFailure, Fixture, Harness, run_filtered};
use temporal_dsql_domain::Table;
use temporal_dsql_ports::{RetryPolicy, Store};
use temporal_dsql_store::{DsqlStore, WriteForm, connect};
use temporal_dsql_testkit::{Admin, FaultProxy, OccCode, ScratchDatabase, When, WireFault};
use tokio::sync::Mutex as AsyncMutex;

use super::{END_SESSIONS, RESTORE_SEED, WRITTEN_TABLES_QUERY, counts_query, numbers};

/// The state that the fixtures of one run share.
struct Shared {
    write_form: WriteForm,
    template: ScratchDatabase,
    /// Unused databases, with the contents of their last trial.
    free: Mutex<Vec<Database>>,
    /// The query for the tables that have rows.
    written: String,
}

/// A database, and connections to it that trials hand on: opening a store takes longer than most
/// trials take.
struct Database {
    scratch: ScratchDatabase,
    admin: AsyncMutex<Admin>,
    proxy: FaultProxy,
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
            let admin = database.admin.get_mut();
            if !database.is_reusable || database.policy != policy {
                database.store.close();
                database.proxy.cut();
                admin.query(END_SESSIONS).await.unwrap();
                database.proxy = FaultProxy::start(database.scratch.addr().unwrap()).unwrap();
                database.store = self.open(&database.scratch, &database.proxy, policy).await;
                (database.policy, database.is_reusable) = (policy, true);
            }
            clean(admin, &self.written).await;
            return database;
        }
        let scratch = ScratchDatabase::create_from_template(&self.template).await.unwrap();
        let admin = AsyncMutex::new(scratch.admin());
        let proxy = FaultProxy::start(scratch.addr().unwrap()).unwrap();
        let store = self.open(&scratch, &proxy, policy).await;
        Database { scratch, admin, proxy, store, policy, is_reusable: true }
    }

    async fn open(
        &self,
        database: &ScratchDatabase,
        proxy: &FaultProxy,
        retry: RetryPolicy,
    ) -> Arc<DsqlStore> {
        let mut config = super::config(database, proxy.addr());
        config.retry = retry;
        config.write_form = self.write_form;
        let store = connect(&config, None).await.unwrap();
        let capabilities = store.capabilities().unwrap();
        assert_eq!(capabilities.one_statement, self.write_form == WriteForm::Auto);
        assert!(capabilities.key_share);
        Arc::new(store)
    }
}

struct Postgres(Arc<Shared>);

#[async_trait]
impl Harness for Postgres {
    fn capabilities(&self) -> Capabilities {
        Capabilities { optimistic_locks: false, transaction_limits: false }
    }

    async fn new_fixture(&self, policy: RetryPolicy, _seed: u64) -> Box<dyn Fixture> {
        let shared = Arc::clone(&self.0);
        let database = shared.database(policy).await;
        Box::new(Scratch { database: Some(database), is_reopened: AtomicBool::default(), shared })
    }
}

struct Scratch {
    /// `None` only while the fixture is dropped.
    database: Option<Database>,
    is_reopened: AtomicBool,
    shared: Arc<Shared>,
}

impl Scratch {
    fn database(&self) -> &Database {
        self.database.as_ref().expect("a database until the drop")
    }
}

#[async_trait]
impl Fixture for Scratch {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.database().store) as _
    }

    async fn reopen(&self) -> Arc<dyn Store> {
        self.is_reopened.store(true, Ordering::Relaxed);
        let Database { scratch, proxy, store, policy, .. } = self.database();
        store.close();
        self.shared.open(scratch, proxy, *policy).await
    }

    /// Neither the server's clock nor this process's can be set.
    fn set_clock(&self, _seconds: i64) {
        const CLOCKS: [&str; 7] = [
            "now(",
            "current_time",
            "current_date",
            "localtime",
            "clock_timestamp",
            "statement_timestamp",
            "timeofday",
        ];
        for sent in self.database().proxy.statements() {
            let asked = CLOCKS.iter().find(|clock| sent.to_lowercase().contains(*clock));
            assert_eq!(asked, None, "{sent}");
        }
    }

    async fn counts(&self, tables: &[Table]) -> Vec<u64> {
        let mut admin = self.database().admin.lock().await;
        numbers(&admin.query(&counts_query(tables)).await.unwrap())
    }

    fn fail_next_commits(&self, faults: &[CommitFailure]) {
        for fault in faults {
            let fault = match fault {
                CommitFailure::Conflict => WireFault::Conflict(OccCode::Oc000),
                CommitFailure::LostCommit => WireFault::LostRequest,
                CommitFailure::LostAnswer => WireFault::LostAnswer,
            };
            self.database().proxy.inject(When::AnyCommit, fault);
        }
    }

    fn faults_left(&self) -> usize {
        self.database().proxy.pending_faults()
    }
}

impl Drop for Scratch {
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

/// Empties every table that the last trial wrote to, which the query `written` returns.
async fn clean(admin: &mut Admin, written: &str) {
    let tables = admin.query(&format!("{RESTORE_SEED}; {written}")).await.unwrap();
    let tables = tables.iter().map(|row| row[0].as_deref().unwrap());
    let deletes: Vec<_> = tables.map(|table| format!("DELETE FROM {table}")).collect();
    if !deletes.is_empty() {
        admin.query(&deletes.join("; ")).await.unwrap();
    }
}

/// Runs the scenarios on stores with this form: all of them if it is the default, otherwise only
/// those whose statements then differ.
pub fn run(write_form: WriteForm) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let shared = runtime.block_on(async {
        let template = ScratchDatabase::create().await?;
        super::set_up(&template).await;
        let written = template.query(WRITTEN_TABLES_QUERY).await.unwrap()[0][0].clone().unwrap();
        Some(Shared { write_form, template, free: Mutex::default(), written })
    });
    match shared {
        Some(shared) => run_filtered(Postgres(Arc::new(shared)), |scenario| {
            write_form == WriteForm::Auto || scenario.uses_write_sets()
        }),
        None => ExitCode::SUCCESS,
    }
}

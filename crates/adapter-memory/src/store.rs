//! The store and its builder: the state that all connections share.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use temporal_dsql_domain::{InvalidValue, MapEntries, Table, VERSION};
use temporal_dsql_ports::{
    ArchetypeRouter, Attempt, Cause, Clock, CreateTasks, CurrentExecutionsRouter, Deadline,
    Outcome, RecordedVersion, Runner, Session, Store, StoreError, SystemClock, Transaction, Within,
    WriteSet, apply_by_table, create_tasks_by_table,
    limits::{MAX_CHASM_PATH_CHARS, check_chasm_paths},
};

use crate::{
    FaultPlan, FaultReport, MemoryFault,
    connection::{Autocommit, Connection, InTransaction},
    engine::Engine,
    fault::Faults,
    key::{Key, Row},
    limited_transaction::{LimitedTransaction, MAX_AGE, Random},
    rows,
};

/// Temporal's executions in memory, with the isolation, conflicts and limits of Aurora DSQL.
///
/// Clones share the rows. They are dropped with the last clone.
///
/// Only the waits between attempts need an async runtime: they use the [`Runner`]'s clock.
#[derive(Clone)]
pub struct MemoryStore(Arc<Shared>);

struct Shared {
    engine: Engine<Key, Row>,
    runner: Runner,
    clock: Arc<dyn Clock>,
    router: Arc<dyn CurrentExecutionsRouter>,
    faults: Mutex<Faults>,
    random: Random,
    versions: BTreeMap<String, RecordedVersion>,
    chasm_path_chars: usize,
}

/// The builder of a [`MemoryStore`].
pub struct MemoryStoreBuilder(Shared);

impl fmt::Debug for MemoryStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStoreBuilder").field("runner", &self.0.runner).finish_non_exhaustive()
    }
}

impl MemoryStoreBuilder {
    /// Sets the runner. Default: [`Runner::default`].
    #[must_use]
    pub fn runner(mut self, runner: Runner) -> Self {
        self.0.runner = runner;
        self
    }

    /// Sets the clock that the age of a transaction is measured with. Default: [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.0.clock = clock;
        self
    }

    /// Sets the router. Default: [`ArchetypeRouter`].
    #[must_use]
    pub fn router(mut self, router: Arc<dyn CurrentExecutionsRouter>) -> Self {
        self.0.router = router;
        self
    }

    /// Sets the first fault plan. Default: [`FaultPlan::none`].
    #[must_use]
    pub fn faults(mut self, plan: FaultPlan) -> Self {
        self.0.faults = Mutex::new(Faults { plan, ..Faults::default() });
        self
    }

    /// Seeds the random part of the ids of buffered events, so that they are reproducible. The runner
    /// has its own seed. Default: a new seed for every store.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.0.random = Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)));
        self
    }

    /// Sets the recorded schema versions, by logical database name. Default:
    /// [`VERSION`] for `postgres`.
    #[must_use]
    pub fn schema_versions<N: Into<String>, V: Into<RecordedVersion>>(
        mut self,
        versions: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.0.versions =
            versions.into_iter().map(|(name, version)| (name.into(), version.into())).collect();
        self
    }

    /// Sets how many characters the path of a CHASM node has at most, as its column does. Default:
    /// [`MAX_CHASM_PATH_CHARS`].
    #[must_use]
    pub fn chasm_path_chars(mut self, characters: usize) -> Self {
        self.0.chasm_path_chars = characters;
        self
    }

    /// Builds a store with the rows that the schema has when it is new.
    pub fn build(self) -> MemoryStore {
        let mut schema = self.0.engine.begin_at(self.0.clock.now());
        let (key, row) = rows::seed();
        schema.insert(key, row).expect("the engine is empty");
        schema.commit().expect("there is no other transaction");
        MemoryStore(Arc::new(self.0))
    }
}

impl MemoryStore {
    /// A store with the defaults of [`builder`](Self::builder).
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A builder with the defaults.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder(Shared {
            engine: Engine::with_max_age(MAX_AGE),
            runner: Runner::default(),
            clock: Arc::new(SystemClock),
            router: Arc::new(ArchetypeRouter),
            faults: Mutex::default(),
            random: Random::default(),
            versions: BTreeMap::from([("postgres".to_owned(), VERSION.into())]),
            chasm_path_chars: MAX_CHASM_PATH_CHARS,
        })
    }

    /// Replaces the fault plan, from the next commit on.
    pub fn inject(&self, plan: FaultPlan) {
        self.faults().plan = plan;
    }

    /// The numbers of injected faults, and the rest of the current plan.
    pub fn fault_report(&self) -> FaultReport {
        self.faults().report()
    }

    /// The number of rows of `table`, for tests.
    pub fn count(&self, table: Table) -> usize {
        self.0.engine.begin_at(self.0.clock.now()).range(Key::new(table, []).all()).count()
    }

    /// Checks the paths of CHASM nodes against the length of their column.
    pub(crate) fn check_chasm_paths<'e>(
        &self,
        entries: impl IntoIterator<Item = &'e MapEntries>,
    ) -> Result<(), InvalidValue> {
        check_chasm_paths(entries, self.0.chasm_path_chars)
    }

    pub(crate) fn router(&self) -> &dyn CurrentExecutionsRouter {
        &*self.0.router
    }

    /// Begins a transaction on the current snapshot.
    pub(crate) fn open(&self) -> LimitedTransaction {
        let now = self.0.clock.now();
        LimitedTransaction::new(self.0.engine.begin_at(now), now, Arc::clone(&self.0.random))
    }

    /// Commits an autocommit statement. A statement that is not a write has nothing to commit: outside
    /// a transaction a lock is a read.
    pub(crate) fn commit_statement(
        &self,
        op: &'static str,
        transaction: LimitedTransaction,
    ) -> Result<(), StoreError> {
        if transaction.is_write() { self.commit(op, transaction) } else { Ok(()) }
    }

    /// Commits, or injects the fault that the plan decides.
    pub(crate) fn commit(
        &self,
        op: &'static str,
        transaction: LimitedTransaction,
    ) -> Result<(), StoreError> {
        let decision = self.faults().plan.decide();
        let Some(fault) = decision else {
            return self.apply(op, transaction);
        };
        let done = match fault {
            MemoryFault::LostAnswer if self.apply(op, transaction).is_err() => {
                MemoryFault::LostCommit
            }
            fault => fault,
        };
        self.faults().count(done);
        Err(injected(op, fault))
    }

    fn apply(&self, op: &'static str, transaction: LimitedTransaction) -> Result<(), StoreError> {
        transaction.commit(op, self.0.clock.now())
    }

    /// A poisoned lock is ignored: every change of the faults is one assignment.
    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.0.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of rows, without those of a new schema.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.engine.len() - 1
    }

    #[cfg(test)]
    pub(crate) fn engine(&self) -> &Engine<Key, Row> {
        &self.0.engine
    }
}

fn injected(op: &'static str, fault: MemoryFault) -> StoreError {
    let source = Some(Cause::new(format!("injected fault: {fault:?}")));
    let unavailable = |outcome| StoreError::Unavailable { op, outcome, source: source.clone() };
    match fault {
        MemoryFault::Conflict => StoreError::Conflict { op, attempts: 1, source },
        MemoryFault::Unavailable => unavailable(Outcome::NotApplied),
        MemoryFault::LostCommit | MemoryFault::LostAnswer => unavailable(Outcome::Unknown),
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("rows", &self.0.engine.len())
            .field("open_transactions", &self.0.engine.open_transactions())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn session_until(&self, deadline: Deadline) -> Box<dyn Session + '_> {
        Box::new(Connection(Autocommit { store: self, deadline }))
    }

    async fn begin(&self, attempt: Attempt) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(Connection(InTransaction::new(self.clone(), attempt.op))))
    }

    async fn apply_until(&self, deadline: Deadline, set: &WriteSet<'_>) -> Result<(), StoreError> {
        rows::check(self, set)?;
        apply_by_table(&Within::until(self, deadline), set).await
    }

    async fn create_tasks_until(
        &self,
        deadline: Deadline,
        request: &CreateTasks<'_>,
    ) -> Result<(), StoreError> {
        rows::check_create_tasks(request)?;
        create_tasks_by_table(&Within::until(self, deadline), request).await
    }

    fn runner(&self) -> &Runner {
        &self.0.runner
    }

    async fn schema_version(&self, database: &str) -> Result<Option<RecordedVersion>, StoreError> {
        Ok(self.0.versions.get(database).copied())
    }
}

#[cfg(test)]
mod tests {
    use temporal_dsql_domain::SchemaVersion;
    use temporal_dsql_ports::{
        IncompatibleSchema, RetryPolicy, StoreExt, verify_compatible_version,
    };

    use super::*;
    use crate::testing::{begin, execution, logged_store};

    #[tokio::test]
    async fn the_recorded_schema_versions_are_those_that_were_set() {
        let store = MemoryStore::new();
        assert_eq!(verify_compatible_version(&store, "postgres").await.unwrap(), VERSION);
        assert_eq!(store.schema_version("temporal").await.unwrap(), None);

        let old = SchemaVersion::new(1, 0);
        let store = MemoryStore::builder().schema_versions([("temporal", old)]).build();
        assert_eq!(store.schema_version("temporal").await.unwrap(), Some(old.into()));
        assert_eq!(store.schema_version("postgres").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_newer_schema_is_compatible_if_its_row_says_so() {
        let newer = |min_compatible| RecordedVersion {
            current: SchemaVersion::new(VERSION.major, VERSION.minor + 11),
            min_compatible,
        };
        let check = async |recorded: RecordedVersion| {
            let store = MemoryStore::builder().schema_versions([("postgres", recorded)]).build();
            verify_compatible_version(&store, "postgres").await
        };
        let current = newer(VERSION).current;
        assert_eq!(check(newer(VERSION)).await.unwrap(), current);
        assert_eq!(check(newer(SchemaVersion::new(0, 1))).await.unwrap(), current);

        let error = check(newer(current)).await.unwrap_err();
        assert!(matches!(error, IncompatibleSchema::TooNew { actual, .. } if actual == current));
        assert!(error.to_string().contains("adopt-schema"), "{error}");
    }

    #[tokio::test]
    async fn clones_share_the_rows() {
        let store = MemoryStore::new();
        let row = execution("w", 1);
        store.clone().session().insert_into_executions(&row).await.unwrap();
        let read = store.session().select_from_executions(&row.filter()).await;
        assert_eq!(read.unwrap(), Some(row));
        assert_eq!(format!("{store:?}"), "MemoryStore { rows: 2, open_transactions: 0, .. }");
    }

    /// The error of each fault, and whether the transaction is committed.
    const FAULTS: [(MemoryFault, Option<Outcome>, bool); 4] = [
        (MemoryFault::Conflict, None, false),
        (MemoryFault::Unavailable, Some(Outcome::NotApplied), false),
        (MemoryFault::LostCommit, Some(Outcome::Unknown), false),
        (MemoryFault::LostAnswer, Some(Outcome::Unknown), true),
    ];

    fn assert_is_fault(error: &StoreError, op: &str, unavailable: Option<Outcome>) {
        let (error_op, source) = match (error, unavailable) {
            (StoreError::Conflict { op, attempts: 1, source }, None) => (op, source),
            (StoreError::Unavailable { op, outcome, source }, Some(expected)) => {
                assert_eq!(*outcome, expected);
                (op, source)
            }
            _ => panic!("unexpected {error:?}"),
        };
        assert_eq!(*error_op, op);
        let source = source.as_ref().unwrap().to_string();
        assert!(source.starts_with("injected fault"), "{source}");
    }

    #[tokio::test]
    async fn every_fault_affects_the_commit_of_a_transaction_as_documented() {
        for (fault, unavailable, applied) in FAULTS {
            let store = MemoryStore::builder().faults(FaultPlan::script([fault])).build();
            let row = execution("w", 1);
            let mut transaction = begin(&store).await;
            transaction.insert_into_executions(&row).await.unwrap();
            let error = transaction.commit().await.unwrap_err();
            assert_is_fault(&error, "Test", unavailable);
            assert_eq!(store.len(), usize::from(applied), "{fault:?}");
            assert_eq!(store.engine().open_transactions(), 0, "{fault:?}");
            assert_eq!(store.fault_report().injected(), 1);
            assert_eq!(store.fault_report().remaining, Some(0));
        }
    }

    #[tokio::test]
    async fn every_fault_affects_an_autocommit_write_as_documented() {
        let once = Runner::builder().policy(RetryPolicy::NEVER).build();
        let store = MemoryStore::builder().runner(once).build();
        for (fault, unavailable, applied) in FAULTS {
            let row = execution(&format!("{fault:?}"), 1);
            store.inject(FaultPlan::script([fault]));
            let error = store.session().insert_into_executions(&row).await.unwrap_err();
            assert_is_fault(&error, "InsertIntoExecutions", unavailable);
            let read = store.session().select_from_executions(&row.filter()).await;
            assert_eq!(read.unwrap().is_some(), applied, "{fault:?}");
        }
        let report = FaultReport {
            conflicts: 1,
            unavailable: 1,
            lost_commits: 1,
            lost_answers: 1,
            remaining: Some(0),
        };
        assert_eq!(store.fault_report(), report);
    }

    #[tokio::test]
    async fn the_plan_is_consulted_for_every_write_and_every_commit_only() {
        let store = MemoryStore::new();
        let row = execution("w", 1);
        let remaining = || store.fault_report().remaining.unwrap();
        store.inject(FaultPlan::script([None::<MemoryFault>; 10]));

        store.session().insert_into_executions(&row).await.unwrap();
        assert_eq!(remaining(), 9);
        store.session().update_executions(&execution("absent", 1)).await.unwrap();
        assert_eq!(remaining(), 8, "a write that finds nothing is a write");
        store.session().select_from_executions(&row.filter()).await.unwrap();
        store.session().write_lock_executions(&row.filter()).await.unwrap();
        assert_eq!(remaining(), 8, "autocommit reads and locks are no writes");
        begin(&store).await.commit().await.unwrap();
        assert_eq!(remaining(), 7, "a transaction that only reads has a commit");
        begin(&store).await.rollback().await.unwrap();
        drop(begin(&store).await);
        let mut failed = begin(&store).await;
        failed.insert_into_executions(&row).await.unwrap_err();
        failed.commit().await.unwrap_err();
        assert_eq!(remaining(), 7, "no commit was sent");
        assert_eq!(store.fault_report().injected(), 0);
    }

    #[tokio::test]
    async fn a_lost_answer_of_a_failed_commit_counts_as_not_applied() {
        let store = MemoryStore::new();
        let row = execution("w", 1);
        let mut transaction = begin(&store).await;
        transaction.insert_into_executions(&row).await.unwrap();
        store.session().insert_into_executions(&row).await.unwrap();
        store.inject(FaultPlan::script([MemoryFault::LostAnswer]));
        let error = transaction.commit().await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown);
        let report = store.fault_report();
        assert_eq!((report.lost_commits, report.lost_answers), (1, 0));
    }

    #[tokio::test]
    async fn a_body_is_repeated_after_a_definite_failure_and_not_after_a_lost_answer() {
        let (store, log) = logged_store();
        let script = [MemoryFault::Conflict, MemoryFault::Unavailable, MemoryFault::LostAnswer];
        store.inject(FaultPlan::script(script));
        let row = execution("w", 1);
        let result = store
            .run("Create", &row, |transaction, row| {
                Box::pin(transaction.insert_into_executions(row))
            })
            .await;
        assert_eq!(result.unwrap_err().outcome(), Outcome::Unknown);
        assert_eq!(log.take(), [("Create", 3)]);
        assert_eq!(store.len(), 1);
    }
}

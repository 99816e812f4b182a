//! The state that all connections of one emulator share.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
};

use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

use crate::{
    Faults,
    auth::{admission::Admission, tls::Tls},
    catalog::CatalogVersions,
    config::Config,
    engine::{
        commit_log::CommitLog,
        in_flight::{CancelledBy, StatementTracker},
        lock_monitor::{self, LockHolder, LockMonitor},
        worker::Worker,
    },
    jobs::{self, Jobs},
    upstream::{Connection, Exchange, Rows, Target, UpstreamError, single},
    wire::{self, DbError, tag},
};

/// The state of one emulator.
pub(crate) struct Cluster {
    pub(crate) config: Config,
    /// The emulator's database, with the credentials of a superuser.
    pub(crate) target: Target,
    pub(crate) tls: Tls,
    pub(crate) faults: Faults,
    pub(crate) admission: Admission,
    pub(crate) commit_log: Arc<CommitLog>,
    pub(crate) monitor: Arc<LockMonitor>,
    pub(crate) versions: Arc<CatalogVersions>,
    pub(crate) jobs: Arc<Jobs>,
    /// Names of PostgreSQL's functions and keywords.
    pub(crate) builtins: HashSet<String>,
    /// PostgreSQL's major version.
    pub(crate) server_version: u32,
    /// The method by which PostgreSQL compresses long values: the best that it has.
    pub(crate) compression: &'static str,
    control: AsyncMutex<Connection>,
    cancel_keys: Mutex<HashMap<i32, CancelKey>>,
    next_process: AtomicI32,
    random: Mutex<fastrand::Rng>,
}

/// The cancel key of a session, and the statement that it cancels.
#[derive(Clone, Debug)]
struct CancelKey {
    secret: i32,
    tracker: Arc<StatementTracker>,
}

impl Cluster {
    pub(crate) async fn open(
        config: Config,
        target: Target,
        tls: Tls,
        faults: Faults,
    ) -> Result<Arc<Self>, UpstreamError> {
        let mut control = Connection::open(&target, &[]).await?;
        let names = control
            .query(
                "SELECT proname::text FROM pg_catalog.pg_proc \
                 WHERE pronamespace IN ('pg_catalog'::regnamespace, 'sys'::regnamespace) \
                 UNION SELECT word FROM pg_catalog.pg_get_keywords()",
            )
            .await?;
        let builtins = names.into_iter().filter_map(|mut row| row.pop().flatten()).collect();
        let version = control
            .query("SELECT pg_catalog.current_setting_of_host('server_version_num')::int / 10000")
            .await?;
        let server_version = single(version).and_then(|text| text.parse().ok()).unwrap_or(0);
        let lz4 = control
            .query(
                "SELECT 'lz4' = ANY (enumvals) FROM pg_catalog.pg_settings \
                 WHERE name = 'default_toast_compression'",
            )
            .await?;
        let compression = if single(lz4).as_deref() == Some("t") { "lz4" } else { "pglz" };
        let watching = Connection::open(&target, &[]).await?;
        let monitor = Arc::new(LockMonitor::default());
        tokio::spawn(monitor.clone().run(watching, target.clone()));
        let mut random = fastrand::Rng::with_seed(config.seed);
        let versions = Arc::new(CatalogVersions::new(config.catalog_conflicts, random.u64(..)));
        let jobs = Jobs::new(
            config.jobs,
            target.clone(),
            monitor.clone(),
            versions.clone(),
            faults.clone(),
        );
        Ok(Arc::new(Self {
            admission: Admission::new(&config.limits),
            commit_log: Arc::default(),
            monitor,
            versions,
            jobs: Arc::new(jobs),
            builtins,
            server_version,
            compression,
            control: AsyncMutex::new(control),
            cancel_keys: Mutex::default(),
            next_process: AtomicI32::new(1),
            random: Mutex::new(random),
            config,
            target,
            tls,
            faults,
        }))
    }

    /// The connection that only the emulator uses. It is opened again if a caller was dropped before it
    /// had read an answer, or if it has broken.
    async fn control(&self) -> Result<AsyncMutexGuard<'_, Connection>, UpstreamError> {
        let mut control = self.control.lock().await;
        if !control.is_usable() {
            *control = Connection::open(&self.target, &[]).await?;
        }
        Ok(control)
    }

    /// Runs `sql` as the superuser, on a connection that only the emulator uses.
    pub(crate) async fn query(&self, sql: &str) -> Result<Rows, UpstreamError> {
        self.control().await?.query(sql).await
    }

    /// The error of PostgreSQL's grammar for a text with any number of statements, which is only
    /// parsed.
    pub(crate) async fn syntax_error(&self, text: &str) -> Result<Option<DbError>, UpstreamError> {
        // PostgreSQL parses all statements of a Parse, and then refuses more than one.
        let text = format!("{text}\n; SELECT 1; SELECT 2");
        let messages = vec![wire::parse("", &text, &[]), wire::sync()];
        let answer = self.control().await?.exchange(&Exchange::new(messages)).await?;
        let error = answer.iter().find(|message| message.tag() == tag::ERROR).map(DbError::read);
        const ROUTINE: u8 = b'R';
        Ok(error.filter(|error| error.other(ROUTINE) != Some("exec_parse_message")))
    }

    /// The id of a new job.
    pub(crate) fn new_job_id(&self) -> String {
        jobs::new_id(lock(&self.random).u128(..))
    }

    /// The id of a new session. It has the form of a job's id [I].
    pub(crate) fn new_session_id(&self) -> String {
        // Not from the seeded sequence: the order of connections is not deterministic.
        jobs::new_id(fastrand::u128(..))
    }

    /// Registers a session: its statements can be cancelled with the returned process id and secret,
    /// and its transaction can be detached.
    pub(crate) fn register(
        &self,
        tracker: &Arc<StatementTracker>,
        worker: &Arc<AsyncMutex<Worker>>,
    ) -> (i32, i32) {
        let process = self.next_process.fetch_add(1, Ordering::Relaxed);
        // Not from the seeded sequence: the order of connections is not deterministic.
        let secret = fastrand::i32(..);
        lock(&self.cancel_keys).insert(process, CancelKey { secret, tracker: tracker.clone() });
        let worker: Arc<dyn LockHolder> = worker.clone();
        self.monitor.add(tracker, Some(Arc::downgrade(&worker)));
        (process, secret)
    }

    /// Removes the cancel key of a session that has ended.
    pub(crate) fn unregister(&self, process: i32) {
        lock(&self.cancel_keys).remove(&process);
    }

    /// Handles a CancelRequest. A wrong process id or secret is ignored, as by PostgreSQL.
    pub(crate) async fn cancel(&self, process: i32, secret: i32) {
        let key = lock(&self.cancel_keys).get(&process).cloned();
        let Some(key) = key.filter(|key| key.secret == secret) else { return };
        let end = async |process| match self.control().await {
            Ok(mut control) => lock_monitor::cancel(&mut control, process).await,
            Err(error) => tracing::warn!(%error, "a statement was not cancelled"),
        };
        key.tracker.cancel(None, CancelledBy::Client, end).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

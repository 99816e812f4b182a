//! Stores that run a hook at a defined point of a transaction or a request.
//!
//! [`intercept_begin`] runs a hook between the snapshot of a transaction and its first statement.
//! It applies a write set with a statement per table, whatever the inner store does: only a
//! transaction has this point. Under snapshot isolation the order of snapshots and commits decides,
//! so this point is enough to produce every interleaving of whole transactions. Stock PostgreSQL
//! takes the snapshot at the first statement and not at BEGIN, so the interceptor reads a row
//! before it runs the hook.
//!
//! [`after_unknown_outcome`] runs a hook after a request whose answer was lost, and
//! [`delaying_commits`] delays a commit until its client has given up.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use temporal_dsql_domain::ShardId;
use temporal_dsql_ports::{
    Attempt, BoxFuture, CreateTasks, Deadline, Outcome, RecordedVersion, Runner, Session, Store,
    StoreError, Transaction, Within, WriteSet, apply_by_table, create_tasks_by_table,
};
use tokio::sync::Barrier;

/// Runs between the snapshot and the first statement.
pub(crate) type BeginHook =
    Box<dyn for<'t> Fn(&'t mut dyn Transaction) -> BoxFuture<'t, ()> + Send + Sync>;

/// The inner store, and the hook.
struct BeginInterceptor {
    store: Arc<dyn Store>,
    hook: BeginHook,
}

/// A store on `store` that runs `hook` in every transaction that begins.
pub(crate) fn intercept_begin(store: &Arc<dyn Store>, hook: BeginHook) -> Arc<dyn Store> {
    Arc::new(BeginInterceptor { store: Arc::clone(store), hook })
}

/// A store on `store` that runs `hook` in the `number`th transaction that begins, counted from
/// 1.
pub(crate) fn intercept_nth_begin(
    store: &Arc<dyn Store>,
    number: usize,
    hook: impl for<'t> Fn(&'t mut dyn Transaction) -> BoxFuture<'t, ()> + Send + Sync + 'static,
) -> Arc<dyn Store> {
    let begun = AtomicUsize::new(0);
    let hook: BeginHook = Box::new(move |transaction| {
        if begun.fetch_add(1, Ordering::SeqCst) + 1 == number {
            hook(transaction)
        } else {
            Box::pin(async {})
        }
    });
    intercept_begin(store, hook)
}

/// A store on `store` whose first `count` transactions wait for each other after they began, so
/// that none sees a commit of another; and the number of transactions that began.
pub(crate) fn barrier_after_begin(
    store: &Arc<dyn Store>,
    count: usize,
) -> (Arc<dyn Store>, Arc<AtomicUsize>) {
    let begun = Arc::new(AtomicUsize::new(0));
    let (all, counted) = (Arc::new(Barrier::new(count)), Arc::clone(&begun));
    let hook: BeginHook = Box::new(move |_| {
        let is_awaited = counted.fetch_add(1, Ordering::SeqCst) < count;
        let all = Arc::clone(&all);
        Box::pin(async move {
            if is_awaited {
                all.wait().await;
            }
        })
    });
    (intercept_begin(store, hook), begun)
}

/// A store on `store`, and the number of transactions that began on it.
pub(crate) fn counting_begins(store: &Arc<dyn Store>) -> (Arc<dyn Store>, Arc<AtomicUsize>) {
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&begun);
    let hook: BeginHook = Box::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {})
    });
    (intercept_begin(store, hook), begun)
}

#[async_trait]
impl Store for BeginInterceptor {
    fn session_until(&self, deadline: Deadline) -> Box<dyn Session + '_> {
        self.store.session_until(deadline)
    }

    #[expect(clippy::disallowed_methods, reason = "forwards to the inner store")]
    async fn begin(&self, attempt: Attempt) -> Result<Box<dyn Transaction>, StoreError> {
        /// The row need not exist: a plain read causes no conflict.
        const ANY: ShardId = ShardId(0);
        let mut transaction = self.store.begin(attempt).await?;
        transaction.select_from_shards(ANY).await?;
        (self.hook)(&mut *transaction).await;
        Ok(transaction)
    }

    fn runner(&self) -> &Runner {
        self.store.runner()
    }

    async fn apply_until(&self, deadline: Deadline, set: &WriteSet<'_>) -> Result<(), StoreError> {
        apply_by_table(&Within::until(self, deadline), set).await
    }

    async fn create_tasks_until(
        &self,
        deadline: Deadline,
        request: &CreateTasks<'_>,
    ) -> Result<(), StoreError> {
        create_tasks_by_table(&Within::until(self, deadline), request).await
    }

    async fn schema_version(&self, database: &str) -> Result<Option<RecordedVersion>, StoreError> {
        self.store.schema_version(database).await
    }
}

/// Applies a write set to the inner store.
type ApplyHook = Box<
    dyn for<'t> Fn(&'t dyn Store, &'t WriteSet<'t>) -> BoxFuture<'t, Result<(), StoreError>>
        + Send
        + Sync,
>;

/// The inner store, and how write sets are applied to it.
struct ApplyInterceptor {
    store: Arc<dyn Store>,
    apply: ApplyHook,
}

/// A store on `store` that runs `hook` after each write set whose outcome is unknown, before the
/// outcome is returned.
pub(crate) fn after_unknown_outcome(
    store: &Arc<dyn Store>,
    hook: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static,
) -> Arc<dyn Store> {
    let hook = Arc::new(hook);
    let apply: ApplyHook = Box::new(move |store, set| {
        let hook = Arc::clone(&hook);
        Box::pin(async move {
            let result = store.apply(set).await;
            if result.as_ref().is_err_and(|error| error.outcome() == Outcome::Unknown) {
                hook().await;
            }
            result
        })
    });
    Arc::new(ApplyInterceptor { store: Arc::clone(store), apply })
}

/// Transactions whose outcome was reported as unknown. All their statements are executed, and they
/// may still commit.
#[derive(Clone, Default)]
pub(crate) struct DelayedCommits(Arc<Mutex<VecDeque<Box<dyn Transaction>>>>);

impl DelayedCommits {
    /// Commits the oldest transaction; `None` if there is none.
    pub(crate) async fn commit_next(&self) -> Option<Result<(), StoreError>> {
        let next = self.0.lock().unwrap().pop_front();
        match next {
            Some(transaction) => Some(transaction.commit().await),
            None => None,
        }
    }
}

/// A store on `store` that executes the statements of a write set, leaves its commit to the
/// [`DelayedCommits`] and reports an unknown outcome, if `should_delay` is true for the number of
/// commits that are delayed already. Write sets without a range id are never delayed.
pub(crate) fn delaying_commits(
    store: &Arc<dyn Store>,
    should_delay: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> (Arc<dyn Store>, DelayedCommits) {
    let delayed = DelayedCommits::default();
    let delayed_commits = delayed.clone();
    let apply: ApplyHook = Box::new(move |store, set| {
        let delayed = delayed_commits.0.lock().unwrap().len();
        let delayed_commits =
            (set.range_id.is_some() && should_delay(delayed)).then(|| delayed_commits.clone());
        Box::pin(async move {
            let Some(delayed) = delayed_commits else { return store.apply(set).await };
            let transaction = ready_to_commit(store, set).await?;
            delayed.0.lock().unwrap().push_back(transaction);
            Err(StoreError::Unavailable { op: set.op, outcome: Outcome::Unknown, source: None })
        })
    });
    (Arc::new(ApplyInterceptor { store: Arc::clone(store), apply }), delayed)
}

/// The transaction of a write set after all its statements.
#[expect(clippy::disallowed_methods, reason = "the commit is delayed or omitted")]
async fn ready_to_commit(
    store: &dyn Store,
    set: &WriteSet<'_>,
) -> Result<Box<dyn Transaction>, StoreError> {
    let mut transaction = store.begin(Attempt::first(set.op)).await?;
    let observed = transaction.observe(set).await?;
    set.check(&observed)?;
    let written = transaction.write(set, &observed).await.map_err(|error| set.duplicate(error))?;
    set.verify(written)?;
    Ok(transaction)
}

#[async_trait]
impl Store for ApplyInterceptor {
    fn session_until(&self, deadline: Deadline) -> Box<dyn Session + '_> {
        self.store.session_until(deadline)
    }

    #[expect(clippy::disallowed_methods, reason = "forwards to the inner store")]
    async fn begin(&self, attempt: Attempt) -> Result<Box<dyn Transaction>, StoreError> {
        self.store.begin(attempt).await
    }

    fn runner(&self) -> &Runner {
        self.store.runner()
    }

    /// Ignores the deadline: the scenarios that use it have none.
    async fn apply_until(&self, _: Deadline, set: &WriteSet<'_>) -> Result<(), StoreError> {
        (self.apply)(&*self.store, set).await
    }

    /// Ignores the deadline, too.
    async fn create_tasks_until(
        &self,
        _: Deadline,
        request: &CreateTasks<'_>,
    ) -> Result<(), StoreError> {
        self.store.create_tasks(request).await
    }

    async fn schema_version(&self, database: &str) -> Result<Option<RecordedVersion>, StoreError> {
        self.store.schema_version(database).await
    }
}

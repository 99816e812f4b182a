//! Stores that change when an act happens.
//!
//! On an interposed store others come in between the snapshot of a transaction and its first
//! statement. It applies an act in the reference way, a statement per table, whatever the store
//! inside does: only a transaction has such a gap. Under snapshot isolation it is the order of
//! snapshots and commits that decides, so this one gap is enough to bring about every interleaving
//! of whole acts. Stock PostgreSQL takes the snapshot at the first statement and not at BEGIN, so a
//! transaction reads a row before anything else happens.
//!
//! The others come in after an act whose answer was lost, or hold an act back until its client has
//! given up.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use temporal_dsql_domain::{SchemaVersion, ShardId};
use temporal_dsql_ports::{
    Attempt, BoxFuture, Deadline, Outcome, Runner, Session, Store, StoreError, Transaction,
    WriteSet,
};
use tokio::sync::Barrier;

/// What happens in the gap.
pub(crate) type Between =
    Box<dyn for<'t> Fn(&'t mut dyn Transaction) -> BoxFuture<'t, ()> + Send + Sync>;

/// The store inside, and what happens.
struct BeginInterceptor {
    store: Arc<dyn Store>,
    between: Between,
}

/// A store on `store` with `between` in the gap.
pub(crate) fn intercept_begin(store: &Arc<dyn Store>, between: Between) -> Arc<dyn Store> {
    Arc::new(BeginInterceptor { store: Arc::clone(store), between })
}

/// A store on `store` on which something happens once: in the gap of the transaction that is the
/// `number`th to begin, counted from 1.
pub(crate) fn intercept_nth_begin(
    store: &Arc<dyn Store>,
    number: usize,
    happens: impl for<'t> Fn(&'t mut dyn Transaction) -> BoxFuture<'t, ()> + Send + Sync + 'static,
) -> Arc<dyn Store> {
    let begun = AtomicUsize::new(0);
    let between: Between = Box::new(move |transaction| {
        if begun.fetch_add(1, Ordering::SeqCst) + 1 == number {
            happens(transaction)
        } else {
            Box::pin(async {})
        }
    });
    intercept_begin(store, between)
}

/// A store on `store` whose first `count` transactions wait for each other, so that none of them
/// sees what another one commits; and how many transactions have begun.
pub(crate) fn barrier_after_begin(
    store: &Arc<dyn Store>,
    count: usize,
) -> (Arc<dyn Store>, Arc<AtomicUsize>) {
    let begun = Arc::new(AtomicUsize::new(0));
    let (all, counted) = (Arc::new(Barrier::new(count)), Arc::clone(&begun));
    let between: Between = Box::new(move |_| {
        let is_awaited = counted.fetch_add(1, Ordering::SeqCst) < count;
        let all = Arc::clone(&all);
        Box::pin(async move {
            if is_awaited {
                all.wait().await;
            }
        })
    });
    (intercept_begin(store, between), begun)
}

/// A store on `store`, and how many transactions have begun on it.
pub(crate) fn counting_begins(store: &Arc<dyn Store>) -> (Arc<dyn Store>, Arc<AtomicUsize>) {
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&begun);
    let between: Between = Box::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {})
    });
    (intercept_begin(store, between), begun)
}

#[async_trait]
impl Store for BeginInterceptor {
    fn session_until(&self, deadline: Deadline) -> Box<dyn Session + '_> {
        self.store.session_until(deadline)
    }

    #[expect(clippy::disallowed_methods, reason = "forwards to the store inside")]
    async fn begin(&self, attempt: Attempt) -> Result<Box<dyn Transaction>, StoreError> {
        /// Nobody's: a plain read leaves no trace, whatever it finds.
        const ANY: ShardId = ShardId(0);
        let mut transaction = self.store.begin(attempt).await?;
        transaction.select_from_shards(ANY).await?;
        (self.between)(&mut *transaction).await;
        Ok(transaction)
    }

    fn runner(&self) -> &Runner {
        self.store.runner()
    }

    async fn schema_version(&self, database: &str) -> Result<Option<SchemaVersion>, StoreError> {
        self.store.schema_version(database).await
    }
}

/// How an act is applied to the store inside.
type Apply = Box<
    dyn for<'t> Fn(&'t dyn Store, &'t WriteSet<'t>) -> BoxFuture<'t, Result<(), StoreError>>
        + Send
        + Sync,
>;

/// The store inside, and how acts are applied to it.
struct ApplyInterceptor {
    store: Arc<dyn Store>,
    apply: Apply,
}

/// A store on `store` on which `happens` follows each act whose outcome is unknown, before the
/// client learns it.
pub(crate) fn after_unknown_outcome(
    store: &Arc<dyn Store>,
    happens: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static,
) -> Arc<dyn Store> {
    let happens = Arc::new(happens);
    let apply: Apply = Box::new(move |store, set| {
        let happens = Arc::clone(&happens);
        Box::pin(async move {
            let result = store.apply(set).await;
            if result.as_ref().is_err_and(|error| error.outcome() == Outcome::Unknown) {
                happens().await;
            }
            result
        })
    });
    Arc::new(ApplyInterceptor { store: Arc::clone(store), apply })
}

/// The transactions of acts whose clients were told that the outcome is unknown. Each has made all
/// its statements and may still commit.
#[derive(Clone, Default)]
pub(crate) struct DelayedCommits(Arc<Mutex<VecDeque<Box<dyn Transaction>>>>);

impl DelayedCommits {
    /// Commits the one that is held back longest; `None` if there is none.
    pub(crate) async fn commit_next(&self) -> Option<Result<(), StoreError>> {
        let next = self.0.lock().unwrap().pop_front();
        match next {
            Some(transaction) => Some(transaction.commit().await),
            None => None,
        }
    }
}

/// A store on `store` that holds an act back if `is_held` is true when it is asked for: its
/// statements are made and its commit is left to the [`DelayedCommits`]. The act's client is told at once
/// that the outcome is unknown. `is_held` is told how many acts are held back already. Acts that no
/// range id guards are never held back.
pub(crate) fn delaying_commits(
    store: &Arc<dyn Store>,
    is_held: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> (Arc<dyn Store>, DelayedCommits) {
    let held = DelayedCommits::default();
    let holds = held.clone();
    let apply: Apply = Box::new(move |store, set| {
        let held = holds.0.lock().unwrap().len();
        let holds = (set.range_id.is_some() && is_held(held)).then(|| holds.clone());
        Box::pin(async move {
            let Some(held) = holds else { return store.apply(set).await };
            let transaction = ready_to_commit(store, set).await?;
            held.0.lock().unwrap().push_back(transaction);
            Err(StoreError::Unavailable { op: set.op, outcome: Outcome::Unknown, source: None })
        })
    });
    (Arc::new(ApplyInterceptor { store: Arc::clone(store), apply }), held)
}

/// The transaction of an act that has made all its statements.
#[expect(clippy::disallowed_methods, reason = "the commit comes later, if it comes")]
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

    #[expect(clippy::disallowed_methods, reason = "forwards to the store inside")]
    async fn begin(&self, attempt: Attempt) -> Result<Box<dyn Transaction>, StoreError> {
        self.store.begin(attempt).await
    }

    fn runner(&self) -> &Runner {
        self.store.runner()
    }

    /// The scenarios that use it have no deadlines.
    async fn apply_until(&self, _: Deadline, set: &WriteSet<'_>) -> Result<(), StoreError> {
        (self.apply)(&*self.store, set).await
    }

    async fn schema_version(&self, database: &str) -> Result<Option<SchemaVersion>, StoreError> {
        self.store.schema_version(database).await
    }
}

//! A store that lets others come in between the snapshot of a transaction and its first statement.
//!
//! Under snapshot isolation it is the order of snapshots and commits that decides, so this one gap
//! is enough to bring about every interleaving of whole acts. The snapshot is not left to the
//! beginning: stock PostgreSQL takes it at the first statement, and a store may begin as late as
//! that. So a transaction is begun at once, waits for no other of its process, and reads a row
//! before anything else happens.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use temporal_dsql_domain::{SchemaVersion, ShardId};
use temporal_dsql_ports::{Attempt, BoxFuture, Runner, Session, Store, StoreError, Transaction};
use tokio::sync::Barrier;

/// What happens in the gap.
pub(crate) type Between =
    Box<dyn for<'t> Fn(&'t mut dyn Transaction) -> BoxFuture<'t, ()> + Send + Sync>;

/// The store inside, and what happens.
struct Interposed {
    store: Arc<dyn Store>,
    between: Between,
}

/// A store on `store` with `between` in the gap.
pub(crate) fn interposed(store: &Arc<dyn Store>, between: Between) -> Arc<dyn Store> {
    Arc::new(Interposed { store: Arc::clone(store), between })
}

/// A store on `store` on which something happens once: in the gap of the transaction that is the
/// `number`th to begin, counted from 1.
pub(crate) fn interposed_once(
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
    interposed(store, between)
}

/// A store on `store` whose first `count` transactions wait for each other, so that none of them
/// sees what another one commits; and how many transactions have begun.
pub(crate) fn meeting(store: &Arc<dyn Store>, count: usize) -> (Arc<dyn Store>, Arc<AtomicUsize>) {
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
    (interposed(store, between), begun)
}

#[async_trait]
impl Store for Interposed {
    fn session(&self) -> Box<dyn Session + '_> {
        self.store.session()
    }

    #[expect(clippy::disallowed_methods, reason = "forwards to the store inside")]
    async fn begin(&self, attempt: Attempt) -> Result<Box<dyn Transaction>, StoreError> {
        /// Nobody's: a plain read leaves no trace, whatever it finds.
        const ANY: ShardId = ShardId(0);
        let at_once = Attempt { takes_turns: false, ..attempt };
        let mut transaction = self.store.begin(at_once).await?;
        transaction.select_from_shards(ANY).await?;
        (self.between)(&mut *transaction).await;
        Ok(transaction)
    }

    fn runner(&self) -> &Runner {
        self.store.runner()
    }

    fn writes_in_one_statement(&self) -> bool {
        self.store.writes_in_one_statement()
    }

    async fn schema_version(&self, database: &str) -> Result<Option<SchemaVersion>, StoreError> {
        self.store.schema_version(database).await
    }
}

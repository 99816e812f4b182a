//! A store that lets others come between the beginning of a transaction and its first statement.
//!
//! Under snapshot isolation it is the order of beginnings and commits that decides, so this one
//! gap is enough to bring about every interleaving of whole acts.

use std::sync::Arc;

use async_trait::async_trait;
use temporal_dsql_domain::SchemaVersion;
use temporal_dsql_ports::{Attempt, BoxFuture, Runner, Session, Store, StoreError, Transaction};

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

#[async_trait]
impl Store for Interposed {
    fn session(&self) -> Box<dyn Session + '_> {
        self.store.session()
    }

    #[expect(clippy::disallowed_methods, reason = "forwards to the store inside")]
    async fn begin(&self, attempt: Attempt) -> Result<Box<dyn Transaction>, StoreError> {
        let mut transaction = self.store.begin(attempt).await?;
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

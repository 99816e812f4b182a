//! What an adapter is: a store that opens sessions and transactions.

use std::sync::Arc;

use async_trait::async_trait;
use temporal_dsql_domain::SchemaVersion;

use crate::{HistoryNodes, MutableState, Runner, StoreError};

/// All row ports in one: what a caller can do on a connection.
pub trait Session: MutableState + HistoryNodes {}

impl<T: MutableState + HistoryNodes + ?Sized> Session for T {}

/// A session whose operations are applied together, or not at all.
///
/// Dropping a transaction rolls it back.
#[async_trait]
pub trait Transaction: Session {
    /// Applies the transaction.
    ///
    /// If a statement of this transaction has failed, nothing is applied and the error of that
    /// statement is returned again: a server answers COMMIT of an aborted transaction with
    /// success and the tag ROLLBACK (facts §1.1), so a swallowed error would look like a commit.
    ///
    /// # Errors
    /// [`StoreError::Contended`] if another transaction won a conflict;
    /// [`StoreError::Unavailable`] with an unknown outcome if the answer is lost;
    /// [`StoreError::Limit`]; and those of the connection.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;

    /// Gives the transaction up; nothing is applied.
    ///
    /// # Errors
    /// Those of the connection. The transaction is over all the same.
    async fn rollback(self: Box<Self>) -> Result<(), StoreError>;
}

/// Which attempt of which operation a transaction is for, as spans and metrics show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The operation's name.
    pub op: &'static str,
    /// 1 for the first attempt.
    pub number: u32,
    /// Whether the transaction may wait for others of this process that want the same row, where it
    /// would otherwise lose a conflict to them or they to it.
    pub takes_turns: bool,
}

impl Attempt {
    /// The only attempt of a transaction that somebody begins by hand, to interleave it with others
    /// by hand: it waits for none of them.
    pub const fn by_hand(op: &'static str) -> Self {
        Self { op, number: 1, takes_turns: false }
    }
}

/// A store of Temporal's executions.
#[async_trait]
pub trait Store: Send + Sync {
    /// An autocommit session: each call is one statement and one transaction. A call that loses a
    /// conflict is tried again under the [`Runner`]'s deadline.
    fn session(&self) -> Box<dyn Session + '_>;

    /// Begins a transaction on a snapshot of this moment.
    ///
    /// For [`Runner`] and for tests that interleave transactions by hand; everything else uses
    /// [`StoreExt::run`](crate::StoreExt::run).
    ///
    /// # Errors
    /// Those of the connection.
    async fn begin(&self, attempt: Attempt) -> Result<Box<dyn Transaction>, StoreError>;

    /// The runner that this store's transactions go through.
    fn runner(&self) -> &Runner;

    /// Whether [`MutableState::write_execution`] and
    /// [`MutableState::delete_mutable_state`] are one statement each, and so atomic on an
    /// autocommit session too.
    fn writes_in_one_statement(&self) -> bool;

    /// The schema version that the store records under the logical database name `database`
    /// (contract §5.6); `None` if it records none.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] if the recorded text is not a version, and those of the
    /// connection.
    async fn schema_version(&self, database: &str) -> Result<Option<SchemaVersion>, StoreError>;
}

/// A reference to a store is a store.
macro_rules! forward {
    ($($reference:ty),*) => {$(
        #[async_trait]
        impl<S: Store + ?Sized> Store for $reference {
            fn session(&self) -> Box<dyn Session + '_> {
                (**self).session()
            }

            #[expect(clippy::disallowed_methods, reason = "forwards to the store inside")]
            async fn begin(&self, attempt: Attempt) -> Result<Box<dyn Transaction>, StoreError> {
                (**self).begin(attempt).await
            }

            fn runner(&self) -> &Runner {
                (**self).runner()
            }

            fn writes_in_one_statement(&self) -> bool {
                (**self).writes_in_one_statement()
            }

            async fn schema_version(
                &self,
                database: &str,
            ) -> Result<Option<SchemaVersion>, StoreError> {
                (**self).schema_version(database).await
            }
        }
    )*};
}

forward!(Arc<S>, &S);

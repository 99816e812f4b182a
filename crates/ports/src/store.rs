//! What an adapter is: a store that opens sessions and transactions.

use std::sync::Arc;

use async_trait::async_trait;
use temporal_dsql_domain::SchemaVersion;

use crate::{Attempt, Deadline, MutableState, Runner, StoreError, WriteSet};

/// All row ports in one: what a caller can do on a connection.
pub trait Session: MutableState {}

impl<T: MutableState + ?Sized> Session for T {}

/// A session whose operations are applied together, or not at all.
///
/// Dropping a transaction rolls it back.
#[async_trait]
pub trait Transaction: Session {
    /// Applies the transaction.
    ///
    /// If a statement of this transaction has failed, nothing is applied and the error of that
    /// statement is returned again: a server answers COMMIT of an aborted transaction with
    /// success and the tag ROLLBACK (aurora-dsql.md#transactions), so a swallowed error would look
    /// like a commit.
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

/// A store of Temporal's executions.
#[async_trait]
pub trait Store: Send + Sync {
    /// An autocommit session: each call is one statement and one transaction. A call that loses a
    /// conflict is tried again under the deadline of the [`Runner`]'s policy.
    fn session(&self) -> Box<dyn Session + '_> {
        self.session_until(Deadline::NEVER)
    }

    /// An autocommit session whose calls all end by `deadline`.
    fn session_until(&self, deadline: Deadline) -> Box<dyn Session + '_>;

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

    /// Applies an act: all of it, if its conditions hold, or nothing. A conflict is tried again
    /// under the [`Runner`]'s deadline.
    ///
    /// # Errors
    /// [`StoreError::Condition`] if a condition does not hold; [`StoreError::AlreadyExists`] if a
    /// task exists; [`StoreError::Limit`]; [`StoreError::Unavailable`] with an unknown outcome if
    /// the answer is lost; and those of the connection.
    async fn apply(&self, set: &WriteSet<'_>) -> Result<(), StoreError> {
        self.apply_until(self.deadline(), set).await
    }

    /// [`apply`](Self::apply) for a caller who waits until `deadline`.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    async fn apply_until(&self, deadline: Deadline, set: &WriteSet<'_>) -> Result<(), StoreError>;

    /// When everything that is done through this store ends. Default: never.
    /// [`Within`](crate::Within) is a store that has one.
    fn deadline(&self) -> Deadline {
        Deadline::NEVER
    }

    /// The schema version that the store records under the logical database name `database`
    /// (temporal-persistence.md#version-tables); `None` if it records none.
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
            fn session_until(&self, deadline: Deadline) -> Box<dyn Session + '_> {
                (**self).session_until(deadline)
            }

            #[expect(clippy::disallowed_methods, reason = "forwards to the store inside")]
            async fn begin(&self, attempt: Attempt) -> Result<Box<dyn Transaction>, StoreError> {
                (**self).begin(attempt).await
            }

            fn runner(&self) -> &Runner {
                (**self).runner()
            }

            async fn apply_until(
                &self,
                deadline: Deadline,
                set: &WriteSet<'_>,
            ) -> Result<(), StoreError> {
                (**self).apply_until(deadline, set).await
            }

            fn deadline(&self) -> Deadline {
                (**self).deadline()
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

//! The interface of an adapter: sessions, transactions, and atomic write sets.

use std::ops::Deref;

use async_trait::async_trait;

use crate::{
    Attempt, ClusterMetadata, CreateTasks, Deadline, MatchingTasks, MutableState, Namespaces,
    NexusEndpoints, Queues, QueuesV2, RecordedVersion, Runner, StoreError, TaskQueueUserData,
    WriteSet,
};

/// All row ports in one trait: the operations on an autocommit session or in a transaction.
pub trait Session:
    MutableState
    + MatchingTasks
    + TaskQueueUserData
    + Namespaces
    + ClusterMetadata
    + NexusEndpoints
    + Queues
    + QueuesV2
{
}

impl<T> Session for T where
    T: MutableState
        + MatchingTasks
        + TaskQueueUserData
        + Namespaces
        + ClusterMetadata
        + NexusEndpoints
        + Queues
        + QueuesV2
        + ?Sized
{
}

/// A session whose operations are committed together, or not at all.
///
/// Dropping a transaction rolls it back.
#[async_trait]
pub trait Transaction: Session {
    /// Commits the transaction.
    ///
    /// If a statement of this transaction has failed, nothing is committed and the error of that
    /// statement is returned again. A server answers COMMIT of a failed transaction with success
    /// and the tag ROLLBACK (aurora-dsql.md#transactions), which would look like a commit.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if another transaction won a conflict;
    /// [`StoreError::Unavailable`] with an unknown outcome if the answer to COMMIT is lost;
    /// [`StoreError::Limit`]; and those of the connection.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;

    /// Rolls the transaction back.
    ///
    /// # Errors
    /// Those of the connection. The transaction has ended in this case too.
    async fn rollback(self: Box<Self>) -> Result<(), StoreError>;
}

/// A database that stores Temporal's executions.
///
/// The adapters implement it: `DsqlStore` on Aurora DSQL or PostgreSQL, `MemoryStore` in memory.
#[async_trait]
pub trait Store: Send + Sync {
    /// An autocommit session: each call is one statement and one transaction. A call that loses a
    /// conflict is repeated until the deadline of the [`Runner`]'s policy.
    fn session(&self) -> Box<dyn Session + '_> {
        self.session_until(Deadline::NEVER)
    }

    /// An autocommit session. No call waits longer than until `deadline`.
    fn session_until(&self, deadline: Deadline) -> Box<dyn Session + '_>;

    /// Begins a transaction on a snapshot of the database at this time.
    ///
    /// Only [`StoreExt::run`](crate::StoreExt::run), and tests that interleave transactions, call
    /// it.
    ///
    /// # Errors
    /// Those of the connection.
    async fn begin(&self, attempt: Attempt) -> Result<Box<dyn Transaction>, StoreError>;

    /// The runner that repeats this store's operations and transactions.
    fn runner(&self) -> &Runner;

    /// Applies a write set atomically: all of it if its conditions hold, otherwise nothing. After a
    /// lost conflict it is repeated until the deadline of the [`Runner`]'s policy.
    ///
    /// # Errors
    /// [`StoreError::Condition`] if a condition does not hold; [`StoreError::AlreadyExists`] if a
    /// task exists; [`StoreError::InvalidArgument`] as [`WriteSet::validate`], if the archetype of a
    /// current execution is unspecified, and if the path of a CHASM node is longer than its column;
    /// [`StoreError::Limit`] if the write set is larger than a transaction may be;
    /// [`StoreError::Unavailable`] with an unknown outcome if the answer is lost; and those of the
    /// connection.
    async fn apply(&self, set: &WriteSet<'_>) -> Result<(), StoreError> {
        self.apply_until(self.deadline(), set).await
    }

    /// [`apply`](Self::apply) for a caller who waits until `deadline`. An adapter without a faster
    /// way calls [`apply_by_table`](crate::apply_by_table).
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    async fn apply_until(&self, deadline: Deadline, set: &WriteSet<'_>) -> Result<(), StoreError>;

    /// Adds tasks to a task queue if its range id is the owner's. After a lost conflict it is repeated
    /// until the deadline of the [`Runner`]'s policy.
    ///
    /// # Errors
    /// [`ConditionFailed::TaskQueueLeaseLost`](crate::ConditionFailed);
    /// [`StoreError::AlreadyExists`] if one of the tasks exists; [`StoreError::InvalidArgument`] as
    /// [`CreateTasks::validate`]; [`StoreError::Limit`]; [`StoreError::Unavailable`] with an unknown
    /// outcome if the answer is lost; and those of the connection.
    async fn create_tasks(&self, request: &CreateTasks<'_>) -> Result<(), StoreError> {
        self.create_tasks_until(self.deadline(), request).await
    }

    /// [`create_tasks`](Self::create_tasks) for a caller who waits until `deadline`. An adapter without
    /// a faster way calls [`create_tasks_by_table`](crate::create_tasks_by_table).
    ///
    /// # Errors
    /// As [`create_tasks`](Self::create_tasks).
    async fn create_tasks_until(
        &self,
        deadline: Deadline,
        request: &CreateTasks<'_>,
    ) -> Result<(), StoreError>;

    /// The deadline of every operation on this store. Default: never.
    /// [`Within`](crate::Within) is a store with a deadline.
    fn deadline(&self) -> Deadline {
        Deadline::NEVER
    }

    /// The schema version that the store records under the logical database name `database`
    /// (temporal-persistence.md#version-tables); `None` if it records none.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a recorded text is not a version, and those of the connection.
    async fn schema_version(&self, database: &str) -> Result<Option<RecordedVersion>, StoreError>;
}

/// A reference to a store is a store.
#[async_trait]
impl<P> Store for P
where
    P: Deref<Target: Store> + Send + Sync,
{
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

    async fn apply_until(&self, deadline: Deadline, set: &WriteSet<'_>) -> Result<(), StoreError> {
        (**self).apply_until(deadline, set).await
    }

    async fn create_tasks_until(
        &self,
        deadline: Deadline,
        request: &CreateTasks<'_>,
    ) -> Result<(), StoreError> {
        (**self).create_tasks_until(deadline, request).await
    }

    fn deadline(&self) -> Deadline {
        (**self).deadline()
    }

    async fn schema_version(&self, database: &str) -> Result<Option<RecordedVersion>, StoreError> {
        (**self).schema_version(database).await
    }
}

//! A store whose operations end by a deadline.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    Attempt, CreateTasks, Deadline, Outcome, RecordedVersion, Runner, Session, Store, StoreError,
    Transaction, WriteSet,
};

/// A store whose operations end by a deadline.
///
/// All operations on it share the deadline. Create one for each operation, or for all operations of
/// one request. Temporal's stores have a method for it, for example `HistoryStore::within`.
///
/// An operation that is ended by the deadline returns [`StoreError::Unavailable`] with
/// [`DeadlinePassed`](crate::DeadlinePassed) as its source, or its last conflict.
/// [`StoreError::outcome`] is [`Outcome::Unknown`] if COMMIT, or an autocommit write, was sent, and
/// [`Outcome::NotApplied`] otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Within<S> {
    store: S,
    deadline: Deadline,
}

impl<S: Store> Within<S> {
    /// `store`, for `limit` from now on.
    pub fn new(store: S, limit: Duration) -> Self {
        let deadline = store.runner().deadline(limit);
        Self::until(store, deadline)
    }

    /// `store`, until `deadline`.
    pub const fn until(store: S, deadline: Deadline) -> Self {
        Self { store, deadline }
    }
}

#[async_trait]
impl<S: Store> Store for Within<S> {
    fn session_until(&self, deadline: Deadline) -> Box<dyn Session + '_> {
        self.store.session_until(deadline.min(self.deadline))
    }

    #[expect(clippy::disallowed_methods, reason = "forwards to the store inside")]
    async fn begin(&self, attempt: Attempt) -> Result<Box<dyn Transaction>, StoreError> {
        let deadline = attempt.deadline.min(self.deadline);
        self.store.begin(Attempt { deadline, ..attempt }).await
    }

    fn runner(&self) -> &Runner {
        self.store.runner()
    }

    fn deadline(&self) -> Deadline {
        self.deadline.min(self.store.deadline())
    }

    async fn apply_until(&self, deadline: Deadline, set: &WriteSet<'_>) -> Result<(), StoreError> {
        self.store.apply_until(deadline.min(self.deadline), set).await
    }

    async fn create_tasks_until(
        &self,
        deadline: Deadline,
        request: &CreateTasks<'_>,
    ) -> Result<(), StoreError> {
        self.store.create_tasks_until(deadline.min(self.deadline), request).await
    }

    async fn schema_version(&self, database: &str) -> Result<Option<RecordedVersion>, StoreError> {
        let read = self.store.schema_version(database);
        self.runner().until(self.deadline, "SchemaVersion", Outcome::NotApplied, read).await
    }
}

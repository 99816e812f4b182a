//! A connection to the store: autocommit, or inside a transaction.
//!
//! The row ports are implemented once, for [`Connection`], over [`Execute`]. Its implementations
//! execute a statement as a transaction of its own, or inside a transaction.

use std::future::{Future, ready};

use async_trait::async_trait;
use temporal_dsql_ports::{Attempt, Deadline, Store, StoreError, Transaction};

use crate::{MemoryStore, limited_transaction::LimitedTransaction};

/// Executes statements.
pub(crate) trait Execute: Send {
    /// The store that the statements work on.
    fn store(&self) -> &MemoryStore;

    /// Executes `statement`, possibly several times, each time on a new snapshot.
    fn execute<T: Send>(
        &mut self,
        op: &'static str,
        statement: impl Fn(&mut LimitedTransaction) -> Result<T, StoreError> + Send + Sync,
    ) -> impl Future<Output = Result<T, StoreError>> + Send;
}

/// Implements the row ports over an executor of statements.
pub(crate) struct Connection<E>(pub(crate) E);

impl<E: Execute> Connection<E> {
    pub(crate) fn store(&self) -> &MemoryStore {
        self.0.store()
    }

    pub(crate) fn execute<T: Send>(
        &mut self,
        op: &'static str,
        statement: impl Fn(&mut LimitedTransaction) -> Result<T, StoreError> + Send + Sync,
    ) -> impl Future<Output = Result<T, StoreError>> + Send {
        self.0.execute(op, statement)
    }
}

/// Each statement is a transaction of its own.
pub(crate) struct Autocommit<'s> {
    pub(crate) store: &'s MemoryStore,
    pub(crate) deadline: Deadline,
}

impl Execute for Autocommit<'_> {
    fn store(&self) -> &MemoryStore {
        self.store
    }

    fn execute<T: Send>(
        &mut self,
        op: &'static str,
        statement: impl Fn(&mut LimitedTransaction) -> Result<T, StoreError> + Send + Sync,
    ) -> impl Future<Output = Result<T, StoreError>> + Send {
        let Self { store, deadline } = *self;
        let attempt = move |attempt: Attempt| {
            let mut transaction = store.open();
            ready(statement(&mut transaction).and_then(|value| {
                store.commit_statement(attempt.op, transaction)?;
                Ok(value)
            }))
        };
        store.runner().retry_until(deadline, op, attempt)
    }
}

/// Statements are part of one transaction, until one of them fails.
pub(crate) struct InTransaction {
    store: MemoryStore,
    op: &'static str,
    transaction: LimitedTransaction,
    /// The error that ended the transaction. Only a rollback is possible after it
    /// (aurora-dsql.md#transactions).
    failed: Option<StoreError>,
}

impl InTransaction {
    pub(crate) fn new(store: MemoryStore, op: &'static str) -> Self {
        let transaction = store.open();
        Self { store, op, transaction, failed: None }
    }
}

impl Execute for InTransaction {
    fn store(&self) -> &MemoryStore {
        &self.store
    }

    fn execute<T: Send>(
        &mut self,
        _op: &'static str,
        statement: impl Fn(&mut LimitedTransaction) -> Result<T, StoreError> + Send + Sync,
    ) -> impl Future<Output = Result<T, StoreError>> + Send {
        ready(match &self.failed {
            Some(error) => Err(error.clone()),
            None => statement(&mut self.transaction)
                .inspect_err(|error| self.failed = Some(error.clone())),
        })
    }
}

#[async_trait]
impl Transaction for Connection<InTransaction> {
    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let InTransaction { store, op, transaction, failed } = self.0;
        match failed {
            Some(error) => Err(error),
            None => store.commit(op, transaction),
        }
    }

    async fn rollback(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use temporal_dsql_domain::{ArchetypeId, ExecutionsRow, Table};
    use temporal_dsql_ports::limits::{LimitKind, MAX_VALUE_BYTES};

    use super::*;
    use crate::{
        FaultPlan, MemoryFault,
        rows::executions_row,
        testing::{begin, current, execution, logged_store},
    };

    fn is_duplicate(result: Result<impl Sized, StoreError>) -> bool {
        matches!(result, Err(StoreError::AlreadyExists { table: Table::Executions, .. }))
    }

    #[tokio::test]
    async fn after_a_failed_statement_all_others_and_the_commit_return_its_error() {
        let store = MemoryStore::new();
        let (old, new) = (execution("old", 1), execution("new", 1));
        store.session().insert_into_executions(&old).await.unwrap();

        let mut transaction = begin(&store).await;
        transaction.insert_into_executions(&new).await.unwrap();
        assert!(is_duplicate(transaction.insert_into_executions(&old).await));
        assert!(is_duplicate(transaction.select_from_executions(&old.filter()).await));
        assert!(is_duplicate(transaction.delete_from_executions(&old.filter()).await));
        assert!(is_duplicate(transaction.commit().await));
        assert_eq!(store.len(), 1);
        assert_eq!(store.engine().open_transactions(), 0);
    }

    #[tokio::test]
    async fn a_failed_transaction_can_be_rolled_back() {
        let store = MemoryStore::new();
        let row = execution("w", 1);
        let mut transaction = begin(&store).await;
        transaction.insert_into_executions(&row).await.unwrap();
        assert!(is_duplicate(transaction.insert_into_executions(&row).await));
        transaction.rollback().await.unwrap();
        assert_eq!(store.len(), 0);
        assert_eq!(store.engine().open_transactions(), 0);
    }

    #[tokio::test]
    async fn a_row_that_is_refused_before_its_statement_does_not_end_the_transaction() {
        let store = MemoryStore::new();
        let mut transaction = begin(&store).await;
        let mut too_large = execution("w", 1);
        too_large.data.data = vec![0; MAX_VALUE_BYTES + 1];
        for refusal in [
            transaction.insert_into_executions(&too_large).await,
            transaction.update_executions(&too_large).await,
        ] {
            let kind = LimitKind::ValueBytes;
            assert!(matches!(refusal, Err(StoreError::Limit { kind: k, .. }) if k == kind));
        }
        let unspecified = current("w", ArchetypeId::UNSPECIFIED, 1);
        for refusal in [
            transaction.insert_into_current_executions(&unspecified).await,
            transaction.update_current_executions(&unspecified).await,
        ] {
            let Err(StoreError::InvalidArgument { field, reason, .. }) = refusal else {
                panic!("expected a refusal, got {refusal:?}");
            };
            assert_eq!(field, "archetype_id");
            assert!(reason.contains("`w`"), "{reason}");
        }
        transaction.insert_into_executions(&execution("w", 1)).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(store.len(), 1);
    }

    #[tokio::test]
    async fn a_transaction_that_is_rolled_back_or_dropped_leaves_nothing() {
        let store = MemoryStore::new();
        let row = execution("w", 1);
        for rolled_back in [true, false] {
            let mut transaction = begin(&store).await;
            transaction.insert_into_executions(&row).await.unwrap();
            store.session().insert_into_executions(&execution("other", 1)).await.unwrap();
            assert_eq!(store.engine().tracked_rows(), 1);
            if rolled_back {
                transaction.rollback().await.unwrap();
            } else {
                drop(transaction);
            }
            assert_eq!(store.engine().open_transactions(), 0);
            assert_eq!(store.engine().tracked_rows(), 0);
            let session = &mut store.session();
            assert_eq!(session.select_from_executions(&row.filter()).await.unwrap(), None);
            session.delete_from_executions(&execution("other", 1).filter()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_conflict_at_commit_names_the_operation_and_the_row() {
        let store = MemoryStore::new();
        let row = execution("order-1", 1);
        let mut transaction = begin(&store).await;
        transaction.insert_into_executions(&row).await.unwrap();
        store.session().insert_into_executions(&row).await.unwrap();
        let Err(StoreError::Conflict { op, attempts, source: Some(source) }) =
            transaction.commit().await
        else {
            panic!("expected a conflict");
        };
        assert_eq!((op, attempts), ("Test", 1));
        assert!(source.to_string().contains("order-1"), "{source}");
    }

    #[tokio::test]
    async fn every_autocommit_call_is_run_under_the_name_of_temporals_method() {
        let (store, log) = logged_store();
        let mut session = store.session();
        let (run, row) = (execution("w", 1), current("w", ArchetypeId::ACTIVITY, 1));
        let (run_key, row_key) = (run.filter(), row.filter());
        session.insert_into_executions(&run).await.unwrap();
        session.update_executions(&run).await.unwrap();
        session.select_from_executions(&run_key).await.unwrap();
        session.read_lock_executions(&run_key).await.unwrap();
        session.write_lock_executions(&run_key).await.unwrap();
        session.insert_into_current_executions(&row).await.unwrap();
        session.update_current_executions(&row).await.unwrap();
        session.select_from_current_executions(&row_key).await.unwrap();
        session.lock_current_executions(&row_key).await.unwrap();
        session.lock_current_executions_join_executions(&row_key).await.unwrap();
        session.delete_from_current_executions(&row_key, row.run_id).await.unwrap();
        session.delete_from_executions(&run_key).await.unwrap();
        let names = [
            "InsertIntoExecutions",
            "UpdateExecutions",
            "SelectFromExecutions",
            "ReadLockExecutions",
            "WriteLockExecutions",
            "InsertIntoCurrentExecutions",
            "UpdateCurrentExecutions",
            "SelectFromCurrentExecutions",
            "LockCurrentExecutions",
            "LockCurrentExecutionsJoinExecutions",
            "DeleteFromCurrentExecutions",
            "DeleteFromExecutions",
        ];
        assert_eq!(log.take(), names.map(|name| (name, 1)));
    }

    #[tokio::test]
    async fn an_autocommit_write_that_was_not_applied_is_repeated() {
        for fault in [MemoryFault::Conflict, MemoryFault::Unavailable] {
            let (store, log) = logged_store();
            store.inject(FaultPlan::script([fault, fault]));
            let inserted = store.session().insert_into_executions(&execution("w", 1)).await;
            assert_eq!(inserted.unwrap(), 1, "{fault:?}");
            assert_eq!(log.take(), [("InsertIntoExecutions", 3)]);
        }
    }

    #[tokio::test]
    async fn an_autocommit_duplicate_is_not_repeated() {
        let (store, log) = logged_store();
        let row = execution("w", 1);
        store.session().insert_into_executions(&row).await.unwrap();
        assert!(is_duplicate(store.session().insert_into_executions(&row).await));
        assert_eq!(log.take(), [("InsertIntoExecutions", 1); 2]);
        assert_eq!(store.engine().open_transactions(), 0);
    }

    #[tokio::test]
    async fn an_autocommit_statement_that_loses_a_conflict_is_repeated_on_a_new_snapshot() {
        let (store, log) = logged_store();
        let mut row = execution("w", 1);
        store.session().insert_into_executions(&row).await.unwrap();
        row.next_event_id = 100;
        let updated = executions_row(&row).unwrap();
        let raced = AtomicBool::new(false);
        let seen = Autocommit { store: &store, deadline: Deadline::NEVER }
            .execute("Race", |transaction| {
                // Another writer commits between the begin of the first attempt and its commit.
                if !raced.swap(true, Ordering::SeqCst) {
                    let mut other = store.open();
                    other.update(&updated)?;
                    store.commit("Other", other)?;
                }
                let seen =
                    transaction.select(&updated.key).map(|row: &ExecutionsRow| row.next_event_id);
                transaction.update(&updated)?;
                Ok(seen)
            })
            .await;
        assert_eq!(seen.unwrap(), Some(100));
        assert_eq!(log.take(), [("InsertIntoExecutions", 1), ("Race", 2)]);
    }
}

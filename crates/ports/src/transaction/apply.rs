//! The reference execution of a write set: one transaction that reads, checks and writes.

use temporal_dsql_domain::Table;

use super::StoreExt;
use crate::{
    BoxFuture, Cause, Store, StoreError, Transaction,
    write_set::{RowCounts, WriteSet},
};

/// Applies `set` in one transaction, with the statements of the row ports.
///
/// # Errors
/// As [`Store::apply`].
pub async fn apply_by_table<S>(store: &S, set: &WriteSet<'_>) -> Result<(), StoreError>
where
    S: Store + ?Sized,
{
    set.validate()?;
    store.run(set.op, set, observe_check_write).await
}

fn observe_check_write<'t>(
    transaction: &'t mut dyn Transaction,
    set: &'t WriteSet<'_>,
) -> BoxFuture<'t, Result<(), StoreError>> {
    Box::pin(async move {
        let observed = transaction.observe(set).await?;
        set.check(&observed)?;
        let written =
            transaction.write(set, &observed).await.map_err(|error| set.duplicate(error))?;
        set.verify(written)
    })
}

impl WriteSet<'_> {
    /// Classifies an error of a write after the conditions have been checked.
    ///
    /// A duplicate run or current execution was absent in the snapshot, so a concurrent transaction
    /// has inserted it: a lost conflict. The id of a buffered event is partly random, and the next
    /// attempt uses another. Other errors are returned unchanged.
    #[must_use]
    pub fn duplicate(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::AlreadyExists {
                table:
                    Table::Executions
                    | Table::CurrentExecutions
                    | Table::CurrentChasmExecutions
                    | Table::BufferedEvents,
                ..
            } => error.duplicate_is_conflict(self.op),
            other => other,
        }
    }

    /// Checks the numbers of written rows.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if they differ from those of the write set.
    pub fn verify(&self, written: RowCounts) -> Result<(), StoreError> {
        let expected = self.expected_counts();
        if written == expected {
            return Ok(());
        }
        let op = self.op;
        Err(StoreError::Corrupt {
            table: Table::Executions,
            column: "run_id",
            source: Some(Cause::new(format!("{op} wrote {written:?} instead of {expected:?}"))),
        })
    }
}

//! The reference way to apply an act: one transaction that observes, checks and writes.

use temporal_dsql_domain::Table;

use super::StoreExt;
use crate::{
    BoxFuture, Cause, Store, StoreError, Transaction,
    write_set::{RowCounts, WriteSet},
};

/// Applies `set` in one transaction of row operations.
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
    /// What an error of the rows means for the act, whose conditions hold for what was observed.
    ///
    /// A run or current execution that exists although it was observed to be absent comes from a
    /// concurrent creator: a lost conflict. The id of a buffered event is random in part: the next
    /// attempt draws another. Any other error stays as it is.
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

    /// Checks that the rows were written which were observed before.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if another number of rows was written.
    pub fn verify(&self, written: RowCounts) -> Result<(), StoreError> {
        let expected = self.to_write();
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

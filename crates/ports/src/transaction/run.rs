//! Running a transaction: begin, body, commit, and a new attempt after a conflict.

use crate::{Attempt, BoxFuture, Outcome, Store, StoreError, Transaction};

/// The body of a transaction: a function of the transaction and the request, not a closure.
///
/// It may run several times, so it captures no state, and it changes nothing in its request, except to
/// note what the runs have read. It must return
/// every error of the transaction: after an error, the transaction can only be rolled back.
pub type Body<Req, T> =
    for<'t> fn(&'t mut dyn Transaction, &'t Req) -> BoxFuture<'t, Result<T, StoreError>>;

/// Runs transactions on any [`Store`].
pub trait StoreExt: Store {
    /// Runs `body` in one transaction and commits it. After a lost conflict, or a connection failure
    /// before COMMIT, it runs again in a new transaction, until the deadline.
    ///
    /// ```
    /// use temporal_dsql_domain::{CurrentExecutionsRow};
    /// use temporal_dsql_ports::{ConditionFailed, Store, StoreError, StoreExt};
    ///
    /// /// Makes `row` the current execution of its id, if the id has none.
    /// async fn create(store: &dyn Store, row: &CurrentExecutionsRow) -> Result<(), StoreError> {
    ///     store
    ///         .run("Create", row, |transaction, row| {
    ///             Box::pin(async move {
    ///                 match transaction.lock_current_executions(&row.filter()).await? {
    ///                     Some(current) => Err(StoreError::Condition(
    ///                         ConditionFailed::CurrentExecution { observed: Some(Box::new(current)) },
    ///                     )),
    ///                     None => transaction
    ///                         .insert_into_current_executions(row)
    ///                         .await
    ///                         .map(drop)
    ///                         .map_err(|error| error.duplicate_is_conflict("Create")),
    ///                 }
    ///             })
    ///         })
    ///         .await
    /// }
    /// ```
    ///
    /// # Errors
    /// The body's error, unless the attempt is repeated; [`StoreError::Conflict`] at the deadline;
    /// [`StoreError::Unavailable`] with [`Outcome::Unknown`] if the answer to COMMIT was lost.
    fn run<'a, Req, T>(
        &'a self,
        op: &'static str,
        request: &'a Req,
        body: Body<Req, T>,
    ) -> BoxFuture<'a, Result<T, StoreError>>
    where
        Req: Sync + ?Sized,
        T: Send + 'a,
    {
        let run = move |attempt| run_once(self, attempt, request, body);
        Box::pin(self.runner().retry_until(self.deadline(), op, run))
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

async fn run_once<S, Req, T>(
    store: &S,
    attempt: Attempt,
    request: &Req,
    body: Body<Req, T>,
) -> Result<T, StoreError>
where
    S: Store + ?Sized,
    Req: Sync + ?Sized,
{
    let Attempt { op, deadline, .. } = attempt;
    let runner = store.runner();
    #[expect(clippy::disallowed_methods, reason = "the only caller of `begin`")]
    let begin = store.begin(attempt);
    let mut transaction = runner.until(deadline, op, Outcome::NotApplied, begin).await?;
    let work = body(&mut *transaction, request);
    match runner.until(deadline, op, Outcome::NotApplied, work).await {
        Ok(value) => {
            runner.until(deadline, op, Outcome::Unknown, transaction.commit()).await?;
            Ok(value)
        }
        Err(error) => {
            // An error of the rollback is ignored: the server rolls back a transaction when its
            // connection ends.
            let rollback = transaction.rollback();
            let _ = runner.until(deadline, op, Outcome::NotApplied, rollback).await;
            Err(error)
        }
    }
}

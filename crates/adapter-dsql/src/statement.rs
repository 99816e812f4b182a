//! A statement: constant text, typed arguments, and what is needed to say what went wrong.

use std::{hash::Hash, time::Duration};

use futures_util::TryStreamExt;
use sqlx::{
    Arguments, Either, Encode, Executor, Postgres, Type,
    postgres::{PgArguments, PgRow},
};
use temporal_dsql_domain::{ShardId, Table};
use temporal_dsql_ports::{Attempt, StoreError};
use tracing::Instrument;

use crate::{
    error::{Context, breaks_connection, is_catalog_conflict},
    pool::Pooled,
    sqlstate::Phase,
    turns::RowKey,
};

/// What is constant about a statement.
#[derive(Debug)]
pub(crate) struct Meta {
    /// Temporal's name of the operation.
    pub op: &'static str,
    /// The table that errors name.
    pub table: Table,
    /// Whether the statement changes rows.
    pub writes: bool,
    /// The text.
    pub sql: &'static str,
}

/// A statement with its arguments.
#[derive(Clone)]
pub(crate) struct Statement {
    pub meta: &'static Meta,
    shard_id: ShardId,
    arguments: PgArguments,
    /// The row that it locks, if others that lock it had better wait.
    pub contended: Option<RowKey>,
}

/// What the server answered.
pub(crate) struct Answer {
    /// Rows that the statement affected or returned.
    pub affected: u64,
    /// Rows that it returned.
    pub rows: Vec<PgRow>,
}

impl Statement {
    /// A statement without arguments yet; `shard_id` is for spans.
    pub(crate) fn new(meta: &'static Meta, shard_id: ShardId) -> Self {
        Self { meta, shard_id, arguments: PgArguments::default(), contended: None }
    }

    /// Adds the next argument.
    pub(crate) fn bind<T>(mut self, value: T) -> Self
    where
        T: for<'q> Encode<'q, Postgres> + Type<Postgres>,
    {
        self.arguments
            .add(value)
            .expect("the types that are bound here have encodings that cannot fail");
        self
    }

    /// Says that the statement locks the row of `table` with this `key` against everyone.
    pub(crate) fn locks(mut self, table: Table, key: impl Hash) -> Self {
        self.contended = Some(RowKey::new(table, key));
        self
    }

    /// Runs the statement on `pooled` and waits for its whole answer, at most for `timeout`.
    pub(crate) async fn run(
        self,
        pooled: &mut Pooled,
        attempt: u32,
        phase: Phase,
        timeout: Duration,
    ) -> Result<Answer, StoreError> {
        let Meta { op, table, sql, .. } = *self.meta;
        let span = tracing::debug_span!(
            "statement",
            db.operation.name = op,
            db.collection.name = table.name(),
            shard = self.shard_id.0,
            attempt
        );
        async move {
            let context = Context { op, table: Some(table), phase };
            let answer =
                answer(pooled, sqlx::query_with(sql, self.arguments), context, timeout).await;
            match &answer {
                Ok(answer) => tracing::debug!(rows = answer.affected, "done"),
                Err(error) => tracing::debug!(%error, "failed"),
            }
            answer
        }
        .instrument(span)
        .await
    }
}

/// Runs one statement that takes no arguments, in the simple protocol: BEGIN, COMMIT, ROLLBACK.
pub(crate) async fn run_simple(
    pooled: &mut Pooled,
    sql: &'static str,
    attempt: Attempt,
    phase: Phase,
    timeout: Duration,
) -> Result<(), StoreError> {
    let context = Context { op: attempt.op, table: None, phase };
    answer(pooled, sqlx::raw_sql(sql), context, timeout).await.map(drop)
}

async fn answer<'q, E>(
    pooled: &mut Pooled,
    query: E,
    context: Context,
    timeout: Duration,
) -> Result<Answer, StoreError>
where
    E: sqlx::Execute<'q, Postgres> + 'q,
{
    // Set for the time of the exchange: if this future is dropped in the middle, what is on the
    // wire is unknown and the connection must not be used again.
    pooled.broken = true;
    let exchange = async {
        let mut answer = Answer { affected: 0, rows: Vec::new() };
        let mut stream = pooled.connection.fetch_many(query);
        while let Some(part) = stream.try_next().await? {
            match part {
                Either::Left(done) => answer.affected += done.rows_affected(),
                Either::Right(row) => answer.rows.push(row),
            }
        }
        Ok(answer)
    };
    match tokio::time::timeout(timeout, exchange).await {
        Ok(Ok(answer)) => {
            pooled.broken = false;
            Ok(answer)
        }
        Ok(Err(error)) => {
            let is_good = !breaks_connection(&error)
                && (!is_catalog_conflict(&error) || forget_statements(pooled, timeout).await);
            pooled.broken = !is_good;
            Err(context.error(error))
        }
        Err(elapsed) => Err(context.timeout(elapsed)),
    }
}

/// Makes the next attempt prepare its statements against the new catalog; tells whether the
/// connection is still good.
async fn forget_statements(pooled: &mut Pooled, timeout: Duration) -> bool {
    use sqlx::Connection;
    let forgotten = pooled.connection.clear_cached_statements();
    matches!(tokio::time::timeout(timeout, forgotten).await, Ok(Ok(())))
}

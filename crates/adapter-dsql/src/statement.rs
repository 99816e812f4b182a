//! Statements: constant text with typed arguments, sent within a timeout and a span.

use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::{
    Either, Executor, Postgres,
    postgres::{PgArguments, PgRow},
};
use temporal_dsql_client::{
    Class, Conflict, ConnectionState, Phase, classify_error, connection_state_after,
};
use temporal_dsql_domain::{ShardId, Table};
use temporal_dsql_ports::{Attempt, Cause, Outcome, StoreError, limits::LimitKind};
use tracing::{Instrument, Span, field::Empty};

use crate::{
    arguments::Arguments, error::Context, observer::outcome, pool::ServerConnection, text::Text,
};

/// Bytes of a message to the server (aurora-dsql.md#limits).
const MAX_MESSAGE_BYTES: usize = 10 * 1024 * 1024;
/// An upper bound of the bytes of a Bind message beside its arguments: its type and length, the names
/// of the portal and of the statement, and the formats.
const MESSAGE_OVERHEAD: usize = 64;

/// The constant part of a statement.
#[derive(Debug)]
pub(crate) struct Meta {
    /// Temporal's name of the operation.
    pub op: &'static str,
    /// The table that errors name.
    pub table: Table,
    /// Whether the statement changes rows.
    pub writes: bool,
    /// Whether the statement computes the key of the row that it inserts. A duplicate key then comes
    /// from a concurrent statement, and is a lost conflict.
    pub computes_key: bool,
    /// The text.
    pub text: Text,
}

impl Meta {
    /// The statement as one of the operation `op`. By default the operation has its name.
    pub(crate) const fn of_operation(mut self, op: &'static str) -> Self {
        self.op = op;
        self
    }

    /// The statement as one that computes the key of the row that it inserts.
    pub(crate) const fn with_computed_key(mut self) -> Self {
        self.computes_key = true;
        self
    }
}

/// A `.sql` file with the statements of one table.
#[derive(Clone, Copy)]
pub(crate) struct SqlFile {
    table: Table,
    content: &'static str,
}

impl SqlFile {
    pub(crate) const fn new(table: Table, content: &'static str) -> Self {
        Self { table, content }
    }

    /// The statement `name`, which changes no rows.
    pub(crate) const fn read(self, name: &'static str) -> Meta {
        self.statement(name, false)
    }

    /// The statement `name`, which changes rows.
    pub(crate) const fn write(self, name: &'static str) -> Meta {
        self.statement(name, true)
    }

    const fn statement(self, name: &'static str, writes: bool) -> Meta {
        let text = Text::new(self.content, name);
        Meta { op: name, table: self.table, writes, computes_key: false, text }
    }
}

/// A statement with its arguments.
#[derive(Clone)]
pub(crate) struct Statement {
    pub meta: &'static Meta,
    op: &'static str,
    table: Option<Table>,
    /// `None` for a table whose rows belong to no shard.
    shard_id: Option<ShardId>,
    arguments: PgArguments,
    /// The bytes of the arguments on the wire, with their lengths.
    bytes: usize,
}

/// The answer of the server.
pub(crate) struct Answer {
    /// Rows that the statement affected or returned.
    pub affected: u64,
    /// Rows that it returned.
    pub rows: Vec<PgRow>,
}

impl Statement {
    /// A statement with the values that its text names; `shard_id` is for spans.
    ///
    /// # Panics
    /// There is no value for a name of the text.
    pub(crate) fn new(
        meta: &'static Meta,
        shard_id: impl Into<Option<ShardId>>,
        arguments: &Arguments<'_>,
    ) -> Self {
        let (arguments, bytes) = arguments.encode(&meta.text);
        let (op, table, shard_id) = (meta.op, Some(meta.table), shard_id.into());
        Self { meta, op, table, shard_id, arguments, bytes }
    }

    /// The statement as the whole operation `op`, which errors and spans name. It writes many tables,
    /// so an error without a table has none.
    pub(crate) fn of_operation(self, op: &'static str) -> Self {
        Self { op, table: None, ..self }
    }

    /// Refuses a statement whose arguments do not fit a message.
    ///
    /// A server does not answer a message that is too long; it closes the connection
    /// (aurora-dsql.md#limits). The outcome of a write would be unknown, and a read
    /// would be repeated until its deadline.
    fn check_size(&self) -> Result<(), StoreError> {
        let bytes = self.bytes + MESSAGE_OVERHEAD;
        if bytes <= MAX_MESSAGE_BYTES {
            return Ok(());
        }
        Err(StoreError::Limit {
            kind: LimitKind::TransactionBytes,
            source: Some(Cause::new(format!(
                "the arguments of {} have {bytes} bytes in all; a message has at most \
                 {MAX_MESSAGE_BYTES}",
                self.op
            ))),
        })
    }

    /// The values, encoded.
    #[cfg(test)]
    pub(crate) fn into_arguments(self) -> PgArguments {
        self.arguments
    }

    /// Runs the statement on `connection` and waits for its whole answer, at most for `timeout`.
    pub(crate) async fn run(
        self,
        connection: &mut ServerConnection,
        attempt: u32,
        phase: Phase,
        timeout: Duration,
    ) -> Result<Answer, StoreError> {
        self.check_size()?;
        let (op, sql) = (self.op, self.meta.text.sql());
        let span = tracing::debug_span!(
            "statement",
            otel.name = op,
            db.operation.name = op,
            db.collection.name = self.meta.table.name(),
            shard = self.shard_id.map(|shard_id| shard_id.0),
            attempt,
            outcome = Empty
        );
        let context = Context { op, table: self.table, phase };
        let query = sqlx::query_with(sql, self.arguments);
        let answer = traced(span, answer(connection, query, context, timeout)).await;
        answer.map_err(|error| match self.meta.computes_key {
            true => error.duplicate_is_conflict(op),
            false => error,
        })
    }
}

/// Runs one statement that takes no arguments, in the simple protocol: BEGIN, COMMIT, ROLLBACK.
pub(crate) async fn run_simple(
    connection: &mut ServerConnection,
    sql: &'static str,
    attempt: Attempt,
    phase: Phase,
    timeout: Duration,
) -> Result<(), StoreError> {
    let command = sql.split(' ').next();
    let span = tracing::debug_span!(
        "statement",
        otel.name = command,
        db.operation.name = command,
        attempt = attempt.number,
        outcome = Empty
    );
    let context = Context { op: attempt.op, table: None, phase };
    traced(span, answer(connection, sqlx::raw_sql(sql), context, timeout)).await.map(drop)
}

/// Waits for the answer inside `span`, and records the outcome there.
async fn traced(
    span: Span,
    exchange: impl Future<Output = Result<Answer, StoreError>>,
) -> Result<Answer, StoreError> {
    let exchange = async {
        let answer = exchange.await;
        Span::current().record("outcome", outcome(answer.as_ref().err()));
        match &answer {
            Ok(answer) => tracing::debug!(rows = answer.affected, "done"),
            Err(error) => tracing::debug!(%error, "failed"),
        }
        answer
    };
    exchange.instrument(span).await
}

async fn answer<'q, E>(
    connection: &mut ServerConnection,
    query: E,
    context: Context,
    timeout: Duration,
) -> Result<Answer, StoreError>
where
    E: sqlx::Execute<'q, Postgres> + 'q,
{
    // Set during the exchange: if this future is dropped, the state of the wire is unknown and the
    // connection must not be used again.
    connection.broken = true;
    let exchange = async {
        let mut answer = Answer { affected: 0, rows: Vec::new() };
        let mut stream = connection.inner.fetch_many(query);
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
            connection.record_answer();
            Ok(answer)
        }
        Ok(Err(error)) => {
            let state = connection_state_after(&error);
            connection.is_stale |= classify_error(&error, Phase::Statement)
                == Some(Class::Conflict(Conflict::Catalog));
            let error = context.error(error);
            match state {
                // The server may not have ended the transaction. The next write on the connection
                // would be answered as done, and would be lost.
                ConnectionState::Usable if error.outcome() == Outcome::Unknown => {}
                ConnectionState::Usable => connection.record_answer(),
                ConnectionState::Unusable => {}
                ConnectionState::Broken => connection.record_breakage(),
            }
            Err(error)
        }
        Err(elapsed) => {
            connection.record_timeout();
            Err(context.timeout(elapsed))
        }
    }
}

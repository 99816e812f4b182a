//! Reads and writes whole rows in the binary format, for an import: arrays as parameters, and the bytes
//! of each value as the server sends them.

use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::{
    AssertSqlSafe, PgConnection, Postgres, Row as _, ValueRef as _,
    encode::{Encode, IsNull},
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgArguments, PgRow, PgTypeInfo, types::Oid},
    query::Query,
};
use temporal_dsql_client::Connector;
use temporal_dsql_domain::Engine;

use super::{
    DetectedServer, PostgresDatabase, STATEMENT_LIMIT,
    error::{Failure, classify},
    watch::within,
};
use crate::{
    DatabaseError,
    import::{Column, ValueType},
};

/// The limit of a statement that reads a whole table: hundreds of gigabytes at the speed of one disk.
const SCAN_LIMIT: Duration = Duration::from_secs(6 * 60 * 60);

/// A session that reads and writes rows. A broken connection is closed; the next call opens another.
pub(crate) struct RowSession {
    connector: Connector,
    engine: Engine,
    schema: String,
    /// The snapshot that every connection reads.
    snapshot: Option<String>,
    connection: Option<PgConnection>,
}

/// A parameter of a statement.
#[derive(Clone, Copy)]
pub(crate) enum Parameter<'v> {
    /// One value.
    Value(ValueType, Option<&'v [u8]>),
    /// An array of values.
    Array(ValueType, &'v Column),
}

/// A row of an answer.
pub(crate) struct RawRow<'r>(&'r PgRow);

impl<'r> RawRow<'r> {
    /// The bytes of a value; `None` if it is NULL, or if the answer has no such column.
    pub(crate) fn value(&self, column: usize) -> Option<&'r [u8]> {
        let value = self.0.try_get_raw(column).ok().filter(|value| !value.is_null())?;
        value.as_bytes().ok()
    }

    /// A number; 0 if it is NULL.
    pub(crate) fn number(&self, column: usize) -> i64 {
        match self.value(column) {
            Some(bytes) => ValueType::number(bytes),
            None => 0,
        }
    }

    /// A text; empty if it is NULL.
    pub(crate) fn text(&self, column: usize) -> String {
        self.value(column).map_or_else(String::new, |text| String::from_utf8_lossy(text).into())
    }
}

impl PostgresDatabase {
    /// The name of the database.
    pub(crate) fn database_name(&self) -> &str {
        &self.connector.endpoint().database
    }

    /// A session for rows of this database, which opens a connection of its own.
    pub(crate) fn rows(&self) -> RowSession {
        RowSession {
            connector: self.connector.clone(),
            engine: self.engine,
            schema: self.schema.clone(),
            snapshot: None,
            connection: None,
        }
    }
}

impl RowSession {
    /// Begins a transaction that only reads, and returns the name of its snapshot, which other sessions
    /// can read as long as this one is open.
    ///
    /// # Errors
    /// Those of the connection and the server.
    pub(crate) async fn export_snapshot(&mut self) -> Result<String, DatabaseError> {
        self.connection = None;
        self.snapshot = None;
        let mut connection = self.open().await?;
        let begin = async {
            allow_long_reads(&mut connection).await?;
            sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .execute(&mut connection)
                .await?;
            sqlx::query_scalar("SELECT pg_catalog.pg_export_snapshot()")
                .fetch_one(&mut connection)
                .await
        };
        let name: Result<String, _> = within(Some(STATEMENT_LIMIT), begin).await;
        let name = self.settle(connection, name)?;
        self.snapshot = Some(name.clone());
        Ok(name)
    }

    /// Ends the transaction that holds the snapshot: this session then reads what is committed. The
    /// connection stays open, so the password that opened it may have expired.
    pub(crate) async fn end_snapshot(&mut self) {
        self.snapshot = None;
        let Some(mut connection) = self.connection.take() else { return };
        let commit = async { sqlx::raw_sql("COMMIT").execute(&mut connection).await };
        // Without an answer the connection is closed, which ends the transaction, too.
        if within(Some(STATEMENT_LIMIT), commit).await.is_ok() {
            self.connection = Some(connection);
        }
    }

    /// Another session that reads the snapshot of this one, or no snapshot if this one has none.
    pub(crate) fn another(&self) -> Self {
        Self {
            connector: self.connector.clone(),
            engine: self.engine,
            schema: self.schema.clone(),
            snapshot: self.snapshot.clone(),
            connection: None,
        }
    }

    /// Opens the connection, if it is not open.
    ///
    /// # Errors
    /// Those of the connection.
    pub(crate) async fn connect(&mut self) -> Result<(), DatabaseError> {
        self.connection = Some(self.take().await?);
        Ok(())
    }

    /// Executes a statement, and returns how many rows it has written.
    ///
    /// # Errors
    /// Those of the connection and the server. Unless the server refused, the statement may be in
    /// effect.
    pub(crate) async fn execute(
        &mut self,
        text: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<u64, DatabaseError> {
        let mut connection = self.take().await?;
        let query = bound(text, parameters);
        let done = within(Some(STATEMENT_LIMIT), query.execute(&mut connection)).await;
        Ok(self.settle(connection, done)?.rows_affected())
    }

    /// Calls `visit` with each row of the answer until it returns false. The rows are not kept.
    ///
    /// # Errors
    /// Those of the connection and the server. `visit` may have been called.
    pub(crate) async fn read(
        &mut self,
        text: &str,
        parameters: &[Parameter<'_>],
        visit: &mut (dyn FnMut(&RawRow<'_>) -> bool + Send),
    ) -> Result<(), DatabaseError> {
        self.read_within(STATEMENT_LIMIT, text, parameters, visit).await
    }

    /// The same for a statement that reads a whole table before it answers, however large that is.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) async fn scan(
        &mut self,
        text: &str,
        visit: &mut (dyn FnMut(&RawRow<'_>) -> bool + Send),
    ) -> Result<(), DatabaseError> {
        self.read_within(SCAN_LIMIT, text, &[], visit).await
    }

    async fn read_within(
        &mut self,
        limit: Duration,
        text: &str,
        parameters: &[Parameter<'_>],
        visit: &mut (dyn FnMut(&RawRow<'_>) -> bool + Send),
    ) -> Result<(), DatabaseError> {
        let mut connection = self.take().await?;
        let read = async {
            let mut rows = bound(text, parameters).fetch(&mut connection);
            while let Some(row) = rows.try_next().await? {
                if !visit(&RawRow(&row)) {
                    break;
                }
            }
            Ok(())
        };
        let read = within(Some(limit), read).await;
        self.settle(connection, read)
    }

    async fn take(&mut self) -> Result<PgConnection, DatabaseError> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.open().await,
        }
    }

    async fn open(&self) -> Result<PgConnection, DatabaseError> {
        let mut connection = PostgresDatabase::open(&self.connector).await?;
        let server = DetectedServer { engine: self.engine, schema: self.schema.clone() };
        let endpoint = self.connector.endpoint();
        PostgresDatabase::pin(&mut connection, &server, endpoint).await?;
        if let Some(snapshot) = &self.snapshot {
            let begin = format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{}'",
                snapshot.replace('\'', "''")
            );
            let begun = async {
                allow_long_reads(&mut connection).await?;
                sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut connection).await
            };
            let begun = within(Some(STATEMENT_LIMIT), begun).await;
            begun.map_err(|failure| classify(failure, endpoint))?;
        }
        Ok(connection)
    }

    /// Keeps a connection that can be used again. A transaction that has failed cannot.
    fn settle<T>(
        &mut self,
        connection: PgConnection,
        result: Result<T, Failure>,
    ) -> Result<T, DatabaseError> {
        let keeps = match &result {
            Ok(_) => true,
            Err(failure) => failure.keeps_connection() && self.snapshot.is_none(),
        };
        if keeps {
            self.connection = Some(connection);
        }
        result.map_err(|failure| classify(failure, self.connector.endpoint()))
    }
}

/// Lets the session wait: a snapshot is read for as long as an import takes. While a statement reads a
/// whole table, nothing is sent, so the server keeps the connection alive in firewalls and NAT gateways.
/// But a statement whose client has gone ends soon, and not after it has read the whole table. Every role
/// may change these settings; which of them there are depends on the version of the server.
async fn allow_long_reads(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "SELECT pg_catalog.set_config(name, CASE WHEN name LIKE 'tcp_%' THEN '60' ELSE '0' END, false) \
         FROM pg_catalog.pg_settings \
         WHERE name IN ('idle_in_transaction_session_timeout', 'statement_timeout', \
         'transaction_timeout', 'tcp_keepalives_idle', 'tcp_keepalives_interval')",
    )
    .execute(&mut *connection)
    .await?;
    let checks = sqlx::query(
        "SELECT pg_catalog.set_config(name, '2s', false) FROM pg_catalog.pg_settings \
         WHERE name = 'client_connection_check_interval'",
    );
    match checks.execute(connection).await {
        // Not every operating system of a server can check.
        Ok(_) | Err(sqlx::Error::Database(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn bound(text: &str, parameters: &[Parameter<'_>]) -> Query<'static, Postgres, PgArguments> {
    let query = sqlx::query(AssertSqlSafe(text.to_owned()));
    parameters.iter().fold(query, |query, parameter| query.bind(*parameter))
}

/// The object ids of a type and of its array type, which are the same on every server.
const fn oids(value_type: ValueType) -> (u32, u32) {
    match value_type {
        ValueType::Bool => (16, 1000),
        ValueType::Int2 => (21, 1005),
        ValueType::Int4 => (23, 1007),
        ValueType::Int8 => (20, 1016),
        ValueType::Bytea => (17, 1001),
        ValueType::Text => (25, 1009),
        ValueType::Timestamp => (1114, 1115),
        ValueType::Uuid => (2950, 2951),
    }
}

impl sqlx::Type<Postgres> for Parameter<'_> {
    /// [`produces`](Encode::produces) has the type of each parameter.
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Parameter<'_> {
    fn produces(&self) -> Option<PgTypeInfo> {
        let oid = match self {
            Self::Value(value_type, _) => oids(*value_type).0,
            Self::Array(value_type, _) => oids(*value_type).1,
        };
        Some(PgTypeInfo::with_oid(Oid(oid)))
    }

    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match self {
            Self::Value(_, None) => return Ok(IsNull::Yes),
            Self::Value(_, Some(value)) => buffer.extend_from_slice(value),
            Self::Array(value_type, column) => {
                let dimensions = 1_i32;
                let first = 1_i32;
                buffer.extend_from_slice(&dimensions.to_be_bytes());
                buffer.extend_from_slice(&i32::from(column.has_null()).to_be_bytes());
                buffer.extend_from_slice(&oids(*value_type).0.to_be_bytes());
                buffer.extend_from_slice(&i32::try_from(column.len())?.to_be_bytes());
                buffer.extend_from_slice(&first.to_be_bytes());
                buffer.extend_from_slice(column.elements());
            }
        }
        Ok(IsNull::No)
    }
}

//! [`SchemaDatabase`] over the PostgreSQL wire protocol: Aurora DSQL and stock PostgreSQL.
//!
//! This is the only module of the crate that names a driver. Each method sends one autocommit
//! statement and returns its result or a [`DatabaseError`]. A broken connection is closed; the next
//! call opens another. The explicit transactions are those of the version row, and those that read one
//! snapshot of the source of an import.

mod access;
mod catalog;
mod dependents;
mod error;
mod rows;
mod scan;
mod server;
mod watch;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, PgConnection, Row as _, postgres::PgRow};
use temporal_dsql_client::{Attempts, Connector, Endpoint, open_connection};
use temporal_dsql_domain::Engine;
use temporal_dsql_ports::RetryPolicy;

use error::{Failure, classify, not_connected};
pub(crate) use rows::{Parameter, RawRow, RowSession};
pub(crate) use scan::{Range, ranges};
pub use server::ConnectionCount;
pub use watch::SessionWatch;
use watch::within;

use crate::{
    DatabaseError, IgnoreProgress, Job, JobStatus, Progress, ProgressObserver, Row, Scan,
    SchemaDatabase, Statement,
    objects::{Access, Catalog, Dependent, Scope, Seed},
    schema::{Change, quoted},
    version_tables::{VersionChange, VersionRow},
};

/// How long a statement may take: DSQL refuses a commit after 300 s (aurora-dsql.md#limits), and ten
/// seconds more for the answer.
const STATEMENT_LIMIT: Duration = Duration::from_secs(310);

/// A database on DSQL or PostgreSQL.
pub struct PostgresDatabase {
    connector: Connector,
    engine: Engine,
    /// The schema that the first connection created objects in. Every connection is pinned to it,
    /// so that no name resolves to another schema of the search path, which another deployment
    /// may use.
    schema: String,
    connection: Option<PgConnection>,
    watch: SessionWatch,
}

impl PostgresDatabase {
    /// Connects, and detects the engine unless it is given. Transient errors are retried under
    /// `retry`.
    ///
    /// # Errors
    /// No connection, or the role has no schema to work in.
    pub async fn connect(
        connector: Connector,
        engine: Option<Engine>,
        retry: &RetryPolicy,
    ) -> Result<Self, DatabaseError> {
        Self::connect_observed(connector, engine, retry, Arc::new(IgnoreProgress)).await
    }

    /// As [`connect`](Self::connect), and reports to `observer` every wait before another attempt,
    /// and later every wait for a lock.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_observed(
        connector: Connector,
        engine: Option<Engine>,
        retry: &RetryPolicy,
        observer: Arc<dyn ProgressObserver>,
    ) -> Result<Self, DatabaseError> {
        let watch = SessionWatch::new(connector.clone(), Arc::clone(&observer));
        let mut attempts = Attempts::new();
        loop {
            let error = match Self::open_first(&connector, engine, &watch).await {
                Ok((connection, found)) => {
                    return Ok(Self {
                        connector,
                        engine: found.engine,
                        schema: found.schema,
                        connection: Some(connection),
                        watch,
                    });
                }
                Err(error) => error,
            };
            let wait = if error.is_transient() { attempts.next_wait(retry) } else { None };
            let Some(wait) = wait else { return Err(error) };
            let Endpoint { host, port, .. } = connector.endpoint();
            observer.on(Progress::Retrying {
                action: &format!("connecting to {host}:{port}"),
                attempts: attempts.failed(),
                error: &error,
                wait,
            });
            tokio::time::sleep(wait).await;
        }
    }

    /// The schema of all objects.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The session of this database, whose statement can be cancelled through it.
    pub fn watch(&self) -> &SessionWatch {
        &self.watch
    }

    /// Executes statements that can be repeated, in one transaction, and returns how many rows they have
    /// written. A wait for a lock is reported, and can be cancelled through [`watch`](Self::watch).
    pub(crate) async fn execute_watched(&mut self, text: String) -> Result<u64, DatabaseError> {
        let mut connection = self.take().await?;
        let query = sqlx::raw_sql(AssertSqlSafe(text));
        let done = self.watch.run(Some(STATEMENT_LIMIT), query.execute(&mut connection)).await;
        Ok(self.settle(connection, done)?.rows_affected())
    }

    async fn open(connector: &Connector) -> Result<PgConnection, DatabaseError> {
        let connected = open_connection(connector).await;
        connected.map_err(|error| not_connected(error, connector.endpoint()))
    }

    async fn open_first(
        connector: &Connector,
        engine: Option<Engine>,
        watch: &SessionWatch,
    ) -> Result<(PgConnection, DetectedServer), DatabaseError> {
        let endpoint = connector.endpoint();
        let mut connection = Self::open(connector).await?;
        let found = within(Some(STATEMENT_LIMIT), detect(&mut connection)).await;
        let mut found = found
            .map_err(|failure| classify(failure, endpoint))?
            .ok_or_else(|| DatabaseError::NoSchema { user: endpoint.user.clone() })?;
        found.engine = engine.unwrap_or(found.engine);
        let process = Self::pin(&mut connection, &found, endpoint).await?;
        watch.set_process(process);
        Ok((connection, found))
    }

    /// Makes every unqualified name mean an object of `schema`. `search_path` is one of the few
    /// settings that DSQL lets a session change (aurora-dsql.md#sessions). On PostgreSQL, rows that a
    /// policy hides from the role become an error: nothing may take a part of a table for the whole.
    /// Returns the process of the session on PostgreSQL.
    async fn pin(
        connection: &mut PgConnection,
        server: &DetectedServer,
        endpoint: &Endpoint,
    ) -> Result<Option<i32>, DatabaseError> {
        let text = format!("SET search_path TO {}", quoted(&server.schema));
        let pinned = async {
            sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut *connection).await?;
            match server.engine {
                Engine::Dsql => Ok(None),
                Engine::Postgres => {
                    let query = sqlx::query_scalar(
                        "SELECT pg_catalog.pg_backend_pid() \
                         FROM pg_catalog.set_config('row_security', 'off', false)",
                    );
                    query.fetch_one(&mut *connection).await.map(Some)
                }
            }
        };
        let pinned = within(Some(STATEMENT_LIMIT), pinned).await;
        pinned.map_err(|failure| classify(failure, endpoint))
    }

    /// Takes the connection, or opens one. [`settle`](Self::settle) puts it back after the answer, so
    /// a call that is dropped before leaves no connection in an unknown state.
    async fn take(&mut self) -> Result<PgConnection, DatabaseError> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let mut connection = Self::open(&self.connector).await?;
        let server = DetectedServer { engine: self.engine, schema: self.schema.clone() };
        let process = Self::pin(&mut connection, &server, self.connector.endpoint()).await?;
        self.watch.set_process(process);
        Ok(connection)
    }

    fn settle<T>(
        &mut self,
        connection: PgConnection,
        result: Result<T, Failure>,
    ) -> Result<T, DatabaseError> {
        match result {
            Ok(value) => {
                self.connection = Some(connection);
                Ok(value)
            }
            Err(failure) => {
                if failure.keeps_connection() {
                    self.connection = Some(connection);
                } else {
                    self.watch.set_process(None);
                }
                Err(classify(failure, self.connector.endpoint()))
            }
        }
    }

    /// The time limit of `statement`: none for an index that PostgreSQL builds synchronously.
    fn limit(&self, statement: &Statement) -> Option<Duration> {
        let builds_index = matches!(statement.change, Change::CreateIndex { .. });
        (self.engine == Engine::Dsql || !builds_index).then_some(STATEMENT_LIMIT)
    }
}

/// The engine and the schema of a new connection.
struct DetectedServer {
    engine: Engine,
    schema: String,
}

/// Reads the engine and the schema; `None` if the role has no schema.
async fn detect(connection: &mut PgConnection) -> Result<Option<DetectedServer>, sqlx::Error> {
    // Only DSQL has the relation sys.jobs (aurora-dsql.md#jobs).
    let row = sqlx::query(
        "SELECT current_schema()::text, EXISTS (SELECT 1 FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'sys' AND c.relname = 'jobs')",
    )
    .fetch_one(connection)
    .await?;
    let Some(schema) = row.try_get::<Option<String>, _>(0)? else {
        return Ok(None);
    };
    let engine = if row.try_get(1)? { Engine::Dsql } else { Engine::Postgres };
    Ok(Some(DetectedServer { engine, schema }))
}

#[async_trait]
impl SchemaDatabase for PostgresDatabase {
    fn engine(&self) -> Engine {
        self.engine
    }

    fn schema(&self) -> &str {
        &self.schema
    }

    async fn catalog(&mut self, scope: &Scope) -> Result<Catalog, DatabaseError> {
        let mut connection = self.take().await?;
        let names: Vec<String> = scope.names.iter().cloned().collect();
        let query = sqlx::query(catalog::query(self.engine))
            .bind(self.schema.clone())
            .bind(names)
            .bind(scope.lists_others);
        let rows = self.watch.run(Some(STATEMENT_LIMIT), query.fetch_all(&mut connection)).await;
        let rows = self.settle(connection, rows)?;
        catalog::read(&rows, scope).map_err(|error| DatabaseError::Driver(error.into()))
    }

    async fn dependents(
        &mut self,
        relations: &[String],
    ) -> Result<Option<Vec<Dependent>>, DatabaseError> {
        // `pg_depend` can be read on DSQL (aurora-dsql.md#sessions). Whether a recursive query of it is
        // accepted is not recorded.
        self.shown(dependents::query(self.engine), relations, dependents::read).await
    }

    async fn access(&mut self, relations: &[String]) -> Result<Option<Access>, DatabaseError> {
        // Whether DSQL accepts it is not recorded.
        self.shown(access::query(self.engine), relations, access::read).await
    }

    async fn execute(&mut self, statement: &Statement) -> Result<Option<String>, DatabaseError> {
        let text = statement.text(self.engine);
        let limit = self.limit(statement);
        let mut connection = self.take().await?;
        // The simple protocol: the columns of an answer need not be known beforehand, and DDL
        // seldom says that it has any.
        let query = sqlx::raw_sql(AssertSqlSafe(text));
        let answer = self.watch.run(limit, query.fetch_optional(&mut connection)).await;
        let answer = self.settle(connection, answer)?;
        // The statement has succeeded; a job whose id cannot be read is found in sys.jobs.
        let job = answer.and_then(|row| row.try_get_unchecked::<String, _>(0).ok());
        Ok(job.filter(|_| self.engine == Engine::Dsql))
    }

    async fn index_jobs(&mut self, index: &str, oid: u32) -> Result<Vec<Job>, DatabaseError> {
        if self.engine == Engine::Postgres {
            return Ok(Vec::new());
        }
        // The job names its object by id, and by its name with the schema before it.
        let query = sqlx::query(
            "SELECT job_id::text, status::text, coalesce(details::text, ''), \
             coalesce(object_id::text = $1, false) FROM sys.jobs \
             WHERE job_type = 'INDEX_BUILD' \
             AND (object_id::text = $1 OR object_name::text = $2 OR object_name::text = $3) \
             ORDER BY 4 DESC, start_time DESC",
        )
        .bind(oid.to_string())
        .bind(format!("{}.{index}", self.schema))
        .bind(index.to_owned());
        let mut connection = self.take().await?;
        let rows = self.watch.run(Some(STATEMENT_LIMIT), query.fetch_all(&mut connection)).await;
        let rows = self.settle(connection, rows)?;
        let jobs = rows.iter().map(|row| {
            let status: String = row.try_get(1)?;
            let job =
                Job { id: row.try_get(0)?, status: job_status(&status), details: row.try_get(2)? };
            Ok((row.try_get(3)?, job))
        });
        let jobs: Vec<(bool, Job)> = jobs
            .collect::<Result<_, sqlx::Error>>()
            .map_err(|error| DatabaseError::Driver(error.into()))?;
        let is_known = jobs.first().is_some_and(|(by_id, _)| *by_id);
        Ok(jobs.into_iter().filter(|(by_id, _)| *by_id == is_known).map(|(_, job)| job).collect())
    }

    async fn version_rows(&mut self) -> Result<Vec<VersionRow>, DatabaseError> {
        let query = sqlx::query(
            "SELECT db_name, curr_version, min_compatible_version FROM schema_version \
             WHERE version_partition = 0 ORDER BY db_name",
        );
        let mut connection = self.take().await?;
        let rows = self.watch.run(Some(STATEMENT_LIMIT), query.fetch_all(&mut connection)).await;
        let rows = match self.settle(connection, rows) {
            // No such table: nothing is recorded. Any other failure is one.
            Err(DatabaseError::Refused(server)) if server.sqlstate == "42P01" => {
                return Ok(Vec::new());
            }
            other => other?,
        };
        rows.iter()
            .map(|row| {
                Ok(VersionRow {
                    database: row.try_get(0)?,
                    version: row.try_get(1)?,
                    min_compatible: row.try_get(2)?,
                })
            })
            .collect::<Result<_, sqlx::Error>>()
            .map_err(|error| DatabaseError::Driver(error.into()))
    }

    async fn record_version(&mut self, change: &VersionChange) -> Result<bool, DatabaseError> {
        let mut connection = self.take().await?;
        let result = self.watch.run(Some(STATEMENT_LIMIT), record(&mut connection, change)).await;
        let result = rolled_back(&mut connection, result).await;
        self.settle(connection, result)
    }

    async fn count_rows(&mut self, table: &str, most: u32) -> Result<u32, DatabaseError> {
        let counted = format!("SELECT 1 FROM {} LIMIT {most}", quoted(table));
        let count: i64 = self.ask(format!("SELECT count(*) FROM ({counted}) AS t")).await?;
        Ok(u32::try_from(count).unwrap_or(most))
    }

    async fn has_seed(&mut self, seed: &Seed, key: &[String]) -> Result<bool, DatabaseError> {
        self.ask(scan::has_seed(seed, key)).await
    }

    async fn page<'k>(
        &mut self,
        scan: &Scan,
        after: Option<&'k [String]>,
        limit: usize,
    ) -> Result<Vec<Row>, DatabaseError> {
        let mut page = Vec::new();
        for seek in scan::seeks(scan, after) {
            let left = limit - page.len();
            if left == 0 {
                break;
            }
            let mut query = sqlx::query(AssertSqlSafe(format!("{} LIMIT {left}", seek.text)));
            for parameter in seek.parameters {
                query = query.bind(parameter);
            }
            let mut connection = self.take().await?;
            let rows =
                self.watch.run(Some(STATEMENT_LIMIT), query.fetch_all(&mut connection)).await;
            for row in self.settle(connection, rows)? {
                let values = (0..row.len()).map(|position| row.try_get(position));
                let values: Result<Row, sqlx::Error> = values.collect();
                page.push(values.map_err(|error| DatabaseError::Driver(error.into()))?);
            }
        }
        Ok(page)
    }
}

impl PostgresDatabase {
    /// Runs a query of the catalog with the schema and `relations` as its parameters, and reads its rows
    /// with `read`. `None` if the server refuses it.
    async fn shown<T>(
        &mut self,
        query: &'static str,
        relations: &[String],
        read: fn(&[PgRow]) -> Result<T, sqlx::Error>,
    ) -> Result<Option<T>, DatabaseError> {
        let mut connection = self.take().await?;
        let query = sqlx::query(query).bind(self.schema.clone()).bind(relations.to_vec());
        let rows = within(Some(STATEMENT_LIMIT), query.fetch_all(&mut connection)).await;
        match self.settle(connection, rows) {
            Ok(rows) => read(&rows).map(Some).map_err(|error| DatabaseError::Driver(error.into())),
            Err(DatabaseError::Refused(_) | DatabaseError::Denied { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Runs a query that returns one value. Its text consists of quoted names and of literals of
    /// schema files.
    async fn ask<T>(&mut self, text: String) -> Result<T, DatabaseError>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        let mut connection = self.take().await?;
        let query = sqlx::query_scalar(AssertSqlSafe(text));
        let answer = self.watch.run(Some(STATEMENT_LIMIT), query.fetch_one(&mut connection)).await;
        self.settle(connection, answer)
    }
}

/// Rolls back a transaction that has failed on a connection that can be used again: the retry of a
/// conflict needs the session (aurora-dsql.md#transient-failures). If that fails, the connection is
/// closed.
async fn rolled_back<T>(
    connection: &mut PgConnection,
    result: Result<T, Failure>,
) -> Result<T, Failure> {
    match result {
        Err(failure) if failure.keeps_connection() => {
            let rollback = sqlx::raw_sql("ROLLBACK").execute(connection);
            within(Some(STATEMENT_LIMIT), rollback).await?;
            Err(failure)
        }
        other => other,
    }
}

/// The version rows and the history row, in one transaction, if all versions are still the old ones.
async fn record(
    connection: &mut PgConnection,
    change: &VersionChange,
) -> Result<bool, sqlx::Error> {
    // The only isolation level of DSQL (aurora-dsql.md#transactions).
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ").execute(&mut *connection).await?;
    let names = change.rows().count();
    for (position, statement) in change.statements().into_iter().enumerate() {
        let mut query = sqlx::query(statement.text);
        for parameter in statement.parameters {
            query = query.bind(parameter);
        }
        let done = query.execute(&mut *connection).await?;
        if position < names && done.rows_affected() == 0 {
            sqlx::raw_sql("ROLLBACK").execute(connection).await?;
            return Ok(false);
        }
    }
    sqlx::raw_sql("COMMIT").execute(connection).await?;
    Ok(true)
}

/// An unknown status counts as processing: the wait for the job ends with its timeout.
fn job_status(text: &str) -> JobStatus {
    match text {
        "submitted" => JobStatus::Submitted,
        "completed" => JobStatus::Completed,
        "failed" => JobStatus::Failed,
        cancelled if cancelled.starts_with("cancel") => JobStatus::Failed,
        _ => JobStatus::Processing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_is_not_known_is_waited_for_and_a_cancelled_job_has_failed() {
        for (text, status) in [
            ("submitted", JobStatus::Submitted),
            ("processing", JobStatus::Processing),
            ("completed", JobStatus::Completed),
            ("failed", JobStatus::Failed),
            ("cancelled", JobStatus::Failed),
            ("canceled", JobStatus::Failed),
            ("paused", JobStatus::Processing),
        ] {
            assert_eq!(job_status(text), status, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn t9_a_statement_without_an_answer_times_out_and_its_outcome_is_unknown() {
        let options = sqlx::postgres::PgConnectOptions::new_without_pgpass();
        let connector = temporal_dsql_client::connector_with(options.host("db.example"));
        let silence = std::future::pending::<Result<(), sqlx::Error>>();
        let failure = within(Some(STATEMENT_LIMIT), silence).await.unwrap_err();
        assert!(!failure.keeps_connection());
        let error = classify(failure, connector.endpoint());
        assert!(matches!(error, DatabaseError::Lost { .. }), "{error}");
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "no answer within 310 s");
    }
}

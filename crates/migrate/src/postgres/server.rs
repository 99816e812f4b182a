//! What a server says about itself: its version, its clock and its connections, and the time that a
//! commit takes. A migration needs none of it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sqlx::{Connection as _, FromRow, PgConnection, postgres::PgRow};
use temporal_dsql_domain::Engine;

use super::{PostgresDatabase, STATEMENT_LIMIT, rolled_back, watch::lock_holders, within};
use crate::{DatabaseError, VERSION_TABLE, VersionRow};

/// The connections that count against one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionCount {
    /// `the server`, `the database` or `the role`.
    pub of: &'static str,
    /// Those that are open.
    pub in_use: u64,
    /// The limit.
    pub most: u64,
}

impl PostgresDatabase {
    /// PostgreSQL's version number as the server reports it, such as `16.15`
    /// (aurora-dsql.md#environment).
    ///
    /// # Errors
    /// Those of the connection and the server.
    pub async fn server_version(&mut self) -> Result<String, DatabaseError> {
        let (version,) = self.one("SELECT current_setting('server_version')").await?;
        Ok(version)
    }

    /// The time on the server's clock, when it received the question. After the first call it is one
    /// round trip.
    ///
    /// # Errors
    /// Those of the connection and the server.
    pub async fn server_time(&mut self) -> Result<SystemTime, DatabaseError> {
        let (seconds,) = self.one("SELECT extract(epoch FROM now())::double precision").await?;
        let since = Duration::try_from_secs_f64(seconds)
            .map_err(|error| DatabaseError::Driver(error.into()))?;
        Ok(UNIX_EPOCH + since)
    }

    /// The connections in use for each limit of the role, with the one that leaves the fewest free
    /// first; empty on DSQL, which does not tell (aurora-dsql.md#admission has its limit). Superusers
    /// have the limit of the server only.
    ///
    /// # Errors
    /// Those of the connection and the server.
    pub async fn connection_counts(&mut self) -> Result<Vec<ConnectionCount>, DatabaseError> {
        if self.engine == Engine::Dsql {
            return Ok(Vec::new());
        }
        // Every role may read pg_stat_database, and its own sessions in pg_stat_activity.
        let (in_use, most, of_database, database, of_role, role, is_superuser): (
            i64,
            i64,
            i64,
            i64,
            i64,
            i64,
            bool,
        ) = self
            .one(
                "SELECT (SELECT sum(numbackends) FROM pg_catalog.pg_stat_database)::bigint, \
                 current_setting('max_connections')::bigint \
                 - current_setting('superuser_reserved_connections')::bigint, \
                 (SELECT numbackends FROM pg_catalog.pg_stat_database \
                 WHERE datname = current_database())::bigint, \
                 d.datconnlimit::bigint, \
                 (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usename = current_user), \
                 r.rolconnlimit::bigint, r.rolsuper \
                 FROM pg_catalog.pg_database d, pg_catalog.pg_roles r \
                 WHERE d.datname = current_database() AND r.rolname = current_user",
            )
            .await?;
        let of = |of, in_use, most| {
            let (in_use, most) = (u64::try_from(in_use).ok()?, u64::try_from(most).ok()?);
            Some(ConnectionCount { of, in_use, most })
        };
        // A limit of -1 is none.
        let of_role = (!is_superuser).then(|| of("the role", of_role, role)).flatten();
        let of_database =
            (!is_superuser).then(|| of("the database", of_database, database)).flatten();
        let of_server = of("the server", in_use, most);
        let mut counts: Vec<_> = [of_role, of_database, of_server].into_iter().flatten().collect();
        counts.sort_by_key(|count| count.most.saturating_sub(count.in_use));
        Ok(counts)
    }

    /// The sessions that hold locks which sessions of this application and this role wait for; empty on
    /// DSQL, which has no locks to wait for (aurora-dsql.md#transactions).
    ///
    /// # Errors
    /// Those of the connection and the server.
    pub async fn lock_holders(&mut self) -> Result<Vec<String>, DatabaseError> {
        if self.engine == Engine::Dsql {
            return Ok(Vec::new());
        }
        let mut connection = self.take().await?;
        let holders = lock_holders(&mut connection, None);
        let holders = within(Some(STATEMENT_LIMIT), holders).await;
        self.settle(connection, holders)
    }

    /// The other schemas that have a table with the name of the table of versions, in order.
    ///
    /// # Errors
    /// Those of the connection and the server.
    pub async fn other_schemas(&mut self) -> Result<Vec<String>, DatabaseError> {
        let mut connection = self.take().await?;
        let schemas = sqlx::query_scalar(
            "SELECT n.nspname::text FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relname = $1 AND c.relkind = 'r' AND n.nspname <> current_schema() ORDER BY 1",
        );
        let schemas = schemas.bind(VERSION_TABLE).fetch_all(&mut connection);
        let schemas = within(Some(STATEMENT_LIMIT), schemas).await;
        self.settle(connection, schemas)
    }

    /// Closes the connection. The next call opens another.
    pub async fn disconnect(&mut self) {
        self.watch.set_process(None);
        if let Some(connection) = self.connection.take() {
            // The server closes the session when it notices, too.
            let _ = within(Some(STATEMENT_LIMIT), connection.close()).await;
        }
    }

    /// Writes the version row `row` as it is, if it is still recorded so, in one transaction, and
    /// returns the time of its COMMIT. `None` if the row has changed. The row keeps all its values:
    /// another run that changes it meanwhile may get a conflict, which it repeats.
    ///
    /// # Errors
    /// Those of the connection and the server. The row is the same in any case.
    pub async fn rewrite_version(
        &mut self,
        row: &VersionRow,
    ) -> Result<Option<Duration>, DatabaseError> {
        let mut connection = self.take().await?;
        let result = within(Some(STATEMENT_LIMIT), rewrite(&mut connection, row)).await;
        let result = rolled_back(&mut connection, result).await;
        self.settle(connection, result)
    }

    /// Runs a query that returns one row.
    async fn one<T>(&mut self, query: &'static str) -> Result<T, DatabaseError>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let mut connection = self.take().await?;
        let query = sqlx::query_as(query).fetch_one(&mut connection);
        let row = within(Some(STATEMENT_LIMIT), query).await;
        self.settle(connection, row)
    }
}

async fn rewrite(
    connection: &mut PgConnection,
    row: &VersionRow,
) -> Result<Option<Duration>, sqlx::Error> {
    // The only isolation level of DSQL (aurora-dsql.md#transactions).
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ").execute(&mut *connection).await?;
    let update = sqlx::query(
        "UPDATE schema_version SET curr_version = $2 \
         WHERE version_partition = 0 AND db_name = $1 AND curr_version = $2",
    );
    let update = update.bind(&row.database).bind(&row.version);
    if update.execute(&mut *connection).await?.rows_affected() == 0 {
        sqlx::raw_sql("ROLLBACK").execute(connection).await?;
        return Ok(None);
    }
    let start = Instant::now();
    sqlx::raw_sql("COMMIT").execute(connection).await?;
    Ok(Some(start.elapsed()))
}

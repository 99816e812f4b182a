//! What a server says about itself: its version, its clock and its connections, and the time that a
//! commit takes. A migration needs none of it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sqlx::{FromRow, PgConnection, postgres::PgRow};
use temporal_dsql_domain::Engine;

use super::{PostgresDatabase, STATEMENT_LIMIT, rolled_back, within};
use crate::{DatabaseError, VersionRow};

/// The connections of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionCount {
    /// The connections to any of its databases.
    pub in_use: u64,
    /// The most that it admits for roles that are not superusers.
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

    /// The connections in use and their limit; `None` on DSQL, which does not tell
    /// (aurora-dsql.md#admission has its limit).
    ///
    /// # Errors
    /// Those of the connection and the server.
    pub async fn connection_count(&mut self) -> Result<Option<ConnectionCount>, DatabaseError> {
        if self.engine == Engine::Dsql {
            return Ok(None);
        }
        // Every role may read the sum of pg_stat_database; pg_stat_activity hides the sessions of
        // other roles.
        let (in_use, most): (i64, i64) = self
            .one(
                "SELECT (SELECT sum(numbackends) FROM pg_catalog.pg_stat_database)::bigint, \
                 current_setting('max_connections')::bigint \
                 - current_setting('superuser_reserved_connections')::bigint",
            )
            .await?;
        let number = |number| u64::try_from(number).unwrap_or_default();
        Ok(Some(ConnectionCount { in_use: number(in_use), most: number(most) }))
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

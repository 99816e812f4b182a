//! Scratch databases: one database per test.
//!
//! Tests with databases of their own run concurrently and need no cleanup. Creating one takes some
//! tens of milliseconds.

use std::{
    fmt,
    io::{self, Write},
    net::{SocketAddr, ToSocketAddrs},
    thread,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row, ValueRef,
    postgres::{PgConnectOptions, PgRow},
};
use url::Url;

use crate::gate;

/// The locale and encoding of DSQL (aurora-dsql.md#environment).
const TEMPLATE: &str = "template0 LOCALE 'C' ENCODING 'UTF8'";

/// An empty database with a unique name, dropped with this value, also during a panic.
///
/// The drop terminates open sessions.
pub struct ScratchDatabase {
    server: Url,
    url: Url,
    name: String,
}

impl ScratchDatabase {
    /// An empty database on the server of `TEST_POSTGRES_URL`, or `None` if the test is skipped
    /// without one (see [`gate`]).
    ///
    /// ```
    /// # async fn test() {
    /// use temporal_dsql_testkit::ScratchDatabase;
    ///
    /// let Some(database) = ScratchDatabase::create().await else { return };
    /// database.execute("CREATE TABLE t (id int)").await.unwrap();
    /// # }
    /// ```
    ///
    /// # Panics
    /// In CI, if there is no server; if the server refuses to create a database.
    pub async fn create() -> Option<Self> {
        Self::create_or_panic(TEMPLATE).await
    }

    /// The same with texts in the order of the English language, which is not the order of their
    /// bytes. Most PostgreSQL servers have such an order.
    ///
    /// # Panics
    /// As [`create`](Self::create), and if the server was built without ICU.
    pub async fn create_in_english() -> Option<Self> {
        Self::create_or_panic(&format!("{TEMPLATE} LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")).await
    }

    async fn create_or_panic(template: &str) -> Option<Self> {
        let server = Url::parse(&gate::server_url()?).map_err(sqlx::Error::config);
        let created = async { Self::create_as(server?, template).await };
        match created.await {
            Ok(database) => Some(database),
            Err(error) => panic!("no scratch database on the server of TEST_POSTGRES_URL: {error}"),
        }
    }

    /// An empty database on the server at `url`, whose role must have `CREATEDB`.
    ///
    /// # Errors
    /// The URL is malformed, or the server refuses.
    pub async fn create_on(url: &str) -> Result<Self, sqlx::Error> {
        let server = Url::parse(url).map_err(sqlx::Error::config)?;
        Self::create_as(server, TEMPLATE).await
    }

    /// A copy of `other` with its tables and rows. No session may be open in `other`.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn create_from_template(other: &Self) -> Result<Self, sqlx::Error> {
        Self::create_as(other.server.clone(), &format!(r#""{}""#, other.name)).await
    }

    async fn create_as(server: Url, template: &str) -> Result<Self, sqlx::Error> {
        // The process id identifies the creator of a database that was not dropped.
        let name = format!("scratch_{}_{:016x}", std::process::id(), fastrand::u64(..));
        // The copy through shared buffers, which is the default, takes twice as long, because dropping
        // the database later writes them.
        let sql = format!(r#"CREATE DATABASE "{name}" STRATEGY file_copy TEMPLATE {template}"#);
        run(&server, &sql).await?;
        let mut url = server.clone();
        url.set_path(&name);
        Ok(Self { server, url, name })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL, with the credentials of the creator.
    pub fn url(&self) -> String {
        self.url.to_string()
    }

    /// The URL of this database through the proxy at `addr`, such as a
    /// [`FaultProxy`](crate::FaultProxy).
    ///
    /// # Panics
    /// Never for the URL of a database.
    pub fn url_via(&self, addr: SocketAddr) -> String {
        let mut url = self.url.clone();
        url.set_ip_host(addr.ip()).expect("a URL with a host");
        url.set_port(Some(addr.port())).expect("a URL with a host");
        url.to_string()
    }

    /// The server's host name or address.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or("localhost")
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.url.port().unwrap_or(5432)
    }

    /// The role that owns the database.
    pub fn user(&self) -> &str {
        match self.url.username() {
            "" => "postgres",
            user => user,
        }
    }

    /// The server's address.
    ///
    /// # Errors
    /// The host name does not resolve.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        (self.host(), self.port())
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no address"))
    }

    /// Runs `sql`, which may be several statements, on a new connection.
    ///
    /// # Errors
    /// The first statement that fails.
    pub async fn execute(&self, sql: &str) -> Result<(), sqlx::Error> {
        run(&self.url, sql).await
    }

    /// Runs a query on a new connection and returns its rows, with columns as PostgreSQL prints
    /// them.
    ///
    /// # Errors
    /// The query fails.
    pub async fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
        query(self.url.as_str(), sql).await
    }

    /// A connection for many small statements: opening one takes longer than most.
    pub fn admin(&self) -> Admin {
        Admin::new(self.url())
    }
}

impl fmt::Debug for ScratchDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URLs may contain a password.
        write!(f, "ScratchDatabase({})", self.name)
    }
}

impl Drop for ScratchDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // The runtime of the test may have ended, or may run this drop.
        let dropped = thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(run(&server, &format!(r#"DROP DATABASE "{name}" WITH (FORCE)"#)))
                .map_err(io::Error::other)
        })
        .join();
        if let Ok(Err(error)) = dropped {
            let _ = writeln!(io::stderr(), "database {} was not dropped: {error}", self.name);
        }
    }
}

/// A connection that opens when it is first used, and again after a failure.
pub struct Admin {
    url: String,
    connection: Option<PgConnection>,
}

impl Admin {
    pub(crate) const fn new(url: String) -> Self {
        Self { url, connection: None }
    }

    /// Runs `sql`, which must be idempotent, and returns its rows, with columns as PostgreSQL
    /// prints them. If it fails on an open connection, it runs again on a new one.
    ///
    /// # Errors
    /// The statement fails on a new connection too.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
        // The open connection may have been closed, or its catalog may be out of date.
        if let Some(connection) = &mut self.connection
            && let Ok(rows) = query_on(connection, sql).await
        {
            return Ok(rows);
        }
        let connection = self.connection.insert(connect(&self.url).await?);
        query_on(connection, sql).await
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may contain a password.
        f.debug_struct("Admin").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// Runs `sql` at `url` and returns its rows, with columns as PostgreSQL prints them.
pub(crate) async fn query(url: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
    let mut connection = connect(url).await?;
    let rows = query_on(&mut connection, sql).await?;
    connection.close().await?;
    Ok(rows)
}

/// The same on an open connection.
pub(crate) async fn query_on(
    connection: &mut PgConnection,
    sql: &str,
) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
    // The simple protocol returns text.
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await?;
    rows.iter().map(texts).collect()
}

pub(crate) async fn connect(url: &str) -> Result<PgConnection, sqlx::Error> {
    url.parse::<PgConnectOptions>()?.connect().await
}

async fn run(url: &Url, sql: &str) -> Result<(), sqlx::Error> {
    let mut connection = connect(url.as_str()).await?;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
    connection.close().await
}

fn texts(row: &PgRow) -> Result<Vec<Option<String>>, sqlx::Error> {
    (0..row.len())
        .map(|column| {
            let value = row.try_get_raw(column)?;
            if value.is_null() {
                return Ok(None);
            }
            let text = value.as_str().map_err(sqlx::Error::Decode)?;
            Ok(Some(text.to_owned()))
        })
        .collect()
}

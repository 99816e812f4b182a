//! The PostgreSQL server behind an emulator, and the emulator's database in it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::OnceCell;

use crate::{
    StartError, catalog,
    config::Backend,
    postgres::{Options, Server},
    sql::{identifier, literal},
    upstream::{Connection, Target, UpstreamError},
};

/// The servers that emulators of this process share: those given by URL, and, as `None`, the one that
/// this process has started. That one stops when the last of its emulators is dropped.
static SHARED: Mutex<BTreeMap<Option<String>, Weak<Host>>> = Mutex::new(BTreeMap::new());
/// `max_connections` of a server of our own: one for each client, and a few for each emulator. Most
/// tools that open many connections open a thousand.
const MAX_CONNECTIONS: u16 = 1_100;

/// A server with the databases of emulators.
struct Host {
    /// The database from which others are created and dropped.
    maintenance: Target,
    /// `None` for a server given by URL.
    server: Option<Server>,
    /// The database that those of later emulators are copies of: copying it is faster than installing
    /// the emulator's objects again. The second emulator creates it, and the last one drops it.
    template: OnceCell<String>,
}

/// The database of one emulator. [`close`](Self::close) drops it.
pub(crate) struct Database {
    pub(crate) target: Target,
    host: Arc<Host>,
}

impl Database {
    /// Creates a database on the server of `backend`, which is started if necessary.
    pub(crate) async fn open(backend: &Backend) -> Result<Self, StartError> {
        let (host, is_first) = Host::of(backend).await?;
        let name = new_name();
        let created = match is_first {
            true => host.create(&name).await,
            false => host.copy(&name).await,
        };
        match created {
            Ok(()) => Ok(Self { target: host.maintenance.with_database(&name), host }),
            Err(error) => {
                Host::release(host).await;
                Err(error)
            }
        }
    }

    /// A folder that is removed with the server, also when this process is killed.
    pub(crate) fn folder(&self) -> Option<std::path::PathBuf> {
        self.host.server.as_ref()?.data_dir().parent().map(std::path::Path::to_owned)
    }

    /// Drops the database, unless the server stops at the same time.
    pub(crate) async fn close(self) {
        let Self { target, host } = self;
        if host.server.is_none() || Arc::strong_count(&host) > 1 {
            host.remove(&target.database).await;
        }
        Host::release(host).await;
    }
}

impl Host {
    /// The server of `backend`, and whether no other emulator of this process uses it. A server of our
    /// own is started by the first caller; concurrent callers wait.
    async fn of(backend: &Backend) -> Result<(Arc<Self>, bool), StartError> {
        static STARTING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        match backend {
            Backend::Own => Ok((Arc::new(Self::start().await?), true)),
            Backend::Shared => {
                let _guard = STARTING.lock().await;
                let found = shared().get(&None).and_then(Weak::upgrade);
                if let Some(host) = found {
                    return Ok((host, false));
                }
                let host = Self::start().await?;
                Ok(Self::share(None, || host))
            }
            Backend::Url(url) => {
                let maintenance =
                    url.parse().map_err(|reason| StartError::PostgresUrl { reason })?;
                let host = || Self { maintenance, server: None, template: OnceCell::new() };
                Ok(Self::share(Some(url.clone()), host))
            }
        }
    }

    /// The server that emulators use already, or a new one, and whether it is new.
    fn share(url: Option<String>, make: impl FnOnce() -> Self) -> (Arc<Self>, bool) {
        let mut shared = shared();
        if let Some(host) = shared.get(&url).and_then(Weak::upgrade) {
            return (host, false);
        }
        let host = Arc::new(make());
        shared.retain(|_, host| host.strong_count() > 0);
        shared.insert(url, Arc::downgrade(&host));
        (host, true)
    }

    /// Starts a server.
    async fn start() -> Result<Self, StartError> {
        let options = Options {
            max_connections: MAX_CONNECTIONS,
            // Starting an emulator must not install software.
            install: false,
            // DSQL has no configuration `english` (aurora-dsql.md#refused-statements), so functions
            // that use the default fail with that message.
            settings: vec![("default_text_search_config".into(), "english".into())],
        };
        let server = tokio::task::spawn_blocking(move || Server::start(&options)).await;
        let server = server.map_err(|_| StartError::Panicked)??;
        let maintenance = Target {
            host: server.addr().ip().to_string(),
            port: server.port(),
            user: "postgres".into(),
            password: None,
            database: "postgres".into(),
        };
        Ok(Self { maintenance, server: Some(server), template: OnceCell::new() })
    }

    /// A connection that creates databases.
    async fn connect(&self) -> Result<Connection, StartError> {
        let mut connection = Connection::open(&self.maintenance, &[]).await?;
        if self.server.is_none() {
            check(&mut connection).await?;
        }
        Ok(connection)
    }

    /// Creates a database with the emulator's objects.
    async fn create(&self, name: &str) -> Result<(), StartError> {
        let mut connection = self.connect().await?;
        let sql = create_database(name, "template0 LOCALE 'C' ENCODING 'UTF8'");
        connection.query(&sql).await?;
        let installed = async {
            make_admin(&mut connection).await?;
            install(&self.maintenance.with_database(name)).await
        };
        let result = installed.await;
        if result.is_err() {
            drop_database(&mut connection, name).await;
        }
        result
    }

    /// Creates a copy of the template.
    async fn copy(&self, name: &str) -> Result<(), StartError> {
        let create = async || {
            let template = new_name();
            self.create(&template).await?;
            Ok::<_, StartError>(template)
        };
        let template = self.template.get_or_try_init(create).await?;
        let sql = create_database(name, &identifier(template));
        match self.connect().await?.query(&sql).await {
            Ok(_) => Ok(()),
            // Somebody has dropped the template, or is connected to it.
            Err(error) => {
                tracing::debug!(%error, "a database is created without the template");
                self.create(name).await
            }
        }
    }

    async fn remove(&self, name: &str) {
        match Connection::open(&self.maintenance, &[]).await {
            Ok(mut connection) => drop_database(&mut connection, name).await,
            Err(error) => not_dropped(name, &error),
        }
    }

    /// Drops the template if no other emulator uses the server, unless the server stops.
    async fn release(host: Arc<Self>) {
        if let Some(host) = Arc::into_inner(host)
            && host.server.is_none()
            && let Some(template) = host.template.get()
        {
            host.remove(template).await;
        }
    }
}

fn shared() -> MutexGuard<'static, BTreeMap<Option<String>, Weak<Host>>> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A random name for a database.
fn new_name() -> String {
    format!("dsql_emulator_{}_{:012x}", std::process::id(), fastrand::u64(..) >> 16)
}

async fn drop_database(connection: &mut Connection, name: &str) {
    let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(name));
    if let Err(error) = connection.query(&sql).await {
        not_dropped(name, &error);
    }
}

fn not_dropped(database: &str, error: &UpstreamError) {
    tracing::warn!(%error, database, "a database was not dropped");
}

/// The statement that copies a database file by file. The copy through shared buffers, which is the
/// default, takes twice as long, because dropping the database later writes them.
fn create_database(name: &str, template: &str) -> String {
    format!("CREATE DATABASE {} STRATEGY file_copy TEMPLATE {template}", identifier(name))
}

/// Checks that a server given by URL can be used.
async fn check(connection: &mut Connection) -> Result<(), StartError> {
    let rows = connection
        .query(
            "SELECT current_setting('server_version_num')::int / 10000, \
             (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), \
             EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = 'admin' AND rolsuper)",
        )
        .await?;
    let Some([Some(version), Some(is_superuser), Some(admin_is_superuser)]) =
        rows.first().map(Vec::as_slice)
    else {
        return Err(StartError::PostgresUrl { reason: "the server does not answer".into() });
    };
    if version.parse::<u32>().unwrap_or(0) < 15 {
        return Err(StartError::PostgresUrl {
            reason: format!(
                "the server is PostgreSQL {version}; the emulator requires 15 or later"
            ),
        });
    }
    if is_superuser != "t" {
        return Err(StartError::PostgresUrl { reason: "its user is not a superuser".into() });
    }
    if admin_is_superuser == "t" {
        let reason = "its role `admin` is a superuser, and DSQL's is not".into();
        return Err(StartError::PostgresUrl { reason });
    }
    Ok(())
}

/// Creates the role `admin`, which all emulators on a server share: not a superuser, with
/// CREATEROLE.
async fn make_admin(connection: &mut Connection) -> Result<(), StartError> {
    let sql = format!(
        "DO $$ BEGIN CREATE ROLE admin LOGIN CREATEROLE PASSWORD {}; \
         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
        // The password is never used: clients connect through the emulator.
        literal(&format!("{:032x}", fastrand::u128(..)))
    );
    connection.query(&sql).await?;
    Ok(())
}

async fn install(target: &Target) -> Result<(), StartError> {
    let mut connection = Connection::open(target, &[]).await?;
    connection.query(&catalog::install()).await?;
    connection.query("GRANT ALL ON SCHEMA public TO admin").await?;
    Ok(())
}

/// Grants rights on the database, which a copy of the template does not have.
pub(crate) async fn grant(target: &Target) -> Result<(), StartError> {
    let mut connection = Connection::open(target, &[]).await?;
    let name = identifier(&target.database);
    connection.query(&format!("GRANT CREATE ON DATABASE {name} TO admin")).await?;
    Ok(())
}

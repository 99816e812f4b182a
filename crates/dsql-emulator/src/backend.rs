//! The PostgreSQL server behind an emulator, and the emulator's database in it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::{
    StartError, catalog,
    config::Backend,
    postgres::{Options, Server},
    sql::{identifier, literal},
    upstream::{Connection, Target},
};

/// The server that the emulators of this process share. It stops when the last of them is dropped.
static SHARED: Mutex<Weak<Template>> = Mutex::new(Weak::new());
/// The template database: an emulator's database is a copy of it.
const TEMPLATE: &str = "dsql_emulator_template";
/// `max_connections` of the server: one for each client, and a few for each emulator. Most tools
/// that open many connections open a thousand.
const MAX_CONNECTIONS: u16 = 1_100;

/// A server that this process started, with the template database.
struct Template {
    server: Server,
}

/// The database of one emulator. [`close`](Self::close) drops it.
pub(crate) struct Database {
    pub(crate) target: Target,
    /// The database from which others are created and dropped.
    maintenance: Target,
    /// `None` for a server given by URL.
    template: Option<Arc<Template>>,
}

impl Database {
    /// Creates a database on the server of `backend`, which is started if necessary.
    pub(crate) async fn open(backend: &Backend) -> Result<Self, StartError> {
        let name = format!("dsql_emulator_{}_{:012x}", std::process::id(), fastrand::u64(..) >> 16);
        let (maintenance, template) = match backend {
            Backend::Url(url) => {
                let target = url.parse().map_err(|reason| StartError::PostgresUrl { reason })?;
                (target, None)
            }
            Backend::Own => {
                let template = Arc::new(start().await?);
                (template.maintenance(), Some(template))
            }
            Backend::Shared => {
                let template = shared().await?;
                (template.maintenance(), Some(template))
            }
        };
        let target = maintenance.with_database(&name);
        let database = Self { target, maintenance, template };
        database.create(&name).await?;
        match database.fill().await {
            Ok(()) => Ok(database),
            Err(error) => {
                database.close().await;
                Err(error)
            }
        }
    }

    async fn create(&self, name: &str) -> Result<(), StartError> {
        let mut connection = Connection::open(&self.maintenance, &[]).await?;
        let name = identifier(name);
        if self.template.is_some() {
            let sql = create_database(&name, TEMPLATE);
            connection.query(&sql).await?;
            return Ok(());
        }
        check(&mut connection).await?;
        let sql = create_database(&name, "template0 LOCALE 'C' ENCODING 'UTF8'");
        connection.query(&sql).await?;
        Ok(())
    }

    /// Installs what a copy of the template has.
    async fn fill(&self) -> Result<(), StartError> {
        if self.template.is_some() {
            return Ok(());
        }
        make_admin(&mut Connection::open(&self.maintenance, &[]).await?).await?;
        install(&self.target).await
    }

    /// A folder that is removed with the server, also when this process is killed.
    pub(crate) fn folder(&self) -> Option<std::path::PathBuf> {
        let template = self.template.as_ref()?;
        template.server.data_dir().parent().map(std::path::Path::to_owned)
    }

    /// Drops the database, unless its server stops at the same time.
    pub(crate) async fn close(self) {
        if self.template.as_ref().is_some_and(|template| Arc::strong_count(template) == 1) {
            return;
        }
        let dropped = async {
            let mut connection = Connection::open(&self.maintenance, &[]).await?;
            let name = identifier(&self.target.database);
            connection.query(&format!("DROP DATABASE {name} WITH (FORCE)")).await
        };
        if let Err(error) = dropped.await {
            tracing::warn!(%error, database = self.target.database, "a database was not dropped");
        }
    }
}

impl Template {
    fn maintenance(&self) -> Target {
        Target {
            host: self.server.addr().ip().to_string(),
            port: self.server.port(),
            user: "postgres".into(),
            password: None,
            database: "postgres".into(),
        }
    }
}

/// The shared server. The first caller starts it; concurrent callers wait.
async fn shared() -> Result<Arc<Template>, StartError> {
    static STARTING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _guard = STARTING.lock().await;
    let shared = || SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(template) = shared().upgrade() {
        return Ok(template);
    }
    let template = Arc::new(start().await?);
    *shared() = Arc::downgrade(&template);
    Ok(template)
}

async fn start() -> Result<Template, StartError> {
    let options = Options {
        max_connections: MAX_CONNECTIONS,
        // Starting an emulator must not install software.
        install: false,
        // DSQL has no configuration `english` (aurora-dsql.md#refused-statements), so functions
        // that use the default fail with that message.
        settings: vec![("default_text_search_config".into(), "english".into())],
    };
    let server = tokio::task::spawn_blocking(move || Server::start(&options)).await;
    let template = Template { server: server.map_err(|_| StartError::Panicked)?? };
    let mut connection = Connection::open(&template.maintenance(), &[]).await?;
    connection.query(&create_database(TEMPLATE, "template0")).await?;
    make_admin(&mut connection).await?;
    install(&template.maintenance().with_database(TEMPLATE)).await?;
    Ok(template)
}

/// The statement that copies a database file by file. The copy through shared buffers, which is the
/// default, takes twice as long, because dropping the database later writes them.
fn create_database(name: &str, template: &str) -> String {
    format!("CREATE DATABASE {name} STRATEGY file_copy TEMPLATE {template}")
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

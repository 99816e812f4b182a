//! A running emulator, and the builder that starts one.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder as Runtime,
    sync::oneshot,
};

use crate::{
    CatalogConflicts, ConfigError, Credentials, Faults, JobDelays, Latency, Limits,
    auth::{
        tls::{Tls, TlsError},
        token,
    },
    backend::{self, Database},
    cluster::Cluster,
    config::{Backend, Config},
    faults::control,
    postgres::ServerError,
    session::serve,
    sql::literal,
    upstream::UpstreamError,
};

/// Why an emulator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// PostgreSQL failed to start.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The URL of a PostgreSQL cannot be used.
    #[error("the URL of PostgreSQL cannot be used: {reason}")]
    PostgresUrl {
        /// The reason.
        reason: String,
    },
    /// A connection to PostgreSQL failed.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The certificate could not be created.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The port is in use, or reserved.
    #[error("cannot listen on {address}: {source}{}", port_advice(.source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// A file or thread could not be created.
    #[error("{what}")]
    Io {
        /// The operation that failed.
        what: String,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The emulator's thread panicked while it started.
    #[error("the emulator panicked while it started")]
    Panicked,
}

fn port_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program uses the port, choose another one or 0",
        io::ErrorKind::PermissionDenied => "; ports below 1024 are reserved, choose another one",
        _ => "",
    }
}

/// An emulator of a DSQL cluster, which runs until it is dropped.
///
/// It runs on its own threads, so a test may block, and may connect to its own emulator from a
/// single-threaded runtime. Dropping it closes all connections and removes its database and files.
#[derive(Debug)]
pub struct DsqlEmulator {
    config: Config,
    address: SocketAddr,
    control_address: SocketAddr,
    ca_pem: String,
    ca_file: PathBuf,
    faults: Faults,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// The configuration of an emulator. See [`DsqlEmulator::builder`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct DsqlEmulatorBuilder(Config);

impl DsqlEmulator {
    /// Starts an emulator with a database of its own, on a free port of the loopback address.
    ///
    /// The emulators of a process share one PostgreSQL server. The first starts it, and the last
    /// stops it.
    ///
    /// # Errors
    /// See [`StartError`]. The most frequent cause is that PostgreSQL is not installed.
    pub async fn start() -> Result<Self, StartError> {
        Self::builder().start().await
    }

    /// A builder for an emulator with another configuration than the default.
    pub fn builder() -> DsqlEmulatorBuilder {
        DsqlEmulatorBuilder::default()
    }

    /// The host name to connect to: the first of [`hosts`](DsqlEmulatorBuilder::hosts), by default
    /// `localhost`. Clients must not connect by IP address, because DSQL requires SNI.
    pub fn host(&self) -> &str {
        &self.config.hosts[0]
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Address and port.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The address of the control port, which injects faults from other processes: see
    /// `docs/emulator.md`.
    pub fn control_addr(&self) -> SocketAddr {
        self.control_address
    }

    /// The region that tokens must be signed for.
    pub fn region(&self) -> &str {
        &self.config.region
    }

    /// The credentials that tokens must be signed with.
    pub fn credentials(&self) -> &Credentials {
        &self.config.credentials
    }

    /// The IAM identity of the credentials, for `AWS IAM GRANT`.
    pub fn arn(&self) -> &str {
        &self.config.arn
    }

    /// The certificate authority that clients must trust, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The file with the certificate authority. It is removed with the emulator.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// A token for `user`, valid for 15 minutes from now. Only the role `admin` exists at first;
    /// others are created as on a cluster.
    pub fn token(&self, user: &str) -> String {
        self.credentials().token(self.host(), self.region(), user, token::DEFAULT_LIFETIME)
    }

    /// A URL for `admin`, with a token that is valid for 15 minutes from now.
    pub fn url(&self) -> String {
        self.url_for("admin")
    }

    /// A URL for another role, with a token that is valid for 15 minutes from now.
    pub fn url_for(&self, user: &str) -> String {
        let encode = |text: &str| -> String {
            url::form_urlencoded::byte_serialize(text.as_bytes())
                .collect::<String>()
                .replace('+', "%20")
        };
        format!(
            "postgres://{}:{}@{}:{}/postgres?sslmode=verify-full&sslrootcert={}",
            encode(user),
            encode(&self.token(user)),
            self.host(),
            self.port(),
            encode(&self.ca_file.to_string_lossy())
        )
    }

    /// The handle that injects faults.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }
}

impl Drop for DsqlEmulator {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the emulator's thread has been printed already.
            let _ = thread.join();
        }
    }
}

impl DsqlEmulatorBuilder {
    /// The address to listen on. The default is 127.0.0.1.
    pub fn listen(mut self, address: IpAddr) -> Self {
        self.0.listen = address;
        self
    }

    /// The port. The default, 0, selects a free port.
    pub fn port(mut self, port: u16) -> Self {
        self.0.port = port;
        self
    }

    /// The control port, on 127.0.0.1. The default, 0, selects a free port.
    pub fn control_port(mut self, port: u16) -> Self {
        self.0.control_port = port;
        self
    }

    /// The host names of the emulator, instead of `localhost`. They are in the certificate, and are
    /// compared with SNI and with the host in a token. They must resolve to the address that it
    /// listens on.
    pub fn hosts<T: Into<String>>(mut self, hosts: impl IntoIterator<Item = T>) -> Self {
        self.0.hosts = hosts.into_iter().map(Into::into).collect();
        self
    }

    /// The region. The default is `us-east-1`.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.0.region = region.into();
        self
    }

    /// The credentials that tokens must be signed with.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.0.credentials = credentials;
        self
    }

    /// The IAM identity of the credentials, as `AWS IAM GRANT` names it.
    pub fn arn(mut self, arn: impl Into<String>) -> Self {
        self.0.arn = arn.into();
        self
    }

    /// The file to write the certificate authority to, instead of a new one. It is removed with the
    /// emulator, unless the process is killed. A file that exists and was not written by an
    /// emulator is not overwritten: the emulator does not start.
    pub fn ca_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.0.ca_file = Some(file.into());
        self
    }

    /// Starts a PostgreSQL server for this emulator only, so that its roles are its own.
    pub fn own_postgres(mut self) -> Self {
        self.0.backend = Backend::Own;
        self
    }

    /// Uses a running PostgreSQL, version 15 or later, by the URL of a superuser. The emulator
    /// creates a database and drops it at the end. Emulators of one process that use the server at the
    /// same time share a template, which the last one drops. The role `admin` stays.
    pub fn postgres_url(mut self, url: impl Into<String>) -> Self {
        self.0.backend = Backend::Url(url.into());
        self
    }

    /// DSQL's limits that can be changed.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.0.limits = limits;
        self
    }

    /// How long asynchronous jobs take.
    pub fn job_delays(mut self, delays: JobDelays) -> Self {
        self.0.jobs = delays;
        self
    }

    /// When a session gets `OC001` after another session has changed the catalog.
    pub fn catalog_conflicts(mut self, conflicts: CatalogConflicts) -> Self {
        self.0.catalog_conflicts = conflicts;
        self
    }

    /// Whether INSERT, UPDATE and DELETE are permitted inside of a WITH clause. No source records
    /// DSQL's behaviour. The default is true; otherwise they are refused with `0A000`.
    pub fn accept_data_modifying_with(mut self, accept: bool) -> Self {
        self.0.unrecorded.data_modifying_with = accept;
        self
    }

    /// Whether locking clauses are permitted in subqueries and WITH clauses, as the release note of
    /// 2026-08-24 says. The default is true; otherwise they are refused with `0A000`.
    pub fn accept_locking_subqueries(mut self, accept: bool) -> Self {
        self.0.unrecorded.locking_subqueries = accept;
        self
    }

    /// The minimum time of every round trip and commit.
    pub fn latency(mut self, latency: Latency) -> Self {
        self.0.latency = latency;
        self
    }

    /// The seed of random decisions: the ids of jobs, and catalog conflicts with a probability.
    pub fn seed(mut self, seed: u64) -> Self {
        self.0.seed = seed;
        self
    }

    /// Starts the emulator.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(self) -> Result<DsqlEmulator, StartError> {
        let config = self.0;
        config.check()?;
        let faults = Faults::default();
        faults.set_latency(config.latency);
        let (started, start) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("dsql-emulator".into())
            .spawn({
                let (config, faults) = (config.clone(), faults.clone());
                move || run(config, faults, started, stopped)
            })
            .map_err(|source| StartError::Io { what: "starting a thread".into(), source })?;
        let mut emulator = DsqlEmulator {
            config,
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            control_address: SocketAddr::from(([0, 0, 0, 0], 0)),
            ca_pem: String::new(),
            ca_file: PathBuf::new(),
            faults,
            stop: Some(stop),
            thread: Some(thread),
        };
        let endpoints = start.await.map_err(|_| StartError::Panicked)??;
        emulator.address = endpoints.address;
        emulator.control_address = endpoints.control_address;
        emulator.ca_pem = endpoints.ca_pem;
        emulator.ca_file = endpoints.ca_file;
        Ok(emulator)
    }
}

/// The addresses and files of a running emulator.
struct Endpoints {
    address: SocketAddr,
    control_address: SocketAddr,
    ca_pem: String,
    ca_file: PathBuf,
}

/// The main function of the emulator's thread. It returns when `stopped` is dropped.
fn run(
    config: Config,
    faults: Faults,
    started: oneshot::Sender<Result<Endpoints, StartError>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = Runtime::new_multi_thread()
        .worker_threads(2)
        .thread_name("dsql-emulator")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(source) => {
            let _ = started.send(Err(StartError::Io { what: "starting threads".into(), source }));
            return;
        }
    };
    let resources = runtime.block_on(async {
        match start_serving(config, faults).await {
            Ok((resources, endpoints)) => {
                if started.send(Ok(endpoints)).is_ok() {
                    // An error means that the sender was dropped, which is the signal to stop.
                    let _ = stopped.await;
                }
                Some(resources)
            }
            Err(error) => {
                let _ = started.send(Err(error));
                None
            }
        }
    });
    // Dropping the runtime ends sessions and jobs before the database is dropped.
    drop(runtime);
    if let Some(resources) = resources {
        resources.close();
    }
}

/// What must be cleaned up when an emulator stops.
struct Resources {
    database: Database,
    ca_file: PathBuf,
    ca_pem: String,
    /// The folder of the CA file, if the server has none.
    _folder: Option<tempfile::TempDir>,
}

async fn start_serving(
    config: Config,
    faults: Faults,
) -> Result<(Resources, Endpoints), StartError> {
    // Cheap checks first.
    let tls = Tls::new(&config.hosts)?;
    let listener = listen((config.listen, config.port).into()).await?;
    let control = listen(([127, 0, 0, 1], config.control_port).into()).await?;
    let addresses = listener.local_addr().and_then(|a| Ok((a, control.local_addr()?)));
    let (address, control_address) = addresses.map_err(|source| StartError::Io {
        what: "reading the address of a listener".into(),
        source,
    })?;

    let database = Database::open(&config.backend).await?;
    match serve_on(listener, control, &database, config, tls, faults.clone()).await {
        Ok((ca_pem, folder, ca_file)) => {
            let resources = Resources {
                database,
                ca_file: ca_file.clone(),
                ca_pem: ca_pem.clone(),
                _folder: folder,
            };
            Ok((resources, Endpoints { address, control_address, ca_pem, ca_file }))
        }
        Err(error) => {
            database.close().await;
            Err(error)
        }
    }
}

/// The certificate authority, the temporary folder of its file if there is one, and the file.
type CaFile = (String, Option<tempfile::TempDir>, PathBuf);

async fn serve_on(
    listener: TcpListener,
    control: TcpListener,
    database: &Database,
    config: Config,
    tls: Tls,
    faults: Faults,
) -> Result<CaFile, StartError> {
    backend::grant(&database.target).await?;
    let ca_pem = tls.ca_pem.clone();
    let (folder, ca_file) = write_ca(config.ca_file.as_deref(), database, &ca_pem)?;
    let kept = config.jobs.kept;
    let cluster = Cluster::open(config, database.target.clone(), tls, faults.clone()).await?;
    let kept = literal(&format!("{} milliseconds", kept.as_millis()));
    cluster.query(&format!("UPDATE pg_toast_temp_dsql.setting SET kept_for = {kept}")).await?;
    tokio::spawn(accept(listener, move |socket| serve(socket, cluster.clone())));
    tokio::spawn(accept(control, move |socket| control::serve(socket, faults.clone())));
    Ok((ca_pem, folder, ca_file))
}

/// By default the CA file is in the folder of the server, which is removed with it even if this
/// process is killed.
fn write_ca(
    requested: Option<&Path>,
    database: &Database,
    ca_pem: &str,
) -> Result<(Option<tempfile::TempDir>, PathBuf), StartError> {
    let name = format!("{}.pem", database.target.database);
    let failed = |what: String| |source| StartError::Io { what, source };
    let (folder, file) = match (requested, database.folder()) {
        (Some(file), _) => (None, std::path::absolute(file)),
        (None, Some(folder)) => (None, Ok(folder.join(name))),
        (None, None) => {
            let folder = tempfile::Builder::new()
                .prefix("dsql-emulator-")
                .tempdir()
                .map_err(failed("making a folder for the CA file".into()))?;
            let file = folder.path().join(name);
            (Some(folder), Ok(file))
        }
    };
    let file = file.map_err(failed("finding the CA file".into()))?;
    let writing = format!("writing the CA file `{}`", file.display());
    if requested.is_none() {
        std::fs::write(&file, ca_pem).map_err(failed(writing))?;
        return Ok((folder, file));
    }
    let is_foreign = match std::fs::read(&file) {
        Ok(content) => !content.starts_with(CA_MARK.as_bytes()),
        Err(error) => error.kind() != io::ErrorKind::NotFound && file.exists(),
    };
    if is_foreign {
        let source = io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the file exists and was not written by an emulator; choose another name",
        );
        return Err(failed(writing)(source));
    }
    std::fs::write(&file, format!("{CA_MARK}{ca_pem}")).map_err(failed(writing))?;
    Ok((folder, file))
}

/// The first line of a CA file with a user-defined name. PEM readers skip it.
const CA_MARK: &str =
    "# The certificate authority of a dsql-emulator, which may replace this file.\n";

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

/// Accepts connections until the runtime ends, and serves each in a task.
async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((socket, _)) => drop(tokio::spawn(serve(socket))),
            Err(error) => {
                // For example too many open files, which may be temporary.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

impl Resources {
    fn close(self) {
        if std::fs::read_to_string(&self.ca_file).is_ok_and(|text| text.ends_with(&self.ca_pem)) {
            let _ = std::fs::remove_file(&self.ca_file);
        }
        match Runtime::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.database.close()),
            Err(error) => tracing::warn!(%error, "a database may not have been dropped"),
        }
    }
}

//! The session of one client: handles its messages and sends the answers.

mod commit;
mod copy;
mod execute;
mod extended;
mod locks;
mod simple;

use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use extended::Rows;
use locks::ReportingStatement;
use tokio::{net::TcpStream, sync::Mutex as AsyncMutex};

use crate::{
    Refusal,
    auth::{
        admission::ConnectionPermit,
        startup::{AuthenticatedClient, Client, authenticate},
    },
    catalog::SessionCatalog,
    cluster::Cluster,
    engine::{
        in_flight::StatementTracker, monitored::Failure, names::UpstreamName, worker::Worker,
    },
    faults::Signal,
    rules::{Context, Control, Plan, Settings},
    sql::Statement,
    wire::{self, BindParts, DbError, Message, Status, tag},
};

/// Why a message could not be handled.
#[derive(Debug)]
enum SessionError {
    /// An error that is sent to the client.
    Reported(DbError),
    /// The connection closes.
    Close,
}

type SessionResult<T> = Result<T, SessionError>;

impl From<io::Error> for SessionError {
    fn from(_: io::Error) -> Self {
        Self::Close
    }
}

impl From<DbError> for SessionError {
    fn from(error: DbError) -> Self {
        Self::Reported(error)
    }
}

impl From<Failure> for SessionError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => Self::Reported(error),
            // The caller runs a statement again; anything else reports this error.
            Failure::Interrupted => {
                Self::Reported(DbError::new("57014", "canceling statement due to user request"))
            }
            Failure::Broken(error) => {
                tracing::warn!(%error, "a session lost its connection to PostgreSQL");
                Self::Close
            }
        }
    }
}

/// The kind of transaction that the session is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    None,
    /// The implicit transaction of one message, or of a batch up to its Sync.
    Implicit,
    /// Between BEGIN and COMMIT.
    Explicit,
}

/// A statement that a client has prepared.
#[derive(Debug)]
struct Prepared {
    statement: Arc<Statement>,
    plan: Plan,
    types: Arc<[u32]>,
    /// Its RowDescription, if it returns rows.
    columns: Option<Message>,
    /// The statement in PostgreSQL, if it is prepared there.
    upstream: Option<Arc<UpstreamName>>,
}

/// A portal: a statement with its parameters, and the rows that were not fetched yet.
#[derive(Debug)]
struct Portal {
    prepared: Arc<Prepared>,
    bind: BindParts,
    answer: Option<Rows>,
}

/// A Bind whose parameters PostgreSQL has not converted yet. Its portal is run next, or described
/// and then run, so PostgreSQL gets both together.
#[derive(Debug)]
struct PendingBind {
    portal: String,
    /// The number of bytes that were queued for the client before its BindComplete.
    queued: usize,
}

struct Session {
    cluster: Arc<Cluster>,
    client: Client,
    user: String,
    /// The values of settings that were reported to the client.
    reported: HashMap<String, String>,
    worker: Arc<AsyncMutex<Worker>>,
    /// What it has seen of the catalog, from its first statement on.
    session_catalog: Option<SessionCatalog>,
    block: Block,
    failed: bool,
    settings: Settings,
    statements: HashMap<String, Arc<Prepared>>,
    portals: HashMap<String, Portal>,
    pending_bind: Option<PendingBind>,
    locking: HashMap<String, ReportingStatement>,
    /// Increases with every change of a setting.
    settings_version: u64,
    /// Whether a setting has changed since the end of the last transaction.
    settings_changed: bool,
    next_name: u64,
    opened: Instant,
    /// When the client sent the message that it waits for; `None` if it waits for nothing.
    requested_at: Option<Instant>,
    signal: tokio::sync::watch::Receiver<Signal>,
    signal_at_start: Signal,
    _permit: ConnectionPermit,
}

/// PostgreSQL's default of `authentication_timeout`.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves one connection until it ends.
pub(crate) async fn serve(socket: TcpStream, cluster: Arc<Cluster>) {
    let authenticated =
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, authenticate(socket, &cluster)).await {
            Ok(authenticated) => authenticated,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
    match authenticated {
        Ok(Some(authenticated)) => {
            if let Err(error) = open(authenticated, cluster).await {
                tracing::debug!(%error, "a connection ended");
            }
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "a connection ended before its session began"),
    }
}

async fn open(authenticated: AuthenticatedClient, cluster: Arc<Cluster>) -> io::Result<()> {
    let AuthenticatedClient { mut client, user, settings, emulator_settings, permit } =
        authenticated;
    let session_id = cluster.new_session_id();
    let mut all: Vec<(&str, &str)> = vec![
        ("default_transaction_isolation", "repeatable read"),
        // The lock monitor resolves deadlocks.
        ("deadlock_timeout", "10min"),
        // aurora-dsql.md#limits: a query may use 128 MiB. A long value that a statement writes is
        // in the transition table of a trigger, which must not become a file.
        ("temp_file_limit", "131072"),
        ("work_mem", "256MB"),
        ("default_toast_compression", cluster.compression),
        ("client_min_messages", "notice"),
        ("bytea_output", "hex"),
        // PostgreSQL stores it as a custom setting. The default `on` is inferred [I].
        ("dsql.enable_batched_nestloop", "on"),
        // For the functions of schema `sys`.
        ("dsql_emulator.session_id", &session_id),
        ("dsql_emulator.arn", &cluster.config.arn),
    ];
    all.extend(settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let opened = Worker::open(
        &cluster.target,
        &user,
        &all,
        cluster.monitor.clone(),
        cluster.commit_log.clone(),
    )
    .await;
    let worker = match opened {
        Ok(worker) => worker,
        Err(error) => {
            let refusal = match error.refusal() {
                // PostgreSQL accepts fewer connections than a cluster.
                Some(own) if own.code == "53300" => {
                    Refusal::TooManyConnections.error().unwrap_or_else(|| own.clone())
                }
                Some(own) => DbError { severity: "FATAL".into(), ..own.clone() },
                None => {
                    tracing::error!(%error, "PostgreSQL cannot be reached");
                    DbError::fatal("XX000", "server unavailable")
                }
            };
            client.queue(&refusal.message());
            return client.finish().await;
        }
    };
    client.queue(&wire::authentication_ok());
    let tracker = worker.tracker().clone();
    let worker = Arc::new(AsyncMutex::new(worker));
    let (process, secret) = cluster.register(&tracker, &worker);
    let signal = cluster.faults.signal();
    let signal_at_start = *signal.borrow();
    let mut session = Session {
        session_catalog: None,
        cluster: cluster.clone(),
        client,
        user,
        worker,
        reported: HashMap::new(),
        block: Block::None,
        failed: false,
        settings: emulator_settings,
        statements: HashMap::new(),
        portals: HashMap::new(),
        pending_bind: None,
        locking: HashMap::new(),
        settings_version: 0,
        settings_changed: false,
        next_name: 0,
        opened: Instant::now(),
        requested_at: None,
        signal: signal.clone(),
        signal_at_start,
        _permit: permit,
    };
    let _guard = SessionGuard { cluster, tracker, process };
    session.report_settings().await;
    session.client.queue(&wire::key_data(process, secret));
    session.client.queue(&wire::ready_for_query(Status::Idle));
    let mut drops = signal;
    let ended = tokio::select! {
        ended = session.run() => ended,
        _ = drops.wait_for(|signal| signal.drops != signal_at_start.drops) => return Ok(()),
    };
    match ended {
        Ok(()) => session.client.finish().await,
        // The connection closes without an answer.
        Err(_) => Ok(()),
    }
}

/// The value to report to clients where it differs from PostgreSQL's.
fn overridden_parameter<'a>(name: &str, user: &'a str) -> Option<&'a str> {
    match name {
        "server_version" => Some(crate::SERVER_VERSION),
        "is_superuser" => Some("off"),
        "session_authorization" => Some(user),
        _ => None,
    }
}

/// Cleans up when a session ends, for any reason.
struct SessionGuard {
    cluster: Arc<Cluster>,
    tracker: Arc<StatementTracker>,
    process: i32,
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.cluster.unregister(self.process);
        // PostgreSQL notices a closed connection only when it sends something. Until then an
        // in-flight statement would keep its locks, and no session could release them. When the
        // emulator stops, all of PostgreSQL's sessions end.
        if self.tracker.in_flight().is_some()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (cluster, process) = (self.cluster.clone(), self.tracker.process);
            runtime.spawn(async move {
                let sql = format!("SELECT pg_catalog.pg_terminate_backend({process})");
                let _ = cluster.query(&sql).await;
            });
        }
    }
}

impl Session {
    async fn run(&mut self) -> SessionResult<()> {
        self.client.flush().await?;
        let mut skipping = false;
        loop {
            let Some(message) = self.next_message().await? else { return Ok(()) };
            self.requested_at.get_or_insert_with(Instant::now);
            let kind = message.tag();
            if let Err(error) = self.bind_before(&message).await {
                skipping = true;
                self.report(error, skipping).await?;
            }
            if skipping && is_skipped(kind) {
                continue;
            }
            let answered = match kind {
                tag::FLUSH | tag::SYNC if !message.payload().is_empty() => {
                    Err(protocol_violation())
                }
                tag::QUERY => self.simple_query(&message).await,
                tag::PARSE => self.parse(&message).await,
                tag::BIND => self.bind(&message).await,
                tag::DESCRIBE => self.describe(&message),
                tag::EXECUTE => self.execute_portal(&message).await,
                tag::CLOSE => self.close(&message).await,
                tag::FLUSH => self.flush().await,
                tag::SYNC => self.sync().await,
                tag::TERMINATE => {
                    // The client does not read any more.
                    self.client.discard_queued();
                    return Ok(());
                }
                // The remaining messages of a COPY that has failed.
                tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL => Ok(()),
                tag::FUNCTION_CALL => {
                    Err(DbError::new("0A000", "function calls are not supported").into())
                }
                other => {
                    let message = format!("invalid frontend message type {other}");
                    self.queue_error(&DbError::fatal("08P01", message));
                    return Ok(());
                }
            };
            skipping = match answered {
                Ok(()) => false,
                Err(error) => {
                    // The rest of the batch is ignored, including Flush.
                    let skips = !matches!(kind, tag::SYNC | tag::QUERY | tag::FUNCTION_CALL);
                    self.report(error, skips).await?;
                    skips
                }
            };
        }
    }

    /// Sends an error to the client: alone if the messages up to the next Sync are skipped,
    /// otherwise with ReadyForQuery.
    async fn report(&mut self, error: SessionError, skips: bool) -> SessionResult<()> {
        let SessionError::Reported(error) = error else { return Err(error) };
        self.fail().await?;
        self.queue_error(&error);
        if skips { self.send_error().await } else { self.ready().await }
    }

    /// The next message; `None` when the session ends, by the client or by its age.
    async fn next_message(&mut self) -> SessionResult<Option<Message>> {
        loop {
            let limits = &self.cluster.config.limits;
            let shift = self.signal.borrow_and_update().clock;
            let mut most = limits.session_age;
            if self.block != Block::None {
                // A transaction that has begun may be finished (aurora-dsql.md#admission).
                most = most.saturating_add(limits.transaction_age);
            }
            let aged = shift.saturating_sub(self.signal_at_start.clock);
            let left = most.saturating_sub(self.opened.elapsed() + aged);
            if left == Duration::ZERO {
                return Ok(None);
            }
            let mut signal = self.signal.clone();
            tokio::select! {
                message = self.client.message() => {
                    // A message that is too long closes the connection without an error
                    // (aurora-dsql.md#limits).
                    return Ok(message?);
                }
                () = tokio::time::sleep(left) => return Ok(None),
                // The clock may have been shifted.
                _ = signal.changed() => {}
            }
        }
    }

    /// Queues what PostgreSQL sent before the error of a statement: the messages with these tags.
    async fn queue_before_error(&mut self, is_sent: impl Fn(u8) -> bool) {
        let messages = std::mem::take(&mut self.worker.lock().await.before_error);
        for message in messages.iter().filter(|message| is_sent(message.tag())) {
            self.client.queue(message);
        }
    }

    /// Queues an error for the client.
    fn queue_error(&mut self, error: &DbError) {
        let database = &self.cluster.target.database;
        self.client.queue(&as_dsql_error(error.clone(), database).message());
    }

    /// Sends what is queued, on a Flush.
    async fn flush(&mut self) -> SessionResult<()> {
        self.delay(self.cluster.faults.latency().round_trip).await;
        self.requested_at = None;
        self.client.flush().await?;
        Ok(())
    }

    /// Sends the error that ends a batch. A client that sends Flush waits for the error before its
    /// Sync.
    async fn send_error(&mut self) -> SessionResult<()> {
        let requested_at = self.requested_at;
        self.delay(self.cluster.faults.latency().round_trip).await;
        // A Sync that has been sent already is part of the same round trip.
        self.requested_at = requested_at;
        self.client.flush().await?;
        Ok(())
    }

    /// Sends ReadyForQuery.
    async fn ready(&mut self) -> SessionResult<()> {
        self.delay(self.cluster.faults.latency().round_trip).await;
        self.requested_at = None;
        let status = match self.block {
            Block::Explicit if self.failed => Status::Failed,
            Block::Explicit => Status::InTransaction,
            Block::None | Block::Implicit => Status::Idle,
        };
        self.report_settings().await;
        self.client.queue(&wire::ready_for_query(status));
        self.client.flush().await?;
        Ok(())
    }

    /// Reports settings whose values differ from those reported before, also after a rollback.
    async fn report_settings(&mut self) {
        let worker = self.worker.lock().await;
        for (name, value) in worker.parameters() {
            let value = overridden_parameter(name, &self.user).unwrap_or(value);
            if self.reported.get(name).is_some_and(|reported| reported == value) {
                continue;
            }
            self.client.queue(&wire::parameter_status(name, value));
            self.reported.insert(name.clone(), value.to_owned());
        }
    }

    /// Waits until `latency` has passed since the client's message, and starts the next interval.
    ///
    /// The runtime's own timer has a resolution of a millisecond, which is as long as a round trip.
    async fn delay(&mut self, latency: Duration) {
        if latency.is_zero() {
            return;
        }
        let due = self.requested_at.unwrap_or_else(Instant::now) + latency;
        let left = due.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            futures_timer::Delay::new(left).await;
        }
        self.requested_at = Some(due);
    }

    /// Rolls back after a statement has failed.
    async fn fail(&mut self) -> SessionResult<()> {
        self.pending_bind = None;
        self.worker.lock().await.rollback().await?;
        match self.block {
            Block::Explicit if self.failed => {}
            Block::Explicit => {
                self.failed = true;
                // Portals exist until the end of the transaction, and return no more rows.
                for portal in self.portals.values_mut() {
                    portal.answer.get_or_insert_default();
                }
            }
            Block::Implicit | Block::None => self.end_transaction(),
        }
        Ok(())
    }

    /// Ends the transaction and closes its portals.
    fn end_transaction(&mut self) {
        self.note_settings_taken_back();
        self.block = Block::None;
        self.failed = false;
        self.portals.clear();
    }

    /// In a failed transaction only COMMIT and ROLLBACK are permitted.
    fn check_not_failed(&self, plan: &Plan) -> SessionResult<()> {
        let ends = matches!(plan, Plan::Control(Control::Commit | Control::Rollback));
        if self.failed && !ends { Err(aborted().into()) } else { Ok(()) }
    }

    /// What the session has seen of the catalog.
    fn session_catalog(&mut self) -> &mut SessionCatalog {
        self.session_catalog.get_or_insert_with(|| self.cluster.versions.open_session())
    }

    fn context(&self) -> Context<'_> {
        Context {
            builtins: &self.cluster.builtins,
            server_version: self.cluster.server_version,
            database: &self.cluster.target.database,
            sync_index: self.settings.sync_index,
            unrecorded: self.cluster.config.unrecorded,
        }
    }

    /// A name for a statement in PostgreSQL.
    fn new_name(&mut self) -> String {
        self.next_name += 1;
        format!("client_{}", self.next_name)
    }
}

/// Whether a message is ignored after an error, up to the next Sync. A message of an unknown type
/// ends the session nevertheless.
fn is_skipped(kind: u8) -> bool {
    const SKIPPED: [u8; 11] = [
        tag::QUERY,
        tag::PARSE,
        tag::BIND,
        tag::DESCRIBE,
        tag::EXECUTE,
        tag::CLOSE,
        tag::FLUSH,
        tag::FUNCTION_CALL,
        tag::COPY_DATA,
        tag::COPY_DONE,
        tag::COPY_FAIL,
    ];
    SKIPPED.contains(&kind)
}

/// aurora-dsql.md#transactions: takes precedence over any other error of a statement.
fn aborted() -> DbError {
    DbError::new(
        "25P02",
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}

const PROTOCOL_VIOLATION: &str = "08P01";

fn protocol_violation() -> SessionError {
    SessionError::Reported(DbError::new(PROTOCOL_VIOLATION, "invalid message format"))
}

/// Decodes the text of statements, which is UTF-8 regardless of `client_encoding`.
fn statement_text(bytes: &[u8]) -> SessionResult<&str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let wrong = &bytes[error.valid_up_to()..];
        // PostgreSQL shows as many bytes as the first one announces.
        let shown = match wrong[0] {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            _ => 1,
        };
        let shown: Vec<String> =
            wrong.iter().take(shown).map(|byte| format!("0x{byte:02x}")).collect();
        let message = format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" "));
        SessionError::Reported(DbError::new("22021", message))
    })
}

/// Replaces errors of PostgreSQL by DSQL's, and removes traces of the emulator. `database` is the
/// name of the database in PostgreSQL.
fn as_dsql_error(mut error: DbError, database: &str) -> DbError {
    for text in [Some(&mut error.message), error.detail.as_mut(), error.hint.as_mut()] {
        if let Some(text) = text.filter(|text| text.contains(database)) {
            *text = text.replace(database, "postgres");
        }
    }
    let is_own =
        |text: &str| ["dsql_emulator", "pg_toast_temp_dsql"].iter().any(|own| text.contains(own));
    if error.other(b'W').is_some_and(is_own) {
        // Raised by the emulator's own functions, whose location is hidden.
        error.others.retain(|(field, _)| !b"WFLR".contains(field));
    }
    match (error.code.as_str(), error.message.as_str()) {
        // aurora-dsql.md#limits: the memory of a query.
        ("53400", message) if message.contains("temp_file_limit") => DbError::new(
            "54000",
            "query requires more than allowed temp space of 131072 KB to execute",
        ),
        // aurora-dsql.md#sizes: a key that is too long for PostgreSQL as well.
        ("54000", message) if message.starts_with("index row") => {
            DbError::new("54000", "key size too large")
        }
        _ => error,
    }
}

/// Bytes as the text of a message.
fn text_of(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

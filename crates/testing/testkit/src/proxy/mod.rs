//! A proxy on PostgreSQL's wire protocol that counts round trips and injects faults.
//!
//! The most important faults, a conflict at COMMIT and a COMMIT whose answer is lost, occur on the
//! wire at random moments. Between a client and a real server, the proxy injects them at an exact
//! request, and leaves both sides in the state that the real fault would leave.

mod connection;
mod fault;
mod request;

pub use fault::{HookAction, When, WireFault};

use std::{
    collections::VecDeque,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::{Builder, Runtime},
    task::{JoinHandle, JoinSet},
};

use fault::{Hook, Script};
use request::Request;

/// The maximum number of SQL texts that the proxy records.
const MAX_STATEMENTS: usize = 10_000;
const BACKLOG: u32 = 128;

/// A proxy between clients and one server, over plain TCP.
///
/// It runs on its own threads, so it also works for a test that blocks. Dropping it closes every
/// connection, and panics if a hook has panicked: a failed assertion in a hook fails the test.
///
/// ```no_run
/// use temporal_dsql_testkit::{FaultProxy, OccCode, When, WireFault};
///
/// # fn test(server: std::net::SocketAddr) -> std::io::Result<()> {
/// let proxy = FaultProxy::start(server)?;
/// proxy.inject(When::Commit, WireFault::Conflict(OccCode::Oc000));
/// // … a client of `proxy.url("postgres")` loses its next COMMIT to another transaction.
/// assert_eq!(proxy.pending_faults(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FaultProxy {
    shared: Arc<Shared>,
    addr: SocketAddr,
    /// Bound and never listening: it reserves the port while the proxy refuses connections.
    _reservation: TcpSocket,
    /// `None` while the proxy refuses connections.
    accepting: Mutex<Option<JoinHandle<()>>>,
    /// `None` only while the proxy is dropped.
    runtime: Option<Runtime>,
}

/// What the connections of one proxy share.
#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    script: Mutex<Script>,
    statements: Mutex<VecDeque<String>>,
    bytes: AtomicU64,
    hook_panicked: AtomicBool,
    connections: Mutex<JoinSet<()>>,
}

impl FaultProxy {
    /// Starts a proxy for the server at `upstream`, on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn start(upstream: SocketAddr) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("fault-proxy")
            .enable_all()
            .build()?;
        let reservation = {
            let _context = runtime.enter();
            reusable_socket((Ipv4Addr::LOCALHOST, 0).into())?
        };
        let proxy = Self {
            shared: Arc::new(Shared {
                upstream,
                script: Mutex::default(),
                statements: Mutex::default(),
                bytes: AtomicU64::new(0),
                hook_panicked: AtomicBool::new(false),
                connections: Mutex::default(),
            }),
            addr: reservation.local_addr()?,
            _reservation: reservation,
            accepting: Mutex::default(),
            runtime: Some(runtime),
        };
        proxy.accept()?;
        Ok(proxy)
    }

    /// Where the proxy listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of `database` for the role `postgres`, through the proxy.
    ///
    /// For another role or a password see
    /// [`ScratchDatabase::url_via`](crate::ScratchDatabase::url_via).
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.addr)
    }

    /// Injects `fault` once, into the first request that matches `when`. If several faults match a
    /// request, the oldest happens, and the others wait for the next.
    pub fn inject(&self, when: When, fault: WireFault) {
        self.shared.script().inject(when, fault);
    }

    /// The number of faults that have not happened yet. A test that expects its faults asserts 0.
    pub fn pending_faults(&self) -> usize {
        self.shared.script().pending()
    }

    /// The number of requests that clients have sent: simple Queries and batches up to a Sync.
    /// Starting a session is not counted.
    pub fn round_trips(&self) -> u64 {
        self.shared.script().requests()
    }

    /// The number of bytes that the proxy has written, to both sides.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// The SQL texts of the Query and Parse messages that clients have sent, oldest first; the
    /// last 10,000 of them.
    pub fn statements(&self) -> Vec<String> {
        lock(&self.shared.statements).iter().cloned().collect()
    }

    /// Closes all connections, also in the middle of a request. New ones are accepted.
    pub fn cut(&self) {
        let mut connections = std::mem::take(&mut *lock(&self.shared.connections));
        self.finish(async move { connections.shutdown().await });
    }

    /// Starts or stops refusing new connections, like a host without a listener on the port. Open
    /// connections stay.
    ///
    /// # Panics
    /// Listening again fails, although the port is reserved.
    pub fn refuse(&self, refuse: bool) {
        let accepting = lock(&self.accepting).take();
        if let Some(accepting) = accepting {
            accepting.abort();
            self.finish(async move { drop(accepting.await) });
        }
        if !refuse {
            self.accept().expect("the port is kept for the proxy");
        }
    }

    fn accept(&self) -> io::Result<()> {
        let runtime = self.runtime();
        let _context = runtime.enter();
        let listener = reusable_socket(self.addr)?.listen(BACKLOG)?;
        let accepting = runtime.spawn(accept(listener, self.shared.clone()));
        *lock(&self.accepting) = Some(accepting);
        Ok(())
    }

    /// Runs `work` on the proxy's runtime and waits for it, from any thread.
    fn finish(&self, work: impl Future<Output = ()> + Send + 'static) {
        let (done, finished) = mpsc::channel();
        self.runtime().spawn(async move {
            work.await;
            let _ = done.send(());
        });
        let _ = finished.recv();
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("a runtime until the drop")
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.cut();
        if let Some(runtime) = self.runtime.take() {
            // The drop may run on another runtime, where blocking is not allowed.
            runtime.shutdown_background();
        }
        assert!(
            thread::panicking() || !self.shared.hook_panicked.load(Ordering::SeqCst),
            "a hook of a fault panicked"
        );
    }
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        lock(&self.script)
    }

    /// Counts and records a request, which is sent inside or outside of a transaction; returns the
    /// fault that happens to it.
    fn on_request(&self, request: &Request, outside_transaction: bool) -> Option<WireFault> {
        let mut statements = lock(&self.statements);
        statements.extend(request.texts.iter().cloned());
        let surplus = statements.len().saturating_sub(MAX_STATEMENTS);
        statements.drain(..surplus);
        self.script().next_request(request, outside_transaction)
    }

    /// Runs a hook on a thread that may block: hooks kill processes and wait for them.
    async fn call(&self, hook: Hook) -> HookAction {
        tokio::task::spawn_blocking(hook).await.unwrap_or_else(|_| {
            self.hook_panicked.store(true, Ordering::SeqCst);
            HookAction::Close
        })
    }

    fn count_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let serve = connection::serve(client, shared.clone());
        let mut connections = lock(&shared.connections);
        while connections.try_join_next().is_some() {}
        // An error on one side closes both.
        connections.spawn(async move { drop(serve.await) });
    }
}

fn reusable_socket(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

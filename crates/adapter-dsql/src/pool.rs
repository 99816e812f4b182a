//! The connection pool.
//!
//! Connections are opened no faster than a rate, each with a token of its own; they retire at
//! ages that are spread out, well before DSQL closes them; and a reserve of open connections is
//! kept, so that a caller seldom waits for a new one (aurora-dsql.md#latency: opening takes 100–330
//! ms).
//!
//! What ends one connection often ends them all: a restart, a failover, a network that forgot them.
//! So a connection that breaks condemns those that have not been used since: they are closed, and
//! the next caller gets a new one at once, instead of one dead connection after the other.

mod keeper;

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use sqlx::{Connection, PgConnection};
use temporal_dsql_client::{Attempts, ConnectError, Connector, PoolConfig};
use temporal_dsql_ports::{Cause, Outcome, RetryPolicy, StoreError};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError},
    task::JoinHandle,
    time::Instant,
};

use crate::{
    metrics::{POOL_WAIT, POOL_WAIT_DURATION, TX_ERROR_CLASS},
    observe::ErrorClass,
};

/// The pool, and the task that looks after it.
pub(crate) struct Pool {
    inner: Arc<Inner>,
    keeper: JoinHandle<()>,
}

struct Inner {
    connector: Connector,
    config: PoolConfig,
    limiter: DefaultDirectRateLimiter,
    /// One slot for each connection that is lent or being opened. With the idle ones there are never
    /// more than the slots: a connection is opened by whoever has a slot and finds none idle.
    slots: Arc<Semaphore>,
    /// The one that was used last is at the back.
    idle: Mutex<VecDeque<Pooled>>,
    breakage: Breakage,
}

/// When a connection of the pool broke last.
#[derive(Clone, Default)]
struct Breakage(Arc<Mutex<Option<Instant>>>);

impl Breakage {
    fn note(&self, at: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// Whether one broke after `used_at`, or in the same moment.
    fn is_since(&self, used_at: Instant) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| used_at <= at)
    }
}

/// A connection with what the pool must know of it.
pub(crate) struct Pooled {
    pub(crate) connection: PgConnection,
    /// Set when what is on the wire is unknown; the connection is then closed, not reused.
    pub(crate) broken: bool,
    retire_at: Instant,
    /// When it answered last.
    used_at: Instant,
    breakage: Breakage,
}

impl Pooled {
    /// Notes that the server has answered.
    pub(crate) fn answered(&mut self) {
        self.broken = false;
        self.used_at = Instant::now();
    }

    /// Notes that the connection is gone, and with it probably those that were used before.
    pub(crate) fn lost(&mut self) {
        self.broken = true;
        self.breakage.note(Instant::now());
        tracing::info!("a connection broke; idle ones that were not used since are closed");
    }

    fn is_usable(&self, guard_window: Duration) -> bool {
        !self.broken && !self.is_due(guard_window) && !self.breakage.is_since(self.used_at)
    }

    fn is_due(&self, guard_window: Duration) -> bool {
        Instant::now() + guard_window >= self.retire_at
    }
}

/// A connection on loan. Dropping it returns it, or closes it if it is no longer good.
pub(crate) struct Loan {
    /// `None` only while the loan is dropped.
    pooled: Option<Pooled>,
    pool: Arc<Inner>,
    /// Given up after the connection is returned or closed.
    _slot: OwnedSemaphorePermit,
}

impl Deref for Loan {
    type Target = Pooled;

    fn deref(&self) -> &Pooled {
        self.pooled.as_ref().expect("a connection until the drop")
    }
}

impl DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut Pooled {
        self.pooled.as_mut().expect("a connection until the drop")
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(pooled) = self.pooled.take()
            && pooled.is_usable(self.pool.config.guard_window)
        {
            let mut idle = self.pool.idle();
            // Asked while nobody else can empty it: a pool that is closed stays empty.
            if !self.pool.slots.is_closed() {
                idle.push_back(pooled);
            }
        }
    }
}

/// Why the pool has no connection to lend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoConnection {
    /// Others have them all.
    #[error("no connection became free in time; all {most} are in use")]
    Exhausted {
        /// How many there may be.
        most: u32,
    },
    /// The pool is closed.
    #[error("the store is closed")]
    Closed,
}

impl From<NoConnection> for StoreError {
    fn from(error: NoConnection) -> Self {
        Self::Unavailable {
            op: "Connect",
            outcome: Outcome::NotApplied,
            source: Some(Cause::new(error)),
        }
    }
}

impl Pool {
    /// A pool of connections that `connector` opens. Needs a tokio runtime.
    pub(crate) fn new(connector: Connector, config: PoolConfig) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(config.connection_rate))
            .allow_burst(at_least_one(config.connection_burst));
        let inner = Arc::new(Inner {
            connector,
            config,
            limiter: RateLimiter::direct(quota),
            slots: Arc::new(Semaphore::new(config.max_connections as usize)),
            idle: Mutex::default(),
            breakage: Breakage::default(),
        });
        let keeper = tokio::spawn(keeper::keep(Arc::downgrade(&inner)));
        Self { inner, keeper }
    }

    /// Lends a connection.
    pub(crate) async fn get(&self) -> Result<Loan, StoreError> {
        let slot = self.slot().await?;
        while let Some(mut pooled) = self.inner.next_idle() {
            if self.inner.answers(&mut pooled).await {
                return Ok(self.inner.lend(pooled, slot));
            }
        }
        let pooled = self.inner.open().await?;
        Ok(self.inner.lend(pooled, slot))
    }

    /// Waits for the right to a connection.
    async fn slot(&self) -> Result<OwnedSemaphorePermit, NoConnection> {
        let slots = &self.inner.slots;
        match Arc::clone(slots).try_acquire_owned() {
            Ok(slot) => return Ok(slot),
            Err(TryAcquireError::Closed) => return Err(NoConnection::Closed),
            Err(TryAcquireError::NoPermits) => {}
        }
        let PoolConfig { acquire_timeout, max_connections, .. } = self.inner.config;
        let _wait = Wait::begin();
        match tokio::time::timeout(acquire_timeout, Arc::clone(slots).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) => Err(NoConnection::Closed),
            Err(_) => Err(NoConnection::Exhausted { most: max_connections }),
        }
    }

    /// Closes the pool; loans that are out are closed when they come back.
    pub(crate) fn close(&self) {
        self.keeper.abort();
        self.inner.slots.close();
        self.inner.idle().clear();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

/// A wait for a connection, which is measured however it ends.
struct Wait(Instant);

impl Wait {
    fn begin() -> Self {
        metrics::counter!(POOL_WAIT.name).increment(1);
        Self(Instant::now())
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        metrics::histogram!(POOL_WAIT_DURATION.name).record(self.0.elapsed());
    }
}

impl Inner {
    fn idle(&self) -> MutexGuard<'_, VecDeque<Pooled>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the idle connection that has been idle for the longest time, of those that are usable.
    /// The others are closed.
    fn next_idle(&self) -> Option<Pooled> {
        let mut idle = self.idle();
        while let Some(pooled) = idle.pop_front() {
            if pooled.is_usable(self.config.guard_window) {
                return Some(pooled);
            }
        }
        None
    }

    fn lend(self: &Arc<Self>, pooled: Pooled, slot: OwnedSemaphorePermit) -> Loan {
        Loan { pooled: Some(pooled), pool: Arc::clone(self), _slot: slot }
    }

    /// Checks a connection that was idle for a while with one round trip, so that one that died in
    /// its sleep does not turn a write into an unknown outcome.
    async fn answers(&self, pooled: &mut Pooled) -> bool {
        const PATIENCE: Duration = Duration::from_secs(5);
        if pooled.used_at.elapsed() <= self.config.idle_check {
            return true;
        }
        let answers =
            matches!(tokio::time::timeout(PATIENCE, pooled.connection.ping()).await, Ok(Ok(())));
        if answers {
            pooled.answered();
        } else {
            pooled.lost();
        }
        answers
    }

    /// Opens a connection under the rate limit. A cluster that is busy (`53300`, `53400`, waking
    /// up) is asked again, later and later, until the caller's time is over.
    async fn open(&self) -> Result<Pooled, ConnectError> {
        let policy = RetryPolicy {
            base: Duration::from_millis(50),
            cap: Duration::from_secs(5),
            deadline: self.config.acquire_timeout,
        };
        let mut attempts = Attempts::new();
        loop {
            self.limiter.until_ready().await;
            let error = match self.connector.connect().await {
                Ok(connection) => return Ok(self.pooled(connection)),
                Err(error) => error,
            };
            let wait = if error.is_busy() { attempts.next_wait(&policy) } else { None };
            let Some(wait) = wait else { return Err(error) };
            let class = ErrorClass::ConnectionLimit.name();
            metrics::counter!(TX_ERROR_CLASS.name,
                "operation" => "Connect", "error_class" => class)
            .increment(1);
            tracing::debug!(%error, "waiting before the next try");
            tokio::time::sleep(wait).await;
        }
    }

    fn pooled(&self, connection: PgConnection) -> Pooled {
        let now = Instant::now();
        let PoolConfig { lifetime, lifetime_jitter, .. } = self.config;
        let life = lifetime - lifetime_jitter / 2 + lifetime_jitter.mul_f64(fastrand::f64());
        let breakage = self.breakage.clone();
        Pooled { connection, broken: false, retire_at: now + life, used_at: now, breakage }
    }
}

//! The connections of a pool: idle ones, those in use, and how one is opened and closed.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use sqlx::{Connection, PgConnection};
use temporal_dsql_client::{Attempts, Connector, PoolConfig, open_connection};
use temporal_dsql_ports::{RetryPolicy, StoreError};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{error::NoConnection, error_class::ErrorClass, metrics::TX_ERROR_CLASS};

/// The state that the pool, its keeper and the connections in use share.
pub(super) struct Connections {
    connector: Connector,
    pub(super) config: PoolConfig,
    pub(super) limiter: DefaultDirectRateLimiter,
    /// One slot for each connection that is in use or being opened. A caller opens a connection only
    /// if it has a slot and none is idle, so there are never more connections than slots.
    pub(super) slots: Arc<Semaphore>,
    /// The most recently used one is at the back.
    idle: Mutex<VecDeque<ServerConnection>>,
    /// When a connection of the pool broke last.
    breakage: LastTime,
    /// When a statement of the pool had no answer in time last.
    timeout: LastTime,
}

/// The last time of an event of the pool.
#[derive(Clone, Default)]
struct LastTime(Arc<Mutex<Option<Instant>>>);

impl LastTime {
    fn record(&self) {
        *self.lock() = Some(Instant::now());
    }

    /// Whether the event occurred after `used_at`, or in the same moment.
    fn occurred_since(&self, used_at: Instant) -> bool {
        self.lock().is_some_and(|at| used_at <= at)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection to the server, with its age and its last use.
pub(crate) struct ServerConnection {
    pub(crate) inner: PgConnection,
    /// Set while the state of the wire is unknown. The connection is then closed, not reused.
    pub(crate) broken: bool,
    /// The session's prepared statements are from before a change of the catalog
    /// (aurora-dsql.md#transient-failures). They are closed before the next use.
    pub(crate) is_stale: bool,
    retire_at: Instant,
    /// The time of the last answer.
    used_at: Instant,
    breakage: LastTime,
    timeout: LastTime,
}

impl ServerConnection {
    /// Records that the server has answered.
    pub(crate) fn record_answer(&mut self) {
        self.broken = false;
        self.used_at = Instant::now();
    }

    /// Records that the connection broke, and with it probably those that were used before.
    pub(crate) fn record_breakage(&mut self) {
        self.broken = true;
        self.breakage.record();
        tracing::info!("a connection broke; idle ones that were not used since are closed");
    }

    /// Records that a statement had no answer in time. The statement may be slow or wait for a lock,
    /// or the network may have failed for all connections: those that were used before are checked
    /// before their next use.
    pub(crate) fn record_timeout(&mut self) {
        self.broken = true;
        self.timeout.record();
        tracing::info!("a statement timed out; connections that were not used since are checked");
    }

    pub(super) fn is_usable(&self, guard_window: Duration) -> bool {
        !self.broken && !self.is_due(guard_window) && !self.breakage.occurred_since(self.used_at)
    }

    pub(super) fn is_due(&self, guard_window: Duration) -> bool {
        Instant::now() + guard_window >= self.retire_at
    }
}

/// A connection that a caller uses. Dropping it returns it to the pool, or closes it if it cannot be
/// used again.
pub(crate) struct PooledConnection {
    /// `None` only during the drop.
    pooled: Option<ServerConnection>,
    pool: Arc<Connections>,
    /// Released after the connection is returned or closed.
    _slot: OwnedSemaphorePermit,
}

impl Deref for PooledConnection {
    type Target = ServerConnection;

    fn deref(&self) -> &ServerConnection {
        self.pooled.as_ref().expect("a connection until the drop")
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut ServerConnection {
        self.pooled.as_mut().expect("a connection until the drop")
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        if let Some(pooled) = self.pooled.take()
            && pooled.is_usable(self.pool.config.guard_window)
        {
            let mut idle = self.pool.idle();
            // Under the lock of the idle connections: a closed pool stays empty.
            if !self.pool.slots.is_closed() {
                idle.push_back(pooled);
            }
        }
    }
}

impl Connections {
    pub(super) fn new(connector: Connector, config: PoolConfig) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(config.connection_rate))
            .allow_burst(at_least_one(config.connection_burst));
        Self {
            connector,
            config,
            limiter: RateLimiter::direct(quota),
            slots: Arc::new(Semaphore::new(config.max_connections as usize)),
            idle: Mutex::default(),
            breakage: LastTime::default(),
            timeout: LastTime::default(),
        }
    }

    pub(super) fn idle(&self) -> MutexGuard<'_, VecDeque<ServerConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the usable connection that has been idle for the longest time, and closes unusable ones.
    pub(super) fn next_idle(&self) -> Option<ServerConnection> {
        let mut idle = self.idle();
        while let Some(pooled) = idle.pop_front() {
            if pooled.is_usable(self.config.guard_window) {
                return Some(pooled);
            }
        }
        None
    }

    pub(super) fn check_out(
        self: &Arc<Self>,
        pooled: ServerConnection,
        slot: OwnedSemaphorePermit,
    ) -> PooledConnection {
        PooledConnection { pooled: Some(pooled), pool: Arc::clone(self), _slot: slot }
    }

    /// Checks a connection that was idle for a while, or since before a timeout, with one round trip,
    /// so that one that broke meanwhile does not turn a write into an unknown outcome. Closes stale
    /// prepared statements.
    pub(super) async fn is_alive(&self, pooled: &mut ServerConnection) -> bool {
        const TIMEOUT: Duration = Duration::from_secs(5);
        // If the network has failed, every check takes this long until one is over.
        const TIMEOUT_OF_SUSPECT: Duration = Duration::from_secs(1);
        let is_suspect = pooled.timeout.occurred_since(pooled.used_at);
        let needs_ping = is_suspect || pooled.used_at.elapsed() > self.config.idle_check;
        if !needs_ping && !pooled.is_stale {
            return true;
        }
        let longest = if is_suspect { TIMEOUT_OF_SUSPECT } else { TIMEOUT };
        let check = async {
            if pooled.is_stale {
                // Nothing is sent if there is none.
                pooled.inner.clear_cached_statements().await?;
            }
            if needs_ping {
                pooled.inner.ping().await?;
            }
            Ok::<_, sqlx::Error>(())
        };
        let is_alive = matches!(tokio::time::timeout(longest, check).await, Ok(Ok(())));
        if is_alive {
            pooled.is_stale = false;
            pooled.record_answer();
        } else {
            pooled.record_breakage();
        }
        is_alive
    }

    /// Opens a connection when the rate limit allows it, for which it waits until `longest` after the
    /// begin of `attempts`. While the server is busy, repeats the attempt with backoff, until the time
    /// to acquire a connection is over.
    pub(super) async fn open(
        &self,
        mut attempts: Attempts,
        longest: Duration,
    ) -> Result<ServerConnection, StoreError> {
        let policy = RetryPolicy::new(
            Duration::from_millis(50),
            Duration::from_secs(5),
            self.config.acquire_timeout,
        );
        let connection_rate = self.config.connection_rate;
        loop {
            let left = longest.saturating_sub(attempts.elapsed());
            tokio::time::timeout(left, self.limiter.until_ready())
                .await
                .map_err(|_| NoConnection::RateLimited { connection_rate })?;
            let error = match open_connection(&self.connector).await {
                Ok(connection) => return Ok(self.pooled(connection)),
                Err(error) => error,
            };
            let wait = if error.is_busy() { attempts.next_wait(&policy) } else { None };
            let Some(wait) = wait else { return Err(error.into()) };
            let class = ErrorClass::ConnectionLimit.name();
            metrics::counter!(TX_ERROR_CLASS.name,
                "operation" => "Connect", "error_class" => class)
            .increment(1);
            tracing::debug!(%error, "waiting before the next try");
            tokio::time::sleep(wait).await;
        }
    }

    fn pooled(&self, connection: PgConnection) -> ServerConnection {
        let now = Instant::now();
        let PoolConfig { lifetime, lifetime_jitter, .. } = self.config;
        let life = lifetime - lifetime_jitter / 2 + lifetime_jitter.mul_f64(fastrand::f64());
        ServerConnection {
            inner: connection,
            broken: false,
            is_stale: false,
            retire_at: now + life,
            used_at: now,
            breakage: self.breakage.clone(),
            timeout: self.timeout.clone(),
        }
    }
}

//! The connection pool.
//!
//! Connections are opened no faster than a rate, each with a token of its own; they retire at
//! ages that are spread out, well before DSQL closes them; and a reserve of open connections is
//! kept, so that a caller seldom waits for a new one (facts §5: opening takes 100–330 ms).

use std::{
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use deadpool::{
    Runtime,
    managed::{self, Metrics, PoolError, RecycleError, RecycleResult, TimeoutType, Timeouts},
};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use sqlx::{Connection, PgConnection};
use temporal_dsql_ports::{Cause, Outcome, StoreError};
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    config::PoolConfig,
    connect::{ConnectError, Connector},
};

/// A connection on loan. Dropping it returns it.
pub(crate) type Loan = managed::Object<Manager>;

/// The pool, and the task that looks after it.
pub(crate) struct Pool {
    inner: managed::Pool<Manager>,
    keeper: JoinHandle<()>,
}

/// A connection with what the pool must know of it.
pub(crate) struct Pooled {
    pub(crate) connection: PgConnection,
    /// Set when what is on the wire is unknown; the connection is then closed, not reused.
    pub(crate) broken: bool,
    retire_at: Instant,
    used_at: Instant,
}

impl Pooled {
    fn is_usable(&self, guard_window: Duration) -> bool {
        !self.broken && Instant::now() + guard_window < self.retire_at
    }
}

impl Pool {
    /// A pool of connections that `connector` opens. Needs a tokio runtime.
    pub(crate) fn new(connector: Connector, config: PoolConfig) -> Self {
        let inner = managed::Pool::builder(Manager::new(connector, config))
            .max_size(config.max_connections as usize)
            .wait_timeout(Some(config.acquire_timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a runtime is given, which is all that the builder checks");
        let keeper = tokio::spawn(keep(inner.weak(), config));
        Self { inner, keeper }
    }

    /// Lends a connection.
    pub(crate) async fn get(&self) -> Result<Loan, StoreError> {
        let at_once = Timeouts { wait: Some(Duration::ZERO), ..self.inner.timeouts() };
        let mut lent = self.inner.timeout_get(&at_once).await;
        if let Err(PoolError::Timeout(TimeoutType::Wait)) = lent {
            let start = Instant::now();
            lent = self.inner.get().await;
            metrics::counter!("dsql_pool_wait_total").increment(1);
            metrics::histogram!("dsql_pool_wait_duration").record(start.elapsed());
        }
        lent.map_err(|error| match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(TimeoutType::Wait) => unavailable(format!(
                "no connection became free in time; all {} are in use",
                self.inner.status().max_size
            )),
            other => unavailable(other.to_string()),
        })
    }

    /// Closes the pool; loans that are out are closed when they come back.
    pub(crate) fn close(&self) {
        self.keeper.abort();
        self.inner.close();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

fn unavailable(reason: String) -> StoreError {
    StoreError::Unavailable {
        op: "Connect",
        outcome: Outcome::NotApplied,
        source: Some(Cause::new(reason)),
    }
}

/// Opens connections and decides which are still good.
pub(crate) struct Manager {
    connector: Connector,
    config: PoolConfig,
    limiter: DefaultDirectRateLimiter,
    /// Open connections that nobody has asked for yet.
    reserve: Mutex<Vec<Pooled>>,
}

impl Manager {
    fn new(connector: Connector, config: PoolConfig) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(config.connection_rate))
            .allow_burst(at_least_one(config.connection_burst));
        Self { connector, config, limiter: RateLimiter::direct(quota), reserve: Mutex::default() }
    }

    fn reserve(&self) -> std::sync::MutexGuard<'_, Vec<Pooled>> {
        self.reserve.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes connections of the reserve that are due, and tells how many.
    fn retire_reserve(&self) -> usize {
        let mut reserve = self.reserve();
        let before = reserve.len();
        reserve.retain(|pooled| pooled.is_usable(self.config.guard_window));
        before - reserve.len()
    }

    /// Opens a connection under the rate limit. A cluster that is busy (`53300`, `53400`, waking
    /// up) is asked again, later and later, until the caller's time is over.
    async fn open(&self) -> Result<Pooled, ConnectError> {
        let deadline = Instant::now() + self.config.acquire_timeout;
        let mut ceiling = Duration::from_millis(50);
        loop {
            self.limiter.until_ready().await;
            match self.connector.connect().await {
                Ok(connection) => return Ok(self.pooled(connection)),
                Err(error) if error.is_busy() && Instant::now() + ceiling < deadline => {
                    metrics::counter!("dsql_tx_error_class_total",
                        "operation" => "Connect", "error_class" => "connection_limit")
                    .increment(1);
                    tracing::debug!(%error, "waiting before the next try");
                    tokio::time::sleep(ceiling.mul_f64(fastrand::f64())).await;
                    ceiling = (ceiling * 2).min(Duration::from_secs(5));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn pooled(&self, connection: PgConnection) -> Pooled {
        let now = Instant::now();
        let PoolConfig { lifetime, lifetime_jitter, .. } = self.config;
        let life = lifetime - lifetime_jitter / 2 + lifetime_jitter.mul_f64(fastrand::f64());
        Pooled { connection, broken: false, retire_at: now + life, used_at: now }
    }
}

impl managed::Manager for Manager {
    type Type = Pooled;
    type Error = ConnectError;

    async fn create(&self) -> Result<Pooled, ConnectError> {
        self.retire_reserve();
        let ready = self.reserve().pop();
        match ready {
            Some(pooled) => Ok(pooled),
            None => self.open().await,
        }
    }

    async fn recycle(&self, pooled: &mut Pooled, _: &Metrics) -> RecycleResult<ConnectError> {
        if !pooled.is_usable(self.config.guard_window) {
            return Err(RecycleError::message("broken, or about to retire"));
        }
        let now = Instant::now();
        if now.duration_since(pooled.used_at) > self.config.idle_check {
            // One round trip, so that a connection that died in its sleep does not turn a write
            // into an unknown outcome.
            match tokio::time::timeout(Duration::from_secs(5), pooled.connection.ping()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(RecycleError::message("no longer answers")),
            }
        }
        pooled.used_at = now;
        Ok(())
    }
}

/// Once a second, closes connections that are due and refills the reserve.
async fn keep(pool: managed::WeakPool<Manager>, config: PoolConfig) {
    const SAMPLE_EVERY: u32 = 15;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for tick in 0_u32.. {
        ticks.tick().await;
        let Some(pool) = pool.upgrade() else { return };
        let idle = pool.retain(|pooled, _| pooled.is_usable(config.guard_window)).removed.len();
        let retired = idle + pool.manager().retire_reserve();
        metrics::gauge!("dsql_db_closed_max_lifetime_total").increment(retired as f64);
        refill(&pool, config).await;
        if tick.is_multiple_of(SAMPLE_EVERY) {
            sample(&pool);
        }
    }
}

async fn refill(pool: &managed::Pool<Manager>, config: PoolConfig) {
    let manager = pool.manager();
    loop {
        let reserve = manager.reserve().len();
        if pool.status().size + reserve >= config.min_connections as usize || pool.is_closed() {
            return;
        }
        match manager.open().await {
            Ok(pooled) => {
                metrics::counter!("dsql_pool_keeper_topup_total").increment(1);
                manager.reserve().push(pooled);
            }
            Err(error) => {
                metrics::counter!("dsql_pool_keeper_topup_failures_total").increment(1);
                tracing::warn!(%error, "cannot refill the connection pool; trying again");
                return;
            }
        }
    }
}

fn sample(pool: &managed::Pool<Manager>) {
    let status = pool.status();
    let reserve = pool.manager().reserve().len();
    let gauge = |name: &'static str, value: usize| metrics::gauge!(name).set(value as f64);
    gauge("dsql_pool_max_open", status.max_size);
    gauge("dsql_pool_keeper_current_size", status.size + reserve);
    gauge("dsql_pool_open", status.size + reserve);
    gauge("dsql_pool_in_use", status.size - status.available.min(status.size));
    gauge("dsql_pool_idle", status.available + reserve);
}

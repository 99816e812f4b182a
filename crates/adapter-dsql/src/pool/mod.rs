//! The connection pool.
//!
//! The pool opens connections at a limited rate, each with its own token. It retires them at random
//! ages, before DSQL closes them. It keeps a reserve of open connections, so that a caller seldom
//! waits for a new one (aurora-dsql.md#latency: opening takes 100–330 ms).
//!
//! A restart, a failover or a network failure often breaks all connections. So when a connection
//! breaks, the pool closes the idle ones that were not used since, and the next caller gets a new
//! connection at once, instead of one broken connection after the other. A statement without an
//! answer in time is not such a break: only its connection is closed, and the idle ones are checked
//! before their next use.

mod connections;
mod keeper;

use std::sync::Arc;

use temporal_dsql_client::{Attempts, Connector, PoolConfig};
use temporal_dsql_ports::StoreError;
use tokio::{
    sync::{OwnedSemaphorePermit, TryAcquireError},
    task::JoinHandle,
    time::Instant,
};

pub(crate) use connections::{PooledConnection, ServerConnection};

use crate::{
    error::NoConnection,
    metrics::{POOL_WAIT, POOL_WAIT_DURATION},
};
use connections::Connections;

/// The pool, and the task that maintains it.
pub(crate) struct Pool {
    connections: Arc<Connections>,
    keeper: JoinHandle<()>,
}

impl Pool {
    /// A pool of connections that `connector` opens. Needs a tokio runtime.
    pub(crate) fn new(connector: Connector, config: PoolConfig) -> Self {
        let connections = Arc::new(Connections::new(connector, config));
        let keeper = tokio::spawn(keeper::keep(Arc::downgrade(&connections)));
        Self { connections, keeper }
    }

    /// Takes a connection from the pool, or opens one.
    pub(crate) async fn get(&self) -> Result<PooledConnection, StoreError> {
        let attempts = Attempts::new();
        let slot = self.slot().await?;
        while let Some(mut pooled) = self.connections.next_idle() {
            if self.connections.is_alive(&mut pooled).await {
                return Ok(self.connections.check_out(pooled, slot));
            }
        }
        let longest = self.connections.config.acquire_timeout;
        let pooled = self.connections.open(attempts, longest).await?;
        Ok(self.connections.check_out(pooled, slot))
    }

    /// Waits for a slot.
    async fn slot(&self) -> Result<OwnedSemaphorePermit, NoConnection> {
        let slots = &self.connections.slots;
        match Arc::clone(slots).try_acquire_owned() {
            Ok(slot) => return Ok(slot),
            Err(TryAcquireError::Closed) => return Err(NoConnection::Closed),
            Err(TryAcquireError::NoPermits) => {}
        }
        let PoolConfig { acquire_timeout, max_connections, .. } = self.connections.config;
        let _wait = Wait::begin();
        match tokio::time::timeout(acquire_timeout, Arc::clone(slots).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) => Err(NoConnection::Closed),
            Err(_) => Err(NoConnection::Exhausted { max_connections }),
        }
    }

    /// Closes the pool. Connections in use are closed when they are returned.
    pub(crate) fn close(&self) {
        self.keeper.abort();
        self.connections.slots.close();
        self.connections.idle().clear();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

/// A wait for a connection. Its duration is recorded however the wait ends.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sqlx::postgres::PgConnectOptions;
    use temporal_dsql_client::connector_with;
    use temporal_dsql_ports::Outcome;

    use super::*;
    use crate::error_class::ErrorClass;

    #[tokio::test(start_paused = true)]
    async fn the_waits_for_a_slot_and_for_the_rate_limit_end_together() {
        let mut config = PoolConfig::default();
        (config.max_connections, config.min_connections) = (1, 0);
        (config.connection_rate, config.connection_burst) = (1, 1);
        let nowhere = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(1);
        let pool = Pool::new(connector_with(nowhere), config);
        // It uses up the burst. The limiter counts real time, of which none passes.
        let error = pool.get().await.map(drop).unwrap_err();
        assert_eq!(ErrorClass::of(&error), ErrorClass::Unreachable);
        let slot = pool.slot().await.unwrap();
        let start = Instant::now();
        let limiter = &pool.connections.limiter;
        let release = async {
            tokio::time::sleep(config.acquire_timeout.mul_f64(0.9)).await;
            // Whatever time has passed.
            while limiter.check().is_ok() {}
            drop(slot);
        };
        let (waited, ()) = tokio::join!(pool.get(), release);
        let error = waited.map(drop).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("no faster than the limit of 1 a second"), "{source}");
        let overtime = start.elapsed() - config.acquire_timeout;
        assert!(overtime < Duration::from_secs(1), "{overtime:?}");
        assert!(error.is_transient() && error.outcome() == Outcome::NotApplied, "{error:?}");
        assert_eq!(ErrorClass::of(&error), ErrorClass::PoolExhausted);
        drop(pool.slot().await.expect("the slot is free again"));
    }
}

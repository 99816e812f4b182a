//! The connection pool.
//!
//! The pool opens connections at a limited rate, each with its own token. It retires them at random
//! ages, before DSQL closes them. It keeps a reserve of open connections, so that a caller seldom
//! waits for a new one (aurora-dsql.md#latency: opening takes 100–330 ms).
//!
//! A restart, a failover or a network failure often breaks all connections. So when a connection
//! breaks, the pool closes the idle ones that were not used since, and the next caller gets a new
//! connection at once, instead of one broken connection after the other.

mod connections;
mod keeper;

use std::sync::Arc;

use temporal_dsql_client::{Connector, PoolConfig};
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
        let slot = self.slot().await?;
        while let Some(mut pooled) = self.connections.next_idle() {
            if self.connections.is_alive(&mut pooled).await {
                return Ok(self.connections.check_out(pooled, slot));
            }
        }
        let pooled = self.connections.open().await?;
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

//! A writer that updates rows while the schema is upgraded.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use temporal_dsql::CurrentExecutionsRow;
use temporal_dsql::{Store, StoreError, StoreExt};
use tokio::{task::JoinHandle, time::Instant};

/// A task that updates its rows one after the other until it is stopped.
pub struct Writer {
    shared: Arc<Shared>,
    task: JoinHandle<Result<Vec<CurrentExecutionsRow>, StoreError>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    updates: AtomicU64,
}

impl Writer {
    /// Starts updating `rows`.
    pub fn start(store: impl Store + 'static, rows: Vec<CurrentExecutionsRow>) -> Self {
        let shared = Arc::<Shared>::default();
        let task = tokio::spawn(write(store, rows, Arc::clone(&shared)));
        Self { shared, task }
    }

    /// Waits for `more` updates.
    ///
    /// # Errors
    /// The writer has failed.
    pub async fn has_written(&self, more: u64) -> Result<()> {
        let goal = self.shared.updates.load(Ordering::SeqCst) + more;
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.shared.updates.load(Ordering::SeqCst) < goal {
            ensure!(!self.task.is_finished(), "the writer has failed");
            ensure!(Instant::now() < deadline, "the writer makes no progress");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Stops the task and returns the rows as last written and the number of updates.
    ///
    /// # Errors
    /// An update failed.
    pub async fn stop(self) -> Result<(Vec<CurrentExecutionsRow>, u64)> {
        self.shared.stop.store(true, Ordering::SeqCst);
        let rows = self.task.await?.context("an update failed while the schema was upgraded")?;
        Ok((rows, self.shared.updates.load(Ordering::SeqCst)))
    }
}

async fn write(
    store: impl Store,
    mut rows: Vec<CurrentExecutionsRow>,
    shared: Arc<Shared>,
) -> Result<Vec<CurrentExecutionsRow>, StoreError> {
    loop {
        for row in &mut rows {
            if shared.stop.load(Ordering::SeqCst) {
                return Ok(rows);
            }
            *row = store
                .run("DemoUpdate", &*row, |transaction, row| {
                    Box::pin(async move {
                        let locked = transaction.lock_current_executions(&row.filter()).await?;
                        // Only this task writes the row, so it exists and is unchanged.
                        let mut next = locked.unwrap_or_else(|| row.clone());
                        next.last_write_version += 1;
                        transaction.update_current_executions(&next).await?;
                        Ok(next)
                    })
                })
                .await?;
            shared.updates.fetch_add(1, Ordering::SeqCst);
        }
    }
}

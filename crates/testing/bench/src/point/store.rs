//! The operations performed by the store.

use std::sync::Arc;

use anyhow::{Result, ensure};
use temporal_dsql::{Store, StoreExt, dsql::DsqlStore};

use super::operation::{Operation, Plan};
use crate::{
    database::Database,
    load::{Caller, Load, closed_loop},
    rows,
};

/// Runs `operation` with `callers` callers and as many pooled connections.
///
/// # Errors
/// An operation fails.
pub async fn load(
    database: &Database,
    operation: Operation,
    callers: usize,
    plan: &Plan,
) -> Result<Load> {
    let store = Arc::new(database.store(u32::try_from(callers)?).await?);
    let point_callers = (0..callers).map(|caller| PointCaller {
        store: Arc::clone(&store),
        operation,
        rows: u64::from(plan.rows),
        next_id: rows::first_new_id(caller),
        random: fastrand::Rng::with_seed(caller as u64),
    });
    let load = closed_loop(point_callers.collect(), plan.window).await;
    store.close();
    load
}

struct PointCaller {
    store: Arc<DsqlStore>,
    operation: Operation,
    rows: u64,
    next_id: u64,
    random: fastrand::Rng,
}

impl Caller for PointCaller {
    async fn call(&mut self) -> Result<()> {
        let id = match self.operation {
            Operation::Insert => {
                self.next_id += 1;
                self.next_id
            }
            _ => self.random.u64(..self.rows),
        };
        let row = rows::row(id);
        let found = match self.operation {
            Operation::Insert => {
                self.store.session().insert_into_current_executions(&row).await? == 1
            }
            Operation::Select => {
                let filter = row.filter();
                let read = self.store.session().select_from_current_executions(&filter).await?;
                read.is_some()
            }
            Operation::Update => self.store.session().update_current_executions(&row).await? == 1,
            Operation::Lock => {
                let filter = row.filter();
                let locked = self.store.run("Lock", &filter, |transaction, filter| {
                    Box::pin(async move { transaction.lock_current_executions(filter).await })
                });
                locked.await?.is_some()
            }
        };
        ensure!(found, "row {id} does not exist");
        Ok(())
    }
}

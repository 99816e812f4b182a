//! The conformance suite on the double, in each way that a store can be set up.

use std::{process::ExitCode, sync::Arc};

use async_trait::async_trait;
use temporal_dsql_conformance::{Capabilities, CommitFault, Harness, Place};
use temporal_dsql_domain::Table;
use temporal_dsql_memory::{Fault, FaultPlan, MemoryStore};
use temporal_dsql_ports::{RetryPolicy, Runner, Store};

/// One way to set up a store.
struct Memory {
    writes_in_one_statement: bool,
    unique_range_id_index: bool,
}

#[async_trait]
impl Harness for Memory {
    fn capabilities(&self) -> Capabilities {
        Capabilities { optimistic_locks: true, transaction_limits: true }
    }

    async fn fresh(&self, policy: RetryPolicy) -> Box<dyn Place> {
        let runner = Runner::builder().policy(policy).build();
        let store = MemoryStore::builder()
            .runner(runner)
            .writes_in_one_statement(self.writes_in_one_statement)
            .unique_range_id_index(self.unique_range_id_index);
        Box::new(Stored(store.build()))
    }
}

struct Stored(MemoryStore);

#[async_trait]
impl Place for Stored {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }

    async fn reopen(&self) -> Arc<dyn Store> {
        self.store()
    }

    async fn count(&self, table: Table) -> u64 {
        self.0.count(table) as u64
    }

    fn fail_next_commits(&self, faults: &[CommitFault]) {
        self.0.inject(FaultPlan::script(faults.iter().map(|fault| match fault {
            CommitFault::Conflict => Fault::Conflict,
            CommitFault::LostBefore => Fault::LostBefore,
            CommitFault::LostAfter => Fault::LostAfter,
        })));
    }

    fn faults_left(&self) -> usize {
        self.0.fault_report().remaining.unwrap_or_default()
    }
}

/// Plays every scenario on stores whose executions are written by one statement or by several,
/// and whose shards are guarded by `FOR KEY SHARE`, under the index, or by `FOR UPDATE`.
pub fn run(writes_in_one_statement: bool, unique_range_id_index: bool) -> ExitCode {
    temporal_dsql_conformance::run(Memory { writes_in_one_statement, unique_range_id_index })
}

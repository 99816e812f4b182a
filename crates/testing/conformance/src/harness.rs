//! What an adapter gives the suite.

use std::sync::Arc;

use async_trait::async_trait;
use temporal_dsql_domain::Table;
use temporal_dsql_ports::{RetryPolicy, Store};

/// What differs between engines that are all correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// No statement ever waits for another transaction, and a lock without a write conflicts at
    /// COMMIT, as on DSQL (aurora-dsql.md#conflict-matrix). Stock PostgreSQL blocks instead.
    pub optimistic_locks: bool,
    /// The limits on a transaction's rows, bytes and age are enforced (aurora-dsql.md#limits).
    pub transaction_limits: bool,
}

/// What is to happen to a transaction at COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFault {
    /// It loses a conflict (OC000); nothing is applied.
    Conflict,
    /// The connection breaks while COMMIT is on its way; nothing is applied.
    LostBefore,
    /// It is applied, and the connection breaks before the answer arrives.
    LostAfter,
}

/// Makes places to play scenarios in.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// What the engine behind this harness can do.
    fn capabilities(&self) -> Capabilities;

    /// An empty database with the newest schema, and a store on it that retries as `policy` says.
    ///
    /// What the store draws by itself it draws from `seed`, as far as it can be told to.
    async fn new_fixture(&self, policy: RetryPolicy, seed: u64) -> Box<dyn Fixture>;
}

/// An empty database with a store on it.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// Another store on the same database, as after a restart of the service; it retries as the
    /// first one did.
    async fn reopen(&self) -> Arc<dyn Store>;

    /// Sets the clocks of the engine `seconds` ahead of the wall clock; negative for behind. An engine
    /// whose clocks cannot be set makes sure instead that nothing has asked one so far.
    fn set_clock(&self, seconds: i64);

    /// How many rows `table` has, asked around the store.
    async fn count(&self, table: Table) -> u64;

    /// Makes the next commits fail, one fault each, in this order and after the faults that are still
    /// to come.
    ///
    /// A commit is the COMMIT of a transaction, and the end of a statement outside of one that
    /// inserts, updates or deletes, whatever it finds.
    fn fail_next_commits(&self, faults: &[CommitFault]);

    /// How many of those faults are still to come.
    fn faults_left(&self) -> usize;
}

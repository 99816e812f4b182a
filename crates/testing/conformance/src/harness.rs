//! The interface between the suite and an adapter.

use std::sync::Arc;

use async_trait::async_trait;
use temporal_dsql_domain::Table;
use temporal_dsql_ports::{RetryPolicy, Store};

/// The differences between engines that satisfy the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// No statement ever waits for another transaction, and a lock without a write conflicts at
    /// COMMIT, as on DSQL (aurora-dsql.md#conflict-matrix). Stock PostgreSQL blocks instead.
    pub optimistic_locks: bool,
    /// The limits on a transaction's rows, bytes and age are enforced (aurora-dsql.md#limits).
    pub transaction_limits: bool,
}

/// A failure that a fixture injects at COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFailure {
    /// The commit loses a conflict (OC000); nothing is applied.
    Conflict,
    /// The connection breaks before COMMIT arrives; nothing is applied.
    LostCommit,
    /// The transaction is applied, and the connection breaks before the answer arrives.
    LostAnswer,
}

/// Makes the fixtures of the scenarios.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// The capabilities of the engine.
    fn capabilities(&self) -> Capabilities;

    /// A new database with the newest schema, and a store on it that retries as `policy` says.
    ///
    /// The store draws its random numbers from `seed` where the adapter supports it.
    async fn new_fixture(&self, policy: RetryPolicy, seed: u64) -> Box<dyn Fixture>;
}

/// An empty database with a store on it.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// Another store on the same database with the same retry policy, as after a restart of the
    /// service.
    async fn reopen(&self) -> Arc<dyn Store>;

    /// Sets the clocks of the engine `seconds` ahead of the wall clock; a negative number sets them
    /// behind it. An engine whose clocks cannot be set asserts instead that no statement has read a
    /// clock.
    fn set_clock(&self, seconds: i64);

    /// The number of rows of each of `tables`, counted without the store.
    async fn counts(&self, tables: &[Table]) -> Vec<u64>;

    /// The number of rows of `table`, counted without the store.
    async fn count(&self, table: Table) -> u64 {
        self.counts(&[table]).await[0]
    }

    /// Makes the next commits fail, one for each fault in this order, after the faults that are
    /// still pending.
    ///
    /// A commit is the COMMIT of a transaction, or the end of an autocommit statement that inserts,
    /// updates or deletes, even if it affects no row.
    fn fail_next_commits(&self, faults: &[CommitFailure]);

    /// The number of pending faults.
    fn faults_left(&self) -> usize;
}

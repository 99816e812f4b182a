//! Transactions as DSQL has them, on a PostgreSQL that has them otherwise.
//!
//! PostgreSQL makes a writer wait for another one on the same row, and the loser learns of it at
//! its statement. DSQL makes nobody wait, and the loser learns of it at COMMIT
//! (aurora-dsql.md#conflicts). So:
//!
//! - every transaction is a repeatable read one, with its snapshot taken at BEGIN, and an internal
//!   savepoint right behind it;
//! - the [`lock_monitor`] sees who waits for whom. The transaction in the way is *detached*: the rows it
//!   has changed are read, and rolled back to the savepoint. Its locks are gone, its snapshot is
//!   not. Before it needs its changes again, at its next statement or at COMMIT, they are put back
//!   ([`changes`]). Nothing that a client has seen is computed twice, so random values and
//!   sequences stay what they were;
//! - what a transaction touches is its [`footprint`], reported by triggers; the [`commit_log`] compares
//!   it at COMMIT with those committed since its BEGIN;
//! - a transaction that PostgreSQL refuses at a statement, because a row has changed behind its
//!   snapshot, has lost, and must not know it yet. It goes on in temporary copies of its tables,
//!   made from its snapshot and its changes ([`worker`]).

pub(crate) mod attempt;
pub(crate) mod changes;
pub(crate) mod commit_log;
pub(crate) mod ddl;
pub(crate) mod footprint;
pub(crate) mod in_flight;
pub(crate) mod lock_monitor;
pub(crate) mod monitored;
pub(crate) mod report;
pub(crate) mod statement;
pub(crate) mod transaction;
pub(crate) mod worker;

//! Optimistic transactions as on DSQL, on top of PostgreSQL's pessimistic ones.
//!
//! In PostgreSQL a writer waits for another writer of the same row, and a conflict is an error of
//! the statement. On DSQL no statement waits, and a conflict is an error of COMMIT
//! (aurora-dsql.md#conflicts). Therefore:
//!
//! - every transaction is a REPEATABLE READ one, whose snapshot is taken at BEGIN, followed by an
//!   internal savepoint. An implicit transaction begins with its first statement, in one exchange;
//! - the [`lock_monitor`] detects blocked sessions. The transaction that blocks others is
//!   *detached*: its changed rows are read, and it rolls back to the savepoint, which releases its
//!   locks and keeps its snapshot. At its next statement or at COMMIT the rows are written back
//!   ([`changes`]). Nothing that a client has seen is computed twice, so random values and
//!   sequences do not change;
//! - triggers report the [`footprint`] of a transaction. The [`commit_log`] compares it at COMMIT
//!   with the commits that its snapshot does not contain;
//! - a transaction that PostgreSQL refuses at a statement, because a row has changed since its
//!   snapshot, has lost, but the client must not see that before COMMIT. It continues in *shadow
//!   tables*: temporary copies of its tables, made from its snapshot and its changes ([`worker`]).

pub(crate) mod attempt;
pub(crate) mod changes;
pub(crate) mod commit_log;
pub(crate) mod ddl;
pub(crate) mod footprint;
pub(crate) mod in_flight;
pub(crate) mod lock_monitor;
pub(crate) mod monitored;
pub(crate) mod names;
pub(crate) mod portals;
pub(crate) mod report;
pub(crate) mod savepoints;
pub(crate) mod statement;
pub(crate) mod transaction;
pub(crate) mod worker;

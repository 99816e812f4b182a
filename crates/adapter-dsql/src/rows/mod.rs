//! The row ports in SQL: statements, their arguments, and the decoding of answers.
//!
//! One module per table family has its statements, whose texts are in `sql/*.sql`, and pure functions
//! that make arguments from rows and rows from answers. The implementation of a port decides which
//! statement is sent.
//!
//! # Names of parameters
//! - `:shard_id`, `:namespace_id`, `:workflow_id` are of the id, `:run_id` is of a single run.
//! - `:{table}_{column}` is an array: that column of all rows that are written to the table, of any
//!   runs of the id. `UNNEST` makes rows of the arrays.
//! - `:{table}_removed_{column}` is an array, likewise: a column of the keys that are deleted.
//!
//! # Many keys in one statement
//! A statement must be fast with a generic plan and without statistics. So each statement has explicit
//! bounds for the scan of its table, and does not depend on the join order of the server:
//!
//! - Arrays of runs are sorted. Their first and last element bound the scan of a key: for a single
//!   run, to the rows of that run. `= ANY` alone does not: PostgreSQL uses it as a filter if it
//!   expects few rows, and then reads all runs of the id.
//! - Pairs of a run and a key are compared in a way that PostgreSQL hashes: `NOT IN`, or `(… IN
//!   (…)) IS TRUE`. It does not turn these into a join, which can become a nested loop over the
//!   arrays: deleting two thousand of ten thousand entries took 7.7 s with the join, and takes 23
//!   ms without it.
//! - A delete of a limited number of rows reads the last of them once, which bounds the scan. `IN`
//!   over the rows can become a join, too: deleting a thousand of ten thousand tasks took 4.5 s
//!   with the join, and takes 1 ms without it.
//!
//! # The order of texts
//! DSQL orders texts by their bytes (aurora-dsql.md#environment). A database of PostgreSQL often
//! has another collation. So only the server orders the texts of a statement: it computes the bounds
//! of an array of texts, and a page of names continues after the last name of the page before, in
//! the order of the database.

#[cfg(test)]
mod bound_tests;
mod buffered_events;
mod cluster_metadata;
mod current_executions;
mod decode;
mod execution_maps;
mod executions;
mod history_execution;
mod history_node;
mod history_nodes;
mod history_tasks;
mod history_tree;
mod immediate_tasks;
mod lease;
#[cfg(test)]
mod many_runs_tests;
mod maps;
pub(crate) mod matching_tasks;
mod messages;
pub(crate) mod mutable_state;
mod namespaces;
mod nexus_endpoints;
mod payload;
mod queues;
mod queues_v2;
mod scheduled_tasks;
pub(crate) mod schema_version;
mod session;
pub(crate) mod shards;
#[cfg(test)]
mod sql_tests;
mod task_queue_user_data;
mod task_queues;
#[cfg(test)]
mod test_rows;
mod transaction;

pub(crate) use session::Rows;

use crate::statement::Meta;

/// Every statement of a store, except BEGIN, COMMIT and ROLLBACK.
pub(crate) fn statements() -> impl Iterator<Item = &'static Meta> {
    executions::STATEMENTS
        .into_iter()
        .chain(current_executions::statements())
        .chain(maps::statements())
        .chain(buffered_events::STATEMENTS)
        .chain(task_queues::statements())
        .chain(history_node::STATEMENTS)
        .chain(history_tree::STATEMENTS)
        .chain(shards::statements())
        .chain(matching_tasks::statements())
        .chain(task_queue_user_data::STATEMENTS)
        .chain(queues::STATEMENTS)
        .chain(queues_v2::STATEMENTS)
        .chain(mutable_state::statements())
        .chain(namespaces::STATEMENTS)
        .chain(cluster_metadata::STATEMENTS)
        .chain(nexus_endpoints::STATEMENTS)
        .chain(schema_version::STATEMENTS)
}

//! What Temporal's statements do to rows: one module per row port, and one for the statements that
//! write whole executions.
//!
//! What no server needs to be asked about (the size of a row, the table of an archetype) is
//! refused before the statement, so it does not end a transaction.

mod buffered_events;
mod execution_maps;
mod history_execution;
mod history_nodes;
mod history_tasks;
mod mutable_state;
mod shards;
#[cfg(test)]
mod tests;

pub(crate) use mutable_state::check;

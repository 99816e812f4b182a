//! The row ports: one module per trait, which implements Temporal's statements.
//!
//! An oversized row or an unspecified archetype is refused before the statement, so it does not end a
//! transaction.

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

//! The rows of a real Temporal 1.32 server, for tests and the demo.

mod decode;
mod executions;
mod related_rows;

pub use executions::{current_chasm_executions, current_executions, executions};
pub use related_rows::{entries, history_branches, history_nodes, shards, tasks};

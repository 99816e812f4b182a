//! The context of a scenario: a store on an empty database, random rows, and shorthands for common
//! operations.

pub(crate) mod conflicts;
pub(crate) mod guarded_requests;
pub(crate) mod histories;
pub(crate) mod matching;
pub(crate) mod owned_shard;
mod rows;
pub(crate) mod service_rows;
mod test_context;
pub(crate) mod write_sets;

pub use test_context::TestContext;

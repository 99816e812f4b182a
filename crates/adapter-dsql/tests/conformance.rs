//! The conformance suite on stock PostgreSQL, whole executions in one statement.

mod support;

use std::process::ExitCode;

use support::harness::{Variant, run};
use temporal_dsql_store::{ShardFence, StatementForm};

fn main() -> ExitCode {
    run(Variant {
        write_form: StatementForm::Combined,
        lock_form: StatementForm::Combined,
        shard_fence: ShardFence::ForUpdate,
    })
}

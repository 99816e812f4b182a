//! The conformance suite on stock PostgreSQL, shards guarded by `FOR KEY SHARE`, locks in one
//! statement and writes in several.

mod support;

use std::process::ExitCode;

use support::harness::{Variant, run};
use temporal_dsql_store::{ShardFence, StatementForm};

fn main() -> ExitCode {
    run(Variant {
        write_form: StatementForm::Separate,
        lock_form: StatementForm::Combined,
        shard_fence: ShardFence::KeyShareIfIndexed,
    })
}

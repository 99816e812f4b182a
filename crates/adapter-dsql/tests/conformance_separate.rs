//! The conformance suite on stock PostgreSQL, in statements that every server takes, shards guarded
//! by `FOR KEY SHARE`.

mod support;

use std::process::ExitCode;

use support::harness::{Variant, run};
use temporal_dsql_store::{ShardFence, StatementForm};

fn main() -> ExitCode {
    run(Variant {
        write_form: StatementForm::Separate,
        lock_form: StatementForm::Separate,
        shard_fence: ShardFence::KeyShareIfIndexed,
    })
}

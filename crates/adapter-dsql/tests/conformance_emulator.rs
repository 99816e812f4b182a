//! The conformance suite on a stand-in for DSQL that takes whole executions in one statement, with
//! the index that lets `FOR KEY SHARE` guard a shard.

mod support;

use std::process::ExitCode;

use support::emulator::{Variant, run};
use temporal_dsql_store::ShardFence;

fn main() -> ExitCode {
    run(Variant {
        takes_combined: true,
        shard_fence: ShardFence::KeyShareIfIndexed,
        takes_turns: false,
    })
}

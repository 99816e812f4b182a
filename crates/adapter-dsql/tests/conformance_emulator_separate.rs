//! The conformance suite on a stand-in for DSQL that refuses what nobody has recorded, and with the
//! index that lets `FOR KEY SHARE` guard a shard.

mod support;

use std::process::ExitCode;

use support::emulator::{Variant, run};
use temporal_dsql_store::ShardFence;

fn main() -> ExitCode {
    run(Variant {
        takes_combined: false,
        shard_fence: ShardFence::KeyShareIfIndexed,
        takes_turns: true,
    })
}

//! The conformance suite on the double: executions written by several statements, and shards
//! guarded by `FOR KEY SHARE`.

mod support;

use std::process::ExitCode;

fn main() -> ExitCode {
    support::run(false, true)
}

//! The conformance suite on the double, as it is by default.

mod support;

use std::process::ExitCode;

fn main() -> ExitCode {
    support::run(true, false)
}

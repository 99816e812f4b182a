//! `cargo xtask demo`: builds and starts `temporal-dsql-demo`.

use std::process::ExitCode;

use anyhow::Result;

use crate::process;

/// The demo with its own features only. Of the crates that the development profile optimises for the
/// tests, it is built faster without, and runs as fast: it sends few statements.
pub const OWN_FEATURES: &str = "--package temporal-dsql-demo \
                                --config profile.dev.package.dsql-emulator.opt-level=0 \
                                --config profile.dev.package.rustls.opt-level=0 \
                                --config profile.dev.package.rustls-webpki.opt-level=0";

/// The demo with the features of the tests, because an example has them. Where the tests are built,
/// this compiles nothing; elsewhere it compiles much that the demo does not need.
const FEATURES_OF_TESTS: &str = "--workspace --bin temporal-dsql-demo --example memory";

/// Runs the demo and returns its exit code.
///
/// # Errors
/// The build fails.
pub fn run() -> Result<ExitCode> {
    let options = if process::built_path("test-postgres")?.exists() {
        FEATURES_OF_TESTS
    } else {
        OWN_FEATURES
    };
    process::run(&mut process::command(&format!("cargo build {options}")))?;
    process::forward_quietly(&mut process::built_program("temporal-dsql-demo")?)
}

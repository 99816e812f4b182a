//! Skips tests that start something.

use std::{
    env,
    io::{self, Write},
    thread,
};

/// Whether this run starts no server; then it prints a line about it, past the capture of the test
/// harness.
pub fn offline() -> bool {
    let offline = env::var("TEST_OFFLINE").is_ok_and(|value| value == "1");
    if offline {
        let test = thread::current().name().unwrap_or("main").to_owned();
        let _ = io::stderr().write_all(format!("skipped (offline) [{test}]\n").as_bytes());
    }
    offline
}

//! Decides whether a test that needs a database runs, is skipped or fails.
//!
//! Without a server such a test prints a message and is skipped on a developer's machine. In CI it
//! fails, so that a run without a database does not pass.

use std::{
    env,
    io::{self, Write},
    thread,
};

/// The URL of the server that tests create databases on.
pub const SERVER_URL: &str = "TEST_POSTGRES_URL";
/// If this is `1`, tests that need a database are skipped: `cargo xtask test --offline`.
pub const OFFLINE: &str = "TEST_OFFLINE";
/// If this is `true`, a missing server is a failure.
pub const CI: &str = "CI";

/// What a test does.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Run(String),
    Skip(&'static str),
    Fail(&'static str),
}

fn decide(variable: impl Fn(&str) -> Option<String>) -> Decision {
    let url = variable(SERVER_URL).filter(|url| !url.is_empty());
    let is = |name, value| variable(name).is_some_and(|text| text == value);
    match url {
        _ if is(OFFLINE, "1") => Decision::Skip("skipped (offline)"),
        Some(url) => Decision::Run(url),
        None if is(CI, "true") => Decision::Fail(
            "no database, and in CI no test may be skipped: run `cargo xtask test`, or set \
             TEST_POSTGRES_URL",
        ),
        None => {
            Decision::Skip("skipped: no database; run `cargo xtask test` or set TEST_POSTGRES_URL")
        }
    }
}

/// The URL of the server for tests, or `None` if the calling test must return without running.
/// `None` is reported in a line on standard error, which the test harness does not capture.
///
/// # Panics
/// In CI, if `TEST_POSTGRES_URL` is not set.
pub fn server_url() -> Option<String> {
    match decide(|name| env::var(name).ok()) {
        Decision::Run(url) => Some(url),
        Decision::Fail(why) => panic!("{why}"),
        Decision::Skip(why) => {
            // The harness names the thread after the test.
            let line = match thread::current().name() {
                Some(test) if test != "main" => format!("{why} [{test}]\n"),
                _ => format!("{why}\n"),
            };
            let _ = io::stderr().write_all(line.as_bytes());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide_with(variables: &[(&str, &str)]) -> Decision {
        decide(|name| {
            let (_, value) = variables.iter().find(|(set, _)| *set == name)?;
            Some((*value).to_owned())
        })
    }

    #[test]
    fn a_test_with_a_server_runs_everywhere() {
        let passed = Decision::Run("postgres://db".into());
        assert_eq!(decide_with(&[(SERVER_URL, "postgres://db")]), passed);
        assert_eq!(decide_with(&[(SERVER_URL, "postgres://db"), (CI, "true")]), passed);
    }

    #[test]
    fn without_a_server_a_test_is_skipped_but_fails_in_ci() {
        for none in [&[][..], &[(SERVER_URL, "")]] {
            assert!(matches!(decide_with(none), Decision::Skip(_)));
            let ci = [none, &[(CI, "true")]].concat();
            assert!(matches!(decide_with(&ci), Decision::Fail(_)));
        }
    }

    #[test]
    fn offline_skips_in_ci_and_with_a_server_too() {
        let offline = [(OFFLINE, "1"), (CI, "true"), (SERVER_URL, "postgres://db")];
        assert_eq!(decide_with(&offline), Decision::Skip("skipped (offline)"));
    }
}

//! The gate in front of every test that needs a database.
//!
//! Without a database such a test cannot pass. It says so and is skipped on a desk, and fails in
//! CI, where a run that skips would look like one that passed.

use std::{
    env,
    io::{self, Write},
    thread,
};

/// Names the server that tests may create databases on, by its URL.
pub const SERVER_URL: &str = "TEST_POSTGRES_URL";
/// Set to `1`, no database is wanted: `cargo xtask test --offline`.
pub const OFFLINE: &str = "TEST_OFFLINE";
/// Set to `true`, a missing database is a failure.
pub const CI: &str = "CI";

/// What the gate decides.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Pass(String),
    Skip(&'static str),
    Fail(&'static str),
}

fn decide(variable: impl Fn(&str) -> Option<String>) -> Decision {
    let url = variable(SERVER_URL).filter(|url| !url.is_empty());
    let is = |name, value| variable(name).is_some_and(|text| text == value);
    match url {
        _ if is(OFFLINE, "1") => Decision::Skip("skipped (offline)"),
        Some(url) => Decision::Pass(url),
        None if is(CI, "true") => Decision::Fail(
            "no database, and a test that is skipped in CI proves nothing: run `cargo xtask \
             test`, or set TEST_POSTGRES_URL",
        ),
        None => {
            Decision::Skip("skipped: no database; run `cargo xtask test` or set TEST_POSTGRES_URL")
        }
    }
}

/// The URL of the server that tests may use, or `None` if the calling test is to be skipped; then
/// a line about it is printed, past the capture of the test harness.
///
/// # Panics
/// There is no server and this is CI.
pub fn server_url() -> Option<String> {
    match decide(|name| env::var(name).ok()) {
        Decision::Pass(url) => Some(url),
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
    fn a_database_opens_the_gate_everywhere() {
        let passed = Decision::Pass("postgres://db".into());
        assert_eq!(decide_with(&[(SERVER_URL, "postgres://db")]), passed);
        assert_eq!(decide_with(&[(SERVER_URL, "postgres://db"), (CI, "true")]), passed);
    }

    #[test]
    fn without_a_database_a_desk_skips_and_ci_fails() {
        for none in [&[][..], &[(SERVER_URL, "")]] {
            assert!(matches!(decide_with(none), Decision::Skip(_)));
            let ci = [none, &[(CI, "true")]].concat();
            assert!(matches!(decide_with(&ci), Decision::Fail(_)));
        }
    }

    #[test]
    fn offline_skips_even_in_ci_and_beside_a_database() {
        let offline = [(OFFLINE, "1"), (CI, "true"), (SERVER_URL, "postgres://db")];
        assert_eq!(decide_with(&offline), Decision::Skip("skipped (offline)"));
    }
}

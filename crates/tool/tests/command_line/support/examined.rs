//! Runs of `doctor`, with what holds for each of them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Tool;

/// The checks, in their order.
pub const CHECKS: [&str; 12] = [
    "name",
    "tcp",
    "tls",
    "credentials",
    "login",
    "clock",
    "server",
    "schema",
    "writes",
    "round trip",
    "commit",
    "connections",
];
/// Values that no output may contain: those of the tests' credentials, and a part of every token.
const SECRETS: [&str; 5] = ["hunter2", "wJalr", "SESSION-TOKEN", "X-Amz-", "AKIAIOSFODNN7EXAMPLE"];

/// The result of one run.
pub struct Examined {
    /// The exit code.
    pub code: i32,
    /// Standard error.
    pub err: String,
    /// The checks by name.
    pub checks: BTreeMap<String, Value>,
}

impl Examined {
    /// The status of a check.
    pub fn status(&self, name: &str) -> &str {
        self.checks[name]["status"].as_str().unwrap()
    }

    /// Asserts the status of a check, and parts of what it says.
    #[track_caller]
    pub fn is(&self, name: &str, status: &str, parts: &[&str]) {
        let check = &self.checks[name];
        assert_eq!(self.status(name), status, "{name}: {check}");
        let text = format!("{} → {}", check["detail"], check["advice"]);
        for part in parts {
            assert!(text.contains(part), "{name}: `{part}` is not in: {text}");
        }
    }

    /// Asserts that these checks depend on a failed one.
    #[track_caller]
    pub fn skips(&self, names: &[&str]) {
        for name in names {
            self.is(name, "not_checked", &["it needs"]);
        }
    }
}

/// What a check of the network says when it has waited to its deadline.
pub const NO_ANSWER: &str = "no answer within 5 s";

/// Runs `doctor` and checks what holds for every run. A machine that stood still for the seconds of a
/// deadline gets a second run.
#[track_caller]
pub fn examine(tool: &Tool, arguments: &[&str]) -> Examined {
    let examined = examine_once(tool, arguments);
    let mut details = examined.checks.values().filter_map(|check| check["detail"].as_str());
    if details.any(|detail| detail.contains(NO_ANSWER)) {
        return examine_once(tool, arguments);
    }
    examined
}

/// The same for a server that does not answer.
#[track_caller]
pub fn examine_once(tool: &Tool, arguments: &[&str]) -> Examined {
    let run = tool.run(&[&["doctor", "--output", "json"], arguments].concat());
    for secret in SECRETS {
        assert!(!run.out.contains(secret) && !run.err.contains(secret), "{}{}", run.out, run.err);
    }
    let json: Value = serde_json::from_str(&run.out)
        .unwrap_or_else(|error| panic!("{error}: {}{}", run.out, run.err));
    assert_eq!(json["command"], "doctor");
    assert_eq!(json["exit_code"], run.code);
    let checks = json["doctor"]["checks"].as_array().unwrap();
    let names: Vec<_> = checks.iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, CHECKS);
    for check in checks {
        let must_advise = ["failed", "warning"].contains(&check["status"].as_str().unwrap());
        assert_eq!(check["advice"].is_string(), must_advise, "{check}");
        if let (Some(detail), Some(advice)) = (check["detail"].as_str(), check["advice"].as_str()) {
            assert!(!detail.contains(advice), "the advice is given twice: {check}");
        }
    }
    let failed = checks.iter().any(|check| check["status"] == "failed");
    assert_eq!(run.code != 0, failed, "{json}");
    let by_name = |check: &Value| (check["name"].as_str().unwrap().to_owned(), check.clone());
    Examined { code: run.code, err: run.err, checks: checks.iter().map(by_name).collect() }
}

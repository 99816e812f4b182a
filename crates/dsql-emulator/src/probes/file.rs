//! The files of probes, in the form of the recorder, and comparisons with their answers.

use serde::{Deserialize, Serialize};

use super::PlayError;
use crate::rules::{self, RuleExample};

/// The recorded probes.
pub(crate) const RECORDED: &[(&str, &str)] = &[
    ("environment", include_str!("../../probes/environment.json")),
    ("index", include_str!("../../probes/index.json")),
    ("occ", include_str!("../../probes/occ.json")),
    ("occ_conflict", include_str!("../../probes/occ_conflict.json")),
    ("supported", include_str!("../../probes/supported.json")),
    ("transaction", include_str!("../../probes/transaction.json")),
    ("types", include_str!("../../probes/types.json")),
    ("unsupported", include_str!("../../probes/unsupported.json")),
];
/// The relations of the recorded probes.
const RECORDED_SETUP: &str = include_str!("../../probes/setup.sql");
/// Probes whose answers are the emulator's: behaviour that is inferred, and the texts of the store.
const INFERRED: &[(&str, &str)] = &[
    ("inferred", include_str!("../../probes/inferred.json")),
    ("store", include_str!("../../probes/store.json")),
];
/// The relations of the examples of refusals.
const RULES_SETUP: [&str; 3] =
    ["CREATE TABLE t (a int, b text)", "CREATE TABLE u (a int, b text)", "CREATE DOMAIN d AS text"];
/// The file about a session as it begins, whose probes run without the scratch schema.
const OF_NEW_SESSION: &str = "environment";

/// A file of probes.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct ProbeFile {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// The statements that create its relations, each in a transaction of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub setup: Vec<String>,
    /// The probes.
    pub cases: Vec<Case>,
}

/// A probe: statements and their answers.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// What it belongs to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// What it asks.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Statements of one session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// Whether the statements are prepared, and executed with NULL for each parameter.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prepared: bool,
    /// Whether rows are not compared.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignore_rows: bool,
    /// Whether it is a race which session loses.
    #[serde(default, skip_serializing_if = "is_false")]
    pub conflict_race: bool,
    /// The answers to `steps`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observations: Vec<Recorded>,
    /// Statements of sessions that alternate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub session_steps: Vec<Vec<String>>,
    /// The answers to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub session_results: Vec<Vec<Recorded>>,
}

/// The answer to a statement.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Recorded {
    /// `ok`, `error`, or `closed` if the connection has ended.
    pub outcome: String,
    /// The command tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_tag: Option<String>,
    /// The names of the columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The rows, with values in the form of the recorder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Vec<String>>,
    /// The SQLSTATE of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    /// The message of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Recorded {
    pub(super) fn error(code: &str, message: &str) -> Self {
        let (sqlstate, message) = (Some(code.to_owned()), Some(message.to_owned()));
        Self { outcome: "error".into(), sqlstate, message, ..Self::default() }
    }

    fn tag(tag: &str) -> Self {
        Self { outcome: "ok".into(), command_tag: Some(tag.to_owned()), ..Self::default() }
    }
}

/// Every file of probes, as the emulator answers them.
///
/// # Errors
/// A file is not in the form of probes.
pub fn files() -> Result<Vec<ProbeFile>, PlayError> {
    let read = |(name, json): &(&str, &str)| -> Result<ProbeFile, PlayError> {
        let file: ProbeFile = serde_json::from_str(json)
            .map_err(|source| PlayError::File { name: (*name).to_owned(), source })?;
        Ok(ProbeFile { name: (*name).to_owned(), ..file })
    };
    let mut files = Vec::new();
    for recorded in RECORDED {
        files.push(ProbeFile { setup: statements(RECORDED_SETUP), ..read(recorded)? });
    }
    for inferred in INFERRED {
        files.push(read(inferred)?);
    }
    files.push(ProbeFile {
        name: "rules".into(),
        setup: RULES_SETUP.map(str::to_owned).into(),
        cases: rules::examples().map(case_of_rule).collect(),
    });
    Ok(files)
}

/// A refused statement in a transaction, so that nothing is left of it where it is accepted.
fn case_of_rule(rule: RuleExample) -> Case {
    Case {
        name: rule.statement.to_owned(),
        group: rule.evidence.to_owned(),
        steps: ["BEGIN", rule.statement, "ROLLBACK"].map(str::to_owned).into(),
        observations: vec![
            Recorded::tag("BEGIN"),
            Recorded::error(rule.code, rule.message),
            Recorded::tag("ROLLBACK"),
        ],
        ..Case::default()
    }
}

/// The statements of a file, one a line.
fn statements(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.trim().trim_end_matches(';'));
    lines.filter(|line| !line.is_empty() && !line.starts_with("--")).map(str::to_owned).collect()
}

impl ProbeFile {
    /// Whether its relations and its statements belong into a schema of their own.
    pub(super) fn is_in_schema(&self) -> bool {
        self.name != OF_NEW_SESSION
    }
}

impl Case {
    /// The same statements with the answers of another server.
    pub(super) fn with_answers(&self, mut found: Vec<Vec<Recorded>>) -> Self {
        let mut case = self.clone();
        if case.session_steps.is_empty() {
            case.observations = found.pop().unwrap_or_default();
        } else {
            case.session_results = found;
        }
        case
    }

    /// The statements of each session.
    pub(super) fn sessions(&self) -> &[Vec<String>] {
        if self.session_steps.is_empty() {
            std::slice::from_ref(&self.steps)
        } else {
            &self.session_steps
        }
    }

    fn answers(&self) -> &[Vec<Recorded>] {
        if self.session_steps.is_empty() {
            std::slice::from_ref(&self.observations)
        } else {
            &self.session_results
        }
    }

    /// How the answers of another server differ; empty if they do not.
    pub(super) fn differences(&self, played: &Self) -> Vec<String> {
        if self.conflict_race && self.is_the_same_race(played) {
            return Vec::new();
        }
        let mut differences = Vec::new();
        let sessions = self.answers().iter().zip(played.answers()).zip(self.sessions());
        for ((recorded, found), steps) in sessions {
            for ((recorded, found), step) in recorded.iter().zip(found).zip(steps) {
                if self.comparable(recorded) != self.comparable(found) {
                    differences.push(format!(
                        "{}: {step}\n  recorded {}\n  found    {}",
                        self.name,
                        shown(recorded),
                        shown(found)
                    ));
                }
            }
        }
        differences
    }

    fn comparable(&self, answer: &Recorded) -> Recorded {
        let mut answer = answer.clone();
        if self.ignore_rows {
            answer.rows.clear();
        }
        answer
    }

    /// Whether one session loses, at the recorded step and with the recorded error, and everything
    /// else is as recorded.
    fn is_the_same_race(&self, played: &Self) -> bool {
        let comparable = |sessions: &[Vec<Recorded>]| -> Vec<Vec<Recorded>> {
            sessions.iter().map(|s| s.iter().map(|r| self.comparable(r)).collect()).collect()
        };
        let (recorded, found) = (comparable(self.answers()), comparable(played.answers()));
        let losses = |sessions: &[Vec<Recorded>]| -> Vec<(usize, Recorded)> {
            sessions
                .iter()
                .flat_map(|session| session.iter().cloned().enumerate())
                .filter(|(_, step)| step.outcome == "error")
                .collect()
        };
        let (expected, lost) = (losses(&recorded), losses(&found));
        let both_may_lose = self.name == "occ_multirow_predicate";
        let as_many = lost.len() == 1 || (both_may_lose && lost.len() == 2);
        let alike = as_many && lost.iter().all(|loss| expected.contains(loss));
        let others_alike = recorded.iter().zip(&found).all(|(recorded, found)| {
            recorded.iter().zip(found).enumerate().all(|(step, (recorded, found))| {
                recorded == found || expected.iter().any(|(at, _)| *at == step)
            })
        });
        alike && others_alike
    }
}

/// An answer in one line.
fn shown(answer: &Recorded) -> String {
    match (&answer.sqlstate, &answer.message) {
        (Some(code), Some(message)) => format!("{code} {message}"),
        _ => {
            let tag = answer.command_tag.as_deref().unwrap_or(&answer.outcome);
            format!("{tag} {:?} {:?}", answer.columns, answer.rows)
        }
    }
}

//! The result of one check, and of all of them: their texts, their JSON and their exit code.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};
use temporal_dsql::{
    dsql::{ConnectError, server_error_of},
    migrate::{Advice, DatabaseError, Difference, MigrateError},
};

use super::Unanswered;
use crate::exit::Exit;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CheckStatus {
    /// As it must be.
    Ok,
    /// It works, and will not under circumstances that the advice names.
    Warning,
    /// It does not work.
    Failed,
    /// It depends on a check that failed, or was not asked for.
    NotChecked,
}

impl CheckStatus {
    const fn text(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::NotChecked => "not checked",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    /// Its name, which scripts may rely on.
    pub(crate) name: &'static str,
    pub(crate) status: CheckStatus,
    /// What was found.
    pub(crate) detail: String,
    /// What to do. Every failed check and every warning has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<String>,
    /// The measured values, for scripts.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(crate) values: Map<String, Value>,
    /// The differences of the database from its schema version.
    #[serde(skip)]
    differences: Vec<Difference>,
    /// The exit code of a failure.
    #[serde(skip)]
    exit: Exit,
}

impl Check {
    fn new(name: &'static str, status: CheckStatus, detail: impl fmt::Display) -> Self {
        Self {
            name,
            status,
            detail: detail.to_string(),
            advice: None,
            values: Map::new(),
            differences: Vec::new(),
            exit: Exit::Failed,
        }
    }

    pub(crate) fn ok(name: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(name, CheckStatus::Ok, detail)
    }

    pub(crate) fn warning(name: &'static str, detail: impl fmt::Display, advice: Advice) -> Self {
        let advice = Some(advice.to_string());
        Self { advice, ..Self::new(name, CheckStatus::Warning, detail) }
    }

    pub(crate) fn failed(name: &'static str, detail: impl fmt::Display, advice: Advice) -> Self {
        let advice = Some(advice.to_string());
        Self { advice, ..Self::new(name, CheckStatus::Failed, detail) }
    }

    /// A failure with the advice that the errors of commands give about the same cause.
    pub(crate) fn of_error<E: std::error::Error + 'static>(
        name: &'static str,
        reason: &Unanswered<E>,
    ) -> Self {
        let advice = match reason {
            Unanswered::Late(_, holders) if !holders.is_empty() => Some(Advice::Locked),
            Unanswered::Late(..) => None,
            Unanswered::Failed(error) => advice_on(error),
        };
        let advice = advice.unwrap_or(Advice::TransientFailure);
        Self::failed(name, without_advice(reason, &advice), advice)
    }

    pub(crate) fn not_checked(name: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(name, CheckStatus::NotChecked, detail)
    }

    /// Adds a value for scripts.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.values.insert(key.to_owned(), value.into());
        self
    }

    /// Adds the differences of the database from its schema version.
    pub(crate) fn listing(mut self, differences: &[Difference]) -> Self {
        self.differences.extend_from_slice(differences);
        self
    }

    /// The failure is that the database differs from the schema.
    pub(crate) fn differs(mut self) -> Self {
        self.exit = Exit::Differences;
        self
    }
}

/// The text of `reason` without `advice`, which is a part of the messages of commands.
pub(super) fn without_advice(reason: &impl fmt::Display, advice: &Advice) -> String {
    reason.to_string().replacen(&format!("; {advice}"), "", 1)
}

/// The advice about `error` and its sources.
fn advice_on(error: &(dyn std::error::Error + 'static)) -> Option<Advice> {
    if let Some(error) = error.downcast_ref::<MigrateError>() {
        return error.advice();
    }
    if let Some(error) = error.downcast_ref::<DatabaseError>() {
        return error.advice();
    }
    if let Some((sqlstate, message)) = server_error_of(error) {
        return Advice::on_server_error(&sqlstate, &message);
    }
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(ConnectError::Unreachable { .. }) = error.downcast_ref() {
            return Some(Advice::Unreachable);
        }
        next = error.source();
    }
    None
}

/// All checks of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Examination {
    /// The version of this tool.
    pub(crate) tool: &'static str,
    /// The schema version that this release needs.
    pub(crate) schema: String,
    /// The operating system and the processor.
    pub(crate) platform: String,
    /// The role, the host, the port and the database.
    pub(crate) target: String,
    /// In the order in which they depend on each other.
    pub(crate) checks: Vec<Check>,
}

impl Examination {
    /// 0 if nothing failed, 3 if only the schema is not the one that this release needs, 1 otherwise.
    pub(crate) fn exit(&self) -> Exit {
        let failed = || self.checks.iter().filter(|check| check.status == CheckStatus::Failed);
        if failed().next().is_none() {
            Exit::Done
        } else if failed().all(|check| check.exit == Exit::Differences) {
            Exit::Differences
        } else {
            Exit::Failed
        }
    }

    /// The differences of the database from its schema version.
    pub(crate) fn differences(&self) -> &[Difference] {
        let mut lists = self.checks.iter().map(|check| &*check.differences);
        lists.find(|list| !list.is_empty()).unwrap_or_default()
    }

    fn count(&self, status: CheckStatus) -> usize {
        self.checks.iter().filter(|check| check.status == status).count()
    }
}

impl fmt::Display for Examination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tool, schema, platform, target, checks } = self;
        writeln!(f, "temporal-dsql-tool {tool} for schema {schema} on {platform}: {target}")?;
        for Check { name, status, detail, advice, .. } in checks {
            writeln!(f, "{name:<12} {:<12} {}", status.text(), one_line(detail))?;
            if let Some(advice) = advice {
                writeln!(f, "{:<25} → {}", "", one_line(advice))?;
            }
        }
        let counts = [CheckStatus::Failed, CheckStatus::Warning, CheckStatus::NotChecked]
            .map(|status| (self.count(status), status.text()))
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, text)| format!("{count} {text}"))
            .collect::<Vec<_>>();
        let ok = self.count(CheckStatus::Ok);
        let others =
            if counts.is_empty() { String::new() } else { format!(", {}", counts.join(", ")) };
        writeln!(f, "{ok} of {} checks are ok{others}", checks.len())
    }
}

/// The text in one line, with its control characters escaped: it may contain lists, and names and
/// messages of a server.
fn one_line(text: &str) -> String {
    let text = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let escaped = |c: char| match c {
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examination(checks: Vec<Check>) -> Examination {
        Examination {
            tool: "1.1.0",
            schema: "1.1".to_owned(),
            platform: "linux x86_64".to_owned(),
            target: "admin@h:5432/postgres".to_owned(),
            checks,
        }
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst_failure() {
        let ok = || Check::ok("name", "");
        let warning = || Check::warning("clock", "", Advice::Clock);
        let skipped = || Check::not_checked("commit", "");
        let schema = || Check::failed("schema", "", Advice::Differences).differs();
        let tcp = || Check::failed("tcp", "", Advice::Unreachable);
        for (checks, exit) in [
            (vec![ok(), warning(), skipped()], Exit::Done),
            (vec![ok(), schema(), skipped()], Exit::Differences),
            (vec![tcp(), schema()], Exit::Failed),
            (vec![schema(), tcp(), ok()], Exit::Failed),
        ] {
            assert_eq!(examination(checks).exit(), exit);
        }
    }

    #[test]
    fn a_check_is_one_line_and_its_advice_another_whatever_they_contain() {
        let checks = vec![
            Check::ok("name", "a\nb\u{1b}[31m").with("addresses", vec!["::1"]),
            Check::failed("tcp", "refused", Advice::CertificateForOtherName),
        ];
        let examination = examination(checks);
        let expected = "\
temporal-dsql-tool 1.1.0 for schema 1.1 on linux x86_64: admin@h:5432/postgres
name         ok           a b\\u{1b}[31m
tcp          failed       refused
                          → connect by a host name that is in the certificate
1 of 2 checks are ok, 1 failed
";
        assert_eq!(examination.to_string(), expected);
        let json = serde_json::to_value(&examination).unwrap();
        assert_eq!(json["checks"][0]["values"]["addresses"][0], "::1");
        assert_eq!(json["checks"][1]["status"], "failed");
        assert_eq!(json["checks"][1]["advice"], Advice::CertificateForOtherName.to_string());
    }
}

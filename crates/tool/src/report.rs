//! Prints the result of a run, as text or as one JSON object.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use indicatif::HumanCount;
use serde::Serialize;
use temporal_dsql::migrate::{
    Difference, Digest, MigrateError, Plan, Report, Status, Verification,
    import::{ImportError, ImportPlan, ImportReport, Problem},
};

use crate::{
    cli::{Cli, Output},
    doctor::Examination,
    exit::{Exit, Failure, Kind},
    import::Fenced,
};

/// The result of a successful command.
#[derive(Debug)]
pub(crate) enum Success {
    /// A plan was applied.
    Applied { outcome: Outcome, plan: Plan, report: Report, proof: Option<Digest> },
    /// The plans of a dry run.
    DryRun(Vec<Plan>),
    /// The status of the database.
    Status(Status),
    /// The result of a verification.
    Verified(Verification),
    /// The checks of a machine and a cluster.
    Examined(Examination),
    /// What an import would do.
    Planned(Box<ImportPlan>),
    /// What an import did, and the comparison of both sides.
    Imported(Box<ImportReport>),
    /// What a change of a fence did.
    Fenced(Fenced),
    /// A command that needs nothing here, and why.
    NothingToDo(String),
    /// A completion script.
    Completions(String),
}

/// Whether a run has changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// This run executed steps.
    Done,
    /// All steps were already in effect.
    NothingToDo,
}

impl Outcome {
    pub(crate) const fn of(report: &Report) -> Self {
        if report.done == 0 { Self::NothingToDo } else { Self::Done }
    }
}

/// The output of `--output json`.
#[derive(Default, Serialize)]
struct Json<'a> {
    /// Null if the arguments name none.
    command: Option<&'a str>,
    exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<&'a Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<&'a Plan>,
    /// The digest of `current_executions`, before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<&'a Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dry_run: Option<&'a [Plan]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<&'a Verification>,
    #[serde(skip_serializing_if = "Option::is_none")]
    doctor: Option<&'a Examination>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan_of_import: Option<&'a ImportPlan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    import: Option<&'a ImportReport>,
    /// Whether both sides of an import are equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    exact: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fence: Option<Fenced>,
    /// What stops an import.
    #[serde(skip_serializing_if = "<[Problem]>::is_empty")]
    problems: &'a [Problem],
    /// The failure and its causes.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The kind of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    /// The differences from the schema, with exit code 3.
    #[serde(skip_serializing_if = "<[Difference]>::is_empty")]
    differences: &'a [Difference],
}

/// Prints the result of the run, and returns its exit code.
pub(crate) fn print_outcome(cli: &Cli, outcome: Result<Success, Failure>) -> Exit {
    let exit = match &outcome {
        Ok(Success::Verified(verification)) if !verification.is_clean() => Exit::Differences,
        Ok(Success::Examined(examination)) => examination.exit(),
        Ok(Success::Planned(plan)) if !plan.problems.is_empty() => Exit::Failed,
        Ok(Success::Imported(report)) if !report.is_exact() => Exit::Differences,
        Ok(_) => Exit::Done,
        Err(failure) => failure.exit,
    };
    let printed = match (cli.output, &outcome) {
        (_, Ok(Success::Completions(script))) => print(script),
        (Output::Json, _) => print_json(&json(cli, exit, &outcome)),
        (Output::Text, Ok(success)) => print(&printable(text(success).trim_end())),
        (Output::Text, Err(failure)) => {
            print_error(&failure.text());
            Ok(())
        }
    };
    match printed {
        // The reader of a closed pipe needs no more output.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            print_error(&format!("cannot print the result: {error}"));
            if exit == Exit::Done { Exit::Failed } else { exit }
        }
        _ => exit,
    }
}

/// Prints a usage error, or the help or version that was asked for.
pub(crate) fn print_clap(error: &clap::Error) {
    let text = error.to_string();
    let shown = without_credentials(&text);
    // The exit code is returned even if the output cannot be written.
    if shown == text {
        let _ = error.print();
    } else {
        let _ = io::stderr().write_all(shown.as_bytes());
    }
}

/// `text` without the users, passwords and parameters of the URLs in it.
fn without_credentials(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        let word = after.split(char::is_whitespace).next().unwrap_or_default();
        // A quotation mark of the message, and not one of the URL.
        let url = word.trim_end_matches(['\'', ':', ',']);
        let (credentials, address) = url.rsplit_once('@').unwrap_or(("", url));
        // A parameter may have an @, too.
        let is_unclear = credentials.contains(['?', '#']);
        let address = address.split(['?', '#']).next().filter(|_| !is_unclear);
        shown.extend([before, "://", address.unwrap_or("…")]);
        rest = &after[url.len()..];
    }
    shown + rest
}

/// Prints a usage error as JSON.
pub(crate) fn print_usage_error(error: &clap::Error, command: Option<&str>) -> Exit {
    let exit = Exit::Usage;
    let text = without_credentials(&error.to_string());
    let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end().to_owned();
    // The exit code is returned even if the output cannot be written.
    let (error, kind) = (Some(text), Some(Kind::Usage));
    let _ = print_json(&Json { command, exit_code: exit as u8, error, kind, ..Json::default() });
    exit
}

fn json<'a>(cli: &Cli, exit: Exit, outcome: &'a Result<Success, Failure>) -> Json<'a> {
    let command = Some(cli.command.name());
    let mut json = Json { command, exit_code: exit as u8, ..Json::default() };
    match outcome {
        Ok(Success::Applied { outcome, plan, report, proof }) => {
            json.outcome = Some(*outcome);
            json.report = Some(report);
            json.plan = Some(plan);
            json.proof = proof.as_ref();
        }
        Ok(Success::DryRun(plans)) => json.dry_run = Some(plans),
        Ok(Success::Status(status)) => json.status = Some(status),
        Ok(Success::Verified(verification)) => {
            json.verification = Some(verification);
            json.differences = &verification.differences;
        }
        Ok(Success::Examined(examination)) => {
            json.doctor = Some(examination);
            if exit == Exit::Differences {
                json.differences = examination.differences();
            }
        }
        Ok(Success::Planned(plan)) => json.plan_of_import = Some(plan),
        Ok(Success::Imported(report)) => {
            json.import = Some(report);
            json.exact = Some(report.is_exact());
        }
        Ok(Success::Fenced(fenced)) => json.fence = Some(*fenced),
        Ok(Success::NothingToDo(_)) => json.outcome = Some(Outcome::NothingToDo),
        Ok(Success::Completions(_)) => {}
        Err(failure) => {
            json.error = Some(failure.text());
            json.kind = Some(failure.kind);
            if let Some(ImportError::Refused(problems) | ImportError::FenceRefused(problems)) =
                failure.error.downcast_ref()
            {
                json.problems = problems;
            }
            if let Some(error) = failure.error.downcast_ref::<MigrateError>() {
                json.differences = error.differences();
            }
        }
    }
    json
}

fn text(success: &Success) -> String {
    match success {
        Success::Applied { outcome, plan, report, proof } => {
            let version = plan.to.map_or_else(
                || "this run records no version".to_owned(),
                |version| format!("`{}` is at version {version}", plan.database),
            );
            let mut text = match outcome {
                Outcome::Done => format!(
                    "done: {version}; {} run, {} already in effect",
                    counted(report.done, "step"),
                    report.in_effect
                ),
                Outcome::NothingToDo => format!("nothing to do: {version}"),
            };
            if let Some(digest) = proof {
                text.push_str(&format!("\ncurrent_executions is unchanged: {digest}"));
            }
            text
        }
        Success::DryRun(plans) => {
            let mut text: String = plans.iter().map(ToString::to_string).collect();
            if plans.iter().all(Plan::is_done) {
                text.push_str("nothing to do");
            }
            text
        }
        Success::Status(status) => status.to_string(),
        Success::Verified(verification) => verification.to_string(),
        Success::Examined(examination) => examination.to_string(),
        Success::Planned(plan) => plan.to_string(),
        Success::Imported(report) => report.to_string(),
        Success::Fenced(fenced) => fenced.to_string(),
        Success::NothingToDo(reason) => format!("nothing to do: {reason}"),
        Success::Completions(script) => script.clone(),
    }
}

fn print_json(json: &Json<'_>) -> io::Result<()> {
    // Serialization fails only for maps with keys other than strings.
    print(&escaped_json(&serde_json::to_string_pretty(json).unwrap_or_default()))
}

/// JSON with all control characters escaped: its grammar demands that only of those up to U+001F. The
/// others occur in its strings only.
fn escaped_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\u{7f}'..='\u{9f}' => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(character));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Failures are ignored; the exit code is still returned.
fn print_error(error: &str) {
    let _ = writeln!(io::stderr(), "error: {}", printable(error));
}

/// `text` with its control characters escaped, except for line breaks and tabs: names of objects and
/// messages of a server can contain any, and a terminal obeys them.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            control if control.is_control() => shown.extend(control.escape_default()),
            other => shown.push(other),
        }
    }
    shown
}

/// `number`, in groups of three digits, with the singular or the plural of `noun`.
pub(crate) fn counted(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{} {noun}{}", HumanCount(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\r\u{9b}c\nd"), "a\\u{1b}[2Jb\\r\\u{9b}c\nd");
    }

    #[test]
    fn a_url_is_shown_without_its_credentials_and_parameters() {
        for (url, expected) in [
            ("postgres://u:hunter2@h:1/d", "postgres://h:1/d"),
            ("postgres://h/d?password=hunter2", "postgres://h/d"),
            ("postgres://u:7?hunter2@h/d", "postgres://…"),
            ("postgres://u:hunter2?x@h/d", "postgres://…"),
            ("postgres://u:hunter2#x@h/d", "postgres://…"),
            ("postgres://u:7/hunter2@h/d", "postgres://h/d"),
            ("postgres://u:hun'ter2@h/d", "postgres://h/d"),
            ("postgres://h/d?password=a@hunter2", "postgres://…"),
        ] {
            let shown = without_credentials(&format!("invalid value '{url}' for '--port': no"));
            assert_eq!(shown, format!("invalid value '{expected}' for '--port': no"));
        }
    }

    #[test]
    fn a_count_has_groups_of_digits() {
        assert_eq!(counted(33_006, "row"), "33,006 rows");
    }

    #[test]
    fn one_is_singular() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "step")), ["0 steps", "1 step", "2 steps"]);
    }
}

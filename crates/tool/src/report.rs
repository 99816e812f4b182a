//! Saying how a run ended: text for people, one JSON object for machines.

use serde::Serialize;
use temporal_dsql::migrate::{Digest, Plan, Report, Status, Verification};

use crate::{
    cli::{Cli, Output},
    exit::{Exit, Failure},
};

/// How a command succeeded.
#[derive(Debug)]
pub(crate) enum Success {
    /// A plan was applied.
    Applied { outcome: Outcome, plan: Plan, report: Report, proof: Option<Digest> },
    /// What would be done.
    DryRun(Vec<Plan>),
    /// Where the database stands.
    Status(Status),
    /// How the database compares.
    Verified(Verification),
    /// A completion script.
    Completions(String),
}

/// Whether a run that was to change something did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// This run did something.
    Done,
    /// Everything was in effect.
    NothingToDo,
}

impl Outcome {
    pub(crate) const fn of(report: &Report) -> Self {
        if report.done == 0 { Self::NothingToDo } else { Self::Done }
    }
}

/// What `--output json` prints.
#[derive(Serialize)]
struct Json<'a> {
    command: &'static str,
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
    /// The failure and its causes.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Prints how the run ended, and tells its exit code.
pub(crate) fn finish(cli: &Cli, outcome: Result<Success, Failure>) -> Exit {
    let exit = match &outcome {
        Ok(Success::Verified(verification)) if !verification.is_clean() => Exit::Differences,
        Ok(_) => Exit::Done,
        Err(failure) => failure.exit,
    };
    match (cli.output, &outcome) {
        (_, Ok(Success::Completions(script))) => print(script),
        (Output::Json, _) => {
            let json = json(cli, exit, &outcome);
            // Plain data without maps of odd keys always has a JSON form.
            print(&serde_json::to_string_pretty(&json).unwrap_or_default());
        }
        (Output::Text, Ok(success)) => print(text(success).trim_end()),
        (Output::Text, Err(failure)) => print_error(&failure.error),
    }
    exit
}

fn json<'a>(cli: &Cli, exit: Exit, outcome: &'a Result<Success, Failure>) -> Json<'a> {
    let mut json = Json {
        command: cli.command.name(),
        exit_code: exit as u8,
        outcome: None,
        report: None,
        plan: None,
        proof: None,
        dry_run: None,
        status: None,
        verification: None,
        error: None,
    };
    match outcome {
        Ok(Success::Applied { outcome, plan, report, proof }) => {
            json.outcome = Some(*outcome);
            json.report = Some(report);
            json.plan = Some(plan);
            json.proof = proof.as_ref();
        }
        Ok(Success::DryRun(plans)) => json.dry_run = Some(plans),
        Ok(Success::Status(status)) => json.status = Some(status),
        Ok(Success::Verified(verification)) => json.verification = Some(verification),
        Ok(Success::Completions(_)) => {}
        Err(failure) => json.error = Some(format!("{:#}", failure.error)),
    }
    json
}

fn text(success: &Success) -> String {
    match success {
        Success::Applied { outcome, plan, report, proof } => {
            let version = plan.to.map_or_else(
                || "no version is recorded".to_owned(),
                |version| format!("`{}` is at version {version}", plan.database),
            );
            let mut text = match outcome {
                Outcome::Done => format!(
                    "done: {version}; {} steps done, {} were in effect",
                    report.done, report.in_effect
                ),
                Outcome::NothingToDo => format!("nothing to do: {version}"),
            };
            if let Some(digest) = proof {
                text.push_str(&format!("\ncurrent_executions is as before: {digest}"));
            }
            text
        }
        Success::DryRun(plans) => {
            let steps: String = plans.iter().map(ToString::to_string).collect();
            if steps.is_empty() { "nothing to do".into() } else { steps }
        }
        Success::Status(status) => status.to_string(),
        Success::Verified(verification) => verification.to_string(),
        Success::Completions(script) => script.clone(),
    }
}

#[expect(clippy::print_stdout, reason = "results are what standard output is for")]
fn print(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "errors are what standard error is for")]
fn print_error(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

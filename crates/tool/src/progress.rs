//! The progress reporter: lines on standard error, with a spinner on a terminal.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use temporal_dsql::migrate::{JobStatus, Progress, ProgressObserver};

use crate::report::{counted, printable};

/// Seconds of a wait between two lines about it.
const BETWEEN_LINES: u64 = 10;
/// Shorter readings of a table get no line.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

/// What is drawn below the lines on the terminal. There is one terminal, so a process draws one thing
/// at a time.
static DRAWN: Mutex<Option<Drawn>> = Mutex::new(None);

enum Drawn {
    /// The current activity.
    Spinner(ProgressBar),
    /// A bar, which has its own text.
    Bar(ProgressBar),
}

impl Drawn {
    const fn bar(&self) -> &ProgressBar {
        match self {
            Self::Spinner(bar) | Self::Bar(bar) => bar,
        }
    }
}

fn drawn() -> MutexGuard<'static, Option<Drawn>> {
    DRAWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Draws `bar` on the terminal, in place of the spinner.
pub(crate) fn draw_bar(bar: ProgressBar) {
    clear();
    *drawn() = Some(Drawn::Bar(bar));
}

/// Shows `text` next to the spinner on the terminal. A bar stays as it is.
pub(crate) fn draw_activity(text: &str) {
    match drawn().get_or_insert_with(|| Drawn::Spinner(spinner())) {
        Drawn::Spinner(spinner) => spinner.set_message(printable(text)),
        Drawn::Bar(_) => {}
    }
}

/// Removes what is drawn on the terminal.
pub(crate) fn clear() {
    if let Some(drawn) = drawn().take() {
        drawn.bar().finish_and_clear();
    }
}

/// Prints progress to standard error, unless it is quiet.
pub(crate) struct ProgressReporter {
    style: Style,
}

enum Style {
    Silent,
    Lines(LastWait),
    /// Each line is an object.
    Json(LastWait),
    /// Lines, and the spinner. It starts with the first step, so that it does not run during a prompt.
    Terminal,
}

/// The interval of the last line about a wait, by its subject: an index or a table. Several indexes are
/// built at the same time.
#[derive(Default)]
struct LastWait(Mutex<BTreeMap<String, u64>>);

impl LastWait {
    /// Whether a line about the wait for `subject` is due: jobs are polled many times per second.
    fn is_due(&self, subject: &str, elapsed: Duration) -> bool {
        let interval = elapsed.as_secs() / BETWEEN_LINES;
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.insert(subject.to_owned(), interval) != Some(interval)
    }
}

impl ProgressReporter {
    pub(crate) fn new(quiet: bool) -> Self {
        let style = if quiet {
            Style::Silent
        } else if std::io::stderr().is_terminal() {
            Style::Terminal
        } else {
            Style::Lines(LastWait::default())
        };
        Self { style }
    }

    /// Prints each line as an object, for programs that read the other lines as JSON, too.
    pub(crate) fn json() -> Self {
        Self { style: Style::Json(LastWait::default()) }
    }

    /// Prints a line.
    pub(crate) fn line(&self, text: &str) {
        match &self.style {
            Style::Silent => {}
            Style::Lines(_) => write_line(text),
            Style::Json(_) => {
                let line = serde_json::json!({ "event": "message", "message": text });
                write_line(&line.to_string());
            }
            Style::Terminal => match &*drawn() {
                Some(drawn) => drawn.bar().suspend(|| write_line(text)),
                None => write_line(text),
            },
        }
    }

    /// Shows `text` about `subject`, which has taken `elapsed` so far, but not too often.
    fn waiting(&self, subject: &str, elapsed: Duration, text: String) {
        match &self.style {
            Style::Terminal => draw_activity(&text),
            Style::Lines(last) | Style::Json(last) if last.is_due(subject, elapsed) => {
                self.line(&text);
            }
            Style::Lines(_) | Style::Json(_) | Style::Silent => {}
        }
    }

    /// Shows the current activity next to the spinner.
    pub(crate) fn activity(&self, text: String) {
        if matches!(self.style, Style::Terminal) {
            draw_activity(&text);
        }
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(
        ProgressStyle::with_template("{spinner} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

impl Drop for ProgressReporter {
    fn drop(&mut self) {
        if matches!(self.style, Style::Terminal) {
            clear();
        }
    }
}

impl ProgressObserver for ProgressReporter {
    fn on(&self, progress: Progress<'_>) {
        match progress {
            Progress::Started { number, total, step } => {
                self.activity(format!("[{number}/{total}] {}", step.summary()));
            }
            Progress::Finished { number, total, step, done, elapsed } => {
                let summary = step.summary();
                self.line(&if done {
                    format!("[{number}/{total}] {summary} ({} ms)", elapsed.as_millis())
                } else {
                    format!("[{number}/{total}] {summary}: in effect")
                });
            }
            Progress::Waiting { index, status, elapsed } => {
                let text = format!(
                    "index {index}: {}, {} s",
                    status.map_or("waiting for its job", status_text),
                    elapsed.as_secs()
                );
                self.waiting(index, elapsed, text);
            }
            Progress::WaitingForLock { holders, elapsed } => self.line(&format!(
                "waiting for a lock for {} s; it is held by {}",
                elapsed.as_secs(),
                holders.join(", ")
            )),
            Progress::Reading { table, rows, elapsed } => {
                let text = format!("reading {table}: {} so far", counted(rows, "row"));
                if elapsed >= WORTH_A_LINE || matches!(self.style, Style::Terminal) {
                    self.waiting(table, elapsed, text);
                }
            }
            Progress::Noted { note } => self.line(&format!("note: {note}")),
            Progress::Repairing { index } => {
                self.line(&format!("index {index} is invalid and no job builds it: rebuilding it"));
            }
            Progress::Retrying { action, attempts, error, wait } => {
                let reason = error.to_string();
                // Only an import has a source.
                let reason = match error.advice().filter(|_| action.contains("source")) {
                    Some(advice) => advice.for_source(&reason),
                    None => reason,
                };
                self.line(&format!(
                    "{action}: attempt {attempts} failed ({reason}); next in {} ms",
                    wait.as_millis()
                ));
            }
        }
    }
}

const fn status_text(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Submitted => "job submitted",
        JobStatus::Processing => "being built",
        JobStatus::Completed => "built",
        JobStatus::Failed => "build failed",
    }
}

/// A closed standard error is not a failure of the run.
fn write_line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", printable(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_gets_a_line_at_its_start_and_every_ten_seconds() {
        let last = LastWait::default();
        let lines = |index, milliseconds: [u64; 4]| {
            milliseconds.map(|ms| last.is_due(index, Duration::from_millis(ms)))
        };
        assert_eq!(lines("a", [0, 50, 900, 9_999]), [true, false, false, false]);
        assert_eq!(lines("a", [10_000, 19_000, 20_000, 20_001]), [true, false, true, false]);
        assert_eq!(lines("b", [0, 25, 31_000, 31_500]), [true, false, true, false]);
        // Indexes that are built at the same time are polled in turn.
        assert_eq!(lines("a", [20_500, 21_000, 29_000, 30_000]), [false, false, false, true]);
    }
}

//! Telling how it goes: a spinner for waits on a terminal, plain lines everywhere else.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use temporal_dsql::migrate::{JobStatus, Observer, Progress};

/// Tells progress on standard error, or not at all.
pub(crate) struct Teller {
    style: Style,
}

enum Style {
    Silent,
    Lines,
    Terminal(ProgressBar),
}

impl Teller {
    pub(crate) fn new(quiet: bool) -> Self {
        let style = if quiet {
            Style::Silent
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(
                ProgressStyle::with_template("{spinner} {msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar.enable_steady_tick(Duration::from_millis(120));
            Style::Terminal(bar)
        } else {
            Style::Lines
        };
        Self { style }
    }

    /// A line that stays.
    pub(crate) fn line(&self, text: &str) {
        match &self.style {
            Style::Silent => {}
            Style::Lines => eprint_line(text),
            Style::Terminal(bar) => bar.suspend(|| eprint_line(text)),
        }
    }

    /// What is going on at the moment.
    fn moment(&self, text: String) {
        if let Style::Terminal(bar) = &self.style {
            bar.set_message(text);
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if let Style::Terminal(bar) = &self.style {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Teller {
    fn on(&self, progress: Progress<'_>) {
        match progress {
            Progress::Started { number, total, step } => {
                self.moment(format!("[{number}/{total}] {}", step.summary()));
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
                    status.map_or("waiting for its job", word),
                    elapsed.as_secs()
                );
                match &self.style {
                    Style::Terminal(_) => self.moment(text),
                    // Every look at a job would be a line every second; every tenth will do.
                    Style::Lines if elapsed.as_secs().is_multiple_of(10) => self.line(&text),
                    Style::Lines | Style::Silent => {}
                }
            }
            Progress::Repairing { index } => {
                self.line(&format!("index {index} is invalid and nobody builds it: rebuilding it"));
            }
            Progress::Retrying { action, attempts, error, wait } => self.line(&format!(
                "{action}: attempt {attempts} failed ({error}); next in {} ms",
                wait.as_millis()
            )),
        }
    }
}

const fn word(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Submitted => "job submitted",
        JobStatus::Processing => "being built",
        JobStatus::Completed => "built",
        JobStatus::Failed => "build failed",
    }
}

#[expect(clippy::print_stderr, reason = "progress is what standard error is for")]
fn eprint_line(text: &str) {
    eprintln!("{text}");
}

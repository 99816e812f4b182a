//! The progress of an import: a bar on a terminal, lines elsewhere, or lines of JSON.

use std::{
    io::{IsTerminal, Write},
    sync::Arc,
    time::Duration,
};

use indicatif::{
    HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle,
};
use serde::Serialize;
use temporal_dsql::migrate::import::{Counts, ImportProgress, Phase};

use crate::{
    progress::{clear, draw_activity, draw_bar},
    report::counted,
};

/// How often the bar is drawn.
const FRAME: Duration = Duration::from_millis(200);
/// The interval of lines of JSON.
const JSON_LINE: Duration = Duration::from_secs(1);
/// The interval of lines of text.
const TEXT_LINE: Duration = Duration::from_secs(10);

/// How the progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Silent,
    Text,
    Json,
}

/// A line of JSON.
#[derive(Serialize)]
struct Line {
    event: &'static str,
    #[serde(flatten)]
    counts: Counts,
    rows_per_second: u64,
    bytes_per_second: u64,
    /// Null if nothing is known of it yet.
    seconds_left: Option<u64>,
}

/// Shows the progress while `run` runs.
pub(super) async fn shown<T>(
    run: impl Future<Output = T>,
    progress: &Arc<ImportProgress>,
    form: Form,
) -> T {
    let is_terminal = form == Form::Text && std::io::stderr().is_terminal();
    let interval = match form {
        _ if is_terminal => FRAME,
        Form::Json => JSON_LINE,
        Form::Text | Form::Silent => TEXT_LINE,
    };
    let _cleared = is_terminal.then_some(ClearedAtEnd);
    if is_terminal {
        draw_activity("checking both databases");
    }
    let mut bar = None;
    let mut ticks = tokio::time::interval(interval);
    let mut run = std::pin::pin!(run);
    let result = loop {
        tokio::select! {
            biased;
            result = &mut run => break result,
            _ = ticks.tick() => match line_now(progress) {
                // The spinner shows what is checked.
                line if is_terminal && line.counts.phase == Phase::Preflight => {}
                line if is_terminal => draw(bar.get_or_insert_with(new_bar), &line),
                line => print(&line, form),
            },
        }
    };
    // The end of the last phase is told, however short it was.
    if form == Form::Json {
        print(&line_now(progress), form);
    }
    result
}

/// Clears the terminal at the end of the run, and if a signal ends it.
struct ClearedAtEnd;

impl Drop for ClearedAtEnd {
    fn drop(&mut self) {
        clear();
    }
}

fn print(line: &Line, form: Form) {
    let text = match form {
        Form::Silent => return,
        Form::Text if line.counts.phase == Phase::Preflight => return,
        Form::Text => format!("{}: {}, {}", phase(line), amounts(line), rates(line)),
        // Serialization fails only for maps with keys other than strings.
        Form::Json => serde_json::to_string(line).unwrap_or_default(),
    };
    // A closed standard error is not a failure of the run.
    let _ = writeln!(std::io::stderr(), "{text}");
}

const fn phase(line: &Line) -> &'static str {
    match line.counts.phase {
        Phase::Preflight => "checking",
        Phase::Copying => "copying",
        Phase::Proving => "comparing",
    }
}

/// What is done.
fn amounts(line: &Line) -> String {
    let counts = &line.counts;
    format!(
        "{} of {}, {} of {}, {} of {}",
        counts.tables,
        counted(counts.total_tables, "table"),
        HumanCount(counts.rows),
        counted(counts.total_rows, "row"),
        HumanBytes(counts.bytes),
        HumanBytes(counts.total_bytes),
    )
}

/// How fast it is done, and how long the rest takes.
fn rates(line: &Line) -> String {
    let left = line.seconds_left.map_or_else(String::new, |seconds| {
        format!(", {} left", HumanDuration(Duration::from_secs(seconds)))
    });
    let rows = counted(line.rows_per_second, "row");
    format!("{rows}/s, {}/s{left}", HumanBytes(line.bytes_per_second))
}

/// A bar of two lines, each of at most 80 columns.
fn new_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
    bar.set_style(
        ProgressStyle::with_template("{bar:12} {percent:>3}% {prefix}\n{wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    draw_bar(bar.clone());
    bar
}

fn draw(bar: &ProgressBar, line: &Line) {
    bar.set_length(line.counts.total_bytes.max(1));
    bar.set_position(line.counts.bytes);
    bar.set_message(amounts(line));
    bar.set_prefix(format!("{}: {}", phase(line), rates(line)));
}

fn line_now(progress: &ImportProgress) -> Line {
    // First the time: if another phase begins in between, its rates are too low for once.
    let elapsed = progress.elapsed().as_secs_f64();
    line(progress.counts(), elapsed.max(0.001))
}

/// The line about `counts`, `elapsed` seconds after the beginning of their phase.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "rates are for people"
)]
fn line(counts: Counts, elapsed: f64) -> Line {
    let rate = |done: u64| (done as f64 / elapsed) as u64;
    let left = |done: u64, total: u64| {
        (done > 0).then(|| (total.saturating_sub(done) as f64 * elapsed / done as f64) as u64)
    };
    Line {
        event: "progress",
        counts,
        rows_per_second: rate(counts.rows),
        bytes_per_second: rate(counts.bytes),
        // Rows matter where values are small, bytes where they are large.
        seconds_left: left(counts.rows, counts.total_rows)
            .max(left(counts.bytes, counts.total_bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_tables_rows_bytes_rates_and_the_time_left() {
        let counts = Counts {
            phase: Phase::Copying,
            tables: 3,
            total_tables: 36,
            rows: 1_000,
            total_rows: 4_000,
            bytes: 1_048_576,
            total_bytes: 3 * 1_048_576,
        };
        let shown = line(counts, 10.0);
        assert_eq!(phase(&shown), "copying");
        assert_eq!(amounts(&shown), "3 of 36 tables, 1,000 of 4,000 rows, 1.00 MiB of 3.00 MiB");
        assert_eq!(rates(&shown), "100 rows/s, 102.40 KiB/s, 30 seconds left");
        let json = serde_json::to_value(line(counts, 10.0)).unwrap();
        assert_eq!(json["phase"], "copying");
        assert_eq!(json["seconds_left"], 30);
        assert_eq!(json["event"], "progress");
    }

    #[test]
    fn a_large_import_fits_into_80_columns() {
        let counts = Counts {
            phase: Phase::Proving,
            tables: 70,
            total_tables: 72,
            rows: 1_023_456_789,
            total_rows: 2_123_456_789,
            bytes: 1_099_000_000_000,
            total_bytes: 2_199_000_000_000,
        };
        // 98,000 rows and 100 MiB in each second.
        let line = line(counts, 10_400.0);
        let (first, second) = (format!("{}: {}", phase(&line), rates(&line)), amounts(&line));
        assert!(first.ends_with(" hours left"), "{first}");
        // The bar, the percentage and two spaces take 18 columns.
        assert!(first.len() <= 80 - 18, "{first}");
        assert!(second.len() <= 80, "{second}");
    }
}

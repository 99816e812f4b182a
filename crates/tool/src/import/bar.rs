//! The progress of an import: a bar on a terminal, lines elsewhere, or lines of JSON.

use std::{
    io::{IsTerminal, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::{
    HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle,
};
use serde::Serialize;
use temporal_dsql::migrate::import::{Counts, ImportProgress, Phase};

use crate::report::counted;

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
    let bar = match form {
        Form::Text if std::io::stderr().is_terminal() => Some(bar()),
        _ => None,
    };
    let interval = match form {
        _ if bar.is_some() => FRAME,
        Form::Json => JSON_LINE,
        Form::Text | Form::Silent => TEXT_LINE,
    };
    let mut pace = Pace::new(progress.counts());
    let mut ticks = tokio::time::interval(interval);
    let mut run = std::pin::pin!(run);
    let result = loop {
        tokio::select! {
            biased;
            result = &mut run => break result,
            _ = ticks.tick() => show(&pace.line(progress.counts()), bar.as_ref(), form),
        }
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    // The end of the last phase is told, however short it was.
    if form == Form::Json {
        show(&pace.line(progress.counts()), None, form);
    }
    result
}

fn show(line: &Line, bar: Option<&ProgressBar>, form: Form) {
    let text = match (bar, form) {
        (Some(bar), _) => {
            bar.set_length(line.counts.total_bytes.max(1));
            bar.set_position(line.counts.bytes);
            bar.set_message(text(line));
            return;
        }
        (None, Form::Silent) => return,
        (None, Form::Text) if line.counts.phase == Phase::Preflight => return,
        (None, Form::Text) => text(line),
        // Serialization fails only for maps with keys other than strings.
        (None, Form::Json) => serde_json::to_string(line).unwrap_or_default(),
    };
    // A closed standard error is not a failure of the run.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn text(line: &Line) -> String {
    let Line { counts, bytes_per_second, rows_per_second, seconds_left, .. } = line;
    let what = match counts.phase {
        Phase::Preflight => return "checking both databases".to_owned(),
        Phase::Copying => "copying",
        Phase::Proving => "comparing",
    };
    let left = seconds_left.map_or_else(String::new, |seconds| {
        format!(", {} left", HumanDuration(Duration::from_secs(seconds)))
    });
    format!(
        "{what}: {} of {}, {} of {}, {} of {}, {}/s, {}/s{left}",
        counts.tables,
        counted(counts.total_tables, "table"),
        HumanCount(counts.rows),
        counted(counts.total_rows, "row"),
        HumanBytes(counts.bytes),
        HumanBytes(counts.total_bytes),
        counted(*rows_per_second, "row"),
        HumanBytes(*bytes_per_second),
    )
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
    bar.set_style(
        ProgressStyle::with_template("{bar:30} {percent:>3}% {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar
}

/// The rates of the current phase, from its beginning.
struct Pace {
    phase: Phase,
    start: Instant,
}

impl Pace {
    fn new(counts: Counts) -> Self {
        Self { phase: counts.phase, start: Instant::now() }
    }

    fn line(&mut self, counts: Counts) -> Line {
        if counts.phase != self.phase {
            *self = Self::new(counts);
        }
        let elapsed = self.start.elapsed().as_secs_f64().max(0.001);
        line(counts, elapsed)
    }
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
        let shown = text(&line(counts, 10.0));
        assert_eq!(
            shown,
            "copying: 3 of 36 tables, 1,000 of 4000 rows, 1.00 MiB of 3.00 MiB, 100 rows/s, \
             102.40 KiB/s, 30 seconds left"
        );
        let json = serde_json::to_value(line(counts, 10.0)).unwrap();
        assert_eq!(json["phase"], "copying");
        assert_eq!(json["seconds_left"], 30);
        assert_eq!(json["event"], "progress");
    }
}

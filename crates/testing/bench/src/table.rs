//! Tables in Markdown, and goals.

use std::fmt::Write;

use crate::{chart::Chart, stats::Spread};

/// A table and the chart of the same figures.
pub struct Table {
    /// The name of the chart's file, without its ending.
    pub name: &'static str,
    /// The title.
    pub title: String,
    /// The name of each column.
    pub header: Vec<String>,
    /// The rows, each with as many cells as the header.
    pub rows: Vec<Vec<String>>,
    /// The chart of the same figures.
    pub chart: Chart,
}

/// A table in Markdown, with aligned columns.
///
/// # Panics
/// A row has more or fewer cells than the header.
pub fn markdown(header: &[String], rows: &[Vec<String>]) -> String {
    let lines = || std::iter::once(header).chain(rows.iter().map(Vec::as_slice));
    let width =
        |column: usize| lines().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = String::new();
    for (number, line) in lines().enumerate() {
        assert_eq!(line.len(), widths.len(), "a row has other columns than {header:?}");
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if number == 0 {
            for width in &widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text.push_str("|\n");
        }
    }
    text
}

/// A goal and whether it is met.
#[derive(Debug)]
pub struct Goal {
    /// The goal, with its figure.
    pub target: String,
    /// The measured figures.
    pub measured: String,
    /// Whether every figure meets the goal.
    pub met: bool,
}

impl Goal {
    /// The goal that each of the named `ratios` is at least `least`.
    pub fn at_least<'n>(
        what: &str,
        least: f64,
        ratios: impl IntoIterator<Item = (&'n str, Spread)>,
    ) -> Self {
        let ratios: Vec<_> = ratios.into_iter().collect();
        Self {
            target: format!("{what}: at least {least:.2}"),
            measured: listed(&ratios),
            met: ratios.iter().all(|(_, ratio)| ratio.median >= least),
        }
    }

    /// The goal that each of the named `ratios` is at most `most`.
    pub fn at_most<'n>(
        what: &str,
        most: f64,
        ratios: impl IntoIterator<Item = (&'n str, Spread)>,
    ) -> Self {
        let ratios: Vec<_> = ratios.into_iter().collect();
        Self {
            target: format!("{what}: at most {most:.2}"),
            measured: listed(&ratios),
            met: ratios.iter().all(|(_, ratio)| ratio.median <= most),
        }
    }

    /// The goal as an item of a list.
    pub fn line(&self) -> String {
        format!("- {}; measured: {}; {}", self.target, self.measured, self.verdict())
    }

    /// The goal as a row of a table, after a cell that names its benchmark.
    pub fn row(self, benchmark: String) -> Vec<String> {
        let verdict = self.verdict().to_owned();
        vec![benchmark, self.target, self.measured, verdict]
    }

    const fn verdict(&self) -> &'static str {
        if self.met { "met" } else { "**missed**" }
    }
}

fn listed(ratios: &[(&str, Spread)]) -> String {
    let each = ratios.iter().map(|(name, ratio)| format!("{name} {:.2}", ratio.median));
    each.collect::<Vec<_>>().join(", ")
}

/// A ratio in a cell: the median, and the lowest and highest in brackets.
pub fn ratio(spread: Spread) -> String {
    format!("{:.2} ({:.2}–{:.2})", spread.median, spread.low, spread.high)
}

/// A number in a cell, with three significant digits.
pub fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => grouped(value),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// Three significant digits in groups of three: 12,300.
fn grouped(value: f64) -> String {
    let unit = 10_f64.powi(value.log10().floor() as i32 - 2);
    let digits = format!("{:.0}", (value / unit).round() * unit);
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Nanoseconds in a cell, with a unit.
pub fn nanos(nanos: f64) -> String {
    let (value, unit) = match nanos {
        nanos if nanos >= 1e9 => (nanos / 1e9, "s"),
        nanos if nanos >= 1e6 => (nanos / 1e6, "ms"),
        nanos if nanos >= 1e3 => (nanos / 1e3, "µs"),
        nanos => (nanos, "ns"),
    };
    format!("{} {unit}", number(value))
}

/// Bytes in a cell.
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1024.0 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_markdown() {
        let header = ["a", "long"].map(str::to_owned);
        let rows = [vec!["µs µs".into(), "b".into()]];
        let expected = "| a     | long |\n|-------|------|\n| µs µs | b    |\n";
        assert_eq!(markdown(&header, &rows), expected);
    }

    #[test]
    fn a_goal_is_met_if_every_figure_meets_it() {
        let at = |median| Spread { median, low: 0.0, high: 9.0 };
        let goal = Goal::at_least("of the peer", 0.8, [("insert", at(0.9)), ("select", at(0.79))]);
        assert_eq!(
            goal.line(),
            "- of the peer: at least 0.80; measured: insert 0.90, select 0.79; **missed**"
        );
        assert!(Goal::at_least("", 0.8, [("", at(0.8))]).met);
        assert!(Goal::at_most("", 1.05, [("", at(1.05))]).met);
        assert!(!Goal::at_most("", 1.05, [("", at(1.06))]).met);
    }

    #[test]
    fn numbers_have_three_digits_and_times_a_unit() {
        let numbers = [0.123, 12.34, 123.4, 12_345.0, 1_234_567.0].map(number);
        assert_eq!(numbers, ["0.12", "12.3", "123", "12,300", "1,230,000"]);
        assert_eq!(
            [12.0, 1_234.0, 5e7, 2e9].map(nanos),
            ["12.0 ns", "1.23 µs", "50.0 ms", "2.00 s"]
        );
    }
}

//! The control port: faults for other processes, as lines of text with one answer each.
//!
//! `nc 127.0.0.1 PORT` is a client. The commands are in [`HELP`].

use std::{str::FromStr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::{CommitFault, CommitRates, Faults, Latency, Refusal, StatementFault};

/// The commands.
pub(crate) const HELP: &str = "\
commit conflict|catalog-conflict|unavailable-applied|unavailable-lost|answer-lost-applied|answer-lost|held|pass [TIMES]
release
hold-jobs
release-jobs
statement unavailable|catalog-conflict|close [TIMES] [TEXT THAT IT CONTAINS]
refuse access-denied|too-many|rate|waking-up|close [TIMES]
random SEED conflict=RATE catalog-conflict=RATE unavailable=RATE answer-lost=RATE
latency ROUND-TRIP-MS COMMIT-MS
clock SECONDS-AHEAD
drop
clear
status
help";

/// Serves a connection until it ends.
pub(crate) async fn serve(socket: TcpStream, faults: Faults) {
    if let Err(error) = answer_lines(socket, &faults).await {
        tracing::debug!(%error, "a control connection ended");
    }
}

async fn answer_lines(mut socket: TcpStream, faults: &Faults) -> std::io::Result<()> {
    let (reader, mut writer) = socket.split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match execute(&line, faults) {
            Ok(answer) => format!("ok{}{answer}\n", if answer.is_empty() { "" } else { " " }),
            Err(reason) => format!("error {reason}\n"),
        };
        writer.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

/// Executes one command; returns the text of the answer.
fn execute(line: &str, faults: &Faults) -> Result<String, String> {
    let mut words = line.split_whitespace();
    let command = words.next().unwrap_or_default();
    match command {
        "commit" => {
            let fault = match word(&mut words, "a fault")? {
                "conflict" => Some(CommitFault::Conflict),
                "catalog-conflict" => Some(CommitFault::CatalogConflict),
                "unavailable-applied" => Some(CommitFault::Unavailable { applied: true }),
                "unavailable-lost" => Some(CommitFault::Unavailable { applied: false }),
                "answer-lost-applied" => Some(CommitFault::LostAnswer { applied: true }),
                "answer-lost" => Some(CommitFault::LostAnswer { applied: false }),
                "held" => Some(CommitFault::Held),
                "pass" => None,
                other => return Err(format!("`{other}` is not a commit fault; try `help`")),
            };
            faults.decide(fault, times(words.next())? as usize);
        }
        "statement" => {
            let fault = match word(&mut words, "a fault")? {
                "unavailable" => StatementFault::Unavailable,
                "catalog-conflict" => StatementFault::CatalogConflict,
                "close" => StatementFault::Close,
                other => return Err(format!("`{other}` is not a statement fault; try `help`")),
            };
            let times = times(words.next())?;
            let text = words.collect::<Vec<_>>().join(" ");
            faults.at_statement(Some(text.as_str()).filter(|text| !text.is_empty()), fault, times);
        }
        "refuse" => {
            let refusal = match word(&mut words, "a refusal")? {
                "access-denied" => Refusal::AccessDenied,
                "too-many" => Refusal::TooManyConnections,
                "rate" => Refusal::RateExceeded,
                "waking-up" => Refusal::WakingUp,
                "close" => Refusal::Closed,
                other => return Err(format!("`{other}` is not a refusal; try `help`")),
            };
            faults.refuse_connections(refusal, times(words.next())?);
        }
        "random" => {
            let seed = number(word(&mut words, "a seed")?)?;
            faults.at_random(seed, rates(words)?);
        }
        "latency" => {
            let mut milliseconds = || -> Result<Duration, String> {
                number(word(&mut words, "milliseconds")?).map(Duration::from_millis)
            };
            let latency = Latency { round_trip: milliseconds()?, commit: milliseconds()? };
            faults.set_latency(latency);
        }
        "clock" => {
            faults.shift_clock(Duration::from_secs(number(word(&mut words, "seconds")?)?));
        }
        "release" => faults.release_commits(),
        "hold-jobs" => faults.hold_jobs(),
        "release-jobs" => faults.release_jobs(),
        "drop" => faults.drop_connections(),
        "clear" => faults.clear(),
        "status" => {
            let report = faults.report();
            return Ok(format!(
                "pending={} commits={} statements={} connections={}",
                faults.pending(),
                report.commits,
                report.statements,
                report.connections
            ));
        }
        "help" => return Ok(format!("\n{HELP}")),
        other => return Err(format!("`{other}` is not a command; try `help`")),
    }
    Ok(String::new())
}

fn word<'a>(words: &mut impl Iterator<Item = &'a str>, what: &str) -> Result<&'a str, String> {
    words.next().ok_or_else(|| format!("{what} is missing; try `help`"))
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number that fits here"))
}

fn times(text: Option<&str>) -> Result<u32, String> {
    match text {
        None => Ok(1),
        Some(text) => number(text),
    }
}

fn rates<'a>(words: impl Iterator<Item = &'a str>) -> Result<CommitRates, String> {
    let mut rates = CommitRates::default();
    for word in words {
        let (name, rate) = word.split_once('=').ok_or_else(|| format!("`{word}` is not a rate"))?;
        let rate: f64 = number(rate)?;
        let field = match name {
            "conflict" => &mut rates.conflict,
            "catalog-conflict" => &mut rates.catalog_conflict,
            "unavailable" => &mut rates.unavailable,
            "answer-lost" => &mut rates.lost_answer,
            other => return Err(format!("`{other}` has no rate; try `help`")),
        };
        *field = rate;
    }
    let each = [rates.conflict, rates.catalog_conflict, rates.unavailable, rates.lost_answer];
    if !(each.iter().all(|rate| *rate >= 0.0) && each.iter().sum::<f64>() <= 1.0) {
        return Err("rates must be at least 0 each and at most 1 together".into());
    }
    Ok(rates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_calls_its_method() {
        let faults = Faults::default();
        for line in [
            "commit conflict 2",
            "commit pass",
            "commit answer-lost-applied",
            "commit held",
            "release",
            "hold-jobs",
            "statement unavailable 3 SELECT 1",
            "statement close",
            "refuse waking-up 2",
            "latency 5 10",
            "clock 60",
            "random 7 conflict=0.5 answer-lost=0.1",
            "statement close 0",
            "drop",
        ] {
            assert_eq!(execute(line, &faults), Ok(String::new()), "{line}");
        }
        assert_eq!(faults.pending(), 4 + 4 + 2);
        assert_eq!(faults.next_commit().0, Some(CommitFault::Conflict));
        let latency = faults.latency();
        assert_eq!(latency.round_trip, Duration::from_millis(5));
        assert_eq!(latency.commit, Duration::from_millis(10));
        let status = execute("status", &faults).unwrap();
        assert_eq!(status, "pending=9 commits=1 statements=0 connections=0");
        assert!(faults.job_hold().is_some());
        execute("release-jobs", &faults).unwrap();
        assert!(faults.job_hold().is_none());
        execute("clear", &faults).unwrap();
        assert_eq!(faults.pending(), 0);
        assert!(execute("help", &faults).unwrap().contains("latency"));
    }

    #[test]
    fn an_invalid_command_is_named_and_has_no_effect() {
        let faults = Faults::default();
        for (line, named) in [
            ("", "``"),
            ("explode", "`explode`"),
            ("commit", "a fault"),
            ("commit explode", "`explode`"),
            ("commit conflict often", "`often`"),
            ("random x", "`x`"),
            ("random 1 conflict=2", "at most 1"),
            ("random 1 conflict=NaN", "at least 0"),
            ("latency 5", "milliseconds"),
        ] {
            let reason = execute(line, &faults).unwrap_err();
            assert!(reason.contains(named), "{line}: {reason}");
        }
        assert_eq!(faults.pending(), 0);
    }
}

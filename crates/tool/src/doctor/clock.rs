//! The difference between the clocks of this machine and of the server.
//!
//! An IAM token has the time of its signature in it, so clocks that differ make tokens invalid
//! (aurora-dsql.md#tokens). Three limits follow from that and from the cache of tokens
//! (dsql-client/src/token_cache.rs):
//!
//! - A clock of this machine that is ahead by five minutes makes tokens that are not yet valid.
//! - A cached token is used for four fifths of its life. If the clock of the server is ahead by the
//!   rest, the server sees it expire while it is in use.
//! - In the last ten seconds of its life a token is not used, so a smaller difference does not matter
//!   even while the credentials cannot be renewed.

use std::time::{Duration, Instant, SystemTime};

use temporal_dsql::migrate::{Advice, DatabaseError, PostgresDatabase};
use time::{PrimitiveDateTime, macros::format_description};

use super::check::Check;

pub(super) const CLOCK: &str = "clock";

/// How far ahead the clock of this machine may be (aurora-dsql.md#tokens).
const LATEST_SIGNATURE: Duration = Duration::from_secs(300);
/// The part of its life that a token is not used for, because it has been replaced.
const REPLACED_FOR: f64 = 0.2;
/// A token this close to its end is not used.
const LAST_MOMENTS: Duration = Duration::from_secs(10);

/// One reading of the server's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// The time from the question to the answer.
    pub(super) round_trip: Duration,
    /// By how many seconds the clock of the server is ahead, if it was read in the middle of the
    /// round trip; it is off by half a round trip at most.
    ahead: f64,
}

impl Reading {
    /// Reads the server's clock once.
    pub(super) async fn take(database: &mut PostgresDatabase) -> Result<Self, DatabaseError> {
        let (sent, start) = (SystemTime::now(), Instant::now());
        let server = database.server_time().await?;
        let round_trip = start.elapsed();
        Ok(Self { round_trip, ahead: ahead(server, sent + round_trip / 2) })
    }
}

/// By how many seconds `server` is ahead of `local`.
fn ahead(server: SystemTime, local: SystemTime) -> f64 {
    match server.duration_since(local) {
        Ok(ahead) => ahead.as_secs_f64(),
        Err(behind) => -behind.duration().as_secs_f64(),
    }
}

/// Judges the clocks by the reading with the shortest round trip. `tokens` is the lifetime of IAM
/// tokens, if they are used.
pub(super) fn judge(readings: &[Reading], tokens: Option<Duration>) -> Check {
    let best = readings.iter().min_by_key(|reading| reading.round_trip);
    match best {
        Some(best) => judge_difference(best.ahead, best.round_trip.as_secs_f64() / 2.0, tokens),
        None => Check::not_checked(CLOCK, "the server did not tell its time"),
    }
}

/// Judges the clocks by the server's refusal of a token that was signed `before`: AWS tells its own
/// time in it. `None` if the refusal is about something else.
pub(super) fn judge_refusal(hint: &str, before: SystemTime, tokens: Duration) -> Option<Check> {
    if !hint.starts_with("Signature expired") && !hint.starts_with("Signature not yet current") {
        return None;
    }
    // `… (20260627T143000Z - 15 min.)`
    let (_, server) = hint.rsplit_once('(')?;
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let server = PrimitiveDateTime::parse(server.get(..16)?, format).ok()?.assume_utc();
    // The hint has whole seconds, and the login took a moment.
    Some(judge_difference(ahead(server.into(), before), 1.0, Some(tokens)))
}

/// Judges a difference of `ahead` seconds, which is exact to `error` seconds.
fn judge_difference(ahead: f64, error: f64, tokens: Option<Duration>) -> Check {
    let side = if ahead < 0.0 { "behind" } else { "ahead" };
    let detail = if ahead.abs() <= error {
        format!("the clocks agree, as far as a round trip tells (±{error:.3} s)")
    } else {
        format!("the server's clock is {:.3} s {side} (±{error:.3} s)", ahead.abs())
    };
    let certain = (ahead.abs() - error).max(0.0);
    let limit = tokens.map_or(f64::INFINITY, |lifetime| match ahead < 0.0 {
        true => LATEST_SIGNATURE.as_secs_f64(),
        false => lifetime.as_secs_f64() * REPLACED_FOR,
    });
    let check = if certain >= limit {
        let detail = format!("{detail}; IAM tokens fail from {limit:.0} s on");
        Check::failed(CLOCK, detail, Advice::Clock)
    } else if certain >= LAST_MOMENTS.as_secs_f64() {
        Check::warning(CLOCK, detail, Advice::Clock)
    } else {
        Check::ok(CLOCK, detail)
    };
    check.with("server_ahead_s", ahead).with("error_s", error)
}

#[cfg(test)]
mod tests {
    use super::{super::check::CheckStatus, *};

    const TOKENS: Option<Duration> = Some(Duration::from_secs(900));

    #[test]
    fn the_limits_are_those_of_tokens() {
        use CheckStatus::{Failed, Ok, Warning};
        for (ahead, error, tokens, expected) in [
            (0.0, 0.001, TOKENS, Ok),
            (9.9, 0.001, TOKENS, Ok),
            (10.1, 0.001, TOKENS, Warning),
            (-10.1, 0.001, TOKENS, Warning),
            (12.0, 3.0, TOKENS, Ok),
            (179.9, 0.001, TOKENS, Warning),
            // Four fifths of 900 s is 720 s.
            (180.1, 0.001, TOKENS, Failed),
            (-180.1, 0.001, TOKENS, Warning),
            (-299.9, 0.001, TOKENS, Warning),
            (-300.1, 0.001, TOKENS, Failed),
            (180.1, 0.001, Some(Duration::from_secs(3_600)), Warning),
            (3_600.0, 0.001, None, Warning),
        ] {
            let check = judge_difference(ahead, error, tokens);
            assert_eq!(check.status, expected, "{ahead} s: {check:?}");
            assert_eq!(check.advice.is_some(), expected != Ok, "{check:?}");
        }
    }

    #[test]
    fn the_reading_with_the_shortest_round_trip_counts() {
        let reading = |milliseconds, ahead| Reading {
            round_trip: Duration::from_millis(milliseconds),
            ahead,
        };
        let check = judge(&[reading(900, 400.0), reading(4, 0.001), reading(20, -9.0)], TOKENS);
        assert_eq!(check.status, CheckStatus::Ok);
        assert!(check.detail.contains("agree") && check.detail.contains("±0.002"), "{check:?}");
        assert_eq!(judge(&[], TOKENS).status, CheckStatus::NotChecked);
    }

    #[test]
    fn a_refused_token_tells_the_time_of_the_server() {
        let signed = format_description!("[year][month][day]T[hour][minute][second]Z");
        let signed = PrimitiveDateTime::parse("20260627T140000Z", signed).unwrap().assume_utc();
        let lifetime = Duration::from_secs(900);
        for (hint, side) in [
            (
                "Signature expired: 20260627T140000Z is now earlier than 20260627T141500Z \
                 (20260627T143000Z - 15 min.)",
                "1800.000 s ahead",
            ),
            (
                "Signature not yet current: 20260627T140000Z is still later than \
                 20260627T135000Z (20260627T134500Z + 5 min.)",
                "900.000 s behind",
            ),
        ] {
            let check = judge_refusal(hint, signed.into(), lifetime).unwrap();
            assert_eq!(check.status, CheckStatus::Failed, "{check:?}");
            assert!(check.detail.contains(side), "{check:?}");
        }
        for other in ["", "Signature expired", "Signature expired: (é", "Wrong user (1)"] {
            assert!(judge_refusal(other, signed.into(), lifetime).is_none(), "{other}");
        }
    }
}

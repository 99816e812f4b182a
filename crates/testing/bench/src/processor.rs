//! The processor time of this process, from the kernel.
//!
//! With many callers, server and client compete for busy processors, so the processor time of the
//! client explains the ratios of rates.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

const FILE: &str = "/proc/self/stat";

/// The kernel's unit for processes.
const TICK: Duration = Duration::from_millis(10);

/// Processor time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessorTime {
    /// Of this process.
    pub own: Duration,
    /// Of its child processes that have ended.
    pub children: Duration,
}

impl ProcessorTime {
    /// The processor time so far.
    ///
    /// # Errors
    /// The kernel's file cannot be read.
    pub fn until_now() -> Result<Self> {
        let stat = fs::read_to_string(FILE).context(FILE)?;
        parse(&stat).with_context(|| format!("{FILE} says `{stat}`"))
    }
}

/// `utime`, `stime`, `cutime` and `cstime` are the 12th to the 15th field after the program's name,
/// which may contain spaces and parentheses.
fn parse(stat: &str) -> Option<ProcessorTime> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).map_while(|field| field.parse::<u32>().ok());
    let mut two = || Some(TICK * (ticks.next()? + ticks.next()?));
    Some(ProcessorTime { own: two()?, children: two()? })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_fields_are_counted_after_the_name() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4 5 6 7 8 100 20 3 4 20 0 1 0 99";
        let millis = Duration::from_millis;
        assert_eq!(parse(stat), Some(ProcessorTime { own: millis(1_200), children: millis(70) }));
        assert_eq!(parse("7 (a) S 1"), None);
    }

    #[test]
    fn work_is_counted() {
        let (start, before) = (Instant::now(), ProcessorTime::until_now().unwrap());
        while ProcessorTime::until_now().unwrap().own < before.own + 2 * TICK {
            assert!(start.elapsed() < Duration::from_secs(30), "nothing has been counted");
        }
    }
}

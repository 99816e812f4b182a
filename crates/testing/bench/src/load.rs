//! A closed loop of concurrent callers, each of which begins its next call when its last has ended.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use tokio::{task::JoinSet, time, time::sleep_until};

use crate::processor::ProcessorTime;

/// A caller of an operation.
pub trait Caller: Send + 'static {
    /// Calls once and checks the answer.
    ///
    /// # Errors
    /// The call fails or the answer is wrong, which voids the measurement.
    fn call(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// The duration of a load.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Calls that end in this time are not counted: connections open and prepare statements.
    pub warm_up: Duration,
    /// Calls that end in this time, after the warm-up, are counted.
    pub measured: Duration,
}

impl Window {
    /// The measured time, if the warm-up begins now on the runtime's clock.
    pub fn begin(self) -> Span {
        let from = time::Instant::now() + self.warm_up;
        Span { from, until: from + self.measured }
    }
}

/// The measured time.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Its begin, inclusive.
    pub from: time::Instant,
    /// Its end, exclusive.
    pub until: time::Instant,
}

impl Span {
    /// Whether `instant` is in it.
    pub fn contains(self, instant: time::Instant) -> bool {
        self.from <= instant && instant < self.until
    }
}

/// The results of a load.
#[derive(Clone, Debug)]
pub struct Load {
    /// Calls per second, of all callers.
    pub rate: f64,
    /// Nanoseconds of each call. A call without an answer at the end is included with its wait
    /// until then, so that the longest waits are not omitted.
    pub latencies: Histogram<u64>,
    /// The processor time of this process for each call.
    pub processor_per_call: Duration,
}

/// Runs `callers` for the length of `window`.
///
/// # Errors
/// The first call that failed.
pub async fn closed_loop<C: Caller>(callers: Vec<C>, window: Window) -> Result<Load> {
    let from = Instant::now() + window.warm_up;
    let until = from + window.measured;
    let processor = tokio::spawn(processor_time(from, until));
    let mut running = JoinSet::new();
    for caller in callers {
        running.spawn(run_caller(caller, from, until));
    }
    let (mut calls, mut latencies) = (0_u32, histogram());
    while let Some(ended) = running.join_next().await {
        let (own_calls, own_latencies) = ended.context("a caller panicked")??;
        calls += own_calls;
        latencies.add(own_latencies).context("histograms of one kind")?;
    }
    ensure!(calls > 0, "no call ended within {:?}", window.measured);
    let processor = processor.await.context("the measurement of processor time panicked")??;
    Ok(Load {
        rate: f64::from(calls) / window.measured.as_secs_f64(),
        processor_per_call: processor / calls,
        latencies,
    })
}

/// The processor time of this process between `from` and `until`.
async fn processor_time(from: Instant, until: Instant) -> Result<Duration> {
    sleep_until(from.into()).await;
    let before = ProcessorTime::until_now()?;
    sleep_until(until.into()).await;
    Ok(ProcessorTime::until_now()?.own - before.own)
}

/// The number of calls that end between `from` and `until`, and their latencies.
async fn run_caller<C: Caller>(
    mut caller: C,
    from: Instant,
    until: Instant,
) -> Result<(u32, Histogram<u64>)> {
    let (mut calls, mut latencies) = (0, histogram());
    loop {
        let asked = Instant::now();
        if asked >= until {
            return Ok((calls, latencies));
        }
        caller.call().await?;
        let answered = Instant::now();
        if answered >= from {
            calls += u32::from(answered < until);
            record(&mut latencies, answered.min(until) - asked);
        }
    }
}

/// A histogram of nanoseconds with three significant digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are possible")
}

/// Adds one duration.
pub fn record(histogram: &mut Histogram<u64>, duration: Duration) {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    histogram.record(nanos).expect("the histogram grows as needed");
}

/// Milliseconds at `quantile` of a histogram of nanoseconds.
pub fn millis(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sleeper {
        calls: u32,
        fails_at: Option<u32>,
    }

    impl Caller for Sleeper {
        async fn call(&mut self) -> Result<()> {
            self.calls += 1;
            ensure!(self.fails_at != Some(self.calls), "call {} failed", self.calls);
            tokio::time::sleep(Duration::from_millis(2)).await;
            Ok(())
        }
    }

    const WINDOW: Window =
        Window { warm_up: Duration::from_millis(20), measured: Duration::from_millis(100) };

    #[tokio::test]
    async fn the_calls_of_all_callers_are_counted_without_the_warm_up() {
        let sleepers = |count| (0..count).map(|_| Sleeper { calls: 0, fails_at: None }).collect();
        let load = closed_loop(sleepers(4), WINDOW).await.unwrap();
        let calls = load.rate / 10.0;
        // A call takes at least two milliseconds.
        assert!((1.0..=200.0).contains(&calls), "{calls}");
        // Each caller may have one call without an answer at the end.
        let waits = load.latencies.len() as f64;
        assert!((calls..=calls + 4.0).contains(&waits), "{calls} calls, {waits} waits");
        assert!(load.latencies.max() >= 1_900_000, "{}", load.latencies.max());
    }

    #[tokio::test]
    async fn a_call_without_an_answer_is_recorded_with_its_wait() {
        struct Slow(Sleeper);

        impl Caller for Slow {
            async fn call(&mut self) -> Result<()> {
                self.0.call().await?;
                if self.0.calls == 2 {
                    tokio::time::sleep(Duration::from_millis(600)).await;
                }
                Ok(())
            }
        }

        let window = Window { warm_up: Duration::ZERO, measured: Duration::from_millis(500) };
        let load = closed_loop(vec![Slow(Sleeper { calls: 0, fails_at: None })], window).await;
        let load = load.unwrap();
        assert_eq!(load.latencies.len(), 2, "the one that was answered and the one that was not");
        assert!(load.latencies.max() > 250_000_000, "{}", load.latencies.max());
    }

    #[tokio::test]
    async fn one_failed_call_voids_the_measurement() {
        let callers =
            vec![Sleeper { calls: 0, fails_at: None }, Sleeper { calls: 0, fails_at: Some(3) }];
        let error = closed_loop(callers, WINDOW).await.unwrap_err();
        assert_eq!(error.to_string(), "call 3 failed");
    }
}

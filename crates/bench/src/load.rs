//! A closed loop of callers: each begins its next call when its last one has ended.
//!
//! Criterion measures functions, one at a time; a store is asked by many at once, and what counts
//! then is how much gets done and how long the slowest wait.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

/// Someone who asks again and again.
pub trait Caller: Send + 'static {
    /// Asks once and waits for the answer.
    ///
    /// # Errors
    /// The answer is not as it should be; the measurement is void.
    fn call(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// How long a load lasts.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Calls that end in this time are not counted: connections open, statements are prepared.
    pub warm_up: Duration,
    /// Calls that end in the time after it are.
    pub measured: Duration,
}

/// What a load has done.
#[derive(Clone, Debug)]
pub struct Load {
    /// Calls per second, of all callers.
    pub rate: f64,
    /// How long the calls took, in nanoseconds.
    pub latencies: Histogram<u64>,
}

/// Lets `callers` ask for the length of `window`.
///
/// # Errors
/// The first call that failed.
pub async fn closed_loop<C: Caller>(callers: Vec<C>, window: Window) -> Result<Load> {
    let from = Instant::now() + window.warm_up;
    let until = from + window.measured;
    let mut running = JoinSet::new();
    for caller in callers {
        running.spawn(ask(caller, from, until));
    }
    let mut latencies = histogram();
    while let Some(ended) = running.join_next().await {
        latencies.add(ended.context("a caller died")??).context("histograms of one kind")?;
    }
    ensure!(!latencies.is_empty(), "no call ended within {:?}", window.measured);
    Ok(Load { rate: latencies.len() as f64 / window.measured.as_secs_f64(), latencies })
}

async fn ask<C: Caller>(mut caller: C, from: Instant, until: Instant) -> Result<Histogram<u64>> {
    let mut latencies = histogram();
    loop {
        let asked = Instant::now();
        if asked >= until {
            return Ok(latencies);
        }
        caller.call().await?;
        let answered = Instant::now();
        if answered >= from && answered < until {
            record(&mut latencies, answered - asked);
        }
    }
}

/// A histogram of nanoseconds with an error of at most one in a thousand.
pub fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are possible")
}

/// Adds one duration.
pub fn record(histogram: &mut Histogram<u64>, duration: Duration) {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    histogram.record(nanos).expect("the histogram grows as needed");
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
    async fn callers_add_up_and_the_warm_up_does_not_count() {
        let sleepers = |count| (0..count).map(|_| Sleeper { calls: 0, fails_at: None }).collect();
        let load = closed_loop(sleepers(4), WINDOW).await.unwrap();
        let calls = load.latencies.len();
        // Nobody sleeps less than two milliseconds.
        assert!((1..=200).contains(&calls), "{calls}");
        assert!((load.rate - calls as f64 * 10.0).abs() < 1e-6, "{}", load.rate);
        assert!(load.latencies.min() >= 1_900_000, "{}", load.latencies.min());
    }

    #[tokio::test]
    async fn one_call_that_fails_voids_the_measurement() {
        let callers =
            vec![Sleeper { calls: 0, fails_at: None }, Sleeper { calls: 0, fails_at: Some(3) }];
        let error = closed_loop(callers, WINDOW).await.unwrap_err();
        assert_eq!(error.to_string(), "call 3 failed");
    }
}

//! A closed loop of concurrent callers, each of which begins its next call when its last has ended.

use std::{future::Future, ops::Sub, time::Duration};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

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
    /// A caller ends after as many counted calls, even if the time has not passed.
    pub max_calls: u64,
}

impl Window {
    /// The duration of a smoke test: two calls of each caller, and a bound on their time.
    pub const SMOKE: Self =
        Self { warm_up: Duration::ZERO, measured: Duration::from_secs(60), max_calls: 2 };

    /// A duration of any number of calls.
    pub const fn timed(warm_up: Duration, measured: Duration) -> Self {
        Self { warm_up, measured, max_calls: u64::MAX }
    }

    /// The measured time, if the warm-up begins now on the runtime's clock.
    pub fn begin(self) -> Span {
        let from = Instant::now() + self.warm_up;
        Span { from, until: from + self.measured, max_calls: self.max_calls }
    }
}

/// The measured time.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Its begin, inclusive.
    pub from: Instant,
    /// Its end, exclusive.
    pub until: Instant,
    /// See [`Window::max_calls`].
    pub max_calls: u64,
}

impl Span {
    /// Whether `instant` is in it.
    pub fn contains(self, instant: Instant) -> bool {
        self.from <= instant && instant < self.until
    }

    /// Whether a caller with `calls` counted calls ends at `instant`.
    pub fn is_over(self, instant: Instant, calls: u64) -> bool {
        instant >= self.until || calls >= self.max_calls
    }

    /// The seconds of it that have passed.
    pub fn seconds(self) -> f64 {
        (Instant::now().min(self.until) - self.from).as_secs_f64()
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
    let span = window.begin();
    let mut running = JoinSet::new();
    for caller in callers {
        running.spawn(run_caller(caller, span));
    }
    let (each, processor) = join(running, span, || Ok(ProcessorTime::until_now()?.own)).await?;
    let seconds = span.seconds();
    let (mut calls, mut latencies) = (0_u32, histogram());
    for (own_calls, own_latencies) in each {
        calls += own_calls;
        latencies.add(own_latencies).context("histograms of one kind")?;
    }
    ensure!(calls > 0, "no call ended within {:?}", window.measured);
    Ok(Load { rate: f64::from(calls) / seconds, processor_per_call: processor / calls, latencies })
}

/// Waits until all callers have ended. Returns their results, and by how much `counter` grew in
/// `span`, or until all had ended if that was earlier.
///
/// # Errors
/// The first error of a caller, or an error of `counter`.
pub async fn join<T: 'static, N: Sub<Output = N> + Send + 'static>(
    running: JoinSet<Result<T>>,
    span: Span,
    counter: impl Fn() -> Result<N> + Send + 'static,
) -> Result<(Vec<T>, N)> {
    let (callers, all_ended) = oneshot::channel::<()>();
    let growth = tokio::spawn(async move {
        sleep_until(span.from).await;
        let before = counter()?;
        // An error means that the sender was dropped.
        let _ = timeout_at(span.until, all_ended).await;
        anyhow::Ok(counter()? - before)
    });
    let results = results(running).await?;
    drop(callers);
    Ok((results, growth.await.context("the counter panicked")??))
}

/// The results of all callers, when they have ended.
///
/// # Errors
/// The first error of a caller.
pub async fn results<T: 'static>(mut running: JoinSet<Result<T>>) -> Result<Vec<T>> {
    let mut results = Vec::new();
    while let Some(ended) = running.join_next().await {
        results.push(ended.context("a caller panicked")??);
    }
    Ok(results)
}

/// The number of calls that end in `span`, and their latencies.
async fn run_caller<C: Caller>(mut caller: C, span: Span) -> Result<(u32, Histogram<u64>)> {
    let (mut calls, mut latencies) = (0_u32, histogram());
    loop {
        let asked = Instant::now();
        if span.is_over(asked, calls.into()) {
            return Ok((calls, latencies));
        }
        caller.call().await?;
        let answered = Instant::now();
        if answered >= span.from {
            calls += u32::from(answered < span.until);
            record(&mut latencies, answered.min(span.until) - asked);
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
        /// The length of each call.
        wait: Duration,
        calls: u32,
        fails_at: Option<u32>,
    }

    impl Sleeper {
        const fn new(wait: Duration) -> Self {
            Self { wait, calls: 0, fails_at: None }
        }
    }

    impl Caller for Sleeper {
        async fn call(&mut self) -> Result<()> {
            self.calls += 1;
            ensure!(self.fails_at != Some(self.calls), "call {} failed", self.calls);
            tokio::time::sleep(self.wait).await;
            Ok(())
        }
    }

    const SHORT: Duration = Duration::from_millis(2);
    const WINDOW: Window = Window::timed(Duration::from_millis(20), Duration::from_millis(100));

    fn sleepers(wait: Duration) -> Vec<Sleeper> {
        (0..4).map(|_| Sleeper::new(wait)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_calls_of_all_callers_are_counted_without_the_warm_up() {
        let load = closed_loop(sleepers(SHORT), WINDOW).await.unwrap();
        let calls = load.rate / 10.0;
        // A caller has calls that end at 20, 22, … 118 ms, and one without an answer at the end.
        assert_eq!((calls, load.latencies.len()), (200.0, 204));
        let longest = load.latencies.max();
        assert!((2_000_000..2_010_000).contains(&longest), "{longest}");
    }

    #[tokio::test(start_paused = true)]
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

        let window = Window::timed(Duration::ZERO, Duration::from_millis(500));
        let load = closed_loop(vec![Slow(Sleeper::new(SHORT))], window).await.unwrap();
        assert_eq!(load.latencies.len(), 2, "the one that was answered and the one that was not");
        let longest = load.latencies.max();
        assert!((498_000_000..499_000_000).contains(&longest), "{longest}");
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_smoke_test_callers_end_after_two_calls_or_after_a_minute() {
        let millis = Duration::from_millis;
        // Of 40 seconds, the first call ends in the minute, and the second does not.
        for (wait, calls, seconds) in
            [(millis(2), 8.0, 0.004), (millis(7_000), 8.0, 14.0), (millis(40_000), 4.0, 60.0)]
        {
            let load = closed_loop(sleepers(wait), Window::SMOKE).await.unwrap();
            assert_eq!((load.rate, load.latencies.len()), (calls / seconds, 8), "{wait:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_counter_grows_until_the_end_of_the_time_or_of_the_callers() {
        let start = Instant::now();
        for (window, callers_take, expected) in [
            (Window::timed(Duration::from_secs(1), Duration::from_secs(5)), 9, 5),
            (Window::SMOKE, 9, 9),
        ] {
            let span = window.begin();
            let mut running = JoinSet::new();
            running.spawn(async move {
                tokio::time::sleep(Duration::from_secs(callers_take)).await;
                anyhow::Ok("ended")
            });
            let (results, growth) = join(running, span, move || Ok(start.elapsed())).await.unwrap();
            assert_eq!((results, growth), (vec!["ended"], Duration::from_secs(expected)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_failed_call_voids_the_measurement() {
        let mut callers = sleepers(SHORT);
        callers[1].fails_at = Some(3);
        let error = closed_loop(callers, WINDOW).await.unwrap_err();
        assert_eq!(error.to_string(), "call 3 failed");
    }
}

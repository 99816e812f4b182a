//! The retry loop of operations and transactions.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use super::{Deadline, DeadlinePassed, Observer, RetryPolicy, SilentObserver};
use crate::{Cause, Clock, Outcome, StoreError, SystemClock};

/// One attempt of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The operation's name, for errors, spans and metrics.
    pub op: &'static str,
    /// 1 for the first attempt.
    pub number: u32,
    /// The deadline of the caller. The adapter ends each wait of the attempt at this time with the
    /// outcome that is then known ([`Runner::until`]).
    pub deadline: Deadline,
}

impl Attempt {
    /// The first attempt, without a deadline.
    pub const fn first(op: &'static str) -> Self {
        Self { op, number: 1, deadline: Deadline::NEVER }
    }
}

/// The retry loop of operations and transactions.
///
/// An attempt is repeated if and only if it certainly wrote nothing and a later one may succeed:
/// after a lost conflict, or a connection failure before COMMIT was sent
/// (temporal-persistence.md#retries). A failed condition, an exceeded limit and a lost answer to
/// COMMIT end the loop.
pub struct Runner {
    policy: RetryPolicy,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    random: Mutex<fastrand::Rng>,
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// The builder of a [`Runner`].
#[derive(Debug)]
pub struct RunnerBuilder(Runner);

impl RunnerBuilder {
    /// Sets the retry policy. Default: [`RetryPolicy::default`].
    #[must_use]
    pub fn policy(mut self, policy: RetryPolicy) -> Self {
        self.0.policy = policy;
        self
    }

    /// Sets the clock. Default: [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.0.clock = clock;
        self
    }

    /// Sets the observer. Default: [`SilentObserver`].
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.0.observer = observer;
        self
    }

    /// Seeds the random waits, so that they are reproducible. Default: a new seed for every runner.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.0.random = Mutex::new(fastrand::Rng::with_seed(seed));
        self
    }

    /// Builds the runner.
    pub fn build(self) -> Runner {
        self.0
    }
}

impl Default for Runner {
    fn default() -> Self {
        Self::builder().build()
    }
}

impl Runner {
    /// A builder with the defaults.
    pub fn builder() -> RunnerBuilder {
        RunnerBuilder(Runner {
            policy: RetryPolicy::default(),
            clock: Arc::new(SystemClock),
            observer: Arc::new(SilentObserver),
            random: Mutex::default(),
        })
    }

    /// Runs `attempt` until it succeeds or must not be repeated. For single statements: they are
    /// transactions of their own, which can lose conflicts (aurora-dsql.md#conflicts).
    ///
    /// # Errors
    /// The first error that must not be repeated, or the last one before the deadline.
    pub async fn retry<T, F>(
        &self,
        op: &'static str,
        attempt: impl FnMut(Attempt) -> F + Send,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
        T: Send,
    {
        self.retry_until(Deadline::NEVER, op, attempt).await
    }

    /// [`retry`](Self::retry) for a caller who waits until `deadline`. No attempt and no wait begins
    /// after it. A running attempt is not ended here, because only the attempt knows what has been
    /// sent: it uses [`until`](Self::until).
    ///
    /// # Errors
    /// As [`retry`](Self::retry); and [`StoreError::Unavailable`] with [`DeadlinePassed`] if the
    /// deadline had passed before the first attempt.
    pub async fn retry_until<T, F>(
        &self,
        deadline: Deadline,
        op: &'static str,
        attempt: impl FnMut(Attempt) -> F + Send,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
        T: Send,
    {
        let mut result = None;
        let operation = async { result = Some(self.attempts(deadline, op, attempt).await) };
        self.observer.instrument(op, Box::pin(operation)).await;
        result.expect("an observer runs the operation to its end")
    }

    async fn attempts<T, F>(
        &self,
        deadline: Deadline,
        op: &'static str,
        mut attempt: impl FnMut(Attempt) -> F + Send,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let start = self.clock.now();
        let mut number = 0;
        loop {
            number += 1;
            let result = if self.remaining(deadline).is_zero() {
                Err(deadline_passed(op, Outcome::NotApplied))
            } else {
                attempt(Attempt { op, number, deadline }).await
            };
            let elapsed = self.clock.now().saturating_sub(start);
            let error = match result {
                Ok(value) => {
                    self.observer.on_end(op, number, elapsed, None);
                    return Ok(value);
                }
                Err(error) => error,
            };
            let backoff = self.backoff(number);
            let is_late =
                elapsed + backoff >= self.policy.deadline || backoff >= self.remaining(deadline);
            if is_late || !may_repeat(&error) {
                let error = with_attempts(error, op, number);
                self.observer.on_end(op, number, elapsed, Some(&error));
                return Err(error);
            }
            self.observer.on_retry(op, number, &error, backoff);
            self.clock.sleep(backoff).await;
        }
    }

    /// The deadline that is `limit` from now.
    pub fn deadline(&self, limit: Duration) -> Deadline {
        Deadline::at(self.clock.now().saturating_add(limit))
    }

    /// The time until `deadline`; zero if it has passed.
    pub fn remaining(&self, deadline: Deadline) -> Duration {
        if deadline == Deadline::NEVER {
            return Duration::MAX;
        }
        deadline.time().saturating_sub(self.clock.now())
    }

    /// Awaits `work` until `deadline`, and drops it then. If the deadline has passed already, `work`
    /// is not polled.
    ///
    /// # Errors
    /// Those of `work`; [`StoreError::Unavailable`] with [`DeadlinePassed`] at the deadline. Its
    /// outcome is `ended` if `work` was polled, and [`Outcome::NotApplied`] otherwise.
    pub async fn until<T>(
        &self,
        deadline: Deadline,
        op: &'static str,
        ended: Outcome,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if deadline == Deadline::NEVER {
            return work.await;
        }
        let remaining = self.remaining(deadline);
        if remaining.is_zero() {
            return Err(deadline_passed(op, Outcome::NotApplied));
        }
        let mut work = pin!(work);
        let mut alarm = self.clock.sleep(remaining);
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => alarm.as_mut().poll(context).map(|()| Err(deadline_passed(op, ended))),
        })
        .await
    }

    fn backoff(&self, attempt: u32) -> Duration {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        self.policy.backoff(attempt, random.f64())
    }
}

fn deadline_passed(op: &'static str, outcome: Outcome) -> StoreError {
    StoreError::Unavailable { op, outcome, source: Some(Cause::new(DeadlinePassed)) }
}

fn may_repeat(error: &StoreError) -> bool {
    error.is_transient() && error.outcome() == Outcome::NotApplied
}

fn with_attempts(error: StoreError, op: &'static str, attempts: u32) -> StoreError {
    match error {
        StoreError::Conflict { source, .. } => StoreError::Conflict { op, attempts, source },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, time::Duration};

    use mockall::{Sequence, mock};
    use temporal_dsql_domain::Table;

    use super::*;
    use crate::{
        BoxFuture, ConditionFailed,
        limits::LimitKind,
        testing::{conflict, unavailable},
    };

    /// Runs attempts with the results of `script`. Returns the result and the number of attempts.
    async fn run_script(script: Vec<Result<(), StoreError>>) -> (Result<(), StoreError>, u32) {
        let runner = Runner::builder().seed(1).build();
        let mut script = VecDeque::from(script);
        let mut attempts = 0;
        let result = runner
            .retry("Script", |attempt| {
                attempts += 1;
                assert_eq!((attempt.op, attempt.number), ("Script", attempts));
                std::future::ready(script.pop_front().unwrap_or_else(|| Err(conflict())))
            })
            .await;
        (result, attempts)
    }

    #[tokio::test(start_paused = true)]
    async fn a_definite_conflict_is_repeated_until_it_succeeds() {
        let (result, attempts) = run_script(vec![Err(conflict()), Err(conflict()), Ok(())]).await;
        assert!(result.is_ok());
        assert_eq!(attempts, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_before_commit_is_repeated() {
        let (result, attempts) =
            run_script(vec![Err(unavailable(Outcome::NotApplied)), Ok(())]).await;
        assert!(result.is_ok());
        assert_eq!(attempts, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_else_is_repeated() {
        let definite = [
            unavailable(Outcome::Unknown),
            ConditionFailed::CurrentExecution { observed: None }.into(),
            StoreError::AlreadyExists { table: Table::Executions, source: None },
            StoreError::Limit { kind: LimitKind::TransactionRows, source: None },
            StoreError::InvalidArgument { field: "x", reason: String::new(), source: None },
            StoreError::Unauthorized { op: "Op", source: None },
            StoreError::Unsupported { op: "Op", source: None },
            StoreError::Corrupt { table: Table::Executions, column: "data", source: None },
        ];
        for error in definite {
            let (result, attempts) = run_script(vec![Err(error.clone()), Ok(())]).await;
            assert_eq!(result.unwrap_err().to_string(), error.to_string());
            assert_eq!(attempts, 1, "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_deadline_the_last_conflict_is_returned_with_the_number_of_attempts() {
        let start = tokio::time::Instant::now();
        let (result, attempts) = run_script(Vec::new()).await;
        let Err(StoreError::Conflict { op, attempts: reported, .. }) = result else {
            panic!("expected a conflict, got {result:?}");
        };
        assert_eq!((op, reported), ("Script", attempts));
        assert!(attempts > 10, "{attempts}");
        let deadline = RetryPolicy::default().deadline;
        assert!(start.elapsed() <= deadline, "{:?}", start.elapsed());
        assert!(start.elapsed() > deadline / 2, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_policy_without_a_deadline_tries_once() {
        let runner = Runner::builder().policy(RetryPolicy::NEVER).build();
        let result: Result<(), _> =
            runner.retry("Once", |_| std::future::ready(Err(conflict()))).await;
        assert!(matches!(result, Err(StoreError::Conflict { attempts: 1, .. })));
    }

    mock! {
        Log {}

        impl Observer for Log {
            fn on_retry(
                &self,
                op: &'static str,
                attempt: u32,
                error: &StoreError,
                backoff: Duration,
            );
            fn on_end<'a>(
                &self,
                op: &'static str,
                attempts: u32,
                elapsed: Duration,
                error: Option<&'a StoreError>,
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_observer_receives_every_retry_and_the_end() {
        let (mut observer, mut order) = (MockLog::new(), Sequence::new());
        for failed in 1..=2 {
            observer
                .expect_on_retry()
                .withf(move |op, attempt, _, _| (op, *attempt) == ("Update", failed))
                .times(1)
                .in_sequence(&mut order)
                .return_const(());
        }
        observer
            .expect_on_end()
            .withf(|op, attempts, _, error| (op, *attempts) == ("Update", 3) && error.is_none())
            .times(1)
            .in_sequence(&mut order)
            .return_const(());
        let runner = Runner::builder().observer(Arc::new(observer)).seed(1).build();
        let mut failures = vec![conflict(), conflict()];
        let attempt = |_| std::future::ready(failures.pop().map_or(Ok(()), Err));
        runner.retry("Update", attempt).await.unwrap();
    }

    /// Records the calls of `instrument`, and runs the operation in a future of its own.
    #[derive(Default)]
    struct Wrapping(Arc<Mutex<Vec<String>>>);

    impl Observer for Wrapping {
        fn instrument<'a>(
            &self,
            op: &'static str,
            operation: BoxFuture<'a, ()>,
        ) -> BoxFuture<'a, ()> {
            let log = Arc::clone(&self.0);
            Box::pin(async move {
                log.lock().unwrap().push(format!("{op} begins"));
                operation.await;
                log.lock().unwrap().push(format!("{op} ends"));
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_observer_wraps_all_attempts_of_an_operation() {
        let observer = Wrapping::default();
        let log = Arc::clone(&observer.0);
        let runner = Runner::builder().observer(Arc::new(observer)).seed(1).build();
        let mut failures = vec![conflict()];
        let attempt = |attempt: Attempt| {
            log.lock().unwrap().push(format!("attempt {}", attempt.number));
            std::future::ready(failures.pop().map_or(Ok(()), Err))
        };
        runner.retry("Update", attempt).await.unwrap();
        assert_eq!(
            *log.lock().unwrap(),
            ["Update begins", "attempt 1", "attempt 2", "Update ends"]
        );
    }
}

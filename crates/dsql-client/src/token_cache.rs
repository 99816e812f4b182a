//! The token cache: keeps a token for most of its lifetime.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use tokio::time::{Instant, timeout};

use crate::token::{Token, TokenError, TokenSource};

/// The counter of IAM tokens that could not be made, in the `metrics` facade.
pub const TOKEN_REFRESH_FAILURES: &str = "dsql_token_refresh_failures_total";

/// The part of its lifetime after which a token is replaced.
const REFRESH_AT: f64 = 0.8;
/// After a failed refresh, the old token is used for this long before the next attempt.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// A refresh without an answer fails after this time. It is less than the default timeout of a
/// connection (10 s), so that the caller still connects with the old token, and less than
/// [`EXPIRY_MARGIN`], so that this token is still valid.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(5);
/// A token this close to its expiry is not used: the clock of the server may be ahead.
const EXPIRY_MARGIN: Duration = Duration::from_secs(10);

/// A [`TokenSource`] that caches the tokens of another one.
///
/// The token is replaced ahead of its expiry, by the first caller that finds it old; meanwhile other
/// callers use the old one. If the replacement fails, or has no answer within five seconds, the old
/// token stays in use while it is valid, the failure is logged and counted, and the next attempt is
/// five seconds later. A token or a failure that is later than the wall clock is forgotten: the clock
/// was set back.
pub struct CachedTokenSource<S, C = fn() -> SystemTime> {
    source: S,
    now: C,
    refresh_timeout: Duration,
    state: Mutex<State>,
    // Held by the caller that gets a token; callers without a valid one wait for it.
    refresh: tokio::sync::Mutex<()>,
}

impl<S: fmt::Debug, C> fmt::Debug for CachedTokenSource<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedTokenSource").field("source", &self.source).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    /// The token, and the wall clock before it was made.
    token: Option<(Token, SystemTime)>,
    /// The wait for the next replacement, or for the next attempt at it.
    wait: Option<Wait>,
    /// The error of the last attempt, if it failed.
    failure: Option<TokenError>,
}

/// A wait by two clocks: the wall clock can be set, and the monotonic clock can stop while the machine
/// is suspended.
struct Wait {
    wall: SystemTime,
    monotonic: Instant,
    length: Duration,
}

impl Wait {
    /// Whether it is over by either clock, or began later than `now`.
    fn is_over(&self, now: SystemTime) -> bool {
        self.monotonic.elapsed() >= self.length
            || now.duration_since(self.wall).ok().is_none_or(|passed| passed >= self.length)
    }
}

/// An attempt at a token, which has failed when this is dropped. Its caller may give up before the
/// source answers; then there is no error.
struct FailedAttempt<'a, S: TokenSource, C: Fn() -> SystemTime + Send + Sync> {
    cache: &'a CachedTokenSource<S, C>,
    error: Option<TokenError>,
}

impl<S: TokenSource, C: Fn() -> SystemTime + Send + Sync> Drop for FailedAttempt<'_, S, C> {
    fn drop(&mut self) {
        metrics::counter!(TOKEN_REFRESH_FAILURES).increment(1);
        let (wall, monotonic) = ((self.cache.now)(), Instant::now());
        let mut state = self.cache.state();
        state.wait = Some(Wait { wall, monotonic, length: RETRY_AFTER });
        state.failure = self.error.take();
    }
}

impl<S: TokenSource> CachedTokenSource<S> {
    /// Caches the tokens of `source`.
    pub fn new(source: S) -> Self {
        Self::with_clock(source, SystemTime::now)
    }

    /// Fails a refresh after `limit` if that is less than five seconds.
    pub(crate) fn refresh_within(mut self, limit: Duration) -> Self {
        self.refresh_timeout = self.refresh_timeout.min(limit);
        self
    }
}

impl<S: TokenSource, C: Fn() -> SystemTime + Send + Sync> CachedTokenSource<S, C> {
    fn with_clock(source: S, now: C) -> Self {
        let refresh_timeout = REFRESH_TIMEOUT;
        let (state, refresh) = Default::default();
        Self { source, now, refresh_timeout, state, refresh }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cached token, if it is valid, and whether it is time to replace it.
    fn cached(&self) -> (Option<Token>, bool) {
        let now = (self.now)();
        let state = self.state();
        let token = state.token.clone().filter(|(token, made)| {
            // One that is made later than now is refused until the clock of the server is there.
            *made <= now && now + EXPIRY_MARGIN < token.expires
        });
        let due = state.wait.as_ref().is_none_or(|wait| wait.is_over(now));
        (token.map(|(token, _)| token), due)
    }

    async fn replace(&self) -> Result<Token, TokenError> {
        let (wall, monotonic) = ((self.now)(), Instant::now());
        let mut attempt = FailedAttempt { cache: self, error: None };
        let token = self.source.token().await.inspect_err(|error| {
            attempt.error = Some(error.clone());
        })?;
        std::mem::forget(attempt);
        let life = token.expires.duration_since(wall).unwrap_or_default();
        let mut state = self.state();
        state.wait = Some(Wait { wall, monotonic, length: life.mul_f64(REFRESH_AT) });
        state.token = Some((token.clone(), wall));
        state.failure = None;
        Ok(token)
    }
}

#[async_trait]
impl<S, C> TokenSource for CachedTokenSource<S, C>
where
    S: TokenSource,
    C: Fn() -> SystemTime + Send + Sync,
{
    async fn token(&self) -> Result<Token, TokenError> {
        match self.cached() {
            (Some(token), false) => Ok(token),
            (Some(token), true) => {
                // One caller refreshes; the others use the old token.
                let Ok(_refreshing) = self.refresh.try_lock() else {
                    return Ok(token);
                };
                let limit = self.refresh_timeout;
                let replaced = timeout(limit, self.replace()).await;
                replaced.unwrap_or(Err(TokenError::NoAnswer(limit))).or_else(|error| {
                    tracing::warn!(%error, "cannot refresh the token; the old one is still valid");
                    Ok(token)
                })
            }
            (None, _) => {
                let _refreshing = self.refresh.lock().await;
                let (token, due) = self.cached();
                if let Some(token) = token {
                    return Ok(token);
                }
                // Callers that waited for a failed attempt do not all repeat it.
                let failure = self.state().failure.clone().filter(|_| !due);
                match failure {
                    Some(error) => Err(error),
                    None => self.replace().await,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicU64, Ordering},
        },
        time::UNIX_EPOCH,
    };

    use mockall::Sequence;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::token::MockTokenSource;

    /// Seconds since the epoch, set by a test.
    #[derive(Clone, Default)]
    struct TestClock(Arc<AtomicU64>);

    impl TestClock {
        fn set(&self, seconds: u64) {
            self.0.store(seconds, Ordering::SeqCst);
        }

        fn now(&self) -> SystemTime {
            UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst))
        }
    }

    type Now = Box<dyn Fn() -> SystemTime + Send + Sync>;

    fn cache<S: TokenSource>(source: S, clock: &TestClock) -> CachedTokenSource<S, Now> {
        let clock = clock.clone();
        CachedTokenSource::with_clock(source, Box::new(move || clock.now()))
    }

    /// A token that is valid for 900 seconds.
    fn token(clock: &TestClock, text: &str) -> Token {
        Token { secret: text.into(), expires: clock.now() + Duration::from_secs(900) }
    }

    fn failure() -> TokenError {
        TokenError::Credentials("the metadata service is away".into())
    }

    /// A source that is called once for each of `results`, in their order; `None` is a failure.
    fn source(
        clock: &TestClock,
        results: impl IntoIterator<Item = Option<&'static str>>,
    ) -> MockTokenSource {
        let mut source = MockTokenSource::new();
        let mut order = Sequence::new();
        for result in results {
            let clock = clock.clone();
            let result = move || result.map(|text| token(&clock, text)).ok_or_else(failure);
            source.expect_token().once().in_sequence(&mut order).returning(result);
        }
        source
    }

    async fn text(cache: &impl TokenSource) -> String {
        cache.token().await.unwrap().secret.expose_secret().to_owned()
    }

    #[tokio::test]
    async fn a_token_is_kept_for_four_fifths_of_its_life_and_then_replaced() {
        let clock = TestClock::default();
        let cache = cache(source(&clock, [Some("1"), Some("2"), Some("3")]), &clock);
        for (second, expected) in [(0, "1"), (719, "1"), (720, "2"), (1_439, "2"), (1_440, "3")] {
            clock.set(second);
            assert_eq!(text(&cache).await, expected, "at {second} s");
        }
    }

    #[tokio::test]
    async fn after_a_failed_refresh_the_old_token_is_used_and_the_next_try_is_seconds_later() {
        let clock = TestClock::default();
        let mut cache = cache(source(&clock, [Some("1")]), &clock);
        text(&cache).await;
        for (second, tries) in [(720, 1), (721, 0), (724, 0), (725, 1), (726, 0), (730, 1)] {
            clock.set(second);
            cache.source = source(&clock, vec![None; tries]);
            assert_eq!(text(&cache).await, "1");
            cache.source.checkpoint();
        }
        clock.set(735);
        cache.source = source(&clock, [Some("2")]);
        assert_eq!(text(&cache).await, "2");
    }

    #[tokio::test]
    async fn an_expired_token_is_never_used_and_the_failure_is_returned() {
        let clock = TestClock::default();
        let cache = cache(source(&clock, [Some("1"), None]), &clock);
        text(&cache).await;
        clock.set(890);
        let error = cache.token().await.unwrap_err();
        assert!(error.to_string().contains("metadata service"), "{error}");
    }

    #[tokio::test]
    async fn after_the_wall_clock_was_set_back_neither_a_token_nor_a_failure_is_kept() {
        let clock = TestClock::default();
        clock.set(1_000);
        let cache = cache(source(&clock, [Some("1"), Some("2"), None, None, Some("3")]), &clock);
        for (second, expected) in [(1_000, "1"), (1_001, "1"), (999, "2"), (1_000, "2")] {
            clock.set(second);
            assert_eq!(text(&cache).await, expected, "at {second} s");
        }
        clock.set(2_000);
        cache.token().await.unwrap_err();
        cache.token().await.unwrap_err();
        clock.set(1_990);
        cache.token().await.unwrap_err();
        clock.set(1_989);
        assert_eq!(text(&cache).await, "3");
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_wall_clock_stands_still_the_monotonic_one_counts() {
        let clock = TestClock::default();
        let cache = cache(source(&clock, [Some("1"), None, Some("2")]), &clock);
        for (advance, expected) in [(0, "1"), (719, "1"), (1, "1"), (4, "1"), (1, "2")] {
            tokio::time::advance(Duration::from_secs(advance)).await;
            assert_eq!(text(&cache).await, expected, "{advance} s later");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_forgotten_when_the_monotonic_clock_says_so() {
        let clock = TestClock::default();
        let cache = cache(source(&clock, [None, Some("1")]), &clock);
        for advance in [0, 4] {
            tokio::time::advance(Duration::from_secs(advance)).await;
            cache.token().await.unwrap_err();
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(text(&cache).await, "1");
    }

    /// Counts its calls, and answers the first one only.
    #[derive(Clone, Default)]
    struct Hanging {
        clock: TestClock,
        calls: Arc<AtomicU64>,
    }

    #[async_trait]
    impl TokenSource for Hanging {
        async fn token(&self) -> Result<Token, TokenError> {
            match self.calls.fetch_add(1, Ordering::SeqCst) {
                0 => Ok(token(&self.clock, "1")),
                _ => std::future::pending().await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_without_an_answer_fails_while_the_old_token_is_valid() {
        let source = Hanging::default();
        let cache = cache(source.clone(), &source.clock);
        text(&cache).await;
        source.clock.set(720);
        for (waited, calls) in [(5, 2), (0, 2), (0, 2)] {
            let start = Instant::now();
            let text = tokio::time::timeout(Duration::from_secs(10), text(&cache)).await;
            assert_eq!(text.unwrap(), "1");
            assert_eq!(start.elapsed().as_secs(), waited);
            assert_eq!(source.calls.load(Ordering::SeqCst), calls);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_whose_caller_gives_up_has_failed() {
        let source = Hanging::default();
        let cache = cache(source.clone(), &source.clock);
        text(&cache).await;
        source.clock.set(720);
        let second = Duration::from_secs(1);
        tokio::time::timeout(second, cache.token()).await.unwrap_err();
        for (advance, calls) in [(0, 2), (4, 2), (1, 3)] {
            tokio::time::advance(advance * second).await;
            assert_eq!(tokio::time::timeout(6 * second, text(&cache)).await.unwrap(), "1");
            assert_eq!(source.calls.load(Ordering::SeqCst), calls);
        }
    }

    /// Counts its calls, and lets other callers run during each. Fails while `is_broken`.
    #[derive(Clone, Default)]
    struct Yielding {
        clock: TestClock,
        calls: Arc<AtomicU64>,
        is_broken: Arc<AtomicBool>,
    }

    #[async_trait]
    impl TokenSource for Yielding {
        async fn token(&self) -> Result<Token, TokenError> {
            tokio::task::yield_now().await;
            self.calls.fetch_add(1, Ordering::SeqCst);
            match self.is_broken.load(Ordering::SeqCst) {
                true => Err(failure()),
                false => Ok(token(&self.clock, "token")),
            }
        }
    }

    /// The results of twenty callers that ask for a token at the same time.
    async fn call_together(
        cache: &Arc<CachedTokenSource<Yielding, Now>>,
    ) -> Vec<Result<Token, TokenError>> {
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let cache = Arc::clone(cache);
            callers.spawn(async move { cache.token().await });
        }
        callers.join_all().await
    }

    #[tokio::test]
    async fn callers_that_arrive_together_share_one_refresh() {
        let source = Yielding::default();
        let cache = Arc::new(cache(source.clone(), &source.clock));
        for (second, expected) in [(0, 1), (800, 2)] {
            source.clock.set(second);
            call_together(&cache).await.into_iter().for_each(|result| drop(result.unwrap()));
            assert_eq!(source.calls.load(Ordering::SeqCst), expected);
        }
    }

    #[tokio::test]
    async fn callers_that_arrive_together_share_one_failure_and_the_next_try_is_seconds_later() {
        let source = Yielding::default();
        source.is_broken.store(true, Ordering::SeqCst);
        let cache = Arc::new(cache(source.clone(), &source.clock));
        for (second, tries) in [(0, 1), (4, 1), (5, 2)] {
            source.clock.set(second);
            call_together(&cache).await.into_iter().for_each(|result| drop(result.unwrap_err()));
            assert_eq!(source.calls.load(Ordering::SeqCst), tries, "at {second} s");
        }
        source.is_broken.store(false, Ordering::SeqCst);
        source.clock.set(10);
        assert_eq!(text(&*cache).await, "token");
    }
}

//! The token cache: keeps a token for most of its lifetime.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;

use crate::token::{Token, TokenError, TokenSource};

/// The counter of IAM tokens that could not be made, in the `metrics` facade.
pub const TOKEN_REFRESH_FAILURES: &str = "dsql_token_refresh_failures_total";

/// The part of its lifetime after which a token is replaced.
const REFRESH_AT: f64 = 0.8;
/// After a failed refresh, the old token is used for this long before the next attempt.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// A token this close to its expiry is not used: the clock of the server may be ahead.
const EXPIRY_MARGIN: Duration = Duration::from_secs(10);

/// A [`TokenSource`] that caches the tokens of another one.
///
/// The token is replaced ahead of its expiry, by the first caller that finds it old; meanwhile other
/// callers use the old one. If the replacement fails, the old token stays in use while it is valid,
/// the failure is logged and counted, and the next attempt is five seconds later.
pub struct CachedTokenSource<S, C = fn() -> SystemTime> {
    source: S,
    now: C,
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
    token: Option<Token>,
    /// The time of the next replacement, or of the next attempt at it.
    refresh_at: Option<SystemTime>,
    /// The error of the last attempt, if it failed.
    failure: Option<TokenError>,
}

impl<S: TokenSource> CachedTokenSource<S> {
    /// Caches the tokens of `source`.
    pub fn new(source: S) -> Self {
        Self::with_clock(source, SystemTime::now)
    }
}

impl<S: TokenSource, C: Fn() -> SystemTime + Send + Sync> CachedTokenSource<S, C> {
    fn with_clock(source: S, now: C) -> Self {
        Self { source, now, state: Mutex::default(), refresh: tokio::sync::Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cached token, if it is valid, and whether it is time to replace it.
    fn cached(&self) -> (Option<Token>, bool) {
        let now = (self.now)();
        let state = self.state();
        let token = state.token.clone().filter(|token| now + EXPIRY_MARGIN < token.expires);
        let due = state.refresh_at.is_none_or(|at| now >= at);
        (token, due)
    }

    async fn replace(&self) -> Result<Token, TokenError> {
        let result = self.source.token().await;
        let now = (self.now)();
        let mut state = self.state();
        match &result {
            Ok(token) => {
                let life = token.expires.duration_since(now).unwrap_or_default();
                state.refresh_at = Some(now + life.mul_f64(REFRESH_AT));
                state.token = Some(token.clone());
                state.failure = None;
            }
            Err(error) => {
                metrics::counter!(TOKEN_REFRESH_FAILURES).increment(1);
                state.refresh_at = Some(now + RETRY_AFTER);
                state.failure = Some(error.clone());
            }
        }
        result
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
                self.replace().await.or_else(|error| {
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

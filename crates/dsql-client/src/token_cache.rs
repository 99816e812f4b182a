//! Keeps a token until it should be replaced.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;

use crate::token::{Token, TokenError, TokenSource};

/// The counter of IAM tokens that could not be made, in the `metrics` facade.
pub const TOKEN_REFRESH_FAILURES: &str = "dsql_token_refresh_failures_total";

/// A token is replaced when this part of its life is over.
const REFRESH_AT: f64 = 0.8;
/// After a failed refresh, the old token is used for this long before the next try.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// A token this close to its end is not used: the server's clock may be ahead of ours.
const LAST_MOMENTS: Duration = Duration::from_secs(10);

/// A [`TokenSource`] that asks another one only when it must.
///
/// The token is replaced ahead of its end, by the first caller that finds it old; meanwhile the
/// others use the one there is. If that fails, the old token stays in use while it is valid, the
/// failure is reported, and the next try is seconds later, not a whole lifetime.
pub struct CachedTokenSource<S, C = fn() -> SystemTime> {
    source: S,
    now: C,
    state: Mutex<State>,
    // Callers that have no valid token wait for the one that gets it.
    refresh: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// When the token should be replaced, or replacing it be tried again.
    refresh_at: Option<SystemTime>,
    /// Why the last try failed, if it did.
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

    fn failure(&self) -> Option<TokenError> {
        self.state().failure.clone()
    }

    /// The token there is, if it may still be used, and whether it should be replaced.
    fn cached(&self) -> (Option<Token>, bool) {
        let now = (self.now)();
        let state = self.state();
        let token = state.token.clone().filter(|token| now + LAST_MOMENTS < token.expires);
        let due = state.refresh_at.is_none_or(|at| now >= at);
        (token, due)
    }

    async fn replace(&self) -> Result<Token, TokenError> {
        match self.source.token().await {
            Ok(token) => {
                let now = (self.now)();
                let life = token.expires.duration_since(now).unwrap_or_default();
                let mut state = self.state();
                state.refresh_at = Some(now + life.mul_f64(REFRESH_AT));
                state.token = Some(token.clone());
                state.failure = None;
                Ok(token)
            }
            Err(error) => {
                metrics::counter!(TOKEN_REFRESH_FAILURES).increment(1);
                let now = (self.now)();
                let mut state = self.state();
                state.refresh_at = Some(now + RETRY_AFTER);
                state.failure = Some(error.clone());
                Err(error)
            }
        }
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
                // One caller refreshes; the others go on with the token there is.
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
                match self.cached() {
                    (Some(token), _) => Ok(token),
                    // Those who have waited for a try that failed do not all try again.
                    (None, false) => match self.failure() {
                        Some(error) => Err(error),
                        None => self.replace().await,
                    },
                    (None, true) => self.replace().await,
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
            atomic::{AtomicU64, Ordering},
        },
        time::UNIX_EPOCH,
    };

    use secrecy::ExposeSecret;

    use super::*;

    /// Seconds since the epoch, turned by hand.
    #[derive(Clone, Default)]
    struct Hand(Arc<AtomicU64>);

    impl Hand {
        fn set(&self, seconds: u64) {
            self.0.store(seconds, Ordering::SeqCst);
        }

        fn now(&self) -> SystemTime {
            UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst))
        }
    }

    /// Numbers its tokens; each lives for 900 seconds. Fails while `broken`.
    struct Numbered {
        hand: Hand,
        made: Arc<AtomicU64>,
        broken: Arc<AtomicU64>,
    }

    #[async_trait]
    impl TokenSource for Numbered {
        async fn token(&self) -> Result<Token, TokenError> {
            tokio::task::yield_now().await;
            if self.broken.load(Ordering::SeqCst) > 0 {
                self.broken.fetch_add(1, Ordering::SeqCst);
                return Err(TokenError::Credentials("the metadata service is away".into()));
            }
            let number = self.made.fetch_add(1, Ordering::SeqCst) + 1;
            Ok(Token {
                secret: format!("token {number}").into(),
                expires: self.hand.now() + Duration::from_secs(900),
            })
        }
    }

    type Clock = Box<dyn Fn() -> SystemTime + Send + Sync>;

    fn cache() -> (CachedTokenSource<Numbered, Clock>, Hand, Arc<AtomicU64>, Arc<AtomicU64>) {
        let hand = Hand::default();
        let (made, broken) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let source = Numbered { hand: hand.clone(), made: made.clone(), broken: broken.clone() };
        let clock = hand.clone();
        let now: Clock = Box::new(move || clock.now());
        (CachedTokenSource::with_clock(source, now), hand, made, broken)
    }

    async fn text(cache: &impl TokenSource) -> String {
        cache.token().await.unwrap().secret.expose_secret().to_owned()
    }

    #[tokio::test]
    async fn a_token_is_kept_for_four_fifths_of_its_life_and_then_replaced() {
        let (cache, hand, _, _) = cache();
        for (second, expected) in [(0, 1), (719, 1), (720, 2), (1_439, 2), (1_440, 3)] {
            hand.set(second);
            assert_eq!(text(&cache).await, format!("token {expected}"), "at {second} s");
        }
    }

    #[tokio::test]
    async fn after_a_failed_refresh_the_old_token_is_used_and_the_next_try_is_seconds_later() {
        let (cache, hand, _, broken) = cache();
        text(&cache).await;
        broken.store(1, Ordering::SeqCst);
        for (second, tries) in [(720, 1), (721, 1), (724, 1), (725, 2), (726, 2), (730, 3)] {
            hand.set(second);
            assert_eq!(text(&cache).await, "token 1");
            assert_eq!(broken.load(Ordering::SeqCst) - 1, tries, "at {second} s");
        }
        broken.store(0, Ordering::SeqCst);
        hand.set(735);
        assert_eq!(text(&cache).await, "token 2");
    }

    #[tokio::test]
    async fn an_expired_token_is_never_used_and_the_failure_is_returned() {
        let (cache, hand, _, broken) = cache();
        text(&cache).await;
        broken.store(1, Ordering::SeqCst);
        hand.set(890);
        let error = cache.token().await.unwrap_err();
        assert!(error.to_string().contains("metadata service"), "{error}");
    }

    #[tokio::test]
    async fn callers_that_arrive_together_share_one_refresh() {
        let (cache, hand, made, _) = cache();
        let cache = Arc::new(cache);
        for (second, expected) in [(0, 1), (800, 2)] {
            hand.set(second);
            let callers: Vec<_> = (0..20)
                .map(|_| {
                    let cache = Arc::clone(&cache);
                    tokio::spawn(async move { cache.token().await.unwrap() })
                })
                .collect();
            for caller in callers {
                caller.await.unwrap();
            }
            assert_eq!(made.load(Ordering::SeqCst), expected);
        }
    }

    #[tokio::test]
    async fn callers_that_arrive_together_share_one_failure_and_the_next_try_is_seconds_later() {
        let (cache, hand, _, broken) = cache();
        broken.store(1, Ordering::SeqCst);
        let cache = Arc::new(cache);
        for (second, tries) in [(0, 1), (4, 1), (5, 2)] {
            hand.set(second);
            let callers: Vec<_> = (0..20)
                .map(|_| {
                    let cache = Arc::clone(&cache);
                    tokio::spawn(async move { cache.token().await.unwrap_err() })
                })
                .collect();
            for caller in callers {
                caller.await.unwrap();
            }
            assert_eq!(broken.load(Ordering::SeqCst) - 1, tries, "at {second} s");
        }
        broken.store(0, Ordering::SeqCst);
        hand.set(10);
        assert_eq!(text(&*cache).await, "token 1");
    }
}

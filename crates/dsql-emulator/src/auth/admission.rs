//! Limits on open connections and on the rate of new ones (aurora-dsql.md#admission).

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use crate::{Limits, Refusal};

/// Admits new connections within the limits.
#[derive(Debug)]
pub(crate) struct Admission {
    max_open: usize,
    open: Arc<AtomicUsize>,
    bucket: Mutex<Bucket>,
}

/// A token bucket: `rate` tokens are added per second, up to `burst`. A new connection takes one.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

/// One of the permitted connections. Dropping it releases the permit.
#[derive(Debug)]
pub(crate) struct ConnectionPermit(Arc<AtomicUsize>);

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            max_open: limits.connections,
            open: Arc::default(),
            bucket: Mutex::new(Bucket {
                rate: limits.connection_rate,
                burst: limits.connection_burst,
                tokens: limits.connection_burst,
                at: Instant::now(),
            }),
        }
    }

    /// Admits one more connection, or returns the refusal for the limit that it exceeds.
    pub(crate) fn admit(&self, now: Instant) -> Result<ConnectionPermit, Refusal> {
        if !self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now) {
            return Err(Refusal::RateExceeded);
        }
        let permit = ConnectionPermit(self.open.clone());
        if self.open.fetch_add(1, Ordering::SeqCst) >= self.max_open {
            return Err(Refusal::TooManyConnections);
        }
        Ok(permit)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now.max(self.at);
        self.tokens = (self.tokens + passed * self.rate).min(self.burst);
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn admission(connections: usize, rate: f64, burst: f64) -> Admission {
        Admission::new(&Limits {
            connections,
            connection_rate: rate,
            connection_burst: burst,
            ..Limits::default()
        })
    }

    #[test]
    fn connections_beyond_the_limit_are_refused_until_one_closes() {
        let admission = admission(2, 1_000.0, 1_000.0);
        let now = Instant::now();
        let first = admission.admit(now).unwrap();
        let _second = admission.admit(now).unwrap();
        assert_eq!(admission.admit(now).unwrap_err(), Refusal::TooManyConnections);
        drop(first);
        admission.admit(now).unwrap();
    }

    #[test]
    fn a_burst_is_admitted_at_once_and_then_the_rate_applies() {
        let admission = admission(1_000, 10.0, 3.0);
        let now = Instant::now();
        let admit = |after| admission.admit(now + Duration::from_millis(after)).map(drop);
        for _ in 0..3 {
            assert_eq!(admit(0), Ok(()));
        }
        assert_eq!(admit(0), Err(Refusal::RateExceeded));
        assert_eq!(admit(99), Err(Refusal::RateExceeded));
        assert_eq!(admit(101), Ok(()));
        assert_eq!(admit(102), Err(Refusal::RateExceeded));
        // The bucket never holds more than a burst.
        for _ in 0..3 {
            assert_eq!(admit(10_000), Ok(()));
        }
        assert_eq!(admit(10_000), Err(Refusal::RateExceeded));
    }
}

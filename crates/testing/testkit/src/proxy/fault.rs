//! The faults of the proxy, and the script that says when each happens.

use std::{fmt, time::Duration};

use dsql_emulator::OccCode;

use super::request::Request;

/// The event that a fault waits for. A request is one round trip: a simple Query, or a batch of the
/// extended protocol up to its Sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// The next COMMIT.
    Commit,
    /// The next COMMIT, or the next statement outside of a transaction that writes, which commits
    /// by itself.
    AnyCommit,
    /// The `n`-th request from now, over all connections; 1 is the next one.
    RoundTrip(u64),
    /// The next request with a SQL text that contains this, even if it only prepares the statement
    /// or runs one that was prepared earlier.
    Matching(String),
    /// The next request that runs a statement whose SQL text contains this.
    Executing(String),
    /// The next session that begins. Nothing has been sent yet: [`WireFault::Conflict`] and
    /// [`WireFault::Error`] refuse the session with a fatal error, [`WireFault::LostRequest`] and
    /// [`WireFault::LostAnswer`] both close the connection, and every hook runs before it begins.
    Connect,
}

/// What happens after a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookAction {
    /// Continue as without a fault.
    Continue,
    /// Close both sides: the request is not forwarded, or its answer is not delivered.
    Close,
}

/// A hook of a test.
pub(super) type Hook = Box<dyn FnOnce() -> HookAction + Send>;

/// A fault of a request on the wire.
///
/// After [`Conflict`](Self::Conflict) and [`Error`](Self::Error) the server is in the state that
/// the client concludes from the answer: COMMIT rolled back, a transaction aborted, or nothing
/// done outside of one.
#[non_exhaustive]
pub enum WireFault {
    /// The server does not get the request; the client gets SQLSTATE 40001.
    Conflict(OccCode),
    /// The server does not get the request; the client gets this error.
    Error {
        /// The SQLSTATE.
        sqlstate: String,
        /// The message.
        message: String,
    },
    /// The server does not get the request; both sides are closed.
    LostRequest,
    /// The server executes the request; its answer is dropped and both sides are closed.
    LostAnswer,
    /// The request is forwarded after this time.
    Delay(Duration),
    /// See [`WireFault::before`].
    Before(Hook),
    /// See [`WireFault::after`].
    After(Hook),
}

impl WireFault {
    /// An error with this SQLSTATE and message.
    pub fn error(sqlstate: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Error { sqlstate: sqlstate.into(), message: message.into() }
    }

    /// Runs `hook` when the request has arrived and before it is forwarded. To kill the client at
    /// this point, kill it in the hook and return [`HookAction::Close`], so that the server never gets
    /// the request.
    pub fn before(hook: impl FnOnce() -> HookAction + Send + 'static) -> Self {
        Self::Before(Box::new(hook))
    }

    /// Runs `hook` when the server has answered and before the client gets any of the answer.
    pub fn after(hook: impl FnOnce() -> HookAction + Send + 'static) -> Self {
        Self::After(Box::new(hook))
    }

    /// SQLSTATE and message of a fault that the client sees as an error.
    pub(super) fn as_error(&self) -> Option<(&str, &str)> {
        match self {
            Self::Conflict(code) => Some(("40001", code.message())),
            Self::Error { sqlstate, message } => Some((sqlstate, message)),
            _ => None,
        }
    }
}

impl fmt::Debug for WireFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(code) => write!(f, "Conflict({code:?})"),
            Self::Error { sqlstate, message } => write!(f, "Error({sqlstate}, {message:?})"),
            Self::LostRequest => f.write_str("LostRequest"),
            Self::LostAnswer => f.write_str("LostAnswer"),
            Self::Delay(time) => write!(f, "Delay({time:?})"),
            Self::Before(_) => f.write_str("Before(hook)"),
            Self::After(_) => f.write_str("After(hook)"),
        }
    }
}

/// The pending faults, oldest first, and the number of requests so far.
#[derive(Debug, Default)]
pub(super) struct Script {
    requests: u64,
    /// [`When::RoundTrip`] contains the absolute number of its request here.
    pending: Vec<(When, WireFault)>,
}

impl Script {
    pub(super) fn inject(&mut self, when: When, fault: WireFault) {
        let when = match when {
            When::RoundTrip(n) => When::RoundTrip(self.requests + n),
            other => other,
        };
        self.pending.push((when, fault));
    }

    /// Counts a request, which is sent inside or outside of a transaction, and removes the oldest
    /// fault that waits for it.
    pub(super) fn next_request(
        &mut self,
        request: &Request,
        outside_transaction: bool,
    ) -> Option<WireFault> {
        self.requests += 1;
        let number = self.requests;
        self.take(|when| match when {
            When::Commit => request.is_commit(),
            When::AnyCommit => request.is_commit() || (outside_transaction && request.writes()),
            When::RoundTrip(n) => *n == number,
            When::Matching(part) => request.mentions(part),
            When::Executing(part) => request.executes(part),
            When::Connect => false,
        })
    }

    /// Removes the oldest fault that waits for a session.
    pub(super) fn next_session(&mut self) -> Option<WireFault> {
        self.take(|when| *when == When::Connect)
    }

    /// How many requests have been counted.
    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    /// How many faults have not happened yet.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    fn take(&mut self, due: impl Fn(&When) -> bool) -> Option<WireFault> {
        let index = self.pending.iter().position(|(when, _)| due(when))?;
        Some(self.pending.remove(index).1)
    }
}

#[cfg(test)]
mod tests {
    use dsql_emulator::wire;

    use super::*;
    use crate::proxy::request::{Chunk, Collector};

    fn next(script: &mut Script, sql: &str) -> Option<String> {
        next_in(script, sql, true)
    }

    fn next_in(script: &mut Script, sql: &str, outside_transaction: bool) -> Option<String> {
        let Some(Chunk::Request(request)) = Collector::default().push(wire::query(sql)) else {
            panic!("a query is a request");
        };
        script.next_request(&request, outside_transaction).map(|fault| format!("{fault:?}"))
    }

    #[test]
    fn a_request_is_counted_from_the_moment_of_injection() {
        let mut script = Script::default();
        next(&mut script, "SELECT 1");
        script.inject(When::RoundTrip(2), WireFault::LostAnswer);
        assert_eq!(next(&mut script, "SELECT 2"), None);
        assert_eq!(next(&mut script, "SELECT 3").unwrap(), "LostAnswer");
        assert_eq!(script.requests(), 3);
        assert_eq!(script.pending(), 0);
    }

    #[test]
    fn faults_for_the_same_request_happen_one_by_one_in_order() {
        let mut script = Script::default();
        script.inject(When::Commit, WireFault::Conflict(OccCode::Oc000));
        script.inject(When::Commit, WireFault::Conflict(OccCode::Oc001));
        script.inject(When::Matching("t1".into()), WireFault::LostRequest);
        assert_eq!(next(&mut script, "SELECT 1"), None);
        assert_eq!(next(&mut script, "commit").unwrap(), "Conflict(Oc000)");
        assert_eq!(next(&mut script, "SELECT * FROM t1").unwrap(), "LostRequest");
        assert_eq!(next(&mut script, "COMMIT").unwrap(), "Conflict(Oc001)");
        assert_eq!(next(&mut script, "COMMIT"), None);
    }

    #[test]
    fn a_write_is_a_commit_only_outside_of_a_transaction() {
        let mut script = Script::default();
        for _ in 0..2 {
            script.inject(When::AnyCommit, WireFault::LostAnswer);
        }
        assert_eq!(next_in(&mut script, "SELECT 1", true), None);
        assert_eq!(next_in(&mut script, "DELETE FROM t", false), None);
        assert_eq!(next_in(&mut script, "COMMIT", false).unwrap(), "LostAnswer");
        assert_eq!(next_in(&mut script, "DELETE FROM t", true).unwrap(), "LostAnswer");
    }

    #[test]
    fn session_faults_and_request_faults_are_separate() {
        let mut script = Script::default();
        script.inject(When::RoundTrip(1), WireFault::LostAnswer);
        script.inject(When::Connect, WireFault::LostRequest);
        assert!(matches!(script.next_session(), Some(WireFault::LostRequest)));
        assert!(script.next_session().is_none());
        assert_eq!(next(&mut script, "SELECT 1").unwrap(), "LostAnswer");
    }
}

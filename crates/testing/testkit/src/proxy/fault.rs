//! Which fault happens when.

use std::{fmt, time::Duration};

use super::unit::Unit;

/// The unit that a fault waits for. A unit is one round trip: a simple Query, or a batch of the
/// extended protocol up to its Sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// The next COMMIT.
    Commit,
    /// The next COMMIT, or the next statement outside of a transaction that writes, which commits
    /// by itself.
    AnyCommit,
    /// The `n`-th unit from now, over all connections; 1 is the next one.
    Unit(u64),
    /// The next unit with a SQL text that contains this, also if it only prepares the statement
    /// or runs one that was prepared earlier.
    Matching(String),
    /// The next unit that runs a statement whose SQL text contains this.
    Executing(String),
    /// The next session that begins. Nothing has been sent yet, so [`Fault::Conflict`] and
    /// [`Fault::Error`] refuse the session with a fatal error, [`Fault::LoseBefore`] and
    /// [`Fault::LoseAfter`] both close the connection, and every hook runs before.
    Connect,
}

/// What a hook wants to happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Go on as if there had been no fault.
    Continue,
    /// Close both sides: the unit is not forwarded, or its answer is not delivered.
    Close,
}

/// DSQL's code of a conflict, which is part of the message (aurora-dsql.md#conflicts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OccCode {
    /// `OC000`: another transaction wrote the same rows.
    Oc000,
    /// `OC001`: another transaction changed the schema.
    Oc001,
}

impl OccCode {
    /// The message, in DSQL's words (aurora-dsql.md#conflicts).
    pub const fn message(self) -> &'static str {
        match self {
            Self::Oc000 => "change conflicts with another transaction (OC000)",
            Self::Oc001 => "schema has been updated by another transaction (OC001)",
        }
    }
}

/// A callback of a test.
pub(super) type Hook = Box<dyn FnOnce() -> Then + Send>;

/// What happens to a unit.
///
/// After [`Conflict`](Self::Conflict) and [`Error`](Self::Error) the server is in the state that
/// the client concludes from the answer: COMMIT rolled back, a transaction aborted, or nothing
/// done outside of one.
#[non_exhaustive]
pub enum Fault {
    /// The server does not see the unit; the client gets SQLSTATE 40001.
    Conflict(OccCode),
    /// The server does not see the unit; the client gets this error.
    Error {
        /// The SQLSTATE.
        sqlstate: String,
        /// The message.
        message: String,
    },
    /// The server does not see the unit; both sides are closed.
    LoseBefore,
    /// The server works the unit off; its answer is dropped and both sides are closed.
    LoseAfter,
    /// The unit is forwarded after this time.
    Delay(Duration),
    /// See [`Fault::before`].
    Before(Hook),
    /// See [`Fault::after`].
    After(Hook),
}

impl Fault {
    /// An error of the server's.
    pub fn error(sqlstate: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Error { sqlstate: sqlstate.into(), message: message.into() }
    }

    /// Runs `hook` when the unit has arrived and before it is forwarded. To kill the client here:
    /// kill it, and return [`Then::Close`], so that the server never sees the unit.
    pub fn before(hook: impl FnOnce() -> Then + Send + 'static) -> Self {
        Self::Before(Box::new(hook))
    }

    /// Runs `hook` when the server has answered and before the client sees any of it.
    pub fn after(hook: impl FnOnce() -> Then + Send + 'static) -> Self {
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

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(code) => write!(f, "Conflict({code:?})"),
            Self::Error { sqlstate, message } => write!(f, "Error({sqlstate}, {message:?})"),
            Self::LoseBefore => f.write_str("LoseBefore"),
            Self::LoseAfter => f.write_str("LoseAfter"),
            Self::Delay(time) => write!(f, "Delay({time:?})"),
            Self::Before(_) => f.write_str("Before(hook)"),
            Self::After(_) => f.write_str("After(hook)"),
        }
    }
}

/// The faults that are still to come, oldest first, and the count of units they are due by.
#[derive(Debug, Default)]
pub(super) struct Script {
    units: u64,
    /// [`When::Unit`] holds the absolute number of its unit here.
    pending: Vec<(When, Fault)>,
}

impl Script {
    pub(super) fn inject(&mut self, when: When, fault: Fault) {
        let when = match when {
            When::Unit(n) => When::Unit(self.units + n),
            other => other,
        };
        self.pending.push((when, fault));
    }

    /// Counts a unit, sent inside of a transaction or outside, and takes the oldest fault that waits
    /// for it.
    pub(super) fn next_unit(&mut self, unit: &Unit, is_outside: bool) -> Option<Fault> {
        self.units += 1;
        let number = self.units;
        self.take(|when| match when {
            When::Commit => unit.is_commit(),
            When::AnyCommit => unit.is_commit() || (is_outside && unit.writes()),
            When::Unit(n) => *n == number,
            When::Matching(part) => unit.mentions(part),
            When::Executing(part) => unit.executes(part),
            When::Connect => false,
        })
    }

    /// Takes the oldest fault that waits for a session.
    pub(super) fn next_session(&mut self) -> Option<Fault> {
        self.take(|when| *when == When::Connect)
    }

    /// How many units have been counted.
    pub(super) fn units(&self) -> u64 {
        self.units
    }

    /// How many faults have not happened yet.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    fn take(&mut self, due: impl Fn(&When) -> bool) -> Option<Fault> {
        let index = self.pending.iter().position(|(when, _)| due(when))?;
        Some(self.pending.remove(index).1)
    }
}

#[cfg(test)]
mod tests {
    use dsql_emulator::wire;

    use super::*;
    use crate::proxy::unit::{Chunk, Collector};

    fn next(script: &mut Script, sql: &str) -> Option<String> {
        next_in(script, sql, true)
    }

    fn next_in(script: &mut Script, sql: &str, is_outside: bool) -> Option<String> {
        let Some(Chunk::Unit(unit)) = Collector::default().push(wire::query(sql)) else {
            panic!("a query is a unit");
        };
        script.next_unit(&unit, is_outside).map(|fault| format!("{fault:?}"))
    }

    #[test]
    fn a_unit_is_counted_from_the_moment_of_injection() {
        let mut script = Script::default();
        next(&mut script, "SELECT 1");
        script.inject(When::Unit(2), Fault::LoseAfter);
        assert_eq!(next(&mut script, "SELECT 2"), None);
        assert_eq!(next(&mut script, "SELECT 3").unwrap(), "LoseAfter");
        assert_eq!(script.units(), 3);
        assert_eq!(script.pending(), 0);
    }

    #[test]
    fn faults_for_the_same_unit_happen_one_by_one_in_order() {
        let mut script = Script::default();
        script.inject(When::Commit, Fault::Conflict(OccCode::Oc000));
        script.inject(When::Commit, Fault::Conflict(OccCode::Oc001));
        script.inject(When::Matching("t1".into()), Fault::LoseBefore);
        assert_eq!(next(&mut script, "SELECT 1"), None);
        assert_eq!(next(&mut script, "commit").unwrap(), "Conflict(Oc000)");
        assert_eq!(next(&mut script, "SELECT * FROM t1").unwrap(), "LoseBefore");
        assert_eq!(next(&mut script, "COMMIT").unwrap(), "Conflict(Oc001)");
        assert_eq!(next(&mut script, "COMMIT"), None);
    }

    #[test]
    fn a_write_is_a_commit_only_outside_of_a_transaction() {
        let mut script = Script::default();
        for _ in 0..2 {
            script.inject(When::AnyCommit, Fault::LoseAfter);
        }
        assert_eq!(next_in(&mut script, "SELECT 1", true), None);
        assert_eq!(next_in(&mut script, "DELETE FROM t", false), None);
        assert_eq!(next_in(&mut script, "COMMIT", false).unwrap(), "LoseAfter");
        assert_eq!(next_in(&mut script, "DELETE FROM t", true).unwrap(), "LoseAfter");
    }

    #[test]
    fn a_session_and_a_unit_do_not_take_each_others_faults() {
        let mut script = Script::default();
        script.inject(When::Unit(1), Fault::LoseAfter);
        script.inject(When::Connect, Fault::LoseBefore);
        assert!(matches!(script.next_session(), Some(Fault::LoseBefore)));
        assert!(script.next_session().is_none());
        assert_eq!(next(&mut script, "SELECT 1").unwrap(), "LoseAfter");
    }
}

//! Transaction control: BEGIN, COMMIT, ROLLBACK and their options (aurora-dsql.md#transactions).

use super::{
    Plan,
    refusals::{self, Place},
};
use crate::sql::{Cursor, Statement};

/// A transaction begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// BEGIN, or START TRANSACTION if `start`, which have different command tags.
    Begin {
        access: Access,
        start: bool,
    },
    Commit,
    Rollback,
}

/// The access mode of a transaction; `Default` is that of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Access {
    #[default]
    Default,
    ReadOnly,
    ReadWrite,
}

pub(super) fn plan(statement: &Statement) -> Plan {
    let mut cursor = Cursor::new(&statement.tokens);
    let start = cursor.skip("START TRANSACTION");
    if start || cursor.skip("BEGIN") {
        return plan_begin(statement, cursor, start);
    }
    let commits = cursor.skip("COMMIT") || cursor.skip("END");
    cursor.next_if_not(commits);
    let _ = cursor.skip("WORK") || cursor.skip("TRANSACTION");
    if let Err(refusal) = refusals::check(Place::TransactionEnd, cursor) {
        return refusal;
    }
    cursor.skip("AND NO CHAIN");
    if !cursor.is_at_end() {
        return Plan::syntax_error(statement, &cursor);
    }
    Plan::Control(if commits { Control::Commit } else { Control::Rollback })
}

fn plan_begin(statement: &Statement, mut cursor: Cursor<'_>, start: bool) -> Plan {
    let _ = cursor.skip("WORK") || cursor.skip("TRANSACTION");
    match modes(statement, cursor) {
        Ok(access) => Plan::Control(Control::Begin { access, start }),
        Err(refusal) => refusal,
    }
}

/// Reads transaction modes: REPEATABLE READ, READ ONLY, READ WRITE.
pub(super) fn modes(statement: &Statement, mut cursor: Cursor<'_>) -> Result<Access, Plan> {
    let mut access = Access::Default;
    while !cursor.is_at_end() {
        if cursor.skip_mark(',') {
            continue;
        }
        if cursor.skip("ISOLATION LEVEL") {
            level(statement, &mut cursor)?;
        } else if cursor.skip("READ ONLY") {
            access = Access::ReadOnly;
        } else if cursor.skip("READ WRITE") {
            access = Access::ReadWrite;
        } else {
            return Err(Plan::syntax_error(statement, &cursor));
        }
    }
    Ok(access)
}

/// Reads an isolation level: only REPEATABLE READ is supported.
fn level(statement: &Statement, cursor: &mut Cursor<'_>) -> Result<(), Plan> {
    if cursor.skip("REPEATABLE READ") {
        return Ok(());
    }
    refusals::check(Place::IsolationLevel, *cursor)?;
    Err(Plan::syntax_error(statement, cursor))
}

//! The messages that begin a transaction and set its savepoints.

use crate::{
    rules::Access,
    wire::{self, Message},
};

/// The prepared statements that begin a transaction: with the defaults of the session, mark it for
/// the triggers and return its snapshot, and set the savepoint at its start.
const BEGIN: (&str, &str) = ("dsql_emulator_begin", "BEGIN ISOLATION LEVEL REPEATABLE READ");
const SNAPSHOT: (&str, &str) = (
    "dsql_emulator_snapshot",
    "SELECT pg_catalog.pg_current_snapshot(), \
     pg_catalog.set_config_of_host('dsql_emulator.transaction', 'on', true)",
);
const START: (&str, &str) = ("dsql_emulator_start", "SAVEPOINT dsql_emulator_start");
/// The prepared statement that sets a savepoint before a client's statement.
///
/// Savepoints are never released. A session that waits for a row of a released savepoint waits for
/// the whole transaction, even if that rolls back to its start.
const SAVE: (&str, &str) = ("dsql_emulator_save", "SAVEPOINT dsql_emulator_statement");
pub(crate) const ROLLBACK_TO_START: &str = "ROLLBACK TO SAVEPOINT dsql_emulator_start";
pub(crate) const ROLLBACK_TO_STATEMENT: &str = "ROLLBACK TO SAVEPOINT dsql_emulator_statement";

/// Prepares these statements in a new session.
pub(crate) fn prepare() -> Vec<Message> {
    let statements = [BEGIN, SNAPSHOT, START, SAVE];
    let mut messages = statements.map(|(name, sql)| wire::parse(name, sql, &[])).to_vec();
    messages.push(wire::sync());
    messages
}

/// Sets the savepoint before a client's statement.
pub(crate) fn savepoint() -> Vec<Message> {
    run_prepared(SAVE.0).into()
}

/// The messages that begin a transaction, without a Sync.
pub(crate) fn begin(access: Access) -> Vec<Message> {
    let access = match access {
        Access::Default => None,
        Access::ReadOnly => Some("READ ONLY"),
        Access::ReadWrite => Some("READ WRITE"),
    };
    let mut messages = Vec::with_capacity(12);
    match access {
        None => messages.extend(run_prepared(BEGIN.0)),
        Some(access) => {
            messages.push(wire::parse("", &format!("{} {access}", BEGIN.1), &[]));
            messages.extend(run_prepared(""));
        }
    }
    messages.extend(run_prepared(SNAPSHOT.0));
    messages.extend(run_prepared(START.0));
    messages
}

fn run_prepared(name: &str) -> [Message; 2] {
    [wire::bind("", name, &wire::BindParts::default()), wire::execute("", 0)]
}

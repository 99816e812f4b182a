//! SQLSTATEs: what an error of the server means, and the state of the connection after it.
//!
//! [`classify`] is a pure function of SQLSTATE, message and phase. The message matters only where
//! DSQL uses one SQLSTATE for several errors: the OCC code of `40001`, the limits behind `54000`,
//! and the refusals of a connection (aurora-dsql.md#conflicts, aurora-dsql.md#limits,
//! aurora-dsql.md#admission).

use sqlx::postgres::{PgDatabaseError, PgSeverity};
use temporal_dsql_ports::{Outcome, limits::LimitKind};

/// The phase of a transaction that an error arrived in. It decides what a missing answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Opening a connection, or BEGIN.
    Opening,
    /// A statement before COMMIT, or a statement that only reads.
    Statement,
    /// COMMIT, or an autocommit statement that writes: from here on the work may be applied.
    Commit,
}

impl Phase {
    /// The outcome of a transaction whose answer is missing.
    pub const fn outcome_without_answer(self) -> Outcome {
        match self {
            Self::Opening | Self::Statement => Outcome::NotApplied,
            Self::Commit => Outcome::Unknown,
        }
    }
}

/// The kind of a conflict, by DSQL's own codes (aurora-dsql.md#conflicts).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// `OC000`: another transaction changed the same row.
    Data,
    /// `OC001`: the catalog changed, and the session used an older version of it.
    Catalog,
    /// A conflict without a code, as PostgreSQL reports it.
    Unlabelled,
}

/// What an error of the server means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The transaction lost a conflict; nothing was applied.
    Conflict(Conflict),
    /// The key exists.
    Duplicate,
    /// A limit of DSQL.
    Limit(LimitKind),
    /// Arithmetic overflow. Statements compute the ids of buffered events, the id of the next message,
    /// and the next version of a row.
    Overflow,
    /// A column or a constraint refuses a value.
    InvalidArgument,
    /// The server does not accept the user or its credentials.
    Unauthenticated,
    /// The user lacks a right.
    Denied,
    /// A statement, table or column that the server does not have.
    Unsupported,
    /// The database of the connection does not exist.
    NoDatabase,
    /// The server admits no connections for the moment (`53300`, `53400`, `57P03`, waking up).
    Busy,
    /// The server refused a connection with a connection exception (`08`).
    ConnectionRefused,
    /// The server ended the session, or failed inside it.
    Disconnected(Outcome),
    /// The server cannot do what was asked for the moment.
    Unavailable(Outcome),
}

/// Classifies an error that the server reported.
///
/// A SQLSTATE is a refusal, and a refused transaction is not applied. The exceptions are errors of
/// the server itself, which can hit a session after its commit took effect: internal errors
/// (`XX000` at COMMIT is documented as unknown, aurora-dsql.md#transient-failures), connection
/// exceptions, shutdowns, and codes that this function does not know.
pub fn classify(sqlstate: &str, message: &str, phase: Phase) -> Class {
    let outcome = phase.outcome_without_answer();
    match sqlstate {
        "40001" | "OC000" | "OC001" => Class::Conflict(conflict(sqlstate, message)),
        // A deadlock; a lock that did not become free in time.
        "40P01" | "55P03" => Class::Conflict(Conflict::Unlabelled),
        "40003" => Class::Unavailable(outcome),
        "22003" => Class::Overflow,
        "23505" => Class::Duplicate,
        "25P02" => Class::Unavailable(Outcome::NotApplied),
        // The server has ended a session that was idle, or whose transaction took too long. Neither
        // happens to a transaction that commits.
        "25P03" | "25P04" | "57P05" => Class::Disconnected(Outcome::NotApplied),
        "57P01" | "57P02" => Class::Disconnected(outcome),
        "42501" => Class::Denied,
        "3D000" => Class::NoDatabase,
        "53200" if message.contains("temp space") => Class::Limit(LimitKind::Other),
        "53300" | "53400" => Class::Busy,
        // The server starts up or shuts down. It says so before a session begins; if it says so
        // after COMMIT was sent, the session has ended with an unknown outcome.
        "57P03" if phase == Phase::Commit => Class::Disconnected(outcome),
        "57P03" => Class::Busy,
        "54000" => Class::Limit(limit(message)),
        "08006" if message.contains("access denied") => Class::Unauthenticated,
        "08P01" if message.contains("invalid message length") => {
            Class::Limit(LimitKind::TransactionBytes)
        }
        _ if message.contains("waking up cluster") => Class::Busy,
        _ => match sqlstate.get(..2) {
            Some("0A" | "25" | "26" | "34" | "3F" | "42") => Class::Unsupported,
            Some("22" | "23" | "44") => Class::InvalidArgument,
            Some("28") => Class::Unauthenticated,
            Some("40" | "53") => Class::Unavailable(Outcome::NotApplied),
            Some("54") => Class::Limit(LimitKind::Other),
            Some("08") if phase == Phase::Opening => Class::ConnectionRefused,
            Some("08" | "XX") => Class::Disconnected(outcome),
            Some("57" | "58") => Class::Unavailable(outcome),
            _ if phase == Phase::Commit => Class::Unavailable(outcome),
            _ => Class::Unsupported,
        },
    }
}

/// [`classify`] of an error of the driver; `None` if the server did not report it.
pub fn classify_error(error: &sqlx::Error, phase: Phase) -> Option<Class> {
    let error = error.as_database_error()?;
    Some(classify(error.code().as_deref().unwrap_or(""), error.message(), phase))
}

/// Whether the SQLSTATE refuses the text of a statement, whatever its arguments: the server lacks a
/// feature (`0A`), does not understand the text (`42`), or has a limit that the text exceeds (`54`).
/// A missing right (`42501`) is about the user, and a missing table ([`is_undefined_table`]) about the
/// schema.
pub fn refuses_text(sqlstate: &str) -> bool {
    !matches!(sqlstate, "42501" | UNDEFINED_TABLE)
        && matches!(sqlstate.get(..2), Some("0A" | "42" | "54"))
}

/// Whether the SQLSTATE says that a table of the statement does not exist.
pub fn is_undefined_table(sqlstate: &str) -> bool {
    sqlstate == UNDEFINED_TABLE
}

const UNDEFINED_TABLE: &str = "42P01";

fn conflict(sqlstate: &str, message: &str) -> Conflict {
    if sqlstate == "OC000" || message.contains("(OC000)") {
        Conflict::Data
    } else if sqlstate == "OC001" || message.contains("(OC001)") {
        Conflict::Catalog
    } else {
        Conflict::Unlabelled
    }
}

/// The limit that a message is about: DSQL's limits share `54000` (aurora-dsql.md#limits,
/// aurora-dsql.md#sizes).
fn limit(message: &str) -> LimitKind {
    const KINDS: [(&str, LimitKind); 8] = [
        ("transaction row limit", LimitKind::TransactionRows),
        ("transaction size limit", LimitKind::TransactionBytes),
        ("transaction age limit", LimitKind::TransactionAge),
        ("maximum row size", LimitKind::RowBytes),
        ("maximum column size", LimitKind::ValueBytes),
        ("datatype limit greater than", LimitKind::ValueBytes),
        ("key size too large", LimitKind::KeyBytes),
        ("key size greater than", LimitKind::KeyBytes),
    ];
    let message = message.to_lowercase();
    KINDS
        .iter()
        .find(|(text, _)| message.contains(text))
        .map_or(LimitKind::Other, |(_, kind)| *kind)
}

/// The state of a connection after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// The server refused a statement, and the session continues.
    Usable,
    /// The state of the wire is unknown, or the server ended this session.
    Unusable,
    /// The connection broke for a reason that other connections may share: the network failed, or
    /// the server shut down or ended idle sessions.
    Broken,
}

/// The state of a connection after `error` arrived on it.
pub fn connection_state_after(error: &sqlx::Error) -> ConnectionState {
    let Some(refused) = error.as_database_error() else {
        return match error {
            sqlx::Error::RowNotFound | sqlx::Error::ColumnDecode { .. } => ConnectionState::Usable,
            sqlx::Error::Io(_) => ConnectionState::Broken,
            _ => ConnectionState::Unusable,
        };
    };
    let severity = refused.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::severity);
    let ends_session = matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic));
    let code = refused.code();
    match code.as_deref().unwrap_or("") {
        "57P01" | "57P02" | "57P03" | "57P05" => ConnectionState::Broken,
        // The server has failed, or a failed transaction is open. If the session is in a transaction, a
        // later write is answered as done, and is lost.
        "25P02" | "40003" => ConnectionState::Unusable,
        code if ends_session || matches!(code.get(..2), Some("08" | "57" | "58" | "XX")) => {
            ConnectionState::Unusable
        }
        _ => ConnectionState::Usable,
    }
}

#[cfg(test)]
mod tests {
    use super::Conflict::{Catalog, Data, Unlabelled};
    use Class::*;
    use LimitKind::{
        KeyBytes, Other, RowBytes, TransactionAge, TransactionBytes, TransactionRows, ValueBytes,
    };
    use Outcome::{NotApplied, Unknown};

    use super::*;

    const ALL: [Phase; 3] = [Phase::Opening, Phase::Statement, Phase::Commit];

    #[test]
    fn these_codes_have_one_meaning_in_every_phase() {
        let table = [
            // aurora-dsql.md#conflicts
            ("40001", "change conflicts with another transaction (OC000)", Conflict(Data)),
            (
                "40001",
                "mutation conflicts with another transaction, retry as needed (OC000)",
                Conflict(Data),
            ),
            ("40001", "schema has been updated by another transaction (OC001)", Conflict(Catalog)),
            ("OC001", "", Conflict(Catalog)),
            ("40001", "could not serialize access due to concurrent update", Conflict(Unlabelled)),
            ("40P01", "deadlock detected", Conflict(Unlabelled)),
            ("55P03", "canceling statement due to lock timeout", Conflict(Unlabelled)),
            // aurora-dsql.md#limits
            ("54000", "transaction row limit exceeded", Limit(TransactionRows)),
            ("54000", "transaction size limit 10mb exceeded", Limit(TransactionBytes)),
            ("54000", "transaction age limit of 300s exceeded", Limit(TransactionAge)),
            (
                "54000",
                "query requires more than allowed temp space of 131072 KB to execute",
                Limit(Other),
            ),
            ("53200", "query requires too much temp space, out of memory.", Limit(Other)),
            ("54001", "stack depth limit exceeded", Limit(Other)),
            // aurora-dsql.md#sizes
            (
                "54000",
                "datatype limit greater than 1048576 bytes not supported for bytea",
                Limit(ValueBytes),
            ),
            ("54000", "maximum column size exceeded", Limit(ValueBytes)),
            ("54000", "maximum row size exceeded", Limit(RowBytes)),
            ("54000", "key size too large", Limit(KeyBytes)),
            ("54011", "more than 8 column keys in an index are not supported", Limit(Other)),
            // aurora-dsql.md#admission
            ("08006", "unable to accept connection, access denied", Unauthenticated),
            ("53300", "Unable to accept connection, too many open connections.", Busy),
            ("53400", "Unable to accept connection, rate exceeded.", Busy),
            ("08006", "unable to accept connection, waking up cluster, please retry later", Busy),
            ("28P01", "password authentication failed for user \"temporal\"", Unauthenticated),
            ("28000", "no pg_hba.conf entry for host", Unauthenticated),
            ("3D000", "database \"nowhere\" does not exist", NoDatabase),
            ("42501", "permission denied for table executions", Denied),
            ("42P01", "relation \"current_chasm_executions\" does not exist", Unsupported),
            ("0A000", "unsupported statement: Truncate", Unsupported),
            ("23505", "duplicate key value violates unique constraint", Duplicate),
            ("23502", "null value in column \"data\"", InvalidArgument),
            ("22003", "bigint out of range", Overflow),
            ("22001", "value too long for type character varying(255)", InvalidArgument),
            ("22021", "invalid byte sequence for encoding \"UTF8\": 0x00", InvalidArgument),
            ("25P02", "current transaction is aborted", Unavailable(NotApplied)),
            (
                "25P03",
                "terminating connection due to idle-in-transaction timeout",
                Disconnected(NotApplied),
            ),
            (
                "25P04",
                "terminating connection due to transaction timeout",
                Disconnected(NotApplied),
            ),
            (
                "57P05",
                "terminating connection due to idle-session timeout",
                Disconnected(NotApplied),
            ),
            ("08P01", "invalid message length", Limit(TransactionBytes)),
            ("53100", "could not extend file: No space left on device", Unavailable(NotApplied)),
        ];
        for (sqlstate, message, class) in table {
            for phase in ALL {
                assert_eq!(classify(sqlstate, message, phase), class, "{sqlstate} {message}");
            }
        }
    }

    #[test]
    fn only_an_error_about_the_text_refuses_it() {
        // A feature, the syntax, a column of another schema version, a planner's disagreement with
        // itself (aurora-dsql.md#refused-statements), limits on what one statement may be.
        for sqlstate in ["0A000", "42601", "42703", "42804", "54000", "54001"] {
            assert!(refuses_text(sqlstate), "{sqlstate}");
        }
        // A right, a table, a conflict, an aborted transaction, a full server, the server itself,
        // unknown codes.
        for sqlstate in [
            "42501", "42P01", "40001", "25P02", "53300", "53200", "57P01", "08006", "XX000",
            "ZZ999", "4", "é",
        ] {
            assert!(!refuses_text(sqlstate), "{sqlstate}");
        }
    }

    #[test]
    fn an_error_of_the_server_itself_leaves_only_a_commit_unknown() {
        type Of = fn(Outcome) -> Class;
        let table: [(&str, &str, Of, Class); 9] = [
            ("XX000", "server unavailable", Disconnected, Disconnected(NotApplied)),
            (
                "57P01",
                "terminating connection due to administrator command",
                Disconnected,
                Disconnected(NotApplied),
            ),
            ("57P02", "terminating connection", Disconnected, Disconnected(NotApplied)),
            (
                "57014",
                "canceling statement due to user request",
                Unavailable,
                Unavailable(NotApplied),
            ),
            ("58030", "input/output error", Unavailable, Unavailable(NotApplied)),
            ("08003", "connection does not exist", Disconnected, ConnectionRefused),
            ("08P01", "unexpected message type", Disconnected, ConnectionRefused),
            ("40003", "statement completion unknown", Unavailable, Unavailable(NotApplied)),
            ("08006", "connection failure", Disconnected, ConnectionRefused),
        ];
        for (sqlstate, message, class, opening) in table {
            assert_eq!(classify(sqlstate, message, Phase::Opening), opening, "{sqlstate}");
            for (phase, outcome) in [(Phase::Statement, NotApplied), (Phase::Commit, Unknown)] {
                assert_eq!(classify(sqlstate, message, phase), class(outcome), "{sqlstate}");
            }
        }
    }

    #[test]
    fn a_server_that_starts_up_is_busy_but_proves_nothing_about_a_commit() {
        let message = "the database system is starting up";
        assert_eq!(classify("57P03", message, Phase::Opening), Busy);
        assert_eq!(classify("57P03", message, Phase::Statement), Busy);
        assert_eq!(classify("57P03", message, Phase::Commit), Disconnected(Unknown));
    }

    #[test]
    fn an_unknown_code_leaves_a_commit_unknown_and_is_not_retried_elsewhere() {
        for sqlstate in ["ZZ999", "P0001", "", "é", "5"] {
            assert_eq!(classify(sqlstate, "", Phase::Commit), Unavailable(Unknown), "{sqlstate}");
            assert_eq!(classify(sqlstate, "", Phase::Statement), Unsupported, "{sqlstate}");
        }
    }
}

//! What an error of the driver means for a migration: one pure function over SQLSTATE and
//! message, from aurora-dsql.md#conflicts, aurora-dsql.md#transient-failures,
//! aurora-dsql.md#limits, aurora-dsql.md#admission.

use std::time::Duration;

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::{BoxError, DatabaseError, ServerError};

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There are no credentials.
    #[error("cannot get credentials")]
    Credentials(#[source] BoxError),
    /// The driver could not connect.
    #[error(transparent)]
    Driver(sqlx::Error),
}

/// What connections lead to. No secret is part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
}

impl Target {
    pub(super) fn unreachable(&self, source: BoxError) -> DatabaseError {
        DatabaseError::Unreachable { host: self.host.clone(), port: self.port, source }
    }

    fn untrusted(&self, source: BoxError) -> DatabaseError {
        DatabaseError::Tls { host: self.host.clone(), port: self.port, source }
    }

    fn lost(&self, source: BoxError) -> DatabaseError {
        DatabaseError::Lost { host: self.host.clone(), port: self.port, source }
    }

    fn authentication(&self, server: Box<ServerError>) -> DatabaseError {
        DatabaseError::Authentication {
            host: self.host.clone(),
            port: self.port,
            user: self.user.clone(),
            server,
        }
    }
}

/// How a call on a connection failed.
#[derive(Debug)]
pub(super) enum Failure {
    Driver(sqlx::Error),
    TimedOut(Duration),
}

impl Failure {
    /// Whether the connection is good for more.
    pub(super) fn keeps_connection(&self) -> bool {
        let Self::Driver(sqlx::Error::Database(error)) = self else {
            return false;
        };
        error
            .try_downcast_ref::<PgDatabaseError>()
            .is_some_and(|error| !matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic))
    }
}

impl ConnectError {
    pub(super) fn classify(self, target: &Target) -> DatabaseError {
        let error = match self {
            Self::Credentials(source) => {
                return DatabaseError::Credentials {
                    host: target.host.clone(),
                    port: target.port,
                    user: target.user.clone(),
                    source,
                };
            }
            Self::Driver(error) => error,
        };
        match error {
            sqlx::Error::Database(_) => match server_error(&error) {
                Some(server) => of_server(server, target, Phase::Connect),
                None => DatabaseError::Driver(error.into()),
            },
            sqlx::Error::Tls(source) => target.untrusted(source),
            // rustls reports a certificate that it does not trust through std::io.
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                target.untrusted(error.into())
            }
            sqlx::Error::Configuration(source) => DatabaseError::Configuration(source),
            other => target.unreachable(other.into()),
        }
    }
}

/// What `failure` of a call on an open connection means.
pub(super) fn classify(failure: Failure, target: &Target) -> DatabaseError {
    let error = match failure {
        Failure::TimedOut(limit) => {
            return target.lost(format!("no answer within {} s", limit.as_secs()).into());
        }
        Failure::Driver(error) => error,
    };
    match error {
        sqlx::Error::Database(_) => match server_error(&error) {
            Some(server) => of_server(server, target, Phase::Statement),
            None => DatabaseError::Driver(error.into()),
        },
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed => target.lost(error.into()),
        other => DatabaseError::Driver(other.into()),
    }
}

fn server_error(error: &sqlx::Error) -> Option<Box<ServerError>> {
    let error = error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?;
    Some(Box::new(ServerError {
        sqlstate: error.code().to_owned(),
        message: error.message().to_owned(),
        detail: error.detail().map(str::to_owned),
        hint: error.hint().map(str::to_owned),
        constraint: error.constraint().map(str::to_owned),
    }))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connect,
    Statement,
}

fn of_server(server: Box<ServerError>, target: &Target, phase: Phase) -> DatabaseError {
    // DSQL has no code of its own for this one (aurora-dsql.md#admission).
    if server.message.contains("waking up cluster") {
        return DatabaseError::Busy(server);
    }
    match server.sqlstate.as_str() {
        // A lost conflict, OC000 or OC001; on PostgreSQL also a deadlock.
        "40001" | "40P01" => DatabaseError::Conflict(server),
        // Too many connections, connection rate exceeded, starting up.
        "53300" | "53400" | "57P03" => DatabaseError::Busy(server),
        "28000" | "28P01" => target.authentication(server),
        // DSQL refuses tokens with a connection failure (aurora-dsql.md#admission).
        code if code.starts_with("08") && phase == Phase::Connect => target.authentication(server),
        "3D000" => DatabaseError::NoDatabase {
            host: target.host.clone(),
            port: target.port,
            database: target.database.clone(),
        },
        "42501" => DatabaseError::Denied {
            user: target.user.clone(),
            advice: advice(&server.message),
            server,
        },
        // The connection failed, the server is going down or cut the session, or it failed inside
        // (`server unavailable`, aurora-dsql.md#transient-failures): whether the statement was run
        // is not known.
        "57P01" | "57P02" | "25P03" | "25P04" | "XX000" => target.lost(server.to_string().into()),
        code if code.starts_with("08") => target.lost(server.to_string().into()),
        _ => DatabaseError::Refused(server),
    }
}

fn advice(message: &str) -> &'static str {
    if message.contains("for schema") {
        "grant it CREATE and USAGE on the schema; on DSQL only `admin` may create in `public`, \
         any other role needs a schema of its own"
    } else if message.contains("must be owner") {
        "run the command as the owner"
    } else {
        "grant it, or run the command as a role that has it"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            host: "db.example".to_owned(),
            port: 5432,
            user: "app".to_owned(),
            database: "temporal".to_owned(),
        }
    }

    fn shown(sqlstate: &str, message: &str, phase: Phase) -> (DatabaseError, String) {
        let server = ServerError {
            sqlstate: sqlstate.to_owned(),
            message: message.to_owned(),
            ..ServerError::default()
        };
        let error = of_server(Box::new(server), &target(), phase);
        let text = error.to_string();
        (error, text)
    }

    #[test]
    fn conflicts_and_busy_servers_are_transient_wherever_they_show() {
        for (sqlstate, message) in [
            ("40001", "change conflicts with another transaction (OC000)"),
            ("40001", "schema has been updated by another transaction (OC001)"),
            ("40P01", "deadlock detected"),
            ("53300", "Unable to accept connection, too many open connections."),
            ("53400", "Unable to accept connection, rate exceeded."),
            ("57P03", "the database system is starting up"),
            ("08006", "unable to accept connection, waking up cluster, please retry later"),
            ("XX000", "waking up cluster"),
        ] {
            for phase in [Phase::Connect, Phase::Statement] {
                let (error, text) = shown(sqlstate, message, phase);
                assert!(error.is_transient(), "{text}");
                assert!(!matches!(error, DatabaseError::Lost { .. }), "{text}");
            }
        }
    }

    #[test]
    fn a_statement_on_a_broken_connection_may_have_been_run() {
        for sqlstate in ["57P01", "08006", "XX000", "25P03"] {
            let (error, text) = shown(sqlstate, "server unavailable", Phase::Statement);
            assert!(matches!(error, DatabaseError::Lost { .. }), "{text}");
            assert!(text.contains("db.example:5432"), "{text}");
        }
    }

    #[test]
    fn who_is_not_let_in_learns_where_and_as_whom() {
        for (sqlstate, message) in [
            ("28P01", "password authentication failed for user \"app\""),
            ("28000", "role \"app\" does not exist"),
            ("08006", "unable to accept connection, access denied"),
        ] {
            let (error, text) = shown(sqlstate, message, Phase::Connect);
            assert!(!error.is_transient(), "{text}");
            assert!(text.starts_with("db.example:5432 refused the login of `app`:"), "{text}");
            assert!(text.contains(message), "{text}");
        }
        let (_, text) = shown("3D000", "database \"temporal\" does not exist", Phase::Connect);
        assert!(text.contains("no database `temporal` at db.example:5432"), "{text}");
    }

    #[test]
    fn a_missing_right_is_named_with_what_to_do() {
        for (message, advice) in [
            ("permission denied for schema public", "only `admin` may create in `public`"),
            ("must be owner of table executions", "as the owner"),
            ("permission denied for table schema_version", "grant it"),
        ] {
            let (error, text) = shown("42501", message, Phase::Statement);
            assert!(!error.is_transient());
            assert!(text.contains("the role `app` lacks a privilege"), "{text}");
            assert!(text.contains(message) && text.contains(advice), "{text}");
        }
    }

    #[test]
    fn a_clash_of_names_is_told_apart_from_a_clash_of_rows() {
        let duplicate = |constraint: &str| {
            DatabaseError::Refused(Box::new(ServerError {
                sqlstate: "23505".to_owned(),
                constraint: Some(constraint.to_owned()),
                ..ServerError::default()
            }))
        };
        assert!(duplicate("pg_type_typname_nsp_index").is_duplicate());
        assert!(duplicate("schema_update_history_pkey").is_duplicate());
        assert!(!duplicate("idx_namespaces_name").is_duplicate());
        for (sqlstate, is_duplicate, is_undefined) in [
            ("42P07", true, false),
            ("42710", true, false),
            ("42P01", false, true),
            ("42704", false, true),
            ("42601", false, false),
        ] {
            let (error, text) = shown(sqlstate, "", Phase::Statement);
            assert_eq!(error.is_duplicate(), is_duplicate, "{text}");
            assert_eq!(error.is_undefined(), is_undefined, "{text}");
        }
    }
}

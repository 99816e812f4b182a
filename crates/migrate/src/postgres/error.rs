//! Errors of the connection and of the server, as errors of a migration.

use std::time::Duration;

use sqlx::postgres::PgDatabaseError;
use temporal_dsql_client::{
    Class, ConnectError, ConnectionState, Endpoint, Phase, classify as class_of,
    connection_state_after,
};

use crate::{BoxError, DatabaseError, ServerError};

/// How a call on a connection failed.
#[derive(Debug)]
pub(super) enum Failure {
    Driver(sqlx::Error),
    TimedOut(Duration),
}

impl Failure {
    /// Whether the connection can be used again.
    pub(super) fn keeps_connection(&self) -> bool {
        matches!(self, Self::Driver(error @ sqlx::Error::Database(_)) if connection_state_after(error) == ConnectionState::Usable)
    }
}

/// Why no connection to `endpoint` could be opened.
pub(super) fn not_connected(error: ConnectError, endpoint: &Endpoint) -> DatabaseError {
    match error {
        ConnectError::Configuration(source) => DatabaseError::Configuration(source.into()),
        ConnectError::Unreachable { endpoint: Endpoint { host, port, .. }, source } => {
            DatabaseError::Unreachable { host, port, source: source.into() }
        }
        ConnectError::Tls { endpoint: Endpoint { host, port, .. }, source } => {
            DatabaseError::Tls { host, port, source: source.into() }
        }
        ConnectError::Token { user, source } => DatabaseError::Credentials {
            host: endpoint.host.clone(),
            port: endpoint.port,
            user,
            source: source.into(),
        },
        ConnectError::Refused { source, .. }
        | ConnectError::NoDatabase { source, .. }
        | ConnectError::Busy { source, .. }
        | ConnectError::Server { source, .. } => {
            match source.get().downcast_ref().and_then(server_error) {
                Some(server) => of_server(server, endpoint, Phase::Opening),
                None => DatabaseError::Driver(source.into()),
            }
        }
        other => DatabaseError::Driver(other.into()),
    }
}

/// What `failure` of a call on an open connection means.
pub(super) fn classify(failure: Failure, endpoint: &Endpoint) -> DatabaseError {
    let error = match failure {
        Failure::TimedOut(limit) => {
            return lost(endpoint, format!("no answer within {} s", limit.as_secs()).into());
        }
        Failure::Driver(error) => error,
    };
    match error {
        sqlx::Error::Database(_) => match server_error(&error) {
            Some(server) => of_server(server, endpoint, Phase::Statement),
            None => DatabaseError::Driver(error.into()),
        },
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed => lost(endpoint, error.into()),
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

fn lost(endpoint: &Endpoint, source: BoxError) -> DatabaseError {
    DatabaseError::Lost { host: endpoint.host.clone(), port: endpoint.port, source }
}

fn of_server(server: Box<ServerError>, endpoint: &Endpoint, phase: Phase) -> DatabaseError {
    let Endpoint { host, port, user, database } = endpoint.clone();
    match class_of(&server.sqlstate, &server.message, phase) {
        Class::Conflict(_) => DatabaseError::Conflict(server),
        Class::Busy => DatabaseError::Busy(server),
        Class::Unauthenticated | Class::ConnectionRefused => {
            DatabaseError::Authentication { host, port, user, server }
        }
        Class::Denied => DatabaseError::Denied { user, server },
        Class::NoDatabase => DatabaseError::NoDatabase { host, port, database },
        // Whether the statement was run is not known.
        Class::Disconnected(_) => lost(endpoint, server.to_string().into()),
        Class::Unavailable(_)
        | Class::Duplicate
        | Class::Limit(_)
        | Class::Overflow
        | Class::InvalidArgument
        | Class::Unsupported => DatabaseError::Refused(server),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint {
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
        let error = of_server(Box::new(server), &endpoint(), phase);
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
            for phase in [Phase::Opening, Phase::Statement] {
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
    fn a_refused_login_names_the_host_and_the_user() {
        for (sqlstate, message) in [
            ("28P01", "password authentication failed for user \"app\""),
            ("28000", "role \"app\" does not exist"),
            ("08006", "unable to accept connection, access denied"),
        ] {
            let (error, text) = shown(sqlstate, message, Phase::Opening);
            assert!(!error.is_transient(), "{text}");
            assert!(text.starts_with("db.example:5432 refused the login of `app`:"), "{text}");
            assert!(text.contains(message), "{text}");
        }
        let (_, text) = shown("3D000", "database \"temporal\" does not exist", Phase::Opening);
        assert!(text.contains("no database `temporal` at db.example:5432"), "{text}");
    }

    #[test]
    fn a_missing_right_is_named_with_its_remedy() {
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
    fn duplicate_objects_are_distinguished_from_duplicate_rows() {
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
            ("42710", false, false),
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

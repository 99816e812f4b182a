//! SET, RESET and SHOW (facts §6).

use super::{Class, Plan, transaction};
use crate::{
    sql::{Cursor, Kind},
    wire::DbError,
};

/// The settings that a session may change.
const SETTABLE: &[&str] = &[
    "application_name",
    "client_encoding",
    "datestyle",
    "dsql.enable_batched_nestloop",
    "enable_bitmapscan",
    "enable_hashjoin",
    "enable_indexonlyscan",
    "enable_indexscan",
    "enable_material",
    "enable_mergejoin",
    "enable_nestloop",
    "enable_seqscan",
    "extra_float_digits",
    "intervalstyle",
    "role",
    "search_path",
    "timezone",
];

/// The one that PostgreSQL does not know: the emulator keeps it.
const SYNC_INDEX: &str = "disable_sync_create_index";

/// What a session has that is not PostgreSQL's to keep.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// CREATE INDEX without ASYNC is permitted on an empty table.
    pub(crate) sync_index: bool,
}

fn is_settable(name: &str) -> bool {
    SETTABLE.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn not_settable(name: &str) -> DbError {
    DbError::new("0A000", format!("setting configuration parameter \"{name}\" not supported"))
}

/// Checks a parameter of the startup message, or of its `options` (facts §5, §6).
///
/// # Errors
/// The refusal, which ends the session.
pub(crate) fn startup_option(name: &str) -> Result<(), DbError> {
    if is_settable(name) || name == SYNC_INDEX {
        return Ok(());
    }
    Err(DbError { severity: "FATAL".into(), ..not_settable(name) })
}

pub(super) fn plan(mut cursor: Cursor<'_>) -> Plan {
    if cursor.eat("SHOW") {
        plan_show(cursor)
    } else if cursor.eat("RESET") {
        plan_reset(cursor)
    } else {
        cursor.next();
        plan_set(cursor)
    }
}

fn plan_set(mut cursor: Cursor<'_>) -> Plan {
    if cursor.eat("CONSTRAINTS") {
        return Plan::run(Class::Setting);
    }
    if cursor.eat("SESSION CHARACTERISTICS AS TRANSACTION") {
        // Accepted and effective (facts §1.1); PostgreSQL does it.
        return match transaction::modes(cursor) {
            Ok(_) => Plan::run(Class::Setting),
            Err(refusal) => refusal,
        };
    }
    if cursor.eat("TRANSACTION") {
        // A level that does not exist is named first (facts §1.1).
        return match cursor.find("ISOLATION LEVEL") {
            Some(mut found) => {
                found.eat("ISOLATION LEVEL");
                match transaction::level(&mut found) {
                    Ok(()) => Plan::Refuse(not_settable("TRANSACTION")),
                    Err(refusal) => refusal,
                }
            }
            None => Plan::Refuse(not_settable("TRANSACTION")),
        };
    }
    if cursor.sees("SESSION AUTHORIZATION") {
        return Plan::Refuse(not_settable("session_authorization"));
    }
    let _ = cursor.eat("SESSION") || cursor.eat("LOCAL");
    let short =
        [("TIME ZONE", "timezone"), ("NAMES", "client_encoding"), ("SCHEMA", "search_path")];
    if short.iter().any(|(words, name)| cursor.sees(words) && is_settable(name)) {
        return Plan::run(Class::Setting);
    }
    let Some(name) = cursor.name() else {
        return Plan::run(Class::Setting);
    };
    let name = name.join(".");
    if name == SYNC_INDEX {
        let _ = cursor.eat("TO") || cursor.eat_mark('=');
        let value = cursor.next().map(|token| match &token.kind {
            Kind::Word { text, .. } | Kind::Text(text) => text.clone(),
            Kind::Number(number) => number.clone(),
            _ => String::new(),
        });
        let off = matches!(value.as_deref(), Some("off" | "false" | "0" | "no"));
        return Plan::EmulatorSetting { sync_index: Some(off) };
    }
    if is_settable(&name) { Plan::run(Class::Setting) } else { Plan::Refuse(not_settable(&name)) }
}

fn plan_reset(mut cursor: Cursor<'_>) -> Plan {
    if cursor.sees("ALL") || cursor.sees("TIME ZONE") {
        return Plan::run(Class::Setting);
    }
    if cursor.sees("SESSION AUTHORIZATION") {
        return Plan::Refuse(not_settable("session_authorization"));
    }
    match cursor.name().map(|name| name.join(".")) {
        Some(name) if name == SYNC_INDEX => Plan::EmulatorSetting { sync_index: Some(false) },
        Some(name) if !is_settable(&name) => Plan::Refuse(not_settable(&name)),
        _ => Plan::run(Class::Setting),
    }
}

/// facts §4: the version, and what PostgreSQL 16 no longer has.
fn plan_show(mut cursor: Cursor<'_>) -> Plan {
    let name = match cursor.next().and_then(|token| token.word()) {
        Some(name) if cursor.is_at_end() => name,
        _ => "",
    };
    match name {
        "server_version" => Plan::Show { column: "server_version", value: crate::SERVER_VERSION },
        "server_version_num" => {
            Plan::Show { column: "server_version_num", value: crate::SERVER_VERSION_NUM }
        }
        "lc_collate" | "lc_ctype" => {
            Plan::refuse("42704", format!("unrecognized configuration parameter \"{name}\""))
        }
        _ => Plan::run(Class::Read),
    }
}

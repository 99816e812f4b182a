//! SET, RESET and SHOW (aurora-dsql.md#sessions).

use super::{Class, Context, Plan, transaction};
use crate::{
    sql::{Cursor, Kind, Statement},
    wire::DbError,
};

/// The settings that a session may change. GUIDE lists `role` as well; it is refused [O FIELD].
pub(crate) const SETTABLE: &[&str] = &[
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
    "search_path",
    "timezone",
];

/// The setting that PostgreSQL does not have; the emulator stores it.
const SYNC_INDEX: &str = "disable_sync_create_index";

/// The settings of a session that the emulator stores.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// Whether CREATE INDEX without ASYNC is permitted on an empty table.
    pub(crate) sync_index: bool,
}

fn is_settable(name: &str) -> bool {
    SETTABLE.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn not_settable(name: &str) -> DbError {
    DbError::new("0A000", format!("setting configuration parameter \"{name}\" not supported"))
}

/// Checks a parameter of the startup message, or of its `options` (aurora-dsql.md#admission,
/// aurora-dsql.md#sessions).
///
/// # Errors
/// The refusal, which ends the session.
pub(crate) fn startup_option(name: &str) -> Result<(), DbError> {
    if is_settable(name) || name == SYNC_INDEX {
        return Ok(());
    }
    Err(DbError { severity: "FATAL".into(), ..not_settable(name) })
}

pub(super) fn plan(statement: &Statement, context: &Context<'_>) -> Plan {
    let mut cursor = Cursor::new(&statement.tokens);
    if cursor.skip("SHOW") {
        plan_show(cursor, context)
    } else if cursor.skip("RESET") {
        plan_reset(cursor)
    } else {
        cursor.next();
        plan_set(statement, cursor)
    }
}

/// The refusal of `SET name …`, if the setting cannot be set; `cursor` is behind SET.
pub(super) fn check_name(mut cursor: Cursor<'_>) -> Option<Plan> {
    if SHORT.iter().any(|words| cursor.starts_with(words)) {
        return None;
    }
    let name = cursor.name()?.join(".");
    (!is_settable(&name)).then(|| Plan::Refuse(not_settable(&name)))
}

/// The settings with a syntax of their own.
const SHORT: [&str; 3] = ["TIME ZONE", "NAMES", "SCHEMA"];

fn plan_set(statement: &Statement, mut cursor: Cursor<'_>) -> Plan {
    const CHARACTERISTICS: &str = "SESSION CHARACTERISTICS AS TRANSACTION";
    if cursor.skip("CONSTRAINTS") {
        return Plan::run(Class::Setting);
    }
    if !cursor.starts_with(CHARACTERISTICS) && !cursor.starts_with("SESSION AUTHORIZATION") {
        let _ = cursor.skip("SESSION") || cursor.skip("LOCAL");
    }
    if cursor.starts_with("SESSION AUTHORIZATION") {
        return Plan::Refuse(not_settable("session_authorization"));
    }
    if cursor.skip(CHARACTERISTICS) {
        // Accepted and effective (aurora-dsql.md#transactions); PostgreSQL runs it.
        return match transaction::modes(statement, cursor) {
            Ok(_) if cursor.is_at_end() => Plan::syntax_error(statement, &cursor),
            Ok(_) => Plan::run(Class::Setting),
            Err(refusal) => refusal,
        };
    }
    if cursor.skip("TRANSACTION") {
        return plan_set_transaction(statement, cursor);
    }
    if SHORT.iter().any(|words| cursor.starts_with(words)) {
        return Plan::run(Class::Setting);
    }
    for (words, name) in [("XML OPTION", "xmloption"), ("ROLE", "role")] {
        if cursor.starts_with(words) {
            return Plan::Refuse(not_settable(name));
        }
    }
    let Some(name) = cursor.name().map(|name| name.join(".")) else {
        return Plan::run(Class::Setting);
    };
    if is_settable(&name) {
        return Plan::run(Class::Setting);
    }
    // A malformed statement is a syntax error and not a refused setting.
    if !cursor.starts_with("FROM CURRENT") {
        let assigns = cursor.skip("TO") || cursor.skip_mark('=');
        if !assigns || cursor.is_at_end() {
            return Plan::syntax_error(statement, &cursor);
        }
    }
    if name == SYNC_INDEX { plan_sync_index(cursor) } else { Plan::Refuse(not_settable(&name)) }
}

/// An unsupported isolation level is reported by name, everything else as a whole
/// (aurora-dsql.md#transactions).
fn plan_set_transaction(statement: &Statement, cursor: Cursor<'_>) -> Plan {
    let refusal = Plan::Refuse(not_settable("TRANSACTION"));
    if cursor.starts_with("SNAPSHOT") || cursor.contains("DEFERRABLE") {
        return refusal;
    }
    match transaction::modes(statement, cursor) {
        Ok(_) if cursor.is_at_end() => Plan::syntax_error(statement, &cursor),
        Ok(_) => refusal,
        Err(other) => other,
    }
}

fn plan_sync_index(mut cursor: Cursor<'_>) -> Plan {
    let value = match cursor.next().map(|token| &token.kind) {
        Some(Kind::Word { text, .. } | Kind::Text(text) | Kind::Number(text)) => text.clone(),
        _ => String::new(),
    };
    let set = |disabled: bool| Plan::EmulatorSetting { sync_index: !disabled, tag: "SET" };
    if value.eq_ignore_ascii_case("default") {
        return set(true);
    }
    boolean(&value).map_or_else(
        || {
            let message = format!("parameter \"{SYNC_INDEX}\" requires a Boolean value");
            Plan::refuse("22023", message)
        },
        set,
    )
}

/// Parses a Boolean as PostgreSQL does, with abbreviations.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    // `o` is ambiguous.
    let shortens = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    let is = |words: &[(&str, usize)]| words.iter().any(|(word, least)| shortens(word, *least));
    if is(&[("true", 1), ("yes", 1), ("on", 2), ("1", 1)]) {
        return Some(true);
    }
    is(&[("false", 1), ("no", 1), ("off", 2), ("0", 1)]).then_some(false)
}

fn plan_reset(mut cursor: Cursor<'_>) -> Plan {
    if cursor.starts_with("ALL") || cursor.starts_with("TIME ZONE") {
        return Plan::run(Class::Setting);
    }
    if cursor.starts_with("SESSION AUTHORIZATION") {
        return Plan::Refuse(not_settable("session_authorization"));
    }
    match cursor.name().map(|name| name.join(".")) {
        Some(name) if name == SYNC_INDEX => {
            Plan::EmulatorSetting { sync_index: false, tag: "RESET" }
        }
        Some(name) if !is_settable(&name) => Plan::Refuse(not_settable(&name)),
        _ => Plan::run(Class::Setting),
    }
}

/// aurora-dsql.md#environment: the version, and the emulator's own setting.
fn plan_show(mut cursor: Cursor<'_>, context: &Context<'_>) -> Plan {
    let name = match cursor.next().and_then(|token| token.word()) {
        Some(name) if cursor.is_at_end() => name,
        _ => "",
    };
    match name {
        "server_version" => Plan::Show { column: "server_version", value: crate::SERVER_VERSION },
        "server_version_num" => {
            Plan::Show { column: "server_version_num", value: crate::SERVER_VERSION_NUM }
        }
        SYNC_INDEX => {
            let value = if context.sync_index { "off" } else { "on" };
            Plan::Show { column: SYNC_INDEX, value }
        }
        _ => Plan::run(Class::Read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boolean_is_read_as_postgresql_reads_it() {
        for (text, value) in [
            ("on", Some(true)),
            ("TRUE", Some(true)),
            ("y", Some(true)),
            ("1", Some(true)),
            ("of", Some(false)),
            ("f", Some(false)),
            ("0", Some(false)),
            ("o", None),
            ("", None),
            ("2", None),
            ("offline", None),
        ] {
            assert_eq!(boolean(text), value, "{text}");
        }
    }
}

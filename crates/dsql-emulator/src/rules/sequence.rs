//! Sequences and identity columns: CACHE must be given, 1 or at least 65536, and the type must be
//! bigint (aurora-dsql.md#refused-statements).

use super::{Class, Plan};
use crate::sql::{Cursor, Kind};

const EXPLICIT: &str = "without an explicit cache size. please define CACHE greater than or equal \
                        to 65536 or equal to 1";

/// `cursor` is behind CREATE SEQUENCE.
pub(super) fn plan_create(mut cursor: Cursor<'_>) -> Plan {
    cursor.skip("IF NOT EXISTS");
    cursor.name();
    if let Some(refusal) = check_type(cursor) {
        return refusal;
    }
    match cache(cursor) {
        None => Plan::unsupported(format!("CREATE SEQUENCE is not supported {EXPLICIT}")),
        Some(cache) => check_cache(&cache).unwrap_or_else(|| Plan::run(Class::Ddl)),
    }
}

/// `cursor` is behind ALTER SEQUENCE. Only what the statement changes is checked.
pub(super) fn plan_alter(mut cursor: Cursor<'_>) -> Plan {
    cursor.skip("IF EXISTS");
    cursor.name();
    let cache = cache(cursor).and_then(|cache| check_cache(&cache));
    check_type(cursor).or(cache).unwrap_or_else(|| Plan::run(Class::Ddl))
}

/// `cursor` is behind AS IDENTITY. The cache is checked before the type of the column
/// (aurora-dsql.md#order-of-checks), which is checked in the database.
pub(super) fn check_identity(mut cursor: Cursor<'_>) -> Option<Plan> {
    let options = Cursor::new(cursor.parenthesised().unwrap_or_default());
    match cache(options) {
        None => Some(Plan::unsupported(format!("identity column is not supported {EXPLICIT}"))),
        Some(cache) => check_cache(&cache),
    }
}

/// Checks a cache that is changed, as in `ALTER COLUMN … SET CACHE n`.
pub(super) fn check_changed_cache(cursor: Cursor<'_>) -> Option<Plan> {
    cache(cursor).and_then(|cache| check_cache(&cache))
}

fn cache(cursor: Cursor<'_>) -> Option<String> {
    let mut found = cursor.find("CACHE")?;
    found.skip("CACHE");
    match &found.next()?.kind {
        Kind::Number(number) => Some(number.clone()),
        _ => None,
    }
}

/// The second half of the message is observed [O]; the first is PostgreSQL's own for a cache of
/// zero [I].
fn check_cache(cache: &str) -> Option<Plan> {
    let permitted = cache.parse::<u64>().is_ok_and(|cache| cache == 1 || cache >= 65_536);
    (!permitted).then(|| {
        Plan::unsupported(format!(
            "CACHE ({cache}) must be greater than or equal to 65536 or equal to 1"
        ))
    })
}

/// Observed [O].
fn check_type(cursor: Cursor<'_>) -> Option<Plan> {
    let mut found = cursor.find("AS")?;
    found.skip("AS");
    let name = found.name()?;
    let bigint = matches!(name[..], ["bigint" | "int8"] | ["pg_catalog", "int8"]);
    (!bigint).then(|| Plan::unsupported("sequence type must be bigint"))
}

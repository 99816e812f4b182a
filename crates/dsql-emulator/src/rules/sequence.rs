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
    let options = Options::read(cursor);
    let refusal = options.check().err();
    refusal.unwrap_or_else(|| match options.cache {
        None => Plan::unsupported(format!("CREATE SEQUENCE is not supported {EXPLICIT}")),
        Some(_) => Plan::run(Class::Ddl),
    })
}

/// `cursor` is behind ALTER SEQUENCE. Only what the statement changes is checked.
pub(super) fn plan_alter(mut cursor: Cursor<'_>) -> Plan {
    cursor.skip("IF EXISTS");
    cursor.name();
    Options::read(cursor).check().err().unwrap_or_else(|| Plan::run(Class::Ddl))
}

/// `cursor` is behind AS IDENTITY. The cache is checked before the type of the column
/// (aurora-dsql.md#order-of-checks), which is checked in the database.
pub(super) fn check_identity(mut cursor: Cursor<'_>) -> Result<(), Plan> {
    let options = Options::read(Cursor::new(cursor.parenthesised().unwrap_or_default()));
    match options.cache {
        None => Err(Plan::unsupported(format!("identity column is not supported {EXPLICIT}"))),
        Some(_) => options.check(),
    }
}

/// Checks options that are changed, as in `ALTER COLUMN … SET CACHE n`.
pub(super) fn check_changed(cursor: Cursor<'_>) -> Result<(), Plan> {
    Options::read(cursor).check()
}

/// The options of a sequence that have rules.
struct Options<'a> {
    data_type: Option<Vec<&'a str>>,
    cache: Option<&'a str>,
}

impl<'a> Options<'a> {
    fn read(mut cursor: Cursor<'a>) -> Self {
        let mut options = Self { data_type: None, cache: None };
        while !cursor.is_at_end() {
            if cursor.skip("AS") {
                options.data_type = cursor.name();
            } else if cursor.skip("OWNED BY") || cursor.skip("SEQUENCE NAME") {
                cursor.name();
            } else if cursor.skip("CACHE")
                && let Some(Kind::Number(number)) = cursor.peek().map(|token| &token.kind)
            {
                options.cache = Some(number);
            } else {
                cursor.next();
            }
        }
        options
    }

    /// The messages are observed, and their SQLSTATE is asserted [S SUITES]. The first half of the
    /// message about the cache is PostgreSQL's own for a cache of zero [I].
    fn check(&self) -> Result<(), Plan> {
        if let Some(name) = &self.data_type
            && !matches!(name[..], ["bigint" | "int8"] | ["pg_catalog", "int8"])
        {
            return Err(Plan::refuse("22023", "sequence type must be bigint"));
        }
        let permitted =
            |cache: &str| cache.parse::<u64>().is_ok_and(|cache| cache == 1 || cache >= 65_536);
        match self.cache.filter(|cache| !permitted(cache)) {
            None => Ok(()),
            Some(cache) => {
                let rest = "must be greater than or equal to 65536 or equal to 1";
                Err(Plan::refuse("22023", format!("CACHE ({cache}) {rest}")))
            }
        }
    }
}

//! CREATE INDEX: only asynchronous, and without most options (aurora-dsql.md#indexes).

use super::{
    Check, Context, NewJob, Plan,
    refusals::{self, Place},
};
use crate::sql::{Cursor, Edit, Statement, Token};

pub(super) fn plan_create(statement: &Statement, context: &Context<'_>) -> Plan {
    let mut cursor = Cursor::new(&statement.tokens);
    cursor.skip("CREATE");
    let unique = cursor.peek().filter(|_| cursor.skip("UNIQUE"));
    cursor.skip("INDEX");
    if let Err(refusal) = refusals::check(Place::Index, cursor) {
        return refusal;
    }
    let asynchronous = cursor.peek().filter(|_| cursor.skip("ASYNC"));
    // Before the mode (aurora-dsql.md#indexes) [O FIELD].
    let Details { table, method } = match details(cursor) {
        Ok(details) => details,
        Err(refusal) => return refusal,
    };
    let without = |words: &[&Token]| {
        let mut edit = Edit::default();
        words.iter().for_each(|word| edit.replace(word, word, ""));
        if let Some([using, name]) = method {
            edit.replace(using, name, "");
        }
        (!edit.is_empty()).then(|| edit.apply(statement))
    };
    if let Some(word) = asynchronous {
        let not_unique = unique.and_then(|unique| without(&[unique, word]));
        return Plan::ddl(without(&[word]), Some(NewJob::Index { not_unique }), Vec::new());
    }
    // Permitted only on an empty table, in a session that enables it [D].
    match table {
        Some(table) if context.sync_index => {
            Plan::ddl(without(&[]), None, vec![Check::Empty { table }])
        }
        _ => Plan::unsupported("unsupported mode. please use CREATE INDEX ASYNC."),
    }
}

/// What a CREATE INDEX consists of.
#[derive(Default)]
struct Details<'a> {
    /// The table, quoted; `None` if the statement cannot be read.
    table: Option<String>,
    /// USING and the access method, which PostgreSQL does not have.
    method: Option<[&'a Token; 2]>,
}

/// Checks what follows `CREATE INDEX [ASYNC]`. Syntax errors are left to PostgreSQL.
fn details(mut cursor: Cursor<'_>) -> Result<Details<'_>, Plan> {
    let mut details = Details::default();
    cursor.skip("IF NOT EXISTS");
    if !cursor.starts_with("ON") && cursor.name().is_none_or(|name| name.len() > 1) {
        // A schema before the name is a syntax error in PostgreSQL and DSQL.
        return Ok(details);
    }
    if !cursor.skip("ON") {
        return Ok(details);
    }
    cursor.skip("ONLY");
    let Some(table) = cursor.name() else { return Ok(details) };
    if let [using, name, ..] = cursor.rest()
        && cursor.skip("USING")
    {
        if name.word() != Some("btree_index") {
            return Err(Plan::unsupported("USING not supported for CREATE INDEX"));
        }
        cursor.next();
        details.method = Some([using, name]);
    }
    for key in Cursor::new(cursor.parenthesised().unwrap_or_default()).items() {
        check_key(key)?;
    }
    if cursor.skip("INCLUDE") {
        cursor.parenthesised();
    }
    let _ = cursor.skip("NULLS NOT DISTINCT") || cursor.skip("NULLS DISTINCT");
    refusals::check(Place::IndexOption, cursor)?;
    let name: Vec<String> = table.iter().map(|part| crate::sql::identifier(part)).collect();
    details.table = Some(name.join("."));
    Ok(details)
}

fn check_key(key: &[Token]) -> Result<(), Plan> {
    let mut cursor = Cursor::new(key);
    if cursor.parenthesised().is_none() {
        cursor.name();
        cursor.parenthesised();
    }
    if cursor.skip("COLLATE") {
        // Collations other than C are refused, as in expressions; message [I].
        super::query::check_collation(&mut cursor)?;
    }
    if let Some(token) = cursor.peek()
        && !["ASC", "DESC", "NULLS"].iter().any(|word| token.is(word))
    {
        return Err(Plan::unsupported("opclass not supported for index keys"));
    }
    refusals::check_ahead(Place::IndexKey, cursor)
}

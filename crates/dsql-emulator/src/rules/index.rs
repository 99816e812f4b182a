//! CREATE INDEX: only asynchronous, and without most options (aurora-dsql.md#indexes).

use super::{Check, Context, NewJob, Plan};
use crate::sql::{Cursor, Edit, Statement, Token};

pub(super) fn plan_create(statement: &Statement, context: &Context<'_>) -> Plan {
    let mut cursor = Cursor::new(&statement.tokens);
    cursor.skip("CREATE");
    let unique = cursor.peek().filter(|_| cursor.skip("UNIQUE"));
    cursor.skip("INDEX");
    if cursor.skip("CONCURRENTLY") {
        return Plan::unsupported("CONCURRENTLY not supported for CREATE INDEX");
    }
    let Some(asynchronous) = cursor.peek().filter(|_| cursor.skip("ASYNC")) else {
        return plan_sync(cursor, context);
    };
    if let Err(refusal) = details(cursor) {
        return refusal;
    }
    let without = |words: &[&Token]| {
        let mut edit = Edit::default();
        words.iter().for_each(|word| edit.replace(word, word, ""));
        edit.apply(statement)
    };
    let not_unique = unique.map(|unique| without(&[unique, asynchronous]));
    let job = NewJob::Index { not_unique };
    Plan::ddl(Some(without(&[asynchronous])), Some(job), Vec::new())
}

/// Permitted only on an empty table, in a session that enables it [D].
fn plan_sync(cursor: Cursor<'_>, context: &Context<'_>) -> Plan {
    let refusal = || Plan::unsupported("unsupported mode. please use CREATE INDEX ASYNC.");
    if !context.sync_index {
        return refusal();
    }
    match details(cursor) {
        Err(refusal) => refusal,
        Ok(None) => refusal(),
        Ok(Some(table)) => Plan::ddl(None, None, vec![Check::Empty { table }]),
    }
}

/// Checks what follows `CREATE INDEX ASYNC`; returns the table. Syntax errors are left to
/// PostgreSQL.
fn details(mut cursor: Cursor<'_>) -> Result<Option<String>, Plan> {
    let unsupported = |message: &str| Err(Plan::unsupported(message));
    cursor.skip("IF NOT EXISTS");
    if !cursor.starts_with("ON") && cursor.name().is_none_or(|name| name.len() > 1) {
        // A schema before the name is a syntax error in PostgreSQL and DSQL.
        return Ok(None);
    }
    if !cursor.skip("ON") {
        return Ok(None);
    }
    cursor.skip("ONLY");
    let Some(table) = cursor.name() else { return Ok(None) };
    if cursor.skip("USING") {
        return unsupported("USING not supported for CREATE INDEX");
    }
    for key in Cursor::new(cursor.parenthesised().unwrap_or_default()).items() {
        check_key(key)?;
    }
    // [I]: no storage option is in the documentation.
    for option in ["WITH", "TABLESPACE"] {
        if cursor.contains(option) {
            return unsupported(&format!("{option} not supported for CREATE INDEX"));
        }
    }
    let name: Vec<String> = table.iter().map(|part| crate::sql::identifier(part)).collect();
    Ok(Some(name.join(".")))
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
    if cursor.contains("ASC") || cursor.contains("DESC") {
        return Err(Plan::unsupported("specifying sort order not supported for index keys"));
    }
    Ok(())
}

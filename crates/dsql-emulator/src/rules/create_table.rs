//! CREATE TABLE (aurora-dsql.md#tables). The types of columns are checked in the database, where
//! they are resolved.

use super::{Check, Context, Plan, sequence};
use crate::sql::{Cursor, Edit, Statement, Token};

/// PostgreSQL has `STORAGE` in a column definition since this version; DSQL has it.
const STORAGE_SINCE: u32 = 16;

/// `cursor` is behind the words CREATE TABLE.
pub(super) fn plan(statement: &Statement, mut cursor: Cursor<'_>, context: &Context<'_>) -> Plan {
    cursor.skip("IF NOT EXISTS");
    cursor.name();
    if cursor.starts_with("PARTITION OF") {
        return clause("PARTITION OF");
    }
    if cursor.starts_with("OF") {
        return clause("OF");
    }
    let elements = cursor.parenthesised();
    // `CREATE TABLE t (a) AS SELECT …`, with options in between or without.
    if cursor.contains("AS") {
        return Plan::unsupported("unsupported statement: CreateTableAs");
    }
    for option in ["INHERITS", "PARTITION BY", "USING", "WITH", "ON COMMIT", "TABLESPACE"] {
        if cursor.contains(option) {
            return clause(option);
        }
    }
    let mut edit = Edit::default();
    let mut checks = Vec::new();
    for element in Cursor::new(elements.unwrap_or_default()).items() {
        match check_element(statement, element, context, &mut edit) {
            Ok(check) => checks.extend(check),
            Err(refusal) => return refusal,
        }
    }
    let text = (!edit.is_empty()).then(|| edit.apply(statement));
    Plan::ddl(text, None, checks)
}

/// `PARTITION BY` is refused with this message (aurora-dsql.md#refused-statements) [O]; the others
/// are refused [O LINT], with messages like it [I].
fn clause(name: &str) -> Plan {
    Plan::unsupported(format!("{name} clause not supported for CREATE TABLE"))
}

fn check_element(
    statement: &Statement,
    element: &[Token],
    context: &Context<'_>,
    edit: &mut Edit,
) -> Result<Option<Check>, Plan> {
    let mut cursor = Cursor::new(element);
    if cursor.skip("CONSTRAINT") {
        cursor.next();
    }
    if cursor.starts_with("EXCLUDE") {
        // [I]
        return Err(Plan::unsupported("EXCLUDE constraint not supported for CREATE TABLE"));
    }
    if ["PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "LIKE"].iter().any(|word| cursor.starts_with(word))
    {
        return Ok(None);
    }
    check_column(statement, element, context, edit)
}

/// Checks a column definition: name, type, constraints.
pub(super) fn check_column(
    statement: &Statement,
    column: &[Token],
    context: &Context<'_>,
    edit: &mut Edit,
) -> Result<Option<Check>, Plan> {
    let mut cursor = Cursor::new(column);
    cursor.next();
    if let Some(refusal) = check_type_name(cursor) {
        return Err(refusal);
    }
    if cursor.contains("COLLATE") {
        return Err(Plan::unsupported("COLLATE clause not supported"));
    }
    if let Some(mut found) = cursor.find("STORAGE")
        && context.server_version < STORAGE_SINCE
    {
        let first = found.next().expect("the word that was found");
        let last = found.next().unwrap_or(first);
        edit.replace(first, last, "");
    }
    let Some(mut identity) = cursor.find("AS IDENTITY") else { return Ok(None) };
    identity.skip("AS IDENTITY");
    match sequence::check_identity(identity) {
        Some(refusal) => Err(refusal),
        None => {
            Ok(type_text(statement, cursor).map(|column_type| Check::BigIdentity { column_type }))
        }
    }
}

/// The type of a column: the text between its name and its constraints.
fn type_text(statement: &Statement, cursor: Cursor<'_>) -> Option<String> {
    const BEHIND: [&str; 9] = [
        "GENERATED",
        "CONSTRAINT",
        "NOT",
        "NULL",
        "PRIMARY",
        "UNIQUE",
        "CHECK",
        "REFERENCES",
        "STORAGE",
    ];
    let is_type = |token: &&Token| !BEHIND.iter().any(|word| token.is(word));
    let last = cursor.rest().iter().take_while(is_type).last()?;
    Some(statement.text[cursor.peek()?.start..last.end].to_owned())
}

/// The serial types do not exist (aurora-dsql.md#refused-statements) [R].
fn check_type_name(mut cursor: Cursor<'_>) -> Option<Plan> {
    const SERIAL: [&str; 6] =
        ["serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"];
    let name = cursor.name()?;
    match name[..] {
        [name] if SERIAL.contains(&name) => {
            Some(Plan::refuse("42704", format!("type \"{name}\" does not exist")))
        }
        _ => None,
    }
}

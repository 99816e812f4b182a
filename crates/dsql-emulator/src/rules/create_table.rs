//! CREATE TABLE (aurora-dsql.md#tables).

use super::{
    Check, Context, Plan,
    column::{Column, check_deferrable},
    refusals::{self, Place},
};
use crate::sql::{Cursor, Edit, Statement, Token};

/// `cursor` is behind the words CREATE TABLE.
pub(super) fn plan(statement: &Statement, mut cursor: Cursor<'_>, context: &Context<'_>) -> Plan {
    cursor.skip("IF NOT EXISTS");
    cursor.name();
    if let Err(refusal) = refusals::check(Place::TableDefinition, cursor) {
        return refusal;
    }
    let elements = cursor.parenthesised();
    if let Err(refusal) = refusals::check_ahead(Place::TableOption, cursor) {
        return refusal;
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
    refusals::check(Place::TableElement, cursor)?;
    if ["PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "LIKE"].iter().any(|word| cursor.starts_with(word))
    {
        check_deferrable(cursor)?;
        return Ok(None);
    }
    Column::read(element).check(statement, context, edit)
}

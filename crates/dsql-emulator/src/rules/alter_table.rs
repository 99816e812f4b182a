//! ALTER TABLE (aurora-dsql.md#alter-table): the permitted actions.

use super::{
    Check, Class, Context, NewJob, Plan,
    column::{Column, check_deferrable},
    refusals::{self, Place},
    sequence,
};
use crate::sql::{Cursor, Edit, Statement, Token, identifier};

/// `cursor` is behind ALTER TABLE.
pub(super) fn plan(statement: &Statement, mut cursor: Cursor<'_>, context: &Context<'_>) -> Plan {
    if let Some(job) = validation(cursor) {
        return Plan::ddl(None, Some(job), Vec::new());
    }
    let mut edit = Edit::default();
    let Some(table) = table(&mut cursor) else {
        return Plan::run(Class::Ddl);
    };
    let mut checks = Vec::new();
    for action in cursor.items() {
        match check_action(statement, action, &table, context, &mut edit) {
            Ok(check) => checks.extend(check),
            Err(refusal) => return refusal,
        }
    }
    let text = (!edit.is_empty()).then(|| edit.apply(statement));
    Plan::ddl(text, None, checks)
}

/// Skips `[IF EXISTS] [ONLY] name [*]`; returns the name, quoted.
fn table(cursor: &mut Cursor<'_>) -> Option<String> {
    cursor.skip("IF EXISTS");
    cursor.skip("ONLY");
    let name = cursor.name()?.into_iter().map(identifier).collect::<Vec<_>>().join(".");
    cursor.skip_mark('*');
    Some(name)
}

/// The job of `ASYNC t VALIDATE CONSTRAINT c`, the only asynchronous action
/// (aurora-dsql.md#alter-table). In any other statement `async` is the name of a table.
fn validation(mut cursor: Cursor<'_>) -> Option<NewJob> {
    if !cursor.skip("ASYNC") {
        return None;
    }
    let table = table(&mut cursor)?;
    let validates = cursor.skip("VALIDATE CONSTRAINT");
    let constraint = cursor.next()?.word()?.to_owned();
    (validates && cursor.is_at_end()).then_some(NewJob::Validate { table, constraint })
}

fn check_action(
    statement: &Statement,
    action: &[Token],
    table: &str,
    context: &Context<'_>,
    edit: &mut Edit,
) -> Result<Option<Check>, Plan> {
    let mut cursor = Cursor::new(action);
    refusals::check(Place::TableAction, cursor)?;
    if cursor.skip("ADD") {
        return check_add(statement, cursor, context, edit);
    }
    if cursor.skip("DROP") {
        return Ok(check_drop(cursor, table));
    }
    // [S SUITES]: a foreign key can become deferrable; PostgreSQL refuses the rest.
    if cursor.starts_with("ALTER CONSTRAINT") {
        return Ok(None);
    }
    if cursor.skip("ALTER") {
        cursor.skip("COLUMN");
        cursor.next();
        return check_alter_column(cursor, context, edit).map(|()| None);
    }
    if cursor.skip("ENABLE TRIGGER") || cursor.skip("DISABLE TRIGGER") {
        // Accepted. All triggers are the emulator's own, which are internal.
        if let Some(all) = cursor.peek().filter(|token| token.is("ALL")) {
            edit.replace(all, all, "USER");
        }
    }
    Ok(None)
}

/// ADD COLUMN without constraints; of ADD CONSTRAINT only CHECK and FOREIGN KEY with NOT VALID, and
/// UNIQUE USING INDEX.
fn check_add(
    statement: &Statement,
    mut cursor: Cursor<'_>,
    context: &Context<'_>,
    edit: &mut Edit,
) -> Result<Option<Check>, Plan> {
    const CONSTRAINTS: [&str; 4] = ["PRIMARY", "UNIQUE", "CHECK", "FOREIGN"];
    let mut constraint = cursor;
    if constraint.skip("CONSTRAINT") {
        constraint.next();
    }
    // A column can be called `exclude`.
    let excludes = refusals::check(Place::TableElement, constraint).is_err();
    if excludes || CONSTRAINTS.iter().any(|word| constraint.starts_with(word)) {
        let permitted = constraint.starts_with("UNIQUE USING INDEX")
            || ((constraint.starts_with("CHECK") || constraint.starts_with("FOREIGN"))
                && constraint.contains("NOT VALID"));
        if !permitted {
            return Err(Plan::unsupported("unsupported ALTER TABLE ADD CONSTRAINT statement"));
        }
        return check_deferrable(constraint).map(|()| None);
    }
    cursor.skip("COLUMN");
    cursor.skip("IF NOT EXISTS");
    let column = Column::read(cursor.rest());
    // Before the type (aurora-dsql.md#order-of-checks).
    if column.has_constraint() {
        return Err(Plan::unsupported("ALTER TABLE ADD COLUMN with constraint not supported"));
    }
    column.check(statement, context, edit)
}

/// The primary key and its columns cannot be dropped; the catalog lists them.
fn check_drop(mut cursor: Cursor<'_>, table: &str) -> Option<Check> {
    let table = table.to_owned();
    if cursor.skip("CONSTRAINT") {
        cursor.skip("IF EXISTS");
        let constraint = cursor.next()?.word()?.to_owned();
        return Some(Check::NotPrimaryKey { table, constraint });
    }
    cursor.skip("COLUMN");
    cursor.skip("IF EXISTS");
    let column = cursor.next()?.word()?.to_owned();
    Some(Check::NotInPrimaryKey { table, column })
}

fn check_alter_column(
    mut cursor: Cursor<'_>,
    context: &Context<'_>,
    edit: &mut Edit,
) -> Result<(), Plan> {
    refusals::check(Place::ColumnAction, cursor)?;
    if cursor.starts_with("SET DEFAULT") {
        return Ok(());
    }
    if let Some(mut identity) = cursor.find("AS IDENTITY") {
        identity.skip("AS IDENTITY");
        return sequence::check_identity(identity);
    }
    if cursor.skip("SET STORAGE") {
        // PostgreSQL has DEFAULT since version 16; for text it means EXTENDED.
        if let Some(word) = cursor.peek().filter(|token| token.is("DEFAULT"))
            && context.server_version < 16
        {
            edit.replace(word, word, "EXTENDED");
        }
        return Ok(());
    }
    sequence::check_changed(cursor)
}

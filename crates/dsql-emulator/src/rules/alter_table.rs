//! ALTER TABLE (aurora-dsql.md#alter-table): the permitted actions.
//!
//! Messages of refusals are `unsupported ALTER TABLE … statement` with PostgreSQL's name of the
//! action.

use super::{
    Check, Class, Context, NewJob, Plan,
    column::{Column, check_deferrable},
    create_table::is_exclusion,
    sequence,
};
use crate::sql::{Cursor, Edit, Statement, Token, identifier};

/// Actions that are refused by their first words, with PostgreSQL's names. Recorded: row security,
/// validation. The refusals of the others, and their names, are [O LINT] or [I].
const REFUSED: &[(&str, &str)] = &[
    ("VALIDATE CONSTRAINT", "VALIDATE CONSTRAINT"),
    ("ENABLE ROW LEVEL SECURITY", "ENABLE ROW SECURITY"),
    ("DISABLE ROW LEVEL SECURITY", "DISABLE ROW SECURITY"),
    ("FORCE ROW LEVEL SECURITY", "FORCE ROW SECURITY"),
    ("NO FORCE ROW LEVEL SECURITY", "NO FORCE ROW SECURITY"),
    ("ENABLE ALWAYS RULE", "ENABLE ALWAYS RULE"),
    ("ENABLE REPLICA RULE", "ENABLE REPLICA RULE"),
    ("ENABLE RULE", "ENABLE RULE"),
    ("DISABLE RULE", "DISABLE RULE"),
    ("REPLICA IDENTITY", "REPLICA IDENTITY"),
    ("CLUSTER ON", "CLUSTER ON"),
    ("SET WITHOUT CLUSTER", "SET WITHOUT CLUSTER"),
    ("SET WITHOUT OIDS", "SET WITHOUT OIDS"),
    ("SET LOGGED", "SET LOGGED"),
    ("SET UNLOGGED", "SET UNLOGGED"),
    ("SET TABLESPACE", "SET TABLESPACE"),
    ("SET ACCESS METHOD", "SET ACCESS METHOD"),
    ("INHERIT", "INHERIT"),
    ("NO INHERIT", "NO INHERIT"),
    ("NOT OF", "NOT OF"),
    ("OF", "OF"),
    ("OPTIONS", "OPTIONS"),
    ("ATTACH PARTITION", "ATTACH PARTITION"),
    ("DETACH PARTITION", "DETACH PARTITION"),
];

/// Changes of a column that are refused, with PostgreSQL's names. Recorded: the first three.
const REFUSED_OF_COLUMN: &[(&str, &str)] = &[
    ("SET NOT NULL", "SET NOT NULL"),
    ("SET DATA TYPE", "SET DATA TYPE"),
    ("TYPE", "SET DATA TYPE"),
    ("SET STATISTICS", "SET STATISTICS"),
    ("SET COMPRESSION", "SET COMPRESSION"),
    ("OPTIONS", "OPTIONS"),
];

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

fn unsupported(action: &str) -> Plan {
    Plan::unsupported(format!("unsupported ALTER TABLE {action} statement"))
}

fn check_action(
    statement: &Statement,
    action: &[Token],
    table: &str,
    context: &Context<'_>,
    edit: &mut Edit,
) -> Result<Option<Check>, Plan> {
    let mut cursor = Cursor::new(action);
    if let Some((_, name)) = REFUSED.iter().find(|(words, _)| cursor.starts_with(words)) {
        return Err(unsupported(name));
    }
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
    if cursor.skip("SET") || cursor.skip("RESET") {
        if cursor.peek().is_some_and(|token| token.is_mark('(')) {
            let word = action[0].word().unwrap_or_default().to_uppercase();
            return Err(unsupported(&word));
        }
    } else if cursor.skip("ENABLE TRIGGER") || cursor.skip("DISABLE TRIGGER") {
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
    if CONSTRAINTS.iter().any(|word| constraint.starts_with(word)) || is_exclusion(constraint) {
        let permitted = constraint.starts_with("UNIQUE USING INDEX")
            || ((constraint.starts_with("CHECK") || constraint.starts_with("FOREIGN"))
                && constraint.contains("NOT VALID"));
        if !permitted {
            return Err(unsupported("ADD CONSTRAINT"));
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
    let refused = REFUSED_OF_COLUMN.iter().find(|(words, _)| cursor.starts_with(words));
    if let Some((_, name)) = refused {
        return Err(unsupported(&format!("ALTER COLUMN ... {name}")));
    }
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
    for word in ["SET", "RESET"] {
        let mut options = cursor;
        if options.skip(word) && options.peek().is_some_and(|token| token.is_mark('(')) {
            return Err(unsupported(&format!("ALTER COLUMN ... {word}")));
        }
    }
    sequence::check_changed(cursor)
}

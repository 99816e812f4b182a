//! CREATE statements that are not refused by their first words.

use super::{
    Check, Class, Context, Plan, body, check_member, create_table, index,
    refusals::{self, Place},
    sequence,
};
use crate::sql::{Cursor, Edit, Statement, Token, identifier};

pub(super) fn plan(statement: &Statement, context: &Context<'_>) -> Plan {
    let mut cursor = Cursor::new(&statement.tokens);
    cursor.skip("CREATE");
    cursor.skip("OR REPLACE");
    if cursor.starts_with("UNIQUE") || cursor.starts_with("INDEX") {
        return index::plan_create(statement, context);
    }
    let temporary = {
        let _ = cursor.skip("GLOBAL") || cursor.skip("LOCAL");
        cursor.skip("TEMPORARY") || cursor.skip("TEMP")
    };
    let unlogged = cursor.skip("UNLOGGED");
    let kind = if temporary { Some(Place::Temporary) } else { unlogged.then_some(Place::Unlogged) };
    if let Some(Err(refusal)) = kind.map(|kind| refusals::check(kind, cursor)) {
        return refusal;
    }
    if cursor.skip("TABLE") {
        return create_table::plan(statement, cursor, context);
    }
    if cursor.skip("SEQUENCE") {
        return sequence::plan_create(cursor);
    }
    if cursor.skip("TYPE") {
        // Domains are the only types that can be created.
        cursor.name();
        return refusals::check(Place::TypeDefinition, cursor)
            .err()
            .unwrap_or_else(|| Plan::run(Class::Ddl));
    }
    if cursor.skip("FUNCTION") {
        return body::plan_function(statement, cursor, context);
    }
    if cursor.skip("VIEW") || cursor.skip("RECURSIVE VIEW") {
        return body::plan_view(statement, cursor, context);
    }
    if cursor.skip("ROLE") || cursor.skip("USER") || cursor.skip("GROUP") {
        cursor.next();
        return check_member(cursor).err().unwrap_or_else(|| Plan::run(Class::Ddl));
    }
    if cursor.starts_with("SCHEMA") {
        return Plan::ddl(None, None, vec![Check::SchemaCount]);
    }
    if cursor.starts_with("STATISTICS") && context.server_version < NAMELESS_SINCE {
        return Plan::ddl(name_statistics(statement, cursor), None, Vec::new());
    }
    Plan::run(Class::Ddl)
}

/// Before this version of PostgreSQL, statistics need a name; DSQL's do not.
const NAMELESS_SINCE: u32 = 16;

/// Adds a name for the statistics, which follows PostgreSQL's pattern. `None` if the statement has
/// a name, or cannot be read.
fn name_statistics(statement: &Statement, mut cursor: Cursor<'_>) -> Option<String> {
    let word = cursor.next()?;
    cursor.parenthesised();
    if !cursor.skip("ON") {
        return None;
    }
    let from = cursor.find("FROM")?;
    let columns = &cursor.rest()[..from.at() - cursor.at()];
    let column = |item: &[Token]| match item {
        [column] => column.word().unwrap_or("expr").to_owned(),
        _ => "expr".to_owned(),
    };
    let mut name = vec![from.rest().iter().skip(1).filter_map(Token::word).next_back()?.to_owned()];
    name.extend(Cursor::new(columns).items().into_iter().map(column));
    name.push("stat".to_owned());
    let mut edit = Edit::default();
    edit.replace(word, word, format!("STATISTICS {}", identifier(&name.join("_"))));
    Some(edit.apply(statement))
}

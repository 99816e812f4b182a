//! ALTER and DROP of all objects other than tables (aurora-dsql.md#tables).

use super::{
    Check, Class, Context, Plan, alter_table,
    refusals::{self, Place},
    sequence, setting,
};
use crate::sql::{Cursor, Edit, Kind, Statement, Token, identifier};

pub(super) fn plan_alter(statement: &Statement, context: &Context<'_>) -> Plan {
    let mut cursor = Cursor::new(&statement.tokens);
    cursor.skip("ALTER");
    if cursor.skip("TABLE") {
        return alter_table::plan(statement, cursor, context);
    }
    if cursor.skip("SEQUENCE") {
        return sequence::plan_alter(cursor);
    }
    if cursor.skip("STATISTICS") {
        return plan_alter_statistics(cursor);
    }
    if cursor.skip("TYPE") {
        cursor.name();
        let renames = cursor.starts_with("RENAME") && !cursor.starts_with("RENAME VALUE");
        let message = if renames {
            "unsupported object in RENAME statement"
        } else {
            "ALTER TYPE not supported"
        };
        return Plan::unsupported(message);
    }
    if cursor.skip("DOMAIN") {
        return plan_alter_domain(cursor);
    }
    if cursor.skip("AGGREGATE") || cursor.skip("MATERIALIZED VIEW") {
        cursor.skip("IF EXISTS");
        cursor.name();
        return Plan::unsupported(if cursor.contains("RENAME") {
            "unsupported object in RENAME statement"
        } else {
            // [I]
            "unsupported object in ALTER statement"
        });
    }
    if cursor.skip("FUNCTION") {
        // Only these four forms [O LINT]; message [I].
        cursor.name();
        let forms = ["RENAME TO", "OWNER TO", "SET SCHEMA", "DEPENDS ON"];
        if !forms.iter().any(|form| cursor.contains(form)) {
            return Plan::unsupported("unsupported statement: AlterFunction");
        }
    }
    if cursor.skip("ROLE") || cursor.skip("USER") {
        return plan_alter_role(statement, cursor, context);
    }
    if cursor.skip("GROUP") {
        return super::check_member(cursor).err().unwrap_or_else(|| Plan::run(Class::Ddl));
    }
    if cursor.skip("INDEX") {
        // Renaming works (aurora-dsql.md#indexes); the rest are actions of ALTER TABLE [I].
        cursor.skip("IF EXISTS");
        cursor.name();
        if !cursor.starts_with("RENAME") {
            let action = cursor.peek().and_then(|token| token.word()).unwrap_or("SET");
            let action = action.to_uppercase();
            return Plan::unsupported(format!("unsupported ALTER TABLE {action} statement"));
        }
    }
    Plan::run(Class::Ddl)
}

/// [S SUITES]; messages [I], like those of ALTER TABLE.
fn plan_alter_domain(mut cursor: Cursor<'_>) -> Plan {
    cursor.name();
    if let Err(refusal) = refusals::check(Place::DomainAction, cursor) {
        return refusal;
    }
    if cursor.starts_with("DROP CONSTRAINT") && cursor.contains("CASCADE") {
        return Plan::unsupported("unsupported ALTER DOMAIN DROP CONSTRAINT ... CASCADE statement");
    }
    Plan::run(Class::Ddl)
}

/// RENAME, SET and RESET are supported, properties are not (aurora-dsql.md#sessions) [S SUITES, O
/// LINT]; message [I].
///
/// A setting belongs to the role in this database, because emulators can share a server.
fn plan_alter_role(statement: &Statement, mut cursor: Cursor<'_>, context: &Context<'_>) -> Plan {
    let Some(role) = cursor.next() else { return Plan::run(Class::Ddl) };
    let mut edit = Edit::default();
    let own_database = identifier(context.database);
    let mut behind_database = cursor;
    if behind_database.skip("IN DATABASE") {
        if let Some(name) = behind_database.next().filter(|name| name.word() == Some("postgres")) {
            edit.replace(name, name, own_database);
        }
        cursor = behind_database;
    } else {
        let name = &statement.text[role.start..role.end];
        edit.replace(role, role, format!("{name} IN DATABASE {own_database}"));
    }
    if cursor.starts_with("RENAME TO") {
        return Plan::run(Class::Ddl);
    }
    let refusal = if cursor.skip("SET") {
        setting::check_name(cursor)
    } else if cursor.skip("RESET") {
        None
    } else {
        Some(Plan::unsupported("unsupported statement: AlterRole"))
    };
    refusal.unwrap_or_else(|| Plan::ddl(Some(edit.apply(statement)), None, Vec::new()))
}

/// aurora-dsql.md#tables: targets from −1 to 100.
fn plan_alter_statistics(cursor: Cursor<'_>) -> Plan {
    let target = cursor.find("SET STATISTICS").and_then(|mut found| {
        found.skip("SET STATISTICS");
        match &found.next()?.kind {
            Kind::Number(number) => number.parse::<u64>().ok(),
            _ => None,
        }
    });
    match target {
        Some(target) if target > 100 => Plan::refuse(
            "22023",
            format!("statistics target {target} exceeds maximum allowed value of 100"),
        ),
        _ => Plan::run(Class::Ddl),
    }
}

/// Objects that DSQL can drop. PostgreSQL handles `SCHEMA … CASCADE` and the like.
const DROPPABLE: &[&str] = &[
    "TABLE",
    "INDEX",
    "SEQUENCE",
    "VIEW",
    "SCHEMA",
    "DOMAIN",
    "FUNCTION",
    "ROUTINE",
    "STATISTICS",
    "TRIGGER",
];

pub(super) fn plan_drop(mut cursor: Cursor<'_>) -> Plan {
    cursor.skip("DROP");
    // [S SUITES]; message [I].
    if cursor.starts_with("DOMAIN") && cursor.contains("CASCADE") {
        return Plan::unsupported("CASCADE not supported for DROP DOMAIN");
    }
    if cursor.skip("ROLE") || cursor.skip("USER") || cursor.skip("GROUP") {
        cursor.skip("IF EXISTS");
        let role = |item: &[Token]| Some(Check::NotMapped { role: item.first()?.word()?.into() });
        let checks = cursor.items().into_iter().filter_map(role).collect();
        return Plan::ddl(None, None, checks);
    }
    if DROPPABLE.iter().any(|object| cursor.starts_with(object)) {
        return Plan::run(Class::Ddl);
    }
    Plan::unsupported("unsupported object in DROP statement")
}

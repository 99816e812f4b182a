//! ALTER and DROP of all objects other than tables (aurora-dsql.md#tables).

use super::{Class, Context, Plan, alter_table, sequence};
use crate::sql::{Cursor, Statement};

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
        let message = if cursor.contains("RENAME") && !cursor.contains("RENAME VALUE") {
            "unsupported object in RENAME statement"
        } else {
            "ALTER TYPE not supported"
        };
        return Plan::unsupported(message);
    }
    if cursor.starts_with("AGGREGATE") || cursor.starts_with("MATERIALIZED VIEW") {
        return Plan::unsupported(if cursor.contains("RENAME") {
            "unsupported object in RENAME statement"
        } else {
            // [I]
            "unsupported object in ALTER statement"
        });
    }
    if cursor.starts_with("FUNCTION") {
        // Only these four forms [O LINT]; message [I].
        let forms = ["RENAME TO", "OWNER TO", "SET SCHEMA", "DEPENDS ON"];
        if !forms.iter().any(|form| cursor.contains(form)) {
            return Plan::unsupported("unsupported statement: AlterFunction");
        }
    }
    if cursor.skip("ROLE") {
        return plan_alter_role(cursor);
    }
    if cursor.starts_with("USER") {
        // [O LINT], message [I].
        return Plan::unsupported("unsupported statement: AlterRole");
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

/// RENAME and RESET are supported, settings and properties are not [O LINT]; messages [I].
fn plan_alter_role(mut cursor: Cursor<'_>) -> Plan {
    cursor.next();
    if cursor.contains("RENAME TO") || cursor.contains("RESET") {
        Plan::run(Class::Ddl)
    } else if cursor.contains("SET") {
        Plan::unsupported("unsupported statement: AlterRoleSet")
    } else {
        Plan::unsupported("unsupported statement: AlterRole")
    }
}

/// aurora-dsql.md#tables: targets from −1 to 100.
fn plan_alter_statistics(cursor: Cursor<'_>) -> Plan {
    let target = cursor.find("SET STATISTICS").and_then(|mut found| {
        found.skip("SET STATISTICS");
        match &found.next()?.kind {
            crate::sql::Kind::Number(number) => number.parse::<u64>().ok(),
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
    "ROLE",
    "USER",
    "GROUP",
    "DOMAIN",
    "FUNCTION",
    "ROUTINE",
    "STATISTICS",
    "TRIGGER",
];

pub(super) fn plan_drop(mut cursor: Cursor<'_>) -> Plan {
    cursor.skip("DROP");
    if cursor.starts_with("INDEX CONCURRENTLY") {
        return Plan::unsupported("DROP INDEX CONCURRENTLY must be first action in transaction");
    }
    if DROPPABLE.iter().any(|object| cursor.starts_with(object)) {
        return Plan::run(Class::Ddl);
    }
    Plan::unsupported("unsupported object in DROP statement")
}

//! ALTER and DROP of all objects other than tables (aurora-dsql.md#tables).

use super::{Class, Context, Plan, alter_table, sequence};
use crate::sql::{Cursor, Statement};

pub(super) fn plan_alter(statement: &Statement, context: &Context<'_>) -> Plan {
    let mut cursor = Cursor::new(&statement.tokens);
    cursor.eat("ALTER");
    if cursor.eat("TABLE") {
        return alter_table::plan(statement, cursor, context);
    }
    if cursor.eat("SEQUENCE") {
        return sequence::plan_alter(cursor);
    }
    if cursor.eat("STATISTICS") {
        return plan_alter_statistics(cursor);
    }
    if cursor.eat("TYPE") {
        let message = if cursor.finds("RENAME") && !cursor.finds("RENAME VALUE") {
            "unsupported object in RENAME statement"
        } else {
            "ALTER TYPE not supported"
        };
        return Plan::unsupported(message);
    }
    if cursor.sees("AGGREGATE") || cursor.sees("MATERIALIZED VIEW") {
        return Plan::unsupported(if cursor.finds("RENAME") {
            "unsupported object in RENAME statement"
        } else {
            // [I]
            "unsupported object in ALTER statement"
        });
    }
    if cursor.sees("FUNCTION") {
        // Only these four forms [O LINT]; message [I].
        let forms = ["RENAME TO", "OWNER TO", "SET SCHEMA", "DEPENDS ON"];
        if !forms.iter().any(|form| cursor.finds(form)) {
            return Plan::unsupported("unsupported statement: AlterFunction");
        }
    }
    if cursor.eat("ROLE") {
        return plan_alter_role(cursor);
    }
    if cursor.sees("USER") {
        // [O LINT], message [I].
        return Plan::unsupported("unsupported statement: AlterRole");
    }
    if cursor.eat("INDEX") {
        // Renaming works (aurora-dsql.md#indexes); the rest are actions of ALTER TABLE [I].
        cursor.eat("IF EXISTS");
        cursor.name();
        if !cursor.sees("RENAME") {
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
    if cursor.finds("RENAME TO") || cursor.finds("RESET") {
        Plan::run(Class::Ddl)
    } else if cursor.finds("SET") {
        Plan::unsupported("unsupported statement: AlterRoleSet")
    } else {
        Plan::unsupported("unsupported statement: AlterRole")
    }
}

/// aurora-dsql.md#tables: targets from −1 to 100.
fn plan_alter_statistics(cursor: Cursor<'_>) -> Plan {
    let target = cursor.find("SET STATISTICS").and_then(|mut found| {
        found.eat("SET STATISTICS");
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
    cursor.eat("DROP");
    if cursor.sees("INDEX CONCURRENTLY") {
        return Plan::unsupported("DROP INDEX CONCURRENTLY must be first action in transaction");
    }
    if DROPPABLE.iter().any(|object| cursor.sees(object)) {
        return Plan::run(Class::Ddl);
    }
    Plan::unsupported("unsupported object in DROP statement")
}

//! The one database of a cluster, which is called `postgres` on DSQL and has another name here.

use crate::sql::{Edit, Kind, Statement, Token, literal, split};

/// Removes the name of the database from a statement: `CURRENT_CATALOG`, and the first part of
/// `postgres.schema.table`, also in a literal that names a relation (aurora-dsql.md#environment).
/// Computed names are handled in the database.
pub(crate) fn in_own_database(statement: Statement) -> Statement {
    let tokens = &statement.tokens;
    let mut edit = Edit::default();
    for (position, token) in tokens.iter().enumerate() {
        let before = position.checked_sub(1).map(|before| &tokens[before]);
        if before.is_some_and(|before| before.is_mark('.') || before.is("AS")) {
            continue;
        }
        if let Kind::Text(text) = &token.kind {
            if let Some(name) = own_relation_name(text)
                && names_relation(tokens, position)
            {
                edit.replace(token, token, literal(name));
            }
        } else if token.is("CURRENT_CATALOG") {
            // A function with that name, so that its column has the name too.
            edit.replace(token, token, "pg_catalog.\"current_catalog\"()");
        } else if let [database, dot, schema, other_dot, table, ..] = &tokens[position..]
            && database.word() == Some("postgres")
            && [dot, other_dot].iter().all(|token| token.is_mark('.'))
            && [schema, table].iter().all(|token| is_name(token))
        {
            edit.replace(database, dot, "");
        }
    }
    if edit.is_empty() {
        return statement;
    }
    let offset = statement.offset;
    let text = edit.apply(&statement);
    let edited = split(&text).into_iter().next();
    edited.map_or(statement, |edited| Statement { offset, ..edited })
}

/// The name without the database, of `postgres.schema.table`.
pub(crate) fn own_relation_name(text: &str) -> Option<&str> {
    if !text.contains("postgres") {
        return None;
    }
    let text = text.trim_start();
    let statements = split(text);
    let [statement] = &statements[..] else { return None };
    match &statement.tokens[..] {
        [database, dot, schema, other_dot, table]
            if database.word() == Some("postgres")
                && [dot, other_dot].iter().all(|token| token.is_mark('.'))
                && [schema, table].iter().all(|token| is_name(token)) =>
        {
            text.get(schema.start..)
        }
        _ => None,
    }
}

/// Whether the literal at `position` is converted to `regclass`, by a cast or as an argument.
fn names_relation(tokens: &[Token], position: usize) -> bool {
    const FUNCTIONS: [&str; 6] = [
        "nextval",
        "currval",
        "setval",
        "pg_relation_size",
        "pg_total_relation_size",
        "pg_indexes_size",
    ];
    let is_regclass = |tokens: &[Token]| match tokens {
        [schema, dot, name, ..] if dot.is_mark('.') => {
            schema.word() == Some("pg_catalog") && name.word() == Some("regclass")
        }
        [name, ..] => name.word() == Some("regclass"),
        [] => false,
    };
    let (before, after) = (&tokens[..position], &tokens[position + 1..]);
    let converted = |after: &[Token]| match after {
        [operator, name @ ..] => {
            (operator.is_operator("::") || operator.is("AS")) && is_regclass(name)
        }
        [] => false,
    };
    let of_function = match before {
        [.., function, open] => {
            open.is_mark('(') && function.word().is_some_and(|name| FUNCTIONS.contains(&name))
        }
        _ => false,
    };
    let typed = before.last().is_some_and(|name| name.word() == Some("regclass"));
    converted(after) || of_function || typed
}

fn is_name(token: &Token) -> bool {
    token.word().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_not_named() {
        for (sql, edited) in [
            (
                "SELECT CURRENT_CATALOG, 'current_catalog'",
                "SELECT pg_catalog.\"current_catalog\"(), 'current_catalog'",
            ),
            ("SELECT 1 AS current_catalog", "SELECT 1 AS current_catalog"),
            ("TABLE postgres.public.t", "TABLE public.t"),
            ("SELECT \"postgres\".s.t.c FROM postgres . s.t", "SELECT s.t.c FROM  s.t"),
            ("SELECT postgres.a FROM postgres", "SELECT postgres.a FROM postgres"),
            ("SELECT x.postgres.a.b", "SELECT x.postgres.a.b"),
            (
                "SELECT 'postgres.public.t'::regclass, regclass '\"postgres\".a.\"B c\"'",
                "SELECT 'public.t'::regclass, regclass 'a.\"B c\"'",
            ),
            (
                "SELECT CAST('postgres.a.b' AS pg_catalog.regclass), nextval('postgres.a.b')",
                "SELECT CAST('a.b' AS pg_catalog.regclass), nextval('a.b')",
            ),
            (
                "SELECT 'postgres.public.t', 'a.b'::regclass",
                "SELECT 'postgres.public.t', 'a.b'::regclass",
            ),
        ] {
            assert_eq!(in_own_database(split(sql).remove(0)).text, edited);
        }
    }
}

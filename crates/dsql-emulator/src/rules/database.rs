//! The one database of a cluster, which is called `postgres` on DSQL and has another name here.

use crate::sql::{Edit, Statement, Token, split};

/// Removes the name of the database from a statement: `CURRENT_CATALOG`, and the first part of
/// `postgres.schema.table` (aurora-dsql.md#environment).
pub(crate) fn in_own_database(statement: Statement) -> Statement {
    let tokens = &statement.tokens;
    let mut edit = Edit::default();
    for (position, token) in tokens.iter().enumerate() {
        let before = position.checked_sub(1).map(|before| &tokens[before]);
        if before.is_some_and(|before| before.is_mark('.') || before.is("AS")) {
            continue;
        }
        if token.is("CURRENT_CATALOG") {
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
        ] {
            assert_eq!(in_own_database(split(sql).remove(0)).text, edited);
        }
    }
}

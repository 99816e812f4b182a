//! The statements inside of CREATE FUNCTION and CREATE VIEW, to which the same rules apply
//! (aurora-dsql.md#refused-statements) [S SUITES].

use super::{Check, Context, Plan, plan};
use crate::sql::{Cursor, Kind, Statement, Token, split};

/// `cursor` is behind CREATE VIEW.
pub(super) fn plan_view(statement: &Statement, cursor: Cursor<'_>, context: &Context<'_>) -> Plan {
    let query = cursor.find("AS").and_then(|mut found| {
        found.skip("AS");
        statement.part(found.rest())
    });
    plan_body(query, context)
}

/// `cursor` is behind CREATE FUNCTION. Functions are in SQL only.
pub(super) fn plan_function(
    statement: &Statement,
    mut cursor: Cursor<'_>,
    context: &Context<'_>,
) -> Plan {
    cursor.name();
    cursor.parenthesised();
    let (mut language, mut body) = (None, Vec::new());
    while !cursor.is_at_end() {
        if cursor.skip("RETURNS") {
            cursor.next();
        } else if cursor.skip("LANGUAGE") {
            language = cursor.next().and_then(word_or_text);
        } else if cursor.skip("AS") {
            body = split(&cursor.next().and_then(word_or_text).unwrap_or_default());
        } else if cursor.skip("BEGIN ATOMIC") {
            // The last token is END.
            let tokens = cursor.rest().split_last().map(|(_, body)| body).unwrap_or_default();
            let statements = tokens.split(|token| token.is_mark(';'));
            body = statements.filter_map(|tokens| statement.part(tokens)).collect();
            break;
        } else if cursor.skip("RETURN") {
            let result = statement.part(cursor.rest());
            body = result.map_or_else(Vec::new, |result| split(&format!("SELECT {}", result.text)));
            break;
        } else if cursor.parenthesised().is_none() {
            cursor.next();
        }
    }
    match language.map(|language| language.to_lowercase()) {
        Some(language) if language != "sql" => {
            Plan::unsupported(format!("CREATE FUNCTION with language {language} not supported"))
        }
        _ => plan_body(body, context),
    }
}

fn word_or_text(token: &Token) -> Option<String> {
    match &token.kind {
        Kind::Word { text, .. } | Kind::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// The plan of a statement with this body: DDL, unless the body is refused.
fn plan_body(body: impl IntoIterator<Item = Statement>, context: &Context<'_>) -> Plan {
    let mut checks: Vec<Check> = Vec::new();
    // Views and functions inside of others are left to PostgreSQL: they may be nested without end.
    let nests = |inner: &Statement| {
        let mut cursor = Cursor::new(&inner.tokens);
        let creates = cursor.skip("CREATE");
        for words in ["OR REPLACE", "GLOBAL", "LOCAL", "TEMPORARY", "TEMP", "RECURSIVE"] {
            cursor.skip(words);
        }
        creates && (cursor.starts_with("FUNCTION") || cursor.starts_with("VIEW"))
    };
    for inner in body.into_iter().filter(|inner| !nests(inner)) {
        match plan(&inner, context) {
            Plan::Refuse(mut refusal) => {
                // It is a position in the body.
                refusal.position = None;
                return Plan::Refuse(refusal);
            }
            Plan::Run(run) => checks.extend(run.checks),
            _ => {}
        }
    }
    Plan::ddl(None, None, checks)
}

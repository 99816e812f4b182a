//! The statements inside of CREATE FUNCTION and CREATE VIEW, to which the same rules apply
//! (aurora-dsql.md#refused-statements) [S SUITES].

use super::{Check, Context, Plan, plan};
use crate::sql::{Cursor, Kind, Statement, Token, split};

/// `cursor` is behind CREATE VIEW.
pub(super) fn plan_view(statement: &Statement, cursor: Cursor<'_>, context: &Context<'_>) -> Plan {
    let query = cursor.find("AS").and_then(|mut found| {
        found.skip("AS");
        text_of(statement, found.rest())
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
    let (mut language, mut body) = (None, None);
    while !cursor.is_at_end() {
        if cursor.skip("RETURNS") {
            cursor.next();
        } else if cursor.skip("LANGUAGE") {
            language = cursor.next().and_then(word_or_text);
        } else if cursor.skip("AS") {
            body = cursor.next().and_then(word_or_text);
        } else if cursor.skip("BEGIN ATOMIC") {
            // The last token is END.
            body = cursor.rest().split_last().and_then(|(_, body)| text_of(statement, body));
            break;
        } else if cursor.skip("RETURN") {
            body = text_of(statement, cursor.rest()).map(|result| format!("SELECT {result}"));
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

fn text_of(statement: &Statement, tokens: &[Token]) -> Option<String> {
    let (first, last) = tokens.first().zip(tokens.last())?;
    Some(statement.text[first.start..last.end].to_owned())
}

/// The plan of a statement with this body: DDL, unless the body is refused.
fn plan_body(body: Option<String>, context: &Context<'_>) -> Plan {
    let mut checks: Vec<Check> = Vec::new();
    for inner in split(&body.unwrap_or_default()) {
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

//! Queries and DML: what they may contain, and whether they can write.

use super::{
    Class, Context, Plan, Run, lateral,
    locking::{locking, locks_in_parentheses},
};
use crate::sql::{Cursor, Statement, Token};

/// Functions that DSQL refuses: advisory locks [R], the others according to AWS's guide for agents
/// (aurora-dsql.md#sessions).
const REFUSED_FUNCTIONS: &[&str] = &[
    "lastval",
    "pg_cancel_backend",
    "pg_notify",
    "pg_table_size",
    "pg_terminate_backend",
    "set_config",
];
const REFUSED_PREFIXES: &[&str] = &["pg_advisory_", "pg_try_advisory_"];

pub(super) fn plan(statement: &Statement, context: &Context<'_>) -> Plan {
    let tokens = &statement.tokens;
    if let Some(refusal) = check_words(tokens) {
        return refusal;
    }
    let Some(head) = tokens.iter().find(|token| !token.is_mark('(')) else {
        return Plan::run(Class::Utility);
    };
    let main = main_word(tokens);
    if main == Some("merge") {
        return Plan::unsupported("unsupported statement type: MERGE");
    }
    let reads = ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| head.is(word));
    if reads && Cursor::new(tokens).contains("INTO") && main == Some("select") {
        return Plan::unsupported("unsupported statement: CreateTableAs");
    }
    let checks = match lateral::check(statement) {
        Ok(checks) => checks,
        Err(refusal) => return refusal,
    };
    if let Some(refusal) = check_unrecorded(tokens, context) {
        return refusal;
    }
    let locking = locking(statement);
    let class = if reads && locking.is_none() && !may_write(tokens, context) {
        Class::Read
    } else {
        Class::Write
    };
    let changes_rows = !reads || changes_in_with(tokens);
    Plan::Run(Run { text: None, class, changes_rows, locking, job: None, checks })
}

/// Statements that are refused by configuration, because DSQL's behaviour is not recorded. Messages
/// [I].
fn check_unrecorded(tokens: &[Token], context: &Context<'_>) -> Option<Plan> {
    if !context.unrecorded.data_modifying_with && changes_in_parentheses(tokens) {
        return Some(Plan::unsupported("data-modifying statements in WITH are not supported"));
    }
    if !context.unrecorded.locking_subqueries && locks_in_parentheses(tokens) {
        return Some(Plan::unsupported("locking clauses in subqueries are not supported"));
    }
    None
}

/// Whether a statement in a WITH clause changes rows.
pub(crate) fn changes_in_parentheses(tokens: &[Token]) -> bool {
    (1..tokens.len()).any(|position| {
        let inner = Cursor::new(&tokens[position..]);
        let updates = || {
            let mut inner = inner;
            inner.skip("UPDATE") && inner.peek().is_some_and(|token| token.word().is_some())
        };
        tokens[position - 1].is_mark('(')
            && (inner.starts_with("INSERT INTO") || inner.starts_with("DELETE FROM") || updates())
    })
}

fn check_words(tokens: &[Token]) -> Option<Plan> {
    for position in 0..tokens.len() {
        let mut cursor = Cursor::new(&tokens[position..]);
        if cursor.starts_with("FOR SHARE") || cursor.starts_with("FOR NO KEY UPDATE") {
            return Some(Plan::unsupported(
                "locking clauses other than FOR UPDATE/FOR KEY SHARE are not supported",
            ));
        }
        if position > 0 && cursor.starts_with("TABLESAMPLE") {
            return Some(Plan::unsupported("TABLESAMPLE clause not supported"));
        }
        if cursor.skip("COLLATE") {
            if let Err(refusal) = check_collation(&mut cursor) {
                return Some(refusal);
            }
            continue;
        }
        let name = tokens[position].word().filter(|_| calls(tokens, position));
        if let Some(name) = name
            && (REFUSED_FUNCTIONS.contains(&name)
                || REFUSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        {
            return Some(Plan::unsupported(format!("function {name} not supported")));
        }
    }
    None
}

/// Whether the word at `position` is followed by a parenthesis.
fn calls(tokens: &[Token], position: usize) -> bool {
    tokens.get(position + 1).is_some_and(|next| next.is_mark('('))
}

/// Expressions may have the collations "C", "POSIX" and "default"
/// (aurora-dsql.md#refused-statements) [O]. Message [I].
pub(super) fn check_collation(cursor: &mut Cursor<'_>) -> Result<(), Plan> {
    match cursor.name().as_deref() {
        Some(["C" | "POSIX" | "default"] | ["pg_catalog", "C" | "POSIX" | "default"]) => Ok(()),
        _ => Err(Plan::unsupported("COLLATE clause not supported")),
    }
}

/// The first keyword of the statement after its WITH clause.
pub(super) fn main_word(tokens: &[Token]) -> Option<&str> {
    const MAIN: [&str; 7] = ["SELECT", "VALUES", "TABLE", "INSERT", "UPDATE", "DELETE", "MERGE"];
    let mut cursor = Cursor::new(tokens);
    let mut first = None;
    while let Some(token) = cursor.peek() {
        if MAIN.iter().any(|word| token.is(word)) {
            let at = cursor.at();
            // Elsewhere it is usually the name of a query.
            if at == 0 || tokens[at - 1].is_mark(')') {
                return token.word();
            }
            first = first.or(token.word());
        }
        if cursor.parenthesised().is_none() {
            cursor.next();
        }
    }
    first
}

/// Whether a query may change rows: by a WITH clause, or by a function that is not PostgreSQL's
/// own.
fn may_write(tokens: &[Token], context: &Context<'_>) -> bool {
    let calls_unknown = tokens.iter().enumerate().any(|(position, token)| {
        calls(tokens, position) && token.word().is_some_and(|word| !context.builtins.contains(word))
    });
    calls_unknown || changes_in_with(tokens)
}

/// Whether INSERT, UPDATE or DELETE follows a parenthesis.
fn changes_in_with(tokens: &[Token]) -> bool {
    let changes = |token: &Token| ["INSERT", "UPDATE", "DELETE"].iter().any(|word| token.is(word));
    tokens
        .windows(2)
        .any(|pair| (pair[0].is_mark('(') || pair[0].is_mark(')')) && changes(&pair[1]))
}

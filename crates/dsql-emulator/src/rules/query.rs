//! Queries and DML: what they may contain, and whether they can write.

use super::{
    Class, Context, Plan, Run, lateral,
    locking::LockingQueries,
    refusals::{self, Place},
    system_columns,
};
use crate::sql::{Cursor, Kind, Statement, Token};

pub(super) fn plan(statement: &Statement, context: &Context<'_>) -> Plan {
    let tokens = &statement.tokens;
    if let Err(refusal) = check_words(tokens, context) {
        return refusal;
    }
    let Some(head) = tokens.iter().find(|token| !token.is_mark('(')) else {
        return Plan::run(Class::Utility);
    };
    let main = main_word(tokens);
    let reads = ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| head.is(word));
    let into = reads && main == Some("select") && Cursor::new(tokens).contains("INTO");
    let refused = match main {
        Some("merge") => refusals::check_name(Place::Statement, "MERGE"),
        _ if into => refusals::check_name(Place::QueryClause, "INTO"),
        _ => Ok(()),
    };
    if let Err(refusal) = refused {
        return refusal;
    }
    let locking = LockingQueries::read(statement);
    let mut checks = match lateral::check(statement, locking.as_ref()) {
        Ok(checks) => checks,
        Err(refusal) => return refusal,
    };
    checks.extend(system_columns::check(statement));
    if let Some(refusal) = check_unrecorded(statement, locking.as_ref(), context) {
        return refusal;
    }
    let locking = match locking.map(|queries| queries.locking()).transpose() {
        Ok(locking) => locking,
        Err(refusal) => return refusal,
    };
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
fn check_unrecorded(
    statement: &Statement,
    locking: Option<&LockingQueries<'_>>,
    context: &Context<'_>,
) -> Option<Plan> {
    if !context.unrecorded.data_modifying_with && changes_in_parentheses(&statement.tokens) {
        return Some(Plan::unsupported("data-modifying statements in WITH are not supported"));
    }
    let locks_inside = || locking.is_some_and(LockingQueries::are_in_parentheses);
    if !context.unrecorded.locking_subqueries && locks_inside() {
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

/// Keywords that can follow a label without AS, and never begin a name.
const BEHIND_LABEL: [&str; 15] = [
    "FROM",
    "WHERE",
    "GROUP",
    "HAVING",
    "WINDOW",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "FETCH",
    "FOR",
    "INTO",
    "ON",
];

/// Whether a name comes next. `TABLESAMPLE` and `COLLATE` are labels if none follows.
fn names_next(cursor: &Cursor<'_>) -> bool {
    let next = cursor.peek();
    next.is_some_and(|next| next.word().is_some() && !BEHIND_LABEL.iter().any(|word| next.is(word)))
}

fn check_words(tokens: &[Token], context: &Context<'_>) -> Result<(), Plan> {
    for position in 0..tokens.len() {
        let mut cursor = Cursor::new(&tokens[position..]);
        if position > 0 && cursor.skip("TABLESAMPLE") && names_next(&cursor) {
            cursor.name();
            if cursor.peek().is_some_and(|token| token.is_mark('(')) {
                refusals::check_name(Place::QueryClause, "TABLESAMPLE")?;
            }
        } else if cursor.skip("COLLATE") && names_next(&cursor) {
            check_collation(&mut cursor)?;
        } else if let Some(name) = called_function(tokens, position) {
            refusals::check_name(Place::Function, name)?;
            // What the emulator adds to PostgreSQL's functions does not exist for clients.
            let is_own = name.starts_with("dsql_emulator_") || name.ends_with("_of_host");
            if is_own && context.builtins.contains(name) {
                return Err(Plan::refuse("42883", format!("function {name} does not exist")));
            }
        } else if let Some(name) = cast_type(tokens, position) {
            refusals::check_name(Place::CastType, name)?;
        }
    }
    Ok(())
}

/// The function of PostgreSQL's that is called at `position`.
fn called_function(tokens: &[Token], position: usize) -> Option<&str> {
    let name = tokens[position].word().filter(|_| calls(tokens, position))?;
    let is_function = match &tokens[..position] {
        // A function of another schema is the client's own.
        [.., schema, dot] if dot.is_mark('.') => schema.word() == Some("pg_catalog"),
        // A query of a WITH clause: `name (columns) AS (query)`.
        _ if names_query(&tokens[position + 1..]) => false,
        // A table, the first query of a WITH clause, an alias.
        [.., before] => !["INTO", "WITH", "RECURSIVE", "AS"].iter().any(|word| before.is(word)),
        [] => false,
    };
    is_function.then_some(name)
}

/// Whether `(columns) AS (query)` comes next.
fn names_query(tokens: &[Token]) -> bool {
    let mut cursor = Cursor::new(tokens);
    cursor.parenthesised();
    cursor.skip("AS")
        && (cursor.skip_mark('(') || cursor.skip("MATERIALIZED") || cursor.skip("NOT MATERIALIZED"))
}

/// The type of PostgreSQL's at `position`, if an expression is converted to it.
fn cast_type(tokens: &[Token], position: usize) -> Option<&str> {
    let name = tokens[position].word()?;
    let before = match &tokens[..position] {
        [before @ .., schema, dot] if dot.is_mark('.') && schema.word() == Some("pg_catalog") => {
            before
        }
        before => before,
    };
    let after = tokens.get(position + 1).map(|after| &after.kind);
    let converts = match before.last() {
        Some(last) if last.is_operator("::") => true,
        Some(last) if last.is("AS") => {
            matches!(after, Some(Kind::Mark(')' | '['))) && is_in_cast(before)
        }
        Some(last) if last.is_mark('.') => false,
        // `point '(1, 2)'`
        _ => matches!(after, Some(Kind::Text(_))),
    };
    converts.then_some(name)
}

/// Whether `tokens` end within the parentheses of CAST.
fn is_in_cast(tokens: &[Token]) -> bool {
    let mut depth = 0;
    let opening = tokens.iter().rposition(|token| {
        match token.kind {
            Kind::Mark(')') => depth += 1,
            Kind::Mark('(') => depth -= 1,
            _ => {}
        }
        depth < 0
    });
    opening.is_some_and(|at| at > 0 && tokens[at - 1].is("CAST"))
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
        _ => refusals::check_name(Place::QueryClause, "COLLATE"),
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

//! Queries and DML: what they may contain, and whether they can write.

use super::{
    Class, Context, Plan, Run, lateral,
    locking::{locking, locks_in_parentheses},
    system_columns,
};
use crate::sql::{Cursor, Kind, Statement, Token};

/// Functions that DSQL refuses: advisory locks [R], the others according to AWS's guide for agents
/// (aurora-dsql.md#sessions).
const REFUSED_FUNCTIONS: &[&str] =
    &["lastval", "pg_cancel_backend", "pg_notify", "pg_table_size", "pg_terminate_backend"];
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
    let mut checks = match lateral::check(statement) {
        Ok(checks) => checks,
        Err(refusal) => return refusal,
    };
    checks.extend(system_columns::check(statement));
    if let Some(refusal) = check_unrecorded(statement, context) {
        return refusal;
    }
    let locking = match locking(statement) {
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
fn check_unrecorded(statement: &Statement, context: &Context<'_>) -> Option<Plan> {
    if !context.unrecorded.data_modifying_with && changes_in_parentheses(&statement.tokens) {
        return Some(Plan::unsupported("data-modifying statements in WITH are not supported"));
    }
    if !context.unrecorded.locking_subqueries && locks_in_parentheses(statement) {
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

fn check_words(tokens: &[Token]) -> Option<Plan> {
    for position in 0..tokens.len() {
        let mut cursor = Cursor::new(&tokens[position..]);
        if position > 0 && cursor.skip("TABLESAMPLE") && names_next(&cursor) {
            cursor.name();
            if cursor.peek().is_some_and(|token| token.is_mark('(')) {
                return Some(Plan::unsupported("TABLESAMPLE clause not supported"));
            }
        } else if cursor.skip("COLLATE") && names_next(&cursor) {
            if let Err(refusal) = check_collation(&mut cursor) {
                return Some(refusal);
            }
        } else if let Some(name) = refused_type(tokens, position) {
            return Some(Plan::unsupported(format!("datatype {name} not supported")));
        } else if let Some(name) = refused_function(tokens, position) {
            return Some(Plan::unsupported(format!("function {name} not supported")));
        }
    }
    None
}

/// The function that is called at `position`, if it is refused.
fn refused_function(tokens: &[Token], position: usize) -> Option<&str> {
    let name = tokens[position].word().filter(|_| calls(tokens, position))?;
    if !REFUSED_FUNCTIONS.contains(&name)
        && !REFUSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    {
        return None;
    }
    let is_function = match &tokens[..position] {
        // A function of another schema is the client's own.
        [.., schema, dot] if dot.is_mark('.') => schema.word() == Some("pg_catalog"),
        // A table, a query of a WITH clause, an alias.
        [.., before] => !["INTO", "WITH", "RECURSIVE", "AS"].iter().any(|word| before.is(word)),
        [] => false,
    };
    is_function.then_some(name)
}

/// Types that expressions cannot have either (aurora-dsql.md#types): the geometric ones.
const REFUSED_TYPES: [&str; 7] = ["box", "circle", "line", "lseg", "path", "point", "polygon"];

/// The name of the type at `position`, if an expression is converted to it and it is refused.
fn refused_type(tokens: &[Token], position: usize) -> Option<String> {
    let name = tokens[position].word().filter(|name| REFUSED_TYPES.contains(name))?;
    let before = match &tokens[..position] {
        [before @ .., schema, dot] if dot.is_mark('.') && schema.word() == Some("pg_catalog") => {
            before
        }
        before => before,
    };
    let after = tokens.get(position + 1);
    let converts = match before.last() {
        Some(last) if last.is_operator("::") => true,
        Some(last) if last.is("AS") => is_in_cast(before),
        Some(last) if last.is_mark('.') => false,
        // `point '(1, 2)'`
        _ => after.is_some_and(|after| matches!(after.kind, Kind::Text(_))),
    };
    let bounds = if after.is_some_and(|after| after.is_mark('[')) { "[]" } else { "" };
    converts.then(|| format!("{name}{bounds}"))
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

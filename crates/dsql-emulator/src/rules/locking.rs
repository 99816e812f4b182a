//! Locking clauses: which rows a query locks, and how the emulator learns of them (facts §1.4).

use sqlparser::ast::{Query, SetExpr, TableFactor};

use super::query::{factors, folded, main_word, parse};
use crate::sql::{Cursor, Edit, Kind, Statement, Token, identifier};

/// The two kinds of row locks that DSQL has (facts §1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockStrength {
    Update,
    KeyShare,
}

/// A table whose rows a query locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LockedTable {
    /// Its name, quoted, as the query has it.
    pub(crate) relation: String,
    /// What the query calls it, quoted.
    pub(crate) alias: String,
    pub(crate) strength: LockStrength,
}

/// What a query locks, and how the emulator learns which rows those are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Locking {
    /// The statement without what would make PostgreSQL skip or refuse rows that another session
    /// has locked. PostgreSQL can lock the rows by it, and be asked afterwards which they are.
    pub(crate) text: String,
    /// The strongest of its clauses.
    pub(crate) strength: LockStrength,
    /// The other way, if the query looks as if there were one.
    pub(crate) keys: Option<KeyColumns>,
}

/// Nothing waits on DSQL, so the locking clause may go. The keys of the rows come as more columns
/// at the end of the answer, put between `before` and `after`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyColumns {
    pub(crate) before: String,
    pub(crate) after: String,
    pub(crate) tables: Vec<LockedTable>,
}

/// A locking clause and where it is.
struct Clause {
    first: usize,
    last: usize,
    strength: LockStrength,
    /// The names after OF; none means all.
    of: Vec<String>,
    /// Where NOWAIT or SKIP LOCKED is.
    policy: Option<(usize, usize)>,
}

/// Reads the locking clause at `position`, if there is one.
fn clause(tokens: &[Token], position: usize) -> Option<Clause> {
    let mut cursor = Cursor::new(&tokens[position..]);
    let strength = if cursor.eat("FOR UPDATE") {
        LockStrength::Update
    } else if cursor.eat("FOR KEY SHARE") {
        LockStrength::KeyShare
    } else {
        return None;
    };
    let mut of = Vec::new();
    if cursor.eat("OF") {
        while let Some(name) = cursor.name() {
            of.extend(name.last().map(|name| (*name).to_owned()));
            if !cursor.eat_mark(',') {
                break;
            }
        }
    }
    // No statement ever blocks (facts §1.4), so there is nothing to skip and nothing to wait for.
    let before = position + cursor.at();
    let policy = cursor.eat("NOWAIT") || cursor.eat("SKIP LOCKED");
    let last = position + cursor.at() - 1;
    Some(Clause { first: position, last, strength, of, policy: policy.then_some((before, last)) })
}

/// What a query locks; `None` if nothing.
pub(super) fn locking(statement: &Statement) -> Option<Locking> {
    let (clauses, locking) = whole(statement)?;
    Some(Locking { keys: key_columns(statement, &clauses), ..locking })
}

/// The same for a statement with a query inside, to which no column can be added.
pub(super) fn locking_inside(statement: &Statement) -> Option<Locking> {
    whole(statement).map(|(_, locking)| locking)
}

fn whole(statement: &Statement) -> Option<(Vec<Clause>, Locking)> {
    let tokens = &statement.tokens;
    let clauses: Vec<Clause> =
        (0..tokens.len()).filter_map(|position| clause(tokens, position)).collect();
    if clauses.is_empty() {
        return None;
    }
    let mut edit = Edit::default();
    for (first, last) in clauses.iter().filter_map(|clause| clause.policy) {
        edit.replace(&tokens[first], &tokens[last], "");
    }
    let updates = clauses.iter().any(|clause| clause.strength == LockStrength::Update);
    let strength = if updates { LockStrength::Update } else { LockStrength::KeyShare };
    Some((clauses, Locking { text: edit.apply(statement), strength, keys: None }))
}

/// A SELECT from plain tables with its locking clause at the end can have more columns.
fn key_columns(statement: &Statement, clauses: &[Clause]) -> Option<KeyColumns> {
    let tokens = &statement.tokens;
    if main_word(tokens) != Some("select") {
        return None;
    }
    let from = outer_from(tokens)?;
    let outer = |clause: &Clause| {
        clause.first > from && {
            let between = &tokens[from..clause.first];
            let depth = |mark| between.iter().filter(|token| token.is_mark(mark)).count();
            depth('(') == depth(')')
        }
    };
    if !clauses.iter().all(outer) {
        return None;
    }
    let mut edit = Edit::default();
    for clause in clauses {
        edit.replace(&tokens[clause.first], &tokens[clause.last], "");
    }
    let before = statement.text[..tokens[from].start].to_owned();
    let after = edit.apply(statement)[tokens[from].start..].to_owned();
    let query = parse(&format!("{before}{after}"), tokens)?;
    let tables = locked_tables(&query, clauses).filter(|tables| !tables.is_empty())?;
    let comma = if tokens[from - 1].is("SELECT") { "" } else { ", " };
    Some(KeyColumns { before: format!("{before}{comma}"), after, tables })
}

/// The FROM of the statement itself, not of a part in parentheses nor of IS DISTINCT FROM.
fn outer_from(tokens: &[Token]) -> Option<usize> {
    let mut cursor = Cursor::new(tokens);
    while let Some(token) = cursor.peek() {
        let at = cursor.at();
        if token.is("FROM") && at > 0 && !tokens[at - 1].is("DISTINCT") {
            return Some(at);
        }
        if cursor.parenthesised().is_none() {
            cursor.next();
        }
    }
    None
}

/// The tables that the clauses lock; `None` if one of them is not a plain table.
fn locked_tables(query: &Query, clauses: &[Clause]) -> Option<Vec<LockedTable>> {
    let SetExpr::Select(select) = &*query.body else {
        return None;
    };
    let common = query.with.iter().flat_map(|with| &with.cte_tables);
    let common: Vec<String> = common.map(|table| folded(&table.alias.name)).collect();
    let mut tables = Vec::new();
    for factor in factors(select) {
        let (name, alias) = match factor {
            TableFactor::Table { name, alias, args: None, .. } => (Some(name), alias),
            TableFactor::Table { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::Derived { alias, .. } => (None, alias),
            _ => return None,
        };
        let alias = match (alias, name) {
            (Some(alias), _) => folded(&alias.name),
            (None, Some(name)) => folded(name.0.last()?.as_ident()?),
            (None, None) => String::new(),
        };
        let locks = |clause: &&Clause| clause.of.is_empty() || clause.of.contains(&alias);
        let Some(clause) = clauses.iter().find(locks) else { continue };
        let Some(name) = name else {
            // A function has no rows to lock; a subquery locks its tables.
            if matches!(factor, TableFactor::Derived { .. }) {
                return None;
            }
            continue;
        };
        let parts: Option<Vec<String>> =
            name.0.iter().map(|part| part.as_ident().map(folded)).collect();
        let parts = parts?;
        if parts.len() == 1 && common.contains(&parts[0]) {
            continue;
        }
        let relation = parts.iter().map(|part| identifier(part)).collect::<Vec<_>>().join(".");
        tables.push(LockedTable { relation, alias: identifier(&alias), strength: clause.strength });
    }
    Some(tables)
}

/// Whether there is a locking clause in parentheses, other than those around the statement.
pub(super) fn locks_in_parentheses(tokens: &[Token]) -> bool {
    let around = tokens.iter().take_while(|token| token.is_mark('(')).count();
    let mut depth = 0;
    (0..tokens.len()).any(|position| {
        match tokens[position].kind {
            Kind::Mark('(') => depth += 1,
            Kind::Mark(')') => depth -= 1,
            _ => {}
        }
        depth > around && clause(tokens, position).is_some()
    })
}

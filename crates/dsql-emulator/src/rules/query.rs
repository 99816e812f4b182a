//! Queries and row changes: what they may contain, whether they can write, what they lock.

use std::ops::ControlFlow;

use sqlparser::{
    ast::{
        Expr, JoinOperator, Query, Select, SetExpr, Statement as Ast, TableFactor,
        visit_expressions,
    },
    dialect::PostgreSqlDialect,
    parser::Parser,
};

use super::{Class, Context, Plan, Run};
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

/// How the emulator learns which rows a query locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Locking {
    /// The locking clause goes, because nothing waits on DSQL, and the keys of the rows come as
    /// more columns at the end of the answer, put between `before` and `after`.
    Keys { before: String, after: String, tables: Vec<LockedTable> },
    /// PostgreSQL locks the rows, and is asked afterwards which they are: for locking clauses in
    /// places where no column can be added. What would make it skip or refuse rows that another
    /// session has locked is gone from the text.
    Rows { text: String, strength: LockStrength },
}

/// Functions that DSQL refuses: advisory locks [R], the others as AWS's guide for agents has it
/// (facts §6).
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
    let head = tokens.iter().find(|token| !token.is_mark('(')).expect("a first token");
    let reads = ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| head.is(word));
    if reads && Cursor::new(tokens).finds("INTO") && main_word(tokens) == Some("select") {
        return Plan::unsupported("unsupported statement: CreateTableAs");
    }
    if tokens.iter().any(|token| token.is("LATERAL"))
        && let Some(refusal) = check_lateral(statement)
    {
        return refusal;
    }
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
    Plan::Run(Run { text: None, class, changes_rows, locking, job: None, checks: Vec::new() })
}

/// What is refused on demand, because nobody knows whether DSQL does. Words [I].
fn check_unrecorded(tokens: &[Token], context: &Context<'_>) -> Option<Plan> {
    if !context.unrecorded.data_modifying_with && changes_in_parentheses(tokens) {
        return Some(Plan::unsupported("data-modifying statements in WITH are not supported"));
    }
    if !context.unrecorded.locking_subqueries && locks_in_parentheses(tokens) {
        return Some(Plan::unsupported("locking clauses in subqueries are not supported"));
    }
    None
}

/// Whether a statement inside of this one changes rows. Only WITH can have one.
fn changes_in_parentheses(tokens: &[Token]) -> bool {
    (1..tokens.len()).any(|position| {
        let inner = Cursor::new(&tokens[position..]);
        let updates = || {
            let mut inner = inner;
            inner.eat("UPDATE") && inner.peek().is_some_and(|token| token.word().is_some())
        };
        tokens[position - 1].is_mark('(')
            && (inner.sees("INSERT INTO") || inner.sees("DELETE FROM") || updates())
    })
}

/// Whether there is a locking clause in parentheses, other than those around the statement.
fn locks_in_parentheses(tokens: &[Token]) -> bool {
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

fn check_words(tokens: &[Token]) -> Option<Plan> {
    for position in 0..tokens.len() {
        let mut cursor = Cursor::new(&tokens[position..]);
        if cursor.sees("FOR SHARE") || cursor.sees("FOR NO KEY UPDATE") {
            return Some(Plan::unsupported(
                "locking clauses other than FOR UPDATE/FOR KEY SHARE are not supported",
            ));
        }
        if position > 0 && cursor.sees("TABLESAMPLE") {
            return Some(Plan::unsupported("TABLESAMPLE clause not supported"));
        }
        if cursor.eat("COLLATE") {
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

/// facts §3.1 ◊: expressions may have the collations "C", "POSIX" and "default". Words [I].
pub(super) fn check_collation(cursor: &mut Cursor<'_>) -> Result<(), Plan> {
    match cursor.name().as_deref() {
        Some(["C" | "POSIX" | "default"] | ["pg_catalog", "C" | "POSIX" | "default"]) => Ok(()),
        _ => Err(Plan::unsupported("COLLATE clause not supported")),
    }
}

/// The first word of the statement behind its WITH clause.
fn main_word(tokens: &[Token]) -> Option<&str> {
    const MAIN: [&str; 6] = ["SELECT", "VALUES", "TABLE", "INSERT", "UPDATE", "DELETE"];
    let mut cursor = Cursor::new(tokens);
    while let Some(token) = cursor.peek() {
        if MAIN.iter().any(|word| token.is(word)) {
            return token.word();
        }
        if cursor.parenthesised().is_none() {
            cursor.next();
        }
    }
    None
}

/// Whether a query may change rows: by a WITH clause that does, or by a function that is none of
/// PostgreSQL's.
fn may_write(tokens: &[Token], context: &Context<'_>) -> bool {
    let calls_unknown = tokens.iter().enumerate().any(|(position, token)| {
        calls(tokens, position) && token.word().is_some_and(|word| !context.builtins.contains(word))
    });
    calls_unknown || changes_in_with(tokens)
}

/// Whether rows are changed in parentheses, or behind them.
fn changes_in_with(tokens: &[Token]) -> bool {
    let changes = |token: &Token| ["INSERT", "UPDATE", "DELETE"].iter().any(|word| token.is(word));
    tokens
        .windows(2)
        .any(|pair| (pair[0].is_mark('(') || pair[0].is_mark(')')) && changes(&pair[1]))
}

/// A locking clause and where it is.
struct Clause {
    first: usize,
    last: usize,
    strength: LockStrength,
    /// The names after OF; none means all.
    of: Vec<String>,
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
    let _ = cursor.eat("NOWAIT") || cursor.eat("SKIP LOCKED");
    Some(Clause { first: position, last: position + cursor.at() - 1, strength, of })
}

fn locking(statement: &Statement) -> Option<Locking> {
    let tokens = &statement.tokens;
    let clauses: Vec<Clause> =
        (0..tokens.len()).filter_map(|position| clause(tokens, position)).collect();
    if clauses.is_empty() {
        return None;
    }
    with_keys(statement, &clauses).or_else(|| Some(with_rows(statement, &clauses)))
}

fn with_rows(statement: &Statement, clauses: &[Clause]) -> Locking {
    let tokens = &statement.tokens;
    let mut edit = Edit::default();
    for token in tokens.windows(2).filter(|pair| pair[0].is("SKIP") && pair[1].is("LOCKED")) {
        edit.replace(&token[0], &token[1], "");
    }
    tokens
        .iter()
        .filter(|token| token.is("NOWAIT"))
        .for_each(|token| edit.replace(token, token, ""));
    let updates = clauses.iter().any(|clause| clause.strength == LockStrength::Update);
    let strength = if updates { LockStrength::Update } else { LockStrength::KeyShare };
    Locking::Rows { text: edit.apply(statement), strength }
}

/// A SELECT from plain tables with its locking clause at the end can have more columns.
fn with_keys(statement: &Statement, clauses: &[Clause]) -> Option<Locking> {
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
    let tables = locked_tables(&query, clauses)?;
    let comma = if tokens[from - 1].is("SELECT") { "" } else { ", " };
    Some(Locking::Keys { before: format!("{before}{comma}"), after, tables })
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

/// Operators and words from which on a query is not parsed: its expressions may be so deep that
/// walking over them takes more stack than there is.
const MAX_PARSED: usize = 1_000;

fn parse(text: &str, tokens: &[Token]) -> Option<Box<Query>> {
    let deepens = |token: &&Token| {
        matches!(token.kind, Kind::Word { .. } | Kind::Operator(_) | Kind::Mark('=' | '*'))
    };
    if tokens.iter().filter(deepens).count() > MAX_PARSED {
        return None;
    }
    match Parser::parse_sql(&PostgreSqlDialect {}, text).ok()?.pop()? {
        Ast::Query(query) => Some(query),
        _ => None,
    }
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

fn factors(select: &Select) -> impl Iterator<Item = &TableFactor> {
    select.from.iter().flat_map(|from| {
        std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
    })
}

fn folded(name: &sqlparser::ast::Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

/// facts §3.1 [R]: a LEFT JOIN LATERAL whose subquery has a column of the other side in its
/// target list fails, by a defect of the planner.
fn check_lateral(statement: &Statement) -> Option<Plan> {
    let query = parse(&statement.text, &statement.tokens)?;
    let SetExpr::Select(select) = &*query.body else {
        return None;
    };
    let joins = select.from.iter().flat_map(|from| &from.joins);
    for join in joins {
        let (JoinOperator::Left(_) | JoinOperator::LeftOuter(_)) = join.join_operator else {
            continue;
        };
        let TableFactor::Derived { lateral: true, subquery, .. } = &join.relation else {
            continue;
        };
        let SetExpr::Select(inner) = &*subquery.body else { continue };
        let own: Vec<String> = factors(inner).filter_map(factor_name).collect();
        let outer = |expression: &Expr| match expression {
            Expr::CompoundIdentifier(parts) if parts.len() > 1 => {
                let qualifier = folded(&parts[parts.len() - 2]);
                if own.contains(&qualifier) {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            }
            _ => ControlFlow::Continue(()),
        };
        let child = factors(inner).find_map(|factor| match factor {
            TableFactor::Table { name, .. } => name.0.last()?.as_ident().map(folded),
            _ => None,
        });
        if let (Some(child), ControlFlow::Break(())) =
            (child, visit_expressions(&inner.projection, outer))
        {
            let message = format!("attribute 1 of type {child} has wrong type");
            return Some(Plan::refuse("42804", message));
        }
    }
    None
}

/// What a part of FROM is called.
fn factor_name(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. } => Some(folded(&alias.name)),
        TableFactor::Table { name, .. } => name.0.last()?.as_ident().map(folded),
        _ => None,
    }
}

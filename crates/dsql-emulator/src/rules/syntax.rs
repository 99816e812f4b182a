//! Syntax trees of queries, for the rules that need more than tokens.

use sqlparser::{
    ast::{Ident, Query, Select, Statement as Ast, TableFactor},
    dialect::PostgreSqlDialect,
    parser::Parser,
};

use crate::sql::{Kind, Token};

/// A query with more words and operators than this is not parsed: its expressions may be nested so
/// deeply that walking over them overflows the stack.
const MAX_PARSED: usize = 1_000;

#[cfg(test)]
thread_local! {
    /// How many texts this thread has parsed.
    pub(super) static PARSED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The syntax tree of a query; `None` if `text` is not a query or has more than [`MAX_PARSED`] words.
pub(super) fn parse(text: &str, tokens: &[Token]) -> Option<Box<Query>> {
    match parse_statement(text, tokens)? {
        Ast::Query(query) => Some(query),
        _ => None,
    }
}

/// The syntax tree of a statement; `None` if it cannot be parsed or has more than [`MAX_PARSED`]
/// words.
pub(super) fn parse_statement(text: &str, tokens: &[Token]) -> Option<Ast> {
    let deepens = |token: &&Token| {
        matches!(token.kind, Kind::Word { .. } | Kind::Operator(_) | Kind::Mark('=' | '*'))
    };
    if tokens.iter().filter(deepens).count() > MAX_PARSED {
        return None;
    }
    #[cfg(test)]
    PARSED.with(|count| count.set(count.get() + 1));
    Parser::parse_sql(&PostgreSqlDialect {}, text).ok()?.pop()
}

/// The items of the FROM clause.
pub(super) fn factors(select: &Select) -> impl Iterator<Item = &TableFactor> {
    select.from.iter().flat_map(|from| {
        std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
    })
}

/// A name as PostgreSQL folds it.
pub(super) fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

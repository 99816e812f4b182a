//! The system columns of PostgreSQL's rows, such as `ctid`. DSQL's tables have none
//! (aurora-dsql.md#refused-statements).

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident, ObjectName, Select, SelectItem, TableFactor, Visit, Visitor};

use super::{
    Check,
    syntax::{folded, parse_statement},
};
use crate::sql::{Statement, identifier};

const SYSTEM_COLUMNS: [&str; 6] = ["cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"];

/// The check for a statement that reads a system column: whether one of the tables that it can
/// belong to is a client's. The tables of the catalog have system columns.
pub(super) fn check(statement: &Statement) -> Option<Check> {
    let is_system = |word: &str| SYSTEM_COLUMNS.contains(&word);
    if !statement.tokens.iter().any(|token| token.word().is_some_and(is_system)) {
        return None;
    }
    let parsed = parse_statement(&statement.text, &statement.tokens)?;
    let mut found = Found::default();
    let _ = parsed.visit(&mut found);
    let mut tables: Vec<String> = Vec::new();
    for (qualifier, _) in found.columns.iter().filter(|(_, name)| !found.labels.contains(name)) {
        let is_known = |alias: &str| found.aliases.iter().any(|known| known == alias);
        let belongs = |(alias, _): &&(String, String)| match qualifier.as_deref() {
            // INSERT can have an alias, which is not among these.
            Some(qualifier) if is_known(qualifier) => alias == qualifier,
            _ => true,
        };
        tables.extend(found.tables.iter().filter(belongs).map(|(_, name)| name.clone()));
    }
    (!tables.is_empty()).then_some(Check::NoSystemColumn { tables })
}

/// What a statement contains.
#[derive(Default)]
struct Found {
    /// System columns: qualifier and name.
    columns: Vec<(Option<String>, String)>,
    /// The names of columns of its queries.
    labels: Vec<String>,
    /// Tables: alias, and name with quotes.
    tables: Vec<(String, String)>,
    /// The aliases of all items of FROM clauses.
    aliases: Vec<String>,
    /// Its last item of a FROM clause is a table with this alias.
    alias: Option<String>,
}

impl Visitor for Found {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let (TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::Function { alias, .. }) = factor
        else {
            return ControlFlow::Continue(());
        };
        let alias = alias.as_ref().map(|alias| folded(&alias.name));
        self.aliases.extend(alias.clone());
        if matches!(factor, TableFactor::Table { .. }) {
            self.alias = alias;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let parts: Vec<String> =
            relation.0.iter().filter_map(|part| part.as_ident().map(folded)).collect();
        let name = parts.iter().map(|part| identifier(part)).collect::<Vec<_>>().join(".");
        let alias = self.alias.take().or(parts.last().cloned()).unwrap_or_default();
        self.aliases.push(alias.clone());
        self.tables.push((alias, name));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                self.labels.push(folded(alias));
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        let parts: &[Ident] = match expression {
            Expr::Identifier(name) => std::slice::from_ref(name),
            Expr::CompoundIdentifier(parts) => parts,
            _ => &[],
        };
        if let [qualifiers @ .., name] = parts
            && SYSTEM_COLUMNS.contains(&folded(name).as_str())
        {
            self.columns.push((qualifiers.last().map(folded), folded(name)));
        }
        ControlFlow::Continue(())
    }
}

//! A known defect of DSQL's planner (aurora-dsql.md#refused-statements): a LEFT JOIN LATERAL fails
//! if the target list of its subquery has a column of an outer table.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, JoinOperator, Select, SetExpr, TableFactor, visit_expressions};

use super::{
    Check, Plan,
    locking::LockingQueries,
    syntax::{factors, folded, parse},
};
use crate::{
    sql::{Statement, identifier},
    wire::DbError,
};

/// DSQL's error, with the first table of the subquery.
pub(crate) fn defect(child: &str) -> DbError {
    DbError::new("42804", format!("attribute 1 of type {child} has wrong type"))
}

/// Refuses a query with such a join. For unqualified columns, the returned checks ask the catalog
/// which table they belong to. A locking query has been parsed already.
pub(super) fn check(
    statement: &Statement,
    locking: Option<&LockingQueries<'_>>,
) -> Result<Vec<Check>, Plan> {
    if !statement.tokens.iter().any(|token| token.is("LATERAL")) {
        return Ok(Vec::new());
    }
    let parsed;
    let query = match locking.and_then(LockingQueries::whole) {
        Some(query) => Some(query),
        None => {
            parsed = parse(&statement.text, &statement.tokens);
            parsed.as_deref()
        }
    };
    let Some(SetExpr::Select(select)) = query.map(|query| &*query.body) else {
        return Ok(Vec::new());
    };
    let mut checks = Vec::new();
    for join in select.from.iter().flat_map(|from| &from.joins) {
        let (JoinOperator::Left(_) | JoinOperator::LeftOuter(_)) = join.join_operator else {
            continue;
        };
        let TableFactor::Derived { lateral: true, subquery, .. } = &join.relation else {
            continue;
        };
        if let SetExpr::Select(inner) = &*subquery.body {
            checks.extend(check_join(select, inner)?);
        }
    }
    Ok(checks)
}

fn check_join(outer: &Select, inner: &Select) -> Result<Option<Check>, Plan> {
    let Some(child) = factors(inner).find_map(|factor| match factor {
        TableFactor::Table { name, .. } => name.0.last()?.as_ident().map(folded),
        _ => None,
    }) else {
        return Ok(None);
    };
    let own: Vec<String> = factors(inner).filter_map(factor_name).collect();
    let mut columns = Vec::new();
    let is_outer = |expression: &Expr| match expression {
        Expr::CompoundIdentifier(parts)
            if parts.len() > 1 && !own.contains(&folded(&parts[parts.len() - 2])) =>
        {
            ControlFlow::Break(())
        }
        Expr::Identifier(name) => {
            columns.push(folded(name));
            ControlFlow::Continue(())
        }
        _ => ControlFlow::Continue(()),
    };
    if visit_expressions(&inner.projection, is_outer).is_break() {
        return Err(Plan::Refuse(defect(&child)));
    }
    let inner_tables = tables(inner);
    // Other items of the subquery's FROM clause may have columns of any name.
    if columns.is_empty() || inner_tables.len() < factors(inner).count() {
        return Ok(None);
    }
    Ok(Some(Check::NotOfOuterTable { columns, inner: inner_tables, outer: tables(outer), child }))
}

/// The plain tables of a FROM clause, quoted.
fn tables(select: &Select) -> Vec<String> {
    let name = |factor: &TableFactor| match factor {
        TableFactor::Table { name, args: None, .. } => {
            let parts: Option<Vec<String>> = name
                .0
                .iter()
                .map(|part| part.as_ident().map(|part| identifier(&folded(part))))
                .collect();
            parts.map(|parts| parts.join("."))
        }
        _ => None,
    };
    factors(select).filter_map(name).collect()
}

/// The name of an item of a FROM clause.
fn factor_name(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. } => Some(folded(&alias.name)),
        TableFactor::Table { name, .. } => name.0.last()?.as_ident().map(folded),
        _ => None,
    }
}

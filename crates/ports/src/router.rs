//! Routing of current executions: which table holds the row of an archetype.

use temporal_dsql_domain::{
    ArchetypeId, CurrentExecutionsFilter, CurrentExecutionsRow, InvalidValue, Table,
};

/// The table that holds a current execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CurrentExecutionsRoute {
    /// `current_executions`, whose rows are all workflows.
    CurrentExecutions,
    /// `current_chasm_executions`, whose key contains the archetype.
    CurrentChasmExecutions {
        /// The value of `archetype_id`.
        archetype_id: ArchetypeId,
    },
}

impl CurrentExecutionsRoute {
    /// The table.
    pub const fn table(self) -> Table {
        match self {
            Self::CurrentExecutions => Table::CurrentExecutions,
            Self::CurrentChasmExecutions { .. } => Table::CurrentChasmExecutions,
        }
    }

    /// The archetype of every row that this route selects (requirements.md#req-5-3).
    pub const fn archetype_id(self) -> ArchetypeId {
        match self {
            Self::CurrentExecutions => ArchetypeId::WORKFLOW,
            Self::CurrentChasmExecutions { archetype_id } => archetype_id,
        }
    }
}

/// Selects the table of a current-execution operation by archetype (requirements.md#req-2-1,
/// requirements.md#req-2-2).
///
/// Adapters call the router and never compare archetype ids themselves.
pub trait CurrentExecutionsRouter: Send + Sync {
    /// The route of a row to write.
    ///
    /// # Errors
    /// The row's archetype is unspecified, so its table is not known. A default would store the row
    /// in a table that its archetype does not read.
    fn route_row(&self, row: &CurrentExecutionsRow)
    -> Result<CurrentExecutionsRoute, InvalidValue>;

    /// The route of a filter. An unspecified archetype means workflow (requirements.md#req-5-1).
    fn route_filter(&self, filter: &CurrentExecutionsFilter) -> CurrentExecutionsRoute;
}

/// The routing rule of Temporal's PostgreSQL plugin (requirements.md#req-5-2,
/// temporal-persistence.md#routing): workflows are stored in `current_executions`, every other
/// archetype, known to this crate or not, in `current_chasm_executions`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ArchetypeRouter;

impl ArchetypeRouter {
    const fn route(archetype_id: ArchetypeId) -> CurrentExecutionsRoute {
        if archetype_id.0 == ArchetypeId::WORKFLOW.0 {
            CurrentExecutionsRoute::CurrentExecutions
        } else {
            CurrentExecutionsRoute::CurrentChasmExecutions { archetype_id }
        }
    }
}

impl CurrentExecutionsRouter for ArchetypeRouter {
    fn route_row(
        &self,
        row: &CurrentExecutionsRow,
    ) -> Result<CurrentExecutionsRoute, InvalidValue> {
        if row.archetype_id == ArchetypeId::UNSPECIFIED {
            return Err(InvalidValue::new(
                "archetype_id",
                format!(
                    "is unspecified for the current execution of `{}`; set the archetype that \
                     the execution belongs to",
                    row.workflow_id
                ),
            ));
        }
        Ok(Self::route(row.archetype_id))
    }

    fn route_filter(&self, filter: &CurrentExecutionsFilter) -> CurrentExecutionsRoute {
        match filter.archetype_id {
            ArchetypeId::UNSPECIFIED => CurrentExecutionsRoute::CurrentExecutions,
            archetype_id => Self::route(archetype_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::current_executions_row;

    fn row(archetype_id: ArchetypeId) -> CurrentExecutionsRow {
        CurrentExecutionsRow { archetype_id, ..current_executions_row() }
    }

    #[test]
    fn workflows_go_to_current_executions() {
        let route = ArchetypeRouter.route_row(&row(ArchetypeId::WORKFLOW)).unwrap();
        assert_eq!(route, CurrentExecutionsRoute::CurrentExecutions);
        assert_eq!(route.table(), Table::CurrentExecutions);
        assert_eq!(route.archetype_id(), ArchetypeId::WORKFLOW);
    }

    #[test]
    fn every_other_archetype_goes_to_current_chasm_executions_known_or_not() {
        let unknown = [
            ArchetypeId(1),
            ArchetypeId(ArchetypeId::WORKFLOW.0 - 1),
            ArchetypeId(ArchetypeId::WORKFLOW.0 + 1),
            ArchetypeId(u32::MAX),
        ];
        let named = ArchetypeId::NAMED.into_iter().map(|(id, _)| id);
        let others: Vec<_> = named.filter(|id| *id != ArchetypeId::WORKFLOW).collect();
        assert!(others.len() >= 3);
        for archetype_id in others.into_iter().chain(unknown) {
            let row = row(archetype_id);
            let route = CurrentExecutionsRoute::CurrentChasmExecutions { archetype_id };
            assert_eq!(ArchetypeRouter.route_row(&row).unwrap(), route);
            assert_eq!(ArchetypeRouter.route_filter(&row.filter()), route);
            assert_eq!(route.table(), Table::CurrentChasmExecutions);
            assert_eq!(route.archetype_id(), archetype_id);
        }
    }

    #[test]
    fn an_unspecified_archetype_means_workflow_in_a_filter_and_is_an_error_in_a_row() {
        let row = row(ArchetypeId::UNSPECIFIED);
        assert_eq!(
            ArchetypeRouter.route_filter(&row.filter()),
            CurrentExecutionsRoute::CurrentExecutions
        );
        let error = ArchetypeRouter.route_row(&row).unwrap_err();
        assert_eq!(error.field, "archetype_id");
        assert!(error.reason.contains("`order-1`"), "{error}");
    }
}

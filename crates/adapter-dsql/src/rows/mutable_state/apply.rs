//! A write set as one autocommit statement.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{ExecutionsFilter, ShardId, Table};
use temporal_dsql_ports::{
    Cause, CurrentExecutionsRoute, CurrentExecutionsRouter, RunChange, StoreError, WriteSet,
    WrongCount,
};

use super::{
    super::{executions::by_key, maps::name_long_path},
    arguments::{WriteSetRows, route},
    decode::{self, Applied},
};
use crate::statement::{Meta, SqlFile, Statement};

pub(crate) static APPLY: Meta =
    SqlFile::new(Table::Executions, include_str!("../../../sql/apply.sql")).write("Apply");
pub(crate) static DELETE: Meta =
    SqlFile::new(Table::Executions, include_str!("../../../sql/delete.sql")).write("Delete");

/// The run of a write set that deletes one run and has no condition. It has a statement of its own:
/// the parts of `Apply` cost a server more than the deletion does.
fn only_deletion<'a>(set: &WriteSet<'a>) -> Option<&'a ExecutionsFilter> {
    match set.runs[..] {
        [RunChange::Delete(run)]
            if set.range_id.is_none()
                && set.current.is_none()
                && set.tasks.is_empty()
                && set.history.is_empty() =>
        {
            Some(run)
        }
        _ => None,
    }
}

/// A write set that one statement writes.
pub(crate) struct OneStatement<'a> {
    set: &'a WriteSet<'a>,
    route: Option<CurrentExecutionsRoute>,
    rows: WriteSetRows<'a>,
}

impl<'a> OneStatement<'a> {
    /// Checks that all of `set` can be stored.
    ///
    /// # Errors
    /// [`StoreError::Limit`]; [`StoreError::InvalidArgument`] if the archetype of a current
    /// execution is unspecified, and those of [`WriteSet::validate`].
    pub(crate) fn new(
        router: &dyn CurrentExecutionsRouter,
        set: &'a WriteSet<'a>,
    ) -> Result<Self, StoreError> {
        set.validate()?;
        let route = route(router, set)?;
        Ok(Self { set, route, rows: WriteSetRows::new(set, route)? })
    }

    /// The statement. Random parts of ids are drawn anew each time.
    ///
    /// # Errors
    /// Those of [`WriteSetRows::arguments`].
    pub(crate) fn statement(&self) -> Result<Statement, StoreError> {
        let statement = match only_deletion(self.set) {
            Some(run) => by_key(&DELETE, run),
            None => self.statement_of(&APPLY)?,
        };
        Ok(statement.of_operation(self.set.op))
    }

    /// The statement `meta` with the values of this write set.
    pub(in crate::rows) fn statement_of(
        &self,
        meta: &'static Meta,
    ) -> Result<Statement, StoreError> {
        Ok(Statement::new(meta, self.set.shard_id, &self.rows.arguments()?))
    }

    /// The error of the statement: a concurrent insert is a lost conflict, and a long path is named.
    pub(crate) fn error(&self, error: StoreError) -> StoreError {
        name_long_path(self.set.duplicate(error), self.rows.entries())
    }

    /// The outcome, from the answer.
    ///
    /// # Errors
    /// The condition that does not hold. An error of [`WriteSet::verify`] is
    /// [`Outcome::Unknown`](temporal_dsql_ports::Outcome::Unknown).
    pub(crate) fn outcome(&self, answer: &[PgRow]) -> Result<(), StoreError> {
        let op = self.set.op;
        let observed = match decode::applied(self.route, answer)? {
            // The statement is committed, so a wrong number of rows is reported as an unknown
            // outcome.
            Applied::Written(written) => {
                return self.set.verify(written).map_err(|error| WrongCount::committed(op, error));
            }
            Applied::Refused(observed) => *observed,
        };
        self.set.check(&observed)?;
        Err(StoreError::Corrupt {
            table: Table::Executions,
            column: "run_id",
            source: Some(Cause::new(format!(
                "{op} was refused by the server although its conditions hold for {observed:?}"
            ))),
        })
    }
}

/// A write set of the owner of a shard that does not exist: it writes nothing, and shows whether a
/// server accepts the text.
pub(crate) const fn probe() -> WriteSet<'static> {
    let mut set = WriteSet::new("ProbeStatements", NO_SHARD);
    set.range_id = Some(0);
    set
}

/// The id of no shard: shard ids begin at 1.
pub(crate) const NO_SHARD: ShardId = ShardId(i32::MIN);

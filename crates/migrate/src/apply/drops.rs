//! The steps of a plan that drop tables and what depends on them.

use temporal_dsql_domain::SchemaVersion;

use super::{Applier, ExecuteResult, Task};
use crate::{MigrateError, objects::Dependent, schema::Statement};

impl Applier<'_, '_> {
    pub(super) async fn drop_dependent(
        &mut self,
        statement: &Statement,
        dependent: &Dependent,
    ) -> Result<bool, MigrateError> {
        let mut task = Task::new(statement, &[], &[]);
        loop {
            let found = self.database.dependents(std::slice::from_ref(&dependent.relation)).await?;
            let is_it = |other: &Dependent| other.object == dependent.object;
            if found.is_some_and(|found| !found.iter().any(is_it)) {
                return Ok(task.done);
            }
            if let Some((_, error)) = task.refused.take() {
                return Err(self.failed(statement, error));
            }
            if self.execute_drop(&mut task).await? {
                return Ok(true);
            }
        }
    }

    pub(super) async fn drop_table(
        &mut self,
        statement: &Statement,
        table: &str,
        with_rows: bool,
        to: Option<SchemaVersion>,
    ) -> Result<bool, MigrateError> {
        let mut task = Task::new(statement, &[], &[]);
        self.expire([table]);
        loop {
            if !self.catalog([table]).await?.tables.contains_key(table) {
                self.check_no_newer_version(to).await?;
                return Ok(task.done);
            }
            if let Some((_, error)) = task.refused.take() {
                return Err(self.failed(statement, error));
            }
            self.check_droppable(table, with_rows, to).await?;
            if self.execute_drop(&mut task).await? {
                // An update that was recorded meanwhile lacks the table.
                self.check_no_newer_version(to).await?;
                return Ok(true);
            }
        }
    }

    /// Executes the statement of a drop once. Returns whether the server has answered that it is done.
    async fn execute_drop(&mut self, task: &mut Task<'_>) -> Result<bool, MigrateError> {
        let statement = task.statement;
        match self.execute(statement, task).await? {
            ExecuteResult::Executed(_) => return Ok(true),
            ExecuteResult::Unknown => task.done = true,
            ExecuteResult::NotExecuted => {}
            ExecuteResult::Refused(error) => task.refused = Some((statement.clone(), error)),
        }
        Ok(false)
    }

    /// Checks as late as possible that a table may be dropped. DSQL has no lock that keeps writers out
    /// between this check and the drop, so all servers must be on the older version by now.
    pub(super) async fn check_droppable(
        &mut self,
        table: &str,
        with_rows: bool,
        to: Option<SchemaVersion>,
    ) -> Result<(), MigrateError> {
        self.check_no_newer_version(to).await?;
        if with_rows {
            return Ok(());
        }
        let rows = self.database.count_rows(table).await?;
        if rows.is_some() {
            let (table, version_lowered) = (table.to_owned(), self.version_recorded);
            return Err(MigrateError::TableHasRows { table, rows, version_lowered });
        }
        Ok(())
    }

    /// Checks that no version newer than `to`, the target of a rollback, is recorded, under any logical
    /// name.
    async fn check_no_newer_version(
        &mut self,
        to: Option<SchemaVersion>,
    ) -> Result<(), MigrateError> {
        let Some(to) = to else { return Ok(()) };
        for row in self.database.version_rows().await? {
            let version = row.version.as_deref().and_then(|text| text.parse().ok());
            if version.is_some_and(|version: SchemaVersion| version > to) {
                return Err(MigrateError::VersionChanged {
                    database: row.database,
                    expected: to.to_string(),
                    actual: row.version.unwrap_or_default(),
                });
            }
        }
        Ok(())
    }
}

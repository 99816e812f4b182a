//! The steps of a plan that create tables and indexes: what they create is read back together.

use std::time::Duration;

use temporal_dsql_client::Attempts;
use temporal_dsql_domain::Engine;
use tokio::time::Instant;

use super::{Applier, Remaining, Task};
use crate::{
    MigrateError,
    plan::{Probe, Step},
    schema::Change,
    version_tables::{VersionChange, VersionRow},
};

/// A step whose table or index is being created, or is created and not yet read back.
pub(super) struct Creation<'p> {
    pub(super) number: usize,
    pub(super) step: &'p Step,
    pub(super) task: Task<'p>,
    pub(super) started: Instant,
    /// Whether its end was reported, which is when the server answers that it is executed; for an index
    /// on DSQL, when it is valid.
    pub(super) is_reported: bool,
}

impl Applier<'_, '_> {
    /// Creates a table or an index, unless it exists. Does not wait for the build of an index, and does
    /// not read back what the server has answered to be executed. With IF NOT EXISTS the answer does not
    /// say that this run has created it.
    pub(super) async fn create(&mut self, task: &mut Task<'_>) -> Result<Remaining, MigrateError> {
        let is_built_later = matches!(task.statement.change, Change::CreateIndex { .. })
            && self.database.engine() == Engine::Dsql;
        let remaining = loop {
            match self.advance(task).await? {
                Remaining::Confirm if is_built_later => break Remaining::Wait(Duration::ZERO),
                Remaining::Confirm if task.statement.is_conditional() => {}
                Remaining::Probe => {}
                remaining => break remaining,
            }
        };
        // The time until it is read back does not count towards the retry deadline.
        task.attempts = Attempts::new();
        Ok(remaining)
    }

    /// If `is_needed` holds for one of the creations, waits until the catalog shows all that are needed.
    /// All are polled together. One that a concurrent run has dropped is created again, unless
    /// `next_version` is recorded later.
    pub(super) async fn confirm(
        &mut self,
        creations: &mut Vec<Creation<'_>>,
        total: usize,
        next_version: Option<&VersionChange>,
        is_needed: impl Fn(&Change) -> bool,
    ) -> Result<(), MigrateError> {
        let is_due = |creations: &[Creation<'_>]| {
            creations.iter().any(|creation| is_needed(&creation.task.statement.change))
        };
        if is_due(creations) {
            self.expire(creations.iter().flat_map(|creation| creation.step.relations()));
        }
        while is_due(creations) {
            let mut shortest: Option<Duration> = None;
            for mut creation in std::mem::take(creations) {
                let probe = self.probe(&creation.task).await?;
                let is_left = match next_version {
                    Some(change) => self.is_left(&creation.task, &probe, change).await?,
                    None => false,
                };
                let remaining = match is_left {
                    true => Remaining::Nothing,
                    false => self.act(&mut creation.task, probe).await?,
                };
                let wait = match remaining {
                    Remaining::Nothing => {
                        let Creation { number, step, task, started, is_reported } = creation;
                        if !is_reported {
                            self.settled(number, total, step, task.done, started);
                        }
                        continue;
                    }
                    Remaining::Confirm | Remaining::Probe => Duration::ZERO,
                    Remaining::Wait(wait) => wait,
                };
                shortest = Some(shortest.map_or(wait, |shortest| shortest.min(wait)));
                creations.push(creation);
            }
            if is_due(creations)
                && let Some(wait) = shortest
            {
                tokio::time::sleep(wait).await;
            }
        }
        Ok(())
    }

    /// Whether a creation is left to the recording of a version: another run has dropped it, or has
    /// changed it after it had recorded the version.
    async fn is_left(
        &mut self,
        task: &Task<'_>,
        probe: &Probe,
        change: &VersionChange,
    ) -> Result<bool, MigrateError> {
        match probe {
            // This run drops an index to build it again.
            Probe::Pending => Ok(!task.build.is_rebuilt()),
            Probe::Differs(_) => {
                let rows = self.database.version_rows().await?;
                let own = rows.iter().find(|row| row.database == change.database);
                Ok(change.is_recorded_by(own.map(VersionRow::text)))
            }
            Probe::InEffect | Probe::Unfinished(_) => Ok(false),
        }
    }
}

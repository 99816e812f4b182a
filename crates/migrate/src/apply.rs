//! Runs a plan: for each step, probe, execute, probe again.
//!
//! The catalog decides whether a step has succeeded, not the response to its statement. A step that is
//! in effect and equal to its definition has succeeded, even if an earlier run ended early, a
//! concurrent run did it, or the response was lost. A version is recorded only then.
//!
//! The relations of the whole plan are read once, before the first step. What a concurrent run does
//! meanwhile shows when the server refuses a statement; objects to be dropped are read again right
//! before.
//!
//! The tables and indexes that the plan creates are read again together, before the first step that
//! needs one of them ([`Step::waits_for`]). DSQL builds indexes in the background: the builds, too, are
//! waited for there. What a concurrent run has dropped or changed by then is left to the recording of
//! the version, if one follows: it first reads whether another run is ahead, and repeats the steps in
//! their order.

mod creations;
mod drops;

use std::{collections::BTreeSet, time::Duration};

use temporal_dsql_client::Attempts;
use temporal_dsql_domain::SchemaVersion;
use tokio::time::Instant;

use self::creations::Creation;
use crate::{
    DatabaseError, Difference, IndexBuildState, MigrateError, Progress, Schema,
    index_build::{self, IndexBuild},
    objects::{Catalog, Scope, TableDefinition},
    plan::{Plan, Probe, Step, StepAction, probe},
    retry::{RetryingDatabase, is_retryable},
    schema::{Change, Statement},
    version_tables::{HISTORY_TABLE, VERSION_TABLE, VersionChange, VersionRow},
};

/// The SQLSTATE of PostgreSQL for a unique index over duplicates. On DSQL the build job fails instead.
const UNIQUE_VIOLATION: &str = "23505";
/// How often a run repeats steps that a concurrent run has undone, before it fails.
const MAX_ROUNDS: u32 = 3;

/// The outcome of a statement, as far as its response shows.
enum ExecuteResult {
    /// Executed; with the id of the job that builds the index, if there is one.
    Executed(Option<String>),
    /// The connection broke: the statement was executed or not.
    Unknown,
    /// Not executed; it can be retried.
    NotExecuted,
    /// The server refused it with a permanent error.
    Refused(DatabaseError),
}

/// The result of applying a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Steps that this run executed.
    pub done: usize,
    /// Steps that were already in effect.
    pub in_effect: usize,
}

/// A statement that is being brought into effect.
struct Task<'p> {
    statement: &'p Statement,
    layouts: &'p [TableDefinition],
    key: &'p [String],
    attempts: Attempts,
    build: IndexBuild,
    /// Whether this run has executed it.
    done: bool,
    /// Whether a concurrent run was faster, at the last attempt.
    raced: bool,
    refused: Option<(Statement, DatabaseError)>,
}

impl<'p> Task<'p> {
    fn new(statement: &'p Statement, layouts: &'p [TableDefinition], key: &'p [String]) -> Self {
        Self {
            statement,
            layouts,
            key,
            attempts: Attempts::new(),
            build: IndexBuild::new(),
            done: false,
            raced: false,
            refused: None,
        }
    }
}

/// What remains to be done for a [`Task`].
enum Remaining {
    Nothing,
    /// To probe, now or later: the server has answered that the statement is executed.
    Confirm,
    /// To probe again.
    Probe,
    /// To probe again after this time: its index is being built.
    Wait(Duration),
}

/// Applies plans to a database.
pub(crate) struct Applier<'s, 'a> {
    database: &'s mut RetryingDatabase<'a>,
    schema: &'s Schema,
    /// The catalog as far as it was read.
    catalog: Catalog,
    /// The relations that must be read before they are looked up in `catalog`.
    stale: BTreeSet<String>,
    /// Whether the version change of the plan has been recorded.
    version_recorded: bool,
    report: Report,
}

impl<'s, 'a> Applier<'s, 'a> {
    pub(crate) fn new(database: &'s mut RetryingDatabase<'a>, schema: &'s Schema) -> Self {
        Self {
            database,
            schema,
            catalog: Catalog::default(),
            stale: BTreeSet::new(),
            version_recorded: false,
            report: Report::default(),
        }
    }

    pub(crate) async fn apply(mut self, plan: &Plan) -> Result<Report, MigrateError> {
        self.expire(plan.steps.iter().flat_map(Step::relations));
        let total = plan.steps.len();
        let mut creations: Vec<Creation<'_>> = Vec::new();
        for (position, step) in plan.steps.iter().enumerate() {
            let next_version = plan.steps[position..].iter().find_map(|step| match &step.action {
                StepAction::Record(change) => Some(change),
                _ => None,
            });
            let is_needed = |change: &Change| step.waits_for(change);
            self.confirm(&mut creations, total, next_version, is_needed).await?;
            let number = position + 1;
            self.database.observer.on(Progress::Started { number, total, step });
            let started = Instant::now();
            if let StepAction::Run { statement, layouts, key } = &step.action
                && let Change::CreateTable { .. } | Change::CreateIndex { .. } = statement.change
            {
                let mut task = Task::new(statement, layouts, key);
                let remaining = self.create(&mut task).await?;
                let is_reported = !matches!(remaining, Remaining::Wait(_));
                if is_reported {
                    self.settled(number, total, step, task.done, started);
                }
                if !matches!(remaining, Remaining::Nothing) {
                    creations.push(Creation { number, step, task, started, is_reported });
                }
                continue;
            }
            let done = self.apply_step(plan, position).await?;
            self.settled(number, total, step, done, started);
        }
        self.confirm(&mut creations, total, None, |_| true).await?;
        Ok(self.report)
    }

    fn settled(&mut self, number: usize, total: usize, step: &Step, done: bool, started: Instant) {
        let elapsed = started.elapsed();
        self.database.observer.on(Progress::Finished { number, total, step, done, elapsed });
        match done {
            true => self.report.done += 1,
            false => self.report.in_effect += 1,
        }
    }

    /// Brings a step into effect. Returns whether this run executed it.
    async fn apply_step(&mut self, plan: &Plan, position: usize) -> Result<bool, MigrateError> {
        match &plan.steps[position].action {
            StepAction::Run { statement, layouts, key } => self.run(statement, layouts, key).await,
            StepAction::DropTable { statement, table, with_rows, to, .. } => {
                self.drop_table(statement, table, *with_rows, *to).await
            }
            StepAction::DropDependent { statement, dependent } => {
                // An object is not dropped for a table that stays.
                for step in &plan.steps[position..] {
                    if let StepAction::DropTable { table, with_rows, to, .. } = &step.action {
                        self.check_droppable(table, *with_rows, *to).await?;
                    }
                }
                self.drop_dependent(statement, dependent).await
            }
            StepAction::Record(change) => {
                let before = &plan.steps[..position];
                let last =
                    before.iter().rposition(|step| matches!(step.action, StepAction::Record(_)));
                let release = &before[last.map_or(0, |last| last + 1)..];
                let done = self.record(change, release, plan.to).await?;
                self.version_recorded = true;
                Ok(done)
            }
        }
    }

    async fn run(
        &mut self,
        statement: &Statement,
        layouts: &[TableDefinition],
        key: &[String],
    ) -> Result<bool, MigrateError> {
        if let Change::DropTable { .. } | Change::DropIndex { .. } = statement.change {
            self.expire(statement.change.relations());
        }
        let mut task = Task::new(statement, layouts, key);
        loop {
            match self.advance(&mut task).await? {
                Remaining::Nothing => return Ok(task.done),
                Remaining::Confirm | Remaining::Probe => {}
                Remaining::Wait(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// Probes a statement once, and takes the next action to bring it into effect.
    async fn advance(&mut self, task: &mut Task<'_>) -> Result<Remaining, MigrateError> {
        let probe = self.probe(task).await?;
        self.act(task, probe).await
    }

    /// Takes the next action to bring a statement into effect.
    async fn act(&mut self, task: &mut Task<'_>, probe: Probe) -> Result<Remaining, MigrateError> {
        let statement = task.statement;
        match (probe, task.refused.take()) {
            (Probe::InEffect, _) => return Ok(Remaining::Nothing),
            (Probe::Differs(differences), _) => return Err(MigrateError::Differs(differences)),
            (Probe::Pending, Some((failed, error))) if failed == *statement => {
                return Err(self.failed(&failed, error));
            }
            (Probe::Pending, _) => match self.execute(statement, task).await? {
                ExecuteResult::Executed(job) => {
                    task.done = true;
                    task.build.started(job);
                    return Ok(Remaining::Confirm);
                }
                ExecuteResult::Unknown => task.done = true,
                ExecuteResult::NotExecuted => {}
                ExecuteResult::Refused(error) => task.refused = Some((statement.clone(), error)),
            },
            (Probe::Unfinished(_), Some((failed, error))) if failed != *statement => {
                return Err(self.failed(&failed, error));
            }
            (Probe::Unfinished(oid), _) => {
                let Change::CreateIndex { name, index, .. } = &statement.change else {
                    unreachable!("only an index can exist and not be valid");
                };
                if let Some(wait) = task.build.poll(self.database, name, index, oid).await? {
                    // The time of a build does not count towards the retry deadline.
                    task.attempts = Attempts::new();
                    return Ok(Remaining::Wait(wait));
                }
                // The statement drops the index by name, and a concurrent run may have
                // replaced it.
                if self.probe(task).await? != Probe::Unfinished(oid) {
                    return Ok(Remaining::Probe);
                }
                if task.build.dropping(oid) {
                    self.database.observer.on(Progress::Repairing { index: name });
                }
                let drop = Statement::drop_index(name);
                match self.execute(&drop, task).await? {
                    ExecuteResult::Executed(_) => task.attempts = Attempts::new(),
                    ExecuteResult::Unknown | ExecuteResult::NotExecuted => {}
                    ExecuteResult::Refused(error) => task.refused = Some((drop, error)),
                }
            }
        }
        Ok(Remaining::Probe)
    }

    /// Writes the version rows and the history row. Returns whether this run did.
    ///
    /// Before a newer or an adopted version is recorded, all of its objects are checked again, because a
    /// concurrent overwrite or rollback may have dropped some. If so, the steps of the release are
    /// repeated. No lock keeps other runs out between this check and the commit, so an overwrite must run
    /// alone. For a rollback they are checked once more after the commit: either this check finds that a
    /// table is gone, or the rollback finds the version. A setup is not checked again.
    async fn record(
        &mut self,
        change: &VersionChange,
        release: &[Step],
        target: Option<SchemaVersion>,
    ) -> Result<bool, MigrateError> {
        let action = format!("recording version {}", change.to);
        let mut attempts = Attempts::new();
        let mut rounds = 0;
        let (mut sent, mut committed) = (false, false);
        loop {
            let rows = self.database.version_rows().await?;
            let now =
                |name: &str| rows.iter().find(|row| row.database == name).map(VersionRow::text);
            // The other names are recorded in the same transaction.
            let found = now(&change.database);
            let is_recorded = change.is_recorded_by(found);
            let is_own = sent && change.from.is_some() && found == Some(&*change.to.to_string());
            // What a later run has recorded stays.
            if is_recorded && !is_own {
                return Ok(sent);
            }
            let changed = |name: &str, expected: Option<&str>| MigrateError::VersionChanged {
                database: name.to_owned(),
                expected: expected.unwrap_or("none").to_owned(),
                actual: now(name).unwrap_or("none").to_owned(),
            };
            if committed && !is_recorded {
                // It has lowered what this run has raised.
                return match change.from.is_some() && change.is_upgrade() {
                    true => Err(changed(&change.database, Some(&change.to.to_string()))),
                    false => Ok(true),
                };
            }
            if !is_recorded
                && let Some((name, from)) = change.rows().find(|(name, from)| now(name) != *from)
            {
                return Err(changed(name, from));
            }
            let missing = match change.is_upgrade() || change.adopts {
                true => self.missing(change, target.unwrap_or(change.to)).await?,
                false => Vec::new(),
            };
            if !missing.is_empty() {
                if rounds == MAX_ROUNDS {
                    return Err(MigrateError::ConcurrentlyDropped { version: change.to, missing });
                }
                rounds += 1;
                // What a rollback has dropped since the version was read is not made again.
                if is_recorded && self.database.version_rows().await? != rows {
                    continue;
                }
                for step in release {
                    if let StepAction::Run { statement, layouts, key } = &step.action {
                        self.run(statement, layouts, key).await?;
                    }
                }
                // The time of these steps does not count towards the retry deadline.
                attempts = Attempts::new();
                continue;
            }
            if is_recorded {
                return Ok(true);
            }
            match self.database.inner.record_version(change).await {
                Ok(true) => (sent, committed) = (true, true),
                // A concurrent run has changed the version; the next read of the row shows it.
                Ok(false) => {}
                // The response to COMMIT may be lost; the next read of the row decides.
                Err(error) if is_retryable(&error) || error.is_duplicate() => {
                    sent |= matches!(error, DatabaseError::Lost { .. });
                    self.database.pause(&mut attempts, &action, error).await?;
                }
                Err(source) => return Err(MigrateError::Database { action, source }),
            }
        }
    }

    /// The objects of the new version that are missing or invalid. Objects that are dropped before
    /// `target` are not required: a concurrent run may be ahead. If the files of versions that were in
    /// effect have errors, their objects are not known and not required.
    async fn missing(
        &mut self,
        change: &VersionChange,
        target: SchemaVersion,
    ) -> Result<Vec<Difference>, MigrateError> {
        let mut objects = self.schema.objects_at(change.to);
        let later = self.schema.objects_at(target);
        let from = change.old_version().unwrap_or(SchemaVersion::NONE);
        if self.schema.check(SchemaVersion::NONE, from).is_err() {
            let before = self.schema.objects_at(from);
            objects.tables.retain(|name, _| !before.tables.contains_key(name));
            objects.indexes.retain(|name, _| !before.indexes.contains_key(name));
            objects.seeds.retain(|seed| !before.seeds.contains(seed));
        }
        let relations = || {
            let own = objects.tables.keys().chain(objects.indexes.keys()).map(String::as_str);
            own.chain([VERSION_TABLE, HISTORY_TABLE])
        };
        self.expire(relations());
        let catalog = self.catalog(relations()).await?;
        let tables = objects.tables.keys().filter(|name| later.tables.contains_key(*name));
        let mut missing: Vec<_> = [VERSION_TABLE, HISTORY_TABLE]
            .into_iter()
            .chain(tables.map(String::as_str))
            .filter(|name| !catalog.tables.contains_key(*name))
            .map(|name| Difference::MissingTable { table: name.to_owned() })
            .collect();
        let indexes = objects.indexes.keys().filter(|name| later.indexes.contains_key(*name));
        missing.extend(indexes.filter_map(|name| match catalog.indexes.get(name) {
            None => Some(Difference::MissingIndex { index: name.clone() }),
            Some(found) if found.valid => None,
            Some(_) => Some(Difference::InvalidIndex {
                index: name.clone(),
                build: IndexBuildState::Unknown,
            }),
        }));
        if !missing.is_empty() {
            return Ok(missing);
        }
        for seed in objects.seeds.iter().filter(|seed| later.seeds.contains(seed)) {
            if !self.database.has_seed(seed, &objects.primary_key_of(&seed.table)).await? {
                missing.push(Difference::MissingSeed { table: seed.table.clone() });
            }
        }
        Ok(missing)
    }

    /// Executes `statement` once, and waits before a retry if the error is transient. The next probe
    /// shows whether it is in effect: a refused statement may be, because a concurrent run was
    /// faster.
    async fn execute(
        &mut self,
        statement: &Statement,
        task: &mut Task<'_>,
    ) -> Result<ExecuteResult, MigrateError> {
        self.expire(statement.change.relations());
        let error = match self.database.inner.execute(statement).await {
            Ok(job) => return Ok(ExecuteResult::Executed(job)),
            Err(error) => error,
        };
        let is_race = match statement.change {
            Change::DropTable { .. } | Change::DropIndex { .. } | Change::DropDependent(_) => {
                error.is_undefined()
            }
            _ => error.is_duplicate(),
        };
        // A concurrent run was faster. If it has committed, the next probe shows it. If not, it will
        // before the deadline.
        let is_first_race = is_race && !task.raced;
        task.raced = is_race;
        if is_first_race {
            return Ok(ExecuteResult::NotExecuted);
        }
        let result = match &error {
            DatabaseError::Lost { .. } => ExecuteResult::Unknown,
            error if is_race || is_retryable(error) => ExecuteResult::NotExecuted,
            _ => return Ok(ExecuteResult::Refused(error)),
        };
        self.database.pause(&mut task.attempts, &statement.summary(), error).await?;
        Ok(result)
    }

    async fn probe(&mut self, task: &Task<'_>) -> Result<Probe, MigrateError> {
        let change = &task.statement.change;
        if let Change::Seed(seed) = change {
            let exists = self.database.has_seed(seed, task.key).await?;
            return Ok(if exists { Probe::InEffect } else { Probe::Pending });
        }
        let probe = probe(change, task.layouts, self.catalog(change.relations()).await?);
        if matches!(probe, Probe::Unfinished(_)) {
            // A job changes it.
            self.expire(change.relations());
        }
        Ok(probe)
    }

    /// Marks relations to be read before they are looked up again.
    fn expire<'n>(&mut self, relations: impl IntoIterator<Item = &'n str>) {
        self.stale.extend(relations.into_iter().map(str::to_owned));
    }

    /// The catalog, in which `relations` are up to date. One read serves all that are stale.
    async fn catalog<'n>(
        &mut self,
        relations: impl IntoIterator<Item = &'n str>,
    ) -> Result<&Catalog, MigrateError> {
        if relations.into_iter().any(|name| self.stale.contains(name)) {
            let scope = Scope::of(self.stale.iter().cloned());
            let read = self.database.catalog(&scope).await?;
            self.catalog.replace(&scope, read);
            self.stale.clear();
        }
        Ok(&self.catalog)
    }

    fn failed(&self, statement: &Statement, source: DatabaseError) -> MigrateError {
        if let (Change::CreateIndex { name, index, .. }, DatabaseError::Refused(server)) =
            (&statement.change, &source)
            && server.sqlstate == UNIQUE_VIOLATION
        {
            return index_build::failure(name, index, server.to_string());
        }
        MigrateError::Statement {
            summary: statement.summary(),
            statement: statement.text(self.database.engine()),
            refusal: source,
        }
    }
}

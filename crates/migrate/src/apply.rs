//! Runs a plan: for each step, probe, execute, probe again.
//!
//! The catalog decides whether a step has succeeded, not the response to its statement. The catalog
//! is read before a step and again after it. A step that is in effect and equal to its definition
//! has succeeded, even if an earlier run ended early, a concurrent run did it, or the response was
//! lost.

use temporal_dsql_client::Attempts;
use temporal_dsql_domain::SchemaVersion;
use tokio::time::Instant;

use crate::{
    DatabaseError, Difference, MigrateError, Progress, Schema,
    index_build::{self, IndexBuild},
    objects::{Catalog, TableDefinition},
    plan::{Plan, Probe, Step, StepAction, probe},
    retry::RetryingDatabase,
    schema::{Change, Statement},
    version_tables::{HISTORY_TABLE, VERSION_TABLE, VersionChange},
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

/// Applies plans to a database.
pub(crate) struct Applier<'s, 'a> {
    database: &'s mut RetryingDatabase<'a>,
    schema: &'s Schema,
    /// The catalog as it was last read, unless a statement was executed since. One read serves the
    /// probe after a step and the probe before the next.
    catalog: Option<Catalog>,
    /// Whether the version change of the plan has been recorded.
    version_recorded: bool,
}

impl<'s, 'a> Applier<'s, 'a> {
    pub(crate) fn new(database: &'s mut RetryingDatabase<'a>, schema: &'s Schema) -> Self {
        Self { database, schema, catalog: None, version_recorded: false }
    }

    pub(crate) async fn apply(&mut self, plan: &Plan) -> Result<Report, MigrateError> {
        let mut report = Report::default();
        let total = plan.steps.len();
        for (position, step) in plan.steps.iter().enumerate() {
            let number = position + 1;
            self.database.observer.on(Progress::Started { number, total, step });
            let start = Instant::now();
            let done = self.apply_step(plan, position).await?;
            self.database.observer.on(Progress::Finished {
                number,
                total,
                step,
                done,
                elapsed: start.elapsed(),
            });
            if done {
                report.done += 1;
            } else {
                report.in_effect += 1;
            }
        }
        Ok(report)
    }

    /// Brings a step into effect. Returns whether this run executed it.
    async fn apply_step(&mut self, plan: &Plan, position: usize) -> Result<bool, MigrateError> {
        match &plan.steps[position].action {
            StepAction::Run { statement, layouts, key } => self.run(statement, layouts, key).await,
            StepAction::DropTable { statement, table, with_rows, to } => {
                self.drop_table(statement, table, *with_rows, *to).await
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
        let mut attempts = Attempts::new();
        let mut build = IndexBuild::new();
        let mut done = false;
        let mut refused: Option<(Statement, DatabaseError)> = None;
        loop {
            let probe = self.probe(statement, layouts, key).await?;
            match (probe, refused.take()) {
                (Probe::InEffect, _) => return Ok(done),
                (Probe::Differs(differences), _) => return Err(MigrateError::Differs(differences)),
                (Probe::Pending, Some((failed, error))) if failed == *statement => {
                    return Err(self.failed(&failed, error));
                }
                (Probe::Pending, _) => match self.execute(statement, &mut attempts).await? {
                    ExecuteResult::Executed(job) => {
                        done = true;
                        build.started(job);
                    }
                    ExecuteResult::Unknown => done = true,
                    ExecuteResult::NotExecuted => {}
                    ExecuteResult::Refused(error) => refused = Some((statement.clone(), error)),
                },
                (Probe::Unfinished(_), Some((failed, error))) if failed != *statement => {
                    return Err(self.failed(&failed, error));
                }
                (Probe::Unfinished(oid), _) => {
                    let Change::CreateIndex { name, index, .. } = &statement.change else {
                        unreachable!("only an index can exist and not be valid");
                    };
                    if !build.is_abandoned(self.database, name, index, oid).await? {
                        // The time of a build does not count towards the retry deadline.
                        attempts = Attempts::new();
                        continue;
                    }
                    // The statement drops the index by name, and a concurrent run may have
                    // replaced it.
                    if self.probe(statement, layouts, key).await? != Probe::Unfinished(oid) {
                        continue;
                    }
                    if build.dropping(oid) {
                        self.database.observer.on(Progress::Repairing { index: name });
                    }
                    let drop = Statement::drop_index(name);
                    match self.execute(&drop, &mut attempts).await? {
                        ExecuteResult::Executed(_) => attempts = Attempts::new(),
                        ExecuteResult::Unknown | ExecuteResult::NotExecuted => {}
                        ExecuteResult::Refused(error) => refused = Some((drop, error)),
                    }
                }
            }
        }
    }

    async fn drop_table(
        &mut self,
        statement: &Statement,
        table: &str,
        with_rows: bool,
        to: Option<SchemaVersion>,
    ) -> Result<bool, MigrateError> {
        let mut attempts = Attempts::new();
        let mut done = false;
        let mut refused = None;
        loop {
            if !self.catalog().await?.tables.contains_key(table) {
                return Ok(done);
            }
            if let Some(error) = refused.take() {
                return Err(self.failed(statement, error));
            }
            if let Some(to) = to {
                self.check_no_newer_version(to).await?;
            }
            // As late as possible. DSQL has no lock that keeps writers out between this check and
            // the drop, so all servers must be on the older version by now.
            if !with_rows && self.database.has_rows(table).await? {
                return Err(MigrateError::TableHasRows {
                    table: table.to_owned(),
                    version_lowered: self.version_recorded,
                });
            }
            match self.execute(statement, &mut attempts).await? {
                ExecuteResult::Executed(_) | ExecuteResult::Unknown => done = true,
                ExecuteResult::NotExecuted => {}
                ExecuteResult::Refused(error) => refused = Some(error),
            }
        }
    }

    /// Checks that no version newer than `to` is recorded, under any logical name.
    async fn check_no_newer_version(&mut self, to: SchemaVersion) -> Result<(), MigrateError> {
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

    /// Writes the version row and the history row. Returns whether this run did.
    ///
    /// Before a newer version is recorded, all of its objects are checked again, because a concurrent
    /// overwrite or rollback may have dropped some. If so, the steps of the release are repeated. No
    /// lock keeps other runs out between this check and the commit, so an overwrite must run alone.
    async fn record(
        &mut self,
        change: &VersionChange,
        release: &[Step],
        target: Option<SchemaVersion>,
    ) -> Result<bool, MigrateError> {
        let action = format!("recording version {}", change.to);
        let mut attempts = Attempts::new();
        let mut rounds = 0;
        let mut sent = false;
        loop {
            let rows = self.database.version_rows().await?;
            let row = rows.into_iter().find(|row| row.database == change.database);
            let now = row.and_then(|row| row.version);
            if is_recorded(now.as_deref(), change) {
                return Ok(sent);
            }
            if now != change.from {
                let shown = |version: Option<String>| version.unwrap_or_else(|| "none".to_owned());
                return Err(MigrateError::VersionChanged {
                    database: change.database.clone(),
                    expected: shown(change.from.clone()),
                    actual: shown(now),
                });
            }
            let missing = match change.is_upgrade() {
                true => self.missing(change, target.unwrap_or(change.to)).await?,
                false => Vec::new(),
            };
            if !missing.is_empty() {
                if rounds == MAX_ROUNDS {
                    return Err(MigrateError::ConcurrentlyDropped { version: change.to, missing });
                }
                rounds += 1;
                for step in release {
                    if let StepAction::Run { statement, layouts, key } = &step.action {
                        self.run(statement, layouts, key).await?;
                    }
                }
                continue;
            }
            match self.database.inner.record_version(change).await {
                Ok(true) => return Ok(true),
                // A concurrent run has changed the version; the next read of the row shows it.
                Ok(false) => {}
                // The response to COMMIT may be lost; the next read of the row decides.
                Err(error) if self.database.is_retryable(&error) || error.is_duplicate() => {
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
        self.catalog = None;
        let catalog = self.catalog().await?;
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
            Some(_) => Some(Difference::InvalidIndex { index: name.clone(), building: false }),
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
        attempts: &mut Attempts,
    ) -> Result<ExecuteResult, MigrateError> {
        self.catalog = None;
        let error = match self.database.inner.execute(statement).await {
            Ok(job) => return Ok(ExecuteResult::Executed(job)),
            Err(error) => error,
        };
        // A concurrent run was faster; it has committed, or will before the deadline.
        let is_race = match statement.change {
            Change::DropTable { .. } | Change::DropIndex { .. } => error.is_undefined(),
            _ => error.is_duplicate(),
        };
        let result = match &error {
            DatabaseError::Lost { .. } => ExecuteResult::Unknown,
            error if is_race || self.database.is_retryable(error) => ExecuteResult::NotExecuted,
            _ => return Ok(ExecuteResult::Refused(error)),
        };
        self.database.pause(attempts, &statement.summary(), error).await?;
        Ok(result)
    }

    async fn probe(
        &mut self,
        statement: &Statement,
        layouts: &[TableDefinition],
        key: &[String],
    ) -> Result<Probe, MigrateError> {
        if let Change::Seed(seed) = &statement.change {
            let exists = self.database.has_seed(seed, key).await?;
            return Ok(if exists { Probe::InEffect } else { Probe::Pending });
        }
        let probe = probe(&statement.change, layouts, self.catalog().await?);
        if matches!(probe, Probe::Unfinished(_)) {
            // A job changes it.
            self.catalog = None;
        }
        Ok(probe)
    }

    async fn catalog(&mut self) -> Result<&Catalog, MigrateError> {
        let catalog = match self.catalog.take() {
            Some(catalog) => catalog,
            None => self.database.catalog().await?,
        };
        Ok(self.catalog.insert(catalog))
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
            source,
        }
    }
}

/// Whether the recorded version `now` is the target of `change`, or, for an upgrade, newer: then a
/// concurrent run has recorded this change and later ones. Every version is newer than 0.0, which
/// has the version tables only.
fn is_recorded(now: Option<&str>, change: &VersionChange) -> bool {
    match now.and_then(|text| text.parse::<SchemaVersion>().ok()) {
        Some(now) if now == change.to => true,
        Some(now) => {
            let may_go_on = change.from.is_some() || change.to == SchemaVersion::NONE;
            change.is_upgrade() && may_go_on && now > change.to
        }
        None => false,
    }
}

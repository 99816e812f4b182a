//! Running a plan: probe, act, probe.
//!
//! The catalog decides, not the answers to statements. Before a step the catalog is asked whether
//! it is in effect; after it has been run, whatever came back, the catalog is asked again. So it
//! makes no difference whether a run before this one died half-way, whether another one runs at
//! the same time, or whether the answer to a statement was lost: a step that is in effect and
//! equal to its definition has succeeded.

use temporal_dsql_client::Attempts;
use temporal_dsql_domain::SchemaVersion;
use tokio::time::Instant;

use crate::{
    DatabaseError, Difference, MigrateError, Progress, Schema,
    index_build::{self, IndexBuild},
    objects::{Catalog, Table},
    plan::{Action, Plan, Probe, Step, probe},
    schema::{Change, Statement},
    session::Session,
    version_tables::{HISTORY_TABLE, VERSION_TABLE, VersionChange},
};

/// What PostgreSQL answers to a unique index over duplicates. On DSQL its job fails instead.
const UNIQUE_VIOLATION: &str = "23505";
/// How often a run does again what another one has undone, before it gives up.
const MAX_ROUNDS: u32 = 3;

/// What became of a statement, as far as its answer tells.
enum Act {
    /// It was run; the job that builds the index, if there is one.
    Done(Option<String>),
    /// The connection broke on the way: it was run, or it was not.
    Perhaps,
    /// It was not run, and may be later.
    NotDone,
    /// The server refused it for a reason that will not pass.
    Refused(DatabaseError),
}

/// What came of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Steps that this run did.
    pub done: usize,
    /// Steps that were in effect.
    pub in_effect: usize,
}

/// Runs plans on a database.
pub(crate) struct Applier<'s, 'a> {
    session: &'s mut Session<'a>,
    schema: &'s Schema,
    /// The catalog as it was read last, if nothing was done since. What is seen after one step is
    /// what is asked before the next.
    catalog: Option<Catalog>,
    /// Whether the plan's version change is made.
    recorded: bool,
}

impl<'s, 'a> Applier<'s, 'a> {
    pub(crate) fn new(session: &'s mut Session<'a>, schema: &'s Schema) -> Self {
        Self { session, schema, catalog: None, recorded: false }
    }

    pub(crate) async fn apply(&mut self, plan: &Plan) -> Result<Report, MigrateError> {
        let mut report = Report::default();
        let total = plan.steps.len();
        for (position, step) in plan.steps.iter().enumerate() {
            let number = position + 1;
            self.session.observer.on(Progress::Started { number, total, step });
            let start = Instant::now();
            let done = self.apply_step(plan, position).await?;
            self.session.observer.on(Progress::Finished {
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

    /// Brings a step into effect; tells whether this run did it.
    async fn apply_step(&mut self, plan: &Plan, position: usize) -> Result<bool, MigrateError> {
        match &plan.steps[position].action {
            Action::Run { statement, forms, key } => self.run(statement, forms, key).await,
            Action::DropTable { statement, table, with_rows, to } => {
                self.drop_table(statement, table, *with_rows, *to).await
            }
            Action::Record(change) => {
                let before = &plan.steps[..position];
                let last = before.iter().rposition(|step| matches!(step.action, Action::Record(_)));
                let release = &before[last.map_or(0, |last| last + 1)..];
                let done = self.record(change, release, plan.to).await?;
                self.recorded = true;
                Ok(done)
            }
        }
    }

    async fn run(
        &mut self,
        statement: &Statement,
        forms: &[Table],
        key: &[String],
    ) -> Result<bool, MigrateError> {
        let mut attempts = Attempts::new();
        let mut build = IndexBuild::new();
        let mut done = false;
        let mut refused: Option<(Statement, DatabaseError)> = None;
        loop {
            let probe = self.probe(statement, forms, key).await?;
            match (probe, refused.take()) {
                (Probe::InEffect, _) => return Ok(done),
                (Probe::Differs(differences), _) => return Err(MigrateError::Differs(differences)),
                (Probe::Pending, Some((act, error))) if act == *statement => {
                    return Err(self.failed(&act, error));
                }
                (Probe::Pending, _) => match self.act(statement, &mut attempts).await? {
                    Act::Done(job) => {
                        done = true;
                        build.started(job);
                    }
                    Act::Perhaps => done = true,
                    Act::NotDone => {}
                    Act::Refused(error) => refused = Some((statement.clone(), error)),
                },
                (Probe::Unfinished(_), Some((act, error))) if act != *statement => {
                    return Err(self.failed(&act, error));
                }
                (Probe::Unfinished(oid), _) => {
                    let Change::CreateIndex { name, index, .. } = &statement.change else {
                        unreachable!("only an index can be there and not be valid");
                    };
                    if !build.is_abandoned(self.session, name, index, oid).await? {
                        // The time that a build takes is not that of a conflict.
                        attempts = Attempts::new();
                        continue;
                    }
                    // The statement names the index, and by now that may be one that another run
                    // has built.
                    if self.probe(statement, forms, key).await? != Probe::Unfinished(oid) {
                        continue;
                    }
                    if build.dropping(oid) {
                        self.session.observer.on(Progress::Repairing { index: name });
                    }
                    let drop = Statement::drop_index(name);
                    match self.act(&drop, &mut attempts).await? {
                        Act::Done(_) => attempts = Attempts::new(),
                        Act::Perhaps | Act::NotDone => {}
                        Act::Refused(error) => refused = Some((drop, error)),
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
                self.not_above(to).await?;
            }
            // As late as possible. DSQL has no lock that would keep a writer out between this and
            // the drop, which is why the writers must be on the older version by now.
            if !with_rows && self.session.has_rows(table).await? {
                return Err(MigrateError::TableHasRows {
                    table: table.to_owned(),
                    lowered: self.recorded,
                });
            }
            match self.act(statement, &mut attempts).await? {
                Act::Done(_) | Act::Perhaps => done = true,
                Act::NotDone => {}
                Act::Refused(error) => refused = Some(error),
            }
        }
    }

    /// That no version above `to` is recorded, under any name.
    async fn not_above(&mut self, to: SchemaVersion) -> Result<(), MigrateError> {
        for row in self.session.version_rows().await? {
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

    /// Writes the version row and the history row; tells whether this run did.
    ///
    /// Right before a version is recorded that is newer, everything of it is looked at again: an
    /// overwrite or a rollback that runs at the same time drops what this run has made. Then the
    /// steps of its release are done again. Between this look and the commit there is no lock that
    /// would keep another run out, which is why an overwrite must be the only one.
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
            let rows = self.session.version_rows().await?;
            let row = rows.into_iter().find(|row| row.database == change.database);
            let now = row.and_then(|row| row.version);
            if reached(now.as_deref(), change) {
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
            let missing = match change.leads_up() {
                true => self.missing(change.to, target.unwrap_or(change.to)).await?,
                false => Vec::new(),
            };
            if !missing.is_empty() {
                if rounds == MAX_ROUNDS {
                    return Err(MigrateError::Undone { version: change.to, missing });
                }
                rounds += 1;
                for step in release {
                    if let Action::Run { statement, forms, key } = &step.action {
                        self.run(statement, forms, key).await?;
                    }
                }
                continue;
            }
            match self.session.database.record_version(change).await {
                Ok(true) => return Ok(true),
                // Another run was faster; the next look shows where it led.
                Ok(false) => {}
                // The answer to COMMIT may be lost, and then the row tells.
                Err(error) if self.session.may_pass(&error) || error.is_duplicate() => {
                    sent |= matches!(error, DatabaseError::Lost { .. });
                    self.session.pause(&mut attempts, &action, error).await?;
                }
                Err(source) => return Err(MigrateError::Database { action, source }),
            }
        }
    }

    /// What of `version` is not there, or not valid. What the plan drops on the way to `target`
    /// may be gone: then another run is ahead.
    async fn missing(
        &mut self,
        version: SchemaVersion,
        target: SchemaVersion,
    ) -> Result<Vec<Difference>, MigrateError> {
        let (objects, later) = (self.schema.objects_at(version), self.schema.objects_at(target));
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
            if !self.session.has_seed(seed, &objects.key_of(&seed.table)).await? {
                missing.push(Difference::MissingSeed { table: seed.table.clone() });
            }
        }
        Ok(missing)
    }

    /// Runs `statement` once, and waits a little if that may help. What became of it, the next
    /// probe tells: a refused statement may be in effect all the same, because a concurrent run was
    /// faster.
    async fn act(
        &mut self,
        statement: &Statement,
        attempts: &mut Attempts,
    ) -> Result<Act, MigrateError> {
        self.catalog = None;
        let error = match self.session.database.execute(statement).await {
            Ok(job) => return Ok(Act::Done(job)),
            Err(error) => error,
        };
        // Another run was faster; it has committed, or will before the deadline.
        let is_race = match statement.change {
            Change::DropTable { .. } | Change::DropIndex { .. } => error.is_undefined(),
            _ => error.is_duplicate(),
        };
        let act = match &error {
            DatabaseError::Lost { .. } => Act::Perhaps,
            error if is_race || self.session.may_pass(error) => Act::NotDone,
            _ => return Ok(Act::Refused(error)),
        };
        self.session.pause(attempts, &statement.summary(), error).await?;
        Ok(act)
    }

    async fn probe(
        &mut self,
        statement: &Statement,
        forms: &[Table],
        key: &[String],
    ) -> Result<Probe, MigrateError> {
        if let Change::Seed(seed) = &statement.change {
            let is_there = self.session.has_seed(seed, key).await?;
            return Ok(if is_there { Probe::InEffect } else { Probe::Pending });
        }
        let probe = probe(&statement.change, forms, self.catalog().await?);
        if matches!(probe, Probe::Unfinished(_)) {
            // It changes without this run's doing.
            self.catalog = None;
        }
        Ok(probe)
    }

    async fn catalog(&mut self) -> Result<&Catalog, MigrateError> {
        let catalog = match self.catalog.take() {
            Some(catalog) => catalog,
            None => self.session.catalog().await?,
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
            statement: statement.text(self.session.engine()),
            source,
        }
    }
}

/// Whether the recorded version `now` is where `change` leads, or further in its direction: then
/// another run has done this change and the next. Any version is further than 0.0, which stands for
/// the version tables alone.
fn reached(now: Option<&str>, change: &VersionChange) -> bool {
    match now.and_then(|text| text.parse::<SchemaVersion>().ok()) {
        Some(now) if now == change.to => true,
        Some(now) => {
            let may_go_on = change.from.is_some() || change.to == SchemaVersion::NONE;
            change.leads_up() && may_go_on && now > change.to
        }
        None => false,
    }
}

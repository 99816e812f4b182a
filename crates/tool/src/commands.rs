//! The commands: each makes a plan and applies it.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, OnceLock},
};

use temporal_dsql::migrate::{
    DatabaseError, Digest, MigrateError, Migrator, Overwrite, Plan, PostgresDatabase, Rollback,
    Schema, SchemaError, SessionWatch, Setup, Step, StepAction, StepState, Timeouts,
};
use temporal_dsql::{Engine, SchemaVersion, Table};

use crate::{
    cli::{
        AdoptSchema, Cli, Command, Proof, RollbackSchema, SetupSchema, Status, UpdateSchema, Verify,
    },
    completions, doctor,
    exit::{Exit, Failure, Kind},
    import,
    interrupt::Interruption,
    progress::ProgressReporter,
    prompt,
    report::{Outcome, Success, counted},
    target::{self, Resolved},
};

/// Runs the command. `interruption` gets what a signal stops.
pub(crate) async fn run(cli: &Cli, interruption: &Interruption) -> Result<Success, Failure> {
    let watch = &interruption.session;
    let run = Run { cli, watch };
    match &cli.command {
        Command::SetupSchema(setup) => setup_schema(run, setup).await,
        Command::UpdateSchema(update) => update_schema(run, update).await,
        Command::Doctor(options) => Ok(Success::Examined(doctor::examine(cli, options).await?)),
        Command::Status(status) => self::status(run, status).await,
        Command::Verify(verify) => self::verify(run, verify).await,
        Command::RollbackSchema(rollback) => rollback_schema(run, rollback).await,
        Command::AdoptSchema(adoption) => adopt_schema(run, adoption).await,
        Command::Import(options) => import::import(cli, options, watch, &interruption.import).await,
        Command::FenceSource(options) => import::fence(cli, options, true, watch).await,
        Command::UnfenceSource(options) => import::fence(cli, options, false, watch).await,
        Command::CreateDatabase(_) => create_database(run).await,
        // It is always refused.
        Command::DropDatabase(_) => {
            target::resolve(cli).map(|_| Success::NothingToDo(String::new()))
        }
        Command::Completions(completions) => {
            Ok(Success::Completions(completions::script(completions.shell)))
        }
    }
}

/// The arguments of a run, and the place for the session of its database.
#[derive(Clone, Copy)]
struct Run<'c> {
    cli: &'c Cli,
    watch: &'c OnceLock<SessionWatch>,
}

impl Run<'_> {
    async fn open(&self) -> Result<(PostgresDatabase, Arc<ProgressReporter>), Failure> {
        let reporter = Arc::new(ProgressReporter::new(self.cli.quiet));
        let timeouts = Timeouts::default();
        let database = target::open(self.cli, &timeouts, &reporter, self.watch).await?;
        Ok((database, reporter))
    }
}

/// A schema and a database, and the progress reporter.
struct CommandContext {
    schema: Schema,
    database: PostgresDatabase,
    logical_database: String,
    reporter: Arc<ProgressReporter>,
}

impl CommandContext {
    /// Checks the schema before it connects, so that an invalid file is reported first.
    async fn open(
        run: Run<'_>,
        schema: impl FnOnce() -> Result<Schema, SchemaError>,
    ) -> Result<Self, Failure> {
        let cli = run.cli;
        target::resolve(cli)?;
        let schema = schema().map_err(MigrateError::from)?;
        let logical_database = target::logical_database(&cli.connection)?;
        let (database, reporter) = run.open().await?;
        for warning in schema.warnings() {
            reporter.line(&format!("warning: {warning}"));
        }
        Ok(Self { schema, database, logical_database, reporter })
    }

    fn migrator(&mut self) -> Migrator<'_> {
        Migrator::new(
            &self.schema,
            &mut self.database,
            self.logical_database.as_str(),
            Timeouts::default(),
            &*self.reporter,
        )
    }

    /// The digest of `current_executions`, which no migration changes, if `--prove` is given.
    async fn digest(&mut self, proof: &Proof) -> Result<Option<Digest>, Failure> {
        if !proof.prove {
            return Ok(None);
        }
        let table = Table::CurrentExecutions.name();
        self.reporter.line(&format!("reading all of {table}"));
        Ok(Some(self.migrator().digest(table, &BTreeSet::new()).await?))
    }

    /// The plan as a dry run shows it, with what `--prove` would do.
    fn dry_run(mut plan: Plan, proof: &Proof) -> Success {
        if proof.prove && !plan.is_done() {
            plan.notes.push(format!(
                "--prove reads all rows of {} before and after these steps, and fails if they \
                 differ; writers must be stopped",
                Table::CurrentExecutions.name()
            ));
        }
        Success::DryRun(vec![plan])
    }

    /// Prints the notes of a plan.
    fn print_notes(&self, plan: &Plan) {
        for note in &plan.notes {
            self.reporter.line(&format!("note: {note}"));
        }
    }

    /// Asks for confirmation if the plan drops tables with their rows or objects that depend on tables,
    /// unless `yes` is given. Tables that differ from the schema are confirmed with a word of their own,
    /// unless `different` is given.
    async fn confirm(
        &self,
        plan: &Plan,
        what: &str,
        yes: bool,
        different: bool,
    ) -> Result<(), Failure> {
        let tables: Vec<_> = plan.steps.iter().filter_map(table_lost_by).collect();
        let dependents: Vec<_> = plan.steps.iter().filter_map(dropped_dependent).collect();
        if yes || tables.is_empty() && dependents.is_empty() {
            self.print_notes(plan);
            return Ok(());
        }
        let mut question = match tables.len() {
            0 => format!("{what} drops tables on which other objects depend"),
            count => format!(
                "{what} drops {} with all rows:\n  {}",
                counted(count, "table"),
                tables.join("\n  ")
            ),
        };
        if !dependents.is_empty() {
            let list = dependents.join("\n  ");
            question.push_str(&format!("\nit drops what depends on them, too:\n  {list}"));
        }
        for note in &plan.notes {
            question.push_str(&format!("\nnote: {note}"));
        }
        let is_different = |step: &Step| match &step.action {
            StepAction::DropTable { differences, .. } => !differences.is_empty(),
            _ => false,
        };
        let asks_for_word = !different && plan.steps.iter().any(is_different);
        prompt::confirm(&question, asks_for_word.then_some(DIFFERENT)).await
    }

    /// Applies the plan, and compares the digests before and after it. A run without a step has no proof.
    async fn apply(&mut self, mut plan: Plan, proof: &Proof) -> Result<Success, Failure> {
        let read = Proof { prove: proof.prove && !plan.is_done() };
        let before = self.digest(&read).await?;
        let report = self.migrator().apply(&plan).await?;
        let after = self.digest(&read).await?;
        if before != after {
            let reason = anyhow::anyhow!(
                "current_executions changed while the schema was migrated: {} before, {} after. \
                 No statement of this run writes it, so servers were probably writing. The steps of \
                 this run are in effect, and another run proves nothing about them",
                before.map_or_else(String::new, |digest| digest.to_string()),
                after.map_or_else(String::new, |digest| digest.to_string()),
            );
            return Err(Failure::new(Exit::Failed, Kind::Proof, reason));
        }
        if proof.prove && report.done == 0 {
            self.reporter.line(
                "note: --prove has proved nothing: this run has executed no step, and what an earlier \
                 run has done can no longer be proved",
            );
        }
        for step in &mut plan.steps {
            step.state = StepState::InEffect;
        }
        let proof = after.filter(|_| report.done > 0);
        Ok(Success::Applied { outcome: Outcome::of(&report), plan, report, proof })
    }
}

/// The word that confirms the drop of tables that differ from the schema.
const DIFFERENT: &str = "different";

const WITHOUT_PROOF: Proof = Proof { prove: false };

/// A cluster has its database; one of PostgreSQL may exist.
async fn create_database(run: Run<'_>) -> Result<Success, Failure> {
    let Resolved { config, target } = target::resolve(run.cli)?;
    if target.engine == Engine::Dsql {
        return Ok(Success::NothingToDo(
            "an Aurora DSQL cluster has exactly one database, `postgres`, and cannot have others"
                .to_owned(),
        ));
    }
    match run.open().await {
        Ok(_) => Ok(Success::NothingToDo(format!("database `{}` exists", config.database))),
        Err(failure) => match failure.error.downcast_ref() {
            Some(DatabaseError::NoDatabase { .. }) => Err(Failure::usage(format!(
                "this tool creates no databases; use\n  createdb --host {} --port {} --username {} {}",
                config.host, config.port, config.user, config.database
            ))),
            _ => Err(failure),
        },
    }
}

async fn setup_schema(run: Run<'_>, options: &SetupSchema) -> Result<Success, Failure> {
    let file = options.schema_file.as_deref().filter(|file| is_given(file));
    if file.is_some() && options.version.is_none() && !options.disable_versioning {
        return Err(Failure::usage(
            "--schema-file needs --version, the version that the file is, or --disable-versioning",
        ));
    }
    if file.is_some() && options.version == Some(SchemaVersion::NONE) {
        return Err(Failure::usage(
            "--schema-file needs another --version than 0.0, which has no tables",
        ));
    }
    let schema = || match file {
        None => Schema::embedded(),
        // Without versioning, the version of the file is not recorded.
        Some(file) => Schema::from_file(file, options.version.unwrap_or(temporal_dsql::VERSION)),
    };
    let mut context = CommandContext::open(run, schema).await?;
    let setup = Setup { version: options.version, versioning: !options.disable_versioning };
    // The plan of an overwrite includes the setup: if that is refused, nothing is dropped.
    let plan = match options.overwrite {
        true => {
            // Without --yes, the question names the tables that differ and asks for them.
            let is_asked = !options.safety.yes && prompt::is_possible();
            let overwrite = Overwrite {
                setup,
                drop_different: options.drop_different || is_asked || options.safety.dry_run,
                drop_dependents: options.drop_dependents,
            };
            context.migrator().plan_overwrite(&overwrite).await?
        }
        false => context.migrator().plan_setup(&setup).await?,
    };
    if options.safety.dry_run {
        return Ok(CommandContext::dry_run(plan, &WITHOUT_PROOF));
    }
    let yes = options.safety.yes;
    context.confirm(&plan, "--overwrite", yes, options.drop_different).await?;
    context.apply(plan, &WITHOUT_PROOF).await
}

async fn update_schema(run: Run<'_>, options: &UpdateSchema) -> Result<Success, Failure> {
    let mut context = CommandContext::open(run, || options.schema.read()).await?;
    let plan = context.migrator().plan_update(options.version).await?;
    if options.dry_run {
        return Ok(CommandContext::dry_run(plan, &options.proof));
    }
    context.print_notes(&plan);
    context.apply(plan, &options.proof).await
}

async fn rollback_schema(run: Run<'_>, options: &RollbackSchema) -> Result<Success, Failure> {
    let mut context = CommandContext::open(run, || options.schema.read()).await?;
    let rollback = Rollback {
        to: options.to,
        with_rows: options.drop_rows,
        drop_dependents: options.drop_dependents,
    };
    let plan = context.migrator().plan_rollback(&rollback).await?;
    if options.safety.dry_run {
        return Ok(CommandContext::dry_run(plan, &options.proof));
    }
    context.confirm(&plan, "rollback-schema", options.safety.yes, true).await?;
    context.apply(plan, &options.proof).await
}

/// The table that a step drops with its rows.
fn table_lost_by(step: &Step) -> Option<&str> {
    match &step.action {
        StepAction::DropTable { table, with_rows: true, .. } => Some(table),
        _ => None,
    }
}

/// The object that a step drops because it depends on a table.
fn dropped_dependent(step: &Step) -> Option<&str> {
    match &step.action {
        StepAction::DropDependent { dependent, .. } => Some(&dependent.object),
        _ => None,
    }
}

async fn adopt_schema(run: Run<'_>, options: &AdoptSchema) -> Result<Success, Failure> {
    let mut context = CommandContext::open(run, || options.schema.read()).await?;
    let plan = context.migrator().plan_adoption().await?;
    if options.dry_run {
        return Ok(CommandContext::dry_run(plan, &WITHOUT_PROOF));
    }
    context.print_notes(&plan);
    context.apply(plan, &WITHOUT_PROOF).await
}

async fn status(run: Run<'_>, options: &Status) -> Result<Success, Failure> {
    let mut context = CommandContext::open(run, || options.schema.read()).await?;
    Ok(Success::Status(context.migrator().status().await?))
}

async fn verify(run: Run<'_>, options: &Verify) -> Result<Success, Failure> {
    let mut context = CommandContext::open(run, || options.schema.read()).await?;
    Ok(Success::Verified(context.migrator().verify(options.version).await?))
}

/// Whether a path is not empty, which Go takes as absent.
fn is_given(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

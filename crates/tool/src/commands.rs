//! The commands: each makes a plan and applies it.

use std::collections::BTreeSet;

use clap::CommandFactory;
use temporal_dsql::Table;
use temporal_dsql::migrate::{
    Digest, MigrateError, Migrator, Overwrite, Plan, PostgresDatabase, Rollback, Schema,
    SchemaError, Setup, Step, StepAction, Timeouts,
};

use crate::{
    cli::{
        AdoptSchema, Cli, Command, Output, Proof, RollbackSchema, SchemaVersions, SetupSchema,
        Status, UpdateSchema, Verify,
    },
    doctor,
    exit::Failure,
    progress::ProgressReporter,
    prompt,
    report::{Outcome, Success},
    target,
};

/// Runs the command.
pub(crate) async fn run(cli: &Cli) -> Result<Success, Failure> {
    match &cli.command {
        Command::SetupSchema(setup) => setup_schema(cli, setup).await,
        Command::UpdateSchema(update) => update_schema(cli, update).await,
        Command::Doctor(options) => Ok(Success::Examined(doctor::examine(cli, options).await?)),
        Command::Status(status) => self::status(cli, status).await,
        Command::Verify(verify) => self::verify(cli, verify).await,
        Command::RollbackSchema(rollback) => rollback_schema(cli, rollback).await,
        Command::AdoptSchema(adoption) => adopt_schema(cli, adoption).await,
        Command::CreateDatabase | Command::DropDatabase => Err(Failure::usage(format!(
            "{} does not apply: an Aurora DSQL cluster has exactly one database, `postgres`; \
             `setup-schema` sets it up, and `setup-schema --overwrite` starts over",
            cli.command.name()
        ))),
        Command::Completions(completions) => {
            let mut script = Vec::new();
            let mut command = Cli::command();
            clap_complete::generate(
                completions.shell,
                &mut command,
                "temporal-dsql-tool",
                &mut script,
            );
            Ok(Success::Completions(String::from_utf8_lossy(&script).into_owned()))
        }
    }
}

/// A schema and a database, and the progress reporter.
struct CommandContext<'c> {
    cli: &'c Cli,
    schema: Schema,
    database: PostgresDatabase,
    reporter: ProgressReporter,
}

impl<'c> CommandContext<'c> {
    /// Checks the schema before it connects, so that an invalid file is reported first.
    async fn open(
        cli: &'c Cli,
        schema: Result<Schema, SchemaError>,
    ) -> Result<CommandContext<'c>, Failure> {
        let schema = schema.map_err(MigrateError::from)?;
        let database = target::open(&cli.connection, &Timeouts::default()).await?;
        let reporter = ProgressReporter::new(cli.quiet || cli.output == Output::Json);
        for warning in schema.warnings() {
            reporter.line(&format!("warning: {warning}"));
        }
        Ok(Self { cli, schema, database, reporter })
    }

    fn migrator(&mut self) -> Migrator<'_> {
        Migrator::new(
            &self.schema,
            &mut self.database,
            self.cli.connection.logical_database.as_str(),
            Timeouts::default(),
            &self.reporter,
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
                "{what} drops these {count} tables and all their rows:\n  {}",
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

    /// Applies the plan, and compares the digests before and after it.
    async fn apply(&mut self, plan: Plan, proof: &Proof) -> Result<Success, Failure> {
        let before = self.digest(proof).await?;
        let report = self.migrator().apply(&plan).await?;
        let after = self.digest(proof).await?;
        if before != after {
            return Err(anyhow::anyhow!(
                "current_executions changed while the schema was migrated: {} before, {} after. \
                 No statement of this run writes it; if servers were writing, stop them and repeat \
                 the command with --prove",
                before.map_or_else(String::new, |digest| digest.to_string()),
                after.map_or_else(String::new, |digest| digest.to_string()),
            )
            .into());
        }
        Ok(Success::Applied { outcome: Outcome::of(&report), plan, report, proof: after })
    }
}

/// The word that confirms the drop of tables that differ from the schema.
const DIFFERENT: &str = "different";

/// The embedded schema, or that of `--schema-dir`.
fn schema(versions: &SchemaVersions) -> Result<Schema, SchemaError> {
    match &versions.schema_dir {
        None => Schema::embedded(),
        Some(directory) => Schema::from_directory(directory),
    }
}

const WITHOUT_PROOF: Proof = Proof { prove: false };

async fn setup_schema(cli: &Cli, options: &SetupSchema) -> Result<Success, Failure> {
    let schema = match (&options.schema_file, options.version) {
        (None, _) => Schema::embedded(),
        (Some(file), Some(version)) => Schema::from_file(file, version),
        // Without versioning, the version of the file is not recorded.
        (Some(file), None) if options.disable_versioning => {
            Schema::from_file(file, temporal_dsql::VERSION)
        }
        (Some(_), None) => {
            return Err(Failure::usage(
                "--schema-file needs --version, the version that the file is, or \
                 --disable-versioning",
            ));
        }
    };
    let mut context = CommandContext::open(cli, schema).await?;
    let setup = Setup { version: options.version, versioning: !options.disable_versioning };
    // The plan of an overwrite includes the setup: if that is refused, nothing is dropped.
    let plan = match options.overwrite {
        true => {
            // Without --yes, the question names the tables that differ and asks for them.
            let is_asked = !options.safety.yes && prompt::is_possible();
            let overwrite = Overwrite {
                setup,
                drop_different: options.drop_different || is_asked || options.safety.dry_run,
                drop_dependents: options.dependents.drop_dependents,
            };
            context.migrator().plan_overwrite(&overwrite).await?
        }
        false => context.migrator().plan_setup(&setup).await?,
    };
    if options.safety.dry_run {
        return Ok(Success::DryRun(vec![plan]));
    }
    let yes = options.safety.yes;
    context.confirm(&plan, "--overwrite", yes, options.drop_different).await?;
    context.apply(plan, &WITHOUT_PROOF).await
}

async fn update_schema(cli: &Cli, options: &UpdateSchema) -> Result<Success, Failure> {
    let mut context = CommandContext::open(cli, schema(&options.schema)).await?;
    let plan = context.migrator().plan_update(options.version).await?;
    if options.dry_run {
        return Ok(Success::DryRun(vec![plan]));
    }
    context.print_notes(&plan);
    context.apply(plan, &options.proof).await
}

async fn rollback_schema(cli: &Cli, options: &RollbackSchema) -> Result<Success, Failure> {
    let mut context = CommandContext::open(cli, schema(&options.schema)).await?;
    let rollback = Rollback {
        to: options.to,
        with_rows: options.drop_rows,
        drop_dependents: options.dependents.drop_dependents,
    };
    let plan = context.migrator().plan_rollback(&rollback).await?;
    if options.safety.dry_run {
        return Ok(Success::DryRun(vec![plan]));
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

async fn adopt_schema(cli: &Cli, options: &AdoptSchema) -> Result<Success, Failure> {
    let mut context = CommandContext::open(cli, schema(&options.schema)).await?;
    let plan = context.migrator().plan_adoption().await?;
    if options.dry_run {
        return Ok(Success::DryRun(vec![plan]));
    }
    context.print_notes(&plan);
    context.apply(plan, &WITHOUT_PROOF).await
}

async fn status(cli: &Cli, options: &Status) -> Result<Success, Failure> {
    let mut context = CommandContext::open(cli, schema(&options.schema)).await?;
    Ok(Success::Status(context.migrator().status().await?))
}

async fn verify(cli: &Cli, options: &Verify) -> Result<Success, Failure> {
    let mut context = CommandContext::open(cli, schema(&options.schema)).await?;
    Ok(Success::Verified(context.migrator().verify(options.version).await?))
}

//! The commands that move a deployment from PostgreSQL: `import`, `fence-source` and
//! `unfence-source`.

pub(crate) mod arguments;
mod bar;
mod source;

use std::sync::{Arc, OnceLock};

use temporal_dsql::migrate::{
    MigrateError, Schema, SessionWatch, Timeouts,
    import::{Fence, FenceReport, FenceState, ImportProgress, Importer, Settings},
};

use self::{
    arguments::{FenceSource, Import},
    bar::Form,
};
use crate::{
    cli::{Cli, Connection, Output},
    exit::{Exit, Failure, Kind},
    go::Refusals,
    progress::ProgressReporter,
    prompt,
    report::{Success, counted},
    target,
};

/// What `fence-source` or `unfence-source` did.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Fenced {
    #[serde(flatten)]
    pub(crate) report: FenceReport,
    /// Whether the shards have the fence afterwards.
    pub(crate) is_set: bool,
}

impl Fenced {
    /// Fails if something else has changed shards since.
    fn checked(self) -> Result<Success, Failure> {
        let FenceReport { changed, after } = self.report;
        let (left, state) = match self.is_set {
            true => (after.shards - after.fenced, "not fenced"),
            false => (after.fenced, "fenced"),
        };
        if left == 0 {
            return Ok(Success::Fenced(self));
        }
        let (changed, all) = (counted(changed, "shard"), counted(after.shards, "shard"));
        let reason = anyhow::anyhow!(
            "changed {changed}, but {left} of {all} of the source are {state}: something else changes \
             them; run the command again"
        );
        Err(Failure::new(Exit::Failed, Kind::ConcurrentRun, reason))
    }
}

impl std::fmt::Display for Fenced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let FenceReport { changed, after } = self.report;
        let (state, effect) = match self.is_set {
            true => ("fenced", "no server can write executions or tasks of the source"),
            false => ("not fenced", "servers can take the shards of the source again"),
        };
        let what = match changed {
            0 => "nothing to do".to_owned(),
            changed => format!("done: changed {}", counted(changed, "shard")),
        };
        let all = counted(after.shards, "shard");
        write!(f, "{what}; all {all} of the source are {state}: {effect}")
    }
}

fn form(cli: &Cli) -> Form {
    match cli.output {
        _ if cli.quiet => Form::Silent,
        Output::Text => Form::Text,
        Output::Json => Form::Json,
    }
}

fn reporter(cli: &Cli) -> Arc<ProgressReporter> {
    Arc::new(match form(cli) {
        Form::Json => ProgressReporter::json(),
        Form::Silent | Form::Text => ProgressReporter::new(cli.quiet),
    })
}

/// Imports, plans an import or compares. `watch` is set to the session of the target, and `progress` to
/// the import, which can be stopped through it.
pub(crate) async fn import(
    cli: &Cli,
    options: &Import,
    watch: &OnceLock<SessionWatch>,
    progress: &OnceLock<Arc<ImportProgress>>,
) -> Result<Success, Failure> {
    let config = source::resolve(&options.source)?;
    let to = target::resolve(cli)?.config;
    if (&config.host, config.port, &config.database) == (&to.host, to.port, &to.database) {
        return Err(Failure::usage(format!(
            "the source and the target are the same database, {}; the target is the one of --endpoint \
             and --database",
            source::shown(&config)
        )));
    }
    let schema = Schema::embedded().map_err(MigrateError::from)?;
    let logical_database = target::logical_database(&cli.connection)?;
    let (reporter, timeouts) = (reporter(cli), Timeouts::default());
    let mut source = source::open(&config, &timeouts, &reporter).await?;
    let mut target = target::open(cli, &timeouts, &reporter, watch).await?;
    let shown = Arc::clone(progress.get_or_init(Arc::default));
    let settings = Settings {
        jobs: options.jobs.into(),
        tables: options.tables.clone(),
        rehearse: options.rehearse,
        timeouts,
        observer: reporter,
        progress: Arc::clone(&shown),
    };
    let mut importer = Importer::new(&mut source, &mut target, &schema, logical_database, settings);
    let run = async {
        if options.dry_run {
            importer.plan().await.map(|plan| Success::Planned(Box::new(plan)))
        } else if options.verify {
            importer.verify().await.map(|report| Success::Imported(Box::new(report)))
        } else {
            importer.import().await.map(|report| Success::Imported(Box::new(report)))
        }
    };
    bar::shown(run, &shown, form(cli)).await.map_err(source::failure)
}

/// Refuses flags about the target where only the source is changed: they would be ignored.
fn refuse_target(cli: &Cli) -> Result<(), Failure> {
    let Connection {
        endpoint,
        port,
        user,
        database,
        region,
        engine,
        tls_ca_file,
        tls_mode,
        logical_database,
    } = &cli.connection;
    for (flag, is_given) in [
        ("endpoint", endpoint.is_some()),
        ("port", port.is_some()),
        ("user", user.is_some()),
        ("database", database.is_some()),
        ("region", region.is_some()),
        ("engine", engine.is_some()),
        ("tls-ca-file", tls_ca_file.is_some()),
        ("tls-mode", tls_mode.is_some()),
        ("tls", cli.go.tls.is_some()),
        ("tls-disable-host-verification", cli.go.tls_disable_host_verification.is_some()),
        ("logical-database", logical_database.is_some()),
    ] {
        if is_given {
            return Err(Failure::usage(format!(
                "--{flag} is about the target, which this command does not change; the URL of --from \
                 names the source, with sslmode and sslrootcert for TLS"
            )));
        }
    }
    Ok(())
}

/// Sets or removes the fence of the source. `watch` is set to its session.
pub(crate) async fn fence(
    cli: &Cli,
    options: &FenceSource,
    is_set: bool,
    watch: &OnceLock<SessionWatch>,
) -> Result<Success, Failure> {
    Refusals::of(cli).check()?;
    refuse_target(cli)?;
    let config = source::resolve(&options.source)?;
    let (reporter, timeouts) = (reporter(cli), Timeouts::default());
    let mut database = source::open(&config, &timeouts, &reporter).await?;
    let _ = watch.set(database.watch().clone());
    let settings = Settings {
        jobs: 1,
        tables: Vec::new(),
        rehearse: false,
        timeouts,
        observer: reporter,
        progress: Arc::default(),
    };
    let mut fence = Fence::new(&mut database, settings);
    let before = fence.state(is_set).await.map_err(source::failure)?;
    let FenceState { shards, fenced } = before;
    let changing = if is_set { shards - fenced } else { fenced };
    if changing == 0 {
        let report = FenceReport { changed: 0, after: before };
        return Ok(Success::Fenced(Fenced { report, is_set }));
    }
    if !options.yes {
        let (shards, source) = (counted(changing, "shard"), source::shown(&config));
        let question = match is_set {
            true => format!(
                "fence-source changes {shards} of {source}: every server that runs there loses them \
                 at its next write and cannot take them again, until unfence-source"
            ),
            false => format!(
                "unfence-source changes {shards} of {source}: servers can take them and write there \
                 again. Do this only if no server has run on the target"
            ),
        };
        prompt::confirm(&question, None).await?;
    }
    let report = fence.set(is_set).await.map_err(source::failure)?;
    Fenced { report, is_set }.checked()
}

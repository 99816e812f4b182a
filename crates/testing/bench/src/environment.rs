//! The machine and the versions of a measurement.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{context, workspace::root};

/// Follows the commit's name if files differed from the commit.
const CHANGED: char = '+';

/// The longest wait for a low load. The build before a run is load as well.
const QUIET_TIMEOUT: Duration = Duration::from_secs(180);

/// The machine, commit and versions of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Environment {
    /// The date of its beginning, UTC.
    pub date: String,
    /// The commit, with `+` if files differed from it.
    pub commit: String,
    /// The processor's name.
    pub processor: String,
    /// The number of hardware threads.
    pub processors: usize,
    /// Memory in GiB.
    pub memory_gib: f64,
    /// Name and release of the kernel.
    pub kernel: String,
    /// The load average of the minute before the run.
    pub load_before: f64,
    /// The versions of the programs and crates that are compared.
    pub versions: Vec<String>,
}

impl Environment {
    /// Waits for a low load and records the environment. With `force`, uncommitted changes and load
    /// are recorded, not refused.
    ///
    /// # Errors
    /// Files differ from the commit, the load is high, or the kernel's files cannot be read.
    pub fn check(context: &context::Context, force: bool) -> Result<Self> {
        let begun = Instant::now();
        while !force && load()? > max_load() && begun.elapsed() < QUIET_TIMEOUT {
            context.progress(&format!("load {}: waiting until it is {}", load()?, max_load()));
            thread::sleep(Duration::from_secs(10));
        }
        let found = Self::detect(context)?;
        if !force {
            found.ensure_reproducible()?;
        }
        Ok(found)
    }

    fn detect(context: &context::Context) -> Result<Self> {
        let load_before = load()?;
        let cpuinfo = read("/proc/cpuinfo")?;
        let memory = read("/proc/meminfo")?;
        let kib: f64 = field(&memory, "MemTotal")
            .and_then(|value| value.split(' ').next()?.parse().ok())
            .context("/proc/meminfo has no MemTotal")?;
        let postgres = context.server()?.programs().join("postgres");
        let mut versions = vec![
            first_line(Command::new(postgres).arg("--version"))?,
            first_line(Command::new("rustc").arg("--version"))?,
        ];
        versions.extend(crates(&["sqlx", "tokio-postgres", "imbl"])?);
        Ok(Self {
            date: OffsetDateTime::now_utc().date().to_string(),
            commit: commit()?,
            processor: field(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            processors: processors(),
            memory_gib: (kib / 1024.0 / 1024.0 * 10.0).round() / 10.0,
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease")?.trim()),
            load_before,
            versions,
        })
    }

    fn ensure_reproducible(&self) -> Result<()> {
        ensure!(
            self.is_committed(),
            "files differ from commit {}; commit them, or measure with --force",
            self.commit.trim_end_matches(CHANGED)
        );
        ensure!(
            self.load_before <= max_load(),
            "the machine has other work: its load is {} and should be at most {}; measure when it \
             is quiet, or with --force",
            self.load_before,
            max_load()
        );
        Ok(())
    }

    /// Whether no file differed from the commit.
    pub fn is_committed(&self) -> bool {
        !self.commit.ends_with(CHANGED)
    }

    /// The environment in one sentence.
    pub fn sentence(&self) -> String {
        let commit = self.commit.trim_end_matches(CHANGED);
        let changes =
            if self.is_committed() { "" } else { " **and changes that are in no commit**" };
        format!(
            "Measured on {} at commit {commit}{changes}: {}, {} threads, {} GiB, {}, load {} \
             before; {}.",
            self.date,
            self.processor,
            self.processors,
            self.memory_gib,
            self.kernel,
            self.load_before,
            self.versions.join(", "),
        )
    }
}

/// How many threads work at once.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Half of the processors, so that at least one is left to each side of a measurement.
fn max_load() -> f64 {
    processors() as f64 / 2.0
}

/// The load average of the last minute.
fn load() -> Result<f64> {
    let load = read("/proc/loadavg")?;
    load.split(' ').next().and_then(|load| load.parse().ok()).context("/proc/loadavg has no load")
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.to_owned())
}

/// The value of the first line `name : value`.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

fn first_line(command: &mut Command) -> Result<String> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.output().with_context(|| program.clone())?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.lines().next().with_context(|| format!("{program} prints nothing"))?.to_owned())
}

fn commit() -> Result<String> {
    let git = |arguments: &[&str]| -> Result<String> {
        let output = Command::new("git").args(arguments).current_dir(root()).output();
        Ok(String::from_utf8_lossy(&output.context("git")?.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=9", "HEAD"])?;
    // The results are in `docs`.
    let changed = !git(&["status", "--porcelain", "--", ".", ":!docs"])?.is_empty();
    Ok(if changed { format!("{commit}{CHANGED}") } else { commit })
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
}

/// The crates `names` with their locked versions.
fn crates(names: &[&str]) -> Result<Vec<String>> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).context("Cargo.lock")?;
    let lock: Lock = toml::from_str(&lock).context("Cargo.lock")?;
    let locked = lock.package.into_iter().filter(|package| names.contains(&&*package.name));
    Ok(locked.map(|package| format!("{} {}", package.name, package.version)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "model\t\t: 79\nmodel name\t: A Processor\nmodel name\t: Another\n";
        assert_eq!(field(text, "model name"), Some("A Processor"));
        assert_eq!(field(text, "name"), None);
    }

    fn found(commit: &str, load_before: f64) -> Environment {
        Environment {
            date: "2026-11-01".into(),
            commit: commit.into(),
            processor: "A Processor".into(),
            processors: 2,
            memory_gib: 4.0,
            kernel: "Linux 6".into(),
            load_before,
            versions: vec!["peer 1".into()],
        }
    }

    #[test]
    fn uncommitted_changes_are_refused_and_shown() {
        let (clean, changed) = (found("abc", 0.0), found("abc+", 0.0));
        clean.ensure_reproducible().unwrap();
        assert_eq!(
            clean.sentence(),
            "Measured on 2026-11-01 at commit abc: A Processor, 2 threads, 4 GiB, Linux 6, load 0 \
             before; peer 1."
        );
        let error = changed.ensure_reproducible().unwrap_err().to_string();
        assert_eq!(error, "files differ from commit abc; commit them, or measure with --force");
        let said = changed.sentence();
        assert!(said.contains("at commit abc **and changes that are in no commit**: "), "{said}");
    }

    #[test]
    fn a_high_load_is_refused() {
        let error = found("abc", 1_000.0).ensure_reproducible().unwrap_err().to_string();
        assert!(error.contains("its load is 1000 and should be at most"), "{error}");
    }

    #[test]
    fn the_versions_of_the_peers_are_found() {
        let versions = crates(&["sqlx", "tokio-postgres"]).unwrap();
        assert_eq!(versions.len(), 2, "{versions:?}");
        assert!(versions[0].starts_with("sqlx 0."), "{versions:?}");
    }
}

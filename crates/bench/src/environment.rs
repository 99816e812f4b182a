//! The machine and the versions that a figure was measured with.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{context, document::root};

/// Where and when a benchmark ran.
#[derive(Debug, Serialize, Deserialize)]
pub struct Environment {
    /// When it ended: year, month and day, UTC.
    pub date: String,
    /// The commit, with `+` if files differed from it.
    pub commit: String,
    /// The processor's name.
    pub processor: String,
    /// How many threads it runs at once.
    pub processors: usize,
    /// Memory in GiB.
    pub memory_gib: f64,
    /// Name and release of the kernel.
    pub kernel: String,
    /// Other work of the machine: how many processes wanted to run, on average over the last
    /// minute, before the benchmark began.
    pub load_before: f64,
    /// The versions of what was compared.
    pub versions: Vec<String>,
}

impl Environment {
    /// Looks at the machine before a benchmark begins.
    ///
    /// # Errors
    /// Something that a figure is worth nothing without cannot be found out.
    pub fn look(context: &context::Context) -> Result<Self> {
        let cpuinfo = read("/proc/cpuinfo")?;
        let memory = read("/proc/meminfo")?;
        let kib: f64 = field(&memory, "MemTotal")
            .and_then(|value| value.split(' ').next()?.parse().ok())
            .context("/proc/meminfo has no MemTotal")?;
        let load = read("/proc/loadavg")?;
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
            load_before: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            versions,
        })
    }

    /// The whole in one sentence.
    pub fn sentence(&self) -> String {
        format!(
            "Measured on {} at commit {}: {}, {} threads, {} GiB, {}, load {} before; {}.",
            self.date,
            self.commit,
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
    Ok(said.lines().next().with_context(|| format!("{program} says nothing"))?.to_owned())
}

fn commit() -> Result<String> {
    let git = |arguments: &[&str]| -> Result<String> {
        let output = Command::new("git").args(arguments).current_dir(root()).output();
        Ok(String::from_utf8_lossy(&output.context("git")?.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=9", "HEAD"])?;
    let changed = !git(&["status", "--porcelain", "--", "crates", "Cargo.lock"])?.is_empty();
    Ok(if changed { format!("{commit}+") } else { commit })
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

/// The versions of `names`, as they are locked.
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

    #[test]
    fn the_peers_are_locked_at_a_version() {
        let versions = crates(&["sqlx", "tokio-postgres"]).unwrap();
        assert_eq!(versions.len(), 2, "{versions:?}");
        assert!(versions[0].starts_with("sqlx 0."), "{versions:?}");
    }
}

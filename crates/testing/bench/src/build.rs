//! Builds from an empty target folder: the commands of the README, and a service with one feature
//! of the facade. Packages are downloaded before.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{
    benchmark::Benchmark,
    chart::{Chart, Series},
    context::Context,
    stats::Spread,
    table::{Goal, Table, number},
    workspace::root,
};

/// What is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Subject {
    /// A command of the README.
    Command(String),
    /// A service that depends on the facade with one feature.
    Service(String),
    /// A service without dependencies.
    Empty,
}

/// The command that builds a service.
const BUILD: &str = "cargo build --quiet";
/// The goal of the demo, in seconds.
const MAX_DEMO: f64 = 120.0;

/// The results.
#[derive(Debug, Serialize, Deserialize)]
pub struct Build {
    cells: Vec<Cell>,
}

/// One build.
#[derive(Debug, Serialize, Deserialize)]
struct Cell {
    subject: Subject,
    seconds: f64,
    /// The number of packages that were compiled.
    packages: usize,
}

impl Benchmark for Build {
    const NAME: &'static str = "build";

    fn measure(context: &Context) -> Result<Self> {
        let features = ["memory", "dsql", "migrate", "aws", "emulator"];
        let features = features.map(|feature| Subject::Service(feature.to_owned()));
        let commands = ["cargo xtask demo", "cargo xtask test"];
        let commands = commands.map(|command| Subject::Command(command.to_owned()));
        let empty = [Subject::Empty];
        let subjects = context.scale.pick(
            features.into_iter().chain(commands).collect(),
            // A build of anything else is too long for a test.
            Vec::from(empty),
        );
        let mut cells = Vec::new();
        for subject in subjects {
            let cell = build(subject)?;
            context.progress(&format!("{}: {} s", cell.subject.name(), number(cell.seconds)));
            cells.push(cell);
        }
        Ok(Self { cells })
    }

    fn tables(&self) -> Vec<Table> {
        let rows = self
            .cells
            .iter()
            .map(|cell| vec![cell.subject.name(), cell.packages.to_string(), number(cell.seconds)]);
        let bars = self.cells.iter().map(|cell| Spread::of(&[cell.seconds])).collect();
        vec![Table {
            name: "build",
            title: "Builds from an empty target folder".into(),
            header: ["what", "packages", "seconds"].map(str::to_owned).into(),
            rows: rows.collect(),
            chart: Chart {
                axis: "seconds".into(),
                groups: self.cells.iter().map(|cell| cell.subject.short()).collect(),
                series: vec![Series::new("from an empty target folder", bars)],
                lines: Vec::new(),
            },
        }]
    }

    fn goals(&self) -> Vec<Goal> {
        let demo = |cell: &&Cell| cell.subject == Subject::Command("cargo xtask demo".to_owned());
        let demo = self.cells.iter().find(demo).map(|cell| Spread::of(&[cell.seconds / MAX_DEMO]));
        let what = format!("Build and run of the demo, to {MAX_DEMO} s");
        demo.map(|demo| Goal::at_most(&what, 1.0, [("cargo xtask demo", demo)]))
            .into_iter()
            .collect()
    }
}

impl Subject {
    fn name(&self) -> String {
        match self {
            Self::Command(command) => format!("`{command}`, with its run"),
            Self::Service(feature) => format!("a service with the feature `{feature}`"),
            Self::Empty => "a service without dependencies".to_owned(),
        }
    }

    fn short(&self) -> String {
        match self {
            Self::Command(command) => command.clone(),
            Self::Service(feature) => feature.clone(),
            Self::Empty => "empty".to_owned(),
        }
    }

    /// The command that builds it. A service is made in `folder`.
    fn command(&self, folder: &Path) -> Result<Command> {
        let (line, directory) = match self {
            Self::Command(line) => (&**line, root()),
            Self::Service(feature) => {
                let facade = root().join("crates/facade").canonicalize()?;
                make_service(
                    folder,
                    &format!(
                        "temporal-dsql = {{ path = {facade:?}, default-features = false, \
                         features = [{feature:?}] }}\n"
                    ),
                )?;
                (BUILD, folder.to_owned())
            }
            Self::Empty => {
                make_service(folder, "")?;
                (BUILD, folder.to_owned())
            }
        };
        let mut words = line.split(' ');
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).current_dir(directory);
        Ok(command)
    }
}

/// Makes a service with these lines of dependencies, and the versions of the workspace.
fn make_service(folder: &Path, dependencies: &str) -> Result<()> {
    let manifest = "[workspace]\n\n[package]\nname = \"service\"\nedition = \"2024\"\n\n\
                    [dependencies]\n";
    fs::create_dir(folder.join("src"))?;
    fs::write(folder.join("Cargo.toml"), manifest.to_owned() + dependencies)?;
    fs::write(folder.join("src/main.rs"), "fn main() {}\n")?;
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(())
}

/// The lines at the end of the output that an error contains: the names of the failed tests are there.
const LINES: usize = 100;

fn build(subject: Subject) -> Result<Cell> {
    let folder = tempfile::tempdir()?;
    let target = folder.path().join("target");
    let mut command = subject.command(folder.path())?;
    // One file for both, so that what a failed test prints is beside what cargo says about it.
    let printed = folder.path().join("printed");
    let file = File::create(&printed)?;
    command
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("CARGO_BUILD_TARGET_DIR")
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    let start = Instant::now();
    let status = command.status().with_context(|| format!("{command:?}"))?;
    let seconds = start.elapsed().as_secs_f64();
    if !status.success() {
        let printed = fs::read(printed)?;
        let printed = String::from_utf8_lossy(&printed);
        let lines: Vec<_> = printed.lines().collect();
        let end = lines[lines.len().saturating_sub(LINES)..].join("\n");
        bail!("{} failed:\n{end}", subject.name());
    }
    Ok(Cell { subject, seconds, packages: packages(&target.join("debug/.fingerprint"))? })
}

/// The number of packages that were compiled: each unit has a folder `name-hash`.
fn packages(fingerprints: &Path) -> Result<usize> {
    let folders = fs::read_dir(fingerprints).with_context(|| fingerprints.display().to_string())?;
    let mut names = BTreeSet::new();
    for folder in folders {
        let unit = folder?.file_name().to_string_lossy().into_owned();
        names.insert(unit.rsplit_once('-').map_or(unit.clone(), |(name, _)| name.to_owned()));
    }
    Ok(names.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_of_one_package_are_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        for unit in ["time-core-0123", "time-core-4567", "time-89ab"] {
            fs::create_dir(folder.path().join(unit)).unwrap();
        }
        assert_eq!(packages(folder.path()).unwrap(), 2);
    }

    #[test]
    fn the_error_of_a_command_contains_what_it_printed() {
        // It prints the number of lines, and fails if that is 0.
        let command = "grep --count x /dev/null".to_owned();
        let error = build(Subject::Command(command.clone())).unwrap_err().to_string();
        assert_eq!(error, format!("`{command}`, with its run failed:\n0"));
    }

    #[test]
    fn a_service_depends_on_the_facade_with_one_feature() {
        let folder = tempfile::tempdir().unwrap();
        Subject::Service("memory".to_owned()).command(folder.path()).unwrap();
        let manifest = fs::read_to_string(folder.path().join("Cargo.toml")).unwrap();
        let manifest: toml::Table = toml::from_str(&manifest).unwrap();
        let dependency = &manifest["dependencies"]["temporal-dsql"];
        assert_eq!(dependency["features"][0].as_str(), Some("memory"));
        assert!(Path::new(dependency["path"].as_str().unwrap()).join("Cargo.toml").is_file());
    }
}

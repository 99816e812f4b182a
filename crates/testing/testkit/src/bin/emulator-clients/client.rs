//! A client: its folder, how it is installed and tested, and the emulator's address for it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use dsql_emulator::DsqlEmulator;

use crate::process;

/// How long an installation may take: a download, and a build.
const INSTALL_LIMIT: Duration = Duration::from_secs(900);
/// How long a test may take.
const TEST_LIMIT: Duration = Duration::from_secs(90);
/// How long a token is valid: longer than an installation and a test.
const TOKEN_LIFETIME: Duration = Duration::from_secs(20 * 60);

/// The names of the emulator. AWS's connectors and Java accept the second one, which has the form of a
/// cluster's and resolves to no address.
pub(crate) const HOSTS: [&str; 2] = ["localhost", "cluster.dsql.us-east-1.on.aws"];

/// A language, with the file that lists what to install, and the commands for it. In a test's
/// environment `{folder}` is the client's folder.
#[derive(Debug)]
struct Language {
    manifest: &'static str,
    /// Programs that must exist, with an argument for which they succeed.
    programs: &'static [(&'static str, &'static str)],
    /// The command that installs the client; none if its programs are the client.
    install: Option<&'static str>,
    test: &'static str,
    environment: &'static [(&'static str, &'static str)],
}

const LANGUAGES: &[Language] = &[
    Language {
        manifest: "requirements.txt",
        programs: &[("python3", "-mpip")],
        install: Some(
            "python3 -m pip install --quiet --no-deps --target packages -r requirements.txt",
        ),
        test: "python3 smoke.py",
        environment: &[("PYTHONPATH", "{folder}/packages:{folder}/..")],
    },
    Language {
        manifest: "package.json",
        programs: &[("node", "--version"), ("npm", "--version")],
        install: Some("npm ci --no-audit --no-fund --ignore-scripts"),
        test: "node smoke.mjs",
        environment: &[],
    },
    Language {
        manifest: "go.mod",
        programs: &[("go", "version")],
        install: Some("go build -o smoke ."),
        test: "./smoke",
        environment: &[],
    },
    Language {
        manifest: "pom.xml",
        programs: &[("java", "-version"), ("mvn", "-version")],
        install: Some("mvn -q -B -ntp dependency:copy-dependencies -DoutputDirectory=lib"),
        test: "java -Djdk.net.hosts.file=hosts -cp lib/* Smoke.java",
        environment: &[],
    },
    Language {
        manifest: "Cargo.toml",
        programs: &[("cargo", "--version")],
        install: Some("cargo build --locked --quiet"),
        test: "cargo run --locked --quiet --offline",
        environment: &[],
    },
    Language {
        manifest: "smoke.sh",
        programs: &[("psql", "--version")],
        install: None,
        test: "sh smoke.sh",
        environment: &[],
    },
];

/// A folder of `crates/dsql-emulator/clients`.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: String,
    language: &'static Language,
}

impl Client {
    /// Every client, by name.
    ///
    /// # Errors
    /// A folder cannot be read, or has no file that lists what to install.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let mut clients = Vec::new();
        for entry in fs::read_dir(folder())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let has = |language: &&Language| entry.path().join(language.manifest).exists();
                let Some(language) = LANGUAGES.iter().find(has) else {
                    bail!("{} has no file that lists what to install", entry.path().display());
                };
                clients.push(Self { name, language });
            }
        }
        clients.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(clients)
    }

    /// The first program that the test needs and that cannot be run.
    pub(crate) fn missing_program(&self) -> Option<&'static str> {
        let runs = |program: &str, argument: &str| {
            Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success())
        };
        let mut programs = self.language.programs.iter();
        programs.find(|(program, argument)| !runs(program, argument)).map(|(program, _)| *program)
    }

    /// Installs the client into a temporary folder, runs its test, and returns the test's output.
    ///
    /// # Errors
    /// A command fails or exceeds its time limit; the error contains its output.
    pub(crate) fn test(&self, emulator: &DsqlEmulator) -> Result<String> {
        let temporary = tempfile::tempdir()?;
        // Files beside the folders are shared by the tests of a language.
        copy_files(&folder(), temporary.path())?;
        let copy = temporary.path().join(&self.name);
        copy_files(&folder().join(&self.name), &copy)?;
        let log = temporary.path().join("log");
        let command = |line: &str| {
            let mut words = line.split(' ');
            let mut command = Command::new(words.next().unwrap_or_default());
            command.args(words).current_dir(&copy);
            command
        };
        if let Some(install) = self.language.install {
            process::run(&mut command(install), &log, INSTALL_LIMIT).context("installation")?;
        }
        let mut test = command(self.language.test);
        for (name, value) in self.language.environment {
            test.env(name, value.replace("{folder}", &copy.to_string_lossy()));
        }
        test.envs(environment(emulator));
        process::run(&mut test, &log, TEST_LIMIT).context("test")
    }
}

/// The folder of all clients.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dsql-emulator/clients")
}

/// libpq's variables, those of AWS's tools, and the second name with a token for it.
fn environment(emulator: &DsqlEmulator) -> [(&'static str, String); 12] {
    let credentials = emulator.credentials();
    let region = emulator.region();
    let [host, cluster] = HOSTS;
    let token = |host| credentials.token(host, region, "admin", TOKEN_LIFETIME);
    [
        ("PGHOST", host.to_owned()),
        ("PGPORT", emulator.port().to_string()),
        ("PGUSER", "admin".to_owned()),
        ("PGPASSWORD", token(host)),
        ("PGDATABASE", "postgres".to_owned()),
        ("PGSSLMODE", "verify-full".to_owned()),
        ("PGSSLROOTCERT", emulator.ca_file().to_string_lossy().into_owned()),
        ("CLUSTER_ENDPOINT", cluster.to_owned()),
        ("CLUSTER_TOKEN", token(cluster)),
        ("AWS_REGION", region.to_owned()),
        ("AWS_ACCESS_KEY_ID", credentials.access_key_id.clone()),
        ("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key.clone()),
    ]
}

/// Copies the files of a folder, without its folders.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The versions that the files of a client install, each with what precedes it.
    fn pins(client: &Client) -> String {
        let files = ["requirements.txt", "package.json", "go.mod", "pom.xml", "Cargo.toml"];
        let read = |file| fs::read_to_string(folder().join(&client.name).join(file)).ok();
        files.into_iter().filter_map(read).collect()
    }

    #[test]
    fn the_document_has_a_row_for_each_client_with_the_versions_that_are_installed() {
        let document = include_str!("../../../../../dsql-emulator/README.md");
        let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
        for client in Client::all().unwrap() {
            let start = format!("| `{}` |", client.name);
            let row = document.lines().find(|line| line.starts_with(&start));
            let row = row.unwrap_or_else(|| panic!("README.md has no row `{start}`"));
            let versions = row.split('|').nth(2).unwrap();
            let versions: Vec<_> = versions.split([' ', ',']).filter(is_version).collect();
            assert!(!versions.is_empty(), "{row}");
            if client.language.install.is_none() {
                continue;
            }
            let pins = pins(&client);
            for version in versions {
                assert!(pins.contains(version), "{}: {version} is not in {pins}", client.name);
            }
        }
    }
}

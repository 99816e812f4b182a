//! Runs the tool as a process, with flags and environment variables.

pub mod examined;

use std::{
    ffi::OsString,
    fs,
    io::BufRead,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use temporal_dsql::{
    Engine, SchemaVersion,
    migrate::{SCHEMA_SQL, Schema},
};
use temporal_dsql_testkit::{ScratchCluster, ScratchDatabase};

/// The newest version of the schema files, as text.
pub fn newest() -> String {
    Schema::embedded().unwrap().newest().to_string()
}

/// Runs `future` to its end.
pub fn blocking<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The tool with its environment variables.
pub struct Tool {
    variables: Vec<(String, OsString)>,
}

/// The result of a run.
pub struct Run {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Tool {
    /// Connects to `database`.
    pub fn new(database: &ScratchDatabase) -> Self {
        Self::via(database, database.addr().unwrap())
    }

    /// Connects to `database` through `addr`.
    pub fn via(database: &ScratchDatabase, addr: SocketAddr) -> Self {
        let mut tool = Self { variables: Vec::new() };
        tool.set("SQL_HOST", addr.ip().to_string());
        tool.set("SQL_PORT", addr.port().to_string());
        tool.set("SQL_USER", database.user());
        tool.set("SQL_DATABASE", database.name());
        tool
    }

    /// Has the environment of an operator of `cluster`.
    pub fn on(cluster: &ScratchCluster) -> Self {
        let mut tool = Self::nowhere();
        tool.set("CLUSTER_ENDPOINT", cluster.host());
        tool.set("SQL_PORT", cluster.port().to_string());
        tool.set("AWS_REGION", cluster.region());
        tool.set("AWS_ACCESS_KEY_ID", &cluster.credentials().access_key_id);
        tool.set("AWS_SECRET_ACCESS_KEY", &cluster.credentials().secret_access_key);
        tool.set("SQL_TLS_CA_FILE", cluster.ca_file());
        tool
    }

    /// Has no endpoint.
    pub const fn nowhere() -> Self {
        Self { variables: Vec::new() }
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) -> &mut Self {
        self.variables.retain(|(set, _)| set != name);
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// The command, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_temporal-dsql-tool"));
        command
            .args(arguments)
            // Tests do not depend on the environment of the machine.
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs the tool.
    pub fn run(&self, arguments: &[&str]) -> Run {
        self.command(arguments).output().unwrap().into()
    }

    /// Runs the tool and asserts that it succeeds.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> Run {
        let run = self.run(arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {}{}", run.out, run.err);
        run
    }

    /// Runs the tool with `--output json`.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let run = self.run(&[arguments, &["--output", "json"]].concat());
        let json = serde_json::from_str(&run.out)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}{}", run.out, run.err));
        (run.code, json)
    }

    /// Starts the tool.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            // A process killed by a signal has no code.
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Reads the standard error of a run up to a line with `text`, and returns what was read.
pub fn read_until(stderr: &mut impl BufRead, text: &str) -> String {
    let mut read = String::new();
    loop {
        let start = read.len();
        assert_ne!(stderr.read_line(&mut read).unwrap(), 0, "`{text}` is not in: {read}");
        if read[start..].contains(text) {
            return read;
        }
    }
}

/// Writes a file and its directory.
pub fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Writes the embedded versions below `directory`, each in one file.
pub fn copy_of_versions(directory: &Path) {
    let schema = Schema::embedded().unwrap();
    let mut before = SchemaVersion::NONE;
    for release in schema.releases() {
        let version = release.version;
        let statements = schema.statements_between(before, version).iter();
        let texts: Vec<_> = statements.map(|statement| statement.text(Engine::Dsql)).collect();
        let manifest = format!(
            r#"{{"CurrVersion": "{version}", "MinCompatibleVersion": "{}",
                "Description": "{}", "SchemaUpdateCqlFiles": ["schema.sql"]}}"#,
            release.min_compatible, release.description
        );
        write(&directory.join(format!("v{version}/manifest.json")), &manifest);
        write(&directory.join(format!("v{version}/schema.sql")), &(texts.join(";\n\n") + ";\n"));
        before = version;
    }
}

/// Schema files of the form that the Go fork has: plain inserts, and IF NOT EXISTS in 1.1.
pub struct GoFiles(tempfile::TempDir);

impl GoFiles {
    /// Writes them.
    pub fn write() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let versioned = folder.path().join("versioned");
        copy_of_versions(&versioned);
        let plain = |text: &str| text.replace(" ON CONFLICT DO NOTHING", "");
        let first = versioned.join("v1.0/schema.sql");
        let text = plain(&fs::read_to_string(&first).unwrap());
        assert!(text.contains("VALUES (54321, 1);"), "{text}");
        write(&first, &text);
        let second = versioned.join("v1.1/schema.sql");
        let text = fs::read_to_string(&second).unwrap();
        write(&second, &text.replace("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS "));
        write(&folder.path().join("schema.sql"), &plain(SCHEMA_SQL));
        Self(folder)
    }

    /// The directory of versions.
    pub fn versioned(&self) -> String {
        self.0.path().join("versioned").to_str().unwrap().to_owned()
    }

    /// The file of the newest version.
    pub fn schema_file(&self) -> String {
        self.0.path().join("schema.sql").to_str().unwrap().to_owned()
    }
}

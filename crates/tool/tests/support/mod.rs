//! Runs the tool as a process, with flags and environment variables.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    ffi::OsString,
    net::SocketAddr,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use temporal_dsql::migrate::Schema;
use temporal_dsql_testkit::ScratchDatabase;

/// The newest version of the schema files, as text.
pub fn newest() -> String {
    Schema::embedded().unwrap().newest().to_string()
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

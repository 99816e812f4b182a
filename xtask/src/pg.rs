//! `cargo xtask pg`: a PostgreSQL server for the desk, kept until it is stopped.
//!
//! Starting a server takes longer than a test. With
//! `TEST_POSTGRES_URL=$(cargo xtask pg url) cargo test …` it is started once.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use temporal_dsql_testkit::postgres::{Detached, Options, Server};

use crate::workspace;

/// What to do with the server.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Start the server, unless it runs.
    Start,
    /// Stop the server and remove its data.
    Stop,
    /// Print the server's URL, for TEST_POSTGRES_URL.
    Url,
    /// Say whether the server runs; exit with 1 if it does not.
    Status,
}

/// Does it.
///
/// # Errors
/// The server does not start or stop, or the file that remembers it cannot be used.
pub fn run(command: &Command) -> Result<ExitCode> {
    run_with(command, &State::of_workspace()?)
}

fn run_with(command: &Command, state: &State) -> Result<ExitCode> {
    let server = state.load()?;
    let running = server.as_ref().filter(|server| server.is_running());
    match (command, running) {
        (Command::Start, Some(server)) => println!("already running: {}", server.url()),
        (Command::Start, None) => {
            // What a restart of the machine has left.
            server.map_or(Ok(()), |server| server.stop())?;
            state.remove()?;
            let server = Server::start(&Options::default())?;
            // Remembered before it is let go, so that there is no server that nobody knows.
            state.save(server.place())?;
            println!("started: {}", server.detach()?.url());
        }
        (Command::Stop, _) => {
            match server {
                None => println!("not running"),
                Some(server) => {
                    server.stop()?;
                    println!("stopped");
                }
            }
            state.remove()?;
        }
        (Command::Url, Some(server)) => println!("{}", server.url()),
        (Command::Url, None) => bail!("no server is running; start one: cargo xtask pg start"),
        (Command::Status, Some(server)) => {
            println!("running: {}", server.url());
            println!("log: {}", server.log_file().display());
        }
        (Command::Status, None) => {
            println!("not running");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The file that remembers the server.
struct State(PathBuf);

impl State {
    fn of_workspace() -> Result<Self> {
        let target = workspace::metadata()?.target_directory;
        Ok(Self::at(target.as_std_path()))
    }

    fn at(folder: &Path) -> Self {
        Self(folder.join("xtask-pg.json"))
    }

    fn load(&self) -> Result<Option<Detached>> {
        let text = match fs::read_to_string(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| self.name())?,
        };
        serde_json::from_str(&text).map(Some).with_context(|| {
            format!("{} is damaged; stop the server by hand and remove it", self.name())
        })
    }

    /// Fails if a server is remembered already: another `start` was faster.
    fn save(&self, server: &Detached) -> Result<()> {
        let file = fs::File::create_new(&self.0).with_context(|| self.name())?;
        serde_json::to_writer(file, server).with_context(|| self.name())
    }

    fn remove(&self) -> Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.with_context(|| self.name()),
        }
    }

    fn name(&self) -> String {
        self.0.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use temporal_dsql_testkit::gate;

    use super::*;

    #[test]
    fn a_server_is_there_from_its_start_to_its_stop_and_either_may_be_repeated() {
        if gate::server_url().is_none() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        // Not the state of the desk, where another server may be in use.
        let state = State::at(folder.path());
        let run = |command| run_with(&command, &state);
        assert!(run(Command::Url).unwrap_err().to_string().contains("cargo xtask pg start"));
        run(Command::Start).unwrap();
        let server = state.load().unwrap().unwrap();
        assert!(server.is_running());
        run(Command::Start).unwrap();
        assert_eq!(state.load().unwrap(), Some(server.clone()), "there is one");
        run(Command::Url).unwrap();
        run(Command::Status).unwrap();
        run(Command::Stop).unwrap();
        assert!(!server.is_running() && !server.directory.exists());
        assert_eq!(state.load().unwrap(), None);
        run(Command::Stop).unwrap();
    }

    #[test]
    fn a_server_is_remembered_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::at(folder.path());
        assert_eq!(state.load().unwrap(), None);
        let server = Detached { directory: "somewhere".into(), port: 5_433 };
        state.save(&server).unwrap();
        assert_eq!(state.load().unwrap().as_ref(), Some(&server));
        assert!(state.save(&server).is_err(), "there is one server");
        state.remove().unwrap();
        state.remove().unwrap();
        assert_eq!(state.load().unwrap(), None);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::at(folder.path());
        fs::write(&state.0, "{").unwrap();
        let error = state.load().unwrap_err();
        assert!(error.to_string().contains("xtask-pg.json is damaged"), "{error}");
    }
}

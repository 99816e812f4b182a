//! A scratch PostgreSQL server: found or installed, started, and gone when its holder is.
//!
//! Tests need a real database and must leave nothing behind, even when they are killed. The
//! server therefore runs under a supervisor, a few lines of shell in `supervisor.sh`, that lives
//! as long as a pipe to this process is open.

mod account;
mod binaries;
mod server;

pub use server::{Detached, Options, Server};

use std::{io, path::PathBuf};

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The programs are nowhere to be found and could not be installed.
    #[error(
        "no PostgreSQL found: install it (Debian: `apt-get install postgresql`) or set PG_BIN \
         to the folder of its `initdb`"
    )]
    NotInstalled,
    /// `PG_BIN` names a folder without the programs.
    #[error("PG_BIN names `{0}`, which does not hold PostgreSQL's `initdb` and `postgres`")]
    WrongFolder(PathBuf),
    /// A command that installs PostgreSQL failed.
    #[error("installing PostgreSQL failed: `{command}` ended with {status}")]
    Install {
        /// The command line.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// PostgreSQL refuses to run as root, and there is nobody else to run it as.
    #[error("PostgreSQL does not run as root, and /etc/passwd has neither `postgres` nor `nobody`")]
    NoAccount,
    /// The server did not come up. The end of its log says why.
    #[error("PostgreSQL in `{directory}` {what}; the end of its log:\n{log}")]
    Start {
        /// Where it was to live.
        directory: PathBuf,
        /// What happened.
        what: &'static str,
        /// The end of its log.
        log: String,
    },
    /// A server that was to stop did not.
    #[error("PostgreSQL in `{0}` did not stop within {1:?}")]
    Stop(PathBuf, std::time::Duration),
    /// The operating system refused something else.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The refusal.
        #[source]
        source: io::Error,
    },
}

impl ServerError {
    fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

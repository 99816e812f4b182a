//! A temporary PostgreSQL server, which stops when the process that started it ends.
//!
//! Tests must leave nothing behind, even when they are killed. The server therefore runs under a
//! supervisor, the shell script `supervisor.sh`, which runs as long as a pipe to this process is
//! open.

mod account;
mod binaries;
mod server;

pub use server::{DetachedServer, Options, Server};

use std::{io, path::PathBuf};

/// Why a server did not start or stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The programs were not found and could not be installed.
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
        /// Its exit status.
        status: std::process::ExitStatus,
    },
    /// PostgreSQL does not run as root, and no other account exists.
    #[error("PostgreSQL does not run as root, and /etc/passwd has neither `postgres` nor `nobody`")]
    NoAccount,
    /// The server did not start. The end of its log has the reason.
    #[error("PostgreSQL in `{directory}` {what}; the end of its log:\n{log}")]
    Start {
        /// Its directory.
        directory: PathBuf,
        /// What happened.
        what: &'static str,
        /// The end of its log.
        log: String,
    },
    /// The server did not stop in time.
    #[error("PostgreSQL in `{0}` did not stop within {1:?}")]
    Stop(PathBuf, std::time::Duration),
    /// Another operation of the operating system failed.
    #[error("{what}")]
    Io {
        /// The operation that failed.
        what: &'static str,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
}

impl ServerError {
    fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

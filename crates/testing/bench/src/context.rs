//! The state that the benchmarks of one run share: the scale, and a PostgreSQL server.

use std::cell::OnceCell;

use anyhow::Result;
use temporal_dsql_testkit::postgres::Server;
use tokio::runtime::Runtime;

use crate::database;

/// The extent of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Long enough for reliable figures.
    Full,
    /// A brief run of everything, to test it.
    Smoke,
}

impl Scale {
    /// The argument for this scale.
    pub fn pick<T>(self, full: T, smoke: T) -> T {
        match self {
            Self::Full => full,
            Self::Smoke => smoke,
        }
    }
}

/// A runtime with a thread for each processor.
///
/// # Errors
/// The system refuses threads.
pub fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// One run.
pub struct Context {
    /// The extent of the run.
    pub scale: Scale,
    /// Started by the first benchmark that needs it.
    server: OnceCell<Server>,
}

impl Context {
    /// A new run.
    pub const fn new(scale: Scale) -> Self {
        Self { scale, server: OnceCell::new() }
    }

    /// The PostgreSQL server of this run.
    ///
    /// # Errors
    /// The server does not start.
    pub fn server(&self) -> Result<&Server> {
        if let Some(server) = self.server.get() {
            return Ok(server);
        }
        let server = database::start_server()?;
        Ok(self.server.get_or_init(|| server))
    }

    /// Prints a line of progress.
    pub fn progress(&self, line: &str) {
        eprintln!("  {line}");
    }
}

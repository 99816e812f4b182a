//! What every benchmark of a run shares.

use std::cell::OnceCell;

use anyhow::Result;
use temporal_dsql_testkit::postgres::Server;
use tokio::runtime::Runtime;

use crate::database;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As much as a figure needs that is to be believed.
    Full,
    /// A moment of everything, to see that it works.
    Smoke,
}

impl Scale {
    /// What belongs to this scale.
    pub fn pick<T>(self, full: T, smoke: T) -> T {
        match self {
            Self::Full => full,
            Self::Smoke => smoke,
        }
    }
}

/// A runtime with all processors, for the work of one benchmark.
///
/// # Errors
/// The system gives no threads.
pub fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// One run.
pub struct Context {
    /// How much it measures.
    pub scale: Scale,
    /// Started for the first benchmark that needs it.
    server: OnceCell<Server>,
}

impl Context {
    /// A run that has measured nothing yet.
    pub const fn new(scale: Scale) -> Self {
        Self { scale, server: OnceCell::new() }
    }

    /// The PostgreSQL server of this run.
    ///
    /// # Errors
    /// It does not start.
    pub fn server(&self) -> Result<&Server> {
        if let Some(server) = self.server.get() {
            return Ok(server);
        }
        let server = database::start_server()?;
        Ok(self.server.get_or_init(|| server))
    }

    /// Tells whoever waits what has been measured.
    pub fn progress(&self, line: &str) {
        eprintln!("  {line}");
    }
}

//! Prepared statements of PostgreSQL.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};

/// The names of prepared statements that nothing uses any more. The next Parse closes them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unused(Arc<Mutex<Vec<String>>>);

impl Unused {
    /// The names so far.
    pub(crate) fn take(&self) -> Vec<String> {
        mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A statement that was prepared in PostgreSQL. When it is dropped, its name becomes unused.
#[derive(Debug)]
pub(crate) struct UpstreamStatement {
    name: String,
    unused: Unused,
}

impl UpstreamStatement {
    pub(crate) fn new(name: String, unused: &Unused) -> Self {
        Self { name, unused: unused.clone() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for UpstreamStatement {
    fn drop(&mut self) {
        let mut unused = self.unused.0.lock().unwrap_or_else(PoisonError::into_inner);
        unused.push(mem::take(&mut self.name));
    }
}

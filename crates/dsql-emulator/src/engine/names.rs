//! The names of prepared statements and portals of PostgreSQL.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};

/// The names that nothing uses any more. What they name is closed together with the next exchange.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unused(Arc<Mutex<Vec<String>>>);

impl Unused {
    /// The names so far.
    pub(crate) fn take(&self) -> Vec<String> {
        mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The name of a prepared statement or portal. When it is dropped, it becomes unused.
#[derive(Debug)]
pub(crate) struct UpstreamName {
    name: String,
    unused: Unused,
}

impl UpstreamName {
    pub(crate) fn new(name: String, unused: &Unused) -> Self {
        Self { name, unused: unused.clone() }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.name
    }
}

impl Drop for UpstreamName {
    fn drop(&mut self) {
        let mut unused = self.unused.0.lock().unwrap_or_else(PoisonError::into_inner);
        unused.push(mem::take(&mut self.name));
    }
}

//! How far an import is, for a progress bar.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;

/// What an import is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The checks before anything is written.
    #[default]
    Preflight,
    /// Rows are copied.
    Copying,
    /// Rows of the target, and of the source if nothing was copied, are read and compared.
    Proving,
}

/// Counters that an import advances and others read, and the request to stop.
#[derive(Debug, Default)]
pub struct ImportProgress {
    /// The phase and its beginning; the preflight has none.
    phase: Mutex<(Phase, Option<Instant>)>,
    total_rows: AtomicU64,
    total_bytes: AtomicU64,
    total_tables: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
    tables: AtomicU64,
    stops: AtomicBool,
}

/// The counters at one moment, all of the same phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// What the import is doing.
    pub phase: Phase,
    /// Tables that are done.
    pub tables: u64,
    /// All tables.
    pub total_tables: u64,
    /// Rows that are done.
    pub rows: u64,
    /// The rows that were counted before.
    pub total_rows: u64,
    /// The bytes of the values that are done.
    pub bytes: u64,
    /// The bytes that were counted before.
    pub total_bytes: u64,
}

impl ImportProgress {
    /// Asks the import to stop after the chunks that are on their way.
    pub fn stop(&self) {
        self.stops.store(true, Ordering::Relaxed);
    }

    /// The counters.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        Counts {
            phase: phase.0,
            tables: read(&self.tables),
            total_tables: read(&self.total_tables),
            rows: read(&self.rows),
            total_rows: read(&self.total_rows),
            bytes: read(&self.bytes),
            total_bytes: read(&self.total_bytes),
        }
    }

    /// The time since the phase has begun; zero in the preflight.
    pub fn elapsed(&self) -> Duration {
        let (_, begin) = *self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        begin.map_or(Duration::ZERO, |begin| begin.elapsed())
    }

    pub(crate) fn stops(&self) -> bool {
        self.stops.load(Ordering::Relaxed)
    }

    /// Begins a phase over this many tables, rows and bytes.
    pub(crate) fn begin(&self, phase: Phase, tables: u64, rows: u64, bytes: u64) {
        let mut current = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        *current = (phase, Some(Instant::now()));
        for (counter, value) in [
            (&self.total_tables, tables),
            (&self.total_rows, rows),
            (&self.total_bytes, bytes),
            (&self.tables, 0),
            (&self.rows, 0),
            (&self.bytes, 0),
        ] {
            counter.store(value, Ordering::Relaxed);
        }
    }

    pub(crate) fn advance(&self, rows: usize, bytes: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn table_done(&self) {
        self.tables.fetch_add(1, Ordering::Relaxed);
    }
}

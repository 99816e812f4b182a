//! The point operations, and the extent of their measurement.

use serde::{Deserialize, Serialize};

use crate::load::Window;

/// An operation on one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Inserts one row.
    Insert,
    /// Selects one row by its key.
    Select,
    /// Updates all columns of one row but its key.
    Update,
    /// `SELECT … FOR UPDATE` between BEGIN and COMMIT.
    Lock,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Insert, Self::Select, Self::Update, Self::Lock];

    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Select => "select",
            Self::Update => "update",
            Self::Lock => "lock in a transaction",
        }
    }

    /// The name in charts.
    pub const fn short_name(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            other => other.name(),
        }
    }
}

/// The extent of a measurement.
pub struct Plan {
    /// Numbers of callers.
    pub callers: &'static [usize],
    /// Rounds of each cell.
    pub rounds: usize,
    /// Rows of the table when a measurement begins.
    pub rows: u32,
    /// Warm-up and measured time, or a number of calls.
    pub window: Window,
    /// Measured seconds of pgbench, after one of warm-up. If 0, it runs a few transactions only.
    pub pgbench_seconds: u64,
}

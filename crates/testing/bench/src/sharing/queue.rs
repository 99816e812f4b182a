//! Queues of callers in front of one workflow.

use serde::{Deserialize, Serialize};

/// Where callers of one workflow queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Queue {
    /// Nowhere: what the store does.
    None,
    /// Before the update.
    Update,
    /// Before the read, until the update has ended.
    GetAndUpdate,
}

impl Queue {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Update, Self::GetAndUpdate];

    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none (the store)",
            Self::Update => "around the update",
            Self::GetAndUpdate => "around get and update",
        }
    }
}

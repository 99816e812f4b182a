//! Queues of callers in front of one workflow.

use serde::{Deserialize, Serialize};

/// The queue of the callers of one workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Queue {
    /// No queue, as in the store.
    None,
    /// Around the update.
    Update,
    /// Around the read and the update.
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

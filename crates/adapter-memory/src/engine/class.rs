//! How a transaction touches a row, which touches cannot both commit
//! (aurora-dsql.md#conflict-matrix), and what else refuses a commit.

use std::fmt;

/// How strongly a transaction touched a row; the weakest first.
///
/// A stronger class conflicts with all that a weaker one conflicts with, so of several touches
/// of one row only the strongest matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// S: `SELECT … FOR KEY SHARE`.
    KeyShare,
    /// N: an update that leaves the key as it is.
    NonKey,
    /// K: an insert, a delete or `SELECT … FOR UPDATE`. (An update of a key is a delete and an
    /// insert.)
    Key,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::KeyShare, Self::NonKey, Self::Key];

    /// Whether two transactions that touch one row like this cannot both commit.
    pub const fn conflicts_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Key, _) | (_, Self::Key) | (Self::NonKey, Self::NonKey) => true,
            (Self::KeyShare, Self::KeyShare | Self::NonKey) | (Self::NonKey, Self::KeyShare) => {
                false
            }
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeyShare => "a key-share lock",
            Self::NonKey => "a non-key update",
            Self::Key => "an insert, delete or update lock",
        })
    }
}

/// Why a transaction could not commit: another one that touched the same row was faster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{own} of row {key:?} conflicts with {other} by a transaction that committed first")]
pub struct Conflict<K> {
    /// The row.
    pub key: K,
    /// How the transaction that lost touched it.
    pub own: Class,
    /// How a transaction that won touched it.
    pub other: Class,
}

/// Why a transaction could not commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal<K> {
    /// Another one was faster.
    #[error(transparent)]
    Conflict(#[from] Conflict<K>),
    /// It is older than the engine lets a transaction become
    /// ([`Engine::with_max_age`](super::Engine::with_max_age)).
    #[error("the transaction is too old")]
    TooOld,
}

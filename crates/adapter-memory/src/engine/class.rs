//! The conflict matrix (aurora-dsql.md#conflict-matrix), and the errors of a commit.

use std::fmt;

/// The strength of a transaction's lock or write of a row, the weakest first.
///
/// A stronger class conflicts with every class that a weaker one conflicts with, so only the
/// strongest class of a row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// S: `SELECT … FOR KEY SHARE`.
    KeyShare,
    /// N: an update of non-key columns.
    NonKey,
    /// K: an insert, a delete or `SELECT … FOR UPDATE`. (An update of a key is a delete and an
    /// insert.)
    Key,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::KeyShare, Self::NonKey, Self::Key];

    /// Whether two concurrent transactions with these classes of one row conflict.
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

/// A conflict with a transaction that committed first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{own} of row {key:?} conflicts with {other} by a transaction that committed first")]
pub struct Conflict<K> {
    /// The row.
    pub key: K,
    /// The class of the transaction that failed.
    pub own: Class,
    /// The class of the transaction that committed.
    pub other: Class,
}

/// The error of a commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError<K> {
    /// Another transaction committed first.
    #[error(transparent)]
    Conflict(#[from] Conflict<K>),
    /// The transaction is older than the maximum age
    /// ([`Engine::with_max_age`](super::Engine::with_max_age)).
    #[error("the transaction is too old")]
    TooOld,
}

//! The one error of this crate: a value that a column or a rule refuses.

/// A value that cannot be stored, named by the field it was meant for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidValue {
    /// The field, as its column is called (`workflow_id`, `archetype_id`, …).
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl InvalidValue {
    /// An error for `field` that says `reason`.
    pub fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self { field, reason: reason.into() }
    }
}

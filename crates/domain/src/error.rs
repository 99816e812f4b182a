//! The error of this crate: a value that a column or a rule does not allow.

/// A value that is not allowed, with its field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidValue {
    /// The field, as its column is called (`workflow_id`, `archetype_id`, …).
    pub field: &'static str,
    /// What is wrong and what is allowed.
    pub reason: String,
}

impl InvalidValue {
    /// An error of `field` with `reason`.
    pub fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self { field, reason: reason.into() }
    }

    /// Returns an error of `field` unless `condition` holds.
    ///
    /// # Errors
    /// `condition` is false.
    pub fn unless<R: Into<String>>(
        condition: bool,
        field: &'static str,
        reason: impl FnOnce() -> R,
    ) -> Result<(), Self> {
        if condition { Ok(()) } else { Err(Self::new(field, reason())) }
    }
}

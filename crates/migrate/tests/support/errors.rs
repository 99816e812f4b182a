//! An error with all that caused it.

/// The chain of an error's messages.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut chain = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        chain += &format!(": {error}");
        source = error.source();
    }
    chain
}

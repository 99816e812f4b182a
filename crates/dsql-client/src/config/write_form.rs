//! The write form: how the writes of an operation are sent.

/// The write form: whether the writes of an operation are one statement or a transaction
/// with a statement per table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteForm {
    /// One statement if the server accepts it, which is detected when the store connects; otherwise
    /// a statement per table.
    #[default]
    Auto,
    /// One statement; a server that refuses it is an error.
    OneStatement,
    /// A statement per table.
    StatementPerTable,
}

//! How acts are sent.

/// Whether an act is one statement or a transaction with a statement per table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteForm {
    /// One statement if the server takes it, which is found out when the store connects; otherwise
    /// a statement per table.
    #[default]
    Auto,
    /// One statement; a server that refuses it is an error.
    OneStatement,
    /// A statement per table.
    StatementPerTable,
}

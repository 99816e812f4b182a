//! Objects that are not part of the schema and depend on its relations.

use std::fmt;

use serde::Serialize;

use crate::escape::escaped;

/// An object that keeps the server from dropping a relation: a view, a foreign key, a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dependent {
    /// Its kind and its name: `view public.report`.
    pub object: String,
    /// The relation of the schema that it depends on, directly or through other objects.
    pub relation: String,
    /// The statement that drops it. `None` for kinds that this tool does not drop, such as tables.
    pub drop: Option<String>,
}

impl fmt::Display for Dependent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} depends on {}", escaped(&self.object), self.relation)
    }
}

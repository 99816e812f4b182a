//! What the role of a connection may do.

use std::collections::BTreeMap;

/// The rights of a role in the schema of a connection, and the types there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The role.
    pub role: String,
    /// Whether it may create relations in the schema.
    pub may_create: bool,
    /// Whether it has the rights of the owner of the schema, who may drop every relation.
    pub owns_schema: bool,
    /// The relations that were asked for, as far as they exist.
    pub relations: BTreeMap<String, RelationAccess>,
    /// The kinds of the types with these names. A type has the name of a table for itself.
    pub types: BTreeMap<String, &'static str>,
}

/// The rights of a role on a relation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelationAccess {
    /// The owner.
    pub owner: String,
    /// Whether the role has the rights of the owner.
    pub is_owned: bool,
    /// The privileges of `SELECT`, `INSERT` and `UPDATE` that it lacks.
    pub lacks: Vec<&'static str>,
}

//! The rows of `namespaces` (temporal-persistence.md#namespaces).

use std::fmt;

use crate::{DataBlob, NamespaceId, NamespaceName};

/// A namespace, as a service writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Key: the id.
    pub id: NamespaceId,
    /// The name, which is unique too.
    pub name: NamespaceName,
    /// Whether the namespace is replicated to other clusters.
    pub is_global: bool,
    /// The serialized `NamespaceDetail`.
    pub data: DataBlob,
}

/// A row of `namespaces`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespacesRow {
    /// The namespace.
    pub namespace: Namespace,
    /// The notification version of all namespaces before the last write of this one. The writes of
    /// all namespaces have different values.
    pub notification_version: i64,
}

/// What identifies a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceKey {
    /// Its id.
    Id(NamespaceId),
    /// Its name.
    Name(NamespaceName),
}

impl fmt::Display for NamespaceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => write!(f, "`{name}`"),
        }
    }
}

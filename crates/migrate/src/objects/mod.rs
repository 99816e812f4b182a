//! The object model of a schema: definitions, a database's catalog, and their comparison.
//!
//! Definitions come from schema files, catalogs from a database. [`normalise`] gives the types and
//! defaults of both the same spelling. Names are folded and unquoted, as the catalog has them.

mod access;
mod catalog;
mod compatible;
mod definition;
mod dependent;
mod diff;
pub mod normalise;

pub use access::{Access, RelationAccess};
pub use catalog::{Catalog, CatalogIndex, Scope};
pub use definition::{ColumnDefinition, IndexDefinition, Objects, Seed, TableDefinition};
pub use dependent::Dependent;
pub use diff::{Difference, IndexBuildState, compare_index, compare_table};

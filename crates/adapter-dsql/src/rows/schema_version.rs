//! The recorded schema version (temporal-persistence.md#version-tables).

use sqlx::{Row, postgres::PgRow};
use temporal_dsql_domain::{SchemaVersion, ShardId, Table};
use temporal_dsql_ports::{Cause, StoreError};

use super::session::{Rows, exact};
use crate::{
    arguments::Arguments,
    executor::Executor,
    statement::{Meta, Statement},
    text::Text,
};

static SELECT: Meta = Meta {
    op: "ReadSchemaVersion",
    table: Table::SchemaVersion,
    writes: false,
    text: Text::new(include_str!("../../sql/schema_version.sql"), "ReadSchemaVersion"),
};

/// The statements of this module.
pub(super) const STATEMENTS: [&Meta; 1] = [&SELECT];

impl<E: Executor> Rows<E> {
    /// The version that is recorded under `database`; `None` without a row or a table for it.
    pub(crate) async fn schema_version(
        &mut self,
        database: &str,
    ) -> Result<Option<SchemaVersion>, StoreError> {
        match self.optional(select(database), decode).await {
            Err(StoreError::Unsupported { source: Some(cause), .. }) if is_no_table(&cause) => {
                Ok(None)
            }
            other => other,
        }
    }
}

/// The statement that reads the version; [`decode`] reads its answer.
pub(super) fn select(database: &str) -> Statement {
    let mut arguments = Arguments::default();
    arguments.set("db_name", database);
    exact(&SELECT, ShardId(0), &arguments)
}

fn decode(row: &PgRow) -> Result<SchemaVersion, StoreError> {
    let corrupt = |error: Cause| StoreError::Corrupt {
        table: Table::SchemaVersion,
        column: "curr_version",
        source: Some(error),
    };
    let text: String = row.try_get("curr_version").map_err(|error| corrupt(Cause::new(error)))?;
    text.parse().map_err(|error: temporal_dsql_domain::InvalidValue| corrupt(Cause::new(error)))
}

/// SQLSTATE 42P01, undefined table.
fn is_no_table(cause: &Cause) -> bool {
    cause
        .get()
        .downcast_ref::<sqlx::Error>()
        .and_then(sqlx::Error::as_database_error)
        .and_then(|error| error.code())
        .is_some_and(|code| code == "42P01")
}

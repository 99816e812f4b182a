//! The recorded schema version (temporal-persistence.md#version-tables).

use sqlx::postgres::PgRow;
use temporal_dsql_client::is_undefined_table;
use temporal_dsql_domain::{InvalidValue, SchemaVersion, Table};
use temporal_dsql_ports::{RecordedVersion, StoreError};

use super::{
    decode::Columns,
    session::{Rows, exact},
};
use crate::{
    arguments::Arguments,
    error::sqlstate_of,
    executor::Executor,
    statement::{Meta, SqlFile},
};

static SELECT: Meta =
    SqlFile::new(Table::SchemaVersion, include_str!("../../sql/schema_version.sql"))
        .read("ReadSchemaVersion");

/// The statements of this module.
pub(super) const STATEMENTS: [&Meta; 1] = [&SELECT];

impl<E: Executor> Rows<E> {
    /// The version that is recorded under `database`; `None` without a row or a table for it.
    pub(crate) async fn schema_version(
        &mut self,
        database: &str,
    ) -> Result<Option<RecordedVersion>, StoreError> {
        let mut arguments = Arguments::default();
        arguments.set("db_name", database);
        let version = self.optional(exact(&SELECT, None, &arguments), decode).await;
        version.or_else(|error| match sqlstate_of(&error).as_deref() {
            Some(code) if is_undefined_table(code) => Ok(None),
            _ => Err(error),
        })
    }
}

fn decode(row: &PgRow) -> Result<RecordedVersion, StoreError> {
    let columns = Columns::new(Table::SchemaVersion, row);
    let parse = |column, text: &str| {
        text.parse().map_err(|error: InvalidValue| columns.corrupt(column, error))
    };
    let current: SchemaVersion = parse("curr_version", columns.get("curr_version")?)?;
    let min_compatible = columns.get::<Option<&str>>("min_compatible_version")?;
    Ok(RecordedVersion {
        current,
        min_compatible: match min_compatible {
            Some(text) => parse("min_compatible_version", text)?,
            None => current,
        },
    })
}

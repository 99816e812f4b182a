//! The compatibility check of a starting service: the schema version that it needs.

use temporal_dsql_domain::{SchemaVersion, VERSION};

use crate::{Store, StoreError};

/// The reason why a service must not start on a database.
#[derive(Debug, thiserror::Error)]
pub enum IncompatibleSchema {
    /// No version is recorded under the name.
    #[error(
        "no schema version is recorded for database `{database}`; set it up with \
         `temporal-dsql-tool setup-schema`, or give the logical name it was set up with"
    )]
    Missing {
        /// The logical database name that was asked for.
        database: String,
    },
    /// The recorded version is older than this release needs.
    #[error(
        "version mismatch for database `{database}`: expected version {expected} cannot be \
         greater than actual version {actual}; run `temporal-dsql-tool update-schema`"
    )]
    TooOld {
        /// The logical database name that was asked for.
        database: String,
        /// What this release needs.
        expected: SchemaVersion,
        /// What is recorded.
        actual: SchemaVersion,
    },
    /// The version could not be read.
    #[error("unable to read the schema version of database `{database}`")]
    Unreadable {
        /// The logical database name that was asked for.
        database: String,
        /// The failure.
        #[source]
        source: StoreError,
    },
}

/// Checks that the recorded schema version is [`VERSION`] or newer, as Temporal's server does at
/// start-up (`VerifyCompatibleVersion`, temporal-persistence.md#version-tables). A newer schema
/// passes, so that code can be rolled back while the schema stays.
///
/// # Errors
/// The version is missing, too old or unreadable.
pub async fn verify_compatible_version(
    store: &dyn Store,
    database: &str,
) -> Result<SchemaVersion, IncompatibleSchema> {
    let database = || database.to_owned();
    match store.schema_version(&database()).await {
        Ok(Some(actual)) if actual >= VERSION => Ok(actual),
        Ok(Some(actual)) => {
            Err(IncompatibleSchema::TooOld { database: database(), expected: VERSION, actual })
        }
        Ok(None) => Err(IncompatibleSchema::Missing { database: database() }),
        Err(source) => Err(IncompatibleSchema::Unreadable { database: database(), source }),
    }
}

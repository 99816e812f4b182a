//! The compatibility check of a starting service: the schema version that it needs.

use temporal_dsql_domain::{SchemaVersion, VERSION};

use crate::{Store, StoreError};

/// What the row of `schema_version` of a logical database name records
/// (temporal-persistence.md#version-tables).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedVersion {
    /// The version of the schema.
    pub current: SchemaVersion,
    /// The oldest version whose releases work with the schema.
    pub min_compatible: SchemaVersion,
}

/// A schema that works only with releases of its own version or newer ones.
impl From<SchemaVersion> for RecordedVersion {
    fn from(version: SchemaVersion) -> Self {
        Self { current: version, min_compatible: version }
    }
}

/// The reason why a service must not start on a database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    /// The recorded version is newer, and its row does not say that this release works with it.
    #[error(
        "version mismatch for database `{database}`: the recorded version {actual} needs a release \
         of version {min_compatible} or newer, and this release is of version {expected}; use a \
         newer release, or, if no release has this version, run `temporal-dsql-tool adopt-schema`"
    )]
    TooNew {
        /// The logical database name that was asked for.
        database: String,
        /// What this release needs.
        expected: SchemaVersion,
        /// What is recorded.
        actual: SchemaVersion,
        /// The oldest version whose releases work with the schema, as recorded.
        min_compatible: SchemaVersion,
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
/// passes if its row says that releases of [`VERSION`] work with it, so that code can be rolled back
/// while the schema stays. Temporal's server accepts every newer version, even one that no release
/// has made, such as the 1.12 that a guide of the Go fork recorded for the tables of 1.0.
///
/// # Errors
/// The version is missing, too old, too new or unreadable.
pub async fn verify_compatible_version(
    store: &dyn Store,
    database: &str,
) -> Result<SchemaVersion, IncompatibleSchema> {
    let database = || database.to_owned();
    match store.schema_version(&database()).await {
        Ok(Some(RecordedVersion { current: actual, .. })) if actual < VERSION => {
            Err(IncompatibleSchema::TooOld { database: database(), expected: VERSION, actual })
        }
        Ok(Some(RecordedVersion { current: actual, min_compatible }))
            if actual > VERSION && min_compatible > VERSION =>
        {
            Err(IncompatibleSchema::TooNew {
                database: database(),
                expected: VERSION,
                actual,
                min_compatible,
            })
        }
        Ok(Some(recorded)) => Ok(recorded.current),
        Ok(None) => Err(IncompatibleSchema::Missing { database: database() }),
        Err(source) => Err(IncompatibleSchema::Unreadable { database: database(), source }),
    }
}

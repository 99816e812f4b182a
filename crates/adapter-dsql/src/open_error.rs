//! Errors of opening a store.

use temporal_dsql_client::ConfigError;
use temporal_dsql_ports::StoreError;

/// Why a store could not be opened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The configuration cannot work; nothing was sent.
    #[error("the configuration cannot work")]
    Config(#[from] ConfigError),
    /// The first connection could not be opened.
    #[error("the database cannot be used")]
    Connect(#[source] StoreError),
    /// The server refuses a whole write set in one statement, which the configuration demands.
    #[error(
        "the server refuses a whole write set in one statement; \
         DSQL_WRITE_FORM=statement-per-table does not need it"
    )]
    Refused(#[source] StoreError),
    /// The capabilities of the server could not be detected.
    #[error("cannot detect whether the server accepts {what}")]
    DetectionFailed {
        /// The statements that were tried, and the setting that does not need them, if there is one.
        what: &'static str,
        /// The error of the detection.
        #[source]
        source: StoreError,
    },
}

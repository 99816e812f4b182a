//! Server capabilities: which statements the server accepts, detected by sending them.
//!
//! When a store connects, it sends the single statement of a write set, for a shard that does not
//! exist, and the lock of a shard if the server refuses that statement. Neither affects a row. A
//! SQLSTATE that refuses the text of the statement selects the other write form. While a
//! table is missing, the capabilities are unknown and the next write detects them again, because
//! the schema may be set up later. Any other error is returned.

use std::sync::{Mutex, MutexGuard, PoisonError};

use temporal_dsql_client::{ErrorChain, Phase, WriteForm, is_undefined_table, refuses_text};
use temporal_dsql_ports::StoreError;

use crate::{
    error::sqlstate_of,
    executor::Shared,
    open_error::OpenError,
    rows::{mutable_state::apply, shards},
    statement::Statement,
};

/// The statements that the server accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether a write set is one statement: INSERT, UPDATE and DELETE in WITH, and locks in
    /// sub-selects. Otherwise it is a transaction with a statement per table.
    pub one_statement: bool,
    /// Whether writes lock their shard FOR KEY SHARE. Otherwise they lock it FOR UPDATE, and the
    /// writes of one shard conflict with each other.
    pub key_share: bool,
}

/// The detected capabilities, if they are known.
pub(crate) struct Detection {
    configured: WriteForm,
    /// `None` while the schema is missing.
    detected: Mutex<Option<Detected>>,
}

/// The capabilities of the server, and why they are not all.
struct Detected {
    capabilities: Capabilities,
    /// The refusals of the statements that the server does not accept.
    refusals: Vec<StoreError>,
}

/// The answer of the server to a statement that probes it.
enum ProbeResult {
    Accepted,
    Refused(StoreError),
    /// A table of the statement does not exist.
    NoTable,
}

const ONE_STATEMENT: &str = "a whole write set in one statement";
const ONE_STATEMENT_OR_NOT: &str =
    "a whole write set in one statement, which DSQL_WRITE_FORM=statement-per-table does not need";

impl Detection {
    /// Detects the capabilities of the server behind `shared`.
    pub(crate) async fn start(configured: WriteForm, shared: &Shared) -> Result<Self, OpenError> {
        let detection = Self { configured, detected: Mutex::default() };
        let what = match configured {
            WriteForm::Auto | WriteForm::OneStatement => ONE_STATEMENT_OR_NOT,
            WriteForm::StatementPerTable => "FOR KEY SHARE",
        };
        let result = detection.detect(shared).await;
        let result = result.map_err(|source| OpenError::DetectionFailed { what, source })?;
        match result {
            DetectionResult::Known(detected) => *detection.lock() = Some(detected),
            DetectionResult::NoSchema => {
                tracing::warn!(
                    "the schema is missing; the first write detects what the server accepts"
                );
            }
            DetectionResult::Refused(source) => return Err(OpenError::Refused(source)),
        }
        Ok(detection)
    }

    /// The capabilities; `None` while the schema is missing.
    pub(crate) fn known(&self) -> Option<Capabilities> {
        self.lock().as_ref().map(|detected| detected.capabilities)
    }

    /// The refusals of the statements that the server does not accept.
    pub(crate) fn refusals(&self) -> Vec<StoreError> {
        self.lock().as_ref().map(|detected| detected.refusals.clone()).unwrap_or_default()
    }

    /// The capabilities, detected if they are not known. While the schema is missing, those that the
    /// configuration prefers: the write will fail with the missing table.
    ///
    /// # Errors
    /// The capabilities could not be detected.
    pub(crate) async fn get(&self, shared: &Shared) -> Result<Capabilities, StoreError> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        match self.detect(shared).await? {
            DetectionResult::Known(detected) => {
                let capabilities = detected.capabilities;
                tracing::info!(?capabilities, "the schema exists now");
                *self.lock() = Some(detected);
                Ok(capabilities)
            }
            DetectionResult::NoSchema => Ok(Capabilities {
                one_statement: self.configured != WriteForm::StatementPerTable,
                key_share: true,
            }),
            DetectionResult::Refused(error) => Err(error),
        }
    }

    async fn detect(&self, shared: &Shared) -> Result<DetectionResult, StoreError> {
        let mut refusals = Vec::new();
        if self.configured != WriteForm::StatementPerTable {
            let probe = apply::probe();
            let write = apply::OneStatement::new(&*shared.router, &probe)?;
            match probe_with(shared, &write.statement()?).await? {
                ProbeResult::Accepted => {
                    let capabilities = Capabilities { one_statement: true, key_share: true };
                    return Ok(DetectionResult::Known(Detected { capabilities, refusals }));
                }
                ProbeResult::NoTable => return Ok(DetectionResult::NoSchema),
                ProbeResult::Refused(source) if self.configured == WriteForm::OneStatement => {
                    return Ok(DetectionResult::Refused(source));
                }
                ProbeResult::Refused(source) => {
                    tracing::info!(
                        reason = %ErrorChain(&source),
                        "the server refuses {ONE_STATEMENT}; a statement per table is used"
                    );
                    refusals.push(source);
                }
            }
        }
        let key_share = match probe_with(shared, &shards::read_lock(apply::NO_SHARD, true)).await? {
            ProbeResult::Accepted => true,
            ProbeResult::NoTable => return Ok(DetectionResult::NoSchema),
            ProbeResult::Refused(source) => {
                tracing::warn!(
                    reason = %ErrorChain(&source),
                    "the server refuses FOR KEY SHARE; writes of one shard conflict with each other"
                );
                refusals.push(source);
                false
            }
        };
        let capabilities = Capabilities { one_statement: false, key_share };
        Ok(DetectionResult::Known(Detected { capabilities, refusals }))
    }

    /// A poisoned lock is used: every change is one assignment.
    fn lock(&self) -> MutexGuard<'_, Option<Detected>> {
        self.detected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of a detection.
enum DetectionResult {
    Known(Detected),
    NoSchema,
    /// The server refuses the statement that the configuration demands.
    Refused(StoreError),
}

/// Sends a statement that finds no row and writes none.
async fn probe_with(shared: &Shared, probe: &Statement) -> Result<ProbeResult, StoreError> {
    let answer = shared.runner.retry("ProbeStatements", |attempt| async move {
        let mut connection = shared.pool.get().await?;
        // The statement changes nothing, so an unknown outcome is repeated, too.
        let timeout = shared.statement_timeout;
        probe.clone().run(&mut connection, attempt.number, Phase::Statement, timeout).await
    });
    match answer.await {
        Ok(_) => Ok(ProbeResult::Accepted),
        Err(error) => match sqlstate_of(&error).as_deref() {
            Some(code) if is_undefined_table(code) => Ok(ProbeResult::NoTable),
            Some(code) if refuses_text(code) => Ok(ProbeResult::Refused(error)),
            _ => Err(error),
        },
    }
}

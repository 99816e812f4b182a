//! Keeps the servers of a source from writing: a large step is added to the range id of every shard.
//!
//! A server presents the range id of the shard's blob, and compares it with the column in every
//! transaction that writes executions, tasks or the shard (temporal-persistence.md#shards). With a step
//! in the column and none in the blob, a running server loses its shards at its next write, and no
//! server can take them. An import takes the step back ([`Conversion::RangeId`]), so that the rows of
//! the target are those of a source without a fence.
//!
//! [`Conversion::RangeId`]: super::mapping::Conversion::RangeId

use serde::Serialize;

use super::{ImportError, Settings, source};
use crate::{PostgresDatabase, retry::retried};

/// The step. A range id counts the takeovers of a shard, and task ids leave 43 bits for it, so none is
/// near.
pub(crate) const STEP: i64 = 1 << 62;

/// How long the change waits for a lock before it is tried again. A process that is killed cannot cancel
/// its statement, which must not take effect much later.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '5s'";

/// How many shards of a source have the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FenceState {
    /// All shards.
    pub shards: u64,
    /// Those with the step, which no server can take.
    pub fenced: u64,
}

/// What a change of a fence did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FenceReport {
    /// The shards that this run has changed, as far as it knows: if an answer was lost, a change of this
    /// run counts as found.
    pub changed: u64,
    /// The shards afterwards.
    pub after: FenceState,
}

/// The fence of a source.
pub struct Fence<'a> {
    source: &'a mut PostgresDatabase,
    settings: Settings,
}

impl<'a> Fence<'a> {
    /// The fence of `source`.
    pub fn new(source: &'a mut PostgresDatabase, settings: Settings) -> Self {
        Self { source, settings }
    }

    /// Checks that the fence can be set, or taken away, and reads the state of the shards. Changes nothing.
    ///
    /// A fence is set at versions only that can be imported, and taken away at any: the source may have
    /// been updated since.
    ///
    /// # Errors
    /// [`ImportError::FenceRefused`]; the source cannot be read.
    pub async fn state(&mut self, fenced: bool) -> Result<FenceState, ImportError> {
        self.check(fenced).await?;
        self.count().await
    }

    async fn check(&mut self, fenced: bool) -> Result<(), ImportError> {
        let checked = match fenced {
            true => source::check_version(self.source, &self.settings).await.map(drop),
            false => source::check_main_store(self.source, &self.settings).await,
        };
        checked.map_err(refused)
    }

    /// Adds the step to every shard that does not have it, or takes it from every shard that has it, in
    /// one transaction: all shards change, or none does. Repeated, it changes nothing.
    ///
    /// # Errors
    /// As [`state`](Self::state).
    pub async fn set(&mut self, fenced: bool) -> Result<FenceReport, ImportError> {
        self.check(fenced).await?;
        let (change, action) = match fenced {
            true => {
                (format!("+ {STEP} WHERE range_id < {STEP}"), "fencing the shards of the source")
            }
            false => {
                (format!("- {STEP} WHERE range_id >= {STEP}"), "unfencing the shards of the source")
            }
        };
        let text = format!("{LOCK_TIMEOUT}; UPDATE shards SET range_id = range_id {change}");
        let retry = self.settings.retry();
        let changed = retried!(retry, action, self.source.execute_watched(text.clone()))?;
        Ok(FenceReport { changed, after: self.count().await? })
    }

    async fn count(&mut self) -> Result<FenceState, ImportError> {
        let state = source::shards(&mut self.source.rows(), &self.settings).await?;
        match source::shards_problem(state) {
            Some(problem) => Err(ImportError::FenceRefused(vec![problem])),
            None => Ok(state),
        }
    }
}

/// The error of a fence for that of an import.
fn refused(error: ImportError) -> ImportError {
    match error {
        ImportError::Refused(problems) => ImportError::FenceRefused(problems),
        error => error,
    }
}

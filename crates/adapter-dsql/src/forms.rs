//! In which form statements are sent: what the configuration wants, and what the server takes.
//!
//! Whether a server takes a form is found out when the store connects, by sending the very texts
//! that will be used, in a transaction that is rolled back, for a shard that nobody has: they find
//! no row, and write none. So a server that lacks anything that a text needs, be it a clause
//! or a table, is known before the first real write.
//!
//! A refusal of the text, told by its SQLSTATE ([`refuses_text`]), means the other form. Anything
//! else says nothing about the form: what may pass is tried again, and what does not pass is an
//! error, for a guess would hide it.

use std::sync::Arc;

use sqlx::postgres::PgRow;
use temporal_dsql_ports::{StoreError, Transaction};

use crate::{
    config::{Config, ShardFence, StatementForm},
    error::{Reasons, refuses_text},
    fence::ShardGuard,
    link::{Link, Open, Shared},
    rows::{Rows, mutable_state::probes, shards},
    statement::Statement,
    store::OpenError,
};

/// The forms that a store uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forms {
    /// Whether a write and a deletion of a whole execution are one statement each.
    pub writes_in_one: bool,
    /// Whether the locks of a write are taken in one statement.
    pub locks_in_one: bool,
    /// The lock that guards the writes of a shard's owner.
    pub shard_guard: ShardGuard,
}

/// A way to put statements that a server may not take, in words for an operator.
#[derive(Clone, Copy)]
struct Way {
    what: &'static str,
    /// The setting that does without.
    instead: &'static str,
}

const WRITES_IN_ONE: Way =
    Way { what: "whole executions in one statement", instead: "DSQL_WRITE_FORM=separate" };
const LOCKS_IN_ONE: Way =
    Way { what: "all locks of a write in one statement", instead: "DSQL_LOCK_FORM=separate" };
const KEY_SHARE: Way =
    Way { what: "FOR KEY SHARE on shards", instead: "DSQL_SHARD_FENCE=for-update" };

impl Forms {
    /// Decides the forms for the server behind `shared`.
    pub(crate) async fn choose(config: &Config, shared: &Arc<Shared>) -> Result<Self, OpenError> {
        let shard_guard = match config.shard_fence {
            ShardFence::ForUpdate => ShardGuard::ForUpdate,
            ShardFence::KeyShareIfIndexed => choose_guard(shared).await?,
        };
        let writes = probes::writes().map_err(OpenError::Connect)?;
        let locks = probes::locks(shard_guard).map_err(OpenError::Connect)?;
        Ok(Self {
            writes_in_one: choose(config.write_form, WRITES_IN_ONE, writes, shared).await?,
            locks_in_one: choose(config.lock_form, LOCKS_IN_ONE, locks, shared).await?,
            shard_guard,
        })
    }
}

/// Whether the combined form is used, whose texts `probes` have.
async fn choose(
    form: StatementForm,
    way: Way,
    probes: Vec<Statement>,
    shared: &Arc<Shared>,
) -> Result<bool, OpenError> {
    if form == StatementForm::Separate {
        return Ok(false);
    }
    let Way { what, instead } = way;
    match ask(way, probes, shared).await? {
        Verdict::Taken(_) => Ok(true),
        Verdict::Refused(source) if form == StatementForm::Combined => {
            Err(OpenError::Refused { what, instead, source })
        }
        Verdict::Refused(source) => {
            tracing::info!(what, reason = %Reasons(&source), "the server refuses; sent separately");
            Ok(false)
        }
    }
}

/// `FOR KEY SHARE`, if the index for it is there and the server takes the lock.
async fn choose_guard(shared: &Arc<Shared>) -> Result<ShardGuard, OpenError> {
    let lock = shards::guard(probes::NO_SHARD, ShardGuard::ForKeyShare);
    let reason = match ask(KEY_SHARE, vec![lock, shards::find_fence_index()], shared).await? {
        Verdict::Taken(index) if shards::decode_found(&index).map_err(OpenError::Connect)? => {
            return Ok(ShardGuard::ForKeyShare);
        }
        Verdict::Taken(_) => "there is no valid unique index on shards (shard_id, range_id)".into(),
        Verdict::Refused(refusal) => Reasons(&refusal).to_string(),
    };
    tracing::warn!(reason, "shards are guarded by FOR UPDATE, not by FOR KEY SHARE");
    Ok(ShardGuard::ForUpdate)
}

/// What the server says to statements.
enum Verdict {
    /// It takes them all; what the last one returns.
    Taken(Vec<PgRow>),
    /// It refuses one of them.
    Refused(StoreError),
}

/// Sends statements in a transaction that is rolled back.
async fn ask(way: Way, probes: Vec<Statement>, shared: &Arc<Shared>) -> Result<Verdict, OpenError> {
    let asked = shared.runner.retry("ProbeStatements", |attempt| {
        let (probes, shared) = (probes.clone(), Arc::clone(shared));
        async move {
            let mut link = Open::begin(shared, attempt).await?;
            let mut verdict = Verdict::Taken(Vec::new());
            for probe in probes {
                match link.send(probe).await {
                    Ok(answer) => verdict = Verdict::Taken(answer.rows),
                    Err(error) if refuses_text(&error) => {
                        verdict = Verdict::Refused(error);
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
            Box::new(Rows { link, forms: Forms::default() }).rollback().await?;
            Ok(verdict)
        }
    });
    let Way { what, instead } = way;
    asked.await.map_err(|source| OpenError::Unclear { what, instead, source })
}

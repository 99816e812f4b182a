//! Which statements the server takes: found out by sending them.
//!
//! When a store connects it sends the text of an act, for a shard that nobody has, and if need be
//! the lock of a shard: they find no row and write none. A refusal of a text, told by its SQLSTATE, means the other way.
//! A table that is missing says nothing about the server, because the schema may come later: the
//! next act asks again. Any other error is no verdict either and is passed on.

use std::sync::{Mutex, MutexGuard, PoisonError};

use temporal_dsql_client::{Phase, WriteForm, lacks_table, refuses_text};
use temporal_dsql_ports::StoreError;

use crate::{
    error::{Reasons, sqlstate_of},
    executor::Shared,
    open_error::OpenError,
    rows::{mutable_state::apply, shards},
    statement::Statement,
};

/// What the server takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether an act is one statement: INSERT, UPDATE and DELETE in WITH, and locks in
    /// sub-selects. Otherwise it is a transaction with a statement per table.
    pub one_statement: bool,
    /// Whether acts lock their shard FOR KEY SHARE. Otherwise they lock it FOR UPDATE, which keeps
    /// the acts of one shard from overlapping.
    pub key_share: bool,
}

/// What is known of the server.
pub(crate) struct Detection {
    wanted: WriteForm,
    /// `None` while the schema is missing.
    found: Mutex<Option<Capabilities>>,
}

/// What the server says to a text.
enum Verdict {
    Taken,
    Refused(StoreError),
    /// A table of it does not exist.
    NoTable,
}

/// The setting that does without one statement per act.
const INSTEAD: &str = "DSQL_WRITE_FORM=statement-per-table";
const ONE_STATEMENT: &str = "a whole act in one statement";
const ONE_STATEMENT_OR_NOT: &str =
    "a whole act in one statement, which DSQL_WRITE_FORM=statement-per-table does without";

impl Detection {
    /// Asks the server behind `shared`.
    pub(crate) async fn start(wanted: WriteForm, shared: &Shared) -> Result<Self, OpenError> {
        let detection = Self { wanted, found: Mutex::default() };
        let what = match wanted {
            WriteForm::Auto | WriteForm::OneStatement => ONE_STATEMENT_OR_NOT,
            WriteForm::StatementPerTable => "FOR KEY SHARE",
        };
        let found = detection.ask(shared).await;
        let found = found.map_err(|source| OpenError::Unclear { what, source })?;
        match found {
            Found::Known(capabilities) => *detection.found() = Some(capabilities),
            Found::NoSchema => {
                tracing::warn!(
                    "the schema is missing; the first act finds out what the server takes"
                );
            }
            Found::Refused(source) => {
                return Err(OpenError::Refused { what: ONE_STATEMENT, instead: INSTEAD, source });
            }
        }
        Ok(detection)
    }

    /// What the server takes, as far as it is known.
    pub(crate) fn known(&self) -> Option<Capabilities> {
        *self.found()
    }

    /// What the server takes. While the schema is missing, what is wanted: the act will say so.
    ///
    /// # Errors
    /// The server cannot be asked.
    pub(crate) async fn get(&self, shared: &Shared) -> Result<Capabilities, StoreError> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        match self.ask(shared).await? {
            Found::Known(capabilities) => {
                tracing::info!(?capabilities, "the schema exists now");
                *self.found() = Some(capabilities);
                Ok(capabilities)
            }
            Found::NoSchema => Ok(Capabilities {
                one_statement: self.wanted != WriteForm::StatementPerTable,
                key_share: true,
            }),
            Found::Refused(error) => Err(error),
        }
    }

    async fn ask(&self, shared: &Shared) -> Result<Found, StoreError> {
        if self.wanted != WriteForm::StatementPerTable {
            let probe = apply::probe();
            let write = apply::OneStatement::new(&*shared.router, &probe)?;
            match ask(shared, &write.statement()?).await? {
                Verdict::Taken => {
                    return Ok(Found::Known(Capabilities { one_statement: true, key_share: true }));
                }
                Verdict::NoTable => return Ok(Found::NoSchema),
                Verdict::Refused(source) if self.wanted == WriteForm::OneStatement => {
                    return Ok(Found::Refused(source));
                }
                Verdict::Refused(source) => {
                    tracing::info!(
                        reason = %Reasons(&source),
                        "the server refuses {ONE_STATEMENT}; a statement per table is used"
                    );
                }
            }
        }
        let key_share = match ask(shared, &shards::read_lock(apply::NO_SHARD, true)).await? {
            Verdict::Taken => true,
            Verdict::NoTable => return Ok(Found::NoSchema),
            Verdict::Refused(source) => {
                tracing::warn!(
                    reason = %Reasons(&source),
                    "the server refuses FOR KEY SHARE; acts of one shard cannot overlap"
                );
                false
            }
        };
        Ok(Found::Known(Capabilities { one_statement: false, key_share }))
    }

    /// A panic of another holder does not matter: every change is one assignment.
    fn found(&self) -> MutexGuard<'_, Option<Capabilities>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of asking.
enum Found {
    Known(Capabilities),
    NoSchema,
    /// The server refuses the form that the configuration demands.
    Refused(StoreError),
}

/// Sends a statement that finds no row and writes none.
async fn ask(shared: &Shared, probe: &Statement) -> Result<Verdict, StoreError> {
    let answer = shared.runner.retry("ProbeStatements", |attempt| async move {
        let mut connection = shared.pool.get().await?;
        // It changes nothing, so that it is repeated whatever became of it.
        let timeout = shared.statement_timeout;
        probe.clone().run(&mut connection, attempt.number, Phase::Statement, timeout).await
    });
    match answer.await {
        Ok(_) => Ok(Verdict::Taken),
        Err(error) => match sqlstate_of(&error).as_deref() {
            Some(code) if lacks_table(code) => Ok(Verdict::NoTable),
            Some(code) if refuses_text(code) => Ok(Verdict::Refused(error)),
            _ => Err(error),
        },
    }
}

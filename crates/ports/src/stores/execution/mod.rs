//! Executions: created, updated, resolved, read and deleted, each as one act.

mod acts;
mod requests;
mod validate;

use temporal_dsql_domain::{
    CurrentExecutionsFilter, CurrentExecutionsRow, ExecutionsFilter, ExecutionsRow, MapTable, RunId,
};

use super::{
    AppendNodes, CHUNK, HistoryStore, Owner, delete_in_chunks,
    unknown::{self, REPEATS, idempotent},
};
use crate::{ConditionFailed, MutableStateRows, Outcome, Store, StoreError, StoreExt};

pub use requests::{
    ConflictResolve, ConflictResolveMode, CreateExecution, CreateMode, Expected, Mutation,
    SetExecution, Snapshot, UpdateExecution, UpdateMode,
};

/// Temporal's `ExecutionStore`, over any store: what is asked happens entirely or not at all, and
/// only if the asking owner still owns the shard.
///
/// A lost answer to COMMIT is resolved where the rows prove what happened (contract §3.8): the act
/// is then reported as done, or repeated if it is proven not to have been applied. Where they do
/// not, the error says so: [`StoreError::outcome`].
#[derive(Clone, Debug)]
pub struct ExecutionStore<S> {
    store: S,
}

impl<S: Store> ExecutionStore<S> {
    /// The executions of `store`.
    pub const fn new(store: S) -> Self {
        Self { store }
    }

    /// Creates an execution.
    ///
    /// # Errors
    /// [`ConditionFailed::CurrentExecution`] with the row that is in the way, also if two creators
    /// race; [`ConditionFailed::ExecutionExists`]; [`ConditionFailed::ShardOwnershipLost`];
    /// [`StoreError::InvalidArgument`] if state and mode do not go together; and those of the store.
    pub async fn create(&self, request: &CreateExecution) -> Result<(), StoreError> {
        validate::create(request)?;
        self.append(&request.snapshot.events).await?;
        let mut number = 0;
        loop {
            number += 1;
            match self.store.run("CreateWorkflowExecution", request, acts::create).await {
                Err(lost) if lost.outcome() == Outcome::Unknown => {
                    unknown::settle(&self.store, request.owner.shard_id, &lost).await?;
                    // Run ids are unique: a run that is there is the one that this act created. One
                    // that is absent was not, because nobody deletes a run that nobody has
                    // been told of.
                    if self.proof(&request.snapshot.execution, &lost).await?.is_some() {
                        return Ok(());
                    }
                    if number == REPEATS {
                        return Err(unknown::not_applied(lost));
                    }
                }
                result => return result,
            }
        }
    }

    /// Updates an execution, and creates the next run if there is one.
    ///
    /// # Errors
    /// [`ConditionFailed::CurrentExecution`], [`ConditionFailed::Execution`] with the versions that
    /// the run is at, [`ConditionFailed::ExecutionExists`] for the next run,
    /// [`ConditionFailed::ShardOwnershipLost`]; [`StoreError::InvalidArgument`] if states and mode
    /// do not go together; and those of the store.
    pub async fn update(&self, request: &UpdateExecution) -> Result<(), StoreError> {
        validate::update(request)?;
        self.append(&request.mutation.events).await?;
        if let Some(new) = &request.new {
            self.append(&new.events).await?;
        }
        let Mutation { execution, expected, .. } = &request.mutation;
        self.proven(request.owner, execution, *expected, || {
            self.store.run("UpdateWorkflowExecution", request, acts::update)
        })
        .await
    }

    /// Resolves a replication conflict.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn conflict_resolve(&self, request: &ConflictResolve) -> Result<(), StoreError> {
        validate::conflict_resolve(request)?;
        self.append(&request.reset.events).await?;
        if let Some(current) = &request.current {
            self.append(&current.events).await?;
        }
        if let Some(new) = &request.new {
            self.append(&new.events).await?;
        }
        const OP: &str = "ConflictResolveWorkflowExecution";
        self.proven(request.owner, &request.reset.execution, request.expected, || {
            self.store.run(OP, request, acts::conflict_resolve)
        })
        .await
    }

    /// Replaces an execution, whatever the current one is.
    ///
    /// # Errors
    /// [`ConditionFailed::Execution`], [`ConditionFailed::ShardOwnershipLost`], and those of the
    /// store.
    pub async fn set(&self, request: &SetExecution) -> Result<(), StoreError> {
        validate::set(request)?;
        self.append(&request.snapshot.events).await?;
        const OP: &str = "SetWorkflowExecution";
        self.proven(request.owner, &request.snapshot.execution, request.expected, || {
            self.store.run(OP, request, acts::set)
        })
        .await
    }

    /// Reads everything that is stored for one run, as of one moment.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get(
        &self,
        run: &ExecutionsFilter,
    ) -> Result<Option<MutableStateRows>, StoreError> {
        self.store.session().select_mutable_state(run).await
    }

    /// Reads the current execution of an id.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get_current(
        &self,
        id: &CurrentExecutionsFilter,
    ) -> Result<Option<CurrentExecutionsRow>, StoreError> {
        self.store.session().select_from_current_executions(id).await
    }

    /// Deletes everything that is stored for one run; one that is gone is no error. The current
    /// execution and the history stay.
    ///
    /// One act; only a run with more rows than a transaction may delete (facts §2) is deleted in
    /// several, its `executions` row last, so that deleting again finishes what ended early.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn delete(&self, run: &ExecutionsFilter) -> Result<(), StoreError> {
        match self.delete_at_once(run).await {
            Err(StoreError::Limit { .. }) => {}
            result => return result,
        }
        let mut session = self.store.session();
        for map in MapTable::ALL {
            delete_in_chunks!(session.delete_all_from_map(run, map, Some(CHUNK)));
        }
        delete_in_chunks!(session.delete_from_buffered_events(run, Some(CHUNK)));
        // With whatever was written meanwhile.
        self.delete_at_once(run).await
    }

    /// Deletes a run in one transaction. Doing so again deletes nothing more: run ids are unique.
    async fn delete_at_once(&self, run: &ExecutionsFilter) -> Result<(), StoreError> {
        let deleted = if self.store.writes_in_one_statement() {
            let mut session = self.store.session();
            idempotent!(session.delete_mutable_state(run))
        } else {
            idempotent!(self.store.run("DeleteWorkflowExecution", run, |transaction, run| {
                Box::pin(async move { transaction.delete_mutable_state(run).await })
            }))
        };
        deleted.map(drop)
    }

    /// Deletes the current execution of an id if it is `run_id`; another one stays, and none is no
    /// error.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn delete_current(
        &self,
        id: &CurrentExecutionsFilter,
        run_id: RunId,
    ) -> Result<(), StoreError> {
        let mut session = self.store.session();
        // The run is named, so deleting again cannot hit another one.
        idempotent!(session.delete_from_current_executions(id, run_id)).map(drop)
    }

    /// Appends the events of an act, before its transaction begins.
    ///
    /// If this fails the act is not applied, also where it is unknown whether a batch was stored: no
    /// execution refers to that batch, and appending it again stores it once.
    async fn append(&self, events: &[AppendNodes]) -> Result<(), StoreError> {
        let history = HistoryStore::new(&self.store);
        for nodes in events {
            history.append(nodes).await.map_err(unknown::not_applied)?;
        }
        Ok(())
    }

    /// The run of `row` as it is now. If it cannot be read, nothing is proven.
    async fn proof(
        &self,
        row: &ExecutionsRow,
        lost: &StoreError,
    ) -> Result<Option<ExecutionsRow>, StoreError> {
        let read = self.store.session().select_from_executions(&row.filter()).await;
        read.map_err(|_| lost.clone())
    }

    /// Does an act on a run that exists, and resolves a lost answer by that run's row.
    async fn proven<F>(
        &self,
        owner: Owner,
        written: &ExecutionsRow,
        expected: Expected,
        act: impl Fn() -> F,
    ) -> Result<(), StoreError>
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        let mut number = 0;
        loop {
            number += 1;
            match act().await {
                Err(lost) if lost.outcome() == Outcome::Unknown => {
                    // A version that stays as it was proves nothing.
                    if expected.holds(&written.version()) {
                        return Err(lost);
                    }
                    unknown::settle(&self.store, owner.shard_id, &lost).await?;
                    match self.proof(written, &lost).await? {
                        Some(found) if found == *written => return Ok(()),
                        // Still as it was before: not applied, and it never will be.
                        Some(found) if expected.holds(&found.version()) => {
                            if number == REPEATS {
                                return Err(unknown::not_applied(lost));
                            }
                        }
                        // Somebody has written it since, on top of this act or instead of it.
                        _ => return Err(lost),
                    }
                }
                result => return result,
            }
        }
    }
}

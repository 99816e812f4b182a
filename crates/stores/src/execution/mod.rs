//! Executions: created, updated, resolved, read and deleted, each as one act.

mod requests;
mod validate;
mod write_sets;

use std::time::Duration;

use temporal_dsql_domain::{
    CurrentExecutionsFilter, CurrentExecutionsRow, ExecutionsFilter, ExecutionsRow, MapTable, RunId,
};
use temporal_dsql_ports::limits::LimitKind;

use super::{
    AppendNodes, CHUNK, HistoryStore, delete_in_chunks,
    unknown_commit::{self, idempotent},
};
#[cfg(doc)]
use temporal_dsql_ports::ConditionFailed;
use temporal_dsql_ports::{
    Expected, MutableStateRows, Outcome, RunChange, Store, StoreError, Within, WriteSet,
};

pub use requests::{
    ConflictResolve, ConflictResolveMode, CreateExecution, CreateMode, Mutation, SetExecution,
    Snapshot, UpdateExecution, UpdateMode,
};

/// Temporal's `ExecutionStore`, over any store: what is asked happens entirely or not at all, and
/// only if the asking owner still owns the shard.
///
/// A lost answer is resolved where the row that the act wrote proves that it was applied
/// (temporal-persistence.md#retries). Where it does not, the outcome stays unknown
/// ([`StoreError::outcome`]): the act may still arrive, until another owner takes the shard over.
#[derive(Clone, Debug)]
pub struct ExecutionStore<S> {
    store: S,
}

impl<S: Store> ExecutionStore<S> {
    /// The executions of `store`.
    pub const fn new(store: S) -> Self {
        Self { store }
    }

    /// The same store for acts that end within `limit` from now. They count against it together:
    /// call this for each act, or once for all acts of a request.
    ///
    /// An act that is ended is [`StoreError::Unavailable`], and says by [`StoreError::outcome`]
    /// whether it may have been applied ([`Within`]).
    pub fn within(&self, limit: Duration) -> ExecutionStore<Within<&S>> {
        ExecutionStore::new(Within::new(&self.store, limit))
    }

    /// Creates an execution.
    ///
    /// # Errors
    /// [`ConditionFailed::CurrentExecution`] with the row that is in the way, also if two creators
    /// race; [`ConditionFailed::ExecutionExists`]; [`ConditionFailed::ShardOwnershipLost`];
    /// [`StoreError::InvalidArgument`], before anything is stored, if state and mode or the parts of
    /// the request do not go together; and those of the store.
    pub async fn create(&self, request: &CreateExecution) -> Result<(), StoreError> {
        validate::create(request)?;
        let created = self.apply(write_sets::create(request), &[&request.snapshot.events]).await;
        let new = &request.snapshot.execution;
        // Another attempt with the same run id may have stored another row, which is no proof; a
        // later version is, because only the run's owner writes it, after it knows of the creation.
        let is_proof =
            |found: &ExecutionsRow| found == new || found.db_record_version > new.db_record_version;
        self.resolve(created, new, is_proof).await
    }

    /// Updates an execution, and creates the next run if there is one.
    ///
    /// # Errors
    /// [`ConditionFailed::CurrentExecution`], [`ConditionFailed::Execution`] with the versions that
    /// the run is at, [`ConditionFailed::ExecutionExists`] for the next run,
    /// [`ConditionFailed::ShardOwnershipLost`]; [`StoreError::InvalidArgument`], before anything is
    /// stored, if states and mode or the parts of the request do not go together; and those of the
    /// store.
    pub async fn update(&self, request: &UpdateExecution) -> Result<(), StoreError> {
        validate::update(request)?;
        let UpdateExecution { mutation, new, .. } = request;
        let updated =
            self.apply(write_sets::update(request), &[&mutation.events, events(new)]).await;
        self.resolve_version(updated, &mutation.execution, mutation.expected).await
    }

    /// Resolves a replication conflict.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn conflict_resolve(&self, request: &ConflictResolve) -> Result<(), StoreError> {
        validate::conflict_resolve(request)?;
        let ConflictResolve { reset, expected, new, current, .. } = request;
        let of_current = current.as_ref().map_or(&[][..], |current| &current.events);
        let all = [&reset.events, of_current, events(new)];
        let resolved = self.apply(write_sets::conflict_resolve(request), &all).await;
        self.resolve_version(resolved, &reset.execution, *expected).await
    }

    /// Replaces an execution, whatever the current one is.
    ///
    /// # Errors
    /// [`ConditionFailed::Execution`], [`ConditionFailed::ShardOwnershipLost`];
    /// [`StoreError::InvalidArgument`] as for [`update`](Self::update); and those of the store.
    pub async fn set(&self, request: &SetExecution) -> Result<(), StoreError> {
        validate::set(request)?;
        let SetExecution { snapshot, expected, .. } = request;
        let set = self.apply(write_sets::set(request), &[&snapshot.events]).await;
        self.resolve_version(set, &snapshot.execution, *expected).await
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
    /// One act; only a run with more rows than a transaction may delete (aurora-dsql.md#limits) is
    /// deleted in several, its `executions` row last, so that deleting again finishes what ended
    /// early.
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

    /// Deletes a run as one act. Doing so again deletes nothing more: run ids are unique.
    async fn delete_at_once(&self, run: &ExecutionsFilter) -> Result<(), StoreError> {
        let mut set = WriteSet::new("DeleteWorkflowExecution", run.shard_id);
        set.runs.push(RunChange::Delete(run));
        idempotent!(self.store.apply(&set))
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

    /// Applies an act together with its history; `events` is what `set.history` is made of.
    ///
    /// If both are more than a transaction may hold, the batches are appended first, each in a
    /// transaction of its own: a batch that no mutable state points at does no harm, and appending
    /// it again changes nothing.
    async fn apply(
        &self,
        mut set: WriteSet<'_>,
        events: &[&[AppendNodes]],
    ) -> Result<(), StoreError> {
        match self.store.apply(&set).await {
            Err(StoreError::Limit {
                kind: LimitKind::TransactionRows | LimitKind::TransactionBytes,
                ..
            }) if !set.history.is_empty() => {}
            result => return result,
        }
        let history = HistoryStore::new(&self.store);
        for batches in events {
            for batch in *batches {
                // No execution refers to the batch, whatever became of it: the act is not applied.
                history.append(batch).await.map_err(unknown_commit::not_applied)?;
            }
        }
        set.history.clear();
        self.store.apply(&set).await
    }

    /// Resolves a lost answer by the row that the act wrote, if the row proves that it did.
    ///
    /// If the row does not, the outcome stays unknown: a statement or COMMIT whose answer is lost
    /// may still be under way, and takes effect until another owner takes the shard over.
    async fn resolve(
        &self,
        result: Result<(), StoreError>,
        written: &ExecutionsRow,
        is_proof: impl Fn(&ExecutionsRow) -> bool,
    ) -> Result<(), StoreError> {
        let Err(lost) = result else { return Ok(()) };
        if lost.outcome() != Outcome::Unknown {
            return Err(lost);
        }
        match self.store.session().select_from_executions(&written.filter()).await {
            Ok(Some(found)) if is_proof(&found) => Ok(()),
            _ => Err(lost),
        }
    }

    /// [`resolve`](Self::resolve) for an act on a run that existed: the row is proof if it is as
    /// the act wrote it, unless it may have been so before.
    async fn resolve_version(
        &self,
        result: Result<(), StoreError>,
        written: &ExecutionsRow,
        expected: Expected,
    ) -> Result<(), StoreError> {
        let changes = !expected.holds(&written.version());
        self.resolve(result, written, |found| changes && found == written).await
    }
}

/// The history of the next run, if there is one.
fn events(new: &Option<Snapshot>) -> &[AppendNodes] {
    new.as_ref().map_or(&[], |new| &new.events)
}

//! The execution store: creates, updates, reads and deletes executions.

mod requests;
mod validate;
mod write_sets;

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
    Expected, MutableStateRows, RunChange, Store, StoreError, Within, WriteSet,
};

pub use requests::{
    ConflictResolve, ConflictResolveMode, CreateExecution, CreateMode, Mutation, SetExecution,
    Snapshot, UpdateExecution, UpdateMode,
};

define_store! {
    /// Temporal's `ExecutionStore`, over any store. Each write is applied entirely or not at all, and
    /// only if the caller owns the shard.
    ///
    /// If the answer to a write is lost, the written row is read. If it proves that the write was
    /// applied, success is returned (temporal-persistence.md#retries). Otherwise the outcome stays
    /// unknown ([`StoreError::outcome`]): the write may take effect until the next takeover of the shard.
    ///
    /// # Example
    /// ```
    /// # use temporal_dsql_domain::{ArchetypeId, CurrentExecutionsRow, DataBlob, ExecutionState, ExecutionStatus, ExecutionsRow, RequestId, ShardId, ShardsRow, Tasks, WorkflowId};
    /// # use temporal_dsql_memory::MemoryStore;
    /// # use temporal_dsql_ports::{ConditionFailed, StoreError};
    /// # use temporal_dsql_stores::{CreateExecution, CreateMode, ExecutionStore, Owner, ShardStore, Snapshot};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = MemoryStore::new();
    /// let owner = Owner { shard_id: ShardId(1), range_id: 7 };
    /// let shard = ShardsRow { shard_id: ShardId(1), range_id: 7, data: DataBlob::proto3(*b"ShardInfo") };
    /// ShardStore::new(&store).get_or_create(&shard).await?;
    ///
    /// let execution = ExecutionsRow {
    ///     shard_id: owner.shard_id,
    ///     namespace_id: "32049b68-7872-4094-8e63-d0dd59896a83".parse()?,
    ///     workflow_id: WorkflowId::new("nightly-report")?,
    ///     run_id: "01a20632-c72c-759f-9d04-cfcdf4e443e1".parse()?,
    ///     next_event_id: 1,
    ///     last_write_version: 0,
    ///     data: DataBlob::proto3(*b"WorkflowExecutionInfo"),
    ///     state: DataBlob::proto3(*b"WorkflowExecutionState"),
    ///     db_record_version: 1,
    /// };
    /// // The archetype is part of the current execution, and selects its table.
    /// let current = CurrentExecutionsRow::of(
    ///     &execution,
    ///     ArchetypeId::SCHEDULER,
    ///     RequestId::new("request-1")?,
    ///     (ExecutionState::Running, ExecutionStatus::Running),
    ///     None,
    /// );
    /// let snapshot = Snapshot {
    ///     execution: execution.clone(),
    ///     current: current.clone(),
    ///     maps: Vec::new(),
    ///     tasks: Tasks::default(),
    ///     events: Vec::new(),
    /// };
    /// let executions = ExecutionStore::new(&store);
    /// let request = CreateExecution { owner, mode: CreateMode::BrandNew, snapshot };
    /// executions.create(&request).await?;
    /// let again = executions.create(&request).await.unwrap_err();
    /// assert!(matches!(again, StoreError::Condition(ConditionFailed::CurrentExecution { .. })));
    ///
    /// let read = executions.get(&execution.filter()).await?.expect("it is stored");
    /// assert_eq!(read.execution, execution);
    /// assert_eq!(executions.get_current(&current.filter()).await?, Some(current.clone()));
    ///
    /// executions.delete_current(&current.filter(), execution.run_id).await?;
    /// executions.delete(&execution.filter()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ExecutionStore
}

impl<S: Store> ExecutionStore<S> {
    /// Creates an execution.
    ///
    /// # Errors
    /// [`ConditionFailed::CurrentExecution`] with the stored row, also if another session creates the
    /// execution at the same time; [`ConditionFailed::ExecutionExists`];
    /// [`ConditionFailed::ShardOwnershipLost`]; [`StoreError::InvalidArgument`], before anything is
    /// written, if the state does not fit the mode or the parts of the request are inconsistent; and
    /// those of the store.
    pub async fn create(&self, request: &CreateExecution) -> Result<(), StoreError> {
        validate::create(request)?;
        let created = self.apply(write_sets::create(request), &[&request.snapshot.events]).await;
        let new = &request.snapshot.execution;
        // A different row may come from another attempt with the same run id.
        self.resolve(created, new, |found| found == new).await
    }

    /// Updates an execution, and creates the next run if there is one.
    ///
    /// # Errors
    /// [`ConditionFailed::CurrentExecution`], [`ConditionFailed::Execution`] with the stored versions
    /// of the run, [`ConditionFailed::ExecutionExists`] for the next run,
    /// [`ConditionFailed::ShardOwnershipLost`]; [`StoreError::InvalidArgument`], before anything is
    /// written, if the states do not fit the mode or the parts of the request are inconsistent; and
    /// those of the store.
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

    /// Replaces all rows of a run, without a condition on the current execution.
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

    /// Reads all rows of one run from one snapshot; `None` if the run does not exist.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get(
        &self,
        run: &ExecutionsFilter,
    ) -> Result<Option<MutableStateRows>, StoreError> {
        self.store.session().select_mutable_state(run).await
    }

    /// Reads the current execution of an id; `None` if it has none.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get_current(
        &self,
        id: &CurrentExecutionsFilter,
    ) -> Result<Option<CurrentExecutionsRow>, StoreError> {
        self.store.session().select_from_current_executions(id).await
    }

    /// Deletes all rows of one run, but not the current execution and the history. An absent run is
    /// not an error.
    ///
    /// It is one transaction, unless the run has more rows than a transaction may delete
    /// (aurora-dsql.md#limits). Then several transactions delete them, the `executions` row last.
    /// After an error, deleting again completes the deletion.
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
        // Including rows that were written in the meantime.
        self.delete_at_once(run).await
    }

    /// Deletes a run in one transaction. It is idempotent: run ids are unique.
    async fn delete_at_once(&self, run: &ExecutionsFilter) -> Result<(), StoreError> {
        let mut set = WriteSet::new("DeleteWorkflowExecution", run.shard_id);
        set.runs.push(RunChange::Delete(run));
        idempotent!(self.store.apply(&set))
    }

    /// Deletes the current execution of an id if its run is `run_id`. Another run is not deleted, and
    /// an absent row is not an error.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn delete_current(
        &self,
        id: &CurrentExecutionsFilter,
        run_id: RunId,
    ) -> Result<(), StoreError> {
        let mut session = self.store.session();
        // Idempotent, because the run is part of the condition.
        idempotent!(session.delete_from_current_executions(id, run_id)).map(drop)
    }

    /// Applies a write set together with its history. `set.history` is made of `events`.
    ///
    /// If both together exceed the limits of a transaction, the batches are appended first, each in a
    /// transaction of its own. Appending is idempotent, and a batch that no mutable state refers to
    /// has no effect.
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
                // The write set is not applied, so no execution refers to the batch.
                history.append(batch).await.map_err(unknown_commit::as_not_applied)?;
            }
        }
        set.history.clear();
        self.store.apply(&set).await
    }

    /// Resolves an unknown outcome: reads the written row and returns success if it proves the write.
    ///
    /// Otherwise the outcome stays unknown: a statement or COMMIT whose answer is lost may take
    /// effect until another owner takes the shard over.
    async fn resolve(
        &self,
        result: Result<(), StoreError>,
        written: &ExecutionsRow,
        is_proof: impl Fn(&ExecutionsRow) -> bool,
    ) -> Result<(), StoreError> {
        let Err(error) = result else { return Ok(()) };
        if !error.can_be_proved() {
            return Err(error);
        }
        match self.store.session().select_from_executions(&written.filter()).await {
            Ok(Some(found)) if is_proof(&found) => Ok(()),
            _ => Err(error),
        }
    }

    /// [`resolve`](Self::resolve) for a write of an existing run. The row proves the write if it
    /// equals the written row and the write changes the version.
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

//! The bodies of the acts: lock, compare, write.

use temporal_dsql_domain::{ExecutionState, ExecutionsRow, RunId, Table};

use super::{
    ConditionFailed, ConflictResolve, ConflictResolveMode, CreateExecution, CreateMode, Expected,
    Mutation, SetExecution, Snapshot, UpdateExecution, UpdateMode,
};
use crate::{
    BoxFuture, BufferedWrite, Cause, CurrentWrite, ExecutionWrite, Locked, Locks, RunWrite,
    StoreError, Transaction, Written,
};

type Act<'t> = BoxFuture<'t, Result<(), StoreError>>;

pub(super) fn create<'t>(tx: &'t mut dyn Transaction, request: &'t CreateExecution) -> Act<'t> {
    Box::pin(async move {
        const OP: &str = "CreateWorkflowExecution";
        let CreateExecution { owner, mode, snapshot } = request;
        let execution = &snapshot.execution;
        let previous = match mode {
            CreateMode::UpdateCurrent { previous_run_id, .. } => Some(*previous_run_id),
            CreateMode::BrandNew | CreateMode::BypassCurrent => None,
        };
        let locks = Locks {
            shard_id: owner.shard_id,
            current: Some(snapshot.current.filter()),
            runs: previous
                .map(|run_id| temporal_dsql_domain::ExecutionsFilter {
                    run_id,
                    ..execution.filter()
                })
                .into_iter()
                .collect(),
        };
        let locked = tx.lock_for_write(&locks).await?;
        owner.check(locked.range_id)?;
        let is_as_expected = match (mode, &locked.current) {
            (CreateMode::BrandNew, current) => current.is_none(),
            (CreateMode::UpdateCurrent { .. }, None) => false,
            (
                CreateMode::UpdateCurrent { previous_run_id, previous_last_write_version },
                Some(current),
            ) => {
                current.run_id == *previous_run_id
                    && current.state == ExecutionState::Completed
                    && locked.run(*previous_run_id).is_some_and(|version| {
                        version.last_write_version == *previous_last_write_version
                    })
            }
            (CreateMode::BypassCurrent, current) => {
                current.as_ref().is_none_or(|current| current.run_id != execution.run_id)
            }
        };
        if !is_as_expected {
            return Err(not_current(tx, &locked).await);
        }
        let current = match mode {
            CreateMode::BrandNew => Some(CurrentWrite::Insert(snapshot.current.clone())),
            CreateMode::UpdateCurrent { .. } => {
                Some(CurrentWrite::Update(snapshot.current.clone()))
            }
            CreateMode::BypassCurrent => None,
        };
        write(tx, OP, as_new(snapshot, current)).await
    })
}

pub(super) fn update<'t>(tx: &'t mut dyn Transaction, request: &'t UpdateExecution) -> Act<'t> {
    Box::pin(async move {
        const OP: &str = "UpdateWorkflowExecution";
        let UpdateExecution { owner, mode, mutation, new } = request;
        let run_id = mutation.execution.run_id;
        let locks = Locks {
            shard_id: owner.shard_id,
            current: match mode {
                UpdateMode::UpdateCurrent | UpdateMode::BypassCurrent => {
                    Some(mutation.current.filter())
                }
                UpdateMode::IgnoreCurrent => None,
            },
            runs: vec![mutation.execution.filter()],
        };
        let locked = tx.lock_for_write(&locks).await?;
        owner.check(locked.range_id)?;
        let current = match mode {
            UpdateMode::UpdateCurrent => {
                current_must_be(tx, &locked, run_id).await?;
                let row = new.as_ref().map_or(&mutation.current, |new| &new.current);
                Some(CurrentWrite::Update(row.clone()))
            }
            UpdateMode::BypassCurrent => {
                current_must_not_be(tx, &locked, run_id).await?;
                None
            }
            UpdateMode::IgnoreCurrent => None,
        };
        version_must_be(&locked, &mutation.execution, mutation.expected)?;
        write(tx, OP, as_mutation(mutation, current)).await?;
        match new {
            Some(new) => write(tx, OP, as_new(new, None)).await,
            None => Ok(()),
        }
    })
}

pub(super) fn conflict_resolve<'t>(
    tx: &'t mut dyn Transaction,
    request: &'t ConflictResolve,
) -> Act<'t> {
    Box::pin(async move {
        const OP: &str = "ConflictResolveWorkflowExecution";
        let ConflictResolve { owner, mode, reset, expected, new, current } = request;
        let mut runs = vec![reset.execution.filter()];
        runs.extend(current.iter().map(|mutation| mutation.execution.filter()));
        let locks = Locks { shard_id: owner.shard_id, current: Some(reset.current.filter()), runs };
        let locked = tx.lock_for_write(&locks).await?;
        owner.check(locked.range_id)?;
        let current_write = match mode {
            ConflictResolveMode::UpdateCurrent => {
                let was = current.as_ref().map_or(&reset.execution, |mutation| &mutation.execution);
                current_must_be(tx, &locked, was.run_id).await?;
                let row = new.as_ref().map_or(&reset.current, |new| &new.current);
                Some(CurrentWrite::Update(row.clone()))
            }
            ConflictResolveMode::BypassCurrent => {
                current_must_not_be(tx, &locked, reset.execution.run_id).await?;
                None
            }
        };
        version_must_be(&locked, &reset.execution, *expected)?;
        if let Some(mutation) = current {
            version_must_be(&locked, &mutation.execution, mutation.expected)?;
        }
        write(tx, OP, as_reset(reset, current_write)).await?;
        if let Some(mutation) = current {
            write(tx, OP, as_mutation(mutation, None)).await?;
        }
        match new {
            Some(new) => write(tx, OP, as_new(new, None)).await,
            None => Ok(()),
        }
    })
}

pub(super) fn set<'t>(tx: &'t mut dyn Transaction, request: &'t SetExecution) -> Act<'t> {
    Box::pin(async move {
        let SetExecution { owner, snapshot, expected } = request;
        let locks = Locks {
            shard_id: owner.shard_id,
            current: None,
            runs: vec![snapshot.execution.filter()],
        };
        let locked = tx.lock_for_write(&locks).await?;
        owner.check(locked.range_id)?;
        version_must_be(&locked, &snapshot.execution, *expected)?;
        write(tx, "SetWorkflowExecution", as_reset(snapshot, None)).await
    })
}

/// The condition that failed, with the current execution as Temporal tells it: its last write
/// version is that of its run, which has moved on if the run was written without it (contract
/// §3.2).
async fn not_current(tx: &mut dyn Transaction, locked: &Locked) -> StoreError {
    let mut observed = locked.current.clone();
    if let Some(current) = &mut observed {
        let version = match locked.run(current.run_id) {
            Some(version) => Some(version.last_write_version),
            None => match tx.select_from_executions(&current.executions_filter()).await {
                Ok(run) => run.map(|run| run.last_write_version),
                Err(error) => return error,
            },
        };
        current.last_write_version = version.unwrap_or(current.last_write_version);
    }
    ConditionFailed::CurrentExecution { observed: observed.map(Box::new) }.into()
}

async fn current_must_be(
    tx: &mut dyn Transaction,
    locked: &Locked,
    run_id: RunId,
) -> Result<(), StoreError> {
    match &locked.current {
        Some(current) if current.run_id == run_id => Ok(()),
        _ => Err(not_current(tx, locked).await),
    }
}

async fn current_must_not_be(
    tx: &mut dyn Transaction,
    locked: &Locked,
    run_id: RunId,
) -> Result<(), StoreError> {
    match &locked.current {
        Some(current) if current.run_id == run_id => Err(not_current(tx, locked).await),
        _ => Ok(()),
    }
}

fn version_must_be(
    locked: &Locked,
    execution: &ExecutionsRow,
    expected: Expected,
) -> Result<(), StoreError> {
    let observed = locked.run(execution.run_id);
    if observed.is_some_and(|version| expected.holds(&version)) {
        return Ok(());
    }
    Err(ConditionFailed::Execution { run_id: execution.run_id, observed }.into())
}

fn as_new(snapshot: &Snapshot, current: Option<CurrentWrite>) -> ExecutionWrite {
    ExecutionWrite {
        run: RunWrite::Insert(snapshot.execution.clone()),
        current,
        maps: snapshot.new_maps(),
        buffered: BufferedWrite::default(),
        tasks: snapshot.tasks.clone(),
    }
}

fn as_reset(snapshot: &Snapshot, current: Option<CurrentWrite>) -> ExecutionWrite {
    ExecutionWrite {
        run: RunWrite::Update(snapshot.execution.clone()),
        current,
        maps: snapshot.reset_maps(),
        buffered: BufferedWrite { clear: true, append: Vec::new() },
        tasks: snapshot.tasks.clone(),
    }
}

fn as_mutation(mutation: &Mutation, current: Option<CurrentWrite>) -> ExecutionWrite {
    ExecutionWrite {
        run: RunWrite::Update(mutation.execution.clone()),
        current,
        maps: mutation.maps.clone(),
        buffered: mutation.buffered.clone(),
        tasks: mutation.tasks.clone(),
    }
}

/// Writes one run, and makes sure that the rows were written that were locked before.
async fn write(
    tx: &mut dyn Transaction,
    op: &'static str,
    write: ExecutionWrite,
) -> Result<(), StoreError> {
    let is_new_current = matches!(write.current, Some(CurrentWrite::Insert(_)));
    let run_id = match &write.run {
        RunWrite::Insert(row) | RunWrite::Update(row) => row.run_id,
    };
    let written = tx.write_execution(&write).await.map_err(|error| match error {
        StoreError::AlreadyExists { table: Table::Executions, .. } => {
            ConditionFailed::ExecutionExists { run_id }.into()
        }
        // The lock has shown that the id has no current execution: it comes from a concurrent
        // creator. An id of a buffered event is random in part: the next attempt draws another.
        StoreError::AlreadyExists {
            table: Table::CurrentExecutions | Table::CurrentChasmExecutions | Table::BufferedEvents,
            ..
        } => error.duplicate_is_conflict(op),
        other => other,
    })?;
    let expected = Written {
        run: 1,
        current: u64::from(write.current.is_some()),
        tasks: write.tasks.len() as u64,
    };
    if written == expected {
        return Ok(());
    }
    // Locked rows cannot be gone; a current execution that is new was inserted or refused.
    debug_assert!(!is_new_current || written.current == 1);
    Err(StoreError::Corrupt {
        table: Table::Executions,
        column: "run_id",
        source: Some(Cause::new(format!(
            "{op} wrote {written:?} for run {run_id}, where {expected:?} was to be written"
        ))),
    })
}

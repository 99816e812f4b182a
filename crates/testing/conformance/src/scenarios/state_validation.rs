//! The states that each mode allows (temporal-persistence.md#modes), in every combination, and the
//! consistency of a request's rows: an invalid request is refused before anything is sent.

use temporal_dsql_domain::ExecutionState::{self, Completed, Created, Running, Zombie};
use temporal_dsql_ports::StoreError;
use temporal_dsql_stores::{
    ConflictResolve, ConflictResolveMode, CreateMode, Expected, SetExecution, Snapshot,
    UpdateExecution, UpdateMode,
};

use crate::{
    context::{TestContext, owned_shard::OwnedShard},
    scenario::scenario_table,
};

scenario_table! { "state_validation":
    creating_allows_only_the_states_of_its_mode;
    updating_allows_only_the_states_of_its_mode;
    resolving_allows_only_the_states_of_its_mode;
    a_status_that_contradicts_the_state_is_refused;
    rows_of_different_runs_are_refused;
    a_record_version_that_does_not_follow_is_refused;
    a_refused_request_appends_no_history;
}

const STATES: [ExecutionState; 4] = [Created, Running, Completed, Zombie];

/// Whether a request was refused as invalid.
fn is_invalid(result: &Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::InvalidArgument { .. }))
}

async fn creating_allows_only_the_states_of_its_mode(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let reuse =
        CreateMode::UpdateCurrent { previous_run_id: ctx.run_id(), previous_last_write_version: 0 };
    for (mode, forbidden) in [
        (CreateMode::BrandNew, &[Zombie][..]),
        (reuse, &[Zombie]),
        (CreateMode::BypassCurrent, &[Created, Running]),
    ] {
        for state in STATES {
            let result = shard.create(mode, &shard.new_run(state)).await;
            assert_eq!(is_invalid(&result), forbidden.contains(&state), "{mode:?} {state}");
        }
    }
}

async fn updating_allows_only_the_states_of_its_mode(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let open = [Created, Running];
    for mode in [UpdateMode::UpdateCurrent, UpdateMode::BypassCurrent, UpdateMode::IgnoreCurrent] {
        for state in STATES {
            for new_state in [None].into_iter().chain(STATES.map(Some)) {
                let run = shard.new_run(Created);
                let mutation = shard.mutation(&run, state);
                let new = new_state.map(|new| shard.snapshot(&shard.next_run(&run.current, new)));
                let is_allowed = match (mode, new_state) {
                    (UpdateMode::UpdateCurrent, None) => state != Zombie,
                    (UpdateMode::UpdateCurrent, Some(new)) => {
                        !open.contains(&state) && new != Zombie
                    }
                    (UpdateMode::BypassCurrent, None) => !open.contains(&state),
                    (UpdateMode::BypassCurrent, Some(new)) => {
                        !open.contains(&state) && !open.contains(&new)
                    }
                    (UpdateMode::IgnoreCurrent, new) => new.is_none(),
                };
                let result = shard.update(mode, &mutation, new.as_ref()).await;
                assert_eq!(!is_invalid(&result), is_allowed, "{mode:?} {state} {new_state:?}");
            }
        }
    }
}

async fn resolving_allows_only_the_states_of_its_mode(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let open = [Created, Running];
    let some_or_none = || [None].into_iter().chain(STATES.map(Some));
    for mode in [ConflictResolveMode::UpdateCurrent, ConflictResolveMode::BypassCurrent] {
        for reset in STATES {
            for new in some_or_none() {
                for current in some_or_none() {
                    let is_allowed = match mode {
                        ConflictResolveMode::UpdateCurrent => {
                            let followed =
                                new.is_none_or(|new| !open.contains(&reset) && new != Zombie);
                            reset != Zombie
                                && followed
                                && current.is_none_or(|current| !open.contains(&current))
                        }
                        ConflictResolveMode::BypassCurrent => {
                            let followed = new.is_none_or(|new| reset != Zombie && new == Zombie);
                            !open.contains(&reset) && followed && current.is_none()
                        }
                    };
                    let request = resolve(&shard, mode, reset, new, current);
                    let result = shard.executions.conflict_resolve(&request).await;
                    assert_eq!(
                        !is_invalid(&result),
                        is_allowed,
                        "{mode:?} {reset} {new:?} {current:?}: {result:?}"
                    );
                }
            }
        }
    }
}

/// A conflict of runs in these states, none of which is stored.
fn resolve(
    shard: &OwnedShard<'_>,
    mode: ConflictResolveMode,
    reset: ExecutionState,
    new: Option<ExecutionState>,
    current: Option<ExecutionState>,
) -> ConflictResolve {
    let base = shard.new_run(Zombie);
    let next = |state| shard.snapshot(&shard.next_run(&base.current, state));
    ConflictResolve {
        owner: shard.owner,
        mode,
        reset: shard.reset(&base, reset),
        expected: Expected::RecordVersion(base.execution.db_record_version),
        new: new.map(next),
        current: current.map(|state| shard.mutation(&next(Created), state)),
    }
}

async fn a_status_that_contradicts_the_state_is_refused(ctx: &TestContext) {
    use temporal_dsql_domain::ExecutionStatus;

    let shard = ctx.owned_shard().await;
    for (state, status) in [
        (Created, ExecutionStatus::Completed),
        (Running, ExecutionStatus::Failed),
        (Completed, ExecutionStatus::Running),
    ] {
        let mut new = shard.new_run(state);
        new.current.status = status;
        assert!(is_invalid(&shard.create(CreateMode::BrandNew, &new).await), "{state} {status}");
        let mut mutation = shard.mutation(&new, state);
        mutation.current.status = status;
        let result = shard.update(UpdateMode::IgnoreCurrent, &mutation, None).await;
        assert!(is_invalid(&result), "{state} {status}");
    }
    // An existing run may be paused, a new one may not.
    let mut new = shard.new_run(Running);
    new.current.status = ExecutionStatus::Paused;
    assert!(is_invalid(&shard.create(CreateMode::BrandNew, &new).await));
    let run = shard.create_run(Running).await;
    let mut mutation = shard.mutation(&run, Running);
    mutation.current.status = ExecutionStatus::Paused;
    shard.update(UpdateMode::UpdateCurrent, &mutation, None).await.unwrap();
    assert_eq!(shard.current_of(&run.current).await, Some(mutation.current));
}

async fn rows_of_different_runs_are_refused(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let create = async |change: fn(&TestContext, &mut Snapshot)| {
        let mut snapshot = shard.new_run(Created);
        change(ctx, &mut snapshot);
        is_invalid(&shard.create(CreateMode::BrandNew, &snapshot).await)
    };
    assert!(create(|ctx, snapshot| snapshot.current.run_id = ctx.run_id()).await);
    assert!(create(|ctx, snapshot| snapshot.execution.shard_id = ctx.shard_id()).await);
    assert!(create(|ctx, snapshot| snapshot.current.shard_id = ctx.shard_id()).await);
    // The next run must have the same id.
    let run = shard.create_run(Running).await;
    let mutation = shard.mutation(&run, Completed);
    let stranger = shard.new_run(Created);
    let result = shard.update(UpdateMode::UpdateCurrent, &mutation, Some(&stranger)).await;
    assert!(is_invalid(&result), "{result:?}");
    shard.assert_stored(&run).await;
}

async fn a_record_version_that_does_not_follow_is_refused(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let run = shard.create_run(Running).await;
    let at = run.execution.db_record_version;
    for wrong in [at - 1, at, at + 2] {
        let mut mutation = shard.mutation(&run, Running);
        mutation.execution.db_record_version = wrong;
        let result = shard.update(UpdateMode::UpdateCurrent, &mutation, None).await;
        assert!(is_invalid(&result), "{result:?}");
        let mut snapshot = shard.reset(&run, Running);
        snapshot.execution.db_record_version = wrong;
        let expected = Expected::RecordVersion(at);
        let set = SetExecution { owner: shard.owner, snapshot, expected };
        assert!(is_invalid(&shard.executions.set(&set).await));
    }
    shard.assert_stored(&run).await;
}

async fn a_refused_request_appends_no_history(ctx: &TestContext) {
    use temporal_dsql_domain::Table;

    let shard = ctx.owned_shard().await;
    let run = shard.create_run(Running).await;
    let nodes = ctx.fixture.count(Table::HistoryNode).await;
    let mutation = shard.mutation(&run, Zombie);
    let mode = UpdateMode::UpdateCurrent;
    let request = UpdateExecution { owner: shard.owner, mode, mutation, new: None };
    assert!(is_invalid(&shard.executions.update(&request).await));
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, nodes);
}

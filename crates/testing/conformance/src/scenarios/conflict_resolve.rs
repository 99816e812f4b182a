//! Temporal's ConflictResolveWorkflowExecution and SetWorkflowExecution: requests that replace a
//! stored run.

use temporal_dsql_domain::ExecutionState::{self, Completed, Created, Running, Zombie};
use temporal_dsql_ports::{ConditionFailed, StoreError};
use temporal_dsql_stores::{
    ConflictResolve, ConflictResolveMode, CreateMode, Expected, Mutation, SetExecution, Snapshot,
};

use crate::{
    context::{
        TestContext,
        owned_shard::{OwnedShard, assert_refused, current_is, is_absent, version_is},
    },
    scenario::scenario_table,
};

scenario_table! { "conflict_resolve":
    the_current_run_is_suppressed_by_a_zombie per archetype
        = "execution_mutable_state.go/TestConflictResolve_SuppressCurrent";
    only_the_current_run_is_suppressed per archetype
        = "execution_mutable_state.go/TestConflictResolve_SuppressCurrent_CurrentConflict";
    a_reset_run_at_another_version_is_not_resolved per archetype
        = "execution_mutable_state.go/TestConflictResolve_SuppressCurrent_Conflict_Case1";
    a_suppressed_run_at_another_version_is_not_resolved per archetype
        = "execution_mutable_state.go/TestConflictResolve_SuppressCurrent_Conflict_Case2";
    a_suppression_is_followed_by_a_new_run per archetype
        = "execution_mutable_state.go/TestConflictResolve_SuppressCurrent_WithNew",
          "execution_mutable_state.go/TestConflictResolve_SuppressCurrent_WithNew_CHASM";
    the_current_run_is_reset per archetype
        = "execution_mutable_state.go/TestConflictResolve_ResetCurrent";
    only_the_current_run_is_reset_as_such per archetype
        = "execution_mutable_state.go/TestConflictResolve_ResetCurrent_CurrentConflict";
    a_current_run_at_another_version_is_not_reset
        = "execution_mutable_state.go/TestConflictResolve_ResetCurrent_Conflict";
    a_reset_of_the_current_run_is_followed_by_a_new_run per archetype
        = "execution_mutable_state.go/TestConflictResolve_ResetCurrent_WithNew";
    a_zombie_is_reset_beside_the_current_run per archetype
        = "execution_mutable_state.go/TestConflictResolve_Zombie";
    the_current_run_is_not_reset_as_a_zombie
        = "execution_mutable_state.go/TestConflictResolve_Zombie_CurrentConflict";
    a_zombie_at_another_version_is_not_reset
        = "execution_mutable_state.go/TestConflictResolve_Zombie_Conflict";
    a_reset_of_a_zombie_is_followed_by_another_one
        = "execution_mutable_state.go/TestConflictResolve_Zombie_WithNew";
    an_absent_run_is_not_set per archetype = "execution_mutable_state.go/TestSet_NotExists";
    a_run_at_another_version_is_not_set per archetype
        = "execution_mutable_state.go/TestSet_Conflict";
    a_run_is_set_whatever_the_current_one_is per archetype
        = "execution_mutable_state.go/TestSet",
          "execution_mutable_state.go/TestSet_CHASM";
    a_reset_removes_what_it_does_not_contain;
}

/// A request in which `reset` replaces the run `of`.
fn conflict(
    shard: &OwnedShard<'_>,
    mode: ConflictResolveMode,
    of: &Snapshot,
    state: ExecutionState,
) -> ConflictResolve {
    ConflictResolve {
        owner: shard.owner,
        mode,
        reset: shard.reset(of, state),
        expected: Expected::RecordVersion(of.execution.db_record_version),
        new: None,
        current: None,
    }
}

/// A current run that the zombie beside it suppresses.
struct Suppression {
    current: Snapshot,
    zombie: Snapshot,
    request: ConflictResolve,
}

impl Suppression {
    /// The change to the current run.
    fn mutation(&self) -> &Mutation {
        self.request.current.as_ref().expect("a suppression")
    }
}

async fn suppression(shard: &OwnedShard<'_>) -> Suppression {
    let current = shard.create_run(Created).await;
    let zombie = zombie_of(shard, &current).await;
    let mut request = conflict(shard, ConflictResolveMode::UpdateCurrent, &zombie, Running);
    request.current = Some(shard.mutation(&current, Zombie));
    Suppression { current, zombie, request }
}

/// A zombie beside `current`.
async fn zombie_of(shard: &OwnedShard<'_>, current: &Snapshot) -> Snapshot {
    let zombie = shard.snapshot(&shard.next_run(&current.current, Zombie));
    shard.create(CreateMode::BypassCurrent, &zombie).await.unwrap();
    zombie
}

async fn resolve(shard: &OwnedShard<'_>, request: &ConflictResolve) -> Result<(), StoreError> {
    shard.executions.conflict_resolve(request).await
}

/// Asserts that resolving is refused and changes nothing.
async fn assert_not_resolved(
    shard: &OwnedShard<'_>,
    request: &ConflictResolve,
    expected: &ConditionFailed,
) {
    let state = async || {
        let current = match &request.current {
            Some(current) => shard.stored(&current.execution).await,
            None => None,
        };
        (
            shard.stored(&request.reset.execution).await,
            current,
            shard.current_of(&request.reset.current).await,
            shard.ctx.row_count().await,
        )
    };
    let before = state().await;
    assert_refused(resolve(shard, request).await, expected);
    assert_eq!(state().await, before);
}

/// Makes the request expect the version after the stored one.
fn off_by_one(request: &mut ConflictResolve) {
    request.expected = Expected::RecordVersion(request.reset.execution.db_record_version);
    request.reset.execution.db_record_version += 1;
}

async fn the_current_run_is_suppressed_by_a_zombie(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let case = suppression(&shard).await;
    resolve(&shard, &case.request).await.unwrap();
    shard.assert_stored(&case.request.reset).await;
    shard.assert_mutated(&case.current, case.mutation()).await;
    let current = shard.current_of(&case.current.current).await;
    assert_eq!(current.as_ref(), Some(&case.request.reset.current));
}

async fn only_the_current_run_is_suppressed(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let mut case = suppression(&shard).await;
    let another = zombie_of(&shard, &case.current).await;
    case.request.current = Some(shard.mutation(&another, Zombie));
    let expected = current_is(Some(&case.current.current));
    assert_not_resolved(&shard, &case.request, &expected).await;
}

async fn a_reset_run_at_another_version_is_not_resolved(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let mut case = suppression(&shard).await;
    off_by_one(&mut case.request);
    let expected = version_is(&case.zombie.execution);
    assert_not_resolved(&shard, &case.request, &expected).await;
}

async fn a_suppressed_run_at_another_version_is_not_resolved(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let mut case = suppression(&shard).await;
    let mutation = case.request.current.as_mut().unwrap();
    mutation.expected = Expected::RecordVersion(mutation.execution.db_record_version);
    mutation.execution.db_record_version += 1;
    let expected = version_is(&case.current.execution);
    assert_not_resolved(&shard, &case.request, &expected).await;
}

async fn a_suppression_is_followed_by_a_new_run(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let mut case = suppression(&shard).await;
    case.request.reset = shard.reset(&case.zombie, Completed);
    let new = shard.snapshot(&shard.next_run(&case.current.current, Running));
    case.request.new = Some(new.clone());
    resolve(&shard, &case.request).await.unwrap();
    shard.assert_stored(&case.request.reset).await;
    shard.assert_mutated(&case.current, case.mutation()).await;
    shard.assert_stored(&new).await;
    assert_eq!(shard.current_of(&case.current.current).await, Some(new.current));
}

async fn the_current_run_is_reset(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let current = shard.create_run(Created).await;
    let request = conflict(&shard, ConflictResolveMode::UpdateCurrent, &current, Running);
    resolve(&shard, &request).await.unwrap();
    shard.assert_stored(&request.reset).await;
    assert_eq!(shard.current_of(&current.current).await, Some(request.reset.current));
}

async fn only_the_current_run_is_reset_as_such(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let current = shard.create_run(Created).await;
    let zombie = zombie_of(&shard, &current).await;
    let request = conflict(&shard, ConflictResolveMode::UpdateCurrent, &zombie, Running);
    assert_not_resolved(&shard, &request, &current_is(Some(&current.current))).await;
    let alone = shard.create_run(Zombie).await;
    let request = conflict(&shard, ConflictResolveMode::UpdateCurrent, &alone, Running);
    assert_not_resolved(&shard, &request, &current_is(None)).await;
}

async fn a_current_run_at_another_version_is_not_reset(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let current = shard.create_run(Created).await;
    let mut request = conflict(&shard, ConflictResolveMode::UpdateCurrent, &current, Running);
    off_by_one(&mut request);
    assert_not_resolved(&shard, &request, &version_is(&current.execution)).await;
}

async fn a_reset_of_the_current_run_is_followed_by_a_new_run(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let current = shard.create_run(Created).await;
    let mut request = conflict(&shard, ConflictResolveMode::UpdateCurrent, &current, Completed);
    let new = shard.snapshot(&shard.next_run(&current.current, Running));
    request.new = Some(new.clone());
    resolve(&shard, &request).await.unwrap();
    shard.assert_stored(&request.reset).await;
    shard.assert_stored(&new).await;
    assert_eq!(shard.current_of(&current.current).await, Some(new.current));
}

async fn a_zombie_is_reset_beside_the_current_run(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let current = shard.create_run(Created).await;
    let zombie = zombie_of(&shard, &current).await;
    let request = conflict(&shard, ConflictResolveMode::BypassCurrent, &zombie, Zombie);
    resolve(&shard, &request).await.unwrap();
    shard.assert_stored(&request.reset).await;
    shard.assert_stored(&current).await;
    assert_eq!(shard.current_of(&current.current).await, Some(current.current));
}

async fn the_current_run_is_not_reset_as_a_zombie(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let current = shard.create_run(Created).await;
    let request = conflict(&shard, ConflictResolveMode::BypassCurrent, &current, Zombie);
    assert_not_resolved(&shard, &request, &current_is(Some(&current.current))).await;
}

async fn a_zombie_at_another_version_is_not_reset(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let zombie = shard.create_run(Zombie).await;
    let mut request = conflict(&shard, ConflictResolveMode::BypassCurrent, &zombie, Zombie);
    off_by_one(&mut request);
    assert_not_resolved(&shard, &request, &version_is(&zombie.execution)).await;
}

async fn a_reset_of_a_zombie_is_followed_by_another_one(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let current = shard.create_run(Running).await;
    let zombie = zombie_of(&shard, &current).await;
    let mut request = conflict(&shard, ConflictResolveMode::BypassCurrent, &zombie, Completed);
    let new = shard.snapshot(&shard.next_run(&current.current, Zombie));
    request.new = Some(new.clone());
    resolve(&shard, &request).await.unwrap();
    shard.assert_stored(&request.reset).await;
    shard.assert_stored(&new).await;
    assert_eq!(shard.current_of(&current.current).await, Some(current.current));
}

/// A request that sets the run `of`.
fn set(shard: &OwnedShard<'_>, of: &Snapshot, state: ExecutionState) -> SetExecution {
    SetExecution {
        owner: shard.owner,
        snapshot: shard.reset(of, state),
        expected: Expected::RecordVersion(of.execution.db_record_version),
    }
}

async fn an_absent_run_is_not_set(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let absent = shard.new_run(Created);
    let request = set(&shard, &absent, Running);
    assert_refused(shard.executions.set(&request).await, &is_absent(&absent.execution));
    shard.assert_missing(&absent.execution).await;
    assert_eq!(shard.task_count().await, 0);
}

async fn a_run_at_another_version_is_not_set(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let first = shard.create_run(Created).await;
    let mut request = set(&shard, &first, Running);
    request.expected = Expected::RecordVersion(first.execution.db_record_version + 1);
    request.snapshot.execution.db_record_version += 1;
    assert_refused(shard.executions.set(&request).await, &version_is(&first.execution));
    shard.assert_stored(&first).await;
    assert_eq!(shard.task_count().await, first.tasks.len() as u64);
}

async fn a_run_is_set_whatever_the_current_one_is(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let current = shard.create_run(Created).await;
    let zombie = zombie_of(&shard, &current).await;
    for (of, state) in [(&current, Running), (&zombie, Zombie)] {
        let request = set(&shard, of, state);
        shard.executions.set(&request).await.unwrap();
        shard.assert_stored(&request.snapshot).await;
    }
    assert_eq!(shard.current_of(&current.current).await, Some(current.current));
}

async fn a_reset_removes_what_it_does_not_contain(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let current = shard.create_run(Running).await;
    let mut request = conflict(&shard, ConflictResolveMode::UpdateCurrent, &current, Running);
    // One of seven maps is kept, with other entries.
    request.reset.maps.truncate(1);
    resolve(&shard, &request).await.unwrap();
    shard.assert_stored(&request.reset).await;
    let mut again = set(&shard, &request.reset, Running);
    again.snapshot.maps.clear();
    shard.executions.set(&again).await.unwrap();
    shard.assert_stored(&again.snapshot).await;
}

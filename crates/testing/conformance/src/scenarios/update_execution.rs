//! Updating executions: the conditions of each mode, the rows written, and what a refusal reports.

use temporal_dsql_domain::ExecutionState::{Completed, Created, Running, Zombie};
use temporal_dsql_ports::ConditionFailed;
use temporal_dsql_stores::{CreateMode, Expected, Mutation, Snapshot, UpdateMode};

use crate::{
    context::{
        TestContext,
        owned_shard::{OwnedShard, assert_refused, current_is, is_absent, version_is},
    },
    scenario::scenario_table,
};

scenario_table! { "update_execution":
    the_current_run_is_updated_whole per archetype
        = "execution_mutable_state.go/TestUpdate_NotZombie",
          "execution_mutable_state.go/TestUpdate_NotZombie_CHASM";
    a_run_that_is_not_the_current_one_is_not_updated_as_such per archetype
        = "execution_mutable_state.go/TestUpdate_NotZombie_CurrentConflict";
    a_run_at_another_record_version_is_not_updated per archetype
        = "execution_mutable_state.go/TestUpdate_NotZombie_Conflict";
    a_run_at_another_next_event_is_not_updated;
    a_run_that_is_absent_is_not_updated per archetype;
    a_closed_run_is_followed_by_a_new_one per archetype
        = "execution_mutable_state.go/TestUpdate_NotZombie_WithNew";
    a_new_run_that_exists_leaves_all_as_it_was;
    a_zombie_is_updated_beside_the_current_execution per archetype
        = "execution_mutable_state.go/TestUpdate_Zombie";
    the_current_run_is_not_updated_as_a_zombie per archetype
        = "execution_mutable_state.go/TestUpdate_Zombie_CurrentConflict";
    a_zombie_at_another_record_version_is_not_updated
        = "execution_mutable_state.go/TestUpdate_Zombie_Conflict";
    a_zombie_is_followed_by_another_one
        = "execution_mutable_state.go/TestUpdate_Zombie_WithNew";
    a_closed_run_is_updated_whatever_the_current_one_is per archetype
        = "execution_mutable_state.go/TestUpdate_ClosedWorkflow_IsCurrent",
          "execution_mutable_state.go/TestUpdate_ClosedWorkflow_IsNonCurrent";
    buffered_events_are_appended_and_cleared;
}

/// Asserts that updating is refused and changes nothing.
async fn assert_not_updated(
    shard: &OwnedShard<'_>,
    mode: UpdateMode,
    mutation: &Mutation,
    new: Option<&Snapshot>,
    expected: &ConditionFailed,
) {
    let state = async || {
        (
            shard.stored(&mutation.execution).await,
            shard.current_of(&mutation.current).await,
            shard.ctx.row_count().await,
        )
    };
    let before = state().await;
    assert_refused(shard.update(mode, mutation, new).await, expected);
    assert_eq!(state().await, before);
}

async fn the_current_run_is_updated_whole(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let first = shard.create_run(Created).await;
    let mutation = shard.mutation(&first, Running);
    shard.update(UpdateMode::UpdateCurrent, &mutation, None).await.unwrap();
    shard.assert_mutated(&first, &mutation).await;
    assert_eq!(shard.current_of(&first.current).await, Some(mutation.current));
    assert_eq!(shard.task_count().await, (first.tasks.len() + mutation.tasks.len()) as u64);
}

async fn a_run_that_is_not_the_current_one_is_not_updated_as_such(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let current = shard.create_run(Completed).await;
    let zombie = shard.snapshot(&shard.next_run(&current.current, Zombie));
    shard.create(CreateMode::BypassCurrent, &zombie).await.unwrap();
    let mode = UpdateMode::UpdateCurrent;
    let mutation = shard.mutation(&zombie, Running);
    let expected = current_is(Some(&current.current));
    assert_not_updated(&shard, mode, &mutation, None, &expected).await;
    // The refusal of an absent run is the same.
    let nowhere = shard.snapshot(&shard.next_run(&current.current, Running));
    let mutation = shard.mutation(&nowhere, Running);
    assert_not_updated(&shard, mode, &mutation, None, &expected).await;
    shard.assert_missing(&nowhere.execution).await;
    // The refusal reports that the id has no current execution.
    let alone = shard.create_run(Zombie).await;
    let mutation = shard.mutation(&alone, Running);
    assert_not_updated(&shard, mode, &mutation, None, &current_is(None)).await;
}

async fn a_run_at_another_record_version_is_not_updated(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let first = shard.create_run(Created).await;
    for off in [-1, 1] {
        let mut mutation = shard.mutation(&first, Running);
        mutation.expected = Expected::RecordVersion(first.execution.db_record_version + off);
        mutation.execution.db_record_version += off;
        let expected = version_is(&first.execution);
        assert_not_updated(&shard, UpdateMode::UpdateCurrent, &mutation, None, &expected).await;
    }
    shard.assert_stored(&first).await;
}

async fn a_run_at_another_next_event_is_not_updated(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let first = shard.create_run(Created).await;
    let mut mutation = shard.mutation(&first, Running);
    mutation.execution.db_record_version = 0;
    mutation.expected = Expected::NextEventId(first.execution.next_event_id ^ 1);
    let expected = version_is(&first.execution);
    assert_not_updated(&shard, UpdateMode::UpdateCurrent, &mutation, None, &expected).await;
    mutation.expected = Expected::NextEventId(first.execution.next_event_id);
    shard.update(UpdateMode::UpdateCurrent, &mutation, None).await.unwrap();
    shard.assert_mutated(&first, &mutation).await;
}

async fn a_run_that_is_absent_is_not_updated(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let first = shard.create_run(Running).await;
    let mutation = shard.mutation(&first, Running);
    shard.executions.delete(&first.execution.filter()).await.unwrap();
    let expected = is_absent(&first.execution);
    for mode in [UpdateMode::UpdateCurrent, UpdateMode::IgnoreCurrent] {
        assert_not_updated(&shard, mode, &mutation, None, &expected).await;
    }
}

async fn a_closed_run_is_followed_by_a_new_one(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let first = shard.create_run(Created).await;
    let mutation = shard.mutation(&first, Completed);
    let new = shard.snapshot(&shard.next_run(&first.current, Running));
    shard.update(UpdateMode::UpdateCurrent, &mutation, Some(&new)).await.unwrap();
    shard.assert_mutated(&first, &mutation).await;
    shard.assert_stored(&new).await;
    assert_eq!(shard.current_of(&first.current).await, Some(new.current));
}

async fn a_new_run_that_exists_leaves_all_as_it_was(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let first = shard.create_run(Running).await;
    let zombie = shard.snapshot(&shard.next_run(&first.current, Zombie));
    shard.create(CreateMode::BypassCurrent, &zombie).await.unwrap();
    let mutation = shard.mutation(&first, Completed);
    let mut new = shard.snapshot(&shard.next_run(&first.current, Running));
    new.current.run_id = zombie.execution.run_id;
    new.execution.run_id = zombie.execution.run_id;
    let expected = ConditionFailed::ExecutionExists { run_id: zombie.execution.run_id };
    let mode = UpdateMode::UpdateCurrent;
    assert_not_updated(&shard, mode, &mutation, Some(&new), &expected).await;
    shard.assert_stored(&zombie).await;
}

async fn a_zombie_is_updated_beside_the_current_execution(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let current = shard.create_run(Completed).await;
    let zombie = shard.snapshot(&shard.next_run(&current.current, Zombie));
    shard.create(CreateMode::BypassCurrent, &zombie).await.unwrap();
    let mutation = shard.mutation(&zombie, Zombie);
    shard.update(UpdateMode::BypassCurrent, &mutation, None).await.unwrap();
    shard.assert_mutated(&zombie, &mutation).await;
    assert_eq!(shard.current_of(&zombie.current).await, Some(current.current));
    // The same without a current execution.
    let alone = shard.create_run(Zombie).await;
    let mutation = shard.mutation(&alone, Zombie);
    shard.update(UpdateMode::BypassCurrent, &mutation, None).await.unwrap();
    shard.assert_mutated(&alone, &mutation).await;
    assert_eq!(shard.current_of(&alone.current).await, None);
}

async fn the_current_run_is_not_updated_as_a_zombie(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let current = shard.create_run(Completed).await;
    let mutation = shard.mutation(&current, Zombie);
    let expected = current_is(Some(&current.current));
    assert_not_updated(&shard, UpdateMode::BypassCurrent, &mutation, None, &expected).await;
}

async fn a_zombie_at_another_record_version_is_not_updated(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let zombie = shard.create_run(Zombie).await;
    let mut mutation = shard.mutation(&zombie, Zombie);
    mutation.expected = Expected::RecordVersion(zombie.execution.db_record_version - 1);
    mutation.execution.db_record_version -= 1;
    let expected = version_is(&zombie.execution);
    assert_not_updated(&shard, UpdateMode::BypassCurrent, &mutation, None, &expected).await;
}

async fn a_zombie_is_followed_by_another_one(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let zombie = shard.create_run(Zombie).await;
    let mutation = shard.mutation(&zombie, Completed);
    let new = shard.snapshot(&shard.next_run(&zombie.current, Zombie));
    shard.update(UpdateMode::BypassCurrent, &mutation, Some(&new)).await.unwrap();
    shard.assert_mutated(&zombie, &mutation).await;
    shard.assert_stored(&new).await;
    assert_eq!(shard.current_of(&zombie.current).await, None);
}

async fn a_closed_run_is_updated_whatever_the_current_one_is(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let first = shard.create_run(Completed).await;
    let mutation = shard.mutation(&first, Completed);
    shard.update(UpdateMode::IgnoreCurrent, &mutation, None).await.unwrap();
    shard.assert_mutated(&first, &mutation).await;
    assert_eq!(shard.current_of(&first.current).await.as_ref(), Some(&first.current));
    let other = shard.snapshot(&shard.next_run(&first.current, Completed));
    shard.create(CreateMode::BypassCurrent, &other).await.unwrap();
    let mutation = shard.mutation(&other, Completed);
    shard.update(UpdateMode::IgnoreCurrent, &mutation, None).await.unwrap();
    shard.assert_mutated(&other, &mutation).await;
    assert_eq!(shard.current_of(&first.current).await, Some(first.current));
}

async fn buffered_events_are_appended_and_cleared(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let first = shard.create_run(Running).await;
    let mut at = first.clone();
    let mut expected = Vec::new();
    for clear in [false, false, true, false] {
        let mut mutation = shard.mutation(&at, Running);
        mutation.maps.clear();
        mutation.buffered.clear = clear;
        shard.update(UpdateMode::UpdateCurrent, &mutation, None).await.unwrap();
        if clear {
            expected.clear();
        }
        expected.extend(mutation.buffered.append);
        at.execution = mutation.execution;
        at.events = mutation.events;
        let stored = shard.stored(&at.execution).await.unwrap();
        assert_eq!(stored.buffered, expected);
    }
    // A reset clears the buffer.
    let reset = shard.reset(&at, Running);
    let set = temporal_dsql_stores::SetExecution {
        owner: shard.owner,
        expected: Expected::RecordVersion(at.execution.db_record_version),
        snapshot: reset.clone(),
    };
    shard.executions.set(&set).await.unwrap();
    shard.assert_stored(&reset).await;
}

//! Creating executions: the conditions of each mode, the rows written, and what a refusal reports.

use std::sync::{Arc, atomic::Ordering};

use futures_util::future::join_all;
use temporal_dsql_domain::{
    CurrentExecutionsRow,
    ExecutionState::{Completed, Created, Running, Zombie},
    ExecutionsRow,
};
use temporal_dsql_ports::{ConditionFailed, StoreError};
use temporal_dsql_stores::{CreateExecution, CreateMode, ExecutionStore, Snapshot};

use crate::{
    context::{
        TestContext,
        owned_shard::{OwnedShard, assert_refused, current_is, rows},
    },
    interceptors::barrier_after_begin,
    scenario::scenario_table,
};

scenario_table! { "create_execution":
    a_brand_new_execution_is_stored_whole per archetype
        = "execution_mutable_state.go/TestCreate_BrandNew",
          "execution_mutable_state.go/TestCreate_BrandNew_CHASM";
    creating_over_a_current_execution_is_refused_and_reports_it per archetype
        = "execution_mutable_state.go/TestCreate_BrandNew_CurrentConflict";
    the_id_of_a_closed_execution_is_used_again per archetype
        = "execution_mutable_state.go/TestCreate_Reuse",
          "execution_mutable_state.go/TestCreate_Reuse_CHASM";
    reuse_expects_the_previous_run_closed_at_its_version per archetype
        = "execution_mutable_state.go/TestCreate_Reuse_CurrentConflict";
    reuse_of_an_id_without_an_execution_is_refused per archetype;
    a_refused_creation_reports_the_version_of_the_run_and_not_of_the_current_row per archetype;
    a_zombie_is_created_beside_the_current_execution per archetype
        = "execution_mutable_state.go/TestCreate_Zombie";
    a_run_that_exists_is_not_created_again per archetype
        = "execution_mutable_state.go/TestCreate_Conflict";
    a_closed_execution_is_created_in_every_mode per archetype
        = "execution_mutable_state.go/TestCreate_ClosedWorkflow_BrandNew",
          "execution_mutable_state.go/TestCreate_ClosedWorkflow_Bypass",
          "execution_mutable_state.go/TestCreate_ClosedWorkflow_UpdateCurrent";
    bypassing_does_not_create_the_current_run_again;
    of_sixteen_concurrent_creators_fifteen_receive_the_winning_row per archetype
        = "temporal-persistence.md#case-2";
    archetypes_have_ids_of_their_own per archetype
        = "execution_mutable_state.go/TestArchetypeSeparateIDSpace";
}

/// The mode that reuses the id of `previous`.
fn after(previous: &Snapshot) -> CreateMode {
    CreateMode::UpdateCurrent {
        previous_run_id: previous.execution.run_id,
        previous_last_write_version: previous.execution.last_write_version,
    }
}

/// Asserts that a creation is refused and that no table changes.
async fn assert_not_created(
    shard: &OwnedShard<'_>,
    mode: CreateMode,
    snapshot: &Snapshot,
    expected: &ConditionFailed,
) {
    let before = shard.ctx.row_count().await;
    assert_refused(shard.create(mode, snapshot).await, expected);
    assert_eq!(shard.ctx.row_count().await, before);
    assert_eq!(shard.stored(&snapshot.execution).await, None);
}

async fn a_brand_new_execution_is_stored_whole(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let snapshot = shard.new_run(Created);
    shard.create(CreateMode::BrandNew, &snapshot).await.unwrap();
    shard.assert_stored(&snapshot).await;
    assert_eq!(shard.current_of(&snapshot.current).await.as_ref(), Some(&snapshot.current));
    assert_eq!(shard.task_count().await, snapshot.tasks.len() as u64);
}

async fn creating_over_a_current_execution_is_refused_and_reports_it(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    for state in [Created, Running, Completed] {
        let first = shard.create_run(state).await;
        let second = shard.snapshot(&shard.next_run(&first.current, Created));
        // The refusal reports the whole row: run, state, status, start time and request ids.
        let expected = current_is(Some(&first.current));
        assert_not_created(&shard, CreateMode::BrandNew, &second, &expected).await;
        shard.assert_stored(&first).await;
    }
}

async fn the_id_of_a_closed_execution_is_used_again(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let first = shard.create_run(Completed).await;
    let second = shard.snapshot(&shard.next_run(&first.current, Created));
    shard.create(after(&first), &second).await.unwrap();
    shard.assert_stored(&first).await;
    shard.assert_stored(&second).await;
    assert_eq!(shard.current_of(&first.current).await, Some(second.current));
}

async fn reuse_expects_the_previous_run_closed_at_its_version(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let closed = shard.create_run(Completed).await;
    let next = shard.snapshot(&shard.next_run(&closed.current, Created));
    let expected = current_is(Some(&closed.current));
    let CreateMode::UpdateCurrent { previous_run_id, previous_last_write_version } = after(&closed)
    else {
        unreachable!("the mode that reuses an id");
    };
    let wrong_run =
        CreateMode::UpdateCurrent { previous_run_id: ctx.run_id(), previous_last_write_version };
    let wrong_version = CreateMode::UpdateCurrent {
        previous_run_id,
        previous_last_write_version: previous_last_write_version ^ 1,
    };
    assert_not_created(&shard, wrong_run, &next, &expected).await;
    assert_not_created(&shard, wrong_version, &next, &expected).await;
    for open in [Created, Running] {
        let open = shard.create_run(open).await;
        let next = shard.snapshot(&shard.next_run(&open.current, Created));
        assert_not_created(&shard, after(&open), &next, &current_is(Some(&open.current))).await;
    }
}

async fn reuse_of_an_id_without_an_execution_is_refused(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let absent = shard.new_run(Completed);
    let next = shard.snapshot(&shard.next_run(&absent.current, Created));
    assert_not_created(&shard, after(&absent), &next, &current_is(None)).await;
}

/// The two versions differ after a closed run is updated without its current row
/// (temporal-persistence.md#executions, temporal-persistence.md#create).
async fn a_refused_creation_reports_the_version_of_the_run_and_not_of_the_current_row(
    ctx: &TestContext,
) {
    let shard = ctx.owned_shard().await;
    let first = shard.create_run(Completed).await;
    let stale = after(&first);
    let last_write_version = first.execution.last_write_version ^ 1;
    let run = ExecutionsRow { last_write_version, ..first.execution.clone() };
    assert_eq!(ctx.store.session().update_executions(&run).await.unwrap(), 1);
    let observed = CurrentExecutionsRow { last_write_version, ..first.current.clone() };
    let expected = current_is(Some(&observed));
    let next = shard.snapshot(&shard.next_run(&first.current, Created));
    let other = CreateMode::UpdateCurrent {
        previous_run_id: ctx.run_id(),
        previous_last_write_version: last_write_version,
    };
    for mode in [CreateMode::BrandNew, stale, other] {
        assert_not_created(&shard, mode, &next, &expected).await;
    }
    let previous_run_id = first.execution.run_id;
    let previous_last_write_version = last_write_version;
    let mode = CreateMode::UpdateCurrent { previous_run_id, previous_last_write_version };
    shard.create(mode, &next).await.unwrap();
}

async fn a_zombie_is_created_beside_the_current_execution(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let current = shard.create_run(Completed).await;
    let zombie = shard.snapshot(&shard.next_run(&current.current, Zombie));
    shard.create(CreateMode::BypassCurrent, &zombie).await.unwrap();
    shard.assert_stored(&zombie).await;
    shard.assert_stored(&current).await;
    assert_eq!(shard.current_of(&zombie.current).await, Some(current.current));
    // A zombie does not become the current run either if there is none.
    let alone = shard.create_run(Zombie).await;
    shard.assert_stored(&alone).await;
    assert_eq!(shard.current_of(&alone.current).await, None);
}

async fn a_run_that_exists_is_not_created_again(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let first = shard.create_run(Completed).await;
    let mut again = shard.snapshot(&first.current);
    again.execution.run_id = first.execution.run_id;
    let before = shard.task_count().await;
    let expected = ConditionFailed::ExecutionExists { run_id: first.execution.run_id };
    assert_refused(shard.create(after(&first), &again).await, &expected);
    shard.assert_stored(&first).await;
    assert_eq!(shard.task_count().await, before);
    let zombie = shard.create_run(Zombie).await;
    let expected = ConditionFailed::ExecutionExists { run_id: zombie.execution.run_id };
    assert_refused(shard.create(CreateMode::BypassCurrent, &zombie).await, &expected);
    shard.assert_stored(&zombie).await;
}

async fn a_closed_execution_is_created_in_every_mode(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let first = shard.new_run(Completed);
    shard.create(CreateMode::BrandNew, &first).await.unwrap();
    let second = shard.snapshot(&shard.next_run(&first.current, Completed));
    shard.create(after(&first), &second).await.unwrap();
    let third = shard.snapshot(&shard.next_run(&first.current, Completed));
    shard.create(CreateMode::BypassCurrent, &third).await.unwrap();
    for snapshot in [&first, &second, &third] {
        shard.assert_stored(snapshot).await;
    }
    assert_eq!(shard.current_of(&first.current).await, Some(second.current));
}

async fn bypassing_does_not_create_the_current_run_again(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let current = shard.create_run(Running).await;
    let mut zombie = shard.snapshot(&shard.next_run(&current.current, Zombie));
    zombie.current.run_id = current.current.run_id;
    zombie.execution.run_id = current.current.run_id;
    let refused = shard.create(CreateMode::BypassCurrent, &zombie).await;
    assert_refused(refused, &current_is(Some(&current.current)));
    shard.assert_stored(&current).await;
}

async fn of_sixteen_concurrent_creators_fifteen_receive_the_winning_row(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let id = shard.current(Created);
    // All sixteen transactions have begun before the first of them reads.
    let (store, begun) = barrier_after_begin(&ctx.store, 16);
    let creators = (0..16).map(|_| {
        let snapshot = shard.snapshot(&shard.next_run(&id, Created));
        let request = CreateExecution { owner: shard.owner, mode: CreateMode::BrandNew, snapshot };
        let executions = ExecutionStore::new(Arc::clone(&store));
        tokio::spawn(async move {
            let result = executions.create(&request).await;
            (request.snapshot, result)
        })
    });
    let results: Vec<_> =
        join_all(creators).await.into_iter().map(|creator| creator.unwrap()).collect();
    let winners: Vec<_> = results.iter().filter(|(_, result)| result.is_ok()).collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    let winner = winners[0].0.clone();
    for (loser, result) in results.into_iter().filter(|(_, result)| result.is_err()) {
        assert_refused(result, &current_is(Some(&winner.current)));
        assert_eq!(shard.stored(&loser.execution).await, None);
        assert_eq!(shard.history(&loser.events[0]).await, []);
    }
    let begun = begun.load(Ordering::SeqCst);
    assert!(begun >= 16 + 15, "each loser must retry to see the winner: {begun} transactions");
    assert_eq!(shard.stored(&winner.execution).await, Some(rows(&winner)));
    assert_eq!(shard.current_of(&id).await.as_ref(), Some(&winner.current));
    assert_eq!(shard.task_count().await, winner.tasks.len() as u64);
}

async fn archetypes_have_ids_of_their_own(ctx: &TestContext) {
    use temporal_dsql_domain::ArchetypeId;

    let shard = ctx.owned_shard().await;
    let one = shard.create_run(Created).await;
    // The same id in another archetype, whose id 7 is unknown.
    let archetype_id = ArchetypeId(7);
    let row = shard.next_run(&one.current, Created);
    let other = shard.snapshot(&CurrentExecutionsRow { archetype_id, ..row });
    shard.create(CreateMode::BrandNew, &other).await.unwrap();
    // Updating and deleting one execution and creating its next run do not change the other.
    let mutation = shard.mutation(&one, Completed);
    let update = temporal_dsql_stores::UpdateMode::UpdateCurrent;
    shard.update(update, &mutation, None).await.unwrap();
    shard.assert_stored(&other).await;
    assert_eq!(shard.current_of(&other.current).await.as_ref(), Some(&other.current));
    let next = shard.snapshot(&shard.next_run(&one.current, Created));
    let mode = CreateMode::UpdateCurrent {
        previous_run_id: one.execution.run_id,
        previous_last_write_version: mutation.execution.last_write_version,
    };
    shard.create(mode, &next).await.unwrap();
    assert_eq!(shard.current_of(&other.current).await.as_ref(), Some(&other.current));
    let run_id = next.current.run_id;
    shard.executions.delete_current(&next.current.filter(), run_id).await.unwrap();
    shard.executions.delete(&next.execution.filter()).await.unwrap();
    assert_eq!(shard.current_of(&next.current).await, None);
    assert_eq!(shard.current_of(&other.current).await.as_ref(), Some(&other.current));
    assert_eq!(shard.stored(&other.execution).await, Some(rows(&other)));
    // A refusal reports the current execution of the same archetype.
    let again = shard.snapshot(&shard.next_run(&other.current, Created));
    match shard.create(CreateMode::BrandNew, &again).await {
        Err(StoreError::Condition(failed)) => {
            assert_eq!(failed, current_is(Some(&other.current)));
        }
        result => panic!("{result:?}"),
    }
}

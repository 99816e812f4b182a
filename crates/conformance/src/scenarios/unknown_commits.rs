//! Commits whose answer is lost: resolved where the rows prove what happened, told where they do
//! not, and never simply repeated (contract §3.8).

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use temporal_dsql_domain::ExecutionState::{Created, Running};
use temporal_dsql_ports::{
    BoxFuture, Outcome, RetryPolicy, StoreError,
    stores::{CreateExecution, CreateMode, ExecutionStore, Expected, Owner, UpdateMode},
};
use tokio::sync::Notify;

use crate::{
    CommitFault::{Conflict, LostAfter, LostBefore},
    World,
    interposed::{interposed, interposed_once},
    scenario::scenario_table,
    world::{
        acts::Act,
        assert_conflict,
        owned::{AnyStore, assert_refused, current_is},
    },
};

scenario_table! { "unknown_commits":
    an_act_that_was_applied_is_reported_as_done = "contract §4.6/4";
    an_act_that_was_not_applied_is_done_again_and_once = "contract §4.6/4";
    tasks_that_were_not_added_are_reported_as_not_added = "contract §4.6/4";
    a_commit_that_is_still_under_way_is_ended_before_anybody_looks if optimistic_locks;
    a_lost_answer_that_cannot_be_settled_stays_unknown;
    a_settling_whose_answer_is_lost_is_done_again;
    events_whose_every_answer_is_lost_leave_their_act_not_applied;
    losing_every_answer_ends_as_not_applied_and_writes_nothing;
    an_act_that_was_not_applied_before_a_takeover_never_is;
    an_act_that_was_applied_before_a_takeover_is_reported_as_done;
    a_run_that_was_written_since_proves_nothing;
    a_version_that_stays_proves_nothing;
    a_creator_that_lost_its_answer_and_the_race_is_told_the_winner per archetype;
    a_deletion_whose_answer_is_lost_is_done_again;
    conflicts_at_commit_are_repeated_and_the_act_is_done_once = "contract §4.6/3";
    conflicts_until_the_deadline_write_nothing_of_any_act = "contract §4.6/3";
    the_store_works_on_after_a_restart_in_the_middle_of_an_act;
}

/// The acts whose rows carry proof either way.
async fn provable(world: &World) -> Vec<(crate::world::owned::Owned<'_>, Act)> {
    let mut acts = Vec::new();
    for kind in 0..4 {
        let shard = world.owned().await;
        let act = shard.acts().await[kind].clone();
        acts.push((shard, act));
    }
    acts
}

async fn an_act_that_was_applied_is_reported_as_done(world: &World) {
    let mut acts = provable(world).await;
    let shard = world.owned().await;
    let add = shard.acts().await[4].clone();
    acts.push((shard, add));
    for (shard, act) in acts {
        let before = shard.task_count().await;
        world.place.fail_next_commits(&[LostAfter]);
        act.done_by(Arc::clone(&world.store)).await.unwrap();
        assert_eq!(world.place.faults_left(), 0);
        shard.assert_done(&act, before).await;
    }
}

async fn an_act_that_was_not_applied_is_done_again_and_once(world: &World) {
    for (shard, act) in provable(world).await {
        let before = shard.task_count().await;
        world.place.fail_next_commits(&[LostBefore]);
        act.done_by(Arc::clone(&world.store)).await.unwrap();
        assert_eq!(world.place.faults_left(), 0);
        shard.assert_done(&act, before).await;
    }
}

async fn tasks_that_were_not_added_are_reported_as_not_added(world: &World) {
    let shard = world.owned().await;
    let tasks = world.tasks_of_every_queue(2);
    world.place.fail_next_commits(&[LostBefore]);
    let error = shard.tasks.add(shard.owner, &tasks).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert_eq!(shard.task_count().await, 0);
    shard.tasks.add(shard.owner, &tasks).await.unwrap();
    assert_eq!(shard.task_count().await, tasks.len() as u64);
}

/// The transaction by hand stands for the commit that was lost and has not arrived yet. On engines
/// that wait, looking waits for it.
async fn a_commit_that_is_still_under_way_is_ended_before_anybody_looks(world: &World) {
    let shard = world.owned().await;
    let tasks = world.tasks_of_every_queue(1);
    let (queue, task) = (&tasks.immediate[0].0, &tasks.immediate[0].1);
    let shard_id = shard.owner.shard_id;
    let mut late = world.begin("Late").await;
    late.read_lock_shards(shard_id).await.unwrap();
    late.insert_into_immediate_tasks(shard_id, queue, task).await.unwrap();
    world.place.fail_next_commits(&[LostBefore]);
    let error = shard.tasks.add(shard.owner, &tasks).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error:?}");
    assert_conflict(late.commit().await);
    assert_eq!(shard.task_count().await, 0);
}

async fn a_lost_answer_that_cannot_be_settled_stays_unknown(world: &World) {
    for (fault, is_applied) in [(LostBefore, false), (LostAfter, true)] {
        for (shard, act) in provable(world).await {
            let before = shard.task_count().await;
            // Those after the first are the commits that would have settled it.
            world.place.fail_next_commits(&[fault, LostBefore, LostBefore, LostBefore]);
            let error = act.done_by(Arc::clone(&world.store)).await.unwrap_err();
            assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
            assert_eq!(world.place.faults_left(), 0);
            if is_applied {
                shard.assert_done(&act, before).await;
            } else {
                assert_eq!(shard.task_count().await, before);
            }
        }
    }
}

async fn a_settling_whose_answer_is_lost_is_done_again(world: &World) {
    for fault in [LostBefore, LostAfter] {
        for settling in [LostBefore, LostAfter] {
            for (shard, act) in provable(world).await {
                let before = shard.task_count().await;
                world.place.fail_next_commits(&[fault, settling]);
                act.done_by(Arc::clone(&world.store)).await.unwrap();
                assert_eq!(world.place.faults_left(), 0);
                shard.assert_done(&act, before).await;
            }
        }
    }
}

/// Their transaction has not begun.
async fn events_whose_every_answer_is_lost_leave_their_act_not_applied(world: &World) {
    for fault in [LostBefore, LostAfter] {
        for (shard, mut act) in provable(world).await {
            *act.events().unwrap() = vec![shard.events(None)];
            let before = shard.task_count().await;
            let row = act.written().unwrap();
            let stored = shard.stored(row).await;
            world.place.fail_next_commits(&[fault; 3]);
            let error = act.done_by(Arc::clone(&world.store)).await.unwrap_err();
            assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
            assert_eq!(error.outcome(), Outcome::NotApplied, "{error:?}");
            assert_eq!(world.place.faults_left(), 0);
            assert_eq!((shard.stored(row).await, shard.task_count().await), (stored, before));
            act.done_by(Arc::clone(&world.store)).await.unwrap();
            shard.assert_done(&act, before).await;
        }
    }
}

async fn losing_every_answer_ends_as_not_applied_and_writes_nothing(world: &World) {
    for (shard, act) in provable(world).await {
        let before = shard.task_count().await;
        let row = act.written().unwrap();
        let stored = shard.stored(row).await;
        // Each attempt is lost, and each commit that settles one arrives.
        let (place, begun) = (Arc::clone(&world.place), AtomicU32::new(0));
        let store = interposed(
            &world.store,
            Box::new(move |_| {
                if begun.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                    place.fail_next_commits(&[LostBefore]);
                }
                Box::pin(async {})
            }),
        );
        let error = act.done_by(store).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotApplied, "{error:?}");
        assert!(error.is_transient());
        assert!(std::error::Error::source(&error).is_some(), "the cause is kept: {error:?}");
        assert_eq!(world.place.faults_left(), 0);
        assert_eq!((shard.stored(row).await, shard.task_count().await), (stored, before));
    }
}

/// A store on which something happens once, before the commit that settles the first.
fn before_settling(
    world: &World,
    happens: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static,
) -> AnyStore {
    interposed_once(&world.store, 2, move |_| happens())
}

async fn an_act_that_was_not_applied_before_a_takeover_never_is(world: &World) {
    for (shard, act) in provable(world).await {
        let before = (shard.execution_count().await, shard.task_count().await);
        let (shards, next, range_id) =
            (shard.shards.clone(), shard.takeover(), shard.owner.range_id);
        let observed = Some(next.range_id);
        let store = before_settling(world, move || {
            let (shards, next) = (shards.clone(), next.clone());
            Box::pin(async move { shards.update(&next, range_id).await.unwrap() })
        });
        world.place.fail_next_commits(&[LostBefore]);
        let refused = act.done_by(store).await;
        let Owner { shard_id, range_id: expected } = shard.owner;
        let lost = temporal_dsql_ports::ConditionFailed::ShardOwnershipLost {
            shard_id,
            expected,
            observed,
        };
        assert_refused(refused, &lost);
        assert_eq!((shard.execution_count().await, shard.task_count().await), before);
    }
}

async fn an_act_that_was_applied_before_a_takeover_is_reported_as_done(world: &World) {
    for (shard, act) in provable(world).await {
        let before = shard.task_count().await;
        let (shards, next, range_id) =
            (shard.shards.clone(), shard.takeover(), shard.owner.range_id);
        let store = before_settling(world, move || {
            let (shards, next) = (shards.clone(), next.clone());
            Box::pin(async move { shards.update(&next, range_id).await.unwrap() })
        });
        world.place.fail_next_commits(&[LostAfter]);
        act.done_by(store).await.unwrap();
        shard.assert_done(&act, before).await;
    }
}

async fn a_run_that_was_written_since_proves_nothing(world: &World) {
    let shard = world.owned().await;
    let run = shard.created(Created).await;
    let mut first = shard.mutation(&run, Running);
    first.events.clear();
    let mut after = run.clone();
    after.execution = first.execution.clone();
    let mut second = shard.mutation(&after, Running);
    second.events.clear();
    let (executions, owner) = (shard.executions.clone(), shard.owner);
    let mode = UpdateMode::UpdateCurrent;
    let update = |mutation| temporal_dsql_ports::stores::UpdateExecution {
        owner,
        mode,
        mutation,
        new: None,
    };
    let next = update(second.clone());
    let store = before_settling(world, move || {
        let (executions, next) = (executions.clone(), next.clone());
        Box::pin(async move { executions.update(&next).await.unwrap() })
    });
    let before = shard.task_count().await;
    world.place.fail_next_commits(&[LostAfter]);
    let error = ExecutionStore::new(store).update(&update(first.clone())).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
    let stored = shard.stored(&run.execution).await.unwrap();
    assert_eq!(stored.execution, second.execution, "and it is not done a second time");
    let tasks = (first.tasks.len() + second.tasks.len()) as u64;
    assert_eq!(shard.task_count().await, before + tasks);
}

async fn a_version_that_stays_proves_nothing(world: &World) {
    for fault in [LostBefore, LostAfter] {
        let shard = world.owned().await;
        let run = shard.created(Created).await;
        // As writers did that knew no record versions, and without a new event.
        let mut mutation = shard.mutation(&run, Running);
        mutation.events.clear();
        mutation.execution.next_event_id = run.execution.next_event_id;
        mutation.expected = Expected::NextEventId(run.execution.next_event_id);
        world.place.fail_next_commits(&[fault]);
        let result = shard.update(UpdateMode::UpdateCurrent, &mutation, None).await;
        let error = result.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
        let stored = shard.stored(&run.execution).await.unwrap();
        let expected = if fault == LostAfter { mutation.execution } else { run.execution };
        assert_eq!(stored.execution, expected);
    }
}

async fn a_creator_that_lost_its_answer_and_the_race_is_told_the_winner(world: &World) {
    let shard = world.owned().await;
    let id = shard.current(Created);
    let request = || {
        let mut snapshot = shard.snapshot(&shard.next_run(&id, Created));
        snapshot.events.clear();
        CreateExecution { owner: shard.owner, mode: CreateMode::BrandNew, snapshot }
    };
    let (winner, loser) = (request(), request());
    let (executions, other) = (shard.executions.clone(), winner.clone());
    let store = before_settling(world, move || {
        let (executions, other) = (executions.clone(), other.clone());
        Box::pin(async move { executions.create(&other).await.unwrap() })
    });
    world.place.fail_next_commits(&[LostBefore]);
    let refused = ExecutionStore::new(store).create(&loser).await;
    assert_refused(refused, &current_is(Some(&winner.snapshot.current)));
    assert_eq!(shard.stored(&loser.snapshot.execution).await, None);
    assert_eq!(shard.current_of(&id).await, Some(winner.snapshot.current));
}

async fn a_deletion_whose_answer_is_lost_is_done_again(world: &World) {
    for fault in [LostBefore, LostAfter] {
        let shard = world.owned().await;
        let run = shard.created(Running).await;
        world.place.fail_next_commits(&[fault]);
        shard.executions.delete(&run.execution.filter()).await.unwrap();
        assert_eq!(world.place.faults_left(), 0);
        shard.assert_missing(&run.execution).await;
        world.place.fail_next_commits(&[fault]);
        let (id, run_id) = (run.current.filter(), run.current.run_id);
        shard.executions.delete_current(&id, run_id).await.unwrap();
        assert_eq!(world.place.faults_left(), 0);
        assert_eq!(shard.current_of(&run.current).await, None);
    }
}

async fn conflicts_at_commit_are_repeated_and_the_act_is_done_once(world: &World) {
    let shard = world.owned().await;
    for act in shard.acts().await {
        let before = shard.task_count().await;
        world.place.fail_next_commits(&[Conflict; 4]);
        act.done_by(Arc::clone(&world.store)).await.unwrap();
        assert_eq!(world.place.faults_left(), 0);
        shard.assert_done(&act, before).await;
    }
}

async fn conflicts_until_the_deadline_write_nothing_of_any_act(world: &World) {
    use std::time::Duration;

    let policy = RetryPolicy {
        base: Duration::from_millis(1),
        cap: Duration::from_millis(2),
        deadline: Duration::from_millis(30),
    };
    let impatient = world.with_policy(policy).await;
    let shard = impatient.owned().await;
    let acts = shard.acts().await;
    let before = (shard.execution_count().await, shard.task_count().await);
    impatient.place.fail_next_commits(&[Conflict; 10_000]);
    for act in acts {
        let error = act.done_by(Arc::clone(&impatient.store)).await.unwrap_err();
        assert!(matches!(error, StoreError::Contended { .. }), "{error:?}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
    }
    assert_eq!((shard.execution_count().await, shard.task_count().await), before);
}

async fn the_store_works_on_after_a_restart_in_the_middle_of_an_act(world: &World) {
    for fault in [LostBefore, LostAfter] {
        let shard = world.owned().await;
        let [create, ..] = shard.acts().await;
        let before = shard.task_count().await;
        // The service dies before it can settle what was lost.
        let dying = Arc::new(Notify::new());
        let store = interposed(
            &world.store,
            Box::new({
                let (begun, dying) = (AtomicU32::new(0), Arc::clone(&dying));
                move |_| match begun.fetch_add(1, Ordering::SeqCst) {
                    0 => Box::pin(async {}),
                    _ => {
                        dying.notify_one();
                        Box::pin(std::future::pending())
                    }
                }
            }),
        );
        world.place.fail_next_commits(&[fault]);
        tokio::select! {
            result = create.done_by(store) => panic!("it lived on: {result:?}"),
            () = dying.notified() => {}
        }
        // Its successor claims the shard, and finds all of it or nothing.
        let next = shard.is_deposed().await;
        let Act::Create(mut request) = create.clone() else { unreachable!("a creation") };
        request.owner = next;
        let again = shard.executions.create(&request).await;
        match fault {
            LostAfter => assert_refused(again, &current_is(Some(&request.snapshot.current))),
            _ => again.unwrap(),
        }
        shard.assert_done(&create, before).await;
    }
}

//! The locks that a write takes before it looks, all at once: they tell what is there and refuse
//! what was written since.

use temporal_dsql_domain::{CurrentExecutionsFilter, ExecutionsFilter, ExecutionsRow, ShardsRow};
use temporal_dsql_ports::{Locked, Locks};

use crate::{
    World,
    scenario::scenario_table,
    world::{assert_conflict, settle},
};

scenario_table! { "locks":
    locks_tell_what_is_there per archetype;
    locks_of_what_is_absent_tell_so per archetype;
    every_lock_refuses_what_was_written_since;
    locks_keep_nobody_from_other_rows;
}

/// A shard with a current execution, its run and another run.
async fn lockable(world: &World) -> (ShardsRow, CurrentExecutionsFilter, [ExecutionsRow; 2]) {
    let current = world.current();
    let shard = ShardsRow { shard_id: current.shard_id, ..world.shard() };
    let row = world.execution_of(&current);
    let other = world.execution_of(&world.changed(&current));
    world.store.session().insert_into_shards(&shard).await.unwrap();
    world.insert(&current).await;
    world.insert_execution(&row).await;
    world.insert_execution(&other).await;
    (shard, current.filter(), [row, other])
}

async fn locks_tell_what_is_there(world: &World) {
    let (shard, current, [row, other]) = lockable(world).await;
    let locks = Locks {
        shard_id: shard.shard_id,
        current: Some(current.clone()),
        runs: vec![row.filter(), other.filter()],
    };
    let mut transaction = world.begin("Lock").await;
    let locked = transaction.lock_for_write(&locks).await.unwrap();
    // One by one they tell the same.
    let range_id = transaction.read_lock_shards(shard.shard_id).await.unwrap();
    assert_eq!((locked.range_id, range_id), (Some(shard.range_id), Some(shard.range_id)));
    let alone = transaction.lock_current_executions(&current).await.unwrap();
    assert!(alone.is_some());
    assert_eq!(locked.current, alone);
    assert_eq!(locked.run(row.run_id), Some(row.version()));
    assert_eq!(locked.run(other.run_id), Some(other.version()));
    assert_eq!(locked.runs.len(), 2);
    transaction.commit().await.unwrap();

    let shard_only = Locks { shard_id: shard.shard_id, current: None, runs: Vec::new() };
    let mut transaction = world.begin("Lock").await;
    let locked = transaction.lock_for_write(&shard_only).await.unwrap();
    let expected = Locked { range_id: Some(shard.range_id), current: None, runs: Vec::new() };
    assert_eq!(locked, expected);
    transaction.commit().await.unwrap();
}

async fn locks_of_what_is_absent_tell_so(world: &World) {
    let (shard, current, [row, _]) = lockable(world).await;
    let absent = ExecutionsFilter { run_id: world.run_id(), ..row.filter() };
    let elsewhere = world.current().filter();
    let mut transaction = world.begin("Lock").await;
    let locks = Locks {
        shard_id: shard.shard_id,
        current: Some(elsewhere.clone()),
        runs: vec![absent.clone(), row.filter()],
    };
    let locked = transaction.lock_for_write(&locks).await.unwrap();
    assert_eq!((locked.range_id, &locked.current), (Some(shard.range_id), &None));
    assert_eq!(locked.runs, [(row.run_id, row.version())]);
    let locks =
        Locks { shard_id: world.shard_id(), current: Some(current.clone()), runs: vec![absent] };
    let locked = transaction.lock_for_write(&locks).await.unwrap();
    assert_eq!((locked.range_id, locked.runs), (None, Vec::new()));
    assert_eq!(locked.current, world.read(&current).await, "what is there is told and locked");
    transaction.commit().await.unwrap();
}

/// The locks come last, after the other transaction has committed, so that no engine waits.
async fn every_lock_refuses_what_was_written_since(world: &World) {
    for written in ["shard", "current", "run", "other run"] {
        let (shard, current, [row, other]) = lockable(world).await;
        let mut late = world.begin("Late").await;
        late.select_from_shards(shard.shard_id).await.unwrap();
        let mut session = world.store.session();
        let rows = match written {
            "shard" => {
                let taken = ShardsRow { range_id: shard.range_id - 1, ..shard.clone() };
                session.update_shards(&taken, None).await
            }
            "current" => {
                let read = world.read(&current).await.unwrap();
                session.update_current_executions(&world.changed(&read)).await
            }
            "run" => session.update_executions(&world.changed_execution(&row)).await,
            _ => session.update_executions(&world.changed_execution(&other)).await,
        };
        assert_eq!(rows.unwrap(), 1);
        let locks = Locks {
            shard_id: shard.shard_id,
            current: Some(current),
            runs: vec![row.filter(), other.filter()],
        };
        let locked = late.lock_for_write(&locks).await;
        assert_conflict(settle(late, locked.map(|_| 1)).await);
    }
}

async fn locks_keep_nobody_from_other_rows(world: &World) {
    let (shard, current, [row, other]) = lockable(world).await;
    let (unrelated, _, [elsewhere, _]) = lockable(world).await;
    let locks =
        Locks { shard_id: shard.shard_id, current: Some(current), runs: vec![row.filter()] };
    let mut first = world.begin("First").await;
    let mut second = world.begin("Second").await;
    first.lock_for_write(&locks).await.unwrap();
    let locks = Locks {
        shard_id: unrelated.shard_id,
        current: None,
        runs: vec![elsewhere.filter(), other.filter()],
    };
    second.lock_for_write(&locks).await.unwrap();
    first.update_executions(&world.changed_execution(&row)).await.unwrap();
    second.update_executions(&world.changed_execution(&other)).await.unwrap();
    second.commit().await.unwrap();
    first.commit().await.unwrap();
}

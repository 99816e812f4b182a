//! The lock that joins a current execution with the `executions` row of its run.

use crate::{
    World,
    scenario::scenario_table,
    world::{assert_conflict, settle},
};

scenario_table! { "joins":
    the_version_is_the_one_of_the_execution per archetype;
    without_a_current_execution_the_list_is_empty per archetype;
    a_current_execution_without_its_run_is_an_empty_list per archetype;
    another_run_of_the_id_does_not_count per archetype;
    outside_a_transaction_it_is_a_read per archetype;
    the_current_row_is_locked per archetype;
    the_execution_row_is_locked_too per archetype;
    the_current_row_is_locked_though_its_run_is_absent per archetype;
}

async fn the_version_is_the_one_of_the_execution(world: &World) {
    let row = world.current();
    let execution = world.execution_of(&row);
    assert_ne!(row.last_write_version, execution.last_write_version);
    world.insert(&row).await;
    world.insert_execution(&execution).await;
    let mut transaction = world.begin("LockJoin").await;
    let rows = transaction.lock_current_executions_join_executions(&row.filter()).await.unwrap();
    transaction.commit().await.unwrap();
    let mut expected = row;
    expected.last_write_version = execution.last_write_version;
    assert_eq!(rows, [expected]);
}

async fn without_a_current_execution_the_list_is_empty(world: &World) {
    let row = world.current();
    world.insert_execution(&world.execution_of(&row)).await;
    let mut transaction = world.begin("LockJoin").await;
    let rows = transaction.lock_current_executions_join_executions(&row.filter()).await.unwrap();
    assert_eq!(rows, []);
    transaction.commit().await.unwrap();
}

async fn a_current_execution_without_its_run_is_an_empty_list(world: &World) {
    let row = world.current();
    world.insert(&row).await;
    let mut transaction = world.begin("LockJoin").await;
    let rows = transaction.lock_current_executions_join_executions(&row.filter()).await.unwrap();
    assert_eq!(rows, []);
    transaction.commit().await.unwrap();
}

async fn another_run_of_the_id_does_not_count(world: &World) {
    let row = world.current();
    world.insert(&row).await;
    world.insert_execution(&world.execution_of(&world.changed(&row))).await;
    let mut transaction = world.begin("LockJoin").await;
    let rows = transaction.lock_current_executions_join_executions(&row.filter()).await.unwrap();
    assert_eq!(rows, []);
    transaction.commit().await.unwrap();
}

async fn outside_a_transaction_it_is_a_read(world: &World) {
    let row = world.current();
    let mut session = world.store.session();
    let filter = row.filter();
    assert_eq!(session.lock_current_executions_join_executions(&filter).await.unwrap(), []);
    world.insert(&row).await;
    assert_eq!(session.lock_current_executions_join_executions(&filter).await.unwrap(), []);
    let execution = world.execution_of(&row);
    world.insert_execution(&execution).await;
    let rows = session.lock_current_executions_join_executions(&filter).await.unwrap();
    let mut expected = row;
    expected.last_write_version = execution.last_write_version;
    assert_eq!(rows, [expected]);
}

/// The lock comes last, after the other transaction has committed, so that no engine waits.
async fn the_current_row_is_locked(world: &World) {
    let row = world.current();
    world.insert(&row).await;
    world.insert_execution(&world.execution_of(&row)).await;
    let mut late = world.begin("LockJoin").await;
    late.select_from_current_executions(&row.filter()).await.unwrap();
    let changed = world.changed(&row);
    world.store.session().update_current_executions(&changed).await.unwrap();
    let locked = late.lock_current_executions_join_executions(&row.filter()).await;
    assert_conflict(settle(late, locked.map(|_| 1)).await);
}

async fn the_execution_row_is_locked_too(world: &World) {
    let row = world.current();
    let execution = world.execution_of(&row);
    world.insert(&row).await;
    world.insert_execution(&execution).await;
    let mut late = world.begin("LockJoin").await;
    late.select_from_current_executions(&row.filter()).await.unwrap();
    let changed = world.changed_execution(&execution);
    world.store.session().update_executions(&changed).await.unwrap();
    let locked = late.lock_current_executions_join_executions(&row.filter()).await;
    assert_conflict(settle(late, locked.map(|_| 1)).await);
}

/// Stricter than a lock over an inner join, which takes none where the join has no row: what
/// follows from the absence of the run depends on the current row all the same.
async fn the_current_row_is_locked_though_its_run_is_absent(world: &World) {
    let row = world.current();
    world.insert(&row).await;
    let mut late = world.begin("LockJoin").await;
    late.select_from_current_executions(&row.filter()).await.unwrap();
    let changed = world.changed(&row);
    world.store.session().update_current_executions(&changed).await.unwrap();
    let locked = late.lock_current_executions_join_executions(&row.filter()).await;
    assert!(locked.as_ref().is_ok_and(Vec::is_empty) || locked.is_err(), "{locked:?}");
    assert_conflict(settle(late, locked.map(|_| 1)).await);
}

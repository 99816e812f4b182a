//! The lock of a current execution joined with the `executions` row of its run.

use crate::{
    context::{
        TestContext,
        conflicts::{assert_conflict, settle},
    },
    scenario::scenario_table,
};

scenario_table! { "join_locks":
    the_version_is_the_one_of_the_execution per archetype;
    without_a_current_execution_the_list_is_empty per archetype;
    a_current_execution_without_its_run_is_an_empty_list per archetype;
    another_run_of_the_id_is_not_returned per archetype;
    outside_a_transaction_it_is_a_read per archetype;
    the_current_row_is_locked per archetype;
    the_execution_row_is_locked_too per archetype;
    the_current_row_is_locked_though_its_run_is_absent per archetype;
}

async fn the_version_is_the_one_of_the_execution(ctx: &TestContext) {
    let row = ctx.current();
    let execution = ctx.execution_of(&row);
    assert_ne!(row.last_write_version, execution.last_write_version);
    ctx.insert(&row).await;
    ctx.insert_execution(&execution).await;
    let mut transaction = ctx.begin("LockJoin").await;
    let rows = transaction.lock_current_executions_join_executions(&row.filter()).await.unwrap();
    transaction.commit().await.unwrap();
    let mut expected = row;
    expected.last_write_version = execution.last_write_version;
    assert_eq!(rows, [expected]);
}

async fn without_a_current_execution_the_list_is_empty(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert_execution(&ctx.execution_of(&row)).await;
    let mut transaction = ctx.begin("LockJoin").await;
    let rows = transaction.lock_current_executions_join_executions(&row.filter()).await.unwrap();
    assert_eq!(rows, []);
    transaction.commit().await.unwrap();
}

async fn a_current_execution_without_its_run_is_an_empty_list(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let mut transaction = ctx.begin("LockJoin").await;
    let rows = transaction.lock_current_executions_join_executions(&row.filter()).await.unwrap();
    assert_eq!(rows, []);
    transaction.commit().await.unwrap();
}

async fn another_run_of_the_id_is_not_returned(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    ctx.insert_execution(&ctx.execution_of(&ctx.changed(&row))).await;
    let mut transaction = ctx.begin("LockJoin").await;
    let rows = transaction.lock_current_executions_join_executions(&row.filter()).await.unwrap();
    assert_eq!(rows, []);
    transaction.commit().await.unwrap();
}

async fn outside_a_transaction_it_is_a_read(ctx: &TestContext) {
    let row = ctx.current();
    let mut session = ctx.store.session();
    let filter = row.filter();
    assert_eq!(session.lock_current_executions_join_executions(&filter).await.unwrap(), []);
    ctx.insert(&row).await;
    assert_eq!(session.lock_current_executions_join_executions(&filter).await.unwrap(), []);
    let execution = ctx.execution_of(&row);
    ctx.insert_execution(&execution).await;
    let rows = session.lock_current_executions_join_executions(&filter).await.unwrap();
    let mut expected = row;
    expected.last_write_version = execution.last_write_version;
    assert_eq!(rows, [expected]);
}

/// The lock comes last, after the other transaction has committed, so that no engine blocks.
async fn the_current_row_is_locked(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    ctx.insert_execution(&ctx.execution_of(&row)).await;
    let mut late = ctx.begin("LockJoin").await;
    late.select_from_current_executions(&row.filter()).await.unwrap();
    let changed = ctx.changed(&row);
    ctx.store.session().update_current_executions(&changed).await.unwrap();
    let locked = late.lock_current_executions_join_executions(&row.filter()).await;
    assert_conflict(settle(late, locked.map(|_| 1)).await);
}

async fn the_execution_row_is_locked_too(ctx: &TestContext) {
    let row = ctx.current();
    let execution = ctx.execution_of(&row);
    ctx.insert(&row).await;
    ctx.insert_execution(&execution).await;
    let mut late = ctx.begin("LockJoin").await;
    late.select_from_current_executions(&row.filter()).await.unwrap();
    let changed = ctx.changed_execution(&execution);
    ctx.store.session().update_executions(&changed).await.unwrap();
    let locked = late.lock_current_executions_join_executions(&row.filter()).await;
    assert_conflict(settle(late, locked.map(|_| 1)).await);
}

/// Stricter than a lock over an inner join, which locks no row if the join is empty: a decision
/// that follows from the absence of the run depends on the current row, too.
async fn the_current_row_is_locked_though_its_run_is_absent(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let mut late = ctx.begin("LockJoin").await;
    late.select_from_current_executions(&row.filter()).await.unwrap();
    let changed = ctx.changed(&row);
    ctx.store.session().update_current_executions(&changed).await.unwrap();
    let locked = late.lock_current_executions_join_executions(&row.filter()).await;
    assert!(locked.as_ref().is_ok_and(Vec::is_empty) || locked.is_err(), "{locked:?}");
    assert_conflict(settle(late, locked.map(|_| 1)).await);
}

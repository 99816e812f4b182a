//! Row operations on current executions of every archetype: Temporal's
//! `history_current_execution.go`.

use temporal_dsql_domain::{ArchetypeId, Table};
use temporal_dsql_ports::StoreError;

use crate::{context::TestContext, scenario::scenario_table};

scenario_table! { "current_executions":
    inserting_affects_one_row per archetype
        = "history_current_execution.go/TestInsert_Success", "requirements.md#req-9-1";
    inserting_twice_is_refused_and_changes_nothing per archetype
        = "history_current_execution.go/TestInsert_Fail_Duplicate";
    an_inserted_row_is_read_unchanged per archetype
        = "history_current_execution.go/TestInsertSelect", "requirements.md#req-2-5",
          "requirements.md#req-9-2";
    updating_affects_one_row per archetype
        = "history_current_execution.go/TestInsertUpdate_Success";
    updating_an_absent_row_affects_none per archetype
        = "history_current_execution.go/TestUpdate_Fail";
    an_updated_row_is_read_unchanged per archetype
        = "history_current_execution.go/TestInsertUpdateSelect";
    a_deleted_row_is_absent per archetype
        = "history_current_execution.go/TestInsertDeleteSelect_Success", "requirements.md#req-9-3";
    deleting_by_another_run_leaves_the_row per archetype
        = "history_current_execution.go/TestInsertDeleteSelect_Fail";
    a_lock_returns_the_row per archetype = "history_current_execution.go/TestLock";
    locking_an_absent_row_returns_none per archetype;
    an_id_can_be_used_again_after_its_row_was_deleted per archetype;
    a_written_row_is_read_after_a_restart per archetype;
}

async fn inserting_affects_one_row(ctx: &TestContext) {
    let row = ctx.current();
    assert_eq!(ctx.store.session().insert_into_current_executions(&row).await.unwrap(), 1);
}

async fn inserting_twice_is_refused_and_changes_nothing(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let again = ctx.changed(&row);
    let error = ctx.store.session().insert_into_current_executions(&again).await.unwrap_err();
    let expected = if ctx.archetype == ArchetypeId::WORKFLOW {
        Table::CurrentExecutions
    } else {
        Table::CurrentChasmExecutions
    };
    assert!(
        matches!(error, StoreError::AlreadyExists { table, .. } if table == expected),
        "{error:?}"
    );
    assert_eq!(ctx.read(&row.filter()).await, Some(row));
}

async fn an_inserted_row_is_read_unchanged(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    assert_eq!(ctx.read(&row.filter()).await, Some(row));
}

async fn updating_affects_one_row(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let changed = ctx.changed(&row);
    assert_eq!(ctx.store.session().update_current_executions(&changed).await.unwrap(), 1);
}

async fn updating_an_absent_row_affects_none(ctx: &TestContext) {
    let row = ctx.current();
    assert_eq!(ctx.store.session().update_current_executions(&row).await.unwrap(), 0);
    assert_eq!(ctx.read(&row.filter()).await, None);
}

async fn an_updated_row_is_read_unchanged(ctx: &TestContext) {
    let row = ctx.current();
    let bystander = ctx.current();
    ctx.insert(&row).await;
    ctx.insert(&bystander).await;
    let changed = ctx.changed(&row);
    assert_eq!(ctx.store.session().update_current_executions(&changed).await.unwrap(), 1);
    assert_eq!(ctx.read(&row.filter()).await, Some(changed));
    assert_eq!(ctx.read(&bystander.filter()).await, Some(bystander));
}

async fn a_deleted_row_is_absent(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let mut session = ctx.store.session();
    let deleted = session.delete_from_current_executions(&row.filter(), row.run_id).await;
    assert_eq!(deleted.unwrap(), 1);
    assert_eq!(ctx.read(&row.filter()).await, None);
}

async fn deleting_by_another_run_leaves_the_row(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let mut session = ctx.store.session();
    let deleted = session.delete_from_current_executions(&row.filter(), ctx.run_id()).await;
    assert_eq!(deleted.unwrap(), 0);
    assert_eq!(ctx.read(&row.filter()).await, Some(row));
}

async fn a_lock_returns_the_row(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let mut transaction = ctx.begin("Lock").await;
    let locked = transaction.lock_current_executions(&row.filter()).await.unwrap();
    assert_eq!(locked, Some(row.clone()));
    transaction.commit().await.unwrap();
    let read = ctx.store.session().lock_current_executions(&row.filter()).await.unwrap();
    assert_eq!(read, Some(row), "without a transaction a lock is a read");
}

async fn locking_an_absent_row_returns_none(ctx: &TestContext) {
    let filter = ctx.current().filter();
    let mut transaction = ctx.begin("Lock").await;
    assert_eq!(transaction.lock_current_executions(&filter).await.unwrap(), None);
    transaction.commit().await.unwrap();
}

async fn an_id_can_be_used_again_after_its_row_was_deleted(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let mut session = ctx.store.session();
    session.delete_from_current_executions(&row.filter(), row.run_id).await.unwrap();
    let next = ctx.changed(&row);
    ctx.insert(&next).await;
    assert_eq!(ctx.read(&row.filter()).await, Some(next));
}

async fn a_written_row_is_read_after_a_restart(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let reopened = ctx.fixture.reopen().await;
    let read = reopened.session().select_from_current_executions(&row.filter()).await.unwrap();
    assert_eq!(read, Some(row));
}

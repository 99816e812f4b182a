//! Row operations on `executions`: Temporal's `history_execution.go`.

use temporal_dsql_domain::Table;
use temporal_dsql_ports::StoreError;

use crate::{context::TestContext, scenario::scenario_table};

scenario_table! { "executions":
    inserting_affects_one_row = "history_execution.go/TestInsert_Success";
    inserting_twice_is_refused_and_changes_nothing
        = "history_execution.go/TestInsert_Fail_Duplicate";
    an_inserted_row_is_read_unchanged = "history_execution.go/TestInsertSelect";
    updating_affects_one_row = "history_execution.go/TestInsertUpdate_Success";
    updating_an_absent_row_affects_none = "history_execution.go/TestUpdate_Fail";
    an_updated_row_is_read_unchanged = "history_execution.go/TestInsertUpdateSelect";
    deleting_an_absent_row_affects_none = "history_execution.go/TestDeleteSelect";
    a_deleted_row_is_absent = "history_execution.go/TestInsertDeleteSelect";
    a_read_lock_returns_the_versions = "history_execution.go/TestReadLock";
    a_write_lock_returns_the_versions = "history_execution.go/TestWriteLock";
    locking_an_absent_row_returns_none;
    two_runs_of_one_id_are_two_rows;
}

async fn inserting_affects_one_row(ctx: &TestContext) {
    let row = ctx.execution();
    assert_eq!(ctx.store.session().insert_into_executions(&row).await.unwrap(), 1);
}

async fn inserting_twice_is_refused_and_changes_nothing(ctx: &TestContext) {
    let row = ctx.execution();
    ctx.insert_execution(&row).await;
    let again = ctx.changed_execution(&row);
    let error = ctx.store.session().insert_into_executions(&again).await.unwrap_err();
    assert!(
        matches!(error, StoreError::AlreadyExists { table: Table::Executions, .. }),
        "{error:?}"
    );
    assert_eq!(ctx.read_execution(&row.filter()).await, Some(row));
}

async fn an_inserted_row_is_read_unchanged(ctx: &TestContext) {
    let row = ctx.execution();
    ctx.insert_execution(&row).await;
    assert_eq!(ctx.read_execution(&row.filter()).await, Some(row));
}

async fn updating_affects_one_row(ctx: &TestContext) {
    let row = ctx.execution();
    ctx.insert_execution(&row).await;
    let changed = ctx.changed_execution(&row);
    assert_eq!(ctx.store.session().update_executions(&changed).await.unwrap(), 1);
}

async fn updating_an_absent_row_affects_none(ctx: &TestContext) {
    let row = ctx.execution();
    assert_eq!(ctx.store.session().update_executions(&row).await.unwrap(), 0);
    assert_eq!(ctx.read_execution(&row.filter()).await, None);
}

async fn an_updated_row_is_read_unchanged(ctx: &TestContext) {
    let row = ctx.execution();
    ctx.insert_execution(&row).await;
    let changed = ctx.changed_execution(&row);
    assert_eq!(ctx.store.session().update_executions(&changed).await.unwrap(), 1);
    assert_eq!(ctx.read_execution(&row.filter()).await, Some(changed));
}

async fn deleting_an_absent_row_affects_none(ctx: &TestContext) {
    let filter = ctx.execution().filter();
    assert_eq!(ctx.store.session().delete_from_executions(&filter).await.unwrap(), 0);
    assert_eq!(ctx.read_execution(&filter).await, None);
}

async fn a_deleted_row_is_absent(ctx: &TestContext) {
    let row = ctx.execution();
    ctx.insert_execution(&row).await;
    assert_eq!(ctx.store.session().delete_from_executions(&row.filter()).await.unwrap(), 1);
    assert_eq!(ctx.read_execution(&row.filter()).await, None);
}

async fn a_read_lock_returns_the_versions(ctx: &TestContext) {
    let row = ctx.execution();
    ctx.insert_execution(&row).await;
    let mut transaction = ctx.begin("ReadLock").await;
    let version = transaction.read_lock_executions(&row.filter()).await.unwrap();
    assert_eq!(version, Some(row.version()));
    transaction.commit().await.unwrap();
}

async fn a_write_lock_returns_the_versions(ctx: &TestContext) {
    let row = ctx.execution();
    ctx.insert_execution(&row).await;
    let mut transaction = ctx.begin("WriteLock").await;
    let version = transaction.write_lock_executions(&row.filter()).await.unwrap();
    assert_eq!(version, Some(row.version()));
    transaction.commit().await.unwrap();
    let mut session = ctx.store.session();
    assert_eq!(session.write_lock_executions(&row.filter()).await.unwrap(), Some(row.version()));
    assert_eq!(session.read_lock_executions(&row.filter()).await.unwrap(), Some(row.version()));
}

async fn locking_an_absent_row_returns_none(ctx: &TestContext) {
    let filter = ctx.execution().filter();
    let mut transaction = ctx.begin("Lock").await;
    assert_eq!(transaction.read_lock_executions(&filter).await.unwrap(), None);
    assert_eq!(transaction.write_lock_executions(&filter).await.unwrap(), None);
    transaction.commit().await.unwrap();
}

async fn two_runs_of_one_id_are_two_rows(ctx: &TestContext) {
    let first = ctx.execution();
    let mut second = ctx.changed_execution(&first);
    second.run_id = ctx.run_id();
    ctx.insert_execution(&first).await;
    ctx.insert_execution(&second).await;
    assert_eq!(ctx.store.session().delete_from_executions(&first.filter()).await.unwrap(), 1);
    assert_eq!(ctx.read_execution(&second.filter()).await, Some(second));
}

//! Row operations on `executions`: Temporal's `history_execution.go`.

use temporal_dsql_domain::Table;
use temporal_dsql_ports::StoreError;

use crate::{World, scenario::scenario_table};

scenario_table! { "executions":
    inserting_affects_one_row = "history_execution.go/TestInsert_Success";
    inserting_twice_is_refused_and_changes_nothing
        = "history_execution.go/TestInsert_Fail_Duplicate";
    what_is_inserted_is_what_is_read = "history_execution.go/TestInsertSelect";
    updating_affects_one_row = "history_execution.go/TestInsertUpdate_Success";
    updating_an_absent_row_affects_none = "history_execution.go/TestUpdate_Fail";
    what_is_updated_is_what_is_read = "history_execution.go/TestInsertUpdateSelect";
    deleting_an_absent_row_affects_none = "history_execution.go/TestDeleteSelect";
    what_is_deleted_is_gone = "history_execution.go/TestInsertDeleteSelect";
    a_read_lock_returns_the_versions = "history_execution.go/TestReadLock";
    a_write_lock_returns_the_versions = "history_execution.go/TestWriteLock";
    locking_an_absent_row_returns_none;
    two_runs_of_one_id_are_two_rows;
}

async fn inserting_affects_one_row(world: &World) {
    let row = world.execution();
    assert_eq!(world.store.session().insert_into_executions(&row).await.unwrap(), 1);
}

async fn inserting_twice_is_refused_and_changes_nothing(world: &World) {
    let row = world.execution();
    world.insert_execution(&row).await;
    let again = world.changed_execution(&row);
    let error = world.store.session().insert_into_executions(&again).await.unwrap_err();
    assert!(
        matches!(error, StoreError::AlreadyExists { table: Table::Executions, .. }),
        "{error:?}"
    );
    assert_eq!(world.read_execution(&row.filter()).await, Some(row));
}

async fn what_is_inserted_is_what_is_read(world: &World) {
    let row = world.execution();
    world.insert_execution(&row).await;
    assert_eq!(world.read_execution(&row.filter()).await, Some(row));
}

async fn updating_affects_one_row(world: &World) {
    let row = world.execution();
    world.insert_execution(&row).await;
    let changed = world.changed_execution(&row);
    assert_eq!(world.store.session().update_executions(&changed).await.unwrap(), 1);
}

async fn updating_an_absent_row_affects_none(world: &World) {
    let row = world.execution();
    assert_eq!(world.store.session().update_executions(&row).await.unwrap(), 0);
    assert_eq!(world.read_execution(&row.filter()).await, None);
}

async fn what_is_updated_is_what_is_read(world: &World) {
    let row = world.execution();
    world.insert_execution(&row).await;
    let changed = world.changed_execution(&row);
    assert_eq!(world.store.session().update_executions(&changed).await.unwrap(), 1);
    assert_eq!(world.read_execution(&row.filter()).await, Some(changed));
}

async fn deleting_an_absent_row_affects_none(world: &World) {
    let filter = world.execution().filter();
    assert_eq!(world.store.session().delete_from_executions(&filter).await.unwrap(), 0);
    assert_eq!(world.read_execution(&filter).await, None);
}

async fn what_is_deleted_is_gone(world: &World) {
    let row = world.execution();
    world.insert_execution(&row).await;
    assert_eq!(world.store.session().delete_from_executions(&row.filter()).await.unwrap(), 1);
    assert_eq!(world.read_execution(&row.filter()).await, None);
}

async fn a_read_lock_returns_the_versions(world: &World) {
    let row = world.execution();
    world.insert_execution(&row).await;
    let mut transaction = world.begin("ReadLock").await;
    let version = transaction.read_lock_executions(&row.filter()).await.unwrap();
    assert_eq!(version, Some(row.version()));
    transaction.commit().await.unwrap();
}

async fn a_write_lock_returns_the_versions(world: &World) {
    let row = world.execution();
    world.insert_execution(&row).await;
    let mut transaction = world.begin("WriteLock").await;
    let version = transaction.write_lock_executions(&row.filter()).await.unwrap();
    assert_eq!(version, Some(row.version()));
    transaction.commit().await.unwrap();
    let mut session = world.store.session();
    assert_eq!(session.write_lock_executions(&row.filter()).await.unwrap(), Some(row.version()));
    assert_eq!(session.read_lock_executions(&row.filter()).await.unwrap(), Some(row.version()));
}

async fn locking_an_absent_row_returns_none(world: &World) {
    let filter = world.execution().filter();
    let mut transaction = world.begin("Lock").await;
    assert_eq!(transaction.read_lock_executions(&filter).await.unwrap(), None);
    assert_eq!(transaction.write_lock_executions(&filter).await.unwrap(), None);
    transaction.commit().await.unwrap();
}

async fn two_runs_of_one_id_are_two_rows(world: &World) {
    let first = world.execution();
    let mut second = world.changed_execution(&first);
    second.run_id = world.run_id();
    world.insert_execution(&first).await;
    world.insert_execution(&second).await;
    assert_eq!(world.store.session().delete_from_executions(&first.filter()).await.unwrap(), 1);
    assert_eq!(world.read_execution(&second.filter()).await, Some(second));
}

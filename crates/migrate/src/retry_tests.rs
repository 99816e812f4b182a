//! Tests of retries, with a mock of the database port.

use mockall::predicate::eq;
use tokio::time::Instant;

use crate::{
    DatabaseError, IgnoreProgress, MigrateError, Scope, ServerError, Timeouts,
    database::MockSchemaDatabase, retry::RetryingDatabase,
};

fn unreachable() -> DatabaseError {
    DatabaseError::Unreachable {
        host: "db.example".to_owned(),
        port: 5432,
        source: "connection refused".into(),
    }
}

fn refused(sqlstate: &str) -> DatabaseError {
    let server = ServerError { sqlstate: sqlstate.to_owned(), ..ServerError::default() };
    DatabaseError::Refused(Box::new(server))
}

fn retrying(mock: &mut MockSchemaDatabase) -> RetryingDatabase<'_> {
    RetryingDatabase::new(mock, Timeouts::default(), &IgnoreProgress)
}

#[tokio::test(start_paused = true)]
async fn before_the_first_response_an_unreachable_database_is_reported_at_once() {
    let mut mock = MockSchemaDatabase::new();
    mock.expect_version_rows().once().returning(|| Err(unreachable()));
    let error = retrying(&mut mock).version_rows().await.unwrap_err();
    let MigrateError::Database { action, source } = error else { panic!("{error}") };
    assert_eq!(action, "reading the schema version");
    assert!(matches!(source, DatabaseError::Unreachable { .. }), "{source}");
}

#[tokio::test(start_paused = true)]
async fn after_the_first_response_an_unreachable_database_is_retried() {
    let mut mock = MockSchemaDatabase::new();
    mock.expect_version_rows().once().returning(|| Ok(Vec::new()));
    mock.expect_has_rows().with(eq("executions")).times(3).returning(|_| Err(unreachable()));
    mock.expect_has_rows().with(eq("executions")).once().returning(|_| Ok(true));
    let mut database = retrying(&mut mock);
    assert!(database.version_rows().await.unwrap().is_empty());
    assert!(database.has_rows("executions").await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_retried_until_the_deadline() {
    let mut mock = MockSchemaDatabase::new();
    let conflict = |_: &Scope| Err(DatabaseError::Conflict(Box::default()));
    mock.expect_catalog().times(20..).returning(conflict);
    let start = Instant::now();
    let error = retrying(&mut mock).catalog(&Scope::default()).await.unwrap_err();
    assert!(matches!(error, MigrateError::DeadlineExceeded { .. }), "{error}");
    assert!(start.elapsed() <= Timeouts::default().retry.deadline);
}

#[tokio::test(start_paused = true)]
async fn a_refused_read_is_not_retried() {
    let mut mock = MockSchemaDatabase::new();
    mock.expect_has_rows().once().returning(|_| Err(refused("42501")));
    let error = retrying(&mut mock).has_rows("executions").await.unwrap_err();
    assert!(matches!(error, MigrateError::Database { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_table_that_a_concurrent_run_has_dropped_has_no_rows() {
    let mut mock = MockSchemaDatabase::new();
    mock.expect_has_rows().once().returning(|_| Err(refused("42P01")));
    assert!(!retrying(&mut mock).has_rows("executions").await.unwrap());
}

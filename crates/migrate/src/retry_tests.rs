//! Tests of retries, with a mock of the database port.

use std::time::Duration;

use mockall::predicate::eq;
use tokio::time::Instant;

use crate::{
    DatabaseError, IgnoreProgress, MigrateError, Scope, ServerError, Timeouts,
    database::MockSchemaDatabase,
    retry::{Retry, RetryingDatabase, retried},
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
async fn a_database_that_was_connected_and_is_unreachable_is_waited_for_up_to_the_deadline() {
    let mut mock = MockSchemaDatabase::new();
    mock.expect_version_rows().times(20..).returning(|| Err(unreachable()));
    let start = Instant::now();
    let error = retrying(&mut mock).version_rows().await.unwrap_err();
    assert!(matches!(error, MigrateError::DeadlineExceeded { .. }), "{error}");
    assert!(start.elapsed() >= Timeouts::default().retry.deadline / 2);

    let mut mock = MockSchemaDatabase::new();
    mock.expect_count_rows().times(3).returning(|_, _| Err(unreachable()));
    mock.expect_count_rows().with(eq("executions"), eq(10_000)).once().returning(|_, _| Ok(2));
    assert_eq!(retrying(&mut mock).count_rows("executions").await.unwrap().to_string(), "2 rows");
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
async fn a_call_that_is_lost_after_more_than_the_deadline_is_repeated_once() {
    let hours = Duration::from_secs(2 * 60 * 60);
    let retry = Retry { policy: &Timeouts::default().retry, observer: &IgnoreProgress };
    for lost in [1, 2] {
        let mut calls = 0;
        let mut call = async || {
            calls += 1;
            tokio::time::sleep(hours).await;
            if calls > lost { Ok(calls) } else { Err(unreachable()) }
        };
        let result: Result<u32, MigrateError> = retried!(retry, "copying", call());
        match result {
            Ok(calls) => assert_eq!((lost, calls), (1, 2)),
            Err(error) => {
                assert!(
                    matches!(error, MigrateError::DeadlineExceeded { attempts: 2, .. }),
                    "{error}"
                );
                assert_eq!(lost, 2);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_read_is_not_retried() {
    let mut mock = MockSchemaDatabase::new();
    mock.expect_count_rows().once().returning(|_, _| Err(refused("42501")));
    let error = retrying(&mut mock).count_rows("executions").await.unwrap_err();
    assert!(matches!(error, MigrateError::Database { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_table_that_a_concurrent_run_has_dropped_has_no_rows() {
    let mut mock = MockSchemaDatabase::new();
    mock.expect_count_rows().once().returning(|_, _| Err(refused("42P01")));
    assert!(!retrying(&mut mock).count_rows("executions").await.unwrap().is_some());
}

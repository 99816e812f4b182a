//! Settings of stock PostgreSQL that end sessions and waits, which DSQL does not have.

use crate::support::{LONG_RETRIES, execution, until_ok, wait_until};
use temporal_dsql_ports::{Attempt, Outcome, RetryPolicy, Store, StoreError, StoreExt};
use temporal_dsql_testkit::ScratchDatabase;

/// A database with the schema and with this setting.
async fn with_setting(setting: &str) -> Option<ScratchDatabase> {
    let database = ScratchDatabase::create().await?;
    crate::support::set_up(&database).await;
    database.execute(&format!("ALTER DATABASE {} SET {setting}", database.name())).await.unwrap();
    Some(database)
}

/// Waits until the server has ended all sessions for which `condition` is true.
async fn sessions_end(database: &ScratchDatabase, condition: &str) {
    let sessions = format!(
        "SELECT pid FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND {condition}"
    );
    let have_ended = async || database.query(&sessions).await.unwrap().is_empty();
    wait_until("the server ends no session", have_ended).await;
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a transaction that is left idle")]
async fn a_transaction_whose_session_was_ended_for_idling_is_not_applied_and_the_store_works_on() {
    let Some(database) = with_setting("idle_in_transaction_session_timeout = '1s'").await else {
        return;
    };
    let store = crate::support::open(&database, database.addr().unwrap(), RetryPolicy::NEVER).await;
    for by_commit in [false, true] {
        let row = execution();
        // On a busy machine the session may end before the insert.
        let mut idle = until_ok(async || {
            let mut transaction = store.begin(Attempt::first("Idle")).await?;
            transaction.insert_into_executions(&row).await?;
            Ok::<_, StoreError>(transaction)
        })
        .await;
        sessions_end(&database, "state = 'idle in transaction'").await;
        let error = if by_commit {
            idle.commit().await.unwrap_err()
        } else {
            idle.update_executions(&row).await.map(drop).unwrap_err()
        };
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert_eq!(error.outcome(), Outcome::NotApplied, "{error:?}");
        let found = store.session().select_from_executions(&row.filter()).await.unwrap();
        assert_eq!(found, None);
    }
}

#[tokio::test]
async fn a_session_that_was_ended_for_idling_is_replaced() {
    let Some(database) = with_setting("idle_session_timeout = '1s'").await else { return };
    let store = crate::support::open(&database, database.addr().unwrap(), LONG_RETRIES).await;
    let row = execution();
    store.session().insert_into_executions(&row).await.unwrap();
    sessions_end(&database, "backend_type = 'client backend'").await;
    // A write too: it was not applied, and is sent again.
    assert_eq!(store.session().update_executions(&row).await.unwrap(), 1);
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a transaction that holds a lock")]
async fn a_lock_timeout_is_contention() {
    let Some(database) = with_setting("lock_timeout = '50ms'").await else { return };
    let store = crate::support::open(&database, database.addr().unwrap(), RetryPolicy::NEVER).await;
    let row = execution();
    store.session().insert_into_executions(&row).await.unwrap();
    let mut holder = store.begin(Attempt::first("Holder")).await.unwrap();
    holder.write_lock_executions(&row.filter()).await.unwrap();
    let update = store.run("Update", &row, |transaction, row| {
        Box::pin(async move { transaction.update_executions(row).await })
    });
    let error = update.await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
    holder.rollback().await.unwrap();
}

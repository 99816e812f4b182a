//! The transaction runner on this adapter: what it retries, what it does not, and what it reports.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use temporal_dsql_domain::CurrentExecutionsRow;
use temporal_dsql_ports::{
    BoxFuture, ConditionFailed, Outcome, RetryPolicy, StoreError, StoreExt, Transaction,
};

use crate::{
    context::TestContext, harness::CommitFailure, interceptors::intercept_nth_begin,
    scenario::scenario_table,
};

scenario_table! { "retries":
    a_lost_conflict_runs_the_body_again_on_a_fresh_snapshot per archetype;
    conflicts_are_repeated_until_the_commit_succeeds_and_write_once per archetype;
    conflicts_until_the_deadline_are_contention_and_write_nothing per archetype;
    a_failed_condition_is_not_repeated per archetype;
    a_duplicate_is_not_repeated per archetype;
    a_commit_lost_before_it_arrived_is_unknown_and_not_repeated per archetype;
    a_commit_lost_after_it_was_applied_is_unknown_and_not_repeated per archetype;
    the_store_is_usable_after_a_lost_commit per archetype;
    a_body_that_fails_is_rolled_back per archetype;
}

/// A request that counts how often the transaction body ran.
struct Request {
    row: CurrentExecutionsRow,
    runs: AtomicU32,
}

impl Request {
    fn new(row: CurrentExecutionsRow) -> Self {
        Self { row, runs: AtomicU32::new(0) }
    }

    fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }
}

/// Inserts the request's row.
fn insert<'t>(
    transaction: &'t mut dyn Transaction,
    request: &'t Request,
) -> BoxFuture<'t, Result<u64, StoreError>> {
    Box::pin(async move {
        request.runs.fetch_add(1, Ordering::SeqCst);
        transaction.insert_into_current_executions(&request.row).await
    })
}

/// Increments the version of the request's row.
fn increment<'t>(
    transaction: &'t mut dyn Transaction,
    request: &'t Request,
) -> BoxFuture<'t, Result<i64, StoreError>> {
    Box::pin(async move {
        request.runs.fetch_add(1, Ordering::SeqCst);
        let filter = request.row.filter();
        let mut row = transaction.lock_current_executions(&filter).await?.unwrap();
        row.last_write_version += 1;
        assert_eq!(transaction.update_current_executions(&row).await?, 1);
        Ok(row.last_write_version)
    })
}

async fn a_lost_conflict_runs_the_body_again_on_a_fresh_snapshot(ctx: &TestContext) {
    let mut row = ctx.current();
    row.last_write_version = 10;
    ctx.insert(&row).await;
    let request = Request::new(row.clone());
    // Another writer commits after the snapshot of the first attempt, so that this attempt
    // conflicts.
    let others = Arc::clone(&ctx.store);
    let store = intercept_nth_begin(&ctx.store, 1, move |_| {
        let (others, row) = (Arc::clone(&others), row.clone());
        Box::pin(async move {
            let row = CurrentExecutionsRow { last_write_version: 20, ..row };
            assert_eq!(others.session().update_current_executions(&row).await.unwrap(), 1);
        })
    });
    let version = store.run("Increment", &request, increment).await.unwrap();
    assert_eq!((version, request.runs()), (21, 2), "the second attempt sees the concurrent write");
    let read = ctx.read(&request.row.filter()).await.unwrap();
    assert_eq!(read.last_write_version, 21);
}

async fn conflicts_are_repeated_until_the_commit_succeeds_and_write_once(ctx: &TestContext) {
    let request = Request::new(ctx.current());
    ctx.fixture.fail_next_commits(&[CommitFailure::Conflict; 4]);
    assert_eq!(ctx.store.run("Insert", &request, insert).await.unwrap(), 1);
    assert_eq!((request.runs(), ctx.fixture.faults_left()), (5, 0));
    assert_eq!(ctx.read(&request.row.filter()).await, Some(request.row));
}

async fn conflicts_until_the_deadline_are_contention_and_write_nothing(ctx: &TestContext) {
    let policy = RetryPolicy::new(
        Duration::from_millis(1),
        Duration::from_millis(2),
        Duration::from_millis(50),
    );
    let limited = ctx.with_policy(policy).await;
    let request = Request::new(ctx.current());
    limited.fixture.fail_next_commits(&[CommitFailure::Conflict; 10_000]);
    let error = limited.store.run("Insert", &request, insert).await.unwrap_err();
    let StoreError::Conflict { op, attempts, .. } = &error else {
        panic!("expected contention, got {error:?}");
    };
    assert_eq!((*op, *attempts), ("Insert", request.runs()));
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert_eq!(limited.read(&request.row.filter()).await, None);
}

async fn a_failed_condition_is_not_repeated(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let request = Request::new(ctx.changed(&row));
    let error = ctx
        .store
        .run("Create", &request, |transaction, request| {
            Box::pin(async move {
                request.runs.fetch_add(1, Ordering::SeqCst);
                let observed =
                    transaction.lock_current_executions(&request.row.filter()).await?.map(Box::new);
                Err::<(), _>(ConditionFailed::CurrentExecution { observed }.into())
            })
        })
        .await
        .unwrap_err();
    let expected = ConditionFailed::CurrentExecution { observed: Some(Box::new(row)) };
    assert!(matches!(&error, StoreError::Condition(seen) if *seen == expected), "{error:?}");
    assert_eq!(request.runs(), 1);
}

async fn a_duplicate_is_not_repeated(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let request = Request::new(ctx.changed(&row));
    let error = ctx.store.run("Insert", &request, insert).await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error:?}");
    assert_eq!(request.runs(), 1);
}

async fn lose_a_commit(ctx: &TestContext, fault: CommitFailure) -> Option<CurrentExecutionsRow> {
    let request = Request::new(ctx.current());
    ctx.fixture.fail_next_commits(&[fault]);
    let error = ctx.store.run("Insert", &request, insert).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
    assert!(matches!(error, StoreError::Unavailable { op: "Insert", .. }), "{error:?}");
    assert_eq!(request.runs(), 1, "an unknown commit must not be repeated");
    let read = ctx.read(&request.row.filter()).await;
    assert!(read.is_none() || read.as_ref() == Some(&request.row));
    read
}

async fn a_commit_lost_before_it_arrived_is_unknown_and_not_repeated(ctx: &TestContext) {
    assert_eq!(lose_a_commit(ctx, CommitFailure::LostCommit).await, None);
}

async fn a_commit_lost_after_it_was_applied_is_unknown_and_not_repeated(ctx: &TestContext) {
    assert!(lose_a_commit(ctx, CommitFailure::LostAnswer).await.is_some());
}

async fn the_store_is_usable_after_a_lost_commit(ctx: &TestContext) {
    for fault in [CommitFailure::LostCommit, CommitFailure::LostAnswer, CommitFailure::Conflict] {
        let request = Request::new(ctx.current());
        ctx.fixture.fail_next_commits(&[fault]);
        let _ = ctx.store.run("Insert", &request, insert).await;
        let next = Request::new(ctx.current());
        assert_eq!(ctx.store.run("Insert", &next, insert).await.unwrap(), 1);
        assert_eq!(ctx.read(&next.row.filter()).await, Some(next.row));
    }
}

async fn a_body_that_fails_is_rolled_back(ctx: &TestContext) {
    let request = Request::new(ctx.current());
    let error = ctx
        .store
        .run("Abandon", &request, |transaction, request| {
            Box::pin(async move {
                transaction.insert_into_current_executions(&request.row).await?;
                Err::<(), _>(StoreError::InvalidArgument {
                    field: "request",
                    reason: "cancelled by the body".into(),
                    source: None,
                })
            })
        })
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::InvalidArgument { field: "request", .. }), "{error:?}");
    assert_eq!(ctx.read(&request.row.filter()).await, None);
}

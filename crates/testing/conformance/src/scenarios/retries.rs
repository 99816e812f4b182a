//! The runner on this adapter: what is repeated, what is not, and what is known afterwards.

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

use crate::{CommitFault, World, interposed::interposed_once, scenario::scenario_table};

scenario_table! { "retries":
    a_lost_conflict_runs_the_body_again_on_a_fresh_snapshot per archetype;
    conflicts_are_repeated_until_the_commit_succeeds_and_write_once per archetype;
    conflicts_until_the_deadline_are_contention_and_write_nothing per archetype;
    a_failed_condition_is_not_repeated per archetype;
    a_duplicate_is_not_repeated per archetype;
    a_commit_lost_before_it_arrived_is_unknown_and_not_repeated per archetype;
    a_commit_lost_after_it_was_applied_is_unknown_and_not_repeated per archetype;
    the_store_works_on_after_a_lost_commit per archetype;
    a_body_that_fails_leaves_no_trace per archetype;
}

/// A request that counts how often the body ran with it.
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

/// Adds one to the version of the request's row.
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

async fn a_lost_conflict_runs_the_body_again_on_a_fresh_snapshot(world: &World) {
    let mut row = world.current();
    row.last_write_version = 10;
    world.insert(&row).await;
    let request = Request::new(row.clone());
    // Another writer commits when the first attempt has its snapshot, so that this one cannot.
    let others = Arc::clone(&world.store);
    let store = interposed_once(&world.store, 1, move |_| {
        let (others, row) = (Arc::clone(&others), row.clone());
        Box::pin(async move {
            let row = CurrentExecutionsRow { last_write_version: 20, ..row };
            assert_eq!(others.session().update_current_executions(&row).await.unwrap(), 1);
        })
    });
    let version = store.run("Increment", &request, increment).await.unwrap();
    assert_eq!((version, request.runs()), (21, 2), "the second attempt sees the other's write");
    let read = world.read(&request.row.filter()).await.unwrap();
    assert_eq!(read.last_write_version, 21);
}

async fn conflicts_are_repeated_until_the_commit_succeeds_and_write_once(world: &World) {
    let request = Request::new(world.current());
    world.place.fail_next_commits(&[CommitFault::Conflict; 4]);
    assert_eq!(world.store.run("Insert", &request, insert).await.unwrap(), 1);
    assert_eq!((request.runs(), world.place.faults_left()), (5, 0));
    assert_eq!(world.read(&request.row.filter()).await, Some(request.row));
}

async fn conflicts_until_the_deadline_are_contention_and_write_nothing(world: &World) {
    let policy = RetryPolicy {
        base: Duration::from_millis(1),
        cap: Duration::from_millis(2),
        deadline: Duration::from_millis(50),
    };
    let impatient = world.with_policy(policy).await;
    let request = Request::new(world.current());
    impatient.place.fail_next_commits(&[CommitFault::Conflict; 10_000]);
    let error = impatient.store.run("Insert", &request, insert).await.unwrap_err();
    let StoreError::Contended { op, attempts, .. } = &error else {
        panic!("expected contention, got {error:?}");
    };
    assert_eq!((*op, *attempts), ("Insert", request.runs()));
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert_eq!(impatient.read(&request.row.filter()).await, None);
}

async fn a_failed_condition_is_not_repeated(world: &World) {
    let row = world.current();
    world.insert(&row).await;
    let request = Request::new(world.changed(&row));
    let error = world
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

async fn a_duplicate_is_not_repeated(world: &World) {
    let row = world.current();
    world.insert(&row).await;
    let request = Request::new(world.changed(&row));
    let error = world.store.run("Insert", &request, insert).await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error:?}");
    assert_eq!(request.runs(), 1);
}

async fn lose_a_commit(world: &World, fault: CommitFault) -> Option<CurrentExecutionsRow> {
    let request = Request::new(world.current());
    world.place.fail_next_commits(&[fault]);
    let error = world.store.run("Insert", &request, insert).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
    assert!(matches!(error, StoreError::Unavailable { op: "Insert", .. }), "{error:?}");
    assert_eq!(request.runs(), 1, "an unknown commit must not be repeated");
    let read = world.read(&request.row.filter()).await;
    assert!(read.is_none() || read.as_ref() == Some(&request.row));
    read
}

async fn a_commit_lost_before_it_arrived_is_unknown_and_not_repeated(world: &World) {
    assert_eq!(lose_a_commit(world, CommitFault::LostBefore).await, None);
}

async fn a_commit_lost_after_it_was_applied_is_unknown_and_not_repeated(world: &World) {
    assert!(lose_a_commit(world, CommitFault::LostAfter).await.is_some());
}

async fn the_store_works_on_after_a_lost_commit(world: &World) {
    for fault in [CommitFault::LostBefore, CommitFault::LostAfter, CommitFault::Conflict] {
        let request = Request::new(world.current());
        world.place.fail_next_commits(&[fault]);
        let _ = world.store.run("Insert", &request, insert).await;
        let next = Request::new(world.current());
        assert_eq!(world.store.run("Insert", &next, insert).await.unwrap(), 1);
        assert_eq!(world.read(&next.row.filter()).await, Some(next.row));
    }
}

async fn a_body_that_fails_leaves_no_trace(world: &World) {
    let request = Request::new(world.current());
    let error = world
        .store
        .run("Abandon", &request, |transaction, request| {
            Box::pin(async move {
                transaction.insert_into_current_executions(&request.row).await?;
                Err::<(), _>(StoreError::InvalidArgument {
                    field: "request",
                    reason: "changed its mind".into(),
                    source: None,
                })
            })
        })
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::InvalidArgument { field: "request", .. }), "{error:?}");
    assert_eq!(world.read(&request.row.filter()).await, None);
}

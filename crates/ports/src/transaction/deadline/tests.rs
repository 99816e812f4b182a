//! Tests of the runner at a deadline. Those of the stores are in the conformance suite.

use std::{future::pending, time::Duration};

use super::*;
use crate::{Attempt, Outcome, Runner, StoreError, testing::conflict};

const LIMIT: Duration = Duration::from_millis(50);

#[track_caller]
fn assert_passed(error: &StoreError, outcome: Outcome) {
    let StoreError::Unavailable { op: "Test", outcome: found, source: Some(source) } = error else {
        panic!("{error:?}");
    };
    assert_eq!(*found, outcome);
    assert!(source.get().is::<DeadlinePassed>(), "{source:?}");
}

#[tokio::test(start_paused = true)]
async fn running_work_is_ended_at_the_deadline_with_the_given_outcome() {
    let runner = Runner::default();
    for ended in [Outcome::NotApplied, Outcome::Unknown] {
        let start = tokio::time::Instant::now();
        let deadline = runner.deadline(LIMIT);
        let work = pending::<Result<(), StoreError>>();
        let error = runner.until(deadline, "Test", ended, work).await.unwrap_err();
        assert_passed(&error, ended);
        assert_eq!(start.elapsed(), LIMIT);
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_ends_before_the_deadline_returns_its_result() {
    let runner = Runner::default();
    let deadline = runner.deadline(LIMIT);
    let work = async {
        tokio::time::sleep(LIMIT / 2).await;
        Ok(7)
    };
    assert_eq!(runner.until(deadline, "Test", Outcome::Unknown, work).await.unwrap(), 7);
    let failing = async { Err::<(), _>(conflict()) };
    let error = runner.until(deadline, "Test", Outcome::Unknown, failing).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_after_the_deadline() {
    let runner = Runner::default();
    let deadline = runner.deadline(Duration::ZERO);
    let begun = std::sync::atomic::AtomicBool::new(false);
    let work = async {
        begun.store(true, std::sync::atomic::Ordering::SeqCst);
        Ok(())
    };
    let error = runner.until(deadline, "Test", Outcome::Unknown, work).await.unwrap_err();
    assert_passed(&error, Outcome::NotApplied);
    let attempt = |_| {
        begun.store(true, std::sync::atomic::Ordering::SeqCst);
        std::future::ready(Ok(()))
    };
    let error = runner.retry_until(deadline, "Test", attempt).await.unwrap_err();
    assert_passed(&error, Outcome::NotApplied);
    assert!(!begun.into_inner());
}

#[tokio::test(start_paused = true)]
async fn conflicts_are_not_repeated_past_the_deadline_and_the_last_one_is_returned() {
    let runner = Runner::builder().seed(3).build();
    let limit = Duration::from_secs(1);
    let start = tokio::time::Instant::now();
    let deadline = runner.deadline(limit);
    let attempt = |attempt: Attempt| {
        assert_eq!(attempt.deadline, deadline);
        std::future::ready(Err::<(), _>(conflict()))
    };
    let error = runner.retry_until(deadline, "Test", attempt).await.unwrap_err();
    let StoreError::Conflict { op: "Test", attempts, .. } = error else { panic!("{error:?}") };
    assert!(attempts > 2, "{attempts}");
    assert!(start.elapsed() < limit, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn work_without_a_deadline_is_not_ended() {
    let runner = Runner::default();
    assert_eq!(runner.remaining(Deadline::NEVER), Duration::MAX);
    let work = async {
        tokio::time::sleep(Duration::from_secs(1_000_000)).await;
        Ok(())
    };
    runner.until(Deadline::NEVER, "Test", Outcome::Unknown, work).await.unwrap();
    // A limit beyond the range of the clock is no deadline.
    assert_eq!(runner.deadline(Duration::MAX), Deadline::NEVER);
}

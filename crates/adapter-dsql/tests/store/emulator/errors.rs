//! Each class of failure (aurora-dsql.md#transient-failures, aurora-dsql.md#limits) reaches the
//! caller as the right [`StoreError`].

use std::time::Duration;

use dsql_emulator::{CommitFault, Limits, StatementFault};
use temporal_dsql_domain::{
    DataBlob, Encoding, ExecutionsRow, ImmediateQueue, ImmediateTask, ShardId, ShardsRow, Tasks,
};
use temporal_dsql_ports::{
    Attempt, Outcome, RetryPolicy, Store, StoreError, Transaction, limits::LimitKind,
};
use temporal_dsql_store::DsqlStore;
use temporal_dsql_stores::{Owner, TaskStore};
use temporal_dsql_testkit::ScratchCluster;

use crate::support::{
    LONG_RETRIES,
    cluster::{cluster, open},
    execution,
    recorder::Recorded,
};

async fn begin(store: &DsqlStore) -> Box<dyn Transaction> {
    #[expect(clippy::disallowed_methods, reason = "the test interleaves transactions")]
    store.begin(Attempt::first("Test")).await.unwrap()
}

async fn count(cluster: &ScratchCluster) -> String {
    cluster.query("SELECT count(*) FROM executions").await.unwrap()[0][0].clone().unwrap()
}

#[tokio::test]
async fn oc000_and_oc001_at_commit_are_contention_and_nothing_is_applied() {
    let Some(cluster) = cluster(|builder| builder).await else { return };
    let store = open(&cluster, RetryPolicy::NEVER).await;
    for fault in [CommitFault::Conflict, CommitFault::CatalogConflict] {
        cluster.faults().at_commit(fault, 1);
        let mut transaction = begin(&store).await;
        transaction.insert_into_executions(&execution()).await.unwrap();
        let error = transaction.commit().await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{fault:?}: {error:?}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
        assert_eq!(count(&cluster).await, "0");
    }
}

#[tokio::test]
async fn oc001_at_a_statement_even_a_read_is_contention_and_is_retried() {
    let Some(cluster) = cluster(|builder| builder).await else { return };
    let row = execution();
    let strict = open(&cluster, RetryPolicy::NEVER).await;
    cluster.faults().at_statement(Some("FROM executions"), StatementFault::CatalogConflict, 1);
    let error = strict.session().select_from_executions(&row.filter()).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
    let patient = open(&cluster, LONG_RETRIES).await;
    cluster.faults().at_statement(Some("FROM executions"), StatementFault::CatalogConflict, 2);
    assert_eq!(patient.session().select_from_executions(&row.filter()).await.unwrap(), None);
    assert_eq!(cluster.faults().pending(), 0);
}

#[tokio::test]
async fn a_real_change_of_the_catalog_is_survived_by_open_stores() {
    let Some(cluster) = cluster(|builder| builder).await else { return };
    let store = open(&cluster, LONG_RETRIES).await;
    for number in 0..5 {
        store.session().insert_into_executions(&execution()).await.unwrap();
        cluster.query(&format!("CREATE TABLE other_{number} (id INT PRIMARY KEY)")).await.unwrap();
    }
    assert_eq!(count(&cluster).await, "5");
}

#[tokio::test]
async fn an_internal_error_is_unavailable_and_its_outcome_depends_on_the_phase() {
    let Some(cluster) = cluster(|builder| builder).await else { return };
    let store = open(&cluster, RetryPolicy::NEVER).await;
    for fault in [StatementFault::Unavailable, StatementFault::Close] {
        let mut transaction = begin(&store).await;
        cluster.faults().at_statement(Some("executions"), fault, 1);
        let error = transaction.insert_into_executions(&execution()).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{fault:?}: {error:?}");
        assert_eq!(error.outcome(), Outcome::NotApplied, "{fault:?}");
    }
    let mut applied_so_far = 0;
    for applied in [false, true] {
        for fault in [CommitFault::Unavailable { applied }, CommitFault::LostAnswer { applied }] {
            cluster.faults().at_commit(fault, 1);
            let mut transaction = begin(&store).await;
            transaction.insert_into_executions(&execution()).await.unwrap();
            let error = transaction.commit().await.unwrap_err();
            assert!(matches!(error, StoreError::Unavailable { .. }), "{fault:?}: {error:?}");
            assert_eq!(error.outcome(), Outcome::Unknown, "{fault:?}");
            applied_so_far += u32::from(applied);
            assert_eq!(count(&cluster).await, applied_so_far.to_string(), "{fault:?}");
        }
    }
}

#[tokio::test]
async fn a_transaction_that_is_too_old_is_a_limit_and_not_applied() {
    let Some(cluster) = cluster(|builder| builder).await else { return };
    let store = open(&cluster, LONG_RETRIES).await;
    let mut transaction = begin(&store).await;
    transaction.insert_into_executions(&execution()).await.unwrap();
    cluster.faults().shift_clock(Limits::default().transaction_age + Duration::from_secs(1));
    let error = transaction.commit().await.unwrap_err();
    let StoreError::Limit { kind: LimitKind::TransactionAge, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert_eq!(count(&cluster).await, "0");
}

#[tokio::test]
async fn rows_and_bytes_beyond_the_limit_of_a_transaction_are_limits_and_not_applied() {
    let limits = {
        let mut limits = Limits::default();
        limits.transaction_rows = 3;
        limits.transaction_bytes = 10_000;
        limits
    };
    // The limits hold for rows only: setting up the schema writes none but a few.
    let Some(cluster) = cluster(|builder| builder.limits(limits)).await else { return };
    let store = open(&cluster, LONG_RETRIES).await;
    let mut transaction = begin(&store).await;
    for _ in 0..3 {
        transaction.insert_into_executions(&execution()).await.unwrap();
    }
    let error = transaction.insert_into_executions(&execution()).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Limit { kind: LimitKind::TransactionRows, .. }),
        "{error:?}"
    );
    let mut big = execution();
    big.data.data = vec![7; 20_000];
    let mut transaction = begin(&store).await;
    transaction.insert_into_executions(&big).await.unwrap();
    let error = transaction.commit().await.unwrap_err();
    assert!(
        matches!(error, StoreError::Limit { kind: LimitKind::TransactionBytes, .. }),
        "{error:?}"
    );
    // Autocommit is a transaction too.
    let error = store.session().insert_into_executions(&big).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Limit { kind: LimitKind::TransactionBytes, .. }),
        "{error:?}"
    );
    assert_eq!(count(&cluster).await, "0");
}

/// A cluster does not answer a message of more than 10 MiB; it closes the connection. The rows of the
/// first case have less than that, and the message has more.
#[tokio::test]
async fn a_message_that_no_server_answers_is_a_limit_before_it_is_sent() {
    let recorded = Recorded::default();
    let _recorder = metrics::set_default_local_recorder(&recorded);
    let Some(cluster) = cluster(|builder| builder).await else { return };
    let store = open(&cluster, LONG_RETRIES).await;
    let owner = Owner { shard_id: ShardId(1), range_id: 1 };
    let shard =
        ShardsRow { shard_id: owner.shard_id, range_id: owner.range_id, data: execution().data };
    store.session().insert_into_shards(&shard).await.unwrap();
    let add = async |count: i64, bytes: usize, encoding: &str| {
        let data = DataBlob::new(vec![7; bytes], Encoding::new(encoding).unwrap());
        let task = |task_id| ImmediateTask { task_id, data: data.clone() };
        let tasks = (1..=count).map(task).collect();
        let immediate = vec![(ImmediateQueue::Transfer, tasks)];
        let tasks = Tasks { immediate, scheduled: Vec::new() };
        let error = TaskStore::new(&store).add(owner, &tasks).await.unwrap_err();
        assert_eq!(recorded.total("dsql_tx_retry_total", &[]), 0, "{error:?}");
        let StoreError::Limit { kind: LimitKind::TransactionBytes, .. } = error else {
            panic!("{count} tasks of {bytes} bytes: {error:?}")
        };
        std::error::Error::source(&error).unwrap().to_string()
    };
    let refused = add(2_990, 3_490, "Proto3").await;
    assert!(refused.contains("a message has at most"), "{refused}");
    // On the wire a task has its id, its blob and its encoding, each with its length. The arrays of
    // the tables that get nothing have 2.5 kB.
    let encoding = "e".repeat(16);
    let each = 4 + 8 + 4 + 3_500 + 4 + 16;
    let fitting = (10 * 1024 * 1024 - 3 * 1_024) / each;
    let answered = add(fitting, 3_500, &encoding).await;
    assert!(answered.contains("transaction size limit"), "{answered}");
    let refused = add(fitting + 1, 3_500, &encoding).await;
    assert!(refused.contains("a message has at most"), "{refused}");
}

#[tokio::test]
async fn a_duplicate_a_failed_transaction_and_a_missing_table_are_distinct_errors() {
    let Some(cluster) = cluster(|builder| builder).await else { return };
    let store = open(&cluster, LONG_RETRIES).await;
    let row = execution();
    store.session().insert_into_executions(&row).await.unwrap();
    let mut transaction = begin(&store).await;
    let error = transaction.insert_into_executions(&row).await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error:?}");
    // The transaction has failed: no later operation on it succeeds.
    let other: ExecutionsRow = execution();
    transaction.insert_into_executions(&other).await.unwrap_err();
    let error = transaction.commit().await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error:?}");
    assert_eq!(count(&cluster).await, "1");
    cluster.query("DROP TABLE executions").await.unwrap();
    let error = store.session().insert_into_executions(&row).await.unwrap_err();
    assert!(matches!(error, StoreError::Unsupported { .. }), "{error:?}");
}

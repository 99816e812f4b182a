//! QueueV2Store: queues with a name, whose ids never begin again.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use temporal_dsql_domain::{
    DataBlob, Encoding, FIRST_MESSAGE_ID, QueueMessage, QueueName, QueueV2Key, QueueV2Metadata,
    QueueV2Type, QueuesRow, Table,
};
use temporal_dsql_ports::{ConditionFailed, Outcome, StoreError};
use temporal_dsql_stores::{PageKey, QueueInfo, QueueV2Store};

use crate::{
    context::{TestContext, conflicts::assert_unknown, owned_shard::SharedStore},
    harness::CommitFailure::{Conflict, LostAnswer, LostCommit},
    scenario::scenario_table,
};

scenario_table! { "queue_v2_store":
    messages_are_enqueued_and_read_in_pages
        = "queue_v2_test_suite.go/TestHappyPath",
          "queue_v2_test_suite.go/TestNonPositivePageSize",
          "history_task_queue_manager_test_suite.go/TestHistoryTaskQueueManagerEnqueueTasks";
    a_token_that_is_no_token_is_refused
        = "queue_v2_test_suite.go/TestInvalidPageToken",
          "queue_v2_test_suite.go/TestListQueues_InvalidPageToken",
          "queue_v2.go/TestSelectNameFromQueueV2NegativeToken";
    a_queue_that_does_not_exist_is_named
        = "queue_v2_test_suite.go/TestEnqueueMessageToNonExistentQueue",
          "queue_v2_test_suite.go/TestRangeDeleteMessages_DeleteBeforeCreate";
    a_queue_is_created_once = "queue_v2_test_suite.go/TestCreateQueueTwice";
    a_message_of_an_unknown_encoding_is_refused
        = "queue_v2_test_suite.go/TestInvalidEncodingForQueueMessage";
    a_queue_whose_metadata_cannot_be_read_is_refused_and_unchanged
        = "queue_v2_test_suite.go/TestInvalidEncodingForQueueMetadata",
          "queue_v2.go/TestListQueueFailsToExtractQueueMetadata",
          "queue_v2.go/TestGetPartitionFailsForListQueues",
          "queue_v2.go/TestGetPartitionFailsForRangeDelete",
          "queue_v2.go/TestInvalidMetadataEncoding",
          "queue_v2.go/TestInvalidMetadataPayload";
    a_deletion_of_a_negative_id_is_refused
        = "queue_v2_test_suite.go/TestRangeDeleteMessages_InvalidMaxMessageID";
    a_range_is_deleted_and_the_rest_is_read
        = "queue_v2_test_suite.go/TestRangeDeleteMessages_HappyPath",
          "history_task_queue_manager_test_suite.go/TestBestEffortDeleteTasks";
    ids_continue_after_all_messages_were_deleted
        = "queue_v2_test_suite.go/TestRangeDeleteMessages_DeleteAllAndReEnqueue",
          "queue_v2_test_suite.go/TestRangeDeleteMessages_DeleteAndValidateMinId";
    a_range_is_counted_once_if_it_is_deleted_twice
        = "queue_v2_test_suite.go/TestRangeDeleteMessages_DeleteSameRangeTwice";
    the_rows_of_a_deleted_range_are_gone_except_the_last_of_the_queue
        = "queue_v2.go/TestRangeDeleteActuallyDeletes";
    queues_are_listed_in_pages_with_their_sizes
        = "queue_v2_test_suite.go/TestListQueues_HappyPath",
          "queue_v2_test_suite.go/TestListQueues_QueueSize",
          "queue_v2_test_suite.go/TestListQueues_NegativePageSize",
          "history_task_queue_manager_test_suite.go/TestListQueues";
    sixteen_enqueuers_of_a_named_queue_leave_no_gap;
    enqueues_and_deletions_at_once_lose_no_message;
    a_deleted_message_is_not_read_with_an_older_token = "temporal-persistence.md#case-9";
    ten_thousand_messages_of_a_queue_are_deleted = "temporal-persistence.md#case-7";
    a_deletion_that_ended_early_is_continued;
    a_lost_commit_leaves_the_outcome_unknown_and_is_not_repeated
        = "queue_v2.go/TestQueueInsertFails",
          "queue_v2.go/TestTxCommitFails",
          "queue_v2.go/TestInsertIntoQueueV2MetadataFails",
          "history_task_queue_manager_test_suite.go/TestHistoryTaskQueueManagerEnqueueTasksErr",
          "history_task_queue_manager_test_suite.go/TestHistoryTaskQueueManagerCreateQueueErr";
    a_deletion_whose_answers_are_lost_is_retried_or_unknown
        = "queue_v2.go/TestRangeDeleteMessagesFails",
          "queue_v2.go/TestUpdateMetadataFails",
          "history_task_queue_manager_test_suite.go/TestDeleteTasksErr";
    an_operation_that_cannot_read_is_unavailable_and_changes_nothing
        = "queue_v2.go/TestListQueueFailsToGetLastMessageID",
          "queue_v2.go/TestTxBeginFails",
          "queue_v2.go/TestFailedToGetLastMessageIDFromDB",
          "queue_v2.go/TestGetLastMessageIDForDeleteFails",
          "queue_v2.go/TestSelectMetadataFails",
          "queue_v2.go/TestSelectNameFromQueueV2MetadataFails";
}

/// No ids.
const NONE: [i64; 0] = [];

type Queues = QueueV2Store<SharedStore>;

fn queues(ctx: &TestContext) -> Queues {
    QueueV2Store::new(Arc::clone(&ctx.store))
}

fn queue(name: &str) -> QueueV2Key {
    let queue_name = QueueName::new(name).unwrap();
    QueueV2Key { queue_type: QueueV2Type::HISTORY_DLQ, queue_name }
}

/// A new queue with `count` messages.
async fn filled(ctx: &TestContext, name: &str, count: i64) -> (Queues, QueueV2Key) {
    let (queues, key) = (queues(ctx), queue(name));
    queues.create(&key).await.unwrap();
    for id in 0..count {
        assert_eq!(queues.enqueue(&key, &ctx.data()).await.unwrap(), id);
    }
    (queues, key)
}

/// The ids of all messages that can be read.
async fn ids(queues: &Queues, key: &QueueV2Key) -> Vec<i64> {
    let page = queues.read(key, None, 20_000).await.unwrap();
    page.items.iter().map(|message| message.message_id).collect()
}

/// The ids of all stored rows.
async fn rows(ctx: &TestContext, key: &QueueV2Key) -> Vec<i64> {
    let mut session = ctx.store.session();
    let rows = session.range_select_from_queue_v2_messages(key, i64::MIN, 20_000).await.unwrap();
    rows.iter().map(|message| message.message_id).collect()
}

#[track_caller]
fn assert_condition<T: std::fmt::Debug>(result: Result<T, StoreError>, expected: &ConditionFailed) {
    match result {
        Err(StoreError::Condition(failed)) => assert_eq!(failed, *expected),
        other => panic!("expected {expected:?}, got {other:?}"),
    }
}

#[track_caller]
fn assert_invalid<T: std::fmt::Debug>(result: Result<T, StoreError>, expected: &str) {
    match result {
        Err(StoreError::InvalidArgument { field, .. }) => assert_eq!(field, expected),
        other => panic!("expected a refusal of {expected}, got {other:?}"),
    }
}

#[track_caller]
fn assert_corrupt<T: std::fmt::Debug>(result: Result<T, StoreError>, expected: (Table, &str)) {
    match result {
        Err(StoreError::Corrupt { table, column, source }) => {
            assert_eq!((table, column), expected);
            assert!(source.unwrap().to_string().contains("`one`"), "the queue is named");
        }
        other => panic!("expected a value that cannot be read, got {other:?}"),
    }
}

async fn messages_are_enqueued_and_read_in_pages(ctx: &TestContext) {
    let (queues, key) = filled(ctx, "one", 0).await;
    let empty = queues.read(&key, None, 1).await.unwrap();
    assert_eq!((empty.items, empty.next), (vec![], None));
    let data: Vec<_> = (0..2).map(|_| ctx.data()).collect();
    for (id, data) in (FIRST_MESSAGE_ID..).zip(&data) {
        assert_eq!(queues.enqueue(&key, data).await.unwrap(), id);
    }
    let mut from = None;
    for (message_id, data) in (FIRST_MESSAGE_ID..).zip(data) {
        let page = queues.read(&key, from, 1).await.unwrap();
        assert_eq!(page.items, [QueueMessage { message_id, data }]);
        // A client passes the token back.
        from = page.next.map(|next| i64::from_bytes(&next.to_bytes()).unwrap());
        assert!(from.is_some());
    }
    let last = queues.read(&key, from, 1).await.unwrap();
    assert_eq!((last.items, last.next), (vec![], None));
    assert_invalid(queues.read(&key, None, 0).await, "limit");
}

async fn a_token_that_is_no_token_is_refused(ctx: &TestContext) {
    let (queues, key) = filled(ctx, "one", 1).await;
    let token = queues.list(key.queue_type, None, 1).await.unwrap().next.unwrap().to_bytes();
    assert_eq!(QueueName::from_bytes(&token).unwrap(), key.queue_name);
    // Neither other bytes nor the token of another list.
    for bytes in [&b"some invalid token"[..], &token] {
        assert_invalid(i64::from_bytes(bytes).map_err(StoreError::from), "page_token");
    }
    let of_messages = queues.read(&key, None, 1).await.unwrap().next.unwrap().to_bytes();
    for bytes in [&b"some invalid token"[..], &of_messages] {
        assert_invalid(QueueName::from_bytes(bytes).map_err(StoreError::from), "page_token");
    }
    // A negative position is before the first message.
    assert_eq!(queues.read(&key, Some(-5), 9).await.unwrap().items.len(), 1);
}

async fn a_queue_that_does_not_exist_is_named(ctx: &TestContext) {
    let (queues, key) = (queues(ctx), queue("non-existent-queue"));
    let failed = ConditionFailed::QueueNotFound { queue: key.clone() };
    assert_eq!(failed.to_string(), "queue `non-existent-queue` of type 2 does not exist");
    assert_condition(queues.enqueue(&key, &ctx.data()).await, &failed);
    assert_condition(queues.read(&key, None, 1).await, &failed);
    assert_condition(queues.delete_range(&key, 0).await, &failed);
    assert_eq!(ctx.fixture.count(Table::QueueMessages).await, 0);
}

async fn a_queue_is_created_once(ctx: &TestContext) {
    let (queues, key) = filled(ctx, "one", 2).await;
    let failed = ConditionFailed::QueueExists { queue: key.clone() };
    assert_eq!(failed.to_string(), "queue `one` of type 2 exists");
    assert_condition(queues.create(&key).await, &failed);
    assert_eq!(ids(&queues, &key).await, [0, 1]);
    let other = QueueV2Key { queue_type: QueueV2Type::HISTORY_NORMAL, ..key.clone() };
    queues.create(&other).await.unwrap();
    assert_eq!(ids(&queues, &other).await, NONE);

    let key = queue("raced");
    let creators = (0..8).map(|_| {
        let (queues, key) = (queues.clone(), key.clone());
        tokio::spawn(async move { queues.create(&key).await })
    });
    let results: Vec<_> = join_all(creators).await.into_iter().map(|done| done.unwrap()).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    let failed = ConditionFailed::QueueExists { queue: key };
    results.into_iter().filter(Result::is_err).for_each(|result| assert_condition(result, &failed));
}

async fn a_message_of_an_unknown_encoding_is_refused(ctx: &TestContext) {
    let (queues, key) = filled(ctx, "one", 0).await;
    for known in ["Proto3", "Json", "Unspecified"] {
        let message = DataBlob::new(*b"1", Encoding::new(known).unwrap());
        queues.enqueue(&key, &message).await.unwrap();
    }
    assert_eq!(ids(&queues, &key).await, [0, 1, 2]);
    let message = DataBlob::new(*b"1", Encoding::new("-1").unwrap());
    queues.enqueue(&key, &message).await.unwrap();
    let expected = (Table::QueueMessages, "message_encoding");
    assert_corrupt(queues.read(&key, None, 10).await, expected);
}

async fn a_queue_whose_metadata_cannot_be_read_is_refused_and_unchanged(ctx: &TestContext) {
    let (queues, key) = filled(ctx, "one", 3).await;
    let proto3 = |data: &[u8]| DataBlob::new(data, Encoding::new("Proto3").unwrap());
    let json = DataBlob { encoding: Encoding::new("Json").unwrap(), ..proto3(b"{}") };
    let two_partitions = proto3(&[10, 4, 8, 0, 18, 0, 10, 4, 8, 1, 18, 0]);
    for metadata in [json, proto3(b"not a message"), proto3(&[]), two_partitions] {
        let row = QueuesRow { key: key.clone(), metadata };
        ctx.store.session().update_queue_v2_metadata(&row).await.unwrap();
        let expected = (Table::Queues, "metadata_payload");
        assert_corrupt(queues.read(&key, None, 10).await, expected);
        assert_corrupt(queues.delete_range(&key, 1).await, expected);
        assert_corrupt(queues.list(key.queue_type, None, 10).await, expected);
        let stored = ctx.store.session().select_from_queue_v2_metadata(&key).await.unwrap();
        assert_eq!(stored, Some(row));
        assert_eq!(rows(ctx, &key).await, [0, 1, 2]);
    }
}

async fn a_deletion_of_a_negative_id_is_refused(ctx: &TestContext) {
    let (queues, key) = filled(ctx, "one", 1).await;
    let error = queues.delete_range(&key, -1).await.unwrap_err();
    assert_eq!(error.to_string(), "message_id: is -1; it must be at least 0");
    assert_invalid(Err::<(), _>(error), "message_id");
    assert_eq!(ids(&queues, &key).await, [0]);
}

async fn a_range_is_deleted_and_the_rest_is_read(ctx: &TestContext) {
    let (queues, key) = filled(ctx, "one", 3).await;
    assert_eq!(queues.delete_range(&key, 1).await.unwrap(), 2);
    assert_eq!(ids(&queues, &key).await, [2]);
}

async fn ids_continue_after_all_messages_were_deleted(ctx: &TestContext) {
    let (queues, key) = filled(ctx, "one", 3).await;
    // Beyond the end of the queue, and up to the largest id.
    assert_eq!(queues.delete_range(&key, 10).await.unwrap(), 3);
    assert_eq!(queues.delete_range(&key, i64::MAX).await.unwrap(), 0);
    assert_eq!(ids(&queues, &key).await, NONE);
    assert_eq!(queues.enqueue(&key, &ctx.data()).await.unwrap(), 3);
    assert_eq!(ids(&queues, &key).await, [3]);
    assert_eq!(queues.delete_range(&key, 3).await.unwrap(), 1);
    assert_eq!(queues.enqueue(&key, &ctx.data()).await.unwrap(), 4);
    assert_eq!(ids(&queues, &key).await, [4]);
}

async fn a_range_is_counted_once_if_it_is_deleted_twice(ctx: &TestContext) {
    let (queues, key) = filled(ctx, "one", 2).await;
    assert_eq!(queues.delete_range(&key, 0).await.unwrap(), 1);
    assert_eq!(queues.delete_range(&key, 0).await.unwrap(), 0);
    assert_eq!(ids(&queues, &key).await, [1]);
    let (queues, empty) = filled(ctx, "empty", 0).await;
    assert_eq!(queues.delete_range(&empty, 9).await.unwrap(), 0);
}

/// The last row of an earlier deletion is deleted by the next one. Upstream keeps it.
async fn the_rows_of_a_deleted_range_are_gone_except_the_last_of_the_queue(ctx: &TestContext) {
    let (queues, key) = filled(ctx, "one", 3).await;
    queues.delete_range(&key, 2).await.unwrap();
    assert_eq!(rows(ctx, &key).await, [2]);
    for id in 3..6 {
        assert_eq!(queues.enqueue(&key, &ctx.data()).await.unwrap(), id);
    }
    queues.delete_range(&key, 3).await.unwrap();
    assert_eq!(rows(ctx, &key).await, [4, 5]);
}

fn info(name: &str, message_count: u64, last_message_id: Option<i64>) -> QueueInfo {
    QueueInfo { queue_name: QueueName::new(name).unwrap(), message_count, last_message_id }
}

async fn queues_are_listed_in_pages_with_their_sizes(ctx: &TestContext) {
    let queues = queues(ctx);
    let of_type = QueueV2Type::HISTORY_DLQ;
    assert_eq!(queues.list(of_type, None, 10).await.unwrap().items, []);
    for (name, count) in [("first", 0), ("second", 1), ("0", 2), ("1", 0), ("2", 3)] {
        filled(ctx, name, count).await;
    }
    queues.delete_range(&queue("second"), 0).await.unwrap();
    queues.delete_range(&queue("2"), 0).await.unwrap();
    queues.enqueue(&queue("2"), &ctx.data()).await.unwrap();
    let expected = [
        info("0", 2, Some(1)),
        info("1", 0, None),
        info("2", 3, Some(3)),
        info("first", 0, None),
        info("second", 0, Some(0)),
    ];
    let (mut listed, mut after) = (Vec::new(), None::<QueueName>);
    for limit in [1, 1, 3, 1] {
        let page = queues.list(of_type, after.as_ref(), limit).await.unwrap();
        listed.extend(page.items);
        // A client passes the token back.
        after = page.next.map(|next| QueueName::from_bytes(&next.to_bytes()).unwrap()).or(after);
    }
    assert_eq!(listed, expected);
    assert_invalid(queues.list(of_type, None, 0).await, "limit");
    assert_eq!(queues.list(QueueV2Type::HISTORY_NORMAL, None, 9).await.unwrap().items, []);
}

async fn sixteen_enqueuers_of_a_named_queue_leave_no_gap(ctx: &TestContext) {
    let (queues, key) = filled(ctx, "one", 0).await;
    let enqueuers = (0..16).map(|_| {
        let (queues, key, data) = (queues.clone(), key.clone(), ctx.data());
        tokio::spawn(async move {
            let mut ids = Vec::new();
            for _ in 0..3 {
                ids.push(queues.enqueue(&key, &data).await.unwrap());
            }
            assert!(ids.is_sorted(), "{ids:?}");
            ids
        })
    });
    let mut all: Vec<_> =
        join_all(enqueuers).await.into_iter().flat_map(|ids| ids.unwrap()).collect();
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..48), "{all:?}");
    assert_eq!(ids(&queues, &key).await, all);
}

/// Deletions take the lock of the queue and not that of its messages, so they meet enqueues at the last
/// message only.
async fn enqueues_and_deletions_at_once_lose_no_message(ctx: &TestContext) {
    const MESSAGES: i64 = 30;
    let (queues, key) = filled(ctx, "one", 0).await;
    let (enqueuer, queue, data) = (queues.clone(), key.clone(), ctx.data());
    let enqueued = tokio::spawn(async move {
        for id in 0..MESSAGES {
            assert_eq!(enqueuer.enqueue(&queue, &data).await.unwrap(), id);
        }
    });
    let (mut read, mut deleted) = (Vec::new(), 0);
    while read.len() < MESSAGES as usize {
        let page = ids(&queues, &key).await;
        if let Some(last) = page.last() {
            deleted += queues.delete_range(&key, *last).await.unwrap();
        }
        read.extend(page);
        // A store in memory never waits.
        tokio::task::yield_now().await;
    }
    enqueued.await.unwrap();
    assert!(read.iter().copied().eq(0..MESSAGES), "{read:?}");
    assert_eq!(deleted, MESSAGES as u64);
    assert_eq!(ids(&queues, &key).await, NONE);
}

async fn a_deleted_message_is_not_read_with_an_older_token(ctx: &TestContext) {
    let (queues, key) = filled(ctx, "one", 6).await;
    let first = queues.read(&key, None, 2).await.unwrap();
    queues.delete_range(&key, 3).await.unwrap();
    let second = queues.read(&key, first.next, 9).await.unwrap();
    let ids: Vec<_> = second.items.iter().map(|message| message.message_id).collect();
    assert_eq!(ids, [4, 5]);
    // The row of the last message is still stored.
    queues.delete_range(&key, 5).await.unwrap();
    assert_eq!(queues.read(&key, first.next, 9).await.unwrap().items, []);
}

/// Inserts messages without the store.
async fn insert(ctx: &TestContext, key: &QueueV2Key, count: i64) {
    let data = ctx.data();
    for first in (0..count).step_by(1_000) {
        let ids = first..(first + 1_000).min(count);
        let messages: Vec<_> =
            ids.map(|message_id| QueueMessage { message_id, data: data.clone() }).collect();
        ctx.store.session().insert_into_queue_v2_messages(key, &messages).await.unwrap();
    }
}

async fn ten_thousand_messages_of_a_queue_are_deleted(ctx: &TestContext) {
    const MESSAGES: i64 = 10_000;
    let (queues, key) = filled(ctx, "one", 0).await;
    insert(ctx, &key, MESSAGES).await;
    assert_eq!(queues.delete_range(&key, MESSAGES).await.unwrap(), MESSAGES as u64);
    assert_eq!(ctx.fixture.count(Table::QueueMessages).await, 1);
    assert_eq!(queues.enqueue(&key, &ctx.data()).await.unwrap(), MESSAGES);
}

/// The metadata was written, and then the service ended.
async fn a_deletion_that_ended_early_is_continued(ctx: &TestContext) {
    let (queues, key) = filled(ctx, "one", 5).await;
    let metadata = QueueV2Metadata { min_message_id: 3 }.to_blob();
    let row = QueuesRow { key: key.clone(), metadata };
    ctx.store.session().update_queue_v2_metadata(&row).await.unwrap();
    assert_eq!(ids(&queues, &key).await, [3, 4]);
    assert_eq!(rows(ctx, &key).await, [0, 1, 2, 3, 4]);
    assert_eq!(queues.delete_range(&key, 2).await.unwrap(), 0, "counted before");
    assert_eq!(rows(ctx, &key).await, [3, 4]);
}

async fn a_lost_commit_leaves_the_outcome_unknown_and_is_not_repeated(ctx: &TestContext) {
    let (queues, key) = (queues(ctx), queue("one"));
    ctx.fixture.fail_next_commits(&[LostCommit]);
    assert_unknown(queues.create(&key).await);
    assert_eq!(ctx.fixture.count(Table::Queues).await, 0);
    ctx.fixture.fail_next_commits(&[LostAnswer]);
    queues.create(&key).await.unwrap();
    for (fault, stored) in [(LostCommit, vec![]), (LostAnswer, vec![0])] {
        ctx.fixture.fail_next_commits(&[fault]);
        assert_unknown(queues.enqueue(&key, &ctx.data()).await);
        assert_eq!(ctx.fixture.faults_left(), 0);
        assert_eq!(ids(&queues, &key).await, stored);
    }
    ctx.fixture.fail_next_commits(&[Conflict; 4]);
    assert_eq!(queues.enqueue(&key, &ctx.data()).await.unwrap(), 1);
    assert_eq!(ctx.fixture.faults_left(), 0);
}

async fn a_deletion_whose_answers_are_lost_is_retried_or_unknown(ctx: &TestContext) {
    let (queues, key) = filled(ctx, "one", 6).await;
    // Of the transaction of the metadata.
    for (last, fault) in [(0, LostCommit), (1, LostAnswer)] {
        ctx.fixture.fail_next_commits(&[fault]);
        assert_eq!(queues.delete_range(&key, last).await.unwrap(), 1, "{fault:?}");
        assert_eq!(ctx.fixture.faults_left(), 0);
        assert_eq!(ids(&queues, &key).await.first(), Some(&(last + 1)));
    }
    ctx.fixture.fail_next_commits(&[LostCommit; 3]);
    assert_unknown(queues.delete_range(&key, 2).await);
    assert_eq!(ctx.fixture.faults_left(), 0);
    assert_eq!(ids(&queues, &key).await, [2, 3, 4, 5]);
    assert_eq!(queues.delete_range(&key, 2).await.unwrap(), 1);
    assert_eq!(rows(ctx, &key).await, [3, 4, 5]);
}

async fn an_operation_that_cannot_read_is_unavailable_and_changes_nothing(ctx: &TestContext) {
    let (queues, key) = filled(ctx, "one", 2).await;
    let late = queues.within(Duration::ZERO);
    for result in [
        late.create(&queue("other")).await,
        late.enqueue(&key, &ctx.data()).await.map(drop),
        late.read(&key, None, 1).await.map(drop),
        late.delete_range(&key, 0).await.map(drop),
        late.list(key.queue_type, None, 1).await.map(drop),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
    }
    assert_eq!(ids(&queues, &key).await, [0, 1]);
    assert_eq!(ctx.fixture.count(Table::Queues).await, 1);
}

//! QueueStore: queues that a type identifies, with their dead letter queues.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use temporal_dsql_domain::{
    DataBlob, FIRST_MESSAGE_ID, QueueMessage, QueueMetadataRow, QueueType, Table,
};
use temporal_dsql_ports::{ConditionFailed, Outcome, StoreError};
use temporal_dsql_stores::{PageKey, QueueStore};

use crate::{
    context::{
        TestContext,
        conflicts::assert_unknown,
        owned_shard::{SharedStore, assert_refused},
    },
    harness::CommitFailure::{Conflict, LostAnswer, LostCommit},
    real_data::{self, Recording},
    scenario::scenario_table,
};

scenario_table! { "queue_store":
    ten_senders_enqueue_a_hundred_messages_without_a_gap
        = "queue_persistence.go/TestNamespaceReplicationQueue";
    sixteen_enqueuers_keep_the_order_of_their_messages;
    the_dead_letter_queue_is_read_in_pages_and_deleted
        = "queue_persistence.go/TestNamespaceReplicationDLQ";
    ack_levels_are_written_at_their_version
        = "queue_persistence.go/TestQueueMetadataOperations";
    the_ack_levels_of_a_dead_letter_queue_are_updated_again
        = "queue_persistence.go/TestNamespaceDLQMetadataOperations";
    no_update_of_concurrent_writers_of_ack_levels_is_lost;
    metadata_is_created_once_for_a_queue_and_its_dead_letters;
    the_metadata_of_real_servers_is_created_as_they_did;
    a_message_is_added_once_after_conflicts = "temporal-persistence.md#case-3";
    a_message_whose_answer_is_lost_has_an_unknown_outcome = "temporal-persistence.md#case-4";
    ack_levels_whose_answer_is_lost_are_read = "temporal-persistence.md#case-4";
    a_creation_whose_answer_is_lost_is_retried;
    ten_thousand_messages_are_deleted_in_chunks = "temporal-persistence.md#case-7";
    pages_continue_while_messages_are_deleted = "temporal-persistence.md#case-9";
    an_operation_after_its_deadline_sends_nothing;
}

const QUEUE: QueueType = QueueType::NAMESPACE_REPLICATION;
const DLQ: QueueType = QueueType(-1);
const ALL: u32 = 10_000;

fn queues(ctx: &TestContext) -> QueueStore<SharedStore> {
    QueueStore::new(Arc::clone(&ctx.store))
}

async fn read_all(queues: &QueueStore<SharedStore>, queue: QueueType) -> Vec<QueueMessage> {
    queues.read(queue, FIRST_MESSAGE_ID..i64::MAX, ALL).await.unwrap().items
}

/// Enqueues the messages of each sender concurrently. Returns the ids of each.
async fn send(
    queues: &QueueStore<SharedStore>,
    queue: QueueType,
    senders: Vec<Vec<DataBlob>>,
) -> Vec<Vec<i64>> {
    let senders = senders.into_iter().map(|messages| {
        let queues = queues.clone();
        tokio::spawn(async move {
            let mut ids = Vec::new();
            for message in messages {
                ids.push(queues.enqueue(queue, &message).await.unwrap());
            }
            ids
        })
    });
    join_all(senders).await.into_iter().map(|ids| ids.unwrap()).collect()
}

fn of_senders(ctx: &TestContext, senders: usize, each: usize) -> Vec<Vec<DataBlob>> {
    (0..senders).map(|_| (0..each).map(|_| ctx.data()).collect()).collect()
}

/// Asserts that a queue has exactly the sent messages, each at its id, in the order of each sender.
async fn assert_sent(
    queues: &QueueStore<SharedStore>,
    queue: QueueType,
    sent: Vec<Vec<DataBlob>>,
    ids: Vec<Vec<i64>>,
) {
    assert!(ids.iter().all(|ids| ids.is_sorted()), "a sender's messages are in its order: {ids:?}");
    let (ids, sent) = (ids.concat().into_iter(), sent.concat());
    let mut expected: Vec<_> =
        ids.zip(sent).map(|(message_id, data)| QueueMessage { message_id, data }).collect();
    expected.sort_by_key(|message| message.message_id);
    let stored = read_all(queues, queue).await;
    assert_eq!(stored, expected);
    let dense = stored.iter().map(|message| message.message_id);
    assert!(dense.eq(FIRST_MESSAGE_ID..stored.len() as i64), "{stored:?}");
}

async fn ten_senders_enqueue_a_hundred_messages_without_a_gap(ctx: &TestContext) {
    let (queues, sent) = (queues(ctx), of_senders(ctx, 10, 10));
    let ids = send(&queues, QUEUE, sent.clone()).await;
    assert_sent(&queues, QUEUE, sent, ids).await;
    assert_eq!(ctx.fixture.count(Table::Queue).await, 100);
}

async fn sixteen_enqueuers_keep_the_order_of_their_messages(ctx: &TestContext) {
    let (queues, sent) = (queues(ctx), of_senders(ctx, 16, 3));
    let (ids, other) = tokio::join!(
        send(&queues, QUEUE, sent.clone()),
        send(&queues, DLQ, vec![vec![ctx.data(), ctx.data()]]),
    );
    assert_sent(&queues, QUEUE, sent, ids).await;
    assert_eq!(other, [[0, 1]]);
}

async fn the_dead_letter_queue_is_read_in_pages_and_deleted(ctx: &TestContext) {
    let (queues, sent) = (queues(ctx), of_senders(ctx, 10, 10));
    send(&queues, DLQ, sent).await;
    let range = FIRST_MESSAGE_ID..101;
    let first = queues.read(DLQ, range.clone(), 50).await.unwrap();
    // A client passes the token back.
    let next = i64::from_bytes(&first.next.unwrap().to_bytes()).unwrap();
    let second = queues.read(DLQ, next..range.end, 100).await.unwrap();
    assert_eq!((first.items.len(), second.items.len(), second.next), (50, 50, None));
    let ids = first.items.iter().chain(&second.items).map(|message| message.message_id);
    assert!(ids.eq(0..100));

    let last = second.items.last().unwrap().message_id;
    queues.delete(DLQ, last).await.unwrap();
    queues.delete(DLQ, last).await.unwrap();
    assert_eq!(queues.read(DLQ, range.clone(), 100).await.unwrap().items.len(), 99);
    assert_eq!(queues.delete_range(DLQ, FIRST_MESSAGE_ID..last + 1).await.unwrap(), 99);
    assert_eq!(queues.read(DLQ, range, 100).await.unwrap().items, []);
    let refused = queues.read(DLQ, 0..1, 0).await;
    assert!(matches!(refused, Err(StoreError::InvalidArgument { field: "limit", .. })));
}

async fn ack_levels_are_written_at_their_version(ctx: &TestContext) {
    let queues = queues(ctx);
    assert_eq!(queues.ack_levels(QUEUE).await.unwrap(), None);
    let row = |version| QueueMetadataRow { queue_type: QUEUE, data: ctx.data(), version };
    let failed = |expected, observed| ConditionFailed::QueueMetadata {
        queue_type: QUEUE,
        expected,
        observed,
    };
    assert_refused(queues.update_ack_levels(&row(0)).await, &failed(0, None));
    queues.init(QUEUE, &ctx.data()).await.unwrap();
    for version in 0..3 {
        let update = row(version);
        queues.update_ack_levels(&update).await.unwrap();
        let stored = QueueMetadataRow { version: version + 1, ..update };
        assert_eq!(queues.ack_levels(QUEUE).await.unwrap().as_ref(), Some(&stored));
        for stale in [version, version + 2] {
            let refused = queues.update_ack_levels(&row(stale)).await;
            assert_refused(refused, &failed(stale, Some(version + 1)));
        }
        assert_eq!(queues.ack_levels(QUEUE).await.unwrap(), Some(stored));
    }
}

/// Upstream sends no version for a dead letter queue, so only its first update succeeds. A caller that
/// read older ack levels cannot replace newer ones, so they never decrease.
async fn the_ack_levels_of_a_dead_letter_queue_are_updated_again(ctx: &TestContext) {
    let queues = queues(ctx);
    queues.init(QUEUE, &ctx.data()).await.unwrap();
    let stale = queues.ack_levels(DLQ).await.unwrap().unwrap();
    for version in 0..2 {
        let update = QueueMetadataRow { queue_type: DLQ, data: ctx.data(), version };
        queues.update_ack_levels(&update).await.unwrap();
    }
    let newest = queues.ack_levels(DLQ).await.unwrap().unwrap();
    assert_eq!(newest.version, 2);
    let failed = ConditionFailed::QueueMetadata { queue_type: DLQ, expected: 0, observed: Some(2) };
    assert_refused(queues.update_ack_levels(&stale).await, &failed);
    assert_eq!(queues.ack_levels(DLQ).await.unwrap(), Some(newest));
    assert_eq!(queues.ack_levels(QUEUE).await.unwrap().unwrap().version, 0);
}

/// Each writer adds one to the number in the ack levels, as Temporal's callers do: read, and write if
/// nobody else has written.
async fn no_update_of_concurrent_writers_of_ack_levels_is_lost(ctx: &TestContext) {
    const WRITERS: u64 = 4;
    const ROUNDS: u64 = 5;
    let queues = queues(ctx);
    let number = |data: &DataBlob| u64::from_be_bytes(data.data.as_slice().try_into().unwrap());
    let data = |number: u64| {
        DataBlob::new(number.to_be_bytes(), temporal_dsql_domain::Encoding::new("Json").unwrap())
    };
    queues.init(QUEUE, &data(0)).await.unwrap();
    let writers = (0..WRITERS).map(|_| {
        let queues = queues.clone();
        tokio::spawn(async move {
            let mut written = 0;
            while written < ROUNDS {
                let read = queues.ack_levels(QUEUE).await.unwrap().unwrap();
                let next = data(number(&read.data) + 1);
                match queues.update_ack_levels(&QueueMetadataRow { data: next, ..read }).await {
                    Ok(()) => written += 1,
                    Err(StoreError::Condition(ConditionFailed::QueueMetadata { .. })) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
        })
    });
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    let last = queues.ack_levels(QUEUE).await.unwrap().unwrap();
    assert_eq!(number(&last.data), WRITERS * ROUNDS);
    assert_eq!(last.version, (WRITERS * ROUNDS) as i64);
}

async fn metadata_is_created_once_for_a_queue_and_its_dead_letters(ctx: &TestContext) {
    let (queues, first) = (queues(ctx), ctx.data());
    queues.init(QUEUE, &first).await.unwrap();
    queues.init(QUEUE, &ctx.data()).await.unwrap();
    for queue_type in [QUEUE, DLQ] {
        let row = QueueMetadataRow { queue_type, data: first.clone(), version: 0 };
        assert_eq!(queues.ack_levels(queue_type).await.unwrap(), Some(row));
    }
    let creators = (0..8).map(|_| {
        let (queues, data) = (queues.clone(), ctx.data());
        tokio::spawn(async move { queues.init(QueueType(2), &data).await })
    });
    for creator in join_all(creators).await {
        creator.unwrap().unwrap();
    }
    assert_eq!(ctx.fixture.count(Table::QueueMetadata).await, 4);
    let refused = queues.init(DLQ, &first).await;
    assert!(
        matches!(refused, Err(StoreError::InvalidArgument { field: "queue_type", .. })),
        "{refused:?}"
    );
}

/// Both servers have created the metadata of the namespace replication queue, and nothing more.
async fn the_metadata_of_real_servers_is_created_as_they_did(ctx: &TestContext) {
    for rows in Recording::ALL.map(real_data::queue_metadata) {
        let ctx = ctx.with_policy(temporal_dsql_ports::RetryPolicy::default()).await;
        let queues = queues(&ctx);
        queues.init(QUEUE, &rows[0].data).await.unwrap();
        assert_eq!(ctx.fixture.count(Table::QueueMetadata).await, rows.len() as u64);
        for row in rows {
            assert_eq!(queues.ack_levels(row.queue_type).await.unwrap(), Some(row));
        }
    }
}

async fn a_message_is_added_once_after_conflicts(ctx: &TestContext) {
    let queues = queues(ctx);
    let message = ctx.data();
    ctx.fixture.fail_next_commits(&[Conflict; 4]);
    assert_eq!(queues.enqueue(QUEUE, &message).await.unwrap(), 0);
    assert_eq!(ctx.fixture.faults_left(), 0);
    let stored = QueueMessage { message_id: 0, data: message };
    assert_eq!(read_all(&queues, QUEUE).await, [stored]);
}

/// It is not repeated: it may have been added, and nothing proves which message it is.
async fn a_message_whose_answer_is_lost_has_an_unknown_outcome(ctx: &TestContext) {
    let queues = queues(ctx);
    for (fault, stored) in [(LostCommit, 0), (LostAnswer, 1)] {
        ctx.fixture.fail_next_commits(&[fault]);
        assert_unknown(queues.enqueue(QUEUE, &ctx.data()).await);
        assert_eq!(ctx.fixture.faults_left(), 0);
        assert_eq!(read_all(&queues, QUEUE).await.len(), stored);
    }
    assert_eq!(queues.enqueue(QUEUE, &ctx.data()).await.unwrap(), 1);
}

async fn ack_levels_whose_answer_is_lost_are_read(ctx: &TestContext) {
    let queues = queues(ctx);
    queues.init(QUEUE, &ctx.data()).await.unwrap();
    let update = |version| QueueMetadataRow { queue_type: QUEUE, data: ctx.data(), version };
    ctx.fixture.fail_next_commits(&[LostAnswer]);
    queues.update_ack_levels(&update(0)).await.unwrap();
    ctx.fixture.fail_next_commits(&[LostCommit]);
    let before = queues.ack_levels(QUEUE).await.unwrap();
    assert_unknown(queues.update_ack_levels(&update(1)).await);
    assert_eq!(ctx.fixture.faults_left(), 0);
    assert_eq!(queues.ack_levels(QUEUE).await.unwrap(), before);
    ctx.fixture.fail_next_commits(&[Conflict; 3]);
    queues.update_ack_levels(&update(1)).await.unwrap();
    assert_eq!(queues.ack_levels(QUEUE).await.unwrap().unwrap().version, 2);
}

async fn a_creation_whose_answer_is_lost_is_retried(ctx: &TestContext) {
    let queues = queues(ctx);
    for (number, fault) in [(1, LostCommit), (2, LostAnswer)] {
        let (queue, data) = (QueueType(number), ctx.data());
        ctx.fixture.fail_next_commits(&[fault]);
        queues.init(queue, &data).await.unwrap();
        assert_eq!(ctx.fixture.faults_left(), 0);
        for queue_type in [queue, queue.dlq().unwrap()] {
            let row = QueueMetadataRow { queue_type, data: data.clone(), version: 0 };
            assert_eq!(queues.ack_levels(queue_type).await.unwrap(), Some(row));
        }
    }
}

async fn ten_thousand_messages_are_deleted_in_chunks(ctx: &TestContext) {
    const MESSAGES: i64 = 10_000;
    let (queues, data) = (queues(ctx), ctx.data());
    for first in (0..MESSAGES).step_by(1_000) {
        let ids = first..first + 1_000;
        let messages: Vec<_> =
            ids.map(|message_id| QueueMessage { message_id, data: data.clone() }).collect();
        ctx.store.session().insert_into_messages(QUEUE, &messages).await.unwrap();
    }
    let last = MESSAGES - 1;
    assert_eq!(queues.delete_range(QUEUE, 0..last).await.unwrap(), last as u64);
    assert_eq!(ctx.fixture.count(Table::Queue).await, 1);
    assert_eq!(queues.delete_range(QUEUE, 0..last).await.unwrap(), 0);
    assert_eq!(queues.enqueue(QUEUE, &data).await.unwrap(), MESSAGES);
}

async fn pages_continue_while_messages_are_deleted(ctx: &TestContext) {
    let queues = queues(ctx);
    for _ in 0..9 {
        queues.enqueue(QUEUE, &ctx.data()).await.unwrap();
    }
    let first = queues.read(QUEUE, 0..i64::MAX, 3).await.unwrap();
    // Messages before the page, in it, and after it.
    for deleted in [0, 2, 3, 7] {
        queues.delete(QUEUE, deleted).await.unwrap();
    }
    let second = queues.read(QUEUE, first.next.unwrap()..i64::MAX, 3).await.unwrap();
    let third = queues.read(QUEUE, second.next.unwrap()..i64::MAX, 3).await.unwrap();
    let ids = |messages: &[QueueMessage]| -> Vec<_> {
        messages.iter().map(|message| message.message_id).collect()
    };
    assert_eq!((ids(&second.items), ids(&third.items)), (vec![4, 5, 6], vec![8]));
    assert_eq!(third.next, None);
    // A page that ends with its range is the last one.
    assert_eq!(queues.read(QUEUE, 4..7, 3).await.unwrap().next, None);
}

async fn an_operation_after_its_deadline_sends_nothing(ctx: &TestContext) {
    let data = ctx.data();
    let late = queues(ctx);
    let late = late.within(Duration::ZERO);
    let row = QueueMetadataRow { queue_type: QUEUE, data: data.clone(), version: 0 };
    for result in [
        late.init(QUEUE, &data).await,
        late.enqueue(QUEUE, &data).await.map(drop),
        late.read(QUEUE, 0..9, 1).await.map(drop),
        late.delete(QUEUE, 0).await,
        late.delete_range(QUEUE, 0..9).await.map(drop),
        late.ack_levels(QUEUE).await.map(drop),
        late.update_ack_levels(&row).await,
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
    }
    for table in [Table::Queue, Table::QueueMetadata] {
        assert_eq!(ctx.fixture.count(table).await, 0);
    }
}

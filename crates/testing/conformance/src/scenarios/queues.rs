//! Row operations on `queue` and `queue_metadata`: Temporal's `queue_message.go` and
//! `queue_metadata.go`, and the statement that adds a message after the last one.

use temporal_dsql_domain::{
    DataBlob, FIRST_MESSAGE_ID, QueueMessage, QueueMetadataRow, QueueType, Table,
};
use temporal_dsql_ports::{StoreError, limits};

use crate::{
    context::{
        TestContext,
        conflicts::{assert_conflict, settle},
    },
    scenario::scenario_table,
};

scenario_table! { "queues":
    inserting_messages_affects_as_many_rows
        = "queue_message.go/TestInsert_Single_Success",
          "queue_message.go/TestInsert_Multiple_Success";
    inserting_a_message_that_exists_inserts_none_of_the_statement
        = "queue_message.go/TestInsert_Single_Fail_Duplicate",
          "queue_message.go/TestInsert_Multiple_Fail_Duplicate";
    an_inserted_message_is_read = "queue_message.go/TestInsertSelect";
    a_range_is_read_in_pages_in_the_order_of_the_ids
        = "queue_message.go/TestInsertSelect_Multiple";
    deleting_an_absent_message_affects_none
        = "queue_message.go/TestDeleteSelect_Single",
          "queue_message.go/TestDeleteSelect_Multiple";
    a_deleted_message_is_gone
        = "queue_message.go/TestInsertDeleteSelect_Single",
          "queue_message.go/TestInsertDeleteSelect_Multiple";
    a_limited_delete_removes_the_first_messages_of_the_range;
    the_next_message_has_the_id_after_the_last_one_of_its_queue;
    a_message_after_all_were_deleted_has_the_first_id;
    no_message_follows_the_largest_id;
    of_two_transactions_that_add_a_message_one_loses;
    the_longest_message_is_added_and_one_byte_more_is_refused
        = "temporal-persistence.md#case-8";
    inserting_metadata_affects_one_row = "queue_metadata.go/TestInsert_Success";
    inserting_metadata_twice_is_refused_and_changes_nothing
        = "queue_metadata.go/TestInsert_Fail_Duplicate";
    inserted_metadata_is_read = "queue_metadata.go/TestInsertSelect";
    an_update_at_the_stored_version_affects_one_row
        = "queue_metadata.go/TestInsertUpdate_Success";
    an_update_of_absent_metadata_or_at_another_version_affects_none
        = "queue_metadata.go/TestUpdate_Fail";
    the_largest_version_is_compared_and_not_incremented;
    an_update_increments_the_version = "queue_metadata.go/TestInsertUpdateSelect";
    a_lock_of_the_metadata_reads_it_and_fences = "queue_metadata.go/TestSelectReadLock";
}

const QUEUE: QueueType = QueueType::NAMESPACE_REPLICATION;

fn messages(ctx: &TestContext, ids: impl IntoIterator<Item = i64>) -> Vec<QueueMessage> {
    ids.into_iter().map(|message_id| QueueMessage { message_id, data: ctx.data() }).collect()
}

async fn insert(ctx: &TestContext, queue: QueueType, messages: &[QueueMessage]) -> u64 {
    ctx.store.session().insert_into_messages(queue, messages).await.unwrap()
}

async fn all(ctx: &TestContext, queue: QueueType) -> Vec<QueueMessage> {
    let range = i64::MIN..i64::MAX;
    ctx.store.session().range_select_from_messages(queue, range, 10_000).await.unwrap()
}

#[track_caller]
fn assert_exists(result: Result<u64, StoreError>, expected: Table) {
    match result {
        Err(StoreError::AlreadyExists { table, .. }) => assert_eq!(table, expected),
        other => panic!("expected a duplicate, got {other:?}"),
    }
}

async fn inserting_messages_affects_as_many_rows(ctx: &TestContext) {
    assert_eq!(insert(ctx, QUEUE, &messages(ctx, [0])).await, 1);
    assert_eq!(insert(ctx, QUEUE, &messages(ctx, [1, 2, 3])).await, 3);
    assert_eq!(insert(ctx, QUEUE, &[]).await, 0);
    assert_eq!(ctx.fixture.count(Table::Queue).await, 4);
}

async fn inserting_a_message_that_exists_inserts_none_of_the_statement(ctx: &TestContext) {
    let stored = messages(ctx, [1]);
    insert(ctx, QUEUE, &stored).await;
    for ids in [vec![1], vec![0, 1, 2]] {
        let again = messages(ctx, ids);
        let result = ctx.store.session().insert_into_messages(QUEUE, &again).await;
        assert_exists(result, Table::Queue);
    }
    assert_eq!(all(ctx, QUEUE).await, stored);
}

async fn an_inserted_message_is_read(ctx: &TestContext) {
    let stored = messages(ctx, [i64::MIN, 0, i64::MAX]);
    insert(ctx, QUEUE, &stored).await;
    let mut session = ctx.store.session();
    for message in stored {
        let id = message.message_id;
        assert_eq!(session.select_from_messages(QUEUE, id).await.unwrap(), Some(message));
    }
    assert_eq!(session.select_from_messages(QUEUE, 1).await.unwrap(), None);
    assert_eq!(session.select_from_messages(QueueType(2), 0).await.unwrap(), None);
}

async fn a_range_is_read_in_pages_in_the_order_of_the_ids(ctx: &TestContext) {
    let mut stored = messages(ctx, 0..20);
    insert(ctx, QUEUE, &stored.iter().rev().cloned().collect::<Vec<_>>()).await;
    insert(ctx, QueueType(-1), &messages(ctx, 0..20)).await;
    let (mut read, mut from) = (Vec::new(), 3);
    loop {
        let mut session = ctx.store.session();
        let page = session.range_select_from_messages(QUEUE, from..15, 5).await.unwrap();
        let Some(last) = page.last() else { break };
        from = last.message_id + 1;
        read.extend(page);
    }
    assert_eq!(read, stored.drain(3..15).collect::<Vec<_>>());
}

async fn deleting_an_absent_message_affects_none(ctx: &TestContext) {
    insert(ctx, QueueType(2), &messages(ctx, [0])).await;
    let mut session = ctx.store.session();
    assert_eq!(session.delete_from_messages(QUEUE, 0).await.unwrap(), 0);
    assert_eq!(session.range_delete_from_messages(QUEUE, 0..9, 9).await.unwrap(), 0);
    assert_eq!(all(ctx, QueueType(2)).await.len(), 1);
}

async fn a_deleted_message_is_gone(ctx: &TestContext) {
    let stored = messages(ctx, 0..10);
    insert(ctx, QUEUE, &stored).await;
    let mut session = ctx.store.session();
    assert_eq!(session.delete_from_messages(QUEUE, 0).await.unwrap(), 1);
    assert_eq!(session.select_from_messages(QUEUE, 0).await.unwrap(), None);
    assert_eq!(session.range_delete_from_messages(QUEUE, 2..5, 100).await.unwrap(), 3);
    assert_eq!(all(ctx, QUEUE).await, [&stored[1..2], &stored[5..]].concat());
}

async fn a_limited_delete_removes_the_first_messages_of_the_range(ctx: &TestContext) {
    let stored = messages(ctx, 0..10);
    insert(ctx, QUEUE, &stored).await;
    let mut session = ctx.store.session();
    for expected in [3, 3, 1, 0] {
        let deleted = session.range_delete_from_messages(QUEUE, 2..9, 3).await.unwrap();
        assert_eq!(deleted, expected);
    }
    assert_eq!(all(ctx, QUEUE).await, [&stored[..2], &stored[9..]].concat());
}

/// The Go fork's query, which is upstream's, reads the last message of any queue with a larger or
/// equal id (temporal-persistence.md#fault-13).
async fn the_next_message_has_the_id_after_the_last_one_of_its_queue(ctx: &TestContext) {
    insert(ctx, QueueType(2), &messages(ctx, [100])).await;
    let data: Vec<DataBlob> = (0..3).map(|_| ctx.data()).collect();
    let mut session = ctx.store.session();
    for (id, data) in (FIRST_MESSAGE_ID..).zip(&data) {
        assert_eq!(session.insert_next_into_messages(QUEUE, data).await.unwrap(), id);
    }
    assert_eq!(session.insert_next_into_messages(QueueType(2), &data[0]).await.unwrap(), 101);
    let ids = FIRST_MESSAGE_ID..;
    let expected: Vec<_> =
        ids.zip(data).map(|(message_id, data)| QueueMessage { message_id, data }).collect();
    assert_eq!(all(ctx, QUEUE).await, expected);
}

async fn a_message_after_all_were_deleted_has_the_first_id(ctx: &TestContext) {
    insert(ctx, QUEUE, &messages(ctx, 5..8)).await;
    let mut session = ctx.store.session();
    session.range_delete_from_messages(QUEUE, 0..7, 9).await.unwrap();
    assert_eq!(session.insert_next_into_messages(QUEUE, &ctx.data()).await.unwrap(), 8);
    session.range_delete_from_messages(QUEUE, 0..9, 9).await.unwrap();
    let id = session.insert_next_into_messages(QUEUE, &ctx.data()).await.unwrap();
    assert_eq!(id, FIRST_MESSAGE_ID);
}

async fn no_message_follows_the_largest_id(ctx: &TestContext) {
    insert(ctx, QUEUE, &messages(ctx, [i64::MAX])).await;
    let result = ctx.store.session().insert_next_into_messages(QUEUE, &ctx.data()).await;
    assert!(matches!(result, Err(StoreError::InvalidArgument { .. })), "{result:?}");
    assert_eq!(ctx.fixture.count(Table::Queue).await, 1);
}

/// On DSQL the second commit fails. On PostgreSQL the second statement waits, and finds the duplicate.
/// Either is a lost conflict, which a runner repeats (temporal-persistence.md#retry-rule-6).
async fn of_two_transactions_that_add_a_message_one_loses(ctx: &TestContext) {
    let (first, second) = (ctx.data(), ctx.data());
    let mut loser = ctx.begin("Second").await;
    assert_eq!(loser.select_from_messages(QUEUE, 0).await.unwrap(), None);
    let mut session = ctx.store.session();
    assert_eq!(session.insert_next_into_messages(QUEUE, &first).await.unwrap(), 0);
    let id = loser.insert_next_into_messages(QUEUE, &second).await;
    let written = id.map(|id| {
        assert_eq!(id, 0, "the snapshot is older than the first message");
        1
    });
    assert_conflict(settle(loser, written).await);
    assert_eq!(all(ctx, QUEUE).await, [QueueMessage { message_id: 0, data: first }]);
}

async fn the_longest_message_is_added_and_one_byte_more_is_refused(ctx: &TestContext) {
    let mut data = ctx.data();
    data.data = vec![7; limits::MAX_VALUE_BYTES];
    let mut session = ctx.store.session();
    assert_eq!(session.insert_next_into_messages(QUEUE, &data).await.unwrap(), 0);
    data.data.push(7);
    let message = QueueMessage { message_id: 9, data: data.clone() };
    for result in [
        session.insert_next_into_messages(QUEUE, &data).await.map(drop),
        session.insert_into_messages(QUEUE, &[message]).await.map(drop),
    ] {
        let Err(StoreError::Limit { kind: limits::LimitKind::ValueBytes, source }) = result else {
            panic!("expected a limit, got {result:?}");
        };
        assert!(source.unwrap().to_string().starts_with("queue.message_payload "));
    }
    assert_eq!(all(ctx, QUEUE).await.len(), 1);
}

fn metadata(ctx: &TestContext, version: i64) -> QueueMetadataRow {
    QueueMetadataRow { queue_type: QUEUE, data: ctx.data(), version }
}

async fn insert_metadata(ctx: &TestContext, row: &QueueMetadataRow) {
    assert_eq!(ctx.store.session().insert_into_queue_metadata(row).await.unwrap(), 1);
}

async fn read_metadata(ctx: &TestContext) -> Option<QueueMetadataRow> {
    ctx.store.session().select_from_queue_metadata(QUEUE).await.unwrap()
}

async fn inserting_metadata_affects_one_row(ctx: &TestContext) {
    insert_metadata(ctx, &metadata(ctx, 0)).await;
    assert_eq!(ctx.fixture.count(Table::QueueMetadata).await, 1);
}

async fn inserting_metadata_twice_is_refused_and_changes_nothing(ctx: &TestContext) {
    let row = metadata(ctx, 0);
    insert_metadata(ctx, &row).await;
    let again = metadata(ctx, 9);
    let result = ctx.store.session().insert_into_queue_metadata(&again).await;
    assert_exists(result, Table::QueueMetadata);
    assert_eq!(read_metadata(ctx).await, Some(row));
}

async fn inserted_metadata_is_read(ctx: &TestContext) {
    assert_eq!(read_metadata(ctx).await, None);
    let row = metadata(ctx, 7);
    insert_metadata(ctx, &row).await;
    assert_eq!(read_metadata(ctx).await, Some(row));
    let other = ctx.store.session().select_from_queue_metadata(QueueType(-1)).await.unwrap();
    assert_eq!(other, None);
}

async fn an_update_at_the_stored_version_affects_one_row(ctx: &TestContext) {
    insert_metadata(ctx, &metadata(ctx, 7)).await;
    let update = metadata(ctx, 7);
    assert_eq!(ctx.store.session().update_queue_metadata(&update).await.unwrap(), 1);
}

async fn an_update_of_absent_metadata_or_at_another_version_affects_none(ctx: &TestContext) {
    let update = metadata(ctx, 0);
    assert_eq!(ctx.store.session().update_queue_metadata(&update).await.unwrap(), 0);
    let row = metadata(ctx, 7);
    insert_metadata(ctx, &row).await;
    for version in [6, 8] {
        let update = metadata(ctx, version);
        assert_eq!(ctx.store.session().update_queue_metadata(&update).await.unwrap(), 0);
    }
    assert_eq!(read_metadata(ctx).await, Some(row));
}

async fn the_largest_version_is_compared_and_not_incremented(ctx: &TestContext) {
    let row = metadata(ctx, 3);
    let last = QueueMetadataRow { queue_type: QueueType(2), ..metadata(ctx, i64::MAX) };
    insert_metadata(ctx, &row).await;
    insert_metadata(ctx, &last).await;
    let mut session = ctx.store.session();
    assert_eq!(session.update_queue_metadata(&metadata(ctx, i64::MAX)).await.unwrap(), 0);
    let update = QueueMetadataRow { data: ctx.data(), ..last.clone() };
    let result = session.update_queue_metadata(&update).await;
    assert!(matches!(result, Err(StoreError::InvalidArgument { .. })), "{result:?}");
    assert_eq!(read_metadata(ctx).await, Some(row));
    let found = session.select_from_queue_metadata(QueueType(2)).await.unwrap();
    assert_eq!(found, Some(last));
}

async fn an_update_increments_the_version(ctx: &TestContext) {
    insert_metadata(ctx, &metadata(ctx, 0)).await;
    for version in 0..3 {
        let update = metadata(ctx, version);
        assert_eq!(ctx.store.session().update_queue_metadata(&update).await.unwrap(), 1);
        let stored = QueueMetadataRow { version: version + 1, ..update };
        assert_eq!(read_metadata(ctx).await, Some(stored));
    }
}

async fn a_lock_of_the_metadata_reads_it_and_fences(ctx: &TestContext) {
    let row = metadata(ctx, 0);
    insert_metadata(ctx, &row).await;
    let mut session = ctx.store.session();
    assert_eq!(session.lock_queue_metadata(QUEUE).await.unwrap().as_ref(), Some(&row));
    assert_eq!(session.lock_queue_metadata(QueueType(2)).await.unwrap(), None);

    let mut late = ctx.begin("Late").await;
    assert_eq!(late.select_from_queue_metadata(QUEUE).await.unwrap().as_ref(), Some(&row));
    let update = metadata(ctx, 0);
    assert_eq!(session.update_queue_metadata(&update).await.unwrap(), 1);
    let locked = late.lock_queue_metadata(QUEUE).await.map(|found| {
        assert_eq!(found, Some(row), "the snapshot is older than the update");
        1
    });
    assert_conflict(settle(late, locked).await);
    assert_eq!(read_metadata(ctx).await, Some(QueueMetadataRow { version: 1, ..update }));
}

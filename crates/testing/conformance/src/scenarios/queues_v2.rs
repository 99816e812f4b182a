//! Row operations on `queues` and `queue_messages`. Upstream has no suite of these rows.

use temporal_dsql_domain::{
    FIRST_MESSAGE_ID, QueueMessage, QueueName, QueueV2Key, QueueV2Type, QueuesRow, Table,
};
use temporal_dsql_ports::{StoreError, limits};

use crate::{
    context::{
        TestContext,
        conflicts::{assert_conflict, settle},
    },
    scenario::scenario_table,
};

scenario_table! { "queues_v2":
    an_inserted_queue_is_read_and_updated;
    inserting_a_queue_twice_is_refused_and_changes_nothing;
    queues_are_listed_in_the_order_of_their_names_with_their_last_message;
    messages_of_a_queue_are_read_from_an_id_on;
    inserting_a_message_of_a_queue_that_exists_inserts_none;
    the_next_message_needs_its_queue_and_follows_its_last_one;
    no_message_of_a_queue_follows_the_largest_id;
    a_limited_delete_removes_the_first_messages_of_a_queue;
    the_longest_name_and_message_are_stored = "temporal-persistence.md#case-8";
    a_lock_of_a_queue_fences_its_metadata;
}

fn key(queue_type: QueueV2Type, name: &str) -> QueueV2Key {
    QueueV2Key { queue_type, queue_name: QueueName::new(name).unwrap() }
}

fn queue(name: &str) -> QueueV2Key {
    key(QueueV2Type::HISTORY_DLQ, name)
}

fn row(ctx: &TestContext, key: QueueV2Key) -> QueuesRow {
    QueuesRow { key, metadata: ctx.data() }
}

async fn insert(ctx: &TestContext, row: &QueuesRow) {
    assert_eq!(ctx.store.session().insert_into_queue_v2_metadata(row).await.unwrap(), 1);
}

async fn select(ctx: &TestContext, key: &QueueV2Key) -> Option<QueuesRow> {
    ctx.store.session().select_from_queue_v2_metadata(key).await.unwrap()
}

fn messages(ctx: &TestContext, ids: impl IntoIterator<Item = i64>) -> Vec<QueueMessage> {
    ids.into_iter().map(|message_id| QueueMessage { message_id, data: ctx.data() }).collect()
}

async fn insert_messages(ctx: &TestContext, key: &QueueV2Key, messages: &[QueueMessage]) {
    let inserted = ctx.store.session().insert_into_queue_v2_messages(key, messages).await;
    assert_eq!(inserted.unwrap(), messages.len() as u64);
}

async fn all(ctx: &TestContext, key: &QueueV2Key) -> Vec<QueueMessage> {
    let mut session = ctx.store.session();
    session.range_select_from_queue_v2_messages(key, i64::MIN, 10_000).await.unwrap()
}

async fn an_inserted_queue_is_read_and_updated(ctx: &TestContext) {
    let (one, other) = (row(ctx, queue("one")), row(ctx, key(QueueV2Type::HISTORY_NORMAL, "one")));
    assert_eq!(select(ctx, &one.key).await, None);
    insert(ctx, &one).await;
    assert_eq!(select(ctx, &other.key).await, None);
    let mut session = ctx.store.session();
    assert_eq!(session.update_queue_v2_metadata(&other).await.unwrap(), 0);
    insert(ctx, &other).await;
    let changed = row(ctx, one.key.clone());
    assert_eq!(session.update_queue_v2_metadata(&changed).await.unwrap(), 1);
    assert_eq!(select(ctx, &one.key).await, Some(changed));
    assert_eq!(select(ctx, &other.key).await, Some(other));
    assert_eq!(ctx.fixture.count(Table::Queues).await, 2);
}

async fn inserting_a_queue_twice_is_refused_and_changes_nothing(ctx: &TestContext) {
    let stored = row(ctx, queue("one"));
    insert(ctx, &stored).await;
    let again = row(ctx, stored.key.clone());
    let error = ctx.store.session().insert_into_queue_v2_metadata(&again).await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { table: Table::Queues, .. }), "{error:?}");
    assert_eq!(select(ctx, &stored.key).await, Some(stored));
}

/// Upstream's list has no order (temporal-persistence.md#fault-25).
async fn queues_are_listed_in_the_order_of_their_names_with_their_last_message(ctx: &TestContext) {
    let mut expected = Vec::new();
    for (number, name) in ["b", "é", "a\u{1}", "a", "Z", "転"].into_iter().enumerate() {
        let row = row(ctx, queue(name));
        insert(ctx, &row).await;
        let count = number as i64;
        insert_messages(ctx, &row.key, &messages(ctx, 0..count)).await;
        expected.push((row, count.checked_sub(1).filter(|last| *last >= 0)));
    }
    insert(ctx, &row(ctx, key(QueueV2Type::HISTORY_NORMAL, "a"))).await;
    expected.sort_by(|(one, _), (other, _)| one.key.cmp(&other.key));
    let (mut listed, mut after) = (Vec::new(), None::<QueueName>);
    loop {
        let mut session = ctx.store.session();
        let page = session
            .range_select_from_queue_v2_metadata(QueueV2Type::HISTORY_DLQ, after.as_ref(), 4)
            .await
            .unwrap();
        let Some((last, _)) = page.last() else { break };
        after = Some(last.key.queue_name.clone());
        listed.extend(page);
    }
    assert_eq!(listed, expected);
}

async fn messages_of_a_queue_are_read_from_an_id_on(ctx: &TestContext) {
    let (one, other) = (queue("one"), queue("other"));
    let stored = messages(ctx, [i64::MIN, 3, 4, 5, i64::MAX]);
    insert_messages(ctx, &one, &stored).await;
    insert_messages(ctx, &other, &messages(ctx, 0..9)).await;
    let mut session = ctx.store.session();
    let page = session.range_select_from_queue_v2_messages(&one, 4, 2).await.unwrap();
    assert_eq!(page, stored[2..4]);
    let page = session.range_select_from_queue_v2_messages(&one, 6, 2).await.unwrap();
    assert_eq!(page, stored[4..]);
    assert_eq!(all(ctx, &one).await, stored);
    assert_eq!(session.last_message_id_of_queue_v2(&one).await.unwrap(), Some(i64::MAX));
    assert_eq!(session.last_message_id_of_queue_v2(&other).await.unwrap(), Some(8));
    assert_eq!(session.last_message_id_of_queue_v2(&queue("none")).await.unwrap(), None);
}

async fn inserting_a_message_of_a_queue_that_exists_inserts_none(ctx: &TestContext) {
    let (key, stored) = (queue("one"), messages(ctx, [1]));
    insert_messages(ctx, &key, &stored).await;
    let again = messages(ctx, [0, 1, 2]);
    let error = ctx.store.session().insert_into_queue_v2_messages(&key, &again).await.unwrap_err();
    let is_duplicate =
        matches!(error, StoreError::AlreadyExists { table: Table::QueueMessages, .. });
    assert!(is_duplicate, "{error:?}");
    assert_eq!(all(ctx, &key).await, stored);
}

async fn the_next_message_needs_its_queue_and_follows_its_last_one(ctx: &TestContext) {
    let (one, other) = (queue("one"), queue("other"));
    insert_messages(ctx, &one, &messages(ctx, [7])).await;
    let data = ctx.data();
    let mut session = ctx.store.session();
    assert_eq!(session.insert_next_into_queue_v2_messages(&one, &data).await.unwrap(), None);
    for key in [&one, &other] {
        insert(ctx, &row(ctx, key.clone())).await;
    }
    for (key, expected) in [(&one, 8), (&other, FIRST_MESSAGE_ID), (&one, 9), (&other, 1)] {
        let id = session.insert_next_into_queue_v2_messages(key, &data).await.unwrap();
        assert_eq!(id, Some(expected), "{key}");
    }
    let mut loser = ctx.begin("Second").await;
    assert!(loser.select_from_queue_v2_metadata(&one).await.unwrap().is_some());
    assert_eq!(session.insert_next_into_queue_v2_messages(&one, &data).await.unwrap(), Some(10));
    let written = loser.insert_next_into_queue_v2_messages(&one, &ctx.data()).await.map(|id| {
        assert_eq!(id, Some(10), "the snapshot is older than the message");
        1
    });
    assert_conflict(settle(loser, written).await);
    assert_eq!(all(ctx, &one).await.len(), 4);
}

async fn no_message_of_a_queue_follows_the_largest_id(ctx: &TestContext) {
    let row = row(ctx, queue("one"));
    insert(ctx, &row).await;
    let last = messages(ctx, [i64::MAX]);
    insert_messages(ctx, &row.key, &last).await;
    let mut session = ctx.store.session();
    let result = session.insert_next_into_queue_v2_messages(&row.key, &ctx.data()).await;
    assert!(matches!(result, Err(StoreError::InvalidArgument { .. })), "{result:?}");
    assert_eq!(all(ctx, &row.key).await, last);
}

async fn a_limited_delete_removes_the_first_messages_of_a_queue(ctx: &TestContext) {
    let (one, other) = (queue("one"), queue("other"));
    let stored = messages(ctx, 0..10);
    for key in [&one, &other] {
        insert_messages(ctx, key, &stored).await;
    }
    let mut session = ctx.store.session();
    for expected in [3, 3, 1, 0] {
        let deleted = session.range_delete_from_queue_v2_messages(&one, 2..9, 3).await.unwrap();
        assert_eq!(deleted, expected);
    }
    assert_eq!(all(ctx, &one).await, [&stored[..2], &stored[9..]].concat());
    assert_eq!(all(ctx, &other).await, stored);
}

async fn the_longest_name_and_message_are_stored(ctx: &TestContext) {
    let key = queue(&"🦀".repeat(QueueName::MAX_CHARS));
    insert(ctx, &row(ctx, key.clone())).await;
    let mut data = ctx.data();
    data.data = vec![7; limits::MAX_VALUE_BYTES];
    let mut session = ctx.store.session();
    let id = session.insert_next_into_queue_v2_messages(&key, &data).await.unwrap();
    assert_eq!(id, Some(FIRST_MESSAGE_ID));
    data.data.push(7);
    let error = session.insert_next_into_queue_v2_messages(&key, &data).await.unwrap_err();
    let is_limit = matches!(error, StoreError::Limit { kind: limits::LimitKind::ValueBytes, .. });
    assert!(is_limit, "{error:?}");
    let large = QueuesRow { key: key.clone(), metadata: data };
    let error = session.update_queue_v2_metadata(&large).await.unwrap_err();
    assert!(matches!(error, StoreError::Limit { .. }), "{error:?}");
    assert_eq!(all(ctx, &key).await.len(), 1);
}

async fn a_lock_of_a_queue_fences_its_metadata(ctx: &TestContext) {
    let stored = row(ctx, queue("one"));
    insert(ctx, &stored).await;
    let mut session = ctx.store.session();
    let locked = session.lock_queue_v2_metadata(&stored.key).await.unwrap();
    assert_eq!(locked.as_ref(), Some(&stored));
    assert_eq!(session.lock_queue_v2_metadata(&queue("none")).await.unwrap(), None);

    let mut late = ctx.begin("Late").await;
    late.select_from_queue_v2_metadata(&stored.key).await.unwrap();
    let changed = row(ctx, stored.key.clone());
    session.update_queue_v2_metadata(&changed).await.unwrap();
    let locked = late.lock_queue_v2_metadata(&stored.key).await.map(|found| {
        assert_eq!(found.as_ref(), Some(&stored), "the snapshot is older than the update");
        1
    });
    assert_conflict(settle(late, locked).await);
    assert_eq!(select(ctx, &stored.key).await, Some(changed));
}

//! The user data of task queues and the task queues of build ids: the row operations, and the
//! UserDataStore. Temporal's `task_queue_user_data.go`.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use temporal_dsql_domain::{
    BuildId, NamespaceId, Table, TaskQueueBuildIds, TaskQueueName, TaskQueueUserDataRow,
};
use temporal_dsql_ports::{
    ConditionFailed, Outcome, StoreError,
    limits::{self, LimitKind},
};
use temporal_dsql_stores::{PageKey, UserDataStore, UserDataUpdate};

use crate::{
    context::{
        TestContext,
        owned_shard::{SharedStore, assert_refused},
    },
    harness::CommitFailure::{Conflict, LostAnswer, LostCommit},
    scenario::scenario_table,
};

scenario_table! { "user_data":
    user_data_are_inserted_once_and_updated_from_their_version;
    build_ids_of_a_task_queue_are_added_once_and_removed;
    user_data_begin_at_version_1_and_are_incremented
        = "task_queue_user_data.go/TestSetInitialAndIncrement";
    an_update_of_which_one_queue_conflicts_changes_none
        = "task_queue_user_data.go/TestUpdateConflict";
    a_first_update_of_a_queue_with_user_data_is_refused;
    build_ids_change_with_the_user_data_or_not_at_all;
    a_build_id_that_a_queue_has_is_not_added_and_nothing_changes;
    task_queues_of_a_build_id_are_listed_in_order_and_counted;
    user_data_are_listed_in_the_order_of_the_names;
    listing_continues_while_user_data_change = "temporal-persistence.md#case-9";
    of_eight_updates_from_one_version_one_is_made;
    of_eight_first_updates_one_is_made;
    an_update_that_cannot_be_right_is_refused;
    the_longest_names_are_stored_or_refused_by_their_limit = "temporal-persistence.md#case-8";
    an_update_of_user_data_whose_answer_is_lost_is_reported_as_done;
    an_update_of_user_data_that_was_not_applied_stays_unknown;
    conflicts_of_user_data_are_retried = "temporal-persistence.md#case-3";
    no_update_of_user_data_is_sent_after_the_deadline;
}

fn user_data_store(ctx: &TestContext) -> UserDataStore<SharedStore> {
    UserDataStore::new(Arc::clone(&ctx.store))
}

fn build_id(text: &str) -> BuildId {
    BuildId::new(text).unwrap()
}

fn name(text: &str) -> TaskQueueName {
    TaskQueueName::new(text).unwrap()
}

/// An update from `version` with new data, and without build ids.
fn update(ctx: &TestContext, task_queue: &str, version: i64) -> UserDataUpdate {
    UserDataUpdate {
        task_queue_name: name(task_queue),
        version,
        data: ctx.data(),
        build_ids_added: Vec::new(),
        build_ids_removed: Vec::new(),
    }
}

/// The row that an update writes.
fn row_of(namespace_id: NamespaceId, update: &UserDataUpdate) -> TaskQueueUserDataRow {
    TaskQueueUserDataRow {
        namespace_id,
        task_queue_name: update.task_queue_name.clone(),
        version: update.version + 1,
        data: update.data.clone(),
    }
}

/// The failure of `update` of a queue with the version `observed`.
fn conflict(
    namespace_id: NamespaceId,
    update: &UserDataUpdate,
    observed: Option<i64>,
) -> ConditionFailed {
    ConditionFailed::TaskQueueUserData {
        namespace_id,
        task_queue_name: update.task_queue_name.clone(),
        expected: update.version,
        observed,
    }
}

/// The task queues of a build id; their number is counted, too.
async fn queues_of(ctx: &TestContext, namespace_id: NamespaceId, id: &str) -> Vec<String> {
    let (store, id) = (user_data_store(ctx), build_id(id));
    let queues = store.task_queues_by_build_id(namespace_id, &id).await.unwrap();
    let count = store.count_task_queues_by_build_id(namespace_id, &id).await.unwrap();
    assert_eq!(count, queues.len() as u64);
    queues.iter().map(|name| name.as_str().to_owned()).collect()
}

async fn user_data_are_inserted_once_and_updated_from_their_version(ctx: &TestContext) {
    let row = ctx.user_data(ctx.namespace_id());
    let mut session = ctx.store.session();
    let (namespace_id, name) = (row.namespace_id, row.task_queue_name.clone());
    assert_eq!(session.get_task_queue_user_data(namespace_id, &name).await.unwrap(), None);
    assert_eq!(session.update_task_queue_user_data(&row, 1).await.unwrap(), 0);
    assert_eq!(session.insert_into_task_queue_user_data(&row).await.unwrap(), 1);
    let error = session.insert_into_task_queue_user_data(&row).await.unwrap_err();
    let StoreError::AlreadyExists { table: Table::TaskQueueUserData, .. } = error else {
        panic!("{error:?}")
    };
    let next = TaskQueueUserDataRow { version: 2, data: ctx.data(), ..row.clone() };
    for wrong in [0, 2, -1, i64::MAX] {
        assert_eq!(session.update_task_queue_user_data(&next, wrong).await.unwrap(), 0);
        let read = session.get_task_queue_user_data(namespace_id, &name).await.unwrap();
        assert_eq!(read.as_ref(), Some(&row));
    }
    assert_eq!(session.update_task_queue_user_data(&next, 1).await.unwrap(), 1);
    let read = session.get_task_queue_user_data(namespace_id, &name).await.unwrap();
    assert_eq!(read, Some(next));
}

async fn build_ids_of_a_task_queue_are_added_once_and_removed(ctx: &TestContext) {
    let (namespace_id, mut session) = (ctx.namespace_id(), ctx.store.session());
    let of = |build_ids: &[&str]| TaskQueueBuildIds {
        namespace_id,
        task_queue_name: name("queue"),
        build_ids: build_ids.iter().map(|id| build_id(id)).collect(),
    };
    let added = of(&["c", "a", "b", "転", ""]);
    assert_eq!(session.add_to_build_id_to_task_queue_mapping(&added).await.unwrap(), 5);
    let error = session.add_to_build_id_to_task_queue_mapping(&of(&["d", "a"])).await;
    let error = error.unwrap_err();
    let StoreError::AlreadyExists { table: Table::BuildIdToTaskQueue, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(queues_of(ctx, namespace_id, "d").await, [""; 0], "all or none");
    let removed = of(&["転", "b", "absent", "a"]);
    assert_eq!(session.remove_from_build_id_to_task_queue_mapping(&removed).await.unwrap(), 3);
    assert_eq!(ctx.fixture.count(Table::BuildIdToTaskQueue).await, 2);
    for (id, expected) in [("a", 0), ("b", 0), ("c", 1), ("", 1), ("転", 0)] {
        assert_eq!(queues_of(ctx, namespace_id, id).await.len(), expected, "{id}");
    }
    // Another queue of the namespace keeps its build ids.
    let other = TaskQueueBuildIds { task_queue_name: name("other"), ..of(&["c"]) };
    session.add_to_build_id_to_task_queue_mapping(&other).await.unwrap();
    session.remove_from_build_id_to_task_queue_mapping(&of(&["c"])).await.unwrap();
    assert_eq!(queues_of(ctx, namespace_id, "c").await, ["other"]);
}

async fn user_data_begin_at_version_1_and_are_incremented(ctx: &TestContext) {
    let (store, namespace_id) = (user_data_store(ctx), ctx.namespace_id());
    assert_eq!(store.get(namespace_id, &name("queue")).await.unwrap(), None);
    for version in 0..3 {
        let update = update(ctx, "queue", version);
        store.update(namespace_id, std::slice::from_ref(&update)).await.unwrap();
        let read = store.get(namespace_id, &name("queue")).await.unwrap();
        assert_eq!(read, Some(row_of(namespace_id, &update)));
    }
}

/// All user data of a namespace.
async fn all(ctx: &TestContext, namespace_id: NamespaceId) -> Vec<TaskQueueUserDataRow> {
    let page = user_data_store(ctx).list(namespace_id, None, 1_000).await.unwrap();
    assert_eq!(page.next, None);
    page.items
}

async fn an_update_of_which_one_queue_conflicts_changes_none(ctx: &TestContext) {
    let (store, namespace_id) = (user_data_store(ctx), ctx.namespace_id());
    for version in 0..3 {
        let updates = ["a", "b", "c"].map(|name| update(ctx, name, version));
        store.update(namespace_id, &updates).await.unwrap();
    }
    let before = all(ctx, namespace_id).await;
    assert!(before.len() == 3 && before.iter().all(|row| row.version == 3), "{before:?}");
    for (wrong, version, observed) in [("b", 4, Some(3)), ("c", 2, Some(3)), ("absent", 1, None)] {
        let mut updates = ["a", "b", "c"].map(|name| update(ctx, name, 3)).to_vec();
        updates.retain(|update| update.task_queue_name.as_str() != wrong);
        let wrong = update(ctx, wrong, version);
        updates.insert(1, wrong.clone());
        let expected = conflict(namespace_id, &wrong, observed);
        assert_refused(store.update(namespace_id, &updates).await, &expected);
        assert_eq!(all(ctx, namespace_id).await, before);
    }
}

async fn a_first_update_of_a_queue_with_user_data_is_refused(ctx: &TestContext) {
    let (store, namespace_id) = (user_data_store(ctx), ctx.namespace_id());
    let first = update(ctx, "queue", 0);
    store.update(namespace_id, std::slice::from_ref(&first)).await.unwrap();
    let again = update(ctx, "queue", 0);
    let refused = store.update(namespace_id, std::slice::from_ref(&again)).await;
    assert_refused(refused, &conflict(namespace_id, &again, Some(1)));
    assert_eq!(all(ctx, namespace_id).await, [row_of(namespace_id, &first)]);
    // Another namespace has user data of its own.
    let other = ctx.namespace_id();
    store.update(other, std::slice::from_ref(&again)).await.unwrap();
    assert_eq!(all(ctx, other).await, [row_of(other, &again)]);
}

/// An update with these build ids.
fn with_build_ids(update: UserDataUpdate, added: &[&str], removed: &[&str]) -> UserDataUpdate {
    let ids = |ids: &[&str]| ids.iter().map(|id| build_id(id)).collect();
    UserDataUpdate { build_ids_added: ids(added), build_ids_removed: ids(removed), ..update }
}

async fn build_ids_change_with_the_user_data_or_not_at_all(ctx: &TestContext) {
    let (store, namespace_id) = (user_data_store(ctx), ctx.namespace_id());
    let updates = [
        with_build_ids(update(ctx, "a", 0), &["1", "2"], &[]),
        with_build_ids(update(ctx, "b", 0), &["2"], &[]),
    ];
    store.update(namespace_id, &updates).await.unwrap();
    assert_eq!(queues_of(ctx, namespace_id, "2").await, ["a", "b"]);
    // The second queue conflicts, so the build ids of the first do not change.
    let stale = update(ctx, "b", 0);
    let updates =
        [with_build_ids(update(ctx, "a", 1), &["3"], &["1"]), with_build_ids(stale, &["3"], &[])];
    let refused = store.update(namespace_id, &updates).await;
    assert_refused(refused, &conflict(namespace_id, &updates[1], Some(1)));
    assert_eq!(queues_of(ctx, namespace_id, "1").await, ["a"]);
    assert_eq!(queues_of(ctx, namespace_id, "3").await, [""; 0]);
    store.update(namespace_id, &updates[..1]).await.unwrap();
    assert_eq!(queues_of(ctx, namespace_id, "1").await, [""; 0]);
    assert_eq!(queues_of(ctx, namespace_id, "3").await, ["a"]);
}

async fn a_build_id_that_a_queue_has_is_not_added_and_nothing_changes(ctx: &TestContext) {
    let (store, namespace_id) = (user_data_store(ctx), ctx.namespace_id());
    let first = with_build_ids(update(ctx, "queue", 0), &["1"], &[]);
    store.update(namespace_id, std::slice::from_ref(&first)).await.unwrap();
    let again = with_build_ids(update(ctx, "queue", 1), &["2", "1"], &[]);
    let error = store.update(namespace_id, std::slice::from_ref(&again)).await.unwrap_err();
    let StoreError::AlreadyExists { table: Table::BuildIdToTaskQueue, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(all(ctx, namespace_id).await, [row_of(namespace_id, &first)]);
    assert_eq!(queues_of(ctx, namespace_id, "2").await, [""; 0]);
}

async fn task_queues_of_a_build_id_are_listed_in_order_and_counted(ctx: &TestContext) {
    let (store, namespace_id) = (user_data_store(ctx), ctx.namespace_id());
    // In the order of their bytes.
    let names = ["A", "Z", "a", "a-1", "b", "é", "転"];
    let mut updates = names.map(|name| with_build_ids(update(ctx, name, 0), &["1", name], &[]));
    ctx.random(|random| random.shuffle(&mut updates));
    store.update(namespace_id, &updates).await.unwrap();
    assert_eq!(queues_of(ctx, namespace_id, "1").await, names);
    assert_eq!(queues_of(ctx, namespace_id, "b").await, ["b"]);
    assert_eq!(queues_of(ctx, namespace_id, "absent").await, [""; 0]);
    assert_eq!(queues_of(ctx, ctx.namespace_id(), "1").await, [""; 0]);
}

/// A page of the user data of a namespace, with its key as bytes and back.
async fn page(
    ctx: &TestContext,
    namespace_id: NamespaceId,
    after: Option<TaskQueueName>,
    page_size: u32,
) -> (Vec<TaskQueueUserDataRow>, Option<TaskQueueName>) {
    let page = user_data_store(ctx).list(namespace_id, after.as_ref(), page_size).await.unwrap();
    let next = page.next.map(|next| TaskQueueName::from_bytes(&next.to_bytes()).unwrap());
    (page.items, next)
}

/// Upstream's statement has no order (temporal-persistence.md#fault-25).
async fn user_data_are_listed_in_the_order_of_the_names(ctx: &TestContext) {
    let (store, namespace_id) = (user_data_store(ctx), ctx.namespace_id());
    let names = ["/_sys/q/1", "A", "Z", "a", "a-1", "a1", "b", "é", "転", "🦀"];
    let mut updates = names.map(|name| update(ctx, name, 0));
    let rows = updates.each_ref().map(|update| row_of(namespace_id, update));
    ctx.random(|random| random.shuffle(&mut updates));
    for update in &updates {
        store.update(namespace_id, std::slice::from_ref(update)).await.unwrap();
        store.update(ctx.namespace_id(), std::slice::from_ref(update)).await.unwrap();
    }
    for page_size in [1, 3, 5, 10, 99] {
        let (mut read, mut next) = page(ctx, namespace_id, None, page_size).await;
        while next.is_some() {
            let (more, after) = page(ctx, namespace_id, next, page_size).await;
            read.extend(more);
            assert!(read.len() <= rows.len(), "pages of {page_size}: rows are listed twice");
            next = after;
        }
        assert_eq!(read, rows, "pages of {page_size}");
    }
    let error = store.list(namespace_id, None, 0).await.unwrap_err();
    assert!(matches!(error, StoreError::InvalidArgument { field: "limit", .. }), "{error:?}");
}

async fn listing_continues_while_user_data_change(ctx: &TestContext) {
    let (store, namespace_id) = (user_data_store(ctx), ctx.namespace_id());
    let names: Vec<_> = (10..22).map(|number| format!("queue-{number}")).collect();
    let updates: Vec<_> = names.iter().map(|name| update(ctx, name, 0)).collect();
    store.update(namespace_id, &updates).await.unwrap();
    let (mut last, mut next) = page(ctx, namespace_id, None, 5).await;
    let mut read = last.clone();
    while next.is_some() {
        // The rows of the page that was read change, and a queue before them is added.
        let mut updates: Vec<_> =
            last.iter().map(|row| update(ctx, &row.task_queue_name, row.version)).collect();
        updates.push(update(ctx, &format!("a-{}", last[0].task_queue_name), 0));
        store.update(namespace_id, &updates).await.unwrap();
        (last, next) = page(ctx, namespace_id, next, 5).await;
        read.extend(last.iter().cloned());
        assert!(read.len() <= names.len(), "rows are listed twice");
    }
    let read: Vec<_> = read.iter().map(|row| row.task_queue_name.as_str()).collect();
    assert_eq!(read, names);
}

/// Eight concurrent updates; returns the one that was made.
async fn race(ctx: &TestContext, namespace_id: NamespaceId, version: i64) -> UserDataUpdate {
    let updates = (0..8).map(|number| {
        let id = format!("{version}-{number}");
        let update = with_build_ids(update(ctx, "queue", version), &[&id], &[]);
        let store = user_data_store(ctx);
        tokio::spawn(async move {
            let result = store.update(namespace_id, std::slice::from_ref(&update)).await;
            (update, result)
        })
    });
    let mut made = Vec::new();
    for update in join_all(updates).await {
        let (update, result) = update.unwrap();
        match result {
            Ok(()) => made.push(update),
            refused => {
                assert_refused(refused, &conflict(namespace_id, &update, Some(version + 1)));
            }
        }
    }
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(all(ctx, namespace_id).await, [row_of(namespace_id, &made[0])]);
    made.remove(0)
}

async fn of_eight_updates_from_one_version_one_is_made(ctx: &TestContext) {
    let (store, namespace_id) = (user_data_store(ctx), ctx.namespace_id());
    store.update(namespace_id, &[update(ctx, "queue", 0)]).await.unwrap();
    let made = race(ctx, namespace_id, 1).await;
    assert_eq!(queues_of(ctx, namespace_id, &made.build_ids_added[0]).await, ["queue"]);
    assert_eq!(ctx.fixture.count(Table::BuildIdToTaskQueue).await, 1);
}

async fn of_eight_first_updates_one_is_made(ctx: &TestContext) {
    race(ctx, ctx.namespace_id(), 0).await;
    assert_eq!(ctx.fixture.count(Table::BuildIdToTaskQueue).await, 1);
}

async fn an_update_that_cannot_be_right_is_refused(ctx: &TestContext) {
    let (store, namespace_id) = (user_data_store(ctx), ctx.namespace_id());
    store.update(namespace_id, &[]).await.unwrap();
    let twice = vec![update(ctx, "a", 0), update(ctx, "b", 0), update(ctx, "a", 1)];
    for (updates, named) in [
        (twice, "task_queue_name"),
        (vec![update(ctx, "a", -1)], "version"),
        (vec![update(ctx, "a", i64::MAX)], "version"),
    ] {
        let error = store.update(namespace_id, &updates).await.unwrap_err();
        let StoreError::InvalidArgument { field, .. } = error else { panic!("{error:?}") };
        assert_eq!(field, named);
    }
    let mut large = update(ctx, "a", 0);
    large.data.data = vec![7; limits::MAX_VALUE_BYTES + 1];
    let error = store.update(namespace_id, &[update(ctx, "b", 0), large]).await.unwrap_err();
    let is_named = matches!(error, StoreError::Limit { kind: LimitKind::ValueBytes, .. });
    assert!(is_named, "{error:?}");
    assert_eq!(all(ctx, namespace_id).await, []);
}

async fn the_longest_names_are_stored_or_refused_by_their_limit(ctx: &TestContext) {
    let (store, namespace_id) = (user_data_store(ctx), ctx.namespace_id());
    let (ascii, crabs) = ("q".repeat(255), "🦀".repeat(255));
    let fits = [
        with_build_ids(update(ctx, &ascii, 0), &[&ascii], &[]),
        with_build_ids(update(ctx, &crabs, 0), &["1"], &[]),
    ];
    store.update(namespace_id, &fits).await.unwrap();
    assert_eq!(queues_of(ctx, namespace_id, &ascii).await, [ascii.as_str()]);
    assert_eq!(queues_of(ctx, namespace_id, "1").await, [crabs.as_str()]);
    // The key of a build id has both names.
    let too_long = with_build_ids(update(ctx, &crabs, 1), &[&crabs], &[]);
    let error = store.update(namespace_id, &[too_long]).await.unwrap_err();
    let is_named = matches!(error, StoreError::Limit { kind: LimitKind::KeyBytes, .. });
    assert!(is_named, "{error:?}");
    let read = store.get(namespace_id, &name(&crabs)).await.unwrap();
    assert_eq!(read, Some(row_of(namespace_id, &fits[1])), "nothing is half-done");
    // No queue has it, so removing it changes no row.
    let removal = with_build_ids(update(ctx, &crabs, 1), &[], &[&crabs]);
    store.update(namespace_id, &[removal]).await.unwrap();
    assert_eq!(queues_of(ctx, namespace_id, "1").await, [crabs.as_str()]);
    for refused in [TaskQueueName::new(""), TaskQueueName::new("q".repeat(256))] {
        assert_eq!(refused.unwrap_err().field, "task_queue_name");
    }
}

async fn an_update_of_user_data_whose_answer_is_lost_is_reported_as_done(ctx: &TestContext) {
    let (store, namespace_id) = (user_data_store(ctx), ctx.namespace_id());
    for version in 0..2 {
        let id = format!("build-{version}");
        let updates =
            [with_build_ids(update(ctx, "a", version), &[&id], &[]), update(ctx, "b", version)];
        ctx.fixture.fail_next_commits(&[LostAnswer]);
        store.update(namespace_id, &updates).await.unwrap();
        assert_eq!(ctx.fixture.faults_left(), 0);
        let rows = updates.map(|update| row_of(namespace_id, &update));
        assert_eq!(all(ctx, namespace_id).await, rows);
        assert_eq!(queues_of(ctx, namespace_id, &id).await, ["a"]);
    }
}

async fn an_update_of_user_data_that_was_not_applied_stays_unknown(ctx: &TestContext) {
    let (store, namespace_id) = (user_data_store(ctx), ctx.namespace_id());
    for version in 0..2 {
        let before = all(ctx, namespace_id).await;
        let updates = [update(ctx, "a", version), update(ctx, "b", version)];
        ctx.fixture.fail_next_commits(&[LostCommit]);
        let error = store.update(namespace_id, &updates).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
        assert_eq!(ctx.fixture.faults_left(), 0);
        assert_eq!(all(ctx, namespace_id).await, before);
        store.update(namespace_id, &updates).await.unwrap();
    }
}

async fn conflicts_of_user_data_are_retried(ctx: &TestContext) {
    let (store, namespace_id) = (user_data_store(ctx), ctx.namespace_id());
    for version in 0..2 {
        let update = with_build_ids(update(ctx, "a", version), &[&version.to_string()], &[]);
        ctx.fixture.fail_next_commits(&[Conflict; 3]);
        store.update(namespace_id, std::slice::from_ref(&update)).await.unwrap();
        assert_eq!(ctx.fixture.faults_left(), 0);
        assert_eq!(all(ctx, namespace_id).await, [row_of(namespace_id, &update)]);
    }
    assert_eq!(ctx.fixture.count(Table::BuildIdToTaskQueue).await, 2);
}

async fn no_update_of_user_data_is_sent_after_the_deadline(ctx: &TestContext) {
    let (store, namespace_id) = (user_data_store(ctx), ctx.namespace_id());
    let late = store.within(Duration::ZERO);
    let updates = [update(ctx, "a", 0)];
    let results = [
        late.update(namespace_id, &updates).await,
        late.get(namespace_id, &name("a")).await.map(drop),
        late.list(namespace_id, None, 1).await.map(drop),
        late.task_queues_by_build_id(namespace_id, &build_id("1")).await.map(drop),
        late.count_task_queues_by_build_id(namespace_id, &build_id("1")).await.map(drop),
    ];
    for result in results {
        let error = result.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
    }
    assert_eq!(all(ctx, namespace_id).await, []);
    store.within(Duration::from_secs(3_600)).update(namespace_id, &updates).await.unwrap();
}

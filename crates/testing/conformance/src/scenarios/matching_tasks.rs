//! Row operations on the tasks of task queues: Temporal's `matching_task.go` and `matching_task_v2.go`,
//! each for both kinds of queues.

use temporal_dsql_domain::{TaskLevel, TaskQueueKey, TaskQueueKind, TasksRow};
use temporal_dsql_ports::StoreError;

use crate::{context::TestContext, scenario::scenario_table};

scenario_table! { "matching_tasks":
    inserting_tasks_affects_as_many_rows per kind
        = "matching_task.go/TestInsert_Single_Success",
          "matching_task.go/TestInsert_Multiple_Success";
    inserting_a_task_that_exists_inserts_none per kind
        = "matching_task.go/TestInsert_Single_Fail_Duplicate",
          "matching_task.go/TestInsert_Multiple_Fail_Duplicate";
    inserted_tasks_are_read_in_order per kind
        = "matching_task.go/TestInsertSelect_Single",
          "matching_task.go/TestInsertSelect_Multiple";
    deleted_tasks_are_absent per kind = "matching_task.go/TestInsertDeleteSelect_Multiple";
    tasks_are_read_by_pass_and_then_by_id = "matching_task_v2.go/TestInsertSelect_Order";
    tasks_below_a_pass_are_deleted = "matching_task_v2.go/TestInsertDeleteRange";
    a_task_of_a_higher_pass_with_the_id_of_a_deleted_one_is_kept;
    a_range_of_tasks_begins_and_ends_anywhere_in_a_pass;
    the_first_tasks_are_deleted_in_order_up_to_the_limit per kind;
    tasks_of_a_subqueue_are_apart_from_those_of_its_queue per kind;
    tasks_with_the_largest_and_smallest_ids_are_stored per kind;
    a_pass_that_a_queue_cannot_have_is_refused;
    tasks_of_two_kinds_are_not_inserted_together;
}

async fn insert(ctx: &TestContext, tasks: &[TasksRow]) {
    let kind = tasks[0].queue.kind;
    let inserted = ctx.store.session().insert_into_tasks(kind, tasks).await.unwrap();
    assert_eq!(inserted, tasks.len() as u64);
}

/// All tasks of a queue.
async fn select(ctx: &TestContext, queue: &TaskQueueKey) -> Vec<TasksRow> {
    let all = queue.kind.first_level()..queue.kind.end_level();
    ctx.store.session().select_from_tasks(queue, all, 1_000).await.unwrap()
}

async fn delete(ctx: &TestContext, queue: &TaskQueueKey, end: TaskLevel, limit: u32) -> u64 {
    ctx.store.session().delete_from_tasks(queue, end, limit).await.unwrap()
}

async fn inserting_tasks_affects_as_many_rows(ctx: &TestContext) {
    let tasks = ctx.matching_tasks(ctx.task_queue_key(), 3);
    insert(ctx, &tasks[..1]).await;
    insert(ctx, &tasks[1..]).await;
    assert_eq!(ctx.fixture.count(ctx.kind().tasks_table()).await, 3);
    assert_eq!(ctx.store.session().insert_into_tasks(ctx.kind(), &[]).await.unwrap(), 0);
}

async fn inserting_a_task_that_exists_inserts_none(ctx: &TestContext) {
    let queue = ctx.task_queue_key();
    let tasks = ctx.matching_tasks(queue, 3);
    insert(ctx, &tasks[..2]).await;
    let changed = |task: &TasksRow| ctx.task_at(queue, task.level);
    for again in [vec![changed(&tasks[1])], vec![tasks[2].clone(), changed(&tasks[1])]] {
        let error = ctx.store.session().insert_into_tasks(ctx.kind(), &again).await.unwrap_err();
        let StoreError::AlreadyExists { table, .. } = error else { panic!("{error:?}") };
        assert_eq!(table, ctx.kind().tasks_table());
        assert_eq!(select(ctx, &queue).await, tasks[..2]);
    }
}

async fn inserted_tasks_are_read_in_order(ctx: &TestContext) {
    let queue = ctx.task_queue_key();
    let tasks = ctx.matching_tasks(queue, 20);
    insert(ctx, &ctx.matching_tasks(ctx.task_queue_key(), 5)).await;
    let mut shuffled = tasks.clone();
    ctx.random(|random| random.shuffle(&mut shuffled));
    insert(ctx, &shuffled).await;
    assert_eq!(select(ctx, &queue).await, tasks);
    let mut session = ctx.store.session();
    for (first, end, limit) in [(0, 1, 9), (3, 17, 99), (3, 17, 5), (5, 5, 9), (9, 2, 9)] {
        let range = tasks[first].level..tasks[end].level;
        let read = session.select_from_tasks(&queue, range, limit).await.unwrap();
        let expected: Vec<_> =
            tasks.iter().skip(first).take(end.saturating_sub(first)).take(limit as usize).collect();
        assert_eq!(read.iter().collect::<Vec<_>>(), expected, "{first}..{end}, {limit}");
    }
}

async fn deleted_tasks_are_absent(ctx: &TestContext) {
    let queue = ctx.task_queue_key();
    let (tasks, others) =
        (ctx.matching_tasks(queue, 20), ctx.matching_tasks(ctx.task_queue_key(), 3));
    insert(ctx, &tasks).await;
    insert(ctx, &others).await;
    assert_eq!(delete(ctx, &queue, tasks[7].level, 100).await, 7);
    assert_eq!(select(ctx, &queue).await, tasks[7..]);
    assert_eq!(delete(ctx, &queue, tasks[7].level, 100).await, 0);
    assert_eq!(delete(ctx, &queue, queue.kind.end_level(), 13).await, 13);
    assert_eq!(select(ctx, &queue).await, []);
    assert_eq!(select(ctx, &others[0].queue).await, others);
}

fn fair_queue() -> TaskQueueKey {
    TaskQueueKey::of_upstream_id(TaskQueueKind::Fair, b"fair")
}

const fn level(pass: i64, task_id: i64) -> TaskLevel {
    TaskLevel { pass, task_id }
}

/// Inserts fair tasks at these levels, in this order.
async fn insert_at(ctx: &TestContext, levels: &[TaskLevel]) {
    let tasks: Vec<_> = levels.iter().map(|level| ctx.task_at(fair_queue(), *level)).collect();
    insert(ctx, &tasks).await;
}

/// The levels of all fair tasks.
async fn levels(ctx: &TestContext) -> Vec<TaskLevel> {
    select(ctx, &fair_queue()).await.iter().map(|task| task.level).collect()
}

async fn tasks_are_read_by_pass_and_then_by_id(ctx: &TestContext) {
    insert_at(ctx, &[level(2, 10), level(1, 20), level(1, 5), level(2, 15)]).await;
    assert_eq!(levels(ctx).await, [level(1, 5), level(1, 20), level(2, 10), level(2, 15)]);
}

async fn tasks_below_a_pass_are_deleted(ctx: &TestContext) {
    insert_at(ctx, &[level(1, 1), level(2, 2), level(3, 3)]).await;
    assert_eq!(delete(ctx, &fair_queue(), level(3, 0), 10).await, 2);
    assert_eq!(levels(ctx).await, [level(3, 3)]);
}

/// Upstream and the Go fork delete by the id alone (temporal-persistence.md#fault-25).
async fn a_task_of_a_higher_pass_with_the_id_of_a_deleted_one_is_kept(ctx: &TestContext) {
    let kept = [level(3, 7), level(4, 5), level(4, 7)];
    insert_at(ctx, &[level(1, 5), level(1, 7), level(2, 7), level(3, 5)]).await;
    insert_at(ctx, &kept).await;
    assert_eq!(delete(ctx, &fair_queue(), level(3, 6), 10).await, 4);
    assert_eq!(levels(ctx).await, kept);
}

async fn a_range_of_tasks_begins_and_ends_anywhere_in_a_pass(ctx: &TestContext) {
    let all: Vec<_> =
        (1..=4).flat_map(|pass| [-9, 0, 9].map(|task_id| level(pass, task_id))).collect();
    insert_at(ctx, &all).await;
    let mut session = ctx.store.session();
    let bounds: Vec<_> = all.iter().flat_map(|at| [*at, level(at.pass, at.task_id + 1)]).collect();
    for from in &bounds {
        for end in &bounds {
            let range = *from..*end;
            let read = session.select_from_tasks(&fair_queue(), range.clone(), 99).await.unwrap();
            let read: Vec<_> = read.iter().map(|task| task.level).collect();
            let expected: Vec<_> = all.iter().copied().filter(|at| range.contains(at)).collect();
            assert_eq!(read, expected, "{range:?}");
        }
    }
}

async fn the_first_tasks_are_deleted_in_order_up_to_the_limit(ctx: &TestContext) {
    let queue = ctx.task_queue_key();
    let tasks = ctx.matching_tasks(queue, 12);
    insert(ctx, &tasks).await;
    let end = tasks[10].level;
    for (limit, deleted, left) in [(4, 4, 4), (4, 4, 8), (4, 2, 10), (4, 0, 10)] {
        assert_eq!(delete(ctx, &queue, end, limit).await, deleted);
        assert_eq!(select(ctx, &queue).await, tasks[left..]);
    }
}

async fn tasks_of_a_subqueue_are_apart_from_those_of_its_queue(ctx: &TestContext) {
    let namespace_id = ctx.namespace_id();
    let of = temporal_dsql_domain::TaskQueueType::Activity;
    let queues =
        [0, 1, 2].map(|subqueue| TaskQueueKey::new(ctx.kind(), namespace_id, "q", of, subqueue));
    // One statement inserts tasks of all subqueues, with the same levels.
    let level = ctx.kind().first_level();
    let tasks = queues.map(|queue| ctx.task_at(queue, level));
    insert(ctx, &tasks).await;
    assert_eq!(delete(ctx, &queues[1], ctx.kind().end_level(), 9).await, 1);
    assert_eq!(select(ctx, &queues[0]).await, tasks[..1]);
    assert_eq!(select(ctx, &queues[1]).await, []);
    assert_eq!(select(ctx, &queues[2]).await, tasks[2..]);
}

async fn tasks_with_the_largest_and_smallest_ids_are_stored(ctx: &TestContext) {
    let queue = ctx.task_queue_key();
    let TaskLevel { pass, .. } = ctx.kind().first_level();
    let levels = [i64::MIN, -1, 0, i64::MAX - 1].map(|task_id| TaskLevel { pass, task_id });
    let tasks = levels.map(|level| ctx.task_at(queue, level));
    insert(ctx, &tasks).await;
    assert_eq!(select(ctx, &queue).await, tasks);
    assert_eq!(delete(ctx, &queue, queue.kind.end_level(), 9).await, 4);
}

#[track_caller]
fn assert_names(result: Result<impl std::fmt::Debug, StoreError>, expected: &str) {
    let Err(StoreError::InvalidArgument { field, .. }) = result else {
        panic!("expected an error of {expected}, got {result:?}");
    };
    assert_eq!(field, expected);
}

async fn a_pass_that_a_queue_cannot_have_is_refused(ctx: &TestContext) {
    for (kind, wrong) in [(TaskQueueKind::Normal, 1), (TaskQueueKind::Fair, 0)] {
        let queue = TaskQueueKey::of_upstream_id(kind, b"queue");
        let (first, end, wrong) = (kind.first_level(), kind.end_level(), level(wrong, 7));
        let mut transaction = ctx.begin("Tasks").await;
        let tasks = [ctx.task_at(queue, first), ctx.task_at(queue, wrong)];
        assert_names(transaction.insert_into_tasks(kind, &tasks).await, "pass");
        assert_names(transaction.select_from_tasks(&queue, wrong..end, 9).await, "pass");
        assert_names(transaction.select_from_tasks(&queue, first..wrong, 9).await, "pass");
        assert_names(transaction.delete_from_tasks(&queue, wrong, 9).await, "pass");
        // Nothing was sent, so the transaction continues.
        assert_eq!(transaction.insert_into_tasks(kind, &tasks[..1]).await.unwrap(), 1);
        transaction.commit().await.unwrap();
    }
}

async fn tasks_of_two_kinds_are_not_inserted_together(ctx: &TestContext) {
    let task = |kind: TaskQueueKind| {
        ctx.task_at(TaskQueueKey::of_upstream_id(kind, b"queue"), kind.first_level())
    };
    let tasks = TaskQueueKind::ALL.map(task);
    for kind in TaskQueueKind::ALL {
        let refused = ctx.store.session().insert_into_tasks(kind, &tasks).await;
        assert_names(refused, "task_queue_id");
        assert_eq!(ctx.fixture.count(kind.tasks_table()).await, 0);
    }
}

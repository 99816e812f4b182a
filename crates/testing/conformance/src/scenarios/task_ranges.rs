//! The bounds of task ranges: ids in immediate queues, times and ids in scheduled ones. Temporal's
//! `history_scheduled_task.go`, for both tables of scheduled tasks.

use temporal_dsql_domain::{
    ImmediateQueue, ImmediateTask, ScheduledKey, ScheduledQueue, ScheduledRange, ScheduledTask,
    ShardId, TaskCategory, Timestamp,
};

use crate::{context::TestContext, scenario::scenario_table};

scenario_table! { "task_ranges":
    an_immediate_range_includes_its_first_id_and_excludes_its_last;
    the_largest_and_smallest_ids_are_kept_in_order;
    a_scheduled_range_includes_its_first_key
        = "history_scheduled_task.go/TestInsertSelect_CursorRowIncluded",
          "history_scheduled_task.go/TestInsertSelect_CursorExcludesPriorRows";
    a_scheduled_range_excludes_its_last_time
        = "history_scheduled_task.go/TestInsertSelect_UpperBoundExclusive";
    later_times_are_in_the_range_whatever_their_ids
        = "history_scheduled_task.go/TestInsertSelect_CrossTimestampCursor";
    pages_over_times_and_ids_cover_every_task_once
        = "history_scheduled_task.go/TestInsertSelect_MultiplePages";
    tasks_of_one_microsecond_are_in_the_order_of_their_ids
        = "history_scheduled_task.go/TestInsertSelect_PageBoundarySplitsSameTimestamp";
    times_are_kept_to_the_microsecond;
    the_earliest_and_the_latest_time_are_kept_in_order;
    a_range_of_times_is_deleted_whatever_the_ids;
}

const IMMEDIATE: [ImmediateQueue; 2] =
    [ImmediateQueue::Transfer, ImmediateQueue::Category(TaskCategory::OUTBOUND)];
const SCHEDULED: [ScheduledQueue; 2] =
    [ScheduledQueue::Timer, ScheduledQueue::Category(TaskCategory::OUTBOUND)];

/// A time so many microseconds after an arbitrary one.
fn at(micros: i64) -> Timestamp {
    Timestamp::from_unix_micros(1_800_000_000_000_000 + micros).unwrap()
}

fn key(micros: i64, task_id: i64) -> ScheduledKey {
    ScheduledKey { visibility_timestamp: at(micros), task_id }
}

/// Inserts tasks with these keys in reverse order, in a shard of their own.
async fn inserted(
    ctx: &TestContext,
    queue: ScheduledQueue,
    keys: &[ScheduledKey],
) -> (ShardId, Vec<ScheduledTask>) {
    let shard = ctx.shard_id();
    let tasks: Vec<_> =
        keys.iter().map(|key| ScheduledTask { key: *key, data: ctx.data() }).collect();
    let reversed: Vec<_> = tasks.iter().rev().cloned().collect();
    let mut session = ctx.store.session();
    let rows = session.insert_into_scheduled_tasks(shard, queue, &reversed).await.unwrap();
    assert_eq!(rows, tasks.len() as u64);
    (shard, tasks)
}

async fn select(
    ctx: &TestContext,
    queue: ScheduledQueue,
    shard_id: ShardId,
    range: ScheduledRange,
    limit: u32,
) -> Vec<ScheduledTask> {
    let mut session = ctx.store.session();
    session.range_select_from_scheduled_tasks(shard_id, queue, range, limit).await.unwrap()
}

async fn an_immediate_range_includes_its_first_id_and_excludes_its_last(ctx: &TestContext) {
    for queue in IMMEDIATE {
        let shard = ctx.shard_id();
        let tasks: Vec<_> =
            (1..=9).map(|task_id| ImmediateTask { task_id, data: ctx.data() }).collect();
        let mut session = ctx.store.session();
        session.insert_into_immediate_tasks(shard, &queue, &tasks).await.unwrap();
        for (range, expected) in [
            (3..6, &tasks[2..5]),
            (-5..2, &tasks[..1]),
            (9..i64::MAX, &tasks[8..]),
            (4..4, &[]),
            (10..20, &[]),
        ] {
            let read = session.range_select_from_immediate_tasks(shard, &queue, range.clone(), 99);
            assert_eq!(read.await.unwrap(), expected, "{range:?}");
        }
        let deleted = session.range_delete_from_immediate_tasks(shard, &queue, 3..6, 99).await;
        assert_eq!(deleted.unwrap(), 3);
        let read = session.range_select_from_immediate_tasks(shard, &queue, 0..99, 99).await;
        assert_eq!(read.unwrap(), [&tasks[..2], &tasks[5..]].concat());
    }
}

async fn the_largest_and_smallest_ids_are_kept_in_order(ctx: &TestContext) {
    let ids = [i64::MIN, -1, 0, 1, i64::MAX - 1];
    for queue in IMMEDIATE {
        let shard = ctx.shard_id();
        let tasks = ids.map(|task_id| ImmediateTask { task_id, data: ctx.data() });
        let mut session = ctx.store.session();
        session.insert_into_immediate_tasks(shard, &queue, &tasks).await.unwrap();
        let all = i64::MIN..i64::MAX;
        let read = session.range_select_from_immediate_tasks(shard, &queue, all, 99).await;
        assert_eq!(read.unwrap(), tasks);
    }
    for queue in SCHEDULED {
        let (shard, tasks) = inserted(ctx, queue, &ids.map(|id| key(0, id))).await;
        let all = ScheduledRange { from: key(0, i64::MIN), until: at(1) };
        assert_eq!(select(ctx, queue, shard, all, 99).await, tasks);
    }
}

async fn a_scheduled_range_includes_its_first_key(ctx: &TestContext) {
    for queue in SCHEDULED {
        let (shard, tasks) = inserted(ctx, queue, &[key(0, 1), key(0, 2), key(0, 3)]).await;
        for (first, expected) in [(1, 0), (2, 1), (3, 2), (4, 3)] {
            let range = ScheduledRange { from: key(0, first), until: at(1_000) };
            assert_eq!(select(ctx, queue, shard, range, 10).await, tasks[expected..]);
        }
    }
}

async fn a_scheduled_range_excludes_its_last_time(ctx: &TestContext) {
    for queue in SCHEDULED {
        let (shard, tasks) = inserted(ctx, queue, &[key(0, 1), key(1, 1), key(2, 1)]).await;
        for (until, expected) in [(0, 0), (1, 1), (2, 2), (3, 3)] {
            let range = ScheduledRange { from: key(0, i64::MIN), until: at(until) };
            assert_eq!(select(ctx, queue, shard, range, 10).await, tasks[..expected]);
        }
    }
}

async fn later_times_are_in_the_range_whatever_their_ids(ctx: &TestContext) {
    for queue in SCHEDULED {
        let keys = [key(0, 1), key(0, 2), key(0, 3), key(1_000, 1), key(1_000, 2)];
        let (shard, tasks) = inserted(ctx, queue, &keys).await;
        let range = ScheduledRange { from: key(0, 2), until: at(2_000) };
        assert_eq!(select(ctx, queue, shard, range, 10).await, tasks[1..]);
        // Between the times, and larger than every id of the first.
        for from in [key(0, 4), key(0, i64::MAX), key(1, i64::MIN), key(999, 7)] {
            let range = ScheduledRange { from, until: at(2_000) };
            assert_eq!(select(ctx, queue, shard, range, 10).await, tasks[3..]);
        }
    }
}

/// Reads all pages, each from the key after the last one of the page before.
async fn in_pages(
    ctx: &TestContext,
    queue: ScheduledQueue,
    shard_id: ShardId,
    limit: u32,
) -> Vec<Vec<ScheduledTask>> {
    let mut range = ScheduledRange { from: key(0, i64::MIN), until: at(1_000_000) };
    let mut pages = Vec::new();
    loop {
        let page = select(ctx, queue, shard_id, range, limit).await;
        let Some(last) = page.last() else {
            return pages;
        };
        range.from = ScheduledKey { task_id: last.key.task_id + 1, ..last.key };
        pages.push(page);
    }
}

async fn pages_over_times_and_ids_cover_every_task_once(ctx: &TestContext) {
    let keys: Vec<_> = (0..9).map(|n| key(n / 3 * 1_000, n % 3 + 1)).collect();
    for queue in SCHEDULED {
        let (shard, tasks) = inserted(ctx, queue, &keys).await;
        for limit in [1, 2, 3, 4, 9, 10] {
            let pages = in_pages(ctx, queue, shard, limit).await;
            assert_eq!(pages.concat(), tasks, "limit {limit}");
        }
    }
}

async fn tasks_of_one_microsecond_are_in_the_order_of_their_ids(ctx: &TestContext) {
    let keys = [key(0, -3), key(0, 1), key(0, 2), key(0, 10), key(0, 1 << 40)];
    for queue in SCHEDULED {
        let (shard, tasks) = inserted(ctx, queue, &keys).await;
        let pages = in_pages(ctx, queue, shard, 2).await;
        assert_eq!(pages, [&tasks[..2], &tasks[2..4], &tasks[4..]]);
    }
}

/// Two times that differ by nanoseconds are equal (temporal-persistence.md#history-tasks), in a key
/// and in a value.
async fn times_are_kept_to_the_microsecond(ctx: &TestContext) {
    let nanos =
        |text: &str| ScheduledKey { visibility_timestamp: text.parse().unwrap(), task_id: 1 };
    let second = "2026-11-23T02:19:02";
    let (first, later) =
        (nanos(&format!("{second}.780998937Z")), nanos(&format!("{second}.780998001Z")));
    for queue in SCHEDULED {
        let later = ScheduledKey { task_id: 2, ..later };
        let (shard, tasks) = inserted(ctx, queue, &[first, later]).await;
        let range = ScheduledRange { from: nanos(&format!("{second}Z")), until: Timestamp::MAX };
        let read = select(ctx, queue, shard, range, 9).await;
        assert_eq!(read, tasks, "in the order of their ids");
        let times = read.iter().map(|task| task.key.visibility_timestamp.to_string());
        assert!(times.eq(["2026-11-23T02:19:02.780998Z"; 2]));
        let mut session = ctx.store.session();
        let deleted = session.delete_from_scheduled_tasks(shard, queue, first).await;
        assert_eq!(deleted.unwrap(), 1);
    }
}

async fn the_earliest_and_the_latest_time_are_kept_in_order(ctx: &TestContext) {
    let before_1970 = Timestamp::from_unix_micros(-1).unwrap();
    let almost = Timestamp::from_unix_micros(Timestamp::MAX.unix_micros() - 1).unwrap();
    let times =
        [Timestamp::MIN, Timestamp::STORED_ZERO_TIME, before_1970, Timestamp::UNIX_EPOCH, almost];
    let keys = times.map(|visibility_timestamp| ScheduledKey { visibility_timestamp, task_id: 1 });
    for queue in SCHEDULED {
        let (shard, tasks) = inserted(ctx, queue, &keys).await;
        let range = ScheduledRange { from: keys[0], until: Timestamp::MAX };
        assert_eq!(select(ctx, queue, shard, range, 9).await, tasks);
    }
}

async fn a_range_of_times_is_deleted_whatever_the_ids(ctx: &TestContext) {
    let keys: Vec<_> = (0..12).map(|n| key(n / 3, n % 3)).collect();
    for queue in SCHEDULED {
        let (shard, tasks) = inserted(ctx, queue, &keys).await;
        let mut session = ctx.store.session();
        // The first chunk ends between the tasks of one time.
        for deleted in [4, 2, 0] {
            let times = at(1)..at(3);
            let rows = session.range_delete_from_scheduled_tasks(shard, queue, times, 4).await;
            assert_eq!(rows.unwrap(), deleted);
        }
        let all = ScheduledRange { from: key(0, i64::MIN), until: Timestamp::MAX };
        let left = select(ctx, queue, shard, all, 99).await;
        assert_eq!(left, [&tasks[..3], &tasks[9..]].concat());
    }
}

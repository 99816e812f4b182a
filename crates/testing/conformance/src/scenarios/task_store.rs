//! TaskStore: the owner adds tasks, and they are read in pages and completed.

use temporal_dsql_domain::{
    ClusterName, ImmediateQueue, ImmediateTask, ScheduledKey, ScheduledRange, ScheduledTask, Tasks,
    Timestamp,
};
use temporal_dsql_ports::{Outcome, StoreError};
use temporal_dsql_stores::PageKey;

use crate::{
    context::{
        TestContext,
        owned_shard::{OwnedShard, assert_refused},
    },
    harness::CommitFailure,
    queue::Queue,
    scenario::scenario_table,
};

scenario_table! { "task_store":
    an_added_task_is_read_and_completed per queue
        = "execution_mutable_state_task.go/TestAddGetCompleteImmediateTask_Single",
          "execution_mutable_state_task.go/TestAddGetCompleteScheduledTask_Single",
          "execution_mutable_state_task.go/TestAddGetCompleteTransferTask_Single",
          "execution_mutable_state_task.go/TestAddGetCompleteTimerTask_Single",
          "execution_mutable_state_task.go/TestAddGetCompleteReplicationTask_Single",
          "execution_mutable_state_task.go/TestAddGetCompleteVisibilityTask_Single";
    added_tasks_are_paged_in_order_and_completed_by_range per queue
        = "execution_mutable_state_task.go/TestAddGetRangeCompleteImmediateTasks_Multiple",
          "execution_mutable_state_task.go/TestAddGetRangeCompleteScheduledTasks_Multiple",
          "execution_mutable_state_task.go/TestAddGetTransferTasks_Multiple",
          "execution_mutable_state_task.go/TestAddGetTimerTasks_Multiple",
          "execution_mutable_state_task.go/TestAddGetReplicationTasks_Multiple",
          "execution_mutable_state_task.go/TestAddGetVisibilityTasks_Multiple";
    tasks_of_one_time_are_read_in_the_order_of_their_ids
        = "execution_mutable_state_task.go/TestGetTimerTasksOrdered",
          "execution_mutable_state_task.go/TestGetScheduledTasksOrdered";
    the_replication_dlq_is_empty_until_a_task_is_put_into_it
        = "execution_mutable_state_task.go/TestIsReplicationDLQEmpty";
    a_task_is_put_into_the_replication_dlq_once;
    tasks_of_all_queues_are_added_together_or_not_at_all;
    adding_no_tasks_checks_the_ownership;
    a_page_that_ends_at_the_last_task_of_a_time_continues_at_the_next;
    a_page_that_ends_with_its_range_is_the_last_one per queue;
    a_lost_answer_to_a_task_at_the_largest_key_is_never_reported_as_not_applied per queue;
    paging_continues_while_tasks_before_and_after_it_are_completed per queue
        = "temporal-persistence.md#case-9";
    a_range_of_ten_thousand_tasks_is_completed per queue = "temporal-persistence.md#case-7";
}

const FIRST: ScheduledKey = ScheduledKey { visibility_timestamp: Timestamp::MIN, task_id: 0 };

/// These tasks for one queue, as the store takes them.
fn for_queue(queue: &Queue, tasks: &[ScheduledTask]) -> Tasks {
    match queue {
        Queue::Immediate(queue) => {
            let tasks = tasks
                .iter()
                .map(|task| ImmediateTask { task_id: task.key.task_id, data: task.data.clone() });
            Tasks { immediate: vec![(queue.clone(), tasks.collect())], ..Tasks::default() }
        }
        Queue::Scheduled(queue) => {
            Tasks { scheduled: vec![(*queue, tasks.to_vec())], ..Tasks::default() }
        }
    }
}

/// The key that a client passes back.
fn through_bytes<K: PageKey>(key: K) -> K {
    K::from_bytes(&key.to_bytes()).unwrap()
}

/// A page, with the first key of the next one.
async fn page(
    shard: &OwnedShard<'_>,
    queue: &Queue,
    from: ScheduledKey,
    limit: u32,
) -> (Vec<ScheduledTask>, Option<ScheduledKey>) {
    let shard_id = shard.owner.shard_id;
    match queue {
        Queue::Immediate(of) => {
            let range = from.task_id..i64::MAX;
            let page = shard.tasks.immediate_page(shard_id, of, range, limit).await.unwrap();
            let key = |task_id| queue.key(Timestamp::UNIX_EPOCH, task_id);
            let tasks = page
                .items
                .into_iter()
                .map(|task| ScheduledTask { key: key(task.task_id), data: task.data });
            (tasks.collect(), page.next.map(through_bytes).map(key))
        }
        Queue::Scheduled(queue) => {
            let range = ScheduledRange { from, until: Timestamp::MAX };
            let page = shard.tasks.scheduled_page(shard_id, *queue, range, limit).await.unwrap();
            (page.items, page.next.map(through_bytes))
        }
    }
}

/// All pages, each with a random limit.
async fn pages(shard: &OwnedShard<'_>, queue: &Queue) -> Vec<ScheduledTask> {
    let (mut all, mut from) = (Vec::new(), FIRST);
    loop {
        let limit = shard.ctx.random(|random| random.u32(1..8));
        let (tasks, next) = page(shard, queue, from, limit).await;
        assert!(tasks.len() <= limit as usize);
        all.extend(tasks);
        match next {
            Some(next) => from = next,
            None => return all,
        }
    }
}

/// Completes one task.
async fn complete(shard: &OwnedShard<'_>, queue: &Queue, key: ScheduledKey) {
    let shard_id = shard.owner.shard_id;
    match queue {
        Queue::Immediate(queue) => {
            shard.tasks.complete_immediate(shard_id, queue, key.task_id).await.unwrap();
        }
        Queue::Scheduled(queue) => {
            shard.tasks.complete_scheduled(shard_id, *queue, key).await.unwrap();
        }
    }
}

/// Completes all tasks and returns their number.
async fn complete_all(shard: &OwnedShard<'_>, queue: &Queue) -> u64 {
    let shard_id = shard.owner.shard_id;
    match queue {
        Queue::Immediate(queue) => {
            let range = i64::MIN..i64::MAX;
            shard.tasks.complete_immediate_range(shard_id, queue, range).await.unwrap()
        }
        Queue::Scheduled(queue) => {
            let times = FIRST.visibility_timestamp..Timestamp::MAX;
            shard.tasks.complete_scheduled_range(shard_id, *queue, times).await.unwrap()
        }
    }
}

async fn an_added_task_is_read_and_completed(ctx: &TestContext) {
    let (shard, queue) = (ctx.owned_shard().await, ctx.queue());
    let tasks = ctx.tasks(queue, 1);
    shard.tasks.add(shard.owner, &for_queue(queue, &tasks)).await.unwrap();
    assert_eq!(pages(&shard, queue).await, tasks);
    complete(&shard, queue, tasks[0].key).await;
    assert_eq!(pages(&shard, queue).await, []);
    complete(&shard, queue, tasks[0].key).await;
}

async fn added_tasks_are_paged_in_order_and_completed_by_range(ctx: &TestContext) {
    let (shard, queue) = (ctx.owned_shard().await, ctx.queue());
    let tasks = ctx.tasks(queue, 30);
    let mut shuffled = tasks.clone();
    ctx.random(|random| random.shuffle(&mut shuffled));
    for part in shuffled.chunks(7) {
        shard.tasks.add(shard.owner, &for_queue(queue, part)).await.unwrap();
    }
    assert_eq!(pages(&shard, queue).await, tasks);
    assert_eq!(complete_all(&shard, queue).await, 30);
    assert_eq!(pages(&shard, queue).await, []);
    assert_eq!(complete_all(&shard, queue).await, 0);
}

async fn tasks_of_one_time_are_read_in_the_order_of_their_ids(ctx: &TestContext) {
    for queue in Queue::all().iter().filter(|queue| matches!(queue, Queue::Scheduled(_))) {
        let shard = ctx.owned_shard().await;
        let time = Timestamp::from_unix_micros(1_600_000_000_000_000).unwrap();
        let tasks: Vec<_> = (1..=9)
            .map(|task_id| ScheduledTask {
                key: ScheduledKey { visibility_timestamp: time, task_id },
                data: ctx.data(),
            })
            .collect();
        let reversed: Vec<_> = tasks.iter().rev().cloned().collect();
        shard.tasks.add(shard.owner, &for_queue(queue, &reversed)).await.unwrap();
        assert_eq!(pages(&shard, queue).await, tasks);
    }
}

fn dlq_task(ctx: &TestContext, task_id: i64) -> ImmediateTask {
    ImmediateTask { task_id, data: ctx.data() }
}

async fn the_replication_dlq_is_empty_until_a_task_is_put_into_it(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let shard_id = shard.owner.shard_id;
    let [one, other] = ["cluster-b", "cluster-c"].map(|name| ClusterName::new(name).unwrap());
    let is_empty = async |source: &ClusterName, first| {
        shard.tasks.is_replication_dlq_empty(shard_id, source, first).await.unwrap()
    };
    assert!(is_empty(&one, 0).await);
    shard.tasks.put_to_replication_dlq(shard_id, &one, &dlq_task(ctx, 7)).await.unwrap();
    assert!(!is_empty(&one, 0).await);
    assert!(!is_empty(&one, 7).await);
    assert!(is_empty(&one, 8).await);
    assert!(is_empty(&other, 0).await, "each source cluster has its own queue");
    let queue = ImmediateQueue::ReplicationDlq(one.clone());
    shard.tasks.complete_immediate(shard_id, &queue, 7).await.unwrap();
    assert!(is_empty(&one, 0).await);
}

async fn a_task_is_put_into_the_replication_dlq_once(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let source = ClusterName::new("cluster-b").unwrap();
    let task = dlq_task(ctx, 7);
    for _ in 0..2 {
        let shard_id = shard.owner.shard_id;
        shard.tasks.put_to_replication_dlq(shard_id, &source, &task).await.unwrap();
    }
    let queue = Queue::Immediate(ImmediateQueue::ReplicationDlq(source));
    let (tasks, _) = page(&shard, &queue, FIRST, 10).await;
    assert_eq!(tasks.len(), 1);
    assert_eq!(tasks[0].data, task.data);
}

async fn tasks_of_all_queues_are_added_together_or_not_at_all(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let tasks = ctx.tasks_of_every_queue(3);
    shard.tasks.add(shard.owner, &tasks).await.unwrap();
    assert_eq!(shard.task_count().await, tasks.len() as u64);
    // One task of the last queue exists, so none of the first is added.
    let mut more = ctx.tasks_of_every_queue(3);
    more.scheduled[1].1[2].key = tasks.scheduled[1].1[0].key;
    let error = shard.tasks.add(shard.owner, &more).await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error:?}");
    assert_eq!(shard.task_count().await, tasks.len() as u64);
}

async fn adding_no_tasks_checks_the_ownership(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let none = Tasks::default();
    shard.tasks.add(shard.owner, &none).await.unwrap();
    let next = shard.depose_owner().await;
    let lost = temporal_dsql_ports::ConditionFailed::ShardOwnershipLost {
        shard_id: shard.owner.shard_id,
        expected: shard.owner.range_id,
        observed: Some(next.range_id),
    };
    let mut empty_queue = ctx.tasks_of_every_queue(1);
    empty_queue.immediate.truncate(1);
    empty_queue.immediate[0].1.clear();
    empty_queue.scheduled.clear();
    for tasks in [none, empty_queue, ctx.tasks_of_every_queue(1)] {
        assert_refused(shard.tasks.add(shard.owner, &tasks).await, &lost);
    }
    assert_eq!(shard.task_count().await, 0);
}

async fn a_page_that_ends_at_the_last_task_of_a_time_continues_at_the_next(ctx: &TestContext) {
    let at = |micros, task_id| ScheduledTask {
        key: ScheduledKey {
            visibility_timestamp: Timestamp::from_unix_micros(micros).unwrap(),
            task_id,
        },
        data: ctx.data(),
    };
    for queue in Queue::all().iter().filter(|queue| matches!(queue, Queue::Scheduled(_))) {
        let shard = ctx.owned_shard().await;
        let tasks = vec![at(5, 1), at(5, i64::MAX), at(6, i64::MIN), at(6, i64::MAX), at(9, 0)];
        shard.tasks.add(shard.owner, &for_queue(queue, &tasks)).await.unwrap();
        for limit in 1..=6 {
            let (mut all, mut from) = (Vec::new(), Some(FIRST));
            while let Some(at) = from {
                assert!(all.len() < tasks.len(), "{queue}: limit {limit}: the pages do not end");
                let (found, next) = page(&shard, queue, at, limit).await;
                all.extend(found);
                // A full last page is followed by an empty one.
                from = next.filter(|_| all.len() < tasks.len());
            }
            assert_eq!(all, tasks, "{queue}: limit {limit}");
        }
    }
}

async fn a_page_that_ends_with_its_range_is_the_last_one(ctx: &TestContext) {
    let (shard, queue) = (ctx.owned_shard().await, ctx.queue());
    let shard_id = shard.owner.shard_id;
    let mut tasks = ctx.tasks(queue, 3);
    if let Queue::Scheduled(_) = queue {
        // A scheduled range ends at a time, right after the largest task id of the time before.
        tasks[1].key.task_id = i64::MAX;
    }
    shard.tasks.add(shard.owner, &for_queue(queue, &tasks)).await.unwrap();
    // The range ends right after the second task, as the page does.
    let end = tasks[1].key;
    match queue {
        Queue::Immediate(queue) => {
            let range = i64::MIN..end.task_id + 1;
            let page = shard.tasks.immediate_page(shard_id, queue, range, 2).await.unwrap();
            assert_eq!((page.items.len(), page.next), (2, None));
        }
        Queue::Scheduled(queue) => {
            let until = end.next().unwrap().visibility_timestamp;
            let range = ScheduledRange { from: FIRST, until };
            let page = shard.tasks.scheduled_page(shard_id, *queue, range, 2).await.unwrap();
            assert_eq!((page.items.len(), page.next), (2, None));
        }
    }
}

async fn a_lost_answer_to_a_task_at_the_largest_key_is_never_reported_as_not_applied(
    ctx: &TestContext,
) {
    let queue = ctx.queue();
    for fault in [CommitFailure::LostAnswer, CommitFailure::LostCommit] {
        for time in [Timestamp::UNIX_EPOCH, Timestamp::MAX] {
            let shard = ctx.owned_shard().await;
            let before = shard.task_count().await;
            let key = queue.key(time, i64::MAX);
            let tasks = for_queue(queue, &[ScheduledTask { key, data: ctx.data() }]);
            ctx.fixture.fail_next_commits(&[fault]);
            let added = shard.tasks.add(shard.owner, &tasks).await;
            let stored = shard.task_count().await - before;
            assert_eq!(ctx.fixture.faults_left(), 0);
            // No range contains the largest key, so reading cannot prove the write.
            let outcome = added.as_ref().map_err(StoreError::outcome);
            match fault {
                CommitFailure::LostAnswer => {
                    assert!(matches!(outcome, Ok(()) | Err(Outcome::Unknown)), "{added:?}");
                    assert_eq!(stored, 1);
                }
                _ => {
                    assert_eq!(outcome, Err(Outcome::Unknown), "{added:?}");
                    assert_eq!(stored, 0);
                }
            }
        }
    }
}

async fn paging_continues_while_tasks_before_and_after_it_are_completed(ctx: &TestContext) {
    let (shard, queue) = (ctx.owned_shard().await, ctx.queue());
    let tasks = ctx.tasks(queue, 24);
    shard.tasks.add(shard.owner, &for_queue(queue, &tasks)).await.unwrap();
    let (mut seen, mut from) = (Vec::new(), Some(FIRST));
    while let Some(at) = from {
        let (found, next) = page(&shard, queue, at, 4).await;
        seen.extend(found.iter().cloned());
        // The whole page is completed, and one task of the next page.
        for task in &found {
            complete(&shard, queue, task.key).await;
        }
        if let Some(ahead) = tasks.get(seen.len()) {
            complete(&shard, queue, ahead.key).await;
            seen.push(ahead.clone());
        }
        from = next;
    }
    assert_eq!(seen, tasks, "every task is read once");
    assert_eq!(pages(&shard, queue).await, []);
}

async fn a_range_of_ten_thousand_tasks_is_completed(ctx: &TestContext) {
    let (shard, queue) = (ctx.owned_shard().await, ctx.queue());
    let tasks = ctx.tasks(queue, 10_000);
    for part in tasks.chunks(2_500) {
        shard.tasks.add(shard.owner, &for_queue(queue, part)).await.unwrap();
    }
    let last = tasks.last().unwrap().key;
    // All tasks but the last, in chunks that fit a transaction (aurora-dsql.md#limits).
    let shard_id = shard.owner.shard_id;
    let completed = match queue {
        Queue::Immediate(queue) => {
            let range = i64::MIN..last.task_id;
            shard.tasks.complete_immediate_range(shard_id, queue, range).await.unwrap()
        }
        Queue::Scheduled(queue) => {
            let times = FIRST.visibility_timestamp..last.visibility_timestamp;
            shard.tasks.complete_scheduled_range(shard_id, *queue, times).await.unwrap()
        }
    };
    assert_eq!(completed, 9_999);
    assert_eq!(pages(&shard, queue).await, tasks[9_999..]);
}

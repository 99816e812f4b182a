//! The rows of matching of a server on PostgreSQL, with the ids of the schema for DSQL.

use serde::Deserialize;
use temporal_dsql_domain::{
    NamespaceId, TaskLevel, TaskQueueKey, TaskQueueKind, TaskQueueName, TaskQueueUserDataRow,
    TaskQueuesRow, TasksRow,
};
use uuid::Uuid;

use super::decode::{Blob, bytes, id, lines};

/// The rows of one file of the recording.
macro_rules! recorded {
    ($table:literal) => {
        lines(include_str!(concat!("../../data/temporal-postgres-1.19/", $table, ".jsonl")))
    };
}

/// Every task queue, in the order of their keys.
pub fn task_queues() -> Vec<TaskQueuesRow> {
    let row = |Queue { key, range_id, blob }: Queue| TaskQueuesRow {
        queue: key.into(),
        range_id,
        data: blob.into(),
    };
    let mut rows: Vec<_> = recorded!("task_queues").map(row).collect();
    rows.sort_by_key(|row| row.queue);
    rows
}

/// Every task, in the order of their queues and levels.
pub fn matching_tasks() -> Vec<TasksRow> {
    let row = |Task { key, task_id, blob }: Task| TasksRow {
        queue: key.into(),
        level: TaskLevel::of_task(task_id),
        data: blob.into(),
    };
    let mut rows: Vec<_> = recorded!("tasks").map(row).collect();
    rows.sort_by_key(|row| (row.queue, row.level));
    rows
}

/// The user data of every task queue.
pub fn task_queue_user_data() -> Vec<TaskQueueUserDataRow> {
    recorded!("task_queue_user_data")
        .map(|UserData { namespace_id, task_queue_name, version, blob }| TaskQueueUserDataRow {
            namespace_id: NamespaceId(namespace_id),
            task_queue_name: TaskQueueName::new(task_queue_name).unwrap(),
            version,
            data: blob.into(),
        })
        .collect()
}

#[derive(Deserialize)]
struct Key {
    range_hash: u32,
    task_queue_id: String,
}

impl From<Key> for TaskQueueKey {
    fn from(key: Key) -> Self {
        let queue = Self::of_upstream_id(TaskQueueKind::Normal, &bytes(&key.task_queue_id));
        assert_eq!(queue.range_hash, key.range_hash, "the server's hash is of the same bytes");
        queue
    }
}

#[derive(Deserialize)]
struct Queue {
    #[serde(flatten)]
    key: Key,
    range_id: i64,
    #[serde(flatten)]
    blob: Blob,
}

#[derive(Deserialize)]
struct Task {
    #[serde(flatten)]
    key: Key,
    task_id: i64,
    #[serde(flatten)]
    blob: Blob,
}

#[derive(Deserialize)]
struct UserData {
    #[serde(deserialize_with = "id")]
    namespace_id: Uuid,
    task_queue_name: String,
    version: i64,
    #[serde(flatten)]
    blob: Blob,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_of_matching_is_decoded() {
        // counts.json of the recording
        let (queues, tasks) = (task_queues(), matching_tasks());
        assert_eq!((queues.len(), tasks.len(), task_queue_user_data().len()), (76, 16, 1));
        let keys: BTreeSet<_> = queues.iter().map(|row| row.queue).collect();
        assert_eq!(keys.len(), queues.len());
        assert!(tasks.iter().all(|task| keys.contains(&task.queue)), "tasks without a queue");
    }
}

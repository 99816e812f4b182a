//! The rows of matching: task queues, their tasks, user data and build ids
//! (temporal-persistence.md#matching).
//!
//! A task queue row has a lease, its range id, as a shard has. Normal and fair queues have the same
//! columns in tables of their own. A fair queue orders its tasks by pass, then by id.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{BuildId, DataBlob, InvalidValue, NamespaceId, Table, TaskQueueId, TaskQueueName};

/// The kind of a task queue, which selects its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskQueueKind {
    /// `task_queues` and `tasks`: tasks in the order of their ids.
    Normal,
    /// `task_queues_v2` and `tasks_v2`: tasks in the order of their passes, then of their ids.
    Fair,
}

/// What the tasks of a queue are, by Temporal's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TaskQueueType {
    /// Workflow tasks.
    Workflow = 1,
    /// Activity tasks.
    Activity = 2,
    /// Nexus tasks.
    Nexus = 3,
}

/// The key of a task queue, and the prefix of the keys of its tasks.
///
/// The tables have no name of a queue: it is in the blob. A subqueue has a key of its own for its
/// tasks; only subqueue 0 has a row, with the lease of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskQueueKey {
    /// The tables.
    pub kind: TaskQueueKind,
    /// The FarmHash Fingerprint32 of upstream's id.
    pub range_hash: u32,
    /// A hash of upstream's id.
    pub task_queue_id: TaskQueueId,
}

/// A row of `task_queues` or `task_queues_v2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskQueuesRow {
    /// Key: the queue.
    pub queue: TaskQueueKey,
    /// The lease: an owner with another range id has lost the queue. The caller of a takeover chooses
    /// the new one; the stores only compare it with the previous one.
    pub range_id: i64,
    /// The serialized `TaskQueueInfo`.
    pub data: DataBlob,
}

/// The place of a task in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskLevel {
    /// The pass of a fair queue, at least 1; 0 in a normal queue.
    pub pass: i64,
    /// The id of the task.
    pub task_id: i64,
}

/// A row of `tasks` or `tasks_v2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TasksRow {
    /// Key: the queue, or a subqueue of it.
    pub queue: TaskQueueKey,
    /// Key: the place in the queue.
    pub level: TaskLevel,
    /// The serialized `AllocatedTaskInfo`.
    pub data: DataBlob,
}

/// A row of `task_queue_user_data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskQueueUserDataRow {
    /// Key: the namespace.
    pub namespace_id: NamespaceId,
    /// Key: the name of the queue.
    pub task_queue_name: TaskQueueName,
    /// The version: every update increases it by one, and the first is 1.
    pub version: i64,
    /// The serialized `TaskQueueUserData`.
    pub data: DataBlob,
}

/// Rows of `build_id_to_task_queue`: build ids of one task queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskQueueBuildIds {
    /// Key: the namespace.
    pub namespace_id: NamespaceId,
    /// Key: the name of the queue.
    pub task_queue_name: TaskQueueName,
    /// Key: the build ids, one row each.
    pub build_ids: Vec<BuildId>,
}

impl TaskQueueKind {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Normal, Self::Fair];

    /// The table of the queues.
    pub const fn queues_table(self) -> Table {
        match self {
            Self::Normal => Table::TaskQueues,
            Self::Fair => Table::TaskQueuesV2,
        }
    }

    /// The table of the tasks.
    pub const fn tasks_table(self) -> Table {
        match self {
            Self::Normal => Table::Tasks,
            Self::Fair => Table::TasksV2,
        }
    }

    /// The level of the first task of a queue of this kind.
    pub const fn first_level(self) -> TaskLevel {
        match self {
            Self::Normal => TaskLevel { pass: 0, task_id: i64::MIN },
            Self::Fair => TaskLevel { pass: 1, task_id: i64::MIN },
        }
    }

    /// The end of a queue of this kind: its largest level. Temporal gives it to no task. A task that has
    /// it nevertheless is in no range, so it is neither read nor deleted.
    pub const fn end_level(self) -> TaskLevel {
        match self {
            Self::Normal => TaskLevel { pass: 0, task_id: i64::MAX },
            Self::Fair => TaskLevel { pass: i64::MAX, task_id: i64::MAX },
        }
    }

    /// Checks that `queue` is of this kind.
    ///
    /// # Errors
    /// It is of the other kind.
    pub fn check_queue(self, queue: &TaskQueueKey) -> Result<(), InvalidValue> {
        InvalidValue::unless(queue.kind == self, "task_queue_id", || {
            format!("is of a {} queue; {} queues are in {}", queue.kind, self, self.queues_table())
        })
    }

    /// Checks the pass of a level in a queue of this kind.
    ///
    /// # Errors
    /// A pass in a normal queue, or none in a fair one.
    pub fn check_level(self, level: TaskLevel) -> Result<(), InvalidValue> {
        let TaskLevel { pass, .. } = level;
        match self {
            Self::Normal => InvalidValue::unless(pass == 0, "pass", || {
                format!("is {pass}; the tasks of a normal queue have no pass, which is 0")
            }),
            Self::Fair => InvalidValue::unless(pass >= 1, "pass", || {
                format!("is {pass}; the passes of a fair queue begin at 1")
            }),
        }
    }

    /// Checks that `tasks` can be stored in queues of this kind.
    ///
    /// # Errors
    /// A task of a queue of the other kind, or with a pass that its queue cannot have.
    pub fn check_tasks(self, tasks: &[TasksRow]) -> Result<(), InvalidValue> {
        tasks.iter().try_for_each(|task| {
            self.check_queue(&task.queue)?;
            self.check_level(task.level)
        })
    }
}

impl fmt::Display for TaskQueueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Fair => "fair",
        })
    }
}

impl TaskQueueKey {
    /// The key of a subqueue; 0 is the queue itself.
    ///
    /// ```
    /// use temporal_dsql_domain::{NamespaceId, TaskQueueKey, TaskQueueKind, TaskQueueType};
    ///
    /// let namespace: NamespaceId = "6e7a7b81-f79d-41c0-a5d2-b642ab8c8474".parse().unwrap();
    /// let (kind, of) = (TaskQueueKind::Normal, TaskQueueType::Activity);
    /// let queue = TaskQueueKey::new(kind, namespace, "tq-e2e", of, 0);
    /// assert_eq!(queue.range_hash, 39_104_975);
    /// ```
    pub fn new(
        kind: TaskQueueKind,
        namespace_id: NamespaceId,
        name: &str,
        queue_type: TaskQueueType,
        subqueue: u32,
    ) -> Self {
        /// Marks a type that a subqueue follows.
        const HAS_SUBQUEUE: u8 = 0x80;
        let mut id = Vec::with_capacity(16 + name.len() + 1 + 5);
        id.extend_from_slice(namespace_id.0.as_bytes());
        id.extend_from_slice(name.as_bytes());
        if subqueue == 0 {
            id.push(queue_type as u8);
        } else {
            id.push(queue_type as u8 | HAS_SUBQUEUE);
            prost::encoding::encode_varint(subqueue.into(), &mut id);
        }
        Self::of_upstream_id(kind, &id)
    }

    /// The key of the queue with this id in upstream's tables: the bytes of the namespace, the name and
    /// the type.
    pub fn of_upstream_id(kind: TaskQueueKind, id: &[u8]) -> Self {
        let hash: [u8; 32] = Sha256::digest(id).into();
        let mut first = [0; 16];
        first.copy_from_slice(&hash[..16]);
        // With the version and the variant of a random UUID, as the Go fork stores it.
        let id_of_hash = uuid::Builder::from_random_bytes(first).into_uuid();
        Self {
            kind,
            range_hash: farmhash::fingerprint32(id),
            task_queue_id: TaskQueueId(id_of_hash),
        }
    }
}

impl fmt::Display for TaskQueueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.task_queue_id, self.kind)
    }
}

impl TaskLevel {
    /// The level of a task in a normal queue.
    pub const fn of_task(task_id: i64) -> Self {
        Self { pass: 0, task_id }
    }

    /// The next level; `None` for the largest one.
    pub fn next(self) -> Option<Self> {
        match self.task_id.checked_add(1) {
            Some(task_id) => Some(Self { task_id, ..self }),
            None => Some(Self { pass: self.pass.checked_add(1)?, task_id: i64::MIN }),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const NAMESPACE: NamespaceId =
        NamespaceId(Uuid::from_u128(0x6e7a_7b81_f79d_41c0_a5d2_b642_ab8c_8474));

    /// The ids and hashes of a real server's queues.
    #[test]
    fn the_key_of_a_queue_is_made_of_hashes_of_its_upstream_id() {
        let key = |namespace, name, queue_type| {
            TaskQueueKey::new(TaskQueueKind::Normal, namespace, name, queue_type, 0)
        };
        let queue = key(NAMESPACE, "tq-e2e", TaskQueueType::Activity);
        assert_eq!(queue.range_hash, 39_104_975);
        assert_eq!(queue.task_queue_id.to_string(), "675a9d86-b6b8-4737-b7f5-041b9190e498");
        let system = NamespaceId(Uuid::from_u128(0x3204_9b68_7872_4094_8e63_d0dd_5989_6a83));
        let name = "/_sys/temporal-sys-tq-scanner-taskqueue-0/1";
        let queue = key(system, name, TaskQueueType::Workflow);
        assert_eq!(queue.range_hash, 70_786_998);
        assert_eq!(queue.task_queue_id.to_string(), "5789eea6-b5e5-42c4-b6c0-6bd0f159367c");
    }

    #[test]
    fn subqueues_and_types_have_keys_of_their_own() {
        let of = |queue_type, subqueue| {
            TaskQueueKey::new(TaskQueueKind::Fair, NAMESPACE, "q", queue_type, subqueue)
        };
        let id = |tail: &[u8]| {
            let bytes = [NAMESPACE.0.as_bytes(), &b"q"[..], tail].concat();
            TaskQueueKey::of_upstream_id(TaskQueueKind::Fair, &bytes)
        };
        assert_eq!(of(TaskQueueType::Nexus, 0), id(&[3]));
        assert_eq!(of(TaskQueueType::Workflow, 1), id(&[0x81, 1]));
        assert_eq!(of(TaskQueueType::Activity, 300), id(&[0x82, 0xac, 0x02]));
    }

    #[test]
    fn a_pass_belongs_to_fair_queues_only() {
        for (kind, pass, is_allowed) in [
            (TaskQueueKind::Normal, 0, true),
            (TaskQueueKind::Normal, 1, false),
            (TaskQueueKind::Fair, 0, false),
            (TaskQueueKind::Fair, -1, false),
            (TaskQueueKind::Fair, 1, true),
        ] {
            let checked = kind.check_level(TaskLevel { pass, task_id: 7 });
            assert_eq!(checked.is_ok(), is_allowed, "{kind} {pass}");
            assert!(checked.err().is_none_or(|error| error.field == "pass"));
        }
    }

    #[test]
    fn after_the_last_task_of_a_pass_comes_the_first_of_the_next() {
        let level = |pass, task_id| TaskLevel { pass, task_id };
        assert_eq!(level(5, 7).next(), Some(level(5, 8)));
        assert_eq!(level(5, i64::MAX).next(), Some(level(6, i64::MIN)));
        assert_eq!(level(i64::MAX, i64::MAX).next(), None);
    }
}

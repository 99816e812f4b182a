//! The user data of task queues, and the task queues of build ids.

use std::collections::BTreeMap;

use temporal_dsql_domain::{
    BuildId, DataBlob, InvalidValue, NamespaceId, TaskQueueBuildIds, TaskQueueName,
    TaskQueueUserDataRow,
};

use super::{check_limit, page::Page};
use temporal_dsql_ports::{
    BoxFuture, ConditionFailed, Outcome, Store, StoreError, StoreExt, Transaction, Within,
};

define_store! {
    /// The user data of Temporal's `TaskStore` of matching, and the task queues of each build id, over any
    /// store.
    ///
    /// # Example
    /// ```
    /// # use temporal_dsql_domain::{BuildId, DataBlob, TaskQueueName};
    /// # use temporal_dsql_memory::MemoryStore;
    /// # use temporal_dsql_stores::{UserDataStore, UserDataUpdate};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let user_data = UserDataStore::new(MemoryStore::new());
    /// let namespace_id = "32049b68-7872-4094-8e63-d0dd59896a83".parse()?;
    /// let task_queue_name = TaskQueueName::new("orders")?;
    /// let update = UserDataUpdate {
    ///     task_queue_name: task_queue_name.clone(),
    ///     version: 0,
    ///     data: DataBlob::proto3(*b"TaskQueueUserData"),
    ///     build_ids_added: vec![BuildId::new("1.0")?],
    ///     build_ids_removed: Vec::new(),
    /// };
    /// user_data.update(namespace_id, &[update]).await?;
    /// let read = user_data.get(namespace_id, &task_queue_name).await?.expect("it is stored");
    /// assert_eq!(read.version, 1);
    /// # Ok(())
    /// # }
    /// ```
    UserDataStore
}

/// An update of the user data of one task queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserDataUpdate {
    /// The queue.
    pub task_queue_name: TaskQueueName,
    /// The version that it replaces; 0 if the queue has no user data. The new version is one more.
    pub version: i64,
    /// The new data. Two writers must not write the same: Temporal's data contain a clock.
    pub data: DataBlob,
    /// Build ids that the queue has from now on, and did not have.
    pub build_ids_added: Vec<BuildId>,
    /// Build ids that the queue no longer has.
    pub build_ids_removed: Vec<BuildId>,
}

/// The updates of one request.
struct Updates<'a> {
    namespace_id: NamespaceId,
    /// In the order of the names.
    updates: Vec<(&'a UserDataUpdate, TaskQueueUserDataRow)>,
}

const OP: &str = "UpdateTaskQueueUserData";

impl<S: Store> UserDataStore<S> {
    /// Reads the user data of a task queue; `None` if it has none.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get(
        &self,
        namespace_id: NamespaceId,
        task_queue_name: &TaskQueueName,
    ) -> Result<Option<TaskQueueUserDataRow>, StoreError> {
        self.store.session().get_task_queue_user_data(namespace_id, task_queue_name).await
    }

    /// Updates the user data and the build ids of task queues of one namespace, all or none.
    ///
    /// # Errors
    /// [`ConditionFailed::TaskQueueUserData`] with the first queue, in the order of their names, that
    /// has another version, and its stored version; [`StoreError::AlreadyExists`] if a queue has an added
    /// build id already; [`StoreError::InvalidArgument`] for two updates of one queue and for a version
    /// without a successor; and those of the store. If the answer is lost, the rows are read: if all equal
    /// the written ones, the update is reported as done.
    pub async fn update(
        &self,
        namespace_id: NamespaceId,
        updates: &[UserDataUpdate],
    ) -> Result<(), StoreError> {
        let request = Updates::new(namespace_id, updates)?;
        if updates.is_empty() {
            return Ok(());
        }
        match self.store.run(OP, &request, update_all).await {
            Err(error) if error.outcome() == Outcome::Unknown => {
                match self.has_all(&request).await {
                    Ok(true) => Ok(()),
                    Ok(false) | Err(_) => Err(error),
                }
            }
            updated => updated,
        }
    }

    /// Whether every row of `request` is stored.
    async fn has_all(&self, request: &Updates<'_>) -> Result<bool, StoreError> {
        for (_, row) in &request.updates {
            if self.get(row.namespace_id, &row.task_queue_name).await?.as_ref() != Some(row) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads a page of the user data of the task queues of a namespace, in the order of their names. The
    /// next page begins after the last queue of this one.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a limit of 0, and those of the store.
    pub async fn list(
        &self,
        namespace_id: NamespaceId,
        after: Option<&TaskQueueName>,
        limit: u32,
    ) -> Result<Page<TaskQueueUserDataRow, TaskQueueName>, StoreError> {
        check_limit(limit)?;
        let mut session = self.store.session();
        let rows = session.list_task_queue_user_data(namespace_id, after, limit).await?;
        Ok(Page::new(rows, limit, |last| Some(last.task_queue_name.clone())))
    }

    /// The task queues that have a build id, in the order of their names.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn task_queues_by_build_id(
        &self,
        namespace_id: NamespaceId,
        build_id: &BuildId,
    ) -> Result<Vec<TaskQueueName>, StoreError> {
        self.store.session().get_task_queues_by_build_id(namespace_id, build_id).await
    }

    /// The number of task queues that have a build id.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn count_task_queues_by_build_id(
        &self,
        namespace_id: NamespaceId,
        build_id: &BuildId,
    ) -> Result<u64, StoreError> {
        self.store.session().count_task_queues_by_build_id(namespace_id, build_id).await
    }
}

impl<'a> Updates<'a> {
    fn new(namespace_id: NamespaceId, updates: &'a [UserDataUpdate]) -> Result<Self, InvalidValue> {
        let mut by_name = BTreeMap::new();
        for update in updates {
            let task_queue_name = update.task_queue_name.clone();
            let version = update.version.checked_add(1).filter(|version| *version > 0);
            let version = version.ok_or_else(|| {
                let reason =
                    format!("is {}; versions are from 0 to the largest but one", update.version);
                InvalidValue::new("version", reason)
            })?;
            let data = update.data.clone();
            let row = TaskQueueUserDataRow { namespace_id, task_queue_name, version, data };
            let first = by_name.insert(&update.task_queue_name, (update, row)).is_none();
            InvalidValue::unless(first, "task_queue_name", || {
                format!("`{}` is updated twice in one request", update.task_queue_name)
            })?;
        }
        Ok(Self { namespace_id, updates: by_name.into_values().collect() })
    }
}

/// The body of an update.
fn update_all<'t>(
    transaction: &'t mut dyn Transaction,
    request: &'t Updates<'_>,
) -> BoxFuture<'t, Result<(), StoreError>> {
    Box::pin(async move {
        for (update, row) in &request.updates {
            update_one(transaction, update, row).await?;
            let of = |build_ids: &[BuildId]| TaskQueueBuildIds {
                namespace_id: request.namespace_id,
                task_queue_name: update.task_queue_name.clone(),
                build_ids: build_ids.to_vec(),
            };
            if !update.build_ids_added.is_empty() {
                let added = of(&update.build_ids_added);
                transaction.add_to_build_id_to_task_queue_mapping(&added).await?;
            }
            if !update.build_ids_removed.is_empty() {
                let removed = of(&update.build_ids_removed);
                transaction.remove_from_build_id_to_task_queue_mapping(&removed).await?;
            }
        }
        Ok(())
    })
}

/// Writes the user data of one queue if it has the expected version.
async fn update_one(
    transaction: &mut dyn Transaction,
    update: &UserDataUpdate,
    row: &TaskQueueUserDataRow,
) -> Result<(), StoreError> {
    let TaskQueueUserDataRow { namespace_id, task_queue_name, .. } = row;
    let conflict = |found: Option<TaskQueueUserDataRow>| ConditionFailed::TaskQueueUserData {
        namespace_id: *namespace_id,
        task_queue_name: task_queue_name.clone(),
        expected: update.version,
        observed: found.map(|found| found.version),
    };
    if update.version == 0 {
        let found = transaction.get_task_queue_user_data(*namespace_id, task_queue_name).await?;
        if found.is_some() {
            return Err(conflict(found).into());
        }
        let inserted = transaction.insert_into_task_queue_user_data(row).await;
        inserted.map(drop).map_err(|error| error.duplicate_is_conflict(OP))
    } else if transaction.update_task_queue_user_data(row, update.version).await? == 0 {
        let found = transaction.get_task_queue_user_data(*namespace_id, task_queue_name).await?;
        Err(conflict(found).into())
    } else {
        Ok(())
    }
}

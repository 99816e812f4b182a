//! The user data of task queues, and their build ids (temporal-persistence.md#matching).

use async_trait::async_trait;
use temporal_dsql_domain::{
    BuildId, NamespaceId, Table, TaskQueueBuildIds, TaskQueueName, TaskQueueUserDataRow,
};
use temporal_dsql_ports::{StoreError, TaskQueueUserData};

use crate::{
    connection::{Connection, Execute},
    key::{Column, Key, NewRow},
};

/// The prefix of the keys of the user data of a namespace.
fn user_data_of(namespace_id: NamespaceId) -> Key {
    Key::new(Table::TaskQueueUserData, [Column::Uuid(namespace_id.0)])
}

fn user_data_key(namespace_id: NamespaceId, task_queue_name: &TaskQueueName) -> Key {
    user_data_of(namespace_id).with([Column::text(task_queue_name)])
}

/// The row to write, checked against the limits.
fn user_data_row(row: &TaskQueueUserDataRow) -> Result<NewRow, StoreError> {
    let key = user_data_key(row.namespace_id, &row.task_queue_name);
    Ok(NewRow::new(key, row, &[("data", row.data.data.len())])?)
}

/// The prefix of the keys of the task queues of a build id.
fn queues_of(namespace_id: NamespaceId, build_id: &BuildId) -> Key {
    let namespace = Column::Uuid(namespace_id.0);
    Key::new(Table::BuildIdToTaskQueue, [namespace, Column::text(build_id)])
}

/// The keys of the build ids of a task queue, which are the rows.
fn build_id_keys(of: &TaskQueueBuildIds) -> impl Iterator<Item = Key> {
    let name = Column::text(&of.task_queue_name);
    of.build_ids.iter().map(move |id| queues_of(of.namespace_id, id).with([name.clone()]))
}

#[async_trait]
impl<E: Execute> TaskQueueUserData for Connection<E> {
    async fn insert_into_task_queue_user_data(
        &mut self,
        row: &TaskQueueUserDataRow,
    ) -> Result<u64, StoreError> {
        let row = user_data_row(row)?;
        self.execute("InsertIntoTaskQueueUserData", |transaction| transaction.insert(&row)).await
    }

    async fn update_task_queue_user_data(
        &mut self,
        row: &TaskQueueUserDataRow,
        expected: i64,
    ) -> Result<u64, StoreError> {
        let row = user_data_row(row)?;
        let holds = |stored: &TaskQueueUserDataRow| stored.version == expected;
        self.execute("UpdateTaskQueueUserData", |transaction| transaction.update_if(&row, holds))
            .await
    }

    async fn get_task_queue_user_data(
        &mut self,
        namespace_id: NamespaceId,
        task_queue_name: &TaskQueueName,
    ) -> Result<Option<TaskQueueUserDataRow>, StoreError> {
        let key = user_data_key(namespace_id, task_queue_name);
        self.execute("GetTaskQueueUserData", |transaction| Ok(transaction.select(&key).cloned()))
            .await
    }

    async fn list_task_queue_user_data(
        &mut self,
        namespace_id: NamespaceId,
        after: Option<&TaskQueueName>,
        limit: u32,
    ) -> Result<Vec<TaskQueueUserDataRow>, StoreError> {
        let all = user_data_of(namespace_id).all();
        let from = after.map_or(all.start, |after| user_data_key(namespace_id, after).end());
        let keys = from..all.end;
        self.execute("ListTaskQueueUserData", |transaction| {
            Ok(transaction.select_range(&keys, Some(limit)))
        })
        .await
    }

    async fn add_to_build_id_to_task_queue_mapping(
        &mut self,
        of: &TaskQueueBuildIds,
    ) -> Result<u64, StoreError> {
        let rows = build_id_keys(of).map(|key| NewRow::new(key, &of.task_queue_name, &[]));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        self.execute("AddToBuildIdToTaskQueueMapping", |transaction| transaction.insert_all(&rows))
            .await
    }

    async fn remove_from_build_id_to_task_queue_mapping(
        &mut self,
        of: &TaskQueueBuildIds,
    ) -> Result<u64, StoreError> {
        let keys: Vec<_> = build_id_keys(of).collect();
        self.execute("RemoveFromBuildIdToTaskQueueMapping", |transaction| {
            transaction.delete_all(&keys)
        })
        .await
    }

    async fn get_task_queues_by_build_id(
        &mut self,
        namespace_id: NamespaceId,
        build_id: &BuildId,
    ) -> Result<Vec<TaskQueueName>, StoreError> {
        let keys = queues_of(namespace_id, build_id).all();
        self.execute("GetTaskQueuesByBuildId", |transaction| {
            Ok(transaction.select_range(&keys, None))
        })
        .await
    }

    async fn count_task_queues_by_build_id(
        &mut self,
        namespace_id: NamespaceId,
        build_id: &BuildId,
    ) -> Result<u64, StoreError> {
        let keys = queues_of(namespace_id, build_id).all();
        self.execute("CountTaskQueuesByBuildId", |transaction| {
            Ok(transaction.range::<TaskQueueName>(&keys).count() as u64)
        })
        .await
    }
}

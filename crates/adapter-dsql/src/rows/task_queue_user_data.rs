//! The user data of task queues, and their build ids (temporal-persistence.md#matching).

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use temporal_dsql_domain::{
    BuildId, NamespaceId, Table, TaskQueueBuildIds, TaskQueueName, TaskQueueUserDataRow,
};
use temporal_dsql_ports::{StoreError, TaskQueueUserData};

use super::{
    decode::Columns,
    payload::{Payload, column},
    session::{Rows, exact},
};
use crate::{
    arguments::Arguments,
    executor::Executor,
    statement::{Meta, SqlFile, Statement},
};

const USER_DATA: SqlFile =
    SqlFile::new(Table::TaskQueueUserData, include_str!("../../sql/task_queue_user_data.sql"));
const BUILD_IDS: SqlFile =
    SqlFile::new(Table::BuildIdToTaskQueue, include_str!("../../sql/build_id_to_task_queue.sql"));

static INSERT: Meta = USER_DATA.write("InsertIntoTaskQueueUserData");
static UPDATE: Meta = USER_DATA.write("UpdateTaskQueueUserData");
static GET: Meta = USER_DATA.read("GetTaskQueueUserData");
static LIST: Meta = USER_DATA.read("ListTaskQueueUserData");
static ADD: Meta = BUILD_IDS.write("AddToBuildIdToTaskQueueMapping");
static REMOVE: Meta = BUILD_IDS.write("RemoveFromBuildIdToTaskQueueMapping");
static GET_QUEUES: Meta = BUILD_IDS.read("GetTaskQueuesByBuildId");
static COUNT_QUEUES: Meta = BUILD_IDS.read("CountTaskQueuesByBuildId");

/// The statements of this module.
pub(super) const STATEMENTS: [&Meta; 8] =
    [&INSERT, &UPDATE, &GET, &LIST, &ADD, &REMOVE, &GET_QUEUES, &COUNT_QUEUES];

fn columns(row: &TaskQueueUserDataRow) -> Result<Arguments<'_>, StoreError> {
    let key = 16 + row.task_queue_name.len();
    Payload::default().blob(Table::TaskQueueUserData, key, &row.data)?;
    let mut arguments = Arguments::default();
    arguments.set("namespace_id", row.namespace_id.0);
    arguments.set("task_queue_name", row.task_queue_name.as_str());
    arguments.set("data", &*row.data.data);
    arguments.set("data_encoding", row.data.encoding.as_str());
    arguments.set("version", row.version);
    Ok(arguments)
}

/// Checks the keys of build ids to add.
fn check_added(of: &TaskQueueBuildIds) -> Result<(), StoreError> {
    let mut payload = Payload::default();
    of.build_ids.iter().try_for_each(|id| {
        let key = 16 + id.len() + of.task_queue_name.len();
        payload.row(Table::BuildIdToTaskQueue, key, &[])
    })
}

/// The statement that adds or removes build ids.
fn change_build_ids(meta: &'static Meta, of: &TaskQueueBuildIds) -> Statement {
    let mut arguments = Arguments::default();
    arguments.set("namespace_id", of.namespace_id.0);
    arguments.set("task_queue_name", of.task_queue_name.as_str());
    arguments.set("build_ids", column(&of.build_ids, |id| id.as_str()));
    exact(meta, None, &arguments)
}

fn by_build_id(meta: &'static Meta, namespace_id: NamespaceId, build_id: &BuildId) -> Statement {
    let mut arguments = Arguments::default();
    arguments.set("namespace_id", namespace_id.0);
    arguments.set("build_id", build_id.as_str());
    exact(meta, None, &arguments)
}

fn decode(namespace_id: NamespaceId, row: &PgRow) -> Result<TaskQueueUserDataRow, StoreError> {
    let columns = Columns::new(Table::TaskQueueUserData, row);
    Ok(TaskQueueUserDataRow {
        namespace_id,
        task_queue_name: columns.text("task_queue_name")?,
        version: columns.get("version")?,
        data: columns.blob("data", "data_encoding")?,
    })
}

#[async_trait]
impl<E: Executor> TaskQueueUserData for Rows<E> {
    async fn insert_into_task_queue_user_data(
        &mut self,
        row: &TaskQueueUserDataRow,
    ) -> Result<u64, StoreError> {
        self.affected(exact(&INSERT, None, &columns(row)?)).await
    }

    async fn update_task_queue_user_data(
        &mut self,
        row: &TaskQueueUserDataRow,
        expected: i64,
    ) -> Result<u64, StoreError> {
        let mut arguments = columns(row)?;
        arguments.set("expected_version", expected);
        let update = exact(&UPDATE, None, &arguments);
        self.affected(update).await
    }

    async fn get_task_queue_user_data(
        &mut self,
        namespace_id: NamespaceId,
        task_queue_name: &TaskQueueName,
    ) -> Result<Option<TaskQueueUserDataRow>, StoreError> {
        let mut arguments = Arguments::default();
        arguments.set("namespace_id", namespace_id.0);
        arguments.set("task_queue_name", task_queue_name.as_str());
        let get = exact(&GET, None, &arguments);
        self.optional(get, |row| decode(namespace_id, row)).await
    }

    async fn list_task_queue_user_data(
        &mut self,
        namespace_id: NamespaceId,
        after: Option<&TaskQueueName>,
        limit: u32,
    ) -> Result<Vec<TaskQueueUserDataRow>, StoreError> {
        let mut arguments = Arguments::default();
        arguments.set("namespace_id", namespace_id.0);
        // No name is empty.
        arguments.set("task_queue_name", after.map_or("", TaskQueueName::as_str));
        arguments.set("limit", i64::from(limit));
        let list = exact(&LIST, None, &arguments);
        self.list(list, |row| decode(namespace_id, row)).await
    }

    async fn add_to_build_id_to_task_queue_mapping(
        &mut self,
        of: &TaskQueueBuildIds,
    ) -> Result<u64, StoreError> {
        check_added(of)?;
        self.affected(change_build_ids(&ADD, of)).await
    }

    async fn remove_from_build_id_to_task_queue_mapping(
        &mut self,
        of: &TaskQueueBuildIds,
    ) -> Result<u64, StoreError> {
        self.affected(change_build_ids(&REMOVE, of)).await
    }

    async fn get_task_queues_by_build_id(
        &mut self,
        namespace_id: NamespaceId,
        build_id: &BuildId,
    ) -> Result<Vec<TaskQueueName>, StoreError> {
        self.list(by_build_id(&GET_QUEUES, namespace_id, build_id), |row| {
            Columns::new(Table::BuildIdToTaskQueue, row).text("task_queue_name")
        })
        .await
    }

    async fn count_task_queues_by_build_id(
        &mut self,
        namespace_id: NamespaceId,
        build_id: &BuildId,
    ) -> Result<u64, StoreError> {
        let count = by_build_id(&COUNT_QUEUES, namespace_id, build_id);
        let count = self.optional(count, |row| {
            Columns::new(Table::BuildIdToTaskQueue, row).get::<i64>("task_queues")
        });
        Ok(count.await?.unwrap_or_default().unsigned_abs())
    }
}

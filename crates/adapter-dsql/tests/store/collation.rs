//! The store on a PostgreSQL database whose texts are not in the order of their bytes.

use temporal_dsql_domain::{BuildId, NamespaceId, TaskQueueBuildIds, TaskQueueName};
use temporal_dsql_ports::Store;
use temporal_dsql_testkit::ScratchDatabase;
use uuid::Uuid;

/// In bytes `B` is before `a`; in English it is after it.
#[tokio::test]
async fn build_ids_are_removed_in_any_collation() {
    let Some(database) = ScratchDatabase::create_in_english().await else { return };
    crate::support::set_up(&database).await;
    let addr = database.addr().unwrap();
    let store = crate::support::open(&database, addr, crate::support::LONG_RETRIES).await;
    let of = |build_ids: &[&str]| TaskQueueBuildIds {
        namespace_id: NamespaceId(Uuid::from_u128(1)),
        task_queue_name: TaskQueueName::new("queue").unwrap(),
        build_ids: build_ids.iter().map(|id| BuildId::new(*id).unwrap()).collect(),
    };
    let mut session = store.session();
    let all = of(&["c", "B", "a", "D"]);
    assert_eq!(session.add_to_build_id_to_task_queue_mapping(&all).await.unwrap(), 4);
    let removed = session.remove_from_build_id_to_task_queue_mapping(&of(&["a", "B"])).await;
    assert_eq!(removed.unwrap(), 2);
    let left = "SELECT build_id FROM build_id_to_task_queue ORDER BY build_id";
    let left = database.query(left).await.unwrap();
    assert_eq!(left.concat(), ["c", "D"].map(|id| Some(id.to_owned())), "in English");
}

//! Three services in miniature, which share one store: a frontend registers a namespace, a history
//! service owns a shard and its executions, a matching service owns a task queue. A workflow and a
//! standalone activity with the same id are started, dispatched, completed, listed and deleted. In
//! between both owners are replaced, and the previous ones can no longer write.

mod history;
mod matching;

use std::{error::Error, sync::Arc};

use temporal_dsql::{
    ArchetypeId, DataBlob, Namespace, NamespaceId, NamespaceKey, NamespaceName, ShardId, Store,
    WorkflowId, stores::NamespaceStore, uuid::Uuid, verify_compatible_version,
};

use history::History;
use matching::Matching;

/// The errors of an example.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A store of any kind.
pub type AnyStore = Arc<dyn Store>;

/// The queue that workers poll.
const TASK_QUEUE: &str = "orders";

/// Runs the services on `store`, and ends with an error at the first unexpected result.
pub async fn run(store: AnyStore) -> Result<()> {
    let version = verify_compatible_version(&store, "postgres").await?;
    println!("  the schema is {version}");

    // The frontend.
    let namespaces = NamespaceStore::new(Arc::clone(&store));
    let namespace = Namespace {
        id: NamespaceId(Uuid::from_u128(0x5eed)),
        name: NamespaceName::new("shop")?,
        is_global: false,
        data: DataBlob::proto3(*b"the description of the namespace"),
    };
    namespaces.create(&namespace).await?;
    let listed = namespaces.list(None, 10).await?;
    assert_eq!(listed.items.len(), 1);
    println!("  namespace `{}` is registered", namespace.name);

    // Both services become owners, and start an execution of each archetype.
    let history = History::acquire(&store, ShardId(1), "host-1").await?;
    let matching = Matching::acquire(&store, namespace.id, TASK_QUEUE, "host-1").await?;
    let id = WorkflowId::new("order-7")?;
    let workflow = history.start(namespace.id, &id, ArchetypeId::WORKFLOW).await?;
    let activity = history.start(namespace.id, &id, ArchetypeId::ACTIVITY).await?;
    let again = history.start(namespace.id, &id, ArchetypeId::WORKFLOW).await;
    println!("  a second start of `{id}` fails: {}", again.unwrap_err());

    assert_eq!(history.dispatch(&matching).await?, 2);
    println!("  two tasks are in the queue `{TASK_QUEUE}`");

    // Another host takes over, as after a restart.
    let next_history = History::acquire(&store, ShardId(1), "host-2").await?;
    let next_matching = Matching::acquire(&store, namespace.id, TASK_QUEUE, "host-2").await?;
    let late = history.complete(&workflow).await.unwrap_err();
    println!("  the previous owner of the shard cannot write: {late}");
    let late = matching.add(std::slice::from_ref(&workflow)).await.unwrap_err();
    println!("  the previous owner of the queue cannot write: {late}");

    // A worker polls and completes.
    let polled = next_matching.poll().await?;
    assert_eq!(polled, [workflow.clone(), activity.clone()]);
    for run in &polled {
        next_history.complete(run).await?;
    }
    assert_eq!(next_matching.acknowledge(&polled).await?, 2);
    assert_eq!(next_matching.poll().await?, []);
    assert_eq!(next_history.events_of(&workflow).await?, ["started", "completed"]);
    println!("  both are completed");

    for run in &polled {
        next_history.delete(run).await?;
        assert!(next_history.is_deleted(run).await?);
    }
    next_matching.delete().await?;
    namespaces.delete(&NamespaceKey::Id(namespace.id)).await?;
    assert!(namespaces.list(None, 10).await?.items.is_empty());
    println!("  everything is deleted");
    Ok(())
}

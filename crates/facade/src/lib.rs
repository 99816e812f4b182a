//! Temporal's persistence layer on Amazon Aurora DSQL.
//!
//! A service depends on this crate alone. Types of rows and the traits of a store are at the root, the
//! rest is in modules:
//!
//! | Module | Feature | Content |
//! |---|---|---|
//! | [`stores`] | | Temporal's stores: executions, histories, tasks, shards, task queues, namespaces, clusters, Nexus endpoints and queues |
//! | `dsql` | `dsql` (default) | the store on Aurora DSQL, or on PostgreSQL for development |
//! | `dsql::aws_credentials` | `aws` | the standard chain of AWS credentials |
//! | `dsql::Config::from_emulator`, `dsql_emulator` | `emulator` | an emulated cluster, for tests |
//! | `memory` | `memory` | a store in memory with the isolation, conflicts and limits of Aurora DSQL |
//! | `migrate` | `migrate` | installs, upgrades, verifies and rolls back the schema |
//!
//! # Stores
//!
//! [`Store`] is the interface of both adapters. Most services use it through [`stores`]: an
//! `ExecutionStore` creates, updates and deletes executions, a `ShardStore` acquires shards, a
//! `TaskStore` has the tasks of a shard, and a `HistoryStore` the history branches. A
//! `MatchingTaskStore` has the task queues of matching with their tasks, a `UserDataStore` their user
//! data and build ids. A `NamespaceStore` has the namespaces, a `ClusterMetadataStore` the clusters and
//! their members, a `NexusEndpointStore` the Nexus endpoints. `QueueStore` and `QueueV2Store` have the
//! durable queues between services. These are all the stores that Temporal's services need, except
//! the visibility store, which is Elasticsearch or OpenSearch.
//!
//! A service that needs single rows opens a session ([`Store::session`]) or runs a transaction
//! ([`StoreExt::run`]). The row operations are the traits [`HistoryExecution`], [`ExecutionMaps`],
//! [`HistoryTasks`], [`HistoryNodes`], [`Shards`], [`MatchingTasks`], [`TaskQueueUserData`],
//! [`Namespaces`], [`ClusterMetadata`], [`NexusEndpoints`], [`Queues`] and [`QueuesV2`].
//!
//! # Conflicts and errors
//!
//! Aurora DSQL does not make a statement wait for another transaction. If two transactions conflict,
//! the COMMIT of the second fails, and the transaction must be repeated. The [`Runner`] of the store
//! does so until a deadline, so the body of a transaction may run several times. Every operation
//! returns [`StoreError`]: [`StoreError::outcome`] reports whether the operation was applied, and
//! [`StoreError::is_transient`] whether it may succeed later.
//!
//! # Archetypes
//!
//! An archetype is a kind of execution: workflow, scheduler, standalone activity, Nexus operation, or
//! one that a server registers. The current execution of a workflow is stored in
//! `current_executions`, that of any other archetype in `current_chasm_executions`. The
//! [`ArchetypeId`] of a row or filter selects the table.
//!
//! # Example
//!
//! A transaction that runs on either adapter:
#![cfg_attr(feature = "memory", doc = "```")]
#![cfg_attr(not(feature = "memory"), doc = "```ignore")]
//! use temporal_dsql::{
//!     ArchetypeId, ConditionFailed, CurrentExecutionsRow, Encoding, ExecutionState,
//!     ExecutionStatus, NamespaceId, RequestId, RunId, ShardId, Store, StoreError, StoreExt,
//!     WorkflowId, memory::MemoryStore,
//! };
//!
//! /// Makes `row` the current execution of its id, if the id has none.
//! async fn start(store: &dyn Store, row: &CurrentExecutionsRow) -> Result<(), StoreError> {
//!     store
//!         .run("Start", row, |transaction, row| {
//!             Box::pin(async move {
//!                 if let Some(current) = transaction.lock_current_executions(&row.filter()).await? {
//!                     let observed = Some(Box::new(current));
//!                     return Err(ConditionFailed::CurrentExecution { observed }.into());
//!                 }
//!                 transaction
//!                     .insert_into_current_executions(row)
//!                     .await
//!                     .map(drop)
//!                     .map_err(|error| error.duplicate_is_conflict("Start"))
//!             })
//!         })
//!         .await
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MemoryStore::new();
//! let row = CurrentExecutionsRow {
//!     shard_id: ShardId(1),
//!     namespace_id: "32049b68-7872-4094-8e63-d0dd59896a83".parse::<NamespaceId>()?,
//!     workflow_id: WorkflowId::new("nightly-report")?,
//!     archetype_id: ArchetypeId::SCHEDULER,
//!     run_id: "01a20632-c72c-759f-9d04-cfcdf4e443e1".parse::<RunId>()?,
//!     create_request_id: RequestId::new("request-1")?,
//!     start_time: None,
//!     last_write_version: 0,
//!     state: ExecutionState::Running,
//!     status: ExecutionStatus::Running,
//!     data: None,
//!     data_encoding: Encoding::new("")?,
//! };
//! start(&store, &row).await?;
//! let again = start(&store, &row).await.unwrap_err();
//! assert!(matches!(again, StoreError::Condition(_)));
//! # Ok(())
//! # }
//! ```
#![warn(missing_debug_implementations, missing_docs)]

/// The example of the README, compiled.
#[cfg(all(doctest, feature = "aws"))]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(feature = "emulator")]
pub use dsql_emulator;
pub use uuid;

pub use temporal_dsql_domain::{
    ArchetypeId, BranchId, BranchKey, BranchRange, BuildId, BusinessId, ChasmNode, ChasmPath,
    ClusterMembershipFilter, ClusterMembershipRow, ClusterMetadataRow, ClusterName,
    CurrentExecutionsFilter, CurrentExecutionsRow, DataBlob, Encoding, Engine, ExecutionState,
    ExecutionStatus, ExecutionVersion, ExecutionsFilter, ExecutionsRow, FIRST_MESSAGE_ID,
    FIRST_NODE_ID, HistoryBranch, HistoryNode, HistoryTreeInfo, HistoryTreeRow, HostId, IdEntry,
    ImmediateQueue, ImmediateRange, ImmediateTask, InvalidValue, MapEntries, MapKeys, MapTable,
    MessageRange, Namespace, NamespaceId, NamespaceKey, NamespaceName, NamespacesRow,
    NexusEndpointId, NexusEndpointsPage, NexusEndpointsRow, NodeMetadata, NodeOrder, NodePage,
    NodePosition, QueueMessage, QueueMetadataRow, QueueName, QueueType, QueueV2Key,
    QueueV2Metadata, QueueV2Type, QueuesRow, RequestId, RpcAddress, RunId, ScheduledKey,
    ScheduledQueue, ScheduledRange, ScheduledTask, SchemaVersion, ServiceType, ShardId, ShardsRow,
    SignalId, Table, TaskCategory, TaskLevel, TaskQueueBuildIds, TaskQueueId, TaskQueueKey,
    TaskQueueKind, TaskQueueName, TaskQueueType, TaskQueueUserDataRow, TaskQueuesRow, Tasks,
    TasksRow, TimerEntry, TimerId, Timestamp, TreeId, Unrecognized, VERSION, WorkflowId,
    check_create_state, check_update_state, stored_txn_id,
};
pub use temporal_dsql_ports::{
    ArchetypeRouter, Attempt, Body, BoxFuture, BufferedWrite, Cause, Clock, ClusterMetadata,
    ConditionFailed, CreateTasks, CurrentChange, CurrentExecutionsRoute, CurrentExecutionsRouter,
    Deadline, DeadlinePassed, ExecutionMaps, Expected, ExpectedCurrent, HistoryChange,
    HistoryExecution, HistoryNodes, HistoryTasks, IncompatibleSchema, MapWrite, MatchingTasks,
    MutableState, MutableStateRows, Namespaces, NexusEndpoints, Observed, Observer, Outcome,
    Queues, QueuesV2, RecordedVersion, RetryPolicy, RowCounts, RunChange, Runner, RunnerBuilder,
    Session, Shards, SilentObserver, Store, StoreError, StoreExt, SystemClock, TaskQueueLease,
    TaskQueueUserData, Transaction, Within, WriteSet, WrongCount, apply_by_table,
    check_distinct_maps, create_tasks_by_table, limits, verify_compatible_version,
};

/// Temporal's stores of executions, shards, tasks, histories, task queues, durable queues, namespaces,
/// clusters and Nexus endpoints, over any [`Store`].
///
/// A shard has one owner at a time, identified by a range id. Methods that write for an owner take an
/// `Owner`, and fail after the shard has been taken over. A task queue has an owner in the same way, its
/// [`TaskQueueLease`]. The method `within` of each store returns
/// the store with a deadline.
pub mod stores {
    pub use temporal_dsql_stores::{
        AppendNodes, ClusterMetadataStore, ConflictResolve, ConflictResolveMode, CreateExecution,
        CreateMode, ExecutionStore, HistoryPage, HistoryStore, MatchingTaskStore, Mutation,
        NamespaceStore, NewBranch, NexusEndpointList, NexusEndpointStore, OrphanDeletion,
        OrphanPage, Owner, Page, PageKey, PageToken, QueueInfo, QueueStore, QueueV2Store,
        ReadHistory, SetExecution, ShardStore, Snapshot, TaskStore, UpdateExecution, UpdateMode,
        UserDataStore, UserDataUpdate,
    };
}

/// The store on Aurora DSQL, or on PostgreSQL for development.
///
/// `Config` reads the environment variables of the service, and `connect` opens a `DsqlStore`. On
/// Aurora DSQL it connects with TLS and IAM tokens, which it signs with the AWS credentials of a
/// provider and renews before they expire.
///
/// A test connects to an emulated cluster (feature `emulator`), which needs an installed PostgreSQL
/// and runs until it is dropped. Its database is empty: the module `migrate` sets up the schema.
#[cfg_attr(feature = "emulator", doc = "```no_run")]
#[cfg_attr(not(feature = "emulator"), doc = "```ignore")]
/// use temporal_dsql::dsql::{Config, connect, emulator_credentials};
/// use temporal_dsql::dsql_emulator::DsqlEmulator;
///
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let emulator = DsqlEmulator::start().await?;
/// let mut config = Config::from_emulator(&emulator);
/// config.pool.max_connections = 10;
/// let store = connect(&config, Some(emulator_credentials(&emulator))).await?;
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "dsql")]
pub mod dsql {
    pub use aws_credential_types::Credentials;
    pub use aws_credential_types::provider::SharedCredentialsProvider;
    #[cfg(feature = "aws")]
    pub use temporal_dsql_store::aws_credentials;
    #[cfg(feature = "emulator")]
    pub use temporal_dsql_store::emulator_credentials;
    pub use temporal_dsql_store::{
        Action, Auth, CachedTokenSource, Capabilities, Config, ConfigError, ConnectError,
        Connector, DsqlStore, Endpoint, ErrorChain, IamTokenSource, METRICS, Metric, MetricKind,
        OpenError, Overrides, PoolConfig, Target, Tls, TlsMode, Token, TokenError, TokenSource,
        VARIABLES, Variable, WriteForm, connect, region_of_host, server_error_of,
    };
}

/// A store in memory, for the tests of a service.
///
/// It has the snapshot isolation, the conflicts at COMMIT and the limits of Aurora DSQL. A `FaultPlan`
/// injects conflicts and lost answers.
#[cfg(feature = "memory")]
pub mod memory {
    pub use temporal_dsql_memory::{
        FaultPlan, FaultRates, FaultReport, MemoryFault, MemoryStore, MemoryStoreBuilder,
    };
}

/// Installs, upgrades, verifies and rolls back the schema of the tables.
///
/// A `Migrator` makes the `Plan` of a command from a `Schema` and the catalog of the database, and
/// applies it. An interrupted run is continued by running the command again.
///
/// ```no_run
/// use temporal_dsql::dsql::{Config, Connector, SharedCredentialsProvider};
/// use temporal_dsql::migrate::{
///     DEFAULT_DATABASE, IgnoreProgress, Migrator, PostgresDatabase, Schema, Setup, Timeouts,
/// };
///
/// /// Sets up the newest schema in an empty database, or completes a setup that was interrupted.
/// async fn set_up(
///     config: &Config,
///     credentials: Option<SharedCredentialsProvider>,
/// ) -> Result<(), Box<dyn std::error::Error>> {
///     let (schema, timeouts) = (Schema::embedded()?, Timeouts::default());
///     let connector = Connector::new(config, credentials)?;
///     let mut database = PostgresDatabase::connect(connector, None, &timeouts.retry).await?;
///     let mut migrator =
///         Migrator::new(&schema, &mut database, DEFAULT_DATABASE, timeouts, &IgnoreProgress);
///     let plan = migrator.plan_setup(&Setup::default()).await?;
///     migrator.apply(&plan).await?;
///     Ok(())
/// }
/// ```
#[cfg(feature = "migrate")]
pub mod migrate {
    pub use temporal_dsql_migrate::{
        Advice, BoxError, Catalog, CatalogIndex, Change, ColumnDefinition, ConnectionCount,
        DEFAULT_DATABASE, DatabaseError, Dependent, Difference, Digest, Dml, HISTORY_TABLE,
        IgnoreProgress, IndexBuildState, IndexDefinition, Job, JobStatus, MigrateError, Migrator,
        Objects, Origin, OtherObject, Overwrite, Plan, PostgresDatabase, Progress,
        ProgressObserver, Release, Report, Rollback, Row, RowCount, RowKey, SCHEMA_NAME,
        SCHEMA_SQL, Scan, Schema, SchemaDatabase, SchemaError, Scope, Seed, ServerError,
        SessionWatch, Setup, Statement, Status, Step, StepAction, StepState, TableDefinition,
        Timeouts, VERSION_TABLE, Verification, VersionChange, VersionRow, compare_index,
        compare_table, import, normalise,
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The names that the `pub use` items of `source` export.
    fn exported(source: &str) -> Vec<&str> {
        let items = source.split("pub use ").skip(1).filter_map(|item| item.split_once(';'));
        items
            .flat_map(|(path, _)| {
                let list = path.rsplit_once("::").map_or(path, |(_, last)| last);
                let list = path.split_once('{').map_or(list, |(_, list)| list);
                let names = list.split([',', '}']).map(str::trim).filter(|name| !name.is_empty());
                names.map(|name| name.rsplit_once(" as ").map_or(name, |(_, name)| name))
            })
            .collect()
    }

    #[test]
    fn every_item_is_exported_by_a_name_of_its_own() {
        let (source, _) = include_str!("lib.rs").split_once("#[cfg(test)]").unwrap();
        let names = exported(source);
        assert!(names.contains(&"Store") && names.contains(&"Migrator"), "{names:?}");
        let mut seen = BTreeSet::new();
        for name in names {
            assert!(name.chars().all(|c| c.is_alphanumeric() || c == '_'), "`{name}` is no name");
            assert!(seen.insert(name), "two items are exported as `{name}`");
        }
    }
}

-- Schema version 1.1
--
-- The whole schema of Temporal on Amazon Aurora DSQL.
--
-- It derives from the PostgreSQL schema of Temporal, version 1.19
-- (schema/postgresql/v12/temporal/schema.sql of temporalio/temporal), table by table. Comments of
-- tables name each difference from upstream and its reason. General differences:
--   * ids that are BYTEA upstream are UUID, because DSQL does not support BYTEA in a key
--   * secondary indexes are built in the background: CREATE INDEX ASYNC. On PostgreSQL the tool
--     removes ASYNC
--   * there are no CHECK constraints, no foreign keys and no serial types
--   * each statement is one transaction, because DSQL runs one DDL statement per transaction
--
-- This file contains the versions below versioned/ in order, for readers and for tools that set up a
-- database from one file. A test compares it with them.

-- ---------------------------------------------------------------------------------------------
-- Cluster metadata and membership.
-- ---------------------------------------------------------------------------------------------

-- One row per known cluster, including this one. The blob is the ClusterMetadata message; version
-- is compared by its updates. As upstream.
CREATE TABLE cluster_metadata_info (
  metadata_partition INTEGER NOT NULL,
  cluster_name VARCHAR(255) NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (metadata_partition, cluster_name)
);

-- The heartbeats of the service processes, for membership.
-- Not as upstream: host_id is UUID, because DSQL does not support BYTEA in a key, and the three times
-- have no default, because every writer sets them.
CREATE TABLE cluster_membership (
  membership_partition INTEGER NOT NULL,
  host_id UUID NOT NULL,
  rpc_address VARCHAR(128) NOT NULL,
  rpc_port SMALLINT NOT NULL,
  role SMALLINT NOT NULL,
  session_start TIMESTAMP,
  last_heartbeat TIMESTAMP,
  record_expiry TIMESTAMP,
  PRIMARY KEY (membership_partition, host_id)
);

-- Indexes for the lookups of members. DSQL builds secondary indexes only in the background
-- (CREATE INDEX ASYNC). Not as upstream: the first is not unique.
CREATE INDEX ASYNC cm_idx_rolehost ON cluster_membership (role, host_id);
CREATE INDEX ASYNC cm_idx_rolelasthb ON cluster_membership (role, last_heartbeat);
CREATE INDEX ASYNC cm_idx_rpchost ON cluster_membership (rpc_address, role);
CREATE INDEX ASYNC cm_idx_lasthb ON cluster_membership (last_heartbeat);
CREATE INDEX ASYNC cm_idx_recordexpiry ON cluster_membership (record_expiry);

-- ---------------------------------------------------------------------------------------------
-- Namespaces.
-- ---------------------------------------------------------------------------------------------

-- One row per namespace. Not as upstream: id is UUID, and name is unique by an index that is built
-- in the background, instead of a table constraint.
CREATE TABLE namespaces (
  partition_id INTEGER NOT NULL,
  id UUID NOT NULL,
  name VARCHAR(255) NOT NULL,
  notification_version BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  is_global BOOLEAN NOT NULL,
  PRIMARY KEY (partition_id, id)
);

CREATE UNIQUE INDEX ASYNC idx_namespaces_name ON namespaces (name);

-- A single row: the notification version, which every change of a namespace increments. As upstream.
CREATE TABLE namespace_metadata (
  partition_id INTEGER NOT NULL,
  notification_version BIGINT NOT NULL,
  PRIMARY KEY (partition_id)
);

-- The initial row, in Temporal's partition. An existing row is kept, because the server has
-- incremented it.
INSERT INTO namespace_metadata (partition_id, notification_version) VALUES (54321, 1) ON CONFLICT DO NOTHING;

-- ---------------------------------------------------------------------------------------------
-- Executions: the mutable state of every run, and the current run of every workflow id.
-- Ids in all these tables are UUID, where upstream has BYTEA: DSQL does not support BYTEA in a key.
-- ---------------------------------------------------------------------------------------------

-- One row per history shard. range_id is the fencing token: it increases when the shard gets a new
-- owner.
CREATE TABLE shards (
  shard_id INTEGER NOT NULL,
  range_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (shard_id)
);

-- One row per run, of every archetype: the execution info in data, the execution state in state.
-- Updates compare db_record_version.
CREATE TABLE executions (
  shard_id INTEGER NOT NULL,
  namespace_id UUID NOT NULL,
  workflow_id VARCHAR(255) NOT NULL,
  run_id UUID NOT NULL,
  next_event_id BIGINT NOT NULL,
  last_write_version BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  state BYTEA NOT NULL,
  state_encoding VARCHAR(16) NOT NULL,
  db_record_version BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (shard_id, namespace_id, workflow_id, run_id)
);

-- One row per workflow id: its latest run. data is a copy of the execution state of that run.
-- Workflows only: other archetypes are in current_chasm_executions, since version 1.1.
CREATE TABLE current_executions (
  shard_id INTEGER NOT NULL,
  namespace_id UUID NOT NULL,
  workflow_id VARCHAR(255) NOT NULL,
  run_id UUID NOT NULL,
  create_request_id VARCHAR(255) NOT NULL,
  state INTEGER NOT NULL,
  status INTEGER NOT NULL,
  start_version BIGINT NOT NULL DEFAULT 0,
  start_time TIMESTAMP,
  last_write_version BIGINT NOT NULL,
  data BYTEA,
  data_encoding VARCHAR(16) NOT NULL DEFAULT '',
  PRIMARY KEY (shard_id, namespace_id, workflow_id)
);

-- Events buffered during a workflow task, in the order of id.
-- Not as upstream: id is a BIGINT that the writer supplies, because DSQL has no serial types, and it
-- is unique by an index that is built in the background.
CREATE TABLE buffered_events (
  shard_id INTEGER NOT NULL,
  namespace_id UUID NOT NULL,
  workflow_id VARCHAR(255) NOT NULL,
  run_id UUID NOT NULL,
  id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (shard_id, namespace_id, workflow_id, run_id, id)
);

CREATE UNIQUE INDEX ASYNC idx_buffered_events_id ON buffered_events (id);

-- ---------------------------------------------------------------------------------------------
-- The maps and sets inside the mutable state of a run: one row per entry, keyed by the run and
-- the key of the entry. Ids are UUID, where upstream has BYTEA.
-- ---------------------------------------------------------------------------------------------

-- Pending activities, by the id of the event that scheduled them.
CREATE TABLE activity_info_maps (
  shard_id INTEGER NOT NULL,
  namespace_id UUID NOT NULL,
  workflow_id VARCHAR(255) NOT NULL,
  run_id UUID NOT NULL,
  schedule_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16),
  PRIMARY KEY (shard_id, namespace_id, workflow_id, run_id, schedule_id)
);

-- User timers, by timer id.
CREATE TABLE timer_info_maps (
  shard_id INTEGER NOT NULL,
  namespace_id UUID NOT NULL,
  workflow_id VARCHAR(255) NOT NULL,
  run_id UUID NOT NULL,
  timer_id VARCHAR(255) NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16),
  PRIMARY KEY (shard_id, namespace_id, workflow_id, run_id, timer_id)
);

-- Pending child executions, by the id of the event that initiated them.
CREATE TABLE child_execution_info_maps (
  shard_id INTEGER NOT NULL,
  namespace_id UUID NOT NULL,
  workflow_id VARCHAR(255) NOT NULL,
  run_id UUID NOT NULL,
  initiated_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16),
  PRIMARY KEY (shard_id, namespace_id, workflow_id, run_id, initiated_id)
);

-- Pending requests to cancel another execution, by the id of the event that initiated them.
CREATE TABLE request_cancel_info_maps (
  shard_id INTEGER NOT NULL,
  namespace_id UUID NOT NULL,
  workflow_id VARCHAR(255) NOT NULL,
  run_id UUID NOT NULL,
  initiated_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16),
  PRIMARY KEY (shard_id, namespace_id, workflow_id, run_id, initiated_id)
);

-- Pending signals to another execution, by the id of the event that initiated them.
CREATE TABLE signal_info_maps (
  shard_id INTEGER NOT NULL,
  namespace_id UUID NOT NULL,
  workflow_id VARCHAR(255) NOT NULL,
  run_id UUID NOT NULL,
  initiated_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16),
  PRIMARY KEY (shard_id, namespace_id, workflow_id, run_id, initiated_id)
);

-- The request ids of received signals: a set, for deduplication.
CREATE TABLE signals_requested_sets (
  shard_id INTEGER NOT NULL,
  namespace_id UUID NOT NULL,
  workflow_id VARCHAR(255) NOT NULL,
  run_id UUID NOT NULL,
  signal_id VARCHAR(255) NOT NULL,
  PRIMARY KEY (shard_id, namespace_id, workflow_id, run_id, signal_id)
);

-- The component tree of a CHASM execution, one row per node.
-- Not as upstream: chasm_path is text, because DSQL does not support BYTEA in a key.
CREATE TABLE chasm_node_maps (
  shard_id INTEGER NOT NULL,
  namespace_id UUID NOT NULL,
  workflow_id VARCHAR(255) NOT NULL,
  run_id UUID NOT NULL,
  chasm_path VARCHAR(255) NOT NULL,
  metadata BYTEA NOT NULL,
  metadata_encoding VARCHAR(16),
  data BYTEA,
  data_encoding VARCHAR(16),
  PRIMARY KEY (shard_id, namespace_id, workflow_id, run_id, chasm_path)
);

-- ---------------------------------------------------------------------------------------------
-- Event histories. Ids are UUID, where upstream has BYTEA.
-- ---------------------------------------------------------------------------------------------

-- One row per branch of a history tree: the metadata of the branch.
CREATE TABLE history_tree (
  shard_id INTEGER NOT NULL,
  tree_id UUID NOT NULL,
  branch_id UUID NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (shard_id, tree_id, branch_id)
);

-- One row per event batch of a branch. Of the rows with one node_id, the reader uses the one to
-- which prev_txn_id links.
CREATE TABLE history_node (
  shard_id INTEGER NOT NULL,
  tree_id UUID NOT NULL,
  branch_id UUID NOT NULL,
  node_id BIGINT NOT NULL,
  txn_id BIGINT NOT NULL,
  prev_txn_id BIGINT NOT NULL DEFAULT 0,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (shard_id, tree_id, branch_id, node_id, txn_id)
);

-- ---------------------------------------------------------------------------------------------
-- The task queues of the history service. All as upstream.
-- ---------------------------------------------------------------------------------------------

-- Immediate tasks of categories without their own table.
CREATE TABLE history_immediate_tasks (
  shard_id INTEGER NOT NULL,
  category_id INTEGER NOT NULL,
  task_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (shard_id, category_id, task_id)
);

-- Scheduled tasks of categories without their own table.
CREATE TABLE history_scheduled_tasks (
  shard_id INTEGER NOT NULL,
  category_id INTEGER NOT NULL,
  visibility_timestamp TIMESTAMP NOT NULL,
  task_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (shard_id, category_id, visibility_timestamp, task_id)
);

-- Transfer tasks: to matching and to other executions.
CREATE TABLE transfer_tasks (
  shard_id INTEGER NOT NULL,
  task_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (shard_id, task_id)
);

-- Timer tasks: timeouts and user timers, in the order of their time.
CREATE TABLE timer_tasks (
  shard_id INTEGER NOT NULL,
  visibility_timestamp TIMESTAMP NOT NULL,
  task_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (shard_id, visibility_timestamp, task_id)
);

-- Replication tasks: changes to send to other clusters.
CREATE TABLE replication_tasks (
  shard_id INTEGER NOT NULL,
  task_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (shard_id, task_id)
);

-- Replication tasks from other clusters that could not be applied.
CREATE TABLE replication_tasks_dlq (
  source_cluster_name VARCHAR(255) NOT NULL,
  shard_id INTEGER NOT NULL,
  task_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (source_cluster_name, shard_id, task_id)
);

-- Visibility tasks: changes for the visibility store.
CREATE TABLE visibility_tasks (
  shard_id INTEGER NOT NULL,
  task_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (shard_id, task_id)
);

-- ---------------------------------------------------------------------------------------------
-- Matching: workflow and activity tasks that wait for a worker.
-- Not as upstream: task_queue_id is UUID, a hash of the upstream id, because DSQL does not support
-- BYTEA in a key. The namespace of user data and build ids is UUID, too.
-- ---------------------------------------------------------------------------------------------

-- The lease and the acknowledgement levels of every task queue partition.
CREATE TABLE task_queues (
  range_hash BIGINT NOT NULL,
  task_queue_id UUID NOT NULL,
  range_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (range_hash, task_queue_id)
);

-- The tasks of a partition, in the order of their ids.
CREATE TABLE tasks (
  range_hash BIGINT NOT NULL,
  task_queue_id UUID NOT NULL,
  task_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (range_hash, task_queue_id, task_id)
);

-- The same tables for fair queues, whose tasks are ordered by scheduler pass first.
CREATE TABLE task_queues_v2 (
  range_hash BIGINT NOT NULL,
  task_queue_id UUID NOT NULL,
  range_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (range_hash, task_queue_id)
);

CREATE TABLE tasks_v2 (
  range_hash BIGINT NOT NULL,
  task_queue_id UUID NOT NULL,
  pass BIGINT NOT NULL,
  task_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (range_hash, task_queue_id, pass, task_id)
);

-- User data of a task queue, such as its versioning rules. Updates compare version.
CREATE TABLE task_queue_user_data (
  namespace_id UUID NOT NULL,
  task_queue_name VARCHAR(255) NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (namespace_id, task_queue_name)
);

-- The task queues of each build id.
CREATE TABLE build_id_to_task_queue (
  namespace_id UUID NOT NULL,
  build_id VARCHAR(255) NOT NULL,
  task_queue_name VARCHAR(255) NOT NULL,
  PRIMARY KEY (namespace_id, build_id, task_queue_name)
);

-- ---------------------------------------------------------------------------------------------
-- Durable queues between services. All as upstream.
-- ---------------------------------------------------------------------------------------------

-- Queue v1: one queue per type, for namespace replication and its dead letters.
CREATE TABLE queue (
  queue_type INTEGER NOT NULL,
  message_id BIGINT NOT NULL,
  message_payload BYTEA NOT NULL,
  message_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (queue_type, message_id)
);

-- The ack levels of the readers of such a queue.
CREATE TABLE queue_metadata (
  queue_type INTEGER NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (queue_type)
);

-- Queue v2: any number of named queues per type, for dead letters of history tasks.
CREATE TABLE queues (
  queue_type INTEGER NOT NULL,
  queue_name VARCHAR(255) NOT NULL,
  metadata_payload BYTEA NOT NULL,
  metadata_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (queue_type, queue_name)
);

CREATE TABLE queue_messages (
  queue_type INTEGER NOT NULL,
  queue_name VARCHAR(255) NOT NULL,
  queue_partition BIGINT NOT NULL,
  message_id BIGINT NOT NULL,
  message_payload BYTEA NOT NULL,
  message_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (queue_type, queue_name, queue_partition, message_id)
);

-- ---------------------------------------------------------------------------------------------
-- Nexus endpoints.
-- ---------------------------------------------------------------------------------------------

-- One row per endpoint. Updates compare version. Not as upstream: id is UUID.
CREATE TABLE nexus_endpoints (
  id UUID NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (id)
);

-- A single row, with id 0: the version of the whole list of endpoints. Not as upstream: no CHECK
-- ensures a single row; all writers use id 0.
CREATE TABLE nexus_endpoints_partition_status (
  id INTEGER NOT NULL DEFAULT 0,
  version BIGINT NOT NULL,
  PRIMARY KEY (id)
);

-- ---------------------------------------------------------------------------------------------
-- Version 1.1: current executions of all archetypes except workflows.
-- ---------------------------------------------------------------------------------------------

-- One row per business id and archetype: its latest run. Like current_executions, with the archetype
-- in the key, so that executions of different archetypes can have the same id. archetype_id is an
-- unsigned 32-bit number, so it is a BIGINT.
-- Not as upstream: namespace_id and run_id are UUID, because DSQL does not support BYTEA in a key.
-- As upstream, there is no CHECK: the server validates the states.
CREATE TABLE current_chasm_executions (
  shard_id INTEGER NOT NULL,
  namespace_id UUID NOT NULL,
  business_id VARCHAR(255) NOT NULL,
  archetype_id BIGINT NOT NULL,
  run_id UUID NOT NULL,
  create_request_id VARCHAR(255) NOT NULL,
  state INTEGER NOT NULL,
  status INTEGER NOT NULL,
  start_version BIGINT NOT NULL DEFAULT 0,
  start_time TIMESTAMP,
  last_write_version BIGINT NOT NULL,
  data BYTEA,
  data_encoding VARCHAR(16) NOT NULL DEFAULT '',
  PRIMARY KEY (shard_id, namespace_id, business_id, archetype_id)
);

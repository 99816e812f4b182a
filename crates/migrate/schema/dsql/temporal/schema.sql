-- Schema version 1.1
--
-- The whole schema of Temporal on Amazon Aurora DSQL.
--
-- It derives from the PostgreSQL schema of Temporal, version 1.19
-- (schema/postgresql/v12/temporal/schema.sql of temporalio/temporal), table by table. Where it is
-- not as upstream, the comment of the table says so and why. What holds everywhere:
--   * ids that upstream keeps in BYTEA are UUID, because DSQL takes no BYTEA in a key
--   * secondary indexes are built in the background: CREATE INDEX ASYNC. The tool that runs this
--     on PostgreSQL leaves the word out
--   * there are no CHECK constraints, no foreign keys and no serial types
--   * each statement is one transaction, because DSQL runs one DDL statement in a transaction
--
-- This file is the versions below versioned/ in their order, for reading and for tools that set up
-- a database in one go. A test keeps it equal to them.

-- ---------------------------------------------------------------------------------------------
-- Cluster: who is in it, and what it knows of itself and of others.
-- ---------------------------------------------------------------------------------------------

-- One row per cluster that this one knows, its own included. The blob is the ClusterMetadata
-- message, and version guards its updates. As upstream.
CREATE TABLE cluster_metadata_info (
  metadata_partition INTEGER NOT NULL,
  cluster_name VARCHAR(255) NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (metadata_partition, cluster_name)
);

-- The heartbeat of every service process, by which processes find each other.
-- Not as upstream: host_id is UUID, because DSQL takes no BYTEA in a key, and the three times have
-- no default, because every writer gives them.
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

-- The five ways in which members are looked up. DSQL builds secondary indexes only in the
-- background (CREATE INDEX ASYNC). Not as upstream: the first is not unique.
CREATE INDEX ASYNC cm_idx_rolehost ON cluster_membership (role, host_id);
CREATE INDEX ASYNC cm_idx_rolelasthb ON cluster_membership (role, last_heartbeat);
CREATE INDEX ASYNC cm_idx_rpchost ON cluster_membership (rpc_address, role);
CREATE INDEX ASYNC cm_idx_lasthb ON cluster_membership (last_heartbeat);
CREATE INDEX ASYNC cm_idx_recordexpiry ON cluster_membership (record_expiry);

-- ---------------------------------------------------------------------------------------------
-- Namespaces.
-- ---------------------------------------------------------------------------------------------

-- One row per namespace. Not as upstream: id is UUID, and the uniqueness of name is an index of
-- its own, built in the background, instead of a constraint of the table.
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

-- A single row: the version that grows with every change to any namespace. As upstream.
CREATE TABLE namespace_metadata (
  partition_id INTEGER NOT NULL,
  notification_version BIGINT NOT NULL,
  PRIMARY KEY (partition_id)
);

-- That row, in the partition that Temporal uses. A database that has it keeps it as it is: the
-- server has counted on since.
INSERT INTO namespace_metadata (partition_id, notification_version) VALUES (54321, 1) ON CONFLICT DO NOTHING;

-- ---------------------------------------------------------------------------------------------
-- Executions: the mutable state of every run, and which run of an id is current.
-- Ids are UUID in the whole family, where upstream has BYTEA: DSQL takes no BYTEA in a key.
-- ---------------------------------------------------------------------------------------------

-- One row per history shard. range_id is the fence: it grows when a shard changes its owner.
CREATE TABLE shards (
  shard_id INTEGER NOT NULL,
  range_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (shard_id)
);

-- One row per run, of every archetype: the execution info in data, the execution state in state.
-- db_record_version guards the updates.
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

-- One row per workflow id: its latest run. data repeats the execution state of that run. Only
-- workflows are here. The other archetypes have current_chasm_executions, since version 1.1.
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

-- Events that arrived while a workflow task was running, in the order of id.
-- Not as upstream: id is a plain BIGINT that the writer supplies, because DSQL has no serial
-- types, and its uniqueness is an index built in the background.
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

-- User timers, by the id that the workflow gave them.
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

-- Pending requests to cancel another execution, likewise.
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

-- Pending signals to another execution, likewise.
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

-- The ids of signals that were requested: a set, so that a repeated request is recognised.
CREATE TABLE signals_requested_sets (
  shard_id INTEGER NOT NULL,
  namespace_id UUID NOT NULL,
  workflow_id VARCHAR(255) NOT NULL,
  run_id UUID NOT NULL,
  signal_id VARCHAR(255) NOT NULL,
  PRIMARY KEY (shard_id, namespace_id, workflow_id, run_id, signal_id)
);

-- The component tree of a CHASM execution, one row per node.
-- Not as upstream: chasm_path is text, because DSQL takes no BYTEA in a key.
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

-- One row per batch of events of a branch. Of the rows with one node_id the reader keeps the one
-- that prev_txn_id links to.
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
-- The task queues inside the history service. All as upstream.
-- ---------------------------------------------------------------------------------------------

-- Tasks of a category that has no table of its own, to be done at once.
CREATE TABLE history_immediate_tasks (
  shard_id INTEGER NOT NULL,
  category_id INTEGER NOT NULL,
  task_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (shard_id, category_id, task_id)
);

-- The same, to be done at a time.
CREATE TABLE history_scheduled_tasks (
  shard_id INTEGER NOT NULL,
  category_id INTEGER NOT NULL,
  visibility_timestamp TIMESTAMP NOT NULL,
  task_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (shard_id, category_id, visibility_timestamp, task_id)
);

-- Work to hand over: to matching, to other executions.
CREATE TABLE transfer_tasks (
  shard_id INTEGER NOT NULL,
  task_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (shard_id, task_id)
);

-- Timeouts and user timers, in the order in which they fire.
CREATE TABLE timer_tasks (
  shard_id INTEGER NOT NULL,
  visibility_timestamp TIMESTAMP NOT NULL,
  task_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (shard_id, visibility_timestamp, task_id)
);

-- Changes to send to other clusters.
CREATE TABLE replication_tasks (
  shard_id INTEGER NOT NULL,
  task_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (shard_id, task_id)
);

-- Changes from other clusters that could not be applied.
CREATE TABLE replication_tasks_dlq (
  source_cluster_name VARCHAR(255) NOT NULL,
  shard_id INTEGER NOT NULL,
  task_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (source_cluster_name, shard_id, task_id)
);

-- Changes to tell the visibility store.
CREATE TABLE visibility_tasks (
  shard_id INTEGER NOT NULL,
  task_id BIGINT NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (shard_id, task_id)
);

-- ---------------------------------------------------------------------------------------------
-- Matching: workflow and activity tasks that wait for a worker.
-- Not as upstream: task_queue_id is UUID, a hash of the upstream id, because DSQL takes no BYTEA
-- in a key. The namespace of user data and build ids is UUID, too.
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

-- Both again for fair queues, whose tasks are ordered by the pass of the scheduler first.
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

-- What users say about a task queue, such as its versioning rules. version guards the updates.
CREATE TABLE task_queue_user_data (
  namespace_id UUID NOT NULL,
  task_queue_name VARCHAR(255) NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (namespace_id, task_queue_name)
);

-- Which task queues know a build id.
CREATE TABLE build_id_to_task_queue (
  namespace_id UUID NOT NULL,
  build_id VARCHAR(255) NOT NULL,
  task_queue_name VARCHAR(255) NOT NULL,
  PRIMARY KEY (namespace_id, build_id, task_queue_name)
);

-- ---------------------------------------------------------------------------------------------
-- Durable queues between services. All as upstream.
-- ---------------------------------------------------------------------------------------------

-- The first kind: one queue per type, for namespace replication and its dead letters.
CREATE TABLE queue (
  queue_type INTEGER NOT NULL,
  message_id BIGINT NOT NULL,
  message_payload BYTEA NOT NULL,
  message_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (queue_type, message_id)
);

-- How far each reader of such a queue is.
CREATE TABLE queue_metadata (
  queue_type INTEGER NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (queue_type)
);

-- The second kind: any number of named queues per type, for dead letters of history tasks.
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

-- One row per endpoint. version guards the updates. Not as upstream: id is UUID.
CREATE TABLE nexus_endpoints (
  id UUID NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (id)
);

-- A single row, of id 0: the version of the list of endpoints as a whole. Not as upstream: that
-- there is one row only is kept by the writers, who use no other id, and not by a CHECK.
CREATE TABLE nexus_endpoints_partition_status (
  id INTEGER NOT NULL DEFAULT 0,
  version BIGINT NOT NULL,
  PRIMARY KEY (id)
);

-- ---------------------------------------------------------------------------------------------
-- Version 1.1: current executions of every archetype but workflows.
-- ---------------------------------------------------------------------------------------------

-- One row per business id and archetype: its latest run. It is current_executions with the
-- archetype in the key, so that a workflow and a schedule may have the same id. archetype_id is an
-- unsigned number of 32 bits, which only BIGINT holds.
-- Not as upstream: namespace_id and run_id are UUID, because DSQL takes no BYTEA in a key.
-- As upstream, there is no CHECK: which states are valid is the rule of the server that writes them.
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

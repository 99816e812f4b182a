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

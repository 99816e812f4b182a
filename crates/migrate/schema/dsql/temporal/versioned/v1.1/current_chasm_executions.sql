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

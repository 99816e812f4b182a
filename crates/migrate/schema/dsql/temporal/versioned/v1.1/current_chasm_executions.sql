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

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

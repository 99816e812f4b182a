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

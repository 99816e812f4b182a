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

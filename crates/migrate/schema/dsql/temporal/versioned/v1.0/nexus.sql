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

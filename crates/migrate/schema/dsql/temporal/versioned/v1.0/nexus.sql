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

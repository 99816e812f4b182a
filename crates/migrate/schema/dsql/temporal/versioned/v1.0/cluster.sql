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

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

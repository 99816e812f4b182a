-- cluster_membership: the processes of the service, all in one partition.

-- A condition that is NULL is not set.
-- name: GetClusterMembers
SELECT host_id, role, rpc_address, rpc_port, session_start, last_heartbeat, record_expiry
FROM cluster_membership
WHERE membership_partition = 0
  AND host_id >= :min_host_id
  AND record_expiry > :now
  AND (:host_id::uuid IS NULL OR host_id = :host_id)
  AND (:role::smallint IS NULL OR role = :role)
  AND (:rpc_address::text IS NULL OR rpc_address = :rpc_address)
  AND (:last_heartbeat_after::timestamp IS NULL OR last_heartbeat > :last_heartbeat_after)
  AND (:session_started_after::timestamp IS NULL OR session_start >= :session_started_after)
ORDER BY host_id
LIMIT :limit;

-- name: UpsertClusterMembership
INSERT INTO cluster_membership
  (membership_partition, host_id, role, rpc_address, rpc_port, session_start, last_heartbeat,
    record_expiry)
VALUES
  (0, :host_id, :role, :rpc_address, :rpc_port, :session_start, :last_heartbeat, :record_expiry)
ON CONFLICT (membership_partition, host_id) DO UPDATE
SET role = excluded.role,
  rpc_address = excluded.rpc_address,
  rpc_port = excluded.rpc_port,
  session_start = excluded.session_start,
  last_heartbeat = excluded.last_heartbeat,
  record_expiry = excluded.record_expiry;

-- The first expired processes, at most as many as the limit. The server has no max of a UUID.
-- name: PruneClusterMembership
DELETE FROM cluster_membership
WHERE membership_partition = 0
  AND record_expiry < :before
  AND host_id <= (
    SELECT host_id
    FROM (
      SELECT host_id
      FROM cluster_membership
      WHERE membership_partition = 0
        AND record_expiry < :before
      ORDER BY host_id
      LIMIT :limit
    ) AS first
    ORDER BY host_id DESC
    LIMIT 1
  );

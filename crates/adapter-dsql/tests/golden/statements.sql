-- Every statement that the store sends, but BEGIN, COMMIT and ROLLBACK, by operation.
-- A test keeps this file equal to the code; UPDATE_GOLDEN=1 writes it.

-- DeleteAllFromActivityInfoMaps
DELETE FROM activity_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- DeleteAllFromActivityInfoMaps
DELETE FROM activity_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND schedule_id <= (SELECT max(schedule_id) FROM (SELECT schedule_id FROM activity_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 ORDER BY schedule_id LIMIT $5) AS first);

-- DeleteAllFromChasmNodeMaps
DELETE FROM chasm_node_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- DeleteAllFromChasmNodeMaps
DELETE FROM chasm_node_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND chasm_path <= (SELECT max(chasm_path) FROM (SELECT chasm_path FROM chasm_node_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 ORDER BY chasm_path LIMIT $5) AS first);

-- DeleteAllFromChildExecutionInfoMaps
DELETE FROM child_execution_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- DeleteAllFromChildExecutionInfoMaps
DELETE FROM child_execution_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND initiated_id <= (SELECT max(initiated_id) FROM (SELECT initiated_id FROM child_execution_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 ORDER BY initiated_id LIMIT $5) AS first);

-- DeleteAllFromRequestCancelInfoMaps
DELETE FROM request_cancel_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- DeleteAllFromRequestCancelInfoMaps
DELETE FROM request_cancel_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND initiated_id <= (SELECT max(initiated_id) FROM (SELECT initiated_id FROM request_cancel_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 ORDER BY initiated_id LIMIT $5) AS first);

-- DeleteAllFromSignalInfoMaps
DELETE FROM signal_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- DeleteAllFromSignalInfoMaps
DELETE FROM signal_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND initiated_id <= (SELECT max(initiated_id) FROM (SELECT initiated_id FROM signal_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 ORDER BY initiated_id LIMIT $5) AS first);

-- DeleteAllFromSignalsRequestedSets
DELETE FROM signals_requested_sets WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- DeleteAllFromSignalsRequestedSets
DELETE FROM signals_requested_sets WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND signal_id <= (SELECT max(signal_id) FROM (SELECT signal_id FROM signals_requested_sets WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 ORDER BY signal_id LIMIT $5) AS first);

-- DeleteAllFromTimerInfoMaps
DELETE FROM timer_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- DeleteAllFromTimerInfoMaps
DELETE FROM timer_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND timer_id <= (SELECT max(timer_id) FROM (SELECT timer_id FROM timer_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 ORDER BY timer_id LIMIT $5) AS first);

-- DeleteFromActivityInfoMaps
DELETE FROM activity_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND schedule_id = ANY($5::bigint[]);

-- DeleteFromBufferedEvents
DELETE FROM buffered_events WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- DeleteFromBufferedEvents
DELETE FROM buffered_events WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND id <= (SELECT max(id) FROM (SELECT id FROM buffered_events WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 ORDER BY id LIMIT $5) AS first);

-- DeleteFromChasmNodeMaps
DELETE FROM chasm_node_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND chasm_path = ANY($5::text[]);

-- DeleteFromChildExecutionInfoMaps
DELETE FROM child_execution_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND initiated_id = ANY($5::bigint[]);

-- DeleteFromCurrentExecutions
DELETE FROM current_chasm_executions WHERE shard_id = $1 AND namespace_id = $2 AND business_id = $3 AND run_id = $4 AND archetype_id = $5;

-- DeleteFromCurrentExecutions
DELETE FROM current_executions WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- DeleteFromExecutions
DELETE FROM executions WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- DeleteFromHistoryImmediateTasks
DELETE FROM history_immediate_tasks WHERE shard_id = $1 AND task_id = $2 AND category_id = $3;

-- DeleteFromHistoryNode
DELETE FROM history_node WHERE shard_id = $1 AND tree_id = $2 AND branch_id = $3 AND node_id = $4 AND txn_id = $5;

-- DeleteFromHistoryScheduledTasks
DELETE FROM history_scheduled_tasks WHERE shard_id = $1 AND visibility_timestamp = $2 AND task_id = $3 AND category_id = $4;

-- DeleteFromHistoryTree
DELETE FROM history_tree WHERE shard_id = $1 AND tree_id = $2 AND branch_id = $3;

-- DeleteFromReplicationDLQTasks
DELETE FROM replication_tasks_dlq WHERE shard_id = $1 AND task_id = $2 AND source_cluster_name = $3;

-- DeleteFromReplicationTasks
DELETE FROM replication_tasks WHERE shard_id = $1 AND task_id = $2;

-- DeleteFromRequestCancelInfoMaps
DELETE FROM request_cancel_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND initiated_id = ANY($5::bigint[]);

-- DeleteFromSignalInfoMaps
DELETE FROM signal_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND initiated_id = ANY($5::bigint[]);

-- DeleteFromSignalsRequestedSets
DELETE FROM signals_requested_sets WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND signal_id = ANY($5::text[]);

-- DeleteFromTimerInfoMaps
DELETE FROM timer_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND timer_id = ANY($5::text[]);

-- DeleteFromTimerTasks
DELETE FROM timer_tasks WHERE shard_id = $1 AND visibility_timestamp = $2 AND task_id = $3;

-- DeleteFromTransferTasks
DELETE FROM transfer_tasks WHERE shard_id = $1 AND task_id = $2;

-- DeleteFromVisibilityTasks
DELETE FROM visibility_tasks WHERE shard_id = $1 AND task_id = $2;

-- DeleteMutableState
WITH activities AS (DELETE FROM activity_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4),
  timers AS (DELETE FROM timer_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4),
  child_executions AS (DELETE FROM child_execution_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4),
  request_cancels AS (DELETE FROM request_cancel_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4),
  signals AS (DELETE FROM signal_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4),
  signals_requested AS (DELETE FROM signals_requested_sets WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4),
  chasm_nodes AS (DELETE FROM chasm_node_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4),
  buffered AS (DELETE FROM buffered_events WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4),
  run AS (DELETE FROM executions WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 RETURNING 1) SELECT count(*) AS run FROM run;

-- DeleteOthersFromActivityInfoMaps
DELETE FROM activity_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND schedule_id <> ALL($5::bigint[]);

-- DeleteOthersFromChasmNodeMaps
DELETE FROM chasm_node_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND chasm_path <> ALL($5::text[]);

-- DeleteOthersFromChildExecutionInfoMaps
DELETE FROM child_execution_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND initiated_id <> ALL($5::bigint[]);

-- DeleteOthersFromRequestCancelInfoMaps
DELETE FROM request_cancel_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND initiated_id <> ALL($5::bigint[]);

-- DeleteOthersFromSignalInfoMaps
DELETE FROM signal_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND initiated_id <> ALL($5::bigint[]);

-- DeleteOthersFromSignalsRequestedSets
DELETE FROM signals_requested_sets WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND signal_id <> ALL($5::text[]);

-- DeleteOthersFromTimerInfoMaps
DELETE FROM timer_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND timer_id <> ALL($5::text[]);

-- FindFenceIndex
SELECT count(*) AS found FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace WHERE n.nspname = current_schema() AND t.relname = 'shards' AND i.indisunique AND i.indisvalid AND i.indisready AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indnkeyatts = 2 AND pg_catalog.pg_get_indexdef(i.indexrelid, 1, true) = 'shard_id' AND pg_catalog.pg_get_indexdef(i.indexrelid, 2, true) = 'range_id';

-- InsertIntoBufferedEvents
INSERT INTO buffered_events (shard_id, namespace_id, workflow_id, run_id, id, data, data_encoding) SELECT $1, $2, $3, $4, (SELECT coalesce(max(id), 0) / 281474976710656 FROM buffered_events WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4) * 281474976710656 + event.place, event.data, event.data_encoding FROM UNNEST($5::bigint[], $6::bytea[], $7::text[]) AS event (place, data, data_encoding);

-- InsertIntoCurrentExecutions
INSERT INTO current_chasm_executions (shard_id, namespace_id, business_id, run_id, create_request_id, state, status, start_time, last_write_version, data, data_encoding, archetype_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- InsertIntoCurrentExecutions
INSERT INTO current_executions (shard_id, namespace_id, workflow_id, run_id, create_request_id, state, status, start_time, last_write_version, data, data_encoding) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- InsertIntoExecutions
INSERT INTO executions (shard_id, namespace_id, workflow_id, run_id, next_event_id, last_write_version, data, data_encoding, state, state_encoding, db_record_version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- InsertIntoHistoryImmediateTasks
INSERT INTO history_immediate_tasks (shard_id, category_id, task_id, data, data_encoding) SELECT $1, task.queue, task.task_id, task.data, task.data_encoding FROM UNNEST($2::integer[], $3::bigint[], $4::bytea[], $5::text[]) AS task (queue, task_id, data, data_encoding);

-- InsertIntoHistoryNode
INSERT INTO history_node (shard_id, tree_id, branch_id, node_id, txn_id, prev_txn_id, data, data_encoding) SELECT $1, $2, $3, node.node_id, node.txn_id, node.prev_txn_id, node.data, node.data_encoding FROM UNNEST($4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[], $8::text[]) AS node (node_id, txn_id, prev_txn_id, data, data_encoding) ON CONFLICT (shard_id, tree_id, branch_id, node_id, txn_id) DO UPDATE SET prev_txn_id = excluded.prev_txn_id, data = excluded.data, data_encoding = excluded.data_encoding;

-- InsertIntoHistoryScheduledTasks
INSERT INTO history_scheduled_tasks (shard_id, category_id, visibility_timestamp, task_id, data, data_encoding) SELECT $1, task.category_id, task.visibility_timestamp, task.task_id, task.data, task.data_encoding FROM UNNEST($2::integer[], $3::timestamp[], $4::bigint[], $5::bytea[], $6::text[]) AS task (category_id, visibility_timestamp, task_id, data, data_encoding);

-- InsertIntoHistoryTree
INSERT INTO history_tree (shard_id, tree_id, branch_id, data, data_encoding) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (shard_id, tree_id, branch_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding;

-- InsertIntoReplicationDLQTasks
INSERT INTO replication_tasks_dlq (shard_id, source_cluster_name, task_id, data, data_encoding) SELECT $1, task.queue, task.task_id, task.data, task.data_encoding FROM UNNEST($2::text[], $3::bigint[], $4::bytea[], $5::text[]) AS task (queue, task_id, data, data_encoding);

-- InsertIntoReplicationTasks
INSERT INTO replication_tasks (shard_id, task_id, data, data_encoding) SELECT $1, task.task_id, task.data, task.data_encoding FROM UNNEST($2::bigint[], $3::bytea[], $4::text[]) AS task (task_id, data, data_encoding);

-- InsertIntoShards
INSERT INTO shards (shard_id, range_id, data, data_encoding) VALUES ($1, $2, $3, $4);

-- InsertIntoTimerTasks
INSERT INTO timer_tasks (shard_id, visibility_timestamp, task_id, data, data_encoding) SELECT $1, task.visibility_timestamp, task.task_id, task.data, task.data_encoding FROM UNNEST($2::timestamp[], $3::bigint[], $4::bytea[], $5::text[]) AS task (visibility_timestamp, task_id, data, data_encoding);

-- InsertIntoTransferTasks
INSERT INTO transfer_tasks (shard_id, task_id, data, data_encoding) SELECT $1, task.task_id, task.data, task.data_encoding FROM UNNEST($2::bigint[], $3::bytea[], $4::text[]) AS task (task_id, data, data_encoding);

-- InsertIntoVisibilityTasks
INSERT INTO visibility_tasks (shard_id, task_id, data, data_encoding) SELECT $1, task.task_id, task.data, task.data_encoding FROM UNNEST($2::bigint[], $3::bytea[], $4::text[]) AS task (task_id, data, data_encoding);

-- LockCurrentExecutions
SELECT shard_id, namespace_id, business_id AS workflow_id, run_id, create_request_id, state, status, start_time, last_write_version, data, data_encoding FROM current_chasm_executions WHERE shard_id = $1 AND namespace_id = $2 AND business_id = $3 AND archetype_id = $4 FOR UPDATE;

-- LockCurrentExecutions
SELECT shard_id, namespace_id, workflow_id, run_id, create_request_id, state, status, start_time, last_write_version, data, data_encoding FROM current_executions WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 FOR UPDATE;

-- LockCurrentExecutionsJoinExecutions
SELECT c.shard_id, c.namespace_id, c.business_id AS workflow_id, c.run_id, c.create_request_id, c.state, c.status, c.start_time, e.last_write_version, c.data, c.data_encoding FROM current_chasm_executions AS c INNER JOIN executions AS e ON e.shard_id = c.shard_id AND e.namespace_id = c.namespace_id AND e.workflow_id = c.business_id AND e.run_id = c.run_id WHERE c.shard_id = $1 AND c.namespace_id = $2 AND c.business_id = $3 AND c.archetype_id = $4;

-- LockCurrentExecutionsJoinExecutions
SELECT c.shard_id, c.namespace_id, c.workflow_id, c.run_id, c.create_request_id, c.state, c.status, c.start_time, e.last_write_version, c.data, c.data_encoding FROM current_executions AS c INNER JOIN executions AS e ON e.shard_id = c.shard_id AND e.namespace_id = c.namespace_id AND e.workflow_id = c.workflow_id AND e.run_id = c.run_id WHERE c.shard_id = $1 AND c.namespace_id = $2 AND c.workflow_id = $3;

-- LockForWrite
SELECT shard.range_id, run.run_id AS locked_run_id, run.db_record_version, run.next_event_id, run.run_last_write_version FROM (SELECT 1) AS request
  LEFT JOIN (SELECT range_id FROM shards WHERE shard_id = $1 FOR KEY SHARE) AS shard ON true
  LEFT JOIN (SELECT run_id, db_record_version, next_event_id, last_write_version AS run_last_write_version FROM executions WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = ANY($4::uuid[]) FOR UPDATE) AS run ON true;

-- LockForWrite
SELECT shard.range_id, run.run_id AS locked_run_id, run.db_record_version, run.next_event_id, run.run_last_write_version FROM (SELECT 1) AS request
  LEFT JOIN (SELECT range_id FROM shards WHERE shard_id = $1 FOR UPDATE) AS shard ON true
  LEFT JOIN (SELECT run_id, db_record_version, next_event_id, last_write_version AS run_last_write_version FROM executions WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = ANY($4::uuid[]) FOR UPDATE) AS run ON true;

-- LockForWrite
SELECT shard.range_id, run.run_id AS locked_run_id, run.db_record_version, run.next_event_id, run.run_last_write_version, current.shard_id, current.namespace_id, current.workflow_id, current.run_id, current.create_request_id, current.state, current.status, current.start_time, current.last_write_version, current.data, current.data_encoding FROM (SELECT 1) AS request
  LEFT JOIN (SELECT range_id FROM shards WHERE shard_id = $1 FOR KEY SHARE) AS shard ON true
  LEFT JOIN (SELECT shard_id, namespace_id, business_id AS workflow_id, run_id, create_request_id, state, status, start_time, last_write_version, data, data_encoding FROM current_chasm_executions WHERE shard_id = $1 AND namespace_id = $5 AND business_id = $6 AND archetype_id = $7 FOR UPDATE) AS current ON true
  LEFT JOIN (SELECT run_id, db_record_version, next_event_id, last_write_version AS run_last_write_version FROM executions WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = ANY($4::uuid[]) FOR UPDATE) AS run ON true;

-- LockForWrite
SELECT shard.range_id, run.run_id AS locked_run_id, run.db_record_version, run.next_event_id, run.run_last_write_version, current.shard_id, current.namespace_id, current.workflow_id, current.run_id, current.create_request_id, current.state, current.status, current.start_time, current.last_write_version, current.data, current.data_encoding FROM (SELECT 1) AS request
  LEFT JOIN (SELECT range_id FROM shards WHERE shard_id = $1 FOR KEY SHARE) AS shard ON true
  LEFT JOIN (SELECT shard_id, namespace_id, workflow_id, run_id, create_request_id, state, status, start_time, last_write_version, data, data_encoding FROM current_executions WHERE shard_id = $1 AND namespace_id = $5 AND workflow_id = $6 FOR UPDATE) AS current ON true
  LEFT JOIN (SELECT run_id, db_record_version, next_event_id, last_write_version AS run_last_write_version FROM executions WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = ANY($4::uuid[]) FOR UPDATE) AS run ON true;

-- LockForWrite
SELECT shard.range_id, run.run_id AS locked_run_id, run.db_record_version, run.next_event_id, run.run_last_write_version, current.shard_id, current.namespace_id, current.workflow_id, current.run_id, current.create_request_id, current.state, current.status, current.start_time, current.last_write_version, current.data, current.data_encoding FROM (SELECT 1) AS request
  LEFT JOIN (SELECT range_id FROM shards WHERE shard_id = $1 FOR UPDATE) AS shard ON true
  LEFT JOIN (SELECT shard_id, namespace_id, business_id AS workflow_id, run_id, create_request_id, state, status, start_time, last_write_version, data, data_encoding FROM current_chasm_executions WHERE shard_id = $1 AND namespace_id = $5 AND business_id = $6 AND archetype_id = $7 FOR UPDATE) AS current ON true
  LEFT JOIN (SELECT run_id, db_record_version, next_event_id, last_write_version AS run_last_write_version FROM executions WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = ANY($4::uuid[]) FOR UPDATE) AS run ON true;

-- LockForWrite
SELECT shard.range_id, run.run_id AS locked_run_id, run.db_record_version, run.next_event_id, run.run_last_write_version, current.shard_id, current.namespace_id, current.workflow_id, current.run_id, current.create_request_id, current.state, current.status, current.start_time, current.last_write_version, current.data, current.data_encoding FROM (SELECT 1) AS request
  LEFT JOIN (SELECT range_id FROM shards WHERE shard_id = $1 FOR UPDATE) AS shard ON true
  LEFT JOIN (SELECT shard_id, namespace_id, workflow_id, run_id, create_request_id, state, status, start_time, last_write_version, data, data_encoding FROM current_executions WHERE shard_id = $1 AND namespace_id = $5 AND workflow_id = $6 FOR UPDATE) AS current ON true
  LEFT JOIN (SELECT run_id, db_record_version, next_event_id, last_write_version AS run_last_write_version FROM executions WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = ANY($4::uuid[]) FOR UPDATE) AS run ON true;

-- PaginateBranchesFromHistoryTree
SELECT shard_id, tree_id, branch_id, data, data_encoding FROM ((SELECT shard_id, tree_id, branch_id, data, data_encoding FROM history_tree WHERE shard_id = $1 AND tree_id = $2 AND branch_id > $3 ORDER BY branch_id LIMIT $4)
  UNION ALL (SELECT shard_id, tree_id, branch_id, data, data_encoding FROM history_tree WHERE shard_id = $1 AND tree_id > $2 ORDER BY tree_id, branch_id LIMIT $4)
  UNION ALL (SELECT shard_id, tree_id, branch_id, data, data_encoding FROM history_tree WHERE shard_id > $1 ORDER BY shard_id, tree_id, branch_id LIMIT $4)) AS branch ORDER BY shard_id, tree_id, branch_id LIMIT $4;

-- RangeDeleteFromHistoryImmediateTasks
DELETE FROM history_immediate_tasks WHERE shard_id = $1 AND task_id >= $2 AND task_id < $3 AND category_id = $5 AND task_id <= (SELECT max(task_id) FROM (SELECT task_id FROM history_immediate_tasks WHERE shard_id = $1 AND task_id >= $2 AND task_id < $3 AND category_id = $5 ORDER BY task_id LIMIT $4) AS first);

-- RangeDeleteFromHistoryNode
DELETE FROM history_node WHERE shard_id = $1 AND tree_id = $2 AND branch_id = $3 AND node_id >= $4 AND node_id <= (SELECT max(node_id) FROM (SELECT node_id, txn_id FROM history_node WHERE shard_id = $1 AND tree_id = $2 AND branch_id = $3 AND node_id >= $4 ORDER BY node_id, txn_id LIMIT $5) AS first) AND (node_id, txn_id) <= (SELECT node_id, txn_id FROM (SELECT node_id, txn_id FROM history_node WHERE shard_id = $1 AND tree_id = $2 AND branch_id = $3 AND node_id >= $4 ORDER BY node_id, txn_id LIMIT $5) AS first ORDER BY node_id DESC, txn_id DESC LIMIT 1);

-- RangeDeleteFromHistoryScheduledTasks
DELETE FROM history_scheduled_tasks WHERE shard_id = $1 AND visibility_timestamp >= $2 AND visibility_timestamp < $4 AND (visibility_timestamp > $2 OR task_id >= $3) AND category_id = $6 AND visibility_timestamp <= (SELECT max(visibility_timestamp) FROM (SELECT visibility_timestamp, task_id FROM history_scheduled_tasks WHERE shard_id = $1 AND visibility_timestamp >= $2 AND visibility_timestamp < $4 AND (visibility_timestamp > $2 OR task_id >= $3) AND category_id = $6 ORDER BY visibility_timestamp, task_id LIMIT $5) AS first) AND (visibility_timestamp, task_id) <= (SELECT visibility_timestamp, task_id FROM (SELECT visibility_timestamp, task_id FROM history_scheduled_tasks WHERE shard_id = $1 AND visibility_timestamp >= $2 AND visibility_timestamp < $4 AND (visibility_timestamp > $2 OR task_id >= $3) AND category_id = $6 ORDER BY visibility_timestamp, task_id LIMIT $5) AS first ORDER BY visibility_timestamp DESC, task_id DESC LIMIT 1);

-- RangeDeleteFromReplicationDLQTasks
DELETE FROM replication_tasks_dlq WHERE shard_id = $1 AND task_id >= $2 AND task_id < $3 AND source_cluster_name = $5 AND task_id <= (SELECT max(task_id) FROM (SELECT task_id FROM replication_tasks_dlq WHERE shard_id = $1 AND task_id >= $2 AND task_id < $3 AND source_cluster_name = $5 ORDER BY task_id LIMIT $4) AS first);

-- RangeDeleteFromReplicationTasks
DELETE FROM replication_tasks WHERE shard_id = $1 AND task_id >= $2 AND task_id < $3 AND task_id <= (SELECT max(task_id) FROM (SELECT task_id FROM replication_tasks WHERE shard_id = $1 AND task_id >= $2 AND task_id < $3 ORDER BY task_id LIMIT $4) AS first);

-- RangeDeleteFromTimerTasks
DELETE FROM timer_tasks WHERE shard_id = $1 AND visibility_timestamp >= $2 AND visibility_timestamp < $4 AND (visibility_timestamp > $2 OR task_id >= $3) AND visibility_timestamp <= (SELECT max(visibility_timestamp) FROM (SELECT visibility_timestamp, task_id FROM timer_tasks WHERE shard_id = $1 AND visibility_timestamp >= $2 AND visibility_timestamp < $4 AND (visibility_timestamp > $2 OR task_id >= $3) ORDER BY visibility_timestamp, task_id LIMIT $5) AS first) AND (visibility_timestamp, task_id) <= (SELECT visibility_timestamp, task_id FROM (SELECT visibility_timestamp, task_id FROM timer_tasks WHERE shard_id = $1 AND visibility_timestamp >= $2 AND visibility_timestamp < $4 AND (visibility_timestamp > $2 OR task_id >= $3) ORDER BY visibility_timestamp, task_id LIMIT $5) AS first ORDER BY visibility_timestamp DESC, task_id DESC LIMIT 1);

-- RangeDeleteFromTransferTasks
DELETE FROM transfer_tasks WHERE shard_id = $1 AND task_id >= $2 AND task_id < $3 AND task_id <= (SELECT max(task_id) FROM (SELECT task_id FROM transfer_tasks WHERE shard_id = $1 AND task_id >= $2 AND task_id < $3 ORDER BY task_id LIMIT $4) AS first);

-- RangeDeleteFromVisibilityTasks
DELETE FROM visibility_tasks WHERE shard_id = $1 AND task_id >= $2 AND task_id < $3 AND task_id <= (SELECT max(task_id) FROM (SELECT task_id FROM visibility_tasks WHERE shard_id = $1 AND task_id >= $2 AND task_id < $3 ORDER BY task_id LIMIT $4) AS first);

-- RangeSelectFromHistoryImmediateTasks
SELECT task_id, data, data_encoding FROM history_immediate_tasks WHERE shard_id = $1 AND task_id >= $2 AND task_id < $3 AND category_id = $5 ORDER BY task_id LIMIT $4;

-- RangeSelectFromHistoryNode
SELECT node_id, txn_id, prev_txn_id FROM history_node WHERE shard_id = $1 AND tree_id = $2 AND branch_id = $3 AND node_id >= $4 AND node_id < $5 AND (node_id < $6 OR (node_id = $6 AND txn_id < $7)) ORDER BY node_id DESC, txn_id DESC LIMIT $8;

-- RangeSelectFromHistoryNode
SELECT node_id, txn_id, prev_txn_id FROM history_node WHERE shard_id = $1 AND tree_id = $2 AND branch_id = $3 AND node_id >= $4 AND node_id < $5 AND (node_id > $6 OR (node_id = $6 AND txn_id > $7)) ORDER BY node_id, txn_id LIMIT $8;

-- RangeSelectFromHistoryNode
SELECT node_id, txn_id, prev_txn_id, data, data_encoding FROM history_node WHERE shard_id = $1 AND tree_id = $2 AND branch_id = $3 AND node_id >= $4 AND node_id < $5 AND (node_id < $6 OR (node_id = $6 AND txn_id < $7)) ORDER BY node_id DESC, txn_id DESC LIMIT $8;

-- RangeSelectFromHistoryNode
SELECT node_id, txn_id, prev_txn_id, data, data_encoding FROM history_node WHERE shard_id = $1 AND tree_id = $2 AND branch_id = $3 AND node_id >= $4 AND node_id < $5 AND (node_id > $6 OR (node_id = $6 AND txn_id > $7)) ORDER BY node_id, txn_id LIMIT $8;

-- RangeSelectFromHistoryScheduledTasks
SELECT visibility_timestamp, task_id, data, data_encoding FROM history_scheduled_tasks WHERE shard_id = $1 AND visibility_timestamp >= $2 AND visibility_timestamp < $4 AND (visibility_timestamp > $2 OR task_id >= $3) AND category_id = $6 ORDER BY visibility_timestamp, task_id LIMIT $5;

-- RangeSelectFromReplicationDLQTasks
SELECT task_id, data, data_encoding FROM replication_tasks_dlq WHERE shard_id = $1 AND task_id >= $2 AND task_id < $3 AND source_cluster_name = $5 ORDER BY task_id LIMIT $4;

-- RangeSelectFromReplicationTasks
SELECT task_id, data, data_encoding FROM replication_tasks WHERE shard_id = $1 AND task_id >= $2 AND task_id < $3 ORDER BY task_id LIMIT $4;

-- RangeSelectFromTimerTasks
SELECT visibility_timestamp, task_id, data, data_encoding FROM timer_tasks WHERE shard_id = $1 AND visibility_timestamp >= $2 AND visibility_timestamp < $4 AND (visibility_timestamp > $2 OR task_id >= $3) ORDER BY visibility_timestamp, task_id LIMIT $5;

-- RangeSelectFromTransferTasks
SELECT task_id, data, data_encoding FROM transfer_tasks WHERE shard_id = $1 AND task_id >= $2 AND task_id < $3 ORDER BY task_id LIMIT $4;

-- RangeSelectFromVisibilityTasks
SELECT task_id, data, data_encoding FROM visibility_tasks WHERE shard_id = $1 AND task_id >= $2 AND task_id < $3 ORDER BY task_id LIMIT $4;

-- ReadLockExecutions
SELECT db_record_version, next_event_id, last_write_version FROM executions WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- ReadLockExecutions
SELECT db_record_version, next_event_id, last_write_version FROM executions WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 FOR UPDATE;

-- ReadLockShards
SELECT range_id FROM shards WHERE shard_id = $1;

-- ReadLockShards
SELECT range_id FROM shards WHERE shard_id = $1 FOR KEY SHARE;

-- ReadLockShards
SELECT range_id FROM shards WHERE shard_id = $1 FOR UPDATE;

-- ReadSchemaVersion
SELECT curr_version FROM schema_version WHERE version_partition = 0 AND db_name = $1;

-- ReplaceExecution
WITH run AS (UPDATE executions SET next_event_id = $5, last_write_version = $6, data = $7, data_encoding = $8, state = $9, state_encoding = $10, db_record_version = $11 WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 RETURNING 1),
  inserted_workflow AS (INSERT INTO current_executions (shard_id, namespace_id, workflow_id, run_id, create_request_id, state, status, start_time, last_write_version, data, data_encoding) SELECT $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22 WHERE $24 RETURNING 1),
  updated_workflow AS (UPDATE current_executions SET run_id = $15, create_request_id = $16, state = $17, status = $18, start_time = $19, last_write_version = $20, data = $21, data_encoding = $22 WHERE shard_id = $12 AND namespace_id = $13 AND workflow_id = $14 AND $25 RETURNING 1),
  inserted_chasm AS (INSERT INTO current_chasm_executions (shard_id, namespace_id, business_id, run_id, create_request_id, state, status, start_time, last_write_version, data, data_encoding, archetype_id) SELECT $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23 WHERE $26 RETURNING 1),
  updated_chasm AS (UPDATE current_chasm_executions SET run_id = $15, create_request_id = $16, state = $17, status = $18, start_time = $19, last_write_version = $20, data = $21, data_encoding = $22 WHERE shard_id = $12 AND namespace_id = $13 AND business_id = $14 AND archetype_id = $23 AND $27 RETURNING 1),
  removed_activities AS (DELETE FROM activity_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND (schedule_id = ANY($78::bigint[]) OR ($86 AND schedule_id <> ALL($28::bigint[])))),
  removed_timers AS (DELETE FROM timer_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND (timer_id = ANY($79::text[]) OR ($87 AND timer_id <> ALL($31::text[])))),
  removed_child_executions AS (DELETE FROM child_execution_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND (initiated_id = ANY($80::bigint[]) OR ($88 AND initiated_id <> ALL($34::bigint[])))),
  removed_request_cancels AS (DELETE FROM request_cancel_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND (initiated_id = ANY($81::bigint[]) OR ($89 AND initiated_id <> ALL($37::bigint[])))),
  removed_signals AS (DELETE FROM signal_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND (initiated_id = ANY($82::bigint[]) OR ($90 AND initiated_id <> ALL($40::bigint[])))),
  removed_signals_requested AS (DELETE FROM signals_requested_sets WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND (signal_id = ANY($83::text[]) OR ($91 AND signal_id <> ALL($43::text[])))),
  removed_chasm_nodes AS (DELETE FROM chasm_node_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND (chasm_path = ANY($84::text[]) OR ($92 AND chasm_path <> ALL($44::text[])))),
  activities AS (INSERT INTO activity_info_maps (shard_id, namespace_id, workflow_id, run_id, schedule_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($28::bigint[], $29::bytea[], $30::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, schedule_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding),
  timers AS (INSERT INTO timer_info_maps (shard_id, namespace_id, workflow_id, run_id, timer_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($31::text[], $32::bytea[], $33::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, timer_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding),
  child_executions AS (INSERT INTO child_execution_info_maps (shard_id, namespace_id, workflow_id, run_id, initiated_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($34::bigint[], $35::bytea[], $36::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, initiated_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding),
  request_cancels AS (INSERT INTO request_cancel_info_maps (shard_id, namespace_id, workflow_id, run_id, initiated_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($37::bigint[], $38::bytea[], $39::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, initiated_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding),
  signals AS (INSERT INTO signal_info_maps (shard_id, namespace_id, workflow_id, run_id, initiated_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($40::bigint[], $41::bytea[], $42::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, initiated_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding),
  signals_requested AS (INSERT INTO signals_requested_sets (shard_id, namespace_id, workflow_id, run_id, signal_id) SELECT $1, $2, $3, $4, entry.key FROM UNNEST($43::text[]) AS entry (key) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, signal_id) DO NOTHING),
  chasm_nodes AS (INSERT INTO chasm_node_maps (shard_id, namespace_id, workflow_id, run_id, chasm_path, metadata, metadata_encoding, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.metadata, entry.metadata_encoding, entry.data, entry.data_encoding FROM UNNEST($44::text[], $45::bytea[], $46::text[], $47::bytea[], $48::text[]) AS entry (key, metadata, metadata_encoding, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, chasm_path) DO UPDATE SET metadata = excluded.metadata, metadata_encoding = excluded.metadata_encoding, data = excluded.data, data_encoding = excluded.data_encoding),
  cleared AS (DELETE FROM buffered_events WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND $85),
  buffered AS (INSERT INTO buffered_events (shard_id, namespace_id, workflow_id, run_id, id, data, data_encoding) SELECT $1, $2, $3, $4, (SELECT CASE WHEN $85 THEN 0 ELSE coalesce(max(id), 0) END / 281474976710656 FROM buffered_events WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4) * 281474976710656 + event.place, event.data, event.data_encoding FROM UNNEST($49::bigint[], $50::bytea[], $51::text[]) AS event (place, data, data_encoding)),
  transfer AS (INSERT INTO transfer_tasks (shard_id, task_id, data, data_encoding) SELECT $1, task.task_id, task.data, task.data_encoding FROM UNNEST($52::bigint[], $53::bytea[], $54::text[]) AS task (task_id, data, data_encoding) RETURNING 1),
  visibility AS (INSERT INTO visibility_tasks (shard_id, task_id, data, data_encoding) SELECT $1, task.task_id, task.data, task.data_encoding FROM UNNEST($55::bigint[], $56::bytea[], $57::text[]) AS task (task_id, data, data_encoding) RETURNING 1),
  replication AS (INSERT INTO replication_tasks (shard_id, task_id, data, data_encoding) SELECT $1, task.task_id, task.data, task.data_encoding FROM UNNEST($58::bigint[], $59::bytea[], $60::text[]) AS task (task_id, data, data_encoding) RETURNING 1),
  replication_dlq AS (INSERT INTO replication_tasks_dlq (shard_id, source_cluster_name, task_id, data, data_encoding) SELECT $1, task.queue, task.task_id, task.data, task.data_encoding FROM UNNEST($61::text[], $62::bigint[], $63::bytea[], $64::text[]) AS task (queue, task_id, data, data_encoding) RETURNING 1),
  immediate AS (INSERT INTO history_immediate_tasks (shard_id, category_id, task_id, data, data_encoding) SELECT $1, task.queue, task.task_id, task.data, task.data_encoding FROM UNNEST($65::integer[], $66::bigint[], $67::bytea[], $68::text[]) AS task (queue, task_id, data, data_encoding) RETURNING 1),
  timer AS (INSERT INTO timer_tasks (shard_id, visibility_timestamp, task_id, data, data_encoding) SELECT $1, task.visibility_timestamp, task.task_id, task.data, task.data_encoding FROM UNNEST($69::timestamp[], $70::bigint[], $71::bytea[], $72::text[]) AS task (visibility_timestamp, task_id, data, data_encoding) RETURNING 1),
  scheduled AS (INSERT INTO history_scheduled_tasks (shard_id, category_id, visibility_timestamp, task_id, data, data_encoding) SELECT $1, task.category_id, task.visibility_timestamp, task.task_id, task.data, task.data_encoding FROM UNNEST($73::integer[], $74::timestamp[], $75::bigint[], $76::bytea[], $77::text[]) AS task (category_id, visibility_timestamp, task_id, data, data_encoding) RETURNING 1) SELECT (SELECT count(*) FROM run) AS run, (SELECT count(*) FROM inserted_workflow) + (SELECT count(*) FROM updated_workflow) + (SELECT count(*) FROM inserted_chasm) + (SELECT count(*) FROM updated_chasm) AS current, (SELECT count(*) FROM transfer) + (SELECT count(*) FROM visibility) + (SELECT count(*) FROM replication) + (SELECT count(*) FROM replication_dlq) + (SELECT count(*) FROM immediate) + (SELECT count(*) FROM timer) + (SELECT count(*) FROM scheduled) AS tasks;

-- ReplaceIntoActivityInfoMaps
INSERT INTO activity_info_maps (shard_id, namespace_id, workflow_id, run_id, schedule_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($5::bigint[], $6::bytea[], $7::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, schedule_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding;

-- ReplaceIntoChasmNodeMaps
INSERT INTO chasm_node_maps (shard_id, namespace_id, workflow_id, run_id, chasm_path, metadata, metadata_encoding, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.metadata, entry.metadata_encoding, entry.data, entry.data_encoding FROM UNNEST($5::text[], $6::bytea[], $7::text[], $8::bytea[], $9::text[]) AS entry (key, metadata, metadata_encoding, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, chasm_path) DO UPDATE SET metadata = excluded.metadata, metadata_encoding = excluded.metadata_encoding, data = excluded.data, data_encoding = excluded.data_encoding;

-- ReplaceIntoChildExecutionInfoMaps
INSERT INTO child_execution_info_maps (shard_id, namespace_id, workflow_id, run_id, initiated_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($5::bigint[], $6::bytea[], $7::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, initiated_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding;

-- ReplaceIntoRequestCancelInfoMaps
INSERT INTO request_cancel_info_maps (shard_id, namespace_id, workflow_id, run_id, initiated_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($5::bigint[], $6::bytea[], $7::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, initiated_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding;

-- ReplaceIntoSignalInfoMaps
INSERT INTO signal_info_maps (shard_id, namespace_id, workflow_id, run_id, initiated_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($5::bigint[], $6::bytea[], $7::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, initiated_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding;

-- ReplaceIntoSignalsRequestedSets
INSERT INTO signals_requested_sets (shard_id, namespace_id, workflow_id, run_id, signal_id) SELECT $1, $2, $3, $4, entry.key FROM UNNEST($5::text[]) AS entry (key) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, signal_id) DO NOTHING;

-- ReplaceIntoTimerInfoMaps
INSERT INTO timer_info_maps (shard_id, namespace_id, workflow_id, run_id, timer_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($5::text[], $6::bytea[], $7::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, timer_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding;

-- SelectAllFromActivityInfoMaps
SELECT schedule_id, data, data_encoding FROM activity_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- SelectAllFromChasmNodeMaps
SELECT chasm_path, metadata, metadata_encoding, data, data_encoding FROM chasm_node_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- SelectAllFromChildExecutionInfoMaps
SELECT initiated_id, data, data_encoding FROM child_execution_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- SelectAllFromRequestCancelInfoMaps
SELECT initiated_id, data, data_encoding FROM request_cancel_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- SelectAllFromSignalInfoMaps
SELECT initiated_id, data, data_encoding FROM signal_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- SelectAllFromSignalsRequestedSets
SELECT signal_id FROM signals_requested_sets WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- SelectAllFromTimerInfoMaps
SELECT timer_id, data, data_encoding FROM timer_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- SelectFromBufferedEvents
SELECT data, data_encoding FROM buffered_events WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 ORDER BY id;

-- SelectFromCurrentExecutions
SELECT shard_id, namespace_id, business_id AS workflow_id, run_id, create_request_id, state, status, start_time, last_write_version, data, data_encoding FROM current_chasm_executions WHERE shard_id = $1 AND namespace_id = $2 AND business_id = $3 AND archetype_id = $4;

-- SelectFromCurrentExecutions
SELECT shard_id, namespace_id, workflow_id, run_id, create_request_id, state, status, start_time, last_write_version, data, data_encoding FROM current_executions WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3;

-- SelectFromExecutions
SELECT shard_id, namespace_id, workflow_id, run_id, next_event_id, last_write_version, data, data_encoding, state, state_encoding, db_record_version FROM executions WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- SelectFromHistoryTree
SELECT shard_id, tree_id, branch_id, data, data_encoding FROM history_tree WHERE shard_id = $1 AND tree_id = $2 ORDER BY branch_id;

-- SelectFromShards
SELECT shard_id, range_id, data, data_encoding FROM shards WHERE shard_id = $1;

-- SelectMutableState
SELECT -1 AS part, next_event_id AS id, NULL::text AS name, data, data_encoding, state AS other, state_encoding AS other_encoding, last_write_version, db_record_version FROM executions WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4
  UNION ALL SELECT 0, schedule_id, NULL, data, data_encoding, NULL, NULL, NULL, NULL FROM activity_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4
  UNION ALL SELECT 1, NULL, timer_id, data, data_encoding, NULL, NULL, NULL, NULL FROM timer_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4
  UNION ALL SELECT 2, initiated_id, NULL, data, data_encoding, NULL, NULL, NULL, NULL FROM child_execution_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4
  UNION ALL SELECT 3, initiated_id, NULL, data, data_encoding, NULL, NULL, NULL, NULL FROM request_cancel_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4
  UNION ALL SELECT 4, initiated_id, NULL, data, data_encoding, NULL, NULL, NULL, NULL FROM signal_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4
  UNION ALL SELECT 5, NULL, signal_id, NULL, NULL, NULL, NULL, NULL, NULL FROM signals_requested_sets WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4
  UNION ALL SELECT 6, NULL, chasm_path, data, data_encoding, metadata, metadata_encoding, NULL, NULL FROM chasm_node_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4
  UNION ALL SELECT 7, id, NULL, data, data_encoding, NULL, NULL, NULL, NULL FROM buffered_events WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- UpdateCurrentExecutions
UPDATE current_chasm_executions SET run_id = $4, create_request_id = $5, state = $6, status = $7, start_time = $8, last_write_version = $9, data = $10, data_encoding = $11 WHERE shard_id = $1 AND namespace_id = $2 AND business_id = $3 AND archetype_id = $12;

-- UpdateCurrentExecutions
UPDATE current_executions SET run_id = $4, create_request_id = $5, state = $6, status = $7, start_time = $8, last_write_version = $9, data = $10, data_encoding = $11 WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3;

-- UpdateExecutions
UPDATE executions SET next_event_id = $5, last_write_version = $6, data = $7, data_encoding = $8, state = $9, state_encoding = $10, db_record_version = $11 WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- UpdateShards
UPDATE shards SET range_id = $2, data = $3, data_encoding = $4 WHERE shard_id = $1;

-- UpdateShards
UPDATE shards SET range_id = $2, data = $3, data_encoding = $4 WHERE shard_id = $1 AND range_id = $5;

-- WriteExecution
WITH run AS (UPDATE executions SET next_event_id = $5, last_write_version = $6, data = $7, data_encoding = $8, state = $9, state_encoding = $10, db_record_version = $11 WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 RETURNING 1),
  inserted_workflow AS (INSERT INTO current_executions (shard_id, namespace_id, workflow_id, run_id, create_request_id, state, status, start_time, last_write_version, data, data_encoding) SELECT $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22 WHERE $24 RETURNING 1),
  updated_workflow AS (UPDATE current_executions SET run_id = $15, create_request_id = $16, state = $17, status = $18, start_time = $19, last_write_version = $20, data = $21, data_encoding = $22 WHERE shard_id = $12 AND namespace_id = $13 AND workflow_id = $14 AND $25 RETURNING 1),
  inserted_chasm AS (INSERT INTO current_chasm_executions (shard_id, namespace_id, business_id, run_id, create_request_id, state, status, start_time, last_write_version, data, data_encoding, archetype_id) SELECT $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23 WHERE $26 RETURNING 1),
  updated_chasm AS (UPDATE current_chasm_executions SET run_id = $15, create_request_id = $16, state = $17, status = $18, start_time = $19, last_write_version = $20, data = $21, data_encoding = $22 WHERE shard_id = $12 AND namespace_id = $13 AND business_id = $14 AND archetype_id = $23 AND $27 RETURNING 1),
  removed_activities AS (DELETE FROM activity_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND schedule_id = ANY($78::bigint[])),
  removed_timers AS (DELETE FROM timer_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND timer_id = ANY($79::text[])),
  removed_child_executions AS (DELETE FROM child_execution_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND initiated_id = ANY($80::bigint[])),
  removed_request_cancels AS (DELETE FROM request_cancel_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND initiated_id = ANY($81::bigint[])),
  removed_signals AS (DELETE FROM signal_info_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND initiated_id = ANY($82::bigint[])),
  removed_signals_requested AS (DELETE FROM signals_requested_sets WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND signal_id = ANY($83::text[])),
  removed_chasm_nodes AS (DELETE FROM chasm_node_maps WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND chasm_path = ANY($84::text[])),
  activities AS (INSERT INTO activity_info_maps (shard_id, namespace_id, workflow_id, run_id, schedule_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($28::bigint[], $29::bytea[], $30::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, schedule_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding),
  timers AS (INSERT INTO timer_info_maps (shard_id, namespace_id, workflow_id, run_id, timer_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($31::text[], $32::bytea[], $33::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, timer_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding),
  child_executions AS (INSERT INTO child_execution_info_maps (shard_id, namespace_id, workflow_id, run_id, initiated_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($34::bigint[], $35::bytea[], $36::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, initiated_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding),
  request_cancels AS (INSERT INTO request_cancel_info_maps (shard_id, namespace_id, workflow_id, run_id, initiated_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($37::bigint[], $38::bytea[], $39::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, initiated_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding),
  signals AS (INSERT INTO signal_info_maps (shard_id, namespace_id, workflow_id, run_id, initiated_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($40::bigint[], $41::bytea[], $42::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, initiated_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding),
  signals_requested AS (INSERT INTO signals_requested_sets (shard_id, namespace_id, workflow_id, run_id, signal_id) SELECT $1, $2, $3, $4, entry.key FROM UNNEST($43::text[]) AS entry (key) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, signal_id) DO NOTHING),
  chasm_nodes AS (INSERT INTO chasm_node_maps (shard_id, namespace_id, workflow_id, run_id, chasm_path, metadata, metadata_encoding, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.metadata, entry.metadata_encoding, entry.data, entry.data_encoding FROM UNNEST($44::text[], $45::bytea[], $46::text[], $47::bytea[], $48::text[]) AS entry (key, metadata, metadata_encoding, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, chasm_path) DO UPDATE SET metadata = excluded.metadata, metadata_encoding = excluded.metadata_encoding, data = excluded.data, data_encoding = excluded.data_encoding),
  cleared AS (DELETE FROM buffered_events WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 AND $85),
  buffered AS (INSERT INTO buffered_events (shard_id, namespace_id, workflow_id, run_id, id, data, data_encoding) SELECT $1, $2, $3, $4, (SELECT CASE WHEN $85 THEN 0 ELSE coalesce(max(id), 0) END / 281474976710656 FROM buffered_events WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4) * 281474976710656 + event.place, event.data, event.data_encoding FROM UNNEST($49::bigint[], $50::bytea[], $51::text[]) AS event (place, data, data_encoding)),
  transfer AS (INSERT INTO transfer_tasks (shard_id, task_id, data, data_encoding) SELECT $1, task.task_id, task.data, task.data_encoding FROM UNNEST($52::bigint[], $53::bytea[], $54::text[]) AS task (task_id, data, data_encoding) RETURNING 1),
  visibility AS (INSERT INTO visibility_tasks (shard_id, task_id, data, data_encoding) SELECT $1, task.task_id, task.data, task.data_encoding FROM UNNEST($55::bigint[], $56::bytea[], $57::text[]) AS task (task_id, data, data_encoding) RETURNING 1),
  replication AS (INSERT INTO replication_tasks (shard_id, task_id, data, data_encoding) SELECT $1, task.task_id, task.data, task.data_encoding FROM UNNEST($58::bigint[], $59::bytea[], $60::text[]) AS task (task_id, data, data_encoding) RETURNING 1),
  replication_dlq AS (INSERT INTO replication_tasks_dlq (shard_id, source_cluster_name, task_id, data, data_encoding) SELECT $1, task.queue, task.task_id, task.data, task.data_encoding FROM UNNEST($61::text[], $62::bigint[], $63::bytea[], $64::text[]) AS task (queue, task_id, data, data_encoding) RETURNING 1),
  immediate AS (INSERT INTO history_immediate_tasks (shard_id, category_id, task_id, data, data_encoding) SELECT $1, task.queue, task.task_id, task.data, task.data_encoding FROM UNNEST($65::integer[], $66::bigint[], $67::bytea[], $68::text[]) AS task (queue, task_id, data, data_encoding) RETURNING 1),
  timer AS (INSERT INTO timer_tasks (shard_id, visibility_timestamp, task_id, data, data_encoding) SELECT $1, task.visibility_timestamp, task.task_id, task.data, task.data_encoding FROM UNNEST($69::timestamp[], $70::bigint[], $71::bytea[], $72::text[]) AS task (visibility_timestamp, task_id, data, data_encoding) RETURNING 1),
  scheduled AS (INSERT INTO history_scheduled_tasks (shard_id, category_id, visibility_timestamp, task_id, data, data_encoding) SELECT $1, task.category_id, task.visibility_timestamp, task.task_id, task.data, task.data_encoding FROM UNNEST($73::integer[], $74::timestamp[], $75::bigint[], $76::bytea[], $77::text[]) AS task (category_id, visibility_timestamp, task_id, data, data_encoding) RETURNING 1) SELECT (SELECT count(*) FROM run) AS run, (SELECT count(*) FROM inserted_workflow) + (SELECT count(*) FROM updated_workflow) + (SELECT count(*) FROM inserted_chasm) + (SELECT count(*) FROM updated_chasm) AS current, (SELECT count(*) FROM transfer) + (SELECT count(*) FROM visibility) + (SELECT count(*) FROM replication) + (SELECT count(*) FROM replication_dlq) + (SELECT count(*) FROM immediate) + (SELECT count(*) FROM timer) + (SELECT count(*) FROM scheduled) AS tasks;

-- WriteLockExecutions
SELECT db_record_version, next_event_id, last_write_version FROM executions WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4;

-- WriteLockExecutions
SELECT db_record_version, next_event_id, last_write_version FROM executions WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 FOR UPDATE;

-- WriteLockShards
SELECT range_id FROM shards WHERE shard_id = $1;

-- WriteLockShards
SELECT range_id FROM shards WHERE shard_id = $1 FOR UPDATE;

-- WriteNewExecution
WITH run AS (INSERT INTO executions (shard_id, namespace_id, workflow_id, run_id, next_event_id, last_write_version, data, data_encoding, state, state_encoding, db_record_version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING 1),
  inserted_workflow AS (INSERT INTO current_executions (shard_id, namespace_id, workflow_id, run_id, create_request_id, state, status, start_time, last_write_version, data, data_encoding) SELECT $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22 WHERE $24 RETURNING 1),
  updated_workflow AS (UPDATE current_executions SET run_id = $15, create_request_id = $16, state = $17, status = $18, start_time = $19, last_write_version = $20, data = $21, data_encoding = $22 WHERE shard_id = $12 AND namespace_id = $13 AND workflow_id = $14 AND $25 RETURNING 1),
  inserted_chasm AS (INSERT INTO current_chasm_executions (shard_id, namespace_id, business_id, run_id, create_request_id, state, status, start_time, last_write_version, data, data_encoding, archetype_id) SELECT $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23 WHERE $26 RETURNING 1),
  updated_chasm AS (UPDATE current_chasm_executions SET run_id = $15, create_request_id = $16, state = $17, status = $18, start_time = $19, last_write_version = $20, data = $21, data_encoding = $22 WHERE shard_id = $12 AND namespace_id = $13 AND business_id = $14 AND archetype_id = $23 AND $27 RETURNING 1),
  activities AS (INSERT INTO activity_info_maps (shard_id, namespace_id, workflow_id, run_id, schedule_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($28::bigint[], $29::bytea[], $30::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, schedule_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding),
  timers AS (INSERT INTO timer_info_maps (shard_id, namespace_id, workflow_id, run_id, timer_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($31::text[], $32::bytea[], $33::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, timer_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding),
  child_executions AS (INSERT INTO child_execution_info_maps (shard_id, namespace_id, workflow_id, run_id, initiated_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($34::bigint[], $35::bytea[], $36::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, initiated_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding),
  request_cancels AS (INSERT INTO request_cancel_info_maps (shard_id, namespace_id, workflow_id, run_id, initiated_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($37::bigint[], $38::bytea[], $39::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, initiated_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding),
  signals AS (INSERT INTO signal_info_maps (shard_id, namespace_id, workflow_id, run_id, initiated_id, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST($40::bigint[], $41::bytea[], $42::text[]) AS entry (key, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, initiated_id) DO UPDATE SET data = excluded.data, data_encoding = excluded.data_encoding),
  signals_requested AS (INSERT INTO signals_requested_sets (shard_id, namespace_id, workflow_id, run_id, signal_id) SELECT $1, $2, $3, $4, entry.key FROM UNNEST($43::text[]) AS entry (key) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, signal_id) DO NOTHING),
  chasm_nodes AS (INSERT INTO chasm_node_maps (shard_id, namespace_id, workflow_id, run_id, chasm_path, metadata, metadata_encoding, data, data_encoding) SELECT $1, $2, $3, $4, entry.key, entry.metadata, entry.metadata_encoding, entry.data, entry.data_encoding FROM UNNEST($44::text[], $45::bytea[], $46::text[], $47::bytea[], $48::text[]) AS entry (key, metadata, metadata_encoding, data, data_encoding) ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, chasm_path) DO UPDATE SET metadata = excluded.metadata, metadata_encoding = excluded.metadata_encoding, data = excluded.data, data_encoding = excluded.data_encoding),
  buffered AS (INSERT INTO buffered_events (shard_id, namespace_id, workflow_id, run_id, id, data, data_encoding) SELECT $1, $2, $3, $4, (SELECT coalesce(max(id), 0) / 281474976710656 FROM buffered_events WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4) * 281474976710656 + event.place, event.data, event.data_encoding FROM UNNEST($49::bigint[], $50::bytea[], $51::text[]) AS event (place, data, data_encoding)),
  transfer AS (INSERT INTO transfer_tasks (shard_id, task_id, data, data_encoding) SELECT $1, task.task_id, task.data, task.data_encoding FROM UNNEST($52::bigint[], $53::bytea[], $54::text[]) AS task (task_id, data, data_encoding) RETURNING 1),
  visibility AS (INSERT INTO visibility_tasks (shard_id, task_id, data, data_encoding) SELECT $1, task.task_id, task.data, task.data_encoding FROM UNNEST($55::bigint[], $56::bytea[], $57::text[]) AS task (task_id, data, data_encoding) RETURNING 1),
  replication AS (INSERT INTO replication_tasks (shard_id, task_id, data, data_encoding) SELECT $1, task.task_id, task.data, task.data_encoding FROM UNNEST($58::bigint[], $59::bytea[], $60::text[]) AS task (task_id, data, data_encoding) RETURNING 1),
  replication_dlq AS (INSERT INTO replication_tasks_dlq (shard_id, source_cluster_name, task_id, data, data_encoding) SELECT $1, task.queue, task.task_id, task.data, task.data_encoding FROM UNNEST($61::text[], $62::bigint[], $63::bytea[], $64::text[]) AS task (queue, task_id, data, data_encoding) RETURNING 1),
  immediate AS (INSERT INTO history_immediate_tasks (shard_id, category_id, task_id, data, data_encoding) SELECT $1, task.queue, task.task_id, task.data, task.data_encoding FROM UNNEST($65::integer[], $66::bigint[], $67::bytea[], $68::text[]) AS task (queue, task_id, data, data_encoding) RETURNING 1),
  timer AS (INSERT INTO timer_tasks (shard_id, visibility_timestamp, task_id, data, data_encoding) SELECT $1, task.visibility_timestamp, task.task_id, task.data, task.data_encoding FROM UNNEST($69::timestamp[], $70::bigint[], $71::bytea[], $72::text[]) AS task (visibility_timestamp, task_id, data, data_encoding) RETURNING 1),
  scheduled AS (INSERT INTO history_scheduled_tasks (shard_id, category_id, visibility_timestamp, task_id, data, data_encoding) SELECT $1, task.category_id, task.visibility_timestamp, task.task_id, task.data, task.data_encoding FROM UNNEST($73::integer[], $74::timestamp[], $75::bigint[], $76::bytea[], $77::text[]) AS task (category_id, visibility_timestamp, task_id, data, data_encoding) RETURNING 1) SELECT (SELECT count(*) FROM run) AS run, (SELECT count(*) FROM inserted_workflow) + (SELECT count(*) FROM updated_workflow) + (SELECT count(*) FROM inserted_chasm) + (SELECT count(*) FROM updated_chasm) AS current, (SELECT count(*) FROM transfer) + (SELECT count(*) FROM visibility) + (SELECT count(*) FROM replication) + (SELECT count(*) FROM replication_dlq) + (SELECT count(*) FROM immediate) + (SELECT count(*) FROM timer) + (SELECT count(*) FROM scheduled) AS tasks;

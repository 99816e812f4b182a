-- A write set in one statement. The statement locks and reads the rows of the conditions, checks
-- the conditions, writes every row if they hold, and returns the rows that it has read and the
-- number of rows that it has written.
--
-- The parts of the statement see one snapshot. A part that writes does so only if `guard` holds,
-- and `guard` is computed from the parts that lock. No two parts write the same row: an entry that
-- is removed is not written, and a current execution is either inserted or updated.
--
-- The arrays of runs are sorted: their first and last element bound the scans.
--
-- `WriteSet::check` decides the same from the answer. A test compares both for every combination.

-- name: Apply
WITH shard AS (
  SELECT range_id
  FROM shards
  WHERE shard_id = :shard_id
  FOR KEY SHARE
),
current_workflow AS (
  SELECT shard_id, namespace_id, workflow_id, run_id, create_request_id, state, status, start_time,
    last_write_version, data, data_encoding
  FROM current_executions
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :current_workflow_id
  FOR UPDATE
),
current_chasm AS (
  SELECT shard_id, namespace_id, business_id, run_id, create_request_id, state, status, start_time,
    last_write_version, data, data_encoding
  FROM current_chasm_executions
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND business_id = :current_business_id
    AND archetype_id = :archetype_id
  FOR UPDATE
),
current AS (
  SELECT * FROM current_workflow
  UNION ALL
  SELECT * FROM current_chasm
),
run AS (
  SELECT run_id, db_record_version, next_event_id, last_write_version
  FROM executions
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id >= (:observed_run_ids::uuid[])[1]
    AND run_id <= (:observed_run_ids::uuid[])[cardinality(:observed_run_ids::uuid[])]
    AND run_id = ANY(:observed_run_ids::uuid[])
  FOR UPDATE
),
current_run AS (
  SELECT db_record_version, next_event_id, last_write_version
  FROM executions
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id = (SELECT run_id FROM current)
),
guard AS (
  SELECT
    (:range_id::bigint IS NULL OR EXISTS (SELECT 1 FROM shard WHERE range_id = :range_id))
    AND CASE :expected_current::text
      WHEN 'absent' THEN NOT EXISTS (SELECT 1 FROM current)
      WHEN 'run' THEN EXISTS (SELECT 1 FROM current WHERE run_id = :expected_run_id)
      -- 3: the state of a closed run.
      WHEN 'closed' THEN EXISTS (SELECT 1 FROM current WHERE run_id = :expected_run_id AND state = 3)
        AND EXISTS (
          SELECT 1 FROM current_run WHERE last_write_version = :expected_last_write_version
        )
      WHEN 'any but' THEN NOT EXISTS (SELECT 1 FROM current WHERE run_id = :expected_run_id)
      ELSE true
    END
    AND NOT EXISTS (
      SELECT 1
      FROM UNNEST(
        :expected_version_run_id::uuid[],
        :expected_db_record_version::bigint[],
        :expected_next_event_id::bigint[]
      ) AS expected (run_id, db_record_version, next_event_id)
      WHERE NOT EXISTS (
        SELECT 1
        FROM run
        WHERE run.run_id = expected.run_id
          AND (run.db_record_version = expected.db_record_version
            OR run.next_event_id = expected.next_event_id)
      )
    )
    AND NOT EXISTS (SELECT 1 FROM run WHERE run_id = ANY(:new_run_ids::uuid[]))
    AS holds
),
written_run AS (
  INSERT INTO executions (shard_id, namespace_id, workflow_id, run_id, next_event_id,
    last_write_version, data, data_encoding, state, state_encoding, db_record_version)
  SELECT :shard_id, :namespace_id, :workflow_id, run.run_id, run.next_event_id,
    run.last_write_version, run.data, run.data_encoding, run.state, run.state_encoding,
    run.db_record_version
  FROM UNNEST(
    :executions_run_id::uuid[],
    :executions_next_event_id::bigint[],
    :executions_last_write_version::bigint[],
    :executions_data::bytea[],
    :executions_data_encoding::text[],
    :executions_state::bytea[],
    :executions_state_encoding::text[],
    :executions_db_record_version::bigint[]
  ) AS run (run_id, next_event_id, last_write_version, data, data_encoding, state, state_encoding,
    db_record_version)
  WHERE (SELECT holds FROM guard)
  ON CONFLICT (shard_id, namespace_id, workflow_id, run_id) DO UPDATE
  SET next_event_id = excluded.next_event_id, last_write_version = excluded.last_write_version,
    data = excluded.data, data_encoding = excluded.data_encoding, state = excluded.state,
    state_encoding = excluded.state_encoding, db_record_version = excluded.db_record_version
  RETURNING 1
),
deleted_run AS (
  DELETE FROM executions
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id >= (:deleted_run_ids::uuid[])[1]
    AND run_id <= (:deleted_run_ids::uuid[])[cardinality(:deleted_run_ids::uuid[])]
    AND run_id = ANY(:deleted_run_ids::uuid[])
    AND (SELECT holds FROM guard)
),
inserted_workflow AS (
  INSERT INTO current_executions (shard_id, namespace_id, workflow_id, run_id, create_request_id,
    state, status, start_time, last_write_version, data, data_encoding)
  SELECT :shard_id, :namespace_id, :current_workflow_id, :current_run_id,
    :current_create_request_id, :current_state, :current_status, :current_start_time,
    :current_last_write_version, :current_data, :current_data_encoding
  WHERE :is_current_inserted AND :current_workflow_id IS NOT NULL AND (SELECT holds FROM guard)
  RETURNING 1
),
updated_workflow AS (
  UPDATE current_executions
  SET run_id = :current_run_id, create_request_id = :current_create_request_id,
    state = :current_state, status = :current_status, start_time = :current_start_time,
    last_write_version = :current_last_write_version, data = :current_data,
    data_encoding = :current_data_encoding
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :current_workflow_id
    AND :is_current_updated AND (SELECT holds FROM guard)
  RETURNING 1
),
inserted_chasm AS (
  INSERT INTO current_chasm_executions (shard_id, namespace_id, business_id, archetype_id, run_id,
    create_request_id, state, status, start_time, last_write_version, data, data_encoding)
  SELECT :shard_id, :namespace_id, :current_business_id, :archetype_id, :current_run_id,
    :current_create_request_id, :current_state, :current_status, :current_start_time,
    :current_last_write_version, :current_data, :current_data_encoding
  WHERE :is_current_inserted AND :current_business_id IS NOT NULL AND (SELECT holds FROM guard)
  RETURNING 1
),
updated_chasm AS (
  UPDATE current_chasm_executions
  SET run_id = :current_run_id, create_request_id = :current_create_request_id,
    state = :current_state, status = :current_status, start_time = :current_start_time,
    last_write_version = :current_last_write_version, data = :current_data,
    data_encoding = :current_data_encoding
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND business_id = :current_business_id
    AND archetype_id = :archetype_id AND :is_current_updated AND (SELECT holds FROM guard)
  RETURNING 1
),
removed_activities AS (
  DELETE FROM activity_info_maps AS entry
  WHERE entry.shard_id = :shard_id AND entry.namespace_id = :namespace_id
    AND entry.workflow_id = :workflow_id
    AND entry.run_id >= (:removing_run_ids::uuid[])[1]
    AND entry.run_id <= (:removing_run_ids::uuid[])[cardinality(:removing_run_ids::uuid[])]
    AND entry.run_id = ANY(:removing_run_ids::uuid[])
    AND (
      (entry.run_id, entry.schedule_id) IN (SELECT * FROM UNNEST(
        :activity_info_maps_removed_run_id::uuid[],
        :activity_info_maps_removed_schedule_id::bigint[]
      ))
      OR entry.run_id = ANY(:replaced_run_ids::uuid[])
        AND (entry.run_id, entry.schedule_id) NOT IN (SELECT * FROM UNNEST(
          :activity_info_maps_run_id::uuid[],
          :activity_info_maps_schedule_id::bigint[]
        ))
    )
    AND (SELECT holds FROM guard)
),
written_activities AS (
  INSERT INTO activity_info_maps (shard_id, namespace_id, workflow_id, run_id, schedule_id, data,
    data_encoding)
  SELECT :shard_id, :namespace_id, :workflow_id, entry.run_id, entry.schedule_id, entry.data,
    entry.data_encoding
  FROM UNNEST(
    :activity_info_maps_run_id::uuid[],
    :activity_info_maps_schedule_id::bigint[],
    :activity_info_maps_data::bytea[],
    :activity_info_maps_data_encoding::text[]
  ) AS entry (run_id, schedule_id, data, data_encoding)
  WHERE (SELECT holds FROM guard)
  ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, schedule_id) DO UPDATE
  SET data = excluded.data, data_encoding = excluded.data_encoding
),
removed_timers AS (
  DELETE FROM timer_info_maps AS entry
  WHERE entry.shard_id = :shard_id AND entry.namespace_id = :namespace_id
    AND entry.workflow_id = :workflow_id
    AND entry.run_id >= (:removing_run_ids::uuid[])[1]
    AND entry.run_id <= (:removing_run_ids::uuid[])[cardinality(:removing_run_ids::uuid[])]
    AND entry.run_id = ANY(:removing_run_ids::uuid[])
    AND (
      (entry.run_id, entry.timer_id) IN (SELECT * FROM UNNEST(
        :timer_info_maps_removed_run_id::uuid[],
        :timer_info_maps_removed_timer_id::text[]
      ))
      OR entry.run_id = ANY(:replaced_run_ids::uuid[])
        AND (entry.run_id, entry.timer_id) NOT IN (SELECT * FROM UNNEST(
          :timer_info_maps_run_id::uuid[],
          :timer_info_maps_timer_id::text[]
        ))
    )
    AND (SELECT holds FROM guard)
),
written_timers AS (
  INSERT INTO timer_info_maps (shard_id, namespace_id, workflow_id, run_id, timer_id, data,
    data_encoding)
  SELECT :shard_id, :namespace_id, :workflow_id, entry.run_id, entry.timer_id, entry.data,
    entry.data_encoding
  FROM UNNEST(
    :timer_info_maps_run_id::uuid[],
    :timer_info_maps_timer_id::text[],
    :timer_info_maps_data::bytea[],
    :timer_info_maps_data_encoding::text[]
  ) AS entry (run_id, timer_id, data, data_encoding)
  WHERE (SELECT holds FROM guard)
  ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, timer_id) DO UPDATE
  SET data = excluded.data, data_encoding = excluded.data_encoding
),
removed_child_executions AS (
  DELETE FROM child_execution_info_maps AS entry
  WHERE entry.shard_id = :shard_id AND entry.namespace_id = :namespace_id
    AND entry.workflow_id = :workflow_id
    AND entry.run_id >= (:removing_run_ids::uuid[])[1]
    AND entry.run_id <= (:removing_run_ids::uuid[])[cardinality(:removing_run_ids::uuid[])]
    AND entry.run_id = ANY(:removing_run_ids::uuid[])
    AND (
      (entry.run_id, entry.initiated_id) IN (SELECT * FROM UNNEST(
        :child_execution_info_maps_removed_run_id::uuid[],
        :child_execution_info_maps_removed_initiated_id::bigint[]
      ))
      OR entry.run_id = ANY(:replaced_run_ids::uuid[])
        AND (entry.run_id, entry.initiated_id) NOT IN (SELECT * FROM UNNEST(
          :child_execution_info_maps_run_id::uuid[],
          :child_execution_info_maps_initiated_id::bigint[]
        ))
    )
    AND (SELECT holds FROM guard)
),
written_child_executions AS (
  INSERT INTO child_execution_info_maps (shard_id, namespace_id, workflow_id, run_id, initiated_id,
    data, data_encoding)
  SELECT :shard_id, :namespace_id, :workflow_id, entry.run_id, entry.initiated_id, entry.data,
    entry.data_encoding
  FROM UNNEST(
    :child_execution_info_maps_run_id::uuid[],
    :child_execution_info_maps_initiated_id::bigint[],
    :child_execution_info_maps_data::bytea[],
    :child_execution_info_maps_data_encoding::text[]
  ) AS entry (run_id, initiated_id, data, data_encoding)
  WHERE (SELECT holds FROM guard)
  ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, initiated_id) DO UPDATE
  SET data = excluded.data, data_encoding = excluded.data_encoding
),
removed_request_cancels AS (
  DELETE FROM request_cancel_info_maps AS entry
  WHERE entry.shard_id = :shard_id AND entry.namespace_id = :namespace_id
    AND entry.workflow_id = :workflow_id
    AND entry.run_id >= (:removing_run_ids::uuid[])[1]
    AND entry.run_id <= (:removing_run_ids::uuid[])[cardinality(:removing_run_ids::uuid[])]
    AND entry.run_id = ANY(:removing_run_ids::uuid[])
    AND (
      (entry.run_id, entry.initiated_id) IN (SELECT * FROM UNNEST(
        :request_cancel_info_maps_removed_run_id::uuid[],
        :request_cancel_info_maps_removed_initiated_id::bigint[]
      ))
      OR entry.run_id = ANY(:replaced_run_ids::uuid[])
        AND (entry.run_id, entry.initiated_id) NOT IN (SELECT * FROM UNNEST(
          :request_cancel_info_maps_run_id::uuid[],
          :request_cancel_info_maps_initiated_id::bigint[]
        ))
    )
    AND (SELECT holds FROM guard)
),
written_request_cancels AS (
  INSERT INTO request_cancel_info_maps (shard_id, namespace_id, workflow_id, run_id, initiated_id,
    data, data_encoding)
  SELECT :shard_id, :namespace_id, :workflow_id, entry.run_id, entry.initiated_id, entry.data,
    entry.data_encoding
  FROM UNNEST(
    :request_cancel_info_maps_run_id::uuid[],
    :request_cancel_info_maps_initiated_id::bigint[],
    :request_cancel_info_maps_data::bytea[],
    :request_cancel_info_maps_data_encoding::text[]
  ) AS entry (run_id, initiated_id, data, data_encoding)
  WHERE (SELECT holds FROM guard)
  ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, initiated_id) DO UPDATE
  SET data = excluded.data, data_encoding = excluded.data_encoding
),
removed_signals AS (
  DELETE FROM signal_info_maps AS entry
  WHERE entry.shard_id = :shard_id AND entry.namespace_id = :namespace_id
    AND entry.workflow_id = :workflow_id
    AND entry.run_id >= (:removing_run_ids::uuid[])[1]
    AND entry.run_id <= (:removing_run_ids::uuid[])[cardinality(:removing_run_ids::uuid[])]
    AND entry.run_id = ANY(:removing_run_ids::uuid[])
    AND (
      (entry.run_id, entry.initiated_id) IN (SELECT * FROM UNNEST(
        :signal_info_maps_removed_run_id::uuid[],
        :signal_info_maps_removed_initiated_id::bigint[]
      ))
      OR entry.run_id = ANY(:replaced_run_ids::uuid[])
        AND (entry.run_id, entry.initiated_id) NOT IN (SELECT * FROM UNNEST(
          :signal_info_maps_run_id::uuid[],
          :signal_info_maps_initiated_id::bigint[]
        ))
    )
    AND (SELECT holds FROM guard)
),
written_signals AS (
  INSERT INTO signal_info_maps (shard_id, namespace_id, workflow_id, run_id, initiated_id, data,
    data_encoding)
  SELECT :shard_id, :namespace_id, :workflow_id, entry.run_id, entry.initiated_id, entry.data,
    entry.data_encoding
  FROM UNNEST(
    :signal_info_maps_run_id::uuid[],
    :signal_info_maps_initiated_id::bigint[],
    :signal_info_maps_data::bytea[],
    :signal_info_maps_data_encoding::text[]
  ) AS entry (run_id, initiated_id, data, data_encoding)
  WHERE (SELECT holds FROM guard)
  ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, initiated_id) DO UPDATE
  SET data = excluded.data, data_encoding = excluded.data_encoding
),
removed_signals_requested AS (
  DELETE FROM signals_requested_sets AS entry
  WHERE entry.shard_id = :shard_id AND entry.namespace_id = :namespace_id
    AND entry.workflow_id = :workflow_id
    AND entry.run_id >= (:removing_run_ids::uuid[])[1]
    AND entry.run_id <= (:removing_run_ids::uuid[])[cardinality(:removing_run_ids::uuid[])]
    AND entry.run_id = ANY(:removing_run_ids::uuid[])
    AND (
      (entry.run_id, entry.signal_id) IN (SELECT * FROM UNNEST(
        :signals_requested_sets_removed_run_id::uuid[],
        :signals_requested_sets_removed_signal_id::text[]
      ))
      OR entry.run_id = ANY(:replaced_run_ids::uuid[])
        AND (entry.run_id, entry.signal_id) NOT IN (SELECT * FROM UNNEST(
          :signals_requested_sets_run_id::uuid[],
          :signals_requested_sets_signal_id::text[]
        ))
    )
    AND (SELECT holds FROM guard)
),
written_signals_requested AS (
  INSERT INTO signals_requested_sets (shard_id, namespace_id, workflow_id, run_id, signal_id)
  SELECT :shard_id, :namespace_id, :workflow_id, entry.run_id, entry.signal_id
  FROM UNNEST(
    :signals_requested_sets_run_id::uuid[],
    :signals_requested_sets_signal_id::text[]
  ) AS entry (run_id, signal_id)
  WHERE (SELECT holds FROM guard)
  ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, signal_id) DO NOTHING
),
removed_chasm_nodes AS (
  DELETE FROM chasm_node_maps AS entry
  WHERE entry.shard_id = :shard_id AND entry.namespace_id = :namespace_id
    AND entry.workflow_id = :workflow_id
    AND entry.run_id >= (:removing_run_ids::uuid[])[1]
    AND entry.run_id <= (:removing_run_ids::uuid[])[cardinality(:removing_run_ids::uuid[])]
    AND entry.run_id = ANY(:removing_run_ids::uuid[])
    AND (
      (entry.run_id, entry.chasm_path) IN (SELECT * FROM UNNEST(
        :chasm_node_maps_removed_run_id::uuid[],
        :chasm_node_maps_removed_chasm_path::text[]
      ))
      OR entry.run_id = ANY(:replaced_run_ids::uuid[])
        AND (entry.run_id, entry.chasm_path) NOT IN (SELECT * FROM UNNEST(
          :chasm_node_maps_run_id::uuid[],
          :chasm_node_maps_chasm_path::text[]
        ))
    )
    AND (SELECT holds FROM guard)
),
written_chasm_nodes AS (
  INSERT INTO chasm_node_maps (shard_id, namespace_id, workflow_id, run_id, chasm_path, metadata,
    metadata_encoding, data, data_encoding)
  SELECT :shard_id, :namespace_id, :workflow_id, entry.run_id, entry.chasm_path, entry.metadata,
    entry.metadata_encoding, entry.data, entry.data_encoding
  FROM UNNEST(
    :chasm_node_maps_run_id::uuid[],
    :chasm_node_maps_chasm_path::text[],
    :chasm_node_maps_metadata::bytea[],
    :chasm_node_maps_metadata_encoding::text[],
    :chasm_node_maps_data::bytea[],
    :chasm_node_maps_data_encoding::text[]
  ) AS entry (run_id, chasm_path, metadata, metadata_encoding, data, data_encoding)
  WHERE (SELECT holds FROM guard)
  ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, chasm_path) DO UPDATE
  SET metadata = excluded.metadata, metadata_encoding = excluded.metadata_encoding,
    data = excluded.data, data_encoding = excluded.data_encoding
),
cleared_events AS (
  DELETE FROM buffered_events
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id >= (:cleared_run_ids::uuid[])[1]
    AND run_id <= (:cleared_run_ids::uuid[])[cardinality(:cleared_run_ids::uuid[])]
    AND run_id = ANY(:cleared_run_ids::uuid[])
    AND (SELECT holds FROM guard)
),
-- As InsertIntoBufferedEvents; the positions of an emptied buffer start again.
appended_events AS (
  INSERT INTO buffered_events (shard_id, namespace_id, workflow_id, run_id, id, data, data_encoding)
  SELECT :shard_id, :namespace_id, :workflow_id, event.run_id,
    (
      SELECT coalesce(max(buffered.id), 0) / 281474976710656
      FROM buffered_events AS buffered
      WHERE buffered.shard_id = :shard_id AND buffered.namespace_id = :namespace_id
        AND buffered.workflow_id = :workflow_id AND buffered.run_id = event.run_id
        AND buffered.run_id <> ALL(:cleared_run_ids::uuid[])
    ) * 281474976710656 + event.relative_id,
    event.data, event.data_encoding
  FROM UNNEST(
    :buffered_events_run_id::uuid[],
    :buffered_events_relative_id::bigint[],
    :buffered_events_data::bytea[],
    :buffered_events_data_encoding::text[]
  ) AS event (run_id, relative_id, data, data_encoding)
  WHERE (SELECT holds FROM guard)
),
added_transfer_tasks AS (
  INSERT INTO transfer_tasks (shard_id, task_id, data, data_encoding)
  SELECT :shard_id, task.task_id, task.data, task.data_encoding
  FROM UNNEST(
    :transfer_tasks_task_id::bigint[],
    :transfer_tasks_data::bytea[],
    :transfer_tasks_data_encoding::text[]
  ) AS task (task_id, data, data_encoding)
  WHERE (SELECT holds FROM guard)
  RETURNING 1
),
added_visibility_tasks AS (
  INSERT INTO visibility_tasks (shard_id, task_id, data, data_encoding)
  SELECT :shard_id, task.task_id, task.data, task.data_encoding
  FROM UNNEST(
    :visibility_tasks_task_id::bigint[],
    :visibility_tasks_data::bytea[],
    :visibility_tasks_data_encoding::text[]
  ) AS task (task_id, data, data_encoding)
  WHERE (SELECT holds FROM guard)
  RETURNING 1
),
added_replication_tasks AS (
  INSERT INTO replication_tasks (shard_id, task_id, data, data_encoding)
  SELECT :shard_id, task.task_id, task.data, task.data_encoding
  FROM UNNEST(
    :replication_tasks_task_id::bigint[],
    :replication_tasks_data::bytea[],
    :replication_tasks_data_encoding::text[]
  ) AS task (task_id, data, data_encoding)
  WHERE (SELECT holds FROM guard)
  RETURNING 1
),
added_replication_tasks_dlq AS (
  INSERT INTO replication_tasks_dlq (shard_id, source_cluster_name, task_id, data, data_encoding)
  SELECT :shard_id, task.source_cluster_name, task.task_id, task.data, task.data_encoding
  FROM UNNEST(
    :replication_tasks_dlq_source_cluster_name::text[],
    :replication_tasks_dlq_task_id::bigint[],
    :replication_tasks_dlq_data::bytea[],
    :replication_tasks_dlq_data_encoding::text[]
  ) AS task (source_cluster_name, task_id, data, data_encoding)
  WHERE (SELECT holds FROM guard)
  RETURNING 1
),
added_history_immediate_tasks AS (
  INSERT INTO history_immediate_tasks (shard_id, category_id, task_id, data, data_encoding)
  SELECT :shard_id, task.category_id, task.task_id, task.data, task.data_encoding
  FROM UNNEST(
    :history_immediate_tasks_category_id::integer[],
    :history_immediate_tasks_task_id::bigint[],
    :history_immediate_tasks_data::bytea[],
    :history_immediate_tasks_data_encoding::text[]
  ) AS task (category_id, task_id, data, data_encoding)
  WHERE (SELECT holds FROM guard)
  RETURNING 1
),
added_timer_tasks AS (
  INSERT INTO timer_tasks (shard_id, visibility_timestamp, task_id, data, data_encoding)
  SELECT :shard_id, task.visibility_timestamp, task.task_id, task.data, task.data_encoding
  FROM UNNEST(
    :timer_tasks_visibility_timestamp::timestamp[],
    :timer_tasks_task_id::bigint[],
    :timer_tasks_data::bytea[],
    :timer_tasks_data_encoding::text[]
  ) AS task (visibility_timestamp, task_id, data, data_encoding)
  WHERE (SELECT holds FROM guard)
  RETURNING 1
),
added_history_scheduled_tasks AS (
  INSERT INTO history_scheduled_tasks (shard_id, category_id, visibility_timestamp, task_id,
    data, data_encoding)
  SELECT :shard_id, task.category_id, task.visibility_timestamp, task.task_id,
    task.data, task.data_encoding
  FROM UNNEST(
    :history_scheduled_tasks_category_id::integer[],
    :history_scheduled_tasks_visibility_timestamp::timestamp[],
    :history_scheduled_tasks_task_id::bigint[],
    :history_scheduled_tasks_data::bytea[],
    :history_scheduled_tasks_data_encoding::text[]
  ) AS task (category_id, visibility_timestamp, task_id, data, data_encoding)
  WHERE (SELECT holds FROM guard)
  RETURNING 1
),
written_nodes AS (
  INSERT INTO history_node (shard_id, tree_id, branch_id, node_id, txn_id, prev_txn_id, data,
    data_encoding)
  SELECT :shard_id, node.tree_id, node.branch_id, node.node_id, node.txn_id, node.prev_txn_id,
    node.data, node.data_encoding
  FROM UNNEST(
    :history_node_tree_id::uuid[],
    :history_node_branch_id::uuid[],
    :history_node_node_id::bigint[],
    :history_node_txn_id::bigint[],
    :history_node_prev_txn_id::bigint[],
    :history_node_data::bytea[],
    :history_node_data_encoding::text[]
  ) AS node (tree_id, branch_id, node_id, txn_id, prev_txn_id, data, data_encoding)
  WHERE (SELECT holds FROM guard)
  ON CONFLICT (shard_id, tree_id, branch_id, node_id, txn_id) DO UPDATE
  SET prev_txn_id = excluded.prev_txn_id, data = excluded.data,
    data_encoding = excluded.data_encoding
),
written_branches AS (
  INSERT INTO history_tree (shard_id, tree_id, branch_id, data, data_encoding)
  SELECT :shard_id, branch.tree_id, branch.branch_id, branch.data, branch.data_encoding
  FROM UNNEST(
    :history_tree_tree_id::uuid[],
    :history_tree_branch_id::uuid[],
    :history_tree_data::bytea[],
    :history_tree_data_encoding::text[]
  ) AS branch (tree_id, branch_id, data, data_encoding)
  WHERE (SELECT holds FROM guard)
  ON CONFLICT (shard_id, tree_id, branch_id) DO UPDATE
  SET data = excluded.data, data_encoding = excluded.data_encoding
)
SELECT guard.holds, shard.range_id,
  current.shard_id, current.namespace_id, current.workflow_id, current.run_id,
  current.create_request_id, current.state, current.status, current.start_time,
  current.last_write_version, current.data, current.data_encoding,
  current_run.db_record_version AS current_db_record_version,
  current_run.next_event_id AS current_next_event_id,
  current_run.last_write_version AS current_run_last_write_version,
  run.run_id AS observed_run_id, run.db_record_version, run.next_event_id,
  run.last_write_version AS run_last_write_version,
  (SELECT count(*) FROM written_run) AS runs_written,
  (SELECT count(*) FROM inserted_workflow) + (SELECT count(*) FROM updated_workflow)
    + (SELECT count(*) FROM inserted_chasm) + (SELECT count(*) FROM updated_chasm)
    AS current_written,
  (SELECT count(*) FROM added_transfer_tasks)
    + (SELECT count(*) FROM added_visibility_tasks)
    + (SELECT count(*) FROM added_replication_tasks)
    + (SELECT count(*) FROM added_replication_tasks_dlq)
    + (SELECT count(*) FROM added_history_immediate_tasks)
    + (SELECT count(*) FROM added_timer_tasks)
    + (SELECT count(*) FROM added_history_scheduled_tasks)
    AS tasks_written
FROM guard
LEFT JOIN shard ON true
LEFT JOIN current ON true
LEFT JOIN current_run ON true
LEFT JOIN run ON true;

//! Pieces of SQL that several statements share, as macros over `concat!`: text stays constant.
//!
//! This file is laid out by hand: `rustfmt` would put every piece of a text on a line of its own.

/// The rows of the run that `$1` to `$4` name.
macro_rules! of_run {
    () => {
        "shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4"
    };
}

/// The key columns of a run.
macro_rules! run_columns {
    () => {
        "shard_id, namespace_id, workflow_id, run_id"
    };
}

/// Inserts or overwrites entries whose value is one blob; `$keys`, `$data` and `$encodings` are
/// the arguments. Of a conflicting row only the value columns are set: setting a key column would
/// make the statement conflict with more (facts §1.3).
macro_rules! replace_blobs {
    (
        $table:literal, $key:literal, $type:literal,
        [$keys:literal, $data:literal, $encodings:literal]
    ) => {
        concat!(
            "INSERT INTO ", $table, " (", run_columns!(), ", ", $key, ", data, data_encoding) \
             SELECT $1, $2, $3, $4, entry.key, entry.data, entry.data_encoding FROM UNNEST(", $keys,
            "::", $type, "[], ", $data, "::bytea[], ", $encodings, "::text[]) \
             AS entry (key, data, data_encoding) \
             ON CONFLICT (", run_columns!(), ", ", $key, ") DO UPDATE SET data = excluded.data, \
             data_encoding = excluded.data_encoding"
        )
    };
}

/// Inserts the members of a set that are not in it.
macro_rules! replace_members {
    ($table:literal, $key:literal, $type:literal, [$keys:literal]) => {
        concat!(
            "INSERT INTO ", $table, " (", run_columns!(), ", ", $key, ") \
             SELECT $1, $2, $3, $4, entry.key FROM UNNEST(", $keys, "::", $type, "[]) \
             AS entry (key) ON CONFLICT (", run_columns!(), ", ", $key, ") DO NOTHING"
        )
    };
}

/// Inserts or overwrites the nodes of a component tree.
macro_rules! replace_nodes {
    (
        $table:literal, $key:literal, $type:literal,
        [
            $keys:literal, $metadata:literal, $metadata_encodings:literal, $data:literal,
            $encodings:literal
        ]
    ) => {
        concat!(
            "INSERT INTO ", $table, " (", run_columns!(), ", ", $key, ", metadata, \
             metadata_encoding, data, data_encoding) \
             SELECT $1, $2, $3, $4, entry.key, entry.metadata, entry.metadata_encoding, \
             entry.data, entry.data_encoding FROM UNNEST(", $keys, "::", $type, "[], ", $metadata,
            "::bytea[], ", $metadata_encodings, "::text[], ", $data, "::bytea[], ", $encodings,
            "::text[]) \
             AS entry (key, metadata, metadata_encoding, data, data_encoding) \
             ON CONFLICT (", run_columns!(), ", ", $key, ") DO UPDATE \
             SET metadata = excluded.metadata, metadata_encoding = excluded.metadata_encoding, \
             data = excluded.data, data_encoding = excluded.data_encoding"
        )
    };
}

/// Deletes the entries of a run for which the condition holds; all of them without one.
macro_rules! delete_entries {
    ($table:literal $(, $condition:expr)?) => {
        concat!("DELETE FROM ", $table, " WHERE ", of_run!() $(, " AND ", $condition)?)
    };
}

/// Among the first rows of a table for which the condition holds, by one key column: for deletes of
/// a limited number of rows. The last of these rows is looked up once, and bounds a scan of the key.
/// `IN` over the rows themselves can become a join that looks them up for every row: where a server
/// has no statistics, a thousand of ten thousand tasks took PostgreSQL 4.5 s that way, and take
/// it 1 ms this way.
macro_rules! among_first {
    ($limit:literal of $table:literal by $key:literal where $condition:expr) => {
        concat!(
            $key, " <= (SELECT max(", $key, ") FROM (SELECT ", $key, " FROM ", $table, " WHERE ",
            $condition, " ORDER BY ", $key, " LIMIT ", $limit, ") AS first)"
        )
    };
    ($limit:literal of $table:literal by $major:literal, $minor:literal where $condition:expr) => {
        among_first!(@pair $major, $minor, concat!(
            "(SELECT ", $major, ", ", $minor, " FROM ", $table, " WHERE ", $condition,
            " ORDER BY ", $major, ", ", $minor, " LIMIT ", $limit, ") AS first"
        ))
    };
    // A comparison of rows is a filter (facts §3.3), so the first column bounds the scan.
    (@pair $major:literal, $minor:literal, $first:expr) => {
        concat!(
            $major, " <= (SELECT max(", $major, ") FROM ", $first, ") AND (", $major, ", ", $minor,
            ") <= (SELECT ", $major, ", ", $minor, " FROM ", $first, " ORDER BY ", $major,
            " DESC, ", $minor, " DESC LIMIT 1)"
        )
    };
}

/// Appends events after the id that `$last` selects from the run's buffer; `$places`, `$data` and
/// `$encodings` are the arguments. 281474976710656 is 2⁴⁸.
macro_rules! append_events {
    ($last:literal, [$places:literal, $data:literal, $encodings:literal]) => {
        concat!(
            "INSERT INTO buffered_events (", run_columns!(), ", id, data, data_encoding) \
             SELECT $1, $2, $3, $4, (SELECT ", $last, " / 281474976710656 FROM buffered_events \
             WHERE ", of_run!(), ") * 281474976710656 + event.place, event.data, \
             event.data_encoding FROM UNNEST(", $places, "::bigint[], ", $data, "::bytea[], ",
            $encodings, "::text[]) AS event (place, data, data_encoding)"
        )
    };
}

/// Inserts tasks of a queue that is a whole table.
macro_rules! insert_tasks {
    ($table:literal, [$ids:literal, $data:literal, $encodings:literal]) => {
        concat!(
            "INSERT INTO ", $table, " (shard_id, task_id, data, data_encoding) \
             SELECT $1, task.task_id, task.data, task.data_encoding FROM UNNEST(", $ids,
            "::bigint[], ", $data, "::bytea[], ", $encodings, "::text[]) \
             AS task (task_id, data, data_encoding)"
        )
    };
}

/// Inserts tasks of queues that share a table; `$queue` is the column that tells them apart.
macro_rules! insert_queued_tasks {
    (
        $table:literal, $queue:literal: $type:literal,
        [$queues:literal, $ids:literal, $data:literal, $encodings:literal]
    ) => {
        concat!(
            "INSERT INTO ", $table, " (shard_id, ", $queue, ", task_id, data, data_encoding) \
             SELECT $1, task.queue, task.task_id, task.data, task.data_encoding FROM UNNEST(",
            $queues, "::", $type, "[], ", $ids, "::bigint[], ", $data, "::bytea[], ", $encodings,
            "::text[]) AS task (queue, task_id, data, data_encoding)"
        )
    };
}

/// Inserts tasks of the one queue in `timer_tasks`.
macro_rules! insert_timer_tasks {
    ([$times:literal, $ids:literal, $data:literal, $encodings:literal]) => {
        concat!(
            "INSERT INTO timer_tasks (shard_id, visibility_timestamp, task_id, data, \
             data_encoding) SELECT $1, task.visibility_timestamp, task.task_id, task.data, \
             task.data_encoding FROM UNNEST(", $times, "::timestamp[], ", $ids, "::bigint[], ",
            $data, "::bytea[], ", $encodings, "::text[]) \
             AS task (visibility_timestamp, task_id, data, data_encoding)"
        )
    };
}

/// Inserts tasks of the queues in `history_scheduled_tasks`.
macro_rules! insert_scheduled_tasks {
    ([$categories:literal, $times:literal, $ids:literal, $data:literal, $encodings:literal]) => {
        concat!(
            "INSERT INTO history_scheduled_tasks (shard_id, category_id, visibility_timestamp, \
             task_id, data, data_encoding) SELECT $1, task.category_id, \
             task.visibility_timestamp, task.task_id, task.data, task.data_encoding FROM UNNEST(",
            $categories, "::integer[], ", $times, "::timestamp[], ", $ids, "::bigint[], ", $data,
            "::bytea[], ", $encodings, "::text[]) \
             AS task (category_id, visibility_timestamp, task_id, data, data_encoding)"
        )
    };
}

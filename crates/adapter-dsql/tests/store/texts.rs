//! Every statement of `sql/*.sql` on a server: the server prepares it, and its plan finds rows by
//! an index that is for it.

#[path = "../../src/text.rs"]
#[allow(dead_code, unreachable_pub, reason = "the store uses the rest of it")]
mod text;

use std::path::Path;

use sqlx::{ConnectOptions, Executor, SqlSafeStr, Statement as _, postgres::PgConnectOptions};
use temporal_dsql_domain::SchemaVersion;
use temporal_dsql_migrate::{CREATE_VERSION_TABLES, Engine, Schema};
use temporal_dsql_testkit::ScratchDatabase;
use text::Text;

/// The texts of all files.
fn texts() -> Vec<&'static Text> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let mut texts = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let content = std::fs::read_to_string(file.unwrap().path()).unwrap().leak();
        for name in Text::new(content, "").names_in_file() {
            texts.push(&*Box::leak(Box::new(Text::new(content, name))));
        }
    }
    assert!(texts.len() > 80, "{} texts", texts.len());
    texts
}

async fn prepare_all(url: &str) {
    let options: PgConnectOptions = url.parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    for text in texts() {
        let prepared = connection.prepare(text.sql().into_sql_str()).await;
        let prepared = prepared.unwrap_or_else(|error| panic!("{}: {error}", text.name()));
        let count = prepared.parameters().map_or(0, |of| of.either(|types| types.len(), |n| n));
        assert_eq!(count, text.parameters().len(), "{}", text.name());
    }
}

#[tokio::test]
async fn every_text_is_prepared_by_postgresql() {
    let Some(database) = ScratchDatabase::create().await else { return };
    crate::support::set_up(&database).await;
    prepare_all(&database.url()).await;
}

#[tokio::test]
async fn every_text_is_prepared_by_the_emulator() {
    let Some(cluster) = crate::support::cluster::cluster(|builder| builder).await else { return };
    prepare_all(&cluster.url()).await;
}

/// Fills every table with 10,000 rows: 100 groups of 100 rows, where a table has many rows of one run, branch or
/// queue, and a group for each row, where it has one.
const FILL: &str = "\
DO $$
DECLARE
  target RECORD;
  list TEXT;
BEGIN
  FOR target IN
    SELECT relname, CASE
      WHEN relname IN ('shards', 'executions', 'current_executions', 'current_chasm_executions',
        'history_tree', 'namespaces', 'cluster_metadata_info', 'cluster_membership',
        'nexus_endpoints', 'nexus_endpoints_partition_status', 'task_queues', 'task_queues_v2',
        'queue_metadata')
        THEN 1 ELSE 100 END AS size
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname IN
      ('shards', 'executions', 'current_executions', 'current_chasm_executions', 'buffered_events',
      'activity_info_maps', 'timer_info_maps', 'child_execution_info_maps',
      'request_cancel_info_maps', 'signal_info_maps', 'signals_requested_sets', 'chasm_node_maps',
      'history_tree', 'history_node', 'transfer_tasks', 'visibility_tasks', 'replication_tasks',
      'replication_tasks_dlq', 'history_immediate_tasks', 'timer_tasks',
      'history_scheduled_tasks', 'namespaces', 'cluster_metadata_info', 'cluster_membership',
      'nexus_endpoints', 'nexus_endpoints_partition_status', 'task_queues', 'task_queues_v2',
      'tasks', 'tasks_v2', 'task_queue_user_data', 'build_id_to_task_queue', 'queue',
      'queue_metadata', 'queues', 'queue_messages')
  LOOP
    SELECT string_agg(CASE
        WHEN attname = 'shard_id' AND target.relname = 'shards' THEN 'row'
        WHEN attname = 'shard_id' THEN 'part % 50'
        WHEN attname = 'namespace_id' THEN 'md5(''namespace'')::uuid'
        WHEN attname IN ('workflow_id', 'business_id') THEN '''id-'' || part / 2'
        WHEN attname = 'source_cluster_name' THEN '''cluster'''
        WHEN attname = 'visibility_timestamp' THEN 'to_timestamp(row) AT TIME ZONE ''UTC'''
        WHEN attname = 'archetype_id' THEN '1'
        WHEN attname = 'range_hash' THEN 'part'
        WHEN attname = 'queue_type' AND target.relname = 'queue_metadata' THEN 'row'
        WHEN attname = 'partition_id' THEN '54321'
        WHEN attname = 'id' AND atttypid = 'integer'::regtype THEN 'row'
        WHEN attname IN ('metadata_partition', 'membership_partition') THEN '0'
        WHEN atttypid = 'smallint'::regtype THEN '1'
        WHEN atttypid = 'boolean'::regtype THEN 'false'
        WHEN atttypid = 'uuid'::regtype THEN format('md5(%L || part)::uuid', attname)
        WHEN atttypid = 'bigint'::regtype THEN 'row'
        WHEN atttypid = 'integer'::regtype THEN '1'
        WHEN atttypid = 'bytea'::regtype THEN '''x''::bytea'
        WHEN atttypid = 'timestamp'::regtype THEN 'now()::timestamp'
        WHEN attname LIKE '%encoding' THEN '''Proto3'''
        ELSE '''key-'' || row'
      END, ', ' ORDER BY attnum) INTO list
    FROM pg_attribute
    WHERE attrelid = target.relname::regclass AND attnum > 0 AND NOT attisdropped;
    EXECUTE format('ALTER TABLE %I SET (autovacuum_enabled = false)', target.relname);
    EXECUTE format('INSERT INTO %I SELECT %s FROM (SELECT n AS row, n / %s AS part
      FROM generate_series(0, 9999) AS n) AS numbers', target.relname, list, target.size);
  END LOOP;
END $$";

/// A value of the type for the parameter, of which there are few rows.
fn literal(name: &str, of_type: &str) -> String {
    if let Some(element) = of_type.strip_suffix("[]") {
        let column = ["run_id", "tree_id", "branch_id"].into_iter().find(|id| name.ends_with(id));
        let value = literal(column.unwrap_or("run_id"), element);
        return format!("ARRAY[{value}, {value}, {value}]");
    }
    let value = match (name, of_type) {
        ("limit", _) => "10".into(),
        ("namespace_id", _) => "md5('namespace')".into(),
        (_, "uuid") => format!("md5('{name}' || 7)"),
        (_, "integer" | "smallint") => "7".into(),
        (_, "bigint") if name.starts_with("min_") => "700".into(),
        (_, "bigint") if name.starts_with("end_") => "760".into(),
        (_, "bigint") => "740".into(),
        (_, "bytea") => "'x'".into(),
        (_, "boolean") => "true".into(),
        (_, of) if of.starts_with("timestamp") => {
            let second = if name.starts_with("end_") { 760 } else { 700 };
            format!("to_timestamp({second}) AT TIME ZONE 'UTC'")
        }
        _ => "'id-3'".to_owned(),
    };
    format!("({value})::{of_type}")
}

/// The plan of each text, in one exchange: a connection for each would take most of the time.
async fn plans(database: &ScratchDatabase, mode: &str) -> Vec<(&'static Text, String)> {
    const MARK: &str = "-- next";
    let texts = texts();
    let prepare: String = (0..)
        .zip(&texts)
        .map(|(number, text)| format!("PREPARE text_{number} AS {};\n", text.sql()))
        .collect();
    let types = "SELECT name, unnest(parameter_types)::regtype::text FROM pg_prepared_statements";
    let types = database.query(&format!("{prepare}{types}")).await.unwrap();
    let explain = (0..).zip(&texts).map(|(number, text)| {
        let name = format!("text_{number}");
        let of_text = types.iter().filter(|row| row[0].as_deref() == Some(&name));
        let values: Vec<_> = text
            .parameters()
            .iter()
            .zip(of_text)
            .map(|(name, row)| literal(name, row[1].as_deref().unwrap()))
            .collect();
        assert_eq!(values.len(), text.parameters().len(), "{}", text.name());
        let values = format!("({})", values.join(", "));
        let values = if values == "()" { "" } else { &values };
        format!("SELECT '{MARK}'; EXPLAIN (COSTS OFF) EXECUTE {name}{values};\n")
    });
    let explain: String = explain.collect();
    let explain = format!("SET plan_cache_mode = {mode}; {prepare}{explain}");
    let lines = database.query(&explain).await.unwrap();
    let lines: Vec<_> = lines.iter().map(|line| line[0].as_deref().unwrap()).collect();
    let plans = lines.split(|line| *line == MARK).skip(1).map(|lines| lines.join("\n"));
    let plans: Vec<_> = plans.collect();
    assert_eq!(plans.len(), texts.len());
    texts.into_iter().zip(plans).collect()
}

/// With and without statistics, with custom and generic plans: the statistics of DSQL's planner are
/// not known.
#[tokio::test]
async fn every_text_finds_rows_by_an_index() {
    let Some(database) = ScratchDatabase::create().await else { return };
    crate::support::set_up(&database).await;
    database.execute(FILL).await.unwrap();
    for statistics in ["none", "all"] {
        for mode in ["force_custom_plan", "force_generic_plan"] {
            for (text, plan) in plans(&database, mode).await {
                // Their tables have a single row.
                if ["SchemaVersion", "NamespaceMetadata"].iter().any(|of| text.name().ends_with(of))
                {
                    continue;
                }
                check(text, &plan, &format!("statistics: {statistics}, {mode}"));
            }
        }
        database.execute("ANALYZE").await.unwrap();
    }
}

fn check(text: &'static Text, plan: &str, with: &str) {
    let at = format!("{}, {with}:\n{plan}", text.name());
    assert!(!plan.contains("Seq Scan"), "{at}");
    let indexes = plan.lines().filter_map(|line| {
        line.split(" using ").nth(1).or(line.split("Bitmap Index Scan on ").nth(1))
    });
    let indexes: Vec<_> = indexes.filter_map(|rest| rest.split(' ').next()).collect();
    // An INSERT may take its rows from arrays.
    let mut sources = text.sql().split(" FROM ").skip(1);
    let reads = !text.sql().starts_with("INSERT") || sources.any(|of| !of.starts_with("UNNEST("));
    assert_eq!(reads, !indexes.is_empty(), "{at}");
    // The indexes of cluster_membership are for its filters.
    let is_for_it = |index: &&str| {
        index.ends_with("_pkey") || *index == "idx_namespaces_name" || index.starts_with("cm_idx_")
    };
    assert!(indexes.iter().all(is_for_it), "{at}");
    // The run is of the key of these tables, so that the other runs of the id are not read.
    let of_runs = ["executions", "maps", "sets", "buffered_events"];
    for (line, next) in plan.lines().zip(plan.lines().skip(1)) {
        let scans = of_runs.iter().any(|table| line.contains(&format!("{table}_pkey")));
        if scans && line.contains("Scan") && !line.contains("current_") {
            let bounds = next.split_once("Index Cond: ").map(|(_, condition)| condition);
            assert!(bounds.is_some_and(|condition| condition.contains("run_id ")), "{at}");
        }
    }
    // A loop over the arrays for each row would take the product of both.
    let by_keys = text.sql().contains("(entry.run_id, ");
    assert_eq!(by_keys, plan.contains("hashed SubPlan"), "{at}");
}

/// The schema of the newest release, and every text, in the form of the emulator's probes.
fn probes() -> serde_json::Value {
    let schema = Schema::embedded().unwrap();
    let statements = schema.statements_between(SchemaVersion::NONE, schema.newest());
    let own = CREATE_VERSION_TABLES.map(str::to_owned).into_iter();
    let setup: Vec<_> = own.chain(statements.iter().map(|s| s.text(Engine::Dsql))).collect();
    let mut texts = texts();
    texts.sort_by_key(|text| (text.name(), text.sql()));
    let case = |text: &'static Text| {
        serde_json::json!({
            "name": text.name(), "group": "store", "steps": [text.sql()], "prepared": true,
        })
    };
    let cases: Vec<_> = texts.into_iter().map(case).collect();
    serde_json::json!({ "setup": setup, "cases": cases })
}

/// `dsql-emulator probes` sends the texts to a cluster. `UPDATE_PROBES=1` writes the file, without
/// answers, which a test of the emulator adds.
#[test]
fn every_text_is_among_the_probes() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../dsql-emulator/probes/store.json");
    let expected = probes();
    if std::env::var("UPDATE_PROBES").is_ok_and(|update| update == "1") {
        std::fs::write(file, serde_json::to_string(&expected).unwrap()).unwrap();
    }
    let mut found: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    for case in found["cases"].as_array_mut().unwrap() {
        case.as_object_mut().unwrap().remove("observations");
    }
    assert!(
        found == expected,
        "the texts or the schema differ from {file}; run with UPDATE_PROBES=1"
    );
}

//! What stops an import before anything is written, and what a report says of rows that differ.

use std::time::Duration;

use temporal_dsql_migrate::{
    Advice,
    import::{ImportError, Problem, ProblemKind},
};
use temporal_dsql_testkit::ScratchDatabase;

use crate::{compare, first_rows, import, problems, settings, source, target, verify};

/// Asserts that a source after `change` is refused with one problem.
async fn assert_refused(change: &str, kind: ProblemKind, text: &str) {
    let Some(source) = source().await else { return };
    source.execute(change).await.unwrap();
    let target = target().await;
    let found = problems(&source.url(), &target.url(), settings()).await;
    let expected = |problem: &Problem| problem.kind == kind && problem.message.contains(text);
    assert!(found.len() == 1 && found.iter().all(expected), "{change}: {found:#?}");
    let rows = target.query("SELECT 1 FROM shards UNION ALL SELECT 1 FROM history_node").await;
    assert_eq!(rows.unwrap().len(), 0, "{change}");
}

#[tokio::test]
async fn other_versions_of_the_source_are_refused() {
    for (version, text) in [("1.17", "it is older"), ("1.20", "it is newer")] {
        let change = format!("UPDATE schema_version SET curr_version = '{version}'");
        assert_refused(&change, ProblemKind::SourceVersion, text).await;
    }
    assert_refused("DELETE FROM schema_version", ProblemKind::SourceVersion, "no row in").await;
}

#[tokio::test]
async fn a_column_that_the_mapping_does_not_have_is_refused() {
    for (change, text) in [
        ("ALTER TABLE tasks ADD COLUMN pass bigint", "the source has tasks.pass"),
        ("ALTER TABLE shards ALTER COLUMN data TYPE text USING 'x'", "shards.data is text"),
        ("DROP TABLE queue_messages", "no table queue_messages"),
    ] {
        assert_refused(change, ProblemKind::Mapping, text).await;
    }
}

#[tokio::test]
async fn tables_of_others_are_left_and_noted() {
    let Some(source) = source().await else { return };
    source.execute("CREATE TABLE backup (id int); INSERT INTO backup VALUES (1)").await.unwrap();
    let target = target().await;
    let report = import(&source.url(), &target.url(), settings()).await.unwrap();
    assert!(report.is_exact(), "{report}");
    let note = "backup is not copied: it is no table of Temporal's main store";
    assert!(report.notes.iter().any(|found| found == note), "{report}");
}

#[tokio::test]
async fn a_standby_server_is_refused_unless_it_is_a_rehearsal() {
    // In place of a second server.
    let standby = "ALTER FUNCTION pg_catalog.pg_is_in_recovery() RENAME TO is_in_recovery; \
                   CREATE FUNCTION pg_catalog.pg_is_in_recovery() RETURNS boolean LANGUAGE sql \
                   AS 'SELECT true'";
    assert_refused(standby, ProblemKind::Source, "the source is a standby server").await;
    let Some(source) = source().await else { return };
    source.execute(standby).await.unwrap();
    let mut settings = settings();
    settings.rehearse = true;
    let target = target().await;
    let report = import(&source.url(), &target.url(), settings).await.unwrap();
    assert!(report.is_exact(), "{report}");
    let report = verify(&source.url(), &target.url()).await.unwrap();
    assert!(report.is_exact(), "{report}");
    assert!(report.notes.iter().any(|note| note.contains("standby")), "{report}");
}

#[tokio::test]
async fn a_server_that_is_alive_is_refused_unless_it_is_a_rehearsal() {
    let Some(source) = source().await else { return };
    let beat = "UPDATE cluster_membership SET last_heartbeat = now() AT TIME ZONE 'UTC' \
                WHERE role = 2";
    source.execute(beat).await.unwrap();
    let target = target().await;
    let found = problems(&source.url(), &target.url(), settings()).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].kind, ProblemKind::Servers);
    assert!(found[0].message.contains("history at 127.0.0.1:6934, heartbeat "), "{}", found[0]);
    let mut rehearsal = settings();
    rehearsal.rehearse = true;
    let report = import(&source.url(), &target.url(), rehearsal).await.unwrap();
    assert!(report.is_exact(), "{report}");
    assert!(report.notes.iter().any(|note| note.contains("history at 127.0.0.1")), "{report}");
}

#[tokio::test]
async fn a_target_that_is_not_set_up_or_differs_is_refused() {
    let Some(source) = source().await else { return };
    let empty = ScratchDatabase::create().await.unwrap();
    let found = problems(&source.url(), &empty.url(), settings()).await;
    assert!(found[0].message.contains("run `setup-schema` first"), "{found:?}");
    let other = target().await;
    other.execute("ALTER TABLE queues ALTER COLUMN queue_name TYPE varchar(9)").await.unwrap();
    let found = problems(&source.url(), &other.url(), settings()).await;
    assert_eq!((found.len(), found[0].kind), (1, ProblemKind::Target), "{found:?}");
    assert!(found[0].message.contains("queue_name"), "{found:?}");
}

#[tokio::test]
async fn a_wider_column_of_the_target_takes_the_texts_that_fit_it() {
    let Some(source) = source().await else { return };
    let target = target().await;
    let path = "INSERT INTO chasm_node_maps VALUES (1, 'sixteen-bytes-id', 'w', 'sixteen-bytes-id', \
                convert_to(repeat('x', 300), 'UTF8'), 'x', 'Proto3', 'x', 'Proto3')";
    source.execute(path).await.unwrap();
    let found = problems(&source.url(), &target.url(), settings()).await;
    assert!(found[0].message.contains("chasm_path has 300 characters"), "{found:?}");
    let widen = "ALTER TABLE chasm_node_maps ALTER COLUMN chasm_path TYPE varchar(1536)";
    target.execute(widen).await.unwrap();
    let report = import(&source.url(), &target.url(), settings()).await.unwrap();
    assert!(report.is_exact(), "{report}");
    let note = "the target holds longer texts: column chasm_node_maps.chasm_path: type should be \
                varchar(255) and is varchar(1536)";
    assert!(report.notes.iter().any(|found| found == note), "{report}");
}

#[tokio::test]
async fn a_target_that_a_server_has_used_is_refused_and_never_to_be_emptied() {
    let Some(source) = source().await else { return };
    let target = target().await;
    assert!(import(&source.url(), &target.url(), settings()).await.unwrap().is_exact());
    let used = "INSERT INTO cluster_membership (membership_partition, host_id, rpc_address, \
                rpc_port, role) VALUES (0, gen_random_uuid(), '10.0.0.1', 7233, 1); \
                UPDATE shards SET range_id = 9; UPDATE tasks SET data = 'written by a server'";
    target.execute(used).await.unwrap();
    let found = problems(&source.url(), &target.url(), settings()).await;
    assert_eq!((found.len(), found[0].kind), (1, ProblemKind::TargetUsed), "{found:?}");
    let report = verify(&source.url(), &target.url()).await.unwrap();
    let report = report.to_string();
    assert!(report.contains("What servers have written at the target differs"), "{report}");
    for text in [found[0].to_string(), report] {
        assert!(text.contains("if a deployment runs there, keep it"), "{text}");
        assert!(!text.contains("overwrite"), "{text}");
    }
}

#[tokio::test]
async fn rows_that_a_damaged_index_of_the_source_does_not_find_are_missed() {
    let Some(source) = source().await else { return };
    let target = target().await;
    // The row gets no entry in the index, which the pages are read by.
    let damage = "UPDATE pg_index SET indisready = false WHERE indexrelid = 'timer_tasks_pkey'::regclass; \
                  INSERT INTO timer_tasks VALUES (1, '2026-11-26 00:00:00', 99999, 'x', 'Proto3'); \
                  UPDATE pg_index SET indisready = true WHERE indexrelid = 'timer_tasks_pkey'::regclass";
    source.execute(damage).await.unwrap();
    let name = source.name();
    source.execute(&format!("ALTER DATABASE \"{name}\" SET enable_sort = off")).await.unwrap();
    for report in [
        import(&source.url(), &target.url(), settings()).await.unwrap(),
        verify(&source.url(), &target.url()).await.unwrap(),
    ] {
        assert!(!report.is_exact(), "{report}");
        let [objection] = &report.objections[..] else { panic!("{report}") };
        assert!(objection.starts_with("timer_tasks of the source has 436 rows, and"), "{report}");
        assert!(objection.contains("finds 435"), "{report}");
    }
    source.execute("REINDEX TABLE timer_tasks").await.unwrap();
    let report = import(&source.url(), &target.url(), settings()).await.unwrap();
    assert!(report.is_exact(), "{report}");
}

#[tokio::test]
async fn the_source_of_a_run_that_ended_early_is_recognised_by_its_shards() {
    let Some(source) = source().await else { return };
    let target = target().await;
    let mut settings = settings();
    settings.jobs = 1;
    let progress = settings.progress.clone();
    let stop = async {
        first_rows(&progress).await;
        progress.stop();
    };
    let (from, to) = (source.url(), target.url());
    let (stopped, ()) = tokio::join!(import(&from, &to, settings), stop);
    assert!(matches!(stopped, Err(ImportError::Interrupted { .. })), "{stopped:?}");
    // A server of the source has taken a shard again since.
    source.execute("UPDATE shards SET range_id = 2 WHERE shard_id = 1").await.unwrap();
    let found = problems(&from, &to, crate::settings()).await;
    assert_eq!((found.len(), found[0].kind), (1, ProblemKind::TargetRows), "{found:?}");
    assert!(found[0].message.contains("shards (shard_id 1) differs"), "{}", found[0]);
}

#[tokio::test]
async fn a_target_with_rows_of_another_source_is_refused() {
    let Some(source) = source().await else { return };
    for (row, text) in [
        ("INSERT INTO shards VALUES (9, 1, 'x', 'Proto3')", "shards (shard_id 9) is not there"),
        ("INSERT INTO shards VALUES (1, 1, 'x', 'Proto3')", "shards (shard_id 1) differs"),
        (
            "INSERT INTO cluster_metadata_info VALUES (0, 'other', 'x', 'Proto3', 1)",
            "cluster_name other) is not there",
        ),
    ] {
        let target = target().await;
        target.execute(row).await.unwrap();
        let found = problems(&source.url(), &target.url(), settings()).await;
        assert_eq!((found.len(), found[0].kind), (1, ProblemKind::TargetRows), "{found:?}");
        assert!(found[0].message.contains(text), "{}", found[0]);
    }
}

#[tokio::test]
async fn rows_that_do_not_fit_are_refused_by_table_key_and_reason() {
    let long = "repeat('x', 300)";
    let node = "UPDATE chasm_node_maps SET chasm_path";
    for (change, text) in [
        (
            "UPDATE history_node SET data = convert_to(repeat('x', 1048577), 'UTF8') \
             WHERE ctid = (SELECT min(ctid) FROM history_node)"
                .to_owned(),
            "of history_node does not fit: data has 1048577 bytes",
        ),
        (
            "UPDATE executions SET data = convert_to(repeat('x', 1048576), 'UTF8'), \
             state = convert_to(repeat('x', 1048576), 'UTF8') \
             WHERE ctid = (SELECT min(ctid) FROM executions)"
                .to_owned(),
            "and a row has at most 2097152",
        ),
        (
            format!(
                "ALTER TABLE shards ALTER COLUMN data_encoding TYPE varchar(400); \
                 UPDATE shards SET data_encoding = {long} WHERE shard_id = 3"
            ),
            "row (shard_id 3) of shards does not fit: data_encoding has 300 characters",
        ),
        (
            format!(
                "ALTER TABLE signals_requested_sets ALTER COLUMN signal_id TYPE text; \
                 INSERT INTO signals_requested_sets VALUES (1, 'sixteen-bytes-id', 'w', \
                 'sixteen-bytes-id', {long})"
            ),
            "signal_id has 300 characters, and the column 255",
        ),
        (
            "INSERT INTO signals_requested_sets VALUES (1, 'short-id', 'w', 'sixteen-bytes-id', 's')"
                .to_owned(),
            "namespace_id has 8 bytes in place of the 16 of a UUID",
        ),
        (
            "UPDATE current_executions SET run_id = 'short-id' \
             WHERE ctid = (SELECT min(ctid) FROM current_executions)"
                .to_owned(),
            "run_id has 8 bytes in place of the 16 of a UUID",
        ),
        (format!(r"{node} = '\x61ff' WHERE chasm_path = 'Outcome'"), "is not UTF-8: byte 2"),
        (format!(r"{node} = '\x6100' WHERE chasm_path = 'Outcome'"), "has a NUL"),
        (
            format!("{node} = convert_to({long}, 'UTF8') WHERE chasm_path = 'Outcome'"),
            "chasm_path has 300 characters, and the column 255",
        ),
        (
            "INSERT INTO chasm_node_maps VALUES (1, 'sixteen-bytes-id', repeat('é', 255), \
             'sixteen-bytes-id', convert_to(repeat('🦀', 255), 'UTF8'), 'x', 'Proto3', 'x', \
             'Proto3'), (1, 'sixteen-bytes-id', repeat('🦀', 255), 'sixteen-bytes-id', \
             convert_to(repeat('🦀', 255), 'UTF8'), 'x', 'Proto3', 'x', 'Proto3')"
                .to_owned(),
            "its key has 2108 bytes, and a key has at most 1981",
        ),
    ] {
        let Some(source) = source().await else { return };
        // Of many rows, one is changed.
        let change = change.replace(
            "WHERE chasm_path = 'Outcome'",
            "WHERE ctid = (SELECT min(ctid) FROM chasm_node_maps WHERE chasm_path = 'Outcome')",
        );
        source.execute(&change).await.unwrap();
        let target = target().await;
        let found = problems(&source.url(), &target.url(), settings()).await;
        assert_eq!((found.len(), found[0].kind), (1, ProblemKind::Rows), "{change}: {found:#?}");
        assert!(found[0].message.contains(text), "{change}: {}", found[0]);
    }
}

#[tokio::test]
async fn many_rows_that_do_not_fit_are_counted() {
    let Some(source) = source().await else { return };
    source.execute(r"UPDATE chasm_node_maps SET chasm_path = '\xff' || chasm_path").await.unwrap();
    let target = target().await;
    let found = problems(&source.url(), &target.url(), settings()).await;
    assert_eq!(found.len(), 21);
    assert_eq!(found[20].message, "96 more rows of chasm_node_maps do not fit");
}

#[tokio::test]
async fn paths_that_are_not_ascii_and_fit_are_copied() {
    let Some(source) = source().await else { return };
    let change = r"UPDATE chasm_node_maps SET chasm_path = convert_to('é\' || repeat('ß', 200), 'UTF8')
                   WHERE ctid = (SELECT min(ctid) FROM chasm_node_maps)";
    source.execute(change).await.unwrap();
    let target = target().await;
    let report = import(&source.url(), &target.url(), settings()).await.unwrap();
    assert!(report.is_exact(), "{report}");
    let rows = r"SELECT 1 FROM chasm_node_maps WHERE chasm_path = 'é\' || repeat('ß', 200)";
    assert_eq!(target.query(rows).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_row_of_the_target_that_differs_is_reported_and_not_overwritten() {
    let Some(source) = source().await else { return };
    let target = target().await;
    assert!(import(&source.url(), &target.url(), settings()).await.unwrap().is_exact());
    let change = "UPDATE executions SET next_event_id = next_event_id + 1, data = 'other' \
                  WHERE workflow_id = 'ph-act1'; \
                  DELETE FROM timer_tasks WHERE shard_id = 1";
    target.execute(change).await.unwrap();
    let report = import(&source.url(), &target.url(), settings()).await.unwrap();
    assert!(!report.is_exact(), "{report}");
    assert_eq!((report.differing_rows, report.differences.len()), (1, 1), "{report}");
    let difference = report.differences[0].to_string();
    assert!(difference.contains("workflow_id ph-act1"), "{difference}");
    assert!(difference.ends_with("of executions differs in next_event_id, data"), "{difference}");
    let inexact = report.tables.iter().filter(|table| !table.is_exact());
    let inexact: Vec<_> = inexact.map(|table| table.table.as_str()).collect();
    // What was missing is there again.
    assert_eq!(inexact, ["executions"]);
    let kept = "SELECT 1 FROM executions WHERE workflow_id = 'ph-act1' AND data = 'other'";
    assert_eq!(target.query(kept).await.unwrap().len(), 1);
    assert!(!verify(&source.url(), &target.url()).await.unwrap().is_exact());
}

#[tokio::test]
async fn a_row_that_only_the_target_has_is_found_by_the_proof() {
    let Some(source) = source().await else { return };
    let target = target().await;
    assert!(import(&source.url(), &target.url(), settings()).await.unwrap().is_exact());
    // After those that the preflight looks at.
    let row = "INSERT INTO timer_tasks VALUES (9, now(), 1, 'x', 'Proto3')";
    target.execute(row).await.unwrap();
    for report in [
        import(&source.url(), &target.url(), settings()).await.unwrap(),
        verify(&source.url(), &target.url()).await.unwrap(),
    ] {
        assert!(!report.is_exact(), "{report}");
        let timers = report.tables.iter().find(|table| table.table == "timer_tasks").unwrap();
        assert_eq!((timers.source.rows(), timers.target.rows()), (435, 436));
        let [difference] = &report.differences[..] else { panic!("{report}") };
        let difference = difference.to_string();
        assert!(difference.ends_with("of timer_tasks is not at the source"), "{difference}");
    }
}

#[tokio::test]
async fn rows_that_differ_or_are_missing_are_named_by_a_comparison() {
    let Some(source) = source().await else { return };
    let target = target().await;
    assert!(import(&source.url(), &target.url(), settings()).await.unwrap().is_exact());
    let change = "UPDATE executions SET data = 'other' WHERE workflow_id = 'ph-act1'; \
                  DELETE FROM timer_tasks WHERE shard_id = 1";
    target.execute(change).await.unwrap();
    let report = verify(&source.url(), &target.url()).await.unwrap();
    let text = report.to_string();
    assert!(text.contains("of executions differs in data"), "{text}");
    assert!(text.contains("of timer_tasks is missing at the target"), "{text}");
    assert!(text.contains("empty the target with `setup-schema --overwrite`"), "{text}");
    // Both sums are there without the search for rows.
    let mut settings = settings();
    settings.timeouts.search = Duration::ZERO;
    let report = compare(&source.url(), &target.url(), settings).await.unwrap();
    assert_eq!((report.is_exact(), report.differences.len()), (false, 0), "{report}");
    let note = "the search for rows of timer_tasks that differ was ended early";
    assert!(report.notes.iter().any(|found| found == note), "{report}");
}

/// A role of its own that can read the source, and its URL.
async fn reader(source: &ScratchDatabase, connections: i32) -> (String, String) {
    let role = format!("reader_of_{}", source.name());
    let create = format!("CREATE ROLE {role} LOGIN PASSWORD 'p' CONNECTION LIMIT {connections}");
    source.execute(&create).await.unwrap();
    source
        .execute(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"))
        .await
        .unwrap();
    let url = url_of(source, &role);
    (role, url)
}

fn url_of(database: &ScratchDatabase, role: &str) -> String {
    let url = database.url();
    let (_, place) = url.split_once('@').unwrap();
    format!("postgres://{role}:p@{place}")
}

async fn drop_role(source: &ScratchDatabase, role: &str) {
    source.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn rows_that_a_policy_hides_are_not_left_out() {
    let Some(source) = source().await else { return };
    let target = target().await;
    let (role, url) = reader(&source, -1).await;
    source.execute("ALTER TABLE executions ENABLE ROW LEVEL SECURITY").await.unwrap();
    let error = import(&url, &target.url(), settings()).await.unwrap_err();
    drop_role(&source, &role).await;
    let ImportError::Migrate(error) = error else { panic!("{error:?}") };
    assert_eq!(error.advice(), Some(Advice::RowSecurity), "{error:?}");
}

#[tokio::test]
async fn a_source_without_shards_is_refused() {
    let Some(source) = source().await else { return };
    let target = target().await;
    source.execute("DELETE FROM shards").await.unwrap();
    let found = problems(&source.url(), &target.url(), settings()).await;
    assert_eq!((found.len(), found[0].kind), (1, ProblemKind::Source), "{found:?}");
    assert!(found[0].message.contains("the source has no shards"), "{found:?}");
}

#[tokio::test]
async fn privileges_that_are_lacking_on_either_side_are_listed_at_once() {
    let Some(source) = source().await else { return };
    let target = target().await;
    let (role, url) = reader(&source, -1).await;
    let revoke = format!("REVOKE SELECT ON tasks, history_node FROM {role}");
    source.execute(&revoke).await.unwrap();
    let grant = format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}");
    target.execute(&grant).await.unwrap();
    let found = problems(&url, &url_of(&target, &role), settings()).await;
    target.execute(&format!("DROP OWNED BY {role}")).await.unwrap();
    drop_role(&source, &role).await;
    let [of_source, of_target] = &found[..] else { panic!("{found:#?}") };
    let at_source =
        "lacks privileges at the source; grant it SELECT on history_node; SELECT on tasks";
    assert_eq!(of_source.kind, ProblemKind::Source);
    assert!(of_source.message.contains(at_source), "{of_source}");
    assert_eq!(of_target.kind, ProblemKind::Target);
    for privilege in ["INSERT on executions", "INSERT, UPDATE on namespace_metadata"] {
        assert!(of_target.message.contains(privilege), "{of_target}");
    }
}

#[tokio::test]
async fn a_role_with_few_connections_imports_with_fewer_jobs() {
    let Some(source) = source().await else { return };
    let target = target().await;
    // One of the database, one with the snapshot, and one job.
    let (role, url) = reader(&source, 3).await;
    let report = import(&url, &target.url(), settings()).await;
    drop_role(&source, &role).await;
    let report = report.unwrap();
    assert!(report.is_exact(), "{report}");
    let note = "only 1 of 3 jobs could run: ";
    assert!(report.notes.iter().any(|found| found.starts_with(note)), "{report}");
}

#[tokio::test]
async fn a_target_that_an_import_of_another_source_left_early_is_refused() {
    let Some(source) = source().await else { return };
    // No table that says which deployment they are of has a row.
    for (row, text) in [
        (
            "INSERT INTO queues VALUES (1, 'q', 'x', 'Proto3')",
            "queues (queue_type 1, queue_name q)",
        ),
        (
            "INSERT INTO history_node VALUES (1, gen_random_uuid(), gen_random_uuid(), 1, -1, 0, \
             'x', 'Proto3')",
            "history_node (shard_id 1, ",
        ),
        (
            "INSERT INTO chasm_node_maps VALUES (1, gen_random_uuid(), 'w', gen_random_uuid(), 'é', \
             'x', 'Proto3', 'x', 'Proto3')",
            "chasm_path é) is not there",
        ),
    ] {
        let target = target().await;
        target.execute(row).await.unwrap();
        let found = problems(&source.url(), &target.url(), settings()).await;
        assert_eq!((found.len(), found[0].kind), (1, ProblemKind::TargetRows), "{found:?}");
        assert!(found[0].message.contains(text), "{}", found[0]);
        let copied = target.query("SELECT 1 FROM timer_tasks").await.unwrap();
        assert_eq!(copied.len(), 0, "something was copied");
        // It changes nothing.
        assert!(!verify(&source.url(), &target.url()).await.unwrap().is_exact());
    }
}

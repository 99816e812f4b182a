//! Plans, verification, status and digests.

use std::collections::BTreeSet;

use temporal_dsql_migrate::{MigrateError, Plan, TableDefinition};

use crate::{
    V1_0, V1_1, cluster_at, embedded,
    fake_cluster::{add_row, version_row},
    migrator, newest,
};

const CHASM: &str = "current_chasm_executions";

#[tokio::test(start_paused = true)]
async fn a_plan_shows_each_statement_and_its_transaction_and_touches_nothing() {
    let cluster = cluster_at(V1_0).await;
    let before = cluster.contents();
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let plan: Plan = migrator.plan_update(Some(V1_1)).await.unwrap();
    assert_eq!(cluster.contents(), before);
    let shown = plan.to_string();
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(
        &lines[..3],
        [
            "-- 1. create table current_chasm_executions",
            "-- one statement, committed by itself",
            "CREATE TABLE current_chasm_executions (",
        ]
    );
    let end: Vec<_> = lines.iter().skip_while(|line| **line != "-- one transaction").collect();
    assert_eq!(end.len(), 6, "{shown}");
    assert_eq!(*end[1], "BEGIN;");
    assert!(end[2].starts_with("UPDATE schema_version SET"), "{shown}");
    assert!(end[3].starts_with("INSERT INTO schema_update_history"), "{shown}");
    assert_eq!(*end[4], "COMMIT;");
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["from"], "1.0");
    assert_eq!(json["to"], "1.1");
    let states = json["steps"].as_array().unwrap().iter().map(|step| step["state"].as_str());
    assert!(states.eq(["in_effect", "in_effect", "pending", "pending"].map(Some)), "{json}");
    assert_eq!(json["steps"][3]["transactions"][0].as_array().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn verify_reports_every_kind_of_difference_and_foreign_objects() {
    let cluster = cluster_at(V1_0).await;
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let clean = migrator.verify(None).await.unwrap();
    assert!(clean.is_clean(), "{clean}");
    assert_eq!(clean.to_string(), "`postgres` in schema public matches version 1.0.\n");
    cluster.behave(|behaviour| behaviour.removes_ended_jobs = true);
    cluster.change(|contents| {
        let tables = &mut contents.catalog.tables;
        tables.remove("tasks");
        tables.insert(CHASM.into(), TableDefinition::default());
        tables.insert("invoices".into(), TableDefinition::default());
        let shards = tables.get_mut("shards").unwrap();
        shards.columns.pop();
        shards.constraints.push("positive CHECK ((range_id > 0))".into());
        shards.properties.push("ROW LEVEL SECURITY".into());
        let indexes = &mut contents.catalog.indexes;
        let mut extra = indexes.remove("cm_idx_lasthb").unwrap();
        extra.index.columns = vec!["role".into()];
        indexes.insert("mine".into(), extra);
        indexes.get_mut("idx_namespaces_name").unwrap().valid = false;
        contents.catalog.others.insert("report".into(), "view");
        contents.rows.clear();
    });
    let found = migrator.verify(None).await.unwrap();
    let shown: Vec<_> = found.differences.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "column shards.data_encoding is missing",
            "table shards: constraint positive CHECK ((range_id > 0)) is not in the definition",
            "table shards: ROW LEVEL SECURITY is not in the definition",
            "table tasks is missing",
            "index cm_idx_lasthb is missing",
            "index idx_namespaces_name is invalid: its build failed or was interrupted",
            "table namespace_metadata: its initial row is missing",
            "table current_chasm_executions belongs to version 1.1",
        ]
    );
    let foreign: Vec<_> = found.others.iter().map(|f| format!("{} {}", f.kind, f.name)).collect();
    assert_eq!(foreign, ["table invoices", "index mine", "view report"]);
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["differences"][0]["kind"], "missing_column");
    assert_eq!(json["version"], "1.0");
}

#[tokio::test(start_paused = true)]
async fn status_reports_the_recorded_and_expected_versions_and_the_pending_steps() {
    let cluster = cluster_at(V1_0).await;
    cluster.change(|contents| contents.versions.push(version_row("temporal", "1.0")));
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let status = migrator.status().await.unwrap();
    assert_eq!((status.current, status.expected), (Some(V1_0), newest()));
    assert_eq!(status.recorded.len(), 2);
    let to_1_1 = ["create table current_chasm_executions", "record version 1.1 for `postgres`"];
    assert_eq!(status.pending[..2], to_1_1);
    let last = status.pending.last().unwrap();
    assert_eq!(*last, format!("record version {} for `postgres`", newest()));
    assert!(!status.is_current());
    assert!(status.to_string().contains("also      temporal at 1.0"), "{status}");
    let plan = migrator.plan_update(None).await.unwrap();
    migrator.apply(&plan).await.unwrap();
    assert!(migrator.status().await.unwrap().is_current());
    // An error that would stop an update is part of the status.
    cluster.change(|contents| {
        contents.catalog.tables.remove("tasks");
    });
    let status = migrator.status().await.unwrap();
    assert!(status.problem.unwrap().contains("table tasks is missing"));
}

#[tokio::test(start_paused = true)]
async fn a_status_fails_if_reads_fail_and_shows_a_malformed_version() {
    let cluster = cluster_at(V1_0).await;
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    cluster.change(|contents| contents.versions[0].0.version = Some("new".to_owned()));
    let status = migrator.status().await.unwrap();
    assert!(status.to_string().contains("current   `new`, which is not a version"), "{status}");
    assert!(status.problem.unwrap().contains("is `new`, which is not a version"));
    cluster.change(|contents| contents.versions[0] = version_row("postgres", "1.0"));
    let first_row = "first row of namespace_metadata".to_owned();
    cluster.behave(|behaviour| behaviour.contended = Some((first_row, u32::MAX)));
    let error = migrator.status().await.unwrap_err();
    assert!(matches!(error, MigrateError::DeadlineExceeded { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_digest_leaves_out_the_rows_that_are_excluded() {
    let cluster = cluster_at(V1_0).await;
    cluster.change(|contents| {
        // More than a page, unordered; `namespaces` has the key (partition_id, id).
        for row in (0..2_500).rev() {
            let id = format!("{row:05}");
            add_row(contents, "namespaces", &["54321", &id, "name", "0", "data", "Proto3", "f"]);
        }
    });
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let all = migrator.digest("namespaces", &BTreeSet::new()).await.unwrap();
    assert_eq!(all.rows(), 2_500);
    let key = vec!["54321".to_owned(), "00007".to_owned()];
    let excluded = BTreeSet::from([key]);
    let before = migrator.digest("namespaces", &excluded).await.unwrap();
    assert_eq!(before.rows(), 2_499);
    cluster.change(|contents| {
        let rows = contents.rows.get_mut("namespaces").unwrap();
        let row = rows.iter_mut().find(|row| row[1].as_deref() == Some("00007")).unwrap();
        row[4] = None;
    });
    assert_eq!(migrator.digest("namespaces", &excluded).await.unwrap(), before);
    assert_ne!(migrator.digest("namespaces", &BTreeSet::new()).await.unwrap(), all);
    let error = migrator.digest("nothing", &excluded).await.unwrap_err();
    assert!(error.to_string().contains("table nothing does not exist"), "{error}");
}

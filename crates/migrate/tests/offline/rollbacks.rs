//! Rollbacks: the version is lowered first, under all names, and no other table is touched.

use temporal_dsql_migrate::{IgnoreProgress, MigrateError, Migrator, Progress, Timeouts};

use crate::{
    Command, V1_0, V1_1, cluster_at,
    commands::{does_nothing, fails},
    embedded,
    fake_cluster::{Cluster, Fault, add_row, version_row},
    history, migrator, pairs,
    spec::assert_is,
};

const CHASM: &str = "current_chasm_executions";

#[tokio::test(start_paused = true)]
async fn a_rollback_lowers_the_version_first_and_touches_no_other_table() {
    let cluster = cluster_at(V1_1).await;
    cluster.change(|contents| add_row(contents, "current_executions", &["1"]));
    Command::Rollback(V1_0).run(cluster.session()).await.unwrap();
    let calls = cluster.take_calls();
    let writes: Vec<_> = calls
        .iter()
        .filter(|call| call.starts_with("record") || call.starts_with("drop"))
        .collect();
    assert_eq!(writes, ["record 1.0", "drop table current_chasm_executions"]);
    let contents = cluster.contents();
    assert_is(&contents.catalog, V1_0);
    assert_eq!(contents.rows["current_executions"].len(), 1);
    assert_eq!(contents.history[1].description, "rolled back from 1.1");
    assert_eq!(history(&cluster), pairs(&[("0", "1.1"), ("1.1", "1.0")]));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_refuses_a_table_with_rows_unless_it_may_drop_them() {
    let cluster = cluster_at(V1_1).await;
    cluster.change(|contents| add_row(contents, CHASM, &["1"]));
    let error = fails(Command::Rollback(V1_0), &cluster).await;
    assert!(
        error.to_string().contains("table current_chasm_executions has 1 row, which"),
        "{error}"
    );
    Command::RollbackWithRows(V1_0).run(cluster.session()).await.unwrap();
    assert_is(&cluster.contents().catalog, V1_0);
}

#[tokio::test(start_paused = true)]
async fn rows_inserted_during_a_rollback_are_found_before_the_drop() {
    let cluster = cluster_at(V1_1).await;
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let plan = Command::Rollback(V1_0).plan(&mut migrator).await.unwrap();
    cluster.change(|contents| add_row(contents, CHASM, &["1"]));
    let error = migrator.apply(&plan).await.unwrap_err();
    assert!(matches!(error, MigrateError::TableHasRows { version_lowered: true, .. }), "{error}");
    assert!(cluster.contents().catalog.tables.contains_key(CHASM));
    // An update reverts the rollback.
    Command::Update(V1_1).run(cluster.session()).await.unwrap();
    assert_is(&cluster.contents().catalog, V1_1);
    assert_eq!(cluster.contents().rows[CHASM].len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_after_a_concurrent_update_drops_nothing() {
    let cluster = cluster_at(V1_1).await;
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let mut plan = Command::Rollback(V1_0).plan(&mut migrator).await.unwrap();
    // The rollback has lowered the version. A concurrent update raises it before the drop.
    let drops = plan.steps.split_off(plan.steps.len() - 1);
    migrator.apply(&plan).await.unwrap();
    Command::Update(V1_1).run(cluster.session()).await.unwrap();
    plan.steps = drops;
    let error = migrator.apply(&plan).await.unwrap_err();
    assert!(matches!(error, MigrateError::VersionChanged { .. }), "{error}");
    assert_is(&cluster.contents().catalog, V1_1);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_fails_if_an_update_is_recorded_between_its_check_and_its_drop() {
    let cluster = cluster_at(V1_1).await;
    let observer = |progress: Progress<'_>| {
        // The rows are counted in between.
        if let Progress::Retrying {
            action: "counting the rows of current_chasm_executions", ..
        } = progress
        {
            cluster.change(|contents| contents.versions[0] = version_row("postgres", "1.1"));
        }
    };
    let mut session = cluster.session();
    let mut migrator =
        Migrator::new(embedded(), &mut session, "postgres", Timeouts::default(), &observer);
    let plan = Command::Rollback(V1_0).plan(&mut migrator).await.unwrap();
    let count = "rows of current_chasm_executions".to_owned();
    cluster.behave(|behaviour| behaviour.contended = Some((count, 1)));
    let error = migrator.apply(&plan).await.unwrap_err();
    assert!(matches!(error, MigrateError::VersionChanged { .. }), "{error}");
    assert!(!cluster.contents().catalog.tables.contains_key(CHASM), "it was too late");
    Command::Rollback(V1_0).run(cluster.session()).await.unwrap();
    assert_is(&cluster.contents().catalog, V1_0);
    assert_eq!(recorded(&cluster), pairs(&[("postgres", "1.0")]));
}

#[tokio::test(start_paused = true)]
async fn a_table_that_a_rollback_drops_while_its_version_is_recorded_is_made_again() {
    let cluster = cluster_at(V1_0).await;
    Command::Update(V1_1).run(cluster.session()).await.unwrap();
    let calls = cluster.take_calls();
    let record = calls.iter().position(|call| call == "record 1.1").unwrap();
    let cluster = cluster_at(V1_0).await;
    // The response to the commit is lost, and the table is dropped before the version is read again.
    let call = u32::try_from(record).unwrap() + 1;
    let (mut session, _) = cluster.session().with_fault(call, Fault::LoseAfter);
    let observer = |progress: Progress<'_>| {
        if let Progress::Retrying { action: "recording version 1.1", .. } = progress {
            cluster.change(|contents| {
                contents.catalog.tables.remove(CHASM);
            });
        }
    };
    let mut migrator =
        Migrator::new(embedded(), &mut session, "postgres", Timeouts::default(), &observer);
    let plan = migrator.plan_update(Some(V1_1)).await.unwrap();
    migrator.apply(&plan).await.unwrap();
    assert_is(&cluster.contents().catalog, V1_1);
    let calls = cluster.take_calls();
    let made = calls.iter().filter(|call| *call == "create table current_chasm_executions");
    assert_eq!(made.count(), 2, "{calls:?}");
    assert_eq!(history(&cluster), pairs(&[("0", "1.0"), ("1.0", "1.1")]));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_stops_at_a_table_with_another_definition() {
    let cluster = cluster_at(V1_1).await;
    cluster.change(|contents| {
        contents.catalog.tables.get_mut(CHASM).unwrap().columns.pop();
    });
    let error = fails(Command::Rollback(V1_0), &cluster).await;
    assert!(matches!(error, MigrateError::Differs(_)), "{error}");
}

/// The recorded versions by name.
fn recorded(cluster: &Cluster) -> Vec<(String, String)> {
    let rows = cluster.contents().versions.into_iter();
    rows.map(|(row, _)| (row.database, row.version.unwrap_or_default())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_rollback_lowers_all_names_of_the_tables_in_one_transaction_and_says_so() {
    let cluster = cluster_at(V1_1).await;
    cluster.change(|contents| {
        contents.versions.push(version_row("old", "1.0"));
        contents.versions.push(version_row("temporal", "v1.1"));
    });
    let mut session = cluster.session();
    let mut other =
        Migrator::new(embedded(), &mut session, "temporal", Timeouts::default(), &IgnoreProgress);
    let plan = Command::Rollback(V1_0).plan(&mut other).await.unwrap();
    assert_eq!(plan.notes, ["the version recorded for `postgres` (1.1) is lowered, too"]);
    let pending: Vec<_> = plan.pending().map(|step| step.summary()).collect();
    assert_eq!(
        pending,
        ["record version 1.0 for `temporal`, `postgres`", "drop table current_chasm_executions"]
    );
    other.apply(&plan).await.unwrap();
    assert_eq!(
        recorded(&cluster),
        pairs(&[("postgres", "1.0"), ("old", "1.0"), ("temporal", "1.0")])
    );
    let history = &cluster.contents().history;
    assert_eq!((&*history[1].old, &*history[1].new), ("v1.1", "1.0"));
    assert_eq!(history[1].description, "rolled back from v1.1, with `postgres` (1.1)");
    assert_eq!(history.len(), 2);
    does_nothing(Command::Rollback(V1_0), &cluster).await;

    // Also if the name of the command has the older version already.
    Command::Update(V1_1).run(cluster.session()).await.unwrap();
    let plan = Command::Rollback(V1_0).plan(&mut other).await.unwrap();
    other.apply(&plan).await.unwrap();
    assert!(recorded(&cluster).iter().all(|(_, version)| version == "1.0"));
    assert_is(&cluster.contents().catalog, V1_0);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_of_several_names_changes_none_if_one_has_changed_meanwhile() {
    let cluster = cluster_at(V1_1).await;
    cluster.change(|contents| contents.versions.push(version_row("temporal", "1.1")));
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let plan = Command::Rollback(V1_0).plan(&mut migrator).await.unwrap();
    cluster.change(|contents| contents.versions[1] = version_row("temporal", "1.0"));
    let error = migrator.apply(&plan).await.unwrap_err();
    let expected = "the version recorded for database `temporal` changed from 1.1 to 1.0";
    assert!(error.to_string().contains(expected), "{error}");
    assert_eq!(recorded(&cluster), pairs(&[("postgres", "1.1"), ("temporal", "1.0")]));
    assert_is(&cluster.contents().catalog, V1_1);
    // A name whose version is not known is named, and nothing is lowered.
    for (version, named) in [("99.0", "the database is at 99.0"), ("new", "`temporal` is `new`")] {
        cluster.change(|contents| contents.versions[1] = version_row("temporal", version));
        let error = fails(Command::Rollback(V1_0), &cluster).await;
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollback_is_refused_if_a_table_of_the_older_version_is_missing() {
    let cluster = cluster_at(V1_1).await;
    cluster.change(|contents| {
        contents.catalog.tables.remove("executions");
    });
    let error = fails(Command::Rollback(V1_0), &cluster).await;
    let expected =
        "recorded at version 1.1, but does not match it:\n  - table executions is missing";
    assert!(error.to_string().contains(expected), "{error}");
    // Version tables and nothing else.
    cluster.change(|contents| {
        contents.catalog.tables.retain(|name, _| name.starts_with("schema_"));
        contents.catalog.indexes.clear();
    });
    for command in [Command::Rollback(V1_0), Command::Update(V1_1)] {
        let error = fails(command, &cluster).await;
        assert!(matches!(error, MigrateError::Incomplete { .. }), "{command:?}: {error}");
        assert!(error.differences().len() >= 36, "{command:?}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_of_another_name_is_named_with_the_command_that_corrects_it() {
    let cluster = cluster_at(V1_1).await;
    cluster.change(|contents| contents.versions.push(version_row("temporal", "1.12")));
    let error = fails(Command::Rollback(V1_0), &cluster).await.to_string();
    for part in [
        "the database is at 1.12 under the logical name `temporal`, newer than this tool",
        "run `adopt-schema --logical-database temporal` to record 1.1",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let note = "the tables are also recorded for `temporal`, at 1.12; run \
                `adopt-schema --logical-database temporal`";
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    for command in [Command::Update(V1_1), Command::Setup(V1_1)] {
        assert_eq!(command.plan(&mut migrator).await.unwrap().notes, [note], "{command:?}");
    }
    let status = migrator.status().await.unwrap();
    assert_eq!(
        (status.notes.as_slice(), status.problem.as_deref()),
        (&[note.to_owned()][..], None)
    );
    assert!(status.to_string().contains(&format!("note      {note}\n")), "{status}");
    let found = migrator.verify(None).await.unwrap();
    assert!(found.is_clean() && found.to_string().contains(&format!("Note: {note}\n")), "{found}");
    // That command does what is said.
    let mut session = cluster.session();
    let mut other =
        Migrator::new(embedded(), &mut session, "temporal", Timeouts::default(), &IgnoreProgress);
    let plan = other.plan_adoption().await.unwrap();
    other.apply(&plan).await.unwrap();
    assert!(other.verify(None).await.unwrap().notes.is_empty());
    Command::Rollback(V1_0).run(cluster.session()).await.unwrap();
    // A name at an older version is updated.
    Command::Update(V1_1).run(cluster.session()).await.unwrap();
    let mut session = cluster.session();
    let notes = crate::migrator(embedded(), &mut session).verify(None).await.unwrap().notes;
    assert!(notes[0].ends_with("at 1.0; run `update-schema --logical-database temporal`"));
    let found = other.verify(None).await.unwrap();
    assert!(found.adoptable == Some(V1_1) && found.notes.is_empty(), "it is its own: {found}");
}

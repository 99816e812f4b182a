//! Objects that depend on tables to be dropped.

use temporal_dsql_migrate::{Dependent, MigrateError, Overwrite, Rollback, Setup};

use crate::{
    Command, V1_0, V1_1, cluster_at,
    commands::fails,
    custom_schemas::schema_of,
    embedded,
    fake_cluster::{Cluster, Fault, add_row},
    history, migrator, pairs,
    spec::assert_is,
};

const CHASM: &str = "current_chasm_executions";

fn view(name: &str, relation: &str) -> Dependent {
    Dependent {
        object: format!("view public.{name}"),
        relation: relation.to_owned(),
        drop: Some(format!("DROP VIEW \"public\".\"{name}\"")),
    }
}

async fn with_dependents(dependents: impl IntoIterator<Item = Dependent>) -> Cluster {
    let cluster = cluster_at(V1_1).await;
    cluster.change(|contents| contents.dependents.extend(dependents));
    cluster
}

fn overwrite() -> Overwrite {
    let setup = Setup { version: Some(V1_1), ..Setup::default() };
    Overwrite { setup, drop_dependents: true, ..Overwrite::default() }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_would_drop_a_table_with_dependents_changes_nothing_and_names_them() {
    let cluster = with_dependents([view("latest", CHASM), view("report", "executions")]).await;
    let text = fails(Command::Rollback(V1_0), &cluster).await.to_string();
    assert!(text.contains("view public.latest depends on current_chasm_executions"), "{text}");
    assert!(!text.contains("report"), "the rollback does not drop executions: {text}");
    assert!(text.contains("nothing was changed; drop them first, or pass `--drop-dependents`"));
    let text = fails(Command::Overwrite(V1_1), &cluster).await.to_string();
    for part in ["view public.latest", "view public.report depends on executions"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn dependents_are_dropped_first_if_that_is_asked_for() {
    let dependents = [view("of_report", "executions"), view("report", "executions")];
    let cluster = with_dependents(dependents.into_iter().chain([view("latest", CHASM)])).await;
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let rollback = Rollback { to: V1_0, with_rows: false, drop_dependents: true };
    let plan = migrator.plan_rollback(&rollback).await.unwrap();
    assert!(plan.to_string().contains("DROP VIEW \"public\".\"latest\";"), "{plan}");
    let pending: Vec<_> = plan.pending().map(|step| step.summary()).collect();
    assert_eq!(
        pending,
        [
            "record version 1.0 for `postgres`",
            "drop view public.latest",
            "drop table current_chasm_executions",
        ]
    );
    migrator.apply(&plan).await.unwrap();
    assert_is(&cluster.contents().catalog, V1_0);
    let left: Vec<_> = cluster.contents().dependents.into_iter().map(|d| d.object).collect();
    assert_eq!(left, ["view public.of_report", "view public.report"], "of other tables");
    let plan = migrator.plan_overwrite(&overwrite()).await.unwrap();
    let steps: Vec<_> = plan.steps.iter().take(3).map(|step| step.summary()).collect();
    let first =
        ["drop view public.of_report", "drop view public.report", "drop table schema_version"];
    assert_eq!(steps, first);
    migrator.apply(&plan).await.unwrap();
    assert_is(&cluster.contents().catalog, V1_1);
    assert!(cluster.contents().dependents.is_empty());
}

#[tokio::test(start_paused = true)]
async fn dependents_of_a_table_stay_if_rows_are_inserted_or_the_version_is_raised_meanwhile() {
    let rollback = Rollback { to: V1_0, with_rows: false, drop_dependents: true };
    for has_rows in [true, false] {
        let cluster = with_dependents([view("latest", CHASM)]).await;
        let mut session = cluster.session();
        let mut migrator = migrator(embedded(), &mut session);
        let mut plan = migrator.plan_rollback(&rollback).await.unwrap();
        let drops = plan.steps.split_off(plan.steps.len() - 2);
        if has_rows {
            plan.steps.extend(drops);
            cluster.change(|contents| add_row(contents, CHASM, &["1"]));
            let error = migrator.apply(&plan).await.unwrap_err();
            let expected = "has 1 row, which would be lost; it was not dropped, but the recorded \
                            version is lowered; stop the servers";
            assert!(error.to_string().contains(expected), "{error}");
        } else {
            migrator.apply(&plan).await.unwrap();
            Command::Update(V1_1).run(cluster.session()).await.unwrap();
            plan.steps = drops;
            let error = migrator.apply(&plan).await.unwrap_err();
            assert!(matches!(error, MigrateError::VersionChanged { .. }), "{error}");
        }
        let contents = cluster.contents();
        assert!(contents.catalog.tables.contains_key(CHASM));
        assert_eq!(contents.dependents, [view("latest", CHASM)]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_overwrite_with_dependents_is_completed_after_a_fault_at_any_of_its_first_calls() {
    for fault in [Fault::KillBefore, Fault::KillAfter, Fault::LoseBefore, Fault::LoseAfter] {
        for call in 1..20 {
            let cluster = with_dependents([view("a", "executions"), view("b", "tasks")]).await;
            let (mut session, signal) = cluster.session().with_fault(call, fault);
            let run = async {
                let mut migrator = migrator(embedded(), &mut session);
                let plan = migrator.plan_overwrite(&overwrite()).await?;
                migrator.apply(&plan).await
            };
            let ended = tokio::select! {
                biased;
                () = signal.killed() => None,
                result = run => Some(result),
            };
            match ended {
                Some(result) => result.map(drop).unwrap(),
                None => {
                    let mut session = cluster.session();
                    let mut migrator = migrator(embedded(), &mut session);
                    let plan = migrator.plan_overwrite(&overwrite()).await.unwrap();
                    migrator.apply(&plan).await.unwrap();
                }
            }
            assert_is(&cluster.contents().catalog, V1_1);
            assert!(cluster.contents().dependents.is_empty(), "{fault:?} at call {call}");
            assert_eq!(history(&cluster), pairs(&[("0", "1.1")]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dependent_table_is_never_dropped() {
    let table = Dependent {
        object: "table public.archive".to_owned(),
        relation: CHASM.to_owned(),
        drop: None,
    };
    let cluster = with_dependents([view("latest", CHASM), table]).await;
    let text = fails(Command::Rollback(V1_0), &cluster).await.to_string();
    assert!(text.contains("table public.archive"), "{text}");
    assert!(!text.contains("--drop-dependents"), "{text}");
    let before = cluster.contents();
    let mut session = cluster.session();
    let rollback = Rollback { to: V1_0, with_rows: false, drop_dependents: true };
    let error = migrator(embedded(), &mut session).plan_rollback(&rollback).await.unwrap_err();
    let MigrateError::HasDependents { dependents, can_drop: false } = error else {
        panic!("{error}");
    };
    let named: Vec<_> = dependents.iter().map(|dependent| &*dependent.object).collect();
    assert_eq!(named, ["table public.archive"]);
    assert_eq!(cluster.contents(), before);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_show_dependents_is_noted_and_the_command_goes_on() {
    let cluster = cluster_at(V1_1).await;
    cluster.behave(|behaviour| behaviour.hides_dependents = true);
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let plan = Command::Rollback(V1_0).plan(&mut migrator).await.unwrap();
    assert!(plan.notes[0].contains("does not show which objects depend"), "{:?}", plan.notes);
    migrator.apply(&plan).await.unwrap();
    assert_is(&cluster.contents().catalog, V1_0);
}

#[tokio::test(start_paused = true)]
async fn an_update_that_drops_a_table_refuses_dependents_before_it_changes_anything() {
    let schema = schema_of(&[
        ("1.0", "CREATE TABLE a (id INT PRIMARY KEY); CREATE TABLE b (id INT PRIMARY KEY);"),
        ("1.1", "CREATE TABLE c (id INT PRIMARY KEY); DROP TABLE b;"),
    ]);
    let cluster = Cluster::new(crate::fake_cluster::Behaviour::default());
    Command::Setup(V1_0).run_with(&schema, &mut cluster.session()).await.unwrap();
    cluster.change(|contents| contents.dependents.push(view("report", "b")));
    let before = cluster.contents();
    let error = Command::Update(V1_1).run_with(&schema, &mut cluster.session()).await.unwrap_err();
    assert!(error.to_string().contains("view public.report depends on b"), "{error}");
    assert!(error.to_string().ends_with("drop them first"), "{error}");
    assert_eq!(cluster.contents(), before);
    cluster.change(|contents| contents.dependents.clear());
    Command::Update(V1_1).run_with(&schema, &mut cluster.session()).await.unwrap();
}

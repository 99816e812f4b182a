//! Rights that the role lacks, and names that types have: they are found before anything is changed.

use temporal_dsql_migrate::{MigrateError, StepAction};

use crate::{
    Command, V1_0, V1_1, cluster_at,
    commands::{does_nothing, fails},
    embedded,
    fake_cluster::{Behaviour, Cluster},
    migrator,
    spec::assert_is,
};

const CHASM: &str = "current_chasm_executions";

fn give_to_other(cluster: &Cluster, relation: &str) {
    cluster.change(|contents| {
        contents.owners.insert(relation.to_owned(), "other".to_owned());
    });
}

#[tokio::test(start_paused = true)]
async fn a_table_of_another_owner_stops_a_command_that_drops_or_alters_it_and_no_other() {
    let cluster = cluster_at(V1_1).await;
    give_to_other(&cluster, CHASM);
    for command in [Command::Rollback(V1_0), Command::Overwrite(V1_1)] {
        let error = fails(command, &cluster).await;
        let MigrateError::LacksRights { role, missing } = &error else { panic!("{error}") };
        assert_eq!(role, "admin");
        assert_eq!(*missing, [format!("ownership of {CHASM}, which belongs to `other`")]);
        assert!(error.to_string().contains("nothing was changed; grant them, or"), "{error}");
    }
    for command in [Command::Update(V1_1), Command::Setup(V1_1)] {
        does_nothing(command, &cluster).await;
    }
    let cluster = cluster_at(V1_0).await;
    for table in ["executions", "cluster_membership"] {
        give_to_other(&cluster, table);
    }
    // An index can be made by the owner of the table only.
    cluster.change(|contents| {
        contents.catalog.indexes.remove("cm_idx_lasthb");
    });
    let error = fails(Command::Update(V1_1), &cluster).await.to_string();
    assert!(error.contains("ownership of cluster_membership"), "{error}");
    assert!(!error.contains("executions"), "the update does not alter it: {error}");
    let mut session = cluster.session();
    let status = migrator(embedded(), &mut session).status().await.unwrap();
    assert_eq!((status.problem, &*status.pending[0]), (None, "create index cm_idx_lasthb"));
    cluster.change(|contents| {
        contents.owners.remove("cluster_membership");
    });
    Command::Update(V1_1).run(cluster.session()).await.unwrap();
    assert_is(&cluster.contents().catalog, V1_1);
}

#[tokio::test(start_paused = true)]
async fn a_type_that_has_the_name_of_a_table_stops_a_setup_before_it_changes_anything() {
    let cluster = Cluster::new(Behaviour::default());
    cluster.change(|contents| {
        contents.types.insert("tasks".to_owned(), "domain");
        // The name of an index is not taken by a type.
        contents.types.insert("cm_idx_lasthb".to_owned(), "type");
    });
    let error = fails(Command::Setup(V1_1), &cluster).await;
    assert!(matches!(error, MigrateError::Differs(_)), "{error}");
    assert_eq!(error.differences().len(), 1, "{error}");
    assert!(error.to_string().contains("tasks should be a table and is a domain"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_type_that_was_not_foreseen_is_not_waited_for() {
    let cluster = Cluster::new(Behaviour::default());
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let plan = Command::Setup(V1_1).plan(&mut migrator).await.unwrap();
    cluster.change(|contents| {
        contents.types.insert("tasks".to_owned(), "domain");
    });
    cluster.take_calls();
    let error = migrator.apply(&plan).await.unwrap_err();
    assert!(
        error.to_string().contains("type \"tasks\" already exists (SQLSTATE 42710)"),
        "{error}"
    );
    let calls = cluster.take_calls();
    assert_eq!(calls.iter().filter(|call| *call == "create table tasks").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_show_rights_is_noted_and_the_command_goes_on() {
    let cluster = cluster_at(V1_0).await;
    cluster.behave(|behaviour| behaviour.hides_dependents = true);
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let plan = Command::Update(V1_1).plan(&mut migrator).await.unwrap();
    let [note] = plan.notes.as_slice() else { panic!("{:?}", plan.notes) };
    assert!(note.contains("does not show what the role may do"), "{note}");
    assert!(plan.pending().all(|step| !matches!(step.action, StepAction::DropTable { .. })));
    migrator.apply(&plan).await.unwrap();
    assert_is(&cluster.contents().catalog, V1_1);
}

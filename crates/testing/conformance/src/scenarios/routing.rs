//! The table of a current execution (requirements.md#requirement-2, requirements.md#requirement-5).

use temporal_dsql_domain::{ArchetypeId, CurrentExecutionsFilter, Table};
use temporal_dsql_ports::StoreError;

use crate::{context::TestContext, scenario::scenario_table};

scenario_table! { "routing":
    a_row_is_in_the_table_of_its_archetype_and_in_no_other per archetype
        = "requirements.md#req-2-1", "requirements.md#req-2-2";
    every_archetype_id_but_workflow_is_in_the_chasm_table
        = "requirements.md#req-2-3", "requirements.md#req-2-4";
    an_unspecified_archetype_in_a_filter_means_workflow = "requirements.md#req-5-1";
    an_unspecified_archetype_in_a_row_is_refused_and_stores_nothing;
    a_workflow_and_an_activity_with_one_id_do_not_see_each_other
        = "execution_mutable_state.go/TestArchetypeSeparateIDSpace";
    a_row_read_from_current_executions_is_a_workflow = "requirements.md#req-5-3";
}

async fn counts(ctx: &TestContext) -> (u64, u64) {
    let tables = [Table::CurrentExecutions, Table::CurrentChasmExecutions];
    let counts = ctx.fixture.counts(&tables).await;
    (counts[0], counts[1])
}

async fn a_row_is_in_the_table_of_its_archetype_and_in_no_other(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let expected = if ctx.archetype == ArchetypeId::WORKFLOW { (1, 0) } else { (0, 1) };
    assert_eq!(counts(ctx).await, expected);
    let changed = ctx.changed(&row);
    assert_eq!(ctx.store.session().update_current_executions(&changed).await.unwrap(), 1);
    assert_eq!(ctx.read(&row.filter()).await, Some(changed.clone()));
    let mut transaction = ctx.begin("Lock").await;
    let locked = transaction.lock_current_executions(&row.filter()).await.unwrap();
    assert_eq!(locked, Some(changed.clone()));
    transaction.commit().await.unwrap();
    let mut session = ctx.store.session();
    let deleted = session.delete_from_current_executions(&row.filter(), changed.run_id).await;
    assert_eq!(deleted.unwrap(), 1);
    assert_eq!(counts(ctx).await, (0, 0));
}

async fn every_archetype_id_but_workflow_is_in_the_chasm_table(ctx: &TestContext) {
    let near = [1, ArchetypeId::WORKFLOW.0 - 1, ArchetypeId::WORKFLOW.0 + 1, u32::MAX];
    let random = ctx.random(|random| [(); 12].map(|()| random.u32(1..)));
    let others: Vec<_> =
        near.into_iter().chain(random).filter(|id| *id != ArchetypeId::WORKFLOW.0).collect();
    for id in &others {
        let mut row = ctx.current();
        row.archetype_id = ArchetypeId(*id);
        ctx.insert(&row).await;
        assert_eq!(ctx.read(&row.filter()).await, Some(row), "archetype {id}");
    }
    assert_eq!(counts(ctx).await, (0, others.len() as u64));
}

async fn an_unspecified_archetype_in_a_filter_means_workflow(ctx: &TestContext) {
    let mut activity = ctx.current();
    activity.archetype_id = ArchetypeId::ACTIVITY;
    let mut workflow = ctx.changed(&activity);
    workflow.archetype_id = ArchetypeId::WORKFLOW;
    ctx.insert(&activity).await;
    ctx.insert(&workflow).await;
    let filter =
        CurrentExecutionsFilter { archetype_id: ArchetypeId::UNSPECIFIED, ..activity.filter() };
    assert_eq!(ctx.read(&filter).await, Some(workflow.clone()));
    let mut transaction = ctx.begin("Lock").await;
    let locked = transaction.lock_current_executions(&filter).await.unwrap();
    assert_eq!(locked, Some(workflow.clone()));
    transaction.commit().await.unwrap();
    let mut session = ctx.store.session();
    let deleted = session.delete_from_current_executions(&filter, workflow.run_id).await;
    assert_eq!(deleted.unwrap(), 1);
    assert_eq!(counts(ctx).await, (0, 1));
}

async fn an_unspecified_archetype_in_a_row_is_refused_and_stores_nothing(ctx: &TestContext) {
    let mut row = ctx.current();
    row.archetype_id = ArchetypeId::UNSPECIFIED;
    let mut session = ctx.store.session();
    for result in [
        session.insert_into_current_executions(&row).await,
        session.update_current_executions(&row).await,
    ] {
        let error = result.unwrap_err();
        assert!(
            matches!(error, StoreError::InvalidArgument { field: "archetype_id", .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(row.workflow_id.as_str()), "{error}");
    }
    assert_eq!(counts(ctx).await, (0, 0));
}

async fn a_workflow_and_an_activity_with_one_id_do_not_see_each_other(ctx: &TestContext) {
    let mut workflow = ctx.current();
    workflow.archetype_id = ArchetypeId::WORKFLOW;
    let mut activity = ctx.changed(&workflow);
    activity.archetype_id = ArchetypeId::ACTIVITY;
    ctx.insert(&workflow).await;
    ctx.insert(&activity).await;
    assert_eq!(ctx.read(&workflow.filter()).await, Some(workflow.clone()));
    assert_eq!(ctx.read(&activity.filter()).await, Some(activity.clone()));

    let workflow = ctx.changed(&workflow);
    assert_eq!(ctx.store.session().update_current_executions(&workflow).await.unwrap(), 1);
    assert_eq!(ctx.read(&activity.filter()).await, Some(activity.clone()));

    let mut session = ctx.store.session();
    let wrong = session.delete_from_current_executions(&activity.filter(), workflow.run_id).await;
    assert_eq!(wrong.unwrap(), 0);
    let right = session.delete_from_current_executions(&activity.filter(), activity.run_id).await;
    assert_eq!(right.unwrap(), 1);
    assert_eq!(ctx.read(&activity.filter()).await, None);
    assert_eq!(ctx.read(&workflow.filter()).await, Some(workflow));
}

async fn a_row_read_from_current_executions_is_a_workflow(ctx: &TestContext) {
    let mut row = ctx.current();
    row.archetype_id = ArchetypeId::WORKFLOW;
    ctx.insert(&row).await;
    ctx.insert_execution(&ctx.execution_of(&row)).await;
    let filter = CurrentExecutionsFilter { archetype_id: ArchetypeId::UNSPECIFIED, ..row.filter() };
    assert_eq!(ctx.read(&filter).await.unwrap().archetype_id, ArchetypeId::WORKFLOW);
    let mut transaction = ctx.begin("LockJoin").await;
    let rows = transaction.lock_current_executions_join_executions(&filter).await.unwrap();
    assert_eq!(rows[0].archetype_id, ArchetypeId::WORKFLOW);
    transaction.rollback().await.unwrap();
}

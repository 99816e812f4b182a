//! Deleting executions and current executions.

use temporal_dsql_domain::{
    ExecutionState::{Created, Running, Zombie},
    Table,
};
use temporal_dsql_stores::{CreateMode, UpdateMode};

use crate::{context::TestContext, scenario::scenario_table};

scenario_table! { "delete_execution":
    deleting_a_current_execution_keeps_its_run per archetype
        = "execution_mutable_state.go/TestDeleteCurrent_IsCurrent";
    a_run_that_is_not_the_current_one_deletes_no_current_execution per archetype
        = "execution_mutable_state.go/TestDeleteCurrent_NotCurrent";
    deleting_an_execution_deletes_all_rows_of_its_run per archetype
        = "execution_mutable_state.go/TestDelete_Exists";
    deleting_an_absent_execution_is_no_error per archetype
        = "execution_mutable_state.go/TestDelete_NotExists";
    an_id_can_be_created_again_after_its_execution_was_deleted per archetype;
    every_table_of_a_run_is_empty_after_its_deletion = "temporal-persistence.md#case-12";
}

async fn deleting_a_current_execution_keeps_its_run(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let run = shard.create_run(Running).await;
    let id = run.current.filter();
    shard.executions.delete_current(&id, run.current.run_id).await.unwrap();
    assert_eq!(shard.current_of(&run.current).await, None);
    shard.assert_stored(&run).await;
    // Deleting again is no error.
    shard.executions.delete_current(&id, run.current.run_id).await.unwrap();
}

async fn a_run_that_is_not_the_current_one_deletes_no_current_execution(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let run = shard.create_run(Running).await;
    let zombie = shard.snapshot(&shard.next_run(&run.current, Zombie));
    shard.create(CreateMode::BypassCurrent, &zombie).await.unwrap();
    let id = run.current.filter();
    shard.executions.delete_current(&id, zombie.current.run_id).await.unwrap();
    assert_eq!(shard.current_of(&run.current).await, Some(run.current));
    // An id without a current execution has none afterwards.
    let alone = shard.create_run(Zombie).await;
    let id = alone.current.filter();
    shard.executions.delete_current(&id, alone.current.run_id).await.unwrap();
    assert_eq!(shard.current_of(&alone.current).await, None);
    shard.assert_stored(&alone).await;
}

async fn deleting_an_execution_deletes_all_rows_of_its_run(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let zombie = shard.create_run(Zombie).await;
    let other = shard.snapshot(&shard.next_run(&zombie.current, Zombie));
    shard.create(CreateMode::BypassCurrent, &other).await.unwrap();
    let tasks = shard.task_count().await;
    shard.executions.delete(&zombie.execution.filter()).await.unwrap();
    shard.assert_missing(&zombie.execution).await;
    // Rows of another run of the id and of the shard are kept.
    shard.assert_stored(&other).await;
    assert_eq!(shard.task_count().await, tasks);
}

async fn deleting_an_absent_execution_is_no_error(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let absent = shard.new_run(Created);
    shard.executions.delete(&absent.execution.filter()).await.unwrap();
    shard.assert_missing(&absent.execution).await;
}

async fn an_id_can_be_created_again_after_its_execution_was_deleted(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let first = shard.create_run(Running).await;
    let id = first.current.filter();
    shard.executions.delete_current(&id, first.current.run_id).await.unwrap();
    shard.executions.delete(&first.execution.filter()).await.unwrap();
    let second = shard.snapshot(&shard.next_run(&first.current, Created));
    shard.create(CreateMode::BrandNew, &second).await.unwrap();
    shard.assert_stored(&second).await;
    // A late deletion of the first run does not delete the second.
    shard.executions.delete_current(&id, first.current.run_id).await.unwrap();
    shard.executions.delete(&first.execution.filter()).await.unwrap();
    shard.assert_stored(&second).await;
    assert_eq!(shard.current_of(&first.current).await, Some(second.current));
}

/// Every table with rows of one run. A test compares the list with the schema.
const RUN_TABLES: [Table; 9] = [
    Table::Executions,
    Table::ActivityInfoMaps,
    Table::TimerInfoMaps,
    Table::ChildExecutionInfoMaps,
    Table::RequestCancelInfoMaps,
    Table::SignalInfoMaps,
    Table::SignalsRequestedSets,
    Table::ChasmNodeMaps,
    Table::BufferedEvents,
];

async fn every_table_of_a_run_is_empty_after_its_deletion(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let run = shard.create_run(Zombie).await;
    let mutation = shard.mutation(&run, Zombie);
    shard.update(UpdateMode::BypassCurrent, &mutation, None).await.unwrap();
    for table in RUN_TABLES {
        assert_ne!(ctx.fixture.count(table).await, 0, "{table} has rows of the run");
    }
    shard.executions.delete(&run.execution.filter()).await.unwrap();
    for table in RUN_TABLES {
        assert_eq!(ctx.fixture.count(table).await, 0, "{table}");
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    /// temporal-persistence.md#case-12: a table that a later schema adds to a run must be added to
    /// the list.
    #[test]
    fn the_tables_of_a_run_are_those_of_the_schema() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../migrate/schema/dsql/temporal/schema.sql");
        let schema = fs::read_to_string(path).unwrap();
        let of_a_run: BTreeSet<_> = schema
            .split("CREATE TABLE ")
            .skip(1)
            .filter(|table| {
                let (_, key) = table.split_once("PRIMARY KEY").expect("every table has a key");
                let prefix = ["shard_id", "namespace_id", "workflow_id", "run_id"];
                let key = key.trim_start().trim_start_matches('(');
                let columns = key[..key.find(')').unwrap()].split(',').map(str::trim);
                columns.take(prefix.len()).eq(prefix)
            })
            .map(|table| table[..table.find(['(', ' ', '\n']).unwrap()].to_owned())
            .collect();
        let known = super::RUN_TABLES.map(|table| table.name().to_owned()).into();
        assert_eq!(of_a_run, known);
    }
}

//! Random sequences of operations against a reference model of maps.

use std::collections::BTreeMap;

use proptest::{
    prelude::*,
    sample::select,
    test_runner::{Config, RngSeed, TestRunner},
};
use temporal_dsql_domain::{
    ArchetypeId, CurrentExecutionsFilter, CurrentExecutionsRow, ExecutionsFilter, ExecutionsRow,
    NamespaceId, RunId,
};
use temporal_dsql_ports::{Session, StoreError};
use uuid::Uuid;

use crate::{context::TestContext, scenario::scenario_table};

scenario_table! { "reference_model":
    random_operations_agree_with_the_reference;
}

const ARCHETYPES: [ArchetypeId; 3] =
    [ArchetypeId::WORKFLOW, ArchetypeId::ACTIVITY, ArchetypeId(u32::MAX)];

/// An operation on one of a few ids, archetypes and runs, so that operations affect the same rows.
#[derive(Clone, Copy, Debug)]
struct Step {
    operation: Operation,
    id: usize,
    archetype: ArchetypeId,
    run: u8,
    /// Distinguishes the versions of a row.
    version: i64,
    /// Whether the operation is a transaction of its own or an autocommit call.
    in_transaction: bool,
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    InsertExecution,
    UpdateExecution,
    SelectExecution,
    DeleteExecution,
    LockExecution,
    InsertCurrent,
    UpdateCurrent,
    SelectCurrent,
    DeleteCurrent,
    LockCurrent,
    LockJoin,
}

const OPERATIONS: [Operation; 11] = [
    Operation::InsertExecution,
    Operation::UpdateExecution,
    Operation::SelectExecution,
    Operation::DeleteExecution,
    Operation::LockExecution,
    Operation::InsertCurrent,
    Operation::UpdateCurrent,
    Operation::SelectCurrent,
    Operation::DeleteCurrent,
    Operation::LockCurrent,
    Operation::LockJoin,
];

/// The result of an operation in a form that the reference can compare.
#[derive(Clone, Debug, PartialEq)]
enum OperationResult {
    Rows(u64),
    AlreadyExists,
    Execution(Option<Box<ExecutionsRow>>),
    Version(Option<(i64, i64)>),
    Current(Option<Box<CurrentExecutionsRow>>),
    Joined(Vec<CurrentExecutionsRow>),
}

#[derive(Default)]
struct Reference {
    executions: BTreeMap<ExecutionsFilter, ExecutionsRow>,
    current: BTreeMap<CurrentExecutionsFilter, CurrentExecutionsRow>,
}

fn write<K: Ord, R: PartialEq>(
    rows: &mut BTreeMap<K, R>,
    key: K,
    row: R,
    must_exist: bool,
) -> OperationResult {
    match (rows.contains_key(&key), must_exist) {
        (true, false) => OperationResult::AlreadyExists,
        (false, true) => OperationResult::Rows(0),
        (true, true) | (false, false) => {
            rows.insert(key, row);
            OperationResult::Rows(1)
        }
    }
}

impl Reference {
    fn step(
        &mut self,
        operation: Operation,
        current: &CurrentExecutionsRow,
        execution: &ExecutionsRow,
    ) -> OperationResult {
        let (key, id) = (execution.filter(), current.filter());
        match operation {
            Operation::InsertExecution => {
                write(&mut self.executions, key, execution.clone(), false)
            }
            Operation::UpdateExecution => write(&mut self.executions, key, execution.clone(), true),
            Operation::SelectExecution => {
                OperationResult::Execution(self.executions.get(&key).cloned().map(Box::new))
            }
            Operation::DeleteExecution => {
                OperationResult::Rows(self.executions.remove(&key).map_or(0, |_| 1))
            }
            Operation::LockExecution => OperationResult::Version(
                self.executions.get(&key).map(|row| (row.db_record_version, row.next_event_id)),
            ),
            Operation::InsertCurrent => write(&mut self.current, id, current.clone(), false),
            Operation::UpdateCurrent => write(&mut self.current, id, current.clone(), true),
            Operation::SelectCurrent | Operation::LockCurrent => {
                OperationResult::Current(self.current.get(&id).cloned().map(Box::new))
            }
            Operation::DeleteCurrent => {
                let same_run =
                    self.current.get(&id).is_some_and(|row| row.run_id == current.run_id);
                if same_run {
                    self.current.remove(&id);
                }
                OperationResult::Rows(u64::from(same_run))
            }
            Operation::LockJoin => {
                let joined = self.current.get(&id).and_then(|row| {
                    let execution = self.executions.get(&row.executions_filter())?;
                    let last_write_version = execution.last_write_version;
                    Some(CurrentExecutionsRow { last_write_version, ..row.clone() })
                });
                OperationResult::Joined(joined.into_iter().collect())
            }
        }
    }
}

async fn perform(
    session: &mut (impl Session + ?Sized),
    operation: Operation,
    current: &CurrentExecutionsRow,
    execution: &ExecutionsRow,
) -> Result<OperationResult, StoreError> {
    let (key, id) = (execution.filter(), current.filter());
    Ok(match operation {
        Operation::InsertExecution => {
            OperationResult::Rows(session.insert_into_executions(execution).await?)
        }
        Operation::UpdateExecution => {
            OperationResult::Rows(session.update_executions(execution).await?)
        }
        Operation::SelectExecution => {
            OperationResult::Execution(session.select_from_executions(&key).await?.map(Box::new))
        }
        Operation::DeleteExecution => {
            OperationResult::Rows(session.delete_from_executions(&key).await?)
        }
        Operation::LockExecution => OperationResult::Version(
            session
                .write_lock_executions(&key)
                .await?
                .map(|version| (version.db_record_version, version.next_event_id)),
        ),
        Operation::InsertCurrent => {
            OperationResult::Rows(session.insert_into_current_executions(current).await?)
        }
        Operation::UpdateCurrent => {
            OperationResult::Rows(session.update_current_executions(current).await?)
        }
        Operation::SelectCurrent => OperationResult::Current(
            session.select_from_current_executions(&id).await?.map(Box::new),
        ),
        Operation::DeleteCurrent => OperationResult::Rows(
            session.delete_from_current_executions(&id, current.run_id).await?,
        ),
        Operation::LockCurrent => {
            OperationResult::Current(session.lock_current_executions(&id).await?.map(Box::new))
        }
        Operation::LockJoin => {
            OperationResult::Joined(session.lock_current_executions_join_executions(&id).await?)
        }
    })
}

/// Executes the operation on the store: autocommit, or as a transaction that commits if it did not
/// fail.
async fn execute(
    ctx: &TestContext,
    step: Step,
    current: &CurrentExecutionsRow,
    execution: &ExecutionsRow,
) -> OperationResult {
    let result = if step.in_transaction {
        let mut transaction = ctx.begin("Step").await;
        match perform(&mut *transaction, step.operation, current, execution).await {
            Ok(answer) => transaction.commit().await.map(|()| answer),
            Err(error) => transaction.rollback().await.and(Err(error)),
        }
    } else {
        perform(&mut *ctx.store.session(), step.operation, current, execution).await
    };
    match result {
        Ok(answer) => answer,
        Err(StoreError::AlreadyExists { .. }) => OperationResult::AlreadyExists,
        Err(other) => panic!("{step:?}: {other:?}"),
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        select(&OPERATIONS[..]),
        0..2_usize,
        select(&ARCHETYPES[..]),
        0..2_u8,
        0..9_i64,
        any::<bool>(),
    )
        .prop_map(|(operation, id, archetype, run, version, in_transaction)| Step {
            operation,
            id,
            archetype,
            run,
            version,
            in_transaction,
        });
    prop::collection::vec(step, 1..40)
}

async fn random_operations_agree_with_the_reference(ctx: &TestContext) {
    let seed = ctx.random(|random| random.u64(..));
    let config = Config {
        cases: 64,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    };
    let ids = [ctx.current(), ctx.current()];
    let runtime = tokio::runtime::Handle::current();
    let mut runner = TestRunner::new(config);
    let result = tokio::task::block_in_place(|| {
        runner.run(&steps(), |steps| {
            // A namespace of its own separates the cases.
            let namespace_id = NamespaceId(Uuid::from_u128(ctx.random(|random| random.u128(..))));
            let mut reference = Reference::default();
            for step in steps {
                let current = CurrentExecutionsRow {
                    namespace_id,
                    archetype_id: step.archetype,
                    run_id: RunId(Uuid::from_u128(u128::from(step.run))),
                    last_write_version: step.version,
                    ..ids[step.id].clone()
                };
                let mut execution = ctx.execution_of(&current);
                execution.last_write_version = -step.version;
                let expected = reference.step(step.operation, &current, &execution);
                let answer = runtime.block_on(execute(ctx, step, &current, &execution));
                prop_assert_eq!(answer, expected, "{:?}", step);
            }
            Ok(())
        })
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

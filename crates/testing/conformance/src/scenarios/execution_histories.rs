//! History in requests: it is written with its request or not at all; batches that do not fit are
//! appended before it.

use std::sync::atomic::Ordering;

use temporal_dsql_domain::{
    ExecutionState::{Completed, Created, Running, Zombie},
    MapTable,
};
use temporal_dsql_ports::StoreError;
use temporal_dsql_stores::{
    AppendNodes, ConflictResolve, ConflictResolveMode, CreateExecution, CreateMode, ExecutionStore,
    Expected, SetExecution, Snapshot, UpdateMode,
};

use crate::{
    context::{
        TestContext,
        owned_shard::{OwnedShard, rows},
    },
    interceptors::counting_begins,
    scenario::scenario_table,
};

scenario_table! { "execution_histories":
    a_request_writes_every_batch_of_every_run_and_new_branches;
    a_refused_request_writes_no_batch_and_no_branch;
    a_batch_of_an_ancestor_branch_fails_the_whole_request;
    a_request_overwrites_a_batch_that_already_exists;
    batches_of_too_many_rows_are_appended_before_their_request;
    batches_of_too_many_bytes_are_appended_before_their_request;
}

/// Adds batches until there are `count`.
fn extend(shard: &OwnedShard<'_>, events: &mut Vec<AppendNodes>, count: usize) {
    while events.len() < count {
        events.push(shard.events(events.last()));
    }
}

/// Asserts that their branch has these batches and no others, and that the branch is recorded.
async fn assert_history(shard: &OwnedShard<'_>, batches: &[AppendNodes]) {
    let first = batches.first().expect("a batch");
    let expected: Vec<_> = batches.iter().map(|batch| batch.node.clone()).collect();
    assert_eq!(shard.history(first).await, expected);
    let tree = shard.histories.tree(first.shard_id, first.branch.tree_id).await.unwrap();
    assert_eq!(tree.iter().collect::<Vec<_>>(), first.new_branch.iter().collect::<Vec<_>>());
}

/// A request with three runs, the third of which is new, and the two stored runs.
async fn conflict(shard: &OwnedShard<'_>) -> (ConflictResolve, [Snapshot; 2]) {
    let current = shard.create_run(Created).await;
    let zombie = shard.snapshot(&shard.next_run(&current.current, Zombie));
    shard.create(CreateMode::BypassCurrent, &zombie).await.unwrap();
    let request = ConflictResolve {
        owner: shard.owner,
        mode: ConflictResolveMode::UpdateCurrent,
        reset: shard.reset(&zombie, Completed),
        expected: Expected::RecordVersion(zombie.execution.db_record_version),
        new: Some(shard.snapshot(&shard.next_run(&current.current, Running))),
        current: Some(shard.mutation(&current, Zombie)),
    };
    (request, [zombie, current])
}

async fn a_request_writes_every_batch_of_every_run_and_new_branches(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let mut new = shard.new_run(Created);
    extend(&shard, &mut new.events, 3);
    shard.create(CreateMode::BrandNew, &new).await.unwrap();
    assert_history(&shard, &new.events).await;

    // Continue as new.
    let mut mutation = shard.mutation(&new, Completed);
    extend(&shard, &mut mutation.events, 2);
    let mut next = shard.snapshot(&shard.next_run(&new.current, Running));
    extend(&shard, &mut next.events, 2);
    shard.update(UpdateMode::UpdateCurrent, &mutation, Some(&next)).await.unwrap();
    assert_history(&shard, &[&new.events[..], &mutation.events].concat()).await;
    assert_history(&shard, &next.events).await;

    let (mut request, [zombie, current]) = conflict(&shard).await;
    extend(&shard, &mut request.reset.events, 3);
    shard.executions.conflict_resolve(&request).await.unwrap();
    assert_history(&shard, &[&zombie.events[..], &request.reset.events].concat()).await;
    let changed = &request.current.as_ref().unwrap().events;
    assert_history(&shard, &[&current.events[..], changed].concat()).await;
    assert_history(&shard, &request.new.as_ref().unwrap().events).await;
}

/// Asserts that a request fails because of a condition and that no table changes.
async fn assert_writes_nothing(
    ctx: &TestContext,
    operation: impl Future<Output = Result<(), StoreError>>,
) {
    let before = ctx.row_count().await;
    let result = operation.await;
    assert!(matches!(result, Err(StoreError::Condition(_))), "{result:?}");
    assert_eq!(ctx.row_count().await, before);
}

async fn a_refused_request_writes_no_batch_and_no_branch(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let open = shard.create_run(Running).await;
    let next = shard.snapshot(&shard.next_run(&open.current, Created));
    // The id has a current execution.
    assert_writes_nothing(ctx, shard.create(CreateMode::BrandNew, &next)).await;
    // The current run is not closed.
    let reuse = CreateMode::UpdateCurrent {
        previous_run_id: open.current.run_id,
        previous_last_write_version: open.execution.last_write_version,
    };
    assert_writes_nothing(ctx, shard.create(reuse, &next)).await;
    // The new run exists.
    let mutation = shard.mutation(&open, Completed);
    let mut exists = next.clone();
    let zombie = shard.snapshot(&shard.next_run(&open.current, Zombie));
    shard.create(CreateMode::BypassCurrent, &zombie).await.unwrap();
    exists.execution.run_id = zombie.execution.run_id;
    exists.current.run_id = zombie.execution.run_id;
    let mode = UpdateMode::UpdateCurrent;
    assert_writes_nothing(ctx, shard.update(mode, &mutation, Some(&exists))).await;
    // The run is at another version.
    let mut other = mutation.clone();
    other.expected = Expected::RecordVersion(other.execution.db_record_version);
    other.execution.db_record_version += 1;
    assert_writes_nothing(ctx, shard.update(mode, &other, Some(&next))).await;
    let mut set = SetExecution {
        owner: shard.owner,
        snapshot: shard.reset(&open, Running),
        expected: other.expected,
    };
    set.snapshot.execution.db_record_version += 1;
    assert_writes_nothing(ctx, shard.executions.set(&set)).await;
    let (mut request, _) = conflict(&shard).await;
    request.expected = Expected::RecordVersion(request.reset.execution.db_record_version);
    request.reset.execution.db_record_version += 1;
    assert_writes_nothing(ctx, shard.executions.conflict_resolve(&request)).await;
    // The shard has another owner.
    let (request, _) = conflict(&shard).await;
    shard.depose_owner().await;
    assert_writes_nothing(ctx, shard.executions.conflict_resolve(&request)).await;
    assert_writes_nothing(ctx, shard.update(mode, &mutation, Some(&next))).await;
    shard.assert_stored(&open).await;
}

async fn a_batch_of_an_ancestor_branch_fails_the_whole_request(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let run = shard.create_run(Running).await;
    let mut mutation = shard.mutation(&run, Running);
    let branch = ctx.branch().branch_id;
    let mut late = mutation.events[0].clone();
    late.branch = late.branch.fork(9, branch).unwrap();
    mutation.events.push(late);
    let before = ctx.row_count().await;
    let result = shard.update(UpdateMode::UpdateCurrent, &mutation, None).await;
    assert!(
        matches!(result, Err(StoreError::InvalidArgument { field: "node_id", .. })),
        "{result:?}"
    );
    assert_eq!(ctx.row_count().await, before);
}

/// As after a request whose history was appended first, and which is retried.
async fn a_request_overwrites_a_batch_that_already_exists(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let mut new = shard.new_run(Created);
    shard.histories.append(&new.events[0]).await.unwrap();
    new.events[0].node.data = ctx.data();
    shard.create(CreateMode::BrandNew, &new).await.unwrap();
    assert_history(&shard, &new.events).await;
    assert_eq!(shard.stored(&new.execution).await, Some(rows(&new)));
}

/// Asserts that a new run is created with all its batches, and that they are appended first if they
/// are refused together with the rest.
async fn assert_created(
    ctx: &TestContext,
    is_refused: bool,
    new: impl Fn(&OwnedShard<'_>) -> Snapshot,
) {
    let shard = ctx.owned_shard().await;
    let direct = new(&shard);
    shard.create(CreateMode::BrandNew, &direct).await.unwrap();
    assert_eq!(shard.stored(&direct.execution).await, Some(rows(&direct)));
    assert_history(&shard, &direct.events).await;

    let counted = new(&shard);
    let (store, begun) = counting_begins(&ctx.store);
    let request =
        CreateExecution { owner: shard.owner, mode: CreateMode::BrandNew, snapshot: counted };
    ExecutionStore::new(store).create(&request).await.unwrap();
    assert_eq!(shard.stored(&request.snapshot.execution).await, Some(rows(&request.snapshot)));
    assert_history(&shard, &request.snapshot.events).await;
    // The refused transaction, the one of the batch with the new branch, and the one without
    // batches. A batch without a new branch is a single statement.
    let expected = if is_refused { 3 } else { 1 };
    assert_eq!(begun.load(Ordering::SeqCst), expected);
}

async fn batches_of_too_many_rows_are_appended_before_their_request(ctx: &TestContext) {
    let is_refused = ctx.harness.capabilities().transaction_limits;
    assert_created(ctx, is_refused, |shard| {
        let mut new = shard.new_run(Created);
        new.maps = vec![ctx.entries(MapTable::Activities, 2_970)];
        extend(shard, &mut new.events, 40);
        new
    })
    .await;
}

async fn batches_of_too_many_bytes_are_appended_before_their_request(ctx: &TestContext) {
    // On every engine the data of one statement is at most that of a DSQL transaction.
    assert_created(ctx, true, |shard| {
        let mut new = shard.new_run(Created);
        extend(shard, &mut new.events, 11);
        for batch in &mut new.events {
            batch.node.data.data = vec![7; 1_000_000];
        }
        new
    })
    .await;
}

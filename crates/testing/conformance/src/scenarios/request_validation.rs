//! The parts of requests and write sets: an inconsistent one is refused before anything is stored,
//! and a consistent one is stored alike by every adapter.

use temporal_dsql_domain::{
    DataBlob, Encoding,
    ExecutionState::{Completed, Created, Running, Zombie},
    HistoryTreeInfo, IdEntry, ImmediateQueue, MapEntries, MapKeys, MapTable, Table, Tasks,
};
use temporal_dsql_ports::{
    ConditionFailed, MapWrite, Observed, RunChange, StoreError, WriteSet, limits::LimitKind,
};
use temporal_dsql_stores::{
    AppendNodes, ConflictResolve, ConflictResolveMode, CreateExecution, CreateMode, Expected,
    Mutation, SetExecution, Snapshot, UpdateExecution, UpdateMode,
};

use crate::{
    context::{
        TestContext,
        guarded_requests::GuardedRequest,
        owned_shard::{OwnedShard, SharedStore, assert_refused, rows},
        write_sets::{Change, apply, write_set},
    },
    entries::{joined, split},
    scenario::scenario_table,
};

scenario_table! { "request_validation":
    a_map_that_occurs_twice_is_refused;
    a_write_of_one_map_that_removes_from_another_is_refused;
    a_run_that_occurs_twice_in_a_request_is_refused;
    events_of_another_shard_are_refused;
    a_new_branch_that_is_not_the_branch_of_its_events_is_refused;
    events_before_the_branch_are_refused_with_the_whole_request;
    sixteen_hundred_activities_are_set_repeatedly;
    a_new_run_keeps_existing_map_entries per map;
    a_new_run_keeps_existing_buffered_events;
    an_oversized_entry_is_refused_even_if_it_is_removed;
    a_write_set_larger_than_a_transaction_is_refused_before_its_conditions_are_checked;
    more_than_ten_mebibytes_in_one_statement_are_refused_at_the_statement;
    of_two_duplicates_the_first_in_table_order_is_reported;
}

/// Requests on a stored run, a zombie beside it and new runs: one of each kind, each with every
/// kind of part.
struct Requests {
    create: CreateExecution,
    update: UpdateExecution,
    resolve: ConflictResolve,
    set: SetExecution,
    before: Snapshot,
}

impl Requests {
    async fn new(shard: &OwnedShard<'_>) -> Self {
        let owner = shard.owner;
        let before = shard.create_run(Running).await;
        let zombie = shard.snapshot(&shard.next_run(&before.current, Zombie));
        shard.create(CreateMode::BypassCurrent, &zombie).await.unwrap();
        let next = || shard.snapshot(&shard.next_run(&before.current, Created));
        let at = |run: &Snapshot| Expected::RecordVersion(run.execution.db_record_version);
        Self {
            create: CreateExecution {
                owner,
                mode: CreateMode::BrandNew,
                snapshot: shard.new_run(Created),
            },
            update: UpdateExecution {
                owner,
                mode: UpdateMode::UpdateCurrent,
                mutation: shard.mutation(&before, Completed),
                new: Some(next()),
            },
            resolve: ConflictResolve {
                owner,
                mode: ConflictResolveMode::UpdateCurrent,
                reset: shard.reset(&zombie, Completed),
                expected: at(&zombie),
                new: Some(next()),
                current: Some(shard.mutation(&before, Zombie)),
            },
            set: SetExecution {
                owner,
                snapshot: shard.reset(&before, Running),
                expected: at(&before),
            },
            before,
        }
    }

    fn create(&self, change: impl Fn(&mut CreateExecution)) -> GuardedRequest {
        let mut request = self.create.clone();
        change(&mut request);
        GuardedRequest::Create(Box::new(request))
    }

    fn update(&self, change: impl Fn(&mut UpdateExecution)) -> GuardedRequest {
        let mut request = self.update.clone();
        change(&mut request);
        GuardedRequest::Update(Box::new(request), Box::new(rows(&self.before)))
    }

    fn resolve(&self, change: impl Fn(&mut ConflictResolve)) -> GuardedRequest {
        let mut request = self.resolve.clone();
        change(&mut request);
        GuardedRequest::ConflictResolve(Box::new(request))
    }

    fn set(&self, change: impl Fn(&mut SetExecution)) -> GuardedRequest {
        let mut request = self.set.clone();
        change(&mut request);
        GuardedRequest::Set(Box::new(request))
    }

    /// Every request, with a change to one of its snapshots.
    fn with_snapshot(&self, change: impl Fn(&mut Snapshot)) -> Vec<GuardedRequest> {
        vec![
            self.create(|request| change(&mut request.snapshot)),
            self.update(|request| change(request.new.as_mut().unwrap())),
            self.resolve(|request| change(&mut request.reset)),
            self.resolve(|request| change(request.new.as_mut().unwrap())),
            self.set(|request| change(&mut request.snapshot)),
        ]
    }

    /// Every request with a mutation, with a change to it.
    fn with_mutation(&self, change: impl Fn(&mut Mutation)) -> Vec<GuardedRequest> {
        vec![
            self.update(|request| change(&mut request.mutation)),
            self.resolve(|request| change(request.current.as_mut().unwrap())),
        ]
    }

    /// Every request, with a change to the events of one of its runs.
    fn with_events(&self, change: impl Fn(&mut AppendNodes)) -> Vec<GuardedRequest> {
        let mut requests = self.with_snapshot(|snapshot| change(&mut snapshot.events[0]));
        requests.extend(self.with_mutation(|mutation| change(&mut mutation.events[0])));
        requests
    }
}

/// Asserts that each request is refused as invalid with the name of the field, and stores nothing,
/// not even history.
async fn assert_invalid(shard: &OwnedShard<'_>, requests: Vec<GuardedRequest>, expected: &str) {
    let ctx = shard.ctx;
    let stored = async || {
        let mut stored = vec![shard.execution_count().await, shard.task_count().await];
        stored.extend(ctx.fixture.counts(&[Table::HistoryNode, Table::HistoryTree]).await);
        stored
    };
    let before = stored().await;
    for request in requests {
        match request.execute(SharedStore::clone(&ctx.store)).await {
            Err(StoreError::InvalidArgument { field, .. }) => assert_eq!(field, expected),
            other => panic!("{request:?}: {other:?}"),
        }
        assert_eq!(stored().await, before, "{request:?}");
    }
}

async fn a_map_that_occurs_twice_is_refused(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let requests = Requests::new(&shard).await;
    let twice = requests.with_snapshot(|snapshot| {
        let again = ctx.entries(snapshot.maps[2].map(), 1);
        snapshot.maps.push(again);
    });
    assert_invalid(&shard, twice, "maps").await;
    let twice = requests.with_mutation(|mutation| {
        let map = mutation.maps[0].replace.map();
        mutation.maps.push(MapWrite::upsert(MapEntries::none(map)));
    });
    assert_invalid(&shard, twice, "maps").await;
}

async fn a_write_of_one_map_that_removes_from_another_is_refused(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let requests = Requests::new(&shard).await;
    let other = requests.with_mutation(|mutation| {
        assert_eq!(mutation.maps[3].replace.map(), MapTable::RequestCancels);
        mutation.maps[3].remove = MapKeys::Signals(vec![1]);
    });
    assert_invalid(&shard, other, "maps").await;
}

async fn a_run_that_occurs_twice_in_a_request_is_refused(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let requests = Requests::new(&shard).await;
    let twice = vec![
        requests.update(|request| {
            let current = &shard.next_run(&request.mutation.current, Created);
            let mut next = shard.snapshot(current);
            next.current.run_id = request.mutation.execution.run_id;
            next.execution.run_id = request.mutation.execution.run_id;
            request.new = Some(next);
        }),
        requests.resolve(|request| {
            let new = request.new.as_mut().unwrap();
            new.current.run_id = request.reset.execution.run_id;
            new.execution.run_id = request.reset.execution.run_id;
        }),
        requests.resolve(|request| {
            let current = request.current.as_mut().unwrap();
            current.current.run_id = request.reset.execution.run_id;
            current.execution.run_id = request.reset.execution.run_id;
        }),
        requests.resolve(|request| {
            let current = request.current.as_ref().unwrap();
            let new = request.new.as_mut().unwrap();
            new.current.run_id = current.execution.run_id;
            new.execution.run_id = current.execution.run_id;
        }),
    ];
    assert_invalid(&shard, twice, "run_id").await;
    // The current run is reset and changed at once: the reset alone would satisfy both conditions.
    let run = &requests.before;
    let both = ConflictResolve {
        reset: shard.reset(run, Running),
        expected: Expected::RecordVersion(run.execution.db_record_version),
        new: None,
        current: Some(shard.mutation(run, Completed)),
        ..requests.resolve.clone()
    };
    assert_invalid(&shard, vec![GuardedRequest::ConflictResolve(Box::new(both))], "run_id").await;
    shard.assert_stored(run).await;
}

async fn events_of_another_shard_are_refused(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let requests = Requests::new(&shard).await;
    let other = ctx.shard_id();
    let requests = requests.with_events(|events| events.shard_id = other);
    assert_invalid(&shard, requests, "shard_id").await;
}

async fn a_new_branch_that_is_not_the_branch_of_its_events_is_refused(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let requests = Requests::new(&shard).await;
    let other = ctx.branch();
    let changes: [&(dyn Fn(&mut HistoryTreeInfo) + Sync); 3] = [
        &|info| info.branch.tree_id = other.tree_id,
        &|info| info.branch.branch_id = other.branch_id,
        &|info| info.branch = info.branch.fork(3, other.branch_id).unwrap(),
    ];
    for change in changes {
        let info = |events: &AppendNodes| HistoryTreeInfo {
            branch: events.branch.clone(),
            fork_time: temporal_dsql_domain::Timestamp::UNIX_EPOCH,
            info: String::new(),
        };
        let requests =
            requests.with_events(|events| change(events.new_branch.insert(info(events))));
        assert_invalid(&shard, requests, "new_branch").await;
        let mut events = shard.new_run(Created).events.remove(0);
        change(events.new_branch.as_mut().unwrap());
        let nodes = ctx.fixture.count(Table::HistoryNode).await;
        match shard.histories.append(&events).await {
            Err(StoreError::InvalidArgument { field, .. }) => assert_eq!(field, "new_branch"),
            other => panic!("{other:?}"),
        }
        assert_eq!(ctx.fixture.count(Table::HistoryNode).await, nodes);
    }
}

async fn events_before_the_branch_are_refused_with_the_whole_request(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let requests = Requests::new(&shard).await;
    // After a batch that could be appended.
    let behind = |change: &(dyn Fn(&mut AppendNodes) + Sync)| {
        let mut behind = requests.with_snapshot(|snapshot| {
            let mut last = snapshot.events[0].clone();
            change(&mut last);
            snapshot.events.push(last);
        });
        behind.extend(requests.with_mutation(|mutation| {
            let mut last = mutation.events[0].clone();
            change(&mut last);
            mutation.events.push(last);
        }));
        behind
    };
    assert_invalid(&shard, behind(&|events| events.node.node_id = 0), "node_id").await;
    assert_invalid(&shard, behind(&|events| events.node.txn_id = i64::MIN), "txn_id").await;
}

async fn sixteen_hundred_activities_are_set_repeatedly(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let mut before = shard.create_run(Running).await;
    let pool = ctx.entries(MapTable::Activities, 1_700);
    let (_, later) = split(pool.clone(), 100);
    let (sooner, _) = split(pool, 1_600);
    // First the same keys, then keys of which all but a hundred are the same.
    for entries in [sooner.clone(), ctx.changed_entries(&sooner), later] {
        let mut snapshot = shard.reset(&before, Running);
        snapshot.maps = vec![entries];
        let expected = Expected::RecordVersion(before.execution.db_record_version);
        let set = SetExecution { owner: shard.owner, snapshot, expected };
        shard.executions.set(&set).await.unwrap();
        shard.assert_stored(&set.snapshot).await;
        before = set.snapshot;
    }
}

/// Deletions of the Go server leave rows without a run (temporal-persistence.md#other-operations).
async fn a_new_run_keeps_existing_map_entries(ctx: &TestContext) {
    let map = ctx.map();
    let shard = ctx.owned_shard().await;
    let run = shard.new_run(Created);
    let key = run.execution.filter();
    let left = ctx.entries(map, 3);
    let (overwritten, _) = split(left.clone(), 1);
    let new = joined(ctx.changed_entries(&overwritten), ctx.entries(map, 1));
    let mut session = ctx.store.session();
    session.replace_into_map(&key, &left).await.unwrap();
    let maps = [new.clone()];
    apply(ctx, &write_set(&run.execution, RunChange::Insert { row: &run.execution, maps: &maps }))
        .await;
    let found = session.select_all_from_map(&key, map).await.unwrap();
    assert_eq!(found, joined(left, new));
}

async fn a_new_run_keeps_existing_buffered_events(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let run = shard.new_run(Created);
    let key = run.execution.filter();
    let expected = ctx.events(2);
    let mut session = ctx.store.session();
    session.insert_into_buffered_events(&key, &expected).await.unwrap();
    let insert = RunChange::Insert { row: &run.execution, maps: &run.maps };
    apply(ctx, &write_set(&run.execution, insert)).await;
    assert_eq!(session.select_from_buffered_events(&key).await.unwrap(), expected);
}

async fn an_oversized_entry_is_refused_even_if_it_is_removed(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let run = shard.create_run(Running).await;
    let blob = |bytes| DataBlob::new(vec![7; bytes], Encoding::new("Proto3").unwrap());
    let entry = |bytes| IdEntry { id: 1, data: blob(bytes) };
    let too_large = temporal_dsql_ports::limits::MAX_VALUE_BYTES + 1;
    let removed = MapWrite {
        remove: MapKeys::Signals(vec![1]),
        replace: MapEntries::Signals(vec![entry(too_large)]),
    };
    let overwritten = MapWrite {
        remove: MapKeys::none(MapTable::Signals),
        replace: MapEntries::Signals(vec![entry(too_large), entry(1)]),
    };
    for map in [removed, overwritten] {
        let mut refused = Change::new(ctx, &run.execution);
        refused.maps.push(map);
        match ctx.store.apply(&refused.set()).await {
            Err(StoreError::Limit { kind, .. }) => assert_eq!(kind, LimitKind::ValueBytes),
            other => panic!("{other:?}"),
        }
    }
    let nodes = [blob(too_large), blob(1)].map(|data| {
        let mut node = ctx.node(1, 1);
        node.data = data;
        node
    });
    match ctx.store.session().insert_into_history_node(&ctx.branch(), &nodes).await {
        Err(StoreError::Limit { kind, .. }) => assert_eq!(kind, LimitKind::ValueBytes),
        other => panic!("{other:?}"),
    }
}

/// The limit is checked even if the shard has another owner, and for both ways to send a write set.
async fn a_write_set_larger_than_a_transaction_is_refused_before_its_conditions_are_checked(
    ctx: &TestContext,
) {
    let shard = ctx.owned_shard().await;
    let task = |task_id| temporal_dsql_domain::ImmediateTask {
        task_id,
        data: DataBlob::new(vec![7; 1_000_000], Encoding::new("Proto3").unwrap()),
    };
    let tasks = Tasks {
        immediate: vec![(ImmediateQueue::Transfer, (0..11).map(task).collect())],
        scheduled: Vec::new(),
    };
    let next = shard.depose_owner().await;
    for owner in [shard.owner, next] {
        let mut add = WriteSet::new("AddTasks", owner.shard_id);
        add.range_id = Some(owner.range_id);
        add.tasks.push(&tasks);
        match ctx.store.apply(&add).await {
            Err(StoreError::Limit { kind, .. }) => assert_eq!(kind, LimitKind::TransactionBytes),
            other => panic!("{other:?}"),
        }
    }
}

/// An error before a statement is sent does not end the transaction.
async fn more_than_ten_mebibytes_in_one_statement_are_refused_at_the_statement(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let run = shard.create_run(Running).await;
    let key = run.execution.filter();
    let large = || DataBlob::new(vec![7; 1_000_000], Encoding::new("Proto3").unwrap());
    let entries = |count| {
        MapEntries::Activities((0..count).map(|id| IdEntry { id, data: large() }).collect())
    };
    let tasks = |count| -> Vec<_> {
        let task = |task_id| temporal_dsql_domain::ImmediateTask { task_id, data: large() };
        (0..count).map(task).collect()
    };
    let events: Vec<_> = (0..11).map(|_| large()).collect();
    let nodes: Vec<_> = (0..11)
        .map(|node_id| temporal_dsql_domain::HistoryNode { data: large(), ..ctx.node(node_id, 1) })
        .collect();
    let mut whole = Change::new(ctx, &run.execution);
    let remove = MapKeys::none(MapTable::Activities);
    whole.maps.push(MapWrite { remove, replace: entries(11) });
    let queue = ImmediateQueue::Transfer;
    let mut transaction = ctx.begin("Write").await;
    let refusals = [
        transaction.write(&whole.set(), &Observed::default()).await.map(|_| 0),
        transaction.replace_into_map(&key, &entries(11)).await,
        transaction.insert_into_immediate_tasks(key.shard_id, &queue, &tasks(11)).await,
        transaction.insert_into_buffered_events(&key, &events).await,
        transaction.insert_into_history_node(&ctx.branch(), &nodes).await,
    ];
    for refusal in refusals {
        assert!(
            matches!(refusal, Err(StoreError::Limit { kind: LimitKind::TransactionBytes, .. })),
            "{refusal:?}"
        );
    }
    transaction.replace_into_map(&key, &entries(2)).await.unwrap();
    transaction.commit().await.unwrap();
    let found = ctx.store.session().select_all_from_map(&key, MapTable::Activities).await;
    assert_eq!(found.unwrap(), joined(run.maps[0].clone(), entries(2)));
}

async fn of_two_duplicates_the_first_in_table_order_is_reported(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let run = shard.create_run(Completed).await;
    // The run comes before its tasks.
    let mut again = shard.snapshot(&run.current);
    again.tasks = run.tasks.clone();
    let previous = CreateMode::UpdateCurrent {
        previous_run_id: run.execution.run_id,
        previous_last_write_version: run.execution.last_write_version,
    };
    let exists = ConditionFailed::ExecutionExists { run_id: run.execution.run_id };
    assert_refused(shard.create(previous, &again).await, &exists);
    // Tasks come in table order, whatever the order in the request.
    let mut new = shard.new_run(Created);
    new.tasks = run.tasks.clone();
    new.tasks.immediate.reverse();
    new.tasks.scheduled.reverse();
    let tasks = |range: std::ops::Range<usize>| Tasks {
        immediate: new.tasks.immediate[range].to_vec(),
        scheduled: new.tasks.scheduled.clone(),
    };
    let all = new.tasks.immediate.len();
    for (tasks, expected) in [
        (tasks(0..all), Table::TransferTasks),
        (tasks(0..all - 1), Table::VisibilityTasks),
        (tasks(0..0), Table::TimerTasks),
    ] {
        let create = Snapshot { tasks: tasks.clone(), ..new.clone() };
        for result in [
            shard.create(CreateMode::BrandNew, &create).await,
            shard.tasks.add(shard.owner, &tasks).await,
        ] {
            match result {
                Err(StoreError::AlreadyExists { table, .. }) => assert_eq!(table, expected),
                other => panic!("{other:?}"),
            }
        }
    }
}

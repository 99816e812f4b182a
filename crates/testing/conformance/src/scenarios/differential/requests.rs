//! The generator of requests on whole executions.

use temporal_dsql_domain::{
    CurrentExecutionsFilter, CurrentExecutionsRow, Encoding,
    ExecutionState::{self, Completed, Created, Running, Zombie},
    ExecutionStatus, ExecutionsFilter, ExecutionsRow, MapTable, RequestId, ShardId,
};
use temporal_dsql_ports::{BufferedWrite, MapWrite};
use temporal_dsql_stores::{
    AppendNodes, ConflictResolve, ConflictResolveMode, CreateExecution, CreateMode, ExecutionStore,
    Expected, Mutation, SetExecution, Snapshot, UpdateExecution, UpdateMode,
};

use super::{
    generator::{self, Generator},
    operation::Operation,
};

impl Generator {
    pub(super) async fn create(&mut self, shard_id: ShardId) -> Operation {
        let owner = self.owner(shard_id).await;
        let run = self.new_run(shard_id, None).await;
        let (archetype_id, current) = self.current_of(&run).await;
        let closed = current.as_ref().filter(|row| row.state == Completed);
        let previous = match closed {
            Some(row) => {
                let stored = self.stored(&row.executions_filter()).await;
                let version = stored.map_or(0, |stored| stored.last_write_version);
                Some(CreateMode::UpdateCurrent {
                    previous_run_id: row.run_id,
                    previous_last_write_version: if self.rarely() { 7 } else { version },
                })
            }
            None => None,
        };
        let mode = match (previous, &current) {
            (Some(previous), _) if self.usually() => previous,
            (None, None) if self.usually() => CreateMode::BrandNew,
            (None, Some(row)) if self.rarely() => CreateMode::UpdateCurrent {
                previous_run_id: row.run_id,
                previous_last_write_version: row.last_write_version,
            },
            _ if self.rarely() => CreateMode::BrandNew,
            _ => CreateMode::BypassCurrent,
        };
        let state = match mode {
            CreateMode::BypassCurrent => self.state(&[Completed, Zombie]),
            _ => self.state(&[Created, Running, Completed]),
        };
        let snapshot = self.snapshot(&run, archetype_id, state, 1);
        Operation::Create(Box::new(CreateExecution { owner, mode, snapshot }))
    }

    pub(super) async fn update(&mut self, shard_id: ShardId) -> Operation {
        let owner = self.owner(shard_id).await;
        let run = self.stored_run(shard_id).await;
        let (archetype_id, current) = self.current_of(&run).await;
        let is_current = current.is_some_and(|row| row.run_id == run.run_id);
        let mode = if is_current == self.usually() {
            UpdateMode::UpdateCurrent
        } else if self.random.bool() {
            UpdateMode::BypassCurrent
        } else {
            UpdateMode::IgnoreCurrent
        };
        let continues = mode != UpdateMode::IgnoreCurrent && self.random.u32(0..4) == 0;
        let state = match mode {
            UpdateMode::UpdateCurrent if !continues => self.state(&[Created, Running, Completed]),
            UpdateMode::UpdateCurrent => self.state(&[Completed]),
            UpdateMode::BypassCurrent => self.state(&[Completed, Zombie]),
            UpdateMode::IgnoreCurrent => self.state(&[Running, Completed, Zombie]),
        };
        let mutation = self.mutation(&run, archetype_id, state).await;
        let new = if continues {
            let state = match mode {
                UpdateMode::UpdateCurrent => self.state(&[Created, Running]),
                _ => self.state(&[Zombie]),
            };
            Some(self.next(&run, archetype_id, state).await)
        } else {
            None
        };
        Operation::Update(Box::new(UpdateExecution { owner, mode, mutation, new }))
    }

    pub(super) async fn conflict_resolve(&mut self, shard_id: ShardId) -> Operation {
        let owner = self.owner(shard_id).await;
        let run = self.stored_run(shard_id).await;
        let (archetype_id, current) = self.current_of(&run).await;
        let other = current.filter(|row| row.run_id != run.run_id || self.rarely());
        let bypasses = other.is_some() && self.random.u32(0..3) == 0;
        let mode = if bypasses {
            ConflictResolveMode::BypassCurrent
        } else {
            ConflictResolveMode::UpdateCurrent
        };
        let continues = self.random.u32(0..3) == 0;
        let state = match (bypasses, continues) {
            (true, false) => self.state(&[Completed, Zombie]),
            (_, true) => self.state(&[Completed]),
            (false, false) => self.state(&[Created, Running, Completed]),
        };
        let (expected, version) = self.expected(&run).await;
        let reset = self.snapshot(&run, archetype_id, state, version);
        let current = match other {
            Some(row) if !bypasses || self.rarely() => {
                let state = self.state(&[Completed, Zombie]);
                Some(self.mutation(&row.executions_filter(), archetype_id, state).await)
            }
            _ => None,
        };
        let new = if continues {
            let state = self.state(if bypasses { &[Zombie] } else { &[Created, Running] });
            Some(self.next(&run, archetype_id, state).await)
        } else {
            None
        };
        let request = ConflictResolve { owner, mode, reset, expected, new, current };
        Operation::ConflictResolve(Box::new(request))
    }

    pub(super) async fn set(&mut self, shard_id: ShardId) -> Operation {
        let owner = self.owner(shard_id).await;
        let run = self.stored_run(shard_id).await;
        let (archetype_id, _) = self.current_of(&run).await;
        let (expected, version) = self.expected(&run).await;
        let state = self.state(&[Running, Completed, Zombie]);
        let snapshot = self.snapshot(&run, archetype_id, state, version);
        Operation::Set(Box::new(SetExecution { owner, snapshot, expected }))
    }

    /// The next run of the id of `of`; rarely the same run, or one of another id.
    async fn next(
        &mut self,
        of: &ExecutionsFilter,
        archetype_id: temporal_dsql_domain::ArchetypeId,
        state: ExecutionState,
    ) -> Snapshot {
        let run = match self.random.u32(0..20) {
            0 => of.clone(),
            1 => self.new_run(of.shard_id, None).await,
            _ => self.new_run(of.shard_id, Some(of)).await,
        };
        self.snapshot(&run, archetype_id, state, 1)
    }

    /// A run that is usually not stored, of the id of `of` if it is given.
    async fn new_run(
        &mut self,
        shard_id: ShardId,
        of: Option<&ExecutionsFilter>,
    ) -> ExecutionsFilter {
        let mut all = generator::runs(shard_id);
        all.retain(|run| of.is_none_or(|of| of.workflow_id == run.workflow_id));
        let run = self.one_of(&all);
        if self.rarely() {
            return run;
        }
        self.random.shuffle(&mut all);
        for other in all {
            if self.stored(&other).await.is_none() {
                return other;
            }
        }
        run
    }

    /// The archetype and the current execution for a run: usually those whose current run it is, if
    /// there are any.
    async fn current_of(
        &mut self,
        run: &ExecutionsFilter,
    ) -> (temporal_dsql_domain::ArchetypeId, Option<CurrentExecutionsRow>) {
        let executions = ExecutionStore::new(std::sync::Arc::clone(&self.model));
        if self.usually() {
            for id in generator::currents(run.shard_id) {
                let current = executions.get_current(&id).await.unwrap();
                if let Some(row) = current
                    && row.executions_filter() == *run
                {
                    return (row.archetype_id, Some(row));
                }
            }
        }
        let archetype_id = self.archetype();
        let id = CurrentExecutionsFilter {
            shard_id: run.shard_id,
            namespace_id: run.namespace_id,
            workflow_id: run.workflow_id.clone(),
            archetype_id,
        };
        (archetype_id, executions.get_current(&id).await.unwrap())
    }

    async fn stored(&self, run: &ExecutionsFilter) -> Option<ExecutionsRow> {
        self.model.session().select_from_executions(run).await.unwrap()
    }

    /// One of these states; rarely another one.
    fn state(&mut self, fitting: &[ExecutionState]) -> ExecutionState {
        if self.rarely() {
            return self.one_of(&[Created, Running, Completed, Zombie]);
        }
        self.one_of(fitting)
    }

    /// The expected version of a run, usually the stored one, and the version after it.
    async fn expected(&mut self, run: &ExecutionsFilter) -> (Expected, i64) {
        let stored = self.stored(run).await;
        let (version, next_event_id) =
            stored.map_or((1, 1), |row| (row.db_record_version, row.next_event_id));
        match self.random.u32(0..24) {
            0..20 => (Expected::RecordVersion(version), version.wrapping_add(1)),
            20 | 21 => (Expected::NextEventId(next_event_id), version.wrapping_add(1)),
            22 => {
                let version = self.number();
                (Expected::RecordVersion(version), version.wrapping_add(1))
            }
            _ => (Expected::RecordVersion(version), self.number()),
        }
    }

    fn execution(&mut self, run: &ExecutionsFilter, version: i64) -> ExecutionsRow {
        ExecutionsRow {
            shard_id: run.shard_id,
            namespace_id: run.namespace_id,
            workflow_id: run.workflow_id.clone(),
            run_id: run.run_id,
            next_event_id: self.number(),
            last_write_version: self.number(),
            data: self.blob(),
            state: self.blob(),
            db_record_version: version,
        }
    }

    fn current_row(
        &mut self,
        execution: &ExecutionsRow,
        archetype_id: temporal_dsql_domain::ArchetypeId,
        state: ExecutionState,
    ) -> CurrentExecutionsRow {
        let status = match state {
            Completed => self.one_of(&[ExecutionStatus::Completed, ExecutionStatus::TimedOut]),
            _ => ExecutionStatus::Running,
        };
        let data = self.random.bool().then(|| self.blob());
        let longest = "é".repeat(RequestId::MAX_CHARS);
        let request_id = self.one_of(&["", "request", &longest]);
        CurrentExecutionsRow {
            shard_id: execution.shard_id,
            namespace_id: execution.namespace_id,
            workflow_id: execution.workflow_id.clone(),
            archetype_id,
            run_id: execution.run_id,
            create_request_id: RequestId::new(request_id).unwrap(),
            start_time: self.random.bool().then(|| self.time()),
            last_write_version: self.number(),
            state,
            status,
            data_encoding: Encoding::new(if data.is_some() { "Proto3" } else { "" }).unwrap(),
            data: data.map(|blob| blob.data),
        }
    }

    fn snapshot(
        &mut self,
        run: &ExecutionsFilter,
        archetype_id: temporal_dsql_domain::ArchetypeId,
        state: ExecutionState,
        version: i64,
    ) -> Snapshot {
        let execution = self.execution(run, version);
        let mut maps: Vec<_> = MapTable::ALL.into_iter().filter(|_| self.random.bool()).collect();
        if self.rarely() {
            maps.push(self.one_of(&MapTable::ALL));
        }
        Snapshot {
            current: self.current_row(&execution, archetype_id, state),
            maps: maps.into_iter().map(|map| self.entries(map)).collect(),
            tasks: self.tasks(),
            events: self.batches(run.shard_id),
            execution,
        }
    }

    async fn mutation(
        &mut self,
        run: &ExecutionsFilter,
        archetype_id: temporal_dsql_domain::ArchetypeId,
        state: ExecutionState,
    ) -> Mutation {
        let (expected, version) = self.expected(run).await;
        let execution = self.execution(run, version);
        let mut maps: Vec<_> = MapTable::ALL.into_iter().filter(|_| self.random.bool()).collect();
        if self.rarely() {
            maps.push(self.one_of(&MapTable::ALL));
        }
        let maps = maps.into_iter().map(|map| {
            let of = if self.random.u32(0..60) == 0 { self.one_of(&MapTable::ALL) } else { map };
            let count = self.random.usize(0..3);
            MapWrite { remove: self.keys(of, count), replace: self.entries(map) }
        });
        let maps = maps.collect();
        Mutation {
            expected,
            current: self.current_row(&execution, archetype_id, state),
            maps,
            buffered: BufferedWrite { clear: self.random.u32(0..3) == 0, append: self.blobs() },
            tasks: self.tasks(),
            events: self.batches(run.shard_id),
            execution,
        }
    }

    fn batches(&mut self, shard_id: ShardId) -> Vec<AppendNodes> {
        let count = self.one_of(&[0, 0, 0, 0, 1, 2]);
        (0..count)
            .map(|_| {
                let mut events = self.events(shard_id);
                // Most requests succeed.
                if self.usually() {
                    events.shard_id = shard_id;
                    events.new_branch = None;
                    events.node.node_id = events.branch.begin_node_id();
                    events.node.txn_id = events.node.txn_id.max(1);
                }
                events
            })
            .collect()
    }
}

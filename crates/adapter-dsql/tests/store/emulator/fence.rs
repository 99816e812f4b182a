//! The fence of a write that is one statement, on DSQL, where the commit detects conflicts: takeovers
//! between the snapshot of a write and its commit, statements that arrive late, and writes of one
//! shard that overlap.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use dsql_emulator::CommitFault;
use temporal_dsql_domain::{ArchetypeId, ShardId};
use temporal_dsql_ports::{Outcome, RetryPolicy};
use temporal_dsql_store::{DsqlStore, connect};
use temporal_dsql_stores::{ExecutionStore, Owner, ShardStore};
use temporal_dsql_testkit::ScratchCluster;

use crate::support::{
    LONG_RETRIES, advance, blob,
    cluster::{cluster, config, credentials, open},
    late,
    operations::{
        self, GuardedWrite, KINDS, Kind, Run, TAKEOVER_METHODS, TYPICAL, TakeoverMethod,
        assert_ownership_lost, numbers, take_over,
    },
    recorder::Recorded,
};

async fn one_statement() -> Option<ScratchCluster> {
    cluster(|builder| builder.accept_data_modifying_with(true).accept_locking_subqueries(true))
        .await
}

/// A store that waits longer for the answer to a write than commits are held.
async fn open_for_held_commits(cluster: &ScratchCluster) -> DsqlStore {
    let mut config = config(cluster);
    config.statement_timeout = config.retry.deadline;
    connect(&config, Some(credentials(cluster))).await.unwrap()
}

async fn stored(cluster: &ScratchCluster, write: &GuardedWrite) -> [i64; 5] {
    numbers(&cluster.query(&write.contents_query()).await.unwrap())
}

/// How many conflicts an operation has lost.
fn conflicts(recorded: &Recorded, op: &str) -> u64 {
    recorded.total("dsql_tx_conflict_total", &[("operation", op)])
}

/// Every kind of write with every way to take its shard over, prepared by `store`.
async fn prepared(store: &DsqlStore) -> Vec<(GuardedWrite, TakeoverMethod)> {
    let mut prepared = Vec::new();
    for kind in KINDS {
        for method in TAKEOVER_METHODS {
            let shard_id = ShardId(100 + i32::try_from(prepared.len()).unwrap());
            let owner = Owner { shard_id, range_id: 1 };
            prepared.push((GuardedWrite::prepared(store, kind, owner).await, method));
        }
    }
    prepared
}

/// Waits until that many commits are held, or until all have ended.
async fn held_commits(cluster: &ScratchCluster, count: usize) {
    let held = cluster.faults().held_commits(count);
    tokio::time::timeout(Duration::from_secs(120), held).await.expect("the commits never come");
}

/// The commits of the writes are held, and the takeovers commit in the meantime.
async fn taken_over_before_the_commit(
    cluster: &ScratchCluster,
    store: Arc<DsqlStore>,
    writes: &[(GuardedWrite, TakeoverMethod)],
) -> Vec<Result<(), temporal_dsql_ports::StoreError>> {
    let next_owner = open(cluster, LONG_RETRIES).await;
    // Its statements are prepared.
    let elsewhere = Owner { shard_id: ShardId(99), range_id: 1 };
    GuardedWrite::prepared(&next_owner, Kind::AddTasks, elsewhere).await;
    cluster.faults().at_commit(CommitFault::Held, writes.len());
    let running: Vec<_> = writes
        .iter()
        .map(|(write, _)| {
            let (write, store) = (write.clone(), Arc::clone(&store));
            tokio::spawn(async move { write.execute_on(&store).await })
        })
        .collect();
    held_commits(cluster, writes.len()).await;
    for (write, method) in writes {
        take_over(&next_owner, write.owner, *method).await.unwrap();
    }
    cluster.faults().release_commits();
    let mut results = Vec::new();
    for write in running {
        results.push(write.await.unwrap());
    }
    results
}

#[tokio::test]
async fn a_takeover_between_the_snapshot_of_a_write_and_its_commit_ends_the_write() {
    let recorded = Recorded::default();
    let _recorder = metrics::set_default_local_recorder(&recorded);
    let Some(cluster) = one_statement().await else { return };
    let store = Arc::new(open_for_held_commits(&cluster).await);
    let writes = prepared(&store).await;
    let mut before = Vec::new();
    for (write, _) in &writes {
        before.push((stored(&cluster, write).await, write));
    }
    let lost_before = KINDS.map(|kind| conflicts(&recorded, kind.op()));
    let results = taken_over_before_the_commit(&cluster, Arc::clone(&store), &writes).await;
    for ((before, write), result) in before.into_iter().zip(results) {
        assert_ownership_lost(write, result);
        assert_eq!(stored(&cluster, write).await, before, "{:?}", write.kind);
    }
    // Each write had read before the takeover: it lost its commit, read again, and was refused.
    let lost = KINDS.map(|kind| conflicts(&recorded, kind.op()));
    for (kind, (before, after)) in KINDS.iter().zip(lost_before.into_iter().zip(lost)) {
        assert_eq!(after - before, TAKEOVER_METHODS.len() as u64, "{kind:?}");
    }
}

/// The client has given up when the commit of its statement comes.
#[tokio::test]
async fn a_late_commit_fails_after_a_takeover_and_takes_effect_without_one() {
    const TIMEOUT: Duration = Duration::from_secs(60);
    let Some(cluster) = one_statement().await else { return };
    let other = open(&cluster, LONG_RETRIES).await;
    let mut config = config(&cluster);
    config.retry = RetryPolicy::NEVER;
    let with_takeover = prepared(&other).await;
    let mut without = Vec::new();
    for (number, kind) in (200..).zip(KINDS) {
        let owner = Owner { shard_id: ShardId(number), range_id: 1 };
        without.push(GuardedWrite::prepared(&other, kind, owner).await);
    }
    let mut before = Vec::new();
    for write in with_takeover.iter().map(|(write, _)| write).chain(&without) {
        before.push(stored(&cluster, write).await);
    }
    config.statement_timeout = TIMEOUT;
    let store = Arc::new(connect(&config, Some(credentials(&cluster))).await.unwrap());
    cluster.faults().at_commit(CommitFault::Held, before.len());
    let running: Vec<_> = with_takeover
        .iter()
        .map(|(write, _)| write)
        .chain(&without)
        .map(|write| {
            let (write, store) = (write.clone(), Arc::clone(&store));
            tokio::spawn(async move { write.execute_on(&store).await })
        })
        .collect();
    held_commits(&cluster, before.len()).await;
    advance(TIMEOUT).await;
    for write in running {
        let error = write.await.unwrap().unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
    }
    for (write, method) in &with_takeover {
        take_over(&other, write.owner, *method).await.unwrap();
    }
    cluster.faults().release_commits();
    held_commits(&cluster, 0).await;
    let (of_takeovers, of_others) = before.split_at(with_takeover.len());
    for ((write, _), before) in with_takeover.iter().zip(of_takeovers) {
        assert_eq!(stored(&cluster, write).await, *before, "{:?}", write.kind);
    }
    for (write, before) in without.iter().zip(of_others) {
        assert_eq!(stored(&cluster, write).await, write.applied_to(*before), "{:?}", write.kind);
    }
}

#[tokio::test]
async fn a_statement_that_arrives_late_is_applied_once_and_never_after_a_takeover() {
    let Some(cluster) = one_statement().await else { return };
    let server = SocketAddr::from(([127, 0, 0, 1], cluster.port()));
    let other = open(&cluster, LONG_RETRIES).await;
    let ask = async |write: &GuardedWrite| stored(&cluster, write).await;
    late::applied_once_and_never_after_a_takeover(
        server,
        &config(&cluster),
        Some(credentials(&cluster)),
        &other,
        ask,
    )
    .await;
}

/// The purpose of FOR KEY SHARE: the writes of an owner lock the same shard and do not conflict.
#[tokio::test]
async fn writes_of_eight_callers_in_one_shard_overlap_without_a_conflict() {
    const CALLERS: usize = 8;
    const VERSIONS: i64 = 3;
    let recorded = Recorded::default();
    let _recorder = metrics::set_default_local_recorder(&recorded);
    let Some(cluster) = one_statement().await else { return };
    let store = Arc::new(open_for_held_commits(&cluster).await);
    let owner = Owner { shard_id: ShardId(7), range_id: 1 };
    let row = temporal_dsql_domain::ShardsRow {
        shard_id: owner.shard_id,
        range_id: owner.range_id,
        data: blob(),
    };
    ShardStore::new(&store).get_or_create(&row).await.unwrap();
    let archetypes = [ArchetypeId::WORKFLOW, ArchetypeId::SCHEDULER];
    let archetypes = archetypes.into_iter().cycle().take(CALLERS);
    let runs: Vec<_> = archetypes.map(|archetype| Run::new(owner, archetype, TYPICAL)).collect();
    for version in 1..=VERSIONS {
        cluster.faults().at_commit(CommitFault::Held, CALLERS);
        let callers: Vec<_> = runs
            .iter()
            .map(|run| {
                let (store, run) = (Arc::clone(&store), run.clone());
                tokio::spawn(async move {
                    let executions = ExecutionStore::new(&*store);
                    match version {
                        1 => executions.create(&operations::create(&run)).await,
                        _ => executions.update(&operations::update(&run, version, None)).await,
                    }
                })
            })
            .collect();
        // No write has ended, and each has come to its commit.
        held_commits(&cluster, CALLERS).await;
        cluster.faults().release_commits();
        for caller in callers {
            caller.await.unwrap().unwrap();
        }
        held_commits(&cluster, 0).await;
    }
    for run in &runs {
        let executions = ExecutionStore::new(&*store);
        let stored = executions.get(&run.execution(1).filter()).await.unwrap().unwrap();
        assert_eq!(stored.execution.db_record_version, VERSIONS);
    }
    for name in ["dsql_tx_conflict_total", "dsql_tx_retry_total"] {
        assert_eq!(recorded.total(name, &[]), 0, "{name}");
    }
}

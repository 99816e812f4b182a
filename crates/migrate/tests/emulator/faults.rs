//! Faults at every commit of a migration.

use dsql_emulator::{CommitFault, CommitRates};
use temporal_dsql_testkit::ScratchCluster;

use crate::{Command, V1_0, V1_1, assert_at, at, chain, connect, quick};

/// All faults at a commit (aurora-dsql.md#transient-failures,
/// aurora-dsql.md#limits).
const FAULTS: [CommitFault; 6] = [
    CommitFault::Conflict,
    CommitFault::CatalogConflict,
    CommitFault::Unavailable { applied: false },
    CommitFault::Unavailable { applied: true },
    CommitFault::LostAnswer { applied: false },
    CommitFault::LostAnswer { applied: true },
];

/// Injects each fault at each commit of `command`, and runs `undo` after it. Each run completes.
async fn at_every_commit(
    cluster: &ScratchCluster,
    command: Command,
    undo: Command,
    check: impl AsyncFn(usize),
) {
    let mut rounds = 0;
    for fault in FAULTS {
        for commit in 0.. {
            let faults = cluster.faults();
            let before = faults.report().commits;
            faults.script(std::iter::repeat_n(None, commit).chain([Some(fault)]));
            let mut database = connect(cluster).await;
            if let Err(error) = command.run(&mut database).await {
                panic!("{command:?}, {fault:?} at commit {commit}: {}", chain(&error));
            }
            let happened = faults.report().commits > before;
            faults.clear();
            check(rounds).await;
            undo.run(&mut database).await.unwrap();
            rounds += 1;
            if !happened {
                assert!(commit > 1, "{command:?} has only {commit} commits");
                break;
            }
        }
    }
}

#[tokio::test]
async fn an_update_survives_every_fault_at_every_commit_with_one_history_row() {
    let Some(cluster) = at(V1_0).await else { return };
    at_every_commit(&cluster, Command::Update, Command::Rollback, async |rounds| {
        let mut history = vec!["0 > 1.0"];
        history.extend(["1.0 > 1.1", "1.1 > 1.0"].repeat(rounds));
        history.push("1.0 > 1.1");
        assert_at(&cluster, V1_1, &history).await;
    })
    .await;
}

#[tokio::test]
async fn a_rollback_survives_every_fault_at_every_commit_with_one_history_row() {
    let Some(cluster) = at(V1_1).await else { return };
    at_every_commit(&cluster, Command::Rollback, Command::Update, async |rounds| {
        let mut history = vec!["0 > 1.1"];
        history.extend(["1.1 > 1.0", "1.0 > 1.1"].repeat(rounds));
        history.push("1.1 > 1.0");
        assert_at(&cluster, V1_0, &history).await;
    })
    .await;
}

#[tokio::test]
async fn a_setup_survives_faults_at_a_third_of_its_commits() {
    for seed in 0..4 {
        let Some(cluster) = ScratchCluster::create(quick).await else { return };
        println!("seed {seed}");
        let rates = CommitRates {
            conflict: 0.1,
            catalog_conflict: 0.1,
            unavailable: 0.1,
            lost_answer: 0.05,
        };
        cluster.faults().at_random(seed, rates);
        let mut database = connect(&cluster).await;
        if let Err(error) = Command::Setup(V1_1).run(&mut database).await {
            panic!("seed {seed}: {}", chain(&error));
        }
        assert!(cluster.faults().report().commits > 5, "seed {seed} injected too few faults");
        cluster.faults().clear();
        assert_at(&cluster, V1_1, &["0 > 1.1"]).await;
    }
}

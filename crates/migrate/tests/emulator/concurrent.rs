//! Concurrent migrations, whose conflicts are reported at COMMIT.

use temporal_dsql_testkit::ScratchCluster;
use tokio::task::JoinSet;

use crate::{Command, V1_0, V1_1, assert_at, at, chain, connect, quick};

async fn ten_at_once(cluster: &ScratchCluster, command: Command) {
    let mut runs = JoinSet::new();
    for _ in 0..10 {
        let mut database = connect(cluster).await;
        runs.spawn(async move { command.run(&mut database).await });
    }
    for result in runs.join_all().await {
        if let Err(error) = result {
            panic!("{command:?}: {}", chain(&error));
        }
    }
}

#[tokio::test]
async fn t10_ten_setups_at_once_all_succeed_and_leave_one_history_row() {
    let Some(cluster) = ScratchCluster::create(quick).await else { return };
    ten_at_once(&cluster, Command::Setup(V1_1)).await;
    assert_at(&cluster, V1_1, &["0 > 1.1"]).await;
}

#[tokio::test]
async fn t10_ten_updates_at_once_all_succeed_and_leave_one_history_row() {
    let Some(cluster) = at(V1_0).await else { return };
    ten_at_once(&cluster, Command::Update).await;
    assert_at(&cluster, V1_1, &["0 > 1.0", "1.0 > 1.1"]).await;
}

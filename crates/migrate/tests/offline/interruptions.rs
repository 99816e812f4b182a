//! Interruptions at every call: a killed run is completed by the next, and a run that loses its
//! connection completes.

use temporal_dsql_domain::SchemaVersion;

use crate::{
    Command, V1_0, V1_1, cluster_at,
    fake_cluster::{Behaviour, Cluster, Fault},
    history, pairs,
    spec::assert_is,
};

const KILLS: [Fault; 2] = [Fault::KillBefore, Fault::KillAfter];
const LOSSES: [Fault; 2] = [Fault::LoseBefore, Fault::LoseAfter];

/// Injects each of `faults` into every call of `command`, each time on a new cluster. A killed run is
/// repeated. `check` gets the final cluster. Returns the number of calls.
async fn at_every_call(
    command: Command,
    faults: impl IntoIterator<Item = Fault>,
    make: impl AsyncFn() -> Cluster,
    check: impl Fn(&Cluster),
) -> u32 {
    let mut most = 0;
    for fault in faults {
        for call in 1.. {
            let cluster = make().await;
            let (session, signal) = cluster.session().with_fault(call, fault);
            let ended = tokio::select! {
                biased;
                () = signal.killed() => None,
                result = command.run(session) => Some(result),
            };
            let again = match ended {
                Some(result) => result,
                None => command.run(cluster.session()).await,
            };
            if let Err(error) = again {
                panic!("{command:?} with {fault:?} at call {call}: {error}");
            }
            check(&cluster);
            if !signal.happened() {
                most = most.max(call - 1);
                break;
            }
        }
    }
    most
}

async fn empty() -> Cluster {
    Cluster::new(Behaviour::default())
}

/// Asserts that the cluster is at `version`, with the changes `recorded` in its history.
fn at(cluster: &Cluster, version: SchemaVersion, recorded: &[(&str, &str)]) {
    let contents = cluster.contents();
    assert_is(&contents.catalog, version);
    assert_eq!(history(cluster), pairs(recorded));
    let [(row, _)] = contents.versions.as_slice() else {
        panic!("one version row, not {:?}", contents.versions);
    };
    assert_eq!(row.version, Some(version.to_string()));
    assert_eq!(row.min_compatible.as_deref(), Some("1.0"));
    assert_eq!(contents.rows["namespace_metadata"].len(), 1);
}

#[tokio::test(start_paused = true)]
async fn t5_a_setup_killed_at_any_call_is_completed_by_the_next() {
    let calls = at_every_call(Command::Setup(V1_1), KILLS, empty, |cluster| {
        at(cluster, V1_1, &[("0", "1.1")]);
    })
    .await;
    // 2 version tables, 45 statements, 1 version, and the reads before and after them.
    assert!(calls > 55, "{calls}");
}

#[tokio::test(start_paused = true)]
async fn t5_an_update_with_a_fault_at_any_call_is_completed() {
    let calls = at_every_call(
        Command::Update(V1_1),
        KILLS.into_iter().chain(LOSSES),
        async || cluster_at(V1_0).await,
        |cluster| at(cluster, V1_1, &[("0", "1.0"), ("1.0", "1.1")]),
    )
    .await;
    assert!(calls >= 7, "{calls}");
}

#[tokio::test(start_paused = true)]
async fn an_update_over_several_versions_completes_after_a_lost_connection_at_any_call() {
    let make = async || cluster_at(SchemaVersion::NONE).await;
    let recorded = [("0", "0.0"), ("0.0", "1.0"), ("1.0", "1.1")];
    let calls = at_every_call(Command::Update(V1_1), LOSSES, make, |cluster| {
        at(cluster, V1_1, &recorded);
    })
    .await;
    assert!(calls > 60, "{calls}");
}

#[tokio::test(start_paused = true)]
async fn t5_a_rollback_with_a_fault_at_any_call_is_completed() {
    let calls = at_every_call(
        Command::Rollback(V1_0),
        KILLS.into_iter().chain(LOSSES),
        async || cluster_at(V1_1).await,
        |cluster| at(cluster, V1_0, &[("0", "1.1"), ("1.1", "1.0")]),
    )
    .await;
    assert!(calls >= 7, "{calls}");
}

#[tokio::test(start_paused = true)]
async fn t5_an_overwrite_killed_at_any_call_is_completed_by_the_next() {
    let make = async || {
        let cluster = cluster_at(V1_1).await;
        let row = vec![Some("1".to_owned())];
        cluster.change(|contents| {
            contents.rows.insert("executions".to_owned(), vec![row]);
            contents.history.clear();
        });
        cluster
    };
    let calls = at_every_call(Command::Overwrite(V1_1), KILLS, make, |cluster| {
        at(cluster, V1_1, &[("0", "1.1")]);
        assert!(!cluster.contents().rows.contains_key("executions"));
    })
    .await;
    assert!(calls > 150, "{calls}");
}

#[tokio::test(start_paused = true)]
async fn a_setup_that_is_killed_many_times_completes() {
    let cluster = empty().await;
    let mut runs = 0;
    for seed in 0.. {
        runs = seed;
        let call = 1 + fastrand::Rng::with_seed(seed).u32(1..25);
        let (session, signal) = cluster.session().with_fault(call, Fault::KillAfter);
        let ended = tokio::select! {
            biased;
            () = signal.killed() => None,
            result = Command::Setup(V1_1).run(session) => Some(result),
        };
        if let Some(result) = ended {
            result.unwrap();
            break;
        }
    }
    assert!(runs > 5, "{runs}");
    at(&cluster, V1_1, &[("0", "1.1")]);
}

//! The pool after a statement without an answer in time.

use std::time::Duration;

use crate::support::{config, execution, faults_have_happened, trace::Trace};
use temporal_dsql_ports::{Attempt, RetryPolicy, Store};
use temporal_dsql_store::{DsqlStore, connect};
use temporal_dsql_testkit::{FaultProxy, ScratchDatabase, When, WireFault};

/// The connections of the pool.
const SIZE: usize = 8;

/// A store whose idle connections are never checked because of their age.
async fn open(database: &ScratchDatabase, proxy: &FaultProxy) -> DsqlStore {
    let mut config = config(database, proxy.addr());
    config.pool.max_connections = SIZE as u32;
    config.pool.idle_check = Duration::MAX;
    config.retry = RetryPolicy::NEVER;
    connect(&config, None).await.unwrap()
}

/// Uses `number` connections at once, each for a transaction without a statement.
#[expect(clippy::disallowed_methods, reason = "transactions that hold connections")]
async fn use_connections(store: &DsqlStore, number: usize) {
    let mut open = Vec::new();
    for _ in 0..number {
        open.push(store.begin(Attempt::first("Hold")).await.unwrap());
    }
    for transaction in open {
        transaction.rollback().await.unwrap();
    }
}

/// Sends a statement that the server does not answer.
async fn time_out(store: &DsqlStore, proxy: &FaultProxy) {
    proxy.inject(When::RoundTrip(1), WireFault::Delay(Duration::from_secs(600)));
    let row = execution().filter();
    let mut session = store.session();
    let is_sent = async {
        faults_have_happened(proxy).await;
        // Nothing else happens, so the clock moves to the end of the statement's timeout.
        tokio::time::pause();
    };
    let (read, ()) = tokio::join!(session.select_from_executions(&row), is_sent);
    tokio::time::resume();
    read.unwrap_err();
}

/// A store of whose connections one has had a timeout since the others were used.
async fn after_a_timeout() -> Option<(DsqlStore, FaultProxy, ScratchDatabase)> {
    let (database, proxy) = crate::support::database_with_proxy().await?;
    let store = open(&database, &proxy).await;
    use_connections(&store, SIZE).await;
    time_out(&store, &proxy).await;
    Some((store, proxy, database))
}

/// The statement may be slow, or wait for a lock.
#[tokio::test]
async fn a_timeout_closes_one_connection_and_the_others_are_checked_once() {
    let Some((store, proxy, _database)) = after_a_timeout().await else { return };
    let (trace, _guard) = Trace::start();
    // A check, BEGIN and ROLLBACK; and then without the check.
    for round_trips in [3, 2] {
        let before = proxy.round_trips();
        use_connections(&store, SIZE - 1).await;
        assert_eq!(proxy.round_trips() - before, round_trips * (SIZE as u64 - 1));
    }
    assert_eq!(trace.count("connected"), 0);
    use_connections(&store, SIZE).await;
    assert_eq!(trace.count("connected"), 1, "in place of the one that was closed");
}

/// The network has failed, which the first check shows.
#[tokio::test]
async fn a_connection_that_fails_its_check_after_a_timeout_closes_the_others() {
    let Some((store, proxy, _database)) = after_a_timeout().await else { return };
    proxy.cut();
    let (trace, _guard) = Trace::start();
    let before = proxy.round_trips();
    use_connections(&store, 1).await;
    assert_eq!(trace.count("connected"), 1);
    assert_eq!(trace.count("failed"), 0, "no statement was sent on a broken connection");
    assert_eq!(proxy.round_trips() - before, 2, "BEGIN and ROLLBACK");
}

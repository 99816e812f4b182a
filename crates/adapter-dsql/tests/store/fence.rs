//! The fence of a write that is one statement, on PostgreSQL, where row locks enforce it: a write and
//! a takeover, in both orders, and statements that arrive late.

use std::sync::{Arc, mpsc};

use crate::support::{
    LONG_RETRIES, WAIT_LIMIT, database_with_proxy,
    operations::{
        GuardedWrite, KINDS, TAKEOVER_METHODS, assert_ownership_lost, numbers, take_over,
    },
    recorder::Recorded,
    sessions_wait_for_locks,
};
use sqlx::{Connection, Executor, PgConnection};
use temporal_dsql_domain::ShardId;
use temporal_dsql_ports::Outcome;
use temporal_dsql_store::{DsqlStore, WriteForm, connect};
use temporal_dsql_stores::Owner;
use temporal_dsql_testkit::{HookAction, ScratchDatabase, When, WireFault};

/// Owners of different shards.
fn owners() -> impl Iterator<Item = Owner> {
    (100..).map(|shard| Owner { shard_id: ShardId(shard), range_id: 1 })
}

/// A store that sends each write as one statement over `addr`.
async fn store_at(database: &ScratchDatabase, addr: std::net::SocketAddr) -> DsqlStore {
    let mut config = crate::support::config(database, addr);
    config.write_form = WriteForm::OneStatement;
    connect(&config, None).await.unwrap()
}

/// What is stored in the shard of a write.
async fn stored(database: &ScratchDatabase, write: &GuardedWrite) -> [i64; 5] {
    numbers(&database.query(&write.contents_query()).await.unwrap())
}

/// The takeover holds its lock when the write comes, and commits while the write waits.
#[tokio::test]
async fn a_write_that_waits_for_a_takeover_is_refused_and_writes_nothing() {
    let recorded = Recorded::default();
    let _recorder = metrics::set_default_local_recorder(&recorded);
    let Some((database, proxy)) = database_with_proxy().await else { return };
    let store = Arc::new(store_at(&database, database.addr().unwrap()).await);
    let next_owner = Arc::new(store_at(&database, proxy.addr()).await);
    let mut owners = owners();
    for kind in KINDS {
        for method in TAKEOVER_METHODS {
            let owner = owners.next().unwrap();
            let write = GuardedWrite::prepared(&store, kind, owner).await;
            let before = stored(&database, &write).await;
            let conflicts = [("operation", kind.op())];
            let lost_before = recorded.total("dsql_tx_conflict_total", &conflicts);

            let (arrived, has_arrived) = tokio::sync::oneshot::channel();
            let (release, released) = mpsc::channel::<()>();
            let hold = WireFault::before(move || {
                arrived.send(()).unwrap();
                released.recv().unwrap();
                HookAction::Continue
            });
            proxy.inject(When::Commit, hold);
            let taking = Arc::clone(&next_owner);
            let takeover = tokio::spawn(async move { take_over(&taking, owner, method).await });
            has_arrived.await.unwrap();
            let (spawned_write, by) = (write.clone(), Arc::clone(&store));
            let running_write = tokio::spawn(async move { spawned_write.execute_on(&by).await });
            sessions_wait_for_locks(&database, 1).await;
            release.send(()).unwrap();

            takeover.await.unwrap().unwrap();
            assert_ownership_lost(&write, running_write.await.unwrap());
            assert_eq!(stored(&database, &write).await, before, "{kind:?}, {method:?}");
            let lost = recorded.total("dsql_tx_conflict_total", &conflicts) - lost_before;
            assert_eq!(lost, 1, "{kind:?}, {method:?}: its snapshot is older than the takeover");
        }
    }
}

/// The write holds its lock of the shard and waits for a row when the takeover comes.
#[tokio::test]
async fn a_takeover_waits_for_a_write_that_has_locked_the_shard_and_does_not_undo_it() {
    let Some((database, _proxy)) = database_with_proxy().await else { return };
    let store = Arc::new(store_at(&database, database.addr().unwrap()).await);
    let mut owners = owners();
    for kind in KINDS {
        for method in TAKEOVER_METHODS {
            let owner = owners.next().unwrap();
            let write = GuardedWrite::prepared(&store, kind, owner).await;
            let before = stored(&database, &write).await;

            // Another session holds the key of the write's task.
            let mut other = PgConnection::connect(&database.url()).await.unwrap();
            let insert = format!(
                "BEGIN; INSERT INTO transfer_tasks VALUES ({}, {}, '', '')",
                owner.shard_id.0,
                write.transfer_task()
            );
            other.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(insert))).await.unwrap();
            let (spawned_write, by) = (write.clone(), Arc::clone(&store));
            let running_write = tokio::spawn(async move { spawned_write.execute_on(&by).await });
            sessions_wait_for_locks(&database, 1).await;
            let taking = Arc::clone(&store);
            let takeover = tokio::spawn(async move { take_over(&taking, owner, method).await });
            sessions_wait_for_locks(&database, 2).await;
            other.execute(sqlx::raw_sql("ROLLBACK")).await.unwrap();

            running_write.await.unwrap().unwrap();
            takeover.await.unwrap().unwrap();
            let applied = write.applied_to(before);
            assert_eq!(stored(&database, &write).await, applied, "{kind:?}, {method:?}");
            assert_ownership_lost(&write, write.execute_on(&store).await);
            assert_eq!(stored(&database, &write).await, applied, "{kind:?}, {method:?}");
        }
    }
}

/// Writes of one owner lock the shard together: the second does not wait for the first.
#[tokio::test]
async fn a_write_does_not_wait_for_another_write_of_its_shard() {
    let Some((database, _proxy)) = database_with_proxy().await else { return };
    let store = Arc::new(store_at(&database, database.addr().unwrap()).await);
    let owner = owners().next().unwrap();
    let first = GuardedWrite::prepared(&store, KINDS[1], owner).await;
    let second = GuardedWrite::prepared(&store, KINDS[1], owner).await;
    let before = stored(&database, &first).await;
    let mut other = PgConnection::connect(&database.url()).await.unwrap();
    let insert = format!(
        "BEGIN; INSERT INTO transfer_tasks VALUES ({}, {}, '', '')",
        owner.shard_id.0,
        first.transfer_task()
    );
    other.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(insert))).await.unwrap();
    let (spawned_write, by) = (first.clone(), Arc::clone(&store));
    let running_write = tokio::spawn(async move { spawned_write.execute_on(&by).await });
    sessions_wait_for_locks(&database, 1).await;
    tokio::time::timeout(WAIT_LIMIT, second.execute_on(&store)).await.expect("no wait").unwrap();
    assert_eq!(stored(&database, &first).await, second.applied_to(before), "the first waits");
    other.execute(sqlx::raw_sql("ROLLBACK")).await.unwrap();
    running_write.await.unwrap().unwrap();
    let both = first.applied_to(second.applied_to(before));
    assert_eq!(stored(&database, &first).await, both);
}

/// The statement is delivered when its client has given up.
#[tokio::test]
async fn a_statement_that_arrives_late_is_applied_once_and_never_after_a_takeover() {
    let Some((database, _proxy)) = database_with_proxy().await else { return };
    let server = database.addr().unwrap();
    let other = crate::support::open(&database, server, LONG_RETRIES).await;
    let config = crate::support::config(&database, server);
    let ask = async |write: &GuardedWrite| stored(&database, write).await;
    crate::support::late::applied_once_and_never_after_a_takeover(
        server, &config, None, &other, ask,
    )
    .await;
}

/// The result of a write whose answer is lost.
#[tokio::test]
async fn an_unknown_outcome_is_reported_as_unknown_until_the_row_proves_it() {
    let Some((database, proxy)) = database_with_proxy().await else { return };
    let store = store_at(&database, proxy.addr()).await;
    let mut owners = owners();
    for kind in KINDS {
        for (fault, is_applied) in [(WireFault::LostRequest, false), (WireFault::LostAnswer, true)]
        {
            let write = GuardedWrite::prepared(&store, kind, owners.next().unwrap()).await;
            let before = stored(&database, &write).await;
            proxy.inject(When::Executing("WITH shard AS".into()), fault);
            let result = write.execute_on(&store).await;
            assert_eq!(proxy.pending_faults(), 0);
            if is_applied {
                result.unwrap();
                assert_eq!(stored(&database, &write).await, write.applied_to(before), "{kind:?}");
            } else {
                let error = result.unwrap_err();
                assert_eq!(error.outcome(), Outcome::Unknown, "{kind:?}: {error:?}");
                assert_eq!(stored(&database, &write).await, before, "{kind:?}");
            }
        }
    }
}

//! The pool: broken connections, and the number of connections.

use std::{cell::Cell, time::Duration};

use crate::support::{
    WAIT_LIMIT, config, execution, give_up_after, sessions_wait_for_locks, shard,
};
use temporal_dsql_ports::{Attempt, Store};
use temporal_dsql_store::{WriteForm, connect};
use temporal_dsql_testkit::{ScratchDatabase, When, WireFault};
use tokio::runtime::{Builder, Runtime};

#[tokio::test]
async fn after_all_connections_broke_one_operation_costs_one_failed_exchange_and_one_connection() {
    let Some((database, proxy)) = crate::support::database_with_proxy().await else { return };
    for (size, form) in [
        (20, WriteForm::OneStatement),
        (50, WriteForm::OneStatement),
        (20, WriteForm::StatementPerTable),
        (50, WriteForm::StatementPerTable),
    ] {
        let mut config = config(&database, proxy.addr());
        config.write_form = form;
        config.pool.max_connections = size;
        let store = connect(&config, None).await.unwrap();
        database.execute("DELETE FROM shards; DELETE FROM transfer_tasks").await.unwrap();
        store.session().insert_into_shards(&shard()).await.unwrap();
        crate::support::broken_connections::one_operation_costs_one_connection(
            &store,
            size as usize,
            async || proxy.cut(),
        )
        .await;
    }
}

/// A server that restarts sends each of its sessions an error without a request.
#[tokio::test]
async fn sessions_that_the_server_ends_are_not_tried_one_after_the_other() {
    let Some(database) = ScratchDatabase::create().await else { return };
    crate::support::set_up(&database).await;
    let break_all = async || database.execute(crate::support::END_SESSIONS).await.unwrap();
    for form in [WriteForm::OneStatement, WriteForm::StatementPerTable] {
        let mut config = config(&database, database.addr().unwrap());
        config.write_form = form;
        config.pool.max_connections = 20;
        let store = connect(&config, None).await.unwrap();
        database.execute("DELETE FROM shards; DELETE FROM transfer_tasks").await.unwrap();
        store.session().insert_into_shards(&shard()).await.unwrap();
        crate::support::broken_connections::one_operation_costs_one_connection(
            &store, 20, break_all,
        )
        .await;
    }
}

/// A connection that was used after another one broke still works.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "transactions that hold connections")]
async fn a_connection_that_has_answered_since_is_kept() {
    let Some((database, proxy)) = crate::support::database_with_proxy().await else { return };
    let mut config = config(&database, proxy.addr());
    config.pool.max_connections = 2;
    let store = connect(&config, None).await.unwrap();
    let mut one = store.begin(Attempt::first("One")).await.unwrap();
    let mut other = store.begin(Attempt::first("Other")).await.unwrap();
    proxy.inject(When::Executing("INSERT INTO executions".into()), WireFault::LostRequest);
    one.insert_into_executions(&execution()).await.unwrap_err();
    drop(one);
    other.insert_into_executions(&execution()).await.unwrap();
    other.commit().await.unwrap();
    let (trace, _guard) = crate::support::trace::Trace::start();
    store.session().insert_into_executions(&execution()).await.unwrap();
    assert_eq!((trace.count("done"), trace.count("connected")), (1, 0));
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "transactions that hold connections")]
async fn there_are_never_more_connections_than_configured_while_the_reserve_refills() {
    const MOST: usize = 4;
    let Some((database, proxy)) = crate::support::database_with_proxy().await else { return };
    let mut config = config(&database, proxy.addr());
    config.application_name = "counted".into();
    config.pool.max_connections = MOST as u32;
    config.pool.min_connections = MOST as u32;
    let moment = Duration::from_millis(300);
    for _ in 0..3 * MOST {
        proxy.inject(When::Connect, WireFault::Delay(moment));
    }
    let store = connect(&config, None).await.unwrap();
    let begin = || store.begin(Attempt::first("Hold"));
    let sessions = async || {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'counted'";
        let sessions = database.query(count).await.unwrap()[0][0].clone().unwrap();
        sessions.parse::<usize>().unwrap()
    };
    let is_over = Cell::new(false);
    let holding = async {
        let (one, two, three, four) = tokio::join!(begin(), begin(), begin(), begin());
        let held = [one.unwrap(), two.unwrap(), three.unwrap(), four.unwrap()];
        assert_eq!(sessions().await, MOST);
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(held);
        tokio::time::sleep(2 * moment).await;
        is_over.set(true);
    };
    let counting = async {
        while !is_over.get() {
            let open = sessions().await;
            assert!(open <= MOST, "{open}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::join!(holding, counting);
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Its statement waits for a lock; the connection is closed when the transaction is dropped, and
/// not at the next run of the keeper.
#[test]
#[expect(clippy::disallowed_methods, reason = "transactions that wait for each other's locks")]
fn a_dropped_transaction_releases_its_locks_at_once() {
    // The store has a runtime of its own, on which the keeper of its pool does not run after the
    // transaction is dropped.
    let (own, rest) = (runtime(), runtime());
    let Some(database) = rest.block_on(ScratchDatabase::create()) else { return };
    let addr = database.addr().unwrap();
    let (held, wanted) = (execution(), execution());
    let (held_key, wanted_key) = (held.filter(), wanted.filter());
    let (others, other) = rest.block_on(async {
        crate::support::set_up(&database).await;
        // Without it, PostgreSQL does not detect the end of a client whose statement waits for a
        // lock.
        let notice = "SET client_connection_check_interval = '10ms'";
        database.execute(&format!("ALTER DATABASE {} {notice}", database.name())).await.unwrap();
        let others = connect(&config(&database, addr), None).await.unwrap();
        for row in [&held, &wanted] {
            others.session().insert_into_executions(row).await.unwrap();
        }
        let mut other = others.begin(Attempt::first("Other")).await.unwrap();
        other.write_lock_executions(&held_key).await.unwrap();
        (others, other)
    });
    let (_store, given_up) = own.block_on(async {
        let store = connect(&config(&database, addr), None).await.unwrap();
        let mut given_up = store.begin(Attempt::first("GivenUp")).await.unwrap();
        given_up.write_lock_executions(&wanted_key).await.unwrap();
        let waits = given_up.write_lock_executions(&held_key);
        give_up_after(sessions_wait_for_locks(&database, 1), waits).await;
        (store, given_up)
    });
    drop(given_up);
    rest.block_on(async {
        let mut next = others.begin(Attempt::first("Next")).await.unwrap();
        let lock = next.write_lock_executions(&wanted_key);
        tokio::time::timeout(WAIT_LIMIT, lock).await.expect("the lock is released").unwrap();
        next.rollback().await.unwrap();
        other.rollback().await.unwrap();
    });
}

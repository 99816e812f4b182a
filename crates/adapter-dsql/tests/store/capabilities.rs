//! The detection of the server's capabilities, and the statements that a store sends accordingly.

use std::error::Error as _;

use crate::support::{
    LONG_RETRIES, OWNER, blob,
    cluster::{self, credentials},
    set_up, shard, wait_until,
};
use temporal_dsql_domain::{ImmediateQueue, ImmediateTask, Tasks};
use temporal_dsql_ports::{Attempt, Cause, RetryPolicy, Store, StoreError};
use temporal_dsql_store::{Capabilities, Config, DsqlStore, OpenError, WriteForm};
use temporal_dsql_stores::{ShardStore, TaskStore};
use temporal_dsql_testkit::{FaultProxy, ScratchDatabase, When, WireFault};

/// Parts of texts: one that only the single statement of a write has, and one that the lock of a
/// shard has, too.
const WHOLE_WRITE: &str = "WITH shard AS";
const LOCK: &str = "FOR KEY SHARE";

fn config(database: &ScratchDatabase, proxy: &FaultProxy) -> Config {
    let mut config = crate::support::config(database, proxy.addr());
    config.retry = RetryPolicy::NEVER;
    config
}

async fn connect(config: &Config) -> Result<DsqlStore, OpenError> {
    temporal_dsql_store::connect(config, None).await
}

/// Whether a write is one statement, and whether writes lock their shard FOR KEY SHARE.
fn flags(capabilities: Option<Capabilities>) -> Option<(bool, bool)> {
    capabilities.map(|known| (known.one_statement, known.key_share))
}

/// The SQLSTATEs of the refusals that the store's capabilities follow from.
fn reasons(store: &DsqlStore) -> Vec<String> {
    let sqlstate = |error: &StoreError| {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<Cause>()).unwrap();
        let refusal = cause.get().downcast_ref::<sqlx::Error>().unwrap();
        refusal.as_database_error().unwrap().code().unwrap().into_owned()
    };
    store.refusals().iter().map(sqlstate).collect()
}

fn refusal(sqlstate: &str) -> WireFault {
    WireFault::error(sqlstate, "not supported")
}

/// Adds one task, as an example of a write.
async fn add_task(store: &DsqlStore, task_id: i64) -> Result<(), StoreError> {
    let task = ImmediateTask { task_id, data: blob() };
    let immediate = vec![(ImmediateQueue::Transfer, vec![task])];
    TaskStore::new(store).add(OWNER, &Tasks { immediate, scheduled: Vec::new() }).await
}

/// How many of `texts` have `part`.
fn count(texts: &[String], part: &str) -> usize {
    texts.iter().filter(|text| text.contains(part)).count()
}

#[tokio::test]
async fn a_server_that_accepts_everything_gets_one_statement_for_each_write() {
    let Some((database, proxy)) = crate::support::database_with_proxy().await else { return };
    let store = connect(&config(&database, &proxy)).await.unwrap();
    assert_eq!(flags(store.capabilities()), Some((true, true)));
    assert_eq!(reasons(&store), [""; 0]);
    store.session().insert_into_shards(&shard()).await.unwrap();
    add_task(&store, 1).await.unwrap();
    assert_eq!(count(&proxy.statements(), "BEGIN"), 0);
}

#[tokio::test]
async fn a_server_that_refuses_one_statement_gets_a_statement_per_table() {
    let Some((database, proxy)) = crate::support::database_with_proxy().await else { return };
    for (task_id, sqlstate) in (1..).zip(["0A000", "42601", "54001"]) {
        proxy.inject(When::Matching(WHOLE_WRITE.into()), refusal(sqlstate));
        let store = connect(&config(&database, &proxy)).await.unwrap();
        assert_eq!(proxy.pending_faults(), 0, "it was sent");
        assert_eq!(flags(store.capabilities()), Some((false, true)), "{sqlstate}");
        assert_eq!(reasons(&store), [sqlstate], "why a write is not one statement");
        ShardStore::new(&store).get_or_create(&shard()).await.unwrap();
        let before = proxy.statements().len();
        add_task(&store, task_id).await.unwrap();
        let sent = proxy.statements().split_off(before);
        assert_eq!((count(&sent, "BEGIN"), count(&sent, WHOLE_WRITE)), (1, 0), "{sent:?}");
        // The probe has prepared the lock on the connection.
        let locks = count(&proxy.statements(), "FROM shards WHERE shard_id = $1 FOR UPDATE");
        assert_eq!(locks, 0, "{:?}", proxy.statements());
    }
}

#[tokio::test]
async fn a_server_that_refuses_for_key_share_is_sent_for_update() {
    let Some((database, proxy)) = crate::support::database_with_proxy().await else { return };
    for form in [WriteForm::Auto, WriteForm::StatementPerTable] {
        let mut config = config(&database, &proxy);
        config.write_form = form;
        if form == WriteForm::Auto {
            proxy.inject(When::Matching(WHOLE_WRITE.into()), refusal("0A000"));
        }
        proxy.inject(When::Matching(LOCK.into()), refusal("0A000"));
        let store = connect(&config).await.unwrap();
        assert_eq!(proxy.pending_faults(), 0, "{form:?}");
        assert_eq!(flags(store.capabilities()), Some((false, false)), "{form:?}");
        let refused = if form == WriteForm::Auto { 2 } else { 1 };
        assert_eq!(reasons(&store), vec!["0A000"; refused], "{form:?}");
        ShardStore::new(&store).get_or_create(&shard()).await.unwrap();
        let before = proxy.statements().len();
        add_task(&store, form as i64 + 1).await.unwrap();
        let sent = proxy.statements().split_off(before);
        let locks: Vec<_> = sent.iter().filter(|text| text.contains("FROM shards")).collect();
        assert_eq!(locks.len(), 1, "{sent:?}");
        assert!(locks[0].contains("FOR UPDATE"), "{locks:?}");
    }
}

/// The emulator refuses the one or the other construct, as clusters may do.
#[tokio::test]
async fn a_cluster_that_refuses_a_part_of_the_statement_gets_a_statement_per_table() {
    for (data_modifying_with, locking_subqueries) in
        [(true, true), (true, false), (false, true), (false, false)]
    {
        let cluster = cluster::cluster(|builder| {
            builder
                .accept_data_modifying_with(data_modifying_with)
                .accept_locking_subqueries(locking_subqueries)
        });
        let Some(cluster) = cluster.await else { return };
        let store = cluster::open(&cluster, RetryPolicy::NEVER).await;
        let takes_all = data_modifying_with && locking_subqueries;
        assert_eq!(flags(store.capabilities()), Some((takes_all, true)));
        store.session().insert_into_shards(&shard()).await.unwrap();
        add_task(&store, 1).await.unwrap();
        let mut config = cluster::config(&cluster);
        config.write_form = WriteForm::OneStatement;
        let demanded = temporal_dsql_store::connect(&config, Some(credentials(&cluster))).await;
        match demanded {
            Ok(_) => assert!(takes_all),
            Err(error) => {
                assert!(!takes_all && matches!(error, OpenError::Refused { .. }), "{error:?}");
            }
        }
    }
}

#[tokio::test]
async fn one_statement_that_is_demanded_and_refused_is_an_error_that_names_the_setting() {
    let Some((database, proxy)) = crate::support::database_with_proxy().await else { return };
    let mut config = config(&database, &proxy);
    config.write_form = WriteForm::OneStatement;
    assert_eq!(flags(connect(&config).await.unwrap().capabilities()), Some((true, true)));
    proxy.inject(When::Matching(WHOLE_WRITE.into()), refusal("0A000"));
    let error = connect(&config).await.map(drop).unwrap_err();
    assert!(matches!(&error, OpenError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("DSQL_WRITE_FORM=statement-per-table"), "{error}");
}

#[tokio::test]
async fn an_error_that_does_not_refuse_the_text_is_returned() {
    let Some((database, proxy)) = crate::support::database_with_proxy().await else { return };
    for (form, text) in [(WriteForm::Auto, WHOLE_WRITE), (WriteForm::StatementPerTable, LOCK)] {
        let mut config = config(&database, &proxy);
        config.write_form = form;
        let faults = ["42501", "25P02", "XX000", "53200", "ZZ999"]
            .map(|sqlstate| WireFault::error(sqlstate, "something else"));
        for fault in faults.into_iter().chain([WireFault::LostRequest, WireFault::LostAnswer]) {
            let what = format!("{fault:?} of {text}");
            proxy.inject(When::Matching(text.into()), fault);
            let error = connect(&config).await.map(drop).unwrap_err();
            assert!(matches!(&error, OpenError::DetectionFailed { .. }), "{what}: {error:?}");
            // A setting that is already in place is not suggested.
            let advises = error.to_string().contains("DSQL_WRITE_FORM");
            assert_eq!(advises, form == WriteForm::Auto, "{what}: {error}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_during_the_probe_is_replaced_and_the_probe_repeated() {
    let Some((database, proxy)) = crate::support::database_with_proxy().await else { return };
    for (form, text, one_statement) in
        [(WriteForm::Auto, WHOLE_WRITE, true), (WriteForm::StatementPerTable, LOCK, false)]
    {
        let mut config = config(&database, &proxy);
        config.retry = LONG_RETRIES;
        config.write_form = form;
        proxy.inject(When::Matching(text.into()), WireFault::LostAnswer);
        let store = connect(&config).await.unwrap();
        assert_eq!(proxy.pending_faults(), 0);
        assert_eq!(flags(store.capabilities()), Some((one_statement, true)));
    }
}

/// The schema may be set up after the store is opened.
#[tokio::test]
async fn without_a_schema_nothing_is_detected_and_the_first_write_after_it_detects() {
    for (form, expected) in [
        (WriteForm::Auto, (true, true)),
        (WriteForm::OneStatement, (true, true)),
        (WriteForm::StatementPerTable, (false, true)),
    ] {
        let Some(database) = ScratchDatabase::create().await else { return };
        let proxy = FaultProxy::start(database.addr().unwrap()).unwrap();
        let mut config = config(&database, &proxy);
        config.write_form = form;
        let store = connect(&config).await.unwrap();
        assert_eq!(store.capabilities(), None, "{form:?}");
        for _ in 0..2 {
            let error = add_task(&store, 1).await.unwrap_err();
            assert!(matches!(error, StoreError::Unsupported { .. }), "{form:?}: {error:?}");
            assert_eq!(store.capabilities(), None, "{form:?}: there is still no schema");
        }
        set_up(&database).await;
        store.session().insert_into_shards(&shard()).await.unwrap();
        add_task(&store, 1).await.unwrap();
        assert_eq!(flags(store.capabilities()), Some(expected), "{form:?}");
        // The capabilities are known and not detected again.
        let (mut before, mut trips) = (proxy.round_trips(), Vec::new());
        for task_id in 2..4 {
            add_task(&store, task_id).await.unwrap();
            trips.push(proxy.round_trips() - before);
            before = proxy.round_trips();
        }
        let of_a_write = if expected.0 { 1 } else { 4 };
        assert_eq!(trips, [of_a_write; 2], "{form:?}");
    }
}

/// The refusals of a server whose schema comes after the store.
#[tokio::test]
async fn a_refusal_is_detected_by_the_first_write_after_the_schema_too() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let proxy = FaultProxy::start(database.addr().unwrap()).unwrap();
    let mut config = config(&database, &proxy);
    let auto = connect(&config).await.unwrap();
    config.write_form = WriteForm::OneStatement;
    let demanded = connect(&config).await.unwrap();
    set_up(&database).await;
    auto.session().insert_into_shards(&shard()).await.unwrap();
    proxy.inject(When::Matching(WHOLE_WRITE.into()), refusal("0A000"));
    proxy.inject(When::Matching(LOCK.into()), refusal("0A000"));
    add_task(&auto, 1).await.unwrap();
    assert_eq!(flags(auto.capabilities()), Some((false, false)));
    proxy.inject(When::Matching(WHOLE_WRITE.into()), refusal("0A000"));
    let error = add_task(&demanded, 2).await.unwrap_err();
    assert!(matches!(error, StoreError::Unsupported { .. }), "{error:?}");
    assert_eq!(demanded.capabilities(), None);
    assert_eq!(proxy.pending_faults(), 0);
}

/// A transaction begins in the form that is known, too.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test begins and ends the transaction itself")]
async fn a_transaction_that_begins_before_any_write_detects_as_well() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let proxy = FaultProxy::start(database.addr().unwrap()).unwrap();
    let store = connect(&config(&database, &proxy)).await.unwrap();
    set_up(&database).await;
    store.session().insert_into_shards(&shard()).await.unwrap();
    let mut transaction = store.begin(Attempt::first("Lock")).await.unwrap();
    assert_eq!(flags(store.capabilities()), Some((true, true)));
    assert_eq!(transaction.read_lock_shards(OWNER.shard_id).await.unwrap(), Some(1));
    transaction.rollback().await.unwrap();
}

#[tokio::test]
async fn a_statement_per_table_that_is_wanted_is_not_probed_for_one_statement() {
    let Some((database, proxy)) = crate::support::database_with_proxy().await else { return };
    let mut config = config(&database, &proxy);
    config.write_form = WriteForm::StatementPerTable;
    let store = connect(&config).await.unwrap();
    assert_eq!(flags(store.capabilities()), Some((false, true)));
    let sent = proxy.statements();
    assert_eq!((count(&sent, WHOLE_WRITE), count(&sent, LOCK)), (0, 1), "{sent:?}");
}

#[tokio::test]
async fn probes_write_nothing() {
    let Some((database, proxy)) = crate::support::database_with_proxy().await else { return };
    // A shard that exists is not touched either.
    let first = connect(&config(&database, &proxy)).await.unwrap();
    first.session().insert_into_shards(&shard()).await.unwrap();
    let mut separate = config(&database, &proxy);
    separate.write_form = WriteForm::StatementPerTable;
    let second = connect(&separate).await.unwrap();
    for store in [first, second] {
        store.close();
    }
    // The server counts written rows when a session ends. The insert above shows that it has
    // counted.
    let written = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables \
                   WHERE relname NOT IN ('schema_version', 'schema_update_history', \
                   'namespace_metadata')";
    let counted = async || database.query(written).await.unwrap()[0][0].clone();
    let is_counted = async || counted().await.as_deref() != Some("0");
    wait_until("the session's end was never counted", is_counted).await;
    assert_eq!(counted().await.as_deref(), Some("1"));
}

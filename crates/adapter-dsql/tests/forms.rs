//! Which forms a store chooses when it connects, by what the server takes.

mod support;

use std::time::{Duration, Instant};

use support::{FENCE_INDEX, shard};
use temporal_dsql_domain::ShardsRow;
use temporal_dsql_ports::{Attempt, RetryPolicy, Store, StoreError};
use temporal_dsql_store::{Config, DsqlStore, OpenError, ShardFence, ShardGuard, StatementForm};
use temporal_dsql_testkit::{Fault, FaultProxy, ScratchDatabase, When};

/// A text that only the combined write has, one that only the combined deletion has, and one that
/// only combined locks have.
const WRITE: &str = "WITH run AS (UPDATE";
const DELETE: &str = "WITH activities AS (DELETE";
const LOCK: &str = "FROM (SELECT 1) AS request";

fn config(database: &ScratchDatabase, proxy: &FaultProxy) -> Config {
    let mut config = support::config(database, proxy.addr());
    config.retry = RetryPolicy::NEVER;
    config
}

async fn connect(config: &Config) -> Result<DsqlStore, OpenError> {
    temporal_dsql_store::connect(config, None).await
}

#[tokio::test]
async fn a_server_that_takes_everything_is_sent_one_statement_for_each_act() {
    let Some((database, proxy)) = support::wired().await else { return };
    let forms = connect(&config(&database, &proxy)).await.unwrap().forms();
    assert!(forms.writes_in_one && forms.locks_in_one, "{forms:?}");
    assert_eq!(forms.shard_guard, ShardGuard::ForUpdate, "the default");
}

#[tokio::test]
async fn a_form_that_is_refused_is_not_used_and_the_others_are() {
    let Some((database, proxy)) = support::wired().await else { return };
    for sqlstate in ["0A000", "42601", "54001"] {
        for (text, writes_in_one, locks_in_one) in
            [(WRITE, false, true), (DELETE, false, true), (LOCK, true, false)]
        {
            proxy.inject(When::Matching(text.into()), Fault::error(sqlstate, "not supported"));
            let forms = connect(&config(&database, &proxy)).await.unwrap().forms();
            assert_eq!(proxy.pending_faults(), 0, "{text} was sent");
            let chosen = (forms.writes_in_one, forms.locks_in_one);
            assert_eq!(chosen, (writes_in_one, locks_in_one), "{sqlstate} of {text}");
        }
    }
}

#[tokio::test]
async fn a_refused_form_that_is_demanded_is_an_error_that_names_the_setting() {
    let Some((database, proxy)) = support::wired().await else { return };
    for (text, setting) in [(WRITE, "DSQL_WRITE_FORM=separate"), (LOCK, "DSQL_LOCK_FORM=separate")]
    {
        let mut config = config(&database, &proxy);
        (config.write_form, config.lock_form) = (StatementForm::Combined, StatementForm::Combined);
        proxy.inject(When::Matching(text.into()), Fault::error("0A000", "not supported"));
        let error = connect(&config).await.map(drop).unwrap_err();
        assert!(matches!(&error, OpenError::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains(setting), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_refusal_of_the_text_is_an_error_and_no_guess() {
    let Some((database, proxy)) = support::wired().await else { return };
    for text in [WRITE, DELETE, LOCK] {
        for sqlstate in ["42501", "25P02", "XX000", "53200", "ZZ999"] {
            proxy.inject(When::Matching(text.into()), Fault::error(sqlstate, "something else"));
            let error = connect(&config(&database, &proxy)).await.map(drop).unwrap_err();
            assert!(matches!(&error, OpenError::Unclear { .. }), "{sqlstate} of {text}: {error:?}");
        }
        proxy.inject(When::Matching(text.into()), Fault::LoseAfter);
        let error = connect(&config(&database, &proxy)).await.map(drop).unwrap_err();
        assert!(matches!(&error, OpenError::Unclear { .. }), "{text}: {error:?}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_during_a_probe_is_replaced_and_the_probe_repeated() {
    let Some((database, proxy)) = support::wired().await else { return };
    let mut config = config(&database, &proxy);
    config.retry = RetryPolicy::default();
    for text in [WRITE, DELETE, LOCK] {
        proxy.inject(When::Matching(text.into()), Fault::LoseAfter);
    }
    let forms = connect(&config).await.unwrap().forms();
    assert_eq!(proxy.pending_faults(), 0);
    assert!(forms.writes_in_one && forms.locks_in_one, "{forms:?}");
}

#[tokio::test]
async fn separate_forms_are_not_probed() {
    let Some((database, proxy)) = support::wired().await else { return };
    let mut config = config(&database, &proxy);
    (config.write_form, config.lock_form) = (StatementForm::Separate, StatementForm::Separate);
    let forms = connect(&config).await.unwrap().forms();
    assert!(!forms.writes_in_one && !forms.locks_in_one, "{forms:?}");
    assert_eq!(proxy.statements(), Vec::<String>::new());
}

#[tokio::test]
async fn probes_are_rolled_back_and_write_nothing() {
    let Some((database, proxy)) = support::wired().await else { return };
    database.execute(FENCE_INDEX).await.unwrap();
    let mut config = config(&database, &proxy);
    config.shard_fence = ShardFence::KeyShareIfIndexed;
    let store = connect(&config).await.unwrap();
    let sent = proxy.statements();
    let count = |text: &str| sent.iter().filter(|sent| sent.starts_with(text)).count();
    assert_eq!(count("BEGIN"), 3, "for writes, locks and the fence: {sent:?}");
    assert_eq!(count("BEGIN"), count("ROLLBACK"));
    assert_eq!(count("COMMIT"), 0);
    // The server counts rows that are written, rolled back or not, when a session ends. One more,
    // on the same connection, proves that it has counted.
    store.session().insert_into_shards(&shard()).await.unwrap();
    store.close();
    drop(store);
    let written = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables \
                   WHERE relname NOT IN ('schema_version', 'schema_update_history', \
                   'namespace_metadata')";
    let deadline = Instant::now() + Duration::from_secs(20);
    let counted = loop {
        let counted = database.query(written).await.unwrap()[0][0].clone();
        if counted.as_deref() != Some("0") {
            break counted;
        }
        assert!(Instant::now() < deadline, "the session's end was never counted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(counted.as_deref(), Some("1"));
}

#[tokio::test]
async fn key_share_guards_shards_only_where_the_index_makes_it_a_fence() {
    let Some((database, proxy)) = support::wired().await else { return };
    let mut config = config(&database, &proxy);
    let not_enough = [
        "CREATE INDEX fence ON shards (shard_id, range_id)",
        "CREATE UNIQUE INDEX fence ON shards (range_id, shard_id)",
        "CREATE UNIQUE INDEX fence ON shards (shard_id, range_id) WHERE range_id > 0",
        "CREATE UNIQUE INDEX fence ON shards (shard_id) INCLUDE (range_id)",
        "CREATE UNIQUE INDEX fence ON shards (shard_id, (range_id + 0))",
        "CREATE UNIQUE INDEX fence ON shards (shard_id, range_id); \
         UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'fence'::regclass",
        "CREATE SCHEMA other; CREATE TABLE other.shards (shard_id int, range_id bigint); \
         CREATE UNIQUE INDEX fence ON other.shards (shard_id, range_id); \
         CREATE INDEX fence ON shards (data_encoding)",
    ];
    for index in not_enough {
        database.execute(index).await.unwrap();
        config.shard_fence = ShardFence::KeyShareIfIndexed;
        let forms = connect(&config).await.unwrap().forms();
        assert_eq!(forms.shard_guard, ShardGuard::ForUpdate, "{index}");
        database.execute("DROP INDEX fence").await.unwrap();
    }
    database.execute(FENCE_INDEX).await.unwrap();
    let forms = connect(&config).await.unwrap().forms();
    assert_eq!(forms.shard_guard, ShardGuard::ForKeyShare);
    // A server that does not know the lock.
    proxy.inject(When::Matching("FOR KEY SHARE".into()), Fault::error("0A000", "not supported"));
    let forms = connect(&config).await.unwrap().forms();
    assert_eq!((forms.shard_guard, proxy.pending_faults()), (ShardGuard::ForUpdate, 0));
    config.shard_fence = ShardFence::ForUpdate;
    let forms = connect(&config).await.unwrap().forms();
    assert_eq!(forms.shard_guard, ShardGuard::ForUpdate, "off unless it is wanted");
}

/// What `FOR KEY SHARE` is for, and what it must not lose.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "transactions are interleaved by hand")]
async fn under_key_share_an_owners_writes_overlap_and_a_takeover_ends_those_that_come_after() {
    let Some((database, proxy)) = support::wired().await else { return };
    database.execute(FENCE_INDEX).await.unwrap();
    let mut config = config(&database, &proxy);
    config.shard_fence = ShardFence::KeyShareIfIndexed;
    let store = connect(&config).await.unwrap();
    let row = shard();
    store.session().insert_into_shards(&row).await.unwrap();
    let begin = async || store.begin(Attempt::by_hand("Guarded")).await.unwrap();
    let (mut one, mut other, mut late) = (begin().await, begin().await, begin().await);
    assert_eq!(one.read_lock_shards(row.shard_id).await.unwrap(), Some(1));
    assert_eq!(other.read_lock_shards(row.shard_id).await.unwrap(), Some(1), "nobody waits");
    late.select_from_shards(row.shard_id).await.unwrap();
    one.commit().await.unwrap();
    other.commit().await.unwrap();
    let taken = ShardsRow { range_id: 2, ..row.clone() };
    assert_eq!(store.session().update_shards(&taken, Some(1)).await.unwrap(), 1);
    let error = late.read_lock_shards(row.shard_id).await.unwrap_err();
    assert!(matches!(error, StoreError::Contended { .. }), "{error:?}");
    late.rollback().await.unwrap();
}

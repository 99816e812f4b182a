//! Opening a store: the refusals and their errors.

use std::time::Duration;

use crate::support::{
    LONG_RETRIES, WAIT_LIMIT, config, execution, recorder::Recorded, until_ok, wait_until,
};
use temporal_dsql_client::open_connection;
use temporal_dsql_ports::{Outcome, Store, StoreError};
use temporal_dsql_store::{
    Config, ConnectError, Connector, ErrorChain, OpenError, WriteForm, connect,
};
use temporal_dsql_testkit::{FaultProxy, ScratchDatabase};

async fn refusal(config: &Config) -> ConnectError {
    open_connection(&Connector::new(config, None).unwrap()).await.unwrap_err()
}

#[tokio::test]
async fn a_wrong_password_is_refused_by_the_name_of_the_user_and_never_shown() {
    let Some(database) = ScratchDatabase::create().await else {
        return;
    };
    let role = format!("role_{}", database.name());
    database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'right'")).await.unwrap();
    let mut config = config(&database, database.addr().unwrap());
    config.user = role.clone();
    config.password = Some("hunter2".into());
    let error = refusal(&config).await;
    // A server that trusts the address lets anybody in; the project's own asks for passwords.
    assert!(
        matches!(&error, ConnectError::Refused { endpoint, .. } if endpoint.user == role),
        "{error:?}"
    );
    let shown = format!("{} {error:?} {config:?}", ErrorChain(&error));
    assert!(shown.contains("check the user"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    let opened = connect(&config, None).await.map(drop).unwrap_err();
    assert!(matches!(opened, OpenError::Connect(StoreError::Unauthorized { .. })), "{opened:?}");
    config.password = Some("right".into());
    connect(&config, None).await.unwrap();
    database.execute(&format!("DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn an_unreachable_host_is_named_with_its_port() {
    let mut config = Config::new("127.0.0.1");
    config.engine = Some(temporal_dsql_domain::Engine::Postgres);
    // Bound and dropped: no process listens there now.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    config.port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = refusal(&config).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    assert!(
        ErrorChain(&error).to_string().contains(&format!("127.0.0.1:{}", config.port)),
        "{error}"
    );
    let opened = connect(&config, None).await.map(drop).unwrap_err();
    let OpenError::Connect(error) = opened else { panic!("{opened:?}") };
    assert_eq!(error.outcome(), Outcome::NotApplied);
}

#[tokio::test(start_paused = true)]
async fn opening_times_out_if_the_server_never_answers() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = Config::new("127.0.0.1");
    config.engine = Some(temporal_dsql_domain::Engine::Postgres);
    config.port = listener.local_addr().unwrap().port();
    let start = tokio::time::Instant::now();
    let error = refusal(&config).await;
    let overtime = start.elapsed() - config.connect_timeout;
    assert!(overtime < Duration::from_secs(1), "{overtime:?}");
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_named() {
    let Some(database) = ScratchDatabase::create().await else {
        return;
    };
    let mut config = config(&database, database.addr().unwrap());
    config.database = "nowhere".into();
    let error = refusal(&config).await;
    assert!(
        matches!(&error, ConnectError::NoDatabase { endpoint, .. } if endpoint.database == "nowhere"),
        "{error:?}"
    );
    let opened = connect(&config, None).await.map(drop).unwrap_err();
    assert!(ErrorChain(&opened).to_string().contains("`nowhere`"), "{}", ErrorChain(&opened));
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_demanded() {
    let Some(database) = ScratchDatabase::create().await else {
        return;
    };
    let mut config = config(&database, database.addr().unwrap());
    config.tls.mode = Some(temporal_dsql_store::TlsMode::VerifyFull);
    let error = refusal(&config).await;
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn a_role_without_rights_is_unauthorized_and_a_missing_schema_unsupported() {
    let Some(database) = ScratchDatabase::create().await else {
        return;
    };
    let addr = database.addr().unwrap();
    let store = crate::support::open(&database, addr, LONG_RETRIES).await;
    let error = store.session().insert_into_executions(&execution()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unsupported { .. }), "{error:?}");
    assert!(ErrorChain(&error).to_string().contains("schema"), "{}", ErrorChain(&error));
    assert_eq!(store.schema_version("postgres").await.unwrap(), None);

    crate::support::set_up(&database).await;
    let role = format!("role_{}", database.name());
    database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'right'")).await.unwrap();
    let mut config = config(&database, addr);
    config.user = role.clone();
    config.password = Some("right".into());
    let error = connect(&config, None).await.map(drop).unwrap_err();
    assert!(
        matches!(
            &error,
            OpenError::DetectionFailed { source: StoreError::Unauthorized { .. }, .. }
        ),
        "a missing right says nothing about the server: {error:?}"
    );
    assert!(ErrorChain(&error).to_string().contains("permission denied"), "{}", ErrorChain(&error));
    // With a statement per table, the detection needs only the right to lock a shard.
    database.execute(&format!("GRANT SELECT, UPDATE ON shards TO {role}")).await.unwrap();
    config.write_form = WriteForm::StatementPerTable;
    let limited = connect(&config, None).await.unwrap();
    let error = limited.session().insert_into_executions(&execution()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unauthorized { .. }), "{error:?}");
    assert!(ErrorChain(&error).to_string().contains("executions"), "{}", ErrorChain(&error));
    let error = limited.schema_version("postgres").await.unwrap_err();
    assert!(matches!(error, StoreError::Unauthorized { .. }), "not read as no version: {error:?}");
    limited.close();
    drop((limited, store));
    database.execute(&format!("DROP OWNED BY {role}")).await.unwrap();
    database.execute(&format!("DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_a_full_server_refuses_is_retried() {
    let recorded = Recorded::default();
    let _recorder = metrics::set_default_local_recorder(&recorded);
    let Some(database) = ScratchDatabase::create().await else {
        return;
    };
    let role = format!("role_{}", database.name());
    let create = format!("CREATE ROLE {role} LOGIN PASSWORD 'right' CONNECTION LIMIT 1");
    database.execute(&create).await.unwrap();
    let mut config = config(&database, database.addr().unwrap());
    config.user = role.clone();
    config.password = Some("right".into());
    config.pool.acquire_timeout = WAIT_LIMIT;
    let first = open_connection(&Connector::new(&config, None).unwrap()).await.unwrap();
    let error = refusal(&config).await;
    assert!(error.is_busy(), "{error:?}");
    let opening = tokio::spawn(async move { connect(&config, None).await.map(drop) });
    let refused = [("operation", "Connect"), ("error_class", "connection_limit")];
    let refusals = || recorded.total("dsql_tx_error_class_total", &refused);
    wait_until("no connection is refused", async || refusals() > 0).await;
    assert!(!opening.is_finished(), "it waits instead of failing");
    sqlx::Connection::close(first).await.unwrap();
    opening.await.unwrap().unwrap();
    // The store is dropped; its connection may close a moment later.
    until_ok(async || database.execute(&format!("DROP ROLE {role}")).await).await;
}

#[tokio::test]
async fn connections_that_broke_are_replaced_one_by_one() {
    let Some(database) = ScratchDatabase::create().await else {
        return;
    };
    crate::support::set_up(&database).await;
    let proxy = FaultProxy::start(database.addr().unwrap()).unwrap();
    let store = crate::support::open(&database, proxy.addr(), LONG_RETRIES).await;
    for _ in 0..3 {
        store.session().select_from_executions(&execution().filter()).await.unwrap();
        proxy.cut();
    }
    store.session().select_from_executions(&execution().filter()).await.unwrap();
}

#[tokio::test]
async fn a_connection_is_retired_at_its_age_and_the_reserve_is_refilled() {
    let Some(database) = ScratchDatabase::create().await else {
        return;
    };
    let mut config = config(&database, database.addr().unwrap());
    config.application_name = "retiring".into();
    config.pool.min_connections = 3;
    config.pool.lifetime = Duration::from_millis(2_500);
    config.pool.lifetime_jitter = Duration::from_millis(500);
    config.pool.guard_window = Duration::from_millis(100);
    let store = connect(&config, None).await.unwrap();
    let sessions = async || {
        let query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'retiring'";
        let mut pids: Vec<_> =
            database.query(query).await.unwrap().into_iter().map(|row| row[0].clone()).collect();
        pids.sort();
        pids
    };
    wait_until("the reserve was never filled", async || sessions().await.len() >= 3).await;
    let first = sessions().await;
    wait_until("a connection outlived its age", async || {
        !sessions().await.iter().any(|pid| first.contains(pid))
    })
    .await;
    drop(store);
    let are_closed = async || sessions().await.is_empty();
    wait_until("a closed store left connections behind", are_closed).await;
}

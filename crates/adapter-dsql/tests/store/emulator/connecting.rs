//! TLS and IAM: accepted and refused connections, and their errors (aurora-dsql.md#connections).

use std::time::Duration;

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use dsql_emulator::Refusal;
use temporal_dsql_client::open_connection;
use temporal_dsql_domain::{Engine, VERSION};
use temporal_dsql_ports::{Outcome, Store, StoreError};
use temporal_dsql_store::{
    Config, ConnectError, Connector, ErrorChain, OpenError, WriteForm, connect,
};
use temporal_dsql_testkit::ScratchCluster;

use crate::support::{
    LONG_RETRIES,
    cluster::{cluster, config, credentials, open},
    execution,
    trace::Trace,
    until_ok, wait_until,
};

async fn refusal(config: &Config, credentials: SharedCredentialsProvider) -> ConnectError {
    let connector = Connector::new(config, Some(credentials)).unwrap();
    open_connection(&connector).await.map(drop).unwrap_err()
}

fn others(cluster: &ScratchCluster) -> SharedCredentialsProvider {
    let id = cluster.credentials().access_key_id.clone();
    SharedCredentialsProvider::new(Credentials::from_keys(id, "hunter2", None))
}

#[tokio::test]
async fn host_port_ca_and_credentials_are_enough() {
    let Some(cluster) = cluster(|builder| builder).await else { return };
    let store = open(&cluster, LONG_RETRIES).await;
    assert_eq!(store.engine(), Engine::Dsql);
    let row = execution();
    assert_eq!(store.session().insert_into_executions(&row).await.unwrap(), 1);
    assert_eq!(store.session().select_from_executions(&row.filter()).await.unwrap(), Some(row));
    let recorded = store.schema_version("postgres").await.unwrap().unwrap();
    assert_eq!(recorded.current, VERSION);
}

#[tokio::test]
async fn an_untrusted_certificate_is_refused() {
    let Some(cluster) = cluster(|builder| builder).await else { return };
    let mut config = config(&cluster);
    config.tls.ca_file = None;
    let error = refusal(&config, credentials(&cluster)).await;
    assert!(matches!(error, ConnectError::Tls { .. }), "{}", ErrorChain(&error));
}

#[tokio::test]
async fn a_token_of_the_wrong_key_or_region_is_refused_and_not_shown() {
    let Some(cluster) = cluster(|builder| builder).await else { return };
    let mut elsewhere = config(&cluster);
    elsewhere.region = Some("eu-west-1".into());
    for (config, credentials) in
        [(config(&cluster), others(&cluster)), (elsewhere, credentials(&cluster))]
    {
        let error = refusal(&config, credentials.clone()).await;
        assert!(matches!(error, ConnectError::Refused { .. }), "{}", ErrorChain(&error));
        let text = format!("{} {error:?}", ErrorChain(&error));
        assert!(text.contains("access denied"), "{text}");
        assert!(!text.contains("X-Amz") && !text.contains("hunter2"), "{text}");
        let opened = connect(&config, Some(credentials)).await.map(drop).unwrap_err();
        assert!(
            matches!(opened, OpenError::Connect(StoreError::Unauthorized { .. })),
            "{opened:?}"
        );
    }
}

/// Temporary credentials have a session token, which is a part of every token that they sign.
#[tokio::test]
async fn no_secret_is_logged_at_any_level_while_a_store_is_opened_and_used() {
    let mut temporary = dsql_emulator::Credentials::new("AKIAIOSFODNN7EXAMPLE", "the-secret-key");
    temporary.session_token = Some("the-session-token".into());
    let Some(cluster) = cluster(|builder| builder.credentials(temporary)).await else { return };
    let (trace, _guard) = Trace::start();
    let store = open(&cluster, LONG_RETRIES).await;
    store.session().insert_into_executions(&execution()).await.unwrap();
    let error = refusal(&config(&cluster), others(&cluster)).await;
    tracing::warn!(error = &error as &dyn std::error::Error, "refused");
    let seen = trace.text();
    assert!(trace.count("connected") >= 1 && trace.count("refused") == 1, "{seen}");
    for secret in ["the-secret-key", "the-session-token", "hunter2", "X-Amz-Signature"] {
        assert!(!seen.contains(secret), "`{secret}` is logged: {seen}");
    }
}

#[tokio::test]
async fn a_role_without_rights_is_unauthorized_by_the_name_of_the_table() {
    let Some(cluster) = cluster(|builder| builder).await else { return };
    let role = format!("app_{:x}", fastrand::u64(..));
    cluster.query(&format!("CREATE ROLE {role} WITH LOGIN")).await.unwrap();
    cluster.query(&format!("AWS IAM GRANT {role} TO '{}'", cluster.arn())).await.unwrap();
    let mut config = config(&cluster);
    config.user = role.clone();
    let error = connect(&config, Some(credentials(&cluster))).await.map(drop).unwrap_err();
    assert!(
        matches!(
            &error,
            OpenError::DetectionFailed { source: StoreError::Unauthorized { .. }, .. }
        ),
        "a missing right says nothing about the server: {error:?}"
    );
    assert!(
        ErrorChain(&error).to_string().contains("permission denied for table"),
        "{}",
        ErrorChain(&error)
    );
    // With a statement per table, the detection needs only the right to lock a shard.
    cluster.query(&format!("GRANT SELECT, UPDATE ON shards TO {role}")).await.unwrap();
    config.write_form = WriteForm::StatementPerTable;
    let store = connect(&config, Some(credentials(&cluster))).await.unwrap();
    let error = store.session().insert_into_executions(&execution()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unauthorized { .. }), "{error:?}");
    assert!(ErrorChain(&error).to_string().contains("executions"), "{}", ErrorChain(&error));
    store.close();
    drop(store);
    cluster.query(&format!("REVOKE SELECT, UPDATE ON shards FROM {role}")).await.unwrap();
    cluster.query(&format!("AWS IAM REVOKE {role} FROM '{}'", cluster.arn())).await.unwrap();
    cluster.query(&format!("DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_a_busy_cluster_refuses_is_retried() {
    let Some(cluster) = cluster(|builder| builder).await else { return };
    for busy in [Refusal::TooManyConnections, Refusal::RateExceeded, Refusal::WakingUp] {
        cluster.faults().refuse_connections(busy, 1);
        let error = refusal(&config(&cluster), credentials(&cluster)).await;
        assert!(error.is_busy(), "{busy:?}: {}", ErrorChain(&error));
        cluster.faults().refuse_connections(busy, 2);
        let store = open(&cluster, LONG_RETRIES).await;
        assert_eq!(cluster.faults().pending(), 0);
        store.session().select_from_executions(&execution().filter()).await.unwrap();
    }
    cluster.faults().refuse_connections(Refusal::TooManyConnections, u32::MAX);
    let mut impatient = config(&cluster);
    impatient.pool.acquire_timeout = Duration::from_millis(300);
    let opened = connect(&impatient, Some(credentials(&cluster))).await.map(drop).unwrap_err();
    let OpenError::Connect(error) = opened else { panic!("{opened:?}") };
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert!(error.is_transient(), "{error:?}");
}

#[tokio::test]
async fn a_new_token_is_made_when_the_old_one_has_expired() {
    let Some(cluster) = cluster(|builder| builder).await else { return };
    let mut short = config(&cluster);
    short.token_lifetime = Duration::from_secs(3);
    // On a busy machine a token may expire before the cluster gets it. The store does not retry
    // after the refusal of a token.
    let store = until_ok(async || connect(&short, Some(credentials(&cluster))).await).await;
    let filter = execution().filter();
    store.session().select_from_executions(&filter).await.unwrap();
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    // The next call needs a connection, and the connection a token.
    cluster.faults().drop_connections();
    until_ok(async || store.session().select_from_executions(&filter).await).await;
}

#[tokio::test]
async fn a_session_that_the_cluster_closes_for_its_age_is_replaced() {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let Some(cluster) = cluster(|builder| builder).await else { return };
    let mut config = config(&cluster);
    // A token is valid on the clock of the cluster, too, which will be three hours ahead.
    config.token_lifetime = 6 * HOUR;
    let store = connect(&config, Some(credentials(&cluster))).await.unwrap();
    let row = execution();
    store.session().insert_into_executions(&row).await.unwrap();
    let (trace, _guard) = Trace::start();
    for replaced in 1..=3 {
        cluster.faults().shift_clock(HOUR);
        // The session may still answer one read.
        wait_until("no connection replaces the one whose session was closed", async || {
            let read = store.session().select_from_executions(&row.filter()).await.unwrap();
            assert_eq!(read.as_ref(), Some(&row));
            trace.count("connected") == replaced
        })
        .await;
    }
}

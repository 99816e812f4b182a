//! The proxy is invisible until a fault is due; then client and server agree on what happened.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{Connection, Executor, PgConnection, Row};
use temporal_dsql_testkit::{FaultProxy, HookAction, OccCode, ScratchDatabase, When, WireFault};

/// A database with a table `t (n int)` that holds nothing, and a proxy in front of it.
struct Fixture {
    database: ScratchDatabase,
    proxy: FaultProxy,
}

impl Fixture {
    async fn new() -> Option<Self> {
        let database = ScratchDatabase::create().await?;
        database.execute("CREATE TABLE t (n int)").await.expect("a table");
        let proxy = FaultProxy::start(database.addr().expect("an address")).expect("a proxy");
        Some(Self { database, proxy })
    }

    async fn connect(&self) -> PgConnection {
        self.try_connect().await.expect("a connection")
    }

    async fn try_connect(&self) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect(&self.database.url_via(self.proxy.addr())).await
    }

    /// The rows of the table, read around the proxy.
    async fn stored(&self) -> Vec<String> {
        let rows = self.database.query("SELECT n FROM t ORDER BY n").await.expect("rows");
        rows.into_iter().flatten().flatten().collect()
    }

    /// Waits until only the observer is connected to the database.
    async fn wait_until_no_client_is_connected(&self) {
        let others = "SELECT pid FROM pg_stat_activity \
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.database.query(others).await.expect("sessions").is_empty() {
            assert!(Instant::now() < deadline, "a session is still open");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(self) {
        assert_eq!(self.proxy.pending_faults(), 0, "a fault did not happen");
    }
}

fn sqlstate(result: Result<impl Sized, sqlx::Error>) -> (String, String) {
    match result {
        Err(sqlx::Error::Database(error)) => {
            let code = error.code().expect("an SQLSTATE").into_owned();
            (code, error.message().to_owned())
        }
        Err(other) => panic!("expected an error of the server's, got {other}"),
        Ok(_) => panic!("expected an error of the server's, got success"),
    }
}

fn is_lost(result: Result<impl Sized, sqlx::Error>) -> bool {
    matches!(result, Err(sqlx::Error::Io(_)))
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test is about the driver, not about a store")]
async fn without_faults_the_proxy_is_invisible() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let mut client = fixture.connect().await;
    // Larger than every buffer on the way, in both directions.
    let long = "é".repeat(4 << 20);
    let row = sqlx::query("SELECT $1::text, length($1)")
        .bind(&long)
        .fetch_one(&mut client)
        .await
        .unwrap();
    assert_eq!(row.get::<&str, _>(0), long);
    let rows = sqlx::query("SELECT n FROM generate_series(1, 100000) AS n")
        .fetch_all(&mut client)
        .await
        .unwrap();
    assert_eq!(rows.len(), 100_000);
    assert_eq!(sqlstate(client.execute("SELECT 1/0").await).0, "22012");
    let mut transaction = client.begin().await.unwrap();
    transaction.execute("INSERT INTO t VALUES (1)").await.unwrap();
    transaction.commit().await.unwrap();
    // The rollback of a dropped transaction is sent together with what comes next.
    let mut transaction = client.begin().await.unwrap();
    transaction.execute("INSERT INTO t VALUES (2)").await.unwrap();
    drop(transaction);
    sqlx::query("INSERT INTO t VALUES ($1)").bind(3).execute(&mut client).await.unwrap();
    client.close().await.unwrap();
    fixture.wait_until_no_client_is_connected().await;
    assert_eq!(fixture.stored().await, ["1", "3"]);
    assert!(fixture.proxy.bytes() > 2 * long.len() as u64);
}

#[tokio::test]
async fn a_copy_passes_through() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let mut client = fixture.connect().await;
    let mut copy = client.copy_in_raw("COPY t FROM STDIN").await.unwrap();
    for n in 0..10_000 {
        copy.send(format!("{n}\n").as_bytes()).await.unwrap();
    }
    assert_eq!(copy.finish().await.unwrap(), 10_000);
    assert_eq!(fixture.stored().await.len(), 10_000);
}

#[tokio::test]
async fn a_client_that_disconnects_during_a_copy_is_noticed_by_the_server() {
    let Some(fixture) = Fixture::new().await else { return };
    let mut client = fixture.connect().await;
    let mut copy = client.copy_in_raw("COPY t FROM STDIN").await.unwrap();
    copy.send(&b"1\n"[..]).await.unwrap();
    drop(copy);
    drop(client);
    fixture.wait_until_no_client_is_connected().await;
    assert!(fixture.stored().await.is_empty());
}

#[tokio::test]
async fn the_servers_end_of_a_session_reaches_the_client() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let mut client = fixture.connect().await;
    fixture
        .database
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await
        .unwrap();
    let ended = client.execute("SELECT 1").await;
    assert!(ended.is_err(), "{ended:?}");
}

#[tokio::test]
async fn a_round_trip_is_a_query_or_a_batch_up_to_its_sync() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let mut client = fixture.connect().await;
    let start = fixture.proxy.round_trips();
    assert_eq!(start, 0, "starting a session is not counted");
    client.execute("SELECT 1").await.unwrap();
    assert_eq!(fixture.proxy.round_trips(), 1);
    let insert = || sqlx::query("INSERT INTO t VALUES ($1)").bind(7);
    insert().execute(&mut client).await.unwrap();
    assert_eq!(fixture.proxy.round_trips(), 3, "one to prepare, one to run");
    insert().execute(&mut client).await.unwrap();
    assert_eq!(fixture.proxy.round_trips(), 4, "prepared already");
    assert_eq!(fixture.proxy.statements(), ["SELECT 1", "INSERT INTO t VALUES ($1)"]);
}

#[tokio::test]
async fn a_conflict_at_commit_applies_nothing_and_leaves_the_session_usable() {
    for (code, message) in [
        (OccCode::Oc000, "change conflicts with another transaction (OC000)"),
        (OccCode::Oc001, "schema has been updated by another transaction (OC001)"),
    ] {
        let Some(fixture) = Fixture::new().await else {
            return;
        };
        let mut client = fixture.connect().await;
        client.execute("BEGIN").await.unwrap();
        client.execute("INSERT INTO t VALUES (1)").await.unwrap();
        fixture.proxy.inject(When::Commit, WireFault::Conflict(code));
        let error = sqlstate(client.execute("commit").await);
        assert_eq!(error, ("40001".into(), message.into()));
        // The transaction is over on both sides: this is one of its own.
        client.execute("INSERT INTO t VALUES (2)").await.unwrap();
        assert_eq!(fixture.stored().await, ["2"]);
        fixture.end().await;
    }
}

#[tokio::test]
async fn a_conflict_at_a_statement_aborts_its_transaction() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let mut client = fixture.connect().await;
    client.execute("BEGIN").await.unwrap();
    client.execute("INSERT INTO t VALUES (1)").await.unwrap();
    fixture.proxy.inject(When::RoundTrip(1), WireFault::Conflict(OccCode::Oc000));
    let conflict = client.execute("INSERT INTO t VALUES (2)").await;
    assert_eq!(sqlstate(conflict).0, "40001");
    // As PostgreSQL has it: refused until the end, and the end is a rollback.
    let aborted = client.execute("INSERT INTO t VALUES (3)").await;
    assert_eq!(sqlstate(aborted).0, "25P02");
    client.execute("COMMIT").await.unwrap();
    client.execute("INSERT INTO t VALUES (4)").await.unwrap();
    assert_eq!(fixture.stored().await, ["4"]);
    fixture.end().await;
}

#[tokio::test]
async fn an_error_outside_of_a_transaction_applies_nothing() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let mut client = fixture.connect().await;
    let fault = WireFault::error("54000", "transaction row limit exceeded");
    fixture.proxy.inject(When::Executing("INSERT".into()), fault);
    let insert = || sqlx::query("INSERT INTO t VALUES ($1)").bind(5);
    let error = sqlstate(insert().execute(&mut client).await);
    assert_eq!(error, ("54000".into(), "transaction row limit exceeded".into()));
    assert!(fixture.stored().await.is_empty());
    insert().execute(&mut client).await.unwrap();
    assert_eq!(fixture.stored().await, ["5"]);
    fixture.end().await;
}

#[tokio::test]
async fn an_error_while_a_statement_is_prepared_leaves_it_unprepared() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let mut client = fixture.connect().await;
    fixture.proxy.inject(When::Matching("INSERT".into()), WireFault::Conflict(OccCode::Oc001));
    let insert = || sqlx::query("INSERT INTO t VALUES ($1)").bind(5);
    assert_eq!(sqlstate(insert().execute(&mut client).await).0, "40001");
    insert().execute(&mut client).await.unwrap();
    // The text is known by the statement's name, too.
    fixture.proxy.inject(When::Matching("INSERT".into()), WireFault::Conflict(OccCode::Oc000));
    assert_eq!(sqlstate(insert().execute(&mut client).await).0, "40001");
    assert_eq!(fixture.stored().await, ["5"]);
    fixture.end().await;
}

#[tokio::test]
async fn a_commit_that_is_lost_before_the_server_is_not_applied() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let mut client = fixture.connect().await;
    client.execute("BEGIN").await.unwrap();
    client.execute("INSERT INTO t VALUES (1)").await.unwrap();
    fixture.proxy.inject(When::Commit, WireFault::LostRequest);
    assert!(is_lost(client.execute("COMMIT").await));
    fixture.wait_until_no_client_is_connected().await;
    assert!(fixture.stored().await.is_empty());
    fixture.end().await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_applied() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let mut client = fixture.connect().await;
    client.execute("BEGIN").await.unwrap();
    client.execute("INSERT INTO t VALUES (1)").await.unwrap();
    fixture.proxy.inject(When::Commit, WireFault::LostAnswer);
    assert!(is_lost(client.execute("COMMIT").await));
    // No waiting: the answer had arrived before the client lost its connection.
    assert_eq!(fixture.stored().await, ["1"]);
    fixture.end().await;
}

#[tokio::test]
async fn a_delayed_request_arrives_late_and_whole() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let mut client = fixture.connect().await;
    let delay = Duration::from_millis(150);
    fixture.proxy.inject(When::RoundTrip(2), WireFault::Delay(delay));
    client.execute("INSERT INTO t VALUES (1)").await.unwrap();
    let start = Instant::now();
    client.execute("INSERT INTO t VALUES (2)").await.unwrap();
    assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
    assert_eq!(fixture.stored().await, ["1", "2"]);
    fixture.end().await;
}

#[tokio::test]
async fn a_hook_before_a_request_decides_whether_the_server_gets_it() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let mut client = fixture.connect().await;
    let called = Arc::new(AtomicBool::new(false));
    let hook = {
        let called = called.clone();
        move || {
            called.store(true, Ordering::SeqCst);
            HookAction::Continue
        }
    };
    fixture.proxy.inject(When::RoundTrip(1), WireFault::before(hook));
    fixture.proxy.inject(When::RoundTrip(2), WireFault::before(|| HookAction::Close));
    client.execute("INSERT INTO t VALUES (1)").await.unwrap();
    assert!(called.load(Ordering::SeqCst));
    assert!(is_lost(client.execute("INSERT INTO t VALUES (2)").await));
    fixture.wait_until_no_client_is_connected().await;
    assert_eq!(fixture.stored().await, ["1"]);
    fixture.end().await;
}

#[tokio::test]
async fn a_hook_after_a_request_runs_when_it_is_applied_and_before_the_client_knows() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let mut client = fixture.connect().await;
    let (url, runtime) = (fixture.database.url(), tokio::runtime::Handle::current());
    let hook = move || {
        let seen = runtime.block_on(async {
            let mut observer = PgConnection::connect(&url).await?;
            sqlx::query("SELECT n FROM t").fetch_all(&mut observer).await
        });
        assert_eq!(seen.expect("rows").len(), 1, "applied already");
        HookAction::Continue
    };
    fixture.proxy.inject(When::RoundTrip(1), WireFault::after(hook));
    fixture.proxy.inject(When::RoundTrip(2), WireFault::after(|| HookAction::Close));
    client.execute("INSERT INTO t VALUES (1)").await.unwrap();
    assert!(is_lost(client.execute("INSERT INTO t VALUES (2)").await));
    assert_eq!(fixture.stored().await, ["1", "2"]);
    fixture.end().await;
}

#[tokio::test]
async fn an_assertion_that_fails_in_a_hook_fails_the_test() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let mut client = fixture.connect().await;
    fixture
        .proxy
        .inject(When::RoundTrip(1), WireFault::before(|| panic!("as a failed assertion does")));
    assert!(is_lost(client.execute("SELECT 1").await));
    let Fixture { proxy, .. } = fixture;
    let dropped = std::thread::spawn(move || drop(proxy));
    assert!(dropped.join().is_err());
}

#[tokio::test]
async fn a_session_can_be_refused_with_or_without_an_error() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let busy = "Unable to accept connection, rate exceeded.";
    fixture.proxy.inject(When::Connect, WireFault::error("53400", busy));
    fixture.proxy.inject(When::Connect, WireFault::LostRequest);
    let refused = sqlstate(fixture.try_connect().await);
    assert_eq!(refused, ("53400".into(), busy.into()));
    assert!(is_lost(fixture.try_connect().await));
    fixture.connect().await.execute("SELECT 1").await.unwrap();
    fixture.end().await;
}

#[tokio::test]
async fn cut_closes_every_connection_and_new_ones_are_accepted() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let (mut one, mut two) = (fixture.connect().await, fixture.connect().await);
    one.execute("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    fixture.proxy.cut();
    assert!(is_lost(one.execute("COMMIT").await));
    assert!(is_lost(two.execute("SELECT 1").await));
    fixture.wait_until_no_client_is_connected().await;
    assert!(fixture.stored().await.is_empty());
    fixture.connect().await.execute("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn while_it_refuses_the_port_is_closed_and_open_connections_stay() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let mut before = fixture.connect().await;
    for _ in 0..3 {
        fixture.proxy.refuse(true);
        match fixture.try_connect().await {
            Err(sqlx::Error::Io(error)) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
            }
            other => panic!("expected a refusal, got {other:?}"),
        }
        before.execute("SELECT 1").await.unwrap();
        fixture.proxy.refuse(false);
        fixture.connect().await.execute("SELECT 1").await.unwrap();
    }
}

//! Injected faults, by the API and by the control port.

use std::time::{Duration, Instant};

use dsql_emulator::{
    CommitFault, CommitRates, DsqlEmulator, Faults, JobDelays, Latency, Refusal, StatementFault,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::support::{
    CATALOG_CONFLICT, CONFLICT, Client, ConnectOptions, client::Refused, pair, start, start_default,
};

const UNAVAILABLE: (&str, &str) = ("XX000", "server unavailable");

async fn client(emulator: &DsqlEmulator) -> Client {
    let mut client = Client::connect(emulator).await;
    client.ok("CREATE TABLE t (id int PRIMARY KEY)").await;
    client
}

/// The ids in the table.
async fn ids(emulator: &DsqlEmulator) -> String {
    let mut client = Client::connect(emulator).await;
    client.value("SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), '') FROM t").await
}

#[tokio::test]
async fn each_commit_fault_fails_the_commit_and_applies_it_or_not() {
    let Some(emulator) = start_default().await else { return };
    let mut client = client(&emulator).await;
    // Reads and failed transactions do not count as commits.
    emulator.faults().at_commit(CommitFault::Conflict, 1);
    client.ok("SELECT 1").await;
    assert_eq!(emulator.faults().pending(), 1);
    client.ok("BEGIN").await;
    client.ok("INSERT INTO t VALUES (1)").await;
    assert_eq!(pair(&client.refused("COMMIT").await), CONFLICT);
    // An autocommit statement counts as a commit.
    for (fault, error, applied) in [
        (CommitFault::Conflict, CONFLICT, false),
        (CommitFault::CatalogConflict, CATALOG_CONFLICT, false),
        (CommitFault::Unavailable { applied: false }, UNAVAILABLE, false),
        (CommitFault::Unavailable { applied: true }, UNAVAILABLE, true),
    ] {
        emulator.faults().at_commit(fault, 1);
        assert_eq!(pair(&client.refused("INSERT INTO t VALUES (2)").await), error);
        assert_eq!(ids(&emulator).await, if applied { "2" } else { "" }, "{fault:?}");
    }
    assert_eq!((emulator.faults().pending(), emulator.faults().report().commits), (0, 5));
}

#[tokio::test]
async fn a_lost_answer_closes_the_connection_before_or_after_the_commit() {
    let Some(emulator) = start_default().await else { return };
    client(&emulator).await;
    for (id, applied) in [(1, true), (2, false)] {
        let mut client = Client::connect(&emulator).await;
        emulator.faults().at_commit(CommitFault::LostAnswer { applied }, 1);
        client.ok("BEGIN").await;
        client.ok(&format!("INSERT INTO t VALUES ({id})")).await;
        assert!(client.try_query("COMMIT").await.is_err(), "no answer");
        assert_eq!(ids(&emulator).await, "1");
    }
}

async fn held_commits(faults: &Faults, count: usize) {
    let held = faults.held_commits(count);
    tokio::time::timeout(Duration::from_secs(60), held).await.expect("a commit is held, or ends");
}

#[tokio::test]
async fn a_held_commit_detects_its_conflicts_when_it_is_released() {
    let Some(emulator) = start_default().await else { return };
    let mut client = client(&emulator).await;
    client.ok("INSERT INTO t VALUES (1), (2), (3)").await;
    let faults = emulator.faults();
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client::connect(&emulator).await);
    }
    let [first, second, third] = &mut clients[..] else { unreachable!() };
    faults.at_commit(CommitFault::Held, 2);
    let in_the_meantime = async {
        held_commits(faults, 2).await;
        client.ok("UPDATE t SET id = 4 WHERE id = 1").await;
        assert_eq!(ids(&emulator).await, "2 3 4");
        faults.release_commits();
        held_commits(faults, 0).await;
    };
    let (conflict, done, ()) = tokio::join!(
        first.run("UPDATE t SET id = 5 WHERE id = 1"),
        second.run("UPDATE t SET id = 6 WHERE id = 2"),
        in_the_meantime,
    );
    assert_eq!((conflict.refused(), done.ok()), (CONFLICT, "UPDATE 1"));
    assert_eq!(ids(&emulator).await, "3 4 6");
    // A connection that is closed holds no commit.
    faults.at_commit(CommitFault::Held, 1);
    let closed = async {
        held_commits(faults, 1).await;
        faults.drop_connections();
        held_commits(faults, 0).await;
    };
    let (lost, ()) = tokio::join!(third.try_query("UPDATE t SET id = 7 WHERE id = 3"), closed);
    assert!(lost.is_err());
    assert_eq!(ids(&emulator).await, "3 4 6");
}

#[tokio::test]
async fn held_jobs_stay_submitted_until_they_are_released() {
    let delays = JobDelays { start: Duration::ZERO, work: Duration::ZERO, ..JobDelays::default() };
    let Some(emulator) = start(DsqlEmulator::builder().job_delays(delays)).await else { return };
    let mut client = client(&emulator).await;
    let faults = emulator.faults();
    for release in [Faults::release_jobs, Faults::clear] {
        faults.hold_jobs();
        faults.hold_jobs();
        let held = client.value("CREATE INDEX ASYNC ON t (id)").await;
        // Longer than a job takes that is not held.
        client.ok("SELECT pg_sleep(1)").await;
        let state = format!("SELECT status FROM sys.jobs WHERE job_id = '{held}'");
        assert_eq!(client.value(&state).await, "submitted");
        release(faults);
        let later = client.value("CREATE INDEX ASYNC ON t (id)").await;
        for id in [held, later] {
            assert_eq!(client.value(&format!("CALL sys.wait_for_job('{id}')")).await, "t");
        }
    }
    // A job that has started before goes on.
    let earlier = client.value("CREATE INDEX ASYNC ON t (id)").await;
    faults.hold_jobs();
    assert_eq!(client.value(&format!("CALL sys.wait_for_job('{earlier}')")).await, "t");
}

#[tokio::test]
async fn statement_faults_and_refusals_happen_as_scripted() {
    let Some(emulator) = start_default().await else { return };
    let mut client = client(&emulator).await;
    let faults = emulator.faults();
    faults.at_statement(Some("INTO t"), StatementFault::Unavailable, 1);
    faults.at_statement(None, StatementFault::CatalogConflict, 1);
    client.ok("BEGIN").await;
    assert_eq!(pair(&client.refused("INSERT INTO t VALUES (1)").await), UNAVAILABLE);
    assert_eq!(client.ok("COMMIT").await, "ROLLBACK");
    assert_eq!(pair(&client.refused("SELECT 1").await), CATALOG_CONFLICT);
    faults.at_statement(None, StatementFault::Close, 1);
    assert!(client.try_query("SELECT 1").await.is_err());

    for (refusal, code) in [
        (Refusal::AccessDenied, "08006"),
        (Refusal::WakingUp, "08006"),
        (Refusal::TooManyConnections, "53300"),
        (Refusal::RateExceeded, "53400"),
    ] {
        faults.refuse_connections(refusal, 1);
        match Client::open(&emulator, &ConnectOptions::of(&emulator)).await {
            Err(refused) => assert_eq!(refused.error().code, code, "{refusal:?}"),
            Ok(_) => panic!("let in in spite of {refusal:?}"),
        }
    }
    faults.refuse_connections(Refusal::Closed, 1);
    let closed = Client::open(&emulator, &ConnectOptions::of(&emulator)).await;
    assert!(matches!(closed, Err(Refused::Closed(_))));

    let mut client = Client::connect(&emulator).await;
    faults.drop_connections();
    assert!(client.next().await.is_err());
    assert_eq!(ids(&emulator).await, "");
    assert_eq!((faults.report().statements, faults.report().connections), (3, 5));
}

#[tokio::test]
async fn round_trips_and_commits_take_the_configured_latency() {
    let Some(emulator) = start_default().await else { return };
    let mut client = client(&emulator).await;
    let (trip, commit) = (Duration::from_millis(30), Duration::from_millis(60));
    emulator.faults().set_latency(Latency { round_trip: trip, commit });
    let start = Instant::now();
    client.ok("SELECT 1").await;
    assert!(start.elapsed() >= trip);
    let start = Instant::now();
    client.ok("INSERT INTO t VALUES (1)").await;
    assert!(start.elapsed() >= trip + commit);
}

/// The results of 60 inserts under random faults.
async fn outcomes(seed: u64) -> Option<Vec<String>> {
    let emulator = start_default().await?;
    let mut client = client(&emulator).await;
    let rates = CommitRates {
        conflict: 0.2,
        catalog_conflict: 0.1,
        unavailable: 0.2,
        ..CommitRates::default()
    };
    emulator.faults().at_random(seed, rates);
    let mut outcomes = Vec::new();
    for id in 0..60 {
        let end = client.run(&format!("INSERT INTO t VALUES ({id})")).await;
        outcomes.push(end.error.map_or_else(String::new, |error| error.message));
    }
    emulator.faults().clear();
    outcomes.push(ids(&emulator).await);
    Some(outcomes)
}

#[tokio::test]
async fn random_faults_come_from_their_seed() {
    let Some(first) = outcomes(11).await else { return };
    let (Some(again), Some(other)) = (outcomes(11).await, outcomes(12).await) else { return };
    assert_eq!(first, again);
    assert_ne!(first, other);
}

/// A control connection: one answer for each line.
struct Control(BufReader<TcpStream>);

impl Control {
    async fn open(emulator: &DsqlEmulator) -> Self {
        Self(BufReader::new(TcpStream::connect(emulator.control_addr()).await.unwrap()))
    }

    async fn send(&mut self, line: &str) -> String {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        self.0.read_line(&mut answer).await.unwrap();
        answer.trim_end().to_owned()
    }
}

#[tokio::test]
async fn the_control_port_does_what_the_api_does() {
    let Some(emulator) = start_default().await else { return };
    let mut client = client(&emulator).await;
    let mut control = Control::open(&emulator).await;
    for (line, error) in [
        ("commit conflict", CONFLICT),
        ("commit catalog-conflict", CATALOG_CONFLICT),
        ("commit unavailable-lost", UNAVAILABLE),
        ("statement unavailable 1 INTO t", UNAVAILABLE),
        ("statement catalog-conflict", CATALOG_CONFLICT),
    ] {
        assert_eq!(control.send(line).await, "ok", "{line}");
        assert_eq!(pair(&client.refused("INSERT INTO t VALUES (1)").await), error, "{line}");
    }
    assert_eq!(ids(&emulator).await, "");
    assert_eq!(control.send("commit unavailable-applied").await, "ok");
    client.refused("INSERT INTO t VALUES (1)").await;
    assert_eq!(control.send("status").await, "ok pending=0 commits=4 statements=2 connections=0");

    for (line, applied) in [("commit answer-lost", "1"), ("commit answer-lost-applied", "1 2")] {
        let mut client = Client::connect(&emulator).await;
        assert_eq!(control.send(line).await, "ok");
        assert!(client.try_query("INSERT INTO t VALUES (2)").await.is_err(), "{line}");
        assert_eq!(ids(&emulator).await, applied);
    }
    let mut other = Client::connect(&emulator).await;
    assert_eq!(control.send("commit held").await, "ok");
    let released = async {
        held_commits(emulator.faults(), 1).await;
        assert_eq!(control.send("release").await, "ok");
    };
    tokio::join!(other.ok("INSERT INTO t VALUES (3)"), released);
    assert_eq!(control.send("refuse rate").await, "ok");
    match Client::open(&emulator, &ConnectOptions::of(&emulator)).await {
        Err(refused) => assert_eq!(refused.error().code, "53400"),
        Ok(_) => panic!("let in"),
    }
    assert_eq!(control.send("latency 30 0").await, "ok");
    let start = Instant::now();
    client.ok("SELECT 1").await;
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(control.send("clear").await, "ok");

    assert_eq!(control.send("hold-jobs").await, "ok");
    let id = client.value("CREATE INDEX ASYNC ON t (id)").await;
    let state = format!("SELECT status FROM sys.jobs WHERE job_id = '{id}'");
    assert_eq!(client.value(&state).await, "submitted");
    assert_eq!(control.send("release-jobs").await, "ok");
    assert_eq!(client.value(&format!("CALL sys.wait_for_job('{id}')")).await, "t");

    let options = ConnectOptions::of(&emulator);
    assert_eq!(control.send("clock 1200").await, "ok");
    match Client::open(&emulator, &options).await {
        Err(refused) => assert!(refused.error().hint.unwrap().contains("Signature expired")),
        Ok(_) => panic!("let in"),
    }
    assert_eq!(control.send("drop").await, "ok");
    assert!(client.next().await.is_err());
    let wrong = control.send("commit nonsense").await;
    assert_eq!(wrong, "error `nonsense` is not a commit fault; try `help`");
}

#[tokio::test]
async fn clients_log_in_after_sessions_were_dropped_while_their_statements_were_parsed() {
    let Some(emulator) = start_default().await else { return };
    // The grammar of several statements is checked on the connection that all sessions share.
    let text = "SELECT 1;".repeat(20_000);
    for wait in [5, 10, 20, 40, 60] {
        let mut client = Client::connect(&emulator).await;
        let parsed = client.try_query(&text);
        let dropped = async {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            emulator.faults().drop_connections();
        };
        // Whether it was answered depends on the time.
        let _ = tokio::join!(parsed, dropped);
        let mut client = Client::connect(&emulator).await;
        assert_eq!(client.query("SELECT 1; SELECT 2").await.len(), 2);
    }
}

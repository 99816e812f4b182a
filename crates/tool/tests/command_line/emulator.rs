//! The tool as a process on the DSQL emulator, with host, port, CA file and credentials.

use std::{
    io::{BufReader, Read},
    net::{Shutdown, TcpListener, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::support::{GoFiles, Run, Tool, blocking, newest, read_until};
use dsql_emulator::{CommitFault, JobDelays};
use temporal_dsql_testkit::ScratchCluster;

/// Clusters in use at the same time.
const WORKERS: usize = 4;

/// A cluster without a schema, or `None` without a server.
fn empty() -> Option<ScratchCluster> {
    let moment = Duration::from_millis(10);
    let delays = JobDelays { start: moment, work: moment, ..JobDelays::default() };
    blocking(ScratchCluster::create(|builder| builder.job_delays(delays)))
}

#[test]
fn every_command_works_over_tls_with_an_iam_token() {
    let Some(cluster) = empty() else { return };
    let tool = Tool::on(&cluster);
    let run = tool.ok(&["setup-schema", "--version", "1.0"]);
    assert!(run.out.contains("is at version 1.0"), "{}", run.out);
    let (_, status) = tool.json(&["status"]);
    assert_eq!(status["status"]["current"], "1.0");
    let dry = tool.ok(&["update-schema", "--dry-run"]);
    assert!(dry.out.contains("CREATE TABLE current_chasm_executions ("), "{}", dry.out);
    tool.ok(&["update-schema"]);
    tool.ok(&["verify"]);
    assert!(tool.ok(&["update-schema"]).out.starts_with("nothing to do"));
    tool.ok(&["rollback-schema", "--to", "1.0"]);
    tool.ok(&["verify"]);
    tool.ok(&["setup-schema", "--overwrite", "--yes"]);
    let (_, status) = tool.json(&["status"]);
    assert_eq!(status["status"]["current"], newest());
    tool.ok(&["verify"]);
}

#[test]
fn the_databases_of_the_go_tools_reach_exactly_1_1() {
    let files = GoFiles::write();
    let update = ["update-schema", "-d", &files.versioned()];
    let to_1_1: [&[&[&str]]; 3] = [
        // As the fork's guide said until 2026-01-19.
        &[&["setup-schema", "-v", "1.0"], &["guide"], &["adopt-schema"], &update],
        &[&["setup-schema", "-f", &files.schema_file(), "-v", "1.1"]],
        &[&["setup-schema", "-v", "0.0"], &update],
    ];
    for commands in to_1_1 {
        let Some(cluster) = empty() else { return };
        let tool = Tool::on(&cluster);
        let mut rows = Vec::new();
        for command in commands {
            if *command == ["guide"] {
                let row = "INSERT INTO shards VALUES (1, 7, 'x', 'Proto3')";
                let version = "UPDATE schema_version SET curr_version = '1.12', \
                               min_compatible_version = '1.12'";
                blocking(cluster.query(row)).unwrap();
                blocking(cluster.query(version)).unwrap();
                assert!(tool.run(&["verify"]).err.contains("run `adopt-schema` to record 1.0"));
                rows = blocking(cluster.query("SELECT * FROM shards")).unwrap();
            } else {
                tool.ok(command);
            }
        }
        let verified = tool.ok(&["verify"]);
        assert!(verified.out.contains("matches version 1.1"), "{commands:?}: {}", verified.out);
        assert_eq!(blocking(cluster.query("SELECT * FROM shards")).unwrap(), rows, "{commands:?}");
    }
}

#[test]
fn a_slow_index_build_is_reported_in_lines() {
    let Some(cluster) = empty() else { return };
    Tool::on(&cluster).ok(&["setup-schema"]);
    // Nothing but the index is left to be made, so its build is waited for.
    for sql in [
        "DROP INDEX idx_namespaces_name",
        "UPDATE schema_version SET curr_version = '1.12', min_compatible_version = '1.12'",
    ] {
        blocking(cluster.query(sql)).unwrap();
    }
    cluster.faults().hold_jobs();
    let mut child = Tool::on(&cluster).spawn(&["adopt-schema"]);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut told = read_until(&mut stderr, "index idx_namespaces_name: ");
    // The job is polled several times.
    thread::sleep(Duration::from_millis(500));
    cluster.faults().release_jobs();
    stderr.read_to_string(&mut told).unwrap();
    assert!(child.wait().unwrap().success(), "{told}");
    let waits = told.lines().filter(|line| line.starts_with("index idx_namespaces_name: "));
    let seconds = |line: &str| line.strip_suffix(" s")?.rsplit(' ').next()?.parse::<u64>().ok();
    let tens: Vec<_> = waits.map(|line| seconds(line).expect(line) / 10).collect();
    assert!(tens.is_sorted_by(|one, next| one < next), "one line in ten seconds: {told}");
    Tool::on(&cluster).ok(&["verify"]);
}

#[test]
fn a_refused_login_is_explained_and_no_secret_is_shown() {
    let Some(cluster) = empty() else { return };
    let fails = |tool: &Tool, named: &[&str]| {
        let run = tool.run(&["setup-schema"]);
        assert_eq!(run.code, 1, "{}{}", run.out, run.err);
        for name in named {
            assert!(run.err.contains(name), "`{name}` is not in: {}", run.err);
        }
        assert!(!run.err.contains('\u{1b}'), "colours outside of a terminal: {}", run.err);
        for secret in ["hunter2", "X-Amz-Signature", "wJalr"] {
            assert!(!run.err.contains(secret), "{}", run.err);
        }
    };
    let mut wrong = Tool::on(&cluster);
    wrong.set("AWS_SECRET_ACCESS_KEY", "hunter2").set("RUST_LOG", "trace");
    fails(&wrong, &["refused the login of `admin`", "access denied", "signature"]);
    let mut wrong_region = Tool::on(&cluster);
    wrong_region.set("AWS_REGION", "eu-west-1");
    fails(&wrong_region, &["access denied"]);
    let mut without_ca = Tool::on(&cluster);
    without_ca.set("SQL_TLS_CA_FILE", "");
    fails(&without_ca, &["cannot make a TLS connection", "--tls-ca-file", "UnknownIssuer"]);
    let mut unknown_role = Tool::on(&cluster);
    unknown_role.set("SQL_USER", "nobody");
    fails(&unknown_role, &["nobody"]);
    // Nothing was changed.
    let (_, status) = Tool::on(&cluster).json(&["status"]);
    assert_eq!(status["status"]["current"], serde_json::Value::Null);
}

/// The number of commits of `command`.
fn commits(cluster: &ScratchCluster, command: &[&str]) -> usize {
    const MANY: usize = 10_000;
    cluster.faults().script(std::iter::repeat_n(None, MANY));
    Tool::on(cluster).ok(command);
    let left = cluster.faults().undecided();
    cluster.faults().clear();
    MANY - left
}

/// A proxy to `cluster` for one connection: later connections are refused.
fn single_connection_proxy(cluster: &ScratchCluster) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = cluster.addr();
    thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        drop(listener);
        let server = TcpStream::connect(server).unwrap();
        let pump = |mut from: TcpStream, mut to: TcpStream| {
            thread::spawn(move || {
                // Ends when either side closes the connection.
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
        };
        pump(client.try_clone().unwrap(), server.try_clone().unwrap());
        pump(server, client);
    });
    port
}

/// Kills `command` at its commit number `commit`, before or after the cluster has applied it.
fn kill(cluster: &ScratchCluster, command: &[&str], commit: usize, applied: bool) {
    let faults = cluster.faults();
    let before = faults.report().commits;
    let lost = Some(CommitFault::LostAnswer { applied });
    faults.script(std::iter::repeat_n(None, commit).chain([lost]));
    // The tool has one connection, and loses it with the response.
    let mut child = Tool::on(cluster)
        .set("SQL_PORT", single_connection_proxy(cluster).to_string())
        .spawn(command);
    let deadline = Instant::now() + Duration::from_secs(60);
    while faults.report().commits == before {
        assert!(Instant::now() < deadline, "{command:?} did not reach commit {commit}");
        thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(!status.success(), "the tool survived commit {commit}");
    faults.clear();
}

/// Kills `command` at each of the commits, before and after it is applied, and runs it again.
fn kill_everywhere(preparation: &[&[&str]], command: &[&str], every: usize, at_least: usize) {
    let prepared = || {
        let cluster = empty()?;
        for command in preparation {
            Tool::on(&cluster).ok(command);
        }
        Some(cluster)
    };
    let Some(cluster) = prepared() else { return };
    let commits = commits(&cluster, command);
    assert!(commits >= at_least, "{command:?} has only {commits} commits");
    let cases: Vec<_> =
        (0..commits).step_by(every).flat_map(|commit| [(commit, false), (commit, true)]).collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let case = next.fetch_add(1, Ordering::Relaxed);
                    let Some((commit, applied)) = cases.get(case).copied() else { return };
                    let cluster = prepared().unwrap();
                    kill(&cluster, command, commit, applied);
                    let tool = Tool::on(&cluster);
                    let place = format!("commit {commit}, applied: {applied}");
                    let again = tool.run(command);
                    assert_eq!(again.code, 0, "{place}: {}{}", again.out, again.err);
                    let verified = tool.run(&["verify"]);
                    assert_eq!(verified.code, 0, "{place}: {}{}", verified.out, verified.err);
                    let third = tool.ok(command);
                    assert!(third.out.starts_with("nothing to do"), "{place}: {}", third.out);
                }
            });
        }
    });
}

#[test]
fn setup_is_completed_by_the_next_run_wherever_it_was_killed() {
    // Every commit is killed on PostgreSQL (tests/kills.rs); here every sixth, with index builds.
    kill_everywhere(&[], &["setup-schema"], 6, 45);
}

#[test]
fn update_is_completed_by_the_next_run_wherever_it_was_killed() {
    kill_everywhere(&[&["setup-schema", "--version", "1.0"]], &["update-schema"], 1, 2);
}

#[test]
fn rollback_is_completed_by_the_next_run_wherever_it_was_killed() {
    kill_everywhere(&[&["setup-schema"]], &["rollback-schema", "--to", "1.0"], 1, 2);
}

#[test]
fn ten_upgrades_at_once_all_succeed() {
    let Some(cluster) = empty() else { return };
    Tool::on(&cluster).ok(&["setup-schema", "--version", "1.0"]);
    let children: Vec<_> = (0..10).map(|_| Tool::on(&cluster).spawn(&["update-schema"])).collect();
    for child in children {
        let run = Run::from(child.wait_with_output().unwrap());
        assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    }
    Tool::on(&cluster).ok(&["verify"]);
    assert!(Tool::on(&cluster).ok(&["update-schema"]).out.starts_with("nothing to do"));
}

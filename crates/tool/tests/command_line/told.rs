//! What a run says while it waits, and how signals end it.

use std::{
    io::{BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::support::{Run, Tool, blocking, read_until};
use rustix::process::{Pid, Signal, kill_process};
use temporal_dsql_testkit::{FaultProxy, HookAction, ScratchDatabase, When, WireFault};

const TIMEOUT: Duration = Duration::from_secs(60);

/// The exit code of `child`, and the rest of its standard error.
fn end(mut child: Child, stderr: &mut impl Read) -> (Option<i32>, String) {
    let deadline = Instant::now() + TIMEOUT;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("the tool does not end");
        }
        thread::sleep(Duration::from_millis(10));
    }
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    (child.wait().unwrap().code(), rest)
}

/// A server that takes connections and says nothing, and a tool that connects to it.
fn silent() -> (TcpListener, Tool) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut tool = Tool::nowhere();
    tool.set("SQL_HOST", "127.0.0.1");
    tool.set("SQL_PORT", listener.local_addr().unwrap().port().to_string());
    (listener, tool)
}

#[test]
fn sigterm_ends_a_run_and_says_so() {
    let (listener, tool) = silent();
    let mut child = tool.spawn(&["status"]);
    let _connection = listener.accept().unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let (code, told) = end(child, &mut stderr);
    assert_eq!(code, Some(143), "{told}");
    assert!(told.contains("interrupted; run the same command again"), "{told}");
}

#[test]
fn the_first_process_of_a_container_is_ended_by_sigterm_too() {
    let (listener, tool) = silent();
    // The kernel gives the first process of a namespace only the signals that it has handlers for.
    let command = tool.command(&["status", "--output", "json"]);
    let mut namespace = Command::new("unshare");
    namespace
        .args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child"])
        .arg(command.get_program())
        .args(command.get_args())
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = namespace.spawn().expect("unshare belongs to util-linux");
    let _connection = listener.accept().unwrap();
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let first: i32 = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(first).unwrap(), Signal::TERM).unwrap();
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!(run.code, 143, "{}{}", run.out, run.err);
    let json: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(json["kind"], "interrupted");
}

/// Refuses every connection on `listener` with `sqlstate` and `message`.
fn refuse(listener: TcpListener, sqlstate: &'static str, message: &'static str) {
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection: TcpStream = connection.unwrap();
            let mut request = [0; 1024];
            let read = connection.read(&mut request).unwrap_or(0);
            if request[4..8] == [0x04, 0xd2, 0x16, 0x2f] {
                // No TLS; the startup message follows.
                let _ = connection.write_all(b"N");
                let _ = connection.read(&mut request);
            } else {
                assert!(read > 0, "the client closed the connection");
            }
            let fields = format!("SFATAL\0VFATAL\0C{sqlstate}\0M{message}\0\0");
            let length = u32::try_from(fields.len() + 4).unwrap();
            let _ = connection.write_all(b"E");
            let _ = connection.write_all(&length.to_be_bytes());
            let _ = connection.write_all(fields.as_bytes());
        }
    });
}

#[test]
fn a_refusal_that_is_waited_out_is_told_at_the_first_wait() {
    for (sqlstate, message) in [
        ("53300", "too many connections"),
        ("53400", "rate exceeded"),
        ("57P03", "the database system is starting up"),
        ("XX000", "waking up cluster"),
    ] {
        let (listener, tool) = silent();
        let port = listener.local_addr().unwrap().port();
        refuse(listener, sqlstate, message);
        for output in ["text", "json"] {
            let mut child = tool.spawn(&["status", "--output", output]);
            let mut stderr = BufReader::new(child.stderr.take().unwrap());
            let told = read_until(&mut stderr, "attempt 1 failed");
            let connecting = format!("connecting to 127.0.0.1:{port}");
            assert!(told.starts_with(&connecting) && told.contains(message), "{told}");
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_told_with_its_holder_and_an_interrupt_cancels_the_statement_on_the_server() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema"]);
    let holder = database.query("SELECT pg_sleep(600), count(*) FROM current_chasm_executions");
    let active = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                  AND state = 'active' AND query LIKE '%chasm_executions%' \
                  AND query NOT LIKE '%pg_stat_activity%'";
    let count = async || database.query(active).await.unwrap()[0][0].clone().unwrap();
    let interrupted = async {
        while count().await != "1" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut child = tool.spawn(&["rollback-schema", "--to", "1.0"]);
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let told = tokio::task::block_in_place(|| read_until(&mut stderr, "waiting for a lock"));
        assert!(told.contains("it is held by process "), "{told}");
        assert_eq!(count().await, "2", "the statement waits");
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let (code, rest) = tokio::task::block_in_place(|| end(child, &mut stderr));
        assert_eq!(code, Some(1), "{rest}");
        assert!(rest.contains("interrupted; run the same command again"), "{rest}");
        assert_eq!(count().await, "1", "the statement still waits on the server");
    };
    tokio::select! {
        held = holder => panic!("the lock was released: {held:?}"),
        () = interrupted => {}
    }
}

#[tokio::test]
async fn control_characters_in_names_are_escaped() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema"]);
    database.execute("CREATE TABLE \"a\u{1b}[2Jb\" (id INT)").await.unwrap();
    let run = tool.ok(&["verify"]);
    assert!(run.out.contains(r"table a\u{1b}[2Jb") && !run.out.contains('\u{1b}'), "{}", run.out);
    database.execute("CREATE TABLE \"g\u{9b}2J\u{7f}\" (id INT)").await.unwrap();
    let run = tool.ok(&["verify", "--output", "json"]);
    assert!(run.out.contains(r"g\u009b2J\u007f"), "{}", run.out);
    assert!(!run.out.contains(['\u{7f}', '\u{9b}']), "{:?}", run.out);
    let json: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert!(json.to_string().contains("g\u{9b}2J\u{7f}"), "{json}");
    let lines = "ALTER TABLE shards ADD COLUMN \"a\nb\" INT; CREATE TABLE \"c\nd\" (id INT); \
                 CREATE VIEW \"e\nf\" AS SELECT shard_id FROM shards";
    database.execute(lines).await.unwrap();
    let run = tool.run(&["verify"]);
    for line in [r"  - column shards.a\nb is not in the definition", r"  table c\nd"] {
        assert!(run.out.lines().any(|shown| shown == line), "`{line}` is not in {}", run.out);
    }
    let overwrite = ["setup-schema", "--overwrite", "--yes", "--drop-different"];
    let run = tool.run(&overwrite);
    assert!(run.err.lines().any(|shown| shown.contains(r"e\nf")), "{}", run.err);
    let run = tool.run(&["status", "--logical-database", "x\u{7}y", "--db", "no\u{9b}ne"]);
    assert!(!run.err.contains(['\u{7}', '\u{9b}']), "{:?}", run.err);
}

#[tokio::test]
async fn json_has_progress_on_standard_error_and_steps_that_are_in_effect() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    let run = tool.ok(&["setup-schema", "--version", "1.0", "--output", "json"]);
    assert!(run.err.contains("create table shards"), "{}", run.err);
    let json: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    for step in json["plan"]["steps"].as_array().unwrap() {
        assert_eq!(step["state"], "in_effect", "{step}");
    }
    let quiet = tool.ok(&["update-schema", "--output", "json", "--quiet"]);
    assert_eq!(quiet.err, "");
}

#[tokio::test]
async fn a_proof_tells_its_rows_and_a_dry_run_what_it_would_prove() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema", "--version", "1.0"]);
    let row = "INSERT INTO current_executions SELECT 1, gen_random_uuid(), 'w' || n, \
               gen_random_uuid(), 'r', 2, 1, 0, NULL, n, 'x', 'Proto3' FROM generate_series(1, 1001) AS n";
    database.execute(row).await.unwrap();
    let dry = tool.ok(&["update-schema", "--prove", "--dry-run"]);
    assert!(dry.out.contains("--prove reads all rows of current_executions"), "{}", dry.out);
    // A reading that takes a second is told.
    let proxy = FaultProxy::start(database.addr().unwrap()).unwrap();
    let slow = || {
        thread::sleep(Duration::from_millis(1_100));
        HookAction::Continue
    };
    let page = r#"FROM "current_executions" AS t"#.to_owned();
    proxy.inject(When::Executing(page), WireFault::before(slow));
    let run = Tool::via(&database, proxy.addr()).ok(&["update-schema", "--prove"]);
    assert_eq!(proxy.pending_faults(), 0);
    assert!(run.err.contains("reading current_executions: 1,000 rows so far"), "{}", run.err);
    assert!(run.out.contains("current_executions is unchanged: 1001 rows"), "{}", run.out);
    let dry = tool.ok(&["update-schema", "--prove", "--dry-run"]);
    assert!(!dry.out.contains("--prove reads") && dry.out.contains("nothing to do"), "{}", dry.out);
}

#[test]
fn a_run_that_does_nothing_proves_nothing_and_says_so() {
    let Some(database) = blocking(ScratchDatabase::create()) else { return };
    let (tool, database) = (Tool::new(&database), Arc::new(database));
    tool.ok(&["setup-schema", "--version", "1.0"]);
    let proxy = FaultProxy::start(database.addr().unwrap()).unwrap();
    let server = Arc::clone(&database);
    let write = move || {
        let row = "INSERT INTO current_executions SELECT 1, gen_random_uuid(), 'w', \
                   gen_random_uuid(), 'r', 2, 1, 0, NULL, 1, 'x', 'Proto3'";
        blocking(server.execute(row)).unwrap();
        HookAction::Continue
    };
    let create = "CREATE TABLE current_chasm_executions".to_owned();
    proxy.inject(When::Executing(create), WireFault::before(write));
    let (code, json) = Tool::via(&database, proxy.addr()).json(&["update-schema", "--prove"]);
    assert_eq!((code, &json["kind"]), (1, &"proof".into()), "{json}");
    let error = json["error"].as_str().unwrap();
    assert!(error.contains("in effect, and another run proves nothing about them"), "{error}");
    let run = tool.ok(&["update-schema", "--prove"]);
    assert!(run.out.starts_with("nothing to do: "), "{}", run.out);
    assert!(!run.out.contains("unchanged"), "{}", run.out);
    assert!(run.err.contains("note: --prove has proved nothing"), "{}", run.err);
    let (code, json) = tool.json(&["update-schema", "--prove"]);
    assert_eq!((code, json.get("proof")), (0, None), "{json}");
}

#[tokio::test]
async fn rows_in_the_way_are_counted_and_the_flag_is_named() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema"]);
    let row = "INSERT INTO current_chasm_executions SELECT 1, gen_random_uuid(), 'b', 1, \
               gen_random_uuid(), 'r', 2, 1, 0, NULL, 1, 'x', 'Proto3'";
    database.execute(row).await.unwrap();
    let run = tool.run(&["rollback-schema", "--to", "1.0"]);
    assert_eq!(run.code, 1, "{}", run.err);
    for named in ["current_chasm_executions has 1 row,", "--drop-rows"] {
        assert!(run.err.contains(named), "`{named}` is not in {}", run.err);
    }
    let (_, json) = tool.json(&["rollback-schema", "--to", "1.0"]);
    assert_eq!(json["kind"], "rows");
}

#[tokio::test]
async fn an_ipv6_endpoint_is_taken_with_brackets_and_without() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let server = database.addr().unwrap();
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect(server).unwrap();
            for (mut from, mut to) in
                [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
            {
                // Ends when either side closes the connection.
                thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        }
    });
    let mut tool = Tool::new(&database);
    tool.set("SQL_PORT", port.as_str());
    for endpoint in ["::1", "[::1]"] {
        tool.ok(&["status", "--endpoint", endpoint]);
    }
    let with_port = format!("[::1]:{port}");
    let run = tool.run(&["status", "--endpoint", &with_port]);
    assert_eq!(run.code, 2);
    let line = shlex::split(run.err.lines().last().unwrap()).unwrap();
    assert_eq!(line, ["temporal-dsql-tool", "status", "--endpoint", "[::1]", "--port", &port]);
}

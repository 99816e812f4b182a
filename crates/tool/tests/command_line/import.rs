//! The commands that move a deployment from PostgreSQL, as processes.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use crate::support::{Run, Tool, blocking};
use serde_json::Value;
use temporal_dsql_testkit::{
    FaultProxy, HookAction, RecordedDeployment, ScratchCluster, ScratchDatabase, When, WireFault,
};

/// The recorded source, or `None` without a server.
fn source() -> Option<ScratchDatabase> {
    blocking(RecordedDeployment::new().create())
}

/// An empty target on PostgreSQL.
fn target() -> ScratchDatabase {
    let database = blocking(ScratchDatabase::create()).unwrap();
    Tool::new(&database).ok(&["setup-schema"]);
    database
}

/// An empty target on the emulator.
fn cluster() -> ScratchCluster {
    let cluster = blocking(ScratchCluster::create(|builder| builder)).unwrap();
    Tool::on(&cluster).ok(&["setup-schema"]);
    cluster
}

/// The lines of standard error, all of which are JSON.
fn events(run: &Run) -> Vec<Value> {
    let event =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    run.err.lines().map(event).collect()
}

#[test]
fn a_deployment_is_rehearsed_fenced_imported_and_verified() {
    let Some(source) = source() else { return };
    let cluster = cluster();
    let (tool, from) = (Tool::on(&cluster), source.url());
    // Beside a running server, into a target that is thrown away.
    let beat = "UPDATE cluster_membership SET last_heartbeat = now() AT TIME ZONE 'UTC'";
    blocking(source.execute(beat)).unwrap();
    let (code, refused) = tool.json(&["import", "--from", &from]);
    assert_eq!((code, &refused["kind"]), (1, &Value::from("import")), "{refused}");
    assert_eq!(refused["problems"][0]["kind"], "servers", "{refused}");
    let dry = tool.run(&["import", "--from", &from, "--dry-run"]);
    assert_eq!(dry.code, 1, "{}", dry.out);
    assert!(
        dry.out.contains("servers run at the source: frontend at 127.0.0.1:6933"),
        "{}",
        dry.out
    );
    tool.ok(&["import", "--from", &from, "--rehearse", "--tables", "shards, tasks"]);
    let rehearsed = tool.ok(&["import", "--from", &from, "--rehearse"]);
    assert!(rehearsed.out.contains("this was a rehearsal; empty the target"), "{}", rehearsed.out);
    assert!(!rehearsed.out.contains("pluginName"), "{}", rehearsed.out);
    tool.ok(&["setup-schema", "--overwrite", "--yes"]);
    // The servers are stopped.
    let stop = "UPDATE cluster_membership SET last_heartbeat = '2026-11-26 15:47:00'";
    blocking(source.execute(stop)).unwrap();
    let fenced = tool.ok(&["fence-source", "--from", &from, "--yes"]);
    assert_eq!(
        fenced.out.trim_end(),
        "done: changed 4 shards; all 4 shards of the source are fenced: no server can write executions \
         or tasks of the source"
    );
    let plan = tool.ok(&["import", "--from", &from, "--dry-run"]);
    assert!(plan.out.contains("source: schema 1.19, 4 shards, 4 fenced"), "{}", plan.out);
    assert!(plan.out.contains("history_node: 523 rows"), "{}", plan.out);
    assert!(plan.out.ends_with("nothing stops the import\n"), "{}", plan.out);
    let done = tool.ok(&["import", "--from", &from, "--jobs", "2"]);
    let last = "in the configuration of the servers: pluginName: dsql, databaseName: postgres, and \
                numHistoryShards: 4 as before, which must stay\n";
    assert!(done.out.ends_with(last), "{}", done.out);
    let verify = tool.run(&["import", "--from", &from, "--verify", "--output", "json"]);
    let verified: Value = serde_json::from_str(&verify.out).unwrap();
    assert_eq!((verify.code, &verified["exact"]), (0, &Value::Bool(true)), "{}", verify.out);
    let events = events(&verify);
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["phase"]), (&"progress".into(), &"proving".into()));
    assert_eq!((&last["rows"], &last["total_rows"]), (&3_252.into(), &3_252.into()), "{last}");
    // Going back is one command.
    tool.ok(&["unfence-source", "--from", &from, "--yes"]);
    let again = tool.ok(&["unfence-source", "--from", &from]);
    assert!(again.out.starts_with("nothing to do; all 4 shards"), "{}", again.out);
    let ids = blocking(source.query("SELECT DISTINCT range_id FROM shards")).unwrap();
    assert_eq!(ids, [[Some("1".to_owned())]]);
}

#[test]
fn a_row_that_differs_has_exit_code_3_and_stays() {
    let Some(source) = source() else { return };
    let target = target();
    let (tool, from) = (Tool::new(&target), source.url());
    tool.ok(&["import", "--from", &from]);
    let change = "UPDATE history_node SET data = 'x' WHERE shard_id = 1 AND node_id = 1";
    blocking(target.execute(change)).unwrap();
    for arguments in [&["import", "--from", &from][..], &["import", "--from", &from, "--verify"]] {
        let (code, report) = tool.json(arguments);
        assert_eq!((code, &report["exact"]), (3, &Value::Bool(false)), "{report}");
    }
    let run = tool.run(&["import", "--from", &from]);
    assert!(run.out.contains("of history_node differs in data"), "{}", run.out);
    assert!(run.out.contains("history_node: DIFFERS"), "{}", run.out);
    let kept = "SELECT DISTINCT data FROM history_node WHERE shard_id = 1 AND node_id = 1";
    assert_eq!(blocking(target.query(kept)).unwrap(), [[Some("\\x78".to_owned())]]);
}

#[test]
fn bad_input_is_refused_by_name_before_anything_is_sent() {
    let tool = {
        let mut tool = Tool::nowhere();
        tool.set("SQL_HOST", "127.0.0.1").set("SQL_USER", "u");
        tool
    };
    for (arguments, text) in [
        (&["import"][..], "--from is missing"),
        (&["fence-source"], "--from is missing"),
        (
            &["--endpoint", "h", "fence-source", "--from", "postgres://u@h/d", "--yes"],
            "--endpoint is about the target, which this command does not change",
        ),
        (
            &["fence-source", "--from", "postgres://u@h/d", "--tls-mode", "verify-full"],
            "sslmode and sslrootcert",
        ),
        (
            &["unfence-source", "--from", "postgres://u@h/d", "--pw", "hunter2"],
            "other users can read a password on a command line",
        ),
        (&["import", "--from", "postgres://u:hunter2@h/d"], "set SQL_SOURCE_PASSWORD"),
        (&["import", "--from", "db.example"], "URL"),
        (&["import", "--from", "postgres://u@h/d?sslmode=maybe"], "sslmode maybe"),
        (&["import", "--from", "postgres://u@h/d", "--jobs", "0"], "1..=64"),
        (&["import", "--from", "postgres://u@h/d", "--verify", "--dry-run"], "cannot be used with"),
    ] {
        let run = tool.run(arguments);
        assert_eq!(run.code, 2, "{arguments:?}: {}", run.err);
        assert!(run.err.contains(text), "{arguments:?}: {}", run.err);
        assert!(!run.err.contains("hunter2"), "{}", run.err);
    }
}

#[test]
fn a_url_that_cannot_be_used_is_refused_by_its_name_and_without_its_password() {
    for (url, text) in [
        ("postgres://u:7/S3CRET@h:5432/db", "write %2F for `/`"),
        ("postgres://u:7?S3CRET@h/db", "%3F for `?`"),
        ("postgres://u:7#S3CRET@h/db", "%23 for `#`"),
        ("u:S3CRET@h/db", "connection URL does not begin with postgres://; give postgres://user@"),
        ("postgres://u:S3CRET@one:1,two:2/db", "has several hosts; one can be given"),
        ("postgres://h/db", "the URL has no user; give postgres://user@host:port/database"),
        ("postgres://u@h:5432", "the URL has no database; give postgres://user@"),
        ("postgres://u@h/db?sslmode=disable&sslrootcert=ca.pem", "only the TLS mode verify-full"),
        ("postgres://u@h/db?sslmode=require&sslrootcert=ca.pem", "only the TLS mode verify-full"),
        (
            "postgres://u@abcdefghijklmnopqrstuvwxyz.dsql.eu-central-1.on.aws/postgres",
            "the source is a DSQL cluster; an import reads Temporal's database on PostgreSQL",
        ),
    ] {
        let mut by_variable = Tool::nowhere();
        by_variable.set("SQL_SOURCE_URL", url);
        for (name, run) in [
            ("--from", Tool::nowhere().run(&["import", "--from", url])),
            ("SQL_SOURCE_URL", by_variable.run(&["fence-source", "--yes"])),
        ] {
            assert_eq!(run.code, 2, "{url}: {}", run.err);
            assert!(run.err.starts_with(&format!("error: {name}: ")), "{url}: {}", run.err);
            assert!(run.err.contains(text), "{url}: {}", run.err);
            assert!(!run.err.contains("S3CRET"), "{}", run.err);
        }
    }
}

#[test]
fn a_failure_has_the_advice_about_its_side() {
    let Some(source) = source() else { return };
    let (target, from) = (target(), source.url());
    let role = format!("role_{}", source.name());
    let create = format!(
        "CREATE ROLE {role} LOGIN PASSWORD ' right '; \
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}; \
         REVOKE SELECT ON history_node FROM {role}"
    );
    blocking(source.execute(&create)).unwrap();
    let as_role = from.replace("postgres@", &format!("{role}@"));
    let mut tool = Tool::new(&target);
    let import = |from| ["import", "--from", from, "--dry-run"];
    let fence = |from| ["fence-source", "--from", from, "--yes"];
    let (elsewhere, plain) =
        (from.replace(source.name(), "nowhere"), from.clone() + "?sslmode=require");
    for (arguments, password, parts) in [
        (
            import(&as_role),
            " right ",
            ["lacks privileges at the source", "grant it SELECT on history_node"],
        ),
        (
            fence(&as_role),
            " right ",
            [
                "fencing the shards of the source",
                "grant it SELECT on table shards, and UPDATE, too",
            ],
        ),
        (import(&as_role), "right", ["the source postgres://role_", "SQL_SOURCE_PASSWORD"]),
        (
            import(&elsewhere),
            "",
            ["there is no database `nowhere`", "check the database in --from or SQL_SOURCE_URL"],
        ),
        (
            fence("postgres://u@127.0.0.1:1/d"),
            "",
            ["cannot reach", "check the host and the port in --from or SQL_SOURCE_URL"],
        ),
        (import(&plain), "", ["TLS", "a weaker ?sslmode= in --from or SQL_SOURCE_URL"]),
    ] {
        let run = tool.set("SQL_SOURCE_PASSWORD", password).run(&arguments);
        assert_eq!(run.code, 1, "{arguments:?}: {}", run.err);
        // A dry run prints its problems as its result.
        let said = run.out + &run.err;
        for part in parts {
            assert!(said.contains(part), "{arguments:?}: `{part}` is not in: {said}");
        }
        for of_target in ["--port", "SQL_USER", "SQL_PASSWORD", "--database", "--tls-", "INSERT"] {
            assert!(!said.contains(of_target), "{arguments:?}: {said}");
        }
    }
    // The role has no rights at the target.
    tool.set("SQL_SOURCE_PASSWORD", "").set("SQL_USER", &role).set("SQL_PASSWORD", " right ");
    let run = tool.run(&import(&from));
    assert_eq!(run.code, 1, "{}", run.err);
    for part in ["error: at the target: reading ", "grant it SELECT, INSERT, UPDATE and DELETE on"]
    {
        assert!(run.err.contains(part), "`{part}` is not in: {}", run.err);
    }
    let drop = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    blocking(source.execute(&drop)).unwrap();
}

#[test]
fn a_table_gets_a_line_if_reading_it_takes_a_second() {
    let Some(source) = source() else { return };
    let target = target();
    let proxy = FaultProxy::start(source.addr().unwrap()).unwrap();
    let slow = || {
        std::thread::sleep(Duration::from_millis(1_100));
        HookAction::Continue
    };
    let measure = r#"FROM "history_node" AS t"#.to_owned();
    proxy.inject(When::Executing(measure), WireFault::before(slow));
    let from = source.url_via(proxy.addr());
    let run = Tool::new(&target).ok(&["import", "--from", &from, "--dry-run"]);
    assert_eq!(proxy.pending_faults(), 0);
    assert!(run.err.contains("reading history_node: 523 rows so far"), "{}", run.err);
    // A busy machine may be slow once more, but not for all tables.
    assert!(run.err.matches(" so far").count() <= 3, "{}", run.err);
}

#[test]
fn a_fence_that_something_else_changes_meanwhile_is_a_failure() {
    let Some(source) = source() else { return };
    let (tool, from) = (Tool::nowhere(), source.url());
    for (command, other, state) in [
        ("unfence-source", "fence-source", "fenced"),
        ("fence-source", "unfence-source", "not fenced"),
    ] {
        tool.ok(&[other, "--from", &from, "--yes"]);
        let proxy = FaultProxy::start(source.addr().unwrap()).unwrap();
        let url = from.clone();
        // After the change is committed and before the shards are counted.
        let undo = move || {
            Tool::nowhere().ok(&[other, "--from", &url, "--yes"]);
            HookAction::Continue
        };
        let update = "UPDATE shards SET range_id".to_owned();
        proxy.inject(When::Executing(update), WireFault::after(undo));
        let via = source.url_via(proxy.addr());
        let (code, json) = tool.json(&[command, "--from", &via, "--yes"]);
        assert_eq!((code, &json["kind"]), (1, &"concurrent-run".into()), "{json}");
        let error = format!("changed 4 shards, but 4 of 4 shards of the source are {state}: ");
        assert!(json["error"].as_str().unwrap().starts_with(&error), "{json}");
    }
}

#[test]
fn a_fence_asks_and_changes_nothing_without_an_answer() {
    let Some(source) = source() else { return };
    let tool = Tool::nowhere();
    let run = tool.run(&["fence-source", "--from", &source.url()]);
    assert_eq!(run.code, 2, "{}", run.err);
    assert!(run.err.contains("fence-source changes 4 shards of postgres://"), "{}", run.err);
    assert!(run.err.contains("pass --yes"), "{}", run.err);
    let ids = blocking(source.query("SELECT DISTINCT range_id FROM shards")).unwrap();
    assert_eq!(ids, [[Some("1".to_owned())]]);
}

#[test]
fn the_source_is_read_from_variables_and_its_password_is_not_shown() {
    let Some(source) = source() else { return };
    blocking(source.execute("UPDATE schema_version SET curr_version = '1.17'")).unwrap();
    let mut tool = Tool::nowhere();
    tool.set("SQL_SOURCE_URL", source.url()).set("SQL_SOURCE_PASSWORD", "hunter2");
    let (code, refused) = tool.json(&["fence-source", "--yes"]);
    assert_eq!((code, &refused["problems"][0]["kind"]), (1, &"source-version".into()), "{refused}");
    assert!(!refused.to_string().contains("hunter2"), "{refused}");
    tool.set("SQL_SOURCE_URL", "postgres://u:hunter2@127.0.0.1:1/d");
    let run = tool.run(&["fence-source", "--yes"]);
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("the source postgres://u@127.0.0.1:1/d"), "{}", run.err);
    assert!(!run.err.contains("hunter2"), "{}", run.err);
}

/// Runs an import, sends it `signal` when it writes for the third time, and runs it again.
fn interrupt(source: &ScratchDatabase, signal: rustix::process::Signal, code: i32) {
    let target = target();
    let proxy = FaultProxy::start(target.addr().unwrap()).unwrap();
    let process = Arc::new(Mutex::new(None));
    let victim = Arc::clone(&process);
    let hook = move || {
        loop {
            if let Some(id) = *victim.lock().unwrap() {
                rustix::process::kill_process(id, signal).unwrap();
                // Until the handler has run. The tool waits ten seconds for the chunk.
                std::thread::sleep(Duration::from_secs(3));
                return HookAction::Continue;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let insert = r#"INSERT INTO "history_node""#.to_owned();
    proxy.inject(When::Executing(insert), WireFault::before(hook));
    let from = source.url();
    let arguments = ["import", "--from", &from, "--jobs", "1", "--output", "json"];
    let child = Tool::via(&target, proxy.addr()).spawn(&arguments);
    *process.lock().unwrap() = rustix::process::Pid::from_raw(child.id().try_into().unwrap());
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!(run.code, code, "{}{}", run.out, run.err);
    let report: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(report["kind"], "interrupted", "{report}");
    let error = report["error"].as_str().unwrap();
    // The chunk that was on its way is counted, after the tables that identify the deployment.
    assert_eq!(
        error,
        "stopped between two chunks, after 531 rows; run the same command again to continue"
    );
    let count = "SELECT count(*) FROM history_node";
    assert_eq!(blocking(target.query(count)).unwrap(), [[Some("523".to_owned())]]);
    let again = Tool::new(&target).ok(&["import", "--from", &from]);
    assert!(again.out.contains("the target is equal to the source"), "{}", again.out);
    assert!(again.out.contains("0 inserted, 523 found"), "{}", again.out);
}

#[test]
fn a_signal_stops_between_two_chunks_and_the_next_run_continues() {
    let Some(source) = source() else { return };
    interrupt(&source, rustix::process::Signal::INT, 1);
    interrupt(&source, rustix::process::Signal::TERM, 143);
}

/// Sends `signal` to a fence that waits for the lock of a server, and then lets that server go on.
fn interrupt_fence(source: &ScratchDatabase, signal: rustix::process::Signal, code: i32) {
    let waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() \
                   AND wait_event_type = 'Lock' AND query LIKE '%UPDATE shards%'";
    let from = source.url();
    blocking(async {
        let mut server = source.admin();
        server.query("BEGIN").await.unwrap();
        server.query("SELECT 1 FROM shards FOR UPDATE").await.unwrap();
        let child = Tool::nowhere().spawn(&["fence-source", "--from", &from, "--yes"]);
        let start = Instant::now();
        while source.query(waiting).await.unwrap().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(60), "the fence does not wait");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let process = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(process, signal).unwrap();
        let run = Run::from(child.wait_with_output().unwrap());
        assert_eq!(run.code, code, "{}{}", run.out, run.err);
        assert!(run.err.contains("interrupted; run the same command again"), "{}", run.err);
        assert_eq!(source.query(waiting).await.unwrap().len(), 0, "the statement still waits");
        server.query("COMMIT").await.unwrap();
        let ids = source.query("SELECT DISTINCT range_id FROM shards").await.unwrap();
        assert_eq!(ids, [[Some("1".to_owned())]]);
    });
}

#[test]
fn an_interrupted_fence_does_not_take_effect_later() {
    let Some(source) = source() else { return };
    interrupt_fence(&source, rustix::process::Signal::INT, 1);
    interrupt_fence(&source, rustix::process::Signal::TERM, 143);
}

#[test]
fn the_source_is_not_its_own_target() {
    let Some(source) = source() else { return };
    let run = Tool::new(&source).run(&["import", "--from", &source.url()]);
    assert_eq!(run.code, 2, "{}", run.err);
    assert!(run.err.contains("the source and the target are the same database"), "{}", run.err);
}

#[test]
fn a_process_that_is_killed_at_a_statement_is_completed_by_the_next_one() {
    let Some(source) = source() else { return };
    let template = target();
    let statements = [
        r#"INSERT INTO "history_node""#,
        r#"UPDATE "namespace_metadata""#,
        r#"INSERT INTO "shards""#,
        r#"INSERT INTO "tasks""#,
    ];
    for (number, statement) in statements.into_iter().enumerate() {
        let target = blocking(ScratchDatabase::create_from_template(&template)).unwrap();
        let proxy = FaultProxy::start(target.addr().unwrap()).unwrap();
        let child = Arc::new(Mutex::new(None::<std::process::Child>));
        let victim = Arc::clone(&child);
        let (killed, is_killed) = mpsc::channel();
        let hook = move || {
            loop {
                if let Some(child) = &mut *victim.lock().unwrap() {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    killed.send(()).unwrap();
                    return HookAction::Close;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        let fault = if number % 2 == 0 { WireFault::before(hook) } else { WireFault::after(hook) };
        proxy.inject(When::Executing(statement.to_owned()), fault);
        let from = source.url();
        let spawned = Tool::via(&target, proxy.addr()).spawn(&["import", "--from", &from]);
        *child.lock().unwrap() = Some(spawned);
        is_killed
            .recv_timeout(Duration::from_secs(60))
            .unwrap_or_else(|_| panic!("the process was not killed at {statement}"));
        let status = child.lock().unwrap().as_mut().unwrap().wait().unwrap();
        assert!(!status.success(), "the process survived {statement}");
        let again = Tool::new(&target).ok(&["import", "--from", &from]);
        assert!(again.out.contains("the target is equal to the source"), "{}", again.out);
    }
}

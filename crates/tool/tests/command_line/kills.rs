//! The tool as a process: killed (SIGKILL) before the first writing statement and after each one, and
//! several processes at the same time. The next run completes, and the database matches its version.

use std::{
    process::Child,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use crate::support::{Tool, blocking};
use temporal_dsql_testkit::{FaultProxy, HookAction, ScratchDatabase, When, WireFault};

/// Databases in use at the same time.
const WORKERS: usize = 4;

/// Kills the process as soon as it has started.
fn kill(child: &Mutex<Option<Child>>) {
    loop {
        if let Some(child) = &mut *child.lock().unwrap() {
            child.kill().unwrap();
            child.wait().unwrap();
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// The writing statements of a command, in order.
fn changes(template: &ScratchDatabase, command: &[&str]) -> Vec<String> {
    let database = blocking(ScratchDatabase::create_from_template(template)).unwrap();
    let proxy = FaultProxy::start(database.addr().unwrap()).unwrap();
    Tool::via(&database, proxy.addr()).ok(command);
    let changing = ["CREATE", "DROP", "INSERT", "UPDATE", "COMMIT"];
    let mut statements = proxy.statements();
    statements.retain(|text| changing.iter().any(|word| text.trim_start().starts_with(word)));
    statements.dedup();
    statements
}

/// Kills `command` before or after the server executes `statement`; then runs it again and verifies
/// the database.
fn kill_and_resume(template: &ScratchDatabase, command: &[&str], before: bool, statement: &str) {
    let database = blocking(ScratchDatabase::create_from_template(template)).unwrap();
    let proxy = FaultProxy::start(database.addr().unwrap()).unwrap();
    let child = Arc::new(Mutex::new(None));
    let victim = Arc::clone(&child);
    let (killed, is_killed) = mpsc::channel();
    let hook = move || {
        kill(&victim);
        killed.send(()).unwrap();
        HookAction::Close
    };
    let fault = if before { WireFault::before(hook) } else { WireFault::after(hook) };
    proxy.inject(When::Executing(statement.to_owned()), fault);
    let spawned = Tool::via(&database, proxy.addr()).spawn(command);
    *child.lock().unwrap() = Some(spawned);
    let place = if before { "before" } else { "after" };
    is_killed
        .recv_timeout(Duration::from_secs(120))
        .unwrap_or_else(|_| panic!("the tool was not killed {place} `{statement}`"));
    let status = child.lock().unwrap().as_mut().unwrap().wait().unwrap();
    assert!(!status.success(), "the tool survived {place} `{statement}`");

    let tool = Tool::new(&database);
    let again = tool.run(command);
    assert_eq!(again.code, 0, "{place} `{statement}`: {}{}", again.out, again.err);
    let verified = tool.run(&["verify"]);
    assert_eq!(verified.code, 0, "{place} `{statement}`: {}{}", verified.out, verified.err);
    let history = "SELECT old_version, new_version, count(*) FROM schema_update_history \
                   GROUP BY old_version, new_version HAVING count(*) > 1";
    assert_eq!(blocking(database.query(history)).unwrap().len(), 0, "{place} `{statement}`");
    let third = tool.ok(command);
    assert!(third.out.starts_with("nothing to do"), "{place} `{statement}`: {}", third.out);
}

/// A database after `preparation`.
fn prepared(preparation: &[&[&str]]) -> Option<ScratchDatabase> {
    let database = blocking(ScratchDatabase::create())?;
    for command in preparation {
        Tool::new(&database).ok(command);
    }
    Some(database)
}

fn kill_everywhere(preparation: &[&[&str]], command: &[&str], at_least: usize) {
    let Some(template) = prepared(preparation) else { return };
    let statements = changes(&template, command);
    assert!(statements.len() >= at_least, "{command:?} sent only {statements:#?}");
    // Before another statement, the database is as it is after the one that precedes it.
    let first = statements.first().map(|statement| (true, statement));
    let cases = Mutex::new(first.into_iter().chain(statements.iter().map(|text| (false, text))));
    let next = || cases.lock().unwrap().next();
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((before, statement)) = next() {
                    kill_and_resume(&template, command, before, statement);
                }
            });
        }
    });
}

#[test]
fn setup_is_completed_by_the_next_run_wherever_it_was_killed() {
    // 37 tables, 2 version tables, 7 indexes, the seed, the version row, its history, COMMIT.
    kill_everywhere(&[], &["setup-schema"], 50);
}

#[test]
fn update_is_completed_by_the_next_run_wherever_it_was_killed() {
    kill_everywhere(&[&["setup-schema", "--version", "1.0"]], &["update-schema"], 4);
}

#[test]
fn rollback_is_completed_by_the_next_run_wherever_it_was_killed() {
    kill_everywhere(&[&["setup-schema"]], &["rollback-schema", "--to", "1.0"], 4);
}

/// Runs ten processes at the same time; all succeed.
fn ten_at_once(database: &ScratchDatabase, command: &[&str]) {
    let tool = Tool::new(database);
    let children: Vec<_> = (0..10).map(|_| tool.spawn(command)).collect();
    for child in children {
        let run = crate::support::Run::from(child.wait_with_output().unwrap());
        assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    }
    tool.ok(&["verify"]);
}

#[test]
fn ten_upgrades_at_once_all_succeed_with_one_history_row() {
    let Some(database) = prepared(&[&["setup-schema", "--version", "1.0"]]) else { return };
    ten_at_once(&database, &["update-schema", "--version", "1.1"]);
    let history = "SELECT new_version FROM schema_update_history ORDER BY update_time";
    let rows = blocking(database.query(history)).unwrap();
    let versions: Vec<_> = rows.iter().map(|row| row[0].as_deref().unwrap()).collect();
    assert_eq!(versions, ["1.0", "1.1"]);
}

#[test]
fn ten_setups_at_once_all_succeed_with_one_history_row() {
    let Some(database) = prepared(&[]) else { return };
    ten_at_once(&database, &["setup-schema"]);
    let rows = blocking(database.query("SELECT 1 FROM schema_update_history")).unwrap();
    assert_eq!(rows.len(), 1);
}

#[test]
fn the_number_of_statements_of_an_upgrade_does_not_depend_on_the_number_of_rows() {
    let round_trips = |rows: u32| {
        let database = prepared(&[&["setup-schema", "--version", "1.0"]])?;
        let fill = format!(
            "INSERT INTO current_executions SELECT n % 8, gen_random_uuid(), 'id-' || n, \
             gen_random_uuid(), 'request', 2, 1, 0, NULL, n, 'x', 'Proto3' \
             FROM generate_series(1, {rows}) AS n"
        );
        blocking(database.execute(&fill)).unwrap();
        let proxy = FaultProxy::start(database.addr().unwrap()).unwrap();
        Tool::via(&database, proxy.addr()).ok(&["update-schema"]);
        Some(proxy.round_trips())
    };
    let Some(none) = round_trips(0) else { return };
    assert_eq!(round_trips(50_000), Some(none));
}

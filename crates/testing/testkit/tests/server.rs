//! Scratch servers have the locale of DSQL, and stop when their holder ends, however it ends.

use std::{
    env,
    fs::{self, Permissions},
    io::{self, BufRead, BufReader},
    net::{SocketAddr, TcpStream},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process};
use temporal_dsql_testkit::{
    ScratchDatabase, gate,
    postgres::{DetachedServer, Options, Server, ServerError},
};

/// Set for the process that holds a server until it is killed.
const HOLDER: &str = "TESTKIT_HOLDS_A_SERVER";
const HOLDER_TEST: &str = "a_holder_of_a_server";
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(60);

/// A server, or `None` if tests with a database are skipped.
fn start() -> Option<Server> {
    gate::server_url()?;
    Some(Server::start(&options()).expect("a server"))
}

fn options() -> Options {
    Options {
        // A test must not install anything.
        install: false,
        ..Options::default()
    }
}

/// The directory, address and process of a server, none of which remains after its end.
#[derive(Debug)]
struct Traces {
    directory: PathBuf,
    addr: SocketAddr,
    postmaster: Pid,
}

impl Traces {
    fn of(server: &Server) -> Self {
        let pid = fs::read_to_string(server.data_dir().join("postmaster.pid")).expect("a pid file");
        let pid = pid.lines().next().expect("a pid").parse().expect("a pid");
        Self {
            directory: server.data_dir().parent().expect("a directory").to_owned(),
            addr: server.addr(),
            postmaster: Pid::from_raw(pid).expect("a pid"),
        }
    }

    fn exist(&self) -> bool {
        self.directory.exists()
            && TcpStream::connect(self.addr).is_ok()
            && test_kill_process(self.postmaster).is_ok()
    }

    fn are_removed(&self) -> bool {
        !self.directory.exists()
            && TcpStream::connect(self.addr).is_err()
            && test_kill_process(self.postmaster).is_err()
    }

    fn assert_removed_soon(&self) {
        let deadline = Instant::now() + REMOVAL_TIMEOUT;
        while !self.are_removed() {
            assert!(Instant::now() < deadline, "still exists: {self:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[tokio::test]
async fn its_locale_and_time_zone_are_those_of_dsql() {
    let Some(server) = start() else { return };
    let database = ScratchDatabase::create_on(&server.url()).await.unwrap();
    for (question, answer) in [
        ("SHOW server_encoding", "UTF8"),
        ("SHOW timezone", "UTC"),
        ("SELECT 'a' < 'B'", "f"),
        ("SHOW max_connections", "300"),
        ("SELECT current_user", "postgres"),
    ] {
        let rows = database.query(question).await.unwrap();
        assert_eq!(rows[0][0].as_deref(), Some(answer), "{question}");
    }
}

#[tokio::test]
async fn a_role_other_than_postgres_needs_its_password() {
    let Some(server) = start() else { return };
    let database = ScratchDatabase::create_on(&server.url()).await.unwrap();
    database.execute("CREATE ROLE guest LOGIN PASSWORD 'open sesame' CREATEDB").await.unwrap();
    let as_guest =
        |password: &str| format!("postgres://guest:{password}@{}/postgres", server.addr());
    let error = ScratchDatabase::create_on(&as_guest("wrong")).await.unwrap_err();
    let code = error.as_database_error().and_then(|error| error.code());
    assert_eq!(code.as_deref(), Some("28P01"), "{error}");
    let own = ScratchDatabase::create_on(&as_guest("open%20sesame")).await;
    assert!(own.is_ok(), "{own:?}");
}

#[test]
fn a_dropped_server_is_removed_at_once() {
    let Some(server) = start() else { return };
    let traces = Traces::of(&server);
    assert!(traces.exist(), "{traces:?}");
    drop(server);
    assert!(traces.are_removed(), "{traces:?}");
}

#[test]
fn a_panic_removes_the_server() {
    let Some(server) = start() else { return };
    let traces = Traces::of(&server);
    let panicked = thread::spawn(move || {
        let _server = server;
        panic!("as a failed test does");
    });
    assert!(panicked.join().is_err());
    assert!(traces.are_removed(), "{traces:?}");
}

#[test]
fn a_server_that_is_killed_itself_leaves_no_directory() {
    let Some(server) = start() else { return };
    let traces = Traces::of(&server);
    rustix::process::kill_process(traces.postmaster, Signal::KILL).unwrap();
    traces.assert_removed_soon();
}

#[test]
fn a_process_that_is_killed_leaves_nothing_behind() {
    ends_with_its_holder(|holder| holder.kill().unwrap());
}

#[test]
fn a_process_that_is_killed_while_the_server_starts_leaves_nothing_behind() {
    if gate::server_url().is_none() {
        return;
    }
    for delay in [0, 10, 100, 300, 600].map(Duration::from_millis) {
        // A folder that the server's account may write to.
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let mut holder =
            holder().env("TMPDIR", folder.path()).stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(delay);
        holder.kill().unwrap();
        holder.wait().unwrap();
        let deadline = Instant::now() + REMOVAL_TIMEOUT;
        while mentioned_by_a_process(folder.path()) || !is_empty(folder.path()) {
            assert!(Instant::now() < deadline, "killed after {delay:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whether the command line of a process, such as a supervisor, contains `path`.
fn mentioned_by_a_process(path: &Path) -> bool {
    let path = path.to_str().expect("a path of text").as_bytes();
    fs::read_dir("/proc")
        .expect("processes")
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
        .any(|line| line.windows(path.len()).any(|part| part == path))
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).expect("the folder").next().is_none()
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    ends_with_its_holder(|holder| {
        // A terminal sends it to the whole group.
        let group = Pid::from_child(holder);
        kill_process_group(group, Signal::INT).unwrap();
    });
}

fn ends_with_its_holder(end: impl FnOnce(&mut Child)) {
    if gate::server_url().is_none() {
        return;
    }
    let mut holder = holder().stdout(Stdio::piped()).spawn().expect("a process");
    let stdout = holder.stdout.take().expect("its output");
    let line = BufReader::new(stdout)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.split_once("held: ").map(|(_, held)| held.to_owned()))
        .expect("the holder prints its server");
    let [directory, addr, pid] = line.split(' ').collect::<Vec<_>>()[..] else {
        panic!("three words: {line}");
    };
    let traces = Traces {
        directory: directory.into(),
        addr: addr.parse().expect("an address"),
        postmaster: Pid::from_raw(pid.parse().expect("a number")).expect("a pid"),
    };
    assert!(traces.exist(), "{traces:?}");
    end(&mut holder);
    let status = holder.wait().expect("the holder ends");
    assert!(!status.success(), "the holder was not killed: {status}");
    traces.assert_removed_soon();
}

/// This program again, as a process that holds a server.
fn holder() -> Command {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command
        .args([HOLDER_TEST, "--exact", "--ignored", "--nocapture"])
        .env(HOLDER, "1")
        .stdin(Stdio::piped())
        .process_group(0);
    command
}

#[test]
#[ignore = "not a test: a process that tests start and kill"]
fn a_holder_of_a_server() {
    if env::var_os(HOLDER).is_none() {
        return;
    }
    let server = Server::start(&options()).unwrap();
    let traces = Traces::of(&server);
    println!(
        "held: {} {} {}",
        traces.directory.display(),
        traces.addr,
        traces.postmaster.as_raw_nonzero()
    );
    // Ends when the test is killed.
    let _ = io::stdin().read_line(&mut String::new());
}

#[test]
fn a_detached_server_runs_until_it_is_stopped() {
    let Some(server) = start() else { return };
    let traces = Traces::of(&server);
    let detached: DetachedServer = server.detach().unwrap();
    // Longer than the supervisor's interval.
    thread::sleep(Duration::from_millis(500));
    assert!(traces.exist() && detached.is_running(), "{traces:?}");
    detached.stop().unwrap();
    assert!(!detached.is_running());
    traces.assert_removed_soon();
    detached.stop().unwrap();
}

#[test]
fn a_detached_server_is_stopped_even_if_its_supervisor_was_killed() {
    let Some(server) = start() else { return };
    let traces = Traces::of(&server);
    let detached: DetachedServer = server.detach().unwrap();
    // The shell that supervises it, and the one that checks whether it is detached.
    let shells = supervisors(&detached.directory);
    assert!(shells.len() >= 2, "{shells:?}");
    for shell in shells {
        rustix::process::kill_process(shell, Signal::KILL).unwrap();
    }
    assert!(traces.exist(), "{traces:?}");
    detached.stop().unwrap();
    assert!(!detached.is_running());
    traces.assert_removed_soon();
}

/// The shells whose command line names `directory`.
fn supervisors(directory: &Path) -> Vec<Pid> {
    let name = directory.to_str().expect("a path of text");
    fs::read_dir("/proc")
        .expect("processes")
        .filter_map(|entry| {
            let process = entry.ok()?.path();
            let line = fs::read(process.join("cmdline")).ok()?;
            let mut words = line.split(|byte| *byte == 0);
            let is_shell = words.next()? == b"/bin/sh";
            let is_ours = is_shell && words.any(|word| word == name.as_bytes());
            let pid = process.file_name()?.to_str()?.parse().ok().filter(|_| is_ours)?;
            Pid::from_raw(pid)
        })
        .collect()
}

#[test]
fn a_server_that_does_not_start_shows_its_log() {
    if gate::server_url().is_none() {
        return;
    }
    let impossible =
        Options { settings: vec![("work_mem".into(), "one spoonful".into())], ..options() };
    let error = Server::start(&impossible).unwrap_err();
    let ServerError::Start { directory, log, .. } = &error else {
        panic!("{error}");
    };
    assert!(log.contains("work_mem") && log.contains("one spoonful"), "{error}");
    assert!(!directory.exists(), "{error}");
}

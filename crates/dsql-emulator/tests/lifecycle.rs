//! Starting and stopping: duration, errors, and cleaning up, however an emulator ends.

#[path = "behaviour/support/gate.rs"]
mod gate;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Seek},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use dsql_emulator::{
    DsqlEmulator, StartError,
    postgres::{Options, Server},
};
use sqlx::{Connection, PgConnection};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dsql-emulator");

/// One test with emulators in this process at a time: some count its threads.
fn serial() -> Option<MutexGuard<'static, ()>> {
    static LOCK: Mutex<()> = Mutex::new(());
    (!gate::offline()).then(|| LOCK.lock().unwrap_or_else(PoisonError::into_inner))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The folder of an emulator's server, which contains its CA file.
fn folder(ca_file: &Path) -> PathBuf {
    ca_file.parent().expect("a folder").to_owned()
}

/// Command lines of processes that mention `folder`.
fn processes(folder: &Path) -> Vec<String> {
    let folder = folder.to_string_lossy();
    fs::read_dir("/proc")
        .expect("a Linux")
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&*folder))
        .collect()
}

/// Threads of emulators in this process.
fn threads() -> usize {
    fs::read_dir("/proc/self/task")
        .expect("a Linux")
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("comm")).ok())
        .filter(|name| name.starts_with("dsql-emulator"))
        .count()
}

#[track_caller]
fn no_thread_is_left() {
    // Linux lists a thread that was joined until it has removed it.
    let deadline = Instant::now() + Duration::from_secs(60);
    while threads() > 0 {
        assert!(Instant::now() < deadline, "{} threads are left", threads());
        thread::sleep(Duration::from_millis(1));
    }
}

#[track_caller]
fn nothing_is_left(folder: &Path) {
    assert!(!folder.exists(), "{} is left", folder.display());
    assert_eq!(processes(folder), [""; 0]);
}

async fn answers(url: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&mut connection).await.unwrap();
    assert_eq!(one, 1);
}

#[test]
fn a_drop_leaves_nothing_behind_and_a_shared_server_stops_with_its_last_emulator() {
    let Some(_guard) = serial() else { return };
    block_on(async {
        let one = DsqlEmulator::start().await.unwrap();
        let other = DsqlEmulator::start().await.unwrap();
        let (folder, file) = (folder(one.ca_file()), one.ca_file().to_owned());
        assert_eq!(folder, self::folder(other.ca_file()));
        assert!(!processes(&folder).is_empty() && threads() > 0);
        // An open session does not keep the server running.
        let _session = PgConnection::connect(&one.url()).await.unwrap();
        drop(one);
        assert!(!file.exists());
        answers(&other.url()).await;
        drop(other);
        nothing_is_left(&folder);
    });
    no_thread_is_left();
}

/// Makes PostgreSQL log a line that is longer than the buffer of a pipe.
async fn fail_at_length(url: &str) {
    let mut session = PgConnection::connect(url).await.unwrap();
    let sql = format!("SELECT no_such_column, '{}'", "x".repeat(200_000));
    let error = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut session).await.unwrap_err();
    assert!(error.to_string().contains("no_such_column"), "{error}");
}

#[test]
fn an_emulator_whose_server_has_logged_long_lines_stops_when_it_is_dropped() {
    let Some(_guard) = serial() else { return };
    let emulator = block_on(DsqlEmulator::builder().own_postgres().start()).unwrap();
    let folder = folder(emulator.ca_file());
    block_on(fail_at_length(&emulator.url()));
    let log = fs::metadata(folder.join("log")).unwrap().len();
    assert!(log > 200_000, "PostgreSQL has logged {log} bytes");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        drop(emulator);
        sender.send(())
    });
    receiver.recv_timeout(Duration::from_secs(60)).expect("the emulator does not end");
    nothing_is_left(&folder);
}

#[test]
fn the_program_stops_although_its_server_has_logged_long_lines() {
    if gate::offline() {
        return;
    }
    let mut running = Running::start(&[], &[]);
    let folder = folder(Path::new(&running.exported("SQL_TLS_CA_FILE")));
    block_on(fail_at_length(&running.url(&[])));
    running.signal("TERM");
    assert_eq!(running.exit_code(), Some(0));
    nothing_is_left(&folder);
}

#[test]
fn a_panic_of_its_test_leaves_nothing_behind() {
    let Some(_guard) = serial() else { return };
    let (sender, receiver) = mpsc::channel();
    let test = thread::spawn(move || {
        block_on(async {
            let emulator = DsqlEmulator::start().await.unwrap();
            let mut session = PgConnection::connect(&emulator.url()).await.unwrap();
            sender.send(folder(emulator.ca_file())).unwrap();
            sqlx::raw_sql("BEGIN; SELECT no_such_column").execute(&mut session).await.unwrap();
        });
    });
    assert!(test.join().is_err());
    nothing_is_left(&receiver.recv().unwrap());
    no_thread_is_left();
}

#[test]
fn the_program_plays_the_probes_on_an_emulator_and_writes_its_answers() {
    if gate::offline() {
        return;
    }
    let running = Running::start(&[], &[]);
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("answers.json");
    let play = || {
        let mut command = Command::new(PROGRAM);
        command.arg("probes").arg("--output").arg(&output);
        for name in ["CLUSTER_ENDPOINT", "SQL_PORT", "SQL_TLS_CA_FILE"] {
            command.env(name, running.exported(name));
        }
        command.output().unwrap()
    };
    let played = play();
    let text = String::from_utf8_lossy(&played.stdout).into_owned();
    assert!(played.status.success(), "{text} {}", String::from_utf8_lossy(&played.stderr));
    assert!(text.contains("rules: 194 of 194 alike"), "{text}");
    let answers = fs::read_to_string(&output).unwrap();
    assert!(answers.contains("\"server\": \"PostgreSQL 16\"") && answers.contains("OC000"));
    // An existing file is not overwritten.
    let refused = play();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("answers.json"));
}

/// The number of databases of emulators.
async fn databases(admin: &mut PgConnection) -> i64 {
    let sql = "SELECT count(*) FROM pg_database WHERE datname LIKE 'dsql\\_emulator\\_%'";
    sqlx::query_scalar(sql).fetch_one(admin).await.unwrap()
}

#[test]
fn a_database_on_a_server_given_by_url_is_dropped_and_a_wrong_url_is_an_error() {
    let Some(_guard) = serial() else { return };
    let server = Server::start(&Options::default()).unwrap();
    block_on(async {
        let with = |url: String| DsqlEmulator::builder().postgres_url(url).start();
        let emulator = with(server.url()).await.unwrap();
        let folder = folder(emulator.ca_file());
        answers(&emulator.url()).await;
        let mut admin = PgConnection::connect(&server.url()).await.unwrap();
        assert_eq!(databases(&mut admin).await, 1);
        drop(emulator);
        assert_eq!(databases(&mut admin).await, 0);
        nothing_is_left(&folder);

        sqlx::raw_sql("CREATE ROLE small LOGIN PASSWORD 'secret-of-small'")
            .execute(&mut admin)
            .await
            .unwrap();
        let url = |user: &str| server.url().replace("postgres@", user);
        for (url, part) in [
            (url("small:secret-of-small@"), "its user is not a superuser"),
            (url("small:wrong-secret@"), "password authentication failed"),
            ("mysql://localhost".into(), "its scheme is `mysql`"),
        ] {
            let error = with(url).await.unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("secret"), "{error}");
        }
        sqlx::raw_sql("ALTER ROLE admin SUPERUSER").execute(&mut admin).await.unwrap();
        let error = with(server.url()).await.unwrap_err().to_string();
        assert!(error.contains("its role `admin` is a superuser"), "{error}");
    });
}

#[test]
fn emulators_on_one_server_have_databases_of_their_own_and_leave_none() {
    let Some(_guard) = serial() else { return };
    let server = Server::start(&Options::default()).unwrap();
    let on_server = || DsqlEmulator::builder().postgres_url(server.url()).start();
    block_on(async {
        let mut admin = PgConnection::connect(&server.url()).await.unwrap();
        let first = on_server().await.unwrap();
        let (second, third) = tokio::join!(on_server(), on_server());
        let emulators = [first, second.unwrap(), third.unwrap()];
        // One more is the template of the second and the third.
        assert_eq!(databases(&mut admin).await, 4);
        for emulator in &emulators {
            let mut client = PgConnection::connect(&emulator.url()).await.unwrap();
            sqlx::raw_sql("CREATE TABLE only_here (id int PRIMARY KEY)")
                .execute(&mut client)
                .await
                .unwrap();
        }
        let [first, second, third] = emulators;
        drop(first);
        let fourth = on_server().await.unwrap();
        answers(&fourth.url()).await;
        assert_eq!(databases(&mut admin).await, 4);

        // Without the template, the database is created like the first.
        let of_nobody = "SELECT quote_ident(datname) FROM pg_database d \
                         WHERE datname LIKE 'dsql\\_emulator\\_%' AND NOT EXISTS \
                               (SELECT FROM pg_stat_activity a \
                                 WHERE a.datid = d.oid AND a.backend_type = 'client backend')";
        let template: String = sqlx::query_scalar(of_nobody).fetch_one(&mut admin).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(format!("DROP DATABASE {template} WITH (FORCE)")))
            .execute(&mut admin)
            .await
            .unwrap();
        let fifth = on_server().await.unwrap();
        answers(&fifth.url()).await;
        assert_eq!(databases(&mut admin).await, 4);
        drop((second, third, fourth, fifth));
        assert_eq!(databases(&mut admin).await, 0);
    });
}

#[test]
fn a_server_without_free_connections_has_dsqls_error() {
    let Some(_guard) = serial() else { return };
    let options = Options { max_connections: 12, ..Options::default() };
    let server = Server::start(&options).unwrap();
    block_on(async {
        let emulator = DsqlEmulator::builder().postgres_url(server.url()).start().await.unwrap();
        let mut open = Vec::new();
        let refused = loop {
            match PgConnection::connect(&emulator.url()).await {
                Ok(connection) => open.push(connection),
                Err(sqlx::Error::Database(error)) => break error,
                Err(error) => panic!("{error}"),
            }
            assert!(open.len() < 12);
        };
        assert_eq!(refused.code().as_deref(), Some("53300"));
        assert_eq!(refused.message(), "Unable to accept connection, too many open connections.");
    });
}

#[test]
fn an_own_server_accepts_a_thousand_connections() {
    let Some(_guard) = serial() else { return };
    block_on(async {
        let emulator = DsqlEmulator::start().await.unwrap();
        let mut client = PgConnection::connect(&emulator.url()).await.unwrap();
        let sql = "SELECT setting::int FROM pg_catalog.pg_settings WHERE name = 'max_connections'";
        let most: i32 = sqlx::query_scalar(sql).fetch_one(&mut client).await.unwrap();
        assert!(most >= 1_000 + 10, "{most}");
    });
}

#[test]
fn the_program_raises_a_low_limit_of_open_files() {
    if gate::offline() {
        return;
    }
    let mut limited = without_credentials("sh");
    limited.args(["-c", "ulimit -Sn 64 && exec \"$0\"", PROGRAM]);
    let running = Running::spawn(&mut limited);
    let url = running.url(&[]);
    block_on(async {
        // Each takes two files of the program.
        let mut sessions = Vec::new();
        for _ in 0..50 {
            sessions.push(PgConnection::connect(&url).await.unwrap());
        }
    });
}

#[test]
fn a_port_in_use_is_named() {
    let Some(_guard) = serial() else { return };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for builder in [DsqlEmulator::builder().port(port), DsqlEmulator::builder().control_port(port)]
    {
        let error = block_on(builder.start()).unwrap_err();
        assert!(matches!(error, StartError::Listen { .. }));
        let advice = "another program uses the port, choose another one or 0";
        let text = error.to_string();
        assert!(text.contains(&port.to_string()) && text.contains(advice), "{text}");
    }
    let failed = output(&["--port", &port.to_string()], &[]);
    assert_eq!(
        error_line(&failed, 1),
        format!(
            "error: cannot listen on 127.0.0.1:{port}: Address already in use (os error 98); another program uses the port, choose another one or 0"
        )
    );
}

/// Runs the program until it ends, with these variables and none of AWS's.
fn output(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    command(arguments, variables).output().unwrap()
}

fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = without_credentials(PROGRAM);
    command.args(arguments).envs(variables.iter().copied());
    command
}

fn without_credentials(program: &str) -> Command {
    let mut command = Command::new(program);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"] {
        command.env_remove(name);
    }
    command
}

/// The one line on standard error of a run that failed.
#[track_caller]
fn error_line(output: &Output, code: i32) -> String {
    let printed = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    assert_eq!(output.status.code(), Some(code), "{printed}");
    assert!(printed.starts_with("error: ") && printed.lines().count() == 1, "{printed}");
    printed
}

#[test]
fn errors_are_one_line_and_the_exit_code_separates_usage_from_failure() {
    if gate::offline() {
        return;
    }
    let secret = ("AWS_SECRET_ACCESS_KEY", "s3cr3t");
    for (arguments, variables, code, part) in [
        (&["--host", "127.0.0.1"][..], &[][..], 2, "`127.0.0.1` is not a host name"),
        (&["--catalog-conflicts", "1.5"], &[], 2, "the probability is not between 0 and 1"),
        (&["--connections", "0"], &[], 2, "at least one connection"),
        (&["--postgres-url", "mysql://u:s3cr3t@h"], &[], 2, "`mysql`, not `postgres`"),
        (&[], &[secret], 2, "--access-key-id or AWS_ACCESS_KEY_ID is missing"),
        (&["token", "--expires-in", "8days"], &[], 2, "a token is valid for 1s to 7days"),
        (&[], &[("PG_BIN", "/no/such/folder")], 1, "PG_BIN names `/no/such/folder`"),
        (&["--postgres-url", "postgres://u:s3cr3t@127.0.0.1:1"], &[], 1, "127.0.0.1:1 failed"),
        (&["--ca-file", "/no/such/folder/ca.pem"], &[], 1, "`/no/such/folder/ca.pem`"),
    ] {
        let printed = error_line(&output(arguments, variables), code);
        assert!(printed.contains(part) && !printed.contains("s3cr3t"), "{printed}");
    }
}

/// The running program. Killed if a test fails.
struct Running {
    child: Child,
    startup_message: String,
    /// Its standard error. A file, because a full pipe blocks its writer.
    printed: File,
}

impl Running {
    fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::spawn(&mut command(arguments, variables))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut printed = tempfile::tempfile().unwrap();
        let mut child =
            command.stdout(Stdio::piped()).stderr(printed.try_clone().unwrap()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut startup_message = String::new();
        while !startup_message.contains("# psql:") {
            let Some(line) = lines.next() else {
                child.wait().unwrap();
                panic!("it did not start: {}", text(&mut printed));
            };
            startup_message.push_str(&line.unwrap());
            startup_message.push('\n');
        }
        Self { child, startup_message, printed }
    }

    /// The value of an exported variable.
    fn exported(&self, name: &str) -> String {
        let prefix = format!("export {name}=");
        let value = self.startup_message.lines().find_map(|line| line.strip_prefix(&prefix));
        value.unwrap_or_else(|| panic!("no {name} in {}", self.startup_message)).to_owned()
    }

    /// A URL from the exported variables and a token that the program prints for them.
    fn url(&self, variables: &[(&str, &str)]) -> String {
        let host = self.exported("CLUSTER_ENDPOINT");
        let exported = ["DSQL_EMULATOR_HOST", "AWS_REGION"].map(|name| (name, self.exported(name)));
        let exported = exported.iter().map(|(name, value)| (*name, &**value));
        let variables: Vec<_> = exported.chain(variables.iter().copied()).collect();
        let token = output(&["token"], &variables);
        assert!(token.status.success());
        let token = String::from_utf8(token.stdout).unwrap();
        let token: String =
            url::form_urlencoded::byte_serialize(token.trim_end().as_bytes()).collect();
        format!(
            "postgres://{}:{token}@{host}:{}/postgres?sslmode=verify-full&sslrootcert={}",
            self.exported("SQL_USER"),
            self.exported("SQL_PORT"),
            self.exported("SQL_TLS_CA_FILE")
        )
    }

    /// Its exit code, once it has ended.
    fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status.code(),
                None => assert!(Instant::now() < deadline, "the program does not end"),
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("/bin/sh").args(["-c", &format!("kill -{name} {pid}")]).status();
        assert!(sent.unwrap().success());
    }
}

fn text(file: &mut File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_program_stops_at_a_signal_and_leaves_nothing_behind() {
    if gate::offline() {
        return;
    }
    for signal in ["INT", "TERM", "HUP"] {
        let mut running = Running::start(&[], &[]);
        let folder = folder(Path::new(&running.exported("SQL_TLS_CA_FILE")));
        block_on(async {
            answers(&running.url(&[])).await;
            // An open session does not keep the program running.
            let _session = PgConnection::connect(&running.url(&[])).await.unwrap();
            running.signal(signal);
            assert_eq!(running.exit_code(), Some(0), "{signal}");
        });
        nothing_is_left(&folder);
    }
}

#[test]
fn the_program_leaves_nothing_behind_when_it_is_killed() {
    if gate::offline() {
        return;
    }
    let mut running = Running::start(&[], &[]);
    let folder = folder(Path::new(&running.exported("SQL_TLS_CA_FILE")));
    assert!(!processes(&folder).is_empty());
    running.signal("KILL");
    assert_eq!(running.exit_code(), None);
    let deadline = Instant::now() + Duration::from_secs(60);
    while folder.exists() || !processes(&folder).is_empty() {
        assert!(Instant::now() < deadline, "left: {} {:?}", folder.display(), processes(&folder));
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_program_does_not_print_given_secrets() {
    if gate::offline() {
        return;
    }
    let variables = [
        ("AWS_ACCESS_KEY_ID", "AKIDOFMINE"),
        ("AWS_SECRET_ACCESS_KEY", "s3cr3t-k3y"),
        ("AWS_SESSION_TOKEN", "s3cr3t-s3ssion"),
        ("RUST_LOG", "trace"),
    ];
    let directory = tempfile::tempdir().unwrap();
    let ca_file = directory.path().join("ca.pem");
    // A foreign file is not overwritten.
    fs::write(&ca_file, "mine").unwrap();
    let printed = error_line(&output(&["--ca-file", ca_file.to_str().unwrap()], &[]), 1);
    assert!(printed.contains("the file exists and was not written by an emulator"), "{printed}");
    assert_eq!(fs::read_to_string(&ca_file).unwrap(), "mine");
    // A file of an emulator that was killed is replaced.
    let mark = "# The certificate authority of a dsql-emulator, which may replace this file.\n";
    fs::write(&ca_file, format!("{mark}old")).unwrap();
    let arguments = [
        "--region=eu-north-1",
        "--host=my.dsql.test,localhost",
        "--ca-file",
        ca_file.to_str().unwrap(),
    ];
    let mut running = Running::start(&arguments, &variables);
    assert!(running.startup_message.contains("AKIDOFMINE"), "{}", running.startup_message);
    assert!(!running.startup_message.contains("s3cr3t"), "{}", running.startup_message);
    assert_eq!(running.exported("AWS_REGION"), "eu-north-1");
    assert_eq!(running.exported("CLUSTER_ENDPOINT"), "my.dsql.test");
    let token_variables = [&variables[..3], &[("AWS_REGION", "eu-north-1")]].concat();
    block_on(async {
        let url = running.url(&token_variables);
        // The first name does not resolve here; the second is another name of the same cluster.
        let error = PgConnection::connect(&url.replace("my.dsql.test", "localhost")).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("access denied"), "the token is for another host: {error}");
        running.startup_message = running.startup_message.replace("my.dsql.test", "localhost");
        answers(&running.url(&token_variables)).await;
    });
    running.signal("TERM");
    assert_eq!(running.exit_code(), Some(0));
    let printed = text(&mut running.printed);
    assert!(!printed.contains("s3cr3t"), "{printed}");
    assert!(!ca_file.exists());
}

#[test]
fn the_commands_of_the_document_work() {
    if gate::offline() {
        return;
    }
    let document = include_str!("../README.md");
    let script = document.split("```bash\n").nth(1).and_then(|rest| rest.split("```").next());
    let directory = tempfile::tempdir().unwrap();
    let programs = Path::new(PROGRAM).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let finished = Command::new("/bin/sh")
        .args(["-ec", &format!("{}\nwait $!", script.expect("a script"))])
        .current_dir(directory.path())
        .env("PATH", path)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&finished.stdout);
    assert!(finished.status.success(), "{printed}{}", String::from_utf8_lossy(&finished.stderr));
    assert!(printed.contains("PostgreSQL 16"), "{printed}");
    assert!(printed.contains("ok pending=2 commits=0"), "{printed}");
    let environment = fs::read_to_string(directory.path().join("emulator.env")).unwrap();
    let ca_file = environment.split("SQL_TLS_CA_FILE=").nth(1).unwrap().lines().next().unwrap();
    nothing_is_left(&folder(Path::new(ca_file)));
}

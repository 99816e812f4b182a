//! Starting and stopping one server.

use std::{
    env,
    fs::{self, File},
    io::{self, Read, Seek},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::{ServerError, account, binaries};

const SUPERVISOR: &str = include_str!("supervisor.sh");
/// How long a server may take to accept connections, `initdb` included.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long [`DetachedServer::stop`] waits.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long [`DetachedServer::stop`] waits for the supervisor, which polls several times a second.
const SUPERVISOR_TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts to start, because another process may take the free port before the server does.
const PORT_ATTEMPTS: u32 = 5;
const POLL: Duration = Duration::from_millis(10);

/// The options of a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// `max_connections`.
    pub max_connections: u16,
    /// More settings, as in `postgresql.conf`. They override those of this module.
    pub settings: Vec<(String, String)>,
    /// Install PostgreSQL if it is missing, where that is possible (root on Debian).
    pub install: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_connections: 300, settings: Vec::new(), install: true }
    }
}

/// A PostgreSQL server on a loopback port, with its data in a temporary directory.
///
/// Its settings imitate DSQL: UTF-8, the C locale, UTC (aurora-dsql.md#environment). Its data need
/// not survive, so fsync is off. The superuser `postgres` needs no password; any other role does
/// (SCRAM).
///
/// The server stops, and its directory is removed, when this value is dropped and also when the
/// process ends in any other way, including SIGKILL.
#[derive(Debug)]
pub struct Server {
    supervisor: Child,
    /// The supervisor's output when PostgreSQL ends. A file, because a full pipe without a reader
    /// blocks its writer.
    supervisor_output: File,
    /// The pipe to the supervisor. Closing it stops the server.
    stop_pipe: Option<ChildStdin>,
    location: DetachedServer,
    programs: PathBuf,
}

impl Server {
    /// Starts a server and waits until it accepts connections.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or it does not start: the error contains the end of its log.
    pub fn start(options: &Options) -> Result<Self, ServerError> {
        let binaries = binaries::folder(options.install)?;
        let mut attempt = 1;
        loop {
            match Self::start_once(options, &binaries) {
                Err(ServerError::Start { log, .. })
                    if attempt < PORT_ATTEMPTS && log.contains("Address already in use") =>
                {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    fn start_once(options: &Options, binaries: &Path) -> Result<Self, ServerError> {
        let port = free_port().map_err(ServerError::io("finding a free port"))?;
        let name = format!("dsql-emulator-pg-{:016x}", fastrand::u64(..));
        let directory = env::temp_dir().join(name);

        let (supervisor_output, stderr) = tempfile::tempfile()
            .and_then(|file| Ok((file.try_clone()?, file)))
            .map_err(ServerError::io("making a file for the end of PostgreSQL's log"))?;

        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SUPERVISOR, "supervisor"])
            .args([&directory, binaries])
            .args(server_arguments(options, port))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(stderr)
            // The account may have no access to the working directory, and the server must not read
            // PG… variables.
            .current_dir("/")
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            // A process group of its own, so that Ctrl-C in the terminal does not reach it.
            .process_group(0);
        if let Some(account) = account::account()? {
            command.uid(account.uid).gid(account.gid);
        }
        let mut supervisor = command.spawn().map_err(ServerError::io("starting /bin/sh"))?;
        let stop_pipe = supervisor.stdin.take();
        let location = DetachedServer { directory, port };
        let programs = binaries.to_owned();
        let mut server = Self { supervisor, supervisor_output, stop_pipe, location, programs };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> Result<(), ServerError> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.location.is_running() {
            let ended =
                self.supervisor.try_wait().map_err(ServerError::io("waiting for /bin/sh"))?;
            let (what, log) = if ended.is_some() {
                let mut supervisor_output = Vec::new();
                let _ = self
                    .supervisor_output
                    .rewind()
                    .and_then(|()| self.supervisor_output.read_to_end(&mut supervisor_output));
                ("did not start", String::from_utf8_lossy(&supervisor_output).into_owned())
            } else if Instant::now() > deadline {
                let log = fs::read_to_string(self.location.log_file()).unwrap_or_default();
                ("did not accept connections in time", tail(&log, 20))
            } else {
                thread::sleep(POLL);
                continue;
            };
            return Err(ServerError::Start {
                directory: self.location.directory.clone(),
                what,
                log,
            });
        }
        Ok(())
    }

    /// `postgres://postgres@127.0.0.1:PORT/postgres`
    pub fn url(&self) -> String {
        self.location.url()
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.location.port
    }

    /// Address and port.
    pub fn addr(&self) -> SocketAddr {
        self.location.addr()
    }

    /// PostgreSQL's data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.location.data_dir()
    }

    /// The folder of its programs. Other programs of PostgreSQL are often in it too.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// What another process needs to find and stop the server, once it is detached.
    pub fn detached(&self) -> &DetachedServer {
        &self.location
    }

    /// Lets the server run after this process ends, until [`DetachedServer::stop`].
    ///
    /// # Errors
    /// The file that keeps the server running cannot be written.
    pub fn detach(self) -> Result<DetachedServer, ServerError> {
        fs::write(self.location.keep_file(), "")
            .map_err(ServerError::io("detaching the server"))?;
        let location = self.location.clone();
        drop(self);
        Ok(location)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop_pipe.take());
        if !self.location.keep_file().exists() {
            let _ = self.supervisor.wait();
        }
    }
}

/// A server that runs independently of the process that started it; enough to find and stop it from
/// another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetachedServer {
    /// Its directory.
    pub directory: PathBuf,
    /// Its port on 127.0.0.1.
    pub port: u16,
}

impl DetachedServer {
    /// `postgres://postgres@127.0.0.1:PORT/postgres`
    pub fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.addr())
    }

    /// Address and port.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// PostgreSQL's data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The server's log.
    pub fn log_file(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Whether the server accepts connections.
    pub fn is_running(&self) -> bool {
        // The port alone is not proof: another process may listen on it. Only this server writes
        // this file.
        let ready = fs::read_to_string(self.data_dir().join("postmaster.pid"))
            .is_ok_and(|text| text.lines().nth(7).is_some_and(|status| status.trim() == "ready"));
        ready && TcpStream::connect(self.addr()).is_ok()
    }

    /// Stops the server, removes its directory and waits until both are done. The directory of a
    /// server that does not run any more, after a restart of the machine, is removed too. A server
    /// whose supervisor was killed is stopped as well.
    ///
    /// # Errors
    /// It does not stop in time, or the directory cannot be removed.
    pub fn stop(&self) -> Result<(), ServerError> {
        let was_running = self.is_running();
        ignore_absent(fs::remove_file(self.keep_file()))
            .map_err(ServerError::io("telling the server to stop"))?;
        let start = Instant::now();
        while was_running && self.directory.exists() {
            let waited = start.elapsed();
            if waited > STOP_TIMEOUT {
                return Err(ServerError::Stop(self.directory.clone(), STOP_TIMEOUT));
            }
            if waited > SUPERVISOR_TIMEOUT {
                // The supervisor does not react. While the server answers, the process id is its
                // own.
                match self.postmaster().filter(|_| self.is_running()) {
                    Some(postmaster) => {
                        let _ = kill_process(postmaster, Signal::QUIT);
                    }
                    None => break,
                }
            }
            thread::sleep(POLL);
        }
        ignore_absent(fs::remove_dir_all(&self.directory))
            .map_err(ServerError::io("removing the server's directory"))
    }

    fn postmaster(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.data_dir().join("postmaster.pid")).ok()?;
        Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
    }

    fn keep_file(&self) -> PathBuf {
        self.directory.join("keep")
    }
}

fn server_arguments(options: &Options, port: u16) -> Vec<String> {
    let ours = [
        ("port", port.to_string()),
        ("listen_addresses", "127.0.0.1".into()),
        ("unix_socket_directories", String::new()),
        ("max_connections", options.max_connections.to_string()),
        ("shared_buffers", "64MB".into()),
        ("fsync", "off".into()),
        ("synchronous_commit", "off".into()),
        ("full_page_writes", "off".into()),
        // The planner expects many rows of catalog queries. To compile them takes longer than to run them.
        ("jit", "off".into()),
        // Otherwise each session loads it with its first change of a row in an emulator.
        ("shared_preload_libraries", "plpgsql".into()),
        ("timezone", "UTC".into()),
        ("log_timezone", "UTC".into()),
    ];
    let ours = ours.into_iter().map(|(name, value)| format!("{name}={value}"));
    let theirs = options.settings.iter().map(|(name, value)| format!("{name}={value}"));
    // PostgreSQL uses the last of several values.
    ours.chain(theirs).flat_map(|setting| ["-c".to_owned(), setting]).collect()
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn ignore_absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn tail(text: &str, lines: usize) -> String {
    let skipped = text.lines().count().saturating_sub(lines);
    text.lines().skip(skipped).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_of_the_caller_comes_after_ours_and_wins() {
        let options =
            Options { settings: vec![("fsync".into(), "on".into())], ..Options::default() };
        let arguments = server_arguments(&options, 5_433);
        let ours = arguments.iter().position(|argument| argument == "fsync=off");
        let theirs = arguments.iter().position(|argument| argument == "fsync=on");
        assert!(ours < theirs, "{arguments:?}");
        assert!(arguments.contains(&"port=5433".to_owned()), "{arguments:?}");
    }

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 2), "a");
        assert_eq!(tail("", 2), "");
    }
}

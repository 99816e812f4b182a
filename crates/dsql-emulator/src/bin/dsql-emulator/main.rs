//! `dsql-emulator`: runs an emulator of a DSQL cluster until it receives a signal.

mod cli;
mod probes;
mod startup_message;

use std::{
    error::Error,
    io::{self, Write},
    net::{Shutdown, TcpStream},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use dsql_emulator::{DsqlEmulator, StartError};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use cli::{Cli, Command, Control, Token};

/// Why the program failed, and its exit code.
struct Failure {
    exit: u8,
    reason: String,
}

impl Failure {
    fn start(error: &StartError) -> Self {
        let exit = match error {
            StartError::Config(_) | StartError::PostgresUrl { .. } => 2,
            _ => 1,
        };
        Self { exit, reason: reason(error) }
    }

    fn usage(reason: String) -> Self {
        Self { exit: 2, reason }
    }

    fn system(error: io::Error) -> Self {
        Self { exit: 1, reason: error.to_string() }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .with_writer(io::stderr)
        .init();
    let done = match &cli.command {
        Some(Command::Token(token)) => print_token(&cli, token),
        Some(Command::Control(control)) => send(control),
        Some(Command::Probes(options)) => play(options, &cli),
        None => {
            raise_file_limit();
            run(&cli)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { exit, reason }) => {
            // An error of a closed standard error is ignored.
            let _ = writeln!(io::stderr(), "error: {reason}");
            ExitCode::from(exit)
        }
    }
}

/// Raises the soft limit of open files. Each client takes two of them, and the usual limit is 1,024.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

fn print_token(cli: &Cli, token: &Token) -> Result<(), Failure> {
    const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
    let lifetime = token.expires_in;
    if !(Duration::from_secs(1)..=WEEK).contains(&lifetime) {
        return Err(Failure::usage("--expires-in: a token is valid for 1s to 7days".into()));
    }
    let identity = &cli.identity;
    let host = identity.hosts.first().map_or("localhost", String::as_str);
    let credentials = identity.credentials().map_err(Failure::usage)?;
    let token = credentials.token(host, &identity.region, &token.user, lifetime);
    writeln!(io::stdout(), "{token}").map_err(Failure::system)
}

/// Sends one command to the control port of a running emulator, and prints the answer.
fn send(control: &Control) -> Result<(), Failure> {
    let line = control.command.join(" ");
    let exchange = || -> io::Result<String> {
        let mut socket = TcpStream::connect(control.at)?;
        socket.write_all(format!("{line}\n").as_bytes())?;
        socket.shutdown(Shutdown::Write)?;
        io::read_to_string(socket)
    };
    let answer = exchange().map_err(|error| Failure {
        exit: 1,
        reason: format!("no emulator answers on {}: {error}", control.at),
    })?;
    match answer.trim_end().strip_prefix("error ") {
        Some(reason) => Err(Failure::usage(reason.to_owned())),
        None => write!(io::stdout(), "{answer}").map_err(Failure::system),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn play(options: &probes::Probes, cli: &Cli) -> Result<(), Failure> {
    probes::run(options, &cli.identity).await
}

#[tokio::main(flavor = "current_thread")]
async fn run(cli: &Cli) -> Result<(), Failure> {
    let builder = cli.builder().map_err(Failure::usage)?;
    let mut signals = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        signals.push(signal(kind).map_err(Failure::system)?);
    }
    let [interrupt, terminate, hangup] = &mut signals[..] else { unreachable!("three signals") };
    let signalled = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    };
    tokio::pin!(signalled);
    let emulator: DsqlEmulator = tokio::select! {
        started = builder.start() => started.map_err(|error| Failure::start(&error))?,
        () = &mut signalled => return Ok(()),
    };
    let mut stdout = io::stdout();
    let _ =
        stdout.write_all(startup_message::text(&emulator).as_bytes()).and_then(|()| stdout.flush());
    signalled.await;
    // Dropping it removes its database and stops its server.
    drop(emulator);
    Ok(())
}

/// An error and its causes in one line, without repeated texts.
fn reason(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let cause_text = error.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        cause = error.source();
    }
    text
}

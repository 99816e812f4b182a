//! Runs a command until it ends, and passes signals on to it.

use std::{
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use temporal_dsql_testkit::gate;
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal as Signals, SignalKind, signal},
};

/// Runs `command` on the server at `url` and returns its exit code, which is 128 more than the signal
/// that ended it. The signals that end this process go to the command and to all processes that it has
/// started.
///
/// # Errors
/// The command cannot be started.
pub(crate) fn run(command: &[OsString], url: &str) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(async {
        let (program, arguments) = command.split_first().context("a command is required")?;
        let mut command = Command::new(program);
        command.args(arguments).env(gate::SERVER_URL, url).env_remove(gate::OFFLINE);
        // Before the command runs: a signal without a handler ends this process, and the command goes
        // on.
        let handlers = Handlers::set()?;
        // A group of its own: a signal to one process of `cargo xtask test` would leave the others.
        let child = command.process_group(0).spawn();
        let child = child.with_context(|| format!("cannot run `{}`", program.display()))?;
        wait(child, handlers).await
    })?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    let code = code.and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The handlers of the signals that are passed on.
struct Handlers {
    terminate: Signals,
    interrupt: Signals,
    hangup: Signals,
}

impl Handlers {
    fn set() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal.
    async fn received(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.hangup.recv() => Signal::HUP,
        }
    }
}

async fn wait(mut child: Child, mut handlers: Handlers) -> Result<ExitStatus> {
    let group = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    loop {
        let signal = tokio::select! {
            status = child.wait() => return Ok(status?),
            signal = handlers.received() => signal,
        };
        if let Some(group) = group {
            // It fails if the group has ended, which the next iteration finds.
            let _ = kill_process_group(group, signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gets_the_url_and_its_exit_code_is_returned() {
        let script = r#"test "$TEST_POSTGRES_URL" = postgres://somewhere && exit 7"#;
        let command = ["sh", "-c", script].map(OsString::from);
        assert_eq!(run(&command, "postgres://somewhere").unwrap(), ExitCode::from(7));
    }
}

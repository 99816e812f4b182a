//! Runs a command until it ends, and passes signals on to it.

use std::{
    ffi::OsString,
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use temporal_dsql_testkit::gate;
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
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
        // A group of its own: a signal to one process of `cargo xtask test` would leave the others.
        let child = command.process_group(0).spawn();
        let child = child.with_context(|| format!("cannot run `{}`", program.display()))?;
        wait(child).await
    })?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    let code = code.and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

async fn wait(mut child: Child) -> Result<ExitStatus> {
    let group = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        let signal = tokio::select! {
            status = child.wait() => return Ok(status?),
            _ = terminate.recv() => Signal::TERM,
            _ = interrupt.recv() => Signal::INT,
            _ = hangup.recv() => Signal::HUP,
        };
        if let Some(group) = group {
            // It fails if the group has ended, which the next turn of the loop finds.
            let _ = kill_process_group(group, signal);
        }
    }
}

//! A command with a time limit, whose output is returned.

use std::{
    fs::{self, File},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

/// How often the end of a command is checked.
const INTERVAL: Duration = Duration::from_millis(20);

/// Runs `command` with its output in the file `log`, and returns the output. When the limit is
/// exceeded, the command and the processes that it has started are killed.
///
/// # Errors
/// The command cannot be started, fails, or exceeds its limit; the error contains its output.
pub(crate) fn run(command: &mut Command, log: &Path, limit: Duration) -> Result<String> {
    let output = File::create(log)?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("cannot run {program}"))?;
    let deadline = Instant::now() + limit;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => break None,
            None => thread::sleep(INTERVAL),
        }
    };
    if status.is_none() {
        // It leads its group. An error means that it has just ended.
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        child.wait()?;
    }
    let output = String::from_utf8_lossy(&fs::read(log)?).into_owned();
    match status {
        Some(status) if status.success() => Ok(output),
        Some(status) => match status.signal() {
            Some(signal) => bail!("{program} was ended by signal {signal}\n{output}"),
            None => bail!("{program} failed\n{output}"),
        },
        None => bail!("{program} did not end within {} s\n{output}", limit.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<String> {
        let folder = tempfile::tempdir().unwrap();
        run(Command::new("sh").args(["-c", script]), &folder.path().join("log"), limit)
    }

    #[test]
    fn the_output_is_returned_and_a_failure_contains_it() {
        let minute = Duration::from_secs(60);
        assert_eq!(shell("echo one; echo two >&2", minute).unwrap(), "one\ntwo\n");
        let error = shell("echo three; exit 3", minute).unwrap_err().to_string();
        assert_eq!(error, "sh failed\nthree\n");
    }

    #[test]
    fn a_command_that_exceeds_its_limit_is_killed_with_the_processes_that_it_started() {
        let start = Instant::now();
        let script = "sleep 600 & echo $!; wait";
        let pid = [0.5, 5.0, 50.0].into_iter().find_map(|seconds| {
            let error = shell(script, Duration::from_secs_f64(seconds)).unwrap_err().to_string();
            let (reason, pid) = error.split_once('\n').unwrap();
            assert_eq!(reason, format!("sh did not end within {seconds} s"));
            // There is none if the limit was exceeded before the shell printed it.
            Some(pid.trim().to_owned()).filter(|pid| !pid.is_empty())
        });
        let pid = pid.expect("sh prints the process that it has started");
        assert!(start.elapsed() < Duration::from_secs(300), "sh was not killed");
        let killed = Instant::now();
        // The process ends some time after the signal: it needs a processor for that.
        while goes_on(&pid) {
            assert!(killed.elapsed() < Duration::from_secs(60), "sleep goes on");
            thread::sleep(INTERVAL);
        }
    }

    /// Whether a process runs. One that has ended is a zombie until its parent reads its status.
    fn goes_on(pid: &str) -> bool {
        fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
    }
}

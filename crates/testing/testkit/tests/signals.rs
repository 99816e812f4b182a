//! `test-postgres run` passes signals on to its command.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use temporal_dsql_testkit::gate;

#[test]
fn sigterm_ends_the_command_and_what_it_has_started() {
    if gate::server_url().is_none() {
        return;
    }
    // The shell says its end with an exit code of its own. Its child has no handler when it prints
    // its id: before that, it has that of the shell.
    let script = "trap 'echo ending; exit 5' TERM; sh -c 'echo child $$; exec sleep 600' & wait";
    let mut run = Command::new(env!("CARGO_BIN_EXE_test-postgres"))
        .args(["run", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines().map(Result::unwrap);
    let child = lines.find_map(|line| line.strip_prefix("child ")?.parse().ok());
    let child = Pid::from_raw(child.expect("the command prints its child")).unwrap();
    kill_process(Pid::from_child(&run), Signal::TERM).unwrap();
    assert!(lines.any(|line| line == "ending"), "the command did not get the signal");
    assert_eq!(run.wait().unwrap().code(), Some(5));
    // The child ends at the same signal, and may do so after its parent.
    let start = Instant::now();
    while goes_on(child) {
        assert!(start.elapsed() < Duration::from_secs(30), "the child of the command goes on");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process runs. One without a parent is a zombie until the first process reaps it.
fn goes_on(process: Pid) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    let is_zombie = state.is_ok_and(|state| state.contains(") Z "));
    !is_zombie && test_kill_process(process).is_ok()
}

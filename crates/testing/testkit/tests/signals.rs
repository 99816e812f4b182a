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
    let script = "trap 'echo ending; exit 5' TERM; sh -c 'echo child $$; exec sleep 60' & wait";
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

/// The command runs before its parent knows it. Without handlers by then, a signal ended the parent
/// in three of four runs, and the command went on without it.
#[test]
fn a_signal_is_passed_on_from_the_first_instant_of_the_command() {
    if gate::server_url().is_none() {
        return;
    }
    let script = "kill -TERM $PPID; exec sleep 60";
    for round in 1..=3 {
        let status = Command::new(env!("CARGO_BIN_EXE_test-postgres"))
            .args(["run", "sh", "-c", script])
            .status();
        assert_eq!(status.unwrap().code(), Some(128 + 15), "round {round}");
    }
}

/// Whether a process runs. One without a parent is a zombie until the first process reaps it.
fn goes_on(process: Pid) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    let is_zombie = state.is_ok_and(|state| state.contains(") Z "));
    !is_zombie && test_kill_process(process).is_ok()
}

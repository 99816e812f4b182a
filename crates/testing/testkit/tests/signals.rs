//! `test-postgres run` passes signals on to its command.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use temporal_dsql_testkit::gate;

#[test]
fn sigterm_ends_the_command_and_what_it_has_started() {
    if gate::server_url().is_none() {
        return;
    }
    // The shell says its end with an exit code of its own; its child has no handler.
    let script = "trap 'echo ending; exit 5' TERM; sleep 600 & echo child $!; wait";
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
    // A process without a parent is reaped by the first process, at some time.
    let state = std::fs::read_to_string(format!("/proc/{}/stat", child.as_raw_nonzero()));
    let is_zombie = state.is_ok_and(|state| state.contains(") Z "));
    assert!(is_zombie || test_kill_process(child).is_err(), "the child of the command goes on");
}

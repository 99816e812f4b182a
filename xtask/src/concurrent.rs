//! Runs several sequences of commands at the same time.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader},
    process::Command,
    thread,
};

use anyhow::{Context, Result, anyhow, bail};

use crate::process;

/// Commands that run one after the other, up to the first failure.
pub struct Sequence {
    /// Precedes every line that the commands print.
    pub name: &'static str,
    pub commands: Vec<Command>,
}

/// Runs all sequences to their end and prints each line as soon as it is complete.
///
/// # Errors
/// Every sequence that has failed.
pub fn run(sequences: impl IntoIterator<Item = Sequence>) -> Result<()> {
    let failures: Vec<String> = thread::scope(|scope| {
        let start = |sequence: Sequence| scope.spawn(move || sequence.run());
        let running: Vec<_> = sequences.into_iter().map(start).collect();
        let results = running.into_iter().map(|running| {
            running.join().unwrap_or_else(|_| Err(anyhow!("a thread of this command has failed")))
        });
        results.filter_map(|result| Some(format!("{:#}", result.err()?))).collect()
    });
    if !failures.is_empty() {
        bail!("{}", failures.join("\nerror: "));
    }
    Ok(())
}

impl Sequence {
    fn run(self) -> Result<()> {
        for command in self.commands {
            let line = process::line(&command);
            println!("{}: $ {line}", self.name);
            run_command(self.name, command)
                .with_context(|| format!("{}: `{line}` failed", self.name))?;
        }
        Ok(())
    }
}

/// The lines at the end of its output that the error of a command contains: the names of failed tests are
/// there, and other commands may print thousands of lines after them.
const LINES: usize = 50;

/// Runs a command and prints its output and errors in their order.
fn run_command(name: &str, mut command: Command) -> Result<()> {
    let (reader, writer) = io::pipe()?;
    let mut child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
    // The output ends when nobody can write to it.
    drop(command);
    let mut reader = BufReader::new(reader);
    let mut end = VecDeque::new();
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line));
        println!("{name}: {text}");
        if end.len() == LINES {
            end.pop_front();
        }
        end.push_back(text.into_owned());
        line.clear();
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{status}; its last lines are\n{}", end.make_contiguous().join("\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn sequence(name: &'static str, scripts: &[&str]) -> Sequence {
        let command = |script: &&str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        Sequence { name, commands: scripts.iter().map(command).collect() }
    }

    #[test]
    fn sequences_run_at_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let pipe = pipe.display();
        // Each waits for the other.
        let reads = format!("cat {pipe}");
        let writes = format!("echo x > {pipe}");
        process::run(&mut process::command(&format!("mkfifo {pipe}"))).unwrap();
        run([sequence("reader", &[&reads]), sequence("writer", &[&writes])]).unwrap();
    }

    #[test]
    fn a_failure_ends_its_sequence_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let error = run([
            sequence("one", &["seq 60; exit 3", &format!("touch {}", at("one"))]),
            sequence("two", &["true", &format!("touch {}", at("two"))]),
            sequence("three", &["kill -9 $$"]),
        ]);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("one: `sh -c seq 60; exit 3` failed: exit status: 3"), "{error}");
        assert!(error.contains("\n11\n") && error.contains("\n60\n"), "{error}");
        assert!(!error.contains("\n10\n"), "{error}");
        assert!(error.contains("three: `sh -c kill -9 $$` failed: signal: 9"), "{error}");
        let files: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files, ["two"]);
    }
}

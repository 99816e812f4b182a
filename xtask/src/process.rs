//! Running other programs, visibly.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// A command line of words without spaces or quotes, to be run in the root of the workspace.
pub fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).current_dir(workspace::root());
    command
}

/// Prints `command` and runs it to its end.
///
/// # Errors
/// It cannot be run, or it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    println!("$ {line}");
    let status = command.status().with_context(|| format!("cannot run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// Runs `command` and returns what it prints.
///
/// # Errors
/// It cannot be run, or it fails; the error holds what it complains about.
pub fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command.output().with_context(|| format!("cannot run `{line}`"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` failed: {}\n{complaint}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` does not print text"))
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_is_an_error_that_names_it() {
        let error = run(&mut command("test -e no-such-file")).unwrap_err();
        assert!(error.to_string().contains("`test -e no-such-file` failed"), "{error}");
        let error = output(&mut command("no-such-program --flag")).unwrap_err();
        assert!(error.to_string().contains("`no-such-program --flag`"), "{error}");
    }

    #[test]
    fn what_a_command_prints_is_returned() {
        let version = output(&mut command("cargo --version")).unwrap();
        assert!(version.starts_with("cargo "), "{version}");
    }
}

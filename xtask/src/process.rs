//! Starts other programs and prints their command lines.

use std::{
    env,
    process::{Command, ExitCode, ExitStatus},
};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// A command line of words without spaces or quotes, run in the root folder of the workspace.
pub fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).current_dir(workspace::root());
    command
}

/// The build of every program and test. It enables the features that `cargo test --workspace`
/// enables; a build of one package would compile half of the dependencies again.
pub fn build_workspace() -> Command {
    command("cargo build --workspace --bins --tests")
}

/// A program of [`build_workspace`], which is in the folder of this one.
///
/// # Errors
/// The path of this program is unknown.
pub fn built_program(name: &str) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?.with_file_name(name));
    command.current_dir(workspace::root());
    Ok(command)
}

/// Prints and runs `command`.
///
/// # Errors
/// It cannot be started, or it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    println!("$ {line}");
    let status = status(command)?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// Prints and runs `command`, and returns its exit code. The command reports its own errors.
///
/// # Errors
/// It cannot be started.
pub fn forward(command: &mut Command) -> Result<ExitCode> {
    println!("$ {}", line(command));
    forward_quietly(command)
}

/// The same without a line of output.
///
/// # Errors
/// It cannot be started.
pub fn forward_quietly(command: &mut Command) -> Result<ExitCode> {
    let code = status(command)?.code().and_then(|code| u8::try_from(code).ok());
    // A command that a signal ends has no code.
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Runs `command` and returns what it prints.
///
/// # Errors
/// It cannot be started, or it fails; the error contains its standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command.output().with_context(|| format!("cannot run `{line}`"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` failed: {}\n{stderr}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` does not print text"))
}

fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("cannot run `{}`", line(command)))
}

/// The words of a command.
pub fn line(command: &Command) -> String {
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
    fn the_exit_code_is_the_commands() {
        let code = |script| forward_quietly(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!(code("exit 0"), ExitCode::SUCCESS);
        assert_eq!(code("exit 7"), ExitCode::from(7));
        assert_eq!(code("kill -9 $$"), ExitCode::FAILURE);
        let error = forward(&mut command("no-such-program --flag")).unwrap_err();
        assert!(error.to_string().contains("`no-such-program --flag`"), "{error}");
    }

    #[test]
    fn the_output_of_a_command_is_returned() {
        let version = output(&mut command("cargo --version")).unwrap();
        assert!(version.starts_with("cargo "), "{version}");
    }
}

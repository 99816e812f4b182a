//! Completion scripts for shells.

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;

const NAME: &str = "temporal-dsql-tool";
/// A name without hyphens: clap_complete writes the subcommands of a name with hyphens in two ways in
/// a script for Bash, and then finds none of them.
const BASH_NAME: &str = "temporal_dsql_tool";

/// The script for `shell`.
pub(crate) fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    let name = if shell == Shell::Bash { BASH_NAME } else { NAME };
    clap_complete::generate(shell, &mut visible(&Cli::command()), name, &mut script);
    let script = String::from_utf8_lossy(&script);
    // The command that the function completes.
    script.replace(&format!("-o default {BASH_NAME}\n"), &format!("-o default {NAME}\n"))
}

/// `command` without what its help does not show: clap_complete offers hidden flags.
fn visible(command: &Command) -> Command {
    let mut shown = Command::new(command.get_name().to_owned())
        .args(command.get_arguments().filter(|argument| !argument.is_hide_set()))
        .subcommands(command.get_subcommands().filter(|inner| !inner.is_hide_set()).map(visible));
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        shown = shown.version(version.to_owned());
    }
    shown
}

//! Completion scripts for shells.

use clap::CommandFactory;
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
    clap_complete::generate(shell, &mut Cli::command(), name, &mut script);
    let script = String::from_utf8_lossy(&script);
    // The command that the function completes.
    script.replace(&format!("-o default {BASH_NAME}\n"), &format!("-o default {NAME}\n"))
}

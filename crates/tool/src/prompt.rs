//! Asking before something is lost.

use std::io::{BufRead, IsTerminal, Write};

use crate::exit::{Exit, Failure};

/// Asks on the terminal whether to go on, after telling what would be lost.
///
/// # Errors
/// The answer is not yes; or nobody can be asked, because standard input is not a terminal.
pub(crate) fn confirm(what: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let mut terminal = std::io::stderr();
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "{what}\nnothing was changed; give --yes to go on without being asked"
        )));
    }
    let answer = write!(terminal, "{what}\nGo on (y/N)? ")
        .and_then(|()| terminal.flush())
        .and_then(|()| {
            let mut answer = String::new();
            std::io::stdin().lock().read_line(&mut answer)?;
            Ok(answer)
        })
        .map_err(anyhow::Error::from)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Failure::new(Exit::Failed, anyhow::anyhow!("not confirmed; nothing was changed")))
    }
}

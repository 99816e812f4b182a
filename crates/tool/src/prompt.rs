//! The confirmation prompt.

use std::io::{BufRead, IsTerminal, Write};

use crate::exit::{Exit, Failure};

/// Prints `what` and asks on the terminal for confirmation.
///
/// # Errors
/// The answer is not yes, or standard input is not a terminal.
pub(crate) async fn confirm(what: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "{what}\nnothing was changed; pass --yes to skip this confirmation"
        )));
    }
    let mut terminal = std::io::stderr();
    write!(terminal, "{what}\nContinue (y/N)? ")
        .and_then(|()| terminal.flush())
        .map_err(anyhow::Error::from)?;
    // On its own thread, so that Ctrl-C is handled meanwhile.
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map(|_| answer)
    });
    let answer = answer.await.map_err(anyhow::Error::from)?.map_err(anyhow::Error::from)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Failure::new(Exit::Failed, anyhow::anyhow!("not confirmed; nothing was changed")))
    }
}

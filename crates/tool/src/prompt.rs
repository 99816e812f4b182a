//! Asking before something is lost.

use std::io::{BufRead, IsTerminal, Write};

use crate::exit::{Exit, Failure};

/// Asks on the terminal whether to go on, after telling what would be lost.
///
/// # Errors
/// The answer is not yes; or nobody can be asked, because standard input is not a terminal.
pub(crate) async fn confirm(what: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "{what}\nnothing was changed; give --yes to go on without being asked"
        )));
    }
    let mut terminal = std::io::stderr();
    write!(terminal, "{what}\nGo on (y/N)? ")
        .and_then(|()| terminal.flush())
        .map_err(anyhow::Error::from)?;
    // On a thread of its own, so that Ctrl-C is heard meanwhile.
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

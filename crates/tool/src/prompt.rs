//! The confirmation prompt.

use std::io::{BufRead, IsTerminal, Write};

use crate::exit::{Exit, Failure};

/// Whether a question can be answered.
pub(crate) fn is_possible() -> bool {
    std::io::stdin().is_terminal()
}

/// Prints `what` and asks on the terminal for confirmation: for `word`, or for yes.
///
/// # Errors
/// The answer is another one, or standard input is not a terminal.
pub(crate) async fn confirm(what: &str, word: Option<&str>) -> Result<(), Failure> {
    if !is_possible() {
        return Err(Failure::usage(format!(
            "{what}\nnothing was changed; pass --yes to skip this confirmation"
        )));
    }
    let mut terminal = std::io::stderr();
    let question = match word {
        Some(word) => format!("Type `{word}` to drop all of them: "),
        None => "Continue (y/N)? ".to_owned(),
    };
    write!(terminal, "{what}\n{question}")
        .and_then(|()| terminal.flush())
        .map_err(anyhow::Error::from)?;
    // On its own thread, so that Ctrl-C is handled meanwhile.
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map(|_| answer)
    });
    let answer = answer.await.map_err(anyhow::Error::from)?.map_err(anyhow::Error::from)?;
    let is_confirmed = match word {
        Some(word) => answer.trim() == word,
        None => matches!(answer.trim(), "y" | "Y" | "yes"),
    };
    if is_confirmed {
        Ok(())
    } else {
        Err(Failure::new(Exit::Failed, anyhow::anyhow!("not confirmed; nothing was changed")))
    }
}

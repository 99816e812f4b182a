//! The confirmation prompt.

use std::io::{BufRead, IsTerminal, Write};

use crate::{
    exit::{Exit, Failure, Kind},
    go::Edit,
    report::printable,
};

/// Whether a question can be answered.
pub(crate) fn is_possible() -> bool {
    std::io::stdin().is_terminal()
}

/// Prints `what` and asks on the terminal for confirmation: for `word`, or for yes.
///
/// # Errors
/// The answer is another one, or standard input is not a terminal.
pub(crate) async fn confirm(what: &str, word: Option<&str>) -> Result<(), Failure> {
    let what = printable(what);
    if !is_possible() {
        let reason = anyhow::anyhow!("{what}\nnothing was changed: no terminal confirms it");
        let failure = Failure::new(Exit::Usage, Kind::NotConfirmed, reason);
        return Err(Failure { instead: vec![Edit::Append("--yes")], ..failure });
    }
    let mut terminal = std::io::stderr();
    let question = match word {
        Some(word) => format!("Type `{word}` to drop all of them: "),
        None => "Continue (y/N)? ".to_owned(),
    };
    write!(terminal, "{what}\n{question}")
        .and_then(|()| terminal.flush())
        .map_err(anyhow::Error::from)?;
    // On its own thread, so that signals are handled meanwhile.
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map(|_| answer)
    });
    let answer = answer.await.map_err(anyhow::Error::from)?.map_err(anyhow::Error::from)?;
    let is_confirmed = match word {
        Some(word) => answer.trim().eq_ignore_ascii_case(word),
        None => is_yes(&answer),
    };
    if is_confirmed {
        return Ok(());
    }
    let reason = anyhow::anyhow!("not confirmed; nothing was changed");
    Err(Failure::new(Exit::Failed, Kind::NotConfirmed, reason))
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].iter().any(|yes| answer.trim().eq_ignore_ascii_case(yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yes_confirms_however_it_is_written() {
        for answer in ["y", "Y\n", "yes", "YES\n", " Yes \r\n"] {
            assert!(is_yes(answer), "{answer:?}");
        }
        for answer in ["", "n", "yess", "no", "ye"] {
            assert!(!is_yes(answer), "{answer:?}");
        }
    }
}

//! Messages of errors with all their sources.

use std::{error::Error, fmt};

use temporal_dsql_ports::Cause;

/// Shows an error with all its sources, in one line. A source whose text is a part of the text before
/// it is left out, and so is what the driver adds to the message of a server.
#[derive(Debug)]
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let mut next = Some(self.0);
        while let Some(error) = next {
            let server = server_error(error);
            let said = match server {
                Some(server) => {
                    format!("{} (SQLSTATE {})", server.message(), server.code().unwrap_or_default())
                }
                None => without_manual(&error.to_string()).to_owned(),
            };
            if !text.contains(&said) {
                let colon = if text.is_empty() { "" } else { ": " };
                text.extend([colon, &said]);
            }
            // The source of the driver's error is the same error of the server.
            next = if server.is_some() { None } else { error.source() };
        }
        f.write_str(&text)
    }
}

/// The SQLSTATE and the message of the server that `error` or one of its sources reports.
pub fn server_error_of(error: &(dyn Error + 'static)) -> Option<(String, String)> {
    let mut next = Some(error);
    let server = loop {
        let error = next?;
        match server_error(error) {
            Some(server) => break server,
            None => next = error.source(),
        }
    };
    Some((server.code().unwrap_or_default().into_owned(), server.message().to_owned()))
}

/// The error of the server that the error of the driver is.
fn server_error<'e>(
    error: &'e (dyn Error + 'static),
) -> Option<&'e dyn sqlx::error::DatabaseError> {
    let driver = match error.downcast_ref::<Cause>() {
        Some(cause) => cause.get().downcast_ref::<sqlx::Error>(),
        None => error.downcast_ref::<sqlx::Error>(),
    };
    driver?.as_database_error()
}

/// `text` without the address of a page that rustls refers to.
fn without_manual(text: &str) -> &str {
    text.split(": https://docs.rs/rustls/").next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Outer(&'static str, #[source] Box<dyn Error + Send + Sync>);

    #[test]
    fn a_cause_is_said_once_and_without_the_address_of_a_manual() {
        let reset = std::io::Error::other(
            "peer closed connection without sending TLS close_notify: \
             https://docs.rs/rustls/latest/rustls/manual/_03_howto/index.html#unexpected-eof",
        );
        let error = Outer("the connection broke", Box::new(sqlx::Error::Io(reset)));
        assert_eq!(
            ErrorChain(&error).to_string(),
            "the connection broke: error communicating with database: \
             peer closed connection without sending TLS close_notify"
        );
        let error = Outer("a: no route", Box::new(Outer("no route", "down".into())));
        assert_eq!(ErrorChain(&error).to_string(), "a: no route: down");
    }
}

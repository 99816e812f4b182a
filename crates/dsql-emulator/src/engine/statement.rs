//! A statement to run, and its result.

use std::sync::Arc;

use super::{names::UpstreamName, portals::RowLimit, report::Effect};
use crate::{
    rules::LockStrength,
    sql::Statement,
    upstream::Exchange,
    wire::{self, BindParts, DbError, Message, tag},
};

/// A statement with its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Execution {
    /// As the client wrote it.
    pub(crate) statement: Arc<Statement>,
    /// The types of its parameters, as far as they are known.
    pub(crate) types: Arc<[u32]>,
    /// Its prepared statement in PostgreSQL, if there is one.
    pub(crate) prepared: Option<Arc<UpstreamName>>,
    /// The text to send instead of the client's.
    pub(crate) text: Option<Arc<str>>,
    pub(crate) bind: BindParts,
    /// Whether to send a Describe.
    pub(crate) describe: bool,
    /// The client's messages for a COPY FROM STDIN.
    pub(crate) copy_data: Option<Vec<Message>>,
    /// Set if PostgreSQL itself locks rows, which are then looked up: the strength of the lock.
    pub(crate) locks: Option<LockStrength>,
    /// Set if the client gets the rows in parts.
    pub(crate) limit: Option<RowLimit>,
}

impl Execution {
    /// A statement without parameters or a prepared statement.
    pub(crate) fn simple(statement: Arc<Statement>) -> Self {
        Self {
            statement,
            types: Arc::new([]),
            prepared: None,
            text: None,
            bind: BindParts::default(),
            describe: true,
            copy_data: None,
            locks: None,
            limit: None,
        }
    }

    /// The messages that run it, without a Sync.
    pub(crate) fn messages(&self) -> Vec<Message> {
        let mut messages = Vec::with_capacity(4);
        let name = match (&self.text, &self.prepared) {
            (None, Some(prepared)) => prepared.as_str(),
            (text, _) => {
                let text = text.as_deref().unwrap_or(&self.statement.text);
                messages.push(wire::parse("", text, &self.types));
                ""
            }
        };
        let (portal, rows) =
            self.limit.as_ref().map_or(("", 0), |limit| (limit.portal.as_str(), limit.rows));
        messages.push(wire::bind(portal, name, &self.bind));
        if self.describe {
            messages.push(wire::describe_portal(portal));
        }
        messages.push(wire::execute(portal, rows));
        messages
    }

    pub(crate) fn exchange(&self, messages: Vec<Message>) -> Exchange {
        Exchange { messages, copy_data: self.copy_data.clone() }
    }
}

/// The result of one statement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// Columns, rows and notices for the client.
    pub(crate) messages: Vec<Message>,
    /// The command tag; `None` for an empty statement.
    pub(crate) tag: Option<String>,
    /// Whether the portal may have more rows.
    pub(crate) suspended: bool,
    pub(crate) error: Option<DbError>,
    pub(crate) effect: Effect,
}

impl Answer {
    /// Reads the answer to an execution, with or without a savepoint before it.
    pub(crate) fn read(messages: Vec<Message>) -> Self {
        let mut answer = Self::default();
        for message in messages {
            match message.tag() {
                tag::COMMAND_COMPLETE => {
                    let tag = wire::command_tag(&message);
                    if tag != "SAVEPOINT" {
                        answer.tag = Some(tag);
                    }
                }
                tag::ERROR => answer.error = Some(DbError::read(&message)),
                tag::PORTAL_SUSPENDED => answer.suspended = true,
                tag::NOTICE if answer.effect.take(&message) => {}
                tag::PARSE_COMPLETE
                | tag::BIND_COMPLETE
                | tag::CLOSE_COMPLETE
                | tag::NO_DATA
                | tag::EMPTY_QUERY
                | tag::COPY_IN
                | tag::READY_FOR_QUERY => {}
                _ => answer.messages.push(message),
            }
        }
        answer
    }

    /// The number of written rows according to the command tag; `None` if the tag has none.
    pub(crate) fn written_rows(&self) -> Option<u64> {
        let mut words = self.tag.as_deref().unwrap_or_default().split(' ');
        match words.next() {
            Some("INSERT" | "UPDATE" | "DELETE" | "COPY") => words.next_back()?.parse().ok(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_savepoint_before_a_statement_is_not_part_of_its_answer() {
        let messages = ["SAVEPOINT", "UPDATE 3"].map(wire::command_complete).to_vec();
        let answer = Answer::read(messages);
        assert_eq!(answer.tag.as_deref(), Some("UPDATE 3"));
        assert_eq!(answer.written_rows(), Some(3));
        assert_eq!(Answer::default().written_rows(), None);
    }
}

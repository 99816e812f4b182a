//! A statement on its way to PostgreSQL, and the answer on its way back.

use std::sync::Arc;

use bytes::Bytes;

use super::{footprint::Class as Touch, report::Effect};
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
    /// The name under which PostgreSQL has it prepared, if it has.
    pub(crate) prepared: Option<Arc<str>>,
    /// What is sent instead of the statement.
    pub(crate) text: Option<Arc<str>>,
    pub(crate) bind: BindParts,
    /// Whether the columns of the answer are asked for.
    pub(crate) describe: bool,
    /// What a COPY FROM STDIN reads.
    pub(crate) copy_data: Option<Vec<Bytes>>,
    /// The last columns of the answer are the keys of rows that it locks, so strongly.
    pub(crate) keys: Arc<[LockStrength]>,
    /// PostgreSQL locks rows, so strongly, and is to be asked which they are.
    pub(crate) locks: Option<LockStrength>,
}

impl Execution {
    /// A statement without parameters, of which nothing is known.
    pub(crate) fn simple(statement: Arc<Statement>) -> Self {
        Self {
            statement,
            types: Arc::new([]),
            prepared: None,
            text: None,
            bind: BindParts::default(),
            describe: true,
            copy_data: None,
            keys: Arc::new([]),
            locks: None,
        }
    }

    /// The messages that run it, without a Sync.
    pub(crate) fn messages(&self) -> Vec<Message> {
        let mut messages = Vec::with_capacity(4);
        let name = match (&self.text, &self.prepared) {
            (None, Some(name)) => name,
            (text, _) => {
                let text = text.as_deref().unwrap_or(&self.statement.text);
                messages.push(wire::parse("", text, &self.types));
                ""
            }
        };
        let mut bind = self.bind.clone();
        // A format for each column is one for each hidden column, too: text.
        if bind.result_formats.len() > 1 {
            bind.result_formats.extend(self.keys.iter().map(|_| 0));
        }
        messages.push(wire::bind("", name, &bind));
        if self.describe {
            messages.push(wire::describe_portal(""));
        }
        messages.push(wire::execute("", 0));
        messages
    }

    pub(crate) fn exchange(&self, messages: Vec<Message>) -> Exchange {
        Exchange { messages, copy_data: self.copy_data.clone() }
    }
}

/// What PostgreSQL answered to one statement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// Columns, rows and notices, as the client is to see them.
    pub(crate) messages: Vec<Message>,
    /// The tag at the end; `None` for an empty statement.
    pub(crate) tag: Option<String>,
    pub(crate) error: Option<DbError>,
    pub(crate) effect: Effect,
}

impl Answer {
    /// Reads the answer to the messages of an execution, with a savepoint before it or without.
    pub(crate) fn read(messages: Vec<Message>, keys: &[LockStrength]) -> Self {
        let mut answer = Self::default();
        let hidden = keys.len();
        for message in messages {
            match message.tag() {
                tag::DATA_ROW if hidden > 0 => {
                    let (row, entries) = wire::without_last_values(&message, hidden);
                    for (entries, strength) in entries.into_iter().zip(keys) {
                        let entries = entries.unwrap_or_default();
                        answer.effect.lock(&entries, Touch::from(*strength));
                    }
                    answer.messages.push(row);
                }
                tag::ROW_DESCRIPTION if hidden > 0 => {
                    answer.messages.push(wire::without_last_columns(&message, hidden));
                }
                tag::COMMAND_COMPLETE => {
                    let tag = wire::command_tag(&message);
                    if tag != "SAVEPOINT" {
                        answer.tag = Some(tag);
                    }
                }
                tag::ERROR => answer.error = Some(DbError::read(&message)),
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

    /// Rows that the statement wrote, by its tag.
    pub(crate) fn written_rows(&self) -> u64 {
        let mut words = self.tag.as_deref().unwrap_or_default().split(' ');
        match words.next() {
            Some("INSERT" | "UPDATE" | "DELETE" | "COPY") => {
                words.next_back().and_then(|count| count.parse().ok()).unwrap_or(0)
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Column;

    #[test]
    fn the_keys_of_locked_rows_are_taken_out_of_the_answer() {
        let row = wire::data_row(&[Some(b"x"), Some(br#"[[5,"[1]"]]"#)]);
        let columns = wire::row_description(&[Column::text("a"), Column::text("key")]);
        let messages = vec![columns, row, wire::command_complete("SELECT 1")];
        let answer = Answer::read(messages, &[LockStrength::Update]);
        assert_eq!(
            answer.messages,
            [wire::row_description(&[Column::text("a")]), wire::data_row(&[Some(b"x")])]
        );
        assert_eq!(answer.effect.footprint.entries().count(), 1);
        assert_eq!(answer.tag.as_deref(), Some("SELECT 1"));
    }

    #[test]
    fn the_savepoint_before_a_statement_is_not_part_of_its_answer() {
        let messages = ["SAVEPOINT", "UPDATE 3"].map(wire::command_complete).to_vec();
        let answer = Answer::read(messages, &[]);
        assert_eq!(answer.tag.as_deref(), Some("UPDATE 3"));
        assert_eq!(answer.written_rows(), 3);
    }

    #[test]
    fn hidden_columns_come_as_text_whatever_the_others_are() {
        let statement = crate::sql::split("SELECT a, b FROM t").remove(0);
        let mut execution = Execution::simple(Arc::new(statement));
        execution.keys = Arc::new([LockStrength::Update]);
        execution.bind.result_formats = vec![1, 0];
        let bind = execution.messages().into_iter().find(|m| m.tag() == tag::BIND).unwrap();
        assert_eq!(wire::read_bind(&bind).unwrap().2.result_formats, [1, 0, 0]);
    }
}

//! Splits what a client sends into requests.
//!
//! The server answers a request with one ReadyForQuery: a simple Query, or a batch of the extended
//! protocol up to its Sync. It is one round trip, and the target of a fault.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use dsql_emulator::wire::{self, Message, tag};

/// The messages of one round trip.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    /// The encoded messages.
    pub(super) bytes: Bytes,
    /// The SQL texts of its Query and Parse messages.
    pub(super) texts: Vec<String>,
    /// The SQL texts of the prepared statements that it binds.
    pub(super) bound: Vec<String>,
    /// Whether it runs its statement, and does not only prepare it.
    executes: bool,
}

impl Request {
    /// Whether a SQL text of this request contains `part`.
    pub(super) fn mentions(&self, part: &str) -> bool {
        self.all_texts().any(|text| text.contains(part))
    }

    /// Whether this request runs a statement whose SQL text contains `part`.
    pub(super) fn executes(&self, part: &str) -> bool {
        self.executes && self.mentions(part)
    }

    /// Whether this request is COMMIT.
    pub(super) fn is_commit(&self) -> bool {
        self.executes && self.all_texts().any(|text| word(text, 0, &["COMMIT"]))
    }

    /// Whether this request runs a statement that inserts, updates or deletes, in WITH too.
    pub(super) fn writes(&self) -> bool {
        self.executes && self.all_texts().any(|text| writes(text))
    }

    /// Whether this request commits or rolls back a transaction.
    pub(super) fn ends_transaction(&self) -> bool {
        let ends = |text: &String| {
            word(text, 0, &["COMMIT", "END", "ROLLBACK", "ABORT"]) && !word(text, 1, &["TO"])
        };
        self.executes && self.all_texts().any(ends)
    }

    fn all_texts(&self) -> impl Iterator<Item = &String> {
        self.texts.iter().chain(&self.bound)
    }
}

/// Whether word number `index` of `text` is one of `words`, ignoring case.
fn word(text: &str, index: usize, words: &[&str]) -> bool {
    text.split(|c: char| c.is_whitespace() || c == ';')
        .filter(|word| !word.is_empty())
        .nth(index)
        .is_some_and(|word| words.iter().any(|known| known.eq_ignore_ascii_case(word)))
}

/// Whether `text` has a keyword of a write. `FOR UPDATE` is a lock. A keyword in a literal counts
/// as well.
fn writes(text: &str) -> bool {
    let is =
        |word: &str, known: &[&str]| known.iter().any(|known| known.eq_ignore_ascii_case(word));
    let mut before = "";
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).any(
        |word| {
            let is_lock = is(before, &["FOR"]);
            before = word;
            is(word, &["INSERT", "DELETE"]) || (is(word, &["UPDATE"]) && !is_lock)
        },
    )
}

/// What to do with messages of a client.
#[derive(Clone, Debug)]
pub(super) enum Chunk {
    /// Forward it in order and wait for ReadyForQuery.
    Request(Request),
    /// Forward it in order; it has no ReadyForQuery.
    Passive(Bytes),
    /// Forward it at once: it belongs to the answer in progress.
    Immediate(Bytes),
}

/// Groups the messages of one client into chunks.
#[derive(Debug, Default)]
pub(super) struct Collector {
    batch: BytesMut,
    request: Request,
    /// The client's prepared statements: name to SQL text.
    prepared: HashMap<String, String>,
}

impl Collector {
    /// Takes the next message; returns a chunk if the message completes one.
    pub(super) fn push(&mut self, message: Message) -> Option<Chunk> {
        let tag = message.tag();
        if matches!(tag, tag::PASSWORD | tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL) {
            return Some(Chunk::Immediate(message.into_frame()));
        }
        self.record(&message);
        self.batch.extend_from_slice(message.frame());
        match tag {
            tag::QUERY | tag::SYNC | tag::FUNCTION_CALL => {
                let mut request = std::mem::take(&mut self.request);
                request.bytes = self.batch.split().freeze();
                Some(Chunk::Request(request))
            }
            tag::FLUSH | tag::TERMINATE => Some(Chunk::Passive(self.batch.split().freeze())),
            _ => None,
        }
    }

    /// Records the SQL texts of `message`, and whether it runs a statement.
    fn record(&mut self, message: &Message) {
        let lossy = |text: Bytes| String::from_utf8_lossy(&text).into_owned();
        match message.tag() {
            tag::QUERY => {
                self.request.texts.extend(wire::read_query(message).map(lossy));
                self.request.executes = true;
            }
            tag::PARSE => {
                if let Some((name, text, _types)) = wire::read_parse(message) {
                    let text = lossy(text);
                    self.request.texts.push(text.clone());
                    self.prepared.insert(name, text);
                }
            }
            tag::BIND => {
                if let Some((_portal, name, _parts)) = wire::read_bind(message) {
                    self.request.bound.extend(self.prepared.get(&name).cloned());
                }
            }
            tag::EXECUTE => self.request.executes = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(collector: &mut Collector, messages: &[(u8, &[u8])]) -> Vec<Request> {
        messages
            .iter()
            .filter_map(|(tag, payload)| collector.push(Message::new(*tag, payload)))
            .filter_map(|chunk| match chunk {
                Chunk::Request(request) => Some(request),
                _ => None,
            })
            .collect()
    }

    fn query(sql: &str) -> Request {
        let message = wire::query(sql);
        let Some(Chunk::Request(request)) = Collector::default().push(message) else {
            panic!("a query is a request");
        };
        request
    }

    #[test]
    fn a_query_is_a_request_and_a_batch_is_one_up_to_its_sync() {
        let mut collector = Collector::default();
        let requests = requests(
            &mut collector,
            &[
                (b'Q', b"BEGIN\0"),
                (b'P', b"s1\0SELECT 1\0\0\0"),
                (b'D', b"Ss1\0"),
                (b'S', b""),
                (b'S', b""),
            ],
        );
        let texts: Vec<_> = requests.iter().map(|request| request.texts.clone()).collect();
        assert_eq!(texts, [vec!["BEGIN"], vec!["SELECT 1"], vec![]]);
    }

    #[test]
    fn a_statement_that_was_prepared_earlier_is_known_by_its_name() {
        let mut collector = Collector::default();
        let requests = requests(
            &mut collector,
            &[
                (b'P', b"s1\0UPDATE t SET n = 1\0\0\0"),
                (b'S', b""),
                (b'B', b"\0s1\0\0\0\0\0\0\0"),
                (b'E', b"\0\0\0\0\0"),
                (b'S', b""),
            ],
        );
        let [prepares, runs] = &requests[..] else {
            panic!("two requests: {requests:?}");
        };
        assert!(prepares.mentions("UPDATE t") && !prepares.executes("UPDATE t"));
        assert!(runs.mentions("UPDATE t") && runs.executes("UPDATE t"));
        assert!(runs.texts.is_empty(), "the text is not sent again");
    }

    #[test]
    fn a_commit_is_recognised_in_any_case_and_only_as_a_statement() {
        for commit in ["COMMIT", "commit", " Commit ; "] {
            assert!(query(commit).is_commit(), "{commit}");
            assert!(query(commit).ends_transaction(), "{commit}");
        }
        for other in ["BEGIN", "SELECT 'COMMIT'", "COMMITTED", ""] {
            assert!(!query(other).is_commit(), "{other}");
            assert!(!query(other).ends_transaction(), "{other}");
        }
        assert!(query("ROLLBACK").ends_transaction());
        assert!(!query("ROLLBACK TO s").ends_transaction());
    }

    #[test]
    fn a_write_is_recognised_in_with_too_and_a_lock_is_none() {
        for write in [
            "INSERT INTO t VALUES (1)",
            "update t SET n = 1",
            "WITH gone AS (DELETE FROM t RETURNING n) SELECT count(*) FROM gone",
        ] {
            assert!(query(write).writes(), "{write}");
        }
        for other in ["SELECT n FROM t FOR UPDATE", "SELECT updated, inserts FROM t", "COMMIT"] {
            assert!(!query(other).writes(), "{other}");
        }
    }

    #[test]
    fn messages_of_an_answer_in_progress_are_forwarded_at_once() {
        let mut collector = Collector::default();
        for tag in [b'p', b'd', b'c', b'f'] {
            let chunk = collector.push(Message::new(tag, b"x"));
            assert!(matches!(chunk, Some(Chunk::Immediate(_))));
        }
        let flushed = collector.push(Message::new(b'H', b""));
        assert!(matches!(flushed, Some(Chunk::Passive(_))));
    }
}

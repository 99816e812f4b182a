//! What a client sends, cut into units.
//!
//! A unit is what the server answers with one ReadyForQuery: a simple Query, or a batch of the
//! extended protocol up to its Sync. It is one round trip, and the thing that a fault happens to.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use dsql_emulator::wire::{self, Message, tag};

/// One round trip as the client sent it.
#[derive(Clone, Debug, Default)]
pub(super) struct Unit {
    /// The messages.
    pub(super) bytes: Bytes,
    /// The SQL texts of its Query and Parse messages.
    pub(super) texts: Vec<String>,
    /// The SQL texts that it refers to by a prepared statement.
    pub(super) bound: Vec<String>,
    /// Whether it runs its statement, and does not only prepare it.
    executes: bool,
}

impl Unit {
    /// Whether a SQL text of this unit contains `part`.
    pub(super) fn mentions(&self, part: &str) -> bool {
        self.all_texts().any(|text| text.contains(part))
    }

    /// Whether this unit runs a statement whose SQL text contains `part`.
    pub(super) fn executes(&self, part: &str) -> bool {
        self.executes && self.mentions(part)
    }

    /// Whether this unit is COMMIT.
    pub(super) fn is_commit(&self) -> bool {
        self.executes && self.all_texts().any(|text| word(text, 0, &["COMMIT"]))
    }

    /// Whether this unit runs a statement that inserts, updates or deletes, in WITH too.
    pub(super) fn writes(&self) -> bool {
        self.executes && self.all_texts().any(|text| writes(text))
    }

    /// Whether this unit ends a transaction, one way or the other.
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

/// Whether word number `index` of `text` is one of `words`, in any case.
fn word(text: &str, index: usize, words: &[&str]) -> bool {
    text.split(|c: char| c.is_whitespace() || c == ';')
        .filter(|word| !word.is_empty())
        .nth(index)
        .is_some_and(|word| words.iter().any(|known| known.eq_ignore_ascii_case(word)))
}

/// Whether `text` has a word that makes it a write. `FOR UPDATE` is a lock; a word in a literal is
/// taken for one of the statement.
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

/// What to do with what a client has sent.
#[derive(Clone, Debug)]
pub(super) enum Chunk {
    /// Pass it on in its turn and wait for ReadyForQuery.
    Unit(Unit),
    /// Pass it on in its turn; no ReadyForQuery will come of it.
    Passive(Bytes),
    /// Pass it on at once: it belongs to the answer that is under way.
    Immediate(Bytes),
}

/// Collects the messages of one client into chunks.
#[derive(Debug, Default)]
pub(super) struct Collector {
    batch: BytesMut,
    unit: Unit,
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
                let mut unit = std::mem::take(&mut self.unit);
                unit.bytes = self.batch.split().freeze();
                Some(Chunk::Unit(unit))
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
                self.unit.texts.extend(wire::read_query(message).map(lossy));
                self.unit.executes = true;
            }
            tag::PARSE => {
                if let Some((name, text, _types)) = wire::read_parse(message) {
                    let text = lossy(text);
                    self.unit.texts.push(text.clone());
                    self.prepared.insert(name, text);
                }
            }
            tag::BIND => {
                if let Some((_portal, name, _parts)) = wire::read_bind(message) {
                    self.unit.bound.extend(self.prepared.get(&name).cloned());
                }
            }
            tag::EXECUTE => self.unit.executes = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(collector: &mut Collector, messages: &[(u8, &[u8])]) -> Vec<Unit> {
        messages
            .iter()
            .filter_map(|(tag, payload)| collector.push(Message::new(*tag, payload)))
            .filter_map(|chunk| match chunk {
                Chunk::Unit(unit) => Some(unit),
                _ => None,
            })
            .collect()
    }

    fn query(sql: &str) -> Unit {
        let message = wire::query(sql);
        let Some(Chunk::Unit(unit)) = Collector::default().push(message) else {
            panic!("a query is a unit");
        };
        unit
    }

    #[test]
    fn a_query_is_a_unit_and_a_batch_is_one_up_to_its_sync() {
        let mut collector = Collector::default();
        let units = units(
            &mut collector,
            &[
                (b'Q', b"BEGIN\0"),
                (b'P', b"s1\0SELECT 1\0\0\0"),
                (b'D', b"Ss1\0"),
                (b'S', b""),
                (b'S', b""),
            ],
        );
        let texts: Vec<_> = units.iter().map(|unit| unit.texts.clone()).collect();
        assert_eq!(texts, [vec!["BEGIN"], vec!["SELECT 1"], vec![]]);
    }

    #[test]
    fn a_statement_that_was_prepared_earlier_is_known_by_its_name() {
        let mut collector = Collector::default();
        let units = units(
            &mut collector,
            &[
                (b'P', b"s1\0UPDATE t SET n = 1\0\0\0"),
                (b'S', b""),
                (b'B', b"\0s1\0\0\0\0\0\0\0"),
                (b'E', b"\0\0\0\0\0"),
                (b'S', b""),
            ],
        );
        let [prepares, runs] = &units[..] else {
            panic!("two units: {units:?}");
        };
        assert!(prepares.mentions("UPDATE t") && !prepares.executes("UPDATE t"));
        assert!(runs.mentions("UPDATE t") && runs.executes("UPDATE t"));
        assert!(runs.texts.is_empty(), "the text is not sent again");
    }

    #[test]
    fn a_commit_is_known_in_any_case_and_only_as_a_statement() {
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
    fn a_write_is_known_in_with_too_and_a_lock_is_none() {
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
    fn what_belongs_to_an_answer_under_way_is_passed_on_at_once() {
        let mut collector = Collector::default();
        for tag in [b'p', b'd', b'c', b'f'] {
            let chunk = collector.push(Message::new(tag, b"x"));
            assert!(matches!(chunk, Some(Chunk::Immediate(_))));
        }
        let flushed = collector.push(Message::new(b'H', b""));
        assert!(matches!(flushed, Some(Chunk::Passive(_))));
    }
}

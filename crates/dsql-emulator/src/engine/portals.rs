//! Portals of PostgreSQL from which a client gets the rows in parts.
//!
//! PostgreSQL closes a portal when its transaction is rolled back to its start, as it is to release
//! its locks. The remaining rows are read and kept here before that.

use std::collections::{HashMap, VecDeque};

use super::statement::Answer;
use crate::wire::{DbError, Message, tag};

/// The maximum number of rows of an Execute, and the portal to get them from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowLimit {
    pub(crate) portal: String,
    pub(crate) rows: i32,
}

/// The portals of a transaction that have more rows.
#[derive(Debug, Default)]
pub(crate) struct OpenPortals(HashMap<String, Option<Remainder>>);

/// What is left of a portal that PostgreSQL has closed.
#[derive(Debug)]
struct Remainder {
    rows: VecDeque<Message>,
    /// Columns and notices.
    others: Vec<Message>,
    tag: Option<String>,
    error: Option<DbError>,
}

impl OpenPortals {
    pub(crate) fn insert(&mut self, name: String) {
        self.0.insert(name, None);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Whether any portal exists in PostgreSQL.
    pub(crate) fn are_in_postgresql(&self) -> bool {
        self.0.values().any(Option::is_none)
    }

    /// The portals that exist in PostgreSQL.
    pub(crate) fn in_postgresql(&self) -> Vec<String> {
        let open = self.0.iter().filter(|(_, kept)| kept.is_none());
        open.map(|(name, _)| name.clone()).collect()
    }

    /// Keeps the remaining rows of a portal, which are followed by its end or an error.
    pub(crate) fn keep(&mut self, name: String, answer: Answer) {
        let (rows, others) =
            answer.messages.into_iter().partition(|message| message.tag() == tag::DATA_ROW);
        let (tag, error) = (answer.tag, answer.error);
        self.0.insert(name, Some(Remainder { rows, others: others.into(), tag, error }));
    }

    /// The answer to an Execute of a portal whose rows were kept; `None` if they were not.
    pub(crate) fn fetch(&mut self, limit: &RowLimit) -> Option<Answer> {
        let kept = self.0.get_mut(&limit.portal)?.as_mut()?;
        let most = usize::try_from(limit.rows).ok().filter(|most| *most > 0);
        let count = kept.rows.len().min(most.unwrap_or(usize::MAX));
        let mut answer = Answer {
            messages: std::mem::take(&mut kept.others),
            suspended: most == Some(count),
            ..Answer::default()
        };
        answer.messages.extend(kept.rows.drain(..count));
        if !answer.suspended {
            (answer.tag, answer.error) = (kept.tag.take(), kept.error.take());
        }
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn limit(rows: i32) -> RowLimit {
        RowLimit { portal: "p".into(), rows }
    }

    #[test]
    fn kept_rows_are_returned_in_parts_and_end_with_the_end_of_the_portal() {
        let row = |value: &str| wire::data_row(&[Some(value.as_bytes())]);
        let answer = |error| Answer {
            messages: vec![row("1"), row("2"), row("3")],
            tag: Some("SELECT 3".into()),
            error,
            ..Answer::default()
        };
        let error = DbError::new("22012", "division by zero");
        for error in [None, Some(error)] {
            let mut portals = OpenPortals::default();
            portals.insert("p".into());
            assert!(portals.are_in_postgresql() && portals.fetch(&limit(1)).is_none());
            portals.keep("p".into(), answer(error.clone()));
            assert!(!portals.are_in_postgresql());
            let part = portals.fetch(&limit(2)).unwrap();
            assert_eq!((part.messages, part.suspended), (vec![row("1"), row("2")], true));
            assert_eq!((part.tag, part.error), (None, None));
            // A client that got as many rows as it asked for does not know whether there are more.
            let part = portals.fetch(&limit(1)).unwrap();
            assert_eq!((part.messages, part.suspended), (vec![row("3")], true));
            let end = portals.fetch(&limit(1)).unwrap();
            assert_eq!((end.messages, end.suspended, end.error), (vec![], false, error));
            portals.remove("p");
            assert!(portals.fetch(&limit(0)).is_none());
        }
    }
}

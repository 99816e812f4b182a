//! Edits of a statement that change some tokens and keep the rest.

use super::{Statement, Token};

/// Changes to one text, which are collected and then applied together.
#[derive(Debug, Default)]
pub(crate) struct Edit {
    /// Start, end, replacement.
    changes: Vec<(usize, usize, String)>,
}

impl Edit {
    /// Replaces the tokens from `first` to `last` by `text`.
    pub(crate) fn replace(&mut self, first: &Token, last: &Token, text: impl Into<String>) {
        self.changes.push((first.start, last.end, text.into()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changed text.
    pub(crate) fn apply(mut self, statement: &Statement) -> String {
        self.changes.sort_by_key(|(start, ..)| *start);
        let mut text = String::with_capacity(statement.text.len());
        let mut done = 0;
        for (start, end, replacement) in self.changes {
            text.push_str(&statement.text[done..start]);
            text.push_str(&replacement);
            done = end;
        }
        text.push_str(&statement.text[done..]);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::split;

    #[test]
    fn changes_are_applied_in_the_order_of_their_positions() {
        let statement = split("SELECT a FROM t FOR UPDATE").remove(0);
        let tokens = &statement.tokens;
        let mut edit = Edit::default();
        edit.replace(&tokens[4], &tokens[5], "");
        edit.replace(&tokens[1], &tokens[1], "a, b");
        assert_eq!(edit.apply(&statement), "SELECT a, b FROM t ");
        assert_eq!(Edit::default().apply(&statement), statement.text);
    }
}

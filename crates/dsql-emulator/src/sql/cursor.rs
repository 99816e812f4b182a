//! A cursor over the tokens of a statement; quoting of identifiers and literals.

use super::{Kind, Token};

/// A position between two tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(tokens: &'a [Token]) -> Self {
        Self { tokens, at: 0 }
    }

    /// The index of the next token.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    pub(crate) fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek()?;
        self.at += 1;
        Some(token)
    }

    /// Skips one token unless `passed` is true.
    pub(crate) fn next_if_not(&mut self, passed: bool) {
        if !passed {
            self.next();
        }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Whether the next tokens are these keywords.
    pub(crate) fn starts_with(&self, words: &str) -> bool {
        self.clone().skip(words)
    }

    /// Skips these keywords and returns true, if they come next.
    pub(crate) fn skip(&mut self, words: &str) -> bool {
        let mut ahead = *self;
        for word in words.split(' ') {
            if !ahead.next().is_some_and(|token| token.is(word)) {
                return false;
            }
        }
        *self = ahead;
        true
    }

    pub(crate) fn skip_mark(&mut self, mark: char) -> bool {
        let found = self.peek().is_some_and(|token| token.is_mark(mark));
        self.at += usize::from(found);
        found
    }

    /// Skips a name such as `a.b`; returns its parts.
    pub(crate) fn name(&mut self) -> Option<Vec<&'a str>> {
        let mut parts = vec![self.next()?.word()?];
        while self.skip_mark('.') {
            parts.push(self.next()?.word()?);
        }
        Some(parts)
    }

    /// Skips a group in parentheses, if one comes next; returns the tokens between them.
    pub(crate) fn parenthesised(&mut self) -> Option<&'a [Token]> {
        if !self.skip_mark('(') {
            return None;
        }
        let start = self.at;
        let mut depth = 1;
        while let Some(token) = self.next() {
            match token.kind {
                Kind::Mark('(') => depth += 1,
                Kind::Mark(')') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Some(&self.tokens[start..self.at - 1]);
            }
        }
        Some(&self.tokens[start..])
    }

    /// The remaining tokens.
    pub(crate) fn rest(&self) -> &'a [Token] {
        &self.tokens[self.at.min(self.tokens.len())..]
    }

    /// The remaining tokens, split at the commas outside of parentheses.
    pub(crate) fn items(&self) -> Vec<&'a [Token]> {
        let mut items = Vec::new();
        let mut ahead = *self;
        let mut start = ahead.at;
        while let Some(token) = ahead.peek() {
            if token.is_mark('(') {
                ahead.parenthesised();
            } else {
                if token.is_mark(',') {
                    items.push(&self.tokens[start..ahead.at]);
                    start = ahead.at + 1;
                }
                ahead.at += 1;
            }
        }
        if start < self.tokens.len() {
            items.push(&self.tokens[start..]);
        }
        items
    }

    /// Whether these keywords occur in sequence ahead, outside of parentheses.
    pub(crate) fn contains(&self, words: &str) -> bool {
        self.find(words).is_some()
    }

    /// A cursor before the next occurrence of these keywords in sequence, outside of parentheses.
    pub(crate) fn find(&self, words: &str) -> Option<Self> {
        let mut ahead = *self;
        while !ahead.is_at_end() {
            if ahead.starts_with(words) {
                return Some(ahead);
            }
            if ahead.parenthesised().is_none() {
                ahead.at += 1;
            }
        }
        None
    }
}

/// `name` as an identifier in SQL.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `text` as a literal in SQL, in ASCII: it does not depend on `standard_conforming_strings` and
/// `client_encoding`.
pub(crate) fn literal(text: &str) -> String {
    if text.is_ascii() && !text.contains('\\') {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let mut literal = String::with_capacity(text.len() + 8);
    literal.push_str("E'");
    for c in text.chars() {
        match c {
            '\\' => literal.push_str("\\\\"),
            '\'' => literal.push_str("''"),
            c if c.is_ascii() => literal.push(c),
            c => literal.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    literal.push('\'');
    literal
}

/// The text in a value of type `bytea` in its output format, by which texts are transferred from a
/// session whose client has another encoding than UTF-8. `None` if the value is malformed.
pub(crate) fn text_of_bytea(printed: &str) -> Option<String> {
    let digits = printed.strip_prefix("\\x")?.as_bytes();
    if digits.len() % 2 != 0 {
        return None;
    }
    let bytes: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    String::from_utf8(bytes?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::split;

    #[test]
    fn keywords_are_skipped_together_or_not_at_all() {
        let statement = split("CREATE UNIQUE INDEX i").remove(0);
        let mut cursor = Cursor::new(&statement.tokens);
        assert!(!cursor.skip("CREATE INDEX"));
        assert!(cursor.skip("CREATE UNIQUE INDEX"));
        assert_eq!(cursor.name(), Some(vec!["i"]));
        assert!(cursor.is_at_end());
    }

    #[test]
    fn items_are_split_at_the_outer_commas() {
        let statement = split("a int, b numeric(1, 2), c text").remove(0);
        let lengths: Vec<usize> =
            Cursor::new(&statement.tokens).items().iter().map(|item| item.len()).collect();
        assert_eq!(lengths, [2, 7, 2]);
    }

    #[test]
    fn words_are_found_outside_of_parentheses_only() {
        let statement = split("x (CACHE 1) y CACHE 2").remove(0);
        let found = Cursor::new(&statement.tokens).find("CACHE").unwrap();
        assert_eq!(found.at(), 6);
    }

    #[test]
    fn literals_and_identifiers_are_quoted() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
        assert_eq!(literal("é' 𝄞"), "E'\\U000000e9'' \\U0001d11e'");
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
    }

    #[test]
    fn texts_are_read_from_bytes() {
        assert_eq!(text_of_bytea("\\x61e282ac").as_deref(), Some("a€"));
        assert_eq!(text_of_bytea("\\x").as_deref(), Some(""));
        for wrong in ["", "61", "\\x6", "\\xzz", "\\xff", "\\xé1"] {
            assert_eq!(text_of_bytea(wrong), None, "{wrong}");
        }
    }
}

//! Splits a schema file into statements, and removes ASYNC from statements for PostgreSQL.
//!
//! Both use the tokens of AWS's lexer: semicolons in strings, comments and `$$` bodies do not separate
//! statements, and keywords inside identifiers are ignored. Upstream's splitter works on text and
//! fails on identifiers such as `end_time` (temporal-persistence.md#statement-splitter). The source
//! text is executed and printed as it is written.

use std::ops::Range;

use sqlparser::{
    dialect::PostgreSqlDialect,
    keywords::Keyword,
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer},
};

/// Splits `text` at the semicolons between statements. The statements have no semicolon and no
/// comments around them; empty statements are omitted.
///
/// # Errors
/// An unclosed quote, comment or parenthesis, with its position.
pub(crate) fn split(text: &str) -> Result<Vec<&str>, String> {
    let mut statements = Vec::new();
    let mut open: Vec<Location> = Vec::new();
    // From the first to the last significant token of the current statement.
    let mut extent: Option<Range<usize>> = None;
    for Lexeme { token, bytes, at } in lex(text)? {
        match token {
            Token::Whitespace(_) => continue,
            Token::SemiColon if open.is_empty() => {
                statements.extend(extent.take().map(|bytes| &text[bytes]));
                continue;
            }
            Token::LParen => open.push(at),
            Token::RParen if open.pop().is_none() => {
                return Err(format!("unmatched `)` at {}", position(at)));
            }
            _ => {}
        }
        let start = extent.map_or(bytes.start, |extent| extent.start);
        extent = Some(start..bytes.end);
    }
    if let Some(at) = open.pop() {
        return Err(format!("unmatched `(` at {}", position(at)));
    }
    statements.extend(extent.map(|bytes| &text[bytes]));
    Ok(statements)
}

/// `statement` without ASYNC after CREATE [UNIQUE] INDEX, for PostgreSQL.
///
/// # Errors
/// The text cannot be split into tokens; see [`split`].
pub(crate) fn without_async(statement: &str) -> Result<String, String> {
    let lexemes = lex(statement)?;
    let mut words = lexemes.iter().filter(|lexeme| !matches!(lexeme.token, Token::Whitespace(_)));
    let index = words.by_ref().take(3).find(|lexeme| is(&lexeme.token, Keyword::INDEX));
    match (index, words.next()) {
        (Some(_), Some(word)) if is(&word.token, Keyword::ASYNC) => {
            let rest = statement[word.bytes.end..].trim_start();
            Ok(format!("{}{rest}", &statement[..word.bytes.start]))
        }
        _ => Ok(statement.to_owned()),
    }
}

fn is(token: &Token, keyword: Keyword) -> bool {
    // A quoted word is an identifier.
    matches!(token, Token::Word(word) if word.keyword == keyword && word.quote_style.is_none())
}

struct Lexeme {
    token: Token,
    bytes: Range<usize>,
    at: Location,
}

fn lex(text: &str) -> Result<Vec<Lexeme>, String> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text)
        .tokenize_with_location()
        .map_err(|error| format!("{} at {}", error.message, position(error.location)))?;
    let mut cursor = Cursor::new(text);
    let lexeme = |token: TokenWithSpan| {
        let at = token.span.start;
        let start = cursor.byte(at);
        Lexeme { bytes: start..cursor.byte(token.span.end), token: token.token, at }
    };
    Ok(tokens.into_iter().map(lexeme).collect())
}

fn position(at: Location) -> String {
    format!("line {}, column {}", at.line, at.column)
}

/// Converts the ascending lines and columns of the lexer into byte offsets.
struct Cursor<'t> {
    rest: std::str::Chars<'t>,
    line: u64,
    column: u64,
    length: usize,
}

impl<'t> Cursor<'t> {
    fn new(text: &'t str) -> Self {
        Self { rest: text.chars(), line: 1, column: 1, length: text.len() }
    }

    fn byte(&mut self, at: Location) -> usize {
        while (self.line, self.column) < (at.line, at.column) {
            match self.rest.next() {
                Some('\n') => (self.line, self.column) = (self.line + 1, 1),
                Some(_) => self.column += 1,
                None => break,
            }
        }
        self.length - self.rest.as_str().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_cut_at_the_semicolons_between_statements() {
        let text = "CREATE TABLE a (x INT);\n\nCREATE TABLE b (\n  y INT\n)\n;;\nDROP TABLE c";
        assert_eq!(
            split(text).unwrap(),
            ["CREATE TABLE a (x INT)", "CREATE TABLE b (\n  y INT\n)", "DROP TABLE c"]
        );
        assert!(split("").unwrap().is_empty());
        assert!(split(" ; -- nothing;\n ; /* ; */").unwrap().is_empty());
    }

    #[test]
    fn semicolons_in_quotes_comments_and_dollar_bodies_separate_nothing() {
        for statement in [
            "INSERT INTO a VALUES (';', 'it''s; here')",
            "INSERT INTO a VALUES (E'it\\'s; here')",
            "CREATE TABLE \"a;b\" (x INT)",
            "CREATE TABLE a (x INT, -- one; two\n y INT)",
            "CREATE TABLE a (x INT, /* one; /* nested; */ two; */ y INT)",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1; $$",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $body$ SELECT $$;$$; $body$",
        ] {
            let text = format!("{statement};\nDROP TABLE z;");
            assert_eq!(split(&text).unwrap(), [statement, "DROP TABLE z"]);
        }
    }

    #[test]
    fn comments_around_a_statement_are_left_out() {
        let text = "-- Why; it is here.\nCREATE TABLE a (x INT); -- done\n/* the end */";
        assert_eq!(split(text).unwrap(), ["CREATE TABLE a (x INT)"]);
    }

    #[test]
    fn keywords_inside_identifiers_are_not_blocks() {
        // Upstream's splitter counts BEGIN, END and IF in identifiers
        // (temporal-persistence.md#statement-splitter).
        for statement in [
            "CREATE TABLE a (end_time TIMESTAMP, begin_ts TIMESTAMP, if_match TEXT)",
            "CREATE TABLE IF NOT EXISTS a (x INT)",
            "DROP INDEX IF EXISTS b",
        ] {
            assert_eq!(split(statement).unwrap(), [statement]);
        }
    }

    #[test]
    fn text_outside_ascii_and_windows_line_ends_keep_their_places() {
        let text = "-- é转🦀\r\nINSERT INTO a VALUES ('é转🦀;');\r\nDROP TABLE \"ü\";\r\n";
        assert_eq!(split(text).unwrap(), ["INSERT INTO a VALUES ('é转🦀;')", "DROP TABLE \"ü\""]);
    }

    #[test]
    fn an_unclosed_token_is_reported_with_its_position() {
        for (text, expected) in [
            ("CREATE TABLE a (x INT;\nDROP TABLE b;", "unmatched `(` at line 1, column 16"),
            ("DROP TABLE a;\nDROP TABLE b);", "unmatched `)` at line 2, column 13"),
            ("INSERT INTO a VALUES ('x);", "Unterminated string literal at line 1, column 23"),
            ("CREATE TABLE \"a (x INT);", "line 1, column 14"),
            ("DROP TABLE a; /* open", "multi-line comment"),
            ("SELECT $$ open", "line 1"),
        ] {
            let error = split(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn postgresql_gets_an_index_without_the_word_async_and_all_else_as_it_is() {
        for (statement, expected) in [
            ("CREATE INDEX ASYNC i ON async (a)", "CREATE INDEX i ON async (a)"),
            (
                "CREATE UNIQUE INDEX /* ASYNC */ async\n i ON t (a)",
                "CREATE UNIQUE INDEX /* ASYNC */ i ON t (a)",
            ),
            ("CREATE INDEX \"async\" ON t (a)", "CREATE INDEX \"async\" ON t (a)"),
            ("CREATE INDEX i ON t (async)", "CREATE INDEX i ON t (async)"),
            ("CREATE TABLE index (async INT)", "CREATE TABLE index (async INT)"),
            ("INSERT INTO t VALUES ('INDEX ASYNC')", "INSERT INTO t VALUES ('INDEX ASYNC')"),
        ] {
            assert_eq!(without_async(statement).unwrap(), expected);
        }
    }
}

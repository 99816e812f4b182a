//! Splits a text into statements and tokens with their positions.

use sqlparser::{
    dialect::PostgreSqlDialect,
    tokenizer::{Location, Token as RawToken, Tokenizer},
};

/// A token and its position in the text, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// The kind of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A keyword or an identifier, in lower case unless it is quoted.
    Word {
        text: String,
        /// Whether it is a name and no keyword: it is quoted, stands behind a dot, or is a label or
        /// alias behind AS in a query.
        name: bool,
    },
    Number(String),
    /// A string literal of any kind.
    Text(String),
    /// `$1`
    Parameter,
    /// A mark that structures the statement: `( ) [ ] , ; . * =`
    Mark(char),
    /// Any other operator.
    Operator(String),
}

impl Token {
    /// Whether this is the keyword `word`, which is given in upper case.
    pub(crate) fn is(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word { text, name: false } if text.eq_ignore_ascii_case(word))
    }

    pub(crate) fn is_mark(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }

    pub(crate) fn is_operator(&self, operator: &str) -> bool {
        matches!(&self.kind, Kind::Operator(text) if text == operator)
    }

    /// The text of a keyword or identifier.
    pub(crate) fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// One statement of a text, without its semicolon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    /// Its text, from its first token to its last.
    pub(crate) text: String,
    /// Its tokens, with positions in `text`. Empty if the text cannot be tokenised.
    pub(crate) tokens: Vec<Token>,
    /// The number of characters before it in the whole text.
    pub(crate) offset: usize,
}

impl Statement {
    /// The statement that consists of these of its tokens; `None` without tokens.
    pub(crate) fn part(&self, tokens: &[Token]) -> Option<Self> {
        let (start, end) = (tokens.first()?.start, tokens.last()?.end);
        let moved = |token: &Token| Token {
            kind: token.kind.clone(),
            start: token.start - start,
            end: token.end - start,
        };
        Some(Self {
            text: self.text[start..end].to_owned(),
            tokens: tokens.iter().map(moved).collect(),
            offset: self.offset + self.text[..start].chars().count(),
        })
    }
}

/// The statements of `text`. A text that cannot be tokenised is one statement without tokens, for
/// which PostgreSQL reports the error.
pub(crate) fn split(text: &str) -> Vec<Statement> {
    let Some(tokens) = tokens(text) else {
        return vec![Statement { text: text.to_owned(), tokens: Vec::new(), offset: 0 }];
    };
    let mut statements: Vec<Statement> = Vec::new();
    let mut current: Vec<Token> = Vec::new();
    let mut body = FunctionBody::default();
    // The position up to which the text is counted: in bytes, in characters.
    let mut counted = (0, 0);
    let mut statement = |text, tokens| statement(text, tokens, &mut counted);
    for token in tokens {
        if token.is_mark(';') && !body.is_open() {
            statements.extend(statement(text, std::mem::take(&mut current)));
            body = FunctionBody::default();
        } else {
            body.see(&token, current.is_empty());
            current.push(token);
        }
    }
    statements.extend(statement(text, current));
    statements
}

/// Tracks whether a semicolon is inside `BEGIN ATOMIC … END`, the body of a SQL function.
#[derive(Debug, Default)]
struct FunctionBody {
    creates: bool,
    after_begin: bool,
    depth: u32,
}

impl FunctionBody {
    fn is_open(&self) -> bool {
        self.depth > 0
    }

    fn see(&mut self, token: &Token, first: bool) {
        if first {
            self.creates = token.is("CREATE");
        }
        if !self.creates {
            return;
        }
        if self.depth == 0 {
            self.depth = u32::from(self.after_begin && token.is("ATOMIC"));
        } else if token.is("CASE") {
            self.depth += 1;
        } else if token.is("END") {
            self.depth -= 1;
        }
        self.after_begin = token.is("BEGIN");
    }
}

fn statement(
    text: &str,
    mut tokens: Vec<Token>,
    counted: &mut (usize, usize),
) -> Option<Statement> {
    let (start, end) = (tokens.first()?.start, tokens.last()?.end);
    for token in &mut tokens {
        token.start -= start;
        token.end -= start;
    }
    mark_names(&mut tokens);
    let offset = counted.1 + text[counted.0..start].chars().count();
    *counted = (start, offset);
    Some(Statement { text: text[start..end].to_owned(), tokens, offset })
}

/// Marks the words that are names by their place.
fn mark_names(tokens: &mut [Token]) {
    let query = query_start(tokens);
    for at in 1..tokens.len() {
        let before = &tokens[at - 1];
        let label = at > query && before.is("AS") && !begins_common_query(&tokens[at..]);
        if (label || before.is_mark('.'))
            && let Kind::Word { name, .. } = &mut tokens[at].kind
        {
            *name = true;
        }
    }
}

/// The position from which the tokens of a statement belong to queries.
fn query_start(tokens: &[Token]) -> usize {
    const QUERIES: [&str; 10] = [
        "SELECT", "WITH", "VALUES", "TABLE", "INSERT", "UPDATE", "DELETE", "MERGE", "EXPLAIN",
        "COPY",
    ];
    const VIEW_OPTIONS: [&str; 8] =
        ["CREATE", "OR", "REPLACE", "GLOBAL", "LOCAL", "TEMP", "TEMPORARY", "RECURSIVE"];
    let never = tokens.len();
    match tokens.first() {
        Some(first) if first.is_mark('(') || QUERIES.iter().any(|word| first.is(word)) => 0,
        Some(first) if first.is("CREATE") => {
            let body = |words: &[Token]| words[0].is("BEGIN") && words[1].is("ATOMIC");
            let behind = |position: Option<usize>| position.map_or(never, |at| at + 1);
            match tokens.iter().find(|token| !VIEW_OPTIONS.iter().any(|word| token.is(word))) {
                Some(object) if object.is("VIEW") => {
                    behind(tokens.iter().position(|token| token.is("AS")))
                }
                _ => behind(tokens.windows(2).position(body)),
            }
        }
        _ => never,
    }
}

/// Whether the tokens behind AS begin the query of a WITH clause.
fn begins_common_query(tokens: &[Token]) -> bool {
    match tokens {
        [word, open, ..] if word.is("MATERIALIZED") => open.is_mark('('),
        [word, materialized, ..] => word.is("NOT") && materialized.is("MATERIALIZED"),
        _ => false,
    }
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let raw = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().ok()?;
    let mut offset = ByteOffset::new(text);
    let mut tokens = Vec::with_capacity(raw.len());
    for token in raw {
        if matches!(token.token, RawToken::Whitespace(_) | RawToken::EOF) {
            continue;
        }
        let (start, end) = (offset.advance(token.span.start), offset.advance(token.span.end));
        tokens.push(Token { kind: kind(token.token), start, end });
    }
    Some(tokens)
}

/// Converts line and column, which the tokeniser counts in characters, into an offset in bytes.
struct ByteOffset<'a> {
    rest: std::str::Chars<'a>,
    whole: usize,
    line: u64,
    column: u64,
}

impl<'a> ByteOffset<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text.chars(), whole: text.len(), line: 1, column: 1 }
    }

    /// Advances to `location` and returns its offset.
    fn advance(&mut self, location: Location) -> usize {
        while (self.line, self.column) < (location.line, location.column) {
            match self.rest.next() {
                Some('\n') => (self.line, self.column) = (self.line + 1, 1),
                Some(_) => self.column += 1,
                None => break,
            }
        }
        self.whole - self.rest.as_str().len()
    }
}

fn kind(token: RawToken) -> Kind {
    match token {
        RawToken::Word(word) if word.quote_style.is_some() => {
            Kind::Word { text: word.value, name: true }
        }
        RawToken::Word(word) => Kind::Word { text: word.value.to_lowercase(), name: false },
        RawToken::Number(number, _) => Kind::Number(number),
        RawToken::SingleQuotedString(text)
        | RawToken::EscapedStringLiteral(text)
        | RawToken::NationalStringLiteral(text)
        | RawToken::UnicodeStringLiteral(text) => Kind::Text(text),
        RawToken::DollarQuotedString(text) => Kind::Text(text.value),
        RawToken::Placeholder(_) => Kind::Parameter,
        RawToken::LParen => Kind::Mark('('),
        RawToken::RParen => Kind::Mark(')'),
        RawToken::LBracket => Kind::Mark('['),
        RawToken::RBracket => Kind::Mark(']'),
        RawToken::Comma => Kind::Mark(','),
        RawToken::SemiColon => Kind::Mark(';'),
        RawToken::Period => Kind::Mark('.'),
        RawToken::Mul => Kind::Mark('*'),
        RawToken::Eq => Kind::Mark('='),
        other => Kind::Operator(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<String> {
        split(sql).into_iter().map(|statement| statement.text).collect()
    }

    #[test]
    fn statements_end_at_semicolons_outside_of_strings_and_comments() {
        assert_eq!(
            texts("SELECT 1; SELECT ';' -- ;\n; /* ; */ SELECT $$;$$"),
            ["SELECT 1", "SELECT ';'", "SELECT $$;$$"]
        );
        assert!(texts(" ; ;; -- nothing").is_empty());
    }

    #[test]
    fn the_body_of_a_sql_function_is_one_statement() {
        let function = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 \
                        END; SELECT 2; END";
        assert_eq!(texts(&format!("{function}; SELECT 3")), [function, "SELECT 3"]);
        assert_eq!(texts("BEGIN; COMMIT"), ["BEGIN", "COMMIT"]);
    }

    #[test]
    fn token_positions_are_right_in_any_script() {
        let sql = "SELECT 'žluť 🐎',\n  \"Größe\", x FROM tab";
        let [statement] = &split(sql)[..] else { panic!("one statement") };
        let texts: Vec<&str> =
            statement.tokens.iter().map(|token| &statement.text[token.start..token.end]).collect();
        assert_eq!(texts, ["SELECT", "'žluť 🐎'", ",", "\"Größe\"", ",", "x", "FROM", "tab"]);
    }

    #[test]
    fn a_part_of_a_statement_is_a_statement_with_its_own_positions() {
        let statement = split("SELECT 1; EXPLAIN 'é' SELECT  a").remove(1);
        let part = statement.part(&statement.tokens[2..]).unwrap();
        assert_eq!((&*part.text, part.offset), ("SELECT  a", 22));
        assert_eq!(&part.text[part.tokens[1].start..part.tokens[1].end], "a");
        assert_eq!(statement.part(&[]), None);
    }

    #[test]
    fn a_statement_has_its_offset_in_characters() {
        let statements = split("SELECT 'ž'; \n SELECT 2");
        assert_eq!(statements[1].offset, 14);
    }

    #[test]
    fn unquoted_words_are_folded_and_quoted_ones_are_not() {
        let [statement] = &split("Select \"Id\"")[..] else { panic!("one statement") };
        assert!(statement.tokens[0].is("SELECT"));
        assert_eq!(statement.tokens[1].word(), Some("Id"));
        assert!(!statement.tokens[1].is("ID"));
    }

    /// The words of a statement that are keywords by their place.
    fn keywords(sql: &str) -> Vec<String> {
        let statement = split(sql).remove(0);
        let is_keyword = |token: &&Token| matches!(token.kind, Kind::Word { name: false, .. });
        let words = statement.tokens.iter().filter(is_keyword);
        words.filter_map(|token| token.word().map(str::to_owned)).collect()
    }

    #[test]
    fn labels_aliases_and_qualified_words_are_names() {
        for (sql, expected) in [
            (
                "SELECT 1 AS into, t.for FROM x.lock AS t",
                &["select", "as", "t", "from", "x", "as"][..],
            ),
            (
                "WITH a AS MATERIALIZED (SELECT 1 AS materialized), b AS NOT MATERIALIZED (TABLE a) \
                 TABLE b",
                &[
                    "with",
                    "a",
                    "as",
                    "materialized",
                    "select",
                    "as",
                    "b",
                    "as",
                    "not",
                    "materialized",
                    "table",
                    "a",
                    "table",
                    "b",
                ],
            ),
            (
                "CREATE VIEW v AS SELECT 1 AS collate",
                &["create", "view", "v", "as", "select", "as"],
            ),
            ("CREATE TABLE t AS SELECT 1", &["create", "table", "t", "as", "select"]),
            ("CREATE TYPE t AS ENUM ()", &["create", "type", "t", "as", "enum"]),
            (
                "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 AS into; END",
                &[
                    "create", "function", "f", "returns", "int", "begin", "atomic", "select", "as",
                    "end",
                ],
            ),
        ] {
            assert_eq!(keywords(sql), expected, "{sql}");
        }
    }

    #[test]
    fn a_text_that_cannot_be_read_is_left_to_postgresql() {
        let statements = split("SELECT 'open");
        assert_eq!(statements.len(), 1);
        assert!(statements[0].tokens.is_empty());
    }
}

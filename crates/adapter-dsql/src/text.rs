//! SQL texts: statements of `.sql` files, with named parameters.
//!
//! A file holds any number of statements. A line `-- name: …` begins one, a `;` ends it:
//!
//! ```sql
//! -- name: SelectRangeId
//! SELECT range_id
//! FROM shards
//! WHERE shard_id = :shard_id;
//! ```
//!
//! The server gets `$1`, `$2` … in the place of the names, numbered in the order of their first
//! occurrence, without comments and without line breaks. The values come from
//! [`Arguments`](crate::arguments::Arguments), by name.

use std::sync::OnceLock;

/// The line that begins a statement starts with it.
const NAME: &str = "-- name: ";

/// One statement of a file.
#[derive(Debug)]
pub(crate) struct Text {
    /// The content of the file.
    file: &'static str,
    /// The statement's name in the file.
    name: &'static str,
    parsed: OnceLock<Parsed>,
}

#[derive(Debug, PartialEq, Eq)]
struct Parsed {
    sql: String,
    parameters: Vec<&'static str>,
}

impl Text {
    /// The statement `name` of a file with this content. The file is read when the statement is
    /// first used.
    pub(crate) const fn new(file: &'static str, name: &'static str) -> Self {
        Self { file, name, parsed: OnceLock::new() }
    }

    /// The SQL for the server.
    ///
    /// # Panics
    /// The file has no such statement, or it is malformed.
    pub(crate) fn sql(&'static self) -> &'static str {
        &self.parsed().sql
    }

    /// The names of the parameters: the first is `$1`.
    ///
    /// # Panics
    /// As [`sql`](Self::sql).
    pub(crate) fn parameters(&'static self) -> &'static [&'static str] {
        &self.parsed().parameters
    }

    /// The name of the statement in its file.
    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    fn parsed(&'static self) -> &'static Parsed {
        self.parsed.get_or_init(|| {
            let mut found = statements(self.file).filter(|(name, _)| *name == self.name);
            match (found.next(), found.next()) {
                (Some((name, text)), None) => parse(name, text),
                (None, _) => panic!("the file has no statement {}", self.name()),
                (Some(_), Some(_)) => panic!("the file has two statements {}", self.name()),
            }
        })
    }

    /// The content of the file.
    #[cfg(test)]
    pub(crate) const fn file(&self) -> &'static str {
        self.file
    }

    /// The names of all statements of the file.
    #[cfg(test)]
    pub(crate) fn names_in_file(&self) -> impl Iterator<Item = &'static str> {
        statements(self.file).map(|(name, _)| name)
    }
}

/// The statements of a file: their names and their unparsed texts.
fn statements(file: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut rest = file.find(NAME).map(|at| &file[at + NAME.len()..]);
    std::iter::from_fn(move || {
        let statement = rest?;
        let end = statement.find(NAME);
        rest = end.map(|end| &statement[end + NAME.len()..]);
        let (name, text) = statement[..end.unwrap_or(statement.len())].split_once('\n')?;
        Some((name.trim(), text))
    })
}

/// Parses a statement. String literals and quoted names are copied unchanged; `E''` literals, dollar
/// quotes and comments in `/* */` are not supported.
fn parse(name: &str, text: &'static str) -> Parsed {
    let mut sql = String::with_capacity(text.len());
    let mut parameters: Vec<&'static str> = Vec::new();
    let mut is_space_due = false;
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| {
            is_space_due |= c.is_whitespace();
            c.is_whitespace()
        });
        if rest.starts_with("--") {
            is_space_due = true;
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
            continue;
        }
        let first = rest.chars().next().unwrap_or_else(|| panic!("{name}: no `;` at the end"));
        if first == ';' {
            break;
        }
        if is_space_due && !sql.is_empty() && !sql.ends_with('(') && first != ')' {
            sql.push(' ');
        }
        is_space_due = false;
        let token = match first {
            '\'' | '"' => {
                let end =
                    rest[1..].find(first).unwrap_or_else(|| panic!("{name}: no end of {rest}"));
                &rest[..end + 2]
            }
            ':' if rest.starts_with("::") => "::",
            ':' => {
                let parameter = word(&rest[1..]);
                assert!(!parameter.is_empty(), "{name}: `:` without a name");
                let number = parameters.iter().position(|known| *known == parameter);
                let number = number.unwrap_or_else(|| {
                    parameters.push(parameter);
                    parameters.len() - 1
                });
                sql.push('$');
                sql.push_str(&(number + 1).to_string());
                rest = &rest[1 + parameter.len()..];
                continue;
            }
            _ => match word(rest) {
                "" => &rest[..first.len_utf8()],
                word => word,
            },
        };
        sql.push_str(token);
        rest = &rest[token.len()..];
    }
    let behind =
        rest[1..].lines().map(str::trim).find(|line| !(line.is_empty() || line.starts_with("--")));
    assert_eq!(behind, None, "{name}: text after `;`");
    Parsed { sql, parameters }
}

/// The letters, digits and underscores that `text` begins with.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
        -- What this file is about: not a statement.\n\
        \n\
        -- name: One\n\
        -- Comments may name :nobody; and have a semicolon.\n\
        SELECT a::text, b ::int[], c -- the third\n\
        FROM t\n\
        WHERE a = :second_one AND b=ANY(:first::int[]) AND c <> ':no' AND d = (\n\
        \x20 SELECT max(d) FROM \"x:y\" WHERE a = :second_one AND e = 'it''s -- :none;'\n\
        );\n\
        \n\
        -- name: Two\n\
        SELECT 1;\n\
        -- The end.\n";

    static ONE: Text = Text::new(FILE, "One");
    static TWO: Text = Text::new(FILE, "Two");

    #[test]
    fn names_are_numbered_by_their_first_occurrence_and_nothing_else_is() {
        assert_eq!(
            ONE.sql(),
            "SELECT a::text, b ::int[], c FROM t WHERE a = $1 AND b=ANY($2::int[]) AND c <> ':no' \
             AND d = (SELECT max(d) FROM \"x:y\" WHERE a = $1 AND e = 'it''s -- :none;')"
        );
        assert_eq!(ONE.parameters(), ["second_one", "first"]);
        assert_eq!((TWO.sql(), TWO.parameters().len()), ("SELECT 1", 0));
        assert_eq!(ONE.names_in_file().collect::<Vec<_>>(), ["One", "Two"]);
    }

    fn message(text: &'static str) -> String {
        let panic = std::panic::catch_unwind(|| parse("Name", text)).unwrap_err();
        panic.downcast::<String>().map_or_else(|_| String::new(), |text| *text)
    }

    #[test]
    fn a_malformed_statement_is_refused_with_its_name() {
        for (text, reason) in [
            ("SELECT 1", "no `;`"),
            ("SELECT 1; SELECT 2;", "after `;`"),
            ("SELECT : a;", "without a name"),
            ("SELECT 'a;", "no end of 'a;"),
        ] {
            let message = message(text);
            assert!(message.contains("Name") && message.contains(reason), "{text}: {message}");
        }
    }

    #[test]
    #[should_panic(expected = "no statement Three")]
    fn a_name_that_the_file_lacks_is_refused() {
        static THREE: Text = Text::new(FILE, "Three");
        THREE.sql();
    }

    #[test]
    #[should_panic(expected = "two statements Twice")]
    fn a_name_that_the_file_has_twice_is_refused() {
        static TWICE: Text =
            Text::new("-- name: Twice\nSELECT 1;\n-- name: Twice\nSELECT 2;", "Twice");
        TWICE.sql();
    }
}

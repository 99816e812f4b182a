//! The parts of a column definition, and the rules that CREATE TABLE and ADD COLUMN share
//! (aurora-dsql.md#tables). Types are checked in the database, where they are resolved.

use super::{
    Check, Context, Plan,
    refusals::{self, Place},
    sequence,
};
use crate::sql::{Cursor, Edit, Statement, Token};

/// PostgreSQL has `STORAGE` in a column definition since this version; DSQL has it.
const STORAGE_SINCE: u32 = 16;

/// A column definition, `name type [STORAGE x] options`.
pub(super) struct Column<'a> {
    data_type: &'a [Token],
    /// STORAGE and its value.
    storage: Option<[&'a Token; 2]>,
    /// Compression, collation and constraints.
    options: Cursor<'a>,
}

impl<'a> Column<'a> {
    /// Reads a definition, which begins with the name of the column.
    pub(super) fn read(definition: &'a [Token]) -> Self {
        let mut cursor = Cursor::new(definition);
        cursor.next();
        let first = cursor.at();
        skip_type(&mut cursor);
        let data_type = &definition[first..cursor.at()];
        let storage = match cursor.rest() {
            [word, value, ..] if cursor.skip("STORAGE") => {
                cursor.next();
                Some([word, value])
            }
            _ => None,
        };
        Self { data_type, storage, options: cursor }
    }

    /// Whether it has a constraint, a default, or is generated. NULL is not a constraint.
    pub(super) fn has_constraint(&self) -> bool {
        const CONSTRAINTS: [&str; 8] = [
            "CONSTRAINT",
            "NOT NULL",
            "DEFAULT",
            "CHECK",
            "UNIQUE",
            "PRIMARY",
            "REFERENCES",
            "GENERATED",
        ];
        CONSTRAINTS.iter().any(|words| self.options.contains(words))
    }

    /// Applies the rules; collects the changes of the text that PostgreSQL needs.
    pub(super) fn check(
        &self,
        statement: &Statement,
        context: &Context<'_>,
        edit: &mut Edit,
    ) -> Result<Option<Check>, Plan> {
        if let [name] = self.data_type {
            refusals::check_name(Place::ColumnType, name.word().unwrap_or_default())?;
        }
        refusals::check_ahead(Place::ColumnOption, self.options)?;
        check_deferrable(self.options)?;
        if let Some([word, value]) = self.storage
            && context.server_version < STORAGE_SINCE
        {
            edit.replace(word, value, "");
        }
        let Some(mut identity) = self.options.find("AS IDENTITY") else { return Ok(None) };
        identity.skip("AS IDENTITY");
        sequence::check_identity(identity)?;
        let ends = self.data_type.first().zip(self.data_type.last());
        Ok(ends.map(|(first, last)| Check::BigIdentity {
            column_type: statement.text[first.start..last.end].to_owned(),
        }))
    }
}

/// Skips a type: its name, of one or several words, with modifiers and array bounds.
fn skip_type(cursor: &mut Cursor<'_>) {
    const FIELDS: [&str; 6] = ["YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"];
    cursor.skip("NATIONAL");
    let is_interval = cursor.starts_with("INTERVAL");
    cursor.name();
    let _ = cursor.skip("PRECISION") || cursor.skip("VARYING");
    if is_interval {
        let mut field = || FIELDS.iter().any(|field| cursor.skip(field));
        field();
        if cursor.skip("TO") {
            FIELDS.iter().any(|field| cursor.skip(field));
        }
    }
    cursor.parenthesised();
    let _ = cursor.skip("WITH TIME ZONE") || cursor.skip("WITHOUT TIME ZONE");
    cursor.skip("ARRAY");
    while cursor.skip_mark('[') {
        while cursor.next().is_some_and(|token| !token.is_mark(']')) {}
    }
}

/// Unique and primary keys cannot be deferred (aurora-dsql.md#refused-statements) [S SUITES];
/// foreign keys can. `constraints` are those of a column, or one of a table.
pub(super) fn check_deferrable(mut constraints: Cursor<'_>) -> Result<(), Plan> {
    let mut of_key = false;
    while let Some(token) = constraints.peek() {
        if token.is("UNIQUE") || token.is("PRIMARY") {
            of_key = true;
        } else if ["REFERENCES", "FOREIGN", "CHECK"].iter().any(|word| token.is(word)) {
            of_key = false;
        } else if constraints.skip("NOT DEFERRABLE") {
            continue;
        } else if of_key
            && (token.is("DEFERRABLE") || constraints.starts_with("INITIALLY DEFERRED"))
        {
            return Err(Plan::unsupported("DEFERRABLE constraint not supported"));
        }
        if constraints.parenthesised().is_none() {
            constraints.next();
        }
    }
    Ok(())
}

//! The statements of a schema.
//!
//! A migration step can be resumed only if the catalog shows whether it is in effect. So a schema may
//! contain only the kinds of statement whose effect the catalog shows ([`Change`]).

use std::fmt;

use temporal_dsql_domain::{Engine, SchemaVersion};

use crate::objects::Dependent;

use super::{change::Change, parse, split::without_async};

/// The place of a statement in the schema files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The version.
    pub version: SchemaVersion,
    /// The name of the file.
    pub file: String,
    /// Its number in the file, from 1.
    pub number: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}, {}, statement {}", self.version, self.file, self.number)
    }
}

/// A statement, executed in its own transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its effect.
    pub change: Change,
    /// Its place in the schema files; `None` for a generated statement.
    pub origin: Option<Origin>,
    text: String,
}

impl Statement {
    /// Parses one statement of a schema file.
    ///
    /// # Errors
    /// The reason why the statement is not supported.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (change, text) = parse::statement(text)?;
        Ok(Self { change, origin: None, text })
    }

    /// Whether it has IF NOT EXISTS: the server then answers success for any relation of that name.
    pub(crate) fn is_conditional(&self) -> bool {
        self.text.split('(').next().is_some_and(|head| head.contains(" IF NOT EXISTS "))
    }

    pub(super) fn at(self, origin: Origin) -> Self {
        Self { origin: Some(origin), ..self }
    }

    /// `DROP TABLE` without CASCADE, so that foreign objects are not dropped.
    pub(crate) fn drop_table(name: &str) -> Self {
        Self {
            text: format!("DROP TABLE {}", quoted(name)),
            origin: None,
            change: Change::DropTable { name: name.to_owned() },
        }
    }

    /// The drop of a dependent object; `None` if this tool does not drop its kind.
    pub(crate) fn drop_dependent(dependent: &Dependent) -> Option<Self> {
        Some(Self {
            text: dependent.drop.clone()?,
            origin: None,
            change: Change::DropDependent(dependent.clone()),
        })
    }

    /// `DROP INDEX`.
    pub(crate) fn drop_index(name: &str) -> Self {
        Self {
            text: format!("DROP INDEX {}", quoted(name)),
            origin: None,
            change: Change::DropIndex { name: name.to_owned() },
        }
    }

    /// The SQL for `engine`: the source text, on PostgreSQL without ASYNC; a plain INSERT has ON
    /// CONFLICT DO NOTHING.
    pub fn text(&self, engine: Engine) -> String {
        match (engine, &self.change) {
            (Engine::Postgres, Change::CreateIndex { asynchronous: true, .. }) => {
                without_async(&self.text).unwrap_or_else(|_| self.text.clone())
            }
            _ => self.text.clone(),
        }
    }

    /// A short description of the effect.
    pub fn summary(&self) -> String {
        match &self.change {
            Change::CreateTable { name, .. } => format!("create table {name}"),
            Change::AddColumn { table, column } => format!("add column {table}.{}", column.name),
            Change::DropTable { name } => format!("drop table {name}"),
            Change::CreateIndex { name, .. } => format!("create index {name}"),
            Change::DropIndex { name } => format!("drop index {name}"),
            Change::DropDependent(dependent) => format!("drop {}", dependent.object),
            Change::Seed(seed) => format!("insert the initial row of {}", seed.table),
        }
    }
}

/// `name` as a quoted identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Objects;

    fn change(text: &str) -> Change {
        Statement::parse(text).expect(text).change
    }

    #[test]
    fn statements_must_fit_those_before_them() {
        let mut objects = Objects::default();
        let mut run = |text: &str| objects.apply(&change(text));
        run("CREATE TABLE t (a INT PRIMARY KEY, b INT)").unwrap();
        run("CREATE INDEX ASYNC i ON t (b)").unwrap();
        run("ALTER TABLE t ADD COLUMN c INT").unwrap();
        for (text, reason) in [
            ("CREATE TABLE t (a INT)", "the name t is taken"),
            ("CREATE TABLE i (a INT)", "the name i is taken"),
            ("CREATE INDEX ASYNC t ON t (a)", "the name t is taken"),
            ("CREATE INDEX ASYNC j ON u (a)", "no table u"),
            ("CREATE INDEX ASYNC j ON t (z)", "no column z"),
            ("ALTER TABLE t ADD COLUMN c INT", "has a column c already"),
            ("ALTER TABLE u ADD COLUMN c INT", "no table u"),
            ("DROP TABLE u", "no table u"),
            ("DROP INDEX j", "no index j"),
            ("INSERT INTO t (b) VALUES (1) ON CONFLICT DO NOTHING", "primary key of t"),
            ("INSERT INTO t (a, z) VALUES (1, 1) ON CONFLICT DO NOTHING", "no column z"),
        ] {
            let error = run(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
        run("DROP TABLE t").unwrap();
        assert_eq!(objects, Objects::default());
    }

    #[test]
    fn a_dropped_name_is_quoted_so_that_it_means_what_the_catalog_has() {
        let statement = Statement::drop_table("Odd\"name");
        assert_eq!(statement.text(Engine::Dsql), "DROP TABLE \"Odd\"\"name\"");
        assert_eq!(Statement::parse(&statement.text).unwrap(), statement);
    }
}

//! The statements of the store, as the server receives them; the peers run the same.

use std::iter::zip;

use anyhow::{Context, Result, ensure};
use temporal_dsql::{Attempt, Store, dsql::connect};

use super::operation::Operation;
use crate::{database::Database, rows};

/// The columns of a row in the order of the table, which are the arguments of the statements. The
/// key is the first three.
pub const ARGUMENTS: [&str; 11] = [
    "shard_id",
    "namespace_id",
    "workflow_id",
    "run_id",
    "create_request_id",
    "state",
    "status",
    "start_time",
    "last_write_version",
    "data",
    "data_encoding",
];

/// The text of each statement.
pub struct Statements {
    pub insert: String,
    pub select: String,
    pub update: String,
    pub begin: String,
    pub lock: String,
    pub commit: String,
}

impl Statements {
    /// Performs every operation once and reads its statement from the server.
    ///
    /// # Errors
    /// An operation fails, or a statement has other arguments than the peers bind.
    pub async fn capture(database: &Database) -> Result<Self> {
        const NAME: &str = "statements of the store";
        let seen = async || -> Result<String> {
            let sql = format!(
                "SELECT query FROM pg_stat_activity WHERE application_name = '{NAME}' \
                 AND datname = current_database()"
            );
            let mut found = database.scratch().query(&sql).await?;
            ensure!(found.len() == 1, "one connection was opened, the server has {}", found.len());
            found.remove(0).remove(0).context("a session has no statement")
        };
        let mut config = database.config(1);
        config.application_name = NAME.into();
        let store = connect(&config, None).await?;
        let row = rows::row(0);
        store.session().insert_into_current_executions(&row).await?;
        let insert = seen().await?;
        store.session().select_from_current_executions(&row.filter()).await?;
        let select = seen().await?;
        store.session().update_current_executions(&row).await?;
        let update = seen().await?;
        #[expect(
            clippy::disallowed_methods,
            reason = "reads the statements of a transaction one by one"
        )]
        let mut transaction = store.begin(Attempt::first("Capture")).await?;
        let begin = seen().await?;
        transaction.lock_current_executions(&row.filter()).await?;
        let lock = seen().await?;
        transaction.commit().await?;
        let commit = seen().await?;
        store.close();
        let statements = Self { insert, select, update, begin, lock, commit };
        statements.check()?;
        Ok(statements)
    }

    /// The statements of `operation` in order.
    pub fn of(&self, operation: Operation) -> Vec<&str> {
        match operation {
            Operation::Insert => vec![&self.insert],
            Operation::Select => vec![&self.select],
            Operation::Update => vec![&self.update],
            Operation::Lock => vec![&self.begin, &self.lock, &self.commit],
        }
    }

    fn check(&self) -> Result<()> {
        let whole_row = ARGUMENTS.len();
        let expected = [
            (&self.insert, "INSERT INTO current_executions ", whole_row),
            (&self.update, "UPDATE current_executions ", whole_row),
            (&self.select, "SELECT ", 3),
            (&self.lock, "SELECT ", 3),
            (&self.begin, "BEGIN", 0),
            (&self.commit, "COMMIT", 0),
        ];
        for (text, start, arguments) in expected {
            ensure!(text.starts_with(start), "`{text}` does not begin with `{start}`");
            let mut found = columns_of(text)?;
            found.sort_unstable();
            ensure!(
                found.iter().copied().eq(0..arguments),
                "`{text}` has not the first {arguments} columns as its arguments, each once"
            );
        }
        Ok(())
    }
}

/// The highest of `$1`, `$2`, …
fn arguments_of(text: &str) -> usize {
    (1..=99).rev().find(|number| text.contains(&format!("${number}"))).unwrap_or(0)
}

/// The index in [`ARGUMENTS`] of the column of each of `$1`, `$2`, …: the column that it is
/// assigned to or compared with; in a list of values, the column of its number.
///
/// # Errors
/// A column is not in [`ARGUMENTS`].
pub fn columns_of(text: &str) -> Result<Vec<usize>> {
    let column = |number: usize| {
        let of_value = number - 1;
        let name = text.match_indices(&format!(" = ${number}")).find_map(|(at, found)| {
            let is_whole =
                !text[at + found.len()..].starts_with(|next: char| next.is_ascii_digit());
            is_whole.then(|| text[..at].rsplit([' ', '\n']).next()).flatten()
        });
        let Some(name) = name else { return Ok(of_value) };
        let found = ARGUMENTS.iter().position(|argument| *argument == name);
        found.with_context(|| format!("`{text}` has an argument for `{name}`"))
    };
    (1..=arguments_of(text)).map(column).collect()
}

/// `text` with named arguments, as pgbench expects: the argument of `shard_id` is `:shard_id`.
///
/// # Errors
/// Those of [`columns_of`].
pub fn with_names(text: &str) -> Result<String> {
    // From the last, because $11 begins with $1.
    let columns = zip(1.., columns_of(text)?).collect::<Vec<_>>().into_iter().rev();
    Ok(columns.fold(text.to_owned(), |text, (number, column): (usize, _)| {
        let name = ARGUMENTS.get(column).copied().unwrap_or_default();
        text.replace(&format!("${number}"), &format!(":{name}"))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_named_from_the_last() {
        let named = with_names("($1, $11, $10)").unwrap();
        assert_eq!(named, "(:shard_id, :data_encoding, :data)");
        assert_eq!(arguments_of("($1, $11, $10)"), 11);
        assert_eq!(arguments_of("COMMIT"), 0);
    }

    #[test]
    fn an_argument_is_for_the_column_that_it_is_assigned_to_or_compared_with() {
        let text = "UPDATE current_executions SET\n  run_id = $1, data = $10\nWHERE shard_id = $2";
        let columns = columns_of(text).unwrap();
        assert_eq!(
            [columns[0], columns[1], columns[9]].map(|at| ARGUMENTS[at]),
            ["run_id", "shard_id", "data"]
        );
        let named = with_names("WHERE shard_id = $2 AND run_id = $1").unwrap();
        assert_eq!(named, "WHERE shard_id = :shard_id AND run_id = :run_id");
        let error = columns_of("WHERE archetype_id = $1").unwrap_err().to_string();
        assert!(error.contains("an argument for `archetype_id`"), "{error}");
    }
}

//! The statements of the store, as the server has seen them: what the peers run.

use std::iter::zip;

use anyhow::{Context, Result, ensure};
use temporal_dsql::{Attempt, Store, dsql::connect};

use super::{Operation, rows};
use crate::database::Database;

/// The arguments, in the order in which the store binds them: those of a whole row, of which a
/// key has the first few.
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
    /// Does everything once and looks at what arrives.
    ///
    /// # Errors
    /// The server refuses, or a statement has other arguments than the peers would bind.
    pub async fn capture(database: &Database) -> Result<Self> {
        const NAME: &str = "statements of the store";
        let seen = async || -> Result<String> {
            let sql = format!(
                "SELECT query FROM pg_stat_activity WHERE application_name = '{NAME}' \
                 AND datname = current_database()"
            );
            let mut found = database.scratch().query(&sql).await?;
            ensure!(found.len() == 1, "one connection was opened, {} are there", found.len());
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
        #[expect(clippy::disallowed_methods, reason = "looks at it between two statements")]
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

    /// What `operation` sends, one after the other.
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
            let found = arguments_of(text);
            ensure!(found == arguments, "`{text}` has {found} arguments instead of {arguments}");
        }
        Ok(())
    }
}

/// The highest of `$1`, `$2`, …
fn arguments_of(text: &str) -> usize {
    (1..=99).rev().find(|number| text.contains(&format!("${number}"))).unwrap_or(0)
}

/// `text` with names for its arguments, as pgbench wants it: `$1` is `:shard_id`.
pub fn with_names(text: &str) -> String {
    // From the back, because $11 begins with $1.
    zip(1.., ARGUMENTS)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .fold(text.to_owned(), |text, (number, name): (usize, _)| {
            text.replace(&format!("${number}"), &format!(":{name}"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_named_from_the_back() {
        assert_eq!(with_names("($1, $11, $10)"), "(:shard_id, :data_encoding, :data)");
        assert_eq!(arguments_of("($1, $11, $10)"), 11);
        assert_eq!(arguments_of("COMMIT"), 0);
    }
}

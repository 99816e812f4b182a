//! The recorded version of a database, the expected one, and the steps between them.

use std::fmt;

use serde::Serialize;
use temporal_dsql_domain::{Engine, SchemaVersion};

use crate::{
    MigrateError, Migrator, Setup, VersionRow,
    escape::escaped,
    plan::{as_text, optional_as_text},
};

/// The recorded and the expected version of a database, with the pending steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The kind of server.
    #[serde(serialize_with = "as_text")]
    pub engine: Engine,
    /// The schema that the connection works in.
    pub schema: String,
    /// The logical name of the database.
    pub database: String,
    /// The version recorded under it; `None` if there is none, or a malformed one, which is then the
    /// [`problem`](Self::problem).
    #[serde(serialize_with = "optional_as_text")]
    pub current: Option<SchemaVersion>,
    /// The newest version of the schema.
    #[serde(serialize_with = "as_text")]
    pub expected: SchemaVersion,
    /// All version rows, under any logical name.
    pub recorded: Vec<VersionRow>,
    /// The steps to the expected version.
    pub pending: Vec<String>,
    /// What the plan of these steps says to the operator.
    pub notes: Vec<String>,
    /// The reason why there is no plan to the expected version.
    pub problem: Option<String>,
}

impl Status {
    /// Whether the database is at the expected version and has nothing pending.
    pub fn is_current(&self) -> bool {
        self.current == Some(self.expected) && self.pending.is_empty() && self.problem.is_none()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "engine    {}", self.engine)?;
        writeln!(f, "schema    {}", self.schema)?;
        writeln!(f, "database  {}", escaped(&self.database))?;
        let row = self.recorded.iter().find(|row| row.database == self.database);
        match (self.current, row) {
            (Some(current), _) => writeln!(f, "current   {current}")?,
            (None, Some(row)) => {
                let text = row.version.as_deref().unwrap_or_default();
                writeln!(f, "current   `{text}`, which is not a version")?;
            }
            (None, None) => writeln!(f, "current   not set up")?,
        }
        writeln!(f, "expected  {}", self.expected)?;
        for row in self.recorded.iter().filter(|row| row.database != self.database) {
            let version = row.version.as_deref().unwrap_or("none");
            writeln!(f, "also      {} at {}", escaped(&row.database), escaped(version))?;
        }
        for step in &self.pending {
            writeln!(f, "pending   {step}")?;
        }
        for note in &self.notes {
            writeln!(f, "note      {note}")?;
        }
        if let Some(problem) = &self.problem {
            writeln!(f, "problem   {problem}")?;
        }
        Ok(())
    }
}

impl Migrator<'_> {
    /// Reads the status of the database. Changes nothing.
    ///
    /// # Errors
    /// The database cannot be read, or its logical name is invalid. An error that would stop an
    /// update is part of the status.
    pub async fn status(&mut self) -> Result<Status, MigrateError> {
        self.check_name()?;
        let rows = self.version_rows().await?;
        let plan = if rows.iter().any(|row| row.database == self.logical_name) {
            self.update_plan(None).await
        } else {
            self.setup_plan(&Setup::default()).await
        };
        let (pending, notes, problem) = match plan {
            Ok(plan) => (plan.pending().map(|step| step.summary()).collect(), plan.notes, None),
            Err(
                error @ (MigrateError::Database { .. } | MigrateError::DeadlineExceeded { .. }),
            ) => {
                return Err(error);
            }
            Err(error) => (Vec::new(), Vec::new(), Some(error.to_string())),
        };
        let current =
            rows.iter().find(|row| row.database == self.logical_name).and_then(VersionRow::parsed);
        Ok(Status {
            engine: self.database.engine(),
            schema: self.database.schema().to_owned(),
            database: self.logical_name.clone(),
            current,
            expected: self.schema.newest(),
            recorded: rows,
            pending,
            notes,
            problem,
        })
    }
}

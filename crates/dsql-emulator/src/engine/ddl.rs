//! DDL statements, and the jobs that they start.

use super::{
    observed::{Failure, Urgency},
    statement::{Answer, Execution},
    transaction::{Ddl, Job, Work},
    worker::Worker,
};
use crate::{
    rules::{Check, NewJob},
    sql::{identifier, literal},
    wire::{self, Column, DbError},
};

impl Worker {
    /// Asks the catalog what must not be so; the refusal if it is.
    pub(crate) async fn check(&mut self, check: &Check) -> Result<Option<DbError>, Failure> {
        let table = |name: &str| format!("pg_catalog.to_regclass({})", literal(name));
        let (question, code, message) = match check {
            // facts §3.2
            Check::NotInPrimaryKey { table: name, column } => (
                format!(
                    "SELECT 1 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a \
                     ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
                     WHERE i.indisprimary AND i.indrelid = {} AND a.attname = {}",
                    table(name),
                    literal(column)
                ),
                "0A000",
                format!("cannot drop primary key column {column}"),
            ),
            Check::NotPrimaryKey { table: name, constraint } => (
                format!(
                    "SELECT 1 FROM pg_catalog.pg_constraint \
                     WHERE contype = 'p' AND conrelid = {} AND conname = {}",
                    table(name),
                    literal(constraint)
                ),
                "0A000",
                "unsupported ALTER TABLE DROP CONSTRAINT statement".to_owned(),
            ),
            // facts §3.3
            Check::Empty { table: name } => (
                format!("SELECT 1 FROM {name} LIMIT 1"),
                "0A000",
                "unsupported mode. please use CREATE INDEX ASYNC.".to_owned(),
            ),
        };
        let found = self.as_client_query(&question).await?;
        Ok((!found.is_empty()).then(|| DbError::new(code, message)))
    }

    /// Runs a DDL statement in the transaction, and prepares the job that it starts. After an
    /// error PostgreSQL's transaction has failed.
    pub(crate) async fn run_ddl(
        &mut self,
        ddl: &Ddl,
        new_id: impl Fn() -> String,
        urgency: Urgency,
    ) -> Result<Answer, Failure> {
        let mut answer = match &ddl.job {
            Some((NewJob::Validate { table, constraint }, id)) => {
                self.run_validate(table, constraint, id, urgency).await?
            }
            Some((NewJob::Index { not_unique }, id)) => {
                self.run_index(&ddl.execution, not_unique.as_deref(), id, urgency).await?
            }
            None => {
                let answer = self.run(&ddl.execution, true, urgency).await?;
                if let Some(transaction) = &mut self.transaction {
                    transaction.jobs.clear();
                }
                answer
            }
        };
        if answer.error.is_none() {
            for oid in std::mem::take(&mut answer.effect.dropped) {
                let row = ("DROP", oid, None);
                self.add_job(Job { id: new_id(), work: Work::Drop }, row, urgency).await?;
            }
        }
        Ok(answer)
    }

    async fn run_index(
        &mut self,
        execution: &Execution,
        not_unique: Option<&str>,
        id: &str,
        urgency: Urgency,
    ) -> Result<Answer, Failure> {
        let mut answer = self.run(execution, true, urgency).await?;
        let mut duplicates = false;
        if let (Some(text), Some("23505")) =
            (not_unique, answer.error.as_ref().map(|error| error.code.as_str()))
        {
            // The table has duplicates. The index is made all the same, stays invalid, and
            // refuses more of them (facts §3.4).
            duplicates = true;
            self.undo_statement().await?;
            let execution = Execution { text: Some(text.into()), ..execution.clone() };
            answer = self.run(&execution, true, urgency).await?;
        }
        if answer.error.is_some() {
            return Ok(answer);
        }
        answer.messages.push(wire::row_description(&[Column::text("job_id")]));
        // None if it was there already, and IF NOT EXISTS said so.
        if let Some((oid, name)) = answer.effect.indexes.pop() {
            let unique = if duplicates { ", indisunique = true, indimmediate = true" } else { "" };
            let sql = format!(
                "UPDATE pg_catalog.pg_index SET indisvalid = false{unique} \
                 WHERE indexrelid = {oid}; \
                 SELECT dsql_emulator.instrument(indrelid) FROM pg_catalog.pg_index \
                 WHERE indexrelid = {oid}"
            );
            self.as_superuser(&sql, urgency).await?;
            if let Some(transaction) = &mut self.transaction {
                transaction.jobs.clear();
            }
            let job = Job { id: id.to_owned(), work: Work::Index { oid, duplicates } };
            self.add_job(job, ("INDEX_BUILD", oid, Some(&name)), urgency).await?;
            answer.messages.push(wire::data_row(&[Some(id.as_bytes())]));
        }
        Ok(answer)
    }

    async fn run_validate(
        &mut self,
        table: &str,
        constraint: &str,
        id: &str,
        urgency: Urgency,
    ) -> Result<Answer, Failure> {
        let question = format!(
            "SELECT c.oid, r.oid, r.oid::pg_catalog.regclass::text \
             FROM (SELECT {}::pg_catalog.regclass::oid AS oid) r \
             LEFT JOIN pg_catalog.pg_constraint c ON c.conrelid = r.oid AND c.conname = {}",
            literal(table),
            literal(constraint)
        );
        let found = self.as_client_query(&question).await?;
        let Some([constraint_oid, Some(oid), Some(name)]) = found.first().map(Vec::as_slice) else {
            return Err(Failure::Refused(DbError::new("42P01", "the table does not exist")));
        };
        if constraint_oid.is_none() {
            let message = format!(
                "constraint \"{constraint}\" of relation \"{}\" does not exist",
                name.trim_matches('"')
            );
            return Err(Failure::Refused(DbError::new("42704", message)));
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.jobs.clear();
        }
        // The job runs in a session of its own, with another search path.
        let qualified = self
            .as_superuser(&format!("SELECT dsql_emulator.table_name({oid})"), urgency)
            .await?
            .into_iter()
            .find_map(|mut row| row.pop().flatten())
            .unwrap_or_else(|| identifier(name));
        let job = Job {
            id: id.to_owned(),
            work: Work::Validate { table: qualified, constraint: constraint.to_owned() },
        };
        let row = ("VALIDATE_CONSTRAINT", oid.parse().unwrap_or(0), Some(name.as_str()));
        self.add_job(job, row, urgency).await?;
        Ok(Answer {
            messages: vec![
                wire::row_description(&[Column::text("job_id")]),
                wire::data_row(&[Some(id.as_bytes())]),
            ],
            tag: Some("ALTER TABLE".into()),
            ..Answer::default()
        })
    }

    /// Enters a job in `sys.jobs`, as part of the transaction.
    async fn add_job(
        &mut self,
        job: Job,
        (kind, oid, name): (&str, u32, Option<&str>),
        urgency: Urgency,
    ) -> Result<(), Failure> {
        let sql = format!(
            "INSERT INTO dsql_emulator.job (job_id, job_type, object_id, object_name) \
             VALUES ({}, '{kind}', {oid}, {})",
            literal(&job.id),
            name.map_or("NULL".into(), literal)
        );
        self.as_superuser(&sql, urgency).await?;
        if let Some(transaction) = &mut self.transaction {
            transaction.jobs.push(job);
        }
        Ok(())
    }
}

//! DDL statements, and the jobs that they start.

use super::{
    in_flight::CancelPolicy,
    monitored::Failure,
    statement::{Answer, Execution},
    transaction::{Ddl, Job, Work},
    worker::Worker,
};
use crate::{
    rules::{Check, NewJob, defect},
    sql::literal,
    upstream::single,
    wire::{self, Column, DbError},
};

/// DSQL's error for a key of a type without a sort order. PostgreSQL reports it before the
/// emulator's own check of types runs (aurora-dsql.md#refused-statements, aurora-dsql.md#types).
fn keyless_type(error: DbError, is_index: bool) -> DbError {
    let name = error
        .message
        .strip_prefix("data type ")
        .and_then(|rest| rest.split_once(" has no default operator class for access method"))
        .map(|(name, _)| name);
    match name {
        // Of these types, only json can be stored.
        Some(name) if is_index || name == "json" => {
            DbError::new("0A000", format!("datatype {name} is not supported in a key"))
        }
        Some(name) => DbError::new("0A000", format!("datatype {name} not supported")),
        None => error,
    }
}

impl Worker {
    /// Runs the catalog checks of a statement.
    pub(crate) async fn check_all(&mut self, checks: &[Check]) -> Result<(), Failure> {
        for check in checks {
            if let Some(refusal) = self.check(check).await? {
                return Err(Failure::Refused(refusal));
            }
        }
        Ok(())
    }

    /// Runs one check; returns the refusal if it fails.
    async fn check(&mut self, check: &Check) -> Result<Option<DbError>, Failure> {
        let table = |name: &str| format!("pg_catalog.to_regclass({})", literal(name));
        let (question, code, message) = match check {
            // aurora-dsql.md#alter-table
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
            // aurora-dsql.md#sizes. An existing schema is no exception.
            Check::SchemaCount => (
                "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname NOT LIKE 'pg\\_%' \
                 AND nspname NOT IN ('information_schema', 'sys', 'public') \
                 HAVING count(*) >= 10"
                    .to_owned(),
                "54000",
                "more than 10 schemas not allowed".to_owned(),
            ),
            // aurora-dsql.md#connections
            Check::NotMapped { role } => (
                format!(
                    "SELECT 1 FROM sys.iam_pg_role_mappings WHERE pg_role_name = {}",
                    literal(role)
                ),
                "2BP01",
                format!("role \"{role}\" cannot be dropped because some objects depend on it"),
            ),
            // aurora-dsql.md#refused-statements
            Check::NoSystemColumn { tables } => {
                let names: Vec<String> = tables.iter().map(|name| table(name)).collect();
                (
                    format!(
                        "SELECT 1 FROM pg_catalog.pg_class c \
                         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                         WHERE c.oid IN ({}) AND c.relkind = 'r' \
                         AND n.nspname NOT IN ('pg_catalog', 'information_schema')",
                        names.join(", ")
                    ),
                    "0A000",
                    "cannot retrieve a system column in this context".to_owned(),
                )
            }
            // aurora-dsql.md#indexes
            Check::Empty { table: name } => (
                format!("SELECT 1 FROM {name} LIMIT 1"),
                "0A000",
                "unsupported mode. please use CREATE INDEX ASYNC.".to_owned(),
            ),
            // aurora-dsql.md#refused-statements. PostgreSQL reports an unknown type.
            Check::BigIdentity { column_type } => {
                let question = format!(
                    "SELECT pg_catalog.format_type(t, NULL) FROM pg_catalog.to_regtype({}) AS t \
                     WHERE t <> 'pg_catalog.int8'::pg_catalog.regtype",
                    literal(column_type)
                );
                let found = single(self.as_client_query(&question).await?);
                return Ok(found.map(|name| {
                    let rest = "not supported, identity column type must be bigint";
                    DbError::new("0A000", format!("datatype {name} {rest}"))
                }));
            }
            Check::NotOfOuterTable { columns, inner, outer, child } => {
                let has = |tables: &[String]| {
                    let tables: Vec<String> = tables.iter().map(|name| table(name)).collect();
                    format!(
                        "EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid IN ({}) \
                         AND a.attname = c.name AND a.attnum > 0 AND NOT a.attisdropped)",
                        if tables.is_empty() { "NULL".into() } else { tables.join(", ") }
                    )
                };
                let names: Vec<String> = columns.iter().map(|name| literal(name)).collect();
                let question = format!(
                    "SELECT 1 FROM pg_catalog.unnest(ARRAY[{}]::pg_catalog.text[]) AS c(name) \
                     WHERE {} AND NOT {}",
                    names.join(", "),
                    has(outer),
                    has(inner)
                );
                let found = self.as_client_query(&question).await?;
                return Ok((!found.is_empty()).then(|| defect(child)));
            }
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
        policy: CancelPolicy,
    ) -> Result<Answer, Failure> {
        let mut answer = match &ddl.job {
            Some((NewJob::Validate { table, constraint }, id)) => {
                self.run_validate(table, constraint, id, policy).await?
            }
            Some((NewJob::Index { not_unique }, id)) => {
                self.run_index(&ddl.execution, not_unique.as_deref(), id, policy).await?
            }
            None => {
                let answer = self.run(&ddl.execution, true, policy).await?;
                if let Some(transaction) = &mut self.transaction {
                    transaction.jobs.clear();
                }
                answer
            }
        };
        if let Some(error) = answer.error.take() {
            answer.error = Some(keyless_type(error, ddl.job.is_some()));
        } else {
            for oid in std::mem::take(&mut answer.effect.dropped) {
                let row = ("DROP", oid, None);
                self.add_job(Job { id: new_id(), work: Work::Drop }, row, policy).await?;
            }
        }
        Ok(answer)
    }

    async fn run_index(
        &mut self,
        execution: &Execution,
        not_unique: Option<&str>,
        id: &str,
        policy: CancelPolicy,
    ) -> Result<Answer, Failure> {
        let mut answer = self.run(execution, true, policy).await?;
        let mut duplicates = false;
        if let (Some(text), Some("23505")) =
            (not_unique, answer.error.as_ref().map(|error| error.code.as_str()))
        {
            // The table has duplicates. The index is created without UNIQUE, stays invalid, and
            // rejects new duplicates (aurora-dsql.md#jobs).
            duplicates = true;
            self.rollback_statement().await?;
            let execution = Execution { text: Some(text.into()), ..execution.clone() };
            answer = self.run(&execution, true, policy).await?;
        }
        if answer.error.is_some() {
            return Ok(answer);
        }
        answer.messages.push(wire::row_description(&[Column::text("job_id")]));
        // None if the index exists and the statement has IF NOT EXISTS.
        if let Some((oid, name)) = answer.effect.indexes.pop() {
            // The triggers report the keys of unique indexes.
            let unique = if duplicates {
                format!(
                    "UPDATE pg_catalog.pg_index SET indisunique = true, indimmediate = true \
                     WHERE indexrelid = {oid}; \
                     SELECT pg_toast_temp_dsql.instrument(indrelid) FROM pg_catalog.pg_index \
                     WHERE indexrelid = {oid}; "
                )
            } else {
                String::new()
            };
            let sql = format!(
                "{unique}UPDATE pg_catalog.pg_index SET indisvalid = false WHERE indexrelid = {oid}"
            );
            self.as_superuser(&sql, policy).await?;
            if let Some(transaction) = &mut self.transaction {
                transaction.jobs.clear();
            }
            let job = Job { id: id.to_owned(), work: Work::Index { oid, duplicates } };
            self.add_job(job, ("INDEX_BUILD", oid, Some(&name)), policy).await?;
            answer.messages.push(wire::data_row(&[Some(id.as_bytes())]));
        }
        Ok(answer)
    }

    async fn run_validate(
        &mut self,
        table: &str,
        constraint: &str,
        id: &str,
        policy: CancelPolicy,
    ) -> Result<Answer, Failure> {
        let question = format!(
            "SELECT r.oid, r.relname, pg_catalog.pg_has_role(r.relowner, 'USAGE'), c.oid, c.contype \
             FROM pg_catalog.pg_class r \
             LEFT JOIN pg_catalog.pg_constraint c ON c.conrelid = r.oid AND c.conname = {} \
             WHERE r.oid = {}::pg_catalog.regclass",
            literal(constraint),
            literal(table)
        );
        let found = self.as_client_query(&question).await?;
        let Some([Some(oid), Some(name), Some(is_owner), constraint_oid, kind]) =
            found.first().map(Vec::as_slice)
        else {
            return Err(Failure::Refused(DbError::new("42P01", "the table does not exist")));
        };
        let refuse = |code, message| Err(Failure::Refused(DbError::new(code, message)));
        if is_owner != "t" {
            return refuse("42501", format!("must be owner of table {name}"));
        }
        let of_relation = format!("constraint \"{constraint}\" of relation \"{name}\"");
        let Some(constraint_oid) = constraint_oid else {
            return refuse("42704", format!("{of_relation} does not exist"));
        };
        if !matches!(kind.as_deref(), Some("c" | "f")) {
            let message = format!("{of_relation} is not a foreign key or check constraint");
            return refuse("42809", message);
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.jobs.clear();
        }
        let named = format!("SELECT pg_toast_temp_dsql.table_name({oid})");
        let name = single(self.as_superuser(&named, policy).await?);
        let constraint = constraint_oid.parse().unwrap_or(0);
        let job = Job { id: id.to_owned(), work: Work::Validate { constraint } };
        let row = ("VALIDATE_CONSTRAINT", oid.parse().unwrap_or(0), name.as_deref());
        self.add_job(job, row, policy).await?;
        Ok(Answer {
            messages: vec![
                wire::row_description(&[Column::text("job_id")]),
                wire::data_row(&[Some(id.as_bytes())]),
            ],
            tag: Some("ALTER TABLE".into()),
            ..Answer::default()
        })
    }

    /// Inserts a job into `sys.jobs`, as part of the transaction.
    async fn add_job(
        &mut self,
        job: Job,
        (kind, oid, name): (&str, u32, Option<&str>),
        policy: CancelPolicy,
    ) -> Result<(), Failure> {
        let sql = format!(
            "INSERT INTO pg_toast_temp_dsql.job (job_id, job_type, object_id, object_name) \
             VALUES ({}, '{kind}', {oid}, {})",
            literal(&job.id),
            name.map_or("NULL".into(), literal)
        );
        self.as_superuser(&sql, policy).await?;
        if let Some(transaction) = &mut self.transaction {
            transaction.jobs.push(job);
        }
        Ok(())
    }
}

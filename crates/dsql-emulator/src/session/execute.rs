//! Executes the plan of a statement.

use std::{borrow::Cow, sync::Arc};

use super::{
    Block, Session, SessionError, SessionResult, aborted, extended::runs_outside_transaction,
    text_of,
};
use crate::{
    catalog::CatalogVersions,
    engine::{
        attempt::{Attempt, AttemptContext, attempt},
        in_flight::CancelPolicy,
        monitored::{Failure, RETRY_DELAY},
        statement::{Answer, Execution},
        transaction::Transaction,
    },
    faults::{StatementFault, catalog_conflict, conflict, unavailable},
    jobs,
    rules::{Access, Class, Control, Plan, Run, Settings},
    sql::{Cursor, Statement, literal},
    upstream::single,
    wire::{self, Column, DbError, Message},
};

/// The SQLSTATE that triggers raise for a write outside of a transaction (`catalog/footprint.sql`).
const WRITES: &str = "DE001";
/// How often an autocommit statement starts again because a key may have been committed since its
/// snapshot.
const RESTARTS: u32 = 10;

/// The result of a statement.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// Columns, rows, notices.
    pub(super) messages: Vec<Message>,
    pub(super) tag: Option<String>,
    /// Whether the portal may have more rows.
    pub(super) suspended: bool,
}

impl Reply {
    fn tag(tag: impl Into<String>) -> Self {
        Self { tag: Some(tag.into()), ..Self::default() }
    }

    /// A row with one value. For a text, both formats are the same.
    fn row(column: Column, value: &[u8], tag: &str) -> Self {
        let columns = wire::row_description(&[column]);
        let row = wire::data_row(&[Some(value)]);
        Self { messages: vec![columns, row], ..Self::tag(tag) }
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { messages: answer.messages, tag: answer.tag, suspended: answer.suspended }
    }
}

impl Session {
    /// Executes a plan. With `ends`, an implicit transaction ends with it.
    pub(super) async fn execute(
        &mut self,
        plan: &Plan,
        execution: Execution,
        ends: bool,
    ) -> SessionResult<Reply> {
        if let Plan::Control(control) = plan {
            return self.control(*control).await;
        }
        if self.failed {
            return Err(aborted().into());
        }
        let reply = match plan {
            Plan::Control(_) => unreachable!("handled before"),
            Plan::Refuse(refusal) => return Err(refusal.clone().into()),
            Plan::Show { column, value } => {
                Reply::row(Column::text(column), value.as_bytes(), "SHOW")
            }
            Plan::DeallocateAll => {
                // The unnamed statement stays.
                self.statements.retain(|name, _| name.is_empty());
                Reply::tag("DEALLOCATE ALL")
            }
            Plan::EmulatorSetting { sync_index, tag } => {
                self.settings.sync_index = *sync_index;
                Reply::tag(*tag)
            }
            Plan::WaitForJob { argument } => self.wait_for_job(argument, execution).await?,
            Plan::IamMapping { grant, role, arn } => {
                self.before_statement(&execution).await?;
                self.map_role(*grant, role, arn).await?
            }
            Plan::Run(run) => {
                self.before_statement(&execution).await?;
                return self.run_statement(run, execution, ends).await;
            }
        };
        self.end_implicit(ends).await?;
        Ok(reply)
    }

    async fn control(&mut self, control: Control) -> SessionResult<Reply> {
        let warning = |code, message| {
            let warning = wire::notice(&DbError::warning(code, message));
            vec![warning]
        };
        match control {
            Control::Begin { access, start } => {
                if self.failed {
                    return Err(aborted().into());
                }
                let mut reply = Reply::tag(if start { "START TRANSACTION" } else { "BEGIN" });
                let block = self.block;
                let session_catalog = self.session_catalog();
                match block {
                    Block::None => {
                        CatalogVersions::begin(session_catalog);
                        let clock_shift = self.cluster.faults.clock_shift();
                        self.worker.lock().await.begin(access, clock_shift).await?;
                    }
                    Block::Implicit => {}
                    Block::Explicit => {
                        let message = "there is already a transaction in progress";
                        reply.messages = warning("25001", message);
                    }
                }
                self.block = Block::Explicit;
                Ok(reply)
            }
            Control::Commit | Control::Rollback => {
                let messages = match self.block {
                    Block::Explicit => Vec::new(),
                    // An implicit transaction ends nevertheless.
                    Block::Implicit | Block::None => {
                        warning("25P01", "there is no transaction in progress")
                    }
                };
                let tag = if control == Control::Commit && !self.failed {
                    self.commit().await?;
                    "COMMIT"
                } else {
                    // aurora-dsql.md#transactions: COMMIT of a failed transaction succeeds with the
                    // tag ROLLBACK.
                    self.worker.lock().await.rollback().await?;
                    self.end_transaction();
                    "ROLLBACK"
                };
                Ok(Reply { messages, ..Reply::tag(tag) })
            }
        }
    }

    /// Applies injected faults and catalog conflicts before a statement runs.
    async fn before_statement(&mut self, execution: &Execution) -> SessionResult<()> {
        match self.cluster.faults.next_statement(&execution.statement.text) {
            None => {}
            Some(StatementFault::Unavailable) => return Err(unavailable().into()),
            Some(StatementFault::CatalogConflict) => return Err(catalog_conflict().into()),
            Some(StatementFault::Close) => return Err(SessionError::Close),
        }
        let begins = self.block == Block::None;
        let cluster = self.cluster.clone();
        let session_catalog = self.session_catalog();
        if begins {
            CatalogVersions::begin(session_catalog);
        }
        if !is_about_settings(&execution.statement) && cluster.versions.use_catalog(session_catalog)
        {
            return Err(catalog_conflict().into());
        }
        Ok(())
    }

    async fn run_statement(
        &mut self,
        run: &Run,
        mut execution: Execution,
        ends: bool,
    ) -> SessionResult<Reply> {
        if execution.text.is_none() && execution.prepared.is_none() {
            execution.text = run.text.as_deref().map(Arc::from);
        }
        let mut run = Cow::Borrowed(run);
        if run.class == Class::Analyze && self.block != Block::None {
            // SQLSTATE and message are PostgreSQL's [I].
            let message = "ANALYZE cannot run inside a transaction block";
            return Err(DbError::new("25001", message).into());
        }
        if self.block == Block::None && ends && runs_outside_transaction(run.class) {
            let answer = self.run_outside_transaction(&run, &execution).await?;
            match &answer.error {
                None => return Ok(answer.into()),
                // For example a view that calls a function that writes.
                Some(error) if error.code == WRITES => run.to_mut().class = Class::Write,
                Some(error) => return Err(error.clone().into()),
            }
        }
        if run.class == Class::CopyIn {
            self.receive_copy(&mut execution).await?;
        }
        let single = self.block == Block::None && ends;
        let mut restarts = 0;
        loop {
            self.begin_implicit().await?;
            self.check_mixing(&run).await?;
            match self.run_in_transaction(&run, execution.clone(), single).await? {
                Attempt::Done(answer) => {
                    self.end_implicit(ends).await?;
                    return Ok((*answer).into());
                }
                Attempt::Lost(error) => {
                    self.worker.lock().await.rollback().await?;
                    self.block = Block::None;
                    restarts += 1;
                    // A conflict is definite. A duplicate key may be one that was committed since
                    // the snapshot; one that every new snapshot has is a duplicate.
                    if error.code.starts_with("40") {
                        return Err(conflict().into());
                    }
                    if restarts > RESTARTS {
                        return Err(error.into());
                    }
                }
            }
        }
    }

    async fn run_outside_transaction(
        &mut self,
        run: &Run,
        execution: &Execution,
    ) -> SessionResult<Answer> {
        let policy = CancelPolicy::cancellable();
        let worker = self.worker.clone();
        let mut worker = worker.lock().await;
        worker.check_all(&run.checks).await?;
        let answer = loop {
            match worker.run_outside_transaction(execution, policy).await {
                Err(Failure::Interrupted) => {}
                other => break other?,
            }
        };
        drop(worker);
        let sets = run.class == Class::Setting || !answer.effect.settings.is_empty();
        if sets && answer.error.is_none() {
            self.note_setting(execution);
        }
        self.note_sync_index(answer.effect.sync_index);
        Ok(answer)
    }

    /// Records that the client has changed a setting, or all of them.
    fn note_setting(&mut self, execution: &Execution) {
        self.settings_version += 1;
        self.settings_changed = true;
        if Cursor::new(&execution.statement.tokens).starts_with("RESET ALL") {
            self.settings = Settings::default();
        }
    }

    /// Records that the end of a transaction may have taken settings back.
    pub(super) fn note_settings_taken_back(&mut self) {
        self.settings_version += u64::from(std::mem::take(&mut self.settings_changed));
    }

    fn note_sync_index(&mut self, changed: Option<bool>) {
        self.settings.sync_index = changed.unwrap_or(self.settings.sync_index);
    }

    async fn run_in_transaction(
        &mut self,
        run: &Run,
        mut execution: Execution,
        single: bool,
    ) -> SessionResult<Attempt> {
        let policy = CancelPolicy::cancellable();
        let cluster = self.cluster.clone();
        let new_job_id = || cluster.new_job_id();
        let max_rows = cluster.config.limits.transaction_rows;
        let context = AttemptContext { max_rows, new_job_id: &new_job_id };
        loop {
            let worker = self.worker.clone();
            let mut worker = worker.lock().await;
            let count = |transaction: &Transaction| transaction.settings.len();
            let known_settings = worker.transaction.as_ref().map_or(0, count);
            let ready = match &run.locking {
                Some(locking) => self.add_locks(&mut worker, &mut execution, locking, policy).await,
                None => Ok(()),
            };
            let tried = match ready {
                Ok(()) => attempt(&mut worker, context, run, &execution, single, policy).await,
                Err(failure) => Err(failure),
            };
            match tried {
                Err(Failure::Interrupted) => {
                    drop(worker);
                    tokio::time::sleep(RETRY_DELAY).await;
                }
                Ok(attempt) => {
                    let more = worker.transaction.as_ref().map_or(0, count) > known_settings;
                    let transaction = worker.transaction.as_mut();
                    let sync_index = transaction.and_then(|t| t.effect.sync_index.take());
                    drop(worker);
                    self.note_sync_index(sync_index);
                    if run.class == Class::Setting || more {
                        self.note_setting(&execution);
                    }
                    return Ok(attempt);
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// aurora-dsql.md#ddl-in-transactions: at most one DDL statement in a transaction, and no
    /// writes together with it.
    async fn check_mixing(&mut self, run: &Run) -> SessionResult<()> {
        let worker = self.worker.lock().await;
        let Some(transaction) = &worker.transaction else { return Ok(()) };
        if run.class == Class::Ddl && transaction.changes_catalog() {
            return Err(multiple_ddl().into());
        }
        let mixes = (run.class == Class::Ddl && transaction.has_dml)
            || (run.writes_rows() && transaction.changes_catalog());
        if mixes {
            let message = "ddl and dml are not supported in the same transaction";
            return Err(DbError::new("0A000", message).into());
        }
        drop(worker);
        if run.writes_rows() {
            self.note_dml().await;
        }
        Ok(())
    }

    async fn note_dml(&self) {
        if let Some(transaction) = &mut self.worker.lock().await.transaction {
            transaction.has_dml = true;
        }
    }

    pub(super) async fn begin_implicit(&mut self) -> SessionResult<()> {
        if self.block == Block::None {
            let clock_shift = self.cluster.faults.clock_shift();
            self.worker.lock().await.begin_with_next(Access::Default, clock_shift);
            self.block = Block::Implicit;
        }
        Ok(())
    }

    async fn end_implicit(&mut self, ends: bool) -> SessionResult<()> {
        if ends && self.block == Block::Implicit { self.commit().await } else { Ok(()) }
    }

    /// aurora-dsql.md#connections: maps a role to an IAM identity. It counts as DDL
    /// (aurora-dsql.md#ddl-in-transactions).
    async fn map_role(&mut self, grant: bool, role: &str, arn: &str) -> SessionResult<Reply> {
        self.begin_implicit().await?;
        let mut worker = self.worker.lock().await;
        let known = format!(
            "SELECT oid, rolcanlogin FROM pg_catalog.pg_roles WHERE rolname = {}",
            literal(role)
        );
        let known = worker.as_client_query(&known).await?;
        let Some([Some(oid), can_log_in]) = known.first().map(Vec::as_slice) else {
            let message = format!("role \"{role}\" does not exist");
            return Err(DbError::new("42704", message).into());
        };
        let may = "SELECT pg_catalog.pg_has_role(current_user, 'admin', 'USAGE')";
        if single(worker.as_client_query(may).await?).as_deref() != Some("t") {
            let message = format!("permission denied to grant IAM trust with role {role}");
            return Err(DbError::new("42501", message).into());
        }
        // The messages are documented, their SQLSTATEs are [I].
        if grant && can_log_in.as_deref() != Some("t") {
            let message = format!("role {role} must have the LOGIN attribute");
            return Err(DbError::new("0LP01", message).into());
        }
        if grant && !is_iam_arn(arn) {
            return Err(DbError::new("22023", "IAM role must look like an IAM ARN").into());
        }
        let Some(transaction) = &mut worker.transaction else { return Err(SessionError::Close) };
        if transaction.changes_catalog() {
            return Err(multiple_ddl().into());
        }
        if transaction.has_dml {
            let message = "ddl and dml are not supported in the same transaction";
            return Err(DbError::new("0A000", message).into());
        }
        let arn = literal(arn);
        transaction.has_run = true;
        transaction.at_commit.push(if grant {
            format!(
                "INSERT INTO pg_toast_temp_dsql.iam_mapping VALUES ({oid}, {arn}, \
                 (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = 'admin')) \
                 ON CONFLICT DO NOTHING"
            )
        } else {
            format!("DELETE FROM pg_toast_temp_dsql.iam_mapping WHERE role = {oid} AND arn = {arn}")
        });
        // The tag is [I].
        Ok(Reply::tag(if grant { "GRANT" } else { "REVOKE" }))
    }

    /// aurora-dsql.md#jobs
    async fn wait_for_job(&mut self, argument: &str, execution: Execution) -> SessionResult<Reply> {
        self.before_statement(&execution).await?;
        let binary = execution.bind.result_formats.first() == Some(&1);
        let text = format!("SELECT ({argument})::pg_catalog.text");
        let question = Execution {
            text: Some(text.into()),
            prepared: None,
            describe: false,
            bind: wire::BindParts { result_formats: Vec::new(), ..execution.bind.clone() },
            ..execution
        };
        let mut answer = {
            let mut worker = self.worker.lock().await;
            worker.run_outside_transaction(&question, CancelPolicy::cancellable()).await?
        };
        if let Some(error) = answer.error.take() {
            return Err(error.into());
        }
        let id = answer.messages.first().map(wire::data_values).unwrap_or_default();
        let id = id.first().and_then(Option::as_ref).map(text_of).unwrap_or_default();
        if !jobs::is_id(&id) {
            return Err(DbError::new("22P02", "Unable to convert text to UUID").into());
        }
        let succeeded = match self.cluster.jobs.wait(&id).await {
            Some(succeeded) => succeeded,
            // [I]
            None => return Err(DbError::new("22023", format!("job {id} not found")).into()),
        };
        let value: &[u8] = match (binary, succeeded) {
            (true, true) => &[1],
            (true, false) => &[0],
            (false, true) => b"t",
            (false, false) => b"f",
        };
        Ok(Reply::row(Column::boolean("succeeded"), value, "CALL"))
    }
}

/// Whether a text has the form of `arn:aws:iam::<account>:role/<name>`.
fn is_iam_arn(text: &str) -> bool {
    match text.splitn(6, ':').collect::<Vec<_>>()[..] {
        ["arn", partition, "iam", _, account, resource] => {
            !partition.is_empty() && !account.is_empty() && resource.contains('/')
        }
        _ => false,
    }
}

/// SET, SHOW and RESET, which do not use the catalog and do not fail because of its changes [I].
fn is_about_settings(statement: &Statement) -> bool {
    let cursor = Cursor::new(&statement.tokens);
    ["SET", "SHOW", "RESET"].iter().any(|word| cursor.starts_with(word))
}

fn multiple_ddl() -> DbError {
    DbError::new("0A000", "multiple ddl statements not supported in a transaction")
}

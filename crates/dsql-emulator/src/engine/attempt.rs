//! Runs a statement in a transaction, for every `WriteSetState` of the transaction.

use super::{
    in_flight::CancelPolicy,
    monitored::Failure,
    statement::{Answer, Execution},
    transaction::{Ddl, ShadowedTable, WriteSetState},
    worker::Worker,
};
use crate::{
    faults::{catalog_conflict, conflict},
    rules::{Class, Run, changes_in_parentheses},
    sql::{Edit, Statement},
    wire::{DbError, Message},
};

/// The result of running a statement once.
#[derive(Debug)]
pub(crate) enum Attempt {
    Done(Box<Answer>),
    /// Another transaction has committed a conflicting change, or may have. An autocommit statement
    /// can start again; if it does not, this is its error.
    Lost(DbError),
}

/// What an attempt needs besides the worker.
#[derive(Clone, Copy)]
pub(crate) struct AttemptContext<'a> {
    /// The maximum number of rows that a transaction may write.
    pub(crate) max_rows: u64,
    pub(crate) new_job_id: NewId<'a>,
}

/// Generates the id of a job.
pub(crate) type NewId<'a> = &'a (dyn Fn() -> String + Send + Sync);

fn done(answer: Answer) -> Attempt {
    Attempt::Done(Box::new(answer))
}

/// Runs a statement in the worker's transaction. With `may_restart` it is the first statement of an
/// autocommit transaction, so a conflict is returned instead of hidden.
///
/// After [`Failure::Refused`] the transaction has failed and must be rolled back. After
/// [`Failure::Interrupted`] it is detached, and the statement must run again.
pub(crate) async fn attempt(
    worker: &mut Worker,
    context: AttemptContext<'_>,
    run: &Run,
    execution: &Execution,
    may_restart: bool,
    policy: CancelPolicy,
) -> Result<Attempt, Failure> {
    if !reattach(worker, context.new_job_id, policy).await? {
        return run_in_shadow_tables(worker, context, execution, policy).await.map(done);
    }
    if run.class == Class::Ddl {
        return run_ddl(worker, context, run, execution, policy).await;
    }
    worker.check_all(&run.checks).await?;
    // Without earlier changes, the savepoint at the start of the transaction is enough.
    let save = worker.transaction.as_ref().is_some_and(|transaction| transaction.has_changes());
    let mut answer = match worker.run(execution, save, policy).await {
        Err(Failure::Interrupted) => return Err(release_locks(worker, save).await),
        other => other?,
    };
    let met = match answer.error.take() {
        Some(error) if run.class == Class::Read || !is_conflict(&error, worker) => {
            return Err(Failure::Refused(error));
        }
        Some(error) if may_restart => return Ok(Attempt::Lost(error)),
        Some(_) => true,
        // PostgreSQL accepts a key that another transaction has deleted since the snapshot. DSQL
        // reports that conflict at COMMIT. An autocommit statement leaves it to its commit.
        None => !may_restart && worker.has_lost_a_key(&answer.effect),
    };
    if met {
        // The statement runs again on the transaction's snapshot, which determines its result.
        if save {
            worker.rollback_statement().await?;
        }
        worker.detach().await?;
        return run_in_shadow_tables(worker, context, execution, policy).await.map(done);
    }
    if let Some(strength) = execution.locks {
        answer.effect.merge(worker.locked_rows(strength).await?);
    }
    record(worker, context, run, execution, &mut answer)?;
    Ok(done(answer))
}

/// Writes a detached write set back to its tables. Returns `false` if the transaction continues in
/// shadow tables.
pub(crate) async fn reattach(
    worker: &mut Worker,
    new_job_id: NewId<'_>,
    policy: CancelPolicy,
) -> Result<bool, Failure> {
    let Some(transaction) = &worker.transaction else { return Ok(true) };
    match &transaction.write_set {
        WriteSetState::InTables => return Ok(true),
        WriteSetState::InShadowTables(_) => return Ok(false),
        // Its shadow tables were dropped because a catalog change waited for their locks.
        WriteSetState::Discarded => return Err(Failure::Refused(catalog_conflict())),
        WriteSetState::Detached(_) => {}
    }
    let ddl = transaction.ddl.clone();
    let reattached = match &ddl {
        None => worker.reattach_rows(policy).await,
        Some(ddl) => match worker.run_ddl(ddl, new_job_id, policy).await {
            Ok(Answer { error: Some(error), .. }) => Err(Failure::Refused(error)),
            Ok(_) => {
                if let Some(transaction) = &mut worker.transaction {
                    transaction.write_set = WriteSetState::InTables;
                }
                Ok(())
            }
            Err(failure) => Err(failure),
        },
    };
    match reattached {
        Ok(()) => Ok(true),
        Err(Failure::Interrupted) => {
            worker.rollback_to_start().await?;
            Err(Failure::Interrupted)
        }
        Err(Failure::Refused(error)) if ddl.is_none() && is_row_conflict(&error) => {
            worker.rollback_to_start().await?;
            match worker.use_shadow_tables(policy).await {
                Err(Failure::Interrupted) => {
                    worker.rollback_to_start().await?;
                    Err(Failure::Interrupted)
                }
                other => other.map(|()| false),
            }
        }
        // The rows do not fit the tables, which have been altered.
        Err(Failure::Refused(error)) if !is_not_of_the_statement(&error) => {
            tracing::debug!(%error, "detached changes do not fit the altered tables");
            Err(Failure::Refused(catalog_conflict()))
        }
        Err(other) => Err(other),
    }
}

/// Whether the error has nothing to do with what the statement is about: the client has cancelled it, or
/// the server lacks resources or has failed.
fn is_not_of_the_statement(error: &DbError) -> bool {
    error.code == "57014" || ["53", "58", "XX"].iter().any(|class| error.code.starts_with(class))
}

/// Whether the error is a conflict, or a key that another transaction may have committed since the
/// snapshot.
fn is_row_conflict(error: &DbError) -> bool {
    matches!(error.code.as_str(), "40001" | "40P01" | "23505" | "23503")
}

fn is_conflict(error: &DbError, worker: &Worker) -> bool {
    let moved = || worker.transaction.as_ref().is_some_and(|t| t.snapshot.is_stale());
    match error.code.as_str() {
        "40001" | "40P01" => true,
        "23505" | "23503" => moved(),
        _ => false,
    }
}

/// Detaches the transaction after its statement was cancelled. Returns the failure to report.
async fn release_locks(worker: &mut Worker, saved: bool) -> Failure {
    let released = async {
        if saved {
            worker.rollback_statement().await?;
        }
        worker.detach().await
    };
    match released.await {
        Ok(()) => Failure::Interrupted,
        Err(failure) => failure,
    }
}

/// Lets PostgreSQL judge a Bind. After [`Failure::Interrupted`] it must run again.
pub(crate) async fn try_bind(
    worker: &mut Worker,
    bind: &Message,
    policy: CancelPolicy,
) -> Result<(), Failure> {
    match worker.bind(bind, policy).await {
        Err(Failure::Interrupted) => {
            let Some(transaction) = &worker.transaction else { return Err(Failure::Interrupted) };
            if transaction.write_set == WriteSetState::InTables {
                return Err(release_locks(worker, true).await);
            }
            worker.rollback_statement().await?;
            Err(Failure::Interrupted)
        }
        other => other,
    }
}

async fn run_ddl(
    worker: &mut Worker,
    context: AttemptContext<'_>,
    run: &Run,
    execution: &Execution,
    policy: CancelPolicy,
) -> Result<Attempt, Failure> {
    let job = run.job.clone().map(|job| (job, (context.new_job_id)()));
    let ddl = Ddl { execution: execution.clone(), job };
    let checked = async {
        worker.check_all(&run.checks).await?;
        worker.run_ddl(&ddl, context.new_job_id, policy).await
    };
    let mut answer = match checked.await {
        // A transaction with DDL has no rows, so there is nothing to keep.
        Err(Failure::Interrupted) => return Err(release_locks(worker, false).await),
        other => other?,
    };
    if let Some(error) = answer.error.take() {
        return Err(Failure::Refused(error));
    }
    if let Some(transaction) = &mut worker.transaction {
        transaction.ddl = Some(ddl);
        transaction.has_run = true;
    }
    Ok(done(answer))
}

/// Records the effects of a statement, or refuses it if the transaction exceeds the row limit.
fn record(
    worker: &mut Worker,
    context: AttemptContext<'_>,
    run: &Run,
    execution: &Execution,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let Some(transaction) = &mut worker.transaction else { return Ok(()) };
    let effect = std::mem::take(&mut answer.effect);
    let rows = effect.footprint.rows;
    check_rows(transaction.effect.footprint.rows + rows, context)?;
    transaction.settings.extend(effect.settings.iter().map(|text| text.as_str().into()));
    transaction.effect.merge(effect);
    transaction.has_run = true;
    transaction.has_dml |= rows > 0;
    if run.class == Class::Setting {
        let text = execution.text.as_deref().unwrap_or(&execution.statement.text);
        transaction.settings.push(text.into());
    }
    Ok(())
}

/// aurora-dsql.md#limits: refused at the statement.
fn check_rows(rows: u64, context: AttemptContext<'_>) -> Result<(), Failure> {
    if rows > context.max_rows {
        return Err(Failure::Refused(DbError::new("54000", "transaction row limit exceeded")));
    }
    Ok(())
}

/// Runs a statement in shadow tables, which are copies from the transaction's snapshot. The
/// transaction has lost, unless the statement changes nothing.
async fn run_in_shadow_tables(
    worker: &mut Worker,
    context: AttemptContext<'_>,
    execution: &Execution,
    policy: CancelPolicy,
) -> Result<Answer, Failure> {
    // A failure that cannot be hidden until COMMIT is reported as a conflict at once.
    let as_conflict = |failure: Failure| match failure {
        Failure::Interrupted => Failure::Refused(conflict()),
        Failure::Refused(error) if !is_not_of_the_statement(&error) => {
            tracing::debug!(%error, "a transaction that has lost cannot continue in shadow tables");
            Failure::Refused(conflict())
        }
        other => other,
    };
    if execution.copy_data.is_some() {
        return Err(Failure::Refused(conflict()));
    }
    worker.lock_tables_of(execution, policy).await.map_err(|failure| match failure {
        Failure::Interrupted => Failure::Refused(conflict()),
        other => other,
    })?;
    let detached = match worker.transaction.as_ref().map(|transaction| &transaction.write_set) {
        Some(WriteSetState::Detached(work)) => Some(work.clone()),
        _ => None,
    };
    worker.use_shadow_tables(policy).await.map_err(as_conflict)?;
    let shadows = match worker.transaction.as_ref().map(|transaction| &transaction.write_set) {
        Some(WriteSetState::InShadowTables(shadows)) => shadows.clone(),
        _ => return Err(Failure::Refused(conflict())),
    };
    let text = unqualified(&execution.statement, &shadows);
    let execution =
        Execution { text: Some(text.into()), locks: None, limit: None, ..execution.clone() };
    let mut answer = match worker.run(&execution, true, policy).await {
        Err(failure) => return Err(as_conflict(failure)),
        Ok(answer) => answer,
    };
    if let Some(error) = answer.error.take() {
        return Err(Failure::Refused(with_table_schema(error, &shadows)));
    }
    let written = answer.written_rows();
    if let (Some(work), Some(0)) = (detached, written)
        && !changes_in_parentheses(&execution.statement.tokens)
    {
        worker.leave_shadow_tables(work).await?;
    }
    let written = written.unwrap_or(0);
    if let Some(transaction) = &mut worker.transaction {
        let footprint = &mut transaction.effect.footprint;
        footprint.rows += written;
        check_rows(footprint.rows, context)?;
        transaction.has_run = true;
        transaction.has_dml |= written > 0;
        transaction.effect.sync_index = answer.effect.sync_index;
    }
    answer.effect = super::report::Effect::default();
    Ok(answer)
}

/// Replaces the schema of a shadow table in an error by that of its table.
fn with_table_schema(mut error: DbError, shadows: &[ShadowedTable]) -> DbError {
    const SCHEMA: u8 = b's';
    let table = error.other(b't');
    let shadow = shadows.iter().find(|shadow| Some(shadow.name.as_str()) == table);
    let schema = error.others.iter().position(|(field, _)| *field == SCHEMA);
    if let (Some(shadow), Some(at)) = (shadow, schema) {
        error.others[at].1.clone_from(&shadow.schema);
    }
    error
}

/// The text of a statement in which qualified names of tables refer to their shadow tables.
fn unqualified(statement: &Statement, shadows: &[ShadowedTable]) -> String {
    let mut edit = Edit::default();
    for parts in statement.tokens.windows(3) {
        let [schema, dot, table] = parts else { continue };
        let (Some(schema_name), Some(table_name)) = (schema.word(), table.word()) else { continue };
        let copied = || {
            shadows.iter().any(|shadow| shadow.schema == schema_name && shadow.name == table_name)
        };
        if dot.is_mark('.') && copied() {
            edit.replace(schema, schema, "pg_temp");
        }
    }
    edit.apply(statement)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::split;

    fn shadowed(schema: &str, name: &str) -> ShadowedTable {
        ShadowedTable { oid: "16384".into(), schema: schema.into(), name: name.into() }
    }

    #[test]
    fn an_error_in_a_shadow_table_names_its_table() {
        let shadows = [shadowed("s", "t")];
        let error = |schema: &str| {
            let mut error = DbError::new("23505", "duplicate key value");
            error.others = vec![(b's', schema.to_owned()), (b't', "t".to_owned())];
            error
        };
        assert_eq!(with_table_schema(error("pg_temp_3"), &shadows), error("s"));
        assert_eq!(with_table_schema(error("pg_temp_3"), &[]), error("pg_temp_3"));
    }

    #[test]
    fn qualified_names_refer_to_the_shadow_tables() {
        let shadows = [shadowed("public", "t")];
        let text = |sql: &str| unqualified(&split(sql).remove(0), &shadows);
        assert_eq!(
            text("SELECT public.t.a FROM Public.T JOIN public.u ON true WHERE b = 'public.t'"),
            "SELECT pg_temp.t.a FROM pg_temp.T JOIN public.u ON true WHERE b = 'public.t'"
        );
        assert_eq!(text("SELECT * FROM t"), "SELECT * FROM t");
    }
}

//! Locking queries (aurora-dsql.md#locks): each is changed to report the rows that it locks.

use std::sync::Arc;

use super::Session;
use crate::{
    engine::{
        in_flight::CancelPolicy, monitored::Failure, names::UpstreamName, statement::Execution,
        worker::Worker,
    },
    rules::{LockStrength, LockedTable, Locking},
    sql::literal,
};

/// The maximum number of cached statements.
const MAX_REPORTING_STATEMENTS: usize = 256;
/// The prefix of a statement that PostgreSQL checks and does not run.
const EXPLAIN: &str = "EXPLAIN ";

/// A prepared statement that runs a locking query and reports the rows that it locks.
#[derive(Clone, Debug)]
pub(super) struct ReportingStatement {
    /// The version of the catalog that it was made for.
    catalog: usize,
    settings_version: u64,
    /// The types of its parameters.
    types: Arc<[u32]>,
    prepared: Arc<UpstreamName>,
    /// The strength of the locks that PostgreSQL itself takes.
    locks: Option<LockStrength>,
}

impl Session {
    /// Changes a statement so that it reports the rows that it locks.
    pub(super) async fn add_locks(
        &mut self,
        worker: &mut Worker,
        execution: &mut Execution,
        locking: &Locking,
        policy: CancelPolicy,
    ) -> Result<(), Failure> {
        let Some(transaction) = &worker.transaction else { return Ok(()) };
        if transaction.has_lost() {
            // The locks of a transaction that has lost have no effect.
            return Ok(());
        }
        if transaction.read_only {
            // PostgreSQL's own error for a lock in a read-only transaction.
            if execution.prepared.is_none() {
                execution.text = Some(locking.text.as_str().into());
            }
            return Ok(());
        }
        let known = self.reporting_statement(worker, execution, locking, policy).await?;
        (execution.text, execution.prepared) = (None, Some(known.prepared));
        execution.locks = known.locks;
        Ok(())
    }

    async fn reporting_statement(
        &mut self,
        worker: &mut Worker,
        execution: &Execution,
        locking: &Locking,
        policy: CancelPolicy,
    ) -> Result<ReportingStatement, Failure> {
        let (catalog, settings_version) = (self.cluster.versions.current(), self.settings_version);
        let is_current = |known: &&ReportingStatement| {
            (known.catalog, known.settings_version) == (catalog, settings_version)
                && known.types == execution.types
        };
        let text = &execution.statement.text;
        if let Some(known) = self.locking.get(text).filter(is_current) {
            return Ok(known.clone());
        }
        let name = self.new_name();
        let (prepared, locks) = match prepare(worker, execution, locking, name, policy).await {
            Err(Failure::Interrupted) => {
                worker.rollback_statement().await?;
                return Err(Failure::Interrupted);
            }
            other => other?,
        };
        if self.locking.len() >= MAX_REPORTING_STATEMENTS {
            self.locking.clear();
        }
        let known = ReportingStatement {
            catalog,
            settings_version,
            types: execution.types.clone(),
            prepared: Arc::new(prepared),
            locks,
        };
        self.locking.insert(text.clone(), known.clone());
        Ok(known)
    }
}

/// Prepares the statement that reports the locked rows. Returns it and the strength of the locks
/// that PostgreSQL itself takes.
async fn prepare(
    worker: &mut Worker,
    execution: &Execution,
    locking: &Locking,
    name: String,
    policy: CancelPolicy,
) -> Result<(UpstreamName, Option<LockStrength>), Failure> {
    worker.savepoint_statement().await?;
    let tables: Vec<&LockedTable> = locking.tables().collect();
    if locking.can_report() {
        check(worker, execution, locking, policy).await?;
    }
    let calls = if tables.is_empty() { Vec::new() } else { calls(worker, &tables).await? };
    let call = |table: &LockedTable| {
        let position = tables.iter().position(|known| **known == *table)?;
        calls.get(position).cloned().flatten()
    };
    let (text, locks) = locking.reporting(&execution.statement, call);
    let (prepared, _) = worker.prepare(name, &text, &execution.types, policy).await?;
    Ok((prepared, locks))
}

/// Lets PostgreSQL check the statement with its locking clauses: their place in the query, and the
/// rights on the tables.
async fn check(
    worker: &mut Worker,
    execution: &Execution,
    locking: &Locking,
    policy: CancelPolicy,
) -> Result<(), Failure> {
    let mut explain = execution.clone();
    explain.text = Some(format!("{EXPLAIN}{}", locking.text).into());
    (explain.locks, explain.describe) = (None, false);
    explain.bind.result_formats.clear();
    let answer = worker.run(&explain, false, policy).await?;
    match answer.error {
        None => Ok(()),
        Some(mut error) => {
            // PostgreSQL would find it when it plans the statement.
            worker.bound = false;
            error.position = error.position.map(|at| at.saturating_sub(EXPLAIN.len()).max(1));
            Err(Failure::Refused(error))
        }
    }
}

/// The function calls that report a row of each table; `None` for what is not a plain table.
async fn calls(
    worker: &mut Worker,
    tables: &[&LockedTable],
) -> Result<Vec<Option<String>>, Failure> {
    // The names are resolved with the client's search path.
    let oids: Vec<String> = tables
        .iter()
        .map(|table| {
            format!("pg_catalog.to_regclass({})::pg_catalog.oid", literal(&table.relation))
        })
        .collect();
    let found = worker.as_client_query(&format!("SELECT {}", oids.join(", "))).await?;
    let oids = found.into_iter().next().unwrap_or_default();
    let expressions: Vec<String> = oids
        .iter()
        .zip(tables)
        .map(|(oid, table)| {
            let oid = oid.as_deref().unwrap_or("0");
            format!(
                "(SELECT pg_catalog.format(entries, {}) \
                 FROM pg_toast_temp_dsql.instrumented WHERE rel = {oid})",
                literal(&table.alias)
            )
        })
        .collect();
    let sql = format!("SELECT {}", expressions.join(", "));
    let found = worker.as_superuser(&sql, CancelPolicy::internal()).await?;
    let entries = found.into_iter().next().unwrap_or_default();
    let call = |(entries, table): (Option<String>, &&LockedTable)| {
        let class = table.strength.class();
        entries.map(|entries| format!("pg_catalog.dsql_emulator_lock('{class}', {entries})"))
    };
    Ok(entries.into_iter().zip(tables).map(call).collect())
}

//! Queries that lock rows (facts §1.4): each is made to tell which.

use std::sync::Arc;

use super::Session;
use crate::{
    engine::{
        observed::{Failure, Urgency},
        statement::Execution,
        worker::Worker,
    },
    rules::{KeyColumns, LockStrength, LockedTable, Locking},
    sql::literal,
};

/// Remembered texts of locking queries.
const MAX_KNOWN: usize = 256;
/// What comes before a query that PostgreSQL is to look at and not to run.
const EXPLAIN: &str = "EXPLAIN ";

/// What is known of the text of a locking query.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// When it was found out: it depends on the catalog, the role and the search path.
    catalog: usize,
    epoch: u64,
    text: Option<KeyedText>,
}

/// A text with more columns: the keys of the rows that it would lock, and how strongly. `None` if
/// the tables are not plain ones.
type KeyedText = (Arc<str>, Arc<[LockStrength]>);

impl Session {
    /// Makes a query tell which rows it locks: by more columns and without its locking clause, or,
    /// where that cannot be, by locking them in PostgreSQL.
    pub(super) async fn add_locks(
        &mut self,
        worker: &mut Worker,
        execution: &mut Execution,
        locking: &Locking,
        urgency: Urgency,
    ) -> Result<(), Failure> {
        let Some(transaction) = &worker.transaction else { return Ok(()) };
        if transaction.has_lost() {
            // What it locks makes no difference any more.
            return Ok(());
        }
        let keyed = match &locking.keys {
            // PostgreSQL has the words for a lock where nothing may be written.
            Some(columns) if !transaction.read_only => {
                self.keyed_text(worker, execution, locking, columns, urgency).await?
            }
            _ => None,
        };
        match keyed {
            Some((text, keys)) => {
                (execution.text, execution.keys, execution.locks) = (Some(text), keys, None);
            }
            None => {
                let prepared = execution.prepared.is_some();
                execution.text = (!prepared).then(|| locking.text.as_str().into());
                execution.keys = Arc::new([]);
                execution.locks = Some(locking.strength);
            }
        }
        Ok(())
    }

    async fn keyed_text(
        &mut self,
        worker: &mut Worker,
        execution: &Execution,
        locking: &Locking,
        columns: &KeyColumns,
        urgency: Urgency,
    ) -> Result<Option<KeyedText>, Failure> {
        let (catalog, epoch) = (self.cluster.versions.current(), self.epoch);
        let known = self.locking.get(&execution.statement.text);
        if let Some(known) = known.filter(|k| k.catalog == catalog && k.epoch == epoch) {
            return Ok(known.text.clone());
        }
        let text = match find_out(worker, execution, locking, columns, urgency).await {
            Err(Failure::Interrupted) => {
                worker.undo_statement().await?;
                return Err(Failure::Interrupted);
            }
            other => other?,
        };
        if self.locking.len() >= MAX_KNOWN {
            self.locking.clear();
        }
        let known = Known { catalog, epoch, text: text.clone() };
        self.locking.insert(execution.statement.text.clone(), known);
        Ok(text)
    }
}

async fn find_out(
    worker: &mut Worker,
    execution: &Execution,
    locking: &Locking,
    columns: &KeyColumns,
    urgency: Urgency,
) -> Result<Option<KeyedText>, Failure> {
    // What PostgreSQL refuses of a locking clause, from its place in the query to the rights on
    // the tables, it has to see with the clause.
    let mut explain = execution.clone();
    explain.text = Some(format!("{EXPLAIN}{}", locking.text).into());
    (explain.keys, explain.locks, explain.describe) = (Arc::new([]), None, false);
    explain.bind.result_formats.clear();
    let answer = worker.run(&explain, true, urgency).await?;
    if let Some(mut error) = answer.error {
        error.position = error.position.map(|at| at.saturating_sub(EXPLAIN.len()).max(1));
        return Err(Failure::Refused(error));
    }
    let KeyColumns { before, after, tables } = columns;
    let keys = key_expressions(worker, tables).await?;
    Ok(keys.map(|keys| {
        let strengths: Vec<_> = tables.iter().map(|table| table.strength).collect();
        (format!("{before}{} {after}", keys.join(", ")).into(), strengths.into())
    }))
}

/// An expression for the keys of each table; `None` if one of them is not a plain table.
async fn key_expressions(
    worker: &mut Worker,
    tables: &[LockedTable],
) -> Result<Option<Vec<String>>, Failure> {
    // The names mean what they mean to the client.
    let oids: Vec<String> = tables
        .iter()
        .map(|table| {
            format!("pg_catalog.to_regclass({})::pg_catalog.oid", literal(&table.relation))
        })
        .collect();
    let found = worker.as_client_query(&format!("SELECT {}", oids.join(", "))).await?;
    let oids: Option<Vec<String>> =
        found.into_iter().next().unwrap_or_default().into_iter().collect();
    let Some(oids) = oids else { return Ok(None) };
    let expressions: Vec<String> = oids
        .iter()
        .zip(tables)
        .map(|(oid, table)| {
            format!(
                "(SELECT dsql_emulator.entries_expression({oid}, {}) \
                 FROM dsql_emulator.instrumented WHERE rel = {oid})",
                literal(&table.alias)
            )
        })
        .collect();
    let sql = format!("SELECT {}", expressions.join(", "));
    let found = worker.as_superuser(&sql, Urgency::shielded()).await?;
    Ok(found.into_iter().next().unwrap_or_default().into_iter().collect())
}

//! Proves that both sides have the same rows: a count and a digest of each table, over the values of
//! the target.

use std::{collections::BTreeMap, sync::Arc};

use tokio::task::JoinSet;

use super::{
    ImportError, ImportReport, Importer, Phase, PlannedTable, TableReport,
    copy::{self, Queue, Totals, Work},
    differences,
    mapping::TableMapping,
    pages::{Cursor, Pages, digest},
    preflight::Prepared,
    source::{self, ServerRow},
    sql::Side,
    target,
};
use crate::{Digest, error::counted, postgres::RowSession};

impl Importer<'_> {
    /// Reads the target, and the source unless its rows were read while they were `copied`, and
    /// compares them. The sessions that have copied read the target, and the last of them does the rest
    /// there: a firewall may have dropped a session that was idle meanwhile.
    pub(super) async fn prove(
        &mut self,
        mut prepared: Prepared,
        copied: Option<(Vec<Totals>, Vec<RowSession>)>,
    ) -> Result<ImportReport, ImportError> {
        let count = prepared.tables.len() as u64;
        let (rows, bytes) = prepared.total();
        let sides = if copied.is_some() { 1 } else { 2 };
        let progress = Arc::clone(&self.settings.progress);
        progress.begin(Phase::Proving, sides * count, sides * rows, sides * bytes);
        let was_copied = copied.is_some();
        let jobs = 0..self.settings.jobs.max(1);
        let (at_source, sessions) = match copied {
            Some(copied) => copied,
            None => {
                let sessions = jobs.clone().map(|_| prepared.source.another()).collect();
                let (read, _) = self.read_all(Side::Source, sessions, &mut prepared).await?;
                (read, jobs.map(|_| self.target.rows()).collect())
            }
        };
        let (at_target, sessions) = self.read_all(Side::Target, sessions, &mut prepared).await?;
        let mut session = sessions.into_iter().next_back().unwrap_or_else(|| self.target.rows());
        let mut report = ImportReport {
            source_version: prepared.plan.source_version.clone(),
            shards: prepared.plan.shards,
            logical_database: self.logical_name.clone(),
            tables: Vec::new(),
            left_out: prepared.plan.left_out,
            differences: Vec::new(),
            differing_rows: 0,
            notes: prepared.plan.notes.clone(),
            objections: Vec::new(),
            is_target_used: false,
            is_rehearsal: self.settings.rehearse,
        };
        let mut by_name = BTreeMap::new();
        let sides = at_source.into_iter().zip(at_target);
        let planned = prepared.tables.iter().zip(&prepared.plan.tables);
        for ((table, planned), (source, target)) in planned.zip(sides) {
            report.objections.extend(unread_rows(planned, source.digest.rows()));
            let reported = TableReport {
                table: table.name.clone(),
                inserted: source.inserted,
                found: source.found,
                source: source.digest,
                target: target.digest,
            };
            report.differing_rows += source.differing_rows;
            report.differences.extend(source.differences);
            if !reported.is_exact() {
                let (settings, source) = (&self.settings, &mut prepared.source);
                let found = differences::first(source, &mut session, table, settings).await?;
                if !found.is_complete {
                    report.notes.push(format!(
                        "the search for rows of {} that differ was ended early",
                        table.name
                    ));
                }
                for found in found.rows {
                    if !report.differences.contains(&found) {
                        report.differences.push(found);
                    }
                }
            }
            by_name.insert(&table.name, reported);
        }
        report.tables = by_name.into_values().collect();
        report.differences.truncate(100);
        let used = target::used_problem(&mut session, &self.settings).await?;
        report.is_target_used = used.is_some();
        let used = used.map(|problem| problem.message);
        if was_copied {
            report.objections.extend(used);
            report.objections.extend(self.objections(&mut prepared).await?);
        } else {
            report.notes.extend(used);
        }
        Ok(report)
    }

    /// Why the result is not valid: the source has changed since the snapshot.
    async fn objections(&self, prepared: &mut Prepared) -> Result<Vec<String>, ImportError> {
        let settings = &self.settings;
        let mut objections = Vec::new();
        if settings.rehearse {
            return Ok(objections);
        }
        let shards = prepared.tables.iter().find(|table| table.name == "shards");
        let session = &mut prepared.source;
        let before = match shards {
            Some(shards) => Some((shards, self.digest(session, shards).await?)),
            None => None,
        };
        session.end_snapshot().await;
        if let Some(before) = &prepared.servers {
            let servers = ServerRow::since(&source::servers(session, settings).await?, before);
            if !servers.is_empty() {
                objections.push(format!(
                    "servers have run at the source since the snapshot: {}; stop them, run \
                     `fence-source`, and import again into an empty target",
                    servers.join("; ")
                ));
            }
        }
        if let Some((shards, before)) = before
            && self.digest(session, shards).await? != before
        {
            objections.push(
                "the shards of the source have changed since the snapshot, so a server has written \
                 there; stop it, run `fence-source`, and import again into an empty target"
                    .to_owned(),
            );
        }
        Ok(objections)
    }

    /// The digest of a small table of the source.
    async fn digest(
        &self,
        session: &mut RowSession,
        table: &Arc<TableMapping>,
    ) -> Result<Digest, ImportError> {
        let pages = Pages::compared(Arc::clone(table), Side::Source);
        let (mut cursor, mut sum) = (Cursor::default(), Digest::default());
        while !cursor.is_done {
            sum.merge(digest(&pages.read(session, &mut cursor, self.settings.retry()).await?));
        }
        Ok(sum)
    }

    /// The totals of each table of one side, which jobs read with these sessions, and the sessions.
    async fn read_all(
        &self,
        side: Side,
        sessions: Vec<RowSession>,
        prepared: &mut Prepared,
    ) -> Result<(Vec<Totals>, Vec<RowSession>), ImportError> {
        let work =
            |table: &Arc<TableMapping>| Work::new(Pages::compared(Arc::clone(table), side), false);
        let works = prepared.tables.iter().map(work).collect();
        let sessions = sessions.into_iter().map(|session| [session]).collect();
        let (sessions, _) = copy::open(sessions, [side], &self.settings).await?;
        let queue = Arc::new(Queue { works, settings: self.settings.clone() });
        let mut jobs = JoinSet::new();
        for [session] in sessions {
            let queue = Arc::clone(&queue);
            jobs.spawn(async move { sum(&queue, session).await });
        }
        queue.run(jobs, &mut prepared.source).await
    }
}

/// The objection to a table whose rows were `read` by its primary key, in another number than were
/// counted without it.
fn unread_rows(planned: &PlannedTable, read: u64) -> Option<String> {
    let PlannedTable { table, rows, .. } = planned;
    (*rows != read).then(|| {
        format!(
            "{table} of the source has {}, and its primary key finds {read}: the index is damaged; run \
             `REINDEX TABLE {table}` there, and then the same command again",
            counted(*rows, "row")
        )
    })
}

/// Adds up the digests of chunks until there is none left, and returns the session.
async fn sum(queue: &Queue, mut session: RowSession) -> Result<RowSession, ImportError> {
    while let Some((work, rows, digest)) = queue.next(&mut session).await? {
        work.add(|totals| totals.digest.merge(digest));
        queue.settings.progress.advance(rows.len(), rows.bytes());
    }
    Ok(session)
}

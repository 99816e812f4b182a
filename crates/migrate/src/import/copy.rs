//! Copies the rows of a snapshot. Jobs take chunks of any table that has some left: a chunk is read
//! under the lock of its table, and written while others read.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::MutexGuard, task::JoinSet};

use super::{
    ImportError, Phase, RowDifference, Settings,
    mapping::TableMapping,
    pages::{Cursor, Pages, digest},
    preflight::Prepared,
    sql::Side,
    target,
    values::Rows,
};
use crate::{
    DatabaseError, Digest, MigrateError, PostgresDatabase,
    postgres::{Parameter, RawRow, RowSession},
    progress::Progress,
    retry::retried,
};

/// Rows that differ are listed up to this number.
const LISTED: usize = 100;
/// How often rows of one chunk may be there and vanish.
const ROUNDS: usize = 10;
/// The session that holds the snapshot is used this often, so that nothing on the way takes it for idle.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// What was copied, or read, of a table.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) inserted: u64,
    pub(super) found: u64,
    pub(super) digest: Digest,
    pub(super) differences: Vec<RowDifference>,
    pub(super) differing_rows: u64,
}

/// A table that jobs work on.
pub(super) struct Work {
    pub(super) pages: Pages,
    /// Whether the target had rows at the beginning. They are compared before anything is sent.
    has_rows: bool,
    cursor: tokio::sync::Mutex<Cursor>,
    is_done: AtomicBool,
    totals: Mutex<Totals>,
}

impl Work {
    pub(super) fn new(pages: Pages, has_rows: bool) -> Self {
        Self {
            pages,
            has_rows,
            cursor: tokio::sync::Mutex::default(),
            is_done: AtomicBool::new(false),
            totals: Mutex::default(),
        }
    }

    pub(super) fn into_totals(self) -> Totals {
        self.totals.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, change: impl FnOnce(&mut Totals)) {
        change(&mut self.totals.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// All tables that jobs work on.
pub(super) struct Queue {
    pub(super) works: Vec<Work>,
    pub(super) settings: Settings,
}

impl Queue {
    /// A table with rows left, and its place; waits if others read all such tables. `None` at the end.
    async fn claim(&self) -> Option<(&Work, MutexGuard<'_, Cursor>)> {
        loop {
            let mut left = None;
            for work in self.works.iter().filter(|work| !work.is_done.load(Ordering::Acquire)) {
                left = left.or(Some(work));
                if let Ok(cursor) = work.cursor.try_lock()
                    && !cursor.is_done
                {
                    return Some((work, cursor));
                }
            }
            // The table may end meanwhile.
            let work = left?;
            let cursor = work.cursor.lock().await;
            if !cursor.is_done {
                return Some((work, cursor));
            }
        }
    }

    /// The next chunk of any table, with its digest; `None` at the end.
    pub(super) async fn next(
        &self,
        session: &mut RowSession,
    ) -> Result<Option<(&Work, Rows, Digest)>, ImportError> {
        let progress = &self.settings.progress;
        loop {
            if progress.stops() {
                return Err(ImportError::Interrupted { rows: progress.counts().rows });
            }
            let Some((work, mut cursor)) = self.claim().await else { return Ok(None) };
            let rows = work.pages.read(session, &mut cursor, self.settings.retry()).await?;
            if cursor.is_done {
                work.is_done.store(true, Ordering::Release);
                progress.table_done();
            }
            drop(cursor);
            if !rows.is_empty() {
                let digest = digest(&rows);
                return Ok(Some((work, rows, digest)));
            }
        }
    }

    /// Runs `jobs` until all have ended, and returns the totals of the tables and the sessions of the
    /// jobs. The first failure ends all of them. `keepalive` is used meanwhile.
    pub(super) async fn run(
        self: Arc<Self>,
        mut jobs: JoinSet<Result<RowSession, ImportError>>,
        keepalive: &mut RowSession,
    ) -> Result<(Vec<Totals>, Vec<RowSession>), ImportError> {
        let mut ticks = tokio::time::interval(KEEPALIVE);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut outcome = Ok(());
        let mut sessions = Vec::new();
        loop {
            tokio::select! {
                biased;
                ended = jobs.join_next() => match ended {
                    None => break,
                    Some(Ok(Ok(session))) => sessions.push(session),
                    // Statements that are on their way are given up. They can be repeated.
                    Some(Ok(Err(error))) => {
                        let waits = matches!(error, ImportError::Interrupted { .. });
                        outcome = outcome.and(Err(error));
                        if !waits {
                            jobs.shutdown().await;
                        }
                    }
                    Some(Err(error)) => {
                        outcome = outcome.and(Err(ImportError::Job(error.into())));
                        jobs.shutdown().await;
                    }
                },
                _ = ticks.tick() => {
                    // A session that has ended is missed only by a job that must open another one.
                    let _ = keepalive.read("SELECT 1", &[], &mut |_| true).await;
                }
            }
        }
        outcome?;
        let queue = Arc::into_inner(self);
        let queue = queue.ok_or_else(|| ImportError::Job("it still holds the tables".into()))?;
        Ok((queue.works.into_iter().map(Work::into_totals).collect(), sessions))
    }
}

/// Copies the tables of `prepared` into `target`, and returns what was copied of each, and the sessions
/// of the jobs at the target.
pub(super) async fn copy(
    prepared: &mut Prepared,
    target: &PostgresDatabase,
    settings: &Settings,
) -> Result<(Vec<Totals>, Vec<RowSession>), ImportError> {
    let (rows, bytes) = prepared.total();
    settings.progress.begin(Phase::Copying, prepared.tables.len() as u64, rows, bytes);
    let jobs = 0..settings.jobs.max(1);
    let sessions = jobs.map(|_| [prepared.source.another(), target.rows()]).collect();
    let sides = [Side::Source, Side::Target];
    let (mut sessions, note) = open(sessions, sides, settings).await?;
    if let Some(note) = note {
        settings.observer.on(Progress::Noted { note: &note });
        prepared.plan.notes.push(note);
    }
    let mut works = Vec::new();
    let [_, target] = &mut sessions[0];
    for table in &prepared.tables {
        let has_rows = target::has_rows(target, &table.name, settings).await?;
        works.push(Work::new(Pages::written(Arc::clone(table), Side::Source), has_rows));
    }
    let queue = Arc::new(Queue { works, settings: settings.clone() });
    let mut jobs = JoinSet::new();
    for [source, target] in sessions {
        let queue = Arc::clone(&queue);
        jobs.spawn(async move { Job { queue: &queue, source, target }.run().await });
    }
    queue.run(jobs, &mut prepared.source).await
}

/// Opens the sessions of each job on `sides`, and returns a note if there are fewer jobs than sessions
/// were given for: a server that admits no more connections would stop a job in the middle of its work.
pub(super) async fn open<const N: usize>(
    sessions: Vec<[RowSession; N]>,
    sides: [Side; N],
    settings: &Settings,
) -> Result<(Vec<[RowSession; N]>, Option<String>), ImportError> {
    let (retry, jobs) = (settings.retry(), sessions.len());
    let mut opened = Vec::new();
    for mut of_job in sessions {
        for (session, side) in of_job.iter_mut().zip(sides) {
            let action = format!("connecting a job to the {}", side.name());
            let mut is_full = None;
            let connected = retried!(retry, &action, async {
                match session.connect().await {
                    Err(error @ DatabaseError::Busy(_)) if !opened.is_empty() => {
                        is_full = Some(error);
                        Ok(())
                    }
                    result => result,
                }
            });
            match connected {
                Err(MigrateError::DeadlineExceeded { source, .. }) if !opened.is_empty() => {
                    is_full = Some(source);
                }
                connected => connected?,
            }
            if let Some(error) = is_full {
                let note = format!("only {} of {jobs} jobs could run: {error}", opened.len());
                return Ok((opened, Some(note)));
            }
        }
        opened.push(of_job);
    }
    Ok((opened, None))
}

/// A job with its two sessions.
struct Job<'q> {
    queue: &'q Queue,
    source: RowSession,
    target: RowSession,
}

impl Job<'_> {
    /// Copies chunks until there is none left, and returns the session at the target.
    async fn run(mut self) -> Result<RowSession, ImportError> {
        while let Some((work, rows, digest)) = self.queue.next(&mut self.source).await? {
            let (count, bytes) = (rows.len(), rows.bytes());
            self.write(work, rows).await?;
            work.add(|totals| totals.digest.merge(digest));
            self.queue.settings.progress.advance(count, bytes);
        }
        Ok(self.target)
    }

    /// Brings the rows of a chunk into the target. Rows that are there are compared.
    async fn write(&mut self, work: &Work, rows: Rows) -> Result<(), ImportError> {
        let table = &work.pages.table;
        let insert = table.insert();
        let action = format!("copying {}", table.name);
        let mut rows = rows;
        let mut compares = work.has_rows;
        for _ in 0..ROUNDS {
            if compares {
                let missing = self.compare(work, &rows).await?;
                rows = rows.select(missing);
            }
            if rows.is_empty() {
                return Ok(());
            }
            let retry = self.queue.settings.retry();
            let columns = table.columns.iter().zip(rows.columns());
            let arrays: Vec<_> =
                columns.map(|(column, values)| Parameter::Array(column.target, values)).collect();
            let inserted = retried!(retry, &action, self.target.execute(&insert, &arrays));
            let inserted = inserted.map_err(|source| rows_refused(work, &rows, source))?;
            work.add(|totals| totals.inserted += inserted);
            if inserted == rows.len() as u64 {
                return Ok(());
            }
            // Some were there: from another run, or from an attempt whose answer was lost.
            compares = true;
        }
        Err(ImportError::Unstable { table: table.name.clone() })
    }

    /// Compares rows with those of the target that have their keys, and returns the numbers of those
    /// that the target does not have.
    async fn compare(&mut self, work: &Work, rows: &Rows) -> Result<Vec<usize>, ImportError> {
        let table = &work.pages.table;
        let states = states(&mut self.target, table, rows, &self.queue.settings).await?;
        let mut missing = Vec::new();
        let mut found = 0;
        for (number, state) in states.into_iter().enumerate() {
            match state {
                State::Missing => missing.push(number),
                State::Equal => found += 1,
                State::Different(columns) if self.replaces_seed(work, rows, number).await? => {
                    drop(columns);
                    work.add(|totals| totals.inserted += 1);
                }
                State::Different(columns) => work.add(|totals| {
                    totals.differing_rows += 1;
                    if totals.differences.len() < LISTED {
                        let key = table.key.iter().map(|at| rows.columns()[*at].get(number));
                        let (table, key) = (table.name.clone(), table.shown_key(key));
                        totals.differences.push(RowDifference {
                            table,
                            key,
                            columns,
                            only_at: None,
                        });
                    }
                }),
            }
        }
        work.add(|totals| totals.found += found);
        Ok(missing)
    }

    /// Writes a row in place of one that the setup of the target wrote, if that is still there.
    async fn replaces_seed(
        &mut self,
        work: &Work,
        rows: &Rows,
        number: usize,
    ) -> Result<bool, ImportError> {
        let table = &work.pages.table;
        for text in table.replace_seeds() {
            let values = table.columns.iter().zip(rows.row(number));
            let values: Vec<_> =
                values.map(|(column, value)| Parameter::Value(column.target, value)).collect();
            let retry = self.queue.settings.retry();
            let action = format!("replacing the initial row of {}", table.name);
            // If the answer to an attempt was lost, the next one changes no row, and the row differs no
            // more.
            let mut attempts = 0;
            let replaced = retried!(retry, &action, {
                attempts += 1;
                self.target.execute(&text, &values)
            })?;
            if replaced > 0 || attempts > 1 && self.is_equal(work, rows, number).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the target has exactly this row.
    async fn is_equal(
        &mut self,
        work: &Work,
        rows: &Rows,
        number: usize,
    ) -> Result<bool, ImportError> {
        let table = &work.pages.table;
        let row = rows.select([number]);
        let states = states(&mut self.target, table, &row, &self.queue.settings).await?;
        Ok(matches!(states[..], [State::Equal]))
    }
}

/// What the target has for the key of a row.
#[derive(Clone)]
pub(super) enum State {
    Missing,
    Equal,
    /// The columns that differ.
    Different(Vec<String>),
}

/// What the target has for the key of each of `rows`.
pub(super) async fn states(
    target: &mut RowSession,
    table: &TableMapping,
    rows: &Rows,
    settings: &Settings,
) -> Result<Vec<State>, ImportError> {
    let keys = table.key.iter();
    let keys: Vec<_> =
        keys.map(|at| Parameter::Array(table.columns[*at].target, &rows.columns()[*at])).collect();
    let (retry, text) = (settings.retry(), table.by_keys(Side::Target));
    let action = format!("comparing {} of the target", table.name);
    Ok(retried!(retry, &action, read_states(target, table, &text, &keys, rows))?)
}

async fn read_states(
    session: &mut RowSession,
    table: &TableMapping,
    text: &str,
    keys: &[Parameter<'_>],
    rows: &Rows,
) -> Result<Vec<State>, DatabaseError> {
    let key_of = |number: usize| -> Vec<Option<&[u8]>> {
        table.key.iter().map(|at| rows.columns()[*at].get(number)).collect()
    };
    let numbers: HashMap<_, _> = (0..rows.len()).map(|number| (key_of(number), number)).collect();
    let mut states = vec![State::Missing; rows.len()];
    let mut visit = |found: &RawRow<'_>| {
        let key: Vec<_> = table.key.iter().map(|at| found.value(*at)).collect();
        if let Some(number) = numbers.get(&key) {
            let columns = table.columns.iter().zip(rows.row(*number)).enumerate();
            let differ = columns.filter(|(at, (_, value))| found.value(*at) != *value);
            let differ: Vec<_> = differ.map(|(_, (column, _))| column.name.clone()).collect();
            states[*number] =
                if differ.is_empty() { State::Equal } else { State::Different(differ) };
        }
        true
    };
    session.read(text, keys, &mut visit).await?;
    Ok(states)
}

fn rows_refused(work: &Work, rows: &Rows, source: MigrateError) -> ImportError {
    let table = &work.pages.table;
    let key =
        |number: usize| table.shown_key(table.key.iter().map(|at| rows.columns()[*at].get(number)));
    match source {
        refused @ MigrateError::Database { source: DatabaseError::Refused(_), .. } => {
            ImportError::Rows {
                table: table.name.clone(),
                first: key(0),
                last: key(rows.len() - 1),
                source: Box::new(refused),
            }
        }
        other => other.into(),
    }
}

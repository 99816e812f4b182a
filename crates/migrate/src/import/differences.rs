//! The first rows that make two sides differ, for a report.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    ImportError, RowDifference, Settings,
    copy::{State, states},
    mapping::TableMapping,
    pages::{Cursor, Pages},
    report::Place,
    sql::Side,
    target::unknown_keys,
};
use crate::postgres::RowSession;

/// The rows of one table that are listed.
const LISTED: usize = 10;

/// What a search has found.
pub(super) struct Found {
    pub(super) rows: Vec<RowDifference>,
    /// Whether the search has ended by itself.
    pub(super) is_complete: bool,
}

/// The first rows of `table` that differ, or that only one side has. Reads each side until it has found
/// some, until [`Timeouts::search`](crate::Timeouts::search), or until the import is asked to stop: both
/// sums are known, and a table may be large. A row that only the target has is found if the source can be
/// asked for its key.
pub(super) async fn first(
    source: &mut RowSession,
    target: &mut RowSession,
    table: &Arc<TableMapping>,
    settings: &Settings,
) -> Result<Found, ImportError> {
    let start = Instant::now();
    let is_due = || settings.progress.stops() || start.elapsed() >= settings.timeouts.search;
    let mut found = Vec::new();
    let difference = |key, columns, only_at| {
        let table = table.name.clone();
        RowDifference { table, key, columns, only_at }
    };
    let pages = Pages::written(Arc::clone(table), Side::Source);
    let mut cursor = Cursor::default();
    while !cursor.is_done && found.len() < LISTED && !is_due() {
        let rows = pages.read(source, &mut cursor, settings.retry()).await?;
        if rows.is_empty() {
            break;
        }
        let states = states(target, table, &rows, settings).await?;
        for (number, state) in states.into_iter().enumerate() {
            let key =
                || table.shown_key(table.key.iter().map(|at| rows.columns()[*at].get(number)));
            match state {
                State::Equal => {}
                State::Missing => found.push(difference(key(), Vec::new(), Some(Place::Source))),
                State::Different(columns) => found.push(difference(key(), columns, None)),
            }
        }
    }
    let mut is_complete = cursor.is_done || found.len() >= LISTED;
    found.truncate(LISTED);
    if !table.keeps_keys() {
        return Ok(Found { rows: found, is_complete });
    }
    let pages = Pages::written(Arc::clone(table), Side::Target);
    let mut cursor = Cursor::default();
    let mut unknown = Vec::new();
    while !cursor.is_done && unknown.len() < LISTED && !is_due() {
        let rows = pages.read(target, &mut cursor, settings.retry()).await?;
        unknown.extend(unknown_keys(source, table, &rows, settings).await?);
    }
    is_complete &= cursor.is_done || unknown.len() >= LISTED;
    unknown.truncate(LISTED);
    let unknown = unknown.into_iter();
    found.extend(unknown.map(|key| difference(key, Vec::new(), Some(Place::Target))));
    Ok(Found { rows: found, is_complete })
}

//! The first rows that make two sides differ, for a report.

use std::sync::Arc;

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

/// The first rows of `table` that differ, or that only one side has. Reads each side until it has found
/// some. A row that only the target has is found if the source can be asked for its key.
pub(super) async fn first(
    source: &mut RowSession,
    target: &mut RowSession,
    table: &Arc<TableMapping>,
    settings: &Settings,
) -> Result<Vec<RowDifference>, ImportError> {
    let mut found = Vec::new();
    let difference = |key, columns, only_at| {
        let table = table.name.clone();
        RowDifference { table, key, columns, only_at }
    };
    let pages = Pages::written(Arc::clone(table), Side::Source);
    let mut cursor = Cursor::default();
    while !cursor.is_done && found.len() < LISTED {
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
    found.truncate(LISTED);
    if !table.keeps_keys() {
        return Ok(found);
    }
    let pages = Pages::written(Arc::clone(table), Side::Target);
    let mut cursor = Cursor::default();
    let mut unknown = Vec::new();
    while !cursor.is_done && unknown.len() < LISTED {
        let rows = pages.read(target, &mut cursor, settings.retry()).await?;
        unknown.extend(unknown_keys(source, table, &rows, settings).await?);
    }
    unknown.truncate(LISTED);
    let unknown = unknown.into_iter();
    found.extend(unknown.map(|key| difference(key, Vec::new(), Some(Place::Target))));
    Ok(found)
}

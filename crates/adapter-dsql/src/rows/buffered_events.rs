//! `buffered_events`: events of a run that wait for its workflow task to end.
//!
//! # Ids
//! The table is read in the order of `id`, which is unique in the table and not only in the run
//! (temporal-persistence.md#buffered-events, temporal-persistence.md#fault-7). An id is a position
//! and a random number:
//!
//! ```text
//! 0 | 15 bits: the position in the run's buffer | 48 bits: random
//! ```
//!
//! The position follows the largest id of the run, which the same statement reads. The caller holds
//! the lock of the `executions` row, so no other transaction appends to the same buffer. The random
//! bits make the ids of different runs distinct. If two runs draw the same 48 bits for the same
//! position, the later insert fails with [`StoreError::AlreadyExists`] for this table; nothing was
//! written, and the next attempt draws again. With ten thousand buffered events this happens to one
//! insert in 28 billion.
//!
//! The upper bits of an id that the Go fork wrote are a time. It is read as a position, so events that
//! are appended follow it.
//!
//! After position 32,767 the arithmetic overflows: [`StoreError::Limit`]. A buffer starts again at
//! position 1 when it is emptied, as at the end of every workflow task.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{DataBlob, ExecutionsFilter, RunId, Table};
use temporal_dsql_ports::{Cause, StoreError};

use super::{
    decode::Columns,
    executions::{key, set_id_of, set_run_ids},
    payload::Payload,
    session::exact,
};
use crate::{
    arguments::Arguments,
    error::BufferFull,
    statement::{Meta, SqlFile, Statement},
};

const RANDOM_BITS: u32 = 48;
const MAX_POSITIONS: usize = (1 << 15) - 1;

const FILE: SqlFile =
    SqlFile::new(Table::BufferedEvents, include_str!("../../sql/buffered_events.sql"));

pub(super) static INSERT: Meta = FILE.write("InsertIntoBufferedEvents");
pub(super) static SELECT: Meta = FILE.read("SelectFromBufferedEvents");
pub(super) static DELETE: Meta = FILE.write("DeleteFromBufferedEvents");
static DELETE_SOME: Meta =
    FILE.write("DeleteSomeFromBufferedEvents").of_operation("DeleteFromBufferedEvents");

/// The statements of this module.
pub(super) const STATEMENTS: [&Meta; 4] = [&INSERT, &SELECT, &DELETE, &DELETE_SOME];

/// Adds events to the size of a statement.
pub(super) fn check(
    payload: &mut Payload,
    run: &ExecutionsFilter,
    events: &[DataBlob],
) -> Result<(), StoreError> {
    let key = 4 + 16 + run.workflow_id.len() + 16 + 8;
    events.iter().try_for_each(|event| payload.blob(Table::BufferedEvents, key, event))
}

/// Sets the columns of events to append to the buffers of runs of one id, each run once.
///
/// # Errors
/// There are more events for a run than its buffer has positions.
pub(super) fn set_events<'a>(
    arguments: &mut Arguments<'a>,
    events: &[(RunId, &'a [DataBlob])],
) -> Result<(), StoreError> {
    let mut of_runs = Vec::new();
    let mut run_ids = Vec::new();
    for (run_id, events) in events {
        of_runs.extend(relative_ids(events.len(), || fastrand::u64(..))?);
        run_ids.extend(events.iter().map(|_| run_id.0));
    }
    let table = Table::BufferedEvents;
    arguments.set_column(table, "run_id", run_ids);
    arguments.set_column(table, "relative_id", of_runs);
    let blobs = events.iter().flat_map(|(_, events)| *events);
    arguments.set_blobs(table, ["data", "data_encoding"], blobs);
    Ok(())
}

/// The ids of `count` events, relative to the position of the last one: ascending, with random
/// numbers in the low bits.
pub(super) fn relative_ids(
    count: usize,
    mut random: impl FnMut() -> u64,
) -> Result<Vec<i64>, StoreError> {
    if count > MAX_POSITIONS {
        return Err(StoreError::from(BufferFull(Cause::new(format!("{count} events at once")))));
    }
    let below = (1_u64 << RANDOM_BITS) - 1;
    Ok((1..=count as u64)
        .map(|position| (position << RANDOM_BITS | random() & below) as i64)
        .collect())
}

/// The statement that appends events.
pub(super) fn insert(run: &ExecutionsFilter, events: &[DataBlob]) -> Result<Statement, StoreError> {
    check(&mut Payload::default(), run, events)?;
    let mut arguments = Arguments::default();
    set_id_of(&mut arguments, run);
    set_events(&mut arguments, &[(run.run_id, events)])?;
    Ok(exact(&INSERT, run.shard_id, &arguments))
}

/// The statement that empties a buffer, or deletes the first `limit` events of it.
pub(super) fn delete(run: &ExecutionsFilter, limit: Option<u32>) -> Statement {
    if let Some(limit) = limit {
        let mut arguments = key(run);
        arguments.set("limit", i64::from(limit));
        return exact(&DELETE_SOME, run.shard_id, &arguments);
    }
    let mut arguments = Arguments::default();
    set_id_of(&mut arguments, run);
    set_run_ids(&mut arguments, "cleared_run_ids", [run.run_id]);
    exact(&DELETE, run.shard_id, &arguments)
}

/// Reads a row of the answer of [`SELECT`].
pub(super) fn decode(row: &PgRow) -> Result<DataBlob, StoreError> {
    Columns::new(Table::BufferedEvents, row).blob("data", "data_encoding")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_ascend_for_all_random_numbers() {
        let mut random = fastrand::Rng::with_seed(7);
        let ids = relative_ids(MAX_POSITIONS, || random.u64(..)).unwrap();
        assert!(ids[0] > 0, "positive, up to the last");
        assert!(ids.is_sorted_by(|one, next| one < next));
        assert_eq!(ids.iter().map(|id| id >> RANDOM_BITS).max(), Some(32_767));
        let extremes = [u64::MAX, 0];
        let mut extremes = extremes.iter().copied();
        let [first, second] = relative_ids(2, || extremes.next().unwrap()).unwrap()[..] else {
            panic!("two ids");
        };
        assert!(first < second);
    }

    #[test]
    fn more_events_than_positions_are_refused_before_anything_is_sent() {
        let error = relative_ids(MAX_POSITIONS + 1, || 0).unwrap_err();
        assert!(matches!(error, StoreError::Limit { .. }), "{error:?}");
    }
}

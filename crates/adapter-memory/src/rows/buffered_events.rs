//! The buffered events of a run, and the ids that keep them in order
//! (temporal-persistence.md#buffered-events).
//!
//! An id is the index of the event in the buffer of its run, above 48 random bits. The index orders
//! the events of a run without a clock or a shared sequence. The random bits make the id unique among
//! all runs, which the table's unique index on the id requires.

use temporal_dsql_domain::{DataBlob, ExecutionsFilter, Table};
use temporal_dsql_ports::{
    Cause, StoreError,
    limits::{LimitKind, OversizedRow},
};

use super::history_execution::run_key;
use crate::{
    key::{Column, Key, NewRow, UniqueIndex},
    limited_transaction::{LimitedTransaction, count},
};

const BY_ID: UniqueIndex =
    UniqueIndex { table: Table::BufferedEvents, name: "idx_buffered_events_id" };

/// The random bits of an id.
const RANDOM_BITS: u32 = 48;
/// The largest index with which the id is positive.
const LAST_INDEX: i64 = i64::MAX >> RANDOM_BITS;

/// An event with its id.
#[derive(Clone)]
struct BufferedEvent {
    id: i64,
    event: DataBlob,
}

impl BufferedEvent {
    /// The row to write, checked against the limits.
    fn row(self, run: &ExecutionsFilter) -> Result<NewRow, OversizedRow> {
        NewRow::new(key(run, self.id), &self, &[("data", self.event.data.len())])
    }
}

fn key(run: &ExecutionsFilter, id: i64) -> Key {
    run_key(Table::BufferedEvents, run).with([Column::BigInt(id)])
}

fn entry(id: i64) -> Key {
    Key::of_entry(BY_ID, [Column::BigInt(id)])
}

/// The rows of events, without their ids, checked against the limits.
pub(super) fn check(
    run: &ExecutionsFilter,
    events: &[DataBlob],
) -> Result<Vec<NewRow>, OversizedRow> {
    events.iter().map(|event| BufferedEvent { id: 0, event: event.clone() }.row(run)).collect()
}

/// Appends events after the stored ones.
pub(super) fn append(
    transaction: &mut LimitedTransaction,
    run: &ExecutionsFilter,
    events: &[DataBlob],
) -> Result<u64, StoreError> {
    append_with(transaction, run, events, |transaction| transaction.random_bits(RANDOM_BITS))
}

fn append_with(
    transaction: &mut LimitedTransaction,
    run: &ExecutionsFilter,
    events: &[DataBlob],
    random: impl Fn(&LimitedTransaction) -> i64,
) -> Result<u64, StoreError> {
    let newest = stored(transaction, run).next_back();
    let first = newest.map_or(0, |event| event.id >> RANDOM_BITS) + 1;
    let mut rows = Vec::with_capacity(events.len());
    for (index, event) in (first..).zip(events) {
        if index > LAST_INDEX {
            return Err(full());
        }
        let id = index << RANDOM_BITS | random(transaction);
        rows.push(BufferedEvent { id, event: event.clone() }.row(run)?);
        transaction.insert_entry(&entry(id))?;
    }
    transaction.insert_all(&rows)
}

fn full() -> StoreError {
    let source = Some(Cause::new(format!("a run buffers at most {LAST_INDEX} events")));
    StoreError::Limit { kind: LimitKind::Other, source }
}

pub(super) fn select(transaction: &LimitedTransaction, run: &ExecutionsFilter) -> Vec<DataBlob> {
    stored(transaction, run).map(|event| event.event.clone()).collect()
}

/// The stored events, in their order.
fn stored<'t>(
    transaction: &'t LimitedTransaction,
    run: &ExecutionsFilter,
) -> impl DoubleEndedIterator<Item = &'t BufferedEvent> {
    transaction.range(&run_key(Table::BufferedEvents, run).all())
}

pub(super) fn delete(
    transaction: &mut LimitedTransaction,
    run: &ExecutionsFilter,
    limit: Option<u32>,
) -> Result<u64, StoreError> {
    let ids: Vec<_> = stored(transaction, run).take(count(limit)).map(|event| event.id).collect();
    for id in ids {
        transaction.delete_entry(&entry(id));
    }
    transaction.delete_range(&run_key(Table::BufferedEvents, run).all(), limit)
}

#[cfg(test)]
mod tests {
    use temporal_dsql_ports::Store;
    use temporal_dsql_ports::limits::MAX_TRANSACTION_ROWS;

    use super::*;
    use crate::{
        MemoryStore,
        testing::{begin, blob, execution},
    };

    fn run(number: u128) -> ExecutionsFilter {
        execution("w", number).filter()
    }

    /// Appends an event in a transaction of its own, with these random bits.
    fn commit_with(
        store: &MemoryStore,
        run: &ExecutionsFilter,
        random: i64,
    ) -> Result<u64, StoreError> {
        let mut transaction = store.open();
        let appended = append_with(&mut transaction, run, &[blob(7)], |_| random)?;
        store.commit("Append", transaction)?;
        Ok(appended)
    }

    fn ids(store: &MemoryStore, run: &ExecutionsFilter) -> Vec<i64> {
        stored(&store.open(), run).map(|event| event.id).collect()
    }

    #[tokio::test]
    async fn an_id_is_the_index_in_the_buffer_above_random_bits() {
        let store = MemoryStore::new();
        for random in [(1 << RANDOM_BITS) - 1, 0, 5] {
            commit_with(&store, &run(1), random).unwrap();
        }
        commit_with(&store, &run(2), 9).unwrap();
        assert_eq!(ids(&store, &run(1)), [0x1_ffff_ffff_ffff, 0x2_0000_0000_0000, 3 << 48 | 5]);
        assert_eq!(ids(&store, &run(2)), [1 << 48 | 9]);
    }

    #[tokio::test]
    async fn an_emptied_buffer_starts_at_the_first_index_and_its_ids_can_be_used_again() {
        let store = MemoryStore::new();
        commit_with(&store, &run(1), 7).unwrap();
        let mut session = store.session();
        assert_eq!(session.delete_from_buffered_events(&run(1), None).await.unwrap(), 1);
        assert_eq!(store.len(), 0);
        commit_with(&store, &run(1), 7).unwrap();
        assert_eq!(ids(&store, &run(1)), [1 << 48 | 7]);
    }

    #[tokio::test]
    async fn an_id_of_another_run_is_a_duplicate() {
        let store = MemoryStore::new();
        commit_with(&store, &run(1), 7).unwrap();
        let error = commit_with(&store, &run(2), 7).unwrap_err();
        assert!(
            matches!(error, StoreError::AlreadyExists { table: Table::BufferedEvents, .. }),
            "{error:?}"
        );
        assert_eq!(store.count(Table::BufferedEvents), 1);
    }

    #[tokio::test]
    async fn one_id_for_two_runs_in_concurrent_transactions_is_a_conflict() {
        let store = MemoryStore::new();
        let (mut one, mut other) = (store.open(), store.open());
        append_with(&mut one, &run(1), &[blob(1)], |_| 7).unwrap();
        append_with(&mut other, &run(2), &[blob(2)], |_| 7).unwrap();
        store.commit("One", one).unwrap();
        let Err(StoreError::Conflict { source: Some(source), .. }) = store.commit("Other", other)
        else {
            panic!("expected a conflict");
        };
        assert!(source.to_string().contains("idx_buffered_events_id(281474976710663)"), "{source}");
    }

    #[tokio::test]
    async fn a_full_buffer_refuses_more_events_and_keeps_the_stored_ones() {
        let store = MemoryStore::new();
        let last = BufferedEvent { id: LAST_INDEX << RANDOM_BITS, event: blob(1) };
        let mut transaction = store.open();
        transaction.insert(&last.row(&run(1)).unwrap()).unwrap();
        store.commit("Fill", transaction).unwrap();

        let mut transaction = begin(&store).await;
        let error = transaction.insert_into_buffered_events(&run(1), &[blob(2)]).await.unwrap_err();
        let StoreError::Limit { kind: LimitKind::Other, source: Some(source) } = error else {
            panic!("expected a limit, got {error:?}");
        };
        assert_eq!(source.to_string(), "a run buffers at most 32767 events");
        assert!(transaction.commit().await.is_err());
        assert_eq!(store.count(Table::BufferedEvents), 1);
    }

    #[tokio::test]
    async fn an_index_entry_is_not_counted_as_a_modified_row() {
        let store = MemoryStore::new();
        let events = vec![blob(1); MAX_TRANSACTION_ROWS as usize];
        let mut session = store.session();
        assert_eq!(session.insert_into_buffered_events(&run(1), &events).await.unwrap(), 3_000);
        assert_eq!(session.delete_from_buffered_events(&run(1), None).await.unwrap(), 3_000);
        assert_eq!(store.len(), 0);
    }
}

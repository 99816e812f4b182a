//! The seven maps of a run, and the statements on them (temporal-persistence.md#chasm-nodes,
//! temporal-persistence.md#maps).
//!
//! The maps differ only in the type of their entries, which implements [`Entry`].

use std::collections::BTreeMap;

use async_trait::async_trait;
use temporal_dsql_domain::{
    ChasmNode, DataBlob, ExecutionsFilter, IdEntry, MapEntries, MapKeys, MapTable, SignalId,
    TimerEntry,
};
use temporal_dsql_ports::{ExecutionMaps, StoreError};

use super::{buffered_events, history_execution::run_key};
use crate::{
    connection::{Connection, Execute},
    key::{Column, Key, KeyOf, NewRow, StoredRow, check_statement},
    limited_transaction::LimitedTransaction,
};

/// An entry of a map.
trait Entry: StoredRow {
    /// The last column of its key.
    fn column(&self) -> Column;
}

impl StoredRow for IdEntry {
    fn values(&self) -> impl IntoIterator<Item = (&'static str, usize)> {
        [("data", self.data.data.len())]
    }
}

impl Entry for IdEntry {
    fn column(&self) -> Column {
        Column::BigInt(self.id)
    }
}

impl StoredRow for TimerEntry {
    fn values(&self) -> impl IntoIterator<Item = (&'static str, usize)> {
        [("data", self.data.data.len())]
    }
}

impl Entry for TimerEntry {
    fn column(&self) -> Column {
        Column::text(&self.timer_id)
    }
}

impl StoredRow for SignalId {
    fn values(&self) -> impl IntoIterator<Item = (&'static str, usize)> {
        []
    }
}

impl Entry for SignalId {
    fn column(&self) -> Column {
        Column::text(self)
    }
}

impl StoredRow for ChasmNode {
    fn values(&self) -> impl IntoIterator<Item = (&'static str, usize)> {
        let data = self.data.as_ref().map_or(0, Vec::len);
        [("metadata", self.metadata.data.len()), ("data", data)]
    }
}

impl Entry for ChasmNode {
    fn column(&self) -> Column {
        Column::text(&self.path)
    }
}

/// The prefix of the keys of the entries of one map.
fn map_key(run: &ExecutionsFilter, map: MapTable) -> Key {
    run_key(map.table(), run)
}

/// The entries to write, in the order of the request, checked against the limits.
pub(super) fn ready(
    run: &ExecutionsFilter,
    entries: &MapEntries,
) -> Result<Vec<NewRow>, StoreError> {
    fn each<E: Entry>(map: &Key, entries: &[E]) -> Result<Vec<NewRow>, StoreError> {
        let ready =
            |entry: &E| NewRow::new(&KeyOf::from(map.with([entry.column()])), entry.clone());
        Ok(entries.iter().map(ready).collect::<Result<_, _>>()?)
    }
    let map = map_key(run, entries.map());
    match entries {
        MapEntries::Activities(of)
        | MapEntries::ChildExecutions(of)
        | MapEntries::RequestCancels(of)
        | MapEntries::Signals(of) => each(&map, of),
        MapEntries::Timers(of) => each(&map, of),
        MapEntries::SignalsRequested(of) => each(&map, of),
        MapEntries::ChasmNodes(of) => each(&map, of),
    }
}

/// The last entry of each key, in the order of the keys.
pub(super) fn last_of_each_key(entries: Vec<NewRow>) -> BTreeMap<Key, NewRow> {
    entries.into_iter().map(|row| (row.key.clone(), row)).collect()
}

/// The keys of entries.
pub(super) fn keys(run: &ExecutionsFilter, keys: &MapKeys) -> Vec<Key> {
    let map = map_key(run, keys.map());
    let key = |column| map.with([column]);
    match keys {
        MapKeys::Activities(of)
        | MapKeys::ChildExecutions(of)
        | MapKeys::RequestCancels(of)
        | MapKeys::Signals(of) => of.iter().map(|id| key(Column::BigInt(*id))).collect(),
        MapKeys::Timers(of) => of.iter().map(|id| key(Column::text(id))).collect(),
        MapKeys::SignalsRequested(of) => of.iter().map(|id| key(Column::text(id))).collect(),
        MapKeys::ChasmNodes(of) => of.iter().map(|path| key(Column::text(path))).collect(),
    }
}

/// Writes entries of `map`. Entries that a set contains already are not written and not counted.
pub(super) fn replace<'a>(
    transaction: &mut LimitedTransaction,
    map: MapTable,
    entries: impl IntoIterator<Item = &'a NewRow>,
) -> Result<u64, StoreError> {
    match map {
        MapTable::SignalsRequested => transaction.insert_absent(entries),
        _ => transaction.replace_all(entries),
    }
}

pub(super) fn select_all(
    transaction: &LimitedTransaction,
    run: &ExecutionsFilter,
    map: MapTable,
) -> MapEntries {
    fn each<E: Entry>(transaction: &LimitedTransaction, map: &Key) -> Vec<E> {
        transaction.range(map.all()).cloned().collect()
    }
    let key = map_key(run, map);
    match map {
        MapTable::Activities => MapEntries::Activities(each(transaction, &key)),
        MapTable::Timers => MapEntries::Timers(each(transaction, &key)),
        MapTable::ChildExecutions => MapEntries::ChildExecutions(each(transaction, &key)),
        MapTable::RequestCancels => MapEntries::RequestCancels(each(transaction, &key)),
        MapTable::Signals => MapEntries::Signals(each(transaction, &key)),
        MapTable::SignalsRequested => MapEntries::SignalsRequested(each(transaction, &key)),
        MapTable::ChasmNodes => MapEntries::ChasmNodes(each(transaction, &key)),
    }
}

pub(super) fn delete_all(
    transaction: &mut LimitedTransaction,
    run: &ExecutionsFilter,
    map: MapTable,
    limit: Option<u32>,
) -> Result<u64, StoreError> {
    transaction.delete_range(map_key(run, map).all(), limit)
}

/// The names of the statements on one map.
struct Names {
    replace: &'static str,
    select_all: &'static str,
    delete: &'static str,
    delete_others: &'static str,
    delete_all: &'static str,
}

macro_rules! names {
    ($map:literal) => {
        &Names {
            replace: concat!("ReplaceInto", $map),
            select_all: concat!("SelectAllFrom", $map),
            delete: concat!("DeleteFrom", $map),
            delete_others: concat!("DeleteOthersFrom", $map),
            delete_all: concat!("DeleteAllFrom", $map),
        }
    };
}

/// The names of Temporal's methods.
const fn names(map: MapTable) -> &'static Names {
    match map {
        MapTable::Activities => names!("ActivityInfoMaps"),
        MapTable::Timers => names!("TimerInfoMaps"),
        MapTable::ChildExecutions => names!("ChildExecutionInfoMaps"),
        MapTable::RequestCancels => names!("RequestCancelInfoMaps"),
        MapTable::Signals => names!("SignalInfoMaps"),
        MapTable::SignalsRequested => names!("SignalsRequestedSets"),
        MapTable::ChasmNodes => names!("ChasmNodeMaps"),
    }
}

#[async_trait]
impl<E: Execute> ExecutionMaps for Connection<E> {
    async fn replace_into_map(
        &mut self,
        run: &ExecutionsFilter,
        entries: &MapEntries,
    ) -> Result<u64, StoreError> {
        let map = entries.map();
        let entries = ready(run, entries)?;
        check_statement(&entries)?;
        let entries = last_of_each_key(entries);
        self.executor
            .execute(names(map).replace, |transaction| replace(transaction, map, entries.values()))
            .await
    }

    async fn select_all_from_map(
        &mut self,
        run: &ExecutionsFilter,
        map: MapTable,
    ) -> Result<MapEntries, StoreError> {
        self.executor
            .execute(names(map).select_all, |transaction| Ok(select_all(transaction, run, map)))
            .await
    }

    async fn delete_from_map(
        &mut self,
        run: &ExecutionsFilter,
        keys: &MapKeys,
    ) -> Result<u64, StoreError> {
        let op = names(keys.map()).delete;
        let keys = self::keys(run, keys);
        self.executor.execute(op, |transaction| transaction.delete_all(&keys)).await
    }

    async fn delete_all_from_map(
        &mut self,
        run: &ExecutionsFilter,
        map: MapTable,
        limit: Option<u32>,
    ) -> Result<u64, StoreError> {
        self.executor
            .execute(names(map).delete_all, |transaction| delete_all(transaction, run, map, limit))
            .await
    }

    async fn delete_others_from_map(
        &mut self,
        run: &ExecutionsFilter,
        keep: &MapKeys,
    ) -> Result<u64, StoreError> {
        let map = keep.map();
        let keep = keys(run, keep).into_iter().collect();
        self.executor
            .execute(names(map).delete_others, |transaction| {
                transaction.delete_others(map_key(run, map).all(), &keep)
            })
            .await
    }

    async fn insert_into_buffered_events(
        &mut self,
        run: &ExecutionsFilter,
        events: &[DataBlob],
    ) -> Result<u64, StoreError> {
        check_statement(&buffered_events::check(run, events)?)?;
        self.executor
            .execute("InsertIntoBufferedEvents", |transaction| {
                buffered_events::append(transaction, run, events)
            })
            .await
    }

    async fn select_from_buffered_events(
        &mut self,
        run: &ExecutionsFilter,
    ) -> Result<Vec<DataBlob>, StoreError> {
        self.executor
            .execute("SelectFromBufferedEvents", |transaction| {
                Ok(buffered_events::select(transaction, run))
            })
            .await
    }

    async fn delete_from_buffered_events(
        &mut self,
        run: &ExecutionsFilter,
        limit: Option<u32>,
    ) -> Result<u64, StoreError> {
        self.executor
            .execute("DeleteFromBufferedEvents", |transaction| {
                buffered_events::delete(transaction, run, limit)
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use temporal_dsql_ports::{Store, Transaction};

    use super::*;
    use crate::{
        MemoryStore,
        engine::Lock,
        testing::{conflict, entries, execution},
    };

    fn run() -> ExecutionsFilter {
        execution("w", 1).filter()
    }

    fn activities(ids: &[i64]) -> MapEntries {
        MapEntries::Activities(entries(ids.iter().copied()))
    }

    fn signals(ids: &[&str]) -> MapEntries {
        MapEntries::SignalsRequested(ids.iter().map(|id| SignalId::new(id).unwrap()).collect())
    }

    /// Whether two transactions conflict of which each replaces entries.
    async fn replacing_conflicts(store: &MemoryStore, one: MapEntries, other: MapEntries) -> bool {
        let replace = |entries: MapEntries| {
            async move |transaction: &mut dyn Transaction| {
                transaction.replace_into_map(&run(), &entries).await.unwrap();
            }
        };
        conflict(store, replace(one), replace(other)).await
    }

    #[tokio::test]
    async fn writing_an_entry_conflicts_only_with_writing_the_same_entry() {
        for existing in [&[][..], &[1, 2]] {
            for (other, expected) in [(1, true), (2, false)] {
                let store = MemoryStore::new();
                let mut session = store.session();
                session.replace_into_map(&run(), &activities(existing)).await.unwrap();
                let conflicts =
                    replacing_conflicts(&store, activities(&[1]), activities(&[other])).await;
                assert_eq!(conflicts, expected, "{existing:?}, {other}");
            }
        }
        let store = MemoryStore::new();
        let timers = MapEntries::Signals(entries([1]));
        assert!(!replacing_conflicts(&store, activities(&[1]), timers).await, "another map");
    }

    #[tokio::test]
    async fn overwriting_an_entry_is_a_non_key_update() {
        let store = MemoryStore::new();
        store.session().replace_into_map(&run(), &activities(&[1])).await.unwrap();
        let key = map_key(&run(), MapTable::Activities).with([Column::BigInt(1)]);
        let mut share = store.open();
        share.lock(&KeyOf::<IdEntry>::from(key), Lock::ForKeyShare).unwrap();
        store.session().replace_into_map(&run(), &activities(&[1])).await.unwrap();
        store.commit("Share", share).unwrap();
    }

    #[tokio::test]
    async fn adding_an_existing_entry_to_a_set_causes_no_conflict() {
        let store = MemoryStore::new();
        store.session().replace_into_map(&run(), &signals(&["a"])).await.unwrap();
        assert!(!replacing_conflicts(&store, signals(&["a"]), signals(&["a"])).await);
        assert!(!replacing_conflicts(&store, signals(&["a", "b"]), signals(&["a", "c"])).await);
        assert!(replacing_conflicts(&store, signals(&["d"]), signals(&["d"])).await);
    }

    #[tokio::test]
    async fn deleting_the_first_entries_conflicts_with_their_writers_only() {
        for (written, expected) in [(1, true), (2, true), (3, false), (4, false)] {
            let store = MemoryStore::new();
            store.session().replace_into_map(&run(), &activities(&[1, 2, 3])).await.unwrap();
            let delete = async |transaction: &mut dyn Transaction| {
                let map = MapTable::Activities;
                let deleted = transaction.delete_all_from_map(&run(), map, Some(2)).await;
                assert_eq!(deleted.unwrap(), 2);
            };
            let write = async |transaction: &mut dyn Transaction| {
                transaction.replace_into_map(&run(), &activities(&[written])).await.unwrap();
            };
            assert_eq!(conflict(&store, delete, write).await, expected, "{written}");
        }
    }
}

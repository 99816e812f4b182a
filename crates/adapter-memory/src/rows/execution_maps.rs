//! The seven maps of a run, and the statements on them (temporal-persistence.md#chasm-nodes,
//! temporal-persistence.md#maps).

use std::any::Any;

use async_trait::async_trait;
use temporal_dsql_domain::{
    ChasmNode, DataBlob, ExecutionsFilter, IdEntry, MapEntries, MapKeys, MapTable, SignalId,
    TimerEntry,
};
use temporal_dsql_ports::{ExecutionMaps, StoreError};

use super::{buffered_events, history_execution::run_key, last_of_each_key, method_name};
use crate::{
    connection::{Connection, Execute},
    key::{Column, Key, NewRow, check_statement},
    limited_transaction::LimitedTransaction,
};

/// The prefix of the keys of the entries of one map.
pub(super) fn map_key(run: &ExecutionsFilter, map: MapTable) -> Key {
    run_key(map.table(), run)
}

/// The entries to write, in the order of the request, checked against the limits.
pub(super) fn entry_rows(
    run: &ExecutionsFilter,
    entries: &MapEntries,
) -> Result<Vec<NewRow>, StoreError> {
    let map = map_key(run, entries.map());
    let id = |entry: &IdEntry| {
        let key = map.with([Column::BigInt(entry.id)]);
        NewRow::new(key, entry, &[("data", entry.data.data.len())])
    };
    let timer = |entry: &TimerEntry| {
        let key = map.with([Column::text(&entry.timer_id)]);
        NewRow::new(key, entry, &[("data", entry.data.data.len())])
    };
    let signal = |id: &SignalId| NewRow::new(map.with([Column::text(id)]), id, &[]);
    let node = |node: &ChasmNode| {
        let data = node.data.as_ref().map_or(0, Vec::len);
        let values = [("metadata", node.metadata.data.len()), ("data", data)];
        NewRow::new(map.with([Column::text(&node.path)]), node, &values)
    };
    let rows: Result<_, _> = match entries {
        MapEntries::Activities(of)
        | MapEntries::ChildExecutions(of)
        | MapEntries::RequestCancels(of)
        | MapEntries::Signals(of) => of.iter().map(id).collect(),
        MapEntries::Timers(of) => of.iter().map(timer).collect(),
        MapEntries::SignalsRequested(of) => of.iter().map(signal).collect(),
        MapEntries::ChasmNodes(of) => of.iter().map(node).collect(),
    };
    Ok(rows?)
}

/// The keys of entries.
pub(super) fn entry_keys(run: &ExecutionsFilter, keys: &MapKeys) -> Vec<Key> {
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
pub(super) fn replace(
    transaction: &mut LimitedTransaction,
    map: MapTable,
    entries: &[NewRow],
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
    fn all<R: Any + Clone>(transaction: &LimitedTransaction, map: &Key) -> Vec<R> {
        transaction.select_range(&map.all(), None)
    }
    let key = map_key(run, map);
    match map {
        MapTable::Activities => MapEntries::Activities(all(transaction, &key)),
        MapTable::Timers => MapEntries::Timers(all(transaction, &key)),
        MapTable::ChildExecutions => MapEntries::ChildExecutions(all(transaction, &key)),
        MapTable::RequestCancels => MapEntries::RequestCancels(all(transaction, &key)),
        MapTable::Signals => MapEntries::Signals(all(transaction, &key)),
        MapTable::SignalsRequested => MapEntries::SignalsRequested(all(transaction, &key)),
        MapTable::ChasmNodes => MapEntries::ChasmNodes(all(transaction, &key)),
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
        self.0.store().check_chasm_paths([entries])?;
        let entries = entry_rows(run, entries)?;
        check_statement(&entries)?;
        let entries = last_of_each_key(entries);
        let op = method_name!("ReplaceInto", map.table());
        self.execute(op, |transaction| replace(transaction, map, &entries)).await
    }

    async fn select_all_from_map(
        &mut self,
        run: &ExecutionsFilter,
        map: MapTable,
    ) -> Result<MapEntries, StoreError> {
        let op = method_name!("SelectAllFrom", map.table());
        self.execute(op, |transaction| Ok(select_all(transaction, run, map))).await
    }

    async fn delete_from_map(
        &mut self,
        run: &ExecutionsFilter,
        keys: &MapKeys,
    ) -> Result<u64, StoreError> {
        let op = method_name!("DeleteFrom", keys.map().table());
        let keys = entry_keys(run, keys);
        self.execute(op, |transaction| transaction.delete_all(&keys)).await
    }

    async fn delete_all_from_map(
        &mut self,
        run: &ExecutionsFilter,
        map: MapTable,
        limit: Option<u32>,
    ) -> Result<u64, StoreError> {
        let op = method_name!("DeleteAllFrom", map.table());
        let keys = map_key(run, map).all();
        self.execute(op, |transaction| transaction.delete_range(&keys, limit)).await
    }

    async fn delete_others_from_map(
        &mut self,
        run: &ExecutionsFilter,
        kept: &MapKeys,
    ) -> Result<u64, StoreError> {
        let op = method_name!("DeleteOthersFrom", kept.map().table());
        let keys = map_key(run, kept.map()).all();
        let kept = entry_keys(run, kept).into_iter().collect();
        self.execute(op, |transaction| transaction.delete_others(&keys, &kept)).await
    }

    async fn insert_into_buffered_events(
        &mut self,
        run: &ExecutionsFilter,
        events: &[DataBlob],
    ) -> Result<u64, StoreError> {
        check_statement(&buffered_events::check(run, events)?)?;
        self.execute("InsertIntoBufferedEvents", |transaction| {
            buffered_events::append(transaction, run, events)
        })
        .await
    }

    async fn select_from_buffered_events(
        &mut self,
        run: &ExecutionsFilter,
    ) -> Result<Vec<DataBlob>, StoreError> {
        self.execute("SelectFromBufferedEvents", |transaction| {
            Ok(buffered_events::select(transaction, run))
        })
        .await
    }

    async fn delete_from_buffered_events(
        &mut self,
        run: &ExecutionsFilter,
        limit: Option<u32>,
    ) -> Result<u64, StoreError> {
        self.execute("DeleteFromBufferedEvents", |transaction| {
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
        share.lock::<IdEntry>(&key, Lock::ForKeyShare).unwrap();
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

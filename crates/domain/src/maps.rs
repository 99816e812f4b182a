//! The seven maps of a run, stored beside its `executions` row (temporal-persistence.md#chasm-nodes,
//! temporal-persistence.md#maps).
//!
//! They have the same key prefix and operations, and differ in the last key column and in their
//! values. So they are one type with seven variants.

use std::{borrow::Cow, collections::BTreeSet, fmt};

use crate::{ChasmPath, DataBlob, Encoding, SignalId, Table, TimerId};

/// One of the maps of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MapTable {
    /// `activity_info_maps`, by schedule id.
    Activities,
    /// `timer_info_maps`, by timer id.
    Timers,
    /// `child_execution_info_maps`, by initiated id.
    ChildExecutions,
    /// `request_cancel_info_maps`, by initiated id.
    RequestCancels,
    /// `signal_info_maps`, by initiated id.
    Signals,
    /// `signals_requested_sets`, a set of signal ids.
    SignalsRequested,
    /// `chasm_node_maps`, by path.
    ChasmNodes,
}

impl MapTable {
    /// All maps. A test compares the list with the schema, so that a deletion covers every map (temporal-persistence.md#store-suites,
    /// `TestSQLiteMutableStateTableConformance`).
    pub const ALL: [Self; 7] = [
        Self::Activities,
        Self::Timers,
        Self::ChildExecutions,
        Self::RequestCancels,
        Self::Signals,
        Self::SignalsRequested,
        Self::ChasmNodes,
    ];

    /// The table.
    pub const fn table(self) -> Table {
        match self {
            Self::Activities => Table::ActivityInfoMaps,
            Self::Timers => Table::TimerInfoMaps,
            Self::ChildExecutions => Table::ChildExecutionInfoMaps,
            Self::RequestCancels => Table::RequestCancelInfoMaps,
            Self::Signals => Table::SignalInfoMaps,
            Self::SignalsRequested => Table::SignalsRequestedSets,
            Self::ChasmNodes => Table::ChasmNodeMaps,
        }
    }
}

/// An entry of a map with a numeric key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdEntry {
    /// The schedule id or initiated id.
    pub id: i64,
    /// The serialized value.
    pub data: DataBlob,
}

/// An entry of `timer_info_maps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerEntry {
    /// The timer.
    pub timer_id: TimerId,
    /// The serialized value.
    pub data: DataBlob,
}

/// An entry of `chasm_node_maps`: one node of an execution's component tree.
#[derive(Clone, PartialEq, Eq)]
pub struct ChasmNode {
    /// The path of the node; empty for the root.
    pub path: ChasmPath,
    /// The serialized metadata.
    pub metadata: DataBlob,
    /// The serialized value. `None` is NULL, which differs from an empty value.
    pub data: Option<Vec<u8>>,
    /// The encoding of `data`; empty if it is `None`.
    pub data_encoding: Encoding,
}

impl fmt::Debug for ChasmNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChasmNode")
            .field("path", &self.path)
            .field("metadata", &self.metadata)
            .field("data_bytes", &self.data.as_ref().map(Vec::len))
            .field("data_encoding", &self.data_encoding)
            .finish()
    }
}

/// Entries of one map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapEntries {
    /// Of `activity_info_maps`.
    Activities(Vec<IdEntry>),
    /// Of `timer_info_maps`.
    Timers(Vec<TimerEntry>),
    /// Of `child_execution_info_maps`.
    ChildExecutions(Vec<IdEntry>),
    /// Of `request_cancel_info_maps`.
    RequestCancels(Vec<IdEntry>),
    /// Of `signal_info_maps`.
    Signals(Vec<IdEntry>),
    /// Of `signals_requested_sets`.
    SignalsRequested(Vec<SignalId>),
    /// Of `chasm_node_maps`.
    ChasmNodes(Vec<ChasmNode>),
}

/// Keys of entries of one map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapKeys {
    /// Of `activity_info_maps`.
    Activities(Vec<i64>),
    /// Of `timer_info_maps`.
    Timers(Vec<TimerId>),
    /// Of `child_execution_info_maps`.
    ChildExecutions(Vec<i64>),
    /// Of `request_cancel_info_maps`.
    RequestCancels(Vec<i64>),
    /// Of `signal_info_maps`.
    Signals(Vec<i64>),
    /// Of `signals_requested_sets`.
    SignalsRequested(Vec<SignalId>),
    /// Of `chasm_node_maps`.
    ChasmNodes(Vec<ChasmPath>),
}

macro_rules! of_one_map {
    ($($what:ident),*) => {$(
        impl $what {
            /// The map.
            pub const fn map(&self) -> MapTable {
                match self {
                    Self::Activities(_) => MapTable::Activities,
                    Self::Timers(_) => MapTable::Timers,
                    Self::ChildExecutions(_) => MapTable::ChildExecutions,
                    Self::RequestCancels(_) => MapTable::RequestCancels,
                    Self::Signals(_) => MapTable::Signals,
                    Self::SignalsRequested(_) => MapTable::SignalsRequested,
                    Self::ChasmNodes(_) => MapTable::ChasmNodes,
                }
            }

            /// An empty list of `map`.
            pub const fn none(map: MapTable) -> Self {
                match map {
                    MapTable::Activities => Self::Activities(Vec::new()),
                    MapTable::Timers => Self::Timers(Vec::new()),
                    MapTable::ChildExecutions => Self::ChildExecutions(Vec::new()),
                    MapTable::RequestCancels => Self::RequestCancels(Vec::new()),
                    MapTable::Signals => Self::Signals(Vec::new()),
                    MapTable::SignalsRequested => Self::SignalsRequested(Vec::new()),
                    MapTable::ChasmNodes => Self::ChasmNodes(Vec::new()),
                }
            }

            /// The number of elements.
            pub const fn len(&self) -> usize {
                match self {
                    Self::Activities(of)
                    | Self::ChildExecutions(of)
                    | Self::RequestCancels(of)
                    | Self::Signals(of) => of.len(),
                    Self::Timers(of) => of.len(),
                    Self::SignalsRequested(of) => of.len(),
                    Self::ChasmNodes(of) => of.len(),
                }
            }

            /// Whether it is empty.
            pub const fn is_empty(&self) -> bool {
                self.len() == 0
            }
        }
    )*};
}

of_one_map!(MapEntries, MapKeys);

impl MapEntries {
    /// The keys of the entries.
    pub fn keys(&self) -> MapKeys {
        let ids = |entries: &Vec<IdEntry>| entries.iter().map(|entry| entry.id).collect();
        match self {
            Self::Activities(of) => MapKeys::Activities(ids(of)),
            Self::Timers(of) => {
                MapKeys::Timers(of.iter().map(|entry| entry.timer_id.clone()).collect())
            }
            Self::ChildExecutions(of) => MapKeys::ChildExecutions(ids(of)),
            Self::RequestCancels(of) => MapKeys::RequestCancels(ids(of)),
            Self::Signals(of) => MapKeys::Signals(ids(of)),
            Self::SignalsRequested(of) => MapKeys::SignalsRequested(of.clone()),
            Self::ChasmNodes(of) => {
                MapKeys::ChasmNodes(of.iter().map(|node| node.path.clone()).collect())
            }
        }
    }

    /// The entries without those that have one of these keys.
    pub fn without(&self, keys: &MapKeys) -> Cow<'_, Self> {
        fn others<T: Clone, K: Ord>(
            entries: &[T],
            keys: &[K],
            key: impl Fn(&T) -> &K,
        ) -> Option<Vec<T>> {
            let keys: BTreeSet<_> = keys.iter().collect();
            let others: Vec<_> = entries.iter().filter(|of| !keys.contains(key(of))).collect();
            (others.len() < entries.len()).then(|| others.into_iter().cloned().collect())
        }
        fn id(entry: &IdEntry) -> &i64 {
            &entry.id
        }
        let others = match (self, keys) {
            (Self::Activities(of), MapKeys::Activities(keys)) => {
                others(of, keys, id).map(Self::Activities)
            }
            (Self::Timers(of), MapKeys::Timers(keys)) => {
                others(of, keys, |entry| &entry.timer_id).map(Self::Timers)
            }
            (Self::ChildExecutions(of), MapKeys::ChildExecutions(keys)) => {
                others(of, keys, id).map(Self::ChildExecutions)
            }
            (Self::RequestCancels(of), MapKeys::RequestCancels(keys)) => {
                others(of, keys, id).map(Self::RequestCancels)
            }
            (Self::Signals(of), MapKeys::Signals(keys)) => others(of, keys, id).map(Self::Signals),
            (Self::SignalsRequested(of), MapKeys::SignalsRequested(keys)) => {
                others(of, keys, |signal_id| signal_id).map(Self::SignalsRequested)
            }
            (Self::ChasmNodes(of), MapKeys::ChasmNodes(keys)) => {
                others(of, keys, |node| &node.path).map(Self::ChasmNodes)
            }
            _ => None,
        };
        others.map_or(Cow::Borrowed(self), Cow::Owned)
    }

    /// Sorts by key and keeps the last entry of each key.
    ///
    /// PostgreSQL refuses a statement that writes one row twice (`21000`,
    /// temporal-persistence.md#maps). Temporal builds these entries from Go maps, which keep the last
    /// value of a key.
    pub fn last_of_each_key(&mut self) {
        fn keep_last<T, K: Ord>(entries: &mut Vec<T>, key: impl Fn(&T) -> K) {
            entries.sort_by_key(&key);
            entries.reverse();
            entries.dedup_by_key(|entry| key(entry));
            entries.reverse();
        }
        match self {
            Self::Activities(of)
            | Self::ChildExecutions(of)
            | Self::RequestCancels(of)
            | Self::Signals(of) => keep_last(of, |entry| entry.id),
            Self::Timers(of) => keep_last(of, |entry| entry.timer_id.clone()),
            Self::SignalsRequested(of) => keep_last(of, Clone::clone),
            Self::ChasmNodes(of) => keep_last(of, |node| node.path.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: i64, byte: u8) -> IdEntry {
        IdEntry { id, data: DataBlob::new([byte], Encoding::new("Proto3").unwrap()) }
    }

    #[test]
    fn of_entries_with_one_key_the_last_is_kept() {
        let mut entries =
            MapEntries::Activities(vec![entry(7, 1), entry(5, 2), entry(7, 3), entry(5, 4)]);
        entries.last_of_each_key();
        assert_eq!(entries, MapEntries::Activities(vec![entry(5, 4), entry(7, 3)]));
        assert_eq!(entries.keys(), MapKeys::Activities(vec![5, 7]));
    }

    #[test]
    fn entries_are_removed_by_their_keys() {
        let entries = MapEntries::Signals(vec![entry(7, 1), entry(5, 2), entry(3, 3)]);
        let left = entries.without(&MapKeys::Signals(vec![3, 7, 9]));
        assert_eq!(*left, MapEntries::Signals(vec![entry(5, 2)]));
    }

    #[test]
    fn entries_and_keys_have_their_map() {
        for map in MapTable::ALL {
            assert_eq!(MapEntries::none(map).map(), map);
            assert_eq!(MapKeys::none(map).map(), map);
            assert!(MapEntries::none(map).is_empty());
            assert_eq!(MapEntries::none(map).keys().map(), map);
        }
    }
}

//! The seven maps of a run, stored beside its `executions` row (temporal-persistence.md#chasm-nodes,
//! temporal-persistence.md#maps).
//!
//! They have the same key prefix and operations, and differ in the last key column and in their
//! values. So they are one type with seven variants.

use std::{borrow::Cow, collections::BTreeSet, fmt};

use crate::{ChasmPath, DataBlob, Encoding, SignalId, Table, TimerId};

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

/// An entry of a map.
trait Entry: Clone {
    type Key: Clone + Ord;

    fn key(&self) -> &Self::Key;
}

impl Entry for IdEntry {
    type Key = i64;

    fn key(&self) -> &i64 {
        &self.id
    }
}

impl Entry for TimerEntry {
    type Key = TimerId;

    fn key(&self) -> &TimerId {
        &self.timer_id
    }
}

impl Entry for SignalId {
    type Key = Self;

    fn key(&self) -> &Self {
        self
    }
}

impl Entry for ChasmNode {
    type Key = ChasmPath;

    fn key(&self) -> &ChasmPath {
        &self.path
    }
}

/// Defines the types of the maps, from each map's table, entries and keys.
macro_rules! maps {
    ($($(#[$doc:meta])* $map:ident: $table:ident, $entry:ty, $key:ty;)*) => {
        /// One of the maps of a run.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum MapTable {
            $($(#[$doc])* $map,)*
        }

        impl MapTable {
            /// All maps. A test compares the list with the schema, so that a deletion covers every map
            /// (temporal-persistence.md#store-suites, `TestSQLiteMutableStateTableConformance`).
            pub const ALL: [Self; 7] = [$(Self::$map),*];

            /// The table.
            pub const fn table(self) -> Table {
                match self {
                    $(Self::$map => Table::$table,)*
                }
            }
        }

        maps! { @list MapEntries, "Entries of one map.", $($(#[$doc])* $map($entry),)* }
        maps! { @list MapKeys, "Keys of entries of one map.", $($(#[$doc])* $map($key),)* }

        impl MapEntries {
            /// The keys of the entries.
            pub fn keys(&self) -> MapKeys {
                match self {
                    $(Self::$map(of) => {
                        MapKeys::$map(of.iter().map(|entry| entry.key().clone()).collect())
                    })*
                }
            }

            /// The entries without those that have one of these keys.
            pub fn without(&self, keys: &MapKeys) -> Cow<'_, Self> {
                let others = match (self, keys) {
                    $((Self::$map(of), MapKeys::$map(keys)) => others(of, keys).map(Self::$map),)*
                    _ => None,
                };
                others.map_or(Cow::Borrowed(self), Cow::Owned)
            }

            /// Sorts by key and keeps the last entry of each key.
            ///
            /// PostgreSQL refuses a statement that writes one row twice (`21000`,
            /// temporal-persistence.md#maps). Temporal builds these entries from Go maps, which keep
            /// the last value of a key.
            pub fn last_of_each_key(&mut self) {
                match self {
                    $(Self::$map(of) => keep_last(of),)*
                }
            }
        }
    };
    (@list $list:ident, $what:literal, $($(#[$doc:meta])* $map:ident($element:ty),)*) => {
        #[doc = $what]
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $list {
            $($(#[$doc])* $map(Vec<$element>),)*
        }

        impl $list {
            /// The map.
            pub const fn map(&self) -> MapTable {
                match self {
                    $(Self::$map(_) => MapTable::$map,)*
                }
            }

            /// An empty list of `map`.
            pub const fn none(map: MapTable) -> Self {
                match map {
                    $(MapTable::$map => Self::$map(Vec::new()),)*
                }
            }

            /// The number of elements.
            pub const fn len(&self) -> usize {
                match self {
                    $(Self::$map(of) => of.len(),)*
                }
            }

            /// Whether it is empty.
            pub const fn is_empty(&self) -> bool {
                self.len() == 0
            }
        }
    };
}

maps! {
    /// `activity_info_maps`, by schedule id.
    Activities: ActivityInfoMaps, IdEntry, i64;
    /// `timer_info_maps`, by timer id.
    Timers: TimerInfoMaps, TimerEntry, TimerId;
    /// `child_execution_info_maps`, by initiated id.
    ChildExecutions: ChildExecutionInfoMaps, IdEntry, i64;
    /// `request_cancel_info_maps`, by initiated id.
    RequestCancels: RequestCancelInfoMaps, IdEntry, i64;
    /// `signal_info_maps`, by initiated id.
    Signals: SignalInfoMaps, IdEntry, i64;
    /// `signals_requested_sets`, a set of signal ids.
    SignalsRequested: SignalsRequestedSets, SignalId, SignalId;
    /// `chasm_node_maps`, by path.
    ChasmNodes: ChasmNodeMaps, ChasmNode, ChasmPath;
}

/// The entries without those of `keys`; `None` if these are all.
fn others<E: Entry>(entries: &[E], keys: &[E::Key]) -> Option<Vec<E>> {
    let keys: BTreeSet<_> = keys.iter().collect();
    let others: Vec<_> = entries.iter().filter(|entry| !keys.contains(entry.key())).collect();
    (others.len() < entries.len()).then(|| others.into_iter().cloned().collect())
}

fn keep_last<E: Entry>(entries: &mut Vec<E>) {
    entries.sort_by(|one, other| one.key().cmp(other.key()));
    entries.reverse();
    entries.dedup_by(|one, other| one.key() == other.key());
    entries.reverse();
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

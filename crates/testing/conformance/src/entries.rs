//! Set operations on the entries of a map, for all kinds of maps.

use temporal_dsql_domain::{MapEntries, MapKeys};

/// The first `count` entries, and the rest.
pub(crate) fn split(mut entries: MapEntries, count: usize) -> (MapEntries, MapEntries) {
    use MapEntries::{
        Activities, ChasmNodes, ChildExecutions, RequestCancels, Signals, SignalsRequested, Timers,
    };
    let at = count.min(entries.len());
    let mut others = MapEntries::none(entries.map());
    match (&mut entries, &mut others) {
        (Activities(first), Activities(others))
        | (ChildExecutions(first), ChildExecutions(others))
        | (RequestCancels(first), RequestCancels(others))
        | (Signals(first), Signals(others)) => *others = first.split_off(at),
        (Timers(first), Timers(others)) => *others = first.split_off(at),
        (SignalsRequested(first), SignalsRequested(others)) => *others = first.split_off(at),
        (ChasmNodes(first), ChasmNodes(others)) => *others = first.split_off(at),
        _ => unreachable!("`MapEntries::none` returns entries of the same map"),
    }
    (entries, others)
}

/// The entries of both, in key order; those of `other` overwrite those of `one`.
pub(crate) fn joined(one: MapEntries, other: MapEntries) -> MapEntries {
    let mut all = appended(one, other);
    all.last_of_each_key();
    all
}

/// The entries of `one`, then those of `other`.
pub(crate) fn appended(mut one: MapEntries, other: MapEntries) -> MapEntries {
    use MapEntries::{
        Activities, ChasmNodes, ChildExecutions, RequestCancels, Signals, SignalsRequested, Timers,
    };
    match (&mut one, other) {
        (Activities(one), Activities(other))
        | (ChildExecutions(one), ChildExecutions(other))
        | (RequestCancels(one), RequestCancels(other))
        | (Signals(one), Signals(other)) => one.extend(other),
        (Timers(one), Timers(other)) => one.extend(other),
        (SignalsRequested(one), SignalsRequested(other)) => one.extend(other),
        (ChasmNodes(one), ChasmNodes(other)) => one.extend(other),
        (one, other) => panic!("entries of {:?} and {:?}", one.map(), other.map()),
    }
    one
}

/// The entries whose keys are not among `keys`.
pub(crate) fn without(mut entries: MapEntries, keys: &MapKeys) -> MapEntries {
    match (&mut entries, keys) {
        (MapEntries::Activities(of), MapKeys::Activities(keys))
        | (MapEntries::ChildExecutions(of), MapKeys::ChildExecutions(keys))
        | (MapEntries::RequestCancels(of), MapKeys::RequestCancels(keys))
        | (MapEntries::Signals(of), MapKeys::Signals(keys)) => {
            of.retain(|entry| !keys.contains(&entry.id));
        }
        (MapEntries::Timers(of), MapKeys::Timers(keys)) => {
            of.retain(|entry| !keys.contains(&entry.timer_id));
        }
        (MapEntries::SignalsRequested(of), MapKeys::SignalsRequested(keys)) => {
            of.retain(|id| !keys.contains(id));
        }
        (MapEntries::ChasmNodes(of), MapKeys::ChasmNodes(keys)) => {
            of.retain(|node| !keys.contains(&node.path));
        }
        (of, keys) => panic!("entries of {:?} and keys of {:?}", of.map(), keys.map()),
    }
    entries
}

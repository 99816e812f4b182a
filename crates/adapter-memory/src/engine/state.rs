//! The shared state of an engine: committed rows, open transactions, and recent footprints.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Duration,
};

use imbl::OrdMap;

use super::{Class, CommitError, Conflict};

/// The committed state. The version counts the commits that are not read-only.
pub(super) struct State<K, V> {
    rows: OrdMap<K, V>,
    version: u64,
    /// The maximum age of a transaction at COMMIT.
    max_age: Duration,
    /// The open transactions, by the version of their snapshot.
    open: BTreeMap<u64, Open>,
    /// Transactions on older versions have reached the maximum age and are not counted.
    first_in_time: u64,
    footprints: Footprints<K>,
}

/// The open transactions on one version.
#[derive(Clone, Copy)]
struct Open {
    count: usize,
    /// The begin of the youngest of them.
    began_at: Duration,
}

/// The footprints of the commits since the oldest open version, which an open transaction can conflict
/// with: one entry per row.
pub(super) struct Footprints<K> {
    rows: BTreeMap<K, LastVersions>,
    /// The same rows by their last version, in the order of removal.
    by_version: BTreeSet<(u64, K)>,
}

/// The last version with each class of a row; 0 for none.
#[derive(Default)]
struct LastVersions([u64; Class::ALL.len()]);

/// Values to drop after the lock of the state is released.
pub(super) type Garbage<K, V> = (Option<OrdMap<K, V>>, Option<Footprints<K>>);

impl LastVersions {
    fn newest(&self) -> u64 {
        self.0.into_iter().max().unwrap_or(0)
    }
}

impl<K> Footprints<K> {
    const fn new() -> Self {
        Self { rows: BTreeMap::new(), by_version: BTreeSet::new() }
    }
}

impl<K, V> State<K, V> {
    pub(super) fn new(max_age: Duration) -> Self {
        Self {
            rows: OrdMap::new(),
            version: 0,
            max_age,
            open: BTreeMap::new(),
            first_in_time: 0,
            footprints: Footprints::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn open_transactions(&self) -> usize {
        self.open.values().map(|open| open.count).sum()
    }

    pub(super) fn tracked_rows(&self) -> usize {
        self.footprints.rows.len()
    }
}

impl<K: Ord + Clone, V: Clone> State<K, V> {
    /// Begins a transaction at the time `now`. Returns its version and its snapshot.
    pub(super) fn begin(&mut self, now: Duration) -> (u64, OrdMap<K, V>) {
        self.expire_oldest(now);
        let open = self.open.entry(self.version).or_insert(Open { count: 0, began_at: now });
        *open = Open { count: open.count + 1, began_at: open.began_at.max(now) };
        (self.version, self.rows.clone())
    }

    /// Stops counting transactions that have reached the maximum age, so that leaked ones do not keep
    /// footprints forever. Transactions on the newest version keep none.
    fn expire_oldest(&mut self, now: Duration) {
        while let Some(oldest) = self.open.first_entry()
            && *oldest.key() < self.version
            && now.saturating_sub(oldest.get().began_at) > self.max_age
        {
            self.first_in_time = oldest.key() + 1;
            oldest.remove();
        }
    }

    /// Ends a transaction on version `base`.
    pub(super) fn close(&mut self, base: u64) -> Garbage<K, V> {
        (None, self.close_after(base, 0))
    }

    /// Ends a transaction with `footprint_rows` rows, and removes footprints that no open transaction can
    /// conflict with: a bounded number, but more than this transaction has added. Entries that are
    /// left have no effect, because every open transaction began after them.
    fn close_after(&mut self, base: u64, footprint_rows: usize) -> Option<Footprints<K>> {
        const AT_LEAST: usize = 64;
        if base >= self.first_in_time
            && let Some(open) = self.open.get_mut(&base)
        {
            open.count -= 1;
            if open.count == 0 {
                self.open.remove(&base);
            }
        }
        let Some((oldest, _)) = self.open.first_key_value() else {
            return Some(mem::replace(&mut self.footprints, Footprints::new()));
        };
        let Footprints { rows, by_version } = &mut self.footprints;
        for _ in 0..AT_LEAST + 2 * footprint_rows {
            match by_version.first() {
                Some((version, _)) if version <= oldest => {}
                _ => break,
            }
            let (_, key) = by_version.pop_first().expect("the set is not empty");
            rows.remove(&key);
        }
        None
    }

    /// Ends a transaction on version `base` with `footprint` and its view `rows`. Its writes become the
    /// newest version unless it conflicts or is too old.
    pub(super) fn commit(
        &mut self,
        base: u64,
        rows: &OrdMap<K, V>,
        footprint: BTreeMap<K, Class>,
    ) -> (Result<(), CommitError<K>>, Garbage<K, V>) {
        let (result, footprint_rows) = (self.check(base, &footprint), footprint.len());
        let mut old = None;
        if result.is_ok() && footprint_rows > 0 {
            let rows = self.merged(base, rows, &footprint);
            self.version += 1;
            if !self.is_alone(base) {
                self.record(footprint);
            }
            old = Some(mem::replace(&mut self.rows, rows));
        }
        (result, (old, self.close_after(base, footprint_rows)))
    }

    /// Whether the transaction on `base` is the only open one.
    fn is_alone(&self, base: u64) -> bool {
        self.open.len() == 1 && self.open.get(&base).is_some_and(|open| open.count == 1)
    }

    fn check(&self, base: u64, footprint: &BTreeMap<K, Class>) -> Result<(), CommitError<K>> {
        if base < self.first_in_time {
            return Err(CommitError::TooOld);
        }
        for (key, own) in footprint {
            let Some(last) = self.footprints.rows.get(key) else {
                continue;
            };
            for other in Class::ALL {
                if last.0[other as usize] > base && own.conflicts_with(other) {
                    return Err(Conflict { key: key.clone(), own: *own, other }.into());
                }
            }
        }
        Ok(())
    }

    /// The committed rows with the transaction's writes in them.
    fn merged(
        &self,
        base: u64,
        rows: &OrdMap<K, V>,
        footprint: &BTreeMap<K, Class>,
    ) -> OrdMap<K, V> {
        if base == self.version {
            return rows.clone();
        }
        let mut merged = self.rows.clone();
        for (key, class) in footprint {
            match class {
                // Another transaction may have updated the row since.
                Class::KeyShare => {}
                // No other transaction has changed the row, so this one's view is current.
                Class::NonKey | Class::Key => match rows.get(key) {
                    Some(value) => drop(merged.insert(key.clone(), value.clone())),
                    None => drop(merged.remove(key)),
                },
            }
        }
        merged
    }

    /// Records the footprint of the newest version, for transactions that began before it.
    fn record(&mut self, footprint: BTreeMap<K, Class>) {
        let Footprints { rows, by_version } = &mut self.footprints;
        for (key, class) in footprint {
            let last = rows.entry(key.clone()).or_default();
            let mut entry = (last.newest(), key);
            by_version.remove(&entry);
            last.0[class as usize] = self.version;
            entry.0 = self.version;
            by_version.insert(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::Engine;

    fn write(engine: &Engine<u32, u32>, keys: impl IntoIterator<Item = u32>) {
        let mut write = engine.begin();
        for key in keys {
            if !write.update(&key, 1) {
                write.insert(key, 0).unwrap();
            }
        }
        write.commit().unwrap();
    }

    #[test]
    fn a_row_has_one_footprint_entry_however_often_it_is_written() {
        let engine = Engine::new();
        let reader = engine.begin();
        for _ in 0..1_000 {
            write(&engine, [1, 2]);
        }
        let footprints = |engine: &Engine<_, _>| {
            let state = engine.state();
            (state.footprints.rows.len(), state.footprints.by_version.len())
        };
        assert_eq!(footprints(&engine), (2, 2));
        drop(reader);
        assert_eq!(footprints(&engine), (0, 0));
    }

    #[test]
    fn footprints_of_many_rows_are_removed_in_steps_and_have_no_effect_until_then() {
        let engine = Engine::new();
        let oldest = engine.begin();
        write(&engine, 0..1_000);
        let mut other = engine.begin();
        drop(oldest);
        let left = engine.tracked_rows();
        assert!((1..1_000).contains(&left), "{left}");
        // The entry of the last row is still kept, but the snapshot contains it.
        assert!(other.update(&999, 2));
        other.commit().unwrap();
        assert_eq!(engine.tracked_rows(), 0);
    }
}

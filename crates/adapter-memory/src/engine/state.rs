//! What all transactions share: the committed rows, who is open, and who touched what since.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Duration,
};

use imbl::OrdMap;

use super::{Class, Conflict, Refusal};

/// The committed state. Versions count the commits that touched a row.
pub(super) struct State<K, V> {
    rows: OrdMap<K, V>,
    version: u64,
    /// How old a transaction may be that commits.
    max_age: Duration,
    /// The transactions that are open, by the version that each of them sees.
    open: BTreeMap<u64, Open>,
    /// Transactions that began before this version are too old and are no longer counted.
    first_in_time: u64,
    remembered: Remembered<K>,
}

/// The open transactions that see one version.
#[derive(Clone, Copy)]
struct Open {
    count: usize,
    /// When the youngest of them began.
    begun: Duration,
}

/// The rows touched since the oldest open version: what an open transaction can conflict with. A
/// row that is touched again and again is remembered once.
struct Remembered<K> {
    rows: BTreeMap<K, LastTouch>,
    /// The same rows by the version that touched them last: what can be forgotten next.
    by_version: BTreeSet<(u64, K)>,
}

/// The last version that touched a row, by class; 0 for never.
#[derive(Default)]
struct LastTouch([u64; Class::ALL.len()]);

/// What nobody needs any more. It is dropped when the state is free for others again.
pub(super) struct Garbage<K, V> {
    _rows: Option<OrdMap<K, V>>,
    _remembered: Option<Remembered<K>>,
}

impl LastTouch {
    fn set(&mut self, class: Class, version: u64) {
        self.0[class as usize] = version;
    }

    fn get(&self, class: Class) -> u64 {
        self.0[class as usize]
    }

    fn newest(&self) -> u64 {
        self.0.into_iter().max().unwrap_or(0)
    }
}

impl<K> Remembered<K> {
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
            remembered: Remembered::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn open_transactions(&self) -> usize {
        self.open.values().map(|open| open.count).sum()
    }

    pub(super) fn remembered_rows(&self) -> usize {
        self.remembered.rows.len()
    }
}

impl<K: Ord + Clone, V: Clone> State<K, V> {
    /// Opens a transaction at the time `now`: its version and its snapshot.
    pub(super) fn begin(&mut self, now: Duration) -> (u64, OrdMap<K, V>) {
        self.give_up_on_the_oldest(now);
        let open = self.open.entry(self.version).or_insert(Open { count: 0, begun: now });
        *open = Open { count: open.count + 1, begun: open.begun.max(now) };
        (self.version, self.rows.clone())
    }

    /// No longer counts transactions that can never commit: whatever has leaked must not make the
    /// engine remember for ever. What sees the newest version makes it remember nothing.
    fn give_up_on_the_oldest(&mut self, now: Duration) {
        while let Some(oldest) = self.open.first_entry()
            && *oldest.key() < self.version
            && now.saturating_sub(oldest.get().begun) > self.max_age
        {
            self.first_in_time = oldest.key() + 1;
            oldest.remove();
        }
    }

    /// Closes a transaction that was opened on version `base`.
    pub(super) fn close(&mut self, base: u64) -> Garbage<K, V> {
        Garbage { _rows: None, _remembered: self.close_after(base, 0) }
    }

    /// Closes a transaction that has touched so many rows, and forgets what no transaction that is
    /// still open can conflict with: not all of it at once, but faster than anybody adds to it.
    /// What is left does no harm, as everybody who is open has seen it.
    fn close_after(&mut self, base: u64, touched: usize) -> Option<Remembered<K>> {
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
            return Some(mem::replace(&mut self.remembered, Remembered::new()));
        };
        let Remembered { rows, by_version } = &mut self.remembered;
        for _ in 0..AT_LEAST + 2 * touched {
            match by_version.first() {
                Some((version, _)) if version <= oldest => {}
                _ => break,
            }
            let (_, key) = by_version.pop_first().expect("the first was just seen");
            rows.remove(&key);
        }
        None
    }

    /// Closes a transaction that was opened on version `base`, touched `footprint`, and sees
    /// `rows`; makes its writes the newest version unless it conflicts or is too old.
    pub(super) fn commit(
        &mut self,
        base: u64,
        rows: &OrdMap<K, V>,
        footprint: BTreeMap<K, Class>,
    ) -> (Result<(), Refusal<K>>, Garbage<K, V>) {
        let (verdict, touched) = (self.check(base, &footprint), footprint.len());
        let mut old = None;
        if verdict.is_ok() && touched > 0 {
            let rows = self.merged(base, rows, &footprint);
            self.version += 1;
            if !self.is_alone(base) {
                self.remember(footprint);
            }
            old = Some(mem::replace(&mut self.rows, rows));
        }
        let remembered = self.close_after(base, touched);
        (verdict, Garbage { _rows: old, _remembered: remembered })
    }

    /// Whether no other transaction is open, so that none can conflict with the one on `base`.
    fn is_alone(&self, base: u64) -> bool {
        self.open.len() == 1 && self.open.get(&base).is_some_and(|open| open.count == 1)
    }

    fn check(&self, base: u64, footprint: &BTreeMap<K, Class>) -> Result<(), Refusal<K>> {
        if base < self.first_in_time {
            return Err(Refusal::TooOld);
        }
        for (key, own) in footprint {
            let Some(last) = self.remembered.rows.get(key) else {
                continue;
            };
            for other in Class::ALL {
                if last.get(other) > base && own.conflicts_with(other) {
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
                // Another transaction may have updated the row since: it is not ours to put back.
                Class::KeyShare => {}
                // Nobody else touched the row, so what this transaction sees is what it is.
                Class::NonKey | Class::Key => match rows.get(key) {
                    Some(value) => drop(merged.insert(key.clone(), value.clone())),
                    None => drop(merged.remove(key)),
                },
            }
        }
        merged
    }

    /// Remembers what the newest version touched, for those who began before it.
    fn remember(&mut self, footprint: BTreeMap<K, Class>) {
        let Remembered { rows, by_version } = &mut self.remembered;
        for (key, class) in footprint {
            let last = rows.entry(key.clone()).or_default();
            let mut place = (last.newest(), key);
            by_version.remove(&place);
            last.set(class, self.version);
            place.0 = self.version;
            by_version.insert(place);
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
    fn a_row_that_is_touched_again_and_again_is_remembered_once() {
        let engine = Engine::new();
        let reader = engine.begin();
        for _ in 0..1_000 {
            write(&engine, [1, 2]);
        }
        let remembered = |engine: &Engine<_, _>| {
            let state = engine.state();
            (state.remembered.rows.len(), state.remembered.by_version.len())
        };
        assert_eq!(remembered(&engine), (2, 2));
        drop(reader);
        assert_eq!(remembered(&engine), (0, 0));
    }

    #[test]
    fn many_rows_are_forgotten_step_by_step_and_do_no_harm_until_then() {
        let engine = Engine::new();
        let oldest = engine.begin();
        write(&engine, 0..1_000);
        let mut other = engine.begin();
        drop(oldest);
        let left = engine.remembered_rows();
        assert!((1..1_000).contains(&left), "{left}");
        // The last of them is still remembered, and was seen.
        assert!(other.update(&999, 2));
        other.commit().unwrap();
        assert_eq!(engine.remembered_rows(), 0);
    }
}

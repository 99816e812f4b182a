//! What all transactions share: the committed rows, who is open, and who touched what since.

use std::collections::{BTreeMap, VecDeque};

use imbl::OrdMap;

use super::{Class, Conflict};

/// The committed state. Versions count the commits that touched a row.
pub(super) struct State<K, V> {
    rows: OrdMap<K, V>,
    version: u64,
    /// How many transactions are open on each version.
    open: BTreeMap<u64, usize>,
    /// The rows touched since the oldest open version: what an open transaction can conflict with.
    touched: BTreeMap<K, LastTouch>,
    /// The same rows by the commit that touched them, oldest first: what can be forgotten next.
    commits: VecDeque<(u64, Vec<K>)>,
}

/// The last version that touched a row, by class; 0 for never.
#[derive(Default)]
struct LastTouch([u64; Class::ALL.len()]);

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

impl<K, V> State<K, V> {
    pub(super) fn new() -> Self {
        Self {
            rows: OrdMap::new(),
            version: 0,
            open: BTreeMap::new(),
            touched: BTreeMap::new(),
            commits: VecDeque::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn open_transactions(&self) -> usize {
        self.open.values().sum()
    }

    pub(super) fn remembered_rows(&self) -> usize {
        self.touched.len()
    }
}

impl<K: Ord + Clone, V: Clone> State<K, V> {
    /// Opens a transaction: its version and its snapshot.
    pub(super) fn begin(&mut self) -> (u64, OrdMap<K, V>) {
        *self.open.entry(self.version).or_default() += 1;
        (self.version, self.rows.clone())
    }

    /// Closes a transaction that was opened on version `base`, and forgets what no transaction
    /// that is still open can conflict with. Each commit is forgotten once.
    pub(super) fn close(&mut self, base: u64) {
        if let Some(count) = self.open.get_mut(&base) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&base);
            }
        }
        let oldest = self.open.keys().next().copied().unwrap_or(self.version);
        while let Some((version, _)) = self.commits.front()
            && *version <= oldest
        {
            let (version, keys) = self.commits.pop_front().expect("the front was just seen");
            for key in keys {
                // A row that was touched again later belongs to that commit now.
                if self.touched.get(&key).is_some_and(|last| last.newest() <= version) {
                    self.touched.remove(&key);
                }
            }
        }
    }

    /// Closes a transaction that was opened on version `base`, touched `footprint`, and sees
    /// `rows`; makes its writes the newest version unless it conflicts.
    pub(super) fn commit(
        &mut self,
        base: u64,
        rows: &OrdMap<K, V>,
        footprint: BTreeMap<K, Class>,
    ) -> Result<(), Conflict<K>> {
        let verdict = self.check(base, &footprint);
        if verdict.is_ok() && !footprint.is_empty() {
            let rows = self.merged(base, rows, &footprint);
            self.version += 1;
            self.remember(footprint);
            self.rows = rows;
        }
        self.close(base);
        verdict
    }

    fn check(&self, base: u64, footprint: &BTreeMap<K, Class>) -> Result<(), Conflict<K>> {
        for (key, own) in footprint {
            let Some(last) = self.touched.get(key) else {
                continue;
            };
            for other in Class::ALL {
                if last.get(other) > base && own.conflicts_with(other) {
                    return Err(Conflict { key: key.clone(), own: *own, other });
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
        for (key, class) in &footprint {
            let last = self.touched.entry(key.clone()).or_default();
            last.set(*class, self.version);
        }
        let keys = footprint.into_keys().collect();
        self.commits.push_back((self.version, keys));
    }
}

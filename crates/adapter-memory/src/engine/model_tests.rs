//! Random interleavings on the engine and on a simple reference model: a list of all committed states,
//! in which a commit is compared with every commit since its begin.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use super::*;

/// The most open transactions.
const SLOTS: usize = 4;
/// The number of keys; every second one has a row at the start. Enough for a tree of several levels.
const KEYS: u16 = 400;

/// The next step of a slot. It begins a transaction if it has none.
#[derive(Clone, Debug)]
enum Step {
    Begin,
    Get(u16),
    Range(u16, u16),
    Insert(u16, i32),
    Update(u16, i32),
    Delete(u16),
    ForUpdate(u16),
    ForKeyShare(u16),
    Commit,
    Drop,
}

/// The result of a step.
#[derive(Debug, PartialEq)]
enum StepResult {
    Nothing,
    Row(Option<i32>),
    Rows(Vec<(u16, i32)>),
    Done(bool),
}

type State = BTreeMap<u16, i32>;
type Footprint = BTreeMap<u16, BTreeSet<Class>>;

#[derive(Default)]
struct Reference {
    /// All committed states, oldest first.
    states: Vec<State>,
    /// The footprint of each commit after the first state.
    footprints: Vec<Footprint>,
    open: [Option<ReferenceTransaction>; SLOTS],
}

struct ReferenceTransaction {
    base: usize,
    state: State,
    written: BTreeSet<u16>,
    footprint: Footprint,
}

/// The matrix (aurora-dsql.md#conflict-matrix): the pairs of classes that cannot both commit.
const CONFLICTS: [(Class, Class); 6] = [
    (Class::Key, Class::Key),
    (Class::Key, Class::NonKey),
    (Class::Key, Class::KeyShare),
    (Class::NonKey, Class::Key),
    (Class::NonKey, Class::NonKey),
    (Class::KeyShare, Class::Key),
];

impl Reference {
    fn newest(&self) -> &State {
        self.states.last().unwrap()
    }

    fn step(&mut self, slot: usize, step: &Step) -> StepResult {
        let Some(mut transaction) = self.open[slot].take() else {
            self.open[slot] = matches!(step, Step::Begin).then(|| ReferenceTransaction {
                base: self.footprints.len(),
                state: self.newest().clone(),
                written: BTreeSet::new(),
                footprint: Footprint::new(),
            });
            return StepResult::Nothing;
        };
        let seen = match step {
            Step::Commit => return StepResult::Done(self.commit(transaction)),
            Step::Drop => return StepResult::Nothing,
            Step::Begin => StepResult::Nothing,
            statement => transaction.execute(statement),
        };
        self.open[slot] = Some(transaction);
        seen
    }

    fn commit(&mut self, transaction: ReferenceTransaction) -> bool {
        let conflict = |theirs: &Footprint| {
            CONFLICTS.iter().any(|(own, other)| {
                transaction.footprint.iter().any(|(key, classes)| {
                    classes.contains(own)
                        && theirs.get(key).is_some_and(|classes| classes.contains(other))
                })
            })
        };
        if self.footprints[transaction.base..].iter().any(conflict) {
            return false;
        }
        if transaction.footprint.is_empty() {
            return true;
        }
        let mut state = self.newest().clone();
        for key in transaction.written {
            match transaction.state.get(&key) {
                Some(value) => state.insert(key, *value),
                None => state.remove(&key),
            };
        }
        self.states.push(state);
        self.footprints.push(transaction.footprint);
        true
    }

    fn rows_to_track(&self) -> usize {
        let bases = self.open.iter().flatten().map(|transaction| transaction.base);
        let oldest = bases.min().unwrap_or(self.footprints.len());
        let keys: BTreeSet<_> =
            self.footprints[oldest..].iter().flat_map(Footprint::keys).collect();
        keys.len()
    }
}

impl ReferenceTransaction {
    fn execute(&mut self, statement: &Step) -> StepResult {
        let (key, class, seen) = match *statement {
            Step::Get(key) => return StepResult::Row(self.state.get(&key).copied()),
            Step::Range(from, to) => {
                let rows = self.state.range(from.min(to)..to);
                return StepResult::Rows(rows.map(|(key, value)| (*key, *value)).collect());
            }
            Step::Insert(key, _) if self.state.contains_key(&key) => {
                return StepResult::Done(false);
            }
            Step::Insert(key, value) => {
                self.state.insert(key, value);
                (key, Class::Key, StepResult::Done(true))
            }
            Step::Update(key, _) | Step::Delete(key) if !self.state.contains_key(&key) => {
                return StepResult::Done(false);
            }
            Step::Update(key, value) => {
                self.state.insert(key, value);
                (key, Class::NonKey, StepResult::Done(true))
            }
            Step::Delete(key) => {
                self.state.remove(&key);
                (key, Class::Key, StepResult::Done(true))
            }
            Step::ForUpdate(key) | Step::ForKeyShare(key) if !self.state.contains_key(&key) => {
                return StepResult::Row(None);
            }
            Step::ForUpdate(key) => (key, Class::Key, StepResult::Row(Some(self.state[&key]))),
            Step::ForKeyShare(key) => {
                (key, Class::KeyShare, StepResult::Row(Some(self.state[&key])))
            }
            Step::Begin | Step::Commit | Step::Drop => unreachable!("not a statement"),
        };
        if let StepResult::Done(true) = seen {
            self.written.insert(key);
        }
        self.footprint.entry(key).or_default().insert(class);
        seen
    }
}

#[derive(Default)]
struct Subject {
    engine: Engine<u16, i32>,
    open: [Option<Transaction<u16, i32>>; SLOTS],
}

impl Subject {
    fn step(&mut self, slot: usize, step: &Step) -> StepResult {
        let Some(mut transaction) = self.open[slot].take() else {
            self.open[slot] = matches!(step, Step::Begin).then(|| self.engine.begin());
            return StepResult::Nothing;
        };
        let seen = match *step {
            Step::Begin => StepResult::Nothing,
            Step::Commit => return StepResult::Done(transaction.commit().is_ok()),
            Step::Drop => return StepResult::Nothing,
            Step::Get(key) => StepResult::Row(transaction.get(&key).copied()),
            Step::Range(from, to) => StepResult::Rows(
                transaction.range(from.min(to)..to).map(|(key, value)| (*key, *value)).collect(),
            ),
            Step::Insert(key, value) => StepResult::Done(transaction.insert(key, value).is_ok()),
            Step::Update(key, value) => StepResult::Done(transaction.update(&key, value)),
            Step::Delete(key) => StepResult::Done(transaction.delete(&key)),
            Step::ForUpdate(key) => {
                StepResult::Row(transaction.lock(&key, Lock::ForUpdate).copied())
            }
            Step::ForKeyShare(key) => {
                StepResult::Row(transaction.lock(&key, Lock::ForKeyShare).copied())
            }
        };
        self.open[slot] = Some(transaction);
        seen
    }

    fn rows(&self) -> State {
        let snapshot = self.engine.begin();
        snapshot.range(..).map(|(key, value)| (*key, *value)).collect()
    }
}

/// Mostly one of a few contended keys, sometimes any key.
fn key() -> impl Strategy<Value = u16> {
    prop_oneof![6 => 0..6_u16, 1 => 0..KEYS]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Begin),
        4 => Just(Step::Commit),
        1 => Just(Step::Drop),
        1 => key().prop_map(Step::Get),
        1 => (key(), key()).prop_map(|(from, to)| Step::Range(from, to)),
        3 => (key(), any::<i32>()).prop_map(|(key, value)| Step::Insert(key, value)),
        6 => (key(), any::<i32>()).prop_map(|(key, value)| Step::Update(key, value)),
        2 => key().prop_map(Step::Delete),
        2 => key().prop_map(Step::ForUpdate),
        6 => key().prop_map(Step::ForKeyShare),
    ]
}

proptest! {
    #[test]
    fn every_interleaving_has_the_results_of_the_reference_model(
        steps in vec((0..SLOTS, step()), 0..150)
    ) {
        let start: State = (0..KEYS).step_by(2).map(|key| (key, 0)).collect();
        let mut subject = Subject::default();
        let mut setup = subject.engine.begin();
        for (key, value) in &start {
            setup.insert(*key, *value).unwrap();
        }
        setup.commit().unwrap();
        let mut reference = Reference { states: vec![start], ..Reference::default() };

        for (slot, step) in &steps {
            let expected = reference.step(*slot, step);
            prop_assert_eq!(subject.step(*slot, step), expected, "{:?} in {}", step, slot);
            prop_assert_eq!(subject.engine.tracked_rows(), reference.rows_to_track());
            if let Step::Commit = step {
                prop_assert_eq!(&subject.rows(), reference.newest());
            }
        }
        subject.open = Default::default();
        prop_assert_eq!(&subject.rows(), reference.newest());
        prop_assert_eq!(subject.engine.open_transactions(), 0);
        prop_assert_eq!(subject.engine.tracked_rows(), 0);
    }
}

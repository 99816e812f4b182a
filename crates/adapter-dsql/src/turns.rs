//! Turns: transactions of one process that would lose to each other go one after the other.
//!
//! Two transactions that lock the same row and overlap cannot both commit on DSQL, and the loser
//! learns it at COMMIT, when all of its work is done (facts §1.2, §1.3). Those of *one* process can
//! know better: the second waits, before it begins, until the first is over. What it saves is
//! attempts, which DSQL bills, and the long tail of those that lose again and again, for a turn is
//! handed on in the order of asking. It waits before BEGIN and not only before its lock, because
//! whether DSQL takes the snapshot at the one or the other is not recorded.
//!
//! A turn is a courtesy and nothing relies on it. Other processes do not know of it, and whoever
//! has waited for as long as it has patience goes ahead without: a transaction that hangs delays the
//! others but does not stop them, and what overlaps then is decided at COMMIT, as ever. Only the
//! first lock of a transaction waits, so that nobody waits while holding a turn and no ring of
//! waiters can form.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use temporal_dsql_domain::Table;
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::timeout,
};

/// A row that transactions contend for. Two rows with one key wait for each other needlessly, and
/// no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RowKey(u64);

impl RowKey {
    /// The row of `table` whose primary key is `key`.
    pub(crate) fn new(table: Table, key: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        (table, key).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Who has the turn at each row that anybody wants.
pub(crate) struct Turns {
    patience: Duration,
    queues: Mutex<HashMap<RowKey, Arc<Queue>>>,
}

/// The queue at one row: the lock is the turn, and hands itself on in the order of asking.
type Queue = AsyncMutex<()>;

/// A place in the queue at a row. Dropping it is leaving.
pub(crate) struct Place {
    turns: Arc<Turns>,
    key: RowKey,
    /// `None` for one that has waited too long, and goes without.
    turn: Option<OwnedMutexGuard<()>>,
    /// `None` only while it is dropped.
    queue: Option<Arc<Queue>>,
}

impl Turns {
    /// Turns that are waited for no longer than `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, queues: Mutex::default() }
    }

    /// Whether there are any.
    pub(crate) fn are_taken(&self) -> bool {
        !self.patience.is_zero()
    }

    /// Waits for the turn at a row, which is had until the place is dropped.
    pub(crate) async fn take(self: &Arc<Self>, key: RowKey) -> Place {
        let queue = Arc::clone(self.queues().entry(key).or_default());
        let turn = Arc::clone(&queue).lock_owned();
        let mut place = Place { turns: Arc::clone(self), key, turn: None, queue: Some(queue) };
        place.turn = timeout(self.patience, turn).await.ok();
        place
    }

    /// A panic of another holder does not matter: every change is one call of the map.
    fn queues(&self) -> MutexGuard<'_, HashMap<RowKey, Arc<Queue>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.turns.queues();
        (self.turn, self.queue) = (None, None);
        // Nobody enters while the map is locked, so nobody is in a queue that only the map holds.
        if queues.get(&self.key).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            queues.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    fn turns() -> (Arc<Turns>, RowKey) {
        (Arc::new(Turns::new(PATIENCE)), RowKey::new(Table::Shards, 1))
    }

    #[tokio::test(start_paused = true)]
    async fn turns_at_a_row_are_taken_in_the_order_of_asking() {
        let (turns, key) = turns();
        let first = turns.take(key).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..10 {
            let (turns, order) = (turns.clone(), order.clone());
            waiting.spawn(async move {
                let _turn = turns.take(key).await;
                order.lock().unwrap().push(number);
                tokio::time::sleep(Duration::from_millis(30)).await;
            });
            tokio::task::yield_now().await;
        }
        assert_eq!(*order.lock().unwrap(), []);
        drop(first);
        waiting.join_all().await;
        assert_eq!(*order.lock().unwrap(), Vec::from_iter(0..10));
    }

    #[tokio::test(start_paused = true)]
    async fn rows_do_not_wait_for_each_other() {
        let (turns, key) = turns();
        let start = Instant::now();
        let _one = turns.take(key).await;
        let _other = turns.take(RowKey::new(Table::Shards, 2)).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_too_long_goes_ahead_without_a_turn() {
        let (turns, key) = turns();
        let _stuck = turns.take(key).await;
        let start = Instant::now();
        let _second = turns.take(key).await;
        assert_eq!(start.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_the_queue_is_not_waited_for_and_nothing_is_kept() {
        let (turns, key) = turns();
        let first = turns.take(key).await;
        let impatient = tokio::time::timeout(PATIENCE / 4, turns.take(key)).await;
        assert!(impatient.is_err());
        let start = Instant::now();
        drop(first);
        drop(turns.take(key).await);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(turns.queues().len(), 0);
    }
}

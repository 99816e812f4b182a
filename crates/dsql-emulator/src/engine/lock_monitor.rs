//! Detects sessions that wait for locks, and makes the holders release them.
//!
//! Only statements that PostgreSQL has not answered for a few milliseconds are examined. Each may
//! be the start of a chain of processes in which each waits for the next. If the last process is
//! idle in a transaction, that transaction is detached. If it runs a statement, the monitor waits;
//! a statement that takes too long is cancelled and runs again. In a deadlock, the youngest
//! statement is cancelled. A statement that runs again keeps its age, so each becomes the oldest in
//! the end.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::in_flight::{CancelledBy, InFlightStatement, StatementTracker};
use crate::upstream::{Connection, Target, UpstreamError};

/// A statement that takes longer than this is examined.
pub(crate) const SLOW_AFTER: Duration = Duration::from_millis(3);
/// The time between two queries of the lock graph.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// The maximum of that time, while nothing changes.
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long a running statement may block others before it is cancelled for the first time.
const BLOCKER_TIMEOUT: Duration = Duration::from_millis(250);
/// The same if it blocks a commit, for which all other sessions wait.
const COMMIT_BLOCKER_TIMEOUT: Duration = Duration::from_millis(25);
/// How long the monitor tries to open a connection in place of one that has broken.
const REOPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// A session that can be idle in a transaction and hold locks.
pub(crate) trait LockHolder: std::fmt::Debug + Send + Sync {
    /// Detaches the transaction in the background. If the session is busy, the call has no effect,
    /// and the monitor repeats it.
    fn release_locks(self: Arc<Self>);
}

/// The lock monitor of one emulator.
#[derive(Debug, Default)]
pub(crate) struct LockMonitor {
    workers: Mutex<HashMap<i32, TrackedBackend>>,
    slow: Mutex<HashSet<i32>>,
    woken: Notify,
}

#[derive(Clone, Debug)]
struct TrackedBackend {
    tracker: Arc<StatementTracker>,
    /// None for the emulator's own connections, which keep no transaction open.
    holder: Option<Weak<dyn LockHolder>>,
    /// How often its statement was cancelled; the timeout grows with it.
    cancelled: u32,
}

/// How to unblock the sessions that wait for a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Detach(i32),
    Cancel(i32, InFlightStatement),
}

/// Opens a connection, after a pause so that one that breaks at once is not opened without end.
async fn reopen(target: &Target) -> Result<Connection, UpstreamError> {
    let start = Instant::now();
    loop {
        tokio::time::sleep(MAX_POLL_INTERVAL).await;
        match Connection::open(target, &[]).await {
            Err(_) if start.elapsed() < REOPEN_TIMEOUT => {}
            opened => return opened,
        }
    }
}

impl LockMonitor {
    pub(crate) fn add(
        &self,
        tracker: &Arc<StatementTracker>,
        holder: Option<Weak<dyn LockHolder>>,
    ) {
        let backend = TrackedBackend { tracker: tracker.clone(), holder, cancelled: 0 };
        lock(&self.workers).insert(tracker.process, backend);
    }

    pub(crate) fn remove(&self, process: i32) {
        lock(&self.workers).remove(&process);
        lock(&self.slow).remove(&process);
    }

    /// A statement of this process has not been answered within [`SLOW_AFTER`].
    pub(crate) fn mark_slow(&self, process: i32) {
        lock(&self.slow).insert(process);
        self.woken.notify_one();
    }

    /// The statement has been answered.
    pub(crate) fn mark_done(&self, process: i32) {
        lock(&self.slow).remove(&process);
    }

    /// Monitors on the connection `control`, which is opened again if it breaks, until `target` accepts no
    /// connection for [`REOPEN_TIMEOUT`].
    pub(crate) async fn run(self: Arc<Self>, mut control: Connection, target: Target) {
        let mut idle_polls = 0_u32;
        loop {
            let slow: Vec<i32> = lock(&self.slow).iter().copied().collect();
            if slow.is_empty() {
                self.woken.notified().await;
                idle_polls = 0;
                continue;
            }
            let blocked = match blocked(&mut control, &slow).await {
                Ok(blocked) => blocked,
                Err(error) => {
                    tracing::warn!(%error, "the lock monitor lost its connection to PostgreSQL");
                    match reopen(&target).await {
                        Ok(opened) => control = opened,
                        Err(error) => {
                            tracing::error!(%error, "the lock monitor ends");
                            return;
                        }
                    }
                    continue;
                }
            };
            let actions = self.decide(&blocked, Instant::now());
            idle_polls = if actions.is_empty() { idle_polls + 1 } else { 0 };
            for action in actions {
                self.perform(action, &mut control).await;
            }
            // Statements that are slow but not blocked are examined less often.
            let interval =
                if blocked.is_empty() { POLL_INTERVAL * idle_polls.min(25) } else { POLL_INTERVAL };
            tokio::select! {
                () = tokio::time::sleep(interval.min(MAX_POLL_INTERVAL)) => {}
                () = self.woken.notified() => idle_polls = 0,
            }
        }
    }

    fn decide(&self, blocked: &HashMap<i32, Vec<i32>>, now: Instant) -> Vec<Action> {
        let workers = lock(&self.workers);
        let state_of = |process: i32| {
            let backend = workers.get(&process)?;
            Some((backend.tracker.in_flight(), backend.cancelled))
        };
        decide(blocked, state_of, now)
    }

    async fn perform(&self, action: Action, control: &mut Connection) {
        match action {
            Action::Detach(process) => {
                let holder = lock(&self.workers).get(&process).and_then(|w| w.holder.clone());
                if let Some(holder) = holder.and_then(|holder| holder.upgrade()) {
                    holder.release_locks();
                }
            }
            Action::Cancel(process, statement) => {
                let tracker = {
                    let mut workers = lock(&self.workers);
                    let Some(backend) = workers.get_mut(&process) else { return };
                    backend.cancelled += 1;
                    backend.tracker.clone()
                };
                let by = CancelledBy::LockMonitor;
                tracker.cancel(Some(statement), by, |process| cancel(control, process)).await;
            }
        }
    }

    /// A statement has succeeded: the timeout of the next one is the initial one again.
    pub(crate) fn reset_cancellations(&self, process: i32) {
        if let Some(backend) = lock(&self.workers).get_mut(&process) {
            backend.cancelled = 0;
        }
    }
}

/// Cancels the statement of a process.
pub(crate) async fn cancel(control: &mut Connection, process: i32) {
    let sql = format!("SELECT pg_catalog.pg_cancel_backend({process})");
    if let Err(error) = control.query(&sql).await {
        tracing::warn!(%error, process, "a statement could not be cancelled");
    }
}

/// The blocked processes among `processes`, each with those that it waits for.
async fn blocked(
    control: &mut Connection,
    processes: &[i32],
) -> Result<HashMap<i32, Vec<i32>>, crate::upstream::UpstreamError> {
    let list: Vec<String> = processes.iter().map(i32::to_string).collect();
    let sql = format!(
        "SELECT p, pg_catalog.array_to_string(pg_catalog.pg_blocking_pids(p), ' ') \
         FROM pg_catalog.unnest(ARRAY[{}]) AS p",
        list.join(", ")
    );
    let rows = control.query(&sql).await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let [Some(process), Some(blockers)] = &row[..] else { return None };
            let blockers: Vec<i32> =
                blockers.split(' ').filter_map(|blocker| blocker.parse().ok()).collect();
            (!blockers.is_empty()).then_some((process.parse().ok()?, blockers))
        })
        .collect())
}

/// The actions that unblock the processes in `blocked`. `state_of` returns the in-flight statement
/// of a worker and how often it was cancelled.
fn decide(
    blocked: &HashMap<i32, Vec<i32>>,
    state_of: impl Fn(i32) -> Option<(Option<InFlightStatement>, u32)>,
    now: Instant,
) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut waiters: Vec<i32> = blocked.keys().copied().collect();
    waiters.sort_unstable();
    for waiter in waiters {
        let commit_waits =
            statement_of(&state_of, waiter).is_some_and(|statement| !statement.monitor_may_cancel);
        let mut path = vec![waiter];
        let mut visited = HashSet::new();
        follow(blocked, &state_of, &mut path, &mut visited, commit_waits, now, &mut actions);
    }
    let mut once = Vec::new();
    for action in actions {
        if !once.contains(&action) {
            once.push(action);
        }
    }
    once
}

fn statement_of(
    state_of: &impl Fn(i32) -> Option<(Option<InFlightStatement>, u32)>,
    process: i32,
) -> Option<InFlightStatement> {
    state_of(process).and_then(|(statement, _)| statement)
}

fn follow(
    blocked: &HashMap<i32, Vec<i32>>,
    state_of: &impl Fn(i32) -> Option<(Option<InFlightStatement>, u32)>,
    path: &mut Vec<i32>,
    visited: &mut HashSet<i32>,
    commit_waits: bool,
    now: Instant,
    actions: &mut Vec<Action>,
) {
    let last = *path.last().expect("a path has a start");
    for blocker in blocked.get(&last).into_iter().flatten().copied() {
        if let Some(start) = path.iter().position(|process| *process == blocker) {
            actions.extend(break_deadlock(state_of, &path[start..]));
        } else if blocked.contains_key(&blocker) {
            if visited.insert(blocker) {
                path.push(blocker);
                follow(blocked, state_of, path, visited, commit_waits, now, actions);
                path.pop();
            }
        } else {
            match state_of(blocker) {
                Some((None, _)) => actions.push(Action::Detach(blocker)),
                Some((Some(statement), cancelled)) if statement.monitor_may_cancel => {
                    let timeout =
                        if commit_waits { COMMIT_BLOCKER_TIMEOUT } else { BLOCKER_TIMEOUT };
                    if now.duration_since(statement.sent) > timeout * 2_u32.pow(cancelled.min(6)) {
                        actions.push(Action::Cancel(blocker, statement));
                    }
                }
                // A commit ends soon; processes of other programs are ignored.
                _ => {}
            }
        }
    }
}

/// Cancels the youngest statement of a deadlock, except statements of a commit.
fn break_deadlock(
    state_of: &impl Fn(i32) -> Option<(Option<InFlightStatement>, u32)>,
    cycle: &[i32],
) -> Option<Action> {
    cycle
        .iter()
        .filter_map(|process| {
            statement_of(state_of, *process).map(|statement| (*process, statement))
        })
        .filter(|(_, statement)| statement.monitor_may_cancel)
        .max_by_key(|(process, statement)| (statement.since, *process))
        .map(|(process, statement)| Action::Cancel(process, statement))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::in_flight::CancelPolicy;

    /// The in-flight statement of a worker, requested `age` milliseconds ago.
    fn running(now: Instant, age: u64, monitor_may_cancel: bool) -> InFlightStatement {
        let tracker = StatementTracker::new(0);
        let since = now - Duration::from_millis(age);
        tracker.start(CancelPolicy { since, monitor_may_cancel, client_may_cancel: true });
        let mut statement = tracker.in_flight().unwrap();
        statement.sent = statement.since;
        statement
    }

    fn actions(
        blocked: &[(i32, &[i32])],
        in_flight: &[(i32, Option<InFlightStatement>)],
        now: Instant,
    ) -> Vec<Action> {
        let blocked = blocked.iter().map(|(waiter, by)| (*waiter, by.to_vec())).collect();
        let state_of = |process| {
            in_flight
                .iter()
                .find(|(known, _)| *known == process)
                .map(|(_, statement)| (*statement, 0))
        };
        decide(&blocked, state_of, now)
    }

    #[test]
    fn only_the_idle_transaction_at_the_end_of_a_chain_is_detached() {
        let now = Instant::now() + Duration::from_secs(10);
        let in_flight =
            [(1, Some(running(now, 5, true))), (2, Some(running(now, 4, true))), (3, None)];
        let found = actions(&[(1, &[2]), (2, &[3])], &in_flight, now);
        assert_eq!(found, [Action::Detach(3)]);
    }

    #[test]
    fn a_running_blocker_is_cancelled_after_a_timeout() {
        let now = Instant::now() + Duration::from_secs(10);
        let young = [(1, Some(running(now, 5, true))), (2, Some(running(now, 100, true)))];
        assert_eq!(actions(&[(1, &[2])], &young, now), []);
        let old = running(now, 300, true);
        let in_flight = [(1, Some(running(now, 5, true))), (2, Some(old))];
        assert_eq!(actions(&[(1, &[2])], &in_flight, now), [Action::Cancel(2, old)]);
    }

    #[test]
    fn a_commit_has_a_shorter_timeout_and_is_never_cancelled() {
        let now = Instant::now() + Duration::from_secs(10);
        let other = running(now, 100, true);
        let in_flight = [(1, Some(running(now, 5, false))), (2, Some(other))];
        assert_eq!(actions(&[(1, &[2])], &in_flight, now), [Action::Cancel(2, other)]);
        let in_flight = [(1, Some(running(now, 5, true))), (2, Some(running(now, 900, false)))];
        assert_eq!(actions(&[(1, &[2])], &in_flight, now), []);
    }

    #[test]
    fn in_a_deadlock_the_youngest_statement_is_cancelled() {
        let now = Instant::now() + Duration::from_secs(10);
        let young = running(now, 5, true);
        let in_flight =
            [(1, Some(running(now, 9, true))), (2, Some(young)), (3, Some(running(now, 7, true)))];
        let found = actions(&[(1, &[2]), (2, &[3]), (3, &[1])], &in_flight, now);
        assert_eq!(found, [Action::Cancel(2, young)]);
        // A statement of a commit is not cancelled.
        let committing = running(now, 1, false);
        let other = running(now, 9, true);
        let in_flight = [(1, Some(other)), (2, Some(committing))];
        let found = actions(&[(1, &[2]), (2, &[1])], &in_flight, now);
        assert_eq!(found, [Action::Cancel(1, other)]);
    }

    #[test]
    fn other_processes_are_ignored() {
        let now = Instant::now() + Duration::from_secs(10);
        assert_eq!(actions(&[(1, &[99])], &[(1, Some(running(now, 5, true)))], now), []);
    }
}

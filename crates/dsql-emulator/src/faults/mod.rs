//! Injected faults of commits, statements and connections, and control over jobs.
//!
//! Scripted faults apply to the next commits, statements and connections. Random faults come from a
//! seed, so a failing run can be repeated.

pub(crate) mod control;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use crate::wire::DbError;

/// The maximum of a latency: longer than any test waits, and within the range of a clock.
const MAX_LATENCY: Duration = Duration::from_secs(60 * 60);
/// The maximum of a clock shift: a thousand years, within the range of a clock.
const MAX_SHIFT: Duration = Duration::from_secs(1_000 * 365 * 24 * 60 * 60);

/// DSQL's code of a conflict, which is part of the message (aurora-dsql.md#conflicts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OccCode {
    /// `OC000`: another transaction wrote the same rows.
    Oc000,
    /// `OC001`: another transaction changed the schema.
    Oc001,
}

impl OccCode {
    /// DSQL's message (aurora-dsql.md#conflicts).
    pub const fn message(self) -> &'static str {
        match self {
            Self::Oc000 => "change conflicts with another transaction (OC000)",
            Self::Oc001 => "schema has been updated by another transaction (OC001)",
        }
    }
}

/// A fault of a commit.
///
/// A commit is the COMMIT of a transaction that has run a statement and has not failed, or the end
/// of an autocommit statement that writes rows or changes the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommitFault {
    /// A conflict with another transaction: `40001` with `(OC000)`. Nothing is applied.
    Conflict,
    /// A conflict with a catalog change: `40001` with `(OC001)`. Nothing is applied.
    CatalogConflict,
    /// `XX000`, which leaves the outcome unknown to the client. The connection stays open.
    Unavailable {
        /// Whether the transaction is applied.
        applied: bool,
    },
    /// The connection closes without an answer.
    LostAnswer {
        /// Whether the transaction is applied.
        applied: bool,
    },
    /// The commit waits for [`Faults::release_commits`], before conflicts are detected.
    Held,
}

/// A fault of a statement, before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatementFault {
    /// `XX000`. An open transaction is aborted.
    Unavailable,
    /// `40001` with `(OC001)`. An open transaction is aborted.
    CatalogConflict,
    /// The connection closes.
    Close,
}

/// Why a new connection is refused (aurora-dsql.md#admission).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// `08006`, access denied.
    AccessDenied,
    /// `53300`, too many open connections.
    TooManyConnections,
    /// `53400`, too many new connections.
    RateExceeded,
    /// `08006`, the cluster is waking up.
    WakingUp,
    /// The connection closes without an error.
    Closed,
}

/// The minimum time between a message and its answer.
///
/// It includes the emulator's own work: 4 ms for a statement is the time that a client measures on
/// a cluster (aurora-dsql.md#latency), which includes the cluster's work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// For each answer that a client waits for.
    pub round_trip: Duration,
    /// Before each commit is applied, in addition to `round_trip`.
    pub commit: Duration,
}

/// The rates of random faults, as shares of all commits. Their sum is at most 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CommitRates {
    /// [`CommitFault::Conflict`].
    pub conflict: f64,
    /// [`CommitFault::CatalogConflict`].
    pub catalog_conflict: f64,
    /// [`CommitFault::Unavailable`], applied or not with equal probability.
    pub unavailable: f64,
    /// [`CommitFault::LostAnswer`], applied or not with equal probability.
    pub lost_answer: f64,
}

/// Faults that have happened since the emulator was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultReport {
    /// At commits.
    pub commits: u64,
    /// At statements.
    pub statements: u64,
    /// At new connections.
    pub connections: u64,
}

/// Injects faults. A cheap handle: clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    signal: watch::Sender<Signal>,
    /// How many held commits have not ended.
    held: watch::Sender<usize>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            signal: watch::Sender::new(Signal::default()),
            held: watch::Sender::new(0),
        }
    }
}

/// A commit that has met [`CommitFault::Held`], which counts until this is dropped.
#[derive(Debug)]
pub(crate) struct HeldCommit {
    faults: Faults,
    /// Closes when the commit is released.
    hold: watch::Receiver<()>,
}

impl HeldCommit {
    /// Waits until the commit is released.
    pub(crate) async fn released(&mut self) {
        // Nothing is sent: the error is the release.
        let _ = self.hold.changed().await;
    }
}

impl Drop for HeldCommit {
    fn drop(&mut self) {
        self.faults.0.held.send_modify(|held| *held -= 1);
    }
}

/// Changes that open connections must react to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signal {
    /// How often all connections were dropped.
    pub(crate) drops: u64,
    /// The shift of the clock.
    pub(crate) clock: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// Scripted decisions, each with the number of commits that it applies to, at least 1.
    commits: VecDeque<(Option<CommitFault>, usize)>,
    statements: Vec<(Option<String>, StatementFault, u32)>,
    refusal: Option<(Refusal, u32)>,
    random: Option<(fastrand::Rng, CommitRates)>,
    latency: Latency,
    /// Commits that meet [`CommitFault::Held`] wait until this is dropped.
    commit_hold: Option<watch::Sender<()>>,
    /// Jobs that start while this exists wait until it is dropped.
    job_hold: Option<watch::Sender<()>>,
    happened: FaultReport,
}

impl Faults {
    /// Injects `fault` into the next `times` commits without a scripted decision.
    pub fn at_commit(&self, fault: CommitFault, times: usize) {
        self.decide(Some(fault), times);
    }

    /// Appends one decision for each of the next commits to the script. `None` lets a commit
    /// succeed.
    pub fn script(&self, decisions: impl IntoIterator<Item = Option<CommitFault>>) {
        decisions.into_iter().for_each(|decision| self.decide(decision, 1));
    }

    /// Appends the same decision for `times` commits to the script.
    fn decide(&self, decision: Option<CommitFault>, times: usize) {
        let commits = &mut self.state().commits;
        match commits.back_mut() {
            Some((last, more)) if *last == decision => *more = more.saturating_add(times),
            _ if times > 0 => commits.push_back((decision, times)),
            _ => {}
        }
    }

    /// Injects random faults into commits without a scripted decision. The same seed gives the same
    /// sequence of faults.
    ///
    /// # Panics
    /// A rate is negative or not a number, or the sum of the rates is above 1.
    pub fn at_random(&self, seed: u64, rates: CommitRates) {
        let each = [rates.conflict, rates.catalog_conflict, rates.unavailable, rates.lost_answer];
        assert!(
            each.iter().all(|rate| *rate >= 0.0) && each.iter().sum::<f64>() <= 1.0,
            "rates must be at least 0 each and at most 1 together: {rates:?}"
        );
        self.state().random = Some((fastrand::Rng::with_seed(seed), rates));
    }

    /// Releases all commits that are held. Later commits that meet [`CommitFault::Held`] are held
    /// again.
    pub fn release_commits(&self) {
        self.state().commit_hold = None;
    }

    /// Waits until the number of held commits is `count`. A released commit counts until it has
    /// ended: 0 means that all have ended.
    pub async fn held_commits(&self, count: usize) {
        // The sender is borrowed, so it is not closed.
        let _ = self.0.held.subscribe().wait_for(|held| *held == count).await;
    }

    /// Holds the jobs that start from now on: they stay `submitted` until they are released.
    pub fn hold_jobs(&self) {
        self.state().job_hold.get_or_insert_with(|| watch::Sender::new(()));
    }

    /// Releases all jobs that are held; later ones are not held.
    pub fn release_jobs(&self) {
        self.state().job_hold = None;
    }

    /// Injects `fault` into the next `times` statements; with `containing`, into those whose text
    /// contains it.
    pub fn at_statement(&self, containing: Option<&str>, fault: StatementFault, times: u32) {
        let containing = containing.map(str::to_owned);
        if times > 0 {
            self.state().statements.push((containing, fault, times));
        }
    }

    /// Refuses the next `times` connections, or all if `times` is [`u32::MAX`].
    pub fn refuse_connections(&self, refusal: Refusal, times: u32) {
        self.state().refusal = Some((refusal, times)).filter(|_| times > 0);
    }

    /// Closes all connections, also in the middle of a statement.
    pub fn drop_connections(&self) {
        self.0.signal.send_modify(|signal| signal.drops += 1);
    }

    /// Sets the latency. Each value is limited to an hour.
    pub fn set_latency(&self, latency: Latency) {
        let Latency { round_trip, commit } = latency;
        self.state().latency =
            Latency { round_trip: round_trip.min(MAX_LATENCY), commit: commit.min(MAX_LATENCY) };
    }

    /// Advances the emulator's clock, by which tokens expire, and sessions and transactions reach
    /// their maximum age. Shifts add up, to a thousand years at most.
    pub fn shift_clock(&self, by: Duration) {
        let shift = |signal: &mut Signal| {
            signal.clock = signal.clock.saturating_add(by).min(MAX_SHIFT);
        };
        self.0.signal.send_modify(shift);
    }

    /// Removes all pending faults, the latency and the clock shift, and releases all held commits
    /// and jobs.
    pub fn clear(&self) {
        let mut state = self.state();
        *state = State { happened: state.happened, ..State::default() };
        self.0.signal.send_modify(|signal| signal.clock = Duration::ZERO);
    }

    /// The number of scripted faults that have not happened yet. A test that expects its faults
    /// asserts 0.
    pub fn pending(&self) -> usize {
        let state = self.state();
        let commits = state.commits.iter().filter(|(fault, _)| fault.is_some());
        let statements = state.statements.iter().map(|(_, _, times)| *times as usize);
        let connections = state.refusal.map(|(_, times)| times as usize);
        commits
            .map(|(_, times)| *times)
            .chain(statements)
            .chain(connections)
            .fold(0, usize::saturating_add)
    }

    /// The number of commits that the script still decides, including those that succeed.
    pub fn undecided(&self) -> usize {
        self.state().commits.iter().map(|(_, times)| *times).fold(0, usize::saturating_add)
    }

    /// The faults that have happened.
    pub fn report(&self) -> FaultReport {
        self.state().happened
    }

    /// The fault of the next commit, with what counts and releases it if it is held.
    pub(crate) fn next_commit(&self) -> (Option<CommitFault>, Option<HeldCommit>) {
        let mut state = self.state();
        let fault = match state.commits.front_mut() {
            Some((decision, times)) => {
                let decision = *decision;
                *times -= 1;
                if *times == 0 {
                    state.commits.pop_front();
                }
                decision
            }
            None => state.random.as_mut().and_then(|(random, rates)| draw(random, rates)),
        };
        state.happened.commits += u64::from(fault.is_some());
        let held = (fault == Some(CommitFault::Held)).then(|| {
            self.0.held.send_modify(|held| *held += 1);
            let hold = state.commit_hold.get_or_insert_with(|| watch::Sender::new(()));
            HeldCommit { faults: self.clone(), hold: hold.subscribe() }
        });
        (fault, held)
    }

    /// What a job that starts waits for: the channel closes when the job is released.
    pub(crate) fn job_hold(&self) -> Option<watch::Receiver<()>> {
        self.state().job_hold.as_ref().map(watch::Sender::subscribe)
    }

    pub(crate) fn next_statement(&self, text: &str) -> Option<StatementFault> {
        let mut state = self.state();
        let due = state.statements.iter().position(|(containing, ..)| {
            containing.as_deref().is_none_or(|part| text.contains(part))
        })?;
        let (_, fault, times) = &mut state.statements[due];
        let fault = *fault;
        *times -= 1;
        if *times == 0 {
            state.statements.remove(due);
        }
        state.happened.statements += 1;
        Some(fault)
    }

    pub(crate) fn next_connection(&self) -> Option<Refusal> {
        let mut state = self.state();
        let (refusal, times) = state.refusal?;
        state.refusal = match times {
            u32::MAX => Some((refusal, times)),
            1 => None,
            more => Some((refusal, more - 1)),
        };
        state.happened.connections += 1;
        Some(refusal)
    }

    pub(crate) fn latency(&self) -> Latency {
        self.state().latency
    }

    /// The time on the emulator's clock.
    pub(crate) fn now(&self) -> SystemTime {
        SystemTime::now() + self.clock_shift()
    }

    /// How far the emulator's clock is ahead.
    pub(crate) fn clock_shift(&self) -> Duration {
        self.0.signal.borrow().clock
    }

    /// Notifies of dropped connections and clock shifts.
    pub(crate) fn signal(&self) -> watch::Receiver<Signal> {
        self.0.signal.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn draw(random: &mut fastrand::Rng, rates: &CommitRates) -> Option<CommitFault> {
    // Both values are always drawn, so that every decision uses the same share of the random
    // sequence.
    let (mut at, applied) = (random.f64(), random.bool());
    [
        (rates.conflict, CommitFault::Conflict),
        (rates.catalog_conflict, CommitFault::CatalogConflict),
        (rates.unavailable, CommitFault::Unavailable { applied }),
        (rates.lost_answer, CommitFault::LostAnswer { applied }),
    ]
    .into_iter()
    .find_map(|(rate, fault)| {
        at -= rate;
        (at < 0.0).then_some(fault)
    })
}

/// aurora-dsql.md#conflicts
pub(crate) fn conflict() -> DbError {
    DbError::new("40001", OccCode::Oc000.message())
}

/// aurora-dsql.md#conflicts
pub(crate) fn catalog_conflict() -> DbError {
    DbError::new("40001", OccCode::Oc001.message())
}

/// aurora-dsql.md#transient-failures
pub(crate) fn unavailable() -> DbError {
    DbError::new("XX000", "server unavailable")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_decides_each_commit_and_later_commits_succeed() {
        let faults = Faults::default();
        faults.script([None, Some(CommitFault::Conflict)]);
        faults.at_commit(CommitFault::LostAnswer { applied: true }, 2);
        assert_eq!(faults.pending(), 3);
        let happened: Vec<_> = (0..5).map(|_| faults.next_commit().0).collect();
        let lost = Some(CommitFault::LostAnswer { applied: true });
        assert_eq!(happened, [None, Some(CommitFault::Conflict), lost, lost, None]);
        assert_eq!(faults.pending(), 0);
        assert_eq!(faults.report().commits, 3);
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_at_the_configured_rate() {
        let rates = CommitRates { conflict: 0.3, lost_answer: 0.2, ..CommitRates::default() };
        let run = |seed| {
            let faults = Faults::default();
            faults.at_random(seed, rates);
            (0..2_000).map(|_| faults.next_commit().0).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        let conflicts = run(1).iter().filter(|f| **f == Some(CommitFault::Conflict)).count();
        assert!((500..700).contains(&conflicts), "{conflicts}");
    }

    #[test]
    #[should_panic(expected = "at most 1 together")]
    fn rates_above_one_in_total_are_refused() {
        let rates = CommitRates { conflict: 0.7, unavailable: 0.7, ..CommitRates::default() };
        Faults::default().at_random(1, rates);
    }

    #[test]
    fn a_statement_fault_matches_by_text_and_count() {
        let faults = Faults::default();
        faults.at_statement(Some("t1"), StatementFault::Unavailable, 2);
        assert_eq!(faults.next_statement("SELECT 1"), None);
        assert_eq!(faults.next_statement("SELECT t1"), Some(StatementFault::Unavailable));
        assert_eq!(faults.next_statement("SELECT t1"), Some(StatementFault::Unavailable));
        assert_eq!(faults.next_statement("SELECT t1"), None);
        faults.at_statement(None, StatementFault::Close, 1);
        assert_eq!(faults.next_statement("SELECT 1"), Some(StatementFault::Close));
    }

    #[test]
    fn extreme_counts_and_durations_are_accepted() {
        let faults = Faults::default();
        faults.at_commit(CommitFault::Conflict, 0);
        faults.at_statement(None, StatementFault::Close, 0);
        faults.refuse_connections(Refusal::Closed, 0);
        assert_eq!((faults.pending(), faults.undecided()), (0, 0));
        assert_eq!(faults.next_statement("SELECT 1"), None);
        assert_eq!(faults.next_commit().0, None);
        for _ in 0..2 {
            faults.at_commit(CommitFault::Conflict, usize::MAX);
            faults.at_statement(None, StatementFault::Close, u32::MAX);
            faults.shift_clock(Duration::MAX);
        }
        assert_eq!((faults.pending(), faults.undecided()), (usize::MAX, usize::MAX));
        assert_eq!(faults.next_commit().0, Some(CommitFault::Conflict));
        assert_eq!(faults.next_statement("SELECT 1"), Some(StatementFault::Close));
        assert!(faults.now() > SystemTime::now() + MAX_SHIFT / 2);
        faults.set_latency(Latency { round_trip: Duration::MAX, commit: Duration::MAX });
        assert_eq!(faults.latency().commit, MAX_LATENCY);
    }

    #[tokio::test]
    async fn a_commit_that_has_met_its_fault_is_released_also_by_clear() {
        let faults = Faults::default();
        for release in [Faults::release_commits, Faults::clear] {
            faults.at_commit(CommitFault::Held, 1);
            let (fault, held) = faults.next_commit();
            assert_eq!(fault, Some(CommitFault::Held));
            faults.held_commits(1).await;
            release(&faults);
            let mut held = held.unwrap();
            held.released().await;
            drop(held);
            faults.held_commits(0).await;
        }
    }

    #[test]
    fn connections_are_refused_a_number_of_times_or_always() {
        let faults = Faults::default();
        faults.refuse_connections(Refusal::WakingUp, 1);
        assert_eq!(faults.next_connection(), Some(Refusal::WakingUp));
        assert_eq!(faults.next_connection(), None);
        faults.refuse_connections(Refusal::Closed, u32::MAX);
        assert_eq!(faults.next_connection(), faults.next_connection());
        faults.clear();
        assert_eq!(faults.next_connection(), None);
    }
}

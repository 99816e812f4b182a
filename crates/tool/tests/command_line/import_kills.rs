//! `import` as a process that is killed (SIGKILL) at random moments of its copy and of its proof, while
//! commits fail, answers are lost, and connections to the source are cut.

use std::{
    iter,
    os::unix::process::ExitStatusExt,
    process::Child,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::support::{Run, Tool, blocking};
use dsql_emulator::CommitFault;
use fastrand::Rng;
use temporal_dsql_testkit::{FaultProxy, RecordedDeployment, ScratchCluster, ScratchDatabase};

/// The processes that are killed, by all workers together.
const KILLS: usize = 50;
/// Targets in use at the same time.
const WORKERS: usize = 5;
/// Commits for which it is decided whether they fail: more than there are.
const COMMITS: usize = 10_000;

/// The seed, printed so that a failure can be repeated.
#[expect(clippy::print_stdout, reason = "a failure is repeated with the seed")]
fn seed() -> u64 {
    let seed = std::env::var("IMPORT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("kills: IMPORT_SEED={seed}");
    seed
}

/// A fault of every tenth commit.
fn fault(random: &mut Rng) -> Option<CommitFault> {
    let applied = random.bool();
    match random.u8(..40) {
        0 => Some(CommitFault::Conflict),
        1 => Some(CommitFault::CatalogConflict),
        2 => Some(CommitFault::Unavailable { applied }),
        3 => Some(CommitFault::LostAnswer { applied }),
        _ => None,
    }
}

/// What happened to the processes of a worker.
#[derive(Debug, Default)]
struct Counts {
    /// Killed, after the first commit of their copy.
    killed: usize,
    /// Ended by themselves because a connection to the source was cut.
    cut: usize,
    /// Completed an import, and found rows of killed processes.
    completed: usize,
    /// The same, and inserted the rows that were missing.
    continued: usize,
}

/// A target, and the processes that import into it.
struct Worker {
    random: Rng,
    cluster: ScratchCluster,
    proxy: FaultProxy,
    tool: Tool,
    from: String,
    /// The rows of a target that was set up are kept when it is emptied.
    tables: Vec<String>,
    /// The duration of an import, from its first commit.
    whole: Duration,
    counts: Counts,
}

impl Worker {
    fn new(source: &ScratchDatabase, seed: u64) -> Self {
        let cluster = blocking(ScratchCluster::create(|builder| builder)).unwrap();
        let proxy = FaultProxy::start(source.addr().unwrap()).unwrap();
        let tool = Tool::on(&cluster);
        tool.ok(&["setup-schema"]);
        let recorded = RecordedDeployment::new();
        let has_rows = |table: &&str| !recorded.rows(table).is_empty();
        let is_version = |table: &&str| table.starts_with("schema_");
        let tables = recorded.tables().filter(has_rows).filter(|table| !is_version(table));
        let mut worker = Self {
            random: Rng::with_seed(seed),
            from: source.url_via(proxy.addr()),
            tables: tables.map(str::to_owned).collect(),
            whole: Duration::ZERO,
            counts: Counts::default(),
            cluster,
            proxy,
            tool,
        };
        let mut random = worker.random.fork();
        worker.cluster.faults().script(iter::repeat_with(|| fault(&mut random)).take(COMMITS));
        let mut child = worker.start();
        worker.waits_for_commit(&mut child);
        let start = Instant::now();
        let run = Run::from(child.wait_with_output().unwrap());
        assert_eq!(run.code, 0, "{}{}", run.out, run.err);
        worker.whole = start.elapsed();
        worker.empty();
        worker
    }

    fn start(&mut self) -> Child {
        let jobs = self.random.u8(1..=4).to_string();
        self.tool.spawn(&["import", "--from", &self.from, "--jobs", &jobs, "--output", "json"])
    }

    /// Waits until the process commits rows, or has ended.
    fn waits_for_commit(&self, child: &mut Child) {
        let faults = self.cluster.faults();
        let (before, start) = (faults.undecided(), Instant::now());
        assert!(before > COMMITS / 2, "few commits are left to decide");
        while faults.undecided() == before && child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(60), "the process does not copy");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills processes until no kill is left to any worker; the one that completes an import is exact,
    /// and the next begins with an empty target.
    fn kill(mut self, left: &AtomicUsize) -> Counts {
        let mut processes = 0;
        while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
            processes += 1;
            let most = 20 * KILLS / WORKERS;
            assert!(processes < most, "few of {processes} are killed: {:?}", self.counts);
            let before = self.counts.killed;
            self.process(true);
            if self.counts.killed == before {
                left.fetch_add(1, Relaxed);
            }
        }
        // The last one that was killed is followed by one that is not.
        assert!(self.process(false), "an import that nobody stopped is not complete");
        self.counts
    }

    /// One process, which is perhaps killed. True if it completed the import.
    fn process(&mut self, is_killed: bool) -> bool {
        let is_cut = is_killed && self.random.u8(..5) == 0;
        // More often early, so that the next process has rows left.
        let moment = self.whole.mul_f64(self.random.f64() * self.random.f64());
        let mut child = self.start();
        self.waits_for_commit(&mut child);
        if is_cut {
            thread::sleep(moment / 2);
            self.proxy.cut();
            thread::sleep(moment / 2);
        } else if is_killed {
            thread::sleep(moment);
        }
        if is_killed {
            // It may have ended.
            let _ = child.kill();
        }
        let output = child.wait_with_output().unwrap();
        if output.status.signal() == Some(9) {
            self.counts.killed += 1;
            return false;
        }
        let run = Run::from(output);
        let report: serde_json::Value = serde_json::from_str(&run.out).unwrap();
        if run.code == 1 && is_cut && report["kind"] == "connection" {
            self.counts.cut += 1;
            return false;
        }
        assert_eq!((run.code, &report["exact"]), (0, &true.into()), "{}{}", run.out, run.err);
        let sum = |field: &str| -> u64 {
            let tables = report["import"]["tables"].as_array().unwrap();
            tables.iter().map(|table| table[field].as_u64().unwrap()).sum()
        };
        let (inserted, found) = (sum("inserted"), sum("found"));
        self.counts.completed += usize::from(found > 0);
        self.counts.continued += usize::from(found > 0 && inserted > 0);
        self.tool.ok(&["import", "--from", &self.from, "--verify"]);
        self.empty();
        true
    }

    /// Brings the target to its state after the setup.
    fn empty(&self) {
        let mut sql: Vec<_> =
            self.tables.iter().map(|table| format!("DELETE FROM {table}")).collect();
        sql.push("INSERT INTO namespace_metadata VALUES (54321, 1) ON CONFLICT DO NOTHING".into());
        blocking(async {
            let mut admin = self.cluster.admin();
            for sql in sql {
                let mut attempts = 0;
                while let Err(error) = admin.query(&sql).await {
                    attempts += 1;
                    assert!(attempts < 20, "{sql}: {error}");
                }
            }
        });
    }
}

#[test]
fn an_import_that_is_killed_50_times_under_faults_is_exact_after_the_next_run() {
    let seed = seed();
    let Some(source) = blocking(RecordedDeployment::new().create()) else { return };
    let left = AtomicUsize::new(KILLS);
    let workers = thread::scope(|scope| {
        let start = |number: usize| {
            let (source, left, seed) = (&source, &left, seed.wrapping_add(number as u64));
            scope.spawn(move || Worker::new(source, seed).kill(left))
        };
        let workers: Vec<_> = (0..WORKERS).map(start).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    let sum = |of: fn(&Counts) -> usize| workers.iter().map(of).sum::<usize>();
    assert_eq!(sum(|counts| counts.killed), KILLS, "{workers:?}");
    assert!(sum(|counts| counts.completed) > 0, "{workers:?}");
    assert!(
        sum(|counts| counts.continued) > 0,
        "no process was killed before its end: {workers:?}"
    );
}

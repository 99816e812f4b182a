//! The time until a store works again after its connections or its server have failed.
//!
//! *Connections cut:* a proxy closes all idle connections of the pool at once; then every caller
//! begins a call. *Server restarts:* callers create executions when one process of the server is
//! killed. The server ends all of its sessions, recovers, and refuses connections meanwhile, as it
//! does in a restart. A probe measures when it accepts connections again.
//!
//! A caller whose call fails calls again at once. A failed call is one whose error the store
//! returns; a call that the store repeats by itself is not a failed one. All executions whose
//! creation was reported as done are read afterwards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use temporal_dsql::{
    Attempt, Store, VERSION,
    dsql::{DsqlStore, connect},
    stores::ExecutionStore,
};
use temporal_dsql_testkit::{FaultProxy, postgres::Server};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_postgres::NoTls;

use crate::{
    benchmark::Benchmark,
    chart::{Chart, Series},
    context::{Context, runtime},
    database::{self, Database},
    stats::Spread,
    table::{Goal, Table, number, ratio},
    typical::{Execution, create_shard},
};

struct Plan {
    /// Idle connections, and callers afterwards.
    connections: u32,
    /// Callers during the restart.
    callers: u32,
    rounds: usize,
}

const FULL: Plan = Plan { connections: 50, callers: 32, rounds: 5 };
const SMOKE: Plan = Plan { connections: 4, callers: 4, rounds: 1 };

/// Every caller succeeds within this time, or the measurement is void.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long callers work before the server fails.
const BEFORE: Duration = Duration::from_millis(500);

/// The results.
#[derive(Debug, Serialize, Deserialize)]
pub struct Recovery {
    connections: u32,
    callers: u32,
    cut: Fault,
    restart: Fault,
    /// Milliseconds from the failure of the server until it accepts a connection, in each round.
    down_ms: Vec<f64>,
}

/// One kind of failure, with a sample for each round.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Fault {
    /// Milliseconds from the failure to the first success of a call that began after it.
    first_ms: Vec<f64>,
    /// Milliseconds until every caller has had such a success.
    last_ms: Vec<f64>,
    failed_calls: Vec<f64>,
}

impl Benchmark for Recovery {
    const NAME: &'static str = "recovery";

    fn measure(context: &Context) -> Result<Self> {
        let plan = context.scale.pick(FULL, SMOKE);
        // Of its own: it fails.
        let server = database::start_server()?;
        runtime()?.block_on(async {
            let database = Database::create(&server, VERSION).await?;
            // A commit survives the end of the server's processes only if its record was written.
            let scratch = database.scratch();
            let durable = "SET synchronous_commit = on";
            scratch.execute(&format!("ALTER DATABASE {} {durable}", scratch.name())).await?;
            let proxy = FaultProxy::start(database.scratch().addr()?)?;
            let setup = database.store(1).await?;
            create_shard(&setup).await?;
            setup.close();
            let next_id = Arc::new(AtomicU64::new(0));
            let (mut cut, mut restart) = (Fault::default(), Fault::default());
            let mut down_ms = Vec::new();
            for round in 1..=plan.rounds {
                let mut config = database.config(plan.connections);
                config.port = proxy.addr().port();
                config.pool.min_connections = plan.connections;
                let store = Arc::new(connect(&config, None).await?);
                warm(&store, plan.connections).await?;
                let begin = Instant::now();
                proxy.cut();
                let callers = Callers::start(&store, plan.connections, &next_id);
                callers.end_after_next_success();
                cut.add(callers.recover(begin).await?);
                store.close();

                let store = Arc::new(database.store(plan.callers).await?);
                warm(&store, plan.callers).await?;
                let callers = Callers::start(&store, plan.callers, &next_id);
                sleep(BEFORE).await;
                let process = walwriter(&server, &database).await?;
                let url = database.scratch().url();
                let (_client, session) = tokio_postgres::connect(&url, NoTls).await?;
                let begin = Instant::now();
                kill_process(process, Signal::KILL)?;
                // A refused connection would not do: the restart may be over before one is tried.
                let ended = timeout(DEADLINE, session).await;
                ensure!(ended.is_ok(), "the server has not ended a session in {DEADLINE:?}");
                // Until it answers, whatever that is, another session may still be served.
                let _ = tokio_postgres::connect(&url, NoTls).await;
                callers.end_after_next_success();
                let probe = tokio::spawn(async move { until_accepted(&url, begin).await });
                restart.add(callers.recover(begin).await?);
                down_ms.push(probe.await.context("the probe panicked")??);
                store.close();
                context.progress(&format!("round {round} of {}", plan.rounds));
            }
            let Plan { connections, callers, .. } = plan;
            Ok(Self { connections, callers, cut, restart, down_ms })
        })
    }

    fn tables(&self) -> Vec<Table> {
        let range = |samples: &[f64]| {
            let Spread { median, low, high } = Spread::of(samples);
            format!("{} ({}–{})", number(median), number(low), number(high))
        };
        let header = [
            "failure",
            "ms to the first success",
            "ms until all callers succeed",
            "failed calls",
            "server away in ms",
            "first success to the server's return",
        ];
        let row = |name: String, fault: &Fault| {
            vec![name, range(&fault.first_ms), range(&fault.last_ms), range(&fault.failed_calls)]
        };
        let mut cut = row(format!("{} idle connections cut", self.connections), &self.cut);
        cut.extend([String::new(), String::new()]);
        let mut restart =
            row(format!("server restarts under {} callers", self.callers), &self.restart);
        restart.extend([range(&self.down_ms), ratio(self.to_return())]);
        let series = [
            Series::new(
                "first success",
                vec![Spread::of(&self.cut.first_ms), Spread::of(&self.restart.first_ms)],
            ),
            Series::new(
                "all callers",
                vec![Spread::of(&self.cut.last_ms), Spread::of(&self.restart.last_ms)],
            ),
        ];
        vec![Table {
            name: "recovery",
            title: "Recovery on PostgreSQL, five rounds".into(),
            header: header.map(str::to_owned).into(),
            rows: vec![cut, restart],
            chart: Chart {
                axis: "ms after the failure".into(),
                groups: vec!["connections cut".into(), "server restarts".into()],
                series: series.into(),
                lines: vec![("server's return".into(), Spread::of(&self.down_ms).median)],
            },
        }]
    }

    fn goals(&self) -> Vec<Goal> {
        vec![Goal::at_most(
            "First success after a restart, to the server's return",
            2.0,
            [("time", self.to_return())],
        )]
    }
}

impl Recovery {
    fn to_return(&self) -> Spread {
        Spread::of_ratio(&self.restart.first_ms, &self.down_ms)
    }
}

impl Fault {
    fn add(&mut self, round: Recovered) {
        self.first_ms.push(round.first.as_secs_f64() * 1e3);
        self.last_ms.push(round.last.as_secs_f64() * 1e3);
        self.failed_calls.push(round.failed_calls as f64);
    }
}

/// Opens all connections of the pool.
async fn warm(store: &Arc<DsqlStore>, connections: u32) -> Result<()> {
    let mut asked = JoinSet::new();
    for _ in 0..connections {
        let store = Arc::clone(store);
        #[expect(clippy::disallowed_methods, reason = "a transaction holds its connection")]
        asked.spawn(async move { store.begin(Attempt::first("Warm")).await });
    }
    let mut held = Vec::new();
    while let Some(begun) = asked.join_next().await {
        held.push(begun.context("a task panicked")??);
    }
    for transaction in held {
        transaction.rollback().await?;
    }
    Ok(())
}

/// A process of the server that serves no session. If it is killed, the server ends all sessions and
/// starts again.
async fn walwriter(server: &Server, database: &Database) -> Result<Pid> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'";
    let found = database.scratch().query(sql).await?;
    let pid = found.first().and_then(|row| row[0].as_deref()?.parse().ok());
    let pid = pid.and_then(Pid::from_raw);
    pid.with_context(|| format!("{} has no process `walwriter`", server.addr()))
}

/// Waits until the server accepts a connection. Returns the milliseconds since `begin`.
async fn until_accepted(url: &str, begin: Instant) -> Result<f64> {
    while tokio_postgres::connect(url, NoTls).await.is_err() {
        ensure!(begin.elapsed() < DEADLINE, "the server has not restarted in {DEADLINE:?}");
        sleep(Duration::from_millis(1)).await;
    }
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}

/// Callers that create executions until each has succeeded after the failure.
struct Callers {
    running: JoinSet<Result<(Instant, u64, Vec<Execution>)>>,
    store: Arc<DsqlStore>,
    failed: Arc<AtomicBool>,
}

struct Recovered {
    first: Duration,
    last: Duration,
    failed_calls: u64,
}

impl Callers {
    fn start(store: &Arc<DsqlStore>, count: u32, next_id: &Arc<AtomicU64>) -> Self {
        let failed = Arc::new(AtomicBool::new(false));
        let mut running = JoinSet::new();
        for _ in 0..count {
            running.spawn(call(Arc::clone(store), Arc::clone(next_id), Arc::clone(&failed)));
        }
        Self { running, store: Arc::clone(store), failed }
    }

    /// Lets each caller end after its next success of a call that begins from now on.
    fn end_after_next_success(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Waits for all callers.
    ///
    /// # Errors
    /// One does not succeed in time, or an execution is not stored as reported.
    async fn recover(mut self, begin: Instant) -> Result<Recovered> {
        let mut successes = Vec::new();
        let (mut failed_calls, mut executions) = (0, Vec::new());
        while let Some(ended) = self.running.join_next().await {
            let (success, failed, created) = ended.context("a caller panicked")??;
            successes.push(success.duration_since(begin));
            failed_calls += failed;
            executions.extend(created);
        }
        let store = ExecutionStore::new(&*self.store);
        for execution in executions {
            execution.check(store.get(&execution.run()).await?.as_ref())?;
        }
        let (first, last) = (successes.iter().min(), successes.iter().max());
        let (first, last) = first.zip(last).context("there are no callers")?;
        Ok(Recovered { first: *first, last: *last, failed_calls })
    }
}

/// Creates executions until one succeeds whose creation began after the failure. Returns the moment
/// of that success, the number of failed calls, and the created executions.
async fn call(
    store: Arc<DsqlStore>,
    next_id: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
) -> Result<(Instant, u64, Vec<Execution>)> {
    let executions = ExecutionStore::new(&*store);
    let start = Instant::now();
    let (mut failed_calls, mut created) = (0, Vec::new());
    loop {
        let is_last = failed.load(Ordering::Relaxed);
        let mut execution = Execution::new(next_id.fetch_add(1, Ordering::Relaxed));
        match executions.create(&execution.create()).await {
            Ok(()) => {
                created.push(execution);
                if is_last {
                    return Ok((Instant::now(), failed_calls, created));
                }
            }
            Err(error) => {
                failed_calls += 1;
                ensure!(start.elapsed() < DEADLINE, "no success in {DEADLINE:?}: {error}");
            }
        }
    }
}

//! Callers that add messages to the same queue.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};
use temporal_dsql::{
    DataBlob, Encoding, FIRST_MESSAGE_ID, QueueType, Store, StoreError, stores::QueueStore,
};
use tokio::{task::JoinSet, time::Instant};

use super::{callers_name, conflicts::Conflicts};
use crate::{
    chart::{Chart, Series},
    load::{Window, histogram, join, millis, record},
    stats::Spread,
    table::{Table, nanos, number},
};

/// A number of callers of one queue, with a sample for each round.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct EnqueueCell {
    callers: u32,
    enqueues_per_second: Vec<f64>,
    attempts_per_enqueue: Vec<f64>,
    /// Calls that lost conflicts until the store gave up.
    given_up: Vec<f64>,
    p50_ms: Vec<f64>,
    p95_ms: Vec<f64>,
}

impl EnqueueCell {
    pub fn new(callers: u32) -> Self {
        Self { callers, ..Self::default() }
    }

    pub const fn callers(&self) -> u32 {
        self.callers
    }

    /// Measures one round on a queue of its own.
    ///
    /// # Errors
    /// An enqueue fails, or the ids of the queue are not dense.
    pub async fn measure(
        &mut self,
        store: Arc<impl Store + 'static>,
        queue: QueueType,
        conflicts: &Conflicts,
        window: Window,
    ) -> Result<()> {
        let span = window.begin();
        let mut running = JoinSet::new();
        for _ in 0..self.callers {
            let queues = QueueStore::new(Arc::clone(&store));
            running.spawn(async move {
                let message = DataBlob::new([7; 200], Encoding::new("Proto3")?);
                let (mut latencies, mut all, mut given_up) = (histogram(), 0_u64, 0_u64);
                while !span.is_over(Instant::now(), latencies.len()) {
                    let start = Instant::now();
                    match queues.enqueue(queue, &message).await {
                        Ok(_) => all += 1,
                        Err(StoreError::Conflict { .. }) => {
                            given_up += u64::from(span.contains(Instant::now()));
                            continue;
                        }
                        Err(other) => bail!(other),
                    }
                    if span.contains(Instant::now()) {
                        record(&mut latencies, start.elapsed());
                    }
                }
                anyhow::Ok((latencies, all, given_up))
            });
        }
        let (each, conflicts) = join(running, span, conflicts.counter()).await?;
        let seconds = span.seconds();
        let (mut latencies, mut all, mut given_up) = (histogram(), 0, 0);
        for (of_caller, enqueued, lost) in each {
            latencies.add(of_caller)?;
            all += enqueued;
            given_up += lost;
        }
        ensure!(!latencies.is_empty(), "no enqueue ended in {:?}", window.measured);
        let (queues, empty) = (QueueStore::new(&*store), DataBlob::new([], Encoding::new("")?));
        let last = queues.enqueue(queue, &empty).await?;
        let expected = FIRST_MESSAGE_ID + i64::try_from(all)?;
        ensure!(last == expected, "{all} messages were added; the next id is {last}");
        let enqueues = latencies.len() as f64;
        self.enqueues_per_second.push(enqueues / seconds);
        self.attempts_per_enqueue.push(1.0 + conflicts as f64 / enqueues);
        self.given_up.push(given_up as f64);
        self.p50_ms.push(millis(&latencies, 0.5));
        self.p95_ms.push(millis(&latencies, 0.95));
        Ok(())
    }

    /// The last round in a line.
    pub fn last_round(&self) -> String {
        let last = |samples: &[f64]| samples.last().copied().unwrap_or_default();
        format!(
            "{} of one queue: {:.1} enqueues per second, {:.2} attempts per enqueue, p50 {:.0} ms, \
             p95 {:.0} ms",
            callers_name(self.callers),
            last(&self.enqueues_per_second),
            last(&self.attempts_per_enqueue),
            last(&self.p50_ms),
            last(&self.p95_ms)
        )
    }
}

/// The table of the cells, whose limit is one enqueue in `limit_ms`.
pub fn table(cells: &[EnqueueCell], limit_ms: f64) -> Table {
    let header = [
        "callers",
        "enqueues per second",
        "attempts per enqueue",
        "calls given up",
        "p50 of enqueue",
        "p95 of enqueue",
    ];
    let median = |samples: &[f64]| Spread::of(samples).median;
    let rows = cells.iter().map(|cell| {
        vec![
            cell.callers.to_string(),
            number(median(&cell.enqueues_per_second)),
            number(median(&cell.attempts_per_enqueue)),
            format!("{:.0}", median(&cell.given_up)),
            nanos(median(&cell.p50_ms) * 1e6),
            nanos(median(&cell.p95_ms) * 1e6),
        ]
    });
    let bars = cells.iter().map(|cell| Spread::of(&cell.enqueues_per_second)).collect();
    Table {
        name: "sharing-queue",
        title: "Callers that add messages to one queue, on the emulator".into(),
        header: header.map(str::to_owned).into(),
        rows: rows.collect(),
        chart: Chart {
            axis: "enqueues per second".into(),
            groups: cells.iter().map(|cell| callers_name(cell.callers)).collect(),
            series: vec![Series::new("store", bars)],
            lines: vec![("one after the other".into(), 1e3 / limit_ms)],
        },
    }
}

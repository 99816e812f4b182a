//! The import of a deployment from PostgreSQL, next to AWS's `aurora-dsql-loader`.
//!
//! The loader copies a file into one table, so the same table is imported alone for the comparison.
//! The import reads the source, checks it first, and proves at the end that both sides have the same
//! rows; the loader reads a file that was written before, and proves nothing.

mod process;
mod source;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use dsql_emulator::Latency;
use serde::{Deserialize, Serialize};

use self::{
    process::Runs,
    source::{LARGEST, Size},
};
use crate::{
    benchmark::Benchmark,
    chart::{Chart, Series},
    cluster::{Cluster, LATENCY},
    context::{Context, Scale, runtime},
    rounds,
    stats::Spread,
    table::{Goal, Table, mib, nanos, number, ratio},
    tool::tool,
};

struct Plan {
    size: Size,
    rounds: usize,
}

const FULL: Plan = Plan { size: Size { nodes: 1_000_000, executions: 100_000 }, rounds: 3 };
const SMOKE: Plan = Plan { size: Size { nodes: 3_000, executions: 300 }, rounds: 1 };

/// The goal of the memory of an import, whatever the size of the source.
const MAX_MIB: u64 = 300;

/// The results.
#[derive(Debug, Serialize, Deserialize)]
pub struct Import {
    /// The rows of the largest table.
    nodes: u64,
    /// The rows of all tables.
    rows: u64,
    cells: Vec<Cell>,
}

/// An emulator, with or without latency.
#[derive(Debug, Serialize, Deserialize)]
struct Cell {
    has_latency: bool,
    /// All tables.
    whole: Runs,
    /// The largest table.
    largest: Runs,
    /// The same by the loader; no runs if it is not installed, in a smoke test.
    loader: Runs,
}

#[derive(Clone, Copy)]
enum Subject {
    Whole,
    Largest,
    Loader,
}

impl Benchmark for Import {
    const NAME: &'static str = "import";

    fn measure(context: &Context) -> Result<Self> {
        let plan = context.scale.pick(FULL, SMOKE);
        let server = context.server()?;
        let tool = tool()?;
        let loader = match (process::find_loader(server), context.scale) {
            (Ok(program), _) => Some(program),
            (Err(error), Scale::Full) => return Err(error),
            (Err(_), Scale::Smoke) => None,
        };
        let runtime = runtime()?;
        context.progress(&format!("a source with {} history nodes", plan.size.nodes));
        let source = runtime.block_on(source::create(server, plan.size))?;
        let folder = tempfile::tempdir()?;
        let file: PathBuf = folder.path().join(format!("{LARGEST}.csv"));
        source::export(server, &source, &file)?;
        let count = |sql: &str| -> Result<u64> {
            let rows = runtime.block_on(source.query(sql))?;
            Ok(rows[0][0].as_deref().unwrap_or_default().parse()?)
        };
        let nodes = count("SELECT count(*) FROM history_node")?;
        let mut subjects = vec![Subject::Whole, Subject::Largest];
        subjects.extend(loader.as_ref().map(|_| Subject::Loader));
        let mut rows = 0;
        let mut cells = Vec::new();
        for has_latency in [false, true] {
            let (whole, largest, loader) = (Runs::default(), Runs::default(), Runs::default());
            cells.push(Cell { has_latency, whole, largest, loader });
        }
        for round in 0..plan.rounds {
            for cell in &mut cells {
                for subject in rounds::order(subjects.iter().copied(), round) {
                    let latency = if cell.has_latency { LATENCY } else { Latency::default() };
                    let cluster = runtime.block_on(Cluster::create(server, |builder| builder))?;
                    cluster.set_latency(latency);
                    let (runs, mut command) = match (subject, &loader) {
                        (Subject::Loader, Some(program)) => {
                            (&mut cell.loader, process::loader(program, &file, &cluster))
                        }
                        (Subject::Whole, _) => {
                            (&mut cell.whole, process::import(&tool, &source, &cluster, None))
                        }
                        _ => (
                            &mut cell.largest,
                            process::import(&tool, &source, &cluster, Some(LARGEST)),
                        ),
                    };
                    let report = runs.run(&mut command)?;
                    context.progress(&format!(
                        "round {} of {}: {} in {}",
                        round + 1,
                        plan.rounds,
                        subject.name(),
                        nanos(runs.nanos.last().copied().unwrap_or_default())
                    ));
                    cluster.set_latency(Latency::default());
                    let copied =
                        runtime.block_on(cluster.query("SELECT count(*) FROM history_node"))?;
                    ensure!(
                        copied == [[Some(nodes.to_string())]],
                        "{} left {copied:?} of {nodes} nodes",
                        subject.name()
                    );
                    if matches!(subject, Subject::Whole) {
                        rows = process::imported_rows(&report)?;
                    }
                }
            }
        }
        Ok(Self { nodes, rows, cells })
    }

    fn tables(&self) -> Vec<Table> {
        let header =
            ["latency", "copied", "rows", "time", "rows per second", "to the loader", "memory"];
        let mut rows = Vec::new();
        for cell in &self.cells {
            let subjects = [
                (Subject::Whole, &cell.whole, self.rows),
                (Subject::Largest, &cell.largest, self.nodes),
                (Subject::Loader, &cell.loader, self.nodes),
            ];
            for (subject, runs, copied) in subjects {
                if runs.nanos.is_empty() {
                    continue;
                }
                let time = Spread::of(&runs.nanos).median;
                let to_loader = match subject {
                    Subject::Whole => String::new(),
                    _ => cell.to_loader(runs).map(ratio).unwrap_or_default(),
                };
                rows.push(vec![
                    cell.name().to_owned(),
                    subject.name().to_owned(),
                    copied.to_string(),
                    nanos(time),
                    number(copied as f64 / time * 1e9),
                    to_loader,
                    mib(runs.resident_kib * 1024),
                ]);
            }
        }
        let compared = || self.cells.iter().filter_map(|cell| Some((cell, cell.ratio()?)));
        // Without a peer, in a smoke test, the chart has the import alone.
        let alone =
            || (vec!["import".to_owned()], vec![Spread { median: 1.0, low: 1.0, high: 1.0 }]);
        let (groups, bars) = match compared().next() {
            None => alone(),
            Some(_) => compared().map(|(cell, ratio)| (cell.name().to_owned(), ratio)).unzip(),
        };
        vec![Table {
            name: "import",
            title: format!(
                "Import from PostgreSQL into the emulator, {} history nodes, next to AWS's loader",
                self.nodes
            ),
            header: header.map(str::to_owned).into(),
            rows,
            chart: Chart {
                axis: "time for history_node, to that of the loader".into(),
                groups,
                series: vec![Series::new("import", bars)],
                lines: vec![("loader".into(), 1.0)],
            },
        }]
    }

    fn goals(&self) -> Vec<Goal> {
        let times = self.cells.iter().filter_map(|cell| Some((cell.name(), cell.ratio()?)));
        let memory = self.cells.iter().map(|cell| {
            let most = cell.whole.resident_kib.max(cell.largest.resident_kib);
            (cell.name(), Spread::of(&[most as f64 / (MAX_MIB * 1024) as f64]))
        });
        vec![
            Goal::at_most("Time for history_node, to that of the loader", 1.0, times),
            Goal::at_most(&format!("Memory, to {MAX_MIB} MiB"), 1.0, memory),
        ]
    }
}

impl Subject {
    const fn name(self) -> &'static str {
        match self {
            Self::Whole => "import, all tables",
            Self::Largest => "import, history_node",
            Self::Loader => "aurora-dsql-loader, history_node",
        }
    }
}

impl Cell {
    const fn name(&self) -> &'static str {
        if self.has_latency { "4 ms, commits 20 ms" } else { "none" }
    }

    /// The time of `runs` to that of the loader, if that is there.
    fn to_loader(&self, runs: &Runs) -> Option<Spread> {
        let loader = &self.loader.nanos;
        (!loader.is_empty()).then(|| Spread::of_ratio(&runs.nanos, loader))
    }

    fn ratio(&self) -> Option<Spread> {
        self.to_loader(&self.largest)
    }
}

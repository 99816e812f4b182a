//! The list of benchmarks.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    benchmark::Benchmark,
    build::Build,
    contention::Contention,
    context::Context,
    dispatch::Dispatch,
    emulator::EmulatorSpeed,
    growth::Growth,
    import::Import,
    latency::RoundTripTime,
    memory::Memory,
    migration::Migration,
    operations::Operations,
    point::Point,
    recovery::Recovery,
    sharing::Sharing,
    start::Start,
    storm::Storm,
    table::{Goal, Table},
};

/// A benchmark without its type.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Measures.
    pub measure: fn(&Context) -> Result<Value>,
    /// Makes tables and goals from results.
    pub show: fn(&Value) -> Result<Rendered>,
}

/// The tables and goals of one benchmark.
pub struct Rendered {
    /// See [`Benchmark::tables`].
    pub tables: Vec<Table>,
    /// See [`Benchmark::goals`].
    pub goals: Vec<Goal>,
}

const fn entry<B: Benchmark>() -> Entry {
    Entry {
        name: B::NAME,
        measure: |context| Ok(serde_json::to_value(B::measure(context)?)?),
        show: |value| {
            let found = B::deserialize(value).with_context(|| format!("results of {}", B::NAME))?;
            Ok(Rendered { tables: found.tables(), goals: found.goals() })
        },
    }
}

/// All benchmarks, in the order of the document. A new one needs a module with its type, and a line
/// here; the document shows those of its tables that have marks there.
pub const ALL: &[Entry] = &[
    entry::<Point>(),
    entry::<Operations>(),
    entry::<RoundTripTime>(),
    entry::<Sharing>(),
    entry::<Dispatch>(),
    entry::<Contention>(),
    entry::<EmulatorSpeed>(),
    entry::<Growth>(),
    entry::<Memory>(),
    entry::<Migration>(),
    entry::<Import>(),
    entry::<Start>(),
    entry::<Storm>(),
    entry::<Recovery>(),
    entry::<Build>(),
];

//! What a benchmark is, and which there are.

use anyhow::{Context as _, Result};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    contention::Contention,
    context::Context,
    growth::Growth,
    memory::Memory,
    migration::Migration,
    operations::Operations,
    point::Point,
    sharing::Sharing,
    start::Start,
    storm::Storm,
    table::{Goal, Table},
};

/// Something that is measured: the type is what was found, as its file holds it.
pub trait Benchmark: Serialize + DeserializeOwned {
    /// The name: on the command line, of the file of results, and of the section of the document.
    const NAME: &'static str;

    /// Measures.
    ///
    /// # Errors
    /// Something failed; a measurement with a failure in it is void.
    fn measure(context: &Context) -> Result<Self>;

    /// The tables that show it, each with its chart.
    fn tables(&self) -> Vec<Table>;

    /// What was aimed at, and what was reached.
    fn goals(&self) -> Vec<Goal>;
}

/// A benchmark whose type is forgotten.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Measures.
    pub measure: fn(&Context) -> Result<Value>,
    /// Shows what was measured.
    pub show: fn(&Value) -> Result<Shown>,
}

/// What is shown of one benchmark.
pub struct Shown {
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
            Ok(Shown { tables: found.tables(), goals: found.goals() })
        },
    }
}

/// All of them, in the order of the document. One more is a module with its type, a line here, and
/// a section with its marks in the document.
pub const ALL: &[Entry] = &[
    entry::<Point>(),
    entry::<Operations>(),
    entry::<Sharing>(),
    entry::<Contention>(),
    entry::<Growth>(),
    entry::<Memory>(),
    entry::<Migration>(),
    entry::<Start>(),
    entry::<Storm>(),
];

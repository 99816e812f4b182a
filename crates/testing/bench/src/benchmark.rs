//! The trait of a benchmark.

use anyhow::Result;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    context::Context,
    table::{Goal, Table},
};

/// A benchmark. The type is the results as its file has them.
pub trait Benchmark: Serialize + DeserializeOwned {
    /// The name on the command line, of the file of results, and of the section of the document.
    const NAME: &'static str;

    /// Measures.
    ///
    /// # Errors
    /// An operation failed, which voids the measurement.
    fn measure(context: &Context) -> Result<Self>;

    /// The tables of the results, each with its chart.
    fn tables(&self) -> Vec<Table>;

    /// The goals and whether they are met.
    fn goals(&self) -> Vec<Goal>;
}

//! The trait of a benchmark.

use anyhow::Result;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    context::Context,
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

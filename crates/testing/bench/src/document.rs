//! Files of results, and the sections of `docs/performance.md` made from them.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    context::Context,
    environment::Environment,
    registry::{Entry, Rendered},
    table::{Goal, Table},
    workspace::root,
};

fn document() -> PathBuf {
    root().join("docs/performance.md")
}

/// The folder of results and charts, relative to that of the document.
const FOLDER: &str = "performance";

fn folder() -> PathBuf {
    root().join("docs").join(FOLDER)
}

/// The results of one run of a benchmark: the content of its file.
#[derive(Serialize, Deserialize)]
pub struct Results {
    benchmark: String,
    environment: Environment,
    found: Value,
}

impl Results {
    /// Runs a benchmark.
    ///
    /// # Errors
    /// The benchmark fails.
    pub fn measure(entry: &Entry, context: &Context, environment: &Environment) -> Result<Self> {
        let found = (entry.measure)(context)?;
        Ok(Self { benchmark: entry.name.to_owned(), environment: environment.clone(), found })
    }

    /// Reads the results of the last run.
    ///
    /// # Errors
    /// The file does not exist or is damaged.
    pub fn read(entry: &Entry) -> Result<Self> {
        let path = Self::path(entry.name);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Replaces the results of the last run.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self) -> Result<()> {
        fs::create_dir_all(folder())?;
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        let path = Self::path(&self.benchmark);
        fs::write(&path, text).with_context(|| path.display().to_string())
    }

    fn path(name: &str) -> PathBuf {
        folder().join(format!("{name}.json"))
    }

    /// The section of the document.
    ///
    /// # Errors
    /// The results are not those of `entry`.
    pub fn section(&self, entry: &Entry) -> Result<Section> {
        let Rendered { tables, goals } = (entry.show)(&self.found)?;
        let charts = tables.iter().map(|table| {
            let svg = table.chart.svg(&table.title)?;
            Ok((format!("{}.svg", table.name), svg))
        });
        let charts = charts.collect::<Result<_>>()?;
        let text = text(&self.environment, &tables, &goals);
        Ok(Section { name: entry.name, text, charts })
    }
}

fn text(environment: &Environment, tables: &[Table], goals: &[Goal]) -> String {
    let mut text = format!("{}\n", environment.sentence());
    for table in tables {
        text.push_str(&format!(
            "\n{}:\n\n{}\n![{}]({FOLDER}/{}.svg)\n",
            table.title,
            table.markdown(),
            table.title,
            table.name
        ));
    }
    if !goals.is_empty() {
        text.push_str("\nGoals:\n\n");
        for goal in goals {
            text.push_str(&format!("{}\n", goal.line()));
        }
    }
    text
}

/// A section of the document.
pub struct Section {
    name: &'static str,
    text: String,
    /// Name and content of each chart's file.
    charts: Vec<(String, String)>,
}

impl Section {
    /// The tables and goals.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Writes the section into the document, and its charts into their files.
    ///
    /// # Errors
    /// The document lacks the marks of the section, or cannot be written.
    pub fn write(&self) -> Result<()> {
        let path = document();
        let old = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        fs::write(&path, replace(&old, self.name, &self.text)?)?;
        for (name, svg) in &self.charts {
            fs::write(folder().join(name), svg).with_context(|| name.clone())?;
        }
        Ok(())
    }
}

/// `document` with `text` between the marks of the section `name`.
fn replace(document: &str, name: &str, text: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- measured: {name} -->\n"), "<!-- end -->");
    let Some((before, rest)) = document.split_once(&begin) else {
        bail!("docs/performance.md has no line `{}`", begin.trim());
    };
    let Some((_, after)) = rest.split_once(end) else {
        bail!("docs/performance.md has no line `{end}` after `{}`", begin.trim());
    };
    Ok(format!("{before}{begin}\n{text}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::ALL;

    #[test]
    fn a_section_is_replaced_between_its_marks() {
        let document = "a\n<!-- measured: x -->\nold\n<!-- end -->\nb\n";
        let new = replace(document, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- measured: x -->\n\nnew\n\n<!-- end -->\nb\n");
        assert_eq!(replace(&new, "x", "new\n").unwrap(), new);
        let error = replace(document, "y", "").unwrap_err().to_string();
        assert_eq!(error, "docs/performance.md has no line `<!-- measured: y -->`");
    }

    #[test]
    fn the_document_and_its_charts_show_the_results_that_are_committed() {
        let shown = fs::read_to_string(document()).unwrap();
        for entry in ALL {
            let section = Results::read(entry).unwrap().section(entry).unwrap();
            let expected = replace(&shown, entry.name, section.text()).unwrap();
            assert_eq!(shown, expected, "`cargo xtask bench --draw` brings it up to date");
            for (name, svg) in &section.charts {
                let drawn = fs::read_to_string(folder().join(name)).unwrap();
                assert!(drawn == *svg, "`cargo xtask bench --draw` brings {name} up to date");
            }
        }
    }

    #[test]
    fn every_file_beside_the_document_is_of_a_benchmark() {
        let mut known = Vec::new();
        for entry in ALL {
            known.push(format!("{}.json", entry.name));
            let section = Results::read(entry).unwrap().section(entry).unwrap();
            known.extend(section.charts.into_iter().map(|(name, _)| name));
        }
        for file in fs::read_dir(folder()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            assert!(known.contains(&name), "{name} belongs to no benchmark");
        }
    }
}

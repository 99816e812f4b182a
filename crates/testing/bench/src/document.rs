//! Files of results, a page of tables for each, and the figures of `docs/performance.md`.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    context::Context,
    environment::Environment,
    registry::{ALL, Entry, Rendered},
    table::{Goal, Table, markdown},
    workspace::root,
};

fn document() -> PathBuf {
    root().join("docs/performance.md")
}

/// The folder of results, pages and charts.
fn folder() -> PathBuf {
    root().join("docs/performance")
}

/// The line after a figure of the document.
const END: &str = "<!-- end -->";

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

    /// The page of the results.
    ///
    /// # Errors
    /// The results are not those of `entry`.
    pub fn page(&self, entry: &Entry) -> Result<Page> {
        let Rendered { tables, goals } = (entry.show)(&self.found)?;
        let charts = tables.iter().map(|table| {
            let svg = table.chart.svg(&table.title)?;
            Ok((format!("{}.svg", table.name), svg))
        });
        let charts = charts.collect::<Result<_>>()?;
        Ok(Page {
            name: entry.name,
            environment: self.environment.sentence(),
            tables,
            goals,
            charts,
        })
    }
}

/// The tables, goals and charts of one benchmark.
pub struct Page {
    name: &'static str,
    environment: String,
    tables: Vec<Table>,
    goals: Vec<Goal>,
    /// Name and content of each chart's file.
    charts: Vec<(String, String)>,
}

impl Page {
    /// The page in Markdown.
    pub fn text(&self) -> String {
        let mut text = format!(
            "# Results of `cargo xtask bench {}`\n\n[performance.md](../performance.md) says what they \
             mean.\n\n{}\n",
            self.name, self.environment
        );
        for Table { name, title, chart: _, header, rows } in &self.tables {
            let table = markdown(header, rows);
            text.push_str(&format!("\n{title}:\n\n{table}\n![{title}]({name}.svg)\n"));
        }
        if !self.goals.is_empty() {
            text.push_str("\nGoals:\n\n");
            for goal in &self.goals {
                text.push_str(&format!("{}\n", goal.line()));
            }
        }
        text
    }

    fn file(&self) -> String {
        format!("{}.md", self.name)
    }

    /// Writes the page, its charts, and the tables that the document shows.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self) -> Result<()> {
        fs::write(folder().join(self.file()), self.text())?;
        for (name, svg) in &self.charts {
            fs::write(folder().join(name), svg).with_context(|| name.clone())?;
        }
        let path = document();
        let old = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(fs::write(&path, self.replace_tables(&old)?)?)
    }

    /// `document` with those tables of this page that have marks in it.
    fn replace_tables(&self, document: &str) -> Result<String> {
        let mut document = document.to_owned();
        for table in &self.tables {
            let begin = format!("<!-- table: {} -->\n", table.name);
            if document.contains(&begin) {
                document = replace(&document, &begin, &markdown(&table.header, &table.rows))?;
            }
        }
        Ok(document)
    }
}

/// Writes the goals of all benchmarks into the document.
///
/// # Errors
/// A benchmark has no results; the document lacks the marks, or cannot be written.
pub fn write_goals() -> Result<()> {
    let path = document();
    let old = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(fs::write(&path, replace_goals(&old)?)?)
}

fn replace_goals(document: &str) -> Result<String> {
    let mut rows = Vec::new();
    for entry in ALL {
        for goal in Results::read(entry)?.page(entry)?.goals {
            rows.push(goal.row(format!("[{0}](performance/{0}.md)", entry.name)));
        }
    }
    let header = ["benchmark", "goal", "measured", ""].map(str::to_owned);
    replace(document, "<!-- goals -->\n", &markdown(&header, &rows))
}

/// `document` with `text` between the line `begin` and the next [`END`].
fn replace(document: &str, begin: &str, text: &str) -> Result<String> {
    let Some((before, rest)) = document.split_once(begin) else {
        bail!("docs/performance.md has no line `{}`", begin.trim());
    };
    let Some((_, after)) = rest.split_once(END) else {
        bail!("docs/performance.md has no line `{END}` after `{}`", begin.trim());
    };
    Ok(format!("{before}{begin}\n{text}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_replaced_between_its_marks() {
        let document = "a\n<!-- table: x -->\nold\n<!-- end -->\nb\n";
        let begin = "<!-- table: x -->\n";
        let new = replace(document, begin, "new\n").unwrap();
        assert_eq!(new, "a\n<!-- table: x -->\n\nnew\n\n<!-- end -->\nb\n");
        assert_eq!(replace(&new, begin, "new\n").unwrap(), new);
        let error = replace(document, "<!-- goals -->\n", "").unwrap_err().to_string();
        assert_eq!(error, "docs/performance.md has no line `<!-- goals -->`");
    }

    #[test]
    fn the_documents_and_charts_show_the_results_that_are_committed() {
        let shown = fs::read_to_string(document()).unwrap();
        let outdated = "`cargo xtask bench --draw` brings it up to date";
        let mut tables = 0;
        for entry in ALL {
            let page = Results::read(entry).unwrap().page(entry).unwrap();
            let text = fs::read_to_string(folder().join(page.file())).unwrap();
            assert_eq!(text, page.text(), "{}: {outdated}", entry.name);
            assert_eq!(shown, page.replace_tables(&shown).unwrap(), "{}: {outdated}", entry.name);
            for (name, svg) in &page.charts {
                let drawn = fs::read_to_string(folder().join(name)).unwrap();
                assert!(drawn == *svg, "{name}: {outdated}");
            }
            let marks = page.tables.iter().map(|table| format!("<!-- table: {} -->", table.name));
            tables += marks.filter(|mark| shown.contains(mark)).count();
        }
        assert_eq!(shown, replace_goals(&shown).unwrap(), "{outdated}");
        let marks = shown.matches("<!-- table: ").count();
        assert_eq!(tables, marks, "a mark of docs/performance.md names no table");
    }

    #[test]
    fn the_document_is_short() {
        let lines = fs::read_to_string(document()).unwrap().lines().count();
        assert!(lines <= 250, "docs/performance.md has {lines} lines; the pages have the details");
    }

    #[test]
    fn every_file_beside_the_document_is_of_a_benchmark() {
        let mut known = Vec::new();
        for entry in ALL {
            known.push(format!("{}.json", entry.name));
            let page = Results::read(entry).unwrap().page(entry).unwrap();
            known.push(page.file());
            known.extend(page.charts.into_iter().map(|(name, _)| name));
        }
        for file in fs::read_dir(folder()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            assert!(known.contains(&name), "{name} belongs to no benchmark");
        }
    }
}

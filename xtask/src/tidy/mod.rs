//! `cargo xtask tidy`: the rules of this repository that neither compiler nor clippy knows.
//!
//! Every rule is a function from what it looks at to findings, and is tested as one. A finding is
//! one line, `path: what`.

mod arrows;
mod citations;
mod licences;
mod manifests;
mod packages;
mod sources;
mod trees;

use std::{collections::BTreeMap, fmt, fs, process::ExitCode};

use anyhow::{Context, Result};

use crate::{process, workspace};
use packages::Package;

/// One violation of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// The file, from the root of the workspace.
    path: String,
    what: String,
}

impl Finding {
    fn new(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self { path: path.into(), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

/// Checks the workspace and prints what it finds.
///
/// # Errors
/// The workspace cannot be read.
pub fn run() -> Result<ExitCode> {
    let mut findings = check()?;
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    Ok(if findings.is_empty() {
        println!("tidy: nothing found");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn check() -> Result<Vec<Finding>> {
    let metadata = workspace::metadata()?;
    let packages = Package::all(&metadata);
    let mut findings = arrows::check(&packages);
    findings.extend(trees::check(trees::dependencies)?);
    findings
        .extend(licences::check(&licences::Licensed::all(&metadata), &read(licences::POLICY)?)?);
    for package in &packages {
        findings.extend(manifests::check(&package.manifest, &read(&package.manifest)?)?);
    }
    let mut texts = BTreeMap::new();
    for path in files()? {
        // What is not text has no words.
        if let Ok(text) = fs::read_to_string(workspace::root().join(&path)) {
            findings.extend(sources::check(&path, &text));
            texts.insert(path, text);
        }
    }
    findings.extend(citations::check(&texts));
    Ok(findings)
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(workspace::root().join(path)).with_context(|| path.to_owned())
}

/// The files of the repository: those that git tracks, and those that it would.
fn files() -> Result<Vec<String>> {
    let list = "git ls-files -z --cached --others --exclude-standard";
    let files = process::output(&mut process::command(list))?;
    Ok(files
        .split_terminator('\0')
        .filter(|path| workspace::root().join(path).is_file())
        .map(str::to_owned)
        .collect())
}

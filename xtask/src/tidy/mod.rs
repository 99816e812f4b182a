//! `cargo xtask tidy`: the lints of this repository that neither the compiler nor clippy has.
//!
//! A lint is a function from its input to findings. A finding is printed as one line, `path: what`.

mod cargo_deny;
mod citations;
mod dependency_bans;
mod dependency_rules;
mod manifests;
mod packaging;
mod sources;

use std::{collections::BTreeMap, fmt, fs, process::ExitCode};

use anyhow::{Context, Result};

use crate::{packages::Package, process, workspace};

/// One violation of a lint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// The file's path from the root of the workspace.
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

/// Runs every lint, `cargo deny` and `cargo package`, and prints the findings.
///
/// # Errors
/// The workspace cannot be read.
pub fn run() -> Result<ExitCode> {
    let mut findings = check()?;
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    let allowed = cargo_deny::check()?;
    let packaged = packaging::check()?;
    Ok(if findings.is_empty() && allowed && packaged {
        println!("tidy: no findings");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn check() -> Result<Vec<Finding>> {
    let packages = Package::all()?;
    let mut findings = dependency_rules::check(&packages);
    findings.extend(dependency_bans::check(dependency_bans::dependencies)?);
    for package in &packages {
        findings.extend(manifests::check(&package.manifest, &read(&package.manifest)?)?);
        let licence = workspace::root().join(&package.manifest).with_file_name("LICENSE");
        if !licence.is_file() {
            findings.push(Finding::new(&package.manifest, "has no file LICENSE beside it"));
        }
    }
    let mut texts = BTreeMap::new();
    for path in files()? {
        // Files that are not text are skipped.
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

/// The files that git tracks or would add, without symbolic links: their targets are among them.
fn files() -> Result<Vec<String>> {
    let list = "git ls-files -z --cached --others --exclude-standard";
    let files = process::output(&mut process::command(list))?;
    Ok(files
        .split_terminator('\0')
        .filter(|path| {
            let metadata = workspace::root().join(path).symlink_metadata();
            metadata.is_ok_and(|metadata| metadata.is_file())
        })
        .map(str::to_owned)
        .collect())
}

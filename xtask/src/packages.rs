//! The crates of the workspace with their direct dependencies and test programs, from `cargo metadata`.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;

/// A crate of the workspace.
#[derive(Clone, Debug, Default)]
pub struct Package {
    pub name: String,
    /// The path of its `Cargo.toml` from the root of the workspace.
    pub manifest: String,
    /// Its dependencies.
    pub uses: BTreeSet<String>,
    /// The additional dependencies of its tests.
    pub uses_in_tests: BTreeSet<String>,
    /// The names of its programs in `tests`.
    pub tests: BTreeSet<String>,
}

impl Package {
    /// The crates of this workspace.
    ///
    /// # Errors
    /// Cargo rejects a manifest.
    pub fn all() -> Result<Vec<Self>> {
        let command = "cargo metadata --format-version 1 --no-deps";
        let output = process::output(&mut process::command(command))?;
        let metadata: Metadata = serde_json::from_str(&output).context(command)?;
        Ok(metadata.packages.iter().map(|found| found.package(&metadata.workspace_root)).collect())
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<CargoPackage>,
    workspace_root: String,
}

#[derive(Deserialize)]
struct CargoPackage {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or nothing.
    kind: Option<String>,
}

impl CargoPackage {
    fn package(&self, root: &str) -> Package {
        let path = &self.manifest_path;
        let names = |in_tests: bool| {
            let dependencies = self.dependencies.iter();
            dependencies
                .filter(|dependency| (dependency.kind.as_deref() == Some("dev")) == in_tests)
                .map(|dependency| dependency.name.clone())
                .collect()
        };
        Package {
            name: self.name.clone(),
            manifest: path.strip_prefix(root).unwrap_or(path).trim_start_matches('/').to_owned(),
            uses: names(false),
            uses_in_tests: names(true),
            tests: self
                .targets
                .iter()
                .filter(|target| target.kind.contains("test"))
                .map(|target| target.name.clone())
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_lists_crates_with_their_dependencies_and_tests() {
        let packages = Package::all().unwrap();
        let named = |name: &str| packages.iter().find(|package| package.name == name).unwrap();
        assert_eq!(
            named("dsql-emulator").tests,
            ["behaviour", "lifecycle"].map(str::to_owned).into()
        );
        let xtask = named("xtask");
        assert_eq!(xtask.manifest, "xtask/Cargo.toml");
        assert!(xtask.uses.contains("serde_json"), "{xtask:?}");
        assert!(xtask.uses_in_tests.contains("temporal-dsql-tool"), "{xtask:?}");
        assert!(!xtask.uses.contains("temporal-dsql-tool"), "{xtask:?}");
    }
}

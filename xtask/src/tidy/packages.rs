//! The crates of the workspace, as far as the rules look at them.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, Metadata};

/// A crate of the workspace.
#[derive(Clone, Debug, Default)]
pub(super) struct Package {
    pub(super) name: String,
    /// Its `Cargo.toml`, from the root of the workspace.
    pub(super) manifest: String,
    /// What it is built from.
    pub(super) uses: BTreeSet<String>,
    /// What its tests are built from besides.
    pub(super) uses_in_tests: BTreeSet<String>,
}

impl Package {
    pub(super) fn all(metadata: &Metadata) -> Vec<Self> {
        let root = &metadata.workspace_root;
        let package = |package: &cargo_metadata::Package| {
            let path = &package.manifest_path;
            let of_kind = |in_tests: bool| {
                let kinds = package.dependencies.iter();
                kinds
                    .filter(|used| (used.kind == DependencyKind::Development) == in_tests)
                    .map(|used| used.name.clone())
                    .collect()
            };
            Self {
                name: package.name.to_string(),
                manifest: path.strip_prefix(root).unwrap_or(path).to_string(),
                uses: of_kind(false),
                uses_in_tests: of_kind(true),
            }
        };
        metadata.workspace_packages().into_iter().map(package).collect()
    }
}

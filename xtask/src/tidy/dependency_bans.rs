//! Dependency bans: crates that a crate must not depend on, directly or indirectly, tests aside.
//!
//! The dependencies come from `cargo tree`: `cargo metadata` includes the features that only tests
//! enable.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Finding;
use crate::process;

/// A crate, its manifest, and its forbidden and required dependencies.
struct Rule {
    package: &'static str,
    manifest: &'static str,
    must_not: &'static [&'static str],
    must: &'static [&'static str],
}

/// Runtimes, drivers and clients, which are forbidden in the domain.
const ASYNC_OR_IO: &[&str] = &[
    "async-trait",
    "futures-core",
    "futures-util",
    "hyper",
    "mio",
    "reqwest",
    "rustls",
    "socket2",
    "sqlx",
    "sqlx-core",
    "tokio",
];
/// A second crypto provider doubles the code to trust and to build (architecture.md#invariants).
const OTHER_PROVIDERS: &[&str] =
    &["aws-lc-rs", "aws-lc-sys", "native-tls", "openssl", "openssl-sys"];
const PROVIDER: &[&str] = &["ring"];

const RULES: &[Rule] = &[
    Rule {
        package: "temporal-dsql-domain",
        manifest: "crates/domain/Cargo.toml",
        must_not: ASYNC_OR_IO,
        must: &[],
    },
    Rule {
        package: "temporal-dsql-store",
        manifest: "crates/adapter-dsql/Cargo.toml",
        must_not: OTHER_PROVIDERS,
        must: PROVIDER,
    },
    Rule {
        package: "temporal-dsql-migrate",
        manifest: "crates/migrate/Cargo.toml",
        must_not: OTHER_PROVIDERS,
        must: &[],
    },
    Rule {
        package: "temporal-dsql-tool",
        manifest: "crates/tool/Cargo.toml",
        must_not: OTHER_PROVIDERS,
        must: PROVIDER,
    },
    Rule {
        package: "temporal-dsql",
        manifest: "crates/facade/Cargo.toml",
        must_not: OTHER_PROVIDERS,
        must: &[],
    },
];

/// Checks every rule on the dependencies that `dependencies` returns for its crate.
pub(super) fn check(
    dependencies: impl Fn(&str) -> Result<BTreeSet<String>>,
) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for rule in RULES {
        let found = dependencies(rule.package)?;
        let package = rule.package;
        let mut find = |what| findings.push(Finding::new(rule.manifest, what));
        for name in rule.must_not.iter().filter(|name| found.contains(**name)) {
            find(format!("{package} must not depend on {name}"));
        }
        for name in rule.must.iter().filter(|name| !found.contains(**name)) {
            find(format!("{package} must depend on {name}"));
        }
    }
    Ok(findings)
}

/// The names of all dependencies of `package`, with all its features, on every platform.
pub(super) fn dependencies(package: &str) -> Result<BTreeSet<String>> {
    let tree = format!(
        "cargo tree --package {package} --edges normal --all-features --target all --prefix none \
         --format {{p}}"
    );
    let tree = process::output(&mut process::command(&tree))?;
    Ok(tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(package: &str, names: &[&str]) -> Vec<String> {
        let found = check(|asked| {
            let names = if asked == package { names } else { &["ring"] };
            Ok(names.iter().map(|name| (*name).to_owned()).collect())
        });
        found.unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_runtime_in_the_domain_is_found() {
        assert_eq!(
            findings("temporal-dsql-domain", &["uuid", "tokio"]),
            ["crates/domain/Cargo.toml: temporal-dsql-domain must not depend on tokio"]
        );
    }

    #[test]
    fn a_second_crypto_provider_is_found_and_so_is_a_missing_one() {
        assert_eq!(
            findings("temporal-dsql-tool", &["aws-lc-rs"]),
            [
                "crates/tool/Cargo.toml: temporal-dsql-tool must not depend on aws-lc-rs",
                "crates/tool/Cargo.toml: temporal-dsql-tool must depend on ring",
            ]
        );
        assert_eq!(findings("temporal-dsql-tool", &["ring"]), [""; 0]);
    }

    #[test]
    fn cargo_tree_lists_dependencies_without_those_of_tests() {
        let found = dependencies("temporal-dsql-domain").unwrap();
        assert!(found.contains("uuid"), "{found:?}");
        assert!(!found.contains("proptest"), "for tests only: {found:?}");
    }
}

//! What a crate is built from, all the way down, tests left aside.
//!
//! `cargo metadata` mixes in what only tests switch on; `cargo tree` does not.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Finding;
use crate::process;

/// A crate, its manifest, and what must and must not be below it.
struct Rule {
    package: &'static str,
    manifest: &'static str,
    must_not: &'static [&'static str],
    must: &'static [&'static str],
}

/// Runtimes, drivers and clients: what the domain must be free of.
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
/// A second crypto provider doubles the code that has to be trusted and built
/// (architecture.md#invariants).
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

/// Checks every rule on what `dependencies` says is below its crate.
pub(super) fn check(
    dependencies: impl Fn(&str) -> Result<BTreeSet<String>>,
) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for rule in RULES {
        let below = dependencies(rule.package)?;
        let package = rule.package;
        let mut find = |what| findings.push(Finding::new(rule.manifest, what));
        for name in rule.must_not.iter().filter(|name| below.contains(**name)) {
            find(format!("{package} must not be built from {name}"));
        }
        for name in rule.must.iter().filter(|name| !below.contains(**name)) {
            find(format!("{package} must be built from {name}"));
        }
    }
    Ok(findings)
}

/// The names of all crates below `package`, with all its features, on every platform.
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

    fn findings(package: &str, below: &[&str]) -> Vec<String> {
        let found = check(|asked| {
            let below = if asked == package { below } else { &["ring"] };
            Ok(below.iter().map(|name| (*name).to_owned()).collect())
        });
        found.unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_runtime_below_the_domain_is_found() {
        assert_eq!(
            findings("temporal-dsql-domain", &["uuid", "tokio"]),
            ["crates/domain/Cargo.toml: temporal-dsql-domain must not be built from tokio"]
        );
    }

    #[test]
    fn a_second_crypto_provider_is_found_and_so_is_the_lack_of_one() {
        assert_eq!(
            findings("temporal-dsql-tool", &["aws-lc-rs"]),
            [
                "crates/tool/Cargo.toml: temporal-dsql-tool must not be built from aws-lc-rs",
                "crates/tool/Cargo.toml: temporal-dsql-tool must be built from ring",
            ]
        );
        assert_eq!(findings("temporal-dsql-tool", &["ring"]), [""; 0]);
    }

    #[test]
    fn cargo_tells_what_is_below_the_domain() {
        let below = dependencies("temporal-dsql-domain").unwrap();
        assert!(below.contains("uuid"), "{below:?}");
        assert!(!below.contains("proptest"), "for tests only: {below:?}");
    }
}

//! Dependency rules between the crates of the workspace, and of the driver: dependencies point
//! inwards, towards the domain.

use std::collections::BTreeSet;

use super::Finding;
use crate::packages::Package;

/// The crates of the workspace that one crate may depend on.
struct Rule {
    package: &'static str,
    may_use: &'static [&'static str],
    /// Additional crates for its tests.
    may_use_in_tests: &'static [&'static str],
}

const BENCH: &str = "temporal-dsql-bench";
const DEMO: &str = "temporal-dsql-demo";
const FACADE: &str = "temporal-dsql";
const CLIENT: &str = "temporal-dsql-client";
const CONFORMANCE: &str = "temporal-dsql-conformance";
const DOMAIN: &str = "temporal-dsql-domain";
const EMULATOR: &str = "dsql-emulator";
const MEMORY: &str = "temporal-dsql-memory";
const MIGRATE: &str = "temporal-dsql-migrate";
const PORTS: &str = "temporal-dsql-ports";
const STORE: &str = "temporal-dsql-store";
const STORES: &str = "temporal-dsql-stores";
const TESTKIT: &str = "temporal-dsql-testkit";
const TOOL: &str = "temporal-dsql-tool";
const XTASK: &str = "xtask";

const fn rule(
    package: &'static str,
    may_use: &'static [&'static str],
    may_use_in_tests: &'static [&'static str],
) -> Rule {
    Rule { package, may_use, may_use_in_tests }
}

/// Ordered from the domain outwards. The conformance suite and the testkit are for tests: besides
/// tests, only the demo and the benchmarks may depend on them.
const RULES: &[Rule] = &[
    rule(DOMAIN, &[], &[]),
    rule(PORTS, &[DOMAIN], &[]),
    rule(MEMORY, &[DOMAIN, PORTS], &[CONFORMANCE, STORES]),
    rule(STORES, &[DOMAIN, PORTS], &[MEMORY]),
    // Ports: the retry policy, whether an operation was applied, and the error of a store. The
    // emulator is an optional feature, for tests.
    rule(CLIENT, &[DOMAIN, PORTS, EMULATOR], &[TESTKIT]),
    rule(STORE, &[DOMAIN, PORTS, CLIENT], &[CONFORMANCE, EMULATOR, MIGRATE, STORES, TESTKIT]),
    rule(MIGRATE, &[DOMAIN, PORTS, CLIENT], &[EMULATOR, TESTKIT]),
    rule(TOOL, &[FACADE], &[EMULATOR, TESTKIT]),
    // The emulator is an optional feature, for the tests of a service.
    rule(FACADE, &[DOMAIN, PORTS, STORES, MEMORY, STORE, MIGRATE, EMULATOR], &[]),
    rule(CONFORMANCE, &[DOMAIN, PORTS, STORES, MEMORY], &[]),
    rule(TESTKIT, &[EMULATOR], &[]),
    // It has users outside of this workspace.
    rule(EMULATOR, &[], &[]),
    rule(BENCH, &[FACADE, EMULATOR, TESTKIT], &[]),
    rule(DEMO, &[FACADE, CONFORMANCE, EMULATOR, TESTKIT], &[]),
    // Only its test of the documents' commands parses those of the tool.
    rule(XTASK, &[], &[TOOL]),
];

/// The driver and the crates that may depend on it.
const DRIVER: &str = "sqlx";
const DRIVER_USERS: &[&str] = &[CLIENT, STORE, MIGRATE, TESTKIT, EMULATOR];

pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    let ours: BTreeSet<&str> = packages.iter().map(|package| &*package.name).collect();
    let mut findings = Vec::new();
    for package in packages {
        let mut find = |what: String| findings.push(Finding::new(&package.manifest, what));
        let name = &package.name;
        let used = package.uses.iter().chain(&package.uses_in_tests);
        if used.into_iter().any(|used| used == DRIVER) && !DRIVER_USERS.contains(&&**name) {
            find(format!("{name} may not depend on the driver, {DRIVER}"));
        }
        let Some(rule) = RULES.iter().find(|rule| rule.package == name) else {
            find(format!("{name} has no rule in xtask/src/tidy/dependency_rules.rs"));
            continue;
        };
        for used in package.uses.iter().filter(|used| ours.contains(&***used)) {
            if !rule.may_use.contains(&&**used) {
                find(format!("{name} may not depend on {used}"));
            }
        }
        let in_tests = package.uses_in_tests.iter();
        for used in in_tests.filter(|used| ours.contains(&***used)) {
            if !rule.may_use.contains(&&**used) && !rule.may_use_in_tests.contains(&&**used) {
                find(format!("{name} may not depend on {used}, not even in tests"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, uses: &[&str], uses_in_tests: &[&str]) -> Package {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Package {
            name: name.into(),
            manifest: format!("{name}/Cargo.toml"),
            uses: set(uses),
            uses_in_tests: set(uses_in_tests),
            tests: BTreeSet::new(),
        }
    }

    fn findings(packages: &[Package]) -> Vec<String> {
        check(packages).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn dependencies_that_point_inwards_pass() {
        let packages = [
            package(DOMAIN, &["uuid"], &["proptest"]),
            package(PORTS, &[DOMAIN, "tokio"], &[]),
            package(STORE, &[DOMAIN, PORTS, DRIVER], &[TESTKIT]),
            package(TESTKIT, &[DRIVER], &[]),
        ];
        assert_eq!(findings(&packages), [""; 0]);
    }

    #[test]
    fn a_dependency_that_points_outwards_is_found() {
        let packages = [
            package(DOMAIN, &[PORTS], &[]),
            package(PORTS, &[DOMAIN], &[STORE]),
            package(STORE, &[DOMAIN, PORTS, TESTKIT], &[]),
            package(TESTKIT, &[], &[]),
        ];
        assert_eq!(
            findings(&packages),
            [
                "temporal-dsql-domain/Cargo.toml: temporal-dsql-domain may not depend on \
                 temporal-dsql-ports",
                "temporal-dsql-ports/Cargo.toml: temporal-dsql-ports may not depend on \
                 temporal-dsql-store, not even in tests",
                "temporal-dsql-store/Cargo.toml: temporal-dsql-store may not depend on \
                 temporal-dsql-testkit",
            ]
        );
    }

    #[test]
    fn a_crate_that_may_not_depend_on_the_driver_is_found() {
        let found = findings(&[package(TOOL, &[], &[DRIVER])]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].ends_with("may not depend on the driver, sqlx"), "{found:?}");
    }

    #[test]
    fn a_crate_without_a_rule_is_found() {
        let found = findings(&[package("temporal-dsql-annex", &[], &[])]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("temporal-dsql-annex has no rule"), "{found:?}");
    }

    #[test]
    fn only_the_demo_and_the_benchmarks_depend_on_crates_for_tests() {
        for rule in RULES.iter().filter(|rule| ![DEMO, BENCH].contains(&rule.package)) {
            for tests_only in [CONFORMANCE, TESTKIT] {
                assert!(!rule.may_use.contains(&tests_only), "{}", rule.package);
            }
        }
    }
}

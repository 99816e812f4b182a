//! The maps of the documents are true: the tests that they name exist, the upstream tests that are to
//! be re-expressed are those that have a row, and what says that it re-expresses one has it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use temporal_dsql_conformance::scenarios;

use super::Finding;

/// The document with the map of upstream tests.
const TESTING: &str = "docs/testing.md";
/// The upstream tests that are in scope, and the cases beside them.
const UPSTREAM: &str = include_str!("upstream_tests.txt");
/// The document with the tests that show that faults are absent.
const DECISIONS: &str = "docs/decisions.md";

pub(super) fn check(root: &Path) -> Vec<Finding> {
    let upstream = scenarios().flat_map(|scenario| {
        scenario
            .upstream
            .iter()
            .map(|test| (*test, format!("{}.rs::{}", scenario.area, scenario.name)))
    });
    let mut findings = check_document(root, TESTING, |document| {
        let mut findings = unlisted(document, upstream);
        findings.extend(differences(document, UPSTREAM));
        findings
    });
    findings.extend(check_document(root, DECISIONS, |_| Vec::new()));
    findings
}

/// Checks the tests that a document names, and whatever else is to be true of it.
fn check_document(
    root: &Path,
    path: &str,
    others: impl FnOnce(&str) -> Vec<String>,
) -> Vec<Finding> {
    let document = match fs::read_to_string(root.join(path)) {
        Ok(document) => document,
        Err(error) => return vec![Finding::new(path, error.to_string())],
    };
    others(&document)
        .into_iter()
        .chain(missing(&document, |file| source(root, file)))
        .map(|what| Finding::new(path, what))
        .collect()
}

/// The source file that the map calls `path`.
fn source(root: &Path, path: &str) -> Option<String> {
    let candidates: [PathBuf; 2] = [root.join("crates").join(path), root.join(path)];
    candidates.iter().find_map(|file| fs::read_to_string(file).ok())
}

/// Upstream tests that a scenario names and the map does not give to it.
fn unlisted<'a>(document: &str, upstream: impl Iterator<Item = (&'a str, String)>) -> Vec<String> {
    upstream
        .filter(|(test, scenario)| {
            let is_row = |line: &str| {
                line.starts_with(&format!("| `{test}` |"))
                    && line.contains(&format!("/{scenario}`"))
            };
            !document.lines().any(is_row)
        })
        .map(|(test, scenario)| format!("has no row that maps {test} to {scenario}"))
        .collect()
}

/// Upstream tests on the list that no row maps to a test, and rows of tests that are not on it. The
/// rows are those whose two columns are a test each.
fn differences(document: &str, list: &str) -> Vec<String> {
    let listed: BTreeSet<_> =
        list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let row = |line: &'_ str| -> Option<String> {
        let row = line.strip_prefix("| `")?.strip_suffix("` |")?;
        let (upstream, here) = row.split_once("` | `")?;
        (here.contains(".rs::") && !upstream.contains(".rs::")).then(|| upstream.to_owned())
    };
    let mapped: BTreeSet<_> = document.lines().filter_map(row).collect();
    let missing = listed.iter().filter(|test| !mapped.contains(**test));
    let foreign = mapped.iter().filter(|test| !listed.contains(test.as_str()));
    missing
        .map(|test| format!("has no row for {test}"))
        .chain(foreign.map(|test| format!("has a row for {test}, which is not in the list")))
        .collect()
}

/// Tests in backticks, as `path.rs::name`, that do not exist.
fn missing(document: &str, source: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let named = document.split('`').filter_map(|text| {
        text.split_once(".rs::").map(|(path, name)| (format!("{path}.rs"), name))
    });
    named
        .filter_map(|(path, name)| match source(&path) {
            None => Some(format!("names {path}, which does not exist")),
            Some(text) if !text.contains(&format!("fn {name}(")) => {
                Some(format!("names {path}::{name}, which does not exist"))
            }
            Some(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str =
        "| Upstream | Here |\n| `a.go/TestA` | `conformance/x.rs::does_a` |\n`x.rs::does_b`";

    #[test]
    fn a_test_that_does_not_exist_is_found_by_file_and_by_name() {
        let source = |path: &str| (path == "x.rs").then(|| "async fn does_b(w: &World)".to_owned());
        let found = missing(DOCUMENT, source);
        assert_eq!(found, ["names conformance/x.rs, which does not exist"]);
        let source = |_: &str| Some("async fn does_b(w: &World)".to_owned());
        let found = missing(DOCUMENT, source);
        assert_eq!(found, ["names conformance/x.rs::does_a, which does not exist"]);
    }

    #[test]
    fn a_test_of_the_list_without_a_row_and_a_row_of_another_test_are_found() {
        assert!(differences(DOCUMENT, "# All.\n\na.go/TestA\n").is_empty());
        assert_eq!(
            differences(DOCUMENT, "a.go/TestB\n"),
            ["has no row for a.go/TestB", "has a row for a.go/TestA, which is not in the list"]
        );
    }

    /// Whether `test` is a numbered case of the contract. That it exists is a matter of citations.
    fn is_case(test: &str) -> bool {
        test.strip_prefix(concat!("temporal-persistence.md", "#case-"))
            .is_some_and(|number| number.parse::<u32>().is_ok())
    }

    #[test]
    fn the_list_names_no_test_twice_and_each_as_the_map_does() {
        let listed = || UPSTREAM.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let distinct: BTreeSet<_> = listed().collect();
        assert_eq!(distinct.len(), listed().count());
        for test in distinct {
            let is_test = test.split_once(".go/").is_some_and(|(_, name)| name.starts_with("Test"));
            assert!(is_test || is_case(test), "{test}");
        }
    }

    #[test]
    fn an_upstream_test_without_a_row_of_its_scenario_is_found() {
        let upstream =
            |test, scenario: &str| unlisted(DOCUMENT, [(test, scenario.to_owned())].into_iter());
        assert_eq!(upstream("a.go/TestA", "x.rs::does_a").len(), 0);
        assert_eq!(upstream("a.go/TestA", "x.rs::does_c").len(), 1);
        assert_eq!(upstream("a.go/TestB", "x.rs::does_a").len(), 1);
    }
}

//! The coverage tables of `docs/testing.md`: which test covers which requirement, upstream test and
//! case. They are generated from the citations of the scenarios and from
//! `coverage/other_tests.txt`; `UPDATE_DOCS=1 cargo test -p temporal-dsql-conformance` writes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use crate::scenarios;

const REQUIREMENTS: &str = include_str!("../coverage/requirements.txt");
const UPSTREAM: &str = include_str!("../coverage/upstream_tests.txt");
const OTHER: &str = include_str!("../coverage/other_tests.txt");

/// Documents that name tests, from the root.
const DOCUMENTS: [&str; 2] = ["docs/testing.md", "docs/decisions.md"];
/// The beginnings of the two kinds of citations that end with a number.
const REQUIREMENT: &str = concat!("requirements.md", "#req-");
const CASE: &str = concat!("temporal-persistence.md", "#case-");

/// The tests of each citation.
type Covered = BTreeMap<String, BTreeSet<String>>;

/// The lines of a file of `coverage/` without comments and empty lines.
fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn covered() -> Covered {
    let mut covered = Covered::new();
    let mut add = |citation: &str, test: String| {
        covered.entry(citation.to_owned()).or_default().insert(test);
    };
    for scenario in scenarios::all() {
        for citation in scenario.citations {
            let (area, name) = (scenario.area, scenario.name);
            add(citation, format!("conformance/src/scenarios/{area}.rs::{name}"));
        }
    }
    for line in entries(OTHER) {
        let (citation, test) = line.split_once(' ').expect("a citation and a test");
        add(citation, test.to_owned());
    }
    covered
}

/// The numbers of the requirements as `1.2`, with their labels.
fn requirements() -> impl Iterator<Item = (&'static str, &'static str)> {
    entries(REQUIREMENTS).map(|line| line.split_once(' ').expect("a number and a label"))
}

/// The anchor of the requirement with this number.
fn requirement(number: &str) -> String {
    format!("{REQUIREMENT}{}", number.replace('.', "-"))
}

/// The citations that must be covered.
fn in_scope() -> BTreeSet<String> {
    let requirements = requirements().map(|(number, _)| requirement(number));
    requirements.chain(entries(UPSTREAM).map(str::to_owned)).collect()
}

/// A table with these columns that has a row for each test of each citation.
fn table<'a>(
    columns: &str,
    rows: impl Iterator<Item = (String, String)> + 'a,
    covered: &Covered,
) -> String {
    let separators = "---|".repeat(columns.matches('|').count() - 1);
    let mut table = format!("{columns}\n|{separators}\n");
    for (citation, cell) in rows {
        for test in covered.get(&citation).into_iter().flatten() {
            writeln!(table, "| {cell} | `{test}` |").unwrap();
        }
    }
    table
}

/// The generated tables, by the name in their markers.
fn tables(covered: &Covered) -> [(&'static str, String); 3] {
    let of_requirements = requirements().map(|(number, label)| {
        let citation = requirement(number);
        let cell = format!("[{number}](reference/{citation}) | {label}");
        (citation, cell)
    });
    let cases = entries(UPSTREAM).filter_map(|citation| {
        let number = citation.strip_prefix(CASE)?;
        Some((citation.to_owned(), format!("[{number}](reference/{citation})")))
    });
    let upstream = entries(UPSTREAM)
        .filter(|citation| !citation.starts_with(CASE))
        .map(|citation| (citation.to_owned(), format!("`{citation}`")));
    [
        ("requirements", table("| Requirement | Subject | Test |", of_requirements, covered)),
        ("upstream tests", table("| Upstream | Here |", upstream, covered)),
        ("cases", table("| Case | Here |", cases, covered)),
    ]
}

/// The document with `content` between the markers with this name.
fn with_section(document: &str, name: &str, content: &str) -> String {
    let (begin, end) =
        (format!("<!-- begin generated: {name} -->\n"), format!("<!-- end generated: {name} -->"));
    let (before, rest) = document.split_once(&begin).expect(name);
    let (_, after) = rest.split_once(&end).expect(name);
    format!("{before}{begin}{content}{end}{after}")
}

/// Citations that are in scope and have no test, and citations that are not in scope.
fn differences(in_scope: &BTreeSet<String>, covered: &Covered) -> Vec<String> {
    let cited: BTreeSet<_> = covered.keys().cloned().collect();
    let missing = in_scope.difference(&cited).map(|citation| format!("{citation} has no test"));
    let foreign = cited.difference(in_scope).map(|citation| format!("{citation} is out of scope"));
    missing.chain(foreign).collect()
}

/// Tests in backticks, as `path.rs::name`, that do not exist.
fn missing_tests(document: &str, source: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let named = document.split('`').filter_map(|text| {
        text.split_once(".rs::").map(|(path, name)| (format!("{path}.rs"), name))
    });
    named
        .filter_map(|(path, name)| match source(&path) {
            None => Some(format!("{path} does not exist")),
            Some(text) if !text.contains(&format!("fn {name}(")) => {
                Some(format!("{path}::{name} does not exist"))
            }
            Some(_) => None,
        })
        .collect()
}

/// The path of a file from the root of the workspace.
fn from_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").join(path)
}

/// The text of a source file that the documents call `path`.
fn source(path: &str) -> Option<String> {
    ["crates/", "crates/testing/", ""]
        .iter()
        .find_map(|folder| fs::read_to_string(from_root(&format!("{folder}{path}"))).ok())
}

#[test]
fn the_tables_of_docs_testing_md_are_up_to_date() {
    let path = from_root("docs/testing.md");
    let document = fs::read_to_string(&path).unwrap();
    let expected = tables(&covered())
        .iter()
        .fold(document.clone(), |document, (name, table)| with_section(&document, name, table));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, expected).unwrap();
    } else {
        assert!(
            document == expected,
            "docs/testing.md is out of date: run `UPDATE_DOCS=1 cargo test -p \
             temporal-dsql-conformance`"
        );
    }
}

#[test]
fn every_requirement_and_upstream_test_is_covered() {
    assert_eq!(differences(&in_scope(), &covered()), [""; 0]);
}

#[test]
fn the_requirements_are_those_of_the_reference() {
    let reference = fs::read_to_string(from_root("docs/reference/requirements.md")).unwrap();
    let anchors: Vec<_> = reference
        .split("<a id=\"req-")
        .skip(1)
        .map(|text| text.split('"').next().unwrap().replace('-', "."))
        .collect();
    assert!(requirements().map(|(number, _)| number).eq(anchors), "coverage/requirements.txt");
}

#[test]
fn every_test_named_in_the_documents_exists() {
    for path in DOCUMENTS {
        let document = fs::read_to_string(from_root(path)).unwrap();
        assert_eq!(missing_tests(&document, source), [""; 0], "{path}");
    }
}

#[test]
fn the_list_of_upstream_tests_is_well_formed() {
    let distinct: BTreeSet<_> = entries(UPSTREAM).collect();
    assert_eq!(distinct.len(), entries(UPSTREAM).count(), "a test is listed twice");
    for citation in distinct {
        let is_test = citation.split_once(".go/").is_some_and(|(_, name)| name.starts_with("Test"));
        let is_case =
            citation.strip_prefix(CASE).is_some_and(|number| number.parse::<u32>().is_ok());
        assert!(is_test || is_case, "{citation}");
    }
}

#[test]
fn a_missing_test_is_found_by_file_and_by_name() {
    const DOCUMENT: &str = "| `a.go/TestA` | `conformance/x.rs::does_a` |\n`x.rs::does_b`";
    let text = || Some("async fn does_b(ctx: &TestContext)".to_owned());
    let found = missing_tests(DOCUMENT, |path| if path == "x.rs" { text() } else { None });
    assert_eq!(found, ["conformance/x.rs does not exist"]);
    let found = missing_tests(DOCUMENT, |_| text());
    assert_eq!(found, ["conformance/x.rs::does_a does not exist"]);
}

#[test]
fn a_citation_without_a_test_and_one_out_of_scope_are_found() {
    let covered = Covered::from([("a.go/TestA".to_owned(), BTreeSet::new())]);
    let scope = |citation: &str| BTreeSet::from([citation.to_owned()]);
    assert_eq!(differences(&scope("a.go/TestA"), &covered), [""; 0]);
    assert_eq!(
        differences(&scope("a.go/TestB"), &covered),
        ["a.go/TestB has no test", "a.go/TestA is out of scope"]
    );
}

#[test]
fn a_table_has_a_row_for_each_test_and_replaces_the_old_one() {
    let tests = ["x.rs::a", "x.rs::b"].map(str::to_owned);
    let covered = Covered::from([("a.go/TestA".to_owned(), BTreeSet::from(tests))]);
    let rows = [("a.go/TestA".to_owned(), "A".to_owned())];
    let table = table("| Upstream | Here |", rows.into_iter(), &covered);
    assert_eq!(table, "| Upstream | Here |\n|---|---|\n| A | `x.rs::a` |\n| A | `x.rs::b` |\n");
    let document = "Text.\n<!-- begin generated: t -->\nold\n<!-- end generated: t -->\nMore.\n";
    let new = "Text.\n<!-- begin generated: t -->\nnew\n<!-- end generated: t -->\nMore.\n";
    assert_eq!(with_section(document, "t", "new\n"), new);
}

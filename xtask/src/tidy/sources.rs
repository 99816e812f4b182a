//! Lints of source text: the length of files, their first line, and forbidden words.

use super::Finding;

/// The longest file, in lines.
const MAX_LINES: usize = 600;

/// Markers of unfinished work. Each is split, so that this file passes.
const MARKERS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
/// Folders of one machine. The system names the folder for temporary files.
const MACHINE_PATHS: [&str; 5] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/t", "mp/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
];
/// The driver's marker of SQL that is not a constant. Stores have constants only; schema files and
/// tests' statements are read at run time.
const BUILT_SQL: &str = concat!("Assert", "SqlSafe");
const MAY_BUILD_SQL: [&str; 2] = ["crates/migrate/", "crates/testing/testkit/"];
/// Crates for this repository only, whose errors and configuration may change with their users.
const NOT_PUBLISHED: [&str; 3] = ["crates/testing/", "crates/tool/", "xtask/"];
/// Data and generated files, which are not checked for words.
const GENERATED: [&str; 3] = [".json", ".jsonl", ".lock"];

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |what: String| findings.push(Finding::new(path, what));
    if path.ends_with(".rs") {
        let lines = text.lines().count();
        if lines > MAX_LINES {
            find(format!("has {lines} lines; {MAX_LINES} are allowed"));
        }
        if !text.starts_with("//!") {
            find("does not begin with `//!` and what the module owns".into());
        }
        let is_test = path.contains("/tests/") || path.ends_with("_tests.rs");
        let may_build_sql = is_test || MAY_BUILD_SQL.iter().any(|folder| path.starts_with(folder));
        if text.contains(BUILT_SQL) && !may_build_sql {
            find(format!("builds SQL: `{BUILT_SQL}`; a store's statements are constants"));
        }
    }
    if path.contains("/src/") && !NOT_PUBLISHED.iter().any(|folder| path.starts_with(folder)) {
        for name in exhaustive_errors(text) {
            find(format!("the enum {name} is an error, and not `#[non_exhaustive]`"));
        }
    }
    if !GENERATED.iter().any(|ending| path.ends_with(ending)) {
        for (index, line) in text.lines().enumerate() {
            for said in forbidden(line) {
                find(format!("line {} says `{said}`", index + 1));
            }
        }
    }
    findings
}

/// The public error enums that a later variant would be a breaking change of.
fn exhaustive_errors(text: &str) -> impl Iterator<Item = &str> {
    let items = text.split("\n\n").filter(|item| item.contains("thiserror::Error"));
    let items = items.filter(|item| !item.contains("#[non_exhaustive]"));
    items.filter_map(|item| item.split_once("\npub enum ")?.1.split([' ', '<']).next())
}

fn forbidden(line: &str) -> impl Iterator<Item = &'static str> {
    let words = || line.split(|c: char| !c.is_alphanumeric() && c != '_');
    let markers = MARKERS.into_iter().filter(move |marker| words().any(|word| word == *marker));
    let paths = MACHINE_PATHS
        .into_iter()
        .filter(|path| line.match_indices(path).any(|(at, _)| begins_path(&line[..at])));
    markers.chain(paths)
}

/// Whether a path after `before` is a whole path and not the middle of a longer one.
fn begins_path(before: &str) -> bool {
    !before.ends_with(|c: char| c.is_alphanumeric() || "./_-~}".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let found = check(path, text);
        found.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_rust_file_begins_with_its_docs_and_has_at_most_600_lines() {
        let lines = |n: usize| format!("//! Owns.\n{}", "\n".repeat(n - 1));
        assert_eq!(findings("a.rs", &lines(600)), [""; 0]);
        assert_eq!(findings("a.rs", &lines(601)), ["has 601 lines; 600 are allowed"]);
        assert_eq!(findings("a.sql", &lines(601)), [""; 0]);
        let bare = findings("a.rs", "fn main() {}\n");
        assert!(bare[0].starts_with("does not begin with `//!`"), "{bare:?}");
    }

    #[test]
    fn only_migrate_the_testkit_and_tests_may_build_sql() {
        let text = format!("//! Owns.\nuse sqlx::{BUILT_SQL};\n");
        for path in ["migrate/src/a.rs", "adapter-dsql/src/a_tests.rs", "adapter-dsql/tests/a.rs"] {
            assert_eq!(findings(&format!("crates/{path}"), &text), [""; 0]);
        }
        let found = findings("crates/adapter-dsql/src/a.rs", &text);
        assert!(found[0].starts_with("builds SQL"), "{found:?}");
    }

    #[test]
    fn a_public_error_may_get_variants() {
        let error = "#[derive(Debug, thiserror::Error)]\npub enum OpenError {\n    A,\n}\n";
        let text = format!("//! Owns.\n\n/// Why.\n{error}\npub enum Other {{}}\n");
        let found = findings("crates/ports/src/a.rs", &text);
        assert_eq!(found, ["the enum OpenError is an error, and not `#[non_exhaustive]`"]);
        assert_eq!(findings("crates/testing/demo/src/a.rs", &text), [""; 0]);
        let text = text.replace("pub enum O", "#[non_exhaustive]\npub enum O");
        assert_eq!(findings("crates/ports/src/a.rs", &text), [""; 0]);
    }

    #[test]
    fn a_marker_is_found_as_a_word() {
        for marker in MARKERS {
            let text = format!("one\n-- {marker}: later\n");
            assert_eq!(findings("a.sql", &text), [format!("line 2 says `{marker}`")]);
            assert_eq!(findings("a.md", &format!("MY{marker}S")), [""; 0]);
            assert_eq!(findings("rows.jsonl", &text), [""; 0]);
        }
    }

    #[test]
    fn a_folder_of_one_machine_is_found() {
        for path in MACHINE_PATHS {
            let what = [format!("line 1 says `{path}`")];
            assert_eq!(findings("a.md", &format!("see `{path}notes`")), what);
            assert_eq!(findings("a.md", &format!("{path}notes")), what);
            let part = format!("target{path}notes, https://example.org{path}notes");
            assert_eq!(findings("a.md", &part), [""; 0], "{part}");
        }
    }
}

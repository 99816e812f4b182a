//! Lint of citations: the file before `#` is a document of this repository, and the anchor after it
//! exists in that document.
//!
//! The file is resolved from the folder of the citing text, from `docs/reference`, from `docs` and
//! from the root; a link in Markdown only from its folder. An anchor is a heading as GitHub spells
//! it in a link, or an explicit `<a id="…">`.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;

/// The folders of cited documents, besides the folder of the citing text.
const FOLDERS: [&str; 3] = ["docs/reference/", "docs/", ""];
/// Data and generated files, which cite nothing.
const GENERATED: [&str; 3] = [".json", ".jsonl", ".lock"];
/// Documents outside of this repository that were cited by number. Each name is split, so that this
/// file passes.
const NUMBERED: [&str; 4] =
    [concat!("fac", "ts"), concat!("contr", "act"), concat!("des", "ign"), concat!("re", "q")];

/// Checks the citations in `texts`, whose keys are paths from the root.
pub(super) fn check(texts: &BTreeMap<String, String>) -> Vec<Finding> {
    let anchors: BTreeMap<&str, BTreeSet<String>> = texts
        .iter()
        .filter(|(path, _)| path.ends_with(".md"))
        .map(|(path, text)| (path.as_str(), anchors(text)))
        .collect();
    let mut findings = Vec::new();
    for (path, text) in texts {
        if GENERATED.iter().any(|ending| path.ends_with(ending)) {
            continue;
        }
        let old = numbered(text).into_iter().map(|(line, citation)| {
            (line, format!("cites `{citation}`, which is not in this repository"))
        });
        let broken = citations(text).into_iter().filter_map(|(line, citation)| {
            unresolved(path, citation, &anchors).map(|what| (line, what))
        });
        for (line, what) in old.chain(broken) {
            findings.push(Finding::new(path, format!("line {line} {what}")));
        }
    }
    findings
}

/// The fault of a citation in the file `path`, or `None`.
fn unresolved(
    path: &str,
    citation: Citation<'_>,
    anchors: &BTreeMap<&str, BTreeSet<String>>,
) -> Option<String> {
    let Citation { file, anchor, is_link } = citation;
    let is_markdown = path.ends_with(".md");
    if file.is_empty() && !is_markdown {
        // A link of rustdoc within its page.
        return None;
    }
    let folder = path.rfind('/').map_or("", |end| &path[..=end]);
    let near = if file.is_empty() { path.to_owned() } else { joined(folder, file) };
    let others = FOLDERS.iter().filter(|_| !(is_link && is_markdown));
    let mut documents = std::iter::once(near).chain(others.map(|folder| joined(folder, file)));
    match documents.find_map(|path| anchors.get(path.as_str())) {
        None => Some(format!("cites `{file}#{anchor}`, but there is no such file")),
        Some(known) if !known.contains(anchor) => {
            Some(format!("cites `{file}#{anchor}`, but the file has no such anchor"))
        }
        Some(_) => None,
    }
}

/// The path of `file` relative to `folder`, which is empty or ends with a slash.
fn joined(folder: &str, file: &str) -> String {
    let mut parts: Vec<&str> = folder.split_terminator('/').collect();
    for part in file.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A citation as written. The file of a link within a document is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Citation<'t> {
    file: &'t str,
    anchor: &'t str,
    is_link: bool,
}

/// The citations of a text with their line numbers.
fn citations(text: &str) -> Vec<(usize, Citation<'_>)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (at, _) in line.match_indices('#') {
            let before = &line[..at];
            let rest = &line[at + 1..];
            let end = rest.find(|c| !is_anchor(c)).unwrap_or(rest.len());
            let anchor = rest[..end].trim_end_matches('-');
            let begin = before
                .rfind(|c| !is_path(c))
                .map_or(0, |last| last + before[last..].chars().next().map_or(1, char::len_utf8));
            let file = &before[begin..];
            let is_link = before[..begin].ends_with("](");
            let is_external = before[..begin].ends_with(':') && file.starts_with("//");
            if (file.ends_with(".md") && !is_external) || (file.is_empty() && is_link) {
                found.push((index + 1, Citation { file, anchor, is_link }));
            }
        }
    }
    found
}

fn is_path(c: char) -> bool {
    c.is_alphanumeric() || "._-/".contains(c)
}

fn is_anchor(c: char) -> bool {
    c.is_alphanumeric() || c == '-' || c == '_'
}

/// Citations by number with their line numbers. A line may end between the document and the number.
fn numbered(text: &str) -> Vec<(usize, String)> {
    let words: Vec<(usize, &str)> = text
        .lines()
        .enumerate()
        .flat_map(|(index, line)| line.split_whitespace().map(move |word| (index + 1, word)))
        .filter(|(_, word)| !["//", "///", "//!", "--", "#"].contains(word))
        .collect();
    let pairs = words.windows(2).filter_map(|pair| {
        let [(line, name), (_, number)] = pair else { return None };
        let name = name.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        let document = NUMBERED.iter().find(|document| **document == name)?;
        let number = number.trim_end_matches(|c: char| !c.is_alphanumeric());
        let is_section = number.starts_with('§');
        let is_requirement =
            *document == NUMBERED[3] && number.starts_with(|c: char| c.is_ascii_digit());
        (is_section || is_requirement).then(|| (*line, format!("{document} {number}")))
    });
    pairs.collect()
}

/// The anchors of a Markdown document.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            let heading = line.trim_start_matches('#');
            let level = line.len() - heading.len();
            if (1..=6).contains(&level) && heading.starts_with(' ') {
                add_heading(&mut anchors, &slug(heading.trim()));
            }
            let explicit = line.split("<a id=\"").skip(1);
            anchors
                .extend(explicit.filter_map(|rest| rest.split_once('"')).map(|(id, _)| id.into()));
        }
    }
    anchors
}

/// Adds the anchor of a heading. The second heading of the same name is numbered 1.
fn add_heading(anchors: &mut BTreeSet<String>, slug: &str) {
    let numbered = (1..).map(|number| format!("{slug}-{number}"));
    let free =
        std::iter::once(slug.to_owned()).chain(numbered).find(|slug| !anchors.contains(slug));
    anchors.extend(free);
}

/// A heading as GitHub spells it in a link.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DSQL: &str = "# Aurora DSQL\n\n## Limits\n\n- <a id=\"open-1\"></a>One.\n\n## T1–T13 (`x`)\n\
                        ```sh\n# Code\n```\n## Limits\n";

    /// The findings in a text. `@` stands for `#` in both, so that this file cites nothing.
    fn findings(path: &str, text: &str) -> Vec<String> {
        let text = &text.replace('@', "#");
        let texts = [("docs/reference/dsql.md", DSQL), ("docs/own.md", "## Own\n"), (path, text)];
        let texts = texts.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
        check(&texts).iter().map(|finding| finding.to_string().replace('#', "@")).collect()
    }

    #[test]
    fn a_heading_and_an_explicit_anchor_are_found_from_every_folder() {
        let text = "//! One (dsql.md@limits, own.md@own); `docs/reference/dsql.md@open-1`.\n\
                    // dsql.md@limits-1: two. dsql.md@t1t13-x\n";
        assert_eq!(findings("crates/a/src/lib.rs", text), [""; 0]);
        let text = "# A b\n[x](reference/dsql.md@limits) [y](@a-b) [z](../docs/own.md@own)\n";
        assert_eq!(findings("docs/a.md", text), [""; 0]);
        assert_eq!(findings("docs/reference/a.md", "[x](../own.md@own)"), [""; 0]);
    }

    #[test]
    fn a_broken_anchor_is_found_by_file_line_and_citation() {
        let found = findings("a.sql", "-- One.\n-- Two (dsql.md@limit).\n");
        let what = "cites `dsql.md@limit`, but the file has no such anchor";
        assert_eq!(found, [format!("a.sql: line 2 {what}")]);
        let found = findings("docs/a.md", "[x](@nowhere)");
        assert_eq!(found, ["docs/a.md: line 1 cites `@nowhere`, but the file has no such anchor"]);
        for code in ["code", "limits-2", ""] {
            let found = findings("a.rs", &format!("// dsql.md@{code}"));
            assert_eq!(found.len(), 1, "{code}: {found:?}");
        }
    }

    #[test]
    fn an_unknown_file_is_found() {
        let what = "but there is no such file";
        for (path, file) in [("a.rs", "gone.md"), ("docs/a.md", "reference/own.md")] {
            let found = findings(path, &format!("see {file}@own"));
            assert_eq!(found, [format!("{path}: line 1 cites `{file}@own`, {what}")]);
        }
        let found = findings("docs/a.md", "[x](dsql.md@limits)");
        assert_eq!(found.len(), 1, "a link leads from its folder: {found:?}");
    }

    #[test]
    fn documents_that_are_not_here_are_not_cited() {
        for document in NUMBERED {
            for text in [format!("({document} §2)"), format!("// {document}\n    /// §1.3, more")]
            {
                let found = findings("a.rs", &text);
                assert_eq!(found.len(), 1, "{text}");
                assert!(found[0].starts_with("a.rs: line 1 cites `"), "{found:?}");
            }
            let upper = format!("{}{} §4", document[..1].to_uppercase(), &document[1..]);
            assert_eq!(findings("a.toml", &upper).len(), 1, "{upper}");
            assert_eq!(findings("a.md", &format!("the {document} has a part")), [""; 0]);
        }
        let requirement = format!("({} 5.3)", NUMBERED[3]);
        assert_eq!(findings("a.rs", &requirement).len(), 1);
        assert_eq!(findings("rows.json", &requirement), [""; 0]);
    }

    #[test]
    fn other_text_is_not_a_citation() {
        let text =
            "RFC 7677 §3, #[test], `#`, https://example.org/a.md@b, a.rs#c, [x](own.md), [y](@z)";
        assert_eq!(findings("a.rs", text), [""; 0]);
    }
}

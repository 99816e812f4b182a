//! The documents, played: every command that they show is run, in their order, and must succeed.

mod support;

use std::{fs, path::PathBuf};

use support::Tool;
use temporal_dsql_testkit::ScratchDatabase;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every document with its text.
fn documents() -> Vec<(String, String)> {
    let mut paths = vec![root().join("README.md")];
    paths.extend(fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// What a document asks of its test, line by line.
#[derive(Debug, PartialEq)]
enum Instruction {
    /// `<!-- database: 1.0 -->`: from here on, a database of this version.
    Database(String),
    /// A line of a block of shell commands.
    Command(String),
}

fn instructions(document: &str) -> Vec<Instruction> {
    let mut instructions = Vec::new();
    let mut in_block = false;
    for line in document.lines().map(str::trim) {
        if let Some(fence) = line.strip_prefix("```") {
            in_block = !in_block && fence == "sh";
        } else if in_block && !line.is_empty() {
            instructions.push(Instruction::Command(line.to_owned()));
        } else if let Some(version) =
            line.strip_prefix("<!-- database: ").and_then(|rest| rest.strip_suffix(" -->"))
        {
            instructions.push(Instruction::Database(version.to_owned()));
        }
    }
    instructions
}

#[tokio::test]
async fn every_command_of_the_documents_does_what_they_say() {
    let Some(mut database) = ScratchDatabase::create().await else { return };
    let mut played = 0;
    for (path, text) in documents() {
        for instruction in instructions(&text) {
            match instruction {
                Instruction::Database(version) => {
                    database = ScratchDatabase::create().await.unwrap();
                    if version != "empty" {
                        Tool::new(&database).ok(&["setup-schema", "--version", &version]);
                    }
                }
                Instruction::Command(line) => {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    match words[..] {
                        ["temporal-dsql-tool", ref arguments @ ..] => {
                            let run = Tool::new(&database).run(arguments);
                            assert_eq!(run.code, 0, "{path}: {line}: {}{}", run.out, run.err);
                            played += 1;
                        }
                        // Where the test reaches its database by variables of its own.
                        ["export", setting] => {
                            let (name, _) = setting.split_once('=').unwrap();
                            let help = Tool::nowhere().ok(&["--help"]).out;
                            assert!(help.contains(name), "{path}: the tool does not read {name}");
                        }
                        // CI runs these themselves, and xtask's tests check every other one.
                        ["cargo", "xtask", ..] => {}
                        _ => panic!("{path}: nothing runs `{line}`"),
                    }
                }
            }
        }
    }
    assert!(played >= 15, "only {played} commands were found");
}

#[test]
fn the_documents_name_the_version_of_this_release() {
    let operations = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let schema = temporal_dsql::VERSION.to_string();
    let tool = env!("CARGO_PKG_VERSION");
    for row in [
        format!("| Schema version of this release | {schema} |"),
        format!("| Minimum version of `temporal-dsql-tool` for schema {schema} | {tool} |"),
    ] {
        assert!(operations.contains(&row), "docs/operations.md has no row `{row}`");
    }
}

#[test]
fn blocks_and_databases_are_found_where_they_are_indented_too() {
    let document =
        "<!-- database: 1.0 -->\n1. Do it.\n\n   ```sh\n   a b\n   ```\n```text\nno\n```\n";
    let expected = [Instruction::Database("1.0".into()), Instruction::Command("a b".into())];
    assert_eq!(instructions(document), expected);
}

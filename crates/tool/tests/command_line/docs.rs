//! Tests of the documents: every command in them runs in order and must succeed, and every message of
//! the tool is explained.

use std::{fs, path::PathBuf};

use crate::support::Tool;
use temporal_dsql_testkit::{RecordedDeployment, ScratchDatabase};

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

/// An instruction of a document to its test.
#[derive(Debug, PartialEq)]
enum Instruction {
    /// `<!-- database: 1.0 -->`: continue with a new database at this version.
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
    // What `--from` names in the documents.
    let source = RecordedDeployment::new().create().await.unwrap();
    let from = source.url();
    let mut commands = 0;
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
                    let mut words: Vec<&str> = line.split_whitespace().collect();
                    for at in 1..words.len() {
                        if words[at - 1] == "--from" {
                            words[at] = &from;
                        }
                    }
                    match words[..] {
                        ["temporal-dsql-tool", ref arguments @ ..] => {
                            let run = Tool::new(&database).run(arguments);
                            assert_eq!(run.code, 0, "{path}: {line}: {}{}", run.out, run.err);
                            commands += 1;
                        }
                        // The test connects to its database with its own variables.
                        ["export", setting] => {
                            let (name, _) = setting.split_once('=').unwrap();
                            let mut help = Tool::nowhere().ok(&["--help"]).out;
                            help += &Tool::nowhere().ok(&["import", "--help"]).out;
                            assert!(help.contains(name), "{path}: the tool does not read {name}");
                        }
                        // docs/testing.md lists the tests that run xtask's own commands.
                        ["cargo", "xtask", ..] => {}
                        // An example has a test that runs it.
                        ["cargo", "run", "--package", "temporal-dsql", "--example", name, ..] => {
                            let file = root().join(format!("crates/facade/examples/{name}.rs"));
                            let example = fs::read_to_string(file).unwrap();
                            assert!(example.contains("super::main().unwrap()"), "{path}: {line}");
                        }
                        _ => panic!("{path}: nothing runs `{line}`"),
                    }
                }
            }
        }
    }
    assert!(commands >= 15, "only {commands} commands were found");
}

#[tokio::test]
async fn the_documented_commands_of_cargo_xtask_migrate_work() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema"]);
    let mut commands = 0;
    for (path, text) in documents() {
        for command in text.split(['`', '\n']).map(str::trim) {
            let arguments: Vec<&str> = command.split_whitespace().collect();
            if let ["cargo", "xtask", "migrate", arguments @ ..] = &arguments[..]
                && !arguments.is_empty()
            {
                let run = tool.run(arguments);
                assert_eq!(run.code, 0, "{path}: {command}: {}{}", run.out, run.err);
                commands += 1;
            }
        }
    }
    assert!(commands >= 1, "no command was found");
}

/// The section of the guide with the heading `title`.
fn section<'g>(guide: &'g str, title: &str) -> &'g str {
    guide
        .split("\n## ")
        .find_map(|section| section.strip_prefix(title)?.strip_prefix('\n'))
        .unwrap_or_else(|| panic!("the guide has no section `{title}`"))
}

#[test]
fn the_guide_has_the_steps_the_rollback_the_downtime_and_the_verification() {
    let guide = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let upgrade = section(&guide, "Upgrading from 1.0 to 1.1");
    let rollback = section(&guide, "Rolling back to 1.0");
    for (steps, most, commands) in [
        (upgrade, 5, ["status", "update-schema --version 1.1", "verify"]),
        (
            rollback,
            3,
            ["rollback-schema --to 1.0 --dry-run", "rollback-schema --to 1.0 --prove", "verify"],
        ),
    ] {
        // requirements.md#req-6-1, requirements.md#req-6-2, requirements.md#req-6-5
        let number = |line: &str| line.split_once(". ").and_then(|(number, _)| number.parse().ok());
        let numbers: Vec<u32> = steps.lines().filter_map(number).collect();
        assert_eq!(numbers, (1..=most).collect::<Vec<_>>());
        let mut at = 0;
        for command in commands {
            let command = format!("temporal-dsql-tool {command}\n");
            let found = steps[at..].find(&command);
            at += found.unwrap_or_else(|| panic!("`{command}` is not there, or not in its order"));
        }
        // requirements.md#req-6-4
        assert!(steps.trim_start().contains("**Downtime: none"), "{steps}");
        assert!(steps.contains("1. Take a [backup](#backups)"), "{steps}");
    }
    assert!(section(&guide, "Verifying").contains("temporal-dsql-tool verify"));
    assert!(section(&guide, "Backups").contains("AWS Backup"));
    for of in ["upgrade", "rollback"] {
        assert!(guide.contains(&format!("| Downtime of the {of} | none")), "of the {of}");
    }
}

/// The text of a source file, with `…` for each placeholder and each string on one line.
fn messages(path: &str) -> String {
    let source = fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let mut pieces = source.split("\\\n");
    let mut joined = pieces.next().unwrap_or_default().to_owned();
    pieces.for_each(|piece| joined.push_str(piece.trim_start()));
    let mut text = String::new();
    for (position, piece) in joined.split('{').enumerate() {
        match piece.split_once('}') {
            // A placeholder, not a block of code.
            Some((name, rest)) if position > 0 && !name.contains(char::is_whitespace) => {
                text.push('…');
                text.push_str(rest);
            }
            _ => text.push_str(piece),
        }
    }
    text
}

/// The messages in the tables of the guide.
fn explained() -> Vec<String> {
    let guide = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let import = fs::read_to_string(root().join("docs/import.md")).unwrap();
    let tables = section(&guide, "Troubleshooting").to_owned() + section(&import, "Messages");
    let cells = tables.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn every_message_quoted_by_the_guide_exists() {
    let sources: String = [
        "crates/dsql-client/src/config/error.rs",
        "crates/dsql-client/src/config/mod.rs",
        "crates/dsql-client/src/connector.rs",
        "crates/migrate/src/database.rs",
        "crates/migrate/src/error.rs",
        "crates/migrate/src/import/copy.rs",
        "crates/migrate/src/import/error.rs",
        "crates/migrate/src/import/mapping.rs",
        "crates/migrate/src/import/preflight.rs",
        "crates/migrate/src/import/privileges.rs",
        "crates/migrate/src/import/proof.rs",
        "crates/migrate/src/import/report.rs",
        "crates/migrate/src/import/source.rs",
        "crates/migrate/src/import/target.rs",
        "crates/migrate/src/schema/mod.rs",
        "crates/tool/src/commands.rs",
        "crates/tool/src/import/mod.rs",
        "crates/tool/src/import/source.rs",
        "crates/tool/src/interrupt.rs",
        "crates/tool/src/prompt.rs",
        "crates/tool/src/target.rs",
    ]
    .map(messages)
    .concat();
    let quoted = explained();
    assert!(quoted.len() >= 50, "{quoted:?}");
    for message in quoted {
        let exists = sources.lines().any(|line| line.contains('"') && line.contains(&message));
        assert!(exists, "no message of the tool contains `{message}`");
    }
}

#[test]
fn every_error_of_a_migration_is_explained_by_the_guide() {
    let explained = explained();
    let mut errors = 0;
    for path in [
        "crates/migrate/src/error.rs",
        "crates/migrate/src/import/error.rs",
        "crates/migrate/src/database.rs",
    ] {
        for attribute in messages(path).split("#[error(").skip(1) {
            // A transparent error has the message of its cause.
            let Some(text) = attribute.trim_start().strip_prefix('"') else { continue };
            let text = text.split('"').next().unwrap_or_default();
            let is_explained = explained.iter().any(|message| text.contains(message));
            assert!(is_explained, "{path}: the guide does not explain `{text}`");
            errors += 1;
        }
    }
    assert!(errors >= 30, "only {errors} errors were found");
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

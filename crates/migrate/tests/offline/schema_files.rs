//! The embedded schema files, and schemas from directories.

use std::{fs, path::Path};

use temporal_dsql_domain::{SchemaVersion, VERSION};
use temporal_dsql_migrate::{Change, Engine, SCHEMA_SQL, Schema};

use crate::{V1_0, V1_1, spec::spec};

/// The embedded schema with every version.
fn every_version() -> Schema {
    Schema::embedded().unwrap()
}

fn version(text: &str) -> SchemaVersion {
    text.parse().unwrap()
}

#[test]
fn every_version_is_what_the_specification_says() {
    for release in every_version().releases() {
        let objects = every_version().objects_at(release.version);
        let (tables, indexes) = spec(release.version);
        assert_eq!(objects.tables, tables);
        assert_eq!(objects.indexes, indexes);
        assert_eq!(objects.seeds.len(), 1);
    }
}

#[test]
fn the_newest_version_is_the_one_of_this_release() {
    assert_eq!(every_version().newest(), VERSION);
    let compatible: Vec<_> = every_version()
        .releases()
        .iter()
        .map(|release| (release.version, release.min_compatible))
        .collect();
    assert_eq!(compatible[..2], [(V1_0, V1_0), (V1_1, V1_0)]);
}

#[test]
fn the_whole_schema_is_its_versions_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("schema.sql");
    fs::write(&file, SCHEMA_SQL).unwrap();
    let whole = Schema::from_file(&file, VERSION).unwrap();
    let texts = |schema: &Schema| -> Vec<String> {
        let statements = schema.statements_between(SchemaVersion::NONE, VERSION);
        statements.iter().map(|statement| statement.text(Engine::Dsql)).collect()
    };
    assert_eq!(texts(&whole), texts(&every_version()));
    // Its comments are those of the versions, below a header that names the source.
    assert!(SCHEMA_SQL.contains("PostgreSQL schema of Temporal, version 1.19"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/dsql/temporal/versioned");
    for release in every_version().releases() {
        for entry in fs::read_dir(root.join(format!("v{}", release.version))).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "sql") {
                let text = fs::read_to_string(&path).unwrap();
                assert!(SCHEMA_SQL.contains(&text), "{}", path.display());
            }
        }
    }
}

#[test]
fn no_table_has_a_check_and_every_index_is_asynchronous() {
    assert!(!SCHEMA_SQL.lines().any(|line| !line.starts_with("--") && line.contains("CHECK")));
    for statement in every_version().statements_between(SchemaVersion::NONE, VERSION) {
        if let Change::CreateIndex { asynchronous, name, .. } = &statement.change {
            assert!(asynchronous, "{name}");
            assert!(!statement.text(Engine::Postgres).contains("ASYNC"), "{name}");
            assert!(statement.text(Engine::Dsql).contains("INDEX ASYNC"), "{name}");
        }
    }
}

#[test]
fn the_linter_of_aws_accepts_every_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    let mut folders = vec![root];
    let mut linted = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "sql") {
                let text = fs::read_to_string(&path).unwrap();
                let diagnostics = dsql_lint::lint_sql(&text);
                assert!(diagnostics.is_empty(), "{}: {diagnostics:?}", path.display());
                linted += 1;
            }
        }
    }
    assert!(linted >= 11, "only {linted} files were found");
    // The linter reports a violation.
    assert!(!dsql_lint::lint_sql("CREATE INDEX i ON t (a);").is_empty());
}

/// A directory of versions, each with one table.
struct Versions(tempfile::TempDir);

impl Versions {
    fn new(names: &[&str]) -> Self {
        let versions = Self(tempfile::tempdir().unwrap());
        for name in names {
            let table = name.replace('.', "_");
            let manifest = format!(
                r#"{{"CurrVersion": "{}", "MinCompatibleVersion": "0.1",
                     "SchemaUpdateCqlFiles": ["a.sql"]}}"#,
                name.trim_start_matches('v')
            );
            versions.write(&format!("{name}/manifest.json"), &manifest);
            versions.write(&format!("{name}/a.sql"), &format!("CREATE TABLE {table} (id INT);"));
        }
        versions
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The schema, if none of its files has an error.
    fn read(&self) -> Result<Schema, String> {
        let schema = Schema::from_directory(self.0.path()).map_err(|error| crate::chain(&error))?;
        match schema.check(SchemaVersion::NONE, schema.newest()) {
            Ok(()) => Ok(schema),
            Err(error) => Err(crate::chain(&*error)),
        }
    }
}

/// The directories of Temporal's own tests (temporal-persistence.md#schema-tool-suites).
const NAMES: [&str; 8] = ["v0.5", "v1.5", "v2.5", "v2.5.1", "v2.5.2", "v2.7.17", "v3.5", "v10.2"];

#[test]
fn version_directories_are_found_sorted_by_their_numbers_and_other_entries_are_ignored_with_a_warning()
 {
    let versions = Versions::new(&NAMES);
    for noise in ["abc", "2.0", "3.0", "v1.x", "v1.2.3.4", "version"] {
        versions.write(&format!("{noise}/manifest.json"), "not read");
    }
    versions.write("v4.0", "a file");
    let schema = versions.read().unwrap();
    let found: Vec<_> = schema.releases().iter().map(|r| format!("v{}", r.version)).collect();
    assert_eq!(found, NAMES);
    assert_eq!(schema.warnings().len(), 7, "{:?}", schema.warnings());
    let between = |from: &str, to: &str| -> Vec<String> {
        let releases = schema.releases_between(version(from), version(to));
        releases.map(|release| format!("v{}", release.version)).collect()
    };
    assert_eq!(between("0.5", "1.5"), ["v1.5"]);
    assert_eq!(between("0.4", "10.2"), NAMES);
    assert_eq!(between("0.5", "3.5"), NAMES[1..7]);
    assert_eq!(between("2.5.2", "10.2"), NAMES[5..]);
    assert!(between("10.2", "10.2").is_empty());
    assert!(between("1.7", "1.7").is_empty());
}

#[test]
fn a_directory_without_versions_is_an_error() {
    let versions = Versions::new(&[]);
    assert!(versions.read().unwrap_err().contains("contains no subdirectories of versions"));
    let error = Schema::from_directory(&versions.0.path().join("none")).unwrap_err();
    assert!(error.to_string().starts_with("cannot read"), "{error}");
}

#[test]
fn two_directories_of_one_version_are_an_error() {
    let versions = Versions::new(&["v1.1", "v1.1.0"]);
    let error = versions.read().unwrap_err();
    assert!(error.contains("v1.1 and v1.1.0 are both version 1.1"), "{error}");
}

#[test]
fn every_file_of_every_version_is_checked_before_anything_runs() {
    for (path, text, expected) in [
        ("v3.5/manifest.json", "{", "v3.5/manifest.json is not valid"),
        (
            "v3.5/manifest.json",
            r#"{"CurrVersion": "3.6", "MinCompatibleVersion": "0.1", "SchemaUpdateCqlFiles": ["a.sql"]}"#,
            "v3.5/manifest.json has CurrVersion 3.6, but its directory is v3.5",
        ),
        (
            "v3.5/manifest.json",
            r#"{"CurrVersion": "3.5", "MinCompatibleVersion": "0.1", "SchemaUpdateCqlFiles": ["b.sql"]}"#,
            "v3.5/manifest.json lists b.sql, which does not exist in the schema directory",
        ),
        (
            "v3.5/manifest.json",
            r#"{"CurrVersion": "3.5", "MinCompatibleVersion": "0.1", "SchemaUpdateCqlFiles": ["../../a.sql"]}"#,
            "v3.5/manifest.json lists ../../a.sql, which is outside of the schema directory",
        ),
        ("v3.5/a.sql", "", "version 3.5, a.sql: contains no statement"),
        ("v3.5/a.sql", " -- CREATE TABLE a;\n/* later */ ;", "a.sql: contains no statement"),
        (
            "v3.5/a.sql",
            "\u{feff}CREATE TABLE a (id INT);",
            "v3.5/a.sql begins with a UTF-8 byte order mark; save it without one",
        ),
        (
            "v3.5/manifest.json",
            "\u{feff}{}",
            "v3.5/manifest.json begins with a UTF-8 byte order mark; save it without one",
        ),
        ("v3.5/a.sql", "CREATE TABLE a (id INT", "version 3.5, a.sql: unmatched `(` at line 1"),
        (
            "v3.5/a.sql",
            "CREATE TABLE a (id INT); UPDATE a SET id = 1;",
            "version 3.5, a.sql, statement 2 (`UPDATE a SET id = 1`) cannot run as a resumable \
             step: its kind is none of",
        ),
        (
            "v3.5/a.sql",
            "CREATE TABLE v0_5 (id INT);",
            "version 3.5, a.sql, statement 1 (`CREATE TABLE v0_5 (id INT)`) cannot run as a \
             resumable step: the name v0_5 is taken",
        ),
    ] {
        let versions = Versions::new(&NAMES);
        versions.write(path, text);
        let error = versions.read().unwrap_err();
        assert!(error.contains(expected), "{path}: {error}");
    }
    let versions = Versions::new(&["v1.0"]);
    fs::remove_file(versions.0.path().join("v1.0/manifest.json")).unwrap();
    assert!(versions.read().unwrap_err().contains("cannot read"));
}

#[test]
fn a_file_that_no_manifest_lists_is_ignored_with_a_warning() {
    let versions = Versions::new(&["v1.0"]);
    versions.write("v1.0/forgotten.sql", "CREATE TABLE forgotten (id INT);");
    let schema = versions.read().unwrap();
    assert_eq!(schema.warnings(), ["v1.0/forgotten.sql is not in the manifest: ignored"]);
    assert_eq!(schema.statements_between(SchemaVersion::NONE, V1_0).len(), 1);
    // It is not read.
    fs::write(versions.0.path().join("v1.0/forgotten.sql"), b"\xff\xfe").unwrap();
    versions.read().unwrap();
}

#[test]
fn listed_files_may_be_in_folders_below_the_schema_directory() {
    let versions = Versions::new(&["v1.0", "v1.1"]);
    versions.write("v1.1/tables/b.sql", "CREATE TABLE b (id INT);");
    versions.write("shared/c.sql", "CREATE TABLE c (id INT);");
    let manifest = r#"{"currversion": "1.1", "mincompatibleversion": "1.0",
                       "schemaupdatecqlfiles": ["tables/b.sql", "../shared/c.sql"]}"#;
    versions.write("v1.1/manifest.json", manifest);
    let objects = versions.read().unwrap().objects_at(V1_1);
    assert!(objects.tables.keys().eq(["b", "c", "v1_0"]), "{objects:?}");
}

#[test]
fn a_single_file_without_statements_or_with_a_byte_order_mark_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("schema.sql");
    for (text, expected) in [
        ("-- CREATE TABLE a (id INT);", "schema.sql: contains no statement"),
        ("\u{feff}CREATE TABLE a (id INT);", "schema.sql begins with a UTF-8 byte order mark"),
    ] {
        fs::write(&file, text).unwrap();
        let error = Schema::from_file(&file, V1_1).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

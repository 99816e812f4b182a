//! The embedded schema `dsql/temporal`.

/// The name of the embedded schema in Temporal's tool and in this one (`--schema-name`).
pub const SCHEMA_NAME: &str = "dsql/temporal";

/// The newest version of the schema in one file, for readers and other tools. A test compares it with
/// the version directories.
pub const SCHEMA_SQL: &str = include_str!("../../schema/dsql/temporal/schema.sql");

/// A version directory: its name, its manifest and its other files.
pub(super) struct Directory {
    pub name: &'static str,
    pub manifest: &'static str,
    pub files: &'static [(&'static str, &'static str)],
}

macro_rules! directory {
    ($name:literal: $($file:literal),+) => {
        Directory {
            name: $name,
            manifest: include_str!(concat!(
                "../../schema/dsql/temporal/versioned/", $name, "/manifest.json"
            )),
            files: &[$((
                $file,
                include_str!(concat!(
                    "../../schema/dsql/temporal/versioned/", $name, "/", $file
                )),
            )),+],
        }
    };
}

/// All versions, in ascending order.
pub(super) const DIRECTORIES: &[Directory] = &[
    directory!("v1.0":
        "cluster.sql",
        "namespaces.sql",
        "executions.sql",
        "execution_maps.sql",
        "history.sql",
        "history_tasks.sql",
        "matching.sql",
        "queues.sql",
        "nexus.sql"
    ),
    directory!("v1.1": "current_chasm_executions.sql"),
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_schema_file_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
        let mut on_disk = BTreeSet::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let path = path.strip_prefix(&root).unwrap();
                    on_disk.insert(path.to_str().unwrap().replace('\\', "/"));
                }
            }
        }
        let mut embedded = BTreeSet::from([format!("{SCHEMA_NAME}/schema.sql")]);
        for directory in DIRECTORIES {
            let files = directory.files.iter().map(|(name, _)| *name);
            for file in files.chain(["manifest.json"]) {
                embedded.insert(format!("{SCHEMA_NAME}/versioned/{}/{file}", directory.name));
            }
        }
        assert_eq!(on_disk, embedded);
    }
}

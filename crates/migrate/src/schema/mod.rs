//! The schema files: found, read and validated as a whole before anything is executed.
//!
//! A schema is a sequence of releases, each a directory `vX.Y` with a manifest and the files that it
//! lists (temporal-persistence.md#update-schema). It is embedded in the binary, or read from a
//! directory. Loading a schema splits and parses every file of every release and applies it to the
//! object model, so that no migration fails half-way because of an invalid file.

mod change;
mod embedded;
mod manifest;
mod parse;
mod split;
mod statement;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use temporal_dsql_domain::SchemaVersion;

pub use change::Change;
pub use embedded::{SCHEMA_NAME, SCHEMA_SQL};
pub(crate) use statement::quoted;
pub use statement::{Origin, Statement};

use crate::objects::{Objects, TableDefinition};

/// An invalid schema. Nothing was executed.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A file or directory cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A directory contains no versions.
    #[error(
        "{} contains no subdirectories of versions, such as v1.0; give the directory that has them",
        path.display()
    )]
    NoVersions {
        /// The directory.
        path: PathBuf,
    },
    /// Two directories have the same version.
    #[error("{first} and {second} are both version {version}; remove one of them")]
    SameVersion {
        /// One directory.
        first: String,
        /// The other.
        second: String,
        /// Their version.
        version: SchemaVersion,
    },
    /// A manifest is malformed or contradicts its directory.
    #[error("{directory}/manifest.json {reason}")]
    Manifest {
        /// The directory.
        directory: String,
        /// The reason.
        reason: String,
    },
    /// A manifest lists a file that does not exist.
    #[error("{directory}/manifest.json lists {file}, which is not in the directory")]
    MissingFile {
        /// The directory.
        directory: String,
        /// The file.
        file: String,
    },
    /// A file cannot be split into statements.
    #[error("{file}: {reason}")]
    Text {
        /// The file.
        file: String,
        /// The reason.
        reason: String,
    },
    /// A statement cannot be part of a schema.
    #[error("{origin} (`{start}`) cannot run as a resumable step: {reason}")]
    Statement {
        /// Its place in the schema files.
        origin: Origin,
        /// Its first line.
        start: String,
        /// The reason.
        reason: String,
    },
}

/// One version of the schema.
#[derive(Clone, Debug)]
pub struct Release {
    /// The version.
    pub version: SchemaVersion,
    /// The oldest schema version that is compatible with this one.
    pub min_compatible: SchemaVersion,
    /// The description of the changes.
    pub description: String,
    /// The MD5 of the manifest in hex; empty if there is no manifest.
    pub manifest_md5: String,
    /// The number of statements of this and all earlier releases.
    end: usize,
}

/// A schema with all its versions.
#[derive(Clone, Debug)]
pub struct Schema {
    releases: Vec<Release>,
    statements: Vec<Statement>,
    /// The objects after each statement.
    after: Vec<Objects>,
    warnings: Vec<String>,
}

/// The files of a version directory, not yet parsed.
struct Files {
    directory: String,
    version: SchemaVersion,
    manifest: Vec<u8>,
    texts: Vec<(String, String)>,
}

impl Schema {
    /// The schema `dsql/temporal`, which is embedded in the binary.
    ///
    /// # Errors
    /// None: tests parse the embedded files.
    pub fn embedded() -> Result<Self, SchemaError> {
        let directory = |directory: &embedded::Directory| Files {
            directory: directory.name.to_owned(),
            version: directory_version(directory.name).expect("the names are those of versions"),
            manifest: directory.manifest.into(),
            texts: directory
                .files
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect(),
        };
        Self::build(embedded::DIRECTORIES.iter().map(directory).collect(), Vec::new())
    }

    /// The schema in the version directories of `path` (`--schema-dir`).
    ///
    /// Other entries are ignored with a [warning](Self::warnings).
    ///
    /// # Errors
    /// The first error in the directory or in a file.
    pub fn from_directory(path: &Path) -> Result<Self, SchemaError> {
        let mut warnings = Vec::new();
        let mut versions = Vec::new();
        for (name, path) in entries(path)? {
            match directory_version(&name).filter(|_| path.is_dir()) {
                Some(version) => versions.push(read_files(name, version, &path)?),
                None => {
                    warnings.push(format!("{} is not a version directory: ignored", path.display()))
                }
            }
        }
        if versions.is_empty() {
            return Err(SchemaError::NoVersions { path: path.into() });
        }
        versions.sort_by_key(|files| files.version);
        for pair in versions.windows(2) {
            if pair[0].version == pair[1].version {
                return Err(SchemaError::SameVersion {
                    first: pair[0].directory.clone(),
                    second: pair[1].directory.clone(),
                    version: pair[0].version,
                });
            }
        }
        Self::build(versions, warnings)
    }

    /// The schema in one file (`--schema-file`), as the only release `version`, compatible with no
    /// older version.
    ///
    /// # Errors
    /// The first error in the file.
    pub fn from_file(path: &Path, version: SchemaVersion) -> Result<Self, SchemaError> {
        let text = read_text(path)?;
        let mut schema = Self {
            releases: Vec::new(),
            statements: Vec::new(),
            after: Vec::new(),
            warnings: Vec::new(),
        };
        schema.add_file(version, &path.display().to_string(), &text)?;
        schema.releases.push(Release {
            version,
            min_compatible: version,
            description: String::new(),
            manifest_md5: String::new(),
            end: schema.statements.len(),
        });
        Ok(schema)
    }

    fn build(versions: Vec<Files>, warnings: Vec<String>) -> Result<Self, SchemaError> {
        let mut schema =
            Self { releases: Vec::new(), statements: Vec::new(), after: Vec::new(), warnings };
        for files in versions {
            let directory = files.directory;
            let manifest = manifest::read(&files.manifest, files.version)
                .map_err(|reason| SchemaError::Manifest { directory: directory.clone(), reason })?;
            let listed: BTreeSet<&String> = manifest.files.iter().collect();
            for (name, _) in &files.texts {
                if !listed.contains(name) {
                    schema
                        .warnings
                        .push(format!("{directory}/{name} is not in the manifest: ignored"));
                }
            }
            for file in &manifest.files {
                let Some((_, text)) = files.texts.iter().find(|(name, _)| name == file) else {
                    return Err(SchemaError::MissingFile { directory, file: file.clone() });
                };
                schema.add_file(manifest.version, file, text)?;
            }
            schema.releases.push(Release {
                version: manifest.version,
                min_compatible: manifest.min_compatible,
                description: manifest.description,
                manifest_md5: manifest.md5,
                end: schema.statements.len(),
            });
        }
        Ok(schema)
    }

    fn add_file(
        &mut self,
        version: SchemaVersion,
        file: &str,
        text: &str,
    ) -> Result<(), SchemaError> {
        let texts = split::split(text).map_err(|reason| SchemaError::Text {
            file: format!("version {version}, {file}"),
            reason,
        })?;
        for (position, text) in texts.into_iter().enumerate() {
            let origin = Origin { version, file: file.to_owned(), number: position + 1 };
            let mut objects = self.after.last().cloned().unwrap_or_default();
            let statement = Statement::parse(text)
                .and_then(|statement| objects.apply(&statement.change).map(|()| statement))
                .map_err(|reason| SchemaError::Statement {
                    origin: origin.clone(),
                    start: text.lines().next().unwrap_or_default().to_owned(),
                    reason,
                })?;
            self.statements.push(statement.at(origin));
            self.after.push(objects);
        }
        Ok(())
    }

    /// Warnings about ignored files and directories.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// All releases, from the oldest to the newest.
    pub fn releases(&self) -> &[Release] {
        &self.releases
    }

    /// The newest version; 0.0 if there is none.
    pub fn newest(&self) -> SchemaVersion {
        self.releases.last().map_or(SchemaVersion::NONE, |release| release.version)
    }

    /// The release of `version`.
    pub fn release(&self, version: SchemaVersion) -> Option<&Release> {
        self.releases.iter().find(|release| release.version == version)
    }

    /// The releases after `from`, up to and including `to`.
    pub fn releases_between(
        &self,
        from: SchemaVersion,
        to: SchemaVersion,
    ) -> impl DoubleEndedIterator<Item = &Release> {
        self.releases.iter().filter(move |release| release.version > from && release.version <= to)
    }

    /// The statements of the releases after `from`, up to and including `to`, in order.
    pub fn statements_between(&self, from: SchemaVersion, to: SchemaVersion) -> &[Statement] {
        let start = self.end_of(from);
        &self.statements[start..self.end_of(to).max(start)]
    }

    /// All objects of `version`.
    pub fn objects_at(&self, version: SchemaVersion) -> Objects {
        match self.end_of(version) {
            0 => Objects::default(),
            end => self.after[end - 1].clone(),
        }
    }

    /// The layouts of the table `name` after the statement `position` and after each later one up to
    /// `to`, without repetitions. A database during an update to `to` may have any of them.
    pub(crate) fn layouts_of(
        &self,
        name: &str,
        position: usize,
        to: SchemaVersion,
    ) -> Vec<TableDefinition> {
        let mut layouts: Vec<TableDefinition> = Vec::new();
        for objects in &self.after[position..self.end_of(to).max(position)] {
            match objects.tables.get(name) {
                Some(table) if layouts.last() != Some(table) => layouts.push(table.clone()),
                _ => {}
            }
        }
        layouts
    }

    /// The layouts of the table `name` from `from` up to `to`.
    pub(crate) fn layouts_from(
        &self,
        name: &str,
        from: SchemaVersion,
        to: SchemaVersion,
    ) -> Vec<TableDefinition> {
        self.layouts_of(name, self.end_of(from).saturating_sub(1), to)
    }

    /// The primary key of `table` after the statement `position`.
    pub(crate) fn key_at(&self, position: usize, table: &str) -> Vec<String> {
        self.after[position].primary_key_of(table)
    }

    /// The position after the last statement of the releases up to `version`.
    pub(crate) fn end_of(&self, version: SchemaVersion) -> usize {
        self.releases
            .iter()
            .rfind(|release| release.version <= version)
            .map_or(0, |release| release.end)
    }
}

/// The version of a directory name: `v` and numbers with dots, as in `v1.0`
/// (temporal-persistence.md#update-schema).
fn directory_version(name: &str) -> Option<SchemaVersion> {
    name.starts_with('v').then(|| name.parse().ok()).flatten()
}

fn entries(path: &Path) -> Result<Vec<(String, PathBuf)>, SchemaError> {
    let failed = |source| SchemaError::Read { path: path.into(), source };
    let mut entries = fs::read_dir(path)
        .map_err(failed)?
        .map(|entry| {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            Ok((name, entry.path()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    entries.sort();
    Ok(entries)
}

fn read_files(
    directory: String,
    version: SchemaVersion,
    path: &Path,
) -> Result<Files, SchemaError> {
    let manifest_path = path.join("manifest.json");
    let manifest = fs::read(&manifest_path)
        .map_err(|source| SchemaError::Read { path: manifest_path, source })?;
    let texts = entries(path)?
        .into_iter()
        .filter(|(name, path)| name != "manifest.json" && path.is_file())
        .map(|(name, path)| Ok((name, read_text(&path)?)))
        .collect::<Result<_, _>>()?;
    Ok(Files { directory, version, manifest, texts })
}

fn read_text(path: &Path) -> Result<String, SchemaError> {
    fs::read_to_string(path).map_err(|source| SchemaError::Read { path: path.into(), source })
}

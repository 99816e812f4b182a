//! The schema files: found, read and validated as a whole before anything is executed.
//!
//! A schema is a sequence of releases, each a directory `vX.Y` with a manifest and the files that it
//! lists (temporal-persistence.md#update-schema). It is embedded in the binary, or read from a
//! directory. Loading a schema splits and parses every file of every release and applies it to the
//! object model. A command that runs or compares a release with an invalid file is refused before
//! anything is executed. Releases that are already in effect are not judged, as by Temporal's tool.

mod change;
mod embedded;
mod files;
mod manifest;
mod parse;
mod split;
mod statement;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use temporal_dsql_domain::SchemaVersion;

pub use change::Change;
pub use embedded::{SCHEMA_NAME, SCHEMA_SQL};
pub(crate) use statement::quoted;
pub use statement::{Origin, Statement};

use crate::objects::{Objects, TableDefinition};

/// An invalid schema. Nothing was executed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    #[error("{directory}/manifest.json lists {file}, which does not exist in the schema directory")]
    MissingFile {
        /// The directory.
        directory: String,
        /// The file.
        file: String,
    },
    /// A manifest lists a file outside of the schema directory.
    #[error("{directory}/manifest.json lists {file}, which is outside of the schema directory")]
    OutsideFile {
        /// The directory.
        directory: String,
        /// The file.
        file: String,
    },
    /// A file begins with a byte order mark, which is no SQL.
    #[error("{} begins with a UTF-8 byte order mark; save it without one", path.display())]
    ByteOrderMark {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be split into statements, or has none.
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
    /// The oldest version whose releases work with this schema (`MinCompatibleVersion`).
    pub min_compatible: SchemaVersion,
    /// The description of the changes.
    pub description: String,
    /// The MD5 of the manifest in hex; empty if there is no manifest.
    pub manifest_md5: String,
    /// The number of statements of this and all earlier releases.
    end: usize,
    /// The first error in its files. The statements without an error are part of the schema.
    problem: Option<Arc<SchemaError>>,
}

impl Release {
    /// A release without statements, which works with no older release.
    const fn unread(version: SchemaVersion) -> Self {
        Self {
            version,
            min_compatible: version,
            description: String::new(),
            manifest_md5: String::new(),
            end: 0,
            problem: None,
        }
    }
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

impl Schema {
    const fn empty() -> Self {
        Self {
            releases: Vec::new(),
            statements: Vec::new(),
            after: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The schema `dsql/temporal`, which is embedded in the binary.
    ///
    /// # Errors
    /// None: tests parse the embedded files.
    pub fn embedded() -> Result<Self, SchemaError> {
        let mut schema = Self::empty();
        for directory in embedded::DIRECTORIES {
            let name = directory.name;
            let version = directory_version(name).expect("the names are those of versions");
            let file = |file: &str| match directory.files.iter().find(|(name, _)| *name == file) {
                Some((_, text)) => Ok((*text).to_owned()),
                None => Err(SchemaError::MissingFile { directory: name.into(), file: file.into() }),
            };
            let manifest = directory.manifest.as_bytes();
            let (mut release, problem) = schema.read_release(name, version, manifest, &[], file);
            if let Some(problem) = problem {
                return Err(problem);
            }
            release.end = schema.statements.len();
            schema.releases.push(release);
        }
        Ok(schema)
    }

    /// This schema without the versions after `newest`, as an older release had it.
    #[must_use]
    pub fn until(mut self, newest: SchemaVersion) -> Self {
        self.releases.retain(|release| release.version <= newest);
        let end = self.releases.last().map_or(0, |release| release.end);
        self.statements.truncate(end);
        self.after.truncate(end);
        self
    }

    /// The schema in the version directories of `path` (`--schema-dir`).
    ///
    /// Other entries are ignored with a [warning](Self::warnings). An error in the files of one
    /// version is returned by [`check`](Self::check) when that version is needed.
    ///
    /// # Errors
    /// The directory cannot be read, contains no versions, or contains one twice.
    pub fn from_directory(path: &Path) -> Result<Self, SchemaError> {
        let mut schema = Self::empty();
        let mut versions = Vec::new();
        for (name, path) in files::entries(path)? {
            match directory_version(&name).filter(|_| path.is_dir()) {
                Some(version) => versions.push((version, name)),
                None => schema
                    .warnings
                    .push(format!("{} is not a version directory: ignored", path.display())),
            }
        }
        if versions.is_empty() {
            return Err(SchemaError::NoVersions { path: path.into() });
        }
        versions.sort();
        for pair in versions.windows(2) {
            if pair[0].0 == pair[1].0 {
                return Err(SchemaError::SameVersion {
                    first: pair[0].1.clone(),
                    second: pair[1].1.clone(),
                    version: pair[0].0,
                });
            }
        }
        for (version, name) in versions {
            let manifest = files::bytes(&path.join(&name).join(files::MANIFEST));
            let beside = files::beside_manifest(&path.join(&name));
            let (mut release, problem) = match manifest.and_then(|found| Ok((found, beside?))) {
                Ok((manifest, beside)) => {
                    let file = |file: &str| files::listed(path, &name, file);
                    schema.read_release(&name, version, &manifest, &beside, file)
                }
                Err(problem) => (Release::unread(version), Some(problem)),
            };
            release.end = schema.statements.len();
            release.problem = problem.map(Arc::new);
            schema.releases.push(release);
        }
        Ok(schema)
    }

    /// The schema in one file (`--schema-file`), as the only release `version`, compatible with no
    /// older version.
    ///
    /// # Errors
    /// The first error in the file.
    pub fn from_file(path: &Path, version: SchemaVersion) -> Result<Self, SchemaError> {
        let text = files::text(path)?;
        let mut schema = Self::empty();
        schema.add_file(version, &path.display().to_string(), &text)?;
        let end = schema.statements.len();
        schema.releases.push(Release { end, ..Release::unread(version) });
        Ok(schema)
    }

    /// Reads a release from its manifest and the files that this lists. Returns the first error, too;
    /// everything without an error is added. Other files in `beside` are ignored with a warning.
    fn read_release(
        &mut self,
        directory: &str,
        version: SchemaVersion,
        manifest: &[u8],
        beside: &[String],
        file: impl Fn(&str) -> Result<String, SchemaError>,
    ) -> (Release, Option<SchemaError>) {
        let manifest = match manifest::read(manifest, version) {
            Ok(manifest) => manifest,
            Err(reason) => {
                let directory = directory.to_owned();
                let problem = SchemaError::Manifest { directory, reason };
                return (Release::unread(version), Some(problem));
            }
        };
        let listed: BTreeSet<_> =
            manifest.files.iter().map(|file| files::joined(directory, file)).collect();
        for name in beside {
            if !listed.contains(&files::joined(directory, name)) {
                self.warnings.push(format!("{directory}/{name} is not in the manifest: ignored"));
            }
        }
        let mut problem = None;
        for name in &manifest.files {
            let added = file(name).and_then(|text| self.add_file(version, name, &text));
            problem = problem.or(added.err());
        }
        let release = Release {
            min_compatible: manifest.min_compatible,
            description: manifest.description,
            manifest_md5: manifest.md5,
            ..Release::unread(version)
        };
        (release, problem)
    }

    /// Adds the statements of a file.
    ///
    /// # Errors
    /// The first error. The statements without an error are added.
    fn add_file(
        &mut self,
        version: SchemaVersion,
        file: &str,
        text: &str,
    ) -> Result<(), SchemaError> {
        let failed =
            |reason| SchemaError::Text { file: format!("version {version}, {file}"), reason };
        let texts = split::split(text).map_err(failed)?;
        if texts.is_empty() {
            return Err(failed("contains no statement".to_owned()));
        }
        let mut problem = None;
        for (position, text) in texts.into_iter().enumerate() {
            let origin = Origin { version, file: file.to_owned(), number: position + 1 };
            let mut objects = self.after.last().cloned().unwrap_or_default();
            let statement = Statement::parse(text)
                .and_then(|statement| objects.apply(&statement.change).map(|()| statement));
            match statement {
                Ok(statement) => {
                    self.statements.push(statement.at(origin));
                    self.after.push(objects);
                }
                Err(reason) => {
                    problem.get_or_insert(SchemaError::Statement {
                        origin,
                        start: text.lines().next().unwrap_or_default().to_owned(),
                        reason,
                    });
                }
            }
        }
        problem.map_or(Ok(()), Err)
    }

    /// Checks the files of the releases after `from`, up to and including `to`.
    ///
    /// # Errors
    /// The first error in these files.
    pub fn check(&self, from: SchemaVersion, to: SchemaVersion) -> Result<(), Arc<SchemaError>> {
        let problem = self.releases_between(from, to).find_map(|release| release.problem.clone());
        problem.map_or(Ok(()), Err)
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

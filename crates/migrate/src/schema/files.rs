//! Reads the files of a schema directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::SchemaError;

/// The name of a manifest.
pub(super) const MANIFEST: &str = "manifest.json";

/// What some editors write at the start of a file in UTF-8.
pub(super) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The entries of the directory `path`, by name.
pub(super) fn entries(path: &Path) -> Result<Vec<(String, PathBuf)>, SchemaError> {
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

/// The names of the files in the version directory `path`, without the manifest.
pub(super) fn beside_manifest(path: &Path) -> Result<Vec<String>, SchemaError> {
    let names =
        entries(path)?.into_iter().filter(|(name, path)| name != MANIFEST && path.is_file());
    Ok(names.map(|(name, _)| name).collect())
}

/// The bytes of the file `path`.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, SchemaError> {
    fs::read(path).map_err(|source| SchemaError::Read { path: path.into(), source })
}

/// The text of the schema file `path`.
pub(super) fn text(path: &Path) -> Result<String, SchemaError> {
    let bytes = bytes(path)?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        return Err(SchemaError::ByteOrderMark { path: path.into() });
    }
    String::from_utf8(bytes).map_err(|error| SchemaError::Read {
        path: path.into(),
        source: io::Error::new(io::ErrorKind::InvalidData, error),
    })
}

/// The text of `file`, which the manifest of `directory` below `root` lists. As for Temporal's tool,
/// it may be in another folder below `root`.
pub(super) fn listed(root: &Path, directory: &str, file: &str) -> Result<String, SchemaError> {
    let Some(path) = joined(directory, file) else {
        return Err(SchemaError::OutsideFile { directory: directory.into(), file: file.into() });
    };
    match text(&root.join(path)) {
        Err(SchemaError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Err(SchemaError::MissingFile { directory: directory.into(), file: file.into() })
        }
        other => other,
    }
}

/// `file` relative to `directory`, as a path relative to the root; `None` if it is outside of this.
pub(super) fn joined(directory: &str, file: &str) -> Option<PathBuf> {
    let mut parts = vec![directory];
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_file_is_found_relative_to_its_manifest_as_by_go() {
        for (file, expected) in [
            ("a.sql", Some("v1.1/a.sql")),
            ("./a.sql", Some("v1.1/a.sql")),
            ("tables/a.sql", Some("v1.1/tables/a.sql")),
            ("tables//../b.sql", Some("v1.1/b.sql")),
            ("../v1.0/a.sql", Some("v1.0/a.sql")),
            ("/a.sql", Some("v1.1/a.sql")),
            ("../../a.sql", None),
            ("../../root/v1.1/a.sql", None),
        ] {
            assert_eq!(joined("v1.1", file).as_deref(), expected.map(Path::new), "{file}");
        }
    }
}

//! Parses `manifest.json` of a version directory, in Temporal's format
//! (temporal-persistence.md#update-schema).

use std::fmt;

use md5::{Digest, Md5};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use temporal_dsql_domain::SchemaVersion;

use super::files::BYTE_ORDER_MARK;
use crate::version_tables::MAX_DESCRIPTION;

/// A valid manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub version: SchemaVersion,
    pub min_compatible: SchemaVersion,
    pub description: String,
    pub files: Vec<String>,
    /// The MD5 of the manifest's bytes in hex, as Temporal's tool records it.
    pub md5: String,
}

/// The fields of a manifest, read as Go's `encoding/json` reads them: keys in any case, the last of
/// several wins, null is the default, other keys are ignored.
#[derive(Default)]
struct Raw {
    curr_version: String,
    min_compatible_version: String,
    description: String,
    schema_update_cql_files: Vec<String>,
    allow_no_cql_files: bool,
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        fn value<'de, T, A>(map: &mut A) -> Result<T, A::Error>
        where
            T: Default + Deserialize<'de>,
            A: MapAccess<'de>,
        {
            Ok(map.next_value::<Option<T>>()?.unwrap_or_default())
        }
        let mut raw = Raw::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.to_ascii_lowercase().as_str() {
                "currversion" => raw.curr_version = value(&mut map)?,
                "mincompatibleversion" => raw.min_compatible_version = value(&mut map)?,
                "description" => raw.description = value(&mut map)?,
                "schemaupdatecqlfiles" => raw.schema_update_cql_files = value(&mut map)?,
                "allownocqlfiles" => raw.allow_no_cql_files = value(&mut map)?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(raw)
    }
}

/// Reads the manifest of the directory of `version`.
///
/// # Errors
/// The reason why it is invalid.
pub(crate) fn read(bytes: &[u8], version: SchemaVersion) -> Result<Manifest, String> {
    if bytes.starts_with(BYTE_ORDER_MARK) {
        return Err("begins with a UTF-8 byte order mark; save it without one".into());
    }
    let raw: Raw =
        serde_json::from_slice(bytes).map_err(|error| format!("is not valid: {error}"))?;
    let current = parse("CurrVersion", &raw.curr_version)?;
    if current != version {
        return Err(format!(
            "has CurrVersion {current}, but its directory is v{version}; one of them is wrong"
        ));
    }
    let min_compatible = parse("MinCompatibleVersion", &raw.min_compatible_version)?;
    if min_compatible > current {
        return Err(format!(
            "has MinCompatibleVersion {min_compatible}, which is newer than its CurrVersion \
             {current}"
        ));
    }
    if raw.description.chars().count() > MAX_DESCRIPTION {
        return Err(format!("has a Description of more than {MAX_DESCRIPTION} characters"));
    }
    let files = raw.schema_update_cql_files;
    if files.is_empty() && !raw.allow_no_cql_files {
        return Err("lists no SchemaUpdateCqlFiles; set AllowNoCqlFiles if that is intended".into());
    }
    for (position, file) in files.iter().enumerate() {
        if file.is_empty() || file.contains('\0') {
            return Err(format!(
                "lists `{}`, which is not the name of a file",
                file.escape_debug()
            ));
        }
        if files[..position].contains(file) {
            return Err(format!("lists {file} twice"));
        }
    }
    Ok(Manifest {
        version,
        min_compatible,
        description: raw.description,
        files,
        md5: Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

fn parse(key: &str, text: &str) -> Result<SchemaVersion, String> {
    if text.is_empty() {
        return Err(format!("lacks {key}"));
    }
    text.parse().map_err(|_| format!("has {key} `{text}`, which is not a version such as 1.1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: SchemaVersion = SchemaVersion::new(0, 4);

    fn manifest(text: &str) -> Result<Manifest, String> {
        read(text.as_bytes(), VERSION)
    }

    #[test]
    fn a_valid_manifest_is_read() {
        let text = r#"{"CurrVersion": "0.4", "MinCompatibleVersion": "v0.1", "Description": "base",
                       "SchemaUpdateCqlFiles": ["base1.cql", "base2.cql"], "Unknown": 1}"#;
        let manifest = manifest(text).unwrap();
        assert_eq!(manifest.version, VERSION);
        assert_eq!(manifest.min_compatible, SchemaVersion::new(0, 1));
        assert_eq!(manifest.description, "base");
        assert_eq!(manifest.files, ["base1.cql", "base2.cql"]);
    }

    #[test]
    fn a_version_without_files_needs_allow_no_cql_files() {
        let text =
            r#"{"CurrVersion": "0.4", "MinCompatibleVersion": "0.1", "AllowNoCqlFiles": true}"#;
        assert!(manifest(text).unwrap().files.is_empty());
    }

    #[test]
    fn keys_in_other_case_and_nulls_are_read_as_by_go() {
        let text = r#"{"currversion": "0.3", "MINCOMPATIBLEVERSION": "0.1", "description": null,
                       "schemaUpdateCqlFiles": ["sub/a.sql"], "CurrVersion": "0.4"}"#;
        let manifest = manifest(text).unwrap();
        assert_eq!((manifest.version, manifest.files), (VERSION, vec!["sub/a.sql".to_owned()]));
        assert_eq!(manifest.min_compatible, SchemaVersion::new(0, 1));
        let text = r#"{"CurrVersion": "0.4", "MinCompatibleVersion": "0.1", "allowNoCqlFiles": true,
                       "SchemaUpdateCqlFiles": null}"#;
        assert!(super::tests::manifest(text).unwrap().files.is_empty());
    }

    #[test]
    fn the_digest_is_the_md5_of_the_bytes_as_they_are() {
        let text = r#"{"CurrVersion":"0.4","MinCompatibleVersion":"0.4","AllowNoCqlFiles":true}"#;
        // From `md5sum`.
        assert_eq!(manifest(text).unwrap().md5, "70b77ca15322e039a9ad7eecbd3aab2b");
        let spaced = format!("{text}\n");
        assert_ne!(manifest(&spaced).unwrap().md5, manifest(text).unwrap().md5);
    }

    #[test]
    fn an_invalid_manifest_is_refused_with_the_reason() {
        let long = "x".repeat(256);
        for (text, reason) in [
            (
                r#"{"MinCompatibleVersion": "0.1", "SchemaUpdateCqlFiles": ["a"]}"#,
                "lacks CurrVersion",
            ),
            (
                r#"{"CurrVersion": "a.b", "MinCompatibleVersion": "0.1", "SchemaUpdateCqlFiles": ["a"]}"#,
                "has CurrVersion `a.b`",
            ),
            (
                r#"{"CurrVersion": "0.5", "MinCompatibleVersion": "0.1", "SchemaUpdateCqlFiles": ["a"]}"#,
                "has CurrVersion 0.5, but its directory is v0.4",
            ),
            (
                r#"{"CurrVersion": "0.4", "SchemaUpdateCqlFiles": ["a"]}"#,
                "lacks MinCompatibleVersion",
            ),
            (
                r#"{"CurrVersion": "0.4", "MinCompatibleVersion": "x", "SchemaUpdateCqlFiles": ["a"]}"#,
                "has MinCompatibleVersion `x`",
            ),
            (
                r#"{"CurrVersion": "0.4", "MinCompatibleVersion": "0.5", "SchemaUpdateCqlFiles": ["a"]}"#,
                "newer than its CurrVersion",
            ),
            (
                r#"{"CurrVersion": "0.4", "MinCompatibleVersion": "0.1"}"#,
                "lists no SchemaUpdateCqlFiles",
            ),
            (
                r#"{"CurrVersion": "0.4", "MinCompatibleVersion": "0.1", "SchemaUpdateCqlFiles": ["a", "a"]}"#,
                "lists a twice",
            ),
            (
                r#"{"CurrVersion": "0.4", "MinCompatibleVersion": "0.1", "SchemaUpdateCqlFiles": [""]}"#,
                "lists ``",
            ),
            (
                r#"{"CurrVersion": "0.4", "MinCompatibleVersion": "0.1", "SchemaUpdateCqlFiles": null}"#,
                "lists no SchemaUpdateCqlFiles",
            ),
            ("\u{feff}{}", "begins with a UTF-8 byte order mark; save it without one"),
            (
                &format!(
                    r#"{{"CurrVersion": "0.4", "MinCompatibleVersion": "0.1", "Description": "{long}", "SchemaUpdateCqlFiles": ["a"]}}"#
                ),
                "more than 255 characters",
            ),
            (r#"{"CurrVersion": 4}"#, "is not valid"),
            ("", "is not valid"),
            (r#"{"CurrVersion": "0.4""#, "is not valid"),
        ] {
            let error = manifest(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}

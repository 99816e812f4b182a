//! Schema versions, and the version that this release needs.

use std::{fmt, str::FromStr};

use crate::InvalidValue;

/// The schema version that this release reads, writes and sets up (requirements.md#req-1-5,
/// requirements.md#req-8-1).
///
/// It is the newest version of the schema files, read from the first line of `schema.sql` when the
/// crate is compiled. The schema tool and the stores take it from here (requirements.md#req-8-3);
/// the Go fork has it in `schema/dsql/version.go`.
pub const VERSION: SchemaVersion = version_of(include_str!("schema.sql"));

/// The version in the first line of a schema file, `-- Schema version X.Y`.
const fn version_of(schema: &str) -> SchemaVersion {
    let schema = schema.as_bytes();
    let mut numbers = [0, 0];
    let mut part = 0;
    let mut at = "-- Schema version ".len();
    while schema[at] != b'\n' {
        match schema[at] {
            b'.' => part += 1,
            digit => {
                assert!(digit.is_ascii_digit(), "the first line is not `-- Schema version X.Y`");
                numbers[part] = 10 * numbers[part] + (digit - b'0') as u32;
            }
        }
        at += 1;
    }
    SchemaVersion::new(numbers[0], numbers[1])
}

/// A version of the schema, ordered by its numbers: 1.10 is newer than 1.9.
///
/// It is parsed as by Temporal's tool: `v1.1`, `1.1` and `1.1.0` are equal, and `1` is 1.0. A third
/// number is kept.
///
/// ```
/// use temporal_dsql_domain::SchemaVersion;
///
/// let version: SchemaVersion = "v1.10".parse()?;
/// assert!(version > SchemaVersion::new(1, 9));
/// assert_eq!(version.to_string(), "1.10");
/// # Ok::<(), temporal_dsql_domain::InvalidValue>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number; 0 where it is not written.
    pub patch: u32,
}

impl SchemaVersion {
    /// The version of a database without version tables.
    pub const NONE: Self = Self::new(0, 0);

    /// Version `major.minor`.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor, patch: 0 }
    }
}

impl FromStr for SchemaVersion {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = || {
            InvalidValue::new(
                "version",
                format!("`{text}` is not a schema version; write it as 1.1 or v1.1"),
            )
        };
        let mut numbers = [0; 3];
        let parts: Vec<&str> = text.strip_prefix('v').unwrap_or(text).split('.').collect();
        if parts.len() > numbers.len() {
            return Err(invalid());
        }
        for (number, part) in numbers.iter_mut().zip(parts) {
            // `parse` alone would take a sign.
            if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(invalid());
            }
            *number = part.parse().map_err(|_| invalid())?;
        }
        let [major, minor, patch] = numbers;
        Ok(Self { major, minor, patch })
    }
}

impl fmt::Display for SchemaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.patch != 0 {
            write!(f, ".{}", self.patch)?;
        }
        Ok(())
    }
}

impl fmt::Debug for SchemaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SchemaVersion({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_version_of_the_release_is_read_from_the_schema_file() {
        assert_eq!(version_of("-- Schema version 12.34\n-- and 5.6"), SchemaVersion::new(12, 34));
        // The first version with current_chasm_executions (requirements.md#req-1-5).
        assert!(VERSION >= SchemaVersion::new(1, 1), "{VERSION}");
    }

    #[test]
    fn versions_are_read_as_temporals_tool_reads_them() {
        // temporal-persistence.md#schema-tool-suites, TestNormalizeVersionString
        for (text, printed) in [
            ("0", "0.0"),
            ("1000", "1000.0"),
            ("9999", "9999.0"),
            ("0.1", "0.1"),
            ("v1.1", "1.1"),
            ("1.1.0", "1.1"),
            ("2.7.17", "2.7.17"),
        ] {
            assert_eq!(text.parse::<SchemaVersion>().unwrap().to_string(), printed, "{text}");
        }
        let wrong = ["", "v", "1.2a", "ab", "5.11a", "1..2", "+1.1", "-1", "1.2.3.4", "vv1.1"];
        for text in wrong.into_iter().chain(["99999999999.0"]) {
            let error = text.parse::<SchemaVersion>().unwrap_err();
            assert!(error.reason.contains(&format!("`{text}`")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn versions_are_ordered_by_number_and_not_by_text(a: (u16, u16), b: (u16, u16)) {
            let version = |(major, minor): (u16, u16)| {
                SchemaVersion::new(u32::from(major), u32::from(minor))
            };
            prop_assert_eq!(version(a).cmp(&version(b)), a.cmp(&b));
            let printed: SchemaVersion = version(a).to_string().parse().unwrap();
            prop_assert_eq!(printed, version(a));
        }
    }
}

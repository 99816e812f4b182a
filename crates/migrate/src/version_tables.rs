//! Temporal's version tables: `schema_version` has the current version of a database,
//! `schema_update_history` its changes.
//!
//! They have exactly the columns and contents that Temporal's tool and server read and write
//! (temporal-persistence.md#version-tables), so that either tool can continue the work of the other.
//! The key of the version row is the logical name of the database, under which the server looks it
//! up. All rows of a change are written in one transaction, on the condition that the recorded
//! version is the old one: of several concurrent runs, one writes and the others see its rows.

use serde::Serialize;
use temporal_dsql_domain::SchemaVersion;

use crate::{
    objects::TableDefinition,
    schema::{Change, Statement},
};

/// The table of the version rows.
pub const VERSION_TABLE: &str = "schema_version";
/// The table of the history rows.
pub const HISTORY_TABLE: &str = "schema_update_history";

/// The logical database name that the Go tool for DSQL writes.
pub const DEFAULT_DATABASE: &str = "postgres";

/// The description in the history row of a setup, as Temporal's tool writes it.
pub(crate) const INITIAL_DESCRIPTION: &str = "initial version";
/// The old version in the history row of a setup, as Temporal's tool writes it.
const INITIAL_OLD_VERSION: &str = "0";
/// The longest description, in characters: the width of its column.
pub(crate) const MAX_DESCRIPTION: usize = 255;

/// The statements that create both tables.
pub const CREATE_VERSION_TABLES: [&str; 2] = [
    "CREATE TABLE schema_version (
  version_partition INTEGER NOT NULL,
  db_name VARCHAR(255) NOT NULL,
  creation_time TIMESTAMP,
  curr_version VARCHAR(64),
  min_compatible_version VARCHAR(64),
  PRIMARY KEY (version_partition, db_name)
)",
    "CREATE TABLE schema_update_history (
  version_partition INTEGER NOT NULL,
  year INTEGER NOT NULL,
  month INTEGER NOT NULL,
  update_time TIMESTAMP NOT NULL,
  description VARCHAR(255),
  manifest_md5 VARCHAR(64),
  new_version VARCHAR(64),
  old_version VARCHAR(64),
  PRIMARY KEY (version_partition, year, month, update_time)
)",
];

/// The statements that create the version tables.
pub(crate) fn statements() -> impl Iterator<Item = Statement> {
    CREATE_VERSION_TABLES
        .iter()
        .map(|text| Statement::parse(text).expect("both texts are parsed in a test"))
}

/// The version tables by name.
pub(crate) fn tables() -> impl Iterator<Item = (String, TableDefinition)> {
    statements().filter_map(|statement| match statement.change {
        Change::CreateTable { name, table } => Some((name, table)),
        _ => None,
    })
}

/// A row of `schema_version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionRow {
    /// The logical name of the database.
    pub database: String,
    /// The recorded text. The column is nullable; no tool writes NULL, which counts as an empty text.
    pub version: Option<String>,
    /// The oldest version whose releases work with this schema (`MinCompatibleVersion`).
    pub min_compatible: Option<String>,
}

impl VersionRow {
    /// The recorded text; empty for NULL.
    pub(crate) fn text(&self) -> &str {
        self.version.as_deref().unwrap_or_default()
    }

    /// The version, unless it is malformed.
    pub(crate) fn parsed(&self) -> Option<SchemaVersion> {
        self.text().parse().ok()
    }
}

/// A change of the recorded version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionChange {
    /// The logical name of the database.
    pub database: String,
    /// The recorded text of the old version; `None` for a setup.
    pub from: Option<String>,
    /// Other logical names of the same tables, which get the same version in the same transaction,
    /// with the recorded texts of their old versions.
    pub also: Vec<(String, String)>,
    /// Whether the catalog has decided the version. Its objects are then checked before it is
    /// recorded, as for an upgrade.
    pub adopts: bool,
    /// The new version.
    pub to: SchemaVersion,
    /// The oldest version whose releases work with this schema (`MinCompatibleVersion`).
    pub min_compatible: SchemaVersion,
    /// The MD5 of the manifest; empty if there is none.
    pub manifest_md5: String,
    /// The description in the history row.
    pub description: String,
}

/// A statement with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dml {
    /// The text, with `$1`, `$2`, … for the parameters.
    pub text: &'static str,
    /// The parameters.
    pub parameters: Vec<String>,
}

impl VersionChange {
    /// The old version, unless there is none or it is malformed.
    pub(crate) fn old_version(&self) -> Option<SchemaVersion> {
        self.from.as_deref()?.parse().ok()
    }

    /// Whether the new version is newer than the old one, or there is no old one.
    pub(crate) fn is_upgrade(&self) -> bool {
        self.old_version().is_none_or(|from| from < self.to)
    }

    /// Whether the recorded version `now` is the new one, or, for an upgrade, newer: then a concurrent
    /// run has recorded this change and later ones. Every version is newer than 0.0, which has the
    /// version tables only.
    pub(crate) fn is_recorded_by(&self, now: Option<&str>) -> bool {
        match now.and_then(|text| text.parse::<SchemaVersion>().ok()) {
            Some(now) if now == self.to => true,
            Some(now) => {
                let may_go_on = self.from.is_some() || self.to == SchemaVersion::NONE;
                self.is_upgrade() && may_go_on && now > self.to
            }
            None => false,
        }
    }

    /// The logical names with the recorded texts of their old versions.
    pub fn rows(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let also = self.also.iter().map(|(name, from)| (name.as_str(), Some(from.as_str())));
        std::iter::once((self.database.as_str(), self.from.as_deref())).chain(also)
    }

    /// The statements of the transaction: for each logical name the conditional write of its version
    /// row, which affects one row if the change applies, and last the insert of the history row.
    pub fn statements(&self) -> Vec<Dml> {
        let mut statements: Vec<_> =
            self.rows().map(|(name, from)| self.version_statement(name, from)).collect();
        let old = self.from.as_deref().unwrap_or(INITIAL_OLD_VERSION);
        statements.push(Dml {
            text: "INSERT INTO schema_update_history \
                   (version_partition, year, month, update_time, old_version, new_version, \
                   manifest_md5, description) \
                   VALUES (0, extract(year FROM now() AT TIME ZONE 'UTC')::integer, \
                   extract(month FROM now() AT TIME ZONE 'UTC')::integer, \
                   now() AT TIME ZONE 'UTC', $1, $2, $3, $4)",
            parameters: vec![
                old.to_owned(),
                self.to.to_string(),
                self.manifest_md5.clone(),
                self.description.clone(),
            ],
        });
        statements
    }

    fn version_statement(&self, name: &str, from: Option<&str>) -> Dml {
        let parameters = [name, &self.to.to_string(), &self.min_compatible.to_string()];
        let mut parameters = parameters.map(str::to_owned).to_vec();
        match from {
            None => Dml {
                text: "INSERT INTO schema_version \
                       (version_partition, db_name, creation_time, curr_version, \
                       min_compatible_version) \
                       VALUES (0, $1, now() AT TIME ZONE 'UTC', $2, $3) \
                       ON CONFLICT (version_partition, db_name) DO NOTHING",
                parameters,
            },
            // NULL, too.
            Some("") => Dml {
                text: "UPDATE schema_version SET creation_time = now() AT TIME ZONE 'UTC', \
                       curr_version = $2, min_compatible_version = $3 \
                       WHERE version_partition = 0 AND db_name = $1 \
                       AND coalesce(curr_version, '') = ''",
                parameters,
            },
            Some(from) => {
                parameters.push(from.to_owned());
                Dml {
                    text: "UPDATE schema_version SET creation_time = now() AT TIME ZONE 'UTC', \
                           curr_version = $2, min_compatible_version = $3 \
                           WHERE version_partition = 0 AND db_name = $1 AND curr_version = $4",
                    parameters,
                }
            }
        }
    }
}

/// `description` cut to the width of its column.
pub(crate) fn bounded(description: String) -> String {
    match description.char_indices().nth(MAX_DESCRIPTION - 1) {
        Some((cut, last)) if cut + last.len_utf8() < description.len() => {
            format!("{}…", &description[..cut])
        }
        _ => description,
    }
}

impl Dml {
    /// The statement with its parameters as literals, for display.
    pub fn rendered(&self) -> String {
        let mut pieces = self.text.split('$');
        let mut rendered = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let digits = piece.len() - piece.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, rest) = piece.split_at(digits);
            let value = number
                .parse::<usize>()
                .ok()
                .and_then(|number| self.parameters.get(number.checked_sub(1)?));
            match value {
                Some(value) => rendered += &format!("'{}'{rest}", value.replace('\'', "''")),
                None => rendered += &format!("${piece}"),
            }
        }
        rendered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_have_the_columns_that_temporal_reads_and_writes() {
        // temporal-persistence.md#version-tables, word for word.
        let temporal = [
            "CREATE TABLE IF NOT EXISTS schema_version(version_partition INT not null, \
             db_name VARCHAR(255) not null, creation_time TIMESTAMP, curr_version VARCHAR(64), \
             min_compatible_version VARCHAR(64), PRIMARY KEY (version_partition, db_name))",
            "CREATE TABLE IF NOT EXISTS schema_update_history(version_partition INT not null, \
             year int not null, month int not null, update_time TIMESTAMP not null, \
             description VARCHAR(255), manifest_md5 VARCHAR(64), new_version VARCHAR(64), \
             old_version VARCHAR(64), PRIMARY KEY (version_partition, year, month, update_time))",
        ];
        let theirs = temporal.map(|text| Statement::parse(text).unwrap().change);
        let ours: Vec<_> = statements().map(|statement| statement.change).collect();
        assert_eq!(ours, theirs);
        assert!(tables().map(|(name, _)| name).eq([VERSION_TABLE, HISTORY_TABLE]));
    }

    fn change(from: Option<&str>) -> VersionChange {
        VersionChange {
            database: "it's $2".to_owned(),
            from: from.map(str::to_owned),
            also: Vec::new(),
            adopts: false,
            to: SchemaVersion::new(1, 1),
            min_compatible: SchemaVersion::new(1, 0),
            manifest_md5: String::new(),
            description: INITIAL_DESCRIPTION.to_owned(),
        }
    }

    fn two_statements(change: &VersionChange) -> [Dml; 2] {
        change.statements().try_into().unwrap()
    }

    #[test]
    fn every_logical_name_has_a_statement_of_its_own_with_its_old_version() {
        let mut change = change(Some("1.1"));
        change.also = vec![("temporal".to_owned(), "v1.1".to_owned())];
        let [own, other, history] = change.statements().try_into().unwrap();
        assert_eq!(own.text, other.text);
        assert_eq!(own.parameters, ["it's $2", "1.1", "1.0", "1.1"]);
        assert_eq!(other.parameters, ["temporal", "1.1", "1.0", "v1.1"]);
        assert!(history.text.starts_with("INSERT INTO schema_update_history"));
    }

    #[test]
    fn a_description_is_cut_to_the_width_of_its_column() {
        let fits = "é".repeat(MAX_DESCRIPTION);
        assert_eq!(bounded(fits.clone()), fits);
        let cut = bounded(format!("{fits}x"));
        assert_eq!(cut.chars().count(), MAX_DESCRIPTION);
        assert!(cut.ends_with("é…"), "{cut}");
    }

    #[test]
    fn a_rendered_statement_has_its_parameters_in_place_whatever_they_contain() {
        let [version, history] = two_statements(&change(Some("1.0")));
        assert!(
            version.rendered().ends_with(
                "curr_version = '1.1', min_compatible_version = '1.0' \
                 WHERE version_partition = 0 AND db_name = 'it''s $2' AND curr_version = '1.0'"
            ),
            "{}",
            version.rendered()
        );
        assert!(history.rendered().ends_with("'1.0', '1.1', '', 'initial version')"));
    }

    #[test]
    fn the_history_of_a_setup_starts_at_0_as_temporals_tool_writes_it() {
        let [version, history] = two_statements(&change(None));
        assert!(version.text.starts_with("INSERT INTO schema_version"));
        assert_eq!(history.parameters, ["0", "1.1", "", "initial version"]);
    }
}

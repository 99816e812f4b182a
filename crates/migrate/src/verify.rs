//! Compares a database with its recorded version.

use std::fmt;

use serde::Serialize;
use temporal_dsql_domain::{Engine, SchemaVersion};
use tokio::time::Instant;

use crate::{
    Difference, IndexBuildState, JobStatus, MigrateError, Migrator, Timeouts,
    error::counted,
    escape::escaped,
    index_build::until_next_poll,
    objects::{Catalog, IndexDefinition, Objects, Scope, compare_index, compare_table},
    plan::{as_text, optional_as_text},
    version_tables,
};

/// The result of a verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The kind of server.
    #[serde(serialize_with = "as_text")]
    pub engine: Engine,
    /// The schema that was compared.
    pub schema: String,
    /// The logical name of the database.
    pub database: String,
    /// The version that was compared.
    #[serde(serialize_with = "as_text")]
    pub version: SchemaVersion,
    /// The differences from that version; empty if there are none.
    pub differences: Vec<Difference>,
    /// Whether every difference leaves its object able to do all that its definition can.
    pub compatible: bool,
    /// Objects that are not part of the schema. They do not count as differences.
    pub others: Vec<OtherObject>,
    /// If the recorded version was compared and differs: the version that
    /// [`plan_adoption`](Migrator::plan_adoption) would record instead.
    #[serde(serialize_with = "optional_as_text")]
    pub adoptable: Option<SchemaVersion>,
    /// If the recorded version was compared: the other logical names of the tables that are recorded
    /// at another version.
    pub notes: Vec<String>,
}

/// An object of the database that is not part of the schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OtherObject {
    /// Its name.
    pub name: String,
    /// `table`, `index`, `view`, `sequence`, …
    pub kind: String,
}

impl Verification {
    /// Whether the database matches the version.
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schema, database, version, .. } = self;
        if self.is_clean() {
            writeln!(f, "`{database}` in schema {schema} matches version {version}.")?;
        } else {
            let count = counted(self.differences.len() as u64, "difference");
            writeln!(
                f,
                "`{database}` in schema {schema} does not match version {version}: {count}"
            )?;
            for difference in &self.differences {
                writeln!(f, "  - {difference}")?;
            }
        }
        if let Some(found) = self.adoptable {
            writeln!(
                f,
                "It has exactly the tables of version {found}. If {version} was recorded by mistake, \
                 `adopt-schema` records {found}."
            )?;
        }
        for note in &self.notes {
            writeln!(f, "Note: {note}")?;
        }
        if !self.others.is_empty() {
            writeln!(f, "Not part of the schema, ignored:")?;
            for OtherObject { name, kind } in &self.others {
                writeln!(f, "  {kind} {}", escaped(name))?;
            }
        }
        Ok(())
    }
}

impl Migrator<'_> {
    /// Compares the database with `version`, or with the recorded version. Changes nothing.
    ///
    /// # Errors
    /// No version is given and none is recorded, the version is newer than the schema, or the
    /// database cannot be read.
    pub async fn verify(
        &mut self,
        version: Option<SchemaVersion>,
    ) -> Result<Verification, MigrateError> {
        let (catalog, version, rows) = match version {
            Some(version) => {
                let catalog = self.database.catalog(&self.scope().and_others()).await?;
                (catalog, self.known_version(version)?, None)
            }
            None => {
                let state = self.database_state(&self.scope().and_others()).await?;
                match state.recorded {
                    Some((_, version)) => (state.catalog, version, Some(state.rows)),
                    None => return Err(self.not_set_up_error(&state.rows)),
                }
            }
        };
        self.check_not_newer_than_schema(version, &catalog).await?;
        self.schema.check(SchemaVersion::NONE, version)?;
        let mut objects = self.schema.objects_at(version);
        if rows.is_some() {
            objects.tables.extend(version_tables::tables());
        }
        let mut indexes = Vec::new();
        self.verify_indexes(&objects, &catalog, &mut indexes).await?;
        let differences = self.differences(version, &objects, &catalog, indexes).await?;
        let adoptable = match rows.is_some() && !differences.is_empty() {
            true => self.adoptable(Some(version), &catalog).await?,
            false => None,
        };
        Ok(Verification {
            engine: self.database.engine(),
            schema: self.database.schema().to_owned(),
            database: self.logical_name.clone(),
            version,
            compatible: differences.iter().all(|difference| difference.is_compatible()),
            differences,
            others: self.others(&objects, &catalog),
            adoptable,
            notes: rows.map_or_else(Vec::new, |rows| {
                self.notes_of_other_names(&rows, adoptable.unwrap_or(version))
            }),
        })
    }

    /// The differences between `catalog` and the objects of `version`, and the objects of newer
    /// versions. `indexes` are the differences of its indexes.
    pub(crate) async fn differences(
        &mut self,
        version: SchemaVersion,
        objects: &Objects,
        catalog: &Catalog,
        indexes: Vec<Difference>,
    ) -> Result<Vec<Difference>, MigrateError> {
        let mut differences = Vec::new();
        for (name, table) in &objects.tables {
            differences.extend(compare_table(name, table, catalog));
        }
        differences.extend(indexes);
        differences.extend(self.unexpected_indexes(catalog));
        for seed in &objects.seeds {
            let Some(table) = objects.tables.get(&seed.table) else {
                continue;
            };
            if catalog.tables.contains_key(&seed.table)
                && !self.database.has_seed(seed, &table.primary_key).await?
            {
                differences.push(Difference::MissingSeed { table: seed.table.clone() });
            }
        }
        differences.extend(self.drift(version, catalog));
        Ok(differences)
    }

    async fn verify_indexes(
        &mut self,
        objects: &Objects,
        catalog: &Catalog,
        differences: &mut Vec<Difference>,
    ) -> Result<(), MigrateError> {
        let start = Instant::now();
        for (name, index) in &objects.indexes {
            let found = compare_index(name, index, catalog);
            match catalog.indexes.get(name) {
                Some(other) if found.is_empty() && !other.valid => {
                    differences.extend(self.verify_build(name, index, other.oid, start).await?);
                }
                _ => differences.extend(found),
            }
        }
        Ok(())
    }

    /// The differences of an index that was invalid when the catalog was read.
    ///
    /// A build that has ended since then is no difference, so the catalog is read again unless the job
    /// says that it is running or has failed. A job may become visible later than its index: what it
    /// says is waited for as long as a setup would, counted from `start` for all indexes together.
    async fn verify_build(
        &mut self,
        name: &str,
        index: &IndexDefinition,
        mut oid: u32,
        start: Instant,
    ) -> Result<Vec<Difference>, MigrateError> {
        let Timeouts { job_visibility, poll, .. } = self.database.timeouts;
        loop {
            let job = self.database.index_jobs(name, oid).await?.into_iter().next();
            let build = match job.map(|job| job.status) {
                Some(JobStatus::Submitted | JobStatus::Processing) => IndexBuildState::Running,
                Some(JobStatus::Completed) => IndexBuildState::Completed,
                Some(JobStatus::Failed) => IndexBuildState::Failed,
                None => IndexBuildState::Unknown,
            };
            let is_final = match build {
                IndexBuildState::Running | IndexBuildState::Failed => true,
                IndexBuildState::Unknown => self.database.engine() == Engine::Postgres,
                IndexBuildState::Completed => false,
            };
            let waited = start.elapsed();
            if !is_final {
                let catalog = self.database.catalog(&Scope::of([name])).await?;
                let found = compare_index(name, index, &catalog);
                match catalog.indexes.get(name) {
                    Some(other) if found.is_empty() && !other.valid => oid = other.oid,
                    _ => return Ok(found),
                }
            }
            if is_final || waited >= job_visibility {
                return Ok(vec![Difference::InvalidIndex { index: name.to_owned(), build }]);
            }
            tokio::time::sleep(until_next_poll(waited, poll)).await;
        }
    }

    fn others(&self, objects: &Objects, catalog: &Catalog) -> Vec<OtherObject> {
        // Objects of other versions are drift.
        let newest = self.schema.objects_at(self.schema.newest());
        let version_tables: Vec<_> = version_tables::tables().map(|(name, _)| name).collect();
        let is_ours = |table: &String| {
            objects.tables.contains_key(table)
                || newest.tables.contains_key(table)
                || version_tables.contains(table)
        };
        let other =
            |name: &String, kind: &str| OtherObject { name: name.clone(), kind: kind.to_owned() };
        let tables =
            catalog.tables.keys().filter(|name| !is_ours(name)).map(|name| other(name, "table"));
        // Indexes of other tables are not listed. Unique ones of the others are differences.
        let indexes = catalog
            .indexes
            .iter()
            .filter(|(name, found)| {
                is_ours(&found.index.table)
                    && !found.index.unique
                    && !catalog.is_of_constraint(name)
                    && !objects.indexes.contains_key(*name)
                    && !newest.indexes.contains_key(*name)
            })
            .map(|(name, _)| other(name, "index"));
        let of_kind = |is_table: bool| {
            let others =
                catalog.others.iter().filter(move |(_, kind)| (**kind == "table") == is_table);
            others.map(|(name, kind)| other(name, kind))
        };
        tables.chain(of_kind(true)).chain(indexes).chain(of_kind(false)).collect()
    }
}

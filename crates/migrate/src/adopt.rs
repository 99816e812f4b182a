//! Adopts a database whose recorded version no release has made.
//!
//! Temporal's tools record any version that they are told, and the guide of the Go fork told 1.12 for
//! a long time (temporal-persistence.md#setup-schema). The catalog says which version such a database
//! is: it is compared with every version of the schema.

use std::cmp::Reverse;

use temporal_dsql_domain::SchemaVersion;

use crate::{
    Difference, IndexBuildState, MigrateError, Migrator,
    commands::nearest,
    objects::{Catalog, compare_index},
    plan::{Plan, Step, StepAction, StepState},
    version_tables::{VersionChange, bounded},
};

fn is_accepted(difference: &Difference) -> bool {
    difference.is_without_data() || difference.is_compatible()
}

/// A version and the differences of a database from it.
struct Comparison {
    version: SchemaVersion,
    differences: Vec<Difference>,
}

impl Comparison {
    /// Whether each difference is a missing or invalid object without data, which an update makes, or
    /// is compatible with the definition.
    fn is_adoptable(&self) -> bool {
        self.differences.iter().all(is_accepted)
    }

    /// The number of tables that this version has and the catalog lacks, or the reverse.
    fn other_tables(&self) -> usize {
        let is_table = |found: &&Difference| {
            matches!(found, Difference::MissingTable { .. } | Difference::NewerObject { .. })
        };
        self.differences.iter().filter(is_table).count()
    }
}

impl Migrator<'_> {
    /// Plans to record the version that the catalog has, whatever is recorded. Missing and invalid
    /// objects without data (indexes, initial rows, the history table) are made first, as by an update,
    /// and compatible differences are noted.
    /// The version row is written only if it still has the text that was read.
    ///
    /// If the catalog equals several versions, the oldest is recorded. If it equals the recorded
    /// version, the plan is empty.
    ///
    /// # Errors
    /// The catalog is that of no version, has none of its tables, or no version is recorded under the
    /// logical name and one is recorded under another.
    pub async fn plan_adoption(&mut self) -> Result<Plan, MigrateError> {
        self.check_name()?;
        let (catalog, rows) = self.consistent_state(&self.scope()).await?;
        let row = rows.iter().find(|row| row.database == self.logical_name);
        let recorded = match row {
            Some(row) => Some(row.text().to_owned()),
            None if rows.is_empty() => None,
            None => return Err(self.not_set_up_error(&rows)),
        };
        let current = row.and_then(|row| row.parsed());
        self.schema.check(SchemaVersion::NONE, self.schema.newest())?;
        let comparisons = self.comparisons(&catalog).await?;
        let Some(version) = version_of(&comparisons, current) else {
            return Err(self.not_adoptable(comparisons, &catalog));
        };
        let mut plan = self.empty_plan(current, Some(version));
        plan.notes = self.notes_of_other_names(&rows, version);
        if let Some(current) = current.filter(|current| *current > self.schema.newest()) {
            plan.notes.push(format!(
                "{current} is newer than this tool; if your own files or a release have made it, give \
                 them with `--schema-dir`, or use the tool of that release: what they have added stays, \
                 and {version} is recorded without it"
            ));
        }
        if current == Some(version) {
            let is_incomplete = |found: &Comparison| {
                found.version == version
                    && found.differences.iter().any(Difference::is_without_data)
            };
            if comparisons.iter().any(is_incomplete) {
                plan.notes.push("`update-schema` makes the missing and invalid objects".to_owned());
            }
            return Ok(plan);
        }
        self.repair(&mut plan, version, version, &catalog).await?;
        let Some(release) = self.schema.release(version) else {
            unreachable!("it is the version of a release");
        };
        let was = recorded.as_deref().unwrap_or("not recorded");
        let change = VersionChange {
            from: recorded.clone(),
            adopts: true,
            description: bounded(format!("adopted: the catalog is that of {version}, not {was}")),
            ..self.change_to(release)
        };
        plan.steps.push(Step { action: StepAction::Record(change), state: StepState::Pending });
        self.preflight(plan).await
    }

    /// The version that [`plan_adoption`](Self::plan_adoption) would record for a database that is
    /// recorded at `current`, which it is not; `None` if it would be refused.
    pub(crate) async fn adoptable(
        &mut self,
        current: Option<SchemaVersion>,
        catalog: &Catalog,
    ) -> Result<Option<SchemaVersion>, MigrateError> {
        // Only a hint: the error of the files is reported by the command itself.
        if self.schema.check(SchemaVersion::NONE, self.schema.newest()).is_err()
            || self.version_table_steps(catalog).is_err()
        {
            return Ok(None);
        }
        let comparisons = self.comparisons(catalog).await?;
        Ok(version_of(&comparisons, current).filter(|version| Some(*version) != current))
    }

    /// Compares `catalog` with every version of a schema that has passed its check.
    async fn comparisons(&mut self, catalog: &Catalog) -> Result<Vec<Comparison>, MigrateError> {
        let schema = self.schema;
        let mut comparisons = Vec::new();
        for release in schema.releases() {
            let version = release.version;
            let objects = schema.objects_at(version);
            let indexes = objects.indexes.iter();
            let indexes = indexes.flat_map(|(name, index)| match catalog.indexes.get(name) {
                // Whether a job builds it does not matter here, and takes time to find out.
                Some(found) if found.index == *index && !found.valid => {
                    let build = IndexBuildState::Unknown;
                    vec![Difference::InvalidIndex { index: name.clone(), build }]
                }
                _ => compare_index(name, index, catalog),
            });
            let differences =
                self.differences(version, &objects, catalog, indexes.collect()).await?;
            comparisons.push(Comparison { version, differences });
        }
        Ok(comparisons)
    }

    fn not_adoptable(&self, comparisons: Vec<Comparison>, catalog: &Catalog) -> MigrateError {
        let known = comparisons.iter().map(|comparison| comparison.version).collect();
        // The tables decide first: to make the catalog equal to a version without one of its tables,
        // an operator would drop the table.
        let nearest = comparisons.into_iter().min_by_key(|comparison| {
            let differences = comparison.differences.len();
            (comparison.other_tables(), differences, Reverse(comparison.version))
        });
        match nearest {
            Some(Comparison { version: nearest, mut differences })
                if self.has_any_table(catalog) =>
            {
                differences.retain(|difference| !is_accepted(difference));
                MigrateError::NotAdoptable { known, nearest, differences }
            }
            _ => MigrateError::NothingToAdopt,
        }
    }
}

impl Migrator<'_> {
    /// Whether a table of the schema exists. One that only has the name of such a table does not count.
    fn has_any_table(&self, catalog: &Catalog) -> bool {
        let newest = self.schema.newest();
        catalog.tables.keys().any(|name| {
            let layouts = self.schema.layouts_of(name, 0, newest);
            let differences = nearest(name, &layouts, catalog);
            !layouts.is_empty() && differences.iter().all(Difference::is_compatible)
        })
    }
}

/// The version that the catalog has: the recorded one, or the oldest, of those with the fewest
/// differences, if it can be adopted.
fn version_of(
    comparisons: &[Comparison],
    recorded: Option<SchemaVersion>,
) -> Option<SchemaVersion> {
    let adoptable = comparisons.iter().filter(|comparison| comparison.is_adoptable());
    let fewest = adoptable.min_by_key(|comparison| {
        (comparison.differences.len(), Some(comparison.version) != recorded)
    })?;
    Some(fewest.version)
}

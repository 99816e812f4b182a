//! What a plan needs and does not make itself: rights of the role, and names that are free; and what
//! forbids it: the version of other tables, and rows of servers. It is looked up before anything is
//! changed.

use std::collections::BTreeSet;

use temporal_dsql_domain::SchemaVersion;

use crate::{
    Difference, MigrateError, Migrator,
    objects::{Access, Catalog},
    plan::{Plan, StepAction},
    schema::{Change, Schema},
    version_tables::{HISTORY_TABLE, VERSION_TABLE, VersionRow},
};

/// The tables that servers write first. An overwrite drops the first of them last, and one of the Go tool,
/// which drops tables by name, drops the second after the version.
const FIRST_WRITTEN: [&str; 2] = ["cluster_metadata_info", "shards"];

/// What a step needs for a relation.
enum Need {
    /// To create it; whether it is a table.
    Create(bool),
    /// To alter it, or to create an index on it.
    Own,
    /// To drop it.
    Drop,
    /// These privileges on it.
    Privileges(&'static [&'static str]),
}

impl Migrator<'_> {
    /// Returns `plan` if the role may execute its pending steps and no type has the name of a table
    /// that it creates. If the server does not show that, `plan` notes it.
    ///
    /// # Errors
    /// A right is missing, or a name is taken.
    pub(crate) async fn preflight(&mut self, mut plan: Plan) -> Result<Plan, MigrateError> {
        let needs = needs(&plan);
        if needs.is_empty() {
            return Ok(plan);
        }
        let relations: BTreeSet<_> = needs.iter().map(|(relation, _)| relation.clone()).collect();
        let relations: Vec<_> = relations.into_iter().collect();
        let Some(access) = self.database.access(&relations).await? else {
            plan.notes.push(
                "this server does not show what the role may do; a right that it lacks stops the \
                 command there"
                    .to_owned(),
            );
            return Ok(plan);
        };
        let tables = needs.iter().filter(|(_, need)| matches!(need, Need::Create(true)));
        let taken = tables.filter_map(|(name, _)| {
            let actual = (*access.types.get(name)?).to_owned();
            Some(Difference::NameTaken { name: name.clone(), expected: "table", actual })
        });
        let taken: Vec<_> = taken.collect();
        if !taken.is_empty() {
            return Err(MigrateError::Differs(taken));
        }
        let mut missing: Vec<String> = Vec::new();
        for (relation, need) in &needs {
            if let Some(right) = need.missing(relation, &access, self.database.schema())
                && !missing.contains(&right)
            {
                missing.push(right);
            }
        }
        if missing.is_empty() {
            return Ok(plan);
        }
        Err(MigrateError::LacksRights { role: access.role, missing })
    }

    /// Checks that a setup of `version`, in a database without a recorded one, makes no table beside
    /// tables with rows of servers. A setup that ended early has no such rows, because no server starts
    /// without a version.
    pub(crate) async fn check_no_rows_of_servers(
        &mut self,
        version: SchemaVersion,
        catalog: &Catalog,
    ) -> Result<(), MigrateError> {
        let tables = self.schema.objects_at(version).tables;
        let Some(missing) = tables.keys().find(|name| !catalog.tables.contains_key(*name)) else {
            return Ok(());
        };
        for table in FIRST_WRITTEN {
            if tables.contains_key(table)
                && catalog.tables.contains_key(table)
                && self.database.count_rows(table).await?.is_some()
            {
                let (table, missing) = (table.to_owned(), missing.clone());
                return Err(MigrateError::HasRowsOfServers { table, missing });
            }
        }
        Ok(())
    }
}

impl Need {
    /// The right that the role lacks. It needs none on a relation that does not exist.
    fn missing(&self, relation: &str, access: &Access, schema: &str) -> Option<String> {
        if let Self::Create(_) = self {
            return (!access.may_create).then(|| format!("CREATE on schema {schema}"));
        }
        let found = access.relations.get(relation)?;
        let lacks = match self {
            Self::Own => !found.is_owned,
            Self::Drop => !found.is_owned && !access.owns_schema,
            Self::Create(_) => false,
            Self::Privileges(needed) => {
                let lacks: Vec<_> =
                    needed.iter().copied().filter(|needed| found.lacks.contains(needed)).collect();
                return (!lacks.is_empty()).then(|| format!("{} on {relation}", lacks.join(", ")));
            }
        };
        let owner = &found.owner;
        lacks.then(|| format!("ownership of {relation}, which belongs to `{owner}`"))
    }
}

/// Checks that an overwrite does not drop the versions of `rows` and leave their tables: those of the
/// embedded schema, if it is one of another schema. `catalog` lists all tables.
pub(crate) fn check_not_of_other_tables(
    rows: &[VersionRow],
    catalog: &Catalog,
) -> Result<(), MigrateError> {
    let (Some(row), false) = (rows.first(), catalog.others.is_empty()) else { return Ok(()) };
    let embedded = Schema::embedded()?;
    let tables = embedded.objects_at(embedded.newest()).tables;
    match tables.into_keys().find(|table| catalog.others.get(table) == Some(&"table")) {
        None => Ok(()),
        Some(table) => {
            let (database, version) = (row.database.clone(), row.text().to_owned());
            Err(MigrateError::RecordedForOtherTables { database, version, table })
        }
    }
}

/// What the pending steps of `plan` need, in their order. A table that the plan drops and creates belongs
/// to the role then.
fn needs(plan: &Plan) -> Vec<(String, Need)> {
    let mut needs = Vec::new();
    let mut dropped = BTreeSet::new();
    for step in plan.pending() {
        let of_step = match &step.action {
            StepAction::Run { statement, .. } => match &statement.change {
                Change::CreateTable { name, .. } => vec![(name.as_str(), Need::Create(true))],
                Change::CreateIndex { name, index, .. } => {
                    vec![(name.as_str(), Need::Create(false)), (index.table.as_str(), Need::Own)]
                }
                Change::AddColumn { table, .. } => vec![(table.as_str(), Need::Own)],
                Change::DropTable { name } | Change::DropIndex { name } => {
                    vec![(name.as_str(), Need::Drop)]
                }
                Change::Seed(seed) => vec![(seed.table.as_str(), Need::Privileges(&["INSERT"]))],
                Change::DropDependent(_) => Vec::new(),
            },
            StepAction::DropTable { table, .. } => vec![(table.as_str(), Need::Drop)],
            // Only those that the role can drop are planned to be.
            StepAction::DropDependent { .. } => Vec::new(),
            StepAction::Record(change) => {
                let written = match change.from {
                    None => Need::Privileges(&["SELECT", "INSERT"]),
                    Some(_) => Need::Privileges(&["SELECT", "UPDATE"]),
                };
                vec![(VERSION_TABLE, written), (HISTORY_TABLE, Need::Privileges(&["INSERT"]))]
            }
        };
        for (relation, need) in of_step {
            if matches!(need, Need::Create(_)) || !dropped.contains(relation) {
                needs.push((relation.to_owned(), need));
            }
        }
        if let StepAction::DropTable { table, .. } = &step.action {
            dropped.insert(table.as_str());
        }
    }
    needs
}

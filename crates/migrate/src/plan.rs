//! Plans: the steps of a command, in order, with the boundary of each transaction.
//!
//! Making a plan only reads. A plan can be printed instead of applied (`--dry-run`), and applying it
//! probes the catalog again before each step, so an old plan is safe to apply.

use std::fmt;

use serde::{Serialize, Serializer};
use temporal_dsql_domain::{Engine, SchemaVersion};

use crate::{
    objects::{
        Catalog, Dependent, Difference, Seed, TableDefinition, compare_index, compare_table,
    },
    schema::{Change, Statement},
    version_tables::{Dml, VersionChange},
};

/// The action of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepAction {
    /// Executes a statement of the schema, unless it is in effect.
    Run {
        /// The statement.
        statement: Statement,
        /// For a table: every layout that it has from this statement on. An earlier run may have left
        /// any of them.
        layouts: Vec<TableDefinition>,
        /// For seed rows: the columns of the primary key, which identify them.
        key: Vec<String>,
    },
    /// Drops a table, if it exists.
    DropTable {
        /// The statement.
        statement: Statement,
        /// The table.
        table: String,
        /// Whether a table with rows is dropped. If not, it stops the command.
        with_rows: bool,
        /// How the table differs from every version of the schema. It may belong to something else.
        differences: Vec<Difference>,
        /// For a rollback: its target. A newer recorded version, from a concurrent update, stops the
        /// command.
        to: Option<SchemaVersion>,
    },
    /// Drops an object that depends on a table to be dropped, if it exists.
    DropDependent {
        /// The statement.
        statement: Statement,
        /// The object.
        dependent: Dependent,
    },
    /// Writes the version rows and the history row, unless the version is already recorded.
    Record(VersionChange),
}

/// The state of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// In effect; there is nothing to do.
    InEffect,
    /// Not in effect.
    Pending,
    /// An index that exists and is invalid. It is waited for while a job builds it, and dropped and
    /// rebuilt otherwise.
    Unfinished,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its action.
    pub action: StepAction,
    /// Its state when the plan was made.
    pub state: StepState,
}

/// The steps of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The kind of server.
    pub engine: Engine,
    /// The logical name of the database.
    pub database: String,
    /// The recorded version, if there is one.
    pub from: Option<SchemaVersion>,
    /// The version that will be recorded, if any.
    pub to: Option<SchemaVersion>,
    /// Notes for the operator.
    pub notes: Vec<String>,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The steps that are not in effect.
    pub fn pending(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.state != StepState::InEffect)
    }

    /// Whether there is nothing to do.
    pub fn is_done(&self) -> bool {
        self.pending().next().is_none()
    }
}

impl Step {
    /// A short description of the step.
    pub fn summary(&self) -> String {
        match &self.action {
            StepAction::Run { statement, .. } if self.state == StepState::Unfinished => {
                format!("wait for the build or rebuild: {}", statement.summary())
            }
            StepAction::Run { statement, .. }
            | StepAction::DropTable { statement, .. }
            | StepAction::DropDependent { statement, .. } => statement.summary(),
            StepAction::Record(change) => {
                let names: Vec<_> = change.rows().map(|(name, _)| format!("`{name}`")).collect();
                format!("record version {} for {}", change.to, names.join(", "))
            }
        }
    }

    /// The transactions of the step on `engine`, each with its statements. A transaction of one
    /// statement has no BEGIN and COMMIT.
    pub fn transactions(&self, engine: Engine) -> Vec<Vec<String>> {
        match &self.action {
            StepAction::Run { statement, .. } => {
                let mut transactions = vec![vec![statement.text(engine)]];
                if let (StepState::Unfinished, Change::CreateIndex { name, .. }) =
                    (self.state, &statement.change)
                {
                    transactions.insert(0, vec![Statement::drop_index(name).text(engine)]);
                }
                transactions
            }
            StepAction::DropTable { statement, .. }
            | StepAction::DropDependent { statement, .. } => vec![vec![statement.text(engine)]],
            StepAction::Record(change) => {
                let mut statements = vec!["BEGIN".to_owned()];
                statements.extend(change.statements().iter().map(Dml::rendered));
                statements.push("COMMIT".to_owned());
                vec![statements]
            }
        }
    }

    /// The relations whose catalog entries show whether the step is in effect.
    pub(crate) fn relations(&self) -> impl Iterator<Item = &str> {
        let statement = match &self.action {
            StepAction::Run { statement, .. } | StepAction::DropTable { statement, .. } => {
                Some(statement)
            }
            StepAction::DropDependent { .. } | StepAction::Record(_) => None,
        };
        statement.into_iter().flat_map(|statement| statement.change.relations())
    }

    /// Whether the step may start only after the catalog was read for `creation`, which creates a table
    /// or an index; for an index, after its build has ended. A version is recorded and an object is
    /// dropped only after all creations, and a row or a column of a table is added only after the builds
    /// of its indexes.
    pub(crate) fn waits_for(&self, creation: &Change) -> bool {
        match &self.action {
            StepAction::Run { statement, .. } => match &statement.change {
                Change::CreateTable { .. } | Change::CreateIndex { .. } => false,
                Change::AddColumn { table, .. } | Change::Seed(Seed { table, .. }) => {
                    matches!(creation, Change::CreateIndex { index, .. } if index.table == *table)
                }
                Change::DropTable { .. } | Change::DropIndex { .. } | Change::DropDependent(_) => {
                    true
                }
            },
            StepAction::DropTable { .. }
            | StepAction::DropDependent { .. }
            | StepAction::Record(_) => true,
        }
    }

    /// The creation of an index, if the step is one.
    fn index_creation(&self) -> Option<&Change> {
        match &self.action {
            StepAction::Run { statement, .. }
                if matches!(statement.change, Change::CreateIndex { .. }) =>
            {
                Some(&statement.change)
            }
            _ => None,
        }
    }
}

/// The pending steps as SQL: a comment for each step, then its transactions.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "-- note: {note}")?;
        }
        let mut builds: Vec<&Change> = Vec::new();
        for (position, step) in self.pending().enumerate() {
            if builds.iter().any(|creation| step.waits_for(creation)) {
                writeln!(f, "-- (after the builds of all indexes above have ended)")?;
                builds.clear();
            }
            writeln!(f, "-- {}. {}", position + 1, step.summary())?;
            if step.state == StepState::Unfinished {
                writeln!(f, "-- (only if no job is building it)")?;
            }
            for transaction in step.transactions(self.engine) {
                let boundary = match transaction.len() {
                    1 => "one statement, committed by itself",
                    _ => "one transaction",
                };
                writeln!(f, "-- {boundary}")?;
                for statement in transaction {
                    writeln!(f, "{statement};")?;
                }
            }
            if self.engine == Engine::Dsql
                && let Some(creation) = step.index_creation()
            {
                builds.push(creation);
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// All steps with their transactions.
impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct ShownStep {
            step: String,
            state: StepState,
            transactions: Vec<Vec<String>>,
        }
        #[derive(Serialize)]
        struct Shown<'p> {
            engine: String,
            database: &'p str,
            from: Option<String>,
            to: Option<String>,
            notes: &'p [String],
            steps: Vec<ShownStep>,
        }
        let step = |step: &Step| ShownStep {
            step: step.summary(),
            state: step.state,
            transactions: step.transactions(self.engine),
        };
        // The text of a recorded version that is malformed.
        let recorded = || {
            self.steps.iter().find_map(|step| match &step.action {
                StepAction::Record(change) => change.from.clone(),
                _ => None,
            })
        };
        let shown = Shown {
            engine: self.engine.to_string(),
            database: &self.database,
            from: self.from.map(|version| version.to_string()).or_else(recorded),
            to: self.to.map(|version| version.to_string()),
            notes: &self.notes,
            steps: self.steps.iter().map(step).collect(),
        };
        shown.serialize(serializer)
    }
}

/// Serializes a value as its `Display` text.
pub(crate) fn as_text<T: fmt::Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Serializes a value as its `Display` text, or null.
pub(crate) fn optional_as_text<T: fmt::Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// The state of a step according to a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// In effect, and equal to the definition.
    InEffect,
    /// Not in effect.
    Pending,
    /// An index that equals its definition and is invalid, with its object id.
    Unfinished(u32),
    /// An object exists that differs from the definition.
    Differs(Vec<Difference>),
}

impl Probe {
    pub(crate) const fn state(&self) -> StepState {
        match self {
            Self::InEffect => StepState::InEffect,
            Self::Pending | Self::Differs(_) => StepState::Pending,
            Self::Unfinished(_) => StepState::Unfinished,
        }
    }
}

/// Checks in `catalog` whether `change` is in effect; `layouts` as in [`StepAction::Run`]. A catalog
/// shows neither rows nor dependent objects, so the result for them is [`Probe::Pending`].
pub(crate) fn probe(change: &Change, layouts: &[TableDefinition], catalog: &Catalog) -> Probe {
    match change {
        Change::CreateTable { name, .. } => probe_table(name, layouts, catalog),
        Change::AddColumn { table, column } => {
            let found = catalog.tables.get(table).and_then(|table| table.column(&column.name));
            match found {
                None => Probe::Pending,
                Some(_) => probe_table(table, layouts, catalog),
            }
        }
        Change::CreateIndex { name, index, .. } => match catalog.kind_of(name) {
            None => Probe::Pending,
            Some(_) => match compare_index(name, index, catalog) {
                differences if !differences.is_empty() => Probe::Differs(differences),
                _ => match &catalog.indexes[name] {
                    found if found.valid => Probe::InEffect,
                    found => Probe::Unfinished(found.oid),
                },
            },
        },
        Change::DropTable { name } if catalog.tables.contains_key(name) => Probe::Pending,
        Change::DropIndex { name } if catalog.indexes.contains_key(name) => Probe::Pending,
        Change::DropTable { .. } | Change::DropIndex { .. } => Probe::InEffect,
        Change::Seed(_) | Change::DropDependent(_) => Probe::Pending,
    }
}

/// In effect if the table has any of `layouts`. Otherwise the differences from the last one, its
/// final layout.
pub(crate) fn probe_table(name: &str, layouts: &[TableDefinition], catalog: &Catalog) -> Probe {
    if catalog.kind_of(name).is_none() {
        return Probe::Pending;
    }
    let mut differences = Vec::new();
    for layout in layouts {
        differences = compare_table(name, layout, catalog);
        if differences.is_empty() {
            return Probe::InEffect;
        }
    }
    Probe::Differs(differences)
}

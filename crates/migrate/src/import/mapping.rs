//! What differs between Temporal's tables on PostgreSQL and on DSQL, as data.
//!
//! [`COLUMNS`] has a line for each column that differs; every other column is copied byte for byte.
//! [`check`] compares the mapping with both catalogs, so that a column that it does not have stops an
//! import before anything is written.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use super::{fence::STEP, values::ValueType};
use crate::objects::{Catalog, ColumnDefinition, Objects, Seed};

/// The schema versions of upstream's PostgreSQL plugin that can be imported.
pub(crate) const SOURCE_VERSIONS: [&str; 2] = ["1.18", "1.19"];

/// Tables that are not copied, and why.
pub(crate) const NOT_COPIED: [(&str, &str); 4] = [
    ("cluster_membership", "each server writes its own row when it starts"),
    ("cluster_metadata", "servers read cluster_metadata_info in its place"),
    ("schema_update_history", "the target has a history of its own"),
    ("schema_version", "the target has a version of its own"),
];

/// Tables that version 1.18 does not have.
const SINCE_1_19: [&str; 1] = ["current_chasm_executions"];

/// How the value of a column changes on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conversion {
    /// Not at all.
    Same,
    /// 16 bytes become a UUID.
    Uuid,
    /// A byte string of any length becomes a UUID: the first 16 bytes of its SHA-256, with version 4
    /// and the variant of RFC 4122. The Go fork and the stores of this workspace do the same
    /// (temporal-persistence.md#matching).
    TaskQueueId,
    /// Bytes become text.
    Utf8,
    /// The step of a [fence](super::fence) is taken back, because a server presents the range id of
    /// the shard's blob, which has no step (temporal-persistence.md#shards).
    RangeId,
}

use Conversion::{RangeId, TaskQueueId, Utf8, Uuid};

/// A line for each column that differs: the table, the column, and how it is converted.
const COLUMNS: &[(&str, &str, Conversion)] = &[
    ("activity_info_maps", "namespace_id", Uuid),
    ("activity_info_maps", "run_id", Uuid),
    ("buffered_events", "namespace_id", Uuid),
    ("buffered_events", "run_id", Uuid),
    ("build_id_to_task_queue", "namespace_id", Uuid),
    ("chasm_node_maps", "chasm_path", Utf8),
    ("chasm_node_maps", "namespace_id", Uuid),
    ("chasm_node_maps", "run_id", Uuid),
    ("child_execution_info_maps", "namespace_id", Uuid),
    ("child_execution_info_maps", "run_id", Uuid),
    ("current_chasm_executions", "namespace_id", Uuid),
    ("current_chasm_executions", "run_id", Uuid),
    ("current_executions", "namespace_id", Uuid),
    ("current_executions", "run_id", Uuid),
    ("executions", "namespace_id", Uuid),
    ("executions", "run_id", Uuid),
    ("history_node", "branch_id", Uuid),
    ("history_node", "tree_id", Uuid),
    ("history_tree", "branch_id", Uuid),
    ("history_tree", "tree_id", Uuid),
    ("namespaces", "id", Uuid),
    ("nexus_endpoints", "id", Uuid),
    ("request_cancel_info_maps", "namespace_id", Uuid),
    ("request_cancel_info_maps", "run_id", Uuid),
    ("shards", "range_id", RangeId),
    ("signal_info_maps", "namespace_id", Uuid),
    ("signal_info_maps", "run_id", Uuid),
    ("signals_requested_sets", "namespace_id", Uuid),
    ("signals_requested_sets", "run_id", Uuid),
    ("task_queue_user_data", "namespace_id", Uuid),
    ("task_queues", "task_queue_id", TaskQueueId),
    ("task_queues_v2", "task_queue_id", TaskQueueId),
    ("tasks", "task_queue_id", TaskQueueId),
    ("tasks_v2", "task_queue_id", TaskQueueId),
    ("timer_info_maps", "namespace_id", Uuid),
    ("timer_info_maps", "run_id", Uuid),
];

impl Conversion {
    /// The types that it converts from and to; `None` if it keeps the type.
    const fn types(self) -> Option<(ValueType, ValueType)> {
        match self {
            Self::Same => None,
            Self::Uuid | Self::TaskQueueId => Some((ValueType::Bytea, ValueType::Uuid)),
            Self::Utf8 => Some((ValueType::Bytea, ValueType::Text)),
            Self::RangeId => Some((ValueType::Int8, ValueType::Int8)),
        }
    }

    /// The value of the target for a value of the source, both in the binary format.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn apply(self, value: &[u8]) -> Result<Cow<'_, [u8]>, String> {
        match self {
            Self::Same => Ok(value.into()),
            Self::Uuid if value.len() == 16 => Ok(value.into()),
            Self::Uuid => Err(format!("has {} bytes in place of the 16 of a UUID", value.len())),
            Self::TaskQueueId => {
                let mut id = Sha256::digest(value)[..16].to_vec();
                id[6] = id[6] & 0x0f | 0x40;
                id[8] = id[8] & 0x3f | 0x80;
                Ok(id.into())
            }
            Self::Utf8 => match std::str::from_utf8(value) {
                Ok(text) if text.contains('\0') => Err("has a NUL, which no text can have".into()),
                Ok(_) => Ok(value.into()),
                Err(error) => {
                    Err(format!("is not UTF-8: byte {} is wrong", error.valid_up_to() + 1))
                }
            },
            Self::RangeId => {
                let bytes = value.try_into().map_err(|_| "is no bigint".to_owned())?;
                let range_id = i64::from_be_bytes(bytes);
                let plain = if range_id >= STEP { range_id - STEP } else { range_id };
                Ok(plain.to_be_bytes().to_vec().into())
            }
        }
    }
}

/// A table with both sides of each column, in the order of the target's columns.
#[derive(Clone, Debug)]
pub(crate) struct TableMapping {
    pub(crate) name: String,
    pub(crate) columns: Vec<ColumnMapping>,
    /// The positions of the columns of the primary key, in its order.
    pub(crate) key: Vec<usize>,
    /// The rows that a setup of the target writes.
    pub(crate) seeds: Vec<Seed>,
}

/// A column of a [`TableMapping`].
#[derive(Clone, Debug)]
pub(crate) struct ColumnMapping {
    pub(crate) name: String,
    pub(crate) source: ValueType,
    pub(crate) target: ValueType,
    pub(crate) conversion: Conversion,
    /// The most characters that the target holds.
    pub(crate) max_chars: Option<usize>,
}

impl TableMapping {
    /// Whether the key of a row of the target is the key of its source, as bytes.
    pub(crate) fn keeps_keys(&self) -> bool {
        self.key_columns().all(|column| {
            matches!(column.conversion, Conversion::Same | Conversion::Uuid | Conversion::Utf8)
        })
    }

    /// The columns of the primary key, in its order.
    pub(crate) fn key_columns(&self) -> impl Iterator<Item = &ColumnMapping> {
        self.key.iter().map(|position| &self.columns[*position])
    }

    /// The key of a row of the target, as an error names it. `values` are those of the key.
    pub(crate) fn shown_key<'v>(&self, values: impl Iterator<Item = Option<&'v [u8]>>) -> String {
        self.shown(values, |column| column.target)
    }

    /// The key of a row of the source.
    pub(crate) fn shown_source_key<'v>(
        &self,
        values: impl Iterator<Item = Option<&'v [u8]>>,
    ) -> String {
        self.shown(values, |column| column.source)
    }

    fn shown<'v>(
        &self,
        values: impl Iterator<Item = Option<&'v [u8]>>,
        side: impl Fn(&ColumnMapping) -> ValueType,
    ) -> String {
        let parts = self.key_columns().zip(values).map(|(column, value)| {
            let shown = value.map_or_else(|| "NULL".to_owned(), |value| side(column).shown(value));
            format!("{} {shown}", column.name)
        });
        parts.collect::<Vec<_>>().join(", ")
    }
}

/// The mapping of every table of the target `objects` from the tables of `source` at `version`, or all
/// that the mapping lacks.
pub(crate) fn check(
    source: &Catalog,
    version: &str,
    objects: &Objects,
) -> Result<Vec<TableMapping>, Vec<String>> {
    let mut problems = Vec::new();
    let mut tables = Vec::new();
    for (table, column, _) in COLUMNS {
        if objects.tables.get(*table).and_then(|table| table.column(column)).is_none() {
            problems.push(format!("the mapping has {table}.{column}, which the target has not"));
        }
    }
    for (name, target) in &objects.tables {
        if is_not_copied(name) {
            continue;
        }
        let Some(found) = source.tables.get(name) else {
            if !(version == SOURCE_VERSIONS[0] && SINCE_1_19.contains(&name.as_str())) {
                problems.push(format!("the source has no table {name}"));
            }
            continue;
        };
        for column in &found.columns {
            if target.column(&column.name).is_none() {
                problems.push(format!(
                    "the source has {name}.{}, for which the mapping has no line and the target no \
                     column",
                    column.name
                ));
            }
        }
        if found.primary_key != target.primary_key {
            problems.push(format!(
                "the primary key of {name} is ({}) at the source and ({}) at the target",
                found.primary_key.join(", "),
                target.primary_key.join(", ")
            ));
        }
        let mut columns = Vec::new();
        for column in &target.columns {
            let Some(from) = found.column(&column.name) else {
                problems.push(format!("the source has no {name}.{}", column.name));
                continue;
            };
            match map_column(name, from, column) {
                Ok(mapped) => columns.push(mapped),
                Err(problem) => problems.push(problem),
            }
        }
        let position = |key: &String| columns.iter().position(|column| column.name == *key);
        tables.push(TableMapping {
            name: name.clone(),
            key: target.primary_key.iter().filter_map(position).collect(),
            columns,
            seeds: objects.seeds.iter().filter(|seed| seed.table == *name).cloned().collect(),
        });
    }
    if problems.is_empty() { Ok(tables) } else { Err(problems) }
}

/// Whether a table of either side is not copied.
pub(crate) fn is_not_copied(table: &str) -> bool {
    NOT_COPIED.iter().any(|(name, _)| *name == table)
}

fn map_column(
    table: &str,
    from: &ColumnDefinition,
    to: &ColumnDefinition,
) -> Result<ColumnMapping, String> {
    let name = &to.name;
    let line = COLUMNS.iter().find(|(of, column, _)| *of == table && column == name);
    let conversion = line.map_or(Conversion::Same, |(_, _, conversion)| *conversion);
    let types = ValueType::of(from).zip(ValueType::of(to));
    let expected = match conversion.types() {
        Some(expected) => types == Some(expected),
        None => types.is_some_and(|(source, target)| source == target),
    };
    let Some((source, target)) = types.filter(|_| expected) else {
        let (found, wanted) = (&from.data_type, &to.data_type);
        return Err(format!(
            "{table}.{name} is {found} at the source and {wanted} at the target, and the mapping has \
             no line for that"
        ));
    };
    if from.nullable && !to.nullable {
        return Err(format!("{table}.{name} can be NULL at the source and not at the target"));
    }
    let limit = |column: &ColumnDefinition| {
        column.data_type.strip_prefix("varchar(")?.strip_suffix(')')?.parse().ok()
    };
    Ok(ColumnMapping { name: name.clone(), source, target, conversion, max_chars: limit(to) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Schema, TableDefinition};

    fn objects() -> Objects {
        let schema = Schema::embedded().unwrap();
        schema.objects_at(schema.newest())
    }

    /// A source that has the tables of the target with upstream's types.
    fn source() -> Catalog {
        let mut catalog = Catalog { tables: objects().tables, ..Catalog::default() };
        for (table, column, conversion) in COLUMNS {
            let columns = &mut catalog.tables.get_mut(*table).unwrap().columns;
            let column = columns.iter_mut().find(|found| found.name == *column).unwrap();
            column.data_type = conversion.types().unwrap().0.name().to_owned();
        }
        catalog
    }

    fn column<'c>(catalog: &'c mut Catalog, table: &str, name: &str) -> &'c mut ColumnDefinition {
        let columns = &mut catalog.tables.get_mut(table).unwrap().columns;
        columns.iter_mut().find(|column| column.name == name).unwrap()
    }

    #[test]
    fn every_table_but_four_is_mapped_and_version_1_18_has_one_less() {
        let objects = objects();
        let mapped = check(&source(), "1.19", &objects).unwrap();
        let copied = objects.tables.keys().filter(|name| !is_not_copied(name)).count();
        assert_eq!(mapped.len(), copied);
        assert_eq!(copied, 36);
        let mut old = source();
        old.tables.remove("current_chasm_executions");
        assert_eq!(check(&old, "1.18", &objects).unwrap().len(), copied - 1);
        let problems = check(&old, "1.19", &objects).unwrap_err();
        assert_eq!(problems, ["the source has no table current_chasm_executions"]);
    }

    #[test]
    fn every_difference_without_a_line_stops_an_import() {
        type Change = fn(&mut Catalog);
        let changes: [(Change, &str); 7] = [
            (|c| drop(c.tables.remove("queues")), "the source has no table queues"),
            (
                |c| column(c, "shards", "data").data_type = "jsonb".into(),
                "shards.data is jsonb at the source and bytea at the target",
            ),
            (
                |c| column(c, "executions", "run_id").data_type = "uuid".into(),
                "executions.run_id is uuid at the source and uuid at the target",
            ),
            (
                |c| column(c, "shards", "range_id").nullable = true,
                "shards.range_id can be NULL at the source",
            ),
            (
                |c| column(c, "tasks", "data").name = "payload".into(),
                "the source has tasks.payload, for which the mapping has no line",
            ),
            (
                |c| column(c, "tasks", "data").name = "payload".into(),
                "the source has no tasks.data",
            ),
            (
                |c| c.tables.get_mut("tasks").unwrap().primary_key.truncate(2),
                "the primary key of tasks is (range_hash, task_queue_id) at the source",
            ),
        ];
        for (change, expected) in changes {
            let mut source = source();
            change(&mut source);
            let problems = check(&source, "1.19", &objects()).unwrap_err();
            assert!(problems.iter().any(|found| found.contains(expected)), "{problems:?}");
        }
        let mut objects = objects();
        objects.tables.insert("tasks".into(), TableDefinition::default());
        let problems = check(&source(), "1.19", &objects).unwrap_err();
        assert!(problems[0].contains("the mapping has tasks.task_queue_id"), "{problems:?}");
    }

    #[test]
    fn a_task_queue_id_becomes_a_uuid_of_version_4_by_its_hash() {
        // SHA-256 of "abc" is ba7816bf 8f01cfea 414140de 5dae2223 …
        let id = TaskQueueId.apply(b"abc").unwrap();
        assert_eq!(ValueType::Uuid.shown(&id), "ba7816bf-8f01-4fea-8141-40de5dae2223");
    }

    #[test]
    fn what_cannot_be_converted_says_why() {
        for (conversion, value, reason) in [
            (Uuid, &[1; 15][..], "has 15 bytes in place of the 16 of a UUID"),
            (Utf8, b"a\xffb", "is not UTF-8: byte 2 is wrong"),
            (Utf8, b"a\0", "has a NUL"),
        ] {
            let error = conversion.apply(value).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        assert_eq!(&*Utf8.apply("a/é".as_bytes()).unwrap(), "a/é".as_bytes());
    }

    #[test]
    fn the_step_of_a_fence_is_taken_back() {
        for range_id in [0, 1, 7_i64, STEP - 1] {
            let plain = range_id.to_be_bytes();
            assert_eq!(*RangeId.apply(&plain).unwrap(), plain);
            let fenced = (range_id.min(STEP - 1) + STEP).to_be_bytes();
            assert_eq!(*RangeId.apply(&fenced).unwrap(), plain);
        }
    }
}

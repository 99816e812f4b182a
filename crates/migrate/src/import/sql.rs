//! The statements of a table, made once from its mapping. Names are quoted, values are parameters; the
//! literals of initial rows come from schema files.

use super::{
    mapping::{ColumnMapping, Conversion, TableMapping},
    values::ValueType,
};
use crate::{
    postgres::{Range, ranges},
    schema::quoted,
};
use temporal_dsql_ports::limits::{MAX_KEY_BYTES, MAX_ROW_BYTES, MAX_VALUE_BYTES};

/// The bytes that a key takes for each column after the first (aurora-dsql.md#sizes).
pub(crate) const KEY_COLUMN_BYTES: usize = 8;

/// One of the two databases of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Target,
}

impl Side {
    /// Its name in messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
        }
    }

    /// The type of `column` on this side.
    pub(crate) const fn type_of(self, column: &ColumnMapping) -> ValueType {
        match self {
            Self::Source => column.source,
            Self::Target => column.target,
        }
    }
}

impl TableMapping {
    fn list(&self, form: impl Fn(&ColumnMapping) -> String) -> String {
        self.columns.iter().map(form).collect::<Vec<_>>().join(", ")
    }

    fn key_list(&self, form: impl Fn(&ColumnMapping) -> String) -> String {
        self.key_columns().map(form).collect::<Vec<_>>().join(", ")
    }

    /// The ranges that are together the rows after a key, or all rows, in the order of the key.
    pub(crate) fn pages(&self, side: Side, has_key: bool) -> Vec<Range> {
        let columns = self.list(|column| format!("t.{}", quoted(&column.name)));
        let select = format!("SELECT {columns} FROM {} AS t", quoted(&self.name));
        let key: Vec<_> = self
            .key_columns()
            .map(|column| (column.name.as_str(), side.type_of(column).name()))
            .collect();
        ranges(&select, &key, has_key)
    }

    /// Inserts the rows whose columns are the arrays `$1`, `$2`, …, except for keys that exist.
    pub(crate) fn insert(&self) -> String {
        let mut parameter = 0;
        let arrays: Vec<_> = self
            .columns
            .iter()
            .map(|column| {
                parameter += 1;
                format!("${parameter}::{}[]", column.target.name())
            })
            .collect();
        format!(
            "INSERT INTO {} ({}) SELECT * FROM UNNEST({}) ON CONFLICT ({}) DO NOTHING",
            quoted(&self.name),
            self.list(|column| quoted(&column.name)),
            arrays.join(", "),
            self.key_list(|column| quoted(&column.name))
        )
    }

    /// The rows of a side with the keys whose columns are the arrays `$1`, `$2`, …
    pub(crate) fn by_keys(&self, side: Side) -> String {
        let arrays: Vec<_> = self
            .key_columns()
            .enumerate()
            .map(|(position, column)| {
                format!("${}::{}[]", position + 1, side.type_of(column).name())
            })
            .collect();
        let equal: Vec<_> = self
            .key_columns()
            .map(|column| format!("t.{0} = k.{0}", quoted(&column.name)))
            .collect();
        format!(
            "SELECT {} FROM UNNEST({}) AS k ({}) JOIN {} AS t ON {}",
            self.list(|column| format!("t.{}", quoted(&column.name))),
            arrays.join(", "),
            self.key_list(|column| quoted(&column.name)),
            quoted(&self.name),
            equal.join(" AND ")
        )
    }

    /// Writes the row whose values are `$1`, `$2`, … in place of an initial row of the setup with its
    /// key, one statement for each such row.
    pub(crate) fn replace_seeds(&self) -> Vec<String> {
        let is_key = |position: &usize| self.key.contains(position);
        let statements = self.seeds.iter().flat_map(|seed| {
            seed.rows.iter().map(|row| {
                let literal = |name: &String| {
                    let at = seed.columns.iter().position(|column| column == name);
                    at.map_or("NULL", |at| row[at].as_str())
                };
                let (mut changes, mut conditions) = (Vec::new(), Vec::new());
                for (position, column) in self.columns.iter().enumerate() {
                    let name = quoted(&column.name);
                    let parameter = format!("${}::{}", position + 1, column.target.name());
                    if is_key(&position) {
                        conditions.push(format!("{name} = {parameter}"));
                        conditions.push(format!("{name} = {}", literal(&column.name)));
                    } else {
                        changes.push(format!("{name} = {parameter}"));
                        let first = literal(&column.name);
                        conditions.push(format!("{name} IS NOT DISTINCT FROM {first}"));
                    }
                }
                format!(
                    "UPDATE {} SET {} WHERE {}",
                    quoted(&self.name),
                    changes.join(", "),
                    conditions.join(" AND ")
                )
            })
        });
        statements.collect()
    }

    /// The number of rows of the source, the bytes of their values at the target, and the number of
    /// rows of which [`may_not_fit`](Self::may_not_fit) is true. No index has the address of a row
    /// (`ctid`), so rows that a damaged index does not find are counted, too.
    pub(crate) fn measure(&self) -> String {
        format!(
            "SELECT count(t.ctid), coalesce(sum({}), 0)::bigint, count(*) FILTER (WHERE {}) FROM {} AS t",
            self.row_bytes(),
            self.may_not_fit(),
            quoted(&self.name)
        )
    }

    /// The rows of the source that may not fit: their keys, and then for each column the length in
    /// bytes, and [`characters`].
    pub(crate) fn rows_that_may_not_fit(&self) -> String {
        let lengths = self.list(|column| format!("{}, {}", bytes(column), characters(column)));
        format!(
            "SELECT {}, {lengths} FROM {} AS t WHERE {}",
            self.key_list(|column| format!("t.{}", quoted(&column.name))),
            quoted(&self.name),
            self.may_not_fit()
        )
    }

    fn row_bytes(&self) -> String {
        self.columns.iter().map(bytes).collect::<Vec<_>>().join(" + ")
    }

    /// Whether a row of the source may exceed a limit of the target, or may not be convertible: never
    /// false if it is, so that the rows that are looked at one by one are few.
    fn may_not_fit(&self) -> String {
        let key: Vec<_> = self.key_columns().map(bytes).collect();
        let overhead = KEY_COLUMN_BYTES * (self.key.len() - 1);
        let mut conditions = vec![
            format!("{} > {MAX_ROW_BYTES}", self.row_bytes()),
            format!("{} + {overhead} > {MAX_KEY_BYTES}", key.join(" + ")),
        ];
        for column in &self.columns {
            let name = format!("t.{}", quoted(&column.name));
            if column.target.width().is_none() {
                conditions.push(format!("octet_length({name}) > {MAX_VALUE_BYTES}"));
            }
            if let Some(most) = column.max_chars {
                conditions.push(format!("{} > {most}", characters(column)));
            }
            match column.conversion {
                Conversion::Uuid => conditions.push(format!("{} <> 16", characters(column))),
                // The escape format has a backslash for NUL and for every byte that is not ASCII.
                Conversion::Utf8 => {
                    conditions.push(format!("position('\\' in encode({name}, 'escape')) > 0"));
                }
                Conversion::Same | Conversion::TaskQueueId | Conversion::RangeId => {}
            }
        }
        conditions.join(" OR ")
    }
}

/// The bytes of a value at the target, as an expression on the source.
fn bytes(column: &ColumnMapping) -> String {
    match column.target.width() {
        Some(width) => width.to_string(),
        None => format!("coalesce(octet_length(t.{}), 0)", quoted(&column.name)),
    }
}

/// The characters of a text at the target; of bytes that become text or a UUID, their number, which is
/// not less.
fn characters(column: &ColumnMapping) -> String {
    let name = quoted(&column.name);
    match (column.source, column.conversion) {
        (ValueType::Text, _) => format!("coalesce(char_length(t.{name}), 0)"),
        (_, Conversion::Utf8) => format!("coalesce(octet_length(t.{name}), 0)"),
        (_, Conversion::Uuid) => format!("coalesce(octet_length(t.{name}), 16)"),
        _ => "0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Seed;

    fn column(name: &str, source: ValueType, target: ValueType) -> ColumnMapping {
        let conversion = if source == target { Conversion::Same } else { Conversion::Uuid };
        ColumnMapping { name: name.into(), source, target, conversion, max_chars: None }
    }

    fn table() -> TableMapping {
        TableMapping {
            name: "t".into(),
            columns: vec![
                column("a", ValueType::Int4, ValueType::Int4),
                column("b", ValueType::Bytea, ValueType::Uuid),
                column("c", ValueType::Int8, ValueType::Int8),
            ],
            key: vec![1, 0],
            seeds: vec![Seed {
                table: "t".into(),
                columns: vec!["a".into(), "b".into(), "c".into()],
                rows: vec![vec!["1".into(), "'x'".into(), "7".into()]],
            }],
        }
    }

    #[test]
    fn rows_are_inserted_from_arrays_and_existing_keys_are_left() {
        assert_eq!(
            table().insert(),
            r#"INSERT INTO "t" ("a", "b", "c") SELECT * FROM UNNEST($1::integer[], $2::uuid[], $3::bigint[]) ON CONFLICT ("b", "a") DO NOTHING"#
        );
        assert_eq!(
            table().by_keys(Side::Target),
            r#"SELECT t."a", t."b", t."c" FROM UNNEST($1::uuid[], $2::integer[]) AS k ("b", "a") JOIN "t" AS t ON t."b" = k."b" AND t."a" = k."a""#
        );
        assert!(table().by_keys(Side::Source).contains("UNNEST($1::bytea[], $2::integer[])"));
    }

    #[test]
    fn a_first_row_is_replaced_only_while_it_is_as_the_setup_wrote_it() {
        assert_eq!(
            table().replace_seeds(),
            [
                r#"UPDATE "t" SET "c" = $3::bigint WHERE "a" = $1::integer AND "a" = 1 AND "b" = $2::uuid AND "b" = 'x' AND "c" IS NOT DISTINCT FROM 7"#
            ]
        );
    }

    #[test]
    fn pages_compare_with_the_types_of_their_side() {
        let texts = |side| {
            let pages = table().pages(side, true);
            pages.into_iter().map(|range| range.text).collect::<Vec<_>>()
        };
        assert!(texts(Side::Source)[0].contains(r#"t."b" = $1::bytea AND t."a" > $2::integer"#));
        assert!(texts(Side::Target)[1].contains(r#"t."b" > $1::uuid"#));
    }
}

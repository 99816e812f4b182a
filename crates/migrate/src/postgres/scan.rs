//! The text of queries that depend on the schema: every name in them is quoted, every literal
//! comes from a schema file.

use crate::{Scan, objects::Seed, schema::quoted};

/// One range of a table in the order of its key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seek {
    /// The query, without its LIMIT.
    pub text: String,
    /// The values of `$1`, `$2`, …
    pub parameters: Vec<String>,
}

/// A range of a table in the order of its key: a query without its LIMIT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) text: String,
    /// How many columns of the key are its parameters `$1`, `$2`, …
    pub(crate) parameters: usize,
}

/// The ranges that together are the rows of `select`, whose table is called `t`, after a key with these
/// columns and types, or all rows without one, in the order of the key: of those with the same key but
/// for the last column, the later ones; then of those with the same key but for the last two columns;
/// and so on.
///
/// A comparison of whole keys, `(a, b) > ($1, $2)`, would say the same, but DSQL makes a filter of
/// it and reads the table from the start for every page (aurora-dsql.md#indexes).
pub(crate) fn ranges(select: &str, key: &[(&str, &str)], has_key: bool) -> Vec<Range> {
    // Without the alias, ORDER BY would mean the columns of the answer, which may be of other types.
    let column = |name: &str| format!("t.{}", quoted(name));
    let order = list(key.iter().map(|(name, _)| column(name)));
    if !has_key {
        return vec![Range { text: format!("{select} ORDER BY {order}"), parameters: 0 }];
    }
    let condition = |position: usize, operator: &str| {
        let (name, data_type) = key[position];
        format!("{} {operator} ${}::{data_type}", column(name), position + 1)
    };
    (1..=key.len())
        .rev()
        .map(|length| {
            let last = length - 1;
            let mut conditions: Vec<_> =
                (0..last).map(|position| condition(position, "=")).collect();
            conditions.push(condition(last, ">"));
            let text = format!("{select} WHERE {} ORDER BY {order}", conditions.join(" AND "));
            Range { text, parameters: length }
        })
        .collect()
}

/// The [`ranges`] of a scan after the key `after`, with their parameters.
pub(super) fn seeks(scan: &Scan, after: Option<&[String]>) -> Vec<Seek> {
    let columns = scan.columns.iter().map(|name| format!("t.{}::text", quoted(name)));
    let select = format!("SELECT {} FROM {} AS t", list(columns), quoted(&scan.table));
    let key: Vec<_> =
        scan.key.iter().map(|column| (column.name.as_str(), column.data_type.as_str())).collect();
    let seek = |range: Range| Seek {
        parameters: after.unwrap_or_default()[..range.parameters].to_vec(),
        text: range.text,
    };
    ranges(&select, &key, after.is_some()).into_iter().map(seek).collect()
}

/// The query whether every row of `seed` exists, by its primary key.
pub(super) fn has_seed(seed: &Seed, key: &[String]) -> String {
    let exists = seed.rows.iter().map(|row| {
        let conditions: Vec<_> = seed
            .columns
            .iter()
            .zip(row)
            .filter(|(column, _)| key.contains(column))
            .map(|(column, literal)| format!("{} = {literal}", quoted(column)))
            .collect();
        format!("EXISTS (SELECT 1 FROM {} WHERE {})", quoted(&seed.table), conditions.join(" AND "))
    });
    format!("SELECT {}", exists.collect::<Vec<_>>().join(" AND "))
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::ColumnDefinition;

    fn column(name: &str, data_type: &str) -> ColumnDefinition {
        ColumnDefinition {
            name: name.to_owned(),
            data_type: data_type.to_owned(),
            nullable: false,
            default: None,
        }
    }

    #[test]
    fn the_rows_after_a_key_are_read_as_ranges_of_its_index() {
        let scan = Scan {
            table: "t".to_owned(),
            columns: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
            key: vec![column("a", "integer"), column("b", "uuid")],
        };
        let select = r#"SELECT t."a"::text, t."b"::text, t."c"::text FROM "t" AS t"#;
        let order = r#"ORDER BY t."a", t."b""#;
        let seek = |text, parameters: &[&str]| Seek {
            text,
            parameters: parameters.iter().map(|value| (*value).to_owned()).collect(),
        };
        assert_eq!(seeks(&scan, None), [seek(format!("{select} {order}"), &[])]);
        let after = ["1".to_owned(), "x".to_owned()];
        let same_a = r#"WHERE t."a" = $1::integer AND t."b" > $2::uuid"#;
        let later_a = r#"WHERE t."a" > $1::integer"#;
        assert_eq!(
            seeks(&scan, Some(&after)),
            [
                seek(format!("{select} {same_a} {order}"), &["1", "x"]),
                seek(format!("{select} {later_a} {order}"), &["1"]),
            ]
        );
    }

    #[test]
    fn first_rows_are_found_by_their_key_and_not_by_what_has_changed_since() {
        let seed = Seed {
            table: "namespace_metadata".to_owned(),
            columns: vec!["partition_id".to_owned(), "notification_version".to_owned()],
            rows: vec![vec!["54321".to_owned(), "1".to_owned()]],
        };
        assert_eq!(
            has_seed(&seed, &["partition_id".to_owned()]),
            "SELECT EXISTS (SELECT 1 FROM \"namespace_metadata\" WHERE \"partition_id\" = 54321)"
        );
    }
}

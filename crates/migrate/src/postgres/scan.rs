//! The text of queries that depend on the schema: every name in them is quoted, every literal
//! comes from a schema file.

use crate::{
    Scan,
    objects::{ColumnDefinition, Seed},
    schema::quoted,
};

/// One range of a table in the order of its key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seek {
    /// The query, without its LIMIT.
    pub text: String,
    /// The values of `$1`, `$2`, …
    pub parameters: Vec<String>,
}

/// The ranges that together are the rows after the key `after`, in the order of the key: of those
/// with the same key but for the last column, the later ones; then of those with the same key but
/// for the last two columns; and so on.
///
/// A comparison of whole keys, `(a, b) > ($1, $2)`, would say the same, but DSQL makes a filter of
/// it and reads the table from the start for every page (aurora-dsql.md#indexes).
pub(super) fn seeks(scan: &Scan, after: Option<&[String]>) -> Vec<Seek> {
    // Without the alias, ORDER BY would mean the columns of the answer, which are text.
    let column = |name: &String| format!("t.{}", quoted(name));
    let columns = scan.columns.iter().map(|name| format!("{}::text", column(name)));
    let select = format!("SELECT {} FROM {} AS t", list(columns), quoted(&scan.table));
    let order = list(scan.key.iter().map(|key| column(&key.name)));
    let Some(after) = after else {
        return vec![Seek { text: format!("{select} ORDER BY {order}"), parameters: Vec::new() }];
    };
    let condition = |position: usize, operator: &str| {
        let ColumnDefinition { name, data_type, .. } = &scan.key[position];
        format!("{} {operator} ${}::{data_type}", column(name), position + 1)
    };
    (1..=scan.key.len())
        .rev()
        .map(|length| {
            let last = length - 1;
            let mut conditions: Vec<_> =
                (0..last).map(|position| condition(position, "=")).collect();
            conditions.push(condition(last, ">"));
            Seek {
                text: format!("{select} WHERE {} ORDER BY {order}", conditions.join(" AND ")),
                parameters: after[..length].to_vec(),
            }
        })
        .collect()
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

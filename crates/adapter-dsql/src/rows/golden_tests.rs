//! Every statement as it is sent: in a file, before the eyes of AWS's linter, and by rules that each
//! of them must keep.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use crate::statement::Meta;

fn statements() -> BTreeSet<(&'static str, &'static str)> {
    super::statements().map(|Meta { op, sql, .. }| (*op, *sql)).collect()
}

/// A statement in lines, broken where its parts begin.
fn in_lines(sql: &str) -> String {
    let mut parts = sql.split("), ");
    let mut lines = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let begins = part.split(' ').nth(1) == Some("AS");
        lines.push_str(if begins { "),\n  " } else { "), " });
        lines.push_str(part);
    }
    lines.replace(" UNION ALL ", "\n  UNION ALL ").replace(" LEFT JOIN ", "\n  LEFT JOIN ")
}

#[test]
fn every_statement_is_as_the_golden_file_has_it() {
    let mut texts = String::from(
        "-- Every statement that the store sends, but BEGIN, COMMIT and ROLLBACK, by operation.\n\
         -- A test keeps this file equal to the code; UPDATE_GOLDEN=1 writes it.\n",
    );
    for (op, sql) in statements() {
        write!(texts, "\n-- {op}\n{};\n", in_lines(sql)).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/statements.sql");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &texts).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == texts, "{} is not up to date; set UPDATE_GOLDEN=1", path.display());
}

#[test]
fn the_linter_of_the_service_accepts_every_statement() {
    for (op, sql) in statements() {
        let found = dsql_lint::lint_sql(sql);
        assert!(found.is_empty(), "{op}: {found:?}\n{sql}");
    }
}

#[test]
fn arguments_are_numbered_without_a_gap() {
    for (op, sql) in statements() {
        let digits = |text: &str| {
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            text[..end].parse::<usize>().unwrap()
        };
        let numbers: BTreeSet<_> = sql.split('$').skip(1).map(digits).collect();
        let highest = numbers.last().copied().unwrap_or_default();
        assert_eq!(numbers.len(), highest, "{op}: {numbers:?}");
    }
}

/// What a statement writes: the tables behind each keyword.
fn writes(sql: &'static str) -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut writes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for keyword in ["INSERT INTO ", "UPDATE ", "DELETE FROM "] {
        for (at, _) in sql.match_indices(keyword) {
            let is_clause = ["DO ", "FOR "].iter().any(|before| sql[..at].ends_with(before));
            let is_begin = at == 0 || sql[..at].ends_with(" AS (");
            assert!(is_clause || is_begin, "`{keyword}` in the middle of {sql}");
            if is_begin {
                let table = sql[at + keyword.len()..].split(' ').next().unwrap();
                writes.entry(table).or_default().push(keyword.trim());
            }
        }
    }
    writes
}

/// An answer that is lost is known to change nothing only for statements that read.
#[test]
fn statements_that_write_are_marked_as_such_and_only_they() {
    for Meta { op, sql, writes: marked, .. } in super::statements() {
        assert_eq!(*marked, !writes(sql).is_empty(), "{op}");
    }
}

/// The parts of a statement run in any order on one snapshot. What may write the same table has no
/// row in common: by its flags (current executions), or by its keys (maps, buffer).
#[test]
fn parts_of_a_statement_that_write_one_table_are_the_known_ones() {
    for (op, sql) in statements() {
        for (table, parts) in writes(sql) {
            let is_known = match &parts[..] {
                [_] => true,
                ["INSERT INTO", "UPDATE"] => {
                    let flags = if table == "current_executions" {
                        ["WHERE $24 RETURNING", "AND $25 RETURNING"]
                    } else {
                        ["WHERE $26 RETURNING", "AND $27 RETURNING"]
                    };
                    table.starts_with("current_") && flags.iter().all(|flag| sql.contains(flag))
                }
                ["INSERT INTO", "DELETE FROM"] => {
                    table.contains("_map") || table.contains("_sets") || table == "buffered_events"
                }
                _ => false,
            };
            assert!(is_known, "{op} writes {table} with {parts:?}");
        }
    }
}

/// Setting a key column would make an upsert conflict with more (facts §1.3).
#[test]
fn an_upsert_sets_no_key_column() {
    for (op, sql) in statements() {
        for set in sql.split("DO UPDATE SET ").skip(1) {
            let set = set.split(')').next().unwrap();
            for assignment in set.split(", ") {
                let (column, value) = assignment.split_once(" = ").unwrap();
                assert_eq!(value.strip_prefix("excluded."), Some(column), "{op}");
                let is_value = column.contains("data") || column == "prev_txn_id";
                assert!(is_value, "{op} sets {column}");
            }
        }
    }
}

/// A limited delete takes the first rows by the key, and looks the last of them up once.
#[test]
fn a_limited_delete_is_a_bounded_scan_in_the_order_of_the_key() {
    let limited: Vec<_> = statements()
        .into_iter()
        .filter(|(_, sql)| sql.starts_with("DELETE") && sql.contains("LIMIT"))
        .collect();
    assert_eq!(limited.len(), 7 + 1 + 5 + 2 + 1, "maps, buffer, queues, nodes: {limited:?}");
    for (op, sql) in limited {
        assert!(sql.contains(" <= (SELECT max(") && !sql.contains(" IN ("), "{op}");
        assert!(sql.contains("ORDER BY"), "{op}");
    }
}

#[test]
fn rows_are_locked_in_the_ways_that_dsql_has() {
    for (op, sql) in statements() {
        for lock in sql.split(" FOR ").skip(1) {
            let is_known = lock.starts_with("UPDATE") || lock.starts_with("KEY SHARE");
            assert!(is_known, "{op}: {sql}");
        }
    }
}

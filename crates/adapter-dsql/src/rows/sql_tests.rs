//! Tests of the SQL of every statement: AWS's linter accepts it, and it follows the rules of this
//! crate.

use std::collections::{BTreeMap, BTreeSet};

use crate::statement::Meta;

fn statements() -> BTreeSet<(&'static str, &'static str)> {
    super::statements().map(|Meta { op, text, .. }| (*op, text.sql())).collect()
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
    for Meta { op, text, writes: marked, .. } in super::statements() {
        assert_eq!(*marked, !writes(text.sql()).is_empty(), "{op}");
    }
}

/// The parts of a statement run in any order on one snapshot. What may write the same table has no
/// row in common: by its flags (current executions), or by its keys (maps, buffer).
#[test]
fn parts_of_a_statement_that_write_one_table_are_the_known_ones() {
    for Meta { op, text, .. } in super::statements() {
        let sql = text.sql();
        let flag =
            |name| text.parameters().iter().position(|known| *known == name).map(|at| at + 1);
        for (table, parts) in writes(sql) {
            let is_known = match &parts[..] {
                [_] => true,
                ["INSERT INTO", "UPDATE"] => {
                    let inserted = flag("is_current_inserted").expect("a flag");
                    let updated = flag("is_current_updated").expect("a flag");
                    let flags = [format!("WHERE ${inserted} AND"), format!("AND ${updated} AND")];
                    // One of each for either table.
                    let is_flagged = |flag: &String| sql.matches(flag.as_str()).count() == 2;
                    table.starts_with("current_") && flags.iter().all(is_flagged)
                }
                ["INSERT INTO", "DELETE FROM"] => {
                    let tables = ["buffered_events", "executions"];
                    table.contains("_map") || table.contains("_sets") || tables.contains(&table)
                }
                _ => false,
            };
            assert!(is_known, "{op} writes {table} with {parts:?}");
        }
    }
}

/// Setting a key column would make an upsert conflict with more (aurora-dsql.md#conflict-matrix).
#[test]
fn an_upsert_sets_no_key_column() {
    let upserts = statements().iter().filter(|(_, sql)| sql.contains("DO UPDATE SET ")).count();
    assert_eq!(upserts, 6 + 2 + 1 + 1, "maps, histories, members and the whole write");
    for (op, sql) in statements() {
        for set in sql.split("DO UPDATE SET ").skip(1) {
            let set = set.split(')').next().unwrap().split(" RETURNING").next().unwrap();
            for assignment in set.split(", ") {
                let (column, value) = assignment.split_once(" = ").unwrap();
                assert_eq!(value.strip_prefix("excluded."), Some(column), "{op}");
                let of_a_run = ["next_event_id", "last_write_version", "db_record_version"];
                let of_a_member = [
                    "role",
                    "rpc_address",
                    "rpc_port",
                    "session_start",
                    "last_heartbeat",
                    "record_expiry",
                ];
                let is_value = ["data", "state"].iter().any(|part| column.contains(part))
                    || column == "prev_txn_id"
                    || of_a_run.contains(&column)
                    || of_a_member.contains(&column);
                assert!(is_value, "{op} sets {column}");
            }
        }
    }
}

/// A limited delete takes the first rows by the key, and reads the last of them once.
#[test]
fn a_limited_delete_is_a_bounded_scan_in_the_order_of_the_key() {
    let limited: Vec<_> = statements()
        .into_iter()
        .filter(|(_, sql)| sql.starts_with("DELETE") && sql.contains("LIMIT"))
        .collect();
    let of = "maps, buffer, tasks, nodes, tasks of matching, members, messages";
    assert_eq!(limited.len(), 7 + 1 + 5 + 2 + 1 + 2 + 1 + 2, "{of}: {limited:?}");
    for (op, sql) in limited {
        let last_of_uuids = sql.contains(" <= (SELECT host_id FROM (")
            && sql.ends_with(" ORDER BY host_id DESC LIMIT 1)");
        assert!(sql.contains(" <= (SELECT max(") || last_of_uuids, "{op}: {sql}");
        assert!(!sql.contains(" IN ("), "{op}");
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

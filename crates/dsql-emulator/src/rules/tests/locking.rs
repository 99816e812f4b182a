//! Locking clauses.

use super::*;

#[test]
fn the_keys_of_locked_rows_come_as_more_columns() {
    let locking = run("SELECT a.x IS DISTINCT FROM 1, extract(day FROM now()) FROM t a \
                       JOIN s.u ON a.i = u.i WHERE u.y = $1 ORDER BY 1 LIMIT 1 \
                       FOR UPDATE OF a FOR KEY SHARE OF u SKIP LOCKED")
    .locking;
    let Some(Locking { keys: Some(KeyColumns { before, after, tables }), text, .. }) = locking
    else {
        panic!("{locking:?}");
    };
    assert!(text.ends_with("FOR UPDATE OF a FOR KEY SHARE OF u "), "{text}");
    assert_eq!(before, "SELECT a.x IS DISTINCT FROM 1, extract(day FROM now()) , ");
    assert_eq!(
        after.trim_end(),
        "FROM t a JOIN s.u ON a.i = u.i WHERE u.y = $1 ORDER BY 1 LIMIT 1"
    );
    assert_eq!(
        tables,
        [
            LockedTable {
                relation: "\"t\"".into(),
                alias: "\"a\"".into(),
                strength: LockStrength::Update
            },
            LockedTable {
                relation: "\"s\".\"u\"".into(),
                alias: "\"u\"".into(),
                strength: LockStrength::KeyShare
            },
        ]
    );
}

#[test]
fn a_common_table_expression_and_a_function_have_no_rows_to_lock() {
    let locking = run("WITH c AS (SELECT 1 AS i) SELECT FROM t, c, generate_series(1, 2) g \
                       WHERE t.i = c.i FOR UPDATE")
    .locking;
    let Some(Locking { keys: Some(KeyColumns { before, tables, .. }), .. }) = locking else {
        panic!("{locking:?}");
    };
    assert!(before.ends_with("SELECT "), "{before}");
    assert_eq!(tables.len(), 1);
}

#[test]
fn rows_locked_in_a_subquery_are_left_to_postgresql() {
    for sql in [
        "DELETE FROM q WHERE id = (SELECT id FROM q ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1)",
        "SELECT * FROM (SELECT * FROM t) s FOR UPDATE NOWAIT",
        "WITH l AS (SELECT id FROM t FOR UPDATE) SELECT * FROM l",
        "INSERT INTO u SELECT * FROM t FOR UPDATE",
        "SELECT i FROM (VALUES (1)) AS v(i) FOR UPDATE NOWAIT",
        "SELECT g FROM generate_series(1, 2) AS g FOR UPDATE",
        "SELECT 1 FOR UPDATE",
        "EXPLAIN ANALYZE SELECT id FROM t FOR UPDATE NOWAIT",
        "COPY (SELECT id FROM t FOR UPDATE SKIP LOCKED) TO STDOUT",
    ] {
        let locking = run(sql).locking;
        let Some(Locking { text, strength, keys: None }) = locking else {
            panic!("{sql}: {locking:?}");
        };
        assert_eq!(strength, LockStrength::Update);
        assert!(!text.contains("SKIP") && !text.contains("NOWAIT"), "{text}");
        assert!(text.contains("FOR UPDATE"), "{text}");
    }
}

#[test]
fn only_what_belongs_to_a_locking_clause_goes_with_it() {
    let locking = run("SELECT nowait, skip FROM t, u FOR UPDATE OF t NOWAIT").locking.unwrap();
    assert_eq!(locking.text.trim_end(), "SELECT nowait, skip FROM t, u FOR UPDATE OF t");
}

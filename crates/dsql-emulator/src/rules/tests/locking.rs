//! Locking clauses.

use super::*;

/// The text that is sent, with `!` and the class for the call that reports a row of a table, and
/// the strength of the locks that PostgreSQL takes itself. The relation `view` is not a table.
fn reporting(sql: &str) -> (String, Option<LockStrength>) {
    let statement = split(sql).remove(0);
    let locking = run(sql).locking.unwrap_or_else(|| panic!("{sql} locks nothing"));
    locking.reporting(&statement, |table| {
        let class = table.strength.class();
        let is_table = table.relation != "\"view\"";
        is_table.then(|| format!("!{class}({} {})", table.relation, table.alias))
    })
}

#[track_caller]
fn reports(sql: &str, sent: &str) {
    let (text, locks) = reporting(sql);
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!((&*words.join(" "), locks), (sent, None), "{sql}");
}

#[track_caller]
fn left_to_postgresql(sql: &str, sent: &str, strength: LockStrength) {
    let (text, locks) = reporting(sql);
    assert_eq!((text.trim(), locks), (sent, Some(strength)), "{sql}");
}

#[test]
fn each_row_is_reported_as_its_own_clause_locks_it() {
    reports(
        "SELECT a.x IS DISTINCT FROM 1, extract(day FROM now()) FROM t a JOIN s.u ON a.i = u.i \
         WHERE u.y = $1 FOR UPDATE OF a FOR KEY SHARE OF u SKIP LOCKED",
        "SELECT a.x IS DISTINCT FROM 1, extract(day FROM now()) FROM t a JOIN s.u ON a.i = u.i \
         WHERE u.y = $1 ORDER BY !K(\"t\" \"a\"), !S(\"s\".\"u\" \"u\")",
    );
    // Of several clauses for one table, the strongest counts.
    reports(
        "SELECT 1 FROM t, u ORDER BY x FOR KEY SHARE FOR UPDATE OF u NOWAIT",
        "SELECT 1 FROM t, u ORDER BY x , !S(\"t\" \"t\"), !K(\"u\" \"u\")",
    );
}

#[test]
fn each_query_of_a_statement_is_changed_on_its_own() {
    reports(
        "WITH shard AS MATERIALIZED (SELECT range_id FROM shards WHERE id = $1 FOR KEY SHARE), \
         run AS (SELECT * FROM runs ORDER BY id FOR UPDATE) \
         INSERT INTO log SELECT 1 FROM shard, run WHERE EXISTS (SELECT FROM x FOR KEY SHARE)",
        "WITH shard AS MATERIALIZED (SELECT range_id FROM shards WHERE id = $1 \
         ORDER BY !S(\"shards\" \"shards\")), \
         run AS (SELECT * FROM runs ORDER BY id , !K(\"runs\" \"runs\")) \
         INSERT INTO log SELECT 1 FROM shard, run WHERE EXISTS (SELECT FROM x \
         ORDER BY !S(\"x\" \"x\") OFFSET 0)",
    );
    reports(
        "UPDATE q SET v = 1 WHERE i IN (SELECT i FROM t FOR UPDATE SKIP LOCKED) RETURNING 1",
        "UPDATE q SET v = 1 WHERE i IN (SELECT i FROM t ORDER BY !K(\"t\" \"t\")) RETURNING 1",
    );
    reports(
        "INSERT INTO u SELECT * FROM t FOR UPDATE RETURNING 1",
        "INSERT INTO u SELECT * FROM t ORDER BY !K(\"t\" \"t\") RETURNING 1",
    );
}

#[test]
fn of_a_limited_query_the_rows_within_the_limit_are_reported() {
    reports(
        "DELETE FROM q WHERE id = (SELECT id FROM q ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1)",
        "DELETE FROM q WHERE id = (SELECT id FROM q WHERE (\"q\".ctid) IN \
         (SELECT dsql_emulator_limited.dsql_emulator_0 FROM (SELECT id , \
         \"q\".ctid AS dsql_emulator_0 FROM q ORDER BY id LIMIT 1) AS dsql_emulator_limited) \
         ORDER BY id, !K(\"q\" \"q\"))",
    );
    reports(
        "SELECT FROM t a JOIN u USING (i) WHERE a.x = 1 FETCH FIRST ROW ONLY FOR KEY SHARE",
        "SELECT FROM t a JOIN u USING (i) WHERE (\"a\".ctid, \"u\".ctid) IN \
         (SELECT dsql_emulator_limited.dsql_emulator_0, dsql_emulator_limited.dsql_emulator_1 \
         FROM (SELECT \"a\".ctid AS dsql_emulator_0, \"u\".ctid AS dsql_emulator_1 \
         FROM t a JOIN u USING (i) WHERE a.x = 1 FETCH FIRST ROW ONLY ) AS dsql_emulator_limited) \
         ORDER BY !S(\"t\" \"a\"), !S(\"u\" \"u\")",
    );
}

#[test]
fn a_common_table_expression_and_a_function_have_no_rows_to_lock() {
    reports(
        "WITH c AS (SELECT 1 AS i) SELECT FROM t, c, generate_series(1, 2) g WHERE t.i = c.i \
         FOR UPDATE",
        "WITH c AS (SELECT 1 AS i) SELECT FROM t, c, generate_series(1, 2) g WHERE t.i = c.i \
         ORDER BY !K(\"t\" \"t\")",
    );
    reports("SELECT 1 FOR UPDATE", "SELECT 1");
    reports(
        "SELECT g FROM generate_series(1, 2) AS g FOR UPDATE",
        "SELECT g FROM generate_series(1, 2) AS g",
    );
    // Inside of its own query the name refers to the table, after it to the query.
    reports(
        "WITH t AS (SELECT i FROM t FOR KEY SHARE), u AS (SELECT i FROM t FOR UPDATE) SELECT FROM u",
        "WITH t AS (SELECT i FROM t ORDER BY !S(\"t\" \"t\")), u AS (SELECT i FROM t ) SELECT FROM u",
    );
    reports(
        "WITH RECURSIVE u AS (SELECT 1), t(i) AS (SELECT i FROM u FOR UPDATE) SELECT FROM t",
        "WITH RECURSIVE u AS (SELECT 1), t(i) AS (SELECT i FROM u ) SELECT FROM t",
    );
}

#[test]
fn queries_that_cannot_report_are_left_to_postgresql() {
    use LockStrength::{KeyShare, Update};
    for (sql, sent) in [
        (
            "SELECT * FROM (SELECT * FROM t) s FOR UPDATE NOWAIT",
            "SELECT * FROM (SELECT * FROM t) s FOR UPDATE",
        ),
        ("SELECT * FROM view FOR UPDATE", "SELECT * FROM view FOR UPDATE"),
        ("SELECT x FROM t AS a(x) FOR UPDATE", "SELECT x FROM t AS a(x) FOR UPDATE"),
        (
            "SELECT 1 FROM t LEFT JOIN u ON true LIMIT 1 FOR UPDATE OF t SKIP LOCKED",
            "SELECT 1 FROM t LEFT JOIN u ON true LIMIT 1 FOR UPDATE OF t",
        ),
        (
            "EXPLAIN ANALYZE SELECT id FROM t FOR UPDATE NOWAIT",
            "EXPLAIN ANALYZE SELECT id FROM t FOR UPDATE",
        ),
        (
            "COPY (SELECT id FROM t FOR UPDATE SKIP LOCKED) TO STDOUT",
            "COPY (SELECT id FROM t FOR UPDATE ) TO STDOUT",
        ),
    ] {
        left_to_postgresql(sql, sent, Update);
    }
    // Only those queries of the statement are changed.
    left_to_postgresql(
        "SELECT (SELECT 1 FROM view FOR KEY SHARE), x FROM t FOR UPDATE",
        "SELECT (SELECT 1 FROM view FOR KEY SHARE), x FROM t  ORDER BY !K(\"t\" \"t\")",
        KeyShare,
    );
}

#[test]
fn only_the_locking_clause_is_removed() {
    let locking = run("SELECT nowait, skip FROM t, u FOR UPDATE OF t NOWAIT").locking.unwrap();
    assert_eq!(locking.text.trim_end(), "SELECT nowait, skip FROM t, u FOR UPDATE OF t");
    // The text for PostgreSQL's check has the clause, although there is nothing to lock.
    let locking = run("SELECT 1 FOR UPDATE OF nosuch NOWAIT").locking.unwrap();
    assert_eq!(locking.text.trim_end(), "SELECT 1 FOR UPDATE OF nosuch");
}

#[test]
fn a_query_is_parsed_at_most_once() {
    let parses = |sql: &str| {
        let before = crate::rules::syntax::PARSED.get();
        plan_of(sql);
        crate::rules::syntax::PARSED.get() - before
    };
    for (sql, expected) in [
        ("SELECT a FROM t WHERE b = 1", 0),
        ("SELECT a FROM t LEFT JOIN LATERAL (SELECT u.b FROM u) AS s ON true", 1),
        ("SELECT a FROM t LEFT JOIN LATERAL (SELECT u.b FROM u) AS s ON true FOR UPDATE OF t", 1),
        ("SELECT a FROM t FOR UPDATE", 1),
        ("SELECT a FROM t FOR SHARE", 1),
        ("SELECT a FROM (SELECT a FROM t) AS s FOR NO KEY UPDATE", 1),
    ] {
        assert_eq!(parses(sql), expected, "{sql}");
    }
}

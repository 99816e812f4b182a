//! Winners and losers of conflicts, without waiting (aurora-dsql.md#conflicts,
//! aurora-dsql.md#conflict-matrix).

use std::time::Duration;

use dsql_emulator::DsqlEmulator;
use tokio::time::timeout;

use crate::support::{CONFLICT, Client, Observation, pair, start_default};

/// A statement that is answered within this time has not waited: no transaction here ends before
/// both have their answers.
const NO_WAIT: Duration = Duration::from_secs(60);

const SCHEMA: [&str; 3] = [
    "CREATE TABLE p (id int PRIMARY KEY, k int UNIQUE, v int DEFAULT 0)",
    "CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p)",
    "CREATE TABLE cascading (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE, v int)",
];

/// The class of an access, as in the conflict matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Class {
    Key,
    NonKey,
    Share,
}

impl Class {
    fn conflicts_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Key, _) | (_, Self::Key) => true,
            (Self::NonKey, Self::NonKey) => true,
            (Self::NonKey | Self::Share, Self::Share) | (Self::Share, Self::NonKey) => false,
        }
    }
}

/// Two sessions, each in a transaction of its own.
struct TransactionPair {
    one: Client,
    other: Client,
}

impl TransactionPair {
    async fn start(emulator: &DsqlEmulator) -> Self {
        let (mut one, mut other) =
            (Client::connect(emulator).await, Client::connect(emulator).await);
        one.ok("BEGIN").await;
        other.ok("BEGIN").await;
        Self { one, other }
    }

    /// Runs a statement in each transaction; returns both answers.
    async fn run(&mut self, one: &str, other: &str) -> (Observation, Observation) {
        let one = timeout(NO_WAIT, self.one.run(one)).await.expect("no waiting");
        let other = timeout(NO_WAIT, self.other.run(other)).await.expect("no waiting");
        (one, other)
    }

    /// Commits in this order; returns the result of the second.
    async fn commit(&mut self) -> Observation {
        assert_eq!(self.one.ok("COMMIT").await, "COMMIT", "the earliest committer wins");
        self.other.run("COMMIT").await
    }
}

async fn emulator() -> Option<(DsqlEmulator, Client)> {
    let emulator = start_default().await?;
    let mut client = Client::connect(&emulator).await;
    for sql in SCHEMA {
        client.ok(sql).await;
    }
    Some((emulator, client))
}

#[track_caller]
fn lost(observation: &Observation) {
    assert_eq!(observation.refused(), CONFLICT);
}

#[tokio::test]
async fn every_cell_of_the_conflict_matrix_is_decided_at_commit() {
    // A statement on row 1, its class, and its tag without concurrency.
    const STATEMENTS: [(&str, Class, &str); 6] = [
        ("DELETE FROM p WHERE id = 1", Class::Key, "DELETE 1"),
        ("UPDATE p SET k = k + 100 WHERE id = 1", Class::Key, "UPDATE 1"),
        ("SELECT id FROM p WHERE id = 1 FOR UPDATE", Class::Key, "SELECT 1"),
        ("UPDATE p SET v = v + 1 WHERE id = 1", Class::NonKey, "UPDATE 1"),
        ("SELECT id FROM p WHERE id = 1 FOR KEY SHARE", Class::Share, "SELECT 1"),
        ("INSERT INTO c VALUES (7, 1)", Class::Share, "INSERT 0 1"),
    ];
    let Some((emulator, mut admin)) = emulator().await else { return };
    for (one, one_class, one_tag) in STATEMENTS {
        for (other, other_class, other_tag) in STATEMENTS {
            let both = format!("{one} | {other}");
            admin.ok("DELETE FROM c").await;
            admin.ok("DELETE FROM p").await;
            admin.ok("INSERT INTO p VALUES (1, 1)").await;
            let mut transactions = TransactionPair::start(&emulator).await;
            let other_sql = other.replace("(7,", "(8,");
            let (first, second) = transactions.run(one, &other_sql).await;
            assert_eq!((first.ok(), second.ok()), (one_tag, other_tag), "{both}");
            let end = transactions.commit().await;
            if one_class.conflicts_with(other_class) {
                assert_eq!(end.refused(), CONFLICT, "{both}");
            } else {
                assert_eq!(end.ok(), "COMMIT", "{both}");
            }
            // The loser's connection stays usable.
            assert_eq!(transactions.other.value("SELECT 1").await, "1");
        }
    }
}

#[tokio::test]
async fn each_row_is_locked_by_its_own_clause() {
    let Some((emulator, mut admin)) = emulator().await else { return };
    admin.ok("INSERT INTO p VALUES (1, 1), (2, 2)").await;
    admin.ok("INSERT INTO cascading VALUES (1, 1, 0), (2, 2, 0)").await;
    // Each locks a row of p FOR KEY SHARE, and a row of cascading alone.
    for lock in [
        "WITH a AS MATERIALIZED (SELECT id FROM p WHERE id = 1 FOR KEY SHARE), \
         b AS MATERIALIZED (SELECT id FROM cascading WHERE id = 1 FOR UPDATE) \
         SELECT a.id FROM a, b",
        "SELECT a.id FROM (SELECT 1) AS one \
         LEFT JOIN (SELECT id FROM p WHERE id = 1 FOR KEY SHARE) AS a ON true \
         LEFT JOIN (SELECT * FROM cascading WHERE id = 1 FOR UPDATE) AS b ON true",
        "SELECT a.id FROM p AS a JOIN cascading AS b ON b.p = a.id WHERE a.id = 1 \
         FOR KEY SHARE OF a FOR UPDATE OF b",
        "SELECT a.id FROM p AS a, cascading AS b WHERE b.p = a.id ORDER BY a.id LIMIT 1 \
         FOR UPDATE OF b FOR KEY SHARE",
        "WITH p AS (SELECT id FROM p WHERE id = 1 FOR KEY SHARE) SELECT id FROM p WHERE EXISTS \
         (SELECT FROM cascading WHERE cascading.id = p.id FOR UPDATE)",
        "WITH a AS (SELECT id FROM p ORDER BY 1 LIMIT 1 FOR KEY SHARE SKIP LOCKED), \
         b AS (UPDATE cascading SET v = 9 WHERE id = (SELECT id FROM cascading ORDER BY id \
         FETCH FIRST ROW ONLY FOR UPDATE) RETURNING 1) SELECT id FROM a",
    ] {
        for (meanwhile, loses) in [
            ("UPDATE p SET v = v + 1 WHERE id = 1", false),
            ("UPDATE p SET k = -k WHERE id = 1", true),
            ("SELECT id FROM cascading WHERE id = 1 FOR KEY SHARE", true),
            // Rows that it does not lock.
            ("UPDATE p SET k = -k WHERE id = 2", false),
            ("UPDATE cascading SET v = v + 1 WHERE id = 2", false),
        ] {
            for extended in [false, true] {
                let mut one = Client::connect(&emulator).await;
                one.ok("BEGIN").await;
                let locked =
                    if extended { one.extended(lock, &[]).await } else { one.run(lock).await };
                assert_eq!(locked.value(), "1", "{lock}");
                admin.ok(meanwhile).await;
                let end = one.run("COMMIT").await;
                let both = format!("{lock} | {meanwhile}");
                if loses {
                    assert_eq!(end.refused(), CONFLICT, "{both}");
                } else {
                    assert_eq!(end.ok(), "COMMIT", "{both}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_cost_of_a_lock_does_not_depend_on_the_size_of_the_table() {
    const ROWS: u32 = 1_000;
    let Some((emulator, mut admin)) = emulator().await else { return };
    admin.ok(&format!("INSERT INTO p SELECT n, n FROM generate_series(1, {ROWS}) AS n")).await;
    // Rows that were locked or changed keep an xmax.
    admin.ok("UPDATE p SET v = 1").await;
    let mut client = Client::connect(&emulator).await;
    for lock in [
        "SELECT id FROM p WHERE id = 7 FOR UPDATE",
        "WITH a AS MATERIALIZED (SELECT id FROM p WHERE id = 7 FOR KEY SHARE) SELECT id FROM a",
        "SELECT id FROM p WHERE id < 9 ORDER BY id DESC LIMIT 1 FOR UPDATE",
    ] {
        client.ok("BEGIN").await;
        client.ok("SET enable_seqscan = off").await;
        client.run(lock).await.ok();
        let read = "SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'p'";
        assert_eq!(client.value(read).await, "0", "{lock}");
        client.ok("ROLLBACK").await;
    }
}

#[tokio::test]
async fn a_row_locked_by_several_subqueries_is_locked_by_each_of_them() {
    const LOCK: &str = "SELECT (SELECT id FROM p WHERE id = 1 FOR KEY SHARE)";
    let Some((emulator, mut admin)) = emulator().await else { return };
    admin.ok("INSERT INTO p VALUES (1, 1)").await;
    let mut lockers = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(&emulator).await;
        client.ok("BEGIN").await;
        assert_eq!(client.value(LOCK).await, "1");
        lockers.push(client);
    }
    assert_eq!(lockers.remove(0).ok("COMMIT").await, "COMMIT", "sharers share");
    admin.ok("UPDATE p SET v = v + 1 WHERE id = 1").await;
    assert_eq!(lockers.remove(0).ok("COMMIT").await, "COMMIT", "no column of the key");
    admin.ok("UPDATE p SET k = k + 100 WHERE id = 1").await;
    lost(&lockers.remove(0).run("COMMIT").await);
}

#[tokio::test]
async fn inserts_of_the_same_key_conflict_and_an_existing_key_is_a_duplicate() {
    let Some((emulator, mut admin)) = emulator().await else { return };
    let pairs = [
        ("INSERT INTO p VALUES ($id, $id)", "INSERT INTO p VALUES ($id, -$id)"),
        ("INSERT INTO p VALUES ($id, $id)", "INSERT INTO p VALUES (-$id, $id)"),
        (
            "INSERT INTO p VALUES ($id, $id)",
            "INSERT INTO p VALUES ($id, $id) ON CONFLICT DO NOTHING",
        ),
        (
            "INSERT INTO p VALUES ($id, $id)",
            "INSERT INTO p VALUES ($id, $id) ON CONFLICT (id) DO UPDATE SET v = 9",
        ),
    ];
    for (id, (one, other)) in (1..).zip(pairs) {
        let with_id = |sql: &str| sql.replace("$id", &i32::to_string(&id));
        let mut transactions = TransactionPair::start(&emulator).await;
        let (first, second) = transactions.run(&with_id(one), &with_id(other)).await;
        assert_eq!((first.ok(), second.ok()), ("INSERT 0 1", "INSERT 0 1"), "{other}");
        lost(&transactions.commit().await);
    }
    assert_eq!(admin.refused("INSERT INTO p VALUES (1, 55)").await.0, "23505");
    assert_eq!(admin.ok("INSERT INTO p VALUES (1) ON CONFLICT DO NOTHING").await, "INSERT 0 0");
}

#[tokio::test]
async fn reads_conflict_with_nothing() {
    let Some((emulator, mut admin)) = emulator().await else { return };
    admin.ok("INSERT INTO p VALUES (1, 1), (2, 2)").await;
    // Write skew is possible unless the rows that are read are locked.
    for (lock, conflict) in [("", false), (" FOR UPDATE", true)] {
        let mut transactions = TransactionPair::start(&emulator).await;
        let reads = format!("SELECT id FROM p WHERE id IN (1, 2) ORDER BY id{lock}");
        transactions.run(&reads, &reads).await;
        transactions
            .run("UPDATE p SET v = 1 WHERE id = 1", "UPDATE p SET v = 1 WHERE id = 2")
            .await;
        let end = transactions.commit().await;
        assert_eq!(end.error.is_some(), conflict, "{lock}: {end:?}");
    }
    // Phantoms are possible whether or not the range is locked.
    for (round, lock) in ["", " FOR UPDATE"].into_iter().enumerate() {
        let mut transactions = TransactionPair::start(&emulator).await;
        let reads = format!("SELECT id FROM p WHERE id >= 100{lock}");
        transactions.run(&reads, "SELECT 1").await;
        let id = 200 + round;
        transactions
            .run(
                &format!("INSERT INTO p VALUES ({}, {})", id + 50, id + 50),
                &format!("INSERT INTO p VALUES ({id}, {id})"),
            )
            .await;
        assert_eq!(transactions.commit().await.ok(), "COMMIT");
        admin.ok("DELETE FROM p WHERE id >= 100").await;
    }
}

#[tokio::test]
async fn an_autocommit_statement_never_waits_and_the_open_transaction_loses() {
    let Some((emulator, mut admin)) = emulator().await else { return };
    admin.ok("INSERT INTO p VALUES (1, 1)").await;
    let mut open = Client::connect(&emulator).await;
    open.ok("BEGIN").await;
    assert_eq!(open.ok("UPDATE p SET v = 10 WHERE id = 1").await, "UPDATE 1");
    let alone = timeout(NO_WAIT, admin.ok("UPDATE p SET v = 20 WHERE id = 1")).await;
    assert_eq!(alone.expect("no waiting"), "UPDATE 1");
    // The loser does not see the conflict yet, and sees its own rows.
    assert_eq!(open.value("SELECT v FROM p WHERE id = 1").await, "10");
    assert_eq!(open.ok("UPDATE p SET v = v + 1 WHERE id = 1").await, "UPDATE 1");
    assert_eq!(open.value("SELECT v FROM p WHERE id = 1").await, "11");
    assert_eq!(pair(&open.refused("COMMIT").await), CONFLICT);
    assert_eq!(open.value("SELECT v FROM p WHERE id = 1").await, "20");
}

#[tokio::test]
async fn a_loser_that_meets_the_winners_rows_continues_in_its_snapshot() {
    let Some((emulator, mut admin)) = emulator().await else { return };
    admin.ok("INSERT INTO p VALUES (1, 1), (2, 2), (3, 3)").await;
    let mut transactions = TransactionPair::start(&emulator).await;
    transactions.run("UPDATE p SET v = 5", "SELECT 1").await;
    transactions.one.ok("COMMIT").await;
    // The rows have changed since its snapshot, so it has lost before it writes.
    assert_eq!(transactions.other.ok("UPDATE p SET v = v + 1").await, "UPDATE 3");
    assert_eq!(transactions.other.value("SELECT sum(v) FROM p").await, "3");
    assert_eq!(transactions.other.ok("INSERT INTO p VALUES (4, 4)").await, "INSERT 0 1");
    assert_eq!(transactions.other.ok("DELETE FROM p WHERE v = 1").await, "DELETE 3");
    assert_eq!(transactions.other.value("SELECT count(*) FROM p").await, "1");
    lost(&transactions.other.run("COMMIT").await);
    assert_eq!(admin.value("SELECT count(*) || ' ' || sum(v) FROM p").await, "3 15");
}

#[tokio::test]
async fn deleting_a_parent_conflicts_with_its_new_and_its_cascading_children() {
    let Some((emulator, mut admin)) = emulator().await else { return };
    admin.ok("INSERT INTO p VALUES (1, 1), (2, 2), (3, 3)").await;
    admin.ok("INSERT INTO cascading VALUES (2, 2, 0)").await;
    for (one, other) in [
        ("DELETE FROM p WHERE id = 1", "INSERT INTO c VALUES (1, 1)"),
        ("UPDATE cascading SET v = 1 WHERE id = 2", "DELETE FROM p WHERE id = 2"),
        ("INSERT INTO c VALUES (3, 3)", "DELETE FROM p WHERE id = 3"),
    ] {
        let mut transactions = TransactionPair::start(&emulator).await;
        let (first, second) = transactions.run(one, other).await;
        assert!(first.error.is_none() && second.error.is_none(), "{one} | {other}: {second:?}");
        lost(&transactions.commit().await);
    }
    assert_eq!(admin.refused("INSERT INTO c VALUES (1, 1)").await.0, "23503");
    assert_eq!(admin.refused("DELETE FROM p WHERE id = 3").await.0, "23503");
}

#[tokio::test]
async fn transactions_on_other_rows_commit_in_any_order_of_their_statements() {
    let Some((emulator, mut admin)) = emulator().await else { return };
    admin.ok("INSERT INTO p VALUES (1, 1), (2, 2)").await;
    let mut transactions = TransactionPair::start(&emulator).await;
    transactions.run("UPDATE p SET v = 1 WHERE id = 1", "UPDATE p SET v = 2 WHERE id = 2").await;
    transactions.run("INSERT INTO p VALUES (3, 3)", "INSERT INTO p VALUES (4, 4)").await;
    assert_eq!(transactions.commit().await.ok(), "COMMIT");
    assert_eq!(admin.value("SELECT string_agg(v::text, ' ' ORDER BY id) FROM p").await, "1 2 0 0");
}

#[tokio::test]
async fn a_lock_is_of_the_table_that_the_search_path_finds_after_a_transaction_took_its_path_back()
{
    let Some((emulator, mut admin)) = emulator().await else { return };
    for sql in [
        "CREATE SCHEMA other",
        "CREATE TABLE other.p (id int PRIMARY KEY, v int)",
        "INSERT INTO other.p VALUES (1, 0)",
        "INSERT INTO p VALUES (1, 1)",
    ] {
        admin.ok(sql).await;
    }
    let lock = "SELECT id FROM p WHERE id = 1 FOR UPDATE";
    for (set, end, is_extended) in [
        ("SET LOCAL search_path TO other", "COMMIT", false),
        ("SET LOCAL search_path TO other", "COMMIT", true),
        ("SET search_path TO other", "ROLLBACK", false),
        ("SELECT set_config('search_path', 'other', true)", "COMMIT", true),
    ] {
        let mut transactions = TransactionPair::start(&emulator).await;
        let one = &mut transactions.one;
        for sql in [set, lock, end, "BEGIN", lock] {
            match is_extended {
                true => assert!(!one.extended(sql, &[]).await.ok().is_empty(), "{sql}"),
                false => assert!(!one.ok(sql).await.is_empty(), "{sql}"),
            }
        }
        transactions.other.ok("UPDATE p SET v = v + 1 WHERE id = 1").await;
        transactions.other.ok("COMMIT").await;
        assert_eq!(transactions.one.run("COMMIT").await.refused(), CONFLICT, "{set}, {end}");
    }
}

#[tokio::test]
async fn every_parent_that_rows_of_one_update_get_is_shared() {
    let Some((emulator, mut admin)) = emulator().await else { return };
    admin.ok("INSERT INTO p VALUES (1, 1), (2, 2), (3, 3)").await;
    for (update, shares) in [
        ("UPDATE c SET p = 2 WHERE p IN (1, 2)", true),
        ("UPDATE c SET p = 3 - p", true),
        ("UPDATE c SET p = 2 WHERE id = 1", true),
        ("UPDATE c SET id = id + 10, p = 2", true),
        ("UPDATE c SET id = id + 10", false),
    ] {
        admin.ok("DELETE FROM c").await;
        admin.ok("INSERT INTO c VALUES (1, 1), (2, 2)").await;
        let mut transactions = TransactionPair::start(&emulator).await;
        let lock = "SELECT id FROM p WHERE id = 2 FOR UPDATE";
        let (first, second) = transactions.run(update, lock).await;
        first.ok();
        second.ok();
        let end = transactions.commit().await;
        match shares {
            true => lost(&end),
            false => assert_eq!(end.ok(), "COMMIT", "{update}"),
        }
    }
}

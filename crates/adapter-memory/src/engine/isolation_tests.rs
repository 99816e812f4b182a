//! Tests of isolation and conflicts (aurora-dsql.md#conflict-matrix).

use super::*;

type Txn = Transaction<&'static str, i32>;

/// An engine with the given rows.
fn engine(rows: &[(&'static str, i32)]) -> Engine<&'static str, i32> {
    let engine = Engine::new();
    let mut setup = engine.begin();
    for (key, value) in rows {
        setup.insert(*key, *value).unwrap();
    }
    setup.commit().unwrap();
    engine
}

fn rows(engine: &Engine<&'static str, i32>) -> Vec<(&'static str, i32)> {
    let snapshot = engine.begin();
    snapshot.range(..).map(|(key, value)| (*key, *value)).collect()
}

/// A statement on the row `r`, which exists.
type Statement = (&'static str, Class, fn(&mut Txn));

const STATEMENTS: [Statement; 5] = [
    ("KEY SHARE", Class::KeyShare, |txn| {
        txn.lock(&"r", Lock::ForKeyShare).unwrap();
    }),
    ("UPDATE", Class::NonKey, |txn| assert!(txn.update(&"r", 1))),
    ("DELETE", Class::Key, |txn| assert!(txn.delete(&"r"))),
    ("DELETE, INSERT", Class::Key, |txn| {
        assert!(txn.delete(&"r"));
        txn.insert("r", 1).unwrap();
    }),
    ("FOR UPDATE", Class::Key, |txn| {
        txn.lock(&"r", Lock::ForUpdate).unwrap();
    }),
];

/// The conflict matrix (aurora-dsql.md#conflict-matrix), written independently of [`Class`].
fn conflict_on_dsql(one: Class, other: Class) -> bool {
    let row = match one {
        Class::Key => [true, true, true],
        Class::NonKey => [true, true, false],
        Class::KeyShare => [true, false, false],
    };
    match other {
        Class::Key => row[0],
        Class::NonKey => row[1],
        Class::KeyShare => row[2],
    }
}

#[test]
fn two_statements_on_one_row_conflict_as_the_matrix_says_in_either_commit_order() {
    for (first, first_class, first_statement) in STATEMENTS {
        for (second, second_class, second_statement) in STATEMENTS {
            for first_began_first in [true, false] {
                let engine = engine(&[("r", 0)]);
                let (mut earlier, mut later) = if first_began_first {
                    (engine.begin(), engine.begin())
                } else {
                    let later = engine.begin();
                    (engine.begin(), later)
                };
                first_statement(&mut earlier);
                second_statement(&mut later);
                earlier.commit().unwrap();
                let case = format!("{first} commits before {second}");
                match later.commit() {
                    Ok(()) => assert!(!conflict_on_dsql(first_class, second_class), "{case}"),
                    Err(conflict) => {
                        assert!(conflict_on_dsql(first_class, second_class), "{case}");
                        let (own, other) = (second_class, first_class);
                        assert_eq!(conflict, Conflict { key: "r", own, other }.into(), "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_strongest_class_of_a_row_counts_in_any_order() {
    for (weak, _, weak_statement) in &STATEMENTS[..2] {
        for strong_first in [true, false] {
            let engine = engine(&[("r", 0)]);
            let (mut both, mut share) = (engine.begin(), engine.begin());
            if strong_first {
                both.lock(&"r", Lock::ForUpdate).unwrap();
            }
            weak_statement(&mut both);
            if !strong_first {
                both.lock(&"r", Lock::ForUpdate).unwrap();
            }
            share.lock(&"r", Lock::ForKeyShare).unwrap();
            both.commit().unwrap();
            let conflict = Conflict { key: "r", own: Class::KeyShare, other: Class::Key };
            assert_eq!(share.commit(), Err(conflict.into()), "{weak}, {strong_first}");
        }
    }
}

#[test]
fn a_snapshot_does_not_change() {
    let engine = engine(&[("a", 1), ("b", 2)]);
    let reader = engine.begin();
    let mut writer = engine.begin();
    assert!(writer.update(&"a", 10));
    assert!(writer.delete(&"b"));
    writer.insert("c", 3).unwrap();
    writer.commit().unwrap();
    assert_eq!(reader.get(&"a"), Some(&1));
    assert!(reader.range(..).eq([(&"a", &1), (&"b", &2)]));
    assert_eq!(rows(&engine), [("a", 10), ("c", 3)]);
}

#[test]
fn only_the_transaction_itself_sees_its_uncommitted_writes() {
    let engine = engine(&[("a", 1), ("b", 2)]);
    let mut writer = engine.begin();
    assert!(writer.delete(&"a"));
    assert!(writer.update(&"b", 20));
    writer.insert("c", 3).unwrap();
    assert_eq!(writer.get(&"a"), None);
    assert!(writer.range("b"..).rev().eq([(&"c", &3), (&"b", &20)]));
    assert_eq!(rows(&engine), [("a", 1), ("b", 2)]);
    drop(writer);
    assert_eq!(rows(&engine), [("a", 1), ("b", 2)]);
}

#[test]
fn a_range_is_read_in_key_order_between_its_bounds() {
    let engine = engine(&[("d", 4), ("a", 1), ("c", 3), ("b", 2)]);
    let reader = engine.begin();
    assert!(reader.range("b".."d").map(|(key, _)| *key).eq(["b", "c"]));
    assert!(reader.range(..="b").map(|(_, value)| *value).eq([1, 2]));
    assert_eq!(reader.range("e"..).count(), 0);
}

#[test]
fn an_insert_over_a_visible_row_is_a_duplicate_at_the_statement() {
    let engine = engine(&[("a", 1)]);
    let mut txn = engine.begin();
    assert_eq!(txn.insert("a", 2), Err(DuplicateKey));
    txn.insert("b", 1).unwrap();
    assert_eq!(txn.insert("b", 2), Err(DuplicateKey));
    assert!(txn.delete(&"a"));
    txn.insert("a", 3).unwrap();
    txn.commit().unwrap();
    assert_eq!(rows(&engine), [("a", 3), ("b", 1)]);
}

#[test]
fn of_two_inserts_of_one_key_the_second_to_commit_loses() {
    let engine = engine(&[]);
    let (mut one, mut other) = (engine.begin(), engine.begin());
    one.insert("a", 1).unwrap();
    other.insert("a", 2).unwrap();
    other.commit().unwrap();
    let conflict = Conflict { key: "a", own: Class::Key, other: Class::Key };
    assert_eq!(one.commit(), Err(conflict.into()));
    assert_eq!(rows(&engine), [("a", 2)]);
}

#[test]
fn an_absent_row_has_no_footprint() {
    let statements: [fn(&mut Txn); 4] = [
        |txn| assert!(!txn.update(&"r", 1)),
        |txn| assert!(!txn.delete(&"r")),
        |txn| assert_eq!(txn.lock(&"r", Lock::ForUpdate), None),
        |txn| assert_eq!(txn.lock(&"r", Lock::ForKeyShare), None),
    ];
    for statement in statements {
        let engine = engine(&[]);
        let (mut later, mut earlier) = (engine.begin(), engine.begin());
        statement(&mut later);
        earlier.insert("r", 7).unwrap();
        earlier.commit().unwrap();
        later.commit().unwrap();
        assert_eq!(rows(&engine), [("r", 7)]);
    }
}

#[test]
fn a_lost_update_is_refused() {
    let engine = engine(&[("balance", 100)]);
    let (mut one, mut other) = (engine.begin(), engine.begin());
    let seen = *one.get(&"balance").unwrap();
    assert!(one.update(&"balance", seen + 10));
    let seen = *other.get(&"balance").unwrap();
    assert!(other.update(&"balance", seen + 20));
    one.commit().unwrap();
    assert!(other.commit().is_err());
    assert_eq!(rows(&engine), [("balance", 110)]);
}

#[test]
fn write_skew_commits() {
    let engine = engine(&[("alice on call", 1), ("bob on call", 1)]);
    let (mut alice, mut bob) = (engine.begin(), engine.begin());
    assert_eq!(alice.get(&"bob on call"), Some(&1));
    assert!(alice.update(&"alice on call", 0));
    assert_eq!(bob.get(&"alice on call"), Some(&1));
    assert!(bob.update(&"bob on call", 0));
    alice.commit().unwrap();
    bob.commit().unwrap();
    assert_eq!(rows(&engine), [("alice on call", 0), ("bob on call", 0)]);
}

#[test]
fn write_skew_is_refused_if_the_rows_read_were_locked() {
    let engine = engine(&[("alice on call", 1), ("bob on call", 1)]);
    let (mut alice, mut bob) = (engine.begin(), engine.begin());
    assert_eq!(alice.lock(&"bob on call", Lock::ForUpdate), Some(&1));
    assert!(alice.update(&"alice on call", 0));
    assert_eq!(bob.lock(&"alice on call", Lock::ForUpdate), Some(&1));
    assert!(bob.update(&"bob on call", 0));
    alice.commit().unwrap();
    assert!(bob.commit().is_err());
    assert_eq!(rows(&engine), [("alice on call", 0), ("bob on call", 1)]);
}

#[test]
fn phantoms_commit() {
    let engine = engine(&[("b", 3)]);
    let (mut one, mut other) = (engine.begin(), engine.begin());
    assert_eq!(one.range(..).count(), 1);
    one.insert("a", 3).unwrap();
    assert_eq!(other.range(..).count(), 1);
    other.insert("c", 3).unwrap();
    one.commit().unwrap();
    other.commit().unwrap();
    assert_eq!(rows(&engine), [("a", 3), ("b", 3), ("c", 3)]);
}

#[test]
fn disjoint_writes_of_concurrent_transactions_are_all_kept() {
    let engine = engine(&[("a", 1), ("b", 1), ("c", 1)]);
    let (mut one, mut other) = (engine.begin(), engine.begin());
    assert!(one.update(&"a", 2));
    assert!(one.delete(&"b"));
    assert!(other.update(&"c", 3));
    other.insert("d", 4).unwrap();
    other.commit().unwrap();
    one.commit().unwrap();
    assert_eq!(rows(&engine), [("a", 2), ("c", 3), ("d", 4)]);
}

#[test]
fn a_key_share_lock_does_not_restore_an_old_value() {
    let engine = engine(&[("parent", 1)]);
    let (mut child, mut update) = (engine.begin(), engine.begin());
    child.lock(&"parent", Lock::ForKeyShare).unwrap();
    child.insert("child", 1).unwrap();
    assert!(update.update(&"parent", 2));
    update.commit().unwrap();
    child.commit().unwrap();
    assert_eq!(rows(&engine), [("child", 1), ("parent", 2)]);
}

#[test]
fn a_conflict_applies_nothing() {
    let engine = engine(&[("a", 1), ("b", 1)]);
    let (mut one, mut other) = (engine.begin(), engine.begin());
    assert!(one.update(&"a", 2));
    assert!(one.update(&"b", 2));
    assert!(other.update(&"b", 3));
    other.commit().unwrap();
    assert!(one.commit().is_err());
    assert_eq!(rows(&engine), [("a", 1), ("b", 3)]);
}

#[test]
fn a_transaction_that_began_after_a_commit_does_not_conflict_with_it() {
    let engine = engine(&[("r", 0)]);
    let open = engine.begin();
    for value in 1..=3 {
        let mut txn = engine.begin();
        assert!(txn.update(&"r", value));
        txn.commit().unwrap();
    }
    drop(open);
    assert_eq!(rows(&engine), [("r", 3)]);
}

/// Commits an update of each key.
fn update(engine: &Engine<&'static str, i32>, keys: &[&'static str]) {
    for key in keys {
        let mut txn = engine.begin();
        assert!(txn.update(key, 1));
        txn.commit().unwrap();
    }
}

#[test]
fn no_footprint_is_kept_without_an_open_transaction() {
    let engine = engine(&[("a", 0), ("b", 0)]);
    update(&engine, &["a", "b", "a"]);
    assert_eq!((engine.open_transactions(), engine.tracked_rows()), (0, 0));
}

/// A way to end a transaction.
type End = (&'static str, fn(Txn));

#[test]
fn footprints_are_removed_when_the_transaction_that_needs_them_ends() {
    let ends: [End; 4] = [
        ("commit", |txn| txn.commit().unwrap()),
        ("commit of writes", |mut txn| {
            txn.insert("new", 1).unwrap();
            txn.commit().unwrap();
        }),
        ("conflict", |mut txn| {
            assert!(txn.update(&"a", 2));
            assert!(txn.commit().is_err());
        }),
        ("drop", drop),
    ];
    for (how, end) in ends {
        let engine = engine(&[("a", 0), ("b", 0)]);
        let open = engine.begin();
        update(&engine, &["a", "b", "a"]);
        assert_eq!(engine.tracked_rows(), 2, "{how}");
        end(open);
        assert_eq!(engine.open_transactions(), 0, "{how}");
        assert_eq!(engine.tracked_rows(), 0, "{how}");
    }
}

#[test]
fn only_footprints_that_the_oldest_open_transaction_can_conflict_with_are_kept() {
    let engine = engine(&[("a", 0), ("b", 0), ("c", 0)]);
    let oldest = engine.begin();
    update(&engine, &["a", "b"]);
    let middle = engine.begin();
    update(&engine, &["b"]);
    let newest = engine.begin();
    update(&engine, &["c"]);
    assert_eq!(engine.tracked_rows(), 3);
    drop(newest);
    assert_eq!(engine.tracked_rows(), 3);
    drop(oldest);
    assert_eq!(engine.tracked_rows(), 2, "b and c were updated after the middle began");
    drop(middle);
    assert_eq!(engine.tracked_rows(), 0);
}

#[test]
fn a_transaction_over_the_maximum_age_is_expired_and_refused() {
    let (max_age, later) = (Duration::from_secs(300), Duration::from_millis(300_001));
    let engine = Engine::with_max_age(max_age);
    let mut leaked = engine.begin_at(Duration::ZERO);
    leaked.insert("a", 1).unwrap();
    let reader = engine.begin_at(Duration::ZERO);
    let write = |key, now| {
        let mut write = engine.begin_at(now);
        write.insert(key, 1).unwrap();
        write.commit().unwrap();
    };
    write("b", Duration::ZERO);
    assert_eq!((engine.open_transactions(), engine.tracked_rows()), (2, 1));
    let young = engine.begin_at(max_age);
    write("c", later);
    assert_eq!((engine.open_transactions(), engine.tracked_rows()), (1, 1));
    // They have no conflict, and are refused for their age.
    assert_eq!(leaked.commit(), Err(CommitError::TooOld));
    assert_eq!(reader.commit(), Err(CommitError::TooOld));
    assert_eq!(engine.open_transactions(), 1, "ending the old ones does not end another");
    young.commit().unwrap();
    assert_eq!((engine.open_transactions(), engine.tracked_rows()), (0, 0));
    assert_eq!(rows(&engine), [("b", 1), ("c", 1)]);
}

#[test]
fn a_transaction_on_the_newest_version_is_kept_at_any_age() {
    let engine = Engine::with_max_age(Duration::from_secs(300));
    let mut old = engine.begin_at(Duration::ZERO);
    let mut young = engine.begin_at(Duration::from_secs(1_000));
    old.insert("a", 1).unwrap();
    young.insert("b", 1).unwrap();
    old.commit().unwrap();
    young.commit().unwrap();
    assert_eq!(rows(&engine), [("a", 1), ("b", 1)]);
}

#[test]
fn a_panic_while_the_engine_is_locked_does_not_stop_other_threads() {
    let engine = engine(&[("a", 1)]);
    let clone = engine.clone();
    let panicked = std::thread::spawn(move || {
        let _guard = clone.state();
        panic!("the engine is locked here");
    })
    .join();
    assert!(panicked.is_err());
    update(&engine, &["a"]);
    assert_eq!(engine.len(), 1);
}

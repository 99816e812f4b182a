//! Many concurrent sessions, and a checker of their histories (aurora-dsql.md#conflicts,
//! aurora-dsql.md#conflict-matrix).
//!
//! Each transaction reads all rows, and so determines its snapshot: which transactions had
//! committed, and what the rows were. A model in memory predicts the answer of each of its
//! statements. At the end the checker has the committed and the refused transactions, and the
//! snapshot of each.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use crate::support::{CONFLICT, Client, Observation, start_default};

const SEED: u64 = 20_261_126;
const SESSIONS: u32 = 10;
const TRANSACTIONS: u32 = 50;
/// Ids, and values of the unique column: few, so that transactions conflict.
const KEYS: u64 = 8;
const TIMEOUT: Duration = Duration::from_secs(240);

const SCHEMA: [&str; 5] = [
    "CREATE TABLE item (id int PRIMARY KEY, k int UNIQUE, v int NOT NULL)",
    "CREATE TABLE extra (id int PRIMARY KEY)",
    "CREATE TABLE committed (number int PRIMARY KEY)",
    "INSERT INTO item SELECT n, n, 0 FROM generate_series(0, 3) AS n",
    "INSERT INTO extra SELECT n FROM generate_series(0, 7) AS n",
];
const ALL_ROWS: &str = "SELECT 'c', number, 0, 0 FROM committed \
                          UNION ALL SELECT 'i', id, k, v FROM item";

/// The class of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Key,
    NonKey,
    Share,
}

impl Class {
    fn conflicts_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Key, _) | (_, Self::Key) | (Self::NonKey, Self::NonKey) => true,
            (Self::NonKey | Self::Share, Self::Share) | (Self::Share, Self::NonKey) => false,
        }
    }
}

/// A key of a unique index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Item(i64),
    Unique(i64),
    Extra(i64),
}

/// The rows of `item`: k and v by id.
type Rows = BTreeMap<i64, (i64, i64)>;

#[derive(Clone, Copy, Debug)]
enum Write {
    Put(i64, i64, i64),
    Delete(i64),
}

fn apply(rows: &mut Rows, write: Write) {
    match write {
        Write::Put(id, k, v) => {
            rows.insert(id, (k, v));
        }
        Write::Delete(id) => {
            rows.remove(&id);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Committed,
    Refused,
    /// A duplicate key that its snapshot contained.
    Duplicate,
}

/// The history of one transaction.
#[derive(Debug)]
struct Transaction {
    number: i64,
    saw: BTreeSet<i64>,
    rows: Rows,
    footprint: BTreeSet<(Entry, Class)>,
    writes: Vec<Write>,
    /// When its COMMIT was sent and answered.
    commit: (Instant, Instant),
    end: End,
}

impl Transaction {
    fn conflicts_with(&self, other: &Self) -> bool {
        self.footprint.iter().any(|(entry, class)| {
            other.footprint.iter().any(|(e, c)| e == entry && class.conflicts_with(*c))
        })
    }
}

/// A running transaction: the rows that it sees, including its own writes.
struct OpenTransaction {
    transaction: Transaction,
    view: Rows,
}

impl OpenTransaction {
    fn add_to_footprint(&mut self, entry: Entry, class: Class) {
        self.transaction.footprint.insert((entry, class));
    }

    fn write(&mut self, write: Write) {
        apply(&mut self.view, write);
        self.transaction.writes.push(write);
    }

    fn has_unique(&self, k: i64) -> bool {
        self.view.values().any(|(other, _)| *other == k)
    }

    /// A statement on random rows, and its expected answer: its tag, or the existing key.
    fn step(&mut self, random: &mut fastrand::Rng) -> (String, Result<String, Vec<String>>) {
        let mut key = || i64::try_from(random.u64(0..KEYS)).unwrap();
        let (id, k, other) = (key(), key(), key());
        let v = self.transaction.number;
        let found = self.view.get(&id).copied();
        let duplicates = |id: Option<i64>, k: Option<i64>| {
            let id = id.map(|id| format!("Key (id)=({id}) already exists."));
            id.into_iter().chain(k.map(|k| format!("Key (k)=({k}) already exists."))).collect()
        };
        match random.u32(0..10) {
            kind @ 0..=2 => {
                let old_id = found.map(|_| id);
                let old_k = self.has_unique(k).then_some(k);
                let exists = old_id.is_some() || old_k.is_some();
                let skips = if kind == 2 { " ON CONFLICT DO NOTHING" } else { "" };
                let sql = format!("INSERT INTO item VALUES ({id}, {k}, {v}){skips}");
                if exists && kind == 2 {
                    return (sql, Ok("INSERT 0 0".into()));
                }
                if exists {
                    return (sql, Err(duplicates(old_id, old_k)));
                }
                self.add_to_footprint(Entry::Item(id), Class::Key);
                self.add_to_footprint(Entry::Unique(k), Class::Key);
                self.write(Write::Put(id, k, v));
                (sql, Ok("INSERT 0 1".into()))
            }
            3 | 4 => {
                let sql = format!("UPDATE item SET v = {v} WHERE id = {id}");
                let Some((k, _)) = found else { return (sql, Ok("UPDATE 0".into())) };
                self.add_to_footprint(Entry::Item(id), Class::NonKey);
                self.write(Write::Put(id, k, v));
                (sql, Ok("UPDATE 1".into()))
            }
            5 => {
                let sql = format!("UPDATE item SET k = {k} WHERE id = {id}");
                let Some((old, v)) = found else { return (sql, Ok("UPDATE 0".into())) };
                if old == k {
                    self.add_to_footprint(Entry::Item(id), Class::NonKey);
                    return (sql, Ok("UPDATE 1".into()));
                }
                if self.has_unique(k) {
                    return (sql, Err(duplicates(None, Some(k))));
                }
                for entry in [Entry::Item(id), Entry::Unique(old), Entry::Unique(k)] {
                    self.add_to_footprint(entry, Class::Key);
                }
                self.write(Write::Put(id, k, v));
                (sql, Ok("UPDATE 1".into()))
            }
            6 => {
                let sql = format!("DELETE FROM item WHERE id = {id}");
                let Some((k, _)) = found else { return (sql, Ok("DELETE 0".into())) };
                self.add_to_footprint(Entry::Item(id), Class::Key);
                self.add_to_footprint(Entry::Unique(k), Class::Key);
                self.write(Write::Delete(id));
                (sql, Ok("DELETE 1".into()))
            }
            kind => {
                let item = if random.bool() { Class::Key } else { Class::Share };
                let extra = if random.bool() { Class::Key } else { Class::Share };
                let lock = |class| match class {
                    Class::Share => "FOR KEY SHARE",
                    _ => "FOR UPDATE",
                };
                let (one, two) = (lock(item), lock(extra));
                let sql = match kind {
                    7 => format!("SELECT FROM item WHERE id = {id} {one}"),
                    8 => format!(
                        "SELECT FROM item CROSS JOIN extra WHERE item.id = {id} \
                         AND extra.id = {other} {one} OF item {two} OF extra"
                    ),
                    _ => format!(
                        "WITH i AS MATERIALIZED (SELECT id FROM item WHERE id = {id} {one}), \
                         e AS MATERIALIZED (SELECT id FROM extra WHERE id = {other} {two} LIMIT 1) \
                         SELECT (SELECT count(*) FROM i), (SELECT count(*) FROM e)"
                    ),
                };
                if let Some((k, _)) = found {
                    self.add_to_footprint(Entry::Item(id), item);
                    self.add_to_footprint(Entry::Unique(k), item);
                }
                // A join locks the rows that it returns; two queries each lock theirs.
                let both = kind == 9 || kind == 8 && found.is_some();
                if both {
                    self.add_to_footprint(Entry::Extra(other), extra);
                }
                let rows = u32::from(kind == 9 || found.is_some());
                (sql, Ok(format!("SELECT {rows}")))
            }
        }
    }
}

async fn run(client: &mut Client, sql: &str, extended: bool) -> Observation {
    if extended { client.extended(sql, &[]).await } else { client.run(sql).await }
}

/// One transaction from BEGIN to its end.
async fn transact(client: &mut Client, number: i64, random: &mut fastrand::Rng) -> Transaction {
    client.ok("BEGIN").await;
    let (mut saw, mut rows) = (BTreeSet::new(), Rows::new());
    for row in client.run(ALL_ROWS).await.rows {
        let value = |at: usize| row[at].as_deref().unwrap().parse::<i64>();
        let value = |at| value(at).unwrap();
        match row[0].as_deref() {
            Some("c") => drop(saw.insert(value(1))),
            _ => drop(rows.insert(value(1), (value(2), value(3)))),
        }
    }
    let now = Instant::now();
    let transaction = Transaction {
        number,
        saw,
        rows: rows.clone(),
        footprint: BTreeSet::new(),
        writes: Vec::new(),
        commit: (now, now),
        end: End::Duplicate,
    };
    let mut running = OpenTransaction { transaction, view: rows };
    for _ in 0..random.u32(1..=3) {
        let before = running.view.clone();
        let (sql, expected) = running.step(random);
        let answer = run(client, &sql, random.bool()).await;
        let wrong = || format!("{number}: {sql}\nseen: {before:?}\nanswer: {answer:?}");
        match (&answer.error, expected) {
            (None, Ok(tag)) => assert_eq!(answer.ok(), tag, "{}", wrong()),
            (Some(error), Err(details)) => {
                assert_eq!(error.code, "23505", "{}", wrong());
                let detail = error.detail.clone().unwrap_or_default();
                assert!(details.contains(&detail), "{details:?}: {}", wrong());
                client.ok("ROLLBACK").await;
                return running.transaction;
            }
            (_, expected) => panic!("expected {expected:?}: {}", wrong()),
        }
    }
    client.ok(&format!("INSERT INTO committed VALUES ({number})")).await;
    let mut transaction = running.transaction;
    transaction.commit.0 = Instant::now();
    let answer = client.run("COMMIT").await;
    transaction.commit.1 = Instant::now();
    transaction.end = match &answer.error {
        None => {
            assert_eq!(answer.ok(), "COMMIT");
            End::Committed
        }
        Some(_) => {
            assert_eq!(answer.refused(), CONFLICT);
            End::Refused
        }
    };
    transaction
}

/// Each COMMIT was refused if and only if a commit outside of its snapshot conflicts with it.
fn check_commits(all: &[Transaction]) {
    let committed = || all.iter().filter(|transaction| transaction.end == End::Committed);
    for one in committed() {
        for other in committed().filter(|other| other.number > one.number) {
            let seen = one.saw.contains(&other.number) || other.saw.contains(&one.number);
            assert!(seen || !one.conflicts_with(other), "both committed:\n{one:?}\n{other:?}");
        }
    }
    for refused in all.iter().filter(|transaction| transaction.end == End::Refused) {
        let beaten = committed().any(|other| {
            !refused.saw.contains(&other.number)
                && other.commit.0 < refused.commit.1
                && refused.conflicts_with(other)
        });
        assert!(beaten, "refused without a reason:\n{refused:?}");
    }
}

/// The rows that each transaction saw are those that the transactions in its snapshot have left,
/// applied in order.
fn check_snapshots(all: &[Transaction], last: &Rows) {
    let committed: HashMap<i64, &Transaction> =
        all.iter().filter(|d| d.end == End::Committed).map(|d| (d.number, d)).collect();
    let mut order: Vec<&Transaction> = all.iter().collect();
    order.sort_by_key(|transaction| transaction.saw.len());
    let mut rows: Rows = (0..4).map(|id| (id, (id, 0))).collect();
    let mut applied = BTreeSet::new();
    let mut advance = |rows: &mut Rows, to: &BTreeSet<i64>| {
        assert!(applied.is_subset(to), "snapshots are of one order of commits");
        let mut new: Vec<&Transaction> = to.difference(&applied).map(|n| committed[n]).collect();
        // A transaction in another's snapshot has a smaller snapshot.
        new.sort_by_key(|transaction| transaction.saw.len());
        for transaction in new {
            transaction.writes.iter().for_each(|write| apply(rows, *write));
        }
        applied.clone_from(to);
    };
    for transaction in order {
        advance(&mut rows, &transaction.saw);
        assert_eq!(rows, transaction.rows, "the snapshot of {}", transaction.number);
    }
    advance(&mut rows, &committed.keys().copied().collect());
    assert_eq!(&rows, last, "what is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_and_footprints_decide_which_transactions_commit() {
    let Some(emulator) = start_default().await else { return };
    println!("seed {SEED}");
    let mut admin = Client::connect(&emulator).await;
    for sql in SCHEMA {
        admin.ok(sql).await;
    }
    let mut sessions = Vec::new();
    for session in 0..SESSIONS {
        let mut client = Client::connect(&emulator).await;
        sessions.push(tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(SEED + u64::from(session));
            let mut all = Vec::new();
            for transaction in 0..TRANSACTIONS {
                let number = i64::from(session * TRANSACTIONS + transaction + 1);
                all.push(transact(&mut client, number, &mut random).await);
            }
            all
        }));
    }
    let mut all = Vec::new();
    for session in sessions {
        let ended = tokio::time::timeout(TIMEOUT, session).await;
        all.extend(ended.expect("every session ends").unwrap());
    }
    let count = |end| all.iter().filter(|transaction| transaction.end == end).count();
    let (committed, refused) = (count(End::Committed), count(End::Refused));
    println!("{committed} committed, {refused} refused, {} duplicates", count(End::Duplicate));
    assert!(committed > 50 && refused > 20, "they have met");
    check_commits(&all);
    let rows = admin.run("SELECT id, k, v FROM item").await.rows;
    let number = |text: &Option<String>| text.as_deref().unwrap().parse::<i64>().unwrap();
    let last = rows.iter().map(|row| (number(&row[0]), (number(&row[1]), number(&row[2]))));
    check_snapshots(&all, &last.collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_outside_of_the_snapshot_is_no_duplicate_before_commit() {
    const CLIENTS: usize = 4;
    const TIMES: usize = 150;
    let Some(emulator) = start_default().await else { return };
    let mut admin = Client::connect(&emulator).await;
    admin.ok("CREATE TABLE q (t int, id bigint, PRIMARY KEY (t, id))").await;
    admin.ok("INSERT INTO q VALUES (1, 0)").await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Client::connect(&emulator).await;
        clients.push(tokio::spawn(async move {
            let mut taken = 0;
            for _ in 0..TIMES {
                client.ok("BEGIN").await;
                let next = client.extended("SELECT max(id) + 1 FROM q WHERE t = 1", &[]).await;
                let insert = client.extended("INSERT INTO q VALUES (1, $1)", &[next.value()]).await;
                assert_eq!(insert.ok(), "INSERT 0 1");
                let end = client.run("COMMIT").await;
                match &end.error {
                    None => taken += 1,
                    Some(_) => assert_eq!(end.refused(), CONFLICT),
                }
            }
            taken
        }));
    }
    let mut taken = 0;
    for client in clients {
        let ended = tokio::time::timeout(TIMEOUT, client).await;
        taken += ended.expect("every client ends").unwrap();
    }
    assert!(taken < CLIENTS * TIMES, "they have met");
    assert_eq!(admin.value("SELECT max(id) FROM q").await, taken.to_string());
    assert_eq!(admin.value("SELECT count(*) - 1 FROM q").await, taken.to_string());
}

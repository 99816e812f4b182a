//! Portals from which a client gets the rows in parts, by Execute with a maximum number of rows.

use dsql_emulator::wire::{self, BindParts, Message, tag};

use crate::support::{Client, client::observations, start_default};

/// The tags of the messages, and the values of the rows.
fn shown(answer: &[Message]) -> String {
    let shown = answer.iter().map(|message| match message.tag() {
        tag::DATA_ROW => {
            let values = wire::data_values(message);
            let text = |value: &Option<bytes::Bytes>| {
                String::from_utf8_lossy(value.as_deref().unwrap_or(b"null")).into_owned()
            };
            values.iter().map(text).collect::<Vec<_>>().join(",")
        }
        tag::COMMAND_COMPLETE => format!("C:{}", wire::command_tag(message)),
        tag::ERROR => format!("E:{}", wire::DbError::read(message).code),
        other => char::from(other).to_string(),
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// A batch that binds a portal, and gets this many of its rows.
fn open(portal: &str, sql: &str, rows: i32) -> Vec<Message> {
    vec![
        wire::parse("", sql, &[]),
        wire::bind(portal, "", &BindParts::default()),
        wire::execute(portal, rows),
        wire::sync(),
    ]
}

impl Client {
    async fn shown(&mut self, messages: &[Message]) -> String {
        shown(&self.exchange(messages).await.unwrap())
    }

    async fn next_rows(&mut self, portal: &str, rows: i32) -> String {
        self.shown(&[wire::execute(portal, rows), wire::sync()]).await
    }
}

#[tokio::test]
async fn a_row_limit_runs_a_query_up_to_it() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    // Its fourth row is an error.
    let sql = "SELECT 6 / (4 - n) FROM generate_series(1, 5) AS n";
    assert_eq!(client.shown(&open("", sql, 2)).await, "1 2 2 3 s Z");
    let flush = [&open("", sql, 3)[..3], &[wire::execute("", 1), wire::sync()]].concat();
    assert_eq!(client.shown(&flush).await, "1 2 2 3 6 s E:22012 Z");

    client.ok("BEGIN").await;
    assert_eq!(client.shown(&open("p", sql, 1)).await, "1 2 2 s Z");
    // Other statements run between its rows.
    assert_eq!(client.value("SELECT 7").await, "7");
    assert_eq!(client.next_rows("p", 1).await, "3 s Z");
    assert_eq!(client.next_rows("p", 0).await, "6 E:22012 Z");
    assert_eq!(client.next_rows("p", 0).await, "E:25P02 Z");
    assert_eq!(client.ok("COMMIT").await, "ROLLBACK");

    client.ok("BEGIN").await;
    let three = "SELECT n FROM generate_series(1, 3) AS n";
    assert_eq!(client.shown(&open("p", three, 3)).await, "1 2 1 2 3 s Z");
    assert_eq!(client.next_rows("p", 3).await, "C:SELECT 0 Z");
    client.ok("COMMIT").await;
    assert_eq!(client.next_rows("p", 3).await, "E:34000 Z");
    // A statement that changes rows runs as a whole, as in PostgreSQL.
    client.ok("CREATE TABLE t (id int PRIMARY KEY)").await;
    let insert = "INSERT INTO t SELECT generate_series(1, 5) RETURNING id";
    assert_eq!(client.shown(&open("", insert, 2)).await, "1 2 1 2 s Z");
    assert_eq!(client.value("SELECT count(*) FROM t").await, "5");
}

#[tokio::test]
async fn a_suspended_portal_survives_that_another_session_needs_the_locks() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    client.ok("CREATE TABLE t (id int PRIMARY KEY, v int)").await;
    client.ok("INSERT INTO t SELECT n, n FROM generate_series(1, 5) AS n").await;
    let mut other = Client::connect(&emulator).await;
    for (number, last) in [(11, "5 C:SELECT 1 Z"), (12, "E:22012 Z")] {
        client.ok("BEGIN").await;
        client.ok(&format!("INSERT INTO t VALUES ({number}, 0)")).await;
        let divisor = if number == 12 { "(5 - id)" } else { "1" };
        let sql = format!("SELECT id + 0 / {divisor} FROM t WHERE id < 10 ORDER BY id");
        assert_eq!(client.shown(&open("p", &sql, 2)).await, "1 2 1 2 s Z");
        // The other session's row has the same key. It does not wait.
        assert_eq!(other.ok(&format!("INSERT INTO t VALUES ({number}, 1)")).await, "INSERT 0 1");
        assert_eq!(client.next_rows("p", 1).await, "3 s Z");
        // Changes after its start are not visible in it.
        client.ok("UPDATE t SET v = 9 WHERE id = 4").await;
        assert_eq!(client.next_rows("p", 1).await, "4 s Z");
        assert_eq!(client.next_rows("p", 2).await, last);
        let end = client.run("COMMIT").await;
        if number == 12 {
            assert_eq!(end.ok(), "ROLLBACK")
        } else {
            assert_eq!(end.refused().0, "40001")
        }
    }
}

#[tokio::test]
async fn a_portal_of_postgresql_is_closed_with_the_clients() {
    const OPEN: &str = "SELECT count(*) FROM pg_cursors WHERE name LIKE 'client%'";
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    let sql = "SELECT n FROM generate_series(1, 3) AS n";
    client.ok("BEGIN").await;
    for portal in ["p", "q", ""] {
        assert_eq!(client.shown(&open(portal, sql, 1)).await, "1 2 1 s Z");
    }
    // The simple query has replaced the unnamed portal.
    assert_eq!(client.value(OPEN).await, "2");
    client.exchange(&[wire::close_portal("p"), wire::sync()]).await.unwrap();
    assert_eq!(client.value(OPEN).await, "1");
    assert_eq!(client.next_rows("q", 0).await, "2 3 C:SELECT 2 Z");
    assert_eq!(client.value(OPEN).await, "0");
    client.ok("COMMIT").await;
    let cursor = client.exchange(&[wire::execute("q", 1), wire::sync()]).await.unwrap();
    assert_eq!(observations(&cursor)[0].refused().0, "34000");
}

//! Detached rows are written back unchanged, and keys are compared by value, regardless of the
//! settings of sessions.

use dsql_emulator::wire::{self, BindParts, tag};

use crate::support::{
    CONFLICT, Client, ConnectOptions, Observation, client::observations, pair, start_default,
};

/// Two sessions of one emulator, each with its own settings, and a third one.
async fn sessions(
    schema: &[&str],
    one: &[(&str, &str)],
    other: &[(&str, &str)],
) -> Option<(dsql_emulator::DsqlEmulator, Client, Client, Client)> {
    let emulator = start_default().await?;
    let mut admin = Client::connect(&emulator).await;
    for sql in schema {
        admin.ok(sql).await;
    }
    let options = |settings: &[(&str, &str)]| {
        settings
            .iter()
            .fold(ConnectOptions::of(&emulator), |options, (name, value)| options.set(name, value))
    };
    let one = Client::open(&emulator, &options(one)).await.unwrap();
    let other = Client::open(&emulator, &options(other)).await.unwrap();
    Some((emulator, admin, one, other))
}

/// Runs a statement with these bytes as parameters.
async fn with_bytes(client: &mut Client, sql: &str, parameters: &[&[u8]]) -> Observation {
    let bind = BindParts {
        parameters: parameters.iter().map(|bytes| Some(bytes.to_vec().into())).collect(),
        ..BindParts::default()
    };
    let messages =
        [wire::parse("", sql, &[]), wire::bind("", "", &bind), wire::execute("", 0), wire::sync()];
    let answer = client.exchange(&messages).await.unwrap();
    observations(&answer).remove(0)
}

#[tokio::test]
async fn equal_keys_conflict_regardless_of_output_settings() {
    const SCHEMA: [&str; 5] = [
        "CREATE TABLE f (k float8 PRIMARY KEY, v int)",
        "CREATE TABLE r (k real PRIMARY KEY, v int)",
        "CREATE TABLE z (k timestamptz PRIMARY KEY, v int)",
        "CREATE TABLE c (k char(3) PRIMARY KEY, v int)",
        "CREATE DOMAIN deep AS numeric(10, 4)",
    ];
    let one = [("extra_float_digits", "0"), ("timezone", "Asia/Tokyo"), ("datestyle", "German")];
    let Some((_emulator, mut admin, mut one, mut other)) = sessions(&SCHEMA, &one, &[]).await
    else {
        return;
    };
    admin.ok("CREATE DOMAIN deeper AS deep").await;
    admin.ok("CREATE TABLE d (k deeper PRIMARY KEY, v int)").await;
    // They get conflicts with the last two changes.
    one.run("SELECT 1").await;
    other.run("SELECT 1").await;
    for (table, key, again) in [
        ("f", "0.1::float8 + 0.2::float8", "0.1::float8 + 0.2::float8"),
        ("r", "0.1::real", "0.1::real"),
        ("z", "'2026-01-01 09:00+09'", "'2026-01-01 00:00+00'"),
        ("c", "'a'", "'a  '"),
        ("d", "1.50", "1.5"),
    ] {
        // Inserted by both: the later one waits for the earlier one, which is detached.
        one.ok("BEGIN").await;
        other.ok("BEGIN").await;
        one.ok(&format!("INSERT INTO {table} VALUES ({key}, 1)")).await;
        other.ok(&format!("INSERT INTO {table} VALUES ({again}, 2)")).await;
        assert_eq!(one.ok("COMMIT").await, "COMMIT", "{table}");
        assert_eq!(pair(&other.refused("COMMIT").await), CONFLICT, "{table}");
        assert_eq!(admin.value(&format!("SELECT v FROM {table}")).await, "1", "{table}");

        // Locked by one session, and written by the other.
        one.ok("BEGIN").await;
        other.ok("BEGIN").await;
        let lock = format!("SELECT v FROM {table} WHERE k = {key} FOR UPDATE");
        assert_eq!(one.ok(&lock).await, "SELECT 1", "{table}");
        let write = format!("UPDATE {table} SET v = 3 WHERE k = {again}");
        assert_eq!(other.ok(&write).await, "UPDATE 1", "{table}");
        assert_eq!(one.ok("COMMIT").await, "COMMIT", "{table}");
        assert_eq!(pair(&other.refused("COMMIT").await), CONFLICT, "{table}");
    }
}

#[tokio::test]
async fn rows_are_written_back_unchanged_regardless_of_settings() {
    const SCHEMA: [&str; 2] = [
        "CREATE TABLE keyed (k int PRIMARY KEY, f float8, at timestamptz, i interval, b bytea)",
        "CREATE TABLE keyless (k int, f float8, at timestamptz, i interval, b bytea)",
    ];
    let settings = [
        ("extra_float_digits", "-15"),
        ("timezone", "America/New_York"),
        ("datestyle", "SQL, DMY"),
        ("intervalstyle", "sql_standard"),
    ];
    let Some((_emulator, mut admin, mut one, mut other)) = sessions(&SCHEMA, &settings, &[]).await
    else {
        return;
    };
    let row = "0.1::float8 + 0.2::float8, '2026-02-03 04:05:06.789+00', \
               '-1 year 2 days -03:04:05', '\\x00ff'";
    for table in ["keyed", "keyless"] {
        admin.ok(&format!("INSERT INTO {table} VALUES (1, {row})")).await;
        one.ok("BEGIN").await;
        one.ok(&format!("UPDATE {table} SET k = k WHERE k = 1")).await;
        one.ok(&format!("INSERT INTO {table} VALUES (2, {row})")).await;
        other.ok("BEGIN").await;
        assert_eq!(other.ok(&format!("UPDATE {table} SET k = k WHERE k = 1")).await, "UPDATE 1");
        assert_eq!(one.ok("COMMIT").await, "COMMIT", "{table}");
        assert_eq!(pair(&other.refused("COMMIT").await), CONFLICT, "{table}");
        let same = format!(
            "SELECT count(*) FROM {table} WHERE f = 0.1::float8 + 0.2::float8 \
             AND at = '2026-02-03 04:05:06.789+00' AND b = '\\x00ff' \
             AND i::text = '-1 years +2 days -03:04:05'"
        );
        assert_eq!(admin.value(&same).await, "2", "{table}");
    }
}

#[tokio::test]
async fn a_session_in_another_encoding_loses_no_character() {
    const SCHEMA: [&str; 3] = [
        "CREATE TABLE t (k text PRIMARY KEY, euro text, n int)",
        "INSERT INTO t VALUES ('a', '€ \u{1d11e}', 0), ('€', 'key', 0), ('€€', 'key', 0)",
        "CREATE TABLE keyless (v text, n int)",
    ];
    let latin = [("client_encoding", "LATIN1")];
    let Some((_emulator, mut admin, mut one, mut other)) = sessions(&SCHEMA, &latin, &[]).await
    else {
        return;
    };
    one.ok("BEGIN").await;
    one.ok("UPDATE t SET n = n + 1").await;
    for (sql, parameters) in [
        ("INSERT INTO t VALUES ($1, $1, 9)", [&b"\xe9"[..]]),
        ("INSERT INTO keyless VALUES ($1, 1)", [b"\xe8"]),
        ("UPDATE keyless SET n = 2 WHERE v = $1", [b"\xe8"]),
    ] {
        assert_eq!(with_bytes(&mut one, sql, &parameters).await.error, None, "{sql}");
    }
    other.ok("BEGIN").await;
    assert_eq!(other.ok("UPDATE t SET n = 100 WHERE k = 'a'").await, "UPDATE 1");
    assert_eq!(one.ok("COMMIT").await, "COMMIT");
    assert_eq!(pair(&other.refused("COMMIT").await), CONFLICT);
    let all = "SELECT string_agg(concat_ws(' ', k, euro, n), ', ' ORDER BY k) FROM t";
    assert_eq!(admin.value(all).await, "a € \u{1d11e} 1, é é 9, € key 1, €€ key 1");
    assert_eq!(admin.value("SELECT concat_ws(' ', v, n) FROM keyless").await, "è 2");

    // Keys that a client may not read are compared as well.
    one.ok("BEGIN").await;
    other.ok("BEGIN").await;
    assert_eq!(one.ok("SELECT n FROM t WHERE euro = 'key' FOR UPDATE").await, "SELECT 2");
    other.ok("UPDATE t SET n = 7 WHERE k = '€€'").await;
    assert_eq!(one.ok("COMMIT").await, "COMMIT");
    assert_eq!(pair(&other.refused("COMMIT").await), CONFLICT);
}

#[tokio::test]
async fn a_text_that_is_no_utf_8_is_refused() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    let wrong = ("22021", "invalid byte sequence for encoding \"UTF8\": 0xe9 0x27");
    let query = wire::Message::new(tag::QUERY, b"SELECT '\xe9'\0");
    let parse = wire::Message::new(tag::PARSE, b"\0SELECT '\xe9'\0\0\0");
    for messages in [vec![query], vec![parse, wire::sync()]] {
        let answer = client.exchange(&messages).await.unwrap();
        assert_eq!(observations(&answer)[0].refused(), wrong);
    }
    let two = wire::Message::new(tag::QUERY, b"SELECT 1\0SELECT 2\0");
    let answer = client.exchange(&[two]).await.unwrap();
    assert_eq!(observations(&answer)[0].refused().0, "08P01");
    assert_eq!(client.value("SELECT 1").await, "1");
}

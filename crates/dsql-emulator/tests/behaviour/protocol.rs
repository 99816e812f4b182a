//! The wire protocol: simple and extended queries, batches, portals, COPY, and a driver
//! (aurora-dsql.md#sessions).

#![expect(clippy::disallowed_methods, reason = "the client uses the driver as on PostgreSQL")]

use std::time::{Duration, Instant};

use dsql_emulator::{
    CommitFault, Latency,
    wire::{self, BindParts, DbError, Message, tag},
};
use sqlx::{Connection, Row};

use crate::support::{CONFLICT, Client, ConnectOptions, client::observations, pair, start_default};

fn tags(answer: &[Message]) -> String {
    answer.iter().map(|message| char::from(message.tag())).collect()
}

#[tokio::test]
async fn parameters_and_columns_are_described_and_rows_are_fetched_in_parts() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    let sql = "SELECT n, $1::text AS t FROM generate_series(1, 5) AS n";
    let bind = BindParts { parameters: vec![Some(b"x".to_vec().into())], ..BindParts::default() };
    let answer = client
        .exchange(&[
            wire::parse("s", sql, &[]),
            wire::describe_statement("s"),
            wire::bind("p", "s", &bind),
            wire::execute("p", 2),
            wire::execute("p", 2),
            wire::execute("p", 2),
            wire::close_statement("s"),
            wire::sync(),
        ])
        .await
        .unwrap();
    // ParseComplete, ParameterDescription, RowDescription, BindComplete, rows in parts.
    assert_eq!(tags(&answer), "1tT2DDsDDsDC3Z");
    let missing = client.exchange(&[wire::bind("", "s", &bind), wire::sync()]).await.unwrap();
    assert_eq!(observations(&missing)[0].refused().0, "26000");
}

/// The statements that PostgreSQL holds for the client; the question itself is one of none.
const HELD: &str = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'client%'";

#[tokio::test]
async fn a_statement_is_closed_after_its_last_portal() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    client.ok("BEGIN").await;
    let none = BindParts::default();
    for _ in 0..3 {
        // The unnamed portal holds a statement that is closed, and is replaced by the next.
        let batch = [
            wire::parse("s", "SELECT 1", &[]),
            wire::bind("", "s", &none),
            wire::close_statement("s"),
            wire::sync(),
        ];
        assert_eq!(tags(&client.exchange(&batch).await.unwrap()), "123Z");
    }
    // The simple query replaces the portal that the last of them belongs to.
    assert_eq!(client.value(HELD).await, "0");
    let batch = [wire::parse("r", "SELECT 2", &[]), wire::sync()];
    assert_eq!(tags(&client.exchange(&batch).await.unwrap()), "1Z");
    assert_eq!(client.value(HELD).await, "1");
    client.ok("COMMIT").await;
}

#[tokio::test]
async fn an_error_ends_its_batch_and_its_batch_only() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    client.ok("CREATE TABLE t (id int PRIMARY KEY)").await;
    let run = |sql: &str| {
        [wire::parse("", sql, &[]), wire::bind("", "", &BindParts::default()), wire::execute("", 0)]
    };
    let batch: Vec<Message> = run("INSERT INTO t VALUES (1)")
        .into_iter()
        .chain(run("SELECT 1 / 0"))
        .chain(run("INSERT INTO t VALUES (2)"))
        .chain([wire::sync()])
        .collect();
    let answer = client.exchange(&batch).await.unwrap();
    let found = observations(&answer);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[1].refused().0, "22012");
    // A batch is one transaction up to its Sync.
    assert_eq!(client.value("SELECT count(*) FROM t").await, "0");
    let batch: Vec<Message> = run("INSERT INTO t VALUES (1)")
        .into_iter()
        .chain(run("INSERT INTO t VALUES (2)"))
        .chain([wire::sync()])
        .collect();
    assert_eq!(tags(&client.exchange(&batch).await.unwrap()), "12C12CZ");
    assert_eq!(client.value("SELECT count(*) FROM t").await, "2");
}

/// A Bind of the unnamed portal with these texts as parameters.
fn bind_texts(statement: &str, parameters: &[&str]) -> Message {
    let parameters = parameters.iter().map(|text| Some(text.as_bytes().to_vec().into()));
    let parts = BindParts { parameters: parameters.collect(), ..BindParts::default() };
    wire::bind("", statement, &parts)
}

#[tokio::test]
async fn parameters_are_judged_at_bind() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    client.ok("CREATE TABLE t (id int PRIMARY KEY, v int)").await;
    client.ok("INSERT INTO t VALUES (1, 1)").await;
    let parse = |sql: &str| [wire::parse("s", sql, &[]), wire::sync()];
    let close = [wire::close_statement("s"), wire::sync()];
    // The statement, its parameter, and the SQLSTATE.
    for (sql, value, code) in [
        ("SELECT $1::int", "x", "22P02"),
        ("INSERT INTO t VALUES ($1, 1)", "99999999999", "22003"),
        ("SELECT v FROM t WHERE id = $1 FOR UPDATE", "x", "22P02"),
        ("CALL sys.wait_for_job($1)", "\u{0}", "22021"),
        // The planner evaluates it.
        ("SELECT 1 / 0, $1::int", "1", "22012"),
        ("SELECT v / 0, 1 / 0 FROM t WHERE id = $1 FOR UPDATE", "1", "22012"),
    ] {
        let bind = bind_texts("s", &[value]);
        let (describe, execute) = (wire::describe_portal(""), wire::execute("", 0));
        let flush = || Message::new(tag::FLUSH, &[]);
        for begin in ["SELECT 1", "BEGIN"] {
            for behind in [
                vec![execute.clone()],
                vec![describe.clone(), execute.clone()],
                vec![describe.clone()],
                vec![describe.clone(), wire::describe_statement("s")],
                vec![flush(), execute.clone()],
                vec![wire::close_portal("")],
                vec![wire::query("SELECT 1")],
                Vec::new(),
            ] {
                client.exchange(&parse(sql)).await.unwrap();
                client.ok(begin).await;
                let batch = [vec![bind.clone()], behind, vec![wire::sync()]].concat();
                let answer = client.exchange(&batch).await.unwrap();
                assert_eq!(tags(&answer), "EZ", "{sql}: {batch:?}");
                assert_eq!(observations(&answer)[0].refused().0, code, "{sql}");
                client.run("ROLLBACK").await;
                client.exchange(&close).await.unwrap();
            }
        }
    }
    // An error of Execute comes behind BindComplete, whatever is between them.
    client.exchange(&parse("INSERT INTO t VALUES ($1, 1)")).await.unwrap();
    for between in [vec![], vec![wire::describe_portal("")], vec![wire::describe_statement("s")]] {
        let tags_between = ["", "n", "tn"][usize::from(!between.is_empty())
            + usize::from(between.first() == Some(&wire::describe_statement("s")))];
        let batch =
            [vec![bind_texts("s", &["1"])], between, vec![wire::execute("", 0), wire::sync()]]
                .concat();
        let answer = client.exchange(&batch).await.unwrap();
        assert_eq!(tags(&answer), format!("2{tags_between}EZ"));
        assert_eq!(observations(&answer)[0].refused().0, "23505");
    }
}

#[tokio::test]
async fn a_bind_that_is_judged_alone_keeps_the_rows_of_a_detached_transaction() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    let mut other = Client::connect(&emulator).await;
    client.ok("CREATE TABLE t (id int PRIMARY KEY, v int)").await;
    other.run("SELECT 1").await;
    client.ok("BEGIN").await;
    client.ok("INSERT INTO t VALUES (1, 1)").await;
    // It waits for the row of the first transaction, which is detached.
    other.ok("BEGIN").await;
    other.ok("INSERT INTO t VALUES (1, 2)").await;
    other.ok("ROLLBACK").await;
    let bind = [wire::parse("s", "SELECT v FROM t WHERE id = $1", &[]), bind_texts("s", &["1"])];
    let answer = client.exchange(&[&bind[..], &[wire::sync()]].concat()).await.unwrap();
    assert_eq!(tags(&answer), "12Z");
    let answer = client.exchange(&[wire::execute("", 0), wire::sync()]).await.unwrap();
    assert_eq!(observations(&answer)[0].value(), "1");
    assert_eq!(client.ok("COMMIT").await, "COMMIT");
    assert_eq!(other.value("SELECT v FROM t").await, "1");
}

#[tokio::test]
async fn a_text_with_a_syntax_error_does_not_run_in_part() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    client.ok("CREATE TABLE t (id int PRIMARY KEY)").await;
    let error = client.run("INSERT INTO t VALUES (1); COMMIT; SELECT 'é'; SELEC 1").await;
    assert_eq!(error.refused(), ("42601", "syntax error at or near \"SELEC\""));
    assert_eq!(error.error.unwrap().position, Some(47));
    assert_eq!(client.value("SELECT count(*) FROM t").await, "0");
    // DSQL's own statements are not in PostgreSQL's grammar.
    let sql = "ALTER TABLE t ADD COLUMN v int";
    client.ok(sql).await;
    let created = client.query("SELECT 1; CREATE INDEX ASYNC ON t (v)").await;
    assert_eq!(created.len(), 2, "{created:?}");
}

#[tokio::test]
async fn rows_before_an_error_are_sent() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    let sql = "SELECT 1 / (2 - n) FROM generate_series(0, 3) AS n";
    for begin in ["SELECT 1", "BEGIN"] {
        client.ok(begin).await;
        assert_eq!(tags(&client.exchange(&[wire::query(sql)]).await.unwrap()), "TDDEZ");
        client.run("ROLLBACK").await;
        client.ok(begin).await;
        let batch =
            [wire::parse("", sql, &[]), bind_texts("", &[]), wire::execute("", 0), wire::sync()];
        assert_eq!(tags(&client.exchange(&batch).await.unwrap()), "12DDEZ");
        client.run("ROLLBACK").await;
    }
}

#[tokio::test]
async fn a_simple_query_has_no_parameters() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    for sql in ["SELECT $1", "SELECT $1::int", "SELECT $1 IS NULL"] {
        let both = client.query(&format!("SELECT 1 AS \"é\"; {sql}")).await;
        let missing = both.last().unwrap();
        assert_eq!(missing.refused(), ("42P02", "there is no parameter $1"), "{sql}");
        assert_eq!(missing.error.as_ref().unwrap().position, Some(25), "{sql}");
    }
}

/// The next message; the test fails if none arrives in time.
async fn promptly(client: &mut Client, what: &str) -> Message {
    let next = tokio::time::timeout(Duration::from_secs(60), client.next()).await;
    next.unwrap_or_else(|_| panic!("{what}: no message arrives")).expect("an open connection")
}

#[tokio::test]
async fn an_error_is_sent_on_flush_whichever_message_fails() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    client.ok("CREATE TABLE t (id int PRIMARY KEY)").await;
    let none = BindParts::default;
    let subtype = |tag| Message::new(tag, b"x\0");
    let run = |sql: &str| vec![wire::parse("", sql, &[]), wire::bind("", "", &none())];
    for (name, before, failing, code) in [
        // The error is found by PostgreSQL, by the emulator's rules, or in the protocol.
        ("Parse", vec![], wire::parse("", "SELECT nothing", &[]), "42703"),
        ("Parse", vec![], wire::parse("", "CREATE TEMP TABLE u (id int)", &[]), "0A000"),
        ("Parse", vec![], wire::parse("", "SELECT 1; SELECT 2", &[]), "42601"),
        ("Parse", vec![], Message::new(tag::PARSE, b"x"), "08P01"),
        ("Bind", vec![], wire::bind("", "nosuch", &none()), "26000"),
        (
            "Bind",
            vec![wire::parse("", "SELECT $1::int", &[])],
            wire::bind("", "", &none()),
            "08P01",
        ),
        ("Describe", vec![], wire::describe_statement("nosuch"), "26000"),
        ("Describe", vec![], wire::describe_portal("nosuch"), "34000"),
        ("Describe", vec![], subtype(tag::DESCRIBE), "08P01"),
        ("Execute", vec![], wire::execute("nosuch", 0), "34000"),
        ("Execute", run("SELECT 1 / 0"), wire::execute("", 0), "22012"),
        ("Close", vec![], subtype(tag::CLOSE), "08P01"),
    ] {
        // Messages after an error are ignored up to Sync, including Flush.
        let describe = wire::describe_statement("");
        let flush = || Message::new(tag::FLUSH, &[]);
        let batch = [before, vec![failing, describe, flush(), flush()]].concat();
        client.send(&batch).await.unwrap();
        let error = loop {
            let message = promptly(&mut client, name).await;
            if message.tag() == tag::ERROR {
                break DbError::read(&message);
            }
        };
        assert_eq!(error.code, code, "{name}: {error}");
        assert_eq!(tags(&client.exchange(&[wire::sync()]).await.unwrap()), "Z", "{name}");
        assert_eq!(client.value("SELECT 1").await, "1", "{name}");
    }
    // A Sync or a function call sends its error and the end of the answer.
    emulator.faults().script([Some(CommitFault::Conflict)]);
    let insert = [run("INSERT INTO t VALUES (1)"), vec![wire::execute("", 0)]].concat();
    let flushed = [insert, vec![Message::new(tag::FLUSH, &[])]].concat();
    client.send(&flushed).await.unwrap();
    for expected in [tag::PARSE_COMPLETE, tag::BIND_COMPLETE, tag::COMMAND_COMPLETE] {
        assert_eq!(promptly(&mut client, "Flush").await.tag(), expected);
    }
    let answer = client.exchange(&[wire::sync()]).await.unwrap();
    assert_eq!((tags(&answer).as_str(), observations(&answer)[0].refused()), ("EZ", CONFLICT));
    client.ok("BEGIN").await;
    let answer = client.exchange(&[Message::new(tag::FUNCTION_CALL, &[0; 10])]).await.unwrap();
    assert_eq!((tags(&answer).as_str(), observations(&answer)[0].refused().0), ("EZ", "0A000"));
    assert_eq!(client.ok("COMMIT").await, "ROLLBACK");
}

#[tokio::test]
async fn a_flush_takes_a_round_trip_and_an_error_shares_that_of_its_sync() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    let round_trip = Duration::from_millis(500);
    emulator.faults().set_latency(Latency { round_trip, ..Latency::default() });
    let begin = Instant::now();
    let parse = |sql: &str| wire::parse("", sql, &[]);
    client.send(&[parse("SELECT 1"), Message::new(tag::FLUSH, &[])]).await.unwrap();
    assert_eq!(promptly(&mut client, "Flush").await.tag(), tag::PARSE_COMPLETE);
    let flushed = begin.elapsed();
    assert!(flushed >= round_trip, "{flushed:?}");
    // On a busy machine an answer may be late, but not each time.
    let mut shortest = Duration::MAX;
    for _ in 0..20 {
        let begin = Instant::now();
        let answer = client.exchange(&[parse("SELECT nothing"), wire::sync()]).await.unwrap();
        assert_eq!(tags(&answer), "EZ");
        let failed = begin.elapsed();
        assert!(failed >= round_trip, "{failed:?}");
        shortest = shortest.min(failed);
        if shortest < 2 * round_trip {
            return;
        }
    }
    panic!("two round trips: {shortest:?}");
}

/// The settings that an answer reports.
fn reported(answer: &[Message]) -> Vec<String> {
    let reports = answer.iter().filter(|message| message.tag() == tag::PARAMETER_STATUS);
    let text = |message: &Message| {
        let text = String::from_utf8_lossy(message.payload());
        text.trim_end_matches('\0').replace('\0', "=")
    };
    reports.map(text).collect()
}

#[tokio::test]
async fn a_setting_is_reported_when_it_changes_and_when_a_rollback_reverts_it() {
    let Some(emulator) = start_default().await else { return };
    let options = ConnectOptions::of(&emulator).set("TimeZone", "UTC");
    let mut client = Client::open(&emulator, &options).await.unwrap();
    let mut parameters = client.parameters.clone();
    parameters.sort();
    parameters.dedup_by(|one, other| one.0 == other.0);
    assert_eq!(parameters.len(), client.parameters.len(), "{parameters:?}");
    for (name, value) in [
        ("TimeZone", "UTC"),
        ("server_version", "16.15"),
        ("is_superuser", "off"),
        ("session_authorization", "admin"),
    ] {
        assert!(parameters.contains(&(name.into(), value.into())), "{name}: {parameters:?}");
    }
    for (sql, reports) in [
        ("SET TimeZone TO 'Asia/Tokyo'", &["TimeZone=Asia/Tokyo"][..]),
        ("SET TimeZone TO 'Asia/Tokyo'", &[]),
        ("BEGIN", &[]),
        ("SET TimeZone TO 'Europe/Oslo'", &["TimeZone=Europe/Oslo"]),
        ("ROLLBACK", &["TimeZone=Asia/Tokyo"]),
        ("BEGIN", &[]),
        ("SET TimeZone TO 'Europe/Oslo'", &["TimeZone=Europe/Oslo"]),
        // The error reverts the settings of the transaction, as in PostgreSQL.
        ("SELECT 1 / 0", &["TimeZone=Asia/Tokyo"]),
        ("COMMIT", &[]),
        ("BEGIN", &[]),
        ("SET LOCAL TimeZone TO 'Europe/Oslo'", &["TimeZone=Europe/Oslo"]),
        ("COMMIT", &["TimeZone=Asia/Tokyo"]),
        ("SET TimeZone TO 'Europe/Oslo'; SELECT 1 / 0", &[]),
        ("RESET ALL", &["TimeZone=UTC"]),
    ] {
        let answer = client.exchange(&[wire::query(sql)]).await.unwrap();
        assert_eq!(reported(&answer), reports, "{sql}");
    }
    // A refused commit reverts it, too.
    client.ok("CREATE TABLE t (id int PRIMARY KEY)").await;
    client.ok("BEGIN").await;
    client.ok("SET TimeZone TO 'Europe/Oslo'").await;
    client.ok("INSERT INTO t VALUES (1)").await;
    emulator.faults().script([Some(CommitFault::Conflict)]);
    let answer = client.exchange(&[wire::query("COMMIT")]).await.unwrap();
    assert_eq!((tags(&answer).as_str(), reported(&answer)), ("ESZ", vec!["TimeZone=UTC".into()]));
}

#[tokio::test]
async fn texts_that_are_not_one_statement_are_refused_or_empty() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    assert_eq!(client.extended("SELECT 1; SELECT 2", &[]).await.refused().0, "42601");
    let empty = client.exchange(&[wire::query(" ; ")]).await.unwrap();
    assert_eq!(empty.iter().map(Message::tag).collect::<Vec<_>>(), [tag::EMPTY_QUERY, b'Z']);
    assert_eq!(client.run("SELEC 1").await.refused().0, "42601");
    let both = client.query("SELECT 1; SELECT nothing").await;
    assert_eq!(both[1].refused().0, "42703");
}

#[tokio::test]
async fn copy_is_only_to_and_from_the_client() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    client.ok("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    client.send(&[wire::query("COPY t FROM STDIN")]).await.unwrap();
    assert_eq!(client.next().await.unwrap().tag(), tag::COPY_IN);
    let rows: String = (1..=3_000).map(|id| format!("{id}\tx\n")).collect();
    let data = |rows: &str| {
        [Message::new(tag::COPY_DATA, rows.as_bytes()), Message::new(tag::COPY_DONE, &[])]
    };
    let done = client.exchange(&data(&rows)).await.unwrap();
    assert_eq!(observations(&done)[0].ok(), "COPY 3000");

    // The row limit applies to COPY, too.
    client.send(&[wire::query("COPY t FROM STDIN")]).await.unwrap();
    client.next().await.unwrap();
    let rows: String = (3_001..=6_001).map(|id| format!("{id}\tx\n")).collect();
    let refused = client.exchange(&data(&rows)).await.unwrap();
    assert_eq!(observations(&refused)[0].refused(), ("54000", "transaction row limit exceeded"));

    let answer = client.exchange(&[wire::query("COPY t TO STDOUT")]).await.unwrap();
    assert_eq!(answer.iter().filter(|m| m.tag() == tag::COPY_DATA).count(), 3_000);
    for sql in ["COPY t FROM '/etc/passwd'", "COPY t TO '/var/lib/x'", "COPY t TO PROGRAM 'true'"] {
        assert_eq!(client.refused(sql).await.0, "42501", "{sql}");
    }
}

#[tokio::test]
async fn sqlx_connects_by_the_url_and_works_in_transactions() {
    let Some(emulator) = start_default().await else { return };
    let mut connection = sqlx::PgConnection::connect(&emulator.url()).await.unwrap();
    sqlx::query("CREATE TABLE t (id uuid PRIMARY KEY, v bytea, at timestamptz DEFAULT now())")
        .execute(&mut connection)
        .await
        .unwrap();
    for round in 0..3_u8 {
        let mut transaction = connection.begin().await.unwrap();
        let done = sqlx::query("INSERT INTO t VALUES (gen_random_uuid(), $1)")
            .bind(vec![round; 10])
            .execute(&mut *transaction)
            .await
            .unwrap();
        assert_eq!(done.rows_affected(), 1);
        if round == 1 { transaction.rollback().await } else { transaction.commit().await }.unwrap();
    }
    let row = sqlx::query("SELECT count(*), (SELECT v FROM t ORDER BY v DESC LIMIT 1) FROM t")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!((row.get::<i64, _>(0), row.get::<Vec<u8>, _>(1)), (2, vec![2; 10]));
    // A nested transaction is a savepoint, which DSQL does not have.
    let mut outer = connection.begin().await.unwrap();
    let error = outer.begin().await.unwrap_err();
    assert!(error.to_string().contains("unsupported transaction statement: SAVEPOINT"), "{error}");
}

#[tokio::test]
async fn a_statement_has_as_many_parameters_as_the_protocol_can_count() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    let count = 65_535;
    let list: Vec<String> = (1..=count).map(|number| format!("${number}")).collect();
    let sql = format!("SELECT cardinality(ARRAY[{}]::text[])", list.join(","));
    let answer = client.extended(&sql, &vec!["x"; count]).await;
    assert_eq!(answer.value(), count.to_string());
}

#[tokio::test]
async fn an_explain_of_an_explain_of_an_explain_is_a_syntax_error() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    let nested = format!("{}SELECT 1", "EXPLAIN ".repeat(20_000));
    let error = client.refused(&nested).await;
    assert_eq!(pair(&error), ("42601", "syntax error at or near \"EXPLAIN\""));
    // PostgreSQL judges statements that are long and not malformed.
    client.ok("CREATE TABLE t (id int PRIMARY KEY)").await;
    let long =
        format!("SELECT id FROM t WHERE {} FOR UPDATE", "id = 1 OR ".repeat(100_000) + "true");
    assert_eq!(client.ok(&long).await, "SELECT 0");
}

#[tokio::test]
async fn a_copy_of_a_copy_of_a_copy_is_a_syntax_error() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    for nested in ["COPY (", "COPY (EXPLAIN ", "EXPLAIN COPY (", "CREATE VIEW v AS "] {
        let (code, message) = client.refused(&nested.repeat(20_000)).await;
        assert_eq!(code, "42601", "{nested}: {message}");
    }
}

#[tokio::test]
async fn the_result_of_a_call_has_the_format_of_the_bind() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    client.ok("CREATE TABLE t (id int PRIMARY KEY, v int)").await;
    let id = client.value("CREATE INDEX ASYNC ON t (v)").await;
    for (formats, value) in [(vec![], &b"t"[..]), (vec![0], b"t"), (vec![1], b"\x01")] {
        let bind = BindParts {
            parameters: vec![Some(id.clone().into_bytes().into())],
            result_formats: formats,
            ..BindParts::default()
        };
        let answer = client
            .exchange(&[
                wire::parse("", "CALL sys.wait_for_job($1)", &[]),
                wire::bind("", "", &bind),
                wire::execute("", 0),
                wire::sync(),
            ])
            .await
            .unwrap();
        let row = answer.iter().find(|message| message.tag() == tag::DATA_ROW).unwrap();
        assert_eq!(wire::data_values(row)[0].as_deref(), Some(value));
    }
}

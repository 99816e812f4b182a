//! The extended protocol compared with PostgreSQL's: the same messages must have the same answers.
//!
//! The statements are not affected by DSQL's rules. A session of random messages runs on the
//! emulator and on the PostgreSQL behind it. Message types, SQLSTATEs, rows and tags must be equal.

use dsql_emulator::{
    DsqlEmulator,
    postgres::{Options, Server},
    wire::{self, BindParts, DbError, Message, WireStream, tag},
};
use fastrand::Rng;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Duration, timeout},
};

use crate::support::{Client, ConnectOptions, offline};

/// Sessions, each with a seed of its own, and batches in each.
const SESSIONS: u64 = 100;
const BATCHES: usize = 25;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Statements that both execute alike.
const STATEMENTS: &[&str] = &[
    "SELECT 1",
    "SELECT $1::int + 1",
    "SELECT $1::text, $2::int",
    "SELECT n, n * 2 FROM generate_series(1, 5) AS n",
    "SELECT id, v FROM t ORDER BY id",
    "SELECT v FROM t WHERE id = $1 FOR UPDATE",
    "SELECT timestamptz '2026-01-01 12:00 UTC'",
    "INSERT INTO t VALUES ($1, 1)",
    "INSERT INTO t VALUES ($1, $2) RETURNING id, v",
    "UPDATE t SET v = v + 1",
    "DELETE FROM t WHERE id = $1",
    // Errors of the analysis, the planner and the executor.
    "SELECT nothing",
    "SELECT 1 / 0",
    // An error after a row.
    "SELECT 1 / (n - 1) FROM generate_series(0, 3) AS n",
    "EXPLAIN (COSTS OFF) SELECT 1",
    "COPY t TO STDOUT",
    "BEGIN",
    "BEGIN READ ONLY",
    "COMMIT",
    "ROLLBACK",
    "SHOW TimeZone",
    "SET TimeZone TO 'Asia/Tokyo'",
    "SET LOCAL TimeZone TO 'Europe/Oslo'",
    "RESET TimeZone",
    "SET DateStyle TO 'SQL, DMY'",
    "RESET ALL",
    "DEALLOCATE ALL",
    "",
];

/// Values of parameters, in text or binary format, for some types right and for others wrong.
const VALUES: &[&[u8]] = &[
    b"1",
    b"2",
    b"3",
    b"4",
    b"5",
    b" 7 ",
    b"x",
    b"",
    b"99999999999",
    b"\xff",
    b"a\0b",
    &[0, 0, 0, 6],
];

fn pick<'a>(random: &mut Rng, from: &[&'a str]) -> &'a str {
    from[random.usize(..from.len())]
}

/// One message before a Sync, well formed or not.
fn message(random: &mut Rng) -> Message {
    const STATEMENT_NAMES: &[&str] = &["", "", "", "s", "r"];
    const PORTAL_NAMES: &[&str] = &["", "", "", "p", "q"];
    let statement = pick(random, STATEMENT_NAMES);
    let portal = pick(random, PORTAL_NAMES);
    let whole = match random.u8(..20) {
        0..5 => wire::parse(statement, pick(random, STATEMENTS), &[]),
        5..10 => wire::bind(portal, statement, &bind_parts(random)),
        10..14 => wire::execute(portal, random.i32(0..4)),
        14 => wire::describe_portal(portal),
        15 => wire::describe_statement(statement),
        16 => wire::close_statement(statement),
        17 => wire::close_portal(portal),
        18 => Message::new(tag::FLUSH, &[]),
        // Ignored outside of a COPY.
        _ => copy_message(random),
    };
    if random.u8(..30) > 0 { whole } else { malformed(random, &whole) }
}

/// The message with too few or too many bytes.
fn malformed(random: &mut Rng, whole: &Message) -> Message {
    let payload = whole.payload();
    if payload.is_empty() || random.bool() {
        Message::new(whole.tag(), &[payload, &[0]].concat())
    } else {
        Message::new(whole.tag(), &payload[..random.usize(..payload.len())])
    }
}

fn bind_parts(random: &mut Rng) -> BindParts {
    // Most values are right for an integer.
    let value = |random: &mut Rng| match random.u8(..16) {
        0..11 => Some(VALUES[random.usize(..5)]),
        11..15 => Some(VALUES[random.usize(..VALUES.len())]),
        _ => None,
    };
    let parameters =
        (0..random.usize(..=2)).map(|_| value(random).map(|value| value.to_vec().into())).collect();
    // Codes other than 0 for text and 1 for binary do not exist.
    let formats = |random: &mut Rng| match random.u8(..12) {
        0..8 => Vec::new(),
        8 | 9 => vec![1],
        10 => vec![0, 1],
        _ => vec![2],
    };
    BindParts { parameter_formats: formats(random), parameters, result_formats: formats(random) }
}

fn copy_message(random: &mut Rng) -> Message {
    match random.u8(..6) {
        0..3 => Message::new(tag::COPY_DATA, format!("{}\t1\n", random.u8(1..20)).as_bytes()),
        3 => Message::new(tag::COPY_DATA, b"x\t1\n"),
        4 => Message::new(tag::COPY_DONE, &[]),
        _ => Message::new(tag::COPY_FAIL, b"enough\0"),
    }
}

/// A COPY FROM STDIN, which ends before the Sync.
fn copy_batch(random: &mut Rng) -> Vec<Message> {
    let sql = "COPY t FROM STDIN";
    let simple = random.bool();
    let mut messages = if simple {
        vec![wire::query(sql)]
    } else {
        // Of these names, because an Execute of it elsewhere would wait for data.
        vec![
            wire::close_portal("copy"),
            wire::close_statement("copy"),
            wire::parse("copy", sql, &[]),
            wire::bind("copy", "copy", &BindParts::default()),
            wire::execute("copy", 0),
        ]
    };
    messages.extend((0..random.usize(..4)).map(|_| copy_message(random)));
    messages.push(match random.bool() {
        true => Message::new(tag::COPY_FAIL, b"enough\0"),
        false => Message::new(tag::COPY_DONE, &[]),
    });
    if !simple {
        messages.push(wire::sync());
    }
    messages
}

/// Messages whose answers end with one ReadyForQuery.
fn batch(random: &mut Rng) -> Vec<Message> {
    match random.u8(..16) {
        0 => copy_batch(random),
        1..4 => {
            let statements = [pick(random, STATEMENTS), pick(random, STATEMENTS)];
            vec![wire::query(&statements[random.usize(..2)..].join("; "))]
        }
        _ => {
            let mut messages: Vec<_> = (0..random.usize(..8)).map(|_| message(random)).collect();
            messages.push(wire::sync());
            messages
        }
    }
}

/// Messages that end the session.
fn last_batch(random: &mut Rng) -> Vec<Message> {
    let mut messages: Vec<_> = (0..random.usize(..4)).map(|_| message(random)).collect();
    messages.push(Message::new(if random.bool() { tag::TERMINATE } else { b'?' }, &[]));
    messages
}

/// The parts of a message that are compared.
fn shown(message: &Message) -> String {
    let kind = char::from(message.tag());
    match message.tag() {
        tag::ERROR | tag::NOTICE => {
            let error = DbError::read(message);
            format!("{kind} {} {}", error.severity, error.code)
        }
        tag::ROW_DESCRIPTION => format!("{kind} {}", wire::column_count(message)),
        _ => format!("{kind} {:?}", String::from_utf8_lossy(message.payload())),
    }
}

/// The answer up to ReadyForQuery, or to the end of the session.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut WireStream<S>,
    messages: &[Message],
) -> Vec<String> {
    let exchange = async {
        messages.iter().for_each(|message| wire.queue(message));
        wire.flush().await.unwrap();
        let mut answer = Vec::new();
        while let Some(message) = wire.message().await.unwrap() {
            answer.push(shown(&message));
            if message.tag() == tag::READY_FOR_QUERY {
                break;
            }
        }
        // The order of the settings that one statement changes is not defined.
        for reports in answer.chunk_by_mut(|one, other| is_report(one) && is_report(other)) {
            reports.sort();
        }
        answer
    };
    timeout(ANSWER_TIMEOUT, exchange).await.unwrap_or_else(|_| panic!("no answer to {messages:?}"))
}

/// Whether this is a ParameterStatus.
fn is_report(shown: &str) -> bool {
    shown.starts_with(char::from(tag::PARAMETER_STATUS))
}

/// A session of PostgreSQL, without TLS and as a superuser.
async fn direct(server: &Server) -> WireStream<TcpStream> {
    let mut wire = WireStream::new(TcpStream::connect(server.addr()).await.unwrap());
    let startup = [("user", "postgres"), ("database", "postgres"), ("TimeZone", "UTC")];
    wire.queue_raw(&wire::startup(&startup).frame());
    wire.flush().await.unwrap();
    while wire.message().await.unwrap().expect("a session").tag() != tag::READY_FOR_QUERY {}
    wire
}

#[tokio::test]
async fn random_messages_are_answered_as_postgresql_answers_them() {
    if offline() {
        return;
    }
    let server = Server::start(&Options { install: false, ..Options::default() }).unwrap();
    let emulator = DsqlEmulator::builder().postgres_url(server.url()).start().await.unwrap();
    let table = [wire::query("CREATE TABLE t (id int PRIMARY KEY, v int)")];
    answer(&mut direct(&server).await, &table).await;
    answer(&mut Client::connect(&emulator).await.wire, &table).await;
    let mut differences = Vec::new();
    for seed in 0..SESSIONS {
        let mut random = Rng::with_seed(seed);
        let mut postgresql = direct(&server).await;
        let options = ConnectOptions::of(&emulator).set("TimeZone", "UTC");
        let mut client = Client::open(&emulator, &options).await.unwrap();
        let mut before = vec![wire::query("DELETE FROM t")];
        answer(&mut postgresql, &before).await;
        answer(&mut client.wire, &before).await;
        for number in 0..=BATCHES {
            let messages =
                if number < BATCHES { batch(&mut random) } else { last_batch(&mut random) };
            let expected = answer(&mut postgresql, &messages).await;
            let found = answer(&mut client.wire, &messages).await;
            if messages[0].tag() == tag::QUERY {
                // A simple query destroys the unnamed portal. PostgreSQL keeps its own after an
                // error, against its documentation.
                let close = [wire::close_portal(""), wire::sync()];
                answer(&mut postgresql, &close).await;
                answer(&mut client.wire, &close).await;
            }
            before.extend(messages);
            if found != expected {
                let sent = written(&before);
                differences.push(format!("seed {seed}: {sent}\n{expected:?}\n{found:?}"));
                break;
            }
        }
    }
    let count = differences.len();
    assert!(differences.is_empty(), "{count} sessions differ:\n{}", differences.join("\n"));
}

/// Messages in readable form.
fn written(messages: &[Message]) -> String {
    let texts = messages.iter().map(|message| {
        let payload = String::from_utf8_lossy(message.payload()).replace('\0', "·");
        format!("{}({payload})", char::from(message.tag()))
    });
    texts.collect::<Vec<_>>().join(" ")
}

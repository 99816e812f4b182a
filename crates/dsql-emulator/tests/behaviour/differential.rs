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

use crate::support::{Client, offline};

/// Sessions, each with a seed of its own, and batches in each.
const SESSIONS: u64 = 100;
const BATCHES: usize = 25;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Statements that both execute alike.
const STATEMENTS: &[&str] = &[
    "SELECT 1",
    "SELECT $1::int + 1",
    "SELECT n, n * 2 FROM generate_series(1, 5) AS n",
    "SELECT id, v FROM t ORDER BY id",
    "INSERT INTO t VALUES ($1, 1)",
    "UPDATE t SET v = v + 1",
    "DELETE FROM t WHERE id = $1",
    "SELECT nothing",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SHOW TimeZone",
    "SET TimeZone TO 'Asia/Tokyo'",
    "RESET TimeZone",
    "",
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
    let whole = match random.u8(..16) {
        0..5 => wire::parse(statement, pick(random, STATEMENTS), &[]),
        5..9 => wire::bind(portal, statement, &bind_parts(random)),
        9..12 => wire::execute(portal, random.i32(0..4)),
        12 => wire::describe_portal(portal),
        13 => wire::describe_statement(statement),
        14 => wire::close_statement(statement),
        _ => close_portal(portal),
    };
    // PostgreSQL reads a Bind in parts, and can report another defect of it first.
    if random.u8(..40) > 0 || whole.tag() == tag::BIND {
        return whole;
    }
    // The message is too short or too long.
    let payload = whole.payload();
    if random.bool() {
        Message::new(whole.tag(), &payload[..payload.len() - 1])
    } else {
        Message::new(whole.tag(), &[payload, &[0]].concat())
    }
}

fn bind_parts(random: &mut Rng) -> BindParts {
    let parameters = match random.u8(..8) {
        0..4 => Vec::new(),
        4..7 => vec![Some(random.u8(b'1'..=b'5'))],
        _ => vec![None],
    };
    let parameters = parameters.into_iter().map(|digit| digit.map(|digit| vec![digit].into()));
    let result_formats = match random.u8(..8) {
        0..6 => Vec::new(),
        6 => vec![1],
        _ => vec![0, 1],
    };
    BindParts { parameters: parameters.collect(), result_formats, ..BindParts::default() }
}

fn close_portal(name: &str) -> Message {
    Message::new(tag::CLOSE, format!("P{name}\0").as_bytes())
}

/// Messages whose answers end with one ReadyForQuery.
fn batch(random: &mut Rng) -> Vec<Message> {
    if random.u8(..4) == 0 {
        // The simple protocol has no parameters.
        let simple: Vec<&str> = STATEMENTS.iter().copied().filter(|s| !s.contains('$')).collect();
        let statements = [pick(random, &simple), pick(random, &simple)];
        return vec![wire::query(&statements[..random.usize(1..=2)].join("; "))];
    }
    let mut messages: Vec<Message> = (0..random.usize(..7)).map(|_| message(random)).collect();
    messages.push(wire::sync());
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

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut WireStream<S>,
    messages: &[Message],
) -> Vec<String> {
    let exchange = async {
        messages.iter().for_each(|message| wire.queue(message));
        wire.flush().await.unwrap();
        let mut answer = Vec::new();
        loop {
            let message = wire.message().await.unwrap().expect("an open connection");
            answer.push(shown(&message));
            if message.tag() == tag::READY_FOR_QUERY {
                return answer;
            }
        }
    };
    timeout(ANSWER_TIMEOUT, exchange).await.unwrap_or_else(|_| panic!("no answer to {messages:?}"))
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
    for seed in 0..SESSIONS {
        let mut random = Rng::with_seed(seed);
        let mut postgresql = direct(&server).await;
        let mut client = Client::connect(&emulator).await;
        let mut before = Vec::new();
        for _ in 0..BATCHES {
            let messages = batch(&mut random);
            let expected = answer(&mut postgresql, &messages).await;
            let found = answer(&mut client.wire, &messages).await;
            before.push(messages);
            let sent: Vec<_> = before.iter().map(|batch| written(batch)).collect();
            assert_eq!(found, expected, "seed {seed}, after {}", sent.join(" | "));
        }
    }
}

/// A batch in readable form.
fn written(batch: &[Message]) -> String {
    let texts = batch.iter().map(|message| {
        let payload = String::from_utf8_lossy(message.payload()).replace('\0', "·");
        format!("{}({payload})", char::from(message.tag()))
    });
    texts.collect::<Vec<_>>().join(" ")
}

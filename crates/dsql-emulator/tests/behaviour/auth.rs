//! Authentication (aurora-dsql.md#connections, aurora-dsql.md#sessions): TLS, SNI, tokens, startup
//! parameters, limits.

use std::time::Duration;

use dsql_emulator::{
    Credentials, DsqlEmulator, Limits,
    wire::{self, DbError, Message, WireStream, tag},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use crate::support::{
    Client, ConnectOptions,
    client::{Refused, tls},
    start, start_default,
};

const SOON: Duration = Duration::from_secs(60);

/// The error of a client that is refused.
async fn refusal(emulator: &DsqlEmulator, options: &ConnectOptions) -> DbError {
    match Client::open(emulator, options).await {
        Ok(_) => panic!("let in: {options:?}"),
        Err(refused) => refused.error(),
    }
}

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

#[tokio::test]
async fn tls_and_sni_are_required_and_direct_tls_is_supported() {
    let Some(emulator) = start_default().await else { return };
    let mut plain = WireStream::new(TcpStream::connect(emulator.addr()).await.unwrap());
    plain.queue_raw(&wire::startup(&[("user", "admin"), ("database", "postgres")]).frame());
    plain.flush().await.unwrap();
    let answer = plain.message().await.unwrap().unwrap();
    assert_eq!(answer.tag(), tag::ERROR);
    let error = DbError::read(&answer);
    assert_eq!((&*error.severity, &*error.code), ("FATAL", "08P01"), "{error:?}");
    assert!(error.message.contains("SSL is mandatory"), "{error:?}");
    assert!(plain.message().await.unwrap().is_none(), "closed");

    let anonymous = ConnectOptions { sni: false, ..ConnectOptions::of(&emulator) };
    let error = refusal(&emulator, &anonymous).await;
    assert_eq!(error.message, "unable to accept connection, sni was not received");

    let direct = ConnectOptions { direct: true, ..ConnectOptions::of(&emulator) };
    let mut client = Client::open(&emulator, &direct).await.unwrap();
    assert_eq!(client.value("SELECT current_user").await, "admin");
}

#[tokio::test]
async fn a_certificate_of_another_emulator_is_not_trusted() {
    let Some(emulator) = start_default().await else { return };
    let Some(other) = start_default().await else { return };
    assert_ne!(emulator.ca_pem(), other.ca_pem());
    assert_eq!(std::fs::read_to_string(emulator.ca_file()).unwrap(), emulator.ca_pem());
    let url = other.url().replace(
        &other.ca_file().file_name().unwrap().to_string_lossy().into_owned(),
        &emulator.ca_file().file_name().unwrap().to_string_lossy(),
    );
    let error = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn the_hint_says_what_is_wrong_with_a_token() {
    let Some(emulator) = start_default().await else { return };
    let (host, region) = (emulator.host(), emulator.region());
    let quarter = Duration::from_secs(900);
    let own = emulator.credentials();
    let token = |credentials: &Credentials, host: &str, region: &str, user: &str| {
        credentials.token(host, region, user, quarter)
    };
    let right = token(own, host, region, "admin");
    let with_session = Credentials { session_token: Some("session".into()), ..own.clone() };
    let stranger = Credentials::new("AKIDSTRANGER", "secret");
    let forger = Credentials::new(own.access_key_id.clone(), "secret");
    let wrong = [
        (
            token(own, host, region, "somebody"),
            "Wrong user to action mapping. user: admin, action: DbConnect",
        ),
        (token(own, "other.example", region, "admin"), "host other.example"),
        (token(own, host, "eu-north-1", "admin"), "'us-east-1', not 'eu-north-1'"),
        (
            token(&stranger, host, region, "admin"),
            "The security token included in the request is invalid.",
        ),
        (
            token(&with_session, host, region, "admin"),
            "The security token included in the request is invalid.",
        ),
        (
            token(&forger, host, region, "admin"),
            "The request signature we calculated does not match",
        ),
        (right.replace("X-Amz-Expires=900", "X-Amz-Expires=9000"), "does not match"),
        (right.replace("%2Fdsql%2F", "%2Frds-db%2F"), "correct service: 'dsql'"),
        (right.replace("X-Amz-Signature", "X-Amz-Sig"), "not a presigned request"),
        ("password".into(), "not a presigned request"),
        (String::new(), "not a presigned request"),
        (
            own.token(host, region, "admin", Duration::from_secs(700_000)),
            "X-Amz-Expires must be less than a week (in seconds)",
        ),
    ];
    for (password, hint) in wrong {
        let error =
            refusal(&emulator, &ConnectOptions { password, ..ConnectOptions::of(&emulator) }).await;
        assert_eq!((&*error.severity, &*error.code), ("FATAL", "08006"));
        assert_eq!(error.message, "unable to accept connection, access denied");
        assert!(error.hint.as_ref().is_some_and(|said| said.contains(hint)), "{hint}: {error:?}");
    }
}

#[tokio::test]
async fn an_expired_token_is_refused_and_an_open_session_outlives_its_token() {
    let Some(emulator) = start_default().await else { return };
    let options = ConnectOptions::of(&emulator);
    let mut client = Client::open(&emulator, &options).await.unwrap();
    emulator.faults().shift_clock(Duration::from_secs(20 * 60));
    let error = refusal(&emulator, &options).await;
    assert!(error.hint.as_ref().is_some_and(|h| h.starts_with("Signature expired: ")), "{error:?}");
    assert_eq!(client.value("SELECT 1").await, "1");
    // A session ends an hour after its begin.
    emulator.faults().shift_clock(Duration::from_secs(40 * 60));
    let end = timeout(SOON, client.next()).await.expect("an end");
    assert!(end.is_err(), "{end:?}");
    emulator.faults().clear();
    Client::connect(&emulator).await;
}

#[tokio::test]
async fn a_role_can_connect_when_it_exists_and_is_mapped_to_the_identity() {
    let Some(emulator) = start(DsqlEmulator::builder().own_postgres()).await else { return };
    let app = ConnectOptions::of(&emulator).user(&emulator, "app");
    let unknown = refusal(&emulator, &app).await;
    assert_eq!((&*unknown.severity, &*unknown.code), ("FATAL", "08P01"), "{unknown:?}");
    let mut admin = Client::connect(&emulator).await;
    admin.ok("CREATE ROLE app WITH LOGIN").await;
    let denied = refusal(&emulator, &app).await;
    assert_eq!(denied.code, "08006");
    assert!(denied.hint.is_some_and(|hint| hint.contains("is not authorized")));
    admin.ok(&format!("AWS IAM GRANT app TO '{}'", emulator.arn())).await;
    let mut client = Client::open(&emulator, &app).await.unwrap();
    assert_eq!(client.value("SELECT current_user || ' ' || session_user").await, "app app");
    let (code, _) = client.refused("CREATE TABLE public.t (id int PRIMARY KEY)").await;
    assert_eq!(code, "42501");
    // A token for admin is not valid for another role.
    let wrong = ConnectOptions { password: emulator.token("admin"), ..app.clone() };
    let hint = refusal(&emulator, &wrong).await.hint.unwrap();
    assert_eq!(hint, "Wrong user to action mapping. user: app, action: DbConnectAdmin");
    admin.ok(&format!("AWS IAM REVOKE app FROM '{}'", emulator.arn())).await;
    assert_eq!(refusal(&emulator, &app).await.code, "08006");
}

#[tokio::test]
async fn startup_parameters_are_restricted_and_there_is_one_database() {
    let Some(emulator) = start_default().await else { return };
    let options = ConnectOptions::of(&emulator)
        .set("application_name", "me")
        .set("DateStyle", "ISO, DMY")
        .set("options", "-c search_path=a,b -c enable_seqscan=off");
    let mut client = Client::open(&emulator, &options).await.unwrap();
    assert_eq!(client.value("SHOW search_path").await, "a,b");
    assert_eq!(client.value("SHOW application_name").await, "me");
    assert!(client.parameters.contains(&("server_version".into(), "16.15".into())));
    for (name, value) in [
        ("statement_timeout", "5"),
        ("default_transaction_read_only", "on"),
        ("role", "admin"),
        ("options", "-c lock_timeout=5"),
    ] {
        let error = refusal(&emulator, &ConnectOptions::of(&emulator).set(name, value)).await;
        let named = if name == "options" { "lock_timeout" } else { name };
        assert_eq!((&*error.severity, &*error.code), ("FATAL", "0A000"));
        let message = format!("setting configuration parameter \"{named}\" not supported");
        assert_eq!(error.message, message);
    }
    let elsewhere = ConnectOptions { database: "other".into(), ..ConnectOptions::of(&emulator) };
    assert_eq!(refusal(&emulator, &elsewhere).await.code, "3D000");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused_until_one_closes() {
    let builder = DsqlEmulator::builder().limits(limits(|limits| limits.connections = 2));
    let Some(emulator) = start(builder).await else { return };
    let options = ConnectOptions::of(&emulator);
    let first = Client::open(&emulator, &options).await.unwrap();
    let _second = Client::open(&emulator, &options).await.unwrap();
    let error = refusal(&emulator, &options).await;
    assert_eq!(
        (&*error.code, &*error.message),
        ("53300", "Unable to accept connection, too many open connections.")
    );
    drop(first);
    let again = async {
        while Client::open(&emulator, &options).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, again).await.expect("a free connection");
}

#[tokio::test]
async fn connections_above_the_rate_are_refused() {
    let slow = limits(|limits| (limits.connection_rate, limits.connection_burst) = (0.001, 2.0));
    let Some(emulator) = start(DsqlEmulator::builder().limits(slow)).await else { return };
    Client::connect(&emulator).await;
    Client::connect(&emulator).await;
    let error = refusal(&emulator, &ConnectOptions::of(&emulator)).await;
    assert_eq!(
        (&*error.code, &*error.message),
        ("53400", "Unable to accept connection, rate exceeded.")
    );
}

/// There are no more messages, and TLS ends with close_notify: without it, a client must assume a
/// truncation attack.
async fn ends_with_close_notify<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut WireStream<S>) {
    let end = timeout(SOON, wire.message()).await.expect("an end");
    assert_eq!(end.expect("a close_notify"), None);
}

#[tokio::test]
async fn a_session_ended_by_its_client_ends_with_close_notify() {
    let Some(emulator) = start_default().await else { return };
    for last in [Message::new(tag::TERMINATE, &[]), Message::new(b'?', &[])] {
        let mut client = Client::connect(&emulator).await;
        client.send(std::slice::from_ref(&last)).await.unwrap();
        if last.tag() != tag::TERMINATE {
            let error = DbError::read(&client.next().await.unwrap());
            assert_eq!((&*error.severity, &*error.code), ("FATAL", "08P01"));
        }
        ends_with_close_notify(&mut client.wire).await;
    }
}

#[tokio::test]
async fn malformed_messages_before_a_session_are_refused() {
    let Some(emulator) = start_default().await else { return };
    let startup = wire::startup(&[("user", "admin"), ("database", "postgres")]).frame();
    let first = |payload: &[u8]| {
        let length = i32::try_from(4 + payload.len()).unwrap().to_be_bytes();
        [&length[..], payload].concat()
    };
    let followed = |message: Message| [&startup[..], message.frame()].concat();
    for (sent, code, message) in [
        (first(&startup[4..startup.len() - 1]), "08P01", "invalid startup packet layout"),
        (first(&[&startup[4..], b"x"].concat()), "08P01", "invalid startup packet layout"),
        (first(&[0, 2, 0, 0]), "0A000", "unsupported frontend protocol 2.0"),
        (followed(wire::query("SELECT 1")), "08P01", "expected password response"),
        (followed(Message::new(tag::PASSWORD, b"x")), "08P01", "invalid password packet size"),
        (followed(Message::new(tag::PASSWORD, b"x\0y\0")), "08P01", "invalid password packet size"),
    ] {
        let mut wire =
            WireStream::new(tls(&emulator, &ConnectOptions::of(&emulator)).await.unwrap());
        wire.queue_raw(&sent);
        wire.flush().await.unwrap();
        let mut answer = wire.message().await.unwrap().unwrap();
        if answer.tag() == tag::AUTHENTICATION {
            answer = wire.message().await.unwrap().unwrap();
        }
        assert_eq!(answer.tag(), tag::ERROR, "{message}");
        let error = DbError::read(&answer);
        assert_eq!((&*error.severity, &*error.code), ("FATAL", code), "{error:?}");
        assert!(error.message.starts_with(message), "{error:?}");
        ends_with_close_notify(&mut wire).await;
    }
}

#[tokio::test]
async fn a_newer_protocol_and_its_options_are_negotiated() {
    let Some(emulator) = start_default().await else { return };
    for (minor, options, answered) in [
        (0, &[][..], false),
        (2, &[], true),
        (0, &["_pq_.one", "_pq_.other"], true),
        (2, &["_pq_.one"], true),
    ] {
        let mut wire =
            WireStream::new(tls(&emulator, &ConnectOptions::of(&emulator)).await.unwrap());
        let options = options.iter().copied();
        let parameters = [("user", "admin"), ("database", "postgres")]
            .into_iter()
            .chain(options.clone().map(|name| (name, "on")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let startup = wire::FirstMessage::Startup(wire::Startup { minor, parameters });
        wire.queue_raw(&startup.frame());
        wire.flush().await.unwrap();
        let mut message = wire.message().await.unwrap().unwrap();
        if answered {
            assert_eq!(message.tag(), tag::NEGOTIATE_VERSION);
            let count = i32::try_from(options.len()).unwrap();
            let names = options.map(|name| format!("{name}\0")).collect::<String>();
            let expected =
                [&196_608_i32.to_be_bytes()[..], &count.to_be_bytes(), names.as_bytes()].concat();
            assert_eq!(message.payload(), expected);
            message = wire.message().await.unwrap().unwrap();
        }
        assert_eq!(message.tag(), tag::AUTHENTICATION, "{minor}");
        let password = format!("{}\0", emulator.token("admin"));
        wire.queue(&Message::new(tag::PASSWORD, password.as_bytes()));
        wire.flush().await.unwrap();
        while message.tag() != tag::READY_FOR_QUERY {
            assert_ne!(message.tag(), tag::ERROR, "{minor}");
            message = wire.message().await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn a_session_that_is_too_old_is_closed_but_may_finish_its_transaction() {
    let Some(emulator) = start_default().await else { return };
    let mut idle = Client::connect(&emulator).await;
    let mut busy = Client::connect(&emulator).await;
    // A session ends after 60 minutes, and a transaction after 5.
    emulator.faults().shift_clock(Duration::from_secs(58 * 60));
    busy.ok("BEGIN").await;
    emulator.faults().shift_clock(Duration::from_secs(3 * 60));
    ends_with_close_notify(&mut idle.wire).await;
    assert_eq!(busy.value("SELECT 1").await, "1");
    assert_eq!(busy.ok("COMMIT").await, "COMMIT");
    ends_with_close_notify(&mut busy.wire).await;
}

#[tokio::test]
async fn a_client_can_cancel_only_its_own_statement() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    client.ok("CREATE SEQUENCE s CACHE 1").await;
    let mut other = Client::connect(&emulator).await;
    let (process, secret) = client.key;
    let asks = |secret| {
        let emulator = &emulator;
        async move {
            let mut wire =
                WireStream::new(tls(emulator, &ConnectOptions::of(emulator)).await.unwrap());
            wire.queue_raw(&wire::FirstMessage::Cancel { process, secret }.frame());
            wire.flush().await.unwrap();
            ends_with_close_notify(&mut wire).await;
        }
    };
    let sleeps = client.run("SELECT nextval('s'), pg_sleep(600)");
    tokio::pin!(sleeps);
    // A sequence is not part of a transaction: it shows that the statement runs.
    let runs = async {
        while other.value("SELECT is_called FROM s").await == "f" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        ended = &mut sleeps => panic!("it ended: {ended:?}"),
        () = runs => {}
    }
    asks(secret ^ 1).await;
    assert!(timeout(Duration::from_millis(200), &mut sleeps).await.is_err());
    asks(secret).await;
    let observation = timeout(SOON, sleeps).await.expect("an end");
    assert_eq!(observation.refused().0, "57014");
}

#[tokio::test]
async fn a_message_that_is_too_long_closes_the_connection_without_an_error() {
    let small = limits(|limits| limits.message_bytes = 10_000);
    let Some(emulator) = start(DsqlEmulator::builder().limits(small)).await else { return };
    let mut client = Client::connect(&emulator).await;
    let text = format!("SELECT length('{}')", "x".repeat(9_000));
    assert_eq!(client.value(&text).await, "9000");
    let text = text.replace('x', "xx");
    assert!(client.try_query(&text).await.is_err());
    match Client::open(
        &emulator,
        &ConnectOptions { password: "x".repeat(20_000), ..ConnectOptions::of(&emulator) },
    )
    .await
    {
        Err(Refused::Closed(_)) => {}
        Err(Refused::Error(error)) => panic!("{error:?}"),
        Ok(_) => panic!("let in"),
    }
}

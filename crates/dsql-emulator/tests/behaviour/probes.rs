//! Plays every probe on the emulator, over TLS and with a token, and on PostgreSQL.
//!
//! The recorded probes have the answers of a real cluster; the others have those of the emulator
//! (`probes/README.md`). `UPDATE_PROBES=1` writes the answers of the emulator into the latter.

use std::{env, fs, path::Path};

use dsql_emulator::{
    DsqlEmulator,
    postgres::{Options, Server},
    probes::{self, Encryption, On, PlayError, Played, ProbeFile, Recorded, Target},
};
use serde::Serialize;
use sqlx::{Connection, PgConnection};

use crate::support::{Client, offline, start_default};

/// The document with the table of the recorded files: `docs/emulator.md`.
const DOCUMENT: &str = include_str!("../../README.md");

/// The files whose answers the emulator has given.
const INFERRED: [&str; 2] = ["inferred", "store"];

fn target(emulator: &DsqlEmulator) -> Target {
    Target {
        host: emulator.host().into(),
        port: emulator.port(),
        user: "admin".into(),
        password: emulator.token("admin"),
        database: "postgres".into(),
        encryption: Encryption::Authority(emulator.ca_pem().into()),
    }
}

async fn play_all(target: &Target, on: On) -> Vec<Played> {
    let mut all = Vec::new();
    for file in probes::files().unwrap() {
        all.push(probes::play(target, &file, on).await.unwrap());
    }
    all
}

fn differences(all: &[Played]) -> Vec<&str> {
    all.iter().flat_map(|played| &played.differences).map(String::as_str).collect()
}

fn update(file: &ProbeFile) {
    let path = format!("{}/probes/{}.json", env!("CARGO_MANIFEST_DIR"), file.name);
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
    file.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter)).unwrap();
    text.push(b'\n');
    fs::write(Path::new(&path), text).unwrap();
}

#[tokio::test]
async fn the_emulator_answers_every_probe_as_recorded_and_nothing_is_left() {
    let Some(emulator) = start_default().await else { return };
    let target = target(&emulator);
    assert_eq!(probes::version(&target).await.unwrap(), "PostgreSQL 16");
    let all = play_all(&target, On::OneSession).await;
    if env::var("UPDATE_PROBES").is_ok_and(|update| update == "1") {
        let inferred = |played: &&Played| INFERRED.contains(&&*played.file.name);
        all.iter().filter(inferred).for_each(|played| update(&played.file));
        return;
    }
    let differences = differences(&all);
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));

    let mut client = Client::connect(&emulator).await;
    let schemas = "SELECT string_agg(nspname, ' ' ORDER BY nspname) FROM pg_namespace \
                   WHERE nspname !~ '^(pg_|information_schema)'";
    assert_eq!(client.value(schemas).await, "public sys");
    let relations = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(client.value(relations).await, "0");

    for played in all {
        assert_eq!(played.alike, played.file.cases.len(), "{}", played.file.name);
        let row = format!("| `{}` | {} |", played.file.name, played.alike);
        assert!(DOCUMENT.contains(&row), "the document should have the row {row}");
    }
}

#[tokio::test]
async fn a_probe_has_the_same_answer_on_a_new_connection() {
    let Some(emulator) = start_default().await else { return };
    let all = play_all(&target(&emulator), On::NewSessions).await;
    let differences = differences(&all);
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

/// A PostgreSQL server, and a role of it that is not a superuser.
async fn postgresql() -> Option<(Server, Target)> {
    if offline() {
        return None;
    }
    let server = Server::start(&Options::default()).unwrap();
    let url = url::Url::parse(&server.url()).unwrap();
    let mut admin = PgConnection::connect(&server.url()).await.unwrap();
    let database = url.path().trim_start_matches('/').to_owned();
    let role = "CREATE ROLE player LOGIN PASSWORD 'of the player'; GRANT CREATE ON DATABASE postgres TO player";
    sqlx::raw_sql(role).execute(&mut admin).await.unwrap();
    let target = Target {
        host: url.host_str().unwrap().to_owned(),
        port: url.port().unwrap(),
        user: "player".into(),
        password: "of the player".into(),
        database: if database.is_empty() { "postgres".into() } else { database },
        encryption: Encryption::None,
    };
    Some((server, target))
}

#[tokio::test]
async fn on_postgresql_the_differences_are_the_rules() {
    let Some((server, target)) = postgresql().await else { return };
    let version = probes::version(&target).await.unwrap();
    assert!(version.starts_with("PostgreSQL "), "{version}");
    let mut refusals = 0;
    for mut file in probes::files().unwrap() {
        // The sessions of the others would wait for each other's locks.
        file.cases.retain(|case| case.session_steps.is_empty());
        let played = match probes::play(&target, &file, On::OneSession).await {
            Ok(played) => played,
            // Its schema has asynchronous indexes.
            Err(error) => {
                assert_eq!(file.name, "store", "{error}");
                continue;
            }
        };
        for case in &file.cases {
            let start = format!("{}: ", case.name);
            let differs = played.differences.iter().any(|found| found.starts_with(&start));
            let is_refused = |answer: &Recorded| answer.sqlstate.as_deref() == Some("0A000");
            let is_rule = case.observations.iter().any(is_refused);
            refusals += usize::from(is_rule);
            // PostgreSQL refuses this one as well.
            if is_rule && case.name != "sys_call_wait_for_job" {
                assert!(differs, "{}", case.name);
            } else if file.name == "supported" {
                let differs_by_default = case.name == "show_transaction_isolation";
                assert_eq!(differs, differs_by_default, "{}", case.name);
            }
        }
        if file.name == "rules" {
            // Version 16 does not have the settings lc_collate and lc_ctype any more.
            let alike = if version.starts_with("PostgreSQL 15") { 0 } else { 2 };
            assert_eq!(played.alike, alike);
        }
    }
    assert!(refusals > 200, "{refusals}");
    assert!(left_in(&server).await.is_empty());
}

/// The schemas that a server has and that PostgreSQL does not create.
async fn left_in(server: &Server) -> Vec<String> {
    let mut admin = PgConnection::connect(&server.url()).await.unwrap();
    let schemas = "SELECT nspname::text FROM pg_namespace \
                   WHERE nspname !~ '^(pg_|information_schema|public)'";
    sqlx::query_scalar(schemas).fetch_all(&mut admin).await.unwrap()
}

#[tokio::test]
async fn a_superuser_of_another_server_does_not_play() {
    let Some((server, target)) = postgresql().await else { return };
    let superuser = "ALTER ROLE player SUPERUSER";
    let mut admin = PgConnection::connect(&server.url()).await.unwrap();
    sqlx::raw_sql(superuser).execute(&mut admin).await.unwrap();
    let refused = probes::version(&target).await.unwrap_err();
    assert!(matches!(&refused, PlayError::Superuser { user } if user == "player"), "{refused}");
}

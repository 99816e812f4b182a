//! Runs every recorded probe on the emulator, over TLS and with a token.
//!
//! The probes are statements with the answers of a real cluster (`probes/README.md`). Each file
//! gets a new emulator with the relations of `probes/setup.sql`. Outcome, SQLSTATE and message are
//! compared, or tag, columns and rows; for races, their rule.

use std::{collections::BTreeMap, fs, path::Path};

use dsql_emulator::DsqlEmulator;
use serde::Deserialize;

use crate::support::{Client, Observation, start_default};

/// Probes that the emulator answers differently on purpose, with the reason. They are also in the
/// table of `docs/emulator.md`.
const ACCEPTED: &[(&str, &str)] = &[];

/// The document that lists them: `docs/emulator.md`.
const DOCUMENT: &str = include_str!("../../README.md");

#[derive(Debug, Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    #[serde(default)]
    steps: Vec<String>,
    #[serde(default)]
    observations: Vec<Recorded>,
    #[serde(default)]
    ignore_rows: bool,
    #[serde(default)]
    session_steps: Vec<Vec<String>>,
    #[serde(default)]
    session_results: Vec<Vec<Recorded>>,
    /// It is a race which session loses.
    #[serde(default)]
    conflict_race: bool,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
struct Recorded {
    outcome: String,
    #[serde(default)]
    command_tag: Option<String>,
    #[serde(default)]
    columns: Vec<String>,
    #[serde(default)]
    rows: Vec<Vec<String>>,
    #[serde(default)]
    sqlstate: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

impl Recorded {
    /// The observation in the form of the recorder.
    fn of(observation: &Observation, ignore_rows: bool) -> Self {
        if let Some(error) = &observation.error {
            return Self {
                outcome: "error".into(),
                sqlstate: Some(error.code.clone()),
                message: Some(error.message.clone()),
                ..Self::default()
            };
        }
        let rows = observation.rows.iter().map(|row| {
            let values = row.iter().zip(&observation.types);
            values.map(|(value, oid)| go(value.as_deref(), *oid)).collect()
        });
        Self {
            outcome: "ok".into(),
            command_tag: observation.tag.clone(),
            columns: observation.columns.clone(),
            rows: if ignore_rows { Vec::new() } else { rows.collect() },
            ..Self::default()
        }
    }

    fn without_rows_if(mut self, ignore_rows: bool) -> Self {
        if ignore_rows {
            self.rows.clear();
        }
        self
    }
}

/// Formats a value as the recorder, a program in Go, does.
fn go(value: Option<&str>, oid: u32) -> String {
    const UUID: u32 = 2950;
    const TEXT_ARRAY: u32 = 1009;
    const INET: u32 = 869;
    let Some(text) = value else { return "NULL".into() };
    match oid {
        UUID => {
            let digits: Vec<char> = text.chars().filter(|c| *c != '-').collect();
            let bytes = digits.chunks(2).map(|pair| {
                let pair: String = pair.iter().collect();
                u8::from_str_radix(&pair, 16).expect("a byte").to_string()
            });
            format!("[{}]", bytes.collect::<Vec<_>>().join(" "))
        }
        TEXT_ARRAY => {
            let inner = text.trim_start_matches('{').trim_end_matches('}');
            format!("[{}]", inner.replace(',', " "))
        }
        INET if !text.contains('/') => format!("{text}/32"),
        _ => text.to_owned(),
    }
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/probes"))
}

/// The probes, file by file.
fn files() -> BTreeMap<String, File> {
    fs::read_dir(folder())
        .expect("the folder of the probes")
        .filter_map(|options| {
            let path = options.expect("an options").path();
            let name = path.file_stem()?.to_str()?.to_owned();
            let is_json = path.extension().is_some_and(|extension| extension == "json");
            let text = is_json.then(|| fs::read_to_string(&path).expect("a file"))?;
            Some((name, serde_json::from_str(&text).expect("probes")))
        })
        .collect()
}

async fn emulator() -> Option<DsqlEmulator> {
    let emulator = start_default().await?;
    let mut client = Client::connect(&emulator).await;
    let setup = fs::read_to_string(folder().join("setup.sql")).expect("setup.sql");
    for statement in setup.split(";\n").map(str::trim).filter(|text| !text.is_empty()) {
        client.ok(statement).await;
    }
    Some(emulator)
}

/// Differences of one case; empty if it passes.
async fn differences(emulator: &DsqlEmulator, client: &mut Client, case: &Case) -> Vec<String> {
    if case.session_steps.is_empty() {
        let mut differences = Vec::new();
        for (step, recorded) in case.steps.iter().zip(&case.observations) {
            let observation = client.run(step).await;
            let found = Recorded::of(&observation, case.ignore_rows);
            let recorded = recorded.clone().without_rows_if(case.ignore_rows);
            if found != recorded {
                differences.push(format!("{step}\n  recorded {recorded:?}\n  found    {found:?}"));
            }
        }
        // A case can leave its transaction open.
        client.query("ROLLBACK").await;
        return differences;
    }
    let mut clients = Vec::new();
    for _ in &case.session_steps {
        clients.push(Client::connect(emulator).await);
    }
    let mut found: Vec<Vec<Recorded>> = vec![Vec::new(); clients.len()];
    let steps = case.session_steps.iter().map(Vec::len).max().unwrap_or(0);
    for step in 0..steps {
        for (session, client) in clients.iter_mut().enumerate() {
            if let Some(sql) = case.session_steps[session].get(step) {
                let observation = client.run(sql).await;
                found[session].push(Recorded::of(&observation, case.ignore_rows));
            }
        }
    }
    let recorded: Vec<Vec<Recorded>> = case
        .session_results
        .iter()
        .map(|session| {
            session.iter().map(|r| r.clone().without_rows_if(case.ignore_rows)).collect()
        })
        .collect();
    if found == recorded || (case.conflict_race && is_the_same_race(&recorded, &found, &case.name))
    {
        return Vec::new();
    }
    vec![format!("sessions\n  recorded {recorded:?}\n  found    {found:?}")]
}

/// Whether one session loses, at the recorded step and with the recorded error, and everything else
/// is as recorded.
fn is_the_same_race(recorded: &[Vec<Recorded>], found: &[Vec<Recorded>], name: &str) -> bool {
    let losses = |sessions: &[Vec<Recorded>]| -> Vec<(usize, Recorded)> {
        sessions
            .iter()
            .flat_map(|session| session.iter().cloned().enumerate())
            .filter(|(_, step)| step.outcome == "error")
            .collect()
    };
    let (expected, lost) = (losses(recorded), losses(found));
    let both_may_lose = name == "occ_multirow_predicate";
    let as_many = lost.len() == 1 || (both_may_lose && lost.len() == 2);
    let alike = as_many && lost.iter().all(|loss| expected.contains(loss));
    let others_alike = recorded.iter().zip(found).all(|(recorded, found)| {
        recorded.iter().zip(found).enumerate().all(|(step, (recorded, found))| {
            recorded == found || expected.iter().any(|(at, _)| *at == step)
        })
    });
    alike && others_alike
}

/// The connection for cases with one session.
#[derive(Clone, Copy, Debug, PartialEq)]
enum On {
    /// One connection for all cases of a file, as they were recorded.
    TheSame,
    /// A new connection, while jobs of earlier cases are running.
    ItsOwn,
}

#[tokio::test]
async fn every_recorded_probe_is_answered_as_the_cluster_answered_it() {
    let mut failures = Vec::new();
    let Some(table) = run_all(On::TheSame, &mut failures).await else { return };
    println!("{table}");
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    for (name, reason) in ACCEPTED {
        let options = format!("| `{name}` | {reason} |");
        assert!(DOCUMENT.contains(&options), "the document does not explain `{name}`");
    }
    assert!(DOCUMENT.contains(&table), "the table of the document should be:\n{table}");
}

#[tokio::test]
async fn a_probe_has_the_same_answer_on_a_new_connection() {
    let mut failures = Vec::new();
    if run_all(On::ItsOwn, &mut failures).await.is_none() {
        return;
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

/// Runs all files; returns the table for the document.
async fn run_all(on: On, failures: &mut Vec<String>) -> Option<String> {
    let mut table = String::new();
    for (file, probes) in files() {
        let (mut passed, mut accepted_here) = (0, 0);
        let emulator = emulator().await?;
        let mut client = Client::connect(&emulator).await;
        for case in &probes.cases {
            if on == On::ItsOwn {
                client = Client::connect(&emulator).await;
            }
            let differences = differences(&emulator, &mut client, case).await;
            let accepted = ACCEPTED.iter().any(|(name, _)| *name == case.name);
            match (differences.is_empty(), accepted) {
                (true, false) => passed += 1,
                (false, true) => accepted_here += 1,
                (true, true) => {
                    failures
                        .push(format!("{file}/{} passes and is listed as a difference", case.name));
                }
                (false, false) => {
                    failures.push(format!("{file}/{}: {}", case.name, differences.join("\n")));
                }
            }
        }
        table.push_str(&format!("| `{file}.json` | {passed} | {accepted_here} |\n"));
    }
    Some(table)
}

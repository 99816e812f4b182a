//! The guide's table of command lines that were written for the Go tools: each is run on a cluster, and
//! so is the line that a refusal gives.

use std::{fs, path::PathBuf};

use crate::support::{Run, Tool, newest};
use temporal_dsql_testkit::ScratchCluster;

/// A row of the table.
struct Row {
    line: String,
    database: String,
    result: String,
}

fn rows() -> Vec<Row> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/go-tools.md");
    let guide = fs::read_to_string(path).unwrap();
    let (_, table) = guide.split_once("<!-- lines: begin -->\n").unwrap();
    let (table, _) = table.split_once("<!-- lines: end -->").unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [line, _origin, database, result] = cells[..] else { panic!("{line}") };
        Row {
            line: line.trim_matches('`').to_owned(),
            database: database.to_owned(),
            result: result.to_owned(),
        }
    };
    table.lines().skip(2).map(row).collect()
}

/// The words of `line`, with the values of its variables.
fn words(line: &str, cluster: &ScratchCluster) -> Vec<String> {
    let port = cluster.port().to_string();
    let mut line = line.replace("5432", &port);
    for (name, value) in [
        // Longer names first.
        ("$VISIBILITY_DBNAME", "temporal_visibility"),
        ("$VISIBILITY_DB", "temporal_visibility"),
        ("$POSTGRES_TLS_ENABLED", "true"),
        ("$CLUSTER_ENDPOINT", cluster.host()),
        ("$POSTGRES_SEEDS", cluster.host()),
        ("$POSTGRES_USER", "admin"),
        ("$SQL_PASSWORD", "hunter2"),
        ("$MYSQL_SEEDS", cluster.host()),
        ("$MYSQL_USER", "admin"),
        ("$TEMPORAL_DB", "temporal"),
        ("$AWS_REGION", cluster.region()),
        ("$SQL_USER", "admin"),
        ("$SQL_HOST", cluster.host()),
        ("$NEWEST", &newest()),
        ("$port", &port),
        ("$DATABASE", "postgres"),
        ("$DB_PORT", &port),
        ("$DB_USER", "admin"),
        ("$DBNAME", "temporal"),
        ("$REGION", cluster.region()),
        ("$DB", "postgres12"),
    ] {
        line = line.replace(name, value);
    }
    assert!(!line.contains('$'), "a variable has no value: {line}");
    shlex::split(&line).unwrap()
}

/// Runs `words`: assignments, the name of the tool, and its arguments.
fn run(cluster: &ScratchCluster, words: &[String]) -> Run {
    let mut tool = tool(cluster);
    let mut words = words;
    while let [assignment, rest @ ..] = words
        && let Some((name, value)) = assignment.split_once('=')
    {
        tool.set(name, value);
        words = rest;
    }
    let program = words[0].rsplit('/').next().unwrap();
    assert!(["temporal-dsql-tool", "temporal-sql-tool"].contains(&program), "{program}");
    let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    tool.run(&arguments)
}

fn tool(cluster: &ScratchCluster) -> Tool {
    let mut tool = Tool::nowhere();
    tool.set("CLUSTER_ENDPOINT", cluster.host());
    tool.set("SQL_PORT", cluster.port().to_string());
    tool.set("REGION", cluster.region());
    tool.set("AWS_ACCESS_KEY_ID", &cluster.credentials().access_key_id);
    tool.set("AWS_SECRET_ACCESS_KEY", &cluster.credentials().secret_access_key);
    tool.set("SQL_TLS_CA_FILE", cluster.ca_file());
    tool
}

/// Lines that are run at the same time.
const WORKERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_line_of_the_guide_works_or_is_refused_with_the_line_to_use() {
    let rows = rows();
    assert!(rows.len() >= 43, "only {} rows were found", rows.len());
    let mut workers: [Vec<Row>; WORKERS] = Default::default();
    for (number, row) in rows.into_iter().enumerate() {
        workers[number % WORKERS].push(row);
    }
    let workers = workers.map(|rows| {
        tokio::spawn(async move {
            for row in rows {
                check(row).await;
            }
        })
    });
    for worker in workers {
        worker.await.unwrap();
    }
}

async fn check(Row { line, database, result }: Row) {
    let moment = std::time::Duration::from_millis(10);
    let delays = dsql_emulator::JobDelays {
        start: moment,
        work: moment,
        ..dsql_emulator::JobDelays::default()
    };
    let Some(cluster) = ScratchCluster::create(|builder| builder.job_delays(delays)).await else {
        return;
    };
    // `1.0 as 1.12`: the tables of 1.0, recorded at 1.12.
    let (tables, recorded) = database.split_once(" as ").unwrap_or((&database, &database));
    if tables != "empty" {
        for name in ["postgres", "temporal"] {
            tool(&cluster).ok(&["setup", "-v", tables, "--logical-database", name]);
        }
        let record = format!("UPDATE schema_version SET curr_version = '{recorded}'");
        cluster.query(&record).await.unwrap();
    }
    let given = run(&cluster, &words(&line, &cluster));
    let shown = format!("{line}\n{}{}", given.out, given.err);
    assert!(!shown.contains("hunter2"), "{shown}");
    match result.strip_prefix("refused; ") {
        None => {
            assert_eq!(result, "works");
            assert_eq!(given.code, 0, "{shown}");
        }
        Some("leave it out") => {
            assert_eq!(given.code, 2, "{shown}");
            assert!(given.err.contains("leave this command out"), "{shown}");
        }
        // Each line but the last is refused with the next.
        Some(instead) => {
            let lines = instead.strip_prefix("use `").unwrap().trim_end_matches('`');
            let mut given = given;
            for instead in lines.split("`, then `") {
                let expected = words(instead, &cluster);
                let shown = format!("{}{}", given.out, given.err);
                assert_eq!(given.code, 2, "{shown}");
                let printed = given.err.lines().last().unwrap();
                assert_eq!(shlex::split(printed).unwrap(), expected, "{shown}");
                given = run(&cluster, &expected);
            }
            assert_eq!(given.code, 0, "{lines}\n{}{}", given.out, given.err);
        }
    }
}

#[test]
fn the_version_is_printed_where_go_prints_it() {
    let version = format!("temporal-dsql-tool {}\n", env!("CARGO_PKG_VERSION"));
    for arguments in [&["-v"][..], &["--version"], &["-version"], &["-V"], &["-v", "setup-schema"]]
    {
        assert_eq!(Tool::nowhere().ok(arguments).out, version, "{arguments:?}");
    }
    assert!(Tool::nowhere().ok(&[]).out.contains("Usage: temporal-dsql-tool"));
}

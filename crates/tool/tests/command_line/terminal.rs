//! The tool on a terminal: the confirmation prompt, Ctrl-C and the spinner.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::support::{Tool, blocking, newest};
use rustix::{
    fs::{Mode, OFlags, open},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use temporal_dsql_testkit::{
    FaultProxy, HookAction, RecordedDeployment, ScratchDatabase, When, WireFault,
};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A run of the tool on its own terminal.
struct OnTerminal {
    child: Child,
    keyboard: File,
    screen: mpsc::Receiver<u8>,
}

impl OnTerminal {
    fn start(tool: &Tool, arguments: &[&str]) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let terminal = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let child = tool
            .command(arguments)
            .env("TERM", "xterm")
            .stdin(Stdio::from(terminal.try_clone().unwrap()))
            .stdout(Stdio::null())
            .stderr(Stdio::from(terminal))
            .spawn()
            .unwrap();
        let keyboard = File::from(keyboard);
        let mut shown = keyboard.try_clone().unwrap();
        let (sender, screen) = mpsc::channel();
        thread::spawn(move || {
            let mut byte = [0];
            // Ends when the last handle of the terminal is closed.
            while shown.read_exact(&mut byte).is_ok() && sender.send(byte[0]).is_ok() {}
        });
        Self { child, keyboard, screen }
    }

    /// The output up to and including `text`.
    fn until(&self, text: &str) -> String {
        let deadline = Instant::now() + TIMEOUT;
        let mut shown = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(byte) = self.screen.recv_timeout(left) else {
                panic!("`{text}` was not shown: {}", String::from_utf8_lossy(&shown));
            };
            shown.push(byte);
            if shown.ends_with(text.as_bytes()) {
                return String::from_utf8(shown).unwrap();
            }
        }
    }

    /// The exit code.
    fn end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.child.kill().unwrap();
        panic!("the tool does not exit");
    }
}

/// A database at 1.0 with one row, and a version under a second logical name.
async fn with_a_row() -> Option<ScratchDatabase> {
    let database = ScratchDatabase::create().await?;
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema", "--version", "1.0"]);
    tool.ok(&["setup-schema", "--version", "1.0", "--logical-database", "temporal"]);
    database.execute("INSERT INTO shards VALUES (1, 1, 'x', 'Proto3')").await.unwrap();
    Some(database)
}

async fn rows(database: &ScratchDatabase) -> String {
    let count = "SELECT count(*) FROM shards";
    database.query(count).await.unwrap()[0][0].clone().unwrap()
}

const OVERWRITE: [&str; 4] = ["setup-schema", "--overwrite", "--version", "1.0"];

#[tokio::test]
async fn the_prompt_lists_what_is_dropped_and_only_yes_proceeds() {
    let Some(database) = with_a_row().await else { return };
    let tool = Tool::new(&database);
    for (answer, code, left) in [("n\n", 1, "1"), ("\n", 1, "1"), ("YES\n", 0, "0")] {
        let mut run = OnTerminal::start(&tool, &OVERWRITE);
        let question = run.until("Continue (y/N)? ");
        for named in [
            "drops 38 tables with all rows",
            "  shards",
            "note: the version recorded for `temporal`",
        ] {
            assert!(question.contains(named), "`{named}` is not in {question}");
        }
        assert!(!question.contains('\u{1b}'), "the spinner runs during the prompt: {question:?}");
        run.keyboard.write_all(answer.as_bytes()).unwrap();
        if code == 1 {
            run.until("not confirmed; nothing was changed");
        }
        assert_eq!(run.end(), Some(code), "{answer:?}");
        assert_eq!(rows(&database).await, left, "{answer:?}");
    }
}

#[tokio::test]
async fn tables_that_differ_from_the_schema_are_dropped_after_their_own_word_only() {
    let Some(database) = with_a_row().await else { return };
    let other = "ALTER TABLE shards DROP COLUMN data, ADD COLUMN title TEXT; \
                 CREATE VIEW report AS SELECT title FROM shards";
    database.execute(other).await.unwrap();
    let tool = Tool::new(&database);
    let run = tool.run(&[&OVERWRITE[..], &["--yes", "--drop-dependents"]].concat());
    assert_eq!(run.code, 3, "{}", run.err);
    assert!(run.err.contains("pass `--drop-different`"), "{}", run.err);
    let run = tool.run(&[&OVERWRITE[..], &["--yes", "--drop-different"]].concat());
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("view public.report depends on shards"), "{}", run.err);
    assert!(run.err.contains("pass `--drop-dependents`"), "{}", run.err);
    for (answer, code, left) in [("y\n", 1, "1"), ("\n", 1, "1"), ("DIFFERENT\n", 0, "0")] {
        let mut run = OnTerminal::start(&tool, &[&OVERWRITE[..], &["--drop-dependents"]].concat());
        let question = run.until("Type `different` to drop all of them: ");
        for named in [
            "table shards differs from every version of this schema",
            "so it may belong to something else:\r\n  - column shards.data is missing\r\n  - column shards.title",
            "  view public.report",
        ] {
            assert!(question.contains(named), "`{named}` is not in {question}");
        }
        run.keyboard.write_all(answer.as_bytes()).unwrap();
        assert_eq!(run.end(), Some(code), "{answer:?}");
        assert_eq!(rows(&database).await, left, "{answer:?}");
    }
}

#[tokio::test]
async fn ctrl_c_at_the_prompt_cancels_the_run() {
    let Some(database) = with_a_row().await else { return };
    let mut run = OnTerminal::start(&Tool::new(&database), &OVERWRITE);
    run.until("Continue (y/N)? ");
    kill_process(Pid::from_child(&run.child), Signal::INT).unwrap();
    run.until("interrupted");
    assert_eq!(run.end(), Some(1));
    assert_eq!(rows(&database).await, "1");
}

#[tokio::test]
async fn a_terminal_shows_a_spinner_and_keeps_the_lines_of_steps() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    let (_, dry_run) = tool.json(&["setup-schema", "--dry-run"]);
    let steps = dry_run["dry_run"][0]["steps"].as_array().unwrap().len();
    let mut run = OnTerminal::start(&tool, &["setup-schema"]);
    let shown = run.until(&format!("[{steps}/{steps}] record version {}", newest()));
    assert!(shown.contains('\u{1b}'), "{shown:?}");
    assert!(shown.contains(&format!("[14/{steps}] create table shards (")), "{shown:?}");
    assert_eq!(run.end(), Some(0));
}

#[test]
fn the_bar_of_an_import_takes_the_place_of_the_spinner() {
    let Some(source) = blocking(RecordedDeployment::new().create()) else { return };
    let target = blocking(ScratchDatabase::create()).unwrap();
    Tool::new(&target).ok(&["setup-schema"]);
    // The copy lasts for several frames.
    let proxy = FaultProxy::start(target.addr().unwrap()).unwrap();
    let slow = || {
        thread::sleep(Duration::from_secs(1));
        HookAction::Continue
    };
    proxy.inject(When::Executing(r#"INSERT INTO "shards""#.to_owned()), WireFault::before(slow));
    let (tool, from) = (Tool::via(&target, proxy.addr()), source.url());
    let mut run = OnTerminal::start(&tool, &["import", "--from", &from, "--jobs", "1"]);
    let before = run.until("% copying: ");
    assert!(before.contains("checking both databases"), "{before:?}");
    assert_eq!(run.end(), Some(0));
    assert_eq!(proxy.pending_faults(), 0);
    // Ends with the terminal.
    let after: Vec<u8> = run.screen.iter().collect();
    let after = String::from_utf8(after).unwrap();
    assert!(!after.contains("reading "), "{after:?}");
    // The end of each line is there.
    let lines: Vec<_> = after.lines().collect();
    assert!(lines.iter().any(|line| line.contains("B/s, ") && line.contains(" left")), "{after:?}");
    assert!(lines.iter().any(|line| line.contains(" tables, ") && line.contains("B of ")));
}

//! The databases that the Go fork's tool makes, complete and half-way, and what becomes of them here
//! (temporal-persistence.md#setup-schema, temporal-persistence.md#update-schema).

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgConnectOptions};
use temporal_dsql_client::connector_with;
use temporal_dsql_domain::{Engine, SchemaVersion};
use temporal_dsql_migrate::{
    DEFAULT_DATABASE, HISTORY_TABLE, IgnoreProgress, MigrateError, Migrator, Overwrite, Plan,
    PostgresDatabase, Rollback, Schema, Setup, Timeouts, VERSION_TABLE,
};

use crate::{
    errors::chain,
    spec::{assert_is, whole},
};

const V1_0: SchemaVersion = SchemaVersion::new(1, 0);
const V1_1: SchemaVersion = SchemaVersion::new(1, 1);

/// What the Go tool executes first.
const VERSION_TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS schema_version (version_partition INT NOT NULL, \
     db_name VARCHAR(255) NOT NULL, creation_time TIMESTAMP, curr_version VARCHAR(64), \
     min_compatible_version VARCHAR(64), PRIMARY KEY (version_partition, db_name))",
    "CREATE TABLE IF NOT EXISTS schema_update_history (version_partition INT NOT NULL, \
     year INT NOT NULL, month INT NOT NULL, update_time TIMESTAMP NOT NULL, \
     description VARCHAR(255), manifest_md5 VARCHAR(64), new_version VARCHAR(64), \
     old_version VARCHAR(64), PRIMARY KEY (version_partition, year, month, update_time))",
];

/// What it executed in the first days of January 2026.
const FIRST_VERSION_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_version \
     (curr_version VARCHAR(255) NOT NULL, min_compatible_version VARCHAR(255) NOT NULL, \
     last_updated_time TIMESTAMP NOT NULL, PRIMARY KEY (curr_version))";

/// What the Go tool has done.
#[derive(Clone, Copy)]
pub enum Done {
    /// Created the version tables.
    VersionTables,
    /// Executed this many statements of the version's file, or all.
    Statements(SchemaVersion, usize),
    /// Written the version row.
    Version(&'static str),
    /// Written a history row, from the first version to the second.
    History(&'static str, &'static str),
    /// Dropped the tables up to this name, for `--overwrite`.
    Dropped(&'static str),
    /// This statement, by another version of the tool or by an operator.
    Sql(&'static str),
}

use Done::{Dropped, History, Sql, Statements, Version, VersionTables};

/// A command of this tool.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// `setup-schema --version 1.1`.
    Setup,
    /// `setup-schema --version 1.1 --overwrite`.
    Overwrite,
    /// `update-schema --version 1.1`.
    Update,
    /// `rollback-schema --to 1.0`.
    Rollback,
    /// `adopt-schema`.
    Adopt,
    /// A statement of the operator.
    Sql(&'static str),
}

/// A database that the Go tool has left behind.
pub struct State {
    pub name: &'static str,
    pub done: &'static [Done],
    /// What each command says: a part of its error, or its pending steps.
    pub says: [(Command, &'static str); 4],
    /// What `verify` says.
    pub verify: &'static str,
    /// The commands that make it exactly 1.1.
    pub remedy: &'static [Command],
    /// Whether they keep its rows.
    pub keeps_rows: bool,
    /// Whether the emulator's tests make it, too, which takes longer than on PostgreSQL.
    pub on_emulator: bool,
}

const ALL: usize = usize::MAX;
/// The number of tables before the first row is inserted.
const BEFORE_FIRST_ROW: usize = 4;

/// `setup`, `update`, `rollback` and `adopt`.
const fn says(
    setup: &'static str,
    update: &'static str,
    rollback: &'static str,
    adopt: &'static str,
) -> [(Command, &'static str); 4] {
    [
        (Command::Setup, setup),
        (Command::Update, update),
        (Command::Rollback, rollback),
        (Command::Adopt, adopt),
    ]
}

pub const STATES: &[State] = &[
    State {
        name: "a setup that ended after the version tables",
        done: &[VersionTables],
        says: says(
            "create table cluster_metadata_info; ",
            "no schema version is recorded",
            "no schema version is recorded",
            "has none of the tables of the schema",
        ),
        verify: "no schema version is recorded",
        remedy: &[Command::Setup],
        keeps_rows: true,
        on_emulator: false,
    },
    State {
        name: "a setup that ended before the first row",
        done: &[VersionTables, Statements(V1_1, BEFORE_FIRST_ROW)],
        says: says(
            "insert the initial row of namespace_metadata; create table shards; ",
            "no schema version is recorded",
            "no schema version is recorded",
            "differs least from 1.0:\n  - table activity_info_maps is missing\n",
        ),
        verify: "no schema version is recorded",
        remedy: &[Command::Setup],
        keeps_rows: true,
        on_emulator: false,
    },
    State {
        name: "a setup that ended in the middle",
        done: &[VersionTables, Statements(V1_1, 30)],
        says: says(
            "create index cm_idx_rolehost",
            "no schema version is recorded",
            "no schema version is recorded",
            "differs least from 1.0:\n  - table build_id_to_task_queue is missing\n",
        ),
        verify: "no schema version is recorded",
        remedy: &[Command::Setup],
        keeps_rows: true,
        on_emulator: true,
    },
    State {
        name: "a setup that ended before the version row",
        done: &[VersionTables, Statements(V1_1, ALL)],
        says: says(
            "record version 1.1 for `postgres`",
            "no schema version is recorded",
            "no schema version is recorded",
            "record version 1.1 for `postgres`",
        ),
        verify: "no schema version is recorded",
        remedy: &[Command::Setup],
        keeps_rows: true,
        on_emulator: false,
    },
    State {
        name: "a setup as 1.1",
        done: &[VersionTables, Statements(V1_1, ALL), Version("1.1"), History("0", "1.1")],
        says: says(
            "nothing to do",
            "nothing to do",
            "record version 1.0 for `postgres`; drop table current_chasm_executions",
            "nothing to do",
        ),
        verify: "matches version 1.1",
        remedy: &[],
        keeps_rows: true,
        on_emulator: false,
    },
    State {
        name: "a setup as 1.1 that ended before the history row",
        done: &[VersionTables, Statements(V1_1, ALL), Version("1.1")],
        says: says(
            "nothing to do",
            "nothing to do",
            "record version 1.0 for `postgres`; drop table current_chasm_executions",
            "nothing to do",
        ),
        verify: "matches version 1.1",
        remedy: &[Command::Update],
        keeps_rows: true,
        on_emulator: false,
    },
    State {
        name: "a setup as 1.0, which has the tables of 1.1",
        done: &[VersionTables, Statements(V1_1, ALL), Version("1.0"), History("0", "1.0")],
        says: says(
            "run `update-schema --version 1.1`",
            "record version 1.1 for `postgres`",
            "drop table current_chasm_executions",
            "record version 1.1 for `postgres`",
        ),
        verify: "table current_chasm_executions belongs to version 1.1\n\
                 It has exactly the tables of version 1.1. If 1.0 was recorded by mistake, \
                 `adopt-schema` records 1.1.",
        remedy: &[Command::Update],
        keeps_rows: true,
        on_emulator: true,
    },
    State {
        name: "a setup of the tables of 1.0 as 1.12, as the guide said",
        done: &[VersionTables, Statements(V1_0, ALL), Version("1.12"), History("0", "1.12")],
        says: says(
            "newer than this tool (1.1); run `adopt-schema` to record 1.0, whose tables the database \
             has exactly; but if it is a version of your own, give its files with `--schema-dir`",
            "run `adopt-schema` to record 1.0",
            "run `adopt-schema` to record 1.0",
            "record version 1.0 for `postgres`",
        ),
        verify: "run `adopt-schema` to record 1.0",
        remedy: &[Command::Adopt, Command::Update],
        keeps_rows: true,
        on_emulator: true,
    },
    State {
        name: "a setup of the tables of 1.1 as 1.12",
        done: &[VersionTables, Statements(V1_1, ALL), Version("1.12"), History("0", "1.12")],
        says: says(
            "run `adopt-schema` to record 1.1",
            "run `adopt-schema` to record 1.1",
            "run `adopt-schema` to record 1.1",
            "record version 1.1 for `postgres`",
        ),
        verify: "run `adopt-schema` to record 1.1",
        remedy: &[Command::Adopt],
        keeps_rows: true,
        on_emulator: false,
    },
    State {
        name: "a setup as 1.12 without an index, whose build failed and which was dropped",
        done: &[
            VersionTables,
            Statements(V1_0, ALL),
            Version("1.12"),
            Sql("DROP INDEX idx_namespaces_name"),
        ],
        says: says(
            "run `adopt-schema` to record 1.0",
            "run `adopt-schema` to record 1.0",
            "run `adopt-schema` to record 1.0",
            "create index idx_namespaces_name; record version 1.0 for `postgres`",
        ),
        verify: "run `adopt-schema` to record 1.0",
        remedy: &[Command::Adopt, Command::Update],
        keeps_rows: true,
        on_emulator: true,
    },
    State {
        name: "the tables of 1.0 and NULL for a version",
        done: &[
            VersionTables,
            Statements(V1_0, ALL),
            Version("1.0"),
            Sql("UPDATE schema_version SET curr_version = NULL"),
        ],
        says: says(
            "is ``, which is not a version",
            "run `adopt-schema` to record 1.0",
            "run `adopt-schema` to record 1.0",
            "record version 1.0 for `postgres`",
        ),
        verify: "run `adopt-schema` to record 1.0",
        remedy: &[Command::Adopt, Command::Update],
        keeps_rows: true,
        on_emulator: true,
    },
    State {
        name: "a setup of the tables of 1.0 as 1.1",
        done: &[VersionTables, Statements(V1_0, ALL), Version("1.1"), History("0", "1.1")],
        says: says(
            "table current_chasm_executions is missing\nnothing was changed; restore what is \
             missing from a backup; if 1.1 was recorded by mistake, run `adopt-schema` to record 1.0",
            "if 1.1 was recorded by mistake, run `adopt-schema` to record 1.0",
            "record version 1.0 for `postgres`",
            "record version 1.0 for `postgres`",
        ),
        verify: "If 1.1 was recorded by mistake, `adopt-schema` records 1.0.",
        remedy: &[Command::Adopt, Command::Update],
        keeps_rows: true,
        on_emulator: false,
    },
    State {
        name: "`setup-schema -v 0.0`, before an update",
        done: &[VersionTables, Version("0.0"), History("0", "0.0")],
        says: says(
            "version 0.0 is already recorded, and `setup-schema` changes no recorded version; run \
             `update-schema --version 1.1`",
            "record version 1.0 for `postgres`; create table current_chasm_executions; record",
            "the database is at 0.0, older than 1.0; run `update-schema --version 1.0`",
            "has none of the tables of the schema",
        ),
        verify: "matches version 0.0",
        remedy: &[Command::Update],
        keeps_rows: true,
        on_emulator: false,
    },
    State {
        name: "an update from 0.0 that ended after the first row, which stops the Go tool for good",
        done: &[VersionTables, Version("0.0"), Statements(V1_0, 20)],
        says: says(
            "run `update-schema --version 1.1`",
            "create index cm_idx_rolehost",
            "older than 1.0",
            "differs least from 1.0:\n  - table build_id_to_task_queue is missing\n",
        ),
        verify: "table namespace_metadata belongs to version 1.0",
        remedy: &[Command::Update],
        keeps_rows: true,
        on_emulator: true,
    },
    State {
        name: "an update from 0.0 that ended before the version row",
        done: &[VersionTables, Version("0.0"), Statements(V1_0, ALL)],
        says: says(
            "run `update-schema --version 1.1`",
            "record version 1.0 for `postgres`; create table current_chasm_executions; record",
            "older than 1.0",
            "record version 1.0 for `postgres`",
        ),
        verify: "If 0.0 was recorded by mistake, `adopt-schema` records 1.0.",
        remedy: &[Command::Update],
        keeps_rows: true,
        on_emulator: false,
    },
    State {
        name: "an update to 1.0",
        done: &[VersionTables, Version("0.0"), Statements(V1_0, ALL), Version("1.0")],
        says: says(
            "run `update-schema --version 1.1`",
            "create table current_chasm_executions; record version 1.1 for `postgres`",
            "nothing to do",
            "nothing to do",
        ),
        verify: "matches version 1.0",
        remedy: &[Command::Update],
        keeps_rows: true,
        on_emulator: false,
    },
    State {
        name: "a version that was lowered because it could not be read",
        done: &[VersionTables, Statements(V1_1, ALL), Version("1.1"), Version("0.0")],
        says: says(
            "run `update-schema --version 1.1`",
            "record version 1.0 for `postgres`; record version 1.1 for `postgres`",
            "older than 1.0",
            "record version 1.1 for `postgres`",
        ),
        verify: "If 0.0 was recorded by mistake, `adopt-schema` records 1.1.",
        remedy: &[Command::Adopt],
        keeps_rows: true,
        on_emulator: false,
    },
    State {
        name: "an overwrite that ended early",
        done: &[VersionTables, Statements(V1_1, ALL), Version("1.1"), Dropped("history_tree")],
        says: says(
            "table activity_info_maps is missing",
            "table activity_info_maps is missing",
            "table activity_info_maps is missing",
            "differs least from 1.0:\n  - table activity_info_maps is missing",
        ),
        verify: "table activity_info_maps is missing",
        remedy: &[Command::Overwrite],
        keeps_rows: false,
        on_emulator: false,
    },
    State {
        name: "an overwrite of a database at 1.12 that ended early",
        done: &[VersionTables, Statements(V1_0, ALL), Version("1.12"), Dropped("history_tree")],
        says: says(
            "newer than this tool",
            "newer than this tool",
            "newer than this tool",
            "differs least from 1.0:\n  - table activity_info_maps is missing",
        ),
        verify: "newer than this tool",
        remedy: &[Command::Overwrite],
        keeps_rows: false,
        on_emulator: false,
    },
    State {
        name: "an overwrite that ended after the version row was dropped",
        done: &[VersionTables, Statements(V1_1, ALL), Version("1.1"), Dropped("schema_version")],
        says: says(
            "create table schema_version; create table schema_update_history; ",
            "no schema version is recorded",
            "no schema version is recorded",
            "differs least from 1.0:\n  - ",
        ),
        verify: "no schema version is recorded",
        remedy: &[Command::Overwrite],
        keeps_rows: false,
        on_emulator: false,
    },
    State {
        name: "version tables of the first days",
        done: &[
            Sql(FIRST_VERSION_TABLE),
            Statements(V1_0, ALL),
            Sql("INSERT INTO schema_version VALUES ('1.12', '1.12', now())"),
        ],
        says: says(
            "column schema_version.db_name is missing",
            "column schema_version.db_name is missing",
            "column schema_version.db_name is missing",
            "column schema_version.db_name is missing",
        ),
        verify: "column schema_version.db_name is missing",
        remedy: &[Command::Sql("DROP TABLE schema_version"), Command::Adopt, Command::Update],
        keeps_rows: true,
        on_emulator: false,
    },
];

/// The statements of the fork's file of `version`, in its order: the tables with their first rows and
/// unique indexes, then the other indexes. A plain INSERT, as there.
fn statements(version: SchemaVersion, engine: Engine) -> Vec<String> {
    let schema = Schema::embedded().unwrap().until(V1_1);
    let texts = schema.statements_between(SchemaVersion::NONE, version).iter();
    let texts =
        texts.map(|statement| statement.text(engine).replace(" ON CONFLICT DO NOTHING", ""));
    let (indexes, tables): (Vec<_>, Vec<_>) =
        texts.partition(|text| text.starts_with("CREATE INDEX"));
    [tables, indexes].concat()
}

impl Done {
    fn sql(self, engine: Engine) -> Vec<String> {
        match self {
            VersionTables => VERSION_TABLES.map(str::to_owned).to_vec(),
            Statements(version, count) => {
                statements(version, engine).into_iter().take(count).collect()
            }
            Version(version) => vec![format!(
                "INSERT INTO schema_version VALUES (0, 'postgres', now(), '{version}', '{version}') \
                 ON CONFLICT (version_partition, db_name) DO UPDATE SET creation_time = now(), \
                 curr_version = EXCLUDED.curr_version, \
                 min_compatible_version = EXCLUDED.min_compatible_version"
            )],
            History(old, new) => vec![format!(
                "INSERT INTO schema_update_history VALUES (0, 2026, 1, now(), 'initial version', \
                 '', '{new}', '{old}')"
            )],
            Dropped(last) => {
                let schema = Schema::embedded().unwrap().until(V1_1);
                let mut tables: Vec<_> = schema.objects_at(V1_1).tables.into_keys().collect();
                tables.extend([VERSION_TABLE, HISTORY_TABLE].map(str::to_owned));
                tables.sort();
                tables.retain(|table| table.as_str() <= last);
                tables
                    .iter()
                    .map(|table| format!("DROP TABLE IF EXISTS public.\"{table}\""))
                    .collect()
            }
            Sql(text) => vec![text.to_owned()],
        }
    }
}

/// One connection of an operator.
struct Operator(PgConnection);

impl Operator {
    async fn run(&mut self, sql: &str) -> Vec<Vec<u8>> {
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut self.0).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
        // The simple protocol returns text.
        let cells = rows.iter().flat_map(|row| {
            use sqlx::Row as _;
            (0..row.len()).map(|column| {
                let value = row.try_get_raw(column).unwrap();
                value.as_bytes().map(<[u8]>::to_vec).unwrap_or_default()
            })
        });
        cells.collect()
    }

    /// The rows of two tables of executions; none without the tables.
    async fn rows(&mut self) -> Vec<Vec<u8>> {
        let mut rows = Vec::new();
        for table in ["executions", "namespace_metadata"] {
            let exists = format!("SELECT count(*) FROM pg_tables WHERE tablename = '{table}'");
            if self.run(&exists).await == [b"1"] {
                rows.extend(self.run(&format!("SELECT * FROM {table}")).await);
            }
        }
        rows
    }
}

fn migrator(database: &mut PostgresDatabase, timeouts: Timeouts) -> Migrator<'_> {
    static SCHEMA: std::sync::LazyLock<Schema> =
        std::sync::LazyLock::new(|| Schema::embedded().unwrap().until(V1_1));
    Migrator::new(&SCHEMA, database, DEFAULT_DATABASE, timeouts, &IgnoreProgress)
}

async fn plan(command: Command, migrator: &mut Migrator<'_>) -> Result<Plan, MigrateError> {
    let setup = Setup { version: Some(V1_1), ..Setup::default() };
    match command {
        Command::Setup => migrator.plan_setup(&setup).await,
        Command::Overwrite => {
            migrator.plan_overwrite(&Overwrite { setup, ..Overwrite::default() }).await
        }
        Command::Update => migrator.plan_update(Some(V1_1)).await,
        Command::Rollback => {
            migrator
                .plan_rollback(&Rollback { to: V1_0, with_rows: false, drop_dependents: false })
                .await
        }
        Command::Adopt => migrator.plan_adoption().await,
        Command::Sql(_) => unreachable!("it is not planned"),
    }
}

fn shown(plan: Result<Plan, MigrateError>) -> String {
    match plan {
        Err(error) => chain(&error),
        Ok(plan) if plan.is_done() => "nothing to do".to_owned(),
        Ok(plan) => plan.pending().map(|step| step.summary()).collect::<Vec<_>>().join("; "),
    }
}

impl State {
    /// Makes this state in the empty database at `url`, asserts what every command says of it, and
    /// makes it exactly 1.1.
    pub async fn check(&self, url: &str, timeouts: Timeouts) {
        let name = self.name;
        let options: PgConnectOptions = url.parse().unwrap();
        let connect = async || {
            PostgresDatabase::connect(connector_with(options.clone()), None, &timeouts.retry)
                .await
                .unwrap()
        };
        use temporal_dsql_migrate::SchemaDatabase as _;
        let engine = connect().await.engine();
        let mut operator = Operator(PgConnection::connect_with(&options).await.unwrap());
        for done in self.done {
            for sql in done.sql(engine) {
                operator.run(&sql).await;
            }
        }
        let exists = "SELECT count(*) FROM pg_tables WHERE tablename = 'executions'";
        if operator.run(exists).await == [b"1"] {
            let row = "INSERT INTO executions VALUES (1, gen_random_uuid(), 'id', \
                       gen_random_uuid(), 3, 0, 'data', 'Proto3', 'state', 'Proto3', 7)";
            operator.run(row).await;
        }
        let before = operator.rows().await;
        let mut database = connect().await;
        for (command, expected) in self.says {
            let said = shown(plan(command, &mut migrator(&mut database, timeouts)).await);
            assert!(said.contains(expected), "{name}: {command:?}: {said}");
        }
        let found = migrator(&mut database, timeouts).verify(None).await;
        let said = found.map_or_else(|error| chain(&error), |found| found.to_string());
        assert!(said.contains(self.verify), "{name}: verify: {said}");
        assert_eq!(operator.rows().await, before, "{name}: nothing was changed");

        for command in self.remedy {
            if let Command::Sql(sql) = command {
                operator.run(sql).await;
                continue;
            }
            let mut migrator = migrator(&mut database, timeouts);
            let applied = match plan(*command, &mut migrator).await {
                Ok(plan) => migrator.apply(&plan).await,
                Err(error) => Err(error),
            };
            if let Err(error) = applied {
                panic!("{name}: {command:?}: {}", chain(&error));
            }
        }
        let found = migrator(&mut database, timeouts).verify(None).await.unwrap();
        assert!(found.is_clean() && found.version == V1_1, "{name}: {found}");
        assert_is(&database.catalog(&whole()).await.unwrap(), V1_1);
        if self.keeps_rows && !before.is_empty() {
            let mut operator = Operator(PgConnection::connect_with(&options).await.unwrap());
            assert_eq!(operator.rows().await, before, "{name}: rows");
        }
    }
}

//! The rules, statement by statement.

mod locking;
mod refusals;
mod suites;

use super::*;
use crate::sql::split;

fn context(builtins: &HashSet<String>) -> Context<'_> {
    let unrecorded = Unrecorded::default();
    Context { builtins, server_version: 15, database: "host", sync_index: false, unrecorded }
}

fn plan_of(sql: &str) -> Plan {
    let builtins = ["lower", "count", "now", "pg_sleep", "extract", "in", "as", "union", "values"]
        .map(str::to_owned)
        .into();
    plan(&split(sql).remove(0), &context(&builtins))
}

fn refusal(sql: &str) -> (String, String) {
    match plan_of(sql) {
        Plan::Refuse(error) => (error.code, error.message),
        other => panic!("{sql} is not refused: {other:?}"),
    }
}

fn run(sql: &str) -> Run {
    match plan_of(sql) {
        Plan::Run(run) => run,
        other => panic!("{sql} is not run: {other:?}"),
    }
}

#[test]
fn refusals_have_the_expected_messages() {
    let add_constraint = "unsupported ALTER TABLE ADD CONSTRAINT statement";
    let add_column = "ALTER TABLE ADD COLUMN with constraint not supported";
    let locking = "locking clauses other than FOR UPDATE/FOR KEY SHARE are not supported";
    let sync = "unsupported mode. please use CREATE INDEX ASYNC.";
    let table = [
        // aurora-dsql.md#transactions
        ("BEGIN ISOLATION LEVEL SERIALIZABLE", "Unsupported isolation level: SERIALIZABLE"),
        (
            "START TRANSACTION READ ONLY, ISOLATION LEVEL READ COMMITTED",
            "Unsupported isolation level: READ COMMITTED",
        ),
        (
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "Unsupported isolation level: SERIALIZABLE",
        ),
        (
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "setting configuration parameter \"TRANSACTION\" not supported",
        ),
        (
            "SET TRANSACTION READ ONLY",
            "setting configuration parameter \"TRANSACTION\" not supported",
        ),
        (
            "SET default_transaction_isolation = 'serializable'",
            "setting configuration parameter \"default_transaction_isolation\" not supported",
        ),
        (
            "SET LOCAL transaction_isolation TO 'serializable'",
            "setting configuration parameter \"transaction_isolation\" not supported",
        ),
        (
            "SET default_transaction_read_only = on",
            "setting configuration parameter \"default_transaction_read_only\" not supported",
        ),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "Unsupported isolation level: SERIALIZABLE",
        ),
        ("DEALLOCATE p", "unsupported statement: Deallocate"),
        // aurora-dsql.md#locks
        ("SELECT 1 FROM t FOR SHARE", locking),
        ("SELECT 1 FROM t WHERE a IN (SELECT b FROM u FOR NO KEY UPDATE)", locking),
        // aurora-dsql.md#refused-statements
        ("CREATE TEMP TABLE t (a int)", "TEMPORARY or TEMP table not supported for CREATE TABLE"),
        ("CREATE TABLE t AS SELECT 1 AS a", "unsupported statement: CreateTableAs"),
        ("CREATE TABLE IF NOT EXISTS t (a) AS VALUES (1)", "unsupported statement: CreateTableAs"),
        ("SELECT a INTO t FROM u", "unsupported statement: CreateTableAs"),
        ("ALTER TYPE t ADD VALUE 'b'", "ALTER TYPE not supported"),
        ("ALTER TYPE t RENAME TO u", "unsupported object in RENAME statement"),
        ("DROP TYPE t", "unsupported object in DROP statement"),
        (
            "WITH s AS (SELECT 1 AS a) MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE",
            "unsupported statement type: MERGE",
        ),
        ("EXPLAIN MERGE INTO t USING s ON true", "unsupported statement type: MERGE"),
        ("COPY (SELECT 1 FROM t FOR SHARE) TO STDOUT", locking),
        (
            "SET LOCAL TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "Unsupported isolation level: SERIALIZABLE",
        ),
        (
            "SET SESSION TRANSACTION READ ONLY, ISOLATION LEVEL READ COMMITTED",
            "Unsupported isolation level: READ COMMITTED",
        ),
        (
            "SET TRANSACTION SNAPSHOT 'x'",
            "setting configuration parameter \"TRANSACTION\" not supported",
        ),
        (
            "SET LOCAL SESSION AUTHORIZATION x",
            "setting configuration parameter \"session_authorization\" not supported",
        ),
        ("SELECT * FROM t TABLESAMPLE SYSTEM (10)", "TABLESAMPLE clause not supported"),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$",
            "CREATE FUNCTION with language plpgsql not supported",
        ),
        (
            "CREATE OR REPLACE FUNCTION f() RETURNS int AS 'x' LANGUAGE 'C'",
            "CREATE FUNCTION with language c not supported",
        ),
        ("SELECT 'a' COLLATE \"en_US\"", "COLLATE clause not supported"),
        (
            "CREATE SEQUENCE s INCREMENT 1",
            "CREATE SEQUENCE is not supported without an explicit cache size. please define CACHE greater than or equal to 65536 or equal to 1",
        ),
        (
            "CREATE TABLE t (a int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)",
            "identity column is not supported without an explicit cache size. please define CACHE greater than or equal to 65536 or equal to 1",
        ),
        ("GRANT USAGE ON SCHEMA public TO app", "feature not supported on system entity"),
        // aurora-dsql.md#alter-table
        ("ALTER TABLE t ADD COLUMN a text NOT NULL", add_column),
        ("ALTER TABLE t ADD a serial DEFAULT 1", add_column),
        ("ALTER TABLE t ADD COLUMN a bigint GENERATED ALWAYS AS IDENTITY", add_column),
        ("ALTER TABLE t ADD COLUMN a int REFERENCES u (b)", add_column),
        ("ALTER TABLE t ADD CONSTRAINT c UNIQUE (a)", add_constraint),
        ("ALTER TABLE t ADD PRIMARY KEY (a)", add_constraint),
        ("ALTER TABLE t ADD CONSTRAINT c PRIMARY KEY USING INDEX i", add_constraint),
        ("ALTER TABLE t ADD CHECK (a > 0)", add_constraint),
        ("ALTER TABLE t ADD COLUMN b int, ADD FOREIGN KEY (a) REFERENCES u (b)", add_constraint),
        // aurora-dsql.md#indexes
        ("CREATE INDEX i ON t (a)", sync),
        ("CREATE UNIQUE INDEX ON t (a)", sync),
        ("CREATE INDEX ASYNC i ON t USING btree (a)", "USING not supported for CREATE INDEX"),
        ("CREATE INDEX ASYNC ON t (a text_pattern_ops)", "opclass not supported for index keys"),
        (
            "CREATE INDEX ASYNC ON t ((lower(a)) text_pattern_ops)",
            "opclass not supported for index keys",
        ),
        // aurora-dsql.md#sessions
        (
            "SET statement_timeout = 1000",
            "setting configuration parameter \"statement_timeout\" not supported",
        ),
        (
            "SET SESSION lock_timeout TO '1s'",
            "setting configuration parameter \"lock_timeout\" not supported",
        ),
        (
            "SET client_min_messages TO warning",
            "setting configuration parameter \"client_min_messages\" not supported",
        ),
        ("RESET work_mem", "setting configuration parameter \"work_mem\" not supported"),
        ("SELECT pg_advisory_lock(1)", "function pg_advisory_lock not supported"),
        (
            "SELECT pg_catalog.pg_try_advisory_xact_lock(1)",
            "function pg_try_advisory_xact_lock not supported",
        ),
        ("EXPLAIN TRUNCATE t", "unsupported statement: Truncate"),
    ];
    for (sql, message) in table {
        assert_eq!(refusal(sql), ("0A000".into(), message.into()), "{sql}");
        let shouted = refusal(&format!("{sql} "));
        assert_eq!(shouted.1, message, "{sql}");
    }
}

#[test]
fn some_refusals_have_other_sqlstates() {
    for (sql, code, message) in [
        ("CREATE TABLE t (a serial PRIMARY KEY)", "42704", "type \"serial\" does not exist"),
        ("CREATE TABLE t (a BIGSERIAL)", "42704", "type \"bigserial\" does not exist"),
        ("ALTER TABLE t ADD COLUMN a smallserial", "42704", "type \"smallserial\" does not exist"),
        ("SHOW lc_collate", "42704", "unrecognized configuration parameter \"lc_collate\""),
        ("BEGIN DEFERRABLE", "42601", "syntax error at or near \"DEFERRABLE\""),
        (
            "ALTER STATISTICS s SET STATISTICS 101",
            "22023",
            "statistics target 101 exceeds maximum allowed value of 100",
        ),
        (
            "SELECT * FROM p LEFT JOIN LATERAL (SELECT p.id, c.x FROM child c WHERE c.p = p.id) s ON true",
            "42804",
            "attribute 1 of type child has wrong type",
        ),
    ] {
        assert_eq!(refusal(sql), (code.into(), message.into()), "{sql}");
    }
}

#[test]
fn what_dsql_accepts_is_run() {
    for sql in [
        "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY (CACHE 65536) PRIMARY KEY)",
        "CREATE TABLE t (a int, serial_number text, CHECK (a > 0), LIKE u INCLUDING ALL)",
        "CREATE TABLE public.t (a int REFERENCES u (b) MATCH FULL DEFERRABLE, UNIQUE (a))",
        "CREATE TABLE t (g text GENERATED ALWAYS AS (lower('x')) STORED)",
        "ALTER TABLE t ADD COLUMN IF NOT EXISTS a text",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID",
        "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (b) ON DELETE CASCADE NOT VALID",
        "ALTER TABLE t ADD CONSTRAINT c UNIQUE USING INDEX i",
        "ALTER TABLE t ALTER a SET DEFAULT 1, ALTER b DROP NOT NULL, ALTER c DROP EXPRESSION",
        "ALTER TABLE t ALTER COLUMN a ADD GENERATED ALWAYS AS IDENTITY (CACHE 1)",
        "ALTER TABLE t RENAME COLUMN a TO b",
        "ALTER TABLE t SET SCHEMA s",
        "ALTER TABLE t ALTER a RESTART WITH 5",
        "ALTER INDEX i RENAME TO j",
        "ALTER SEQUENCE s RESTART WITH 5",
        "ALTER STATISTICS s SET STATISTICS 100",
        "CREATE SEQUENCE s CACHE 65536",
        "CREATE SCHEMA s",
        "CREATE DOMAIN d AS text CHECK (value <> '')",
        "CREATE ROLE r WITH LOGIN",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END",
        "DROP TABLE IF EXISTS t CASCADE",
        "DROP TRIGGER IF EXISTS g ON t",
        "COMMENT ON TABLE t IS 'x'",
        "GRANT SELECT ON t TO app",
        "GRANT USAGE ON SCHEMA mine TO app",
        "SELECT 'a' COLLATE pg_catalog.\"C\"",
        "SELECT 'TRUNCATE t; SAVEPOINT x'",
        "SELECT truncate FROM t",
        "SET application_name = 'x'",
        "SET TIME ZONE 'UTC'",
        "SET LOCAL search_path TO a, b",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET CONSTRAINTS ALL DEFERRED",
        "RESET ALL",
        "ANALYZE t",
        "SELECT * FROM p JOIN LATERAL (SELECT p.id FROM c WHERE c.p = p.id) s ON true",
        "SELECT * FROM p LEFT JOIN LATERAL (SELECT c.x FROM c WHERE c.p = p.id) s ON true",
    ] {
        run(sql);
    }
}

#[test]
fn a_query_reads_unless_it_could_write() {
    for (sql, class) in [
        ("SELECT count(*) FROM t", Class::Read),
        ("WITH x AS (SELECT 1 AS n) SELECT n FROM x WHERE n IN (1, 2)", Class::Read),
        ("VALUES (1)", Class::Read),
        ("TABLE t", Class::Read),
        ("(SELECT 1) UNION (SELECT 2)", Class::Read),
        ("WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d", Class::Write),
        ("SELECT mine(1)", Class::Write),
        ("SELECT 1 FROM t FOR UPDATE", Class::Write),
        ("INSERT INTO t VALUES (1)", Class::Write),
        ("EXPLAIN UPDATE t SET a = 1", Class::Read),
        ("EXPLAIN (ANALYZE, VERBOSE) UPDATE t SET a = 1", Class::Write),
        ("EXPLAIN ANALYZE VERBOSE SELECT 1", Class::Read),
        ("COPY t FROM STDIN", Class::CopyIn),
        ("COPY (SELECT 1) TO STDOUT", Class::CopyOut),
        ("COPY (INSERT INTO t VALUES (1) RETURNING a) TO STDOUT", Class::Write),
        ("COPY (SELECT mine(1)) TO STDOUT", Class::Write),
        ("((", Class::Utility),
        ("SHOW transaction_isolation", Class::Read),
        ("CREATE TABLE t (a int)", Class::Ddl),
        ("SET timezone TO 'UTC'", Class::Setting),
    ] {
        assert_eq!(run(sql).class, class, "{sql}");
    }
}

#[test]
fn an_asynchronous_index_is_sent_without_async() {
    let index = run("CREATE UNIQUE INDEX ASYNC i ON t (lower(a), b) INCLUDE (c) WHERE c > 0");
    assert_eq!(
        index.text.as_deref(),
        Some("CREATE UNIQUE INDEX  i ON t (lower(a), b) INCLUDE (c) WHERE c > 0")
    );
    let not_unique = Some("CREATE  INDEX  i ON t (lower(a), b) INCLUDE (c) WHERE c > 0".into());
    assert_eq!(index.job, Some(NewJob::Index { not_unique }));
    let unnamed = run("CREATE INDEX ASYNC ON t (a NULLS FIRST)");
    assert_eq!(unnamed.job, Some(NewJob::Index { not_unique: None }));
    // PostgreSQL reports the name.
    run("CREATE INDEX ASYNC public.i ON t (a)");
}

#[test]
fn a_sync_index_is_permitted_on_an_empty_table_if_the_session_says_so() {
    let builtins = HashSet::new();
    let context = Context { sync_index: true, ..context(&builtins) };
    let Plan::Run(run) = plan(&split("CREATE INDEX i ON s.t (a)").remove(0), &context) else {
        panic!("a plan to run");
    };
    assert_eq!(run.checks, [Check::Empty { table: "\"s\".\"t\"".into() }]);
    let set = |sql: &str| plan(&split(sql).remove(0), &context);
    let off = set("SET disable_sync_create_index = off");
    assert!(matches!(off, Plan::EmulatorSetting { sync_index: true, tag: "SET" }));
    let reset = set("RESET disable_sync_create_index");
    assert!(matches!(reset, Plan::EmulatorSetting { sync_index: false, tag: "RESET" }));
}

#[test]
fn validation_starts_a_job() {
    let run = run("ALTER TABLE ASYNC s.\"T\" VALIDATE CONSTRAINT c");
    let job = NewJob::Validate { table: "\"s\".\"T\"".into(), constraint: "c".into() };
    assert_eq!(run.job, Some(job));
}

#[test]
fn dropping_asks_the_catalog_about_the_primary_key() {
    let table = || "\"t\"".to_owned();
    let run = run("ALTER TABLE t DROP COLUMN IF EXISTS a, DROP CONSTRAINT c CASCADE");
    assert_eq!(
        run.checks,
        [
            Check::NotInPrimaryKey { table: table(), column: "a".into() },
            Check::NotPrimaryKey { table: table(), constraint: "c".into() },
        ]
    );
}

#[test]
fn a_syntax_error_has_postgresqls_message() {
    for (sql, near, position) in [
        ("BEGIN Foo", Some("Foo"), 7),
        ("COMMIT 'é' x", Some("'é'"), 8),
        ("BEGIN ISOLATION LEVEL Sloppy", Some("Sloppy"), 23),
        ("SET LOCAL CHARACTERISTICS AS TRANSACTION READ ONLY", Some("AS"), 27),
        ("SET Characteristics AS TRANSACTION READ ONLY", Some("AS"), 21),
        ("SET statement_timeout 5", Some("5"), 23),
        ("SET foo", None, 0),
        ("SET foo TO", None, 0),
        ("SET TRANSACTION", None, 0),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION", None, 0),
    ] {
        let Plan::Refuse(error) = plan_of(sql) else { panic!("{sql} is not refused") };
        let message = match near {
            Some(near) => format!("syntax error at or near \"{near}\""),
            None => "syntax error at end of input".to_owned(),
        };
        assert_eq!((&*error.code, error.message), ("42601", message), "{sql}");
        assert_eq!(error.position.unwrap_or(0), position, "{sql}");
    }
}

#[test]
fn the_main_keyword_is_not_the_name_of_a_query() {
    run("WITH update AS (SELECT 1 AS i), merge AS (SELECT 2) SELECT i FROM update FOR UPDATE");
    let into = refusal("WITH table_ AS (SELECT 1) SELECT 1 INTO t");
    assert_eq!(into.1, "unsupported statement: CreateTableAs");
}

#[test]
fn statistics_without_a_name_get_one_where_postgresql_requires_it() {
    for (sql, sent) in [
        (
            "CREATE STATISTICS ON a, (lower(b)) FROM s.t",
            Some("CREATE STATISTICS \"t_a_expr_stat\" ON a, (lower(b)) FROM s.t"),
        ),
        (
            "CREATE STATISTICS (ndistinct, mcv) ON a, b FROM \"T\"",
            Some("CREATE STATISTICS \"T_a_b_stat\" (ndistinct, mcv) ON a, b FROM \"T\""),
        ),
        ("CREATE STATISTICS x ON a, b FROM t", None),
        ("CREATE STATISTICS IF NOT EXISTS x ON a, b FROM t", None),
    ] {
        assert_eq!(run(sql).text.as_deref(), sent, "{sql}");
    }
}

#[test]
fn transactions_begin_and_end_in_all_spellings() {
    let begin = |access, start| Control::Begin { access, start };
    for (sql, expected) in [
        ("BEGIN", begin(Access::Default, false)),
        ("begin work", begin(Access::Default, false)),
        (
            "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
            begin(Access::ReadOnly, false),
        ),
        ("START TRANSACTION READ WRITE", begin(Access::ReadWrite, true)),
        ("COMMIT", Control::Commit),
        ("END TRANSACTION", Control::Commit),
        ("ROLLBACK", Control::Rollback),
        ("ABORT WORK", Control::Rollback),
        ("COMMIT AND NO CHAIN", Control::Commit),
    ] {
        let plan = plan_of(sql);
        assert!(matches!(plan, Plan::Control(control) if control == expected), "{sql}: {plan:?}");
    }
}

#[test]
fn jobs_are_waited_for_by_a_literal_or_a_parameter() {
    for (sql, argument) in [
        ("CALL sys.wait_for_job('abc')", "'abc'"),
        ("CALL sys.wait_for_job($1)", "$1"),
        ("CALL sys.wait_for_job(job_id => 'abc')", "'abc'"),
        ("CALL sys.wait_for_job(Job_Id := $1)", "$1"),
    ] {
        let plan = plan_of(sql);
        assert!(matches!(&plan, Plan::WaitForJob { argument: a } if a == argument), "{plan:?}");
    }
    // PostgreSQL reports these.
    run("CALL sys.wait_for_job((SELECT job_id FROM sys.jobs LIMIT 1))");
    run("CALL sys.wait_for_job()");
}

#[test]
fn iam_mappings_name_a_role_and_an_arn() {
    let plan = plan_of("AWS IAM GRANT \"App\" TO 'arn:aws:iam::1:role/x'");
    assert!(
        matches!(&plan, Plan::IamMapping { grant: true, role, arn }
            if role == "App" && arn == "arn:aws:iam::1:role/x"),
        "{plan:?}"
    );
    assert_eq!(refusal("AWS IAM GRANT app").0, "42601");
    assert!(matches!(plan_of("DEALLOCATE ALL"), Plan::DeallocateAll));
}

#[test]
fn an_empty_or_broken_text_is_left_to_postgresql() {
    assert!(split("").is_empty());
    assert_eq!(run("SELECT 'open").class, Class::Utility);
    assert_eq!(run("FROBNICATE x").class, Class::Utility);
}

#[test]
fn unrecorded_statements_are_accepted_or_refused_as_configured() {
    let (with, locks) = (
        "data-modifying statements in WITH are not supported",
        "locking clauses in subqueries are not supported",
    );
    let refused = [
        ("WITH a AS (INSERT INTO t VALUES (1) RETURNING 1) SELECT * FROM a", with),
        ("WITH a AS (SELECT 1), b AS (UPDATE t SET v = 1) DELETE FROM t", with),
        ("WITH a AS MATERIALIZED (DELETE FROM t RETURNING *) INSERT INTO u TABLE a", with),
        ("SELECT * FROM (SELECT * FROM t FOR UPDATE) AS a", locks),
        ("WITH a AS (SELECT * FROM t FOR KEY SHARE) SELECT * FROM a", locks),
        ("(SELECT * FROM t WHERE id IN (SELECT 1 FROM u FOR UPDATE SKIP LOCKED))", locks),
    ];
    let accepted = [
        "WITH a AS (SELECT 1) UPDATE t SET v = 1",
        "INSERT INTO t (update, insert) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET v = 1",
        "(SELECT * FROM t WHERE id IN (1, 2) FOR UPDATE)",
        "SELECT * FROM t WHERE (a, b) = (1, 2) FOR UPDATE",
        "INSERT INTO t SELECT * FROM (SELECT 1) AS a FOR UPDATE",
    ];
    let builtins = HashSet::new();
    let strict = Unrecorded { data_modifying_with: false, locking_subqueries: false };
    let strict = Context { unrecorded: strict, ..context(&builtins) };
    for (sql, message) in refused {
        assert!(matches!(plan_of(sql), Plan::Run(_)), "{sql}");
        match plan(&split(sql).remove(0), &strict) {
            Plan::Refuse(error) => assert_eq!((&*error.code, &*error.message), ("0A000", message)),
            other => panic!("{sql} is not refused: {other:?}"),
        }
    }
    for sql in accepted {
        assert!(matches!(plan(&split(sql).remove(0), &strict), Plan::Run(_)), "{sql}");
    }
}

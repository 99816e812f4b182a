//! The refusals that depend on words at a place of a statement, as one table
//! (aurora-dsql.md#refused-statements).
//!
//! The walk over a statement looks the words up at each place that it passes. Refusals that depend
//! on a value, on the absence of a clause or on the catalog are in the modules of their statements.

use super::Plan;
use crate::sql::Cursor;

/// A place of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Its first words. `CREATE OR REPLACE` counts as `CREATE`.
    Statement,
    /// Behind `ISOLATION LEVEL`.
    IsolationLevel,
    /// Behind COMMIT, ROLLBACK and their synonyms.
    TransactionEnd,
    /// The name of a function that a query calls.
    Function,
    /// The name of a type to which a query converts a value.
    CastType,
    /// A clause of a query.
    QueryClause,
    /// Behind `GRANT … ON` and `REVOKE … ON`.
    GrantObject,
    /// Behind `CREATE TEMPORARY`.
    Temporary,
    /// Behind `CREATE UNLOGGED`.
    Unlogged,
    /// Behind the name in CREATE TYPE.
    TypeDefinition,
    /// Behind the name in CREATE TABLE.
    TableDefinition,
    /// Anywhere behind the elements of CREATE TABLE.
    TableOption,
    /// An element of CREATE TABLE, behind the name of the constraint.
    TableElement,
    /// The type of a column, if it is one word.
    ColumnType,
    /// Anywhere behind the type of a column.
    ColumnOption,
    /// An action of ALTER TABLE.
    TableAction,
    /// Behind `ALTER COLUMN name`.
    ColumnAction,
    /// Behind the name in ALTER DOMAIN.
    DomainAction,
    /// Behind `CREATE INDEX`.
    Index,
    /// Anywhere in a key of an index.
    IndexKey,
    /// Behind the keys of an index.
    IndexOption,
}

/// A refusal.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) place: Place,
    /// In upper case; without words it applies always. The first fitting row of a place decides, so
    /// longer ones come first.
    pub(super) words: &'static str,
    /// The SQLSTATE.
    pub(super) code: &'static str,
    pub(super) message: &'static str,
    pub(super) evidence: Evidence,
    /// A statement that is refused by this row.
    pub(super) example: &'static str,
}

/// The evidence of a refusal and its message (aurora-dsql.md#evidence).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// A probe replays it.
    Recorded,
    /// Observed, or recorded and not among the probes.
    Observed,
    /// The refusal is observed, asserted or documented. The message is inferred: it follows the
    /// pattern of recorded ones, with PostgreSQL's name of the parse node or action.
    RefusalOnly,
    /// The refusal is inferred too: from the linter's rules, or because a distributed cluster
    /// cannot do it.
    Inferred,
}

/// A statement that a rule refuses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuleExample {
    pub(crate) statement: &'static str,
    pub(crate) code: &'static str,
    pub(crate) message: &'static str,
    pub(crate) evidence: &'static str,
}

/// The example of each row.
pub(crate) fn examples() -> impl Iterator<Item = RuleExample> {
    REFUSALS.iter().map(|row| RuleExample {
        statement: row.example,
        code: row.code,
        message: row.message,
        evidence: match row.evidence {
            Recorded => "recorded",
            Observed => "observed",
            RefusalOnly => "message inferred",
            Inferred => "inferred",
        },
    })
}

const fn coded(
    place: Place,
    words: &'static str,
    code: &'static str,
    message: &'static str,
    evidence: Evidence,
    example: &'static str,
) -> Refusal {
    Refusal { place, words, code, message, evidence, example }
}

/// A row with SQLSTATE 0A000, feature_not_supported.
const fn row(
    place: Place,
    words: &'static str,
    message: &'static str,
    evidence: Evidence,
    example: &'static str,
) -> Refusal {
    coded(place, words, "0A000", message, evidence, example)
}

use Evidence::{Inferred, Observed, Recorded, RefusalOnly};
use Place::{
    CastType, ColumnAction, ColumnOption, ColumnType, DomainAction, Function, GrantObject, Index,
    IndexKey, IndexOption, IsolationLevel, QueryClause, Statement, TableAction, TableDefinition,
    TableElement, TableOption, Temporary, TransactionEnd, TypeDefinition, Unlogged,
};

#[rustfmt::skip]
pub(super) const REFUSALS: &[Refusal] = &[
    row(Statement, "TRUNCATE", "unsupported statement: Truncate", Recorded, "TRUNCATE t"),
    row(Statement, "CREATE EXTENSION", "unsupported statement: CreateExtension", Recorded, "CREATE EXTENSION IF NOT EXISTS pgcrypto"),
    row(Statement, "CREATE TRIGGER", "CREATE TRIGGER not supported", Recorded, "CREATE OR REPLACE TRIGGER t AFTER INSERT ON x EXECUTE FUNCTION f()"),
    row(Statement, "CREATE CONSTRAINT TRIGGER", "CREATE TRIGGER not supported", RefusalOnly, "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON x FOR EACH ROW EXECUTE FUNCTION f()"),
    row(Statement, "CREATE DATABASE", "unsupported statement: Createdb", Recorded, "CREATE DATABASE d"),
    row(Statement, "CREATE MATERIALIZED VIEW", "unsupported statement: CreateTableAs", Recorded, "CREATE MATERIALIZED VIEW v AS SELECT 1"),
    row(Statement, "CREATE TABLESPACE", "unsupported statement: CreateTableSpace", Recorded, "CREATE TABLESPACE t LOCATION '/x'"),
    row(Statement, "CREATE FOREIGN TABLE", "unsupported statement: CreateForeignTable", Recorded, "CREATE FOREIGN TABLE t (a int) SERVER s"),
    row(Statement, "VACUUM", "unsupported VACUUM statement", Recorded, "VACUUM FULL t"),
    row(Statement, "LISTEN", "unsupported statement: Listen", Recorded, "LISTEN a"),
    row(Statement, "NOTIFY", "unsupported statement: Notify", Recorded, "NOTIFY a, 'x'"),
    row(Statement, "UNLISTEN", "unsupported statement: Unlisten", Recorded, "UNLISTEN *"),
    row(Statement, "ALTER SYSTEM", "unsupported statement: AlterSystem", Recorded, "ALTER SYSTEM SET work_mem = '4MB'"),
    row(Statement, "MERGE", "unsupported statement type: MERGE", Observed, "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE"),
    row(Statement, "SAVEPOINT", "unsupported transaction statement: SAVEPOINT", Recorded, "SAVEPOINT a"),
    row(Statement, "RELEASE", "unsupported transaction statement: RELEASE", Observed, "RELEASE SAVEPOINT a"),
    row(Statement, "ROLLBACK TO", "unsupported transaction statement: ROLLBACK TO", Recorded, "ROLLBACK TO SAVEPOINT a"),
    row(Statement, "ROLLBACK WORK TO", "unsupported transaction statement: ROLLBACK TO", RefusalOnly, "ROLLBACK WORK TO a"),
    row(Statement, "ROLLBACK TRANSACTION TO", "unsupported transaction statement: ROLLBACK TO", RefusalOnly, "ROLLBACK TRANSACTION TO a"),
    row(Statement, "PREPARE TRANSACTION", "unsupported transaction statement: PREPARE TRANSACTION", RefusalOnly, "PREPARE TRANSACTION 'x'"),
    row(Statement, "COMMIT PREPARED", "unsupported transaction statement: COMMIT PREPARED", Inferred, "COMMIT PREPARED 'x'"),
    row(Statement, "ROLLBACK PREPARED", "unsupported transaction statement: ROLLBACK PREPARED", Inferred, "ROLLBACK PREPARED 'x'"),
    row(IsolationLevel, "SERIALIZABLE", "Unsupported isolation level: SERIALIZABLE", Observed, "BEGIN ISOLATION LEVEL SERIALIZABLE"),
    row(IsolationLevel, "READ COMMITTED", "Unsupported isolation level: READ COMMITTED", RefusalOnly, "START TRANSACTION READ ONLY, ISOLATION LEVEL READ COMMITTED"),
    row(IsolationLevel, "READ UNCOMMITTED", "Unsupported isolation level: READ UNCOMMITTED", Inferred, "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED"),
    row(TransactionEnd, "AND CHAIN", "unsupported transaction statement: AND CHAIN", Inferred, "COMMIT WORK AND CHAIN"),
    coded(Statement, "SHOW LC_COLLATE", "42704", "unrecognized configuration parameter \"lc_collate\"", Recorded, "SHOW lc_collate"),
    coded(Statement, "SHOW LC_CTYPE", "42704", "unrecognized configuration parameter \"lc_ctype\"", Inferred, "SHOW lc_ctype"),
    row(Statement, "CREATE PROCEDURE", "PROCEDURE is not supported", Observed, "CREATE PROCEDURE p() LANGUAGE sql AS $$ SELECT 1 $$"),
    row(Statement, "CREATE POLICY", "unsupported statement: CreatePolicy", Observed, "CREATE POLICY p ON t USING (true)"),
    row(Statement, "DROP INDEX CONCURRENTLY", "DROP INDEX CONCURRENTLY must be first action in transaction", Observed, "DROP INDEX CONCURRENTLY i"),
    row(Statement, "LOCK", "unsupported statement: Lock", RefusalOnly, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE"),
    row(Statement, "PREPARE", "unsupported statement: Prepare", RefusalOnly, "PREPARE p AS SELECT 1"),
    row(Statement, "DISCARD", "unsupported statement: Discard", RefusalOnly, "DISCARD ALL"),
    row(Statement, "DECLARE", "unsupported statement: DeclareCursor", RefusalOnly, "DECLARE c CURSOR FOR SELECT 1"),
    row(Statement, "LOAD", "unsupported statement: Load", RefusalOnly, "LOAD 'auto_explain'"),
    row(Statement, "ALTER POLICY", "unsupported statement: AlterPolicy", Inferred, "ALTER POLICY p ON t USING (true)"),
    row(Statement, "CREATE SERVER", "unsupported statement: CreateForeignServer", Inferred, "CREATE SERVER s FOREIGN DATA WRAPPER w"),
    row(Statement, "CREATE FOREIGN DATA WRAPPER", "unsupported statement: CreateFdw", Inferred, "CREATE FOREIGN DATA WRAPPER w"),
    row(Statement, "CREATE USER MAPPING", "unsupported statement: CreateUserMapping", Inferred, "CREATE USER MAPPING FOR a SERVER s"),
    row(Statement, "CREATE EVENT TRIGGER", "unsupported statement: CreateEventTrig", Inferred, "CREATE EVENT TRIGGER t ON sql_drop EXECUTE FUNCTION f()"),
    row(Statement, "CREATE RULE", "unsupported statement: Rule", Inferred, "CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING"),
    row(Statement, "CREATE LANGUAGE", "unsupported statement: CreatePLang", Inferred, "CREATE LANGUAGE l"),
    row(Statement, "CREATE TRUSTED", "unsupported statement: CreatePLang", Inferred, "CREATE TRUSTED LANGUAGE l"),
    row(Statement, "CREATE PROCEDURAL", "unsupported statement: CreatePLang", Inferred, "CREATE PROCEDURAL LANGUAGE l"),
    row(Statement, "CREATE OPERATOR CLASS", "unsupported statement: CreateOpClass", Inferred, "CREATE OPERATOR CLASS c FOR TYPE int USING btree AS STORAGE int"),
    row(Statement, "CREATE OPERATOR FAMILY", "unsupported statement: CreateOpFamily", Inferred, "CREATE OPERATOR FAMILY f USING btree"),
    row(Statement, "CREATE OPERATOR", "unsupported statement: Define", Inferred, "CREATE OPERATOR + (leftarg = int, rightarg = int, function = f)"),
    row(Statement, "CREATE AGGREGATE", "unsupported statement: Define", Inferred, "CREATE AGGREGATE a (int) (sfunc = f, stype = int)"),
    row(Statement, "CREATE COLLATION", "unsupported statement: Define", Inferred, "CREATE COLLATION c (locale = 'en_US')"),
    row(Statement, "CREATE TEXT SEARCH", "unsupported statement: Define", Inferred, "CREATE TEXT SEARCH PARSER p (start = f)"),
    row(Statement, "CREATE CAST", "unsupported statement: CreateCast", Inferred, "CREATE CAST (int AS text) WITH INOUT"),
    row(Statement, "CREATE CONVERSION", "unsupported statement: CreateConversion", Inferred, "CREATE CONVERSION c FOR 'UTF8' TO 'LATIN1' FROM f"),
    row(Statement, "CREATE DEFAULT CONVERSION", "unsupported statement: CreateConversion", Inferred, "CREATE DEFAULT CONVERSION c FOR 'UTF8' TO 'LATIN1' FROM f"),
    row(Statement, "CREATE ACCESS METHOD", "unsupported statement: CreateAm", Inferred, "CREATE ACCESS METHOD m TYPE INDEX HANDLER h"),
    row(Statement, "CREATE TRANSFORM", "unsupported statement: CreateTransform", Inferred, "CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION f(internal))"),
    row(Statement, "CREATE PUBLICATION", "unsupported statement: CreatePublication", Inferred, "CREATE PUBLICATION p FOR ALL TABLES"),
    row(Statement, "CREATE SUBSCRIPTION", "unsupported statement: CreateSubscription", Inferred, "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p"),
    row(Statement, "IMPORT FOREIGN SCHEMA", "unsupported statement: ImportForeignSchema", Inferred, "IMPORT FOREIGN SCHEMA a FROM SERVER s INTO b"),
    row(Statement, "REFRESH", "unsupported statement: RefreshMatView", Inferred, "REFRESH MATERIALIZED VIEW v"),
    row(Statement, "REINDEX", "unsupported statement: Reindex", Inferred, "REINDEX TABLE t"),
    row(Statement, "CLUSTER", "unsupported statement: Cluster", Inferred, "CLUSTER t USING i"),
    row(Statement, "CHECKPOINT", "unsupported statement: CheckPoint", Inferred, "CHECKPOINT"),
    row(Statement, "DO", "unsupported statement: Do", Inferred, "DO $$ BEGIN END $$"),
    row(Statement, "EXECUTE", "unsupported statement: Execute", Inferred, "EXECUTE p"),
    row(Statement, "FETCH", "unsupported statement: Fetch", Inferred, "FETCH NEXT FROM c"),
    row(Statement, "MOVE", "unsupported statement: Fetch", Inferred, "MOVE NEXT FROM c"),
    row(Statement, "CLOSE", "unsupported statement: ClosePortal", Inferred, "CLOSE c"),
    row(Statement, "SECURITY LABEL", "unsupported statement: SecLabel", Inferred, "SECURITY LABEL ON TABLE t IS 'x'"),
    row(Statement, "REASSIGN OWNED", "unsupported statement: ReassignOwned", Inferred, "REASSIGN OWNED BY a TO b"),
    row(Statement, "DROP OWNED", "unsupported statement: DropOwned", Inferred, "DROP OWNED BY a"),
    row(Statement, "DROP DATABASE", "unsupported statement: Dropdb", Inferred, "DROP DATABASE d"),
    row(Statement, "DROP TABLESPACE", "unsupported statement: DropTableSpace", Inferred, "DROP TABLESPACE t"),
    row(Statement, "DROP USER MAPPING", "unsupported statement: DropUserMapping", Inferred, "DROP USER MAPPING FOR a SERVER s"),
    row(Statement, "DROP SUBSCRIPTION", "unsupported statement: DropSubscription", Inferred, "DROP SUBSCRIPTION s"),
    row(Statement, "ALTER DATABASE", "unsupported statement: AlterDatabase", Inferred, "ALTER DATABASE postgres SET timezone = 'UTC'"),
    row(Statement, "ALTER EXTENSION", "unsupported statement: AlterExtension", Inferred, "ALTER EXTENSION e UPDATE"),
    row(Statement, "ALTER EVENT TRIGGER", "unsupported statement: AlterEventTrig", Inferred, "ALTER EVENT TRIGGER t DISABLE"),
    row(Statement, "ALTER SERVER", "unsupported statement: AlterForeignServer", Inferred, "ALTER SERVER s VERSION '1'"),
    row(Statement, "ALTER FOREIGN DATA WRAPPER", "unsupported statement: AlterFdw", Inferred, "ALTER FOREIGN DATA WRAPPER w NO HANDLER"),
    row(Statement, "ALTER USER MAPPING", "unsupported statement: AlterUserMapping", Inferred, "ALTER USER MAPPING FOR a SERVER s OPTIONS (SET x 'y')"),
    row(Statement, "ALTER PUBLICATION", "unsupported statement: AlterPublication", Inferred, "ALTER PUBLICATION p ADD TABLE t"),
    row(Statement, "ALTER SUBSCRIPTION", "unsupported statement: AlterSubscription", Inferred, "ALTER SUBSCRIPTION s DISABLE"),
    row(Statement, "ALTER TABLESPACE", "unsupported statement: AlterTableSpaceOptions", Inferred, "ALTER TABLESPACE t SET (random_page_cost = 1)"),
    row(Statement, "ALTER TABLE ALL IN TABLESPACE", "unsupported statement: AlterTableMoveAll", Inferred, "ALTER TABLE ALL IN TABLESPACE a SET TABLESPACE b"),

    row(Function, "PG_ADVISORY_LOCK", "function pg_advisory_lock not supported", Observed, "SELECT pg_catalog.pg_advisory_lock(1)"),
    row(Function, "PG_ADVISORY_LOCK_SHARED", "function pg_advisory_lock_shared not supported", RefusalOnly, "SELECT pg_catalog.pg_advisory_lock_shared(1)"),
    row(Function, "PG_ADVISORY_UNLOCK", "function pg_advisory_unlock not supported", RefusalOnly, "SELECT pg_catalog.pg_advisory_unlock(1)"),
    row(Function, "PG_ADVISORY_UNLOCK_ALL", "function pg_advisory_unlock_all not supported", RefusalOnly, "SELECT pg_catalog.pg_advisory_unlock_all()"),
    row(Function, "PG_ADVISORY_UNLOCK_SHARED", "function pg_advisory_unlock_shared not supported", RefusalOnly, "SELECT pg_catalog.pg_advisory_unlock_shared(1)"),
    row(Function, "PG_ADVISORY_XACT_LOCK", "function pg_advisory_xact_lock not supported", RefusalOnly, "SELECT pg_catalog.pg_advisory_xact_lock(1)"),
    row(Function, "PG_ADVISORY_XACT_LOCK_SHARED", "function pg_advisory_xact_lock_shared not supported", RefusalOnly, "SELECT pg_catalog.pg_advisory_xact_lock_shared(1)"),
    row(Function, "PG_TRY_ADVISORY_LOCK", "function pg_try_advisory_lock not supported", RefusalOnly, "SELECT pg_catalog.pg_try_advisory_lock(1)"),
    row(Function, "PG_TRY_ADVISORY_LOCK_SHARED", "function pg_try_advisory_lock_shared not supported", RefusalOnly, "SELECT pg_catalog.pg_try_advisory_lock_shared(1)"),
    row(Function, "PG_TRY_ADVISORY_XACT_LOCK", "function pg_try_advisory_xact_lock not supported", RefusalOnly, "SELECT pg_catalog.pg_try_advisory_xact_lock(1)"),
    row(Function, "PG_TRY_ADVISORY_XACT_LOCK_SHARED", "function pg_try_advisory_xact_lock_shared not supported", RefusalOnly, "SELECT pg_catalog.pg_try_advisory_xact_lock_shared(1)"),
    row(Function, "LASTVAL", "function lastval not supported", RefusalOnly, "SELECT lastval()"),
    row(Function, "PG_CANCEL_BACKEND", "function pg_cancel_backend not supported", RefusalOnly, "SELECT pg_cancel_backend(1)"),
    row(Function, "PG_NOTIFY", "function pg_notify not supported", RefusalOnly, "SELECT pg_notify('a', 'b')"),
    row(Function, "PG_TERMINATE_BACKEND", "function pg_terminate_backend not supported", RefusalOnly, "SELECT pg_terminate_backend(1)"),
    row(Function, "BOX", "datatype box not supported", RefusalOnly, "SELECT box(a, b) FROM t"),
    row(Function, "CIRCLE", "datatype circle not supported", RefusalOnly, "SELECT circle(a) FROM t"),
    row(Function, "LINE", "datatype line not supported", RefusalOnly, "SELECT line(a, b) FROM t"),
    row(Function, "LSEG", "datatype lseg not supported", RefusalOnly, "SELECT pg_catalog.lseg(a, b) FROM t"),
    row(Function, "PATH", "datatype path not supported", RefusalOnly, "SELECT path(a) FROM t"),
    row(Function, "POINT", "datatype point not supported", RefusalOnly, "SELECT point(1, 2)"),
    row(Function, "POLYGON", "datatype polygon not supported", RefusalOnly, "SELECT polygon(a) FROM t"),
    row(CastType, "BOX", "datatype box not supported", RefusalOnly, "SELECT CAST(a AS box) FROM t"),
    row(CastType, "CIRCLE", "datatype circle not supported", RefusalOnly, "SELECT CAST(a AS circle) FROM t"),
    row(CastType, "LINE", "datatype line not supported", RefusalOnly, "SELECT CAST(a AS line) FROM t"),
    row(CastType, "LSEG", "datatype lseg not supported", RefusalOnly, "SELECT CAST(a AS lseg) FROM t"),
    row(CastType, "PATH", "datatype path not supported", RefusalOnly, "SELECT CAST(a AS path) FROM t"),
    row(CastType, "POINT", "datatype point not supported", RefusalOnly, "SELECT CAST(a AS point) FROM t"),
    row(CastType, "POLYGON", "datatype polygon not supported", RefusalOnly, "SELECT CAST(a AS polygon) FROM t"),
    row(QueryClause, "TABLESAMPLE", "TABLESAMPLE clause not supported", Observed, "SELECT * FROM t TABLESAMPLE SYSTEM (10)"),
    row(QueryClause, "COLLATE", "COLLATE clause not supported", RefusalOnly, "SELECT 'a' COLLATE \"en_US\""),
    row(QueryClause, "INTO", "unsupported statement: CreateTableAs", RefusalOnly, "SELECT a INTO t FROM u"),

    row(GrantObject, "DATABASE", "unsupported object type in GRANT", Observed, "GRANT CONNECT ON DATABASE postgres TO app"),
    row(GrantObject, "FOREIGN DATA WRAPPER", "unsupported object type in GRANT", Inferred, "GRANT USAGE ON FOREIGN DATA WRAPPER w TO app"),
    row(GrantObject, "FOREIGN SERVER", "unsupported object type in GRANT", Inferred, "GRANT USAGE ON FOREIGN SERVER s TO app"),
    row(GrantObject, "LANGUAGE", "unsupported object type in GRANT", Inferred, "REVOKE USAGE ON LANGUAGE sql FROM app"),
    row(GrantObject, "LARGE OBJECT", "unsupported object type in GRANT", Inferred, "GRANT SELECT ON LARGE OBJECT 1 TO app"),
    row(GrantObject, "PARAMETER", "unsupported object type in GRANT", Inferred, "GRANT SET ON PARAMETER work_mem TO app"),
    row(GrantObject, "TABLESPACE", "unsupported object type in GRANT", Inferred, "GRANT CREATE ON TABLESPACE t TO app"),

    row(Temporary, "TABLE", "TEMPORARY or TEMP table not supported for CREATE TABLE", Recorded, "CREATE LOCAL TEMPORARY TABLE t (a int)"),
    row(Temporary, "VIEW", "TEMPORARY or TEMP view not supported for CREATE VIEW", RefusalOnly, "CREATE TEMP VIEW v AS SELECT 1"),
    row(Temporary, "RECURSIVE VIEW", "TEMPORARY or TEMP view not supported for CREATE VIEW", RefusalOnly, "CREATE TEMP RECURSIVE VIEW v (a) AS SELECT 1"),
    row(Temporary, "SEQUENCE", "TEMPORARY or TEMP sequence not supported for CREATE SEQUENCE", Inferred, "CREATE TEMPORARY SEQUENCE s CACHE 1"),
    row(Unlogged, "TABLE", "UNLOGGED table not supported for CREATE TABLE", Recorded, "CREATE UNLOGGED TABLE t (a int)"),
    row(Unlogged, "SEQUENCE", "UNLOGGED sequence not supported for CREATE SEQUENCE", Inferred, "CREATE UNLOGGED SEQUENCE s CACHE 1"),
    row(TypeDefinition, "AS ENUM", "CREATE TYPE not supported", Recorded, "CREATE TYPE t AS ENUM ('a')"),
    row(TypeDefinition, "AS RANGE", "unsupported statement: CreateRange", Recorded, "CREATE TYPE t AS RANGE (subtype = int4)"),
    row(TypeDefinition, "AS", "unsupported statement: CompositeType", Recorded, "CREATE TYPE t AS (a int)"),
    row(TypeDefinition, "", "unsupported statement: Define", Inferred, "CREATE TYPE t (INPUT = f, OUTPUT = g)"),

    row(TableDefinition, "PARTITION OF", "PARTITION OF clause not supported for CREATE TABLE", RefusalOnly, "CREATE TABLE t PARTITION OF u DEFAULT"),
    row(TableDefinition, "OF", "OF clause not supported for CREATE TABLE", Inferred, "CREATE TABLE t OF u"),
    row(TableOption, "AS", "unsupported statement: CreateTableAs", Recorded, "CREATE TABLE IF NOT EXISTS t (a) WITH (fillfactor = 70) AS VALUES (1)"),
    row(TableOption, "INHERITS", "INHERITS clause not supported for CREATE TABLE", RefusalOnly, "CREATE TABLE t (a int) INHERITS (u)"),
    row(TableOption, "PARTITION BY", "PARTITION BY clause not supported for CREATE TABLE", Observed, "CREATE TABLE t (a int) PARTITION BY RANGE (a)"),
    row(TableOption, "USING", "USING clause not supported for CREATE TABLE", Inferred, "CREATE TABLE t (a int) USING heap"),
    row(TableOption, "WITH", "WITH clause not supported for CREATE TABLE", RefusalOnly, "CREATE TABLE t (a int) WITH (fillfactor = 70)"),
    row(TableOption, "ON COMMIT", "ON COMMIT clause not supported for CREATE TABLE", RefusalOnly, "CREATE TABLE t (a int) ON COMMIT DROP"),
    row(TableOption, "TABLESPACE", "TABLESPACE clause not supported for CREATE TABLE", Inferred, "CREATE TABLE t (a int) TABLESPACE s"),
    row(ColumnOption, "COMPRESSION", "COMPRESSION clause not supported", RefusalOnly, "CREATE TABLE t (a text STORAGE MAIN COMPRESSION lz4)"),
    row(ColumnOption, "COLLATE", "COLLATE clause not supported", Observed, "CREATE TABLE t (a text COLLATE \"C\")"),

    coded(ColumnType, "SERIAL", "42704", "type \"serial\" does not exist", Recorded, "CREATE TABLE t (a serial PRIMARY KEY)"),
    coded(ColumnType, "BIGSERIAL", "42704", "type \"bigserial\" does not exist", Observed, "CREATE TABLE t (a bigserial PRIMARY KEY)"),
    coded(ColumnType, "SMALLSERIAL", "42704", "type \"smallserial\" does not exist", Observed, "CREATE TABLE t (a smallserial PRIMARY KEY)"),
    coded(ColumnType, "SERIAL2", "42704", "type \"serial2\" does not exist", Inferred, "CREATE TABLE t (a serial2 PRIMARY KEY)"),
    coded(ColumnType, "SERIAL4", "42704", "type \"serial4\" does not exist", Inferred, "CREATE TABLE t (a serial4 PRIMARY KEY)"),
    coded(ColumnType, "SERIAL8", "42704", "type \"serial8\" does not exist", Inferred, "CREATE TABLE t (a serial8 PRIMARY KEY)"),
    row(TableElement, "EXCLUDE USING", "EXCLUDE constraint not supported for CREATE TABLE", Inferred, "CREATE TABLE t (EXCLUDE USING gist (a WITH =))"),
    row(TableElement, "EXCLUDE (", "EXCLUDE constraint not supported for CREATE TABLE", Inferred, "CREATE TABLE t (CONSTRAINT c EXCLUDE (a WITH =))"),

    row(TableAction, "VALIDATE CONSTRAINT", "unsupported ALTER TABLE VALIDATE CONSTRAINT statement", Observed, "ALTER TABLE t VALIDATE CONSTRAINT c"),
    row(TableAction, "ENABLE ROW LEVEL SECURITY", "unsupported ALTER TABLE ENABLE ROW SECURITY statement", Observed, "ALTER TABLE t ENABLE ROW LEVEL SECURITY"),
    row(TableAction, "DISABLE ROW LEVEL SECURITY", "unsupported ALTER TABLE DISABLE ROW SECURITY statement", RefusalOnly, "ALTER TABLE t DISABLE ROW LEVEL SECURITY"),
    row(TableAction, "FORCE ROW LEVEL SECURITY", "unsupported ALTER TABLE FORCE ROW SECURITY statement", RefusalOnly, "ALTER TABLE t FORCE ROW LEVEL SECURITY"),
    row(TableAction, "NO FORCE ROW LEVEL SECURITY", "unsupported ALTER TABLE NO FORCE ROW SECURITY statement", RefusalOnly, "ALTER TABLE t NO FORCE ROW LEVEL SECURITY"),
    row(TableAction, "ENABLE ALWAYS RULE", "unsupported ALTER TABLE ENABLE ALWAYS RULE statement", RefusalOnly, "ALTER TABLE t ENABLE ALWAYS RULE r"),
    row(TableAction, "ENABLE REPLICA RULE", "unsupported ALTER TABLE ENABLE REPLICA RULE statement", RefusalOnly, "ALTER TABLE t ENABLE REPLICA RULE r"),
    row(TableAction, "ENABLE RULE", "unsupported ALTER TABLE ENABLE RULE statement", RefusalOnly, "ALTER TABLE t ENABLE RULE r"),
    row(TableAction, "DISABLE RULE", "unsupported ALTER TABLE DISABLE RULE statement", RefusalOnly, "ALTER TABLE t DISABLE RULE r"),
    row(TableAction, "REPLICA IDENTITY", "unsupported ALTER TABLE REPLICA IDENTITY statement", RefusalOnly, "ALTER TABLE t REPLICA IDENTITY FULL"),
    row(TableAction, "CLUSTER ON", "unsupported ALTER TABLE CLUSTER ON statement", Inferred, "ALTER TABLE t CLUSTER ON i"),
    row(TableAction, "SET WITHOUT CLUSTER", "unsupported ALTER TABLE SET WITHOUT CLUSTER statement", Inferred, "ALTER TABLE t SET WITHOUT CLUSTER"),
    row(TableAction, "SET WITHOUT OIDS", "unsupported ALTER TABLE SET WITHOUT OIDS statement", Inferred, "ALTER TABLE t SET WITHOUT OIDS"),
    row(TableAction, "SET LOGGED", "unsupported ALTER TABLE SET LOGGED statement", Inferred, "ALTER TABLE t SET LOGGED"),
    row(TableAction, "SET UNLOGGED", "unsupported ALTER TABLE SET UNLOGGED statement", Inferred, "ALTER TABLE t SET UNLOGGED"),
    row(TableAction, "SET TABLESPACE", "unsupported ALTER TABLE SET TABLESPACE statement", Inferred, "ALTER TABLE t SET TABLESPACE s"),
    row(TableAction, "SET ACCESS METHOD", "unsupported ALTER TABLE SET ACCESS METHOD statement", Inferred, "ALTER TABLE t SET ACCESS METHOD heap"),
    row(TableAction, "INHERIT", "unsupported ALTER TABLE INHERIT statement", Inferred, "ALTER TABLE t INHERIT u"),
    row(TableAction, "NO INHERIT", "unsupported ALTER TABLE NO INHERIT statement", Inferred, "ALTER TABLE t NO INHERIT u"),
    row(TableAction, "NOT OF", "unsupported ALTER TABLE NOT OF statement", Inferred, "ALTER TABLE t NOT OF"),
    row(TableAction, "OF", "unsupported ALTER TABLE OF statement", Inferred, "ALTER TABLE t OF u"),
    row(TableAction, "OPTIONS", "unsupported ALTER TABLE OPTIONS statement", Inferred, "ALTER TABLE t OPTIONS (SET a 'b')"),
    row(TableAction, "ATTACH PARTITION", "unsupported ALTER TABLE ATTACH PARTITION statement", Inferred, "ALTER TABLE t ATTACH PARTITION u DEFAULT"),
    row(TableAction, "DETACH PARTITION", "unsupported ALTER TABLE DETACH PARTITION statement", Inferred, "ALTER TABLE t DETACH PARTITION u"),
    row(TableAction, "SET (", "unsupported ALTER TABLE SET statement", Inferred, "ALTER TABLE t SET (fillfactor = 70)"),
    row(TableAction, "RESET (", "unsupported ALTER TABLE RESET statement", Inferred, "ALTER TABLE t RESET (fillfactor)"),
    row(ColumnAction, "SET NOT NULL", "unsupported ALTER TABLE ALTER COLUMN ... SET NOT NULL statement", Observed, "ALTER TABLE t ALTER COLUMN a SET NOT NULL"),
    row(ColumnAction, "SET DATA TYPE", "unsupported ALTER TABLE ALTER COLUMN ... SET DATA TYPE statement", Observed, "ALTER TABLE t ALTER COLUMN a SET DATA TYPE text USING a::text"),
    row(ColumnAction, "TYPE", "unsupported ALTER TABLE ALTER COLUMN ... SET DATA TYPE statement", Observed, "ALTER TABLE t ALTER a TYPE serial"),
    row(ColumnAction, "SET STATISTICS", "unsupported ALTER TABLE ALTER COLUMN ... SET STATISTICS statement", Observed, "ALTER TABLE t ALTER COLUMN a SET STATISTICS 5"),
    row(ColumnAction, "SET COMPRESSION", "unsupported ALTER TABLE ALTER COLUMN ... SET COMPRESSION statement", RefusalOnly, "ALTER TABLE t ALTER COLUMN a SET COMPRESSION lz4"),
    row(ColumnAction, "OPTIONS", "unsupported ALTER TABLE ALTER COLUMN ... OPTIONS statement", Inferred, "ALTER TABLE t ALTER COLUMN a OPTIONS (SET b 'c')"),
    row(ColumnAction, "SET (", "unsupported ALTER TABLE ALTER COLUMN ... SET statement", Inferred, "ALTER TABLE t ALTER a SET (n_distinct = 5)"),
    row(ColumnAction, "RESET (", "unsupported ALTER TABLE ALTER COLUMN ... RESET statement", Inferred, "ALTER TABLE t ALTER a RESET (n_distinct)"),
    row(DomainAction, "SET NOT NULL", "unsupported ALTER DOMAIN SET NOT NULL statement", RefusalOnly, "ALTER DOMAIN d SET NOT NULL"),
    row(DomainAction, "ADD", "unsupported ALTER DOMAIN ADD CONSTRAINT statement", RefusalOnly, "ALTER DOMAIN s.d ADD CONSTRAINT c CHECK (value > 0)"),

    row(Index, "CONCURRENTLY", "CONCURRENTLY not supported for CREATE INDEX", Observed, "CREATE INDEX CONCURRENTLY i ON t (a)"),
    row(IndexKey, "ASC", "specifying sort order not supported for index keys", Observed, "CREATE INDEX ASYNC i ON t (a ASC NULLS FIRST)"),
    row(IndexKey, "DESC", "specifying sort order not supported for index keys", Observed, "CREATE INDEX ASYNC i ON t (a, b DESC)"),
    row(IndexOption, "WITH", "WITH not supported for CREATE INDEX", Inferred, "CREATE INDEX ASYNC i ON t (a) WITH (fillfactor = 70)"),
    row(IndexOption, "TABLESPACE", "TABLESPACE not supported for CREATE INDEX", Inferred, "CREATE INDEX ASYNC i ON t (a) INCLUDE (b) TABLESPACE s"),
];

/// The refusal of the words that come next.
pub(super) fn check(place: Place, cursor: Cursor<'_>) -> Result<(), Plan> {
    find(place, |words| comes_next(cursor, words))
}

/// The refusal of words ahead, outside of parentheses.
pub(super) fn check_ahead(place: Place, cursor: Cursor<'_>) -> Result<(), Plan> {
    find(place, |words| cursor.contains(words))
}

/// The refusal of the first words of a statement.
pub(super) fn check_statement(cursor: Cursor<'_>) -> Result<(), Plan> {
    let mut replacing = cursor;
    let replaces = replacing.skip("CREATE OR REPLACE");
    find(Place::Statement, |words| match words.strip_prefix("CREATE ") {
        Some(object) if replaces => replacing.starts_with(object),
        _ => cursor.starts_with(words),
    })
}

/// The refusal of a name, or of a clause that the caller has recognised.
pub(super) fn check_name(place: Place, name: &str) -> Result<(), Plan> {
    find(place, |words| words.eq_ignore_ascii_case(name))
}

fn find(place: Place, fits: impl Fn(&str) -> bool) -> Result<(), Plan> {
    let found = REFUSALS.iter().find(|refusal| refusal.place == place && fits(refusal.words));
    found.map_or(Ok(()), |refusal| Err(Plan::refuse(refusal.code, refusal.message)))
}

fn comes_next(mut cursor: Cursor<'_>, words: &str) -> bool {
    match words.strip_suffix(" (") {
        Some(words) => cursor.skip(words) && cursor.skip_mark('('),
        None => words.is_empty() || cursor.starts_with(words),
    }
}

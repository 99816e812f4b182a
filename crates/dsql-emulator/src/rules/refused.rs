//! Statements that DSQL refuses by their first words.

use super::Plan;
use crate::sql::Cursor;

/// First words, and the message with SQLSTATE 0A000.
struct Refused {
    /// In upper case. The first matching entry decides, so longer ones come first.
    words: &'static str,
    message: &'static str,
}

const fn refused(words: &'static str, message: &'static str) -> Refused {
    Refused { words, message }
}

/// Recorded ones first (aurora-dsql.md#refused-statements). The messages of those below are
/// inferred [I]: `unsupported statement: ` and PostgreSQL's name of the parse node. Their refusal
/// is known or inferred.
const REFUSED: &[Refused] = &[
    // Recorded [R]
    refused("TRUNCATE", "unsupported statement: Truncate"),
    refused("CREATE EXTENSION", "unsupported statement: CreateExtension"),
    refused("CREATE TRIGGER", "CREATE TRIGGER not supported"),
    refused("CREATE CONSTRAINT TRIGGER", "CREATE TRIGGER not supported"),
    refused("CREATE DATABASE", "unsupported statement: Createdb"),
    refused("CREATE MATERIALIZED VIEW", "unsupported statement: CreateTableAs"),
    refused("CREATE TABLESPACE", "unsupported statement: CreateTableSpace"),
    refused("CREATE FOREIGN TABLE", "unsupported statement: CreateForeignTable"),
    refused("VACUUM", "unsupported VACUUM statement"),
    refused("LISTEN", "unsupported statement: Listen"),
    refused("NOTIFY", "unsupported statement: Notify"),
    refused("UNLISTEN", "unsupported statement: Unlisten"),
    refused("ALTER SYSTEM", "unsupported statement: AlterSystem"),
    refused("MERGE", "unsupported statement type: MERGE"),
    // Observed [O]
    refused("CREATE PROCEDURE", "PROCEDURE is not supported"),
    refused("CREATE POLICY", "unsupported statement: CreatePolicy"),
    // Refused (aurora-dsql.md#transactions) [O LINT], messages [I]
    refused("LOCK", "unsupported statement: Lock"),
    refused("DISCARD", "unsupported statement: Discard"),
    refused("DECLARE", "unsupported statement: DeclareCursor"),
    refused("LOAD", "unsupported statement: Load"),
    // Refused by the linter's rules, or impossible on a distributed cluster [I]
    refused("ALTER POLICY", "unsupported statement: AlterPolicy"),
    refused("CREATE SERVER", "unsupported statement: CreateForeignServer"),
    refused("CREATE FOREIGN DATA WRAPPER", "unsupported statement: CreateFdw"),
    refused("CREATE USER MAPPING", "unsupported statement: CreateUserMapping"),
    refused("CREATE EVENT TRIGGER", "unsupported statement: CreateEventTrig"),
    refused("CREATE RULE", "unsupported statement: Rule"),
    refused("CREATE LANGUAGE", "unsupported statement: CreatePLang"),
    refused("CREATE TRUSTED", "unsupported statement: CreatePLang"),
    refused("CREATE PROCEDURAL", "unsupported statement: CreatePLang"),
    refused("CREATE OPERATOR CLASS", "unsupported statement: CreateOpClass"),
    refused("CREATE OPERATOR FAMILY", "unsupported statement: CreateOpFamily"),
    refused("CREATE OPERATOR", "unsupported statement: Define"),
    refused("CREATE AGGREGATE", "unsupported statement: Define"),
    refused("CREATE COLLATION", "unsupported statement: Define"),
    refused("CREATE TEXT SEARCH", "unsupported statement: Define"),
    refused("CREATE CAST", "unsupported statement: CreateCast"),
    refused("CREATE CONVERSION", "unsupported statement: CreateConversion"),
    refused("CREATE DEFAULT CONVERSION", "unsupported statement: CreateConversion"),
    refused("CREATE ACCESS METHOD", "unsupported statement: CreateAm"),
    refused("CREATE TRANSFORM", "unsupported statement: CreateTransform"),
    refused("CREATE PUBLICATION", "unsupported statement: CreatePublication"),
    refused("CREATE SUBSCRIPTION", "unsupported statement: CreateSubscription"),
    refused("IMPORT FOREIGN SCHEMA", "unsupported statement: ImportForeignSchema"),
    refused("REFRESH", "unsupported statement: RefreshMatView"),
    refused("REINDEX", "unsupported statement: Reindex"),
    refused("CLUSTER", "unsupported statement: Cluster"),
    refused("CHECKPOINT", "unsupported statement: CheckPoint"),
    refused("DO", "unsupported statement: Do"),
    refused("EXECUTE", "unsupported statement: Execute"),
    refused("FETCH", "unsupported statement: Fetch"),
    refused("MOVE", "unsupported statement: Fetch"),
    refused("CLOSE", "unsupported statement: ClosePortal"),
    refused("SECURITY LABEL", "unsupported statement: SecLabel"),
    refused("REASSIGN OWNED", "unsupported statement: ReassignOwned"),
    refused("DROP OWNED", "unsupported statement: DropOwned"),
    refused("DROP DATABASE", "unsupported statement: Dropdb"),
    refused("DROP TABLESPACE", "unsupported statement: DropTableSpace"),
    refused("DROP USER MAPPING", "unsupported statement: DropUserMapping"),
    refused("DROP SUBSCRIPTION", "unsupported statement: DropSubscription"),
    refused("ALTER DATABASE", "unsupported statement: AlterDatabase"),
    refused("ALTER EXTENSION", "unsupported statement: AlterExtension"),
    refused("ALTER EVENT TRIGGER", "unsupported statement: AlterEventTrig"),
    refused("ALTER SERVER", "unsupported statement: AlterForeignServer"),
    refused("ALTER FOREIGN DATA WRAPPER", "unsupported statement: AlterFdw"),
    refused("ALTER USER MAPPING", "unsupported statement: AlterUserMapping"),
    refused("ALTER PUBLICATION", "unsupported statement: AlterPublication"),
    refused("ALTER SUBSCRIPTION", "unsupported statement: AlterSubscription"),
    refused("ALTER TABLESPACE", "unsupported statement: AlterTableSpaceOptions"),
    refused("ALTER TABLE ALL IN TABLESPACE", "unsupported statement: AlterTableMoveAll"),
];

/// The refusal of a statement that begins with the words of an entry.
pub(super) fn find(cursor: Cursor<'_>) -> Option<Plan> {
    let mut replacing = cursor;
    // `CREATE OR REPLACE x` is refused like `CREATE x`.
    let replaces = replacing.skip("CREATE OR REPLACE");
    let fits = |words: &str| match words.strip_prefix("CREATE ") {
        Some(object) if replaces => replacing.starts_with(object),
        _ => cursor.starts_with(words),
    };
    let found = REFUSED.iter().find(|refused| fits(refused.words))?;
    Some(Plan::unsupported(found.message))
}

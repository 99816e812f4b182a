//! The rules that decide what happens to a statement: refused, answered by the emulator, or run by
//! PostgreSQL.
//!
//! Each rule cites its section of `docs/reference/aurora-dsql.md`, and the class of its evidence if
//! it is not recorded (aurora-dsql.md#evidence), such as `[I]` for inferred. Messages that are not
//! recorded follow the pattern of recorded ones, which DSQL derives from PostgreSQL's names of
//! statements and of ALTER TABLE actions. The refusals that depend on words alone are one table, in
//! `refusals`. Rules that need types or the catalog are in `catalog/`,
//! where PostgreSQL has resolved them.

mod alter_table;
mod body;
mod column;
mod create;
mod create_table;
mod database;
mod drop_alter;
mod index;
mod lateral;
mod locking;
mod query;
mod refusals;
mod sequence;
mod setting;
mod syntax;
mod system_columns;
mod transaction;

#[cfg(test)]
mod tests;

use std::collections::HashSet;

pub(crate) use database::{in_own_database, own_relation_name};
pub(crate) use lateral::defect;
pub(crate) use locking::{LockStrength, LockedTable, Locking};
pub(crate) use query::changes_in_parentheses;
use refusals::Place;
pub(crate) use refusals::{RuleExample, examples};
pub(crate) use setting::{SETTABLE, Settings, boolean, startup_option};
pub(crate) use transaction::{Access, Control};

use crate::{
    config::Unrecorded,
    sql::{Cursor, Statement, Token},
    wire::{Column, DbError},
};

/// How a statement is executed.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    /// A transaction begins or ends.
    Control(Control),
    /// The statement is refused.
    Refuse(DbError),
    /// The emulator answers with one row of one text column.
    Show { column: &'static str, value: &'static str },
    /// All prepared statements are closed.
    DeallocateAll,
    /// A setting of the emulator: whether CREATE INDEX is permitted without ASYNC.
    EmulatorSetting { sync_index: bool, tag: &'static str },
    /// Waits for the job whose id is the value of this expression.
    WaitForJob { argument: String },
    /// Adds or removes the mapping of a role to an IAM identity.
    IamMapping { grant: bool, role: String, arn: String },
    /// PostgreSQL runs it.
    Run(Run),
}

/// A statement that PostgreSQL runs, with its properties.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The text to send, if it is not the statement's own.
    pub(crate) text: Option<String>,
    pub(crate) class: Class,
    /// Whether it contains INSERT, UPDATE or DELETE.
    pub(crate) changes_rows: bool,
    /// Its locking clauses.
    pub(crate) locking: Option<Locking>,
    /// The asynchronous job that it starts.
    pub(crate) job: Option<NewJob>,
    /// The catalog checks to run before it.
    pub(crate) checks: Vec<Check>,
}

/// The class of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Only reads.
    Read,
    /// Writes rows, or can.
    Write,
    /// Changes the catalog.
    Ddl,
    /// Changes a setting of the session. A rollback undoes it.
    Setting,
    /// ANALYZE, which is not possible in a transaction block.
    Analyze,
    /// Anything else.
    Utility,
    /// COPY FROM STDIN.
    CopyIn,
    /// COPY TO STDOUT.
    CopyOut,
}

/// An asynchronous job (aurora-dsql.md#jobs).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NewJob {
    /// `CREATE INDEX ASYNC`. For a unique index: the statement without UNIQUE, for a table with
    /// duplicates.
    Index { not_unique: Option<String> },
    /// `ALTER TABLE ASYNC … VALIDATE CONSTRAINT`.
    Validate { table: String, constraint: String },
}

/// A catalog check before a statement runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// The column must not be part of the primary key.
    NotInPrimaryKey { table: String, column: String },
    /// The constraint must not be the primary key.
    NotPrimaryKey { table: String, constraint: String },
    /// Another schema must be permitted.
    SchemaCount,
    /// The role must not be mapped to an IAM identity.
    NotMapped { role: String },
    /// None of the tables may be a client's, because the statement reads a system column.
    NoSystemColumn { tables: Vec<String> },
    /// The table must be empty.
    Empty { table: String },
    /// An identity column must be of type bigint.
    BigIdentity { column_type: String },
    /// No unqualified column of a LEFT JOIN LATERAL may belong to an outer table and to none of the
    /// inner ones, the first of which is `child`.
    NotOfOuterTable { columns: Vec<String>, inner: Vec<String>, outer: Vec<String>, child: String },
}

/// What a plan depends on in addition to the statement.
#[derive(Clone, Debug)]
pub(crate) struct Context<'a> {
    /// Functions and keywords of PostgreSQL. Other functions may write.
    pub(crate) builtins: &'a HashSet<String>,
    /// PostgreSQL's major version.
    pub(crate) server_version: u32,
    /// The name of the database in PostgreSQL.
    pub(crate) database: &'a str,
    /// Whether the session permits CREATE INDEX without ASYNC on an empty table
    /// (aurora-dsql.md#indexes).
    pub(crate) sync_index: bool,
    /// Whether statements are accepted for which DSQL's behaviour is not recorded.
    pub(crate) unrecorded: Unrecorded,
}

impl Run {
    /// Runs the statement unchanged.
    fn of(class: Class) -> Self {
        let (text, locking, job) = (None, None, None);
        Self { text, class, changes_rows: false, locking, job, checks: Vec::new() }
    }

    /// Whether its text says that it writes rows, which is not permitted together with DDL
    /// (aurora-dsql.md#ddl-in-transactions).
    pub(crate) fn writes_rows(&self) -> bool {
        self.changes_rows || self.class == Class::CopyIn
    }
}

impl Plan {
    fn refuse(code: &str, message: impl Into<String>) -> Self {
        Self::Refuse(DbError::new(code, message))
    }

    /// A syntax error at the next token of a statement, with PostgreSQL's message.
    fn syntax_error(statement: &Statement, cursor: &Cursor<'_>) -> Self {
        let Some(token) = cursor.peek() else {
            return Self::refuse("42601", "syntax error at end of input");
        };
        let (before, near) = statement.text[..token.end].split_at(token.start);
        let mut error = DbError::new("42601", format!("syntax error at or near \"{near}\""));
        error.position = Some(before.chars().count() + 1);
        Self::Refuse(error)
    }

    /// Refuses with SQLSTATE 0A000, feature_not_supported, as DSQL does in most cases.
    fn unsupported(message: impl Into<String>) -> Self {
        Self::refuse("0A000", message)
    }

    fn run(class: Class) -> Self {
        Self::Run(Run::of(class))
    }

    /// A DDL statement, which is sent as `text` if that is given.
    fn ddl(text: Option<String>, job: Option<NewJob>, checks: Vec<Check>) -> Self {
        Self::Run(Run { text, job, checks, ..Run::of(Class::Ddl) })
    }

    /// The columns of a result that the emulator produces itself.
    pub(crate) fn own_columns(&self) -> Option<Vec<Column>> {
        match self {
            Self::Show { column, .. } => Some(vec![Column::text(column)]),
            Self::Run(Run { job: Some(_), .. }) => Some(vec![Column::text("job_id")]),
            Self::WaitForJob { .. } => Some(vec![Column::boolean("succeeded")]),
            _ => None,
        }
    }
}

/// Plans a statement.
pub(crate) fn plan(statement: &Statement, context: &Context<'_>) -> Plan {
    let cursor = Cursor::new(&statement.tokens);
    if let Err(refusal) = refusals::check_statement(cursor) {
        return refusal;
    }
    let Some(head) = statement.tokens.first() else {
        return Plan::run(Class::Utility);
    };
    match head.word().unwrap_or("(") {
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" => transaction::plan(statement),
        "set" | "reset" | "show" => setting::plan(statement, context),
        "create" => create::plan(statement, context),
        "alter" => drop_alter::plan_alter(statement, context),
        "drop" => drop_alter::plan_drop(cursor),
        "grant" | "revoke" => plan_grant(cursor),
        "aws" => plan_iam(cursor),
        "comment" => Plan::run(Class::Ddl),
        "analyze" | "analyse" => plan_analyze(cursor),
        "deallocate" => plan_deallocate(cursor),
        "call" => plan_call(statement),
        "copy" => plan_copy(statement, context),
        "explain" => plan_explain(statement, context),
        "select" | "with" | "values" | "table" | "(" | "insert" | "update" | "delete" => {
            query::plan(statement, context)
        }
        _ => Plan::run(Class::Utility),
    }
}

/// GRANT and REVOKE count as DDL (aurora-dsql.md#ddl-in-transactions). They are refused on what
/// belongs to the system, and on some objects (aurora-dsql.md#refused-statements) [O].
fn plan_grant(cursor: Cursor<'_>) -> Plan {
    const SYSTEM: [&str; 4] = ["public", "pg_catalog", "information_schema", "sys"];
    let Some(mut objects) = cursor.find("ON") else {
        return check_member(cursor).err().unwrap_or_else(|| Plan::run(Class::Ddl));
    };
    objects.skip("ON");
    // Without a name behind it, the word is the name of a table.
    let mut behind = objects;
    behind.next();
    let is_kind = behind.peek().is_some_and(|next| {
        !next.is_mark(',') && !next.is_mark('.') && !next.is("TO") && !next.is("FROM")
    });
    if !is_kind {
        return Plan::run(Class::Ddl);
    }
    if let Err(refusal) = refusals::check(Place::GrantObject, objects) {
        return refusal;
    }
    let names = behind.rest().iter().take_while(|token| !token.is("TO") && !token.is("FROM"));
    if objects.starts_with("SCHEMA")
        && names.filter_map(|token| token.word()).any(|name| SYSTEM.contains(&name))
    {
        return Plan::unsupported("feature not supported on system entity");
    }
    Plan::run(Class::Ddl)
}

/// No role becomes a member of a predefined one, such as `pg_execute_server_program`, because `admin`
/// has none of them with the ADMIN option. PostgreSQL checks this only since version 16, which DSQL
/// reports; so SQLSTATE and message are PostgreSQL's [I].
fn check_member(words: Cursor<'_>) -> Result<(), Plan> {
    let mut names = words.rest().iter().filter_map(Token::word);
    let verb = if words.starts_with("REVOKE") { "revoke" } else { "grant" };
    match names.find(|name| name.starts_with("pg_")) {
        None => Ok(()),
        Some(name) => {
            Err(Plan::refuse("42501", format!("permission denied to {verb} role \"{name}\"")))
        }
    }
}

/// ANALYZE takes one relation (aurora-dsql.md#refused-statements) [O].
fn plan_analyze(mut cursor: Cursor<'_>) -> Plan {
    cursor.next();
    if cursor.parenthesised().is_none() {
        cursor.skip("VERBOSE");
    }
    if cursor.items().len() == 1 {
        return Plan::run(Class::Analyze);
    }
    Plan::unsupported(
        "unsupported ANALYZE statement: exactly one relation can be analyzed at a time",
    )
}

/// `AWS IAM GRANT role TO 'arn'`, `AWS IAM REVOKE role FROM 'arn'` (aurora-dsql.md#connections).
fn plan_iam(mut cursor: Cursor<'_>) -> Plan {
    let syntax_error = || Plan::refuse("42601", "syntax error at or near \"AWS\"");
    let grant = if cursor.skip("AWS IAM GRANT") {
        true
    } else if cursor.skip("AWS IAM REVOKE") {
        false
    } else {
        return syntax_error();
    };
    let role = cursor.next().and_then(|token| token.word());
    let direction = cursor.skip(if grant { "TO" } else { "FROM" });
    let arn = match cursor.next().map(|token| &token.kind) {
        Some(crate::sql::Kind::Text(arn)) => Some(arn.clone()),
        _ => None,
    };
    match (role, direction, arn, cursor.is_at_end()) {
        (Some(role), true, Some(arn), true) => {
            Plan::IamMapping { grant, role: role.to_owned(), arn }
        }
        _ => syntax_error(),
    }
}

/// aurora-dsql.md#transactions: only `DEALLOCATE ALL`.
fn plan_deallocate(mut cursor: Cursor<'_>) -> Plan {
    cursor.skip("DEALLOCATE");
    cursor.skip("PREPARE");
    if cursor.skip("ALL") && cursor.is_at_end() {
        Plan::DeallocateAll
    } else {
        Plan::unsupported("unsupported statement: Deallocate")
    }
}

/// aurora-dsql.md#jobs: `CALL sys.wait_for_job(…)`. PostgreSQL reports errors of its form.
fn plan_call(statement: &Statement) -> Plan {
    let mut cursor = Cursor::new(&statement.tokens);
    cursor.skip("CALL");
    let is_wait = cursor.name().is_some_and(|name| name == ["sys", "wait_for_job"]);
    let arguments = cursor.parenthesised().unwrap_or_default();
    let plain = is_wait
        && cursor.is_at_end()
        && Cursor::new(arguments).items().len() == 1
        && !arguments.iter().any(|token| token.is("SELECT"));
    // By position, or by its name.
    let value = match arguments {
        [name, arrow, value @ ..]
            if name.word() == Some("job_id")
                && (arrow.is_operator("=>") || arrow.is_operator(":=")) =>
        {
            value
        }
        value => value,
    };
    match (value.first(), value.last()) {
        (Some(first), Some(last)) if plain => {
            Plan::WaitForJob { argument: statement.text[first.start..last.end].to_owned() }
        }
        _ => Plan::run(Class::Write),
    }
}

/// aurora-dsql.md#sessions: only to and from the client. PostgreSQL refuses files, because `admin`
/// is not a superuser.
fn plan_copy(statement: &Statement, context: &Context<'_>) -> Plan {
    let mut cursor = Cursor::new(&statement.tokens);
    cursor.skip("COPY");
    // PostgreSQL reports a COPY or EXPLAIN in parentheses as a syntax error.
    let is_query =
        |inner: &&[Token]| !inner.iter().take(1).any(|t| t.is("COPY") || t.is("EXPLAIN"));
    if let Some(inner) = cursor.parenthesised().filter(is_query) {
        // The inner statement runs, so its rules apply.
        match statement.part(inner).map(|inner| plan(&inner, context)) {
            Some(Plan::Refuse(error)) => return Plan::Refuse(error),
            Some(Plan::Run(run)) if run.class == Class::Write || !run.checks.is_empty() => {
                return Plan::Run(Run { locking: locking::locking_inside(statement), ..run });
            }
            _ => {}
        }
    }
    if cursor.contains("FROM STDIN") {
        Plan::run(Class::CopyIn)
    } else if cursor.contains("TO STDOUT") {
        Plan::run(Class::CopyOut)
    } else {
        Plan::run(Class::Utility)
    }
}

/// The rules of the inner statement apply. With ANALYZE it runs.
fn plan_explain(statement: &Statement, context: &Context<'_>) -> Plan {
    let mut cursor = Cursor::new(&statement.tokens);
    cursor.skip("EXPLAIN");
    let options = cursor.parenthesised().unwrap_or_default();
    let mut analyses = options.iter().any(|token| token.is("ANALYZE") || token.is("ANALYSE"));
    analyses |= cursor.skip("ANALYZE") || cursor.skip("ANALYSE");
    cursor.skip("VERBOSE");
    // PostgreSQL reports an EXPLAIN of an EXPLAIN or COPY as a syntax error.
    let is_nested = cursor.starts_with("EXPLAIN") || cursor.starts_with("COPY");
    let inner = if is_nested { None } else { statement.part(cursor.rest()) };
    let Some(inner) = inner else { return Plan::run(Class::Utility) };
    match plan(&inner, context) {
        Plan::Refuse(error) => Plan::Refuse(error),
        Plan::Run(run) if analyses => {
            Plan::Run(Run { text: None, locking: locking::locking_inside(statement), ..run })
        }
        Plan::Run(Run { checks, .. }) => Plan::Run(Run { checks, ..Run::of(Class::Read) }),
        _ => Plan::run(Class::Read),
    }
}

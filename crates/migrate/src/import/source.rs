//! What the source of an import is: its version, its catalog, its servers and its shards.

use std::ops::RangeInclusive;

use temporal_dsql_domain::{Engine, SchemaVersion, VERSION};

use super::{
    ImportError, Settings, ValueType,
    error::{Problem, ProblemKind},
    fence::{FenceState, STEP},
    mapping::SOURCE_VERSIONS,
};
use crate::{
    Catalog, DatabaseError, PostgresDatabase, SchemaDatabase, Scope, VersionRow,
    postgres::{Parameter, RawRow, RowSession},
    retry::retried,
};

/// The versions that the schema for DSQL has had, which no schema of upstream's plugin still has.
const VERSIONS_OF_DSQL: RangeInclusive<SchemaVersion> = SchemaVersion::new(1, 0)..=VERSION;

/// The rows of the servers: for people, the seconds since the last heartbeat, whose time is UTC, and what
/// a heartbeat changes.
const SERVERS: &str = "\
    SELECT CASE role WHEN 1 THEN 'frontend' WHEN 2 THEN 'history' WHEN 3 THEN 'matching' \
                     WHEN 4 THEN 'worker' ELSE 'role ' || role END || ' at ' || rpc_address || ':' || rpc_port, \
           greatest(0, extract(epoch FROM now() AT TIME ZONE 'UTC' - last_heartbeat))::bigint, \
           encode(host_id, 'hex') || last_heartbeat \
      FROM cluster_membership \
     ORDER BY role, rpc_address, rpc_port";
/// A server whose last heartbeat is older has stopped, if its clock is that of the database.
const STOPPED_AFTER_SECONDS: i64 = 60;

/// What the source has recorded of a server.
pub(super) struct ServerRow {
    /// Its role and address, for people.
    name: String,
    /// Since the last heartbeat, by the clock of the database; 0 if the server's clock is ahead.
    seconds: i64,
    /// Every heartbeat changes it.
    state: String,
}

impl ServerRow {
    /// The running servers among `servers`, as texts for people.
    pub(super) fn running(servers: &[Self]) -> Vec<String> {
        let running = servers.iter().filter(|server| server.seconds < STOPPED_AFTER_SECONDS);
        running
            .map(|server| format!("{}, heartbeat {} s ago", server.name, server.seconds))
            .collect()
    }

    /// The names of the servers that have sent a heartbeat since `before`, whatever their clocks say.
    pub(super) fn since(servers: &[Self], before: &[Self]) -> Vec<String> {
        let known = |server: &Self| before.iter().any(|known| known.state == server.state);
        servers.iter().filter(|server| !known(server)).map(|server| server.name.clone()).collect()
    }
}

/// The recorded version of a source that can be imported.
///
/// # Errors
/// [`ImportError::Refused`], and those of the connection.
pub(super) async fn check_version(
    source: &mut PostgresDatabase,
    settings: &Settings,
) -> Result<String, ImportError> {
    let retry = settings.retry();
    let refused = |problem| Err(ImportError::Refused(vec![problem]));
    if let Some(problem) = engine_problem(source) {
        return refused(problem);
    }
    let rows: Result<_, _> =
        retried!(retry, "reading the schema version of the source", source.version_rows());
    let catalog = catalog(source, settings).await?;
    let database = source.database_name().to_owned();
    match version_of(&rows?, &database, &catalog) {
        Ok(version) => Ok(version),
        Err(problem) => refused(problem),
    }
}

/// Checks that the source has Temporal's shards, at whatever version.
///
/// # Errors
/// As [`check_version`].
pub(super) async fn check_main_store(
    source: &mut PostgresDatabase,
    settings: &Settings,
) -> Result<(), ImportError> {
    let problem = match engine_problem(source) {
        None => main_store_problem(&catalog(source, settings).await?),
        problem => problem,
    };
    problem.map_or(Ok(()), |problem| Err(ImportError::Refused(vec![problem])))
}

fn engine_problem(source: &PostgresDatabase) -> Option<Problem> {
    (source.engine() == Engine::Dsql).then(|| {
        Problem::new(
            ProblemKind::Source,
            "the source is a DSQL cluster; an import reads Temporal's database on PostgreSQL",
        )
    })
}

/// The whole catalog of the source.
pub(super) async fn catalog(
    source: &mut PostgresDatabase,
    settings: &Settings,
) -> Result<Catalog, ImportError> {
    let retry = settings.retry();
    let everything = Scope::default().and_others();
    let names = retried!(retry, "reading the catalog of the source", source.catalog(&everything))?;
    let scope = Scope::of(names.others.into_keys());
    Ok(retried!(retry, "reading the catalog of the source", source.catalog(&scope))?)
}

/// The version of the source, of the row for `database` if there are several.
fn version_of(rows: &[VersionRow], database: &str, catalog: &Catalog) -> Result<String, Problem> {
    let problem = |message: String| Err(Problem::new(ProblemKind::SourceVersion, message));
    let names = || {
        let names: Vec<_> = rows.iter().map(|row| row.database.as_str()).collect();
        names.join(", ")
    };
    let row = match rows {
        [] => {
            return problem(
                "the source has no row in schema_version, so it is not a database of Temporal; \
                 check --from"
                    .to_owned(),
            );
        }
        [row] => row,
        rows => match rows.iter().find(|row| row.database == database) {
            Some(row) => row,
            None => {
                return problem(format!(
                    "the source has versions of several databases ({}) and none of `{database}`; \
                     give --from with the database of the main store",
                    names()
                ));
            }
        },
    };
    let version = row.version.clone().unwrap_or_default();
    if let Some(problem) = main_store_problem(catalog) {
        return Err(problem);
    }
    if SOURCE_VERSIONS.contains(&version.as_str()) {
        return Ok(version);
    }
    let known = SOURCE_VERSIONS.join(" and ");
    let [oldest, newest] = SOURCE_VERSIONS.map(|version| version.parse::<SchemaVersion>().ok());
    let what = match version.parse::<SchemaVersion>().ok() {
        None => "it is not a version".to_owned(),
        Some(version) if VERSIONS_OF_DSQL.contains(&version) => {
            "it is a version of the schema for DSQL, which servers with the plugin dsql use as it is"
                .to_owned()
        }
        found if found < oldest => format!(
            "it is older: update the source with temporal-sql-tool update-schema to {}, which \
             servers of older releases accept",
            SOURCE_VERSIONS[1]
        ),
        found if found > newest => {
            "it is newer than this release, which does not know what has changed".to_owned()
        }
        _ => "no release has it".to_owned(),
    };
    problem(format!("the source is at schema version {version}; {known} can be imported; {what}"))
}

/// The problem of a source that is not the main store, at whatever version.
fn main_store_problem(catalog: &Catalog) -> Option<Problem> {
    if catalog.tables.contains_key("shards") {
        return None;
    }
    let message = if catalog.tables.contains_key("executions_visibility") {
        "the source is the visibility store; give --from with the database of the main store"
    } else {
        "the source has no table shards, so it is not the main store of Temporal; check --from"
    };
    Some(Problem::new(ProblemKind::SourceVersion, message))
}

/// The problem of the source's encoding, if it has one.
pub(super) async fn encoding_problem(
    session: &mut RowSession,
    settings: &Settings,
) -> Result<Option<Problem>, ImportError> {
    let query = "SELECT current_setting('server_encoding')";
    let encoding = text(session, query, "reading the encoding of the source", settings).await?;
    Ok((encoding != "UTF8").then(|| {
        let message =
            format!("the encoding of the source is {encoding}; a database in UTF8 can be imported");
        Problem::new(ProblemKind::Source, message)
    }))
}

/// Whether the source is a standby server.
pub(super) async fn is_standby(
    session: &mut RowSession,
    settings: &Settings,
) -> Result<bool, ImportError> {
    let query = "SELECT pg_catalog.pg_is_in_recovery()::text";
    let action = "reading whether the source is a standby server";
    Ok(text(session, query, action, settings).await? != "false")
}

/// The text that a query returns.
async fn text(
    session: &mut RowSession,
    query: &str,
    action: &str,
    settings: &Settings,
) -> Result<String, ImportError> {
    let retry = settings.retry();
    let mut text = String::new();
    let mut visit = |row: &RawRow<'_>| {
        text = row.text(0);
        true
    };
    retried!(retry, action, session.read(query, &[], &mut visit))?;
    Ok(text)
}

/// The servers that the source has recorded.
pub(super) async fn servers(
    session: &mut RowSession,
    settings: &Settings,
) -> Result<Vec<ServerRow>, ImportError> {
    let retry = settings.retry();
    Ok(retried!(retry, "looking for servers of the source", read_servers(session))?)
}

async fn read_servers(session: &mut RowSession) -> Result<Vec<ServerRow>, DatabaseError> {
    let mut servers = Vec::new();
    let mut visit = |row: &RawRow<'_>| {
        let [name, state] = [0, 2].map(|column| row.text(column));
        servers.push(ServerRow { name, seconds: row.number(1), state });
        true
    };
    session.read(SERVERS, &[], &mut visit).await?;
    Ok(servers)
}

/// The shards, and how many are fenced.
pub(super) async fn shards(
    session: &mut RowSession,
    settings: &Settings,
) -> Result<FenceState, ImportError> {
    const COUNT: &str = "SELECT count(*), count(*) FILTER (WHERE range_id >= $1) FROM shards";
    let retry = settings.retry();
    let step = STEP.to_be_bytes();
    let parameters = [Parameter::Value(ValueType::Int8, Some(&step))];
    let mut state = FenceState { shards: 0, fenced: 0 };
    let mut visit = |row: &RawRow<'_>| {
        state.shards = row.number(0).unsigned_abs();
        state.fenced = row.number(1).unsigned_abs();
        true
    };
    retried!(
        retry,
        "counting the shards of the source",
        session.read(COUNT, &parameters, &mut visit)
    )?;
    Ok(state)
}

/// The problem of a source without shards: every deployment that a server has used has some.
pub(super) fn shards_problem(state: FenceState) -> Option<Problem> {
    (state.shards == 0).then(|| {
        Problem::new(
            ProblemKind::Source,
            "the source has no shards, so no server has used it; check --from",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TableDefinition;

    fn catalog(tables: &[&str]) -> Catalog {
        let tables = tables.iter().map(|name| ((*name).to_owned(), TableDefinition::default()));
        Catalog { tables: tables.collect(), ..Catalog::default() }
    }

    fn row(database: &str, version: &str) -> VersionRow {
        VersionRow {
            database: database.to_owned(),
            version: Some(version.to_owned()),
            min_compatible: None,
        }
    }

    #[test]
    fn the_versions_of_upstream_that_can_be_imported_are_1_18_and_1_19() {
        let main = catalog(&["shards"]);
        for version in ["1.18", "1.19"] {
            assert_eq!(version_of(&[row("t", version)], "x", &main).unwrap(), version);
        }
        let several = [row("other", "1.13"), row("temporal", "1.19")];
        assert_eq!(version_of(&several, "temporal", &main).unwrap(), "1.19");
    }

    #[test]
    fn every_other_version_is_refused_with_what_is_known_of_it() {
        let main = catalog(&["shards"]);
        for (rows, tables, expected) in [
            (vec![], &main, "no row in schema_version"),
            (vec![row("t", "1.17")], &main, "update the source with temporal-sql-tool"),
            (vec![row("t", "1.20")], &main, "newer than this release"),
            (vec![row("t", "1.1")], &main, "a version of the schema for DSQL"),
            (vec![row("t", "banana")], &main, "it is not a version"),
            (vec![row("a", "1.19"), row("b", "1.19")], &main, "several databases (a, b)"),
            (vec![row("t", "1.14")], &catalog(&["executions_visibility"]), "the visibility store"),
            (vec![row("t", "1.19")], &catalog(&[]), "no table shards"),
        ] {
            let problem = version_of(&rows, "x", tables).unwrap_err();
            assert_eq!(problem.kind, ProblemKind::SourceVersion);
            assert!(problem.message.contains(expected), "{problem}");
        }
    }
}

//! The privileges that an import needs, on both sides. DSQL is not asked for them: what it answers is
//! not recorded.

use std::sync::Arc;

use super::{
    ImportError, Settings,
    error::{Problem, ProblemKind},
    mapping::TableMapping,
};
use crate::{Catalog, PostgresDatabase, SchemaDatabase, retry::retried};

/// The table of servers, which is read on both sides and not copied.
const SERVERS: &str = "cluster_membership";

/// The problem of a role that cannot read the source.
pub(super) async fn of_source(
    source: &mut PostgresDatabase,
    catalog: &Catalog,
    tables: &[Arc<TableMapping>],
    settings: &Settings,
) -> Result<Option<Problem>, ImportError> {
    let servers = catalog.tables.contains_key(SERVERS).then(|| SERVERS.to_owned());
    let names = tables.iter().map(|table| table.name.clone()).chain(servers);
    let needs = names.map(|name| (name, vec!["SELECT"])).collect();
    let lacking = lacking(source, "the source", needs, settings).await?;
    Ok(lacking.map(|message| Problem::new(ProblemKind::Source, message)))
}

/// The problem of a role that cannot read the target, or cannot write it if the import `writes`.
pub(super) async fn of_target(
    target: &mut PostgresDatabase,
    tables: &[Arc<TableMapping>],
    writes: bool,
    settings: &Settings,
) -> Result<Option<Problem>, ImportError> {
    let mut needs = vec![(SERVERS.to_owned(), vec!["SELECT"])];
    for table in tables {
        let mut privileges = vec!["SELECT"];
        if writes {
            privileges.push("INSERT");
        }
        // The rows that the setup wrote are replaced.
        if writes && !table.replace_seeds().is_empty() {
            privileges.push("UPDATE");
        }
        needs.push((table.name.clone(), privileges));
    }
    let lacking = lacking(target, "the target", needs, settings).await?;
    Ok(lacking.map(|message| Problem::new(ProblemKind::Target, message)))
}

/// What the role of `database` lacks of the privileges that each table needs.
async fn lacking(
    database: &mut PostgresDatabase,
    side: &str,
    needs: Vec<(String, Vec<&'static str>)>,
    settings: &Settings,
) -> Result<Option<String>, ImportError> {
    let names: Vec<_> = needs.iter().map(|(name, _)| name.clone()).collect();
    let retry = settings.retry();
    let action = format!("looking for the rights of the role at {side}");
    let Some(access) = retried!(retry, &action, database.access(&names))? else { return Ok(None) };
    let mut lacking = Vec::new();
    for (name, privileges) in needs {
        let Some(relation) = access.relations.get(&name) else { continue };
        let lacks = privileges.into_iter().filter(|privilege| relation.lacks.contains(privilege));
        let lacks: Vec<_> = lacks.collect();
        if !lacks.is_empty() {
            lacking.push(format!("{} on {name}", lacks.join(", ")));
        }
    }
    Ok((!lacking.is_empty()).then(|| {
        format!(
            "the role {} lacks privileges at {side}; grant it {}",
            access.role,
            lacking.join("; ")
        )
    }))
}

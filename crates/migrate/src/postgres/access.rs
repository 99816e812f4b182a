//! Reading what the role may do.

use sqlx::{Row, postgres::PgRow};
use temporal_dsql_domain::Engine;

use crate::objects::{Access, RelationAccess};

/// Rows of one shape for the schema `$1`, for its relations `$2`, and for the types with these names. A
/// type that PostgreSQL makes for a table, or for an array, gives way to a table.
macro_rules! query {
    ($may_create:literal, $privileges:literal) => {
        concat!(
            "SELECT 1 AS kind, n.nspname::text AS name, current_user::text AS detail, \
                    pg_catalog.pg_has_role(n.nspowner, 'USAGE') AS owns, ",
            $may_create,
            " AS first, true AS second, true AS third \
               FROM pg_catalog.pg_namespace n WHERE n.nspname = $1 \
             UNION ALL \
             SELECT 2, c.relname::text, pg_catalog.pg_get_userbyid(c.relowner)::text, \
                    pg_catalog.pg_has_role(c.relowner, 'USAGE'), ",
            $privileges,
            " FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
              WHERE n.nspname = $1 AND c.relname = ANY($2) \
             UNION ALL \
             SELECT 3, y.typname::text, y.typtype::text, false, true, true, true \
               FROM pg_catalog.pg_type y \
               JOIN pg_catalog.pg_namespace n ON n.oid = y.typnamespace \
              WHERE n.nspname = $1 AND y.typname = ANY($2) AND y.typrelid = 0 \
                AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_type e WHERE e.typarray = y.oid)"
        )
    };
}

/// The query on an engine.
///
/// DSQL is asked for owners only. What it answers about other privileges is not recorded, and `public`
/// is a part of the system there, on which none are granted (aurora-dsql.md#refused-statements).
pub(super) fn query(engine: Engine) -> &'static str {
    match engine {
        Engine::Dsql => query!("true", "true, true, true"),
        Engine::Postgres => query!(
            "pg_catalog.has_schema_privilege(n.oid, 'CREATE')",
            "coalesce(pg_catalog.has_table_privilege(c.oid, 'SELECT'), true), \
             coalesce(pg_catalog.has_table_privilege(c.oid, 'INSERT'), true), \
             coalesce(pg_catalog.has_table_privilege(c.oid, 'UPDATE'), true)"
        ),
    }
}

/// What `rows`, the answer to [`query`], say.
pub(super) fn read(rows: &[PgRow]) -> Result<Access, sqlx::Error> {
    let mut access = Access::default();
    for row in rows {
        let (name, detail): (String, String) = (row.try_get("name")?, row.try_get("detail")?);
        let is_owned = row.try_get("owns")?;
        match row.try_get::<i32, _>("kind")? {
            1 => {
                access.role = detail;
                access.owns_schema = is_owned;
                access.may_create = row.try_get("first")?;
            }
            2 => {
                let mut lacks = Vec::new();
                for (column, privilege) in
                    [("first", "SELECT"), ("second", "INSERT"), ("third", "UPDATE")]
                {
                    if !row.try_get::<bool, _>(column)? {
                        lacks.push(privilege);
                    }
                }
                let relation = RelationAccess { owner: detail, is_owned, lacks };
                access.relations.insert(name, relation);
            }
            _ => {
                let kind = if detail == "d" { "domain" } else { "type" };
                access.types.insert(name, kind);
            }
        }
    }
    Ok(access)
}

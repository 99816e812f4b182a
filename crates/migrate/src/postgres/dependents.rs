//! Reading the objects that depend on relations.

use std::collections::BTreeSet;

use sqlx::{Row, postgres::PgRow};
use temporal_dsql_domain::Engine;

use crate::{objects::Dependent, schema::quoted};

/// The objects that keep the server from dropping the relations `$2` of the schema `$1`, those that
/// others depend on last.
///
/// Dropping a relation drops what is part of it: what depends on it by `a` (automatic) or `i`
/// (internal), such as its types, its indexes and its own constraints. It is refused for what depends
/// on any of these by `n` (normal). A view depends on a table through its rule. An object that is part
/// of the same relation is dropped with it, whatever else it depends on. The depth is bounded, because
/// functions can make a circle.
///
/// An object that the role does not own is not dropped; its owner is named. What an object of another
/// kind is called, and the rights of the role, are asked on PostgreSQL only: whether DSQL has these
/// functions is not recorded.
macro_rules! query {
    ($description:literal, $is_owned:literal) => {
        concat!(
            "SELECT ", $description, " AS description, ", $is_owned, " AS is_owned, \
           pg_catalog.pg_get_userbyid(coalesce(c.relowner, t.relowner, p.proowner))::text AS owner, \
           f.root, f.class::text || ' ' || f.id::text AS id, \
           f.class::regclass::text AS catalog, f.id::text AS oid, \
           c.relkind::text AS relkind, cn.nspname::text AS schema, c.relname::text AS name, \
           o.conname::text AS foreign_key, tn.nspname::text AS table_schema, \
           t.relname::text AS table_name, \
           p.prokind::text AS prokind, p.oid::regprocedure::text AS function \
      FROM (WITH RECURSIVE found (root, root_id, class, id, blocks, depth) AS ( \
              SELECT c.relname::text, c.oid, 'pg_catalog.pg_class'::regclass::oid, c.oid, false, 0 \
                FROM pg_catalog.pg_class c \
                JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1 AND c.relname = ANY($2) \
              UNION \
              SELECT f.root, f.root_id, \
                     CASE WHEN r.oid IS NULL THEN d.classid \
                          ELSE 'pg_catalog.pg_class'::regclass::oid END, \
                     coalesce(r.ev_class, d.objid), d.deptype = 'n', f.depth + 1 \
                FROM found f \
                JOIN pg_catalog.pg_depend d ON d.refclassid = f.class AND d.refobjid = f.id \
                LEFT JOIN pg_catalog.pg_rewrite r \
                  ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND r.oid = d.objid \
               WHERE d.deptype IN ('n', 'a', 'i') AND f.depth < 64 \
                 AND coalesce(r.ev_class, d.objid) NOT IN (f.id, f.root_id)) \
            SELECT root, class, id, max(depth) AS depth \
              FROM found WHERE depth > 0 \
             GROUP BY root, class, id HAVING bool_and(blocks)) AS f \
      LEFT JOIN pg_catalog.pg_class c ON f.class = 'pg_catalog.pg_class'::regclass AND c.oid = f.id \
      LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace \
      LEFT JOIN pg_catalog.pg_constraint o \
        ON f.class = 'pg_catalog.pg_constraint'::regclass AND o.oid = f.id AND o.contype = 'f' \
      LEFT JOIN pg_catalog.pg_class t ON t.oid = o.conrelid \
      LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
      LEFT JOIN pg_catalog.pg_proc p ON f.class = 'pg_catalog.pg_proc'::regclass AND p.oid = f.id \
     ORDER BY f.depth DESC, f.root, f.class::bigint, f.id::bigint"
        )
    };
}

/// The query on an engine.
pub(super) fn query(engine: Engine) -> &'static str {
    match engine {
        Engine::Dsql => query!("NULL::text", "true"),
        Engine::Postgres => query!(
            "pg_catalog.pg_describe_object(f.class, f.id, 0)",
            "coalesce(pg_catalog.pg_has_role(coalesce(c.relowner, t.relowner, p.proowner), 'USAGE'), \
             true)"
        ),
    }
}

/// The objects that `rows`, the answer to [`query`], describe: each once.
pub(super) fn read(rows: &[PgRow]) -> Result<Vec<Dependent>, sqlx::Error> {
    let mut seen = BTreeSet::new();
    let mut dependents = Vec::new();
    for row in rows {
        if seen.insert(row.try_get::<String, _>("id")?) {
            let (mut object, mut drop) = object(row)?;
            if !row.try_get::<bool, _>("is_owned")? && drop.take().is_some() {
                object += &format!(" of the role `{}`", row.try_get::<String, _>("owner")?);
            }
            dependents.push(Dependent { object, relation: row.try_get("root")?, drop });
        }
    }
    Ok(dependents)
}

/// The kind and the name of the object of `row`, and the statement that drops it.
fn object(row: &PgRow) -> Result<(String, Option<String>), sqlx::Error> {
    let text =
        |column: &str| row.try_get::<Option<String>, _>(column).map(Option::unwrap_or_default);
    let shown = |schema: &str, name: &str| format!("{schema}.{name}");
    let exact = |schema: &str, name: &str| format!("{}.{}", quoted(schema), quoted(name));
    if let Some(relkind) = row.try_get::<Option<String>, _>("relkind")? {
        let (schema, name) = (text("schema")?, text("name")?);
        let (kind, drop) = match relkind.as_str() {
            "v" => ("view", Some("DROP VIEW")),
            "m" => ("materialized view", Some("DROP MATERIALIZED VIEW")),
            "r" | "p" => ("table", None),
            "f" => ("foreign table", None),
            "c" => ("composite type", None),
            _ => ("relation", None),
        };
        let drop = drop.map(|drop| format!("{drop} {}", exact(&schema, &name)));
        return Ok((format!("{kind} {}", shown(&schema, &name)), drop));
    }
    if let Some(name) = row.try_get::<Option<String>, _>("foreign_key")? {
        let (schema, table) = (text("table_schema")?, text("table_name")?);
        return Ok((
            format!("foreign key {name} of table {}", shown(&schema, &table)),
            Some(format!(
                "ALTER TABLE {} DROP CONSTRAINT {}",
                exact(&schema, &table),
                quoted(&name)
            )),
        ));
    }
    if let Some(prokind) = row.try_get::<Option<String>, _>("prokind")? {
        // Quoted by the server, with the types of its arguments.
        let name = text("function")?;
        let (kind, drop) = match prokind.as_str() {
            "p" => ("procedure", Some("DROP PROCEDURE")),
            "a" => ("aggregate", None),
            _ => ("function", Some("DROP FUNCTION")),
        };
        return Ok((format!("{kind} {name}"), drop.map(|drop| format!("{drop} {name}"))));
    }
    let description = row.try_get::<Option<String>, _>("description")?;
    let unnamed = || Ok(format!("object {} in {}", text("oid")?, text("catalog")?));
    Ok((description.map_or_else(unnamed, Ok::<_, sqlx::Error>)?, None))
}

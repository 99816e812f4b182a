//! Reading the catalog, in one statement: two would be two snapshots, and a table that appears
//! between them would look as if it had no key.

use sqlx::{
    Row,
    postgres::{PgRow, types::Oid},
};
use temporal_dsql_domain::Engine;

use crate::objects::{
    Catalog, CatalogIndex, ColumnDefinition, IndexDefinition, Scope, TableDefinition, normalise,
};

/// Rows of one shape for relations, columns, keys, indexes and constraints, in the order in which
/// [`read`] takes them in: those of the relations `$2` of the schema `$1`, and the names of all others
/// if `$3`.
///
/// Left out are statistics and comments, which differ between the engines or do not matter to a
/// schema (aurora-dsql.md#indexes). The definition of an index is selected once, and not for primary
/// keys: generating it is the slowest part for the server.
macro_rules! of_both_engines {
    () => {
        "SELECT 1 AS kind, c.relname::text AS relation, c.relkind::text AS name, 0 AS position, \
                c.relpersistence::text AS detail, NULL AS extra, \
                c.relrowsecurity OR c.relforcerowsecurity AS flag, \
                c.relispartition AS is_unique, 0::oid AS oid \
           FROM pg_catalog.pg_class c \
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
          WHERE n.nspname = $1 AND c.relkind NOT IN ('i', 'I', 't') \
            AND ($3 OR c.relname = ANY($2)) \
         UNION ALL \
         SELECT 2, c.relname::text, a.attname::text, a.attnum::integer, \
                pg_catalog.format_type(a.atttypid, a.atttypmod), \
                CASE WHEN a.attidentity <> '' THEN 'GENERATED AS IDENTITY' \
                     WHEN a.attgenerated <> '' \
                     THEN 'GENERATED ALWAYS AS (' || \
                          pg_catalog.pg_get_expr(d.adbin, d.adrelid) || ')' \
                     ELSE pg_catalog.pg_get_expr(d.adbin, d.adrelid) END, \
                a.attnotnull, false, 0 \
           FROM pg_catalog.pg_class c \
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
           JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
           LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
          WHERE n.nspname = $1 AND c.relname = ANY($2) AND c.relkind = 'r' AND a.attnum > 0 \
            AND NOT a.attisdropped \
         UNION ALL \
         SELECT CASE WHEN i.indisprimary THEN 3 ELSE 4 END, t.relname::text, \
                coalesce(a.attname::text, pg_catalog.pg_get_indexdef(i.indexrelid, k.n, true)), \
                k.n, c.relname::text, \
                CASE WHEN k.n = 1 AND NOT i.indisprimary \
                     THEN pg_catalog.pg_get_indexdef(i.indexrelid) END, \
                i.indisvalid, \
                i.indisunique, i.indexrelid \
           FROM pg_catalog.pg_index i \
           JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
           JOIN pg_catalog.pg_class t ON t.oid = i.indrelid \
          CROSS JOIN LATERAL generate_series(1, i.indnkeyatts::integer) AS k(n) \
           LEFT JOIN pg_catalog.pg_attribute a \
             ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.n - 1] AND a.attnum > 0 \
          WHERE n.nspname = $1 AND (c.relname = ANY($2) OR t.relname = ANY($2)) \
            AND t.relkind = 'r' \
         UNION ALL \
         SELECT CASE WHEN o.contype = 'p' THEN 6 ELSE 5 END, c.relname::text, o.conname::text, 0, \
                pg_catalog.pg_get_constraintdef(o.oid), NULL, false, false, 0 \
           FROM pg_catalog.pg_constraint o \
           JOIN pg_catalog.pg_class c ON c.oid = o.conrelid \
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
          WHERE n.nspname = $1 AND c.relname = ANY($2) AND c.relkind = 'r' \
            AND (o.contype IN ('c', 'f', 'u', 'x') OR o.contype = 'p' AND o.condeferrable)"
    };
}

/// The query on an engine.
///
/// DSQL has no triggers, no rules and no collation but C (aurora-dsql.md#refused-statements), and no
/// operator classes of index keys (aurora-dsql.md#indexes), so their catalogs are not read there.
pub(super) fn query(engine: Engine) -> &'static str {
    const OF_DSQL: &str = concat!(of_both_engines!(), " ORDER BY 1, 2, 4, 3");
    const OF_POSTGRES: &str = concat!(
        of_both_engines!(),
        " UNION ALL \
         SELECT 6, c.relname::text, a.attname::text, a.attnum::integer, \
                'COLLATE ' || l.collname::text || ' of column ' || a.attname::text, \
                NULL, false, false, 0 \
           FROM pg_catalog.pg_class c \
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
           JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
           JOIN pg_catalog.pg_type y ON y.oid = a.atttypid AND y.typcollation <> a.attcollation \
           JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation \
          WHERE n.nspname = $1 AND c.relname = ANY($2) AND c.relkind = 'r' AND a.attnum > 0 \
            AND NOT a.attisdropped \
         UNION ALL \
         SELECT 6, c.relname::text, g.tgname::text, 0, 'TRIGGER ' || g.tgname::text, \
                NULL, false, false, 0 \
           FROM pg_catalog.pg_trigger g \
           JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid \
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
          WHERE n.nspname = $1 AND c.relname = ANY($2) AND c.relkind = 'r' AND NOT g.tgisinternal \
         UNION ALL \
         SELECT 6, c.relname::text, r.rulename::text, 0, 'RULE ' || r.rulename::text, \
                NULL, false, false, 0 \
           FROM pg_catalog.pg_rewrite r \
           JOIN pg_catalog.pg_class c ON c.oid = r.ev_class \
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
          WHERE n.nspname = $1 AND c.relname = ANY($2) AND c.relkind = 'r' \
         UNION ALL \
         SELECT 7, t.relname::text, o.opcname::text, k.n, c.relname::text, \
                NULL, false, false, 0 \
           FROM pg_catalog.pg_index i \
           JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
           JOIN pg_catalog.pg_class t ON t.oid = i.indrelid \
          CROSS JOIN LATERAL generate_series(1, i.indnkeyatts::integer) AS k(n) \
           JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[k.n - 1] AND NOT o.opcdefault \
          WHERE n.nspname = $1 AND (c.relname = ANY($2) OR t.relname = ANY($2)) \
            AND t.relkind = 'r' AND NOT i.indisprimary \
         ORDER BY 1, 2, 4, 3"
    );
    match engine {
        Engine::Dsql => OF_DSQL,
        Engine::Postgres => OF_POSTGRES,
    }
}

/// The catalog that `rows`, the answer to [`query`] for `scope`, describe.
pub(super) fn read(rows: &[PgRow], scope: &Scope) -> Result<Catalog, sqlx::Error> {
    let mut catalog = Catalog::default();
    for row in rows {
        let relation: String = row.try_get("relation")?;
        let name: String = row.try_get("name")?;
        match row.try_get::<i32, _>("kind")? {
            1 => match relation_kind(&name) {
                None if scope.names.contains(&relation) => {
                    let table =
                        TableDefinition { properties: properties(row)?, ..Default::default() };
                    catalog.tables.insert(relation, table);
                }
                kind => {
                    catalog.others.insert(relation, kind.unwrap_or("table"));
                }
            },
            2 => {
                let data_type = normalise::type_name(row.try_get("detail")?);
                let default: Option<String> = row.try_get("extra")?;
                let column = ColumnDefinition {
                    name,
                    nullable: !row.try_get("flag")?,
                    default: default.and_then(|text| normalise::default(&text, &data_type)),
                    data_type,
                };
                table(&mut catalog, relation).columns.push(column);
            }
            3 => table(&mut catalog, relation).primary_key.push(name),
            4 => {
                let definition: Option<String> = row.try_get("extra")?;
                let found = CatalogIndex {
                    index: IndexDefinition {
                        table: relation,
                        columns: Vec::new(),
                        unique: row.try_get("is_unique")?,
                        extras: extras(&definition.unwrap_or_default()),
                    },
                    oid: row.try_get::<Oid, _>("oid")?.0,
                    valid: row.try_get("flag")?,
                };
                let index = catalog.indexes.entry(row.try_get("detail")?);
                index.or_insert(found).index.columns.push(name);
            }
            6 => table(&mut catalog, relation).properties.push(row.try_get("detail")?),
            7 => {
                // Its row of kind 4 came before.
                let index: String = row.try_get("detail")?;
                if let Some(found) = catalog.indexes.get_mut(&index) {
                    found.index.extras.push(name);
                }
            }
            _ => {
                let definition: String = row.try_get("detail")?;
                let constraint = format!("{name} {definition}");
                table(&mut catalog, relation).constraints.push(constraint);
            }
        }
    }
    Ok(catalog)
}

fn table(catalog: &mut Catalog, name: String) -> &mut TableDefinition {
    catalog.tables.entry(name).or_default()
}

/// The kind of a relation; `None` for a table.
fn relation_kind(relkind: &str) -> Option<&'static str> {
    match relkind {
        "r" => None,
        "v" => Some("view"),
        "m" => Some("materialized view"),
        "S" => Some("sequence"),
        "p" => Some("partitioned table"),
        "f" => Some("foreign table"),
        "c" => Some("composite type"),
        _ => Some("relation of an unknown kind"),
    }
}

/// The properties of a table that its entry in `pg_class` shows.
fn properties(row: &PgRow) -> Result<Vec<String>, sqlx::Error> {
    let is_unlogged = row.try_get::<Option<String>, _>("detail")?.as_deref() == Some("u");
    let properties = [
        (is_unlogged, "UNLOGGED"),
        (row.try_get("flag")?, "ROW LEVEL SECURITY"),
        (row.try_get("is_unique")?, "PARTITION OF another table"),
    ];
    Ok(properties.into_iter().filter(|(has, _)| *has).map(|(_, name)| name.to_owned()).collect())
}

/// The properties in the definition of an index that a plain index does not have.
///
/// The method of a plain index is `btree`, and `btree_index` on DSQL (aurora-dsql.md#indexes).
fn extras(definition: &str) -> Vec<String> {
    let method = definition.split(" USING ").nth(1).and_then(|rest| rest.split(' ').next());
    let other_method = method.filter(|method| !matches!(*method, "btree" | "btree_index"));
    let words = ["COLLATE", "DESC", "NULLS FIRST", "INCLUDE", "NULLS NOT DISTINCT", "WHERE"];
    let words = words.iter().filter_map(|word| {
        let start = definition.find(&format!(" {word}"))? + 1;
        Some(match *word {
            // The predicate is the last clause: it extends to the end.
            "WHERE" => definition[start..].to_owned(),
            "COLLATE" => {
                let rest = &definition[start..];
                rest[..rest.find([',', ')']).unwrap_or(rest.len())].to_owned()
            }
            word => word.to_owned(),
        })
    });
    other_method.map(|method| format!("USING {method}")).into_iter().chain(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_plain_unless_its_definition_says_more() {
        for (definition, expected) in [
            ("CREATE INDEX i ON public.t USING btree (a, b)", vec![]),
            ("CREATE UNIQUE INDEX i ON t USING btree_index (a)", vec![]),
            ("CREATE INDEX i ON t USING hash (a)", vec!["USING hash"]),
            ("CREATE INDEX i ON t USING btree (a COLLATE \"C\", b)", vec!["COLLATE \"C\""]),
            ("CREATE INDEX i ON t USING btree (a DESC)", vec!["DESC"]),
            ("CREATE INDEX i ON t USING btree (a NULLS FIRST)", vec!["NULLS FIRST"]),
            ("CREATE INDEX i ON t USING btree (a) INCLUDE (b)", vec!["INCLUDE"]),
            (
                "CREATE UNIQUE INDEX i ON t USING btree (a) NULLS NOT DISTINCT WHERE (a > 0)",
                vec!["NULLS NOT DISTINCT", "WHERE (a > 0)"],
            ),
        ] {
            assert_eq!(extras(definition), expected, "{definition}");
        }
    }
}

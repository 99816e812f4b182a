//! Reading the catalog, in one statement: two would be two snapshots, and a table that appears
//! between them would look as if it had no key.

use sqlx::{
    Row,
    postgres::{PgRow, types::Oid},
};

use crate::objects::{
    Catalog, CatalogIndex, ColumnDefinition, IndexDefinition, TableDefinition, normalise,
};

/// Rows of one shape for relations, columns, keys, indexes and constraints of the schema `$1`, in
/// the order in which [`read`] takes them in.
///
/// Left out are the access method, statistics and comments, which differ between the engines or
/// do not matter to a schema (aurora-dsql.md#indexes). The definition of an index is selected once,
/// and not for primary keys: generating it is the slowest part for the server.
pub(super) const QUERY: &str = "\
    SELECT 1 AS kind, c.relname::text AS relation, c.relkind::text AS name, 0 AS position, \
           NULL AS detail, NULL AS extra, false AS flag, false AS is_unique, 0::oid AS oid \
      FROM pg_catalog.pg_class c \
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND c.relkind NOT IN ('i', 'I', 't') \
    UNION ALL \
    SELECT 2, c.relname::text, a.attname::text, a.attnum::integer, \
           pg_catalog.format_type(a.atttypid, a.atttypmod), \
           CASE WHEN a.attidentity <> '' THEN 'GENERATED AS IDENTITY' \
                WHEN a.attgenerated <> '' \
                THEN 'GENERATED ALWAYS AS (' || pg_catalog.pg_get_expr(d.adbin, d.adrelid) || ')' \
                ELSE pg_catalog.pg_get_expr(d.adbin, d.adrelid) END, \
           a.attnotnull, false, 0 \
      FROM pg_catalog.pg_class c \
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
      LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
     WHERE n.nspname = $1 AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped \
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
     WHERE n.nspname = $1 AND t.relkind = 'r' \
    UNION ALL \
    SELECT 5, c.relname::text, o.conname::text, 0, pg_catalog.pg_get_constraintdef(o.oid), NULL, \
           false, false, 0 \
      FROM pg_catalog.pg_constraint o \
      JOIN pg_catalog.pg_class c ON c.oid = o.conrelid \
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND c.relkind = 'r' AND o.contype IN ('c', 'f', 'u', 'x') \
     ORDER BY 1, 2, 4, 3";

/// The catalog that `rows`, the answer to [`QUERY`], describe.
pub(super) fn read(rows: &[PgRow]) -> Result<Catalog, sqlx::Error> {
    let mut catalog = Catalog::default();
    for row in rows {
        let relation: String = row.try_get("relation")?;
        let name: String = row.try_get("name")?;
        match row.try_get::<i32, _>("kind")? {
            1 => match relation_kind(&name) {
                None => {
                    catalog.tables.insert(relation, TableDefinition::default());
                }
                Some(kind) => {
                    catalog.others.insert(relation, kind);
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

/// The properties in the definition of an index that a plain index does not have.
fn extras(definition: &str) -> Vec<String> {
    ["DESC", "NULLS FIRST", "INCLUDE", "NULLS NOT DISTINCT", "WHERE"]
        .iter()
        .filter(|word| definition.contains(&format!(" {word}")))
        .map(|word| match (*word, definition.find(&format!(" {word}"))) {
            // The predicate is the last clause: it extends to the end.
            ("WHERE", Some(start)) => definition[start + 1..].to_owned(),
            _ => (*word).to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_plain_unless_its_definition_says_more() {
        for (definition, expected) in [
            ("CREATE INDEX i ON public.t USING btree (a, b)", vec![]),
            ("CREATE UNIQUE INDEX i ON t USING btree_index (a)", vec![]),
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

//! Canonical spelling of types and defaults, for schema files and catalogs.
//!
//! `VARCHAR(255)` in a file is `character varying(255)` in a catalog, and the default `''` is
//! `''::character varying` there.

use sqlparser::{
    ast::{Expr, UnaryOperator, Value},
    dialect::PostgreSqlDialect,
    parser::Parser,
};

/// The short name of a type: `bigint`, `varchar(255)`, `timestamp`.
///
/// An unknown type is only converted to lower case.
pub fn type_name(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    // Arguments are not always at the end: `timestamp(3) without time zone`.
    let (words, arguments) = match (lower.find('('), lower.find(')')) {
        (Some(open), Some(close)) if open < close => (
            format!("{} {}", &lower[..open], &lower[close + 1..]),
            lower[open + 1..close].replace(' ', ""),
        ),
        _ => (lower.clone(), String::new()),
    };
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let name = match words.as_str() {
        "int" | "int4" => "integer",
        "int8" => "bigint",
        "int2" => "smallint",
        "bool" => "boolean",
        "character varying" | "char varying" => "varchar",
        "character" => "char",
        "decimal" => "numeric",
        "float8" | "float" if arguments.is_empty() => "double precision",
        "float4" => "real",
        "timestamp without time zone" => "timestamp",
        "timestamp with time zone" => "timestamptz",
        "time without time zone" => "time",
        "time with time zone" => "timetz",
        other => other,
    };
    match (name, arguments.as_str()) {
        // Implicit length and scale.
        ("char", "") => "char(1)".to_owned(),
        ("numeric", precision) if !precision.is_empty() && !precision.contains(',') => {
            format!("numeric({precision},0)")
        }
        (name, "") => name.to_owned(),
        (name, arguments) => format!("{name}({arguments})"),
    }
}

/// A default of a column of type `data_type`. Literals lose the casts and quotes that a catalog
/// adds; other expressions are parsed and printed. `None` for NULL, which is no default.
pub fn default(text: &str, data_type: &str) -> Option<String> {
    let parsed = Parser::new(&PostgreSqlDialect {})
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_expr());
    match parsed {
        Ok(expression) => default_expression(&expression, data_type),
        // Not supported by this parser: kept as it is.
        Err(_) => Some(text.to_owned()),
    }
}

/// [`default`] of an expression that is already parsed.
pub fn default_expression(expression: &Expr, data_type: &str) -> Option<String> {
    let bare = match expression {
        Expr::Cast { expr, .. } | Expr::Nested(expr) if is_literal(expr) => {
            return default_expression(expr, data_type);
        }
        Expr::Value(value) => &value.value,
        other => return Some(other.to_string()),
    };
    match bare {
        Value::Null => None,
        // PostgreSQL prints negative numbers, and possibly others, as strings with a cast.
        Value::SingleQuotedString(text) if is_number(data_type) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn is_literal(expression: &Expr) -> bool {
    match expression {
        Expr::Value(_) => true,
        Expr::Cast { expr, .. } | Expr::Nested(expr) => is_literal(expr),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => is_literal(expr),
        _ => false,
    }
}

fn is_number(data_type: &str) -> bool {
    let name = data_type.split('(').next().unwrap_or_default();
    matches!(name, "smallint" | "integer" | "bigint" | "numeric" | "real" | "double precision")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_type_has_one_name_in_files_and_catalogs() {
        for (file, catalog, name) in [
            ("INT", "integer", "integer"),
            ("BIGINT", "bigint", "bigint"),
            ("int2", "smallint", "smallint"),
            ("VARCHAR(255)", "character varying(255)", "varchar(255)"),
            ("VARCHAR", "character varying", "varchar"),
            ("CHAR", "character(1)", "char(1)"),
            ("TIMESTAMP", "timestamp without time zone", "timestamp"),
            ("TIMESTAMP(3)", "timestamp(3) without time zone", "timestamp(3)"),
            ("TIMESTAMPTZ", "timestamp with time zone", "timestamptz"),
            ("BYTEA", "bytea", "bytea"),
            ("UUID", "uuid", "uuid"),
            ("BOOL", "boolean", "boolean"),
            ("DECIMAL(10, 2)", "numeric(10,2)", "numeric(10,2)"),
            ("NUMERIC(10)", "numeric(10,0)", "numeric(10,0)"),
            ("FLOAT", "double precision", "double precision"),
            ("my_domain", "my_domain", "my_domain"),
        ] {
            assert_eq!(type_name(file), name, "{file}");
            assert_eq!(type_name(catalog), name, "{catalog}");
        }
    }

    #[test]
    fn a_default_has_one_spelling_in_files_and_catalogs() {
        for (data_type, file, catalog, spelling) in [
            ("bigint", "0", "0", Some("0")),
            ("bigint", "0", "'0'::bigint", Some("0")),
            ("bigint", "-1", "'-1'::integer", Some("-1")),
            ("bigint", "(-1)", "(-1)", Some("-1")),
            ("varchar(16)", "''", "''::character varying", Some("''")),
            ("varchar(16)", "'a''b'", "'a''b'::character varying", Some("'a''b'")),
            ("varchar(16)", "'7'", "'7'::character varying", Some("'7'")),
            ("varchar(16)", "NULL", "NULL::character varying", None),
            ("boolean", "FALSE", "false", Some("false")),
            ("timestamp", "now()", "now()", Some("now()")),
            ("uuid", "gen_random_uuid()", "gen_random_uuid()", Some("gen_random_uuid()")),
        ] {
            assert_eq!(default(file, data_type).as_deref(), spelling, "{file}");
            assert_eq!(default(catalog, data_type).as_deref(), spelling, "{catalog}");
        }
    }

    #[test]
    fn defaults_that_mean_different_things_stay_different() {
        assert_ne!(default("'0'", "varchar(16)"), default("0", "varchar(16)"));
        assert_ne!(default("now()", "timestamp"), default("'now'", "timestamp"));
        assert_ne!(default("0", "bigint"), default("1", "bigint"));
    }

    proptest! {
        #[test]
        fn normalising_a_type_is_idempotent(text in "[a-zA-Z ]{0,12}(\\([0-9, ]{0,6}\\))?[a-z ]{0,6}") {
            let once = type_name(&text);
            prop_assert_eq!(type_name(&once), once);
        }
    }
}

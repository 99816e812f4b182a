//! Parses a schema statement into a [`Change`].
//!
//! A statement is accepted only if the object model represents it completely: the change, printed as
//! SQL, must parse to the same syntax tree. So a clause that could not be compared with a catalog is
//! refused when the file is read.

use sqlparser::{
    ast::{self, AlterTableOperation, ColumnOption, Expr, Ident, ObjectName, ObjectType, SetExpr},
    dialect::PostgreSqlDialect,
    parser::Parser,
};

use super::change::Change;
use crate::objects::{ColumnDefinition, IndexDefinition, Seed, TableDefinition, normalise};

/// The clause that keeps an initial row that exists.
const IGNORE_CONFLICTS: &str = " ON CONFLICT DO NOTHING";

/// The change of the single statement in `text`, and the text to execute: that of a plain INSERT gets
/// ON CONFLICT DO NOTHING, because a step must leave rows as they are that exist
/// (temporal-persistence.md#t4).
///
/// # Errors
/// The reason why the statement is not supported.
pub(super) fn statement(text: &str) -> Result<(Change, String), String> {
    let ast = parse_one(text)?;
    let change = change(&ast)?;
    let clause = match &ast {
        // On a line of its own: the text may end in a comment.
        ast::Statement::Insert(insert) if insert.on.is_none() => {
            format!("\n{}", IGNORE_CONFLICTS.trim())
        }
        _ => String::new(),
    };
    Ok((change, format!("{text}{clause}")))
}

fn change(ast: &ast::Statement) -> Result<Change, String> {
    let (change, understood) = read(ast)?;
    if parse_one(&understood).as_ref() != Ok(ast) {
        return Err(format!(
            "it has a clause that this tool cannot compare with a catalog; \
             all it could compare is `{understood}`"
        ));
    }
    Ok(change)
}

fn parse_one(text: &str) -> Result<ast::Statement, String> {
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, text)
        .map_err(|error| format!("it cannot be parsed: {error}"))?;
    match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        _ => Err("it is not one statement".to_owned()),
    }
}

/// The change of `ast`, and the SQL that represents just this change.
fn read(ast: &ast::Statement) -> Result<(Change, String), String> {
    match ast {
        ast::Statement::CreateTable(create) => create_table(create),
        ast::Statement::CreateIndex(create) => create_index(create),
        ast::Statement::AlterTable(alter) => add_column(alter),
        ast::Statement::Drop { object_type, if_exists, names, .. } => {
            drop_object(*object_type, *if_exists, names)
        }
        ast::Statement::Insert(insert) => seed(insert),
        _ => Err(unknown_kind()),
    }
}

fn unknown_kind() -> String {
    "its kind is none of CREATE TABLE, CREATE INDEX, ALTER TABLE … ADD COLUMN, DROP TABLE, \
     DROP INDEX and INSERT … VALUES, whose effect a catalog or an initial row shows"
        .to_owned()
}

fn create_table(create: &ast::CreateTable) -> Result<(Change, String), String> {
    let mut table = TableDefinition::default();
    let mut keys = Vec::new();
    let mut elements = Vec::new();
    for definition in &create.columns {
        let (column, is_key, understood) = column(definition)?;
        if table.column(&column.name).is_some() {
            return Err(format!("it has the column {} twice", column.name));
        }
        if is_key {
            keys.push(vec![column.name.clone()]);
        }
        table.columns.push(column);
        elements.push(understood);
    }
    for constraint in &create.constraints {
        let ast::TableConstraint::PrimaryKey(key) = constraint else {
            return Err(format!(
                "it has the constraint `{constraint}`; the only one it may have is PRIMARY KEY"
            ));
        };
        let (columns, understood) = index_columns(&key.columns)?;
        keys.push(columns);
        elements.push(format!("PRIMARY KEY ({understood})"));
    }
    if keys.len() > 1 {
        return Err("it has more than one primary key".to_owned());
    }
    table.primary_key = keys.pop().unwrap_or_default();
    for key in &table.primary_key {
        match table.columns.iter_mut().find(|column| column.name == *key) {
            Some(column) => column.nullable = false,
            None => return Err(format!("its primary key names {key}, which is no column")),
        }
    }
    let understood = format!(
        "CREATE TABLE {}{} ({})",
        optional(create.if_not_exists, "IF NOT EXISTS "),
        create.name,
        elements.join(", ")
    );
    let name = object_name(&create.name)?;
    Ok((Change::CreateTable { name, table }, understood))
}

/// The column, whether it is the primary key, and the SQL that represents just this.
fn column(definition: &ast::ColumnDef) -> Result<(ColumnDefinition, bool, String), String> {
    let mut column = ColumnDefinition {
        name: folded(&definition.name),
        data_type: normalise::type_name(&definition.data_type.to_string()),
        nullable: true,
        default: None,
    };
    let mut is_key = false;
    let mut understood = format!("{} {}", definition.name, definition.data_type);
    for option in &definition.options {
        understood += &match &option.option {
            ColumnOption::Null => " NULL".to_owned(),
            ColumnOption::NotNull => {
                column.nullable = false;
                " NOT NULL".to_owned()
            }
            ColumnOption::Default(default) => {
                column.default = normalise::default_expression(default, &column.data_type);
                format!(" DEFAULT {default}")
            }
            ColumnOption::PrimaryKey(_) => {
                is_key = true;
                " PRIMARY KEY".to_owned()
            }
            other => return Err(format!("its column {} has `{other}`", column.name)),
        };
    }
    Ok((column, is_key, understood))
}

fn create_index(create: &ast::CreateIndex) -> Result<(Change, String), String> {
    let Some(name) = &create.name else {
        return Err("the index has no name".to_owned());
    };
    let (columns, understood) = index_columns(&create.columns)?;
    let understood = format!(
        "CREATE {}INDEX {}{}{name} ON {} ({understood})",
        optional(create.unique, "UNIQUE "),
        optional(create.r#async, "ASYNC "),
        optional(create.if_not_exists, "IF NOT EXISTS "),
        create.table_name,
    );
    let change = Change::CreateIndex {
        name: object_name(name)?,
        index: IndexDefinition {
            table: object_name(&create.table_name)?,
            columns,
            unique: create.unique,
            extras: Vec::new(),
        },
        asynchronous: create.r#async,
    };
    Ok((change, understood))
}

/// The names of plain index columns, and the SQL that represents just them.
fn index_columns(columns: &[ast::IndexColumn]) -> Result<(Vec<String>, String), String> {
    let mut names = Vec::new();
    let mut understood = Vec::new();
    for column in columns {
        match &column.column.expr {
            Expr::Identifier(ident) => {
                names.push(folded(ident));
                understood.push(ident.to_string());
            }
            other => return Err(format!("`{other}` in its key is not a column")),
        }
    }
    Ok((names, understood.join(", ")))
}

fn add_column(alter: &ast::AlterTable) -> Result<(Change, String), String> {
    let [AlterTableOperation::AddColumn { column_keyword, if_not_exists, column_def, .. }] =
        alter.operations.as_slice()
    else {
        return Err(unknown_kind());
    };
    let (column, _, definition) = column(column_def)?;
    if !column_def.options.is_empty() {
        return Err(format!(
            "column {} has a constraint or a default, which DSQL takes in CREATE TABLE only",
            column.name
        ));
    }
    let understood = format!(
        "ALTER TABLE {} ADD {}{}{definition}",
        alter.name,
        optional(*column_keyword, "COLUMN "),
        optional(*if_not_exists, "IF NOT EXISTS "),
    );
    let table = object_name(&alter.name)?;
    Ok((Change::AddColumn { table, column }, understood))
}

fn drop_object(
    kind: ObjectType,
    if_exists: bool,
    names: &[ObjectName],
) -> Result<(Change, String), String> {
    let [name] = names else {
        return Err("it drops several objects; write one statement for each".to_owned());
    };
    let understood = format!("DROP {kind} {}{name}", optional(if_exists, "IF EXISTS "));
    let name = object_name(name)?;
    match kind {
        ObjectType::Table => Ok((Change::DropTable { name }, understood)),
        ObjectType::Index => Ok((Change::DropIndex { name }, understood)),
        _ => Err(unknown_kind()),
    }
}

fn seed(insert: &ast::Insert) -> Result<(Change, String), String> {
    let ast::TableObject::TableName(table) = &insert.table else {
        return Err(unknown_kind());
    };
    let Some(SetExpr::Values(values)) = insert.source.as_deref().map(|query| &*query.body) else {
        return Err("it inserts something else than VALUES".to_owned());
    };
    let columns = insert.columns.iter().map(object_name).collect::<Result<Vec<_>, _>>()?;
    let mut rows = Vec::new();
    for row in &values.rows {
        if row.len() != columns.len() {
            return Err("it does not give one value for every named column".to_owned());
        }
        rows.push(row.iter().map(literal).collect::<Result<Vec<_>, _>>()?);
    }
    // Without the clause, the row must not exist; `Statement::parse` adds it.
    let understood = format!(
        "INSERT INTO {table} ({}) VALUES {}{}",
        list(insert.columns.iter().map(ToString::to_string)),
        list(rows.iter().map(|row| format!("({})", row.join(", ")))),
        optional(insert.on.is_some(), IGNORE_CONFLICTS),
    );
    let table = object_name(table)?;
    let seed = Seed { table, columns, rows };
    Ok((Change::Seed(seed), understood))
}

fn literal(expression: &Expr) -> Result<String, String> {
    match expression {
        Expr::Value(_) => Ok(expression.to_string()),
        other => Err(format!("it inserts `{other}`, which is not a literal")),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

fn optional(is_present: bool, text: &str) -> &str {
    if is_present { text } else { "" }
}

/// The unqualified name: statements refer to objects of the connection's schema.
fn object_name(name: &ObjectName) -> Result<String, String> {
    match name.0.as_slice() {
        [part] => part.as_ident().map(folded).ok_or_else(|| format!("`{name}` is not a name")),
        _ => Err(format!(
            "`{name}` names a schema; the tables belong in the schema that the connection works in"
        )),
    }
}

/// The name as in the catalog: in lower case, unless it is quoted.
fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> Change {
        super::statement(text).expect(text).0
    }

    #[test]
    fn a_table_is_read_with_its_types_nullability_defaults_and_key() {
        let Change::CreateTable { name, table } = change(
            "CREATE TABLE IF NOT EXISTS Current (\n  Shard_ID INT, \"Name\" VARCHAR(9) NOT NULL DEFAULT '', \
             at TIMESTAMP NULL, version BIGINT DEFAULT 0, PRIMARY KEY (shard_id, \"Name\"))",
        ) else {
            panic!("not a table");
        };
        assert_eq!(name, "current");
        assert_eq!(table.primary_key, ["shard_id", "Name"]);
        let columns: Vec<_> = table
            .columns
            .iter()
            .map(|c| (&*c.name, &*c.data_type, c.nullable, c.default.as_deref()))
            .collect();
        assert_eq!(
            columns,
            [
                ("shard_id", "integer", false, None),
                ("Name", "varchar(9)", false, Some("''")),
                ("at", "timestamp", true, None),
                ("version", "bigint", true, Some("0")),
            ]
        );
        let inline = change("CREATE TABLE a (id UUID PRIMARY KEY)");
        let table_level = change("CREATE TABLE a (id UUID, PRIMARY KEY (id))");
        assert_eq!(inline, table_level);
    }

    #[test]
    fn indexes_columns_drops_and_seeds_are_read() {
        let Change::CreateIndex { name, index, asynchronous } =
            change("CREATE UNIQUE INDEX ASYNC IF NOT EXISTS i ON t (a, B)")
        else {
            panic!("not an index");
        };
        assert_eq!((&*name, &*index.table), ("i", "t"));
        assert_eq!(index.columns, ["a", "b"]);
        assert!(index.unique && asynchronous);
        assert!(matches!(
            change("ALTER TABLE t ADD COLUMN IF NOT EXISTS c BIGINT"),
            Change::AddColumn { table, column } if table == "t" && column.name == "c"
        ));
        assert_eq!(change("DROP TABLE IF EXISTS t"), Change::DropTable { name: "t".into() });
        assert_eq!(change("DROP INDEX i"), Change::DropIndex { name: "i".into() });
        let seed = Seed {
            table: "t".into(),
            columns: vec!["a".into(), "b".into()],
            rows: vec![vec!["54321".into(), "'it''s'".into()], vec!["-1".into(), "NULL".into()]],
        };
        let text = "INSERT INTO t (a, b) VALUES (54321, 'it''s'), (1, NULL) ON CONFLICT DO NOTHING";
        let Change::Seed(read) = change(text) else {
            panic!("not a seed");
        };
        assert_eq!(read.rows[0], seed.rows[0]);
        assert_eq!((read.table, read.columns), (seed.table, seed.columns));
    }

    #[test]
    fn a_plain_insert_is_a_first_row_that_is_kept_if_it_exists() {
        let plain = "INSERT INTO t (a) VALUES (1) -- the first";
        let (change, text) = super::statement(plain).unwrap();
        assert_eq!(text, format!("{plain}\nON CONFLICT DO NOTHING"));
        let same = "INSERT INTO t (a) VALUES (1) ON CONFLICT DO NOTHING";
        assert_eq!(super::statement(same), Ok((change, same.to_owned())));
        assert_eq!(super::statement(&text).unwrap().1, text);
    }

    #[test]
    fn a_statement_whose_effect_no_catalog_comparison_shows_is_refused_with_the_reason() {
        for (text, reason) in [
            ("SELECT 1", "its kind is none of CREATE TABLE"),
            ("UPDATE t SET a = 1", "its kind is none of"),
            ("DO $$ BEGIN END $$", "cannot be parsed"),
            ("TRUNCATE t", "its kind is none of"),
            ("CREATE VIEW v AS SELECT 1", "its kind is none of"),
            ("DROP VIEW v", "its kind is none of"),
            ("CREATE TABLE t (a INT CHECK (a > 0))", "its column a has `CHECK (a > 0)`"),
            ("CREATE TABLE t (a INT UNIQUE)", "its column a has `UNIQUE`"),
            ("CREATE TABLE t (a INT, CHECK (a > 0))", "constraint `CHECK (a > 0)`"),
            ("CREATE TABLE t (a INT, UNIQUE (a))", "constraint `UNIQUE (a)`"),
            ("CREATE TABLE t (a INT CONSTRAINT k NOT NULL)", "cannot compare"),
            ("CREATE TABLE t (a INT, CONSTRAINT k PRIMARY KEY (a))", "cannot compare"),
            ("CREATE TABLE t (a INT, PRIMARY KEY (a) INCLUDE (b))", "cannot compare"),
            ("CREATE TEMPORARY TABLE t (a INT)", "cannot compare"),
            ("CREATE TABLE t (a INT) PARTITION BY HASH (a)", "cannot compare"),
            ("CREATE TABLE t (a INT, a INT)", "the column a twice"),
            ("CREATE TABLE t (a INT PRIMARY KEY, b INT PRIMARY KEY)", "more than one primary key"),
            ("CREATE TABLE t (a INT, PRIMARY KEY (b))", "names b, which is no column"),
            ("CREATE TABLE t (a INT GENERATED ALWAYS AS IDENTITY)", "its column a has"),
            ("CREATE TABLE s.t (a INT)", "`s.t` names a schema"),
            ("CREATE INDEX ASYNC ON t (a)", "the index has no name"),
            ("CREATE INDEX ASYNC i ON t (a DESC)", "cannot compare"),
            ("CREATE INDEX ASYNC i ON t (a) WHERE a > 0", "cannot compare"),
            ("CREATE INDEX ASYNC i ON t (a) INCLUDE (b)", "cannot compare"),
            ("CREATE INDEX ASYNC i ON t (lower(a))", "`lower(a)` in its key is not a column"),
            ("CREATE UNIQUE INDEX ASYNC i ON t (a) NULLS NOT DISTINCT", "cannot compare"),
            ("CREATE INDEX CONCURRENTLY i ON t (a)", "cannot compare"),
            ("ALTER TABLE t ADD COLUMN a INT, ADD COLUMN b INT", "its kind is none of"),
            ("ALTER TABLE t ADD COLUMN a INT NOT NULL", "which DSQL takes in CREATE TABLE only"),
            ("ALTER TABLE t DROP COLUMN a", "its kind is none of"),
            ("DROP TABLE a, b", "one statement for each"),
            ("DROP TABLE a CASCADE", "cannot compare"),
            ("INSERT INTO t (a) VALUES (1) ON CONFLICT DO UPDATE SET a = 2", "cannot compare"),
            ("INSERT INTO t (a) VALUES (1) RETURNING a", "cannot compare"),
            ("INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO NOTHING", "cannot compare"),
            ("INSERT INTO t (a) VALUES (1) ON CONFLICT DO NOTHING RETURNING a", "cannot compare"),
            ("INSERT INTO t (a) VALUES (now()) ON CONFLICT DO NOTHING", "is not a literal"),
            ("INSERT INTO t (a) SELECT 1", "something else than VALUES"),
            ("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", "every named column"),
            ("CREATE TABLE t (a INT); CREATE TABLE u (a INT)", "not one statement"),
            ("CREATE TABLE t (a INT", "cannot be parsed"),
        ] {
            let error = super::statement(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}

//! Refused logins and missing privileges: the error names the role, the object and the remedy.

use sqlx::postgres::PgConnectOptions;
use temporal_dsql_migrate::{DatabaseError, MigrateError, SchemaDatabase};
use temporal_dsql_testkit::ScratchDatabase;

use crate::{Command, V1_0, V1_1, at, chain, connect, open, options, spec::whole};

const SECRET: &str = "correct-horse-battery-staple";

/// A role with a unique name, to be dropped at the end.
struct Role<'s> {
    scratch: &'s ScratchDatabase,
    name: String,
}

impl<'s> Role<'s> {
    async fn create(scratch: &'s ScratchDatabase) -> Self {
        let name = scratch.name().replace("scratch_", "role_");
        let create = format!("CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'");
        scratch.execute(&create).await.unwrap();
        Self { scratch, name }
    }

    fn options(&self) -> PgConnectOptions {
        options(&self.scratch.url()).username(&self.name).password(SECRET)
    }

    async fn drop(self) {
        let Self { scratch, name } = self;
        scratch.execute(&format!("DROP OWNED BY {name}; DROP ROLE {name}")).await.unwrap();
    }
}

fn no_secret(error: &DatabaseError) -> String {
    let text = chain(error);
    for shown in [&text, &format!("{error:?}")] {
        assert!(!shown.contains(SECRET), "{shown}");
    }
    text
}

#[tokio::test]
async fn an_unreachable_host_is_named_at_once() {
    // A port on which no server listens.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username("app")
        .password(SECRET);
    let error = open(options).await.err().unwrap();
    let text = no_secret(&error);
    assert!(matches!(error, DatabaseError::Unreachable { .. }), "{text}");
    assert!(text.contains(&format!("cannot reach 127.0.0.1:{port}")), "{text}");
}

#[tokio::test]
async fn a_role_or_a_database_that_does_not_exist_is_named() {
    let Some(scratch) = ScratchDatabase::create().await else {
        return;
    };
    let nobody = options(&scratch.url()).username("nobody_at_all").password(SECRET);
    let error = open(nobody).await.err().unwrap();
    let text = no_secret(&error);
    assert!(matches!(error, DatabaseError::Authentication { .. }), "{text}");
    assert!(text.contains("refused the login of `nobody_at_all`"), "{text}");
    let nowhere = options(&scratch.url()).database("no_such_database").password(SECRET);
    let error = open(nowhere).await.err().unwrap();
    let text = no_secret(&error);
    assert!(text.contains("there is no database `no_such_database`"), "{text}");
}

#[tokio::test]
async fn a_role_without_create_gets_an_error_that_names_the_privilege_and_nothing_is_created() {
    let Some(scratch) = ScratchDatabase::create().await else {
        return;
    };
    scratch.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await.unwrap();
    let role = Role::create(&scratch).await;
    let mut database = open(role.options()).await.unwrap();
    let error = Command::Setup(V1_1).run(&mut database).await.unwrap_err();
    let text = chain(&error);
    for part in [
        "cannot create table schema_version",
        &format!("the role `{}` lacks a privilege", role.name),
        "permission denied for schema public",
        "grant it CREATE and USAGE on the schema",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let catalog = database.catalog(&whole()).await.unwrap();
    assert!(catalog.tables.is_empty(), "{:?}", catalog.tables.keys());
    drop(database);
    role.drop().await;
}

#[tokio::test]
async fn a_role_without_a_schema_gets_an_error_with_the_remedy() {
    let Some(scratch) = ScratchDatabase::create().await else {
        return;
    };
    scratch.execute("DROP SCHEMA public").await.unwrap();
    let error = open(options(&scratch.url())).await.err().unwrap();
    assert!(matches!(error, DatabaseError::NoSchema { .. }), "{error}");
    assert!(error.to_string().contains("has no schema to work in; create one"), "{error}");
}

#[tokio::test]
async fn t1_only_a_missing_version_row_or_table_reads_as_no_version() {
    // A database whose version cannot be read is not treated as empty.
    let Some(scratch) = at(V1_0).await else {
        return;
    };
    let role = Role::create(&scratch).await;
    scratch.execute("GRANT CREATE, USAGE ON SCHEMA public TO PUBLIC").await.unwrap();
    let before = crate::versions(&scratch).await;
    for command in [Command::Update, Command::Setup(V1_0), Command::Setup(V1_1)] {
        let mut database = open(role.options()).await.unwrap();
        let error = command.run(&mut database).await.unwrap_err();
        assert!(matches!(error, MigrateError::Database { .. }), "{command:?}");
        let text = chain(&error);
        assert!(text.contains("reading the schema version failed"), "{text}");
        assert!(text.contains("permission denied for table schema_version"), "{text}");
    }
    assert_eq!(crate::versions(&scratch).await, before);
    role.drop().await;
    // Without a row or without the table, there is no version.
    let mut database = connect(&scratch).await;
    scratch.execute("DELETE FROM schema_version").await.unwrap();
    assert!(database.version_rows().await.unwrap().is_empty());
    scratch.execute("DROP TABLE schema_version").await.unwrap();
    assert!(database.version_rows().await.unwrap().is_empty());
    let error = Command::Update.run(&mut database).await.unwrap_err();
    assert!(matches!(error, MigrateError::NotSetUp { .. }), "{error}");
}

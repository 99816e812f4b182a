//! Refused logins and missing privileges: the error names the role, the object and the remedy.

use sqlx::postgres::PgConnectOptions;
use temporal_dsql_migrate::{DatabaseError, MigrateError, Rollback, SchemaDatabase};
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
        &format!("the role `{}` lacks rights that this command needs", role.name),
        "  - CREATE on schema public\nnothing was changed; grant them",
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

/// The rights that `command` lacks as `role`, which then has changed nothing.
async fn lacking(command: Command, scratch: &ScratchDatabase, role: &Role<'_>) -> Vec<String> {
    let before = crate::versions(scratch).await;
    let catalog = connect(scratch).await.catalog(&whole()).await.unwrap();
    let mut database = open(role.options()).await.unwrap();
    let error = command.run(&mut database).await.unwrap_err();
    let MigrateError::LacksRights { role: named, missing } = error else { panic!("{error}") };
    assert_eq!(named, role.name);
    assert_eq!(crate::versions(scratch).await, before, "{command:?}");
    assert_eq!(connect(scratch).await.catalog(&whole()).await.unwrap(), catalog, "{command:?}");
    missing
}

#[tokio::test]
async fn rights_that_a_command_lacks_are_listed_and_nothing_is_changed() {
    let Some(scratch) = at(V1_1).await else {
        return;
    };
    let role = Role::create(&scratch).await;
    let name = &role.name;
    let owner = scratch.user();
    let grant = format!(
        "GRANT CREATE, USAGE ON SCHEMA public TO {name}; \
         GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {name}"
    );
    scratch.execute(&grant).await.unwrap();
    let of_chasm = format!("ownership of current_chasm_executions, which belongs to `{owner}`");
    assert_eq!(lacking(Command::Rollback, &scratch, &role).await, [of_chasm]);
    let of_all = lacking(Command::Overwrite, &scratch, &role).await;
    assert_eq!(of_all.len(), 39, "37 tables of 1.1 and 2 of versions: {of_all:?}");
    scratch.execute("DROP INDEX cm_idx_lasthb").await.unwrap();
    let of_index = format!("ownership of cluster_membership, which belongs to `{owner}`");
    assert_eq!(lacking(Command::Update, &scratch, &role).await, [of_index]);
    // As a member of the owner's role it may.
    scratch.execute(&format!("GRANT {owner} TO {name}")).await.unwrap();
    Command::Update.run(&mut open(role.options()).await.unwrap()).await.unwrap();
    scratch.execute(&format!("REVOKE {owner} FROM {name}")).await.unwrap();

    let given = format!(
        "ALTER TABLE current_chasm_executions OWNER TO {name}; \
         REVOKE INSERT ON schema_update_history FROM {name}; REVOKE UPDATE ON schema_version FROM {name}"
    );
    scratch.execute(&given).await.unwrap();
    let missing = lacking(Command::Rollback, &scratch, &role).await;
    assert_eq!(missing, ["UPDATE on schema_version", "INSERT on schema_update_history"]);
    scratch.execute(&grant).await.unwrap();
    // A view of another owner on the own table.
    scratch
        .execute("CREATE VIEW report AS SELECT 1 AS n FROM current_chasm_executions")
        .await
        .unwrap();
    let mut database = open(role.options()).await.unwrap();
    let rollback = Rollback { to: V1_0, with_rows: false, drop_dependents: true };
    let error = crate::migrator(&mut database).plan_rollback(&rollback).await.unwrap_err();
    let expected = format!("view public.report of the role `{owner}` depends on");
    assert!(matches!(error, MigrateError::HasDependents { can_drop: false, .. }), "{error}");
    assert!(error.to_string().contains(&expected), "{error}");
    scratch.execute("DROP VIEW report").await.unwrap();
    Command::Rollback.run(&mut database).await.unwrap();
    drop(database);
    role.drop().await;
}

#[tokio::test]
async fn a_type_that_has_the_name_of_a_table_is_named_before_anything_is_created() {
    let Some(scratch) = ScratchDatabase::create().await else {
        return;
    };
    let types = "CREATE DOMAIN tasks AS INT; CREATE TYPE shards AS ENUM ('a'); \
                 CREATE TYPE queue AS (a INT); CREATE DOMAIN cm_idx_lasthb AS INT";
    scratch.execute(types).await.unwrap();
    let mut database = connect(&scratch).await;
    for parts in [
        &["queue should be a table and is a composite type"][..],
        &["tasks should be a table and is a domain", "shards should be a table and is a type"],
    ] {
        let error = Command::Setup(V1_1).run(&mut database).await.unwrap_err();
        assert_eq!(error.differences().len(), parts.len(), "{error}");
        assert!(parts.iter().all(|part| error.to_string().contains(part)), "{error}");
        let catalog = database.catalog(&whole()).await.unwrap();
        assert!(catalog.tables.is_empty(), "{:?}", catalog.tables.keys());
        scratch.execute("DROP TYPE IF EXISTS queue").await.unwrap();
    }
    scratch.execute("DROP DOMAIN tasks; DROP TYPE shards").await.unwrap();
    Command::Setup(V1_1).run(&mut database).await.unwrap();
}

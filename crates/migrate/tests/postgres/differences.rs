//! What `verify` reports of objects that a schema file cannot make.

use temporal_dsql_migrate::{SchemaDatabase, Scope};
use temporal_dsql_testkit::ScratchDatabase;

use crate::{Command, V1_0, at, connect, migrator};

#[tokio::test]
async fn every_property_that_changes_what_a_statement_does_differs() {
    let Some(template) = at(V1_0).await else {
        return;
    };
    let index = |definition: &str| {
        format!("DROP INDEX cm_idx_lasthb; CREATE INDEX cm_idx_lasthb ON {definition}")
    };
    for (change, expected) in [
        ("ALTER TABLE shards SET UNLOGGED", "table shards: UNLOGGED is not in the definition"),
        (
            "ALTER TABLE shards ENABLE ROW LEVEL SECURITY",
            "table shards: ROW LEVEL SECURITY is not in the definition",
        ),
        (
            "ALTER TABLE shards FORCE ROW LEVEL SECURITY",
            "table shards: ROW LEVEL SECURITY is not in the definition",
        ),
        (
            "CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
             CREATE TRIGGER skips BEFORE INSERT ON shards FOR EACH ROW EXECUTE FUNCTION skip()",
            "table shards: TRIGGER skips is not in the definition",
        ),
        (
            "CREATE RULE kept AS ON DELETE TO shards DO INSTEAD NOTHING",
            "table shards: RULE kept is not in the definition",
        ),
        (
            "ALTER TABLE shards DROP CONSTRAINT shards_pkey; \
             ALTER TABLE shards ADD PRIMARY KEY (shard_id) DEFERRABLE",
            "table shards: PRIMARY KEY (shard_id) DEFERRABLE is not in the definition",
        ),
        (
            "ALTER TABLE shards ADD UNIQUE (range_id) DEFERRABLE",
            "UNIQUE (range_id) DEFERRABLE is not in the definition",
        ),
        (
            "ALTER TABLE shards ADD CONSTRAINT one UNIQUE (range_id)",
            "table shards: constraint one UNIQUE (range_id) is not in the definition",
        ),
        (
            "CREATE UNIQUE INDEX one ON shards (range_id)",
            "table shards: unique index one (range_id) is not in the definition",
        ),
        (
            "ALTER TABLE shards DROP data_encoding; ALTER TABLE shards \
             ADD data_encoding VARCHAR(16) NOT NULL GENERATED ALWAYS AS ('Proto3') STORED",
            "shards.data_encoding: default should be none and is GENERATED ALWAYS AS ('Proto3'",
        ),
        (
            "ALTER TABLE cluster_membership ALTER rpc_address TYPE varchar(128) COLLATE \"POSIX\"",
            "table cluster_membership: COLLATE POSIX of column rpc_address is not in the definition",
        ),
        (
            &index("cluster_membership USING hash (last_heartbeat)"),
            "index cm_idx_lasthb: kind should be plain and is USING hash",
        ),
        (
            "DROP INDEX idx_namespaces_name; \
             CREATE UNIQUE INDEX idx_namespaces_name ON namespaces (name COLLATE \"POSIX\")",
            "index idx_namespaces_name: kind should be plain and is COLLATE \"POSIX\"",
        ),
        (
            "DROP INDEX idx_namespaces_name; CREATE UNIQUE INDEX idx_namespaces_name \
             ON namespaces (name varchar_pattern_ops)",
            "index idx_namespaces_name: kind should be plain and is varchar_pattern_ops",
        ),
    ] {
        let scratch = ScratchDatabase::create_from_template(&template).await.unwrap();
        scratch.execute(change).await.unwrap();
        let found = migrator(&mut connect(&scratch).await).verify(None).await.unwrap();
        assert_eq!(found.differences.len(), 1, "{change}: {found}");
        assert!(found.others.is_empty(), "{change}: {found}");
        assert!(found.to_string().contains(expected), "{change}: {found}");
    }
}

#[tokio::test]
async fn an_identity_that_refuses_values_stops_a_command_and_one_that_is_a_default_is_noted() {
    let Some(template) = at(V1_0).await else {
        return;
    };
    for (generated, is_compatible) in [("ALWAYS", false), ("BY DEFAULT", true)] {
        let scratch = ScratchDatabase::create_from_template(&template).await.unwrap();
        let identity = format!("GENERATED {generated} AS IDENTITY");
        let change = format!("ALTER TABLE buffered_events ALTER id ADD {identity}");
        scratch.execute(&change).await.unwrap();
        let difference = format!("buffered_events.id: default should be none and is {identity}");
        let mut database = connect(&scratch).await;
        let mut migrator = migrator(&mut database);
        let found = migrator.verify(None).await.unwrap();
        assert_eq!((found.differences.len(), found.compatible), (1, is_compatible), "{found}");
        assert!(found.to_string().contains(&difference), "{found}");
        match Command::Update.plan(&mut migrator).await {
            Ok(plan) => {
                let [note] = plan.notes.as_slice() else { panic!("{:?}", plan.notes) };
                assert!(is_compatible && note.contains(&difference), "{note}");
            }
            Err(error) => {
                let expected = format!("{difference}; it refuses rows with a value");
                assert!(!is_compatible && error.to_string().contains(&expected), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn foreign_tables_are_listed_by_name_and_their_definitions_are_not_read() {
    let Some(scratch) = at(V1_0).await else {
        return;
    };
    let tables = "DO $$ BEGIN FOR n IN 1..300 LOOP \
                  EXECUTE format('CREATE TABLE invoices_%s (id INT PRIMARY KEY, at DATE)', n); \
                  END LOOP; END $$";
    scratch.execute(tables).await.unwrap();
    let mut database = connect(&scratch).await;
    let found = migrator(&mut database).verify(None).await.unwrap();
    assert!(found.is_clean(), "{found}");
    assert_eq!(found.others.len(), 300);
    let own = Scope::of(["shards", "idx_namespaces_name", "nothing"]);
    let catalog = database.catalog(&own).await.unwrap();
    assert!(catalog.tables.keys().eq(["shards"]), "{catalog:?}");
    assert!(catalog.indexes.keys().eq(["idx_namespaces_name"]), "{catalog:?}");
    assert!(catalog.others.is_empty(), "{catalog:?}");
    let catalog = database.catalog(&own.and_others()).await.unwrap();
    assert!(catalog.tables.keys().eq(["shards"]));
    assert_eq!(catalog.others["invoices_7"], "table");
}

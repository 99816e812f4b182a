//! The database of a real server on PostgreSQL, imported, and read through the stores that a service
//! uses.

use std::{collections::BTreeSet, sync::Arc};

use temporal_dsql::{
    Engine, SchemaVersion, Table,
    dsql::{Config, Connector},
    migrate::{
        DEFAULT_DATABASE, IgnoreProgress, PostgresDatabase, Schema, Timeouts,
        import::{ImportProgress, ImportReport, Importer, Settings},
    },
};
use temporal_dsql_conformance::real_data::Recording;
use temporal_dsql_testkit::{RecordedDeployment, ScratchDatabase};

use crate::{
    database::{Database, Kind},
    run_rows::RunRows,
    service_rows::ServiceRows,
};

async fn import(source: &ScratchDatabase, database: &Database) -> ImportReport {
    let mut from = Config::from_url(&source.url()).unwrap();
    from.engine = Some(Engine::Postgres);
    let timeouts = Timeouts::default();
    let connector = Connector::new(&from, None).unwrap();
    let mut from = PostgresDatabase::connect(connector, None, &timeouts.retry).await.unwrap();
    let mut to = database.connect(&timeouts).await.unwrap();
    let settings = Settings {
        jobs: 2,
        tables: Vec::new(),
        rehearse: false,
        timeouts,
        observer: Arc::new(IgnoreProgress),
        progress: Arc::new(ImportProgress::default()),
    };
    let schema = Schema::embedded().unwrap();
    Importer::new(&mut from, &mut to, &schema, DEFAULT_DATABASE, settings).import().await.unwrap()
}

/// Every row that an import has copied is read by a store, and none is missing.
async fn every_imported_row_is_read_through_the_stores(kind: Kind) {
    let recorded = RecordedDeployment::new();
    let Some(source) = recorded.create().await else { return };
    let database = Database::start(kind).await.unwrap();
    database.set_up(SchemaVersion::new(1, 1)).await.unwrap();
    let report = import(&source, &database).await;
    assert!(report.is_exact(), "{report}");

    let store = database.store().await.unwrap();
    let mut compared = RunRows::read(Recording::Postgres).compare(&store).await.unwrap();
    let mut service_rows = ServiceRows::read();
    // Each server writes its own row when it starts.
    service_rows.members.clear();
    compared.merge(service_rows.compare(&store).await.unwrap());

    let copied = report.tables.iter().filter(|table| table.source.rows() > 0);
    let copied: BTreeSet<_> =
        copied.map(|table| (table.table.clone(), table.source.rows())).collect();
    let not_read = copied.difference(&compared.rows()).cloned().collect::<Vec<_>>();
    assert_eq!(not_read, [], "rows that were copied, and are not read through a store");
    let counts = [Table::Executions, Table::HistoryNode, Table::TimerTasks, Table::Tasks];
    for table in counts.map(Table::name) {
        let rows = recorded.rows(table).len() as u64;
        assert!(copied.contains(&(table.to_owned(), rows)), "{table}: {copied:?}");
    }
}

#[tokio::test]
async fn an_import_into_the_emulator_is_read_through_the_stores() {
    every_imported_row_is_read_through_the_stores(Kind::Emulator).await;
}

#[tokio::test]
async fn an_import_into_postgresql_is_read_through_the_stores() {
    every_imported_row_is_read_through_the_stores(Kind::Postgres).await;
}

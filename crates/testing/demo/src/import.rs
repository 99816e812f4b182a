//! The database of a real server on PostgreSQL, imported, and read through the stores that a service
//! uses.

use std::sync::Arc;

use anyhow::{Result, ensure};
use temporal_dsql::{
    Engine, Store,
    dsql::{Config, Connector},
    migrate::{
        DEFAULT_DATABASE, IgnoreProgress, PostgresDatabase, Schema, Timeouts,
        import::{ImportProgress, ImportReport, Importer, Settings},
    },
};
use temporal_dsql_conformance::real_data::Recording;
use temporal_dsql_testkit::ScratchDatabase;

use crate::{
    database::Database,
    run_rows::{Compared, RunRows},
    service_rows::ServiceRows,
};

/// Imports `source` into `database`, which has an empty schema, and compares both sides.
///
/// # Errors
/// Those of the import, and a difference.
pub async fn import(source: &ScratchDatabase, database: &Database) -> Result<ImportReport> {
    let mut from = Config::from_url(&source.url())?;
    from.engine = Some(Engine::Postgres);
    let timeouts = Timeouts::default();
    let connector = Connector::new(&from, None)?;
    let mut from = PostgresDatabase::connect(connector, None, &timeouts.retry).await?;
    let mut to = database.connect().await?;
    let settings = Settings {
        jobs: 2,
        tables: Vec::new(),
        rehearse: false,
        timeouts,
        observer: Arc::new(IgnoreProgress),
        progress: Arc::new(ImportProgress::default()),
    };
    let schema = Schema::embedded()?;
    let mut importer = Importer::new(&mut from, &mut to, &schema, DEFAULT_DATABASE, settings);
    let report = importer.import().await?;
    ensure!(report.is_exact(), "{report}");
    Ok(report)
}

/// Reads every imported row with the stores that a service uses, and compares it with the recording.
///
/// # Errors
/// The first difference, and those of the store.
pub async fn compare(store: &impl Store) -> Result<Compared> {
    let mut service_rows = ServiceRows::read();
    // Each server writes its own row when it starts.
    service_rows.members.clear();
    let compared = RunRows::read(Recording::Postgres).compare(store).await?;
    Ok(compared.and(service_rows.compare(store).await?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use temporal_dsql::Table;
    use temporal_dsql_testkit::RecordedDeployment;

    use super::*;
    use crate::database::Postgres;

    /// Every row that an import has copied is read by a store, and none is missing.
    async fn every_imported_row_is_read_through_the_stores(
        source: &ScratchDatabase,
        database: &Database,
    ) {
        database.set_up(None).await.unwrap();
        let report = import(source, database).await.unwrap();
        let compared = compare(&database.store().await.unwrap()).await.unwrap();
        let copied = report.tables.iter().filter(|table| table.source.rows() > 0);
        let copied: BTreeSet<_> =
            copied.map(|table| (table.table.clone(), table.source.rows())).collect();
        let not_read = copied.difference(&compared.rows()).cloned().collect::<Vec<_>>();
        assert_eq!(not_read, [], "rows that were copied, and are not read through a store");
        let counts = [Table::Executions, Table::HistoryNode, Table::TimerTasks, Table::Tasks];
        for table in counts.map(Table::name) {
            let rows = RecordedDeployment::new().rows(table).len() as u64;
            assert!(copied.contains(&(table.to_owned(), rows)), "{table}: {copied:?}");
        }
    }

    #[tokio::test]
    async fn an_import_into_the_emulator_is_read_through_the_stores() {
        let Some(source) = RecordedDeployment::new().create().await else { return };
        let postgres = Postgres::start().unwrap();
        let cluster = postgres.cluster().await.unwrap();
        every_imported_row_is_read_through_the_stores(&source, &cluster).await;
    }

    #[tokio::test]
    async fn an_import_into_postgresql_is_read_through_the_stores() {
        let Some(source) = RecordedDeployment::new().create().await else { return };
        let postgres = Postgres::start().unwrap();
        every_imported_row_is_read_through_the_stores(&source, &postgres.database().unwrap()).await;
    }
}

//! Imports that succeed: every row is the recorded one, and doing it again changes nothing.

use temporal_dsql_migrate::import::{ImportError, Importer, Phase};
use temporal_dsql_testkit::FaultProxy;

use crate::{
    DEFAULT_DATABASE, assert_recorded, cluster, embedded, first_rows, import, open, settings,
    source, target, verify,
};

/// The rows of the recorded database that are copied.
const ROWS: u64 = 1626;

#[tokio::test]
async fn every_row_arrives_on_postgresql_as_it_was_recorded() {
    let Some(source) = source().await else { return };
    let target = target().await;
    let report = import(&source.url(), &target.url(), settings()).await.unwrap();
    assert!(report.is_exact(), "{report}");
    assert_eq!((report.source_version.as_str(), report.shards.shards), ("1.19", 4));
    let inserted: u64 = report.tables.iter().map(|table| table.inserted).sum();
    assert_eq!((inserted, report.tables.len()), (ROWS, 36));
    assert_recorded(async |sql| target.query(&sql).await.unwrap()).await;
    let text = report.to_string();
    assert!(text.contains("the target is equal to the source: 1626 rows in 36 tables"), "{text}");
    assert!(text.contains("numHistoryShards: 4 as before"), "{text}");
    assert!(text.contains("cluster_membership is not copied: each server writes"), "{text}");
}

#[tokio::test]
async fn every_row_arrives_on_dsql_as_it_was_recorded() {
    let Some(source) = source().await else { return };
    let cluster = cluster().await;
    let report = import(&source.url(), &cluster.url(), settings()).await.unwrap();
    assert!(report.is_exact(), "{report}");
    assert_recorded(async |sql| cluster.query(&sql).await.unwrap()).await;
    // What is there is found, and nothing is inserted.
    let again = import(&source.url(), &cluster.url(), settings()).await.unwrap();
    assert!(again.is_exact(), "{again}");
    let sums = again.tables.iter().map(|table| (table.inserted, table.found));
    let sums = sums.fold((0, 0), |sum, table| (sum.0 + table.0, sum.1 + table.1));
    assert_eq!(sums, (0, ROWS));
    assert!(verify(&source.url(), &cluster.url()).await.unwrap().is_exact());
}

#[tokio::test]
async fn each_job_opens_one_connection_to_each_side() {
    let Some(source) = source().await else { return };
    let target = target().await;
    let proxies = [&source, &target].map(|side| FaultProxy::start(side.addr().unwrap()).unwrap());
    let [from, to] = [source.url_via(proxies[0].addr()), target.url_via(proxies[1].addr())];
    let settings = settings();
    let jobs = settings.jobs;
    assert!(import(&from, &to, settings).await.unwrap().is_exact());
    for proxy in &proxies {
        let statements = proxy.statements();
        let opened = statements.iter().filter(|text| text.starts_with("SET search_path")).count();
        // One reads the catalog, and one is the snapshot or checks the rows of the target.
        assert_eq!(opened, 2 + jobs);
    }
}

#[tokio::test]
async fn only_the_tables_that_are_named_are_copied() {
    let Some(source) = source().await else { return };
    let target = target().await;
    let mut settings = settings();
    settings.tables = vec!["history_node".into(), "shards".into()];
    let report = import(&source.url(), &target.url(), settings.clone()).await.unwrap();
    let names: Vec<_> = report.tables.iter().map(|table| table.table.as_str()).collect();
    assert_eq!(names, ["history_node", "shards"]);
    // It does not say that servers can start.
    assert_eq!((report.is_exact(), report.left_out), (true, 34));
    let text = report.to_string();
    assert!(text.contains("34 tables were not named in --tables"), "{text}");
    assert!(!text.contains("pluginName"), "{text}");
    let count = "SELECT count(*) FROM executions";
    assert_eq!(target.query(count).await.unwrap(), [[Some("0".to_owned())]]);
    assert!(!verify(&source.url(), &target.url()).await.unwrap().is_exact());
    settings.tables = vec!["execution".into()];
    let error = import(&source.url(), &target.url(), settings).await.unwrap_err();
    assert!(error.to_string().starts_with("there is no table `execution` to import"), "{error}");
}

#[tokio::test]
async fn a_source_at_1_18_has_one_table_less() {
    let Some(source) = source().await else { return };
    source
        .execute(
            "DROP TABLE current_chasm_executions; \
             UPDATE schema_version SET curr_version = '1.18'",
        )
        .await
        .unwrap();
    let target = target().await;
    let report = import(&source.url(), &target.url(), settings()).await.unwrap();
    assert!(report.is_exact(), "{report}");
    assert_eq!((report.source_version.as_str(), report.tables.len()), ("1.18", 35));
}

#[tokio::test]
async fn two_imports_at_once_are_exact() {
    let Some(source) = source().await else { return };
    let cluster = cluster().await;
    let (from, to) = (source.url(), cluster.url());
    let (first, second) =
        tokio::join!(import(&from, &to, settings()), import(&from, &to, settings()));
    for report in [first.unwrap(), second.unwrap()] {
        assert!(report.is_exact(), "{report}");
    }
    assert_recorded(async |sql| cluster.query(&sql).await.unwrap()).await;
}

#[tokio::test]
async fn a_large_table_is_copied_in_chunks_of_rows_and_of_bytes() {
    let Some(source) = source().await else { return };
    // Many small rows, and a few of the largest that fit.
    source
        .execute(
            "DELETE FROM history_node; \
             INSERT INTO history_node SELECT n % 4 + 1, decode(md5(n::text), 'hex'), \
             decode(md5('b' || n % 100), 'hex'), n % 7, -n, decode(md5('d' || n), 'hex'), 'Proto3', n \
             FROM generate_series(1, 20000) AS n; \
             INSERT INTO history_node SELECT 1, decode(md5('large'), 'hex'), \
             decode(md5('b'), 'hex'), n, 0, convert_to(repeat('x', 1048576), 'UTF8'), 'Proto3', 0 \
             FROM generate_series(1, 20) AS n",
        )
        .await
        .unwrap();
    let cluster = cluster().await;
    let mut settings = settings();
    settings.tables = vec!["history_node".into()];
    let report = import(&source.url(), &cluster.url(), settings).await.unwrap();
    assert!(report.is_exact(), "{report}");
    assert_eq!(report.tables[0].inserted, 20_020);
    let count = "SELECT count(*), sum(octet_length(data)) FROM history_node";
    let bytes = (20_000 * 16 + 20 * 1_048_576).to_string();
    assert_eq!(cluster.query(count).await.unwrap(), [[Some("20020".to_owned()), Some(bytes)]]);
}

/// On a cluster each round trip takes 4 ms, and the pages of a table are read one after the other.
#[tokio::test]
async fn twenty_thousand_rows_are_compared_in_few_round_trips() {
    let Some(source) = source().await else { return };
    let target = target().await;
    let compare = async || {
        import(&source.url(), &target.url(), settings()).await.unwrap();
        let proxy = FaultProxy::start(target.addr().unwrap()).unwrap();
        let report = verify(&source.url(), &target.url_via(proxy.addr())).await.unwrap();
        assert!(report.is_exact(), "{report}");
        proxy.round_trips()
    };
    let before = compare().await;
    // Two thousand branches of ten nodes.
    source
        .execute(
            "INSERT INTO history_node (shard_id, tree_id, branch_id, node_id, txn_id, data, \
                data_encoding) \
             SELECT 1, decode(md5(n::text), 'hex'), decode(md5(n::text), 'hex'), m, 1, 'x', 'Proto3' \
             FROM generate_series(1, 2000) AS n, generate_series(1, 10) AS m",
        )
        .await
        .unwrap();
    let more = compare().await - before;
    assert!(more <= 30, "{more} round trips more");
}

#[tokio::test]
async fn a_plan_counts_and_writes_nothing() {
    let Some(source) = source().await else { return };
    let target = target().await;
    let (mut from, mut to) = (open(&source.url()).await, open(&target.url()).await);
    let mut importer = Importer::new(&mut from, &mut to, embedded(), DEFAULT_DATABASE, settings());
    let plan = importer.plan().await.unwrap();
    assert_eq!(plan.problems, []);
    assert_eq!(plan.tables.iter().map(|table| table.rows).sum::<u64>(), ROWS);
    let names: Vec<_> = plan.tables.iter().map(|table| table.table.as_str()).collect();
    assert_eq!(names[0], "shards");
    let nodes = names.iter().position(|name| *name == "history_node").unwrap();
    assert_eq!(nodes, 4, "the largest follows those that identify the deployment");
    let bytes = "SELECT sum(4 + 16 + 16 + 8 + 8 + 8 + octet_length(data) + \
                 octet_length(data_encoding)) FROM history_node";
    let counted = source.query(bytes).await.unwrap();
    assert_eq!(counted, [[Some(plan.tables[nodes].bytes.to_string())]]);
    let count = "SELECT count(*) FROM history_node";
    assert_eq!(target.query(count).await.unwrap(), [[Some("0".to_owned())]]);
}

#[tokio::test]
async fn a_stop_ends_between_two_chunks_and_the_next_run_continues() {
    let Some(source) = source().await else { return };
    let target = target().await;
    let stopped = settings();
    stopped.progress.stop();
    let error = import(&source.url(), &target.url(), stopped.clone()).await.unwrap_err();
    assert!(matches!(error, ImportError::Interrupted { rows: 0 }), "{error}");
    let mut settings = settings();
    settings.jobs = 1;
    let progress = settings.progress.clone();
    let watch = async {
        first_rows(&progress).await;
        progress.stop();
    };
    let (from, to) = (source.url(), target.url());
    let (result, ()) = tokio::join!(import(&from, &to, settings.clone()), watch);
    let counts = settings.progress.counts();
    match result {
        Err(ImportError::Interrupted { rows }) => {
            assert_eq!((counts.phase, counts.rows), (Phase::Copying, rows));
            assert!(0 < rows && rows < ROWS, "{rows}");
        }
        other => panic!("not interrupted: {other:?}"),
    }
    let report = import(&source.url(), &target.url(), crate::settings()).await.unwrap();
    assert!(report.is_exact(), "{report}");
    assert!(report.tables.iter().any(|table| table.found > 0), "{report}");
    assert_recorded(async |sql| target.query(&sql).await.unwrap()).await;
}

//! Several deployments in one database, each in its own schema.

use temporal_dsql_domain::Engine;
use temporal_dsql_migrate::{Job, JobStatus, SchemaDatabase, Statement};
use temporal_dsql_testkit::ScratchDatabase;

use crate::{
    Command, V1_0, V1_1, at, connect, history, open, options,
    spec::{assert_is, whole},
};

#[tokio::test]
async fn a_role_with_a_schema_of_its_own_works_there_and_nowhere_else() {
    // Custom roles of DSQL have schemas of their own (aurora-dsql.md#connections).
    let Some(scratch) = at(V1_0).await else {
        return;
    };
    scratch.execute("CREATE SCHEMA mine").await.unwrap();
    let mine = || options(&scratch.url()).options([("search_path", "mine,public")]);
    let mut database = open(mine()).await.unwrap();
    assert_eq!(database.schema(), "mine");
    // Names do not fall through to the deployment in `public`.
    assert!(database.version_rows().await.unwrap().is_empty());
    Command::Setup(V1_1).run(&mut database).await.unwrap();
    assert_is(&database.catalog(&whole()).await.unwrap(), V1_1);
    let mut other = connect(&scratch).await;
    assert_is(&other.catalog(&whole()).await.unwrap(), V1_0);
    assert_eq!(history(&scratch).await, ["0 > 1.0"]);
    // An overwrite in one schema drops nothing in the other, even if a table is already missing.
    scratch.execute("DROP TABLE mine.executions").await.unwrap();
    let drop = Statement::parse("DROP TABLE executions").unwrap();
    let error = database.execute(&drop).await.unwrap_err();
    assert!(error.is_undefined(), "{error}");
    Command::Overwrite.run(&mut database).await.unwrap();
    assert_is(&other.catalog(&whole()).await.unwrap(), V1_0);
}

#[tokio::test]
async fn a_new_connection_stays_in_the_schema_of_the_first() {
    let Some(scratch) = at(V1_0).await else {
        return;
    };
    let mut database = connect(&scratch).await;
    scratch.execute("CREATE SCHEMA postgres").await.unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    scratch.query(end).await.unwrap();
    let error = database.catalog(&whole()).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    // A new session of the role `postgres` would now start in the schema of that name.
    assert_is(&database.catalog(&whole()).await.unwrap(), V1_0);
}

#[tokio::test]
async fn dsql_is_detected_by_its_jobs_relation_and_can_be_forced() {
    let Some(scratch) = ScratchDatabase::create().await else {
        return;
    };
    assert_eq!(connect(&scratch).await.engine(), Engine::Postgres);
    // The shape of the relation as a cluster has it (aurora-dsql.md#jobs).
    let jobs = "CREATE SCHEMA sys; CREATE TABLE sys.jobs (job_id text, status text, details text, \
                job_type text, class_id integer, object_id integer, object_name text, \
                start_time timestamptz, update_time timestamptz); \
                INSERT INTO sys.jobs VALUES \
                ('a', 'failed', 'Found duplicate key', 'INDEX_BUILD', 1259, 7, NULL, now(), now()), \
                ('b', 'processing', NULL, 'INDEX_BUILD', 1259, 8, 'public.i', now() + '1s', now()), \
                ('c', 'completed', '', 'DROP', 1259, 7, 'public.i', now() + '2s', now()), \
                ('d', 'submitted', '', 'INDEX_BUILD', 1259, 9, 'public.j', now(), now()), \
                ('e', 'failed', '', 'INDEX_BUILD', 1259, 8, 'public.i', now(), now()), \
                ('f', 'completed', '', 'INDEX_BUILD', 1259, NULL, 'j', now() + '3s', now())";
    scratch.execute(jobs).await.unwrap();
    let mut database = connect(&scratch).await;
    assert_eq!(database.engine(), Engine::Dsql);
    let job = |id: &str, status, details: &str| Job {
        id: id.to_owned(),
        status,
        details: details.to_owned(),
    };
    let (building, failed) = (job("b", JobStatus::Processing, ""), job("e", JobStatus::Failed, ""));
    let of_seven = job("a", JobStatus::Failed, "Found duplicate key");
    assert_eq!(database.index_jobs("i", 7).await.unwrap(), [of_seven], "not of another index i");
    let of_eight = [building, failed];
    assert_eq!(database.index_jobs("i", 8).await.unwrap(), of_eight, "the latest first");
    // By name, with or without schema, only if no job has the object id.
    assert_eq!(database.index_jobs("i", 10).await.unwrap(), of_eight);
    let ids = |jobs: Vec<Job>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(ids(database.index_jobs("j", 10).await.unwrap()), ["f", "d"]);
    assert_eq!(ids(database.index_jobs("k", 10).await.unwrap()), [""; 0]);
    let retry = temporal_dsql_migrate::Timeouts::default().retry;
    let connector = temporal_dsql_client::connector_with(options(&scratch.url()));
    let forced =
        temporal_dsql_migrate::PostgresDatabase::connect(connector, Some(Engine::Postgres), &retry);
    assert_eq!(forced.await.unwrap().engine(), Engine::Postgres);
}

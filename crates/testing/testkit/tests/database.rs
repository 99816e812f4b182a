//! A scratch database belongs to one test and is dropped with it.

use std::thread;

use temporal_dsql_testkit::ScratchDatabase;

/// The databases of the server whose name is `name`.
async fn count(observer: &ScratchDatabase, name: &str) -> usize {
    let sql = format!("SELECT datname FROM pg_database WHERE datname = '{name}'");
    observer.query(&sql).await.expect("the catalog").len()
}

#[tokio::test]
async fn two_databases_do_not_share_a_table() {
    let Some(one) = ScratchDatabase::create().await else {
        return;
    };
    let Some(two) = ScratchDatabase::create().await else {
        return;
    };
    one.execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1)").await.unwrap();
    let error = two.query("SELECT n FROM t").await.unwrap_err();
    assert!(error.to_string().contains(r#""t" does not exist"#), "{error}");
}

#[tokio::test]
async fn a_query_returns_text_and_distinguishes_null_from_empty() {
    let Some(database) = ScratchDatabase::create().await else {
        return;
    };
    let rows = database
        .query("SELECT 1, NULL, '', true, '\\x0aff'::bytea UNION ALL SELECT 2, 'é', 'b', false, ''")
        .await
        .unwrap();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        rows,
        [
            [text("1"), None, text(""), text("t"), text("\\x0aff")],
            [text("2"), text("é"), text("b"), text("f"), text("\\x")],
        ]
    );
}

#[tokio::test]
async fn a_database_is_dropped_while_sessions_are_open_in_it() {
    let Some(observer) = ScratchDatabase::create().await else {
        return;
    };
    let database = ScratchDatabase::create_on(&observer.url()).await.unwrap();
    let name = database.name().to_owned();
    let session = sqlx::PgPool::connect(&database.url()).await.unwrap();
    let open = session.acquire().await.unwrap();
    assert_eq!(count(&observer, &name).await, 1);
    drop(database);
    assert_eq!(count(&observer, &name).await, 0);
    drop(open);
}

#[tokio::test]
async fn a_database_is_dropped_after_a_panic_too() {
    let Some(observer) = ScratchDatabase::create().await else {
        return;
    };
    let database = ScratchDatabase::create_on(&observer.url()).await.unwrap();
    let name = database.name().to_owned();
    let panicked = thread::spawn(move || {
        let _database = database;
        panic!("as a failed test does");
    });
    assert!(panicked.join().is_err());
    assert_eq!(count(&observer, &name).await, 0);
}

#[tokio::test]
async fn a_copy_has_the_rows_of_its_template_and_is_independent_of_it() {
    let Some(template) = ScratchDatabase::create().await else {
        return;
    };
    template.execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)").await.unwrap();
    let copy = ScratchDatabase::create_from_template(&template).await.unwrap();
    copy.execute("DELETE FROM t WHERE n = 1").await.unwrap();
    let rows = |rows: Vec<Vec<Option<String>>>| rows.len();
    assert_eq!(copy.query("SELECT n FROM t").await.map(rows).unwrap(), 1);
    assert_eq!(template.query("SELECT n FROM t").await.map(rows).unwrap(), 2);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_an_error() {
    // Port 1 is never PostgreSQL's.
    let error = ScratchDatabase::create_on("postgres://postgres@127.0.0.1:1/postgres").await;
    assert!(matches!(error, Err(sqlx::Error::Io(_))), "{error:?}");
    let error = ScratchDatabase::create_on("not a URL").await;
    assert!(matches!(error, Err(sqlx::Error::Configuration(_))), "{error:?}");
}

#[tokio::test]
async fn its_debug_form_shows_no_password() {
    let Some(database) = ScratchDatabase::create().await else {
        return;
    };
    assert_eq!(format!("{database:?}"), format!("ScratchDatabase({})", database.name()));
}

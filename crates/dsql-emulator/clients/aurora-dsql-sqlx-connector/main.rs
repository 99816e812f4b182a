//! AWS's connector for sqlx. It signs the token of each connection, and repeats transactions that
//! have lost a conflict.

use std::{
    env,
    error::Error,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use aurora_dsql_sqlx_connector::{
    DsqlConnectOptions, DsqlConnectOptionsBuilder, OCCRetryConfig, Region, connection,
    is_occ_error, pool, retry_on_occ,
};
use sqlx::{
    Connection, PgConnection, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};

type Outcome = Result<(), Box<dyn Error>>;

const CREATE: &str =
    "CREATE TABLE account (id int PRIMARY KEY, owner text NOT NULL, balance numeric(12,2))";
const UPDATE: &str = "UPDATE account SET balance = balance + 1 WHERE id = 1";
const BALANCE: &str = "SELECT balance::text FROM account WHERE id = 1";

/// The address and the CA file are in libpq's variables, which sqlx reads.
fn options() -> Result<DsqlConnectOptions, Box<dyn Error>> {
    let region = Region::new(env::var("AWS_REGION")?);
    let server = PgConnectOptions::new().password("replaced by a token");
    Ok(DsqlConnectOptionsBuilder::default()
        .pg_connect_options(server)
        .region(Some(region))
        .build()?)
}

#[tokio::main]
async fn main() -> Outcome {
    let options = options()?;
    let mut one = connection::connect_with(&options).await?;
    let others = pool::connect_with(&options, PgPoolOptions::new().max_connections(4)).await?;
    ok("connect");

    sqlx::raw_sql(CREATE).execute(&mut one).await?;
    // Until then other sessions can get OC001.
    tokio::time::sleep(Duration::from_millis(600)).await;
    ok("create");

    let insert = "INSERT INTO account VALUES ($1, $2, $3::text::numeric), ($4, $5, NULL)";
    let insert = sqlx::query(insert).bind(1).bind("ada").bind("10.50").bind(2).bind("grace");
    assert_eq!(insert.execute(&others).await?.rows_affected(), 2);
    ok("insert");

    let query = "SELECT owner, balance::text FROM account WHERE id = $1";
    for (id, owner, balance) in [(1, "ada", Some("10.50")), (2, "grace", None)] {
        let row = sqlx::query(query).bind(id).fetch_one(&others).await?;
        assert_eq!(row.get::<&str, _>(0), owner);
        assert_eq!(row.get::<Option<&str>, _>(1), balance);
    }
    ok("select");

    let mut transaction = one.begin().await?;
    sqlx::query("UPDATE account SET balance = 20 WHERE id = 1").execute(&mut *transaction).await?;
    transaction.commit().await?;
    assert_eq!(balance(&others).await?, "20.00");
    ok("commit");

    conflict(&mut one, &others).await?;
    ok("conflict");

    let refused = sqlx::query("TRUNCATE account").execute(&mut one).await.unwrap_err();
    let refused = refused.as_database_error().expect("an error of the database");
    assert_eq!(refused.code().as_deref(), Some("0A000"));
    assert_eq!(refused.message(), "unsupported statement: Truncate");
    ok("refused");

    let index = "CREATE INDEX ASYNC by_owner ON account (owner)";
    let job: String = sqlx::query_scalar(index).fetch_one(&mut one).await?;
    sqlx::query("CALL sys.wait_for_job($1)").bind(&job).fetch_one(&mut one).await?;
    let status = "SELECT status FROM sys.jobs WHERE job_id = $1";
    let status: String = sqlx::query_scalar(status).bind(&job).fetch_one(&mut one).await?;
    assert_eq!(status, "completed");
    ok("index");

    let tables = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = $1";
    let tables: Vec<String> = sqlx::query_scalar(tables).bind("public").fetch_all(&mut one).await?;
    assert_eq!(tables, ["account"]);
    let indexes = "SELECT indexname::text FROM pg_indexes WHERE tablename = $1 ORDER BY 1";
    let indexes: Vec<String> =
        sqlx::query_scalar(indexes).bind("account").fetch_all(&mut one).await?;
    assert_eq!(indexes, ["account_pkey", "by_owner"]);
    ok("catalog");

    one.close().await?;
    others.close().await;
    ok("close");
    Ok(())
}

/// The first attempt of a transaction loses, and the connector repeats it.
async fn conflict(one: &mut PgConnection, others: &PgPool) -> Outcome {
    let mut transaction = one.begin().await?;
    sqlx::query(UPDATE).execute(&mut *transaction).await?;
    sqlx::query(UPDATE).execute(others).await?;
    let lost = transaction.commit().await.unwrap_err();
    assert_eq!(is_occ_error(&lost).map(|(_, code)| code), Some("OC000"), "{lost}");

    let attempts = AtomicU32::new(0);
    let transfer = || async {
        let mut transaction = others.begin().await?;
        sqlx::query(UPDATE).execute(&mut *transaction).await?;
        if attempts.fetch_add(1, Ordering::Relaxed) == 0 {
            sqlx::query(UPDATE).execute(others).await?;
        }
        transaction.commit().await
    };
    retry_on_occ(&OCCRetryConfig::default(), transfer).await?;
    assert_eq!(attempts.into_inner(), 2);
    assert_eq!(balance(others).await?, "23.00");
    Ok(())
}

async fn balance(pool: &PgPool) -> Result<String, sqlx::Error> {
    sqlx::query_scalar(BALANCE).fetch_one(pool).await
}

/// Reports a step.
fn ok(step: &str) {
    println!("ok {step}");
}

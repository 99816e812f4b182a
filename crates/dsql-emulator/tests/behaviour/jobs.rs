//! Asynchronous jobs (aurora-dsql.md#alter-table, aurora-dsql.md#indexes, aurora-dsql.md#jobs).

use std::time::Duration;

use dsql_emulator::{CatalogConflicts, DsqlEmulator, JobDelays};

use crate::support::{CATALOG_CONFLICT, Client, ConnectOptions, pair, start, strict};

const DELAYS: JobDelays =
    JobDelays { start: Duration::ZERO, work: Duration::ZERO, kept: Duration::from_secs(30 * 60) };

async fn emulator() -> Option<(DsqlEmulator, Client)> {
    let builder =
        DsqlEmulator::builder().job_delays(DELAYS).catalog_conflicts(CatalogConflicts::Off).seed(7);
    let emulator = start(builder).await?;
    let mut client = Client::connect(&emulator).await;
    client.ok("CREATE TABLE t (id int PRIMARY KEY, v int)").await;
    Some((emulator, client))
}

async fn job(client: &mut Client, sql: &str) -> String {
    let answer = client.run(sql).await;
    assert_eq!(answer.columns, ["job_id"], "{answer:?}");
    let id = answer.value().to_owned();
    let base32 = |byte: u8| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte);
    assert!(id.len() == 26 && id.bytes().all(base32), "{id}");
    id
}

async fn wait(client: &mut Client, id: &str) -> String {
    let answer = client.run(&format!("CALL sys.wait_for_job('{id}')")).await;
    assert_eq!(answer.columns, ["succeeded"], "{answer:?}");
    answer.value().to_owned()
}

/// The row of a job, with the validity of its index.
async fn state(client: &mut Client, id: &str) -> String {
    client
        .value(&format!(
            "SELECT concat_ws(' ', status, job_type, object_name, details) FROM sys.jobs \
             WHERE job_id = '{id}'"
        ))
        .await
}

async fn is_valid(client: &mut Client, index: &str) -> String {
    client
        .value(&format!("SELECT indisvalid FROM pg_index WHERE indexrelid = '{index}'::regclass"))
        .await
}

#[tokio::test]
async fn the_row_of_a_job_has_no_update_time_until_its_status_changes() {
    let Some((emulator, mut client)) = emulator().await else { return };
    emulator.faults().hold_jobs();
    let id = job(&mut client, "CREATE INDEX ASYNC v ON t (v)").await;
    let row = format!(
        "SELECT concat_ws(' ', status, update_time IS NULL) FROM sys.jobs WHERE job_id = '{id}'"
    );
    assert_eq!(client.value(&row).await, "submitted t");
    emulator.faults().release_jobs();
    assert_eq!(wait(&mut client, &id).await, "t");
    assert_eq!(client.value(&row).await, "completed f");
}

#[tokio::test]
async fn an_index_is_invalid_until_its_job_has_ended() {
    let Some((emulator, mut client)) = emulator().await else { return };
    emulator.faults().hold_jobs();
    let id = job(&mut client, "CREATE UNIQUE INDEX ASYNC v ON t (v)").await;
    assert_eq!(is_valid(&mut client, "v").await, "f");
    let early = client.refused("ALTER TABLE t ADD CONSTRAINT v UNIQUE USING INDEX v").await;
    assert_eq!(pair(&early), ("55000", "index \"v\" is not valid"));
    emulator.faults().release_jobs();
    assert_eq!(wait(&mut client, &id).await, "t");
    assert_eq!(is_valid(&mut client, "v").await, "t");
    assert_eq!(state(&mut client, &id).await, "completed INDEX_BUILD public.v");
    client.ok("ALTER TABLE t ADD CONSTRAINT v UNIQUE USING INDEX v").await;
    // Waiting for a job that has ended returns at once, any number of times.
    assert_eq!(wait(&mut client, &id).await, "t");
}

#[tokio::test]
async fn a_unique_build_over_duplicates_fails_and_its_index_stays_invalid() {
    let Some((_emulator, mut client)) = emulator().await else { return };
    client.ok("INSERT INTO t VALUES (1, 1), (2, 1), (3, 3)").await;
    let id = job(&mut client, "CREATE UNIQUE INDEX ASYNC v ON t (v)").await;
    assert_eq!(wait(&mut client, &id).await, "f");
    let state = state(&mut client, &id).await;
    assert_eq!(
        state,
        "failed INDEX_BUILD public.v Found duplicate key while validating index for UCVs"
    );
    assert_eq!(is_valid(&mut client, "v").await, "f");
    // It stays invalid until it is dropped and created again over other rows.
    client.ok("DROP INDEX v").await;
    client.ok("DELETE FROM t WHERE id = 2").await;
    let id = job(&mut client, "CREATE UNIQUE INDEX ASYNC v ON t (v)").await;
    assert_eq!(wait(&mut client, &id).await, "t");
    assert_eq!(client.refused("INSERT INTO t VALUES (4, 3)").await.0, "23505");
}

#[tokio::test]
async fn a_constraint_is_validated_or_the_job_has_the_reason() {
    let Some((_emulator, mut client)) = emulator().await else { return };
    client.ok("INSERT INTO t VALUES (1, -1)").await;
    client.ok("ALTER TABLE t ADD CONSTRAINT positive CHECK (v > 0) NOT VALID").await;
    let validate = "ALTER TABLE ASYNC t VALIDATE CONSTRAINT positive";
    let is_validated = "SELECT convalidated FROM pg_constraint WHERE conname = 'positive'";
    let id = job(&mut client, validate).await;
    assert_eq!(wait(&mut client, &id).await, "f");
    let state = state(&mut client, &id).await;
    assert!(state.starts_with("failed VALIDATE_CONSTRAINT"), "{state}");
    assert!(state.ends_with("check constraint \"positive\" is violated by some row"), "{state}");
    assert_eq!(client.value(is_validated).await, "f");
    client.ok("UPDATE t SET v = 1").await;
    let id = job(&mut client, validate).await;
    assert_eq!(wait(&mut client, &id).await, "t");
    assert_eq!(client.value(is_validated).await, "t");
}

#[tokio::test]
async fn validation_checks_owner_and_kind_and_survives_renames() {
    let Some((emulator, mut client)) = emulator().await else { return };
    client.ok("ALTER TABLE t ADD CONSTRAINT positive CHECK (v > 0) NOT VALID").await;
    for (constraint, code, message) in [
        (
            "t_pkey",
            "42809",
            "constraint \"t_pkey\" of relation \"t\" is not a foreign key or check constraint",
        ),
        ("nosuch", "42704", "constraint \"nosuch\" of relation \"t\" does not exist"),
    ] {
        let sql = format!("ALTER TABLE ASYNC t VALIDATE CONSTRAINT {constraint}");
        assert_eq!(pair(&client.refused(&sql).await), (code, message));
    }
    client.ok("CREATE ROLE validator WITH LOGIN").await;
    client.ok("AWS IAM GRANT validator TO 'arn:aws:iam::123456789012:role/dsql-emulator'").await;
    let options = ConnectOptions::of(&emulator).user(&emulator, "validator");
    let mut stranger = Client::open(&emulator, &options).await.unwrap();
    let validate = "ALTER TABLE ASYNC t VALIDATE CONSTRAINT positive";
    let refused = stranger.refused(validate).await;
    assert_eq!(pair(&refused), ("42501", "must be owner of table t"));
    let grant = "AWS IAM GRANT admin TO 'arn:aws:iam::123456789012:role/other'";
    let refused = stranger.refused(grant).await;
    assert_eq!(pair(&refused), ("42501", "permission denied to grant IAM trust with role admin"));

    emulator.faults().hold_jobs();
    let id = job(&mut client, validate).await;
    client.ok("ALTER TABLE t RENAME TO u").await;
    client.ok("ALTER TABLE u RENAME CONSTRAINT positive TO above_zero").await;
    emulator.faults().release_jobs();
    assert_eq!(wait(&mut client, &id).await, "t");
    assert_eq!(state(&mut client, &id).await, "completed VALIDATE_CONSTRAINT public.t");
}

#[tokio::test]
async fn a_job_starts_only_if_its_transaction_commits() {
    let Some((_emulator, mut client)) = emulator().await else { return };
    client.ok("BEGIN").await;
    let id = job(&mut client, "CREATE INDEX ASYNC v ON t (v)").await;
    client.ok("ROLLBACK").await;
    let known = format!("SELECT count(*) FROM sys.jobs WHERE job_id = '{id}'");
    assert_eq!(client.value(&known).await, "0");
    client.ok("BEGIN").await;
    let id = job(&mut client, "CREATE INDEX ASYNC v ON t (v)").await;
    client.ok("COMMIT").await;
    assert_eq!(wait(&mut client, &id).await, "t");
}

#[tokio::test]
async fn the_end_of_a_job_is_a_change_for_sessions_that_are_older_than_it() {
    let Some(emulator) = start(strict().job_delays(DELAYS)).await else { return };
    let mut client = Client::connect(&emulator).await;
    let mut silent = Client::connect(&emulator).await;
    let mut other = Client::connect(&emulator).await;
    other.ok("SELECT 1").await;
    client.ok("CREATE TABLE t (id int PRIMARY KEY, v int)").await;
    emulator.faults().hold_jobs();
    let id = job(&mut client, "CREATE INDEX ASYNC ON t (v)").await;
    assert_eq!(pair(&other.refused("SELECT 1").await), CATALOG_CONFLICT);
    let mut later = Client::connect(&emulator).await;
    assert_eq!(later.value("SELECT 1").await, "1");
    emulator.faults().release_jobs();
    // Its own session gets no conflict, nor do sessions that had not read the catalog before.
    assert_eq!(wait(&mut client, &id).await, "t");
    assert_eq!(client.value("SELECT 1").await, "1");
    assert_eq!(pair(&other.refused("SELECT 1").await), CATALOG_CONFLICT);
    assert_eq!(other.value("SELECT 1").await, "1");
    assert_eq!(later.value("SELECT 1").await, "1");
    assert_eq!(silent.value("SELECT 1").await, "1");
}

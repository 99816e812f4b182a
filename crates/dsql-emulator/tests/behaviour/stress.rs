//! Many writers on few keys: all succeed in the end, and no update is lost.

#![expect(clippy::disallowed_methods, reason = "the client uses the driver as on PostgreSQL")]

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use crate::support::start_default;

const WRITERS: u32 = 64;
const KEYS: u32 = 8;
const SEED: u64 = 4_711;

/// Adds 1 to `key` after reading it; returns the number of attempts.
async fn add(connection: &mut PgConnection, key: i32, random: &mut fastrand::Rng) -> u32 {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let tried = async {
            let mut transaction = connection.begin().await?;
            let value: i32 = sqlx::query_scalar("SELECT v FROM counter WHERE id = $1")
                .bind(key)
                .fetch_one(&mut *transaction)
                .await?;
            sqlx::query("UPDATE counter SET v = $2 WHERE id = $1")
                .bind(key)
                .bind(value + 1)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await
        };
        match tried.await {
            Ok(()) => return attempts,
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("40001") => {
                assert!(error.message().ends_with("(OC000)"), "{error}");
                let most = 5 << attempts.min(8);
                tokio::time::sleep(Duration::from_millis(random.u64(0..most))).await;
            }
            Err(error) => panic!("neither committed nor a conflict: {error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_writers_on_eight_keys_all_succeed_and_lose_no_update() {
    let Some(emulator) = start_default().await else { return };
    println!("seed {SEED}");
    let mut admin = PgConnection::connect(&emulator.url()).await.unwrap();
    sqlx::query("CREATE TABLE counter (id int PRIMARY KEY, v int NOT NULL)")
        .execute(&mut admin)
        .await
        .unwrap();
    sqlx::query("INSERT INTO counter SELECT n, 0 FROM generate_series(0, $1::int - 1) AS n")
        .bind(i32::try_from(KEYS).unwrap())
        .execute(&mut admin)
        .await
        .unwrap();
    let start = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let url = emulator.url();
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(SEED + u64::from(writer));
                let mut connection = PgConnection::connect(&url).await.unwrap();
                let key = i32::try_from(writer % KEYS).unwrap();
                add(&mut connection, key, &mut random).await
            })
        })
        .collect();
    let mut attempts = Vec::new();
    for writer in writers {
        let done = tokio::time::timeout(Duration::from_secs(120), writer).await;
        attempts.push(done.expect("every writer finishes").unwrap());
    }
    attempts.sort_unstable();
    let total: u32 = attempts.iter().sum();
    println!(
        "{WRITERS} writers on {KEYS} keys: {total} attempts, median {}, most {}, in {:?}",
        attempts[attempts.len() / 2],
        attempts[attempts.len() - 1],
        start.elapsed()
    );
    let values: Vec<i32> = sqlx::query_scalar("SELECT v FROM counter ORDER BY id")
        .fetch_all(&mut admin)
        .await
        .unwrap();
    assert_eq!(values, [i32::try_from(WRITERS / KEYS).unwrap(); KEYS as usize]);
    assert!(total > WRITERS, "there were conflicts");
}

//! The statements run by tokio-postgres: a connection with prepared statements for each caller, and
//! every column decoded.

use std::array;

use anyhow::{Result, ensure};
use temporal_dsql::CurrentExecutionsRow;
use time::{PrimitiveDateTime, UtcDateTime};
use tokio_postgres::{Client, NoTls, Row, Statement, types::ToSql};
use uuid::Uuid;

use super::{
    operation::{Operation, Plan},
    statements::{ARGUMENTS, Statements, columns_of},
};
use crate::{
    database::Database,
    load::{Caller, Load, closed_loop},
    rows,
};

/// Runs `operation` with `callers` callers, each on a connection of its own.
///
/// # Errors
/// An operation fails.
pub async fn load(
    database: &Database,
    statements: &Statements,
    operation: Operation,
    callers: usize,
    plan: &Plan,
) -> Result<Load> {
    let mut point_callers = Vec::new();
    for caller in 0..callers {
        let (client, connection) =
            tokio_postgres::connect(&database.scratch().url(), NoTls).await?;
        // Ends when the client is dropped.
        tokio::spawn(connection);
        let statement = match operation {
            Operation::Insert => &statements.insert,
            Operation::Select => &statements.select,
            Operation::Update => &statements.update,
            Operation::Lock => &statements.lock,
        };
        point_callers.push(PointCaller {
            columns: columns_of(statement)?,
            statement: client.prepare(statement).await?,
            client,
            begin: statements.begin.clone(),
            commit: statements.commit.clone(),
            operation,
            rows: u64::from(plan.rows),
            next_id: rows::first_new_id(caller),
            random: fastrand::Rng::with_seed(caller as u64),
        });
    }
    closed_loop(point_callers, plan.window).await
}

struct PointCaller {
    client: Client,
    statement: Statement,
    /// The column of each argument of the statement.
    columns: Vec<usize>,
    begin: String,
    commit: String,
    operation: Operation,
    rows: u64,
    next_id: u64,
    random: fastrand::Rng,
}

impl Caller for PointCaller {
    async fn call(&mut self) -> Result<()> {
        let id = match self.operation {
            Operation::Insert => {
                self.next_id += 1;
                self.next_id
            }
            _ => self.random.u64(..self.rows),
        };
        let row = rows::row(id);
        let found = match self.operation {
            Operation::Insert | Operation::Update => self.write(&row).await? == 1,
            Operation::Select => self.read(&row).await?,
            Operation::Lock => {
                self.client.batch_execute(&self.begin).await?;
                let found = self.read(&row).await?;
                self.client.batch_execute(&self.commit).await?;
                found
            }
        };
        ensure!(found, "row {id} does not exist");
        Ok(())
    }
}

impl PointCaller {
    async fn write(&self, row: &CurrentExecutionsRow) -> Result<u64> {
        let start_time = row.start_time.map(|time| {
            let time = UtcDateTime::from(time.to_offset_date_time());
            PrimitiveDateTime::new(time.date(), time.time())
        });
        let values: [&(dyn ToSql + Sync); ARGUMENTS.len()] = [
            &row.shard_id.0,
            &row.namespace_id.0,
            &&*row.workflow_id,
            &row.run_id.0,
            &&*row.create_request_id,
            &row.state.number(),
            &row.status.number(),
            &start_time,
            &row.last_write_version,
            &row.data,
            &&*row.data_encoding,
        ];
        let arguments: [_; ARGUMENTS.len()] = array::from_fn(|at| values[self.columns[at]]);
        Ok(self.client.execute(&self.statement, &arguments).await?)
    }

    async fn read(&self, row: &CurrentExecutionsRow) -> Result<bool> {
        let arguments: [&(dyn ToSql + Sync); 3] =
            [&row.shard_id.0, &row.namespace_id.0, &&*row.workflow_id];
        let found = self.client.query_opt(&self.statement, &arguments).await?;
        Ok(found.map(|found| decode(&found)).transpose()?.is_some())
    }
}

/// The values of a row.
struct Decoded {
    _shard_id: i32,
    _namespace_id: Uuid,
    _workflow_id: String,
    _run_id: Uuid,
    _create_request_id: String,
    _state: i32,
    _status: i32,
    _start_time: Option<PrimitiveDateTime>,
    _last_write_version: i64,
    _data: Option<Vec<u8>>,
    _data_encoding: String,
}

fn decode(row: &Row) -> Result<Decoded, tokio_postgres::Error> {
    Ok(std::hint::black_box(Decoded {
        _shard_id: row.try_get(0)?,
        _namespace_id: row.try_get(1)?,
        _workflow_id: row.try_get(2)?,
        _run_id: row.try_get(3)?,
        _create_request_id: row.try_get(4)?,
        _state: row.try_get(5)?,
        _status: row.try_get(6)?,
        _start_time: row.try_get(7)?,
        _last_write_version: row.try_get(8)?,
        _data: row.try_get(9)?,
        _data_encoding: row.try_get(10)?,
    }))
}

//! The scratch schema of a file of probes, and what its probes leave outside of it.

use std::{io, time::Duration};

use super::{
    PlayError, Target,
    client::{Answer, Client},
    file::ProbeFile,
};

/// How often a statement is repeated after a catalog conflict, and the wait before each repetition
/// (aurora-dsql.md#transient-failures).
const ATTEMPTS: u32 = 12;
const WAIT: Duration = Duration::from_millis(300);

/// Objects that are dropped, in this order: their kind, and what finds their names. Indexes, and
/// sequences of columns, are dropped with their tables.
const OBJECTS: [(&str, &str); 5] = [
    ("VIEW", "oid::regclass FROM pg_catalog.pg_class WHERE relkind = 'v' AND relnamespace"),
    ("TABLE", "oid::regclass FROM pg_catalog.pg_class WHERE relkind = 'r' AND relnamespace"),
    ("SEQUENCE", "oid::regclass FROM pg_catalog.pg_class WHERE relkind = 'S' AND relnamespace"),
    ("FUNCTION", "oid::regprocedure FROM pg_catalog.pg_proc WHERE pronamespace"),
    ("DOMAIN", "oid::regtype FROM pg_catalog.pg_type WHERE typtype = 'd' AND typnamespace"),
];

/// A schema with a random name.
pub(super) struct Schema {
    name: String,
    /// Schemas that probes have created.
    others: Vec<String>,
}

impl Schema {
    /// Creates the schema and the relations of `file`.
    pub(super) async fn create(target: &Target, file: &ProbeFile) -> Result<Self, PlayError> {
        let name = format!("probes_{:016x}", fastrand::u64(..));
        let mut client = Client::connect(target).await?;
        run(&mut client, &format!("CREATE SCHEMA {name}")).await?;
        let schema = Self { name, others: Vec::new() };
        let filled = async {
            schema.select(&mut client).await?;
            for statement in &file.setup {
                run(&mut client, statement).await?;
            }
            Ok(())
        };
        match filled.await {
            Ok(()) => Ok(schema),
            Err(error) => {
                schema.drop(target).await?;
                Err(error)
            }
        }
    }

    /// Makes it the schema of a session.
    pub(super) async fn select(&self, client: &mut Client) -> Result<(), PlayError> {
        run(client, &format!("SET search_path = {}", self.name)).await.map(drop)
    }

    /// Notes a statement that has succeeded: it may have created another schema.
    pub(super) fn note(&mut self, statement: &str) {
        if let Some(name) = statement.strip_prefix("CREATE SCHEMA ") {
            self.others.push(name.to_owned());
        }
    }

    /// Drops the schema, with one statement for each object: a transaction of DSQL has one DDL
    /// statement (aurora-dsql.md#ddl-in-transactions).
    pub(super) async fn drop(self, target: &Target) -> Result<(), PlayError> {
        let mut client = Client::connect(target).await?;
        let schema = &self.name;
        for (kind, names) in OBJECTS {
            let names = format!("SELECT {names} = '{schema}'::regnamespace");
            // DSQL refuses CASCADE for domains.
            let cascade = if kind == "DOMAIN" { "" } else { " CASCADE" };
            for name in run(&mut client, &names).await?.rows.into_iter().flatten().flatten() {
                // An object that remains, remains in the schema.
                let _ = run(&mut client, &format!("DROP {kind} IF EXISTS {name}{cascade}")).await;
            }
        }
        for name in self.others.iter().chain([schema]) {
            let drop = format!("DROP SCHEMA {name}");
            if run(&mut client, &drop).await.is_err() {
                // A server that is not a cluster has objects of other kinds.
                run(&mut client, &format!("{drop} CASCADE")).await?;
            }
        }
        Ok(())
    }
}

/// Runs a statement of the player, which must succeed.
pub(super) async fn run(client: &mut Client, sql: &str) -> Result<Answer, PlayError> {
    let failed = |reason: String| PlayError::Statement { sql: sql.to_owned(), reason };
    let answer = attempt(client, sql, false).await.map_err(|error| failed(error.to_string()))?;
    match &answer.error {
        None => Ok(answer),
        Some(error) => Err(failed(error.to_string())),
    }
}

/// Runs a statement, and repeats it while the session must only learn about a catalog change.
pub(super) async fn attempt(client: &mut Client, sql: &str, prepared: bool) -> io::Result<Answer> {
    let mut attempts = 1;
    loop {
        let is_alone = !client.is_in_transaction();
        let answer = if prepared { client.prepared(sql).await } else { client.query(sql).await }?;
        if !is_alone || attempts == ATTEMPTS || !answer.is_catalog_conflict() {
            return Ok(answer);
        }
        tokio::time::sleep(WAIT * attempts).await;
        attempts += 1;
    }
}

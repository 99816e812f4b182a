//! Plays the probes on a server and compares its answers: on the emulator, which must answer as
//! recorded, and on a cluster, which turns what is inferred into a record.
//!
//! Each file of probes gets a scratch schema, which is removed afterwards. `probes/README.md`
//! describes the files.

mod client;
mod file;
mod schema;

pub use client::{Encryption, Target};
#[cfg(test)]
pub(crate) use file::RECORDED;
pub use file::{Case, ProbeFile, Recorded, files};

use std::io;

use crate::wire::DbError;
use client::Client;
use schema::Schema;

/// How often a probe is repeated whose transaction has failed because of a catalog change.
const ATTEMPTS: u32 = 5;

/// Why probes could not be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlayError {
    /// A connection could not be made.
    #[error("cannot connect to {target:?}: {source}")]
    Connection {
        /// The server.
        target: Target,
        /// The cause.
        source: io::Error,
    },
    /// The server has refused a connection.
    #[error("{target:?} has refused the connection: {error}")]
    Refused {
        /// The server.
        target: Target,
        /// Its error.
        error: DbError,
    },
    /// The role is a superuser of a server that is not a cluster.
    #[error(
        "{user} is a superuser of a server without DSQL's functions; probes such as ALTER SYSTEM \
         would change the server. Connect as a role that is not a superuser"
    )]
    Superuser {
        /// The role.
        user: String,
    },
    /// A statement that prepares the probes, or removes what they have made, has failed.
    #[error("{sql} has failed: {reason}")]
    Statement {
        /// The statement.
        sql: String,
        /// The server's error.
        reason: String,
    },
    /// A file is not in the form of probes.
    #[error("the file {name} is not in the form of probes: {source}")]
    File {
        /// Its name.
        name: String,
        /// The cause.
        source: serde_json::Error,
    },
}

/// On which session the probes of one session run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// One for all probes of a file, as they were recorded.
    OneSession,
    /// Each on a new one, while jobs of earlier probes are running.
    NewSessions,
}

/// The answers of a server to one file.
#[derive(Clone, Debug)]
pub struct Played {
    /// The file with these answers.
    pub file: ProbeFile,
    /// The probes with another answer than the file has, and how it differs.
    pub differences: Vec<String>,
    /// How many probes have the answers of the file.
    pub alike: usize,
}

/// What the server says that it is: the answer to `SELECT version()`.
///
/// # Errors
/// The server cannot be reached, or the role is a superuser of a server that is not a cluster.
pub async fn version(target: &Target) -> Result<String, PlayError> {
    const IS_SUPERUSER: &str = "SELECT rolsuper \
         AND pg_catalog.to_regprocedure('sys.dsql_major_version()') IS NULL \
         FROM pg_catalog.pg_roles WHERE rolname = current_user";
    let mut client = Client::connect(target).await?;
    if schema::run(&mut client, IS_SUPERUSER).await?.value() == Some("t") {
        return Err(PlayError::Superuser { user: target.user.clone() });
    }
    let answer = schema::run(&mut client, "SELECT version()").await?;
    Ok(answer.value().unwrap_or_default().to_owned())
}

/// Plays a file, and removes what it has made.
///
/// # Errors
/// The server cannot be reached, its relations cannot be created, or not be removed. The last error
/// names the object.
pub async fn play(target: &Target, file: &ProbeFile, on: On) -> Result<Played, PlayError> {
    let mut schema = Schema::create(target, file).await?;
    let played = play_cases(target, file, on, &mut schema).await;
    schema.drop(target).await?;
    played
}

async fn play_cases(
    target: &Target,
    file: &ProbeFile,
    on: On,
    schema: &mut Schema,
) -> Result<Played, PlayError> {
    let mut player = Player { target, schema, is_in_schema: file.is_in_schema(), client: None };
    let mut played = Played {
        file: ProbeFile { cases: Vec::new(), ..file.clone() },
        differences: Vec::new(),
        alike: 0,
    };
    for case in &file.cases {
        if on == On::NewSessions {
            player.client = None;
        }
        let answered = player.play(case).await?;
        let differences = case.differences(&answered);
        played.alike += usize::from(differences.is_empty());
        played.differences.extend(differences);
        played.file.cases.push(answered);
    }
    Ok(played)
}

struct Player<'a> {
    target: &'a Target,
    schema: &'a mut Schema,
    is_in_schema: bool,
    /// The session of the probes that need one.
    client: Option<Client>,
}

impl Player<'_> {
    async fn connect(&self) -> Result<Client, PlayError> {
        let mut client = Client::connect(self.target).await?;
        if self.is_in_schema {
            self.schema.select(&mut client).await?;
        }
        Ok(client)
    }

    /// Plays a case; again, if a catalog change was the reason that its transaction has failed.
    async fn play(&mut self, case: &Case) -> Result<Case, PlayError> {
        let mut attempts = 1;
        loop {
            let (answered, catalog_conflict) = self.play_once(case).await?;
            if !catalog_conflict || attempts == ATTEMPTS {
                return Ok(answered);
            }
            attempts += 1;
        }
    }

    async fn play_once(&mut self, case: &Case) -> Result<(Case, bool), PlayError> {
        let sessions = case.sessions();
        let mut clients = Vec::new();
        for _ in sessions {
            let kept = if sessions.len() == 1 { self.client.take() } else { None };
            clients.push(match kept {
                Some(client) => client,
                None => self.connect().await?,
            });
        }
        let mut found: Vec<Vec<Recorded>> = vec![Vec::new(); sessions.len()];
        let mut catalog_conflict = false;
        for step in 0..sessions.iter().map(Vec::len).max().unwrap_or(0) {
            for (session, client) in clients.iter_mut().enumerate() {
                let Some(sql) = sessions[session].get(step) else { continue };
                found[session].push(match schema::attempt(client, sql, case.prepared).await {
                    Ok(answer) => {
                        catalog_conflict |= answer.is_catalog_conflict();
                        if answer.error.is_none() && !client.is_in_transaction() {
                            self.schema.note(sql);
                        }
                        answer.recorded()
                    }
                    Err(_) => {
                        *client = self.connect().await?;
                        Recorded { outcome: "closed".into(), ..Recorded::default() }
                    }
                });
            }
        }
        if let [client] = &mut clients[..] {
            // A case can leave its transaction open.
            schema::run(client, "ROLLBACK").await?;
            self.client = clients.pop();
        }
        Ok((case.with_answers(found), catalog_conflict))
    }
}

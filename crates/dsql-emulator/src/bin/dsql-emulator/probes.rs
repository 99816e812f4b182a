//! `dsql-emulator probes`: plays the probes on a cluster, and writes its answers to a file.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use clap::Args;
use dsql_emulator::probes::{self, Encryption, On, Played, Target};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{Failure, cli::Identity};

/// How long a token that is signed here is valid.
const TOKEN_LIFETIME: std::time::Duration = std::time::Duration::from_secs(15 * 60);

#[derive(Args, Debug)]
pub(crate) struct Probes {
    /// Host name of the cluster
    #[arg(long, value_name = "HOST", env = "CLUSTER_ENDPOINT")]
    against: String,
    /// Its port
    #[arg(long, value_name = "PORT", env = "SQL_PORT", default_value_t = 5432)]
    sql_port: u16,
    /// Database role, which can create schemas
    #[arg(long, short, env = "SQL_USER", default_value = "admin")]
    user: String,
    /// Token; by default one is signed with the credentials, for the region of the host name
    #[arg(long, env = "PGPASSWORD", hide_env_values = true)]
    token: Option<String>,
    /// Certificate authority in PEM [default: Mozilla's authorities]
    #[arg(long, value_name = "FILE", env = "SQL_TLS_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// File to write, which must not exist
    #[arg(long, short, value_name = "FILE", default_value = "probes.json")]
    output: PathBuf,
}

/// The file that is written: probes with the answers of the cluster, and how they differ.
#[derive(Serialize)]
struct Record {
    recorded_at: String,
    server: String,
    differences: Vec<String>,
    cases: Vec<probes::Case>,
}

/// Plays the probes, writes the file and prints the differences.
pub(crate) async fn run(options: &Probes, identity: &Identity) -> Result<(), Failure> {
    let target = options.target(identity)?;
    let failed = |error: probes::PlayError| Failure { exit: 1, reason: error.to_string() };
    // Created first: minutes later it would be too late for an error.
    let file = fs::File::create_new(&options.output).map_err(|error| {
        Failure::usage(format!("--output {}: {error}", options.output.display()))
    })?;
    let server = probes::version(&target).await.map_err(failed)?;
    let (mut cases, mut differences, mut alike) = (Vec::new(), Vec::new(), 0);
    for probes in probes::files().map_err(failed)? {
        let played = probes::play(&target, &probes, On::OneSession).await.map_err(failed)?;
        let Played { file, differences: found, alike: count } = played;
        let _ = writeln!(io::stdout(), "{}: {count} of {} alike", file.name, file.cases.len());
        cases.extend(file.cases);
        differences.extend(found);
        alike += count;
    }
    for difference in &differences {
        let _ = writeln!(io::stdout(), "{difference}");
    }
    let different = cases.len() - alike;
    let recorded_at = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    let record = Record { recorded_at, server, differences, cases };
    serde_json::to_writer_pretty(file, &record).map_err(|error| Failure::system(error.into()))?;
    if different == 0 {
        return Ok(());
    }
    let output = options.output.display();
    let reason = format!("{different} probes have other answers; {output} has all answers");
    Err(Failure { exit: 1, reason })
}

impl Probes {
    fn target(&self, identity: &Identity) -> Result<Target, Failure> {
        let encryption = match &self.ca_file {
            None => Encryption::PublicAuthorities,
            Some(path) => {
                let pem = fs::read_to_string(path);
                let failed = |error| Failure::usage(format!("{}: {error}", path.display()));
                Encryption::Authority(pem.map_err(failed)?)
            }
        };
        let password = match &self.token {
            Some(token) => token.clone(),
            None => {
                let credentials = identity.credentials().map_err(Failure::usage)?;
                let region = region_of(&self.against).unwrap_or(&identity.region);
                credentials.token(&self.against, region, &self.user, TOKEN_LIFETIME)
            }
        };
        Ok(Target {
            host: self.against.clone(),
            port: self.sql_port,
            user: self.user.clone(),
            password,
            database: "postgres".into(),
            encryption,
        })
    }
}

/// The region in the name of a cluster, such as `id.dsql.us-east-1.on.aws`.
fn region_of(host: &str) -> Option<&str> {
    let (region, _) = host.split_once(".dsql.")?.1.split_once(".on.aws")?;
    Some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_cluster_has_its_region() {
        assert_eq!(region_of("abc.dsql.eu-central-1.on.aws"), Some("eu-central-1"));
        assert_eq!(region_of("localhost"), None);
    }
}

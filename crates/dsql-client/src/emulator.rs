//! Clients of an emulated cluster, for tests.

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use dsql_emulator::DsqlEmulator;

use crate::Config;

impl Config {
    /// The configuration of a client of `emulator`: its host, port, region and certificate authority.
    /// Everything else has the defaults of [`new`](Self::new).
    pub fn from_emulator(emulator: &DsqlEmulator) -> Self {
        let mut config = Self::new(emulator.host());
        config.port = emulator.port();
        config.region = Some(emulator.region().to_owned());
        config.tls.ca_file = Some(emulator.ca_file().to_owned());
        config
    }
}

/// The credentials that `emulator` accepts.
pub fn emulator_credentials(emulator: &DsqlEmulator) -> SharedCredentialsProvider {
    let own = emulator.credentials();
    SharedCredentialsProvider::new(Credentials::new(
        &own.access_key_id,
        &own.secret_access_key,
        own.session_token.clone(),
        None,
        "emulator",
    ))
}

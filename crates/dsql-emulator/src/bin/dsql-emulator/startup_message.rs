//! The output on start: comments, and variables for a shell.

use std::fmt::Write;

use dsql_emulator::{Credentials, DsqlEmulator};

/// The text for a running emulator. `eval` turns it into the environment of `temporal-dsql-tool`.
pub(crate) fn text(emulator: &DsqlEmulator) -> String {
    let (host, port, region) = (emulator.host(), emulator.port(), emulator.region());
    let ca_file = quoted(&emulator.ca_file().to_string_lossy());
    let mut text = format!(
        "# dsql-emulator is ready; SIGINT or SIGTERM stops it.\n\
         # host:         {host}\n\
         # port:         {port}\n\
         # CA file:      {ca_file}\n\
         # control port: {}\n\
         # IAM identity: {}\n",
        emulator.control_addr().port(),
        emulator.arn()
    );
    let credentials = emulator.credentials();
    let is_example = *credentials == Credentials::default();
    if !is_example {
        let _ = writeln!(
            text,
            "# credentials:  those that it was given, {}",
            credentials.access_key_id
        );
    }
    let mut export = |name: &str, value: &str| {
        let _ = writeln!(text, "export {name}={value}");
    };
    export("CLUSTER_ENDPOINT", &quoted(host));
    export("SQL_PORT", &port.to_string());
    export("SQL_USER", "admin");
    export("SQL_TLS_CA_FILE", &ca_file);
    export("AWS_REGION", &quoted(region));
    // `dsql-emulator token` takes the host name from this variable, and the region from AWS_REGION.
    export("DSQL_EMULATOR_HOST", &quoted(host));
    export("DSQL_EMULATOR_CONTROL", &emulator.control_addr().to_string());
    // Only the published example secret is printed.
    if is_example {
        export("AWS_ACCESS_KEY_ID", &quoted(&credentials.access_key_id));
        export("AWS_SECRET_ACCESS_KEY", &quoted(&credentials.secret_access_key));
    }
    let _ = writeln!(
        text,
        "# psql: PGPASSWORD=$(dsql-emulator token --host {host} --region {region}) psql \
         'host={host} port={port} user=admin dbname=postgres sslmode=verify-full \
         sslrootcert={}'",
        emulator.ca_file().display()
    );
    text
}

/// Quotes a value for a shell.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:+@%".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_quoted_only_where_a_shell_requires_it() {
        assert_eq!(quoted("/var/lib/a-b_c.pem"), "/var/lib/a-b_c.pem");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }
}

//! The table of environment variables that a configuration is read from, which the guide for
//! operators shows.

use std::ffi::OsStr;

/// An environment variable that [`Config::from_env`](crate::Config::from_env) reads.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// The name.
    pub name: &'static str,
    /// Another name, which is read if the first one is not set.
    pub or: Option<&'static str>,
    /// The value if it is not set, in Markdown.
    pub default: &'static str,
    /// What it configures, in Markdown.
    pub meaning: &'static str,
}

const fn variable(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable { name, or: None, default, meaning }
}

pub(super) const HOST: Variable = Variable {
    name: "CLUSTER_ENDPOINT",
    or: Some("SQL_HOST"),
    default: "required",
    meaning: "host name alone, without scheme and port",
};
pub(super) const PORT: Variable = variable("SQL_PORT", "`5432`", "TCP port");
pub(super) const USER: Variable = variable("SQL_USER", "`admin`", "database role");
pub(super) const DATABASE: Variable =
    variable("SQL_DATABASE", "`postgres`", "database; DSQL has exactly one");
pub(super) const PASSWORD: Variable =
    variable("SQL_PASSWORD", "none", "password, for PostgreSQL only");
pub(super) const ENGINE: Variable = variable(
    "DSQL_ENGINE",
    "`auto`",
    "`dsql`, `postgres`, or `auto`: by the host name, a password or a region",
);
pub(super) const REGION: Variable = Variable {
    name: "REGION",
    or: Some("AWS_REGION"),
    default: "from the host name",
    meaning: "AWS region that tokens are signed for. `AWS_REGION` counts only if the host name says \
              none",
};
pub(super) const TLS_MODE: Variable = variable(
    "SQL_TLS_MODE",
    "by engine",
    "`disable`, `prefer`, `require` or `verify-full`. On DSQL `verify-full` only; on PostgreSQL by \
     default `prefer`, or `verify-full` with a CA file, which the other modes do not use and refuse",
);
pub(super) const TLS_CA_FILE: Variable = variable(
    "SQL_TLS_CA_FILE",
    "none",
    "PEM file with an authority to trust beside the public ones",
);
pub(super) const TLS: Variable = variable(
    "SQL_TLS",
    "by mode",
    "`true` demands TLS as `verify-full` does, unless `SQL_TLS_MODE` says `require`. `false` demands \
     nothing: on DSQL there is TLS in any case",
);
pub(super) const TLS_DISABLE_HOST_VERIFICATION: Variable = variable(
    "SQL_TLS_DISABLE_HOST_VERIFICATION",
    "`false`",
    "`true` makes `SQL_TLS=true` mean `require`, for PostgreSQL without a CA file only: on DSQL it is an error",
);
pub(super) const TOKEN_DURATION: Variable =
    variable("DSQL_TOKEN_DURATION", "`15m`", "how long a token is valid, 15 seconds to one week");
pub(super) const MAX_CONNECTIONS: Variable =
    variable("DSQL_MAX_CONNECTIONS", "`50`", "the most connections of the pool, at most 10,000");
pub(super) const TARGET_READY: Variable = variable(
    "DSQL_RESERVOIR_TARGET_READY",
    "`5`",
    "connections that are kept open; by default no more than `DSQL_MAX_CONNECTIONS`",
);
pub(super) const BASE_LIFETIME: Variable =
    variable("DSQL_RESERVOIR_BASE_LIFETIME", "`11m`", "mean age at which a connection is retired");
pub(super) const LIFETIME_JITTER: Variable = variable(
    "DSQL_RESERVOIR_LIFETIME_JITTER",
    "`2m`",
    "width of the range that these ages are spread over",
);
pub(super) const GUARD_WINDOW: Variable = variable(
    "DSQL_RESERVOIR_GUARD_WINDOW",
    "`45s`",
    "a connection is not handed out this short before its retirement",
);
pub(super) const CONNECTION_RATE: Variable =
    variable("DSQL_CONNECTION_RATE_LIMIT", "`10`", "new connections a second");
pub(super) const CONNECTION_BURST: Variable =
    variable("DSQL_CONNECTION_BURST_LIMIT", "`100`", "new connections at once");
pub(super) const WRITE_FORM: Variable = variable(
    "DSQL_WRITE_FORM",
    "`auto`",
    "how writes are sent: `auto`, `one-statement` or `statement-per-table`",
);

/// Every variable that a configuration is read from.
pub const VARIABLES: [Variable; 20] = [
    HOST,
    PORT,
    USER,
    DATABASE,
    PASSWORD,
    ENGINE,
    REGION,
    TLS_MODE,
    TLS_CA_FILE,
    TLS,
    TLS_DISABLE_HOST_VERIFICATION,
    TOKEN_DURATION,
    MAX_CONNECTIONS,
    TARGET_READY,
    BASE_LIFETIME,
    LIFETIME_JITTER,
    GUARD_WINDOW,
    CONNECTION_RATE,
    CONNECTION_BURST,
    WRITE_FORM,
];

/// Switches of the Go fork for features that this store does not have
/// (temporal-persistence.md#environment-variables). If one is on, it is an error.
pub(super) const NOT_OFFERED: [(&str, &str); 2] = [
    ("DSQL_DISTRIBUTED_RATE_LIMITER_ENABLED", "the shared (DynamoDB) connection rate limiter"),
    ("DSQL_DISTRIBUTED_CONN_LEASE_ENABLED", "the shared (DynamoDB) connection lease"),
];

/// Settings of the Go tool and server that this client cannot honour
/// (temporal-persistence.md#commands-and-flags). Any value is an error.
pub(super) const REFUSED: [(&str, &str); 4] = [
    ("SQL_TLS_CERT_FILE", CLIENT_CERTIFICATES),
    ("SQL_TLS_KEY_FILE", CLIENT_CERTIFICATES),
    (
        "SQL_TLS_SERVER_NAME",
        "the certificate is verified for the name of the endpoint; make that name the endpoint, and \
         unset it",
    ),
    ("SQL_CONNECT_ATTRIBUTES", "connections have no further attributes; unset it"),
];

const CLIENT_CERTIFICATES: &str =
    "client certificates are not supported; unset it, and use a password or an IAM token";

/// Variables of the Go fork that tune features that this store does not have
/// (temporal-persistence.md#environment-variables).
const WITHOUT_EFFECT: [&str; 13] = [
    "DSQL_STAGGERED_STARTUP",
    "DSQL_STAGGERED_STARTUP_MAX_DELAY",
    "DSQL_DISTRIBUTED_RATE_LIMITER_TABLE",
    "DSQL_DISTRIBUTED_RATE_LIMITER_LIMIT",
    "DSQL_DISTRIBUTED_RATE_LIMITER_MAX_WAIT",
    "DSQL_RESERVOIR_ENABLED",
    "DSQL_RESERVOIR_LOW_WATERMARK",
    "DSQL_RESERVOIR_INITIAL_FILL_TIMEOUT",
    "DSQL_DISTRIBUTED_CONN_LEASE_TABLE",
    "DSQL_DISTRIBUTED_CONN_LIMIT",
    "DSQL_POOL_KEEPER_TICK_INTERVAL",
    "DSQL_POOL_KEEPER_MAX_CONNS_PER_TICK",
    "DSQL_POOL_WARMUP_STAGGER_DURATION",
];

/// The prefix of this store's own variables.
const PREFIX: &str = "DSQL_";
/// The prefix of the variables of the emulator, which is often started from the same environment.
const EMULATOR_PREFIX: &str = "DSQL_EMULATOR_";

/// Warns of variables with the prefix of this store that have no effect. The log has no values.
pub(super) fn log_ineffective(names: impl Iterator<Item = impl AsRef<OsStr>>) {
    for name in names {
        let name = name.as_ref().to_string_lossy();
        let variable = &*name;
        let is_read =
            VARIABLES.iter().any(|known| known.name == variable || known.or == Some(variable));
        if is_read {
            // Its value is checked.
        } else if WITHOUT_EFFECT.contains(&variable) {
            tracing::info!(variable, "the environment variable has no effect on this store");
        } else if variable.starts_with(PREFIX)
            && !variable.starts_with(EMULATOR_PREFIX)
            && NOT_OFFERED.iter().all(|(name, _)| *name != variable)
        {
            tracing::warn!(variable, "unknown environment variable; it has no effect");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, fmt::Write as _, os::unix::ffi::OsStringExt};

    use super::*;
    use crate::logged::logged_by;
    use temporal_dsql_testkit::assert_guide_has_table;

    #[test]
    fn the_guide_shows_this_table_and_nothing_else() {
        let mut table = String::from("| Variable | Default | Meaning |\n|---|---|---|\n");
        for Variable { name, or, default, meaning } in VARIABLES {
            let or = or.map_or_else(String::new, |or| format!(", or `{or}`"));
            writeln!(table, "| `{name}`{or} | {default} | {meaning} |").unwrap();
        }
        let section = "What a service reads from the environment";
        assert_guide_has_table(section, "| Variable |", &table);
    }

    fn logged(variables: &[(OsString, OsString)]) -> Vec<String> {
        let warn = || log_ineffective(variables.iter().map(|(name, _)| name));
        logged_by(warn).lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn variables_without_effect_are_logged_by_name_without_values() {
        let plain = |name: &str| (OsString::from(name), OsString::from("hunter2"));
        let garbled = || OsString::from_vec(b"hunter2\xff".to_vec());
        let quiet = ["PATH", "SQL_PASSWORD", "DSQL_WRITE_FORM", "DSQL_EMULATOR_PORT", "REGION"];
        assert_eq!(logged(&quiet.map(plain)), Vec::<String>::new());
        let quiet = NOT_OFFERED.map(|(name, _)| plain(name));
        assert_eq!(logged(&quiet), Vec::<String>::new(), "those are read, and may be an error");
        for (variable, level) in [
            (plain("DSQL_MAX_CONECTIONS"), "WARN"),
            (plain("DSQL_"), "WARN"),
            ((OsString::from_vec(b"DSQL_\xff".to_vec()), "hunter2".into()), "WARN"),
            (("DSQL_MAX_CONECTIONS".into(), garbled()), "WARN"),
            (plain("DSQL_RESERVOIR_ENABLED"), "INFO"),
        ] {
            let lines = logged(std::slice::from_ref(&variable));
            assert_eq!(lines.len(), 1, "{variable:?}: {lines:?}");
            assert!(lines[0].starts_with(level), "{lines:?}");
            assert!(lines[0].contains(&*variable.0.to_string_lossy()), "{lines:?}");
            assert!(!lines[0].contains("hunter2"), "{lines:?}");
        }
    }
}

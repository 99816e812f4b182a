//! Reading a [`Config`] from environment variables.

use std::{env::VarError, str::FromStr, time::Duration};

use temporal_dsql_domain::Engine;

use super::{Config, ConfigError, ShardFence, StatementForm, TlsMode, region_of_host};

/// Switches of the Go fork that turn on what this store does not have (contract §6.3).
const NOT_OFFERED: [(&str, &str); 2] = [
    ("DSQL_DISTRIBUTED_RATE_LIMITER_ENABLED", "the shared (DynamoDB) connection rate limiter"),
    ("DSQL_DISTRIBUTED_CONN_LEASE_ENABLED", "the shared (DynamoDB) connection lease"),
];

/// Finds the value of a variable, or says why it cannot be read.
type Lookup<'a> = &'a dyn Fn(&str) -> Result<Option<String>, String>;

struct Reader<'a>(Lookup<'a>);

impl Reader<'_> {
    /// The first of `names` that is set to something, with its name.
    fn text(&self, names: &[&'static str]) -> Result<Option<(&'static str, String)>, ConfigError> {
        for &name in names {
            let value =
                self.0(name).map_err(|reason| ConfigError::InvalidVariable { name, reason })?;
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                return Ok(Some((name, value)));
            }
        }
        Ok(None)
    }

    /// Reads one variable into `field` if it is set.
    fn set<T>(
        &self,
        names: &[&'static str],
        field: &mut T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<(), ConfigError> {
        if let Some((name, value)) = self.text(names)? {
            *field =
                parse(&value).map_err(|reason| ConfigError::InvalidVariable { name, reason })?;
        }
        Ok(())
    }
}

/// A variable of this process.
pub(super) fn of_process(name: &str) -> Result<Option<String>, String> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err("is not UTF-8".into()),
    }
}

pub(super) fn read(lookup: Lookup<'_>) -> Result<Config, ConfigError> {
    let env = Reader(lookup);
    for (name, what) in NOT_OFFERED {
        let mut on = false;
        env.set(&[name], &mut on, boolean)?;
        if on {
            let reason =
                format!("{what} is not offered; unset it and set DSQL_CONNECTION_RATE_LIMIT");
            return Err(ConfigError::InvalidVariable { name, reason });
        }
    }
    let (_, host) = env.text(&["CLUSTER_ENDPOINT", "SQL_HOST"])?.ok_or(ConfigError::MissingHost)?;
    let mut config = Config::new(host);
    let owned = |text: &str| Ok(text.to_owned());
    env.set(&["SQL_PORT"], &mut config.port, number)?;
    env.set(&["SQL_USER"], &mut config.user, owned)?;
    env.set(&["SQL_DATABASE"], &mut config.database, owned)?;
    env.set(&["SQL_PASSWORD"], &mut config.password, |text| Ok(Some(text.into())))?;
    env.set(&["DSQL_ENGINE"], &mut config.engine, engine)?;
    // AWS_REGION says where this process is; a cluster's name says where the cluster is.
    let region: &[_] = if region_of_host(&config.host).is_some() {
        &["REGION"]
    } else {
        &["REGION", "AWS_REGION"]
    };
    env.set(region, &mut config.region, |text| Ok(Some(text.to_owned())))?;
    env.set(&["SQL_TLS_MODE"], &mut config.tls.mode, |text| tls_mode(text).map(Some))?;
    env.set(&["SQL_TLS_CA_FILE"], &mut config.tls.ca_file, |text| Ok(Some(text.into())))?;
    env.set(&["DSQL_TOKEN_DURATION"], &mut config.token_lifetime, token_lifetime)?;
    env.set(&["DSQL_TURN_PATIENCE"], &mut config.turn_patience, duration)?;
    env.set(&["DSQL_WRITE_FORM"], &mut config.write_form, statement_form)?;
    env.set(&["DSQL_LOCK_FORM"], &mut config.lock_form, statement_form)?;
    env.set(&["DSQL_SHARD_FENCE"], &mut config.shard_fence, shard_fence)?;
    let pool = &mut config.pool;
    env.set(&["DSQL_MAX_CONNECTIONS"], &mut pool.max_connections, number)?;
    pool.min_connections = pool.min_connections.min(pool.max_connections);
    env.set(&["DSQL_RESERVOIR_TARGET_READY"], &mut pool.min_connections, number)?;
    env.set(&["DSQL_RESERVOIR_BASE_LIFETIME"], &mut pool.lifetime, duration)?;
    env.set(&["DSQL_RESERVOIR_LIFETIME_JITTER"], &mut pool.lifetime_jitter, duration)?;
    env.set(&["DSQL_RESERVOIR_GUARD_WINDOW"], &mut pool.guard_window, duration)?;
    env.set(&["DSQL_CONNECTION_RATE_LIMIT"], &mut pool.connection_rate, number)?;
    env.set(&["DSQL_CONNECTION_BURST_LIMIT"], &mut pool.connection_burst, number)?;
    Ok(config)
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number in range"))
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err(format!("`{text}` is not true or false")),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("`{text}` is not a duration such as 11m or 45s: {error}"))
}

/// The range that the service accepts is up to a week (facts §5); the Go fork keeps to 15 s–15 min.
fn token_lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = duration(text)?;
    let (least, most) = (Duration::from_secs(15), Duration::from_secs(604_800));
    if (least..=most).contains(&lifetime) {
        Ok(lifetime)
    } else {
        Err(format!("`{text}` is not between 15 seconds and one week"))
    }
}

fn engine(text: &str) -> Result<Option<Engine>, String> {
    match text {
        "auto" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| format!("`{text}` is not auto, dsql or postgres")),
    }
}

fn tls_mode(text: &str) -> Result<TlsMode, String> {
    match text {
        "disable" => Ok(TlsMode::Disable),
        "prefer" => Ok(TlsMode::Prefer),
        "require" => Ok(TlsMode::Require),
        "verify-full" => Ok(TlsMode::VerifyFull),
        _ => Err(format!("`{text}` is not disable, prefer, require or verify-full")),
    }
}

fn statement_form(text: &str) -> Result<StatementForm, String> {
    match text {
        "auto" => Ok(StatementForm::Auto),
        "separate" => Ok(StatementForm::Separate),
        "combined" => Ok(StatementForm::Combined),
        _ => Err(format!("`{text}` is not auto, separate or combined")),
    }
}

fn shard_fence(text: &str) -> Result<ShardFence, String> {
    match text {
        "for-update" => Ok(ShardFence::ForUpdate),
        "key-share-if-indexed" => Ok(ShardFence::KeyShareIfIndexed),
        _ => Err(format!("`{text}` is not for-update or key-share-if-indexed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_lookup(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_go_tools_and_the_go_forks_variables_are_read() {
        let config = config(&[
            ("CLUSTER_ENDPOINT", "cluster"),
            ("SQL_HOST", "ignored"),
            ("SQL_PORT", "6432"),
            ("SQL_USER", "temporal"),
            ("REGION", "eu-west-1"),
            ("AWS_REGION", "ignored"),
            ("DSQL_TOKEN_DURATION", "14m"),
            ("DSQL_RESERVOIR_BASE_LIFETIME", "12m"),
            ("DSQL_CONNECTION_RATE_LIMIT", "25"),
            ("SQL_TLS_CA_FILE", "ca.pem"),
            ("DSQL_WRITE_FORM", "separate"),
            ("DSQL_LOCK_FORM", "combined"),
            ("DSQL_SHARD_FENCE", "key-share-if-indexed"),
        ])
        .unwrap();
        assert_eq!((config.host.as_str(), config.port), ("cluster", 6432));
        assert_eq!(config.user, "temporal");
        assert_eq!(config.region.as_deref(), Some("eu-west-1"));
        assert_eq!(config.token_lifetime, Duration::from_secs(840));
        assert_eq!(config.pool.lifetime, Duration::from_secs(720));
        assert_eq!(config.pool.connection_rate, 25);
        assert_eq!(config.tls.ca_file, Some("ca.pem".into()));
        assert_eq!(config.write_form, StatementForm::Separate);
        assert_eq!(config.lock_form, StatementForm::Combined);
        assert_eq!(config.shard_fence, ShardFence::KeyShareIfIndexed);
    }

    #[test]
    fn the_region_in_a_clusters_name_is_overruled_on_purpose_only() {
        let host = ("CLUSTER_ENDPOINT", "abcdefghijklmnopqrstuvwxyz.dsql.eu-central-1.on.aws");
        let ambient = ("AWS_REGION", "us-east-1");
        let region = |variables: &[_]| config(variables).unwrap().region;
        assert_eq!(region(&[host, ambient]), None);
        assert_eq!(region(&[host, ambient, ("REGION", "eu-west-1")]).as_deref(), Some("eu-west-1"));
        assert_eq!(region(&[("SQL_HOST", "alias"), ambient]).as_deref(), Some("us-east-1"));
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let config = config(&[("CLUSTER_ENDPOINT", ""), ("SQL_HOST", "h"), ("SQL_PORT", "")]);
        let config = config.unwrap();
        assert_eq!((config.host.as_str(), config.port), ("h", 5432));
        assert_eq!(super::read(&|_| Ok(None)).unwrap_err(), ConfigError::MissingHost);
    }

    #[test]
    fn a_value_that_cannot_be_read_is_an_error_by_the_name_of_its_variable() {
        for (name, value, reason) in [
            ("SQL_PORT", "99999", "not a number in range"),
            ("DSQL_TOKEN_DURATION", "1s", "between 15 seconds"),
            ("DSQL_TOKEN_DURATION", "soon", "not a duration"),
            ("DSQL_ENGINE", "mysql", "not auto, dsql or postgres"),
            ("SQL_TLS_MODE", "yes", "verify-full"),
            ("DSQL_WRITE_FORM", "one", "not auto, separate or combined"),
            ("DSQL_LOCK_FORM", "on", "not auto, separate or combined"),
            ("DSQL_SHARD_FENCE", "share", "not for-update or key-share-if-indexed"),
            ("DSQL_CONNECTION_RATE_LIMIT", "-1", "not a number in range"),
            ("DSQL_DISTRIBUTED_CONN_LEASE_ENABLED", "maybe", "not true or false"),
        ] {
            let error = config(&[("SQL_HOST", "h"), (name, value)]).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(name) && text.contains(reason), "{text}");
        }
    }

    #[test]
    fn a_variable_that_is_not_utf_8_is_not_taken_for_unset() {
        let garbled = |name: &str| match name {
            "SQL_HOST" => Ok(Some("h".into())),
            "SQL_PASSWORD" => Err("is not UTF-8".into()),
            _ => Ok(None),
        };
        let error = super::read(&garbled).unwrap_err().to_string();
        assert!(error.contains("SQL_PASSWORD") && error.contains("UTF-8"), "{error}");
    }

    #[test]
    fn a_switch_for_what_is_not_offered_is_an_error_only_when_it_is_on() {
        let name = "DSQL_DISTRIBUTED_RATE_LIMITER_ENABLED";
        assert!(config(&[("SQL_HOST", "h"), (name, "false")]).is_ok());
        let error = config(&[("SQL_HOST", "h"), (name, "true")]).unwrap_err();
        assert!(error.to_string().contains("not offered"), "{error}");
    }
}

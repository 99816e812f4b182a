//! Reading a [`Config`] from environment variables.

use std::{env::VarError, num::NonZeroU16, str::FromStr, time::Duration};

use temporal_dsql_domain::Engine;

use super::{
    Config, Overrides, TlsMode,
    endpoint::{checked_host, region_of_host},
    error::ConfigError,
    variables::{
        BASE_LIFETIME, CONNECTION_BURST, CONNECTION_RATE, DATABASE, ENGINE, GUARD_WINDOW, HOST,
        LIFETIME_JITTER, MAX_CONNECTIONS, NOT_OFFERED, PASSWORD, PORT, REFUSED, REGION,
        TARGET_READY, TLS, TLS_CA_FILE, TLS_DISABLE_HOST_VERIFICATION, TLS_MODE, TOKEN_DURATION,
        USER, VARIABLES, Variable, WRITE_FORM, log_ineffective,
    },
    write_form::WriteForm,
};

impl Config {
    /// Reads the configuration from the environment variables of [`VARIABLES`](super::VARIABLES).
    ///
    /// Durations are written as `11m` or `45s`. Spaces around a value are ignored, except in a
    /// password. A value that is not UTF-8 or cannot be parsed is an error. The shared
    /// (DynamoDB) limiter and leases of the Go fork do not exist here; a variable that turns one on
    /// is an error, because the load on the cluster would be higher than configured. The other
    /// variables of temporal-persistence.md#environment-variables are ignored. An unknown variable
    /// with the prefix `DSQL_` is logged as a warning.
    ///
    /// # Errors
    /// A variable is missing, cannot be read, or turns on what is not offered.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_env_with(Overrides::default())
    }

    /// Reads the configuration as [`from_env`](Self::from_env) does, with `overrides` in the place
    /// of their variables.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn from_env_with(overrides: Overrides) -> Result<Self, ConfigError> {
        log_ineffective(std::env::vars_os().map(|(name, _)| name));
        // Those too that an override or another variable takes the place of.
        for name in VARIABLES.iter().flat_map(|known| [Some(known.name), known.or]).flatten() {
            of_process(name).map_err(|reason| ConfigError::InvalidVariable { name, reason })?;
        }
        read(&of_process, overrides)
    }
}

/// Returns the value of a variable, or why it cannot be read.
type Lookup<'a> = &'a dyn Fn(&str) -> Result<Option<String>, String>;

struct Reader<'a>(Lookup<'a>);

impl Reader<'_> {
    /// The value of the variable, without spaces around it, and the name that it is set under; `None`
    /// if it is unset or empty.
    fn text(&self, variable: Variable) -> Result<Option<(&'static str, String)>, ConfigError> {
        for name in [Some(variable.name), variable.or].into_iter().flatten() {
            let value =
                self.0(name).map_err(|reason| ConfigError::InvalidVariable { name, reason })?;
            let value = value.map(|value| match name == PASSWORD.name {
                true => value,
                false => value.trim().to_owned(),
            });
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                return Ok(Some((name, value)));
            }
        }
        Ok(None)
    }

    /// Reads one variable into `field` if it is set.
    fn set<T>(
        &self,
        variable: Variable,
        field: &mut T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<(), ConfigError> {
        if let Some((name, value)) = self.text(variable)? {
            *field =
                parse(&value).map_err(|reason| ConfigError::InvalidVariable { name, reason })?;
        }
        Ok(())
    }

    /// Sets `field` to `given`, or else reads the variable into it if it is set.
    fn set_or<T>(
        &self,
        given: Option<T>,
        variable: Variable,
        field: &mut T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<(), ConfigError> {
        match given {
            Some(value) => {
                *field = value;
                Ok(())
            }
            None => self.set(variable, field, parse),
        }
    }
}

/// A variable of this process.
fn of_process(name: &str) -> Result<Option<String>, String> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err("is not UTF-8".into()),
    }
}

fn read(lookup: Lookup<'_>, overrides: Overrides) -> Result<Config, ConfigError> {
    let env = Reader(lookup);
    for (name, what) in NOT_OFFERED {
        let mut on = false;
        let variable = Variable { name, or: None, default: "", meaning: "" };
        env.set(variable, &mut on, boolean)?;
        if on {
            let reason =
                format!("{what} is not offered; unset it and set DSQL_CONNECTION_RATE_LIMIT");
            return Err(ConfigError::InvalidVariable { name, reason });
        }
    }
    let given = |text: Option<String>| {
        text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let host = match given(overrides.host) {
        Some(host) => host,
        None => env.text(HOST)?.ok_or(ConfigError::MissingHost)?.1,
    };
    let host = checked_host(&host)?;
    for (name, reason) in REFUSED {
        let variable = Variable { name, or: None, default: "", meaning: "" };
        let value = env.text(variable)?.map(|(_, value)| value);
        // The name that the certificate is verified for.
        let is_host = name == "SQL_TLS_SERVER_NAME" && value.as_deref() == Some(&host);
        if value.is_some() && !is_host {
            return Err(ConfigError::InvalidVariable { name, reason: reason.to_owned() });
        }
    }
    let mut config = Config::new(host);
    let owned = |text: &str| Ok(text.to_owned());
    env.set_or(overrides.port, PORT, &mut config.port, port)?;
    env.set_or(given(overrides.user), USER, &mut config.user, owned)?;
    env.set_or(given(overrides.database), DATABASE, &mut config.database, owned)?;
    env.set(PASSWORD, &mut config.password, |text| Ok(Some(text.into())))?;
    env.set_or(overrides.engine, ENGINE, &mut config.engine, engine)?;
    // AWS_REGION is the region of this process, which need not be that of the cluster.
    let region = match region_of_host(&config.host) {
        Some(_) => Variable { or: None, ..REGION },
        None => REGION,
    };
    let given_region = given(overrides.region).map(Some);
    env.set_or(given_region, region, &mut config.region, |text| Ok(Some(text.to_owned())))?;
    let tls = &mut config.tls;
    let mode = |text: &str| tls_mode(text).map(Some);
    env.set_or(overrides.tls_mode.map(Some), TLS_MODE, &mut tls.mode, mode)?;
    let (mut demanded, mut unverified) = (false, false);
    env.set_or(overrides.tls, TLS, &mut demanded, boolean)?;
    let given_unverified = overrides.tls_disable_host_verification;
    env.set_or(given_unverified, TLS_DISABLE_HOST_VERIFICATION, &mut unverified, boolean)?;
    tls.mode = demanded_mode(tls.mode, demanded, unverified)?;
    let ca_file = overrides.tls_ca_file.filter(|file| !file.as_os_str().is_empty());
    let file = |text: &str| Ok(Some(text.into()));
    env.set_or(ca_file.map(Some), TLS_CA_FILE, &mut tls.ca_file, file)?;
    env.set(TOKEN_DURATION, &mut config.token_lifetime, token_lifetime)?;
    env.set(WRITE_FORM, &mut config.write_form, write_form)?;
    let pool = &mut config.pool;
    env.set(MAX_CONNECTIONS, &mut pool.max_connections, number)?;
    pool.min_connections = pool.min_connections.min(pool.max_connections);
    env.set(TARGET_READY, &mut pool.min_connections, number)?;
    env.set(BASE_LIFETIME, &mut pool.lifetime, duration)?;
    env.set(LIFETIME_JITTER, &mut pool.lifetime_jitter, duration)?;
    env.set(GUARD_WINDOW, &mut pool.guard_window, duration)?;
    env.set(CONNECTION_RATE, &mut pool.connection_rate, number)?;
    env.set(CONNECTION_BURST, &mut pool.connection_burst, number)?;
    Ok(config)
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number in range"))
}

fn port(text: &str) -> Result<u16, String> {
    number::<NonZeroU16>(text).map(NonZeroU16::get)
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

/// The service accepts up to a week (aurora-dsql.md#tokens); the Go fork allows 15 s to 15 min.
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

/// The TLS mode that `SQL_TLS` and `SQL_TLS_DISABLE_HOST_VERIFICATION` make of `mode`.
fn demanded_mode(
    mode: Option<TlsMode>,
    demanded: bool,
    unverified: bool,
) -> Result<Option<TlsMode>, ConfigError> {
    match (mode, demanded, unverified) {
        (Some(TlsMode::Disable | TlsMode::Prefer), true, _) => {
            Err(ConfigError::ContradictingTls("SQL_TLS demands TLS, but the TLS mode does not"))
        }
        (Some(TlsMode::VerifyFull), _, true) => Err(ConfigError::ContradictingTls(
            "SQL_TLS_DISABLE_HOST_VERIFICATION is true, but the TLS mode is verify-full",
        )),
        (Some(mode), ..) => Ok(Some(mode)),
        (None, true, true) => Ok(Some(TlsMode::Require)),
        (None, true, false) => Ok(Some(TlsMode::VerifyFull)),
        (None, false, true) => Ok(Some(TlsMode::Prefer)),
        (None, false, false) => Ok(None),
    }
}

fn write_form(text: &str) -> Result<WriteForm, String> {
    match text.to_ascii_lowercase().as_str() {
        "auto" => Ok(WriteForm::Auto),
        "one-statement" => Ok(WriteForm::OneStatement),
        "statement-per-table" => Ok(WriteForm::StatementPerTable),
        _ => Err(format!("`{text}` is not auto, one-statement or statement-per-table")),
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeSet};

    use secrecy::ExposeSecret;

    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        overridden(variables, Overrides::default())
    }

    fn overridden(variables: &[(&str, &str)], overrides: Overrides) -> Result<Config, ConfigError> {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            Ok(found.map(|(_, value)| (*value).to_owned()))
        };
        read(&lookup, overrides)
    }

    #[test]
    fn every_variable_of_the_table_is_read_and_no_other() {
        let asked = RefCell::new(BTreeSet::new());
        let lookup = |name: &str| {
            asked.borrow_mut().insert(name.to_owned());
            // The first name is not set where there is a second one.
            Ok((name == "SQL_HOST").then(|| "h".to_owned()))
        };
        read(&lookup, Overrides::default()).unwrap();
        let table = VARIABLES.iter().flat_map(|variable| [Some(variable.name), variable.or]);
        let off = NOT_OFFERED.iter().chain(&REFUSED).map(|(name, _)| *name);
        let expected = table.flatten().chain(off).map(str::to_owned).collect();
        assert_eq!(asked.into_inner(), expected);
    }

    #[test]
    fn a_variable_that_is_set_to_its_default_changes_nothing() {
        let unset = format!("{:?}", config(&[("SQL_HOST", "h")]).unwrap());
        let mut values = 0;
        for Variable { name, default, .. } in VARIABLES {
            let Some(value) = default.strip_prefix('`').and_then(|text| text.strip_suffix('`'))
            else {
                continue;
            };
            let set = config(&[("SQL_HOST", "h"), (name, value)]).unwrap();
            assert_eq!(format!("{set:?}"), unset, "{name}={value}");
            values += 1;
        }
        assert_eq!(values, 14);
    }

    #[test]
    fn the_largest_values_are_an_error_or_work_and_never_a_panic() {
        for (name, value) in [
            ("DSQL_RESERVOIR_BASE_LIFETIME", "18446744073709551615s"),
            ("DSQL_RESERVOIR_LIFETIME_JITTER", "18446744073709551615s"),
            ("DSQL_RESERVOIR_GUARD_WINDOW", "18446744073709551615s"),
            ("DSQL_MAX_CONNECTIONS", "4294967295"),
        ] {
            let error = config(&[("SQL_HOST", "h"), (name, value)]).unwrap().resolve().unwrap_err();
            assert!(matches!(error, ConfigError::InvalidPool { .. }), "{name}: {error}");
        }
        for (name, value) in [
            ("DSQL_MAX_CONNECTIONS", "10000"),
            ("DSQL_CONNECTION_RATE_LIMIT", "4294967295"),
            ("DSQL_CONNECTION_BURST_LIMIT", "4294967295"),
        ] {
            config(&[("SQL_HOST", "h"), (name, value)]).unwrap().resolve().unwrap();
        }
    }

    #[test]
    fn an_endpoint_that_is_more_than_a_host_name_is_refused_before_it_is_looked_up() {
        let host = "abcdefghijklmnopqrstuvwxyz.dsql.eu-central-1.on.aws";
        for (endpoint, what) in [
            (format!("https://{host}"), "is a URL"),
            (format!("{host}:5432"), "has a port"),
            (format!("{host}/postgres"), "has a path"),
            (format!("postgres://admin:hunter2@{host}/postgres"), "is a URL"),
            (format!("admin:hunter2@{host}"), "has a port"),
            (format!("hunter2@{host}"), "is more than a host name"),
            (format!("{host}?password=hunter2"), "is more than a host name"),
            (format!("postgres://{host}/postgres?password=hunter2"), "is a URL"),
        ] {
            let text = config(&[("CLUSTER_ENDPOINT", &endpoint)]).unwrap_err().to_string();
            assert!(!text.contains("hunter2"), "{text}");
            assert!(text.contains(what) && text.contains("give the host name alone"), "{text}");
            assert_eq!(Config::new(endpoint).resolve().unwrap_err().to_string(), text);
        }
        for host in [host, "::1", "fe80::1%eth0", "127.0.0.1", "/var/run/postgresql"] {
            let config = config(&[("CLUSTER_ENDPOINT", host)]).unwrap();
            config.resolve().unwrap();
            assert_eq!(config.host, host);
        }
        assert_eq!(config(&[("CLUSTER_ENDPOINT", "[2001:db8::1]")]).unwrap().host, "2001:db8::1");
        let text = config(&[("CLUSTER_ENDPOINT", "[::1]:5432")]).unwrap_err().to_string();
        assert!(text.contains("has a port"), "{text}");
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
            ("DSQL_WRITE_FORM", "statement-per-table"),
        ])
        .unwrap();
        assert_eq!((config.host.as_str(), config.port), ("cluster", 6432));
        assert_eq!(config.user, "temporal");
        assert_eq!(config.region.as_deref(), Some("eu-west-1"));
        assert_eq!(config.token_lifetime, Duration::from_secs(840));
        assert_eq!(config.pool.lifetime, Duration::from_secs(720));
        assert_eq!(config.pool.connection_rate, 25);
        assert_eq!(config.tls.ca_file, Some("ca.pem".into()));
        assert_eq!(config.write_form, WriteForm::StatementPerTable);
    }

    #[test]
    fn an_override_takes_the_place_of_its_variable_which_is_not_read() {
        let variables = [
            ("CLUSTER_ENDPOINT", "https://wrong"),
            ("SQL_PORT", "wrong"),
            ("SQL_USER", "ignored"),
            ("SQL_DATABASE", "kept"),
            ("DSQL_ENGINE", "wrong"),
            ("REGION", "ignored"),
            ("SQL_TLS_MODE", "wrong"),
            ("SQL_TLS", "wrong"),
            ("SQL_TLS_DISABLE_HOST_VERIFICATION", "wrong"),
            ("SQL_TLS_CA_FILE", "ignored.pem"),
        ];
        let overrides = Overrides {
            host: Some("h".into()),
            port: Some(6432),
            user: Some("temporal".into()),
            database: Some(String::new()),
            engine: Some(None),
            region: Some("eu-west-1".into()),
            tls_mode: Some(TlsMode::Require),
            tls: Some(true),
            tls_disable_host_verification: Some(true),
            tls_ca_file: Some("ca.pem".into()),
        };
        let config = overridden(&variables, overrides).unwrap();
        assert_eq!((&*config.host, config.port, &*config.user), ("h", 6432, "temporal"));
        assert_eq!((&*config.database, config.engine), ("kept", None));
        assert_eq!(config.region.as_deref(), Some("eu-west-1"));
        assert_eq!(config.tls.mode, Some(TlsMode::Require));
        assert_eq!(config.tls.ca_file, Some("ca.pem".into()));
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
        assert_eq!(
            read(&|_| Ok(None), Overrides::default()).unwrap_err(),
            ConfigError::MissingHost
        );
    }

    #[test]
    fn a_value_that_cannot_be_read_is_an_error_by_the_name_of_its_variable() {
        for (name, value, reason) in [
            ("SQL_PORT", "99999", "not a number in range"),
            ("SQL_PORT", "0", "not a number in range"),
            ("DSQL_TOKEN_DURATION", "1s", "between 15 seconds"),
            ("DSQL_TOKEN_DURATION", "soon", "not a duration"),
            ("DSQL_ENGINE", "mysql", "not auto, dsql or postgres"),
            ("SQL_TLS_MODE", "yes", "verify-full"),
            ("DSQL_WRITE_FORM", "one", "not auto, one-statement or statement-per-table"),
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
        let error = read(&garbled, Overrides::default()).unwrap_err().to_string();
        assert!(error.contains("SQL_PASSWORD") && error.contains("UTF-8"), "{error}");
    }

    #[test]
    fn spaces_around_a_value_are_ignored_except_in_a_password() {
        let spaced = [
            ("CLUSTER_ENDPOINT", " h\n"),
            ("SQL_USER", "\ttemporal "),
            ("SQL_PORT", " 6432 "),
            ("REGION", "  "),
            ("AWS_REGION", "eu-west-1\n"),
            ("SQL_PASSWORD", " hunter2 "),
        ];
        let config = overridden(&spaced, Overrides::default()).unwrap();
        assert_eq!((config.host.as_str(), config.port), ("h", 6432));
        assert_eq!(config.user, "temporal");
        assert_eq!(config.region.as_deref(), Some("eu-west-1"));
        assert_eq!(config.password.unwrap().expose_secret(), " hunter2 ");
        let overrides = Overrides { region: Some(" ".into()), ..Overrides::default() };
        assert_eq!(overridden(&spaced, overrides).unwrap().region.as_deref(), Some("eu-west-1"));
    }

    #[test]
    fn the_go_tools_tls_variables_are_honoured_or_refused() {
        let mode = |variables: &[(&str, &str)]| {
            let host = [("SQL_HOST", "h")];
            config(&[&host[..], variables].concat()).map(|config| config.tls.mode)
        };
        let unverified = ("SQL_TLS_DISABLE_HOST_VERIFICATION", "1");
        for (variables, expected) in [
            (&[("SQL_TLS", "true")][..], Some(TlsMode::VerifyFull)),
            (&[("SQL_TLS", "T"), unverified], Some(TlsMode::Require)),
            (&[("SQL_TLS", "true"), ("SQL_TLS_MODE", "require")], Some(TlsMode::Require)),
            (&[("SQL_TLS", "false")], None),
            (&[unverified], Some(TlsMode::Prefer)),
            (&[("SQL_TLS_SERVER_NAME", "h"), ("SQL_TLS_CERT_FILE", "")], None),
        ] {
            assert_eq!(mode(variables), Ok(expected), "{variables:?}");
        }
        for variables in [
            &[("SQL_TLS", "yes")][..],
            &[("SQL_TLS", "true"), ("SQL_TLS_MODE", "prefer")],
            &[unverified, ("SQL_TLS_MODE", "verify-full")],
            &[("SQL_TLS_CERT_FILE", "c")],
            &[("SQL_TLS_KEY_FILE", "k")],
            &[("SQL_TLS_SERVER_NAME", "other")],
            &[("SQL_CONNECT_ATTRIBUTES", "a=b")],
        ] {
            let error = mode(variables).unwrap_err().to_string();
            assert!(error.contains(variables[0].0), "{error}");
        }
    }

    #[test]
    fn on_dsql_a_certificate_that_is_not_verified_is_refused_by_the_name_of_the_variable() {
        let cluster = [("CLUSTER_ENDPOINT", "abcdefghijklmnopqrstuvwxyz.dsql.eu-central-1.on.aws")];
        let alias = [("SQL_HOST", "h"), ("REGION", "eu-west-1")];
        let name = "SQL_TLS_DISABLE_HOST_VERIFICATION";
        for engine in [&cluster[..], &alias] {
            for variables in [
                &[(name, "true")][..],
                &[(name, "true"), ("SQL_TLS", "true")],
                &[(name, "true"), ("SQL_TLS_MODE", "require")],
            ] {
                let config = config(&[engine, variables].concat()).unwrap();
                let error = config.resolve().unwrap_err().to_string();
                assert!(error.contains(name), "{variables:?}: {error}");
            }
        }
    }

    #[test]
    fn a_switch_for_what_is_not_offered_is_an_error_only_when_it_is_on() {
        let name = "DSQL_DISTRIBUTED_RATE_LIMITER_ENABLED";
        assert!(config(&[("SQL_HOST", "h"), (name, "false")]).is_ok());
        let error = config(&[("SQL_HOST", "h"), (name, "true")]).unwrap_err();
        assert!(error.to_string().contains("not offered"), "{error}");
    }
}

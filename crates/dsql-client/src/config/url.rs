//! Reading a [`Config`] from a connection URL.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::{Config, ConfigError, TlsMode, endpoint};

/// What is percent-encoded in a user and in a database.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Config {
    /// Reads the configuration from a URL of libpq,
    /// `postgres://user:password@host:port/database?sslmode=verify-full`. All parts but the host are
    /// optional, and have the defaults of [`new`](Self::new). The parameters are `sslmode` and
    /// `sslrootcert`, the CA file. In a user, a password and a database, `/`, `?`, `#` and `@` are
    /// percent-encoded.
    ///
    /// ```
    /// use temporal_dsql_client::Config;
    ///
    /// let config = Config::from_url("postgres://postgres@127.0.0.1:5433/temporal")?;
    /// assert_eq!((config.port, &*config.user, &*config.database), (5433, "postgres", "temporal"));
    /// # Ok::<(), temporal_dsql_client::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// [`ConfigError::InvalidUrl`], which shows no part of the URL that may be a secret.
    pub fn from_url(url: &str) -> Result<Self, ConfigError> {
        check_parts(url)?;
        let url = Url::parse(url).map_err(|error| invalid(error.to_string()))?;
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = decoded(host.ok_or_else(|| invalid("has no host"))?, "host")?;
        let mut config = Self::new(endpoint::checked_host(&host)?);
        config.port = url.port().unwrap_or(config.port);
        if !url.username().is_empty() {
            config.user = decoded(url.username(), "user")?;
        }
        if let Some(password) = url.password() {
            config.password = Some(decoded(password, "password")?.into());
        }
        let database = decoded(url.path().trim_start_matches('/'), "database")?;
        if !database.is_empty() {
            config.database = database;
        }
        for (name, value) in url.query_pairs() {
            match &*name {
                "sslmode" => config.tls.mode = Some(tls_mode(&value)?),
                "sslrootcert" => config.tls.ca_file = Some(value.into_owned().into()),
                _ => {
                    let known = "sslmode and sslrootcert are known";
                    return Err(invalid(format!("has the parameter {name}; {known}")));
                }
            }
        }
        Ok(config)
    }

    /// The URL that messages name the database by, without the password and the parameters.
    pub fn shown_url(&self) -> String {
        let encoded = |part| utf8_percent_encode(part, ENCODED);
        let host = endpoint::bracketed(&self.host);
        let (user, database) = (encoded(&self.user), encoded(&self.database));
        format!("postgres://{user}@{host}:{}/{database}", self.port)
    }
}

/// Refuses a URL that would be split at a wrong place: part of a password would become the host, the
/// database or a parameter, which messages show.
fn check_parts(url: &str) -> Result<(), ConfigError> {
    let is_known = |scheme: &str| {
        ["postgres", "postgresql"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
    };
    let rest = match url.trim().split_once("://") {
        Some((scheme, rest)) if is_known(scheme) => rest,
        _ => return Err(invalid("does not begin with postgres://")),
    };
    let (credentials, address) = rest.rsplit_once('@').unwrap_or(("", rest));
    if credentials.contains(['/', '?', '#']) {
        return Err(invalid(
            "has a `/`, `?` or `#` before its last `@`; in a user and a password, write %2F for `/`, \
             %3F for `?`, %23 for `#` and %40 for `@`",
        ));
    }
    if address.contains('#') {
        return Err(invalid("has a `#`, which begins a fragment; write %23 for it"));
    }
    let hosts = address.split(['/', '?']).next().unwrap_or_default();
    if hosts.contains(',') {
        return Err(invalid("has several hosts; one can be given"));
    }
    Ok(())
}

fn tls_mode(name: &str) -> Result<TlsMode, ConfigError> {
    Ok(match name {
        "disable" => TlsMode::Disable,
        "prefer" => TlsMode::Prefer,
        "require" => TlsMode::Require,
        "verify-full" => TlsMode::VerifyFull,
        _ => {
            let known = "disable, prefer, require and verify-full are known";
            return Err(invalid(format!("has the sslmode {name}; {known}")));
        }
    })
}

fn invalid(reason: impl Into<String>) -> ConfigError {
    ConfigError::InvalidUrl { reason: reason.into() }
}

/// A part of the URL without its percent-encoding.
fn decoded(part: &str, name: &str) -> Result<String, ConfigError> {
    let text = percent_decode_str(part).decode_utf8();
    Ok(text.map_err(|_| invalid(format!("has a {name} that is not UTF-8")))?.into_owned())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::Tls;

    #[test]
    fn every_part_of_a_url_is_read() {
        let config = Config::from_url(
            "postgresql://temporal%40app:pa%2Fss@db.example.com:6000/my%20db?sslmode=verify-full&\
             sslrootcert=%2Fetc%2Fca.pem",
        )
        .unwrap();
        assert_eq!((&*config.host, config.port), ("db.example.com", 6000));
        assert_eq!((&*config.user, &*config.database), ("temporal@app", "my db"));
        assert_eq!(config.password.unwrap().expose_secret(), "pa/ss");
        let ca_file = Some("/etc/ca.pem".into());
        assert_eq!(config.tls, Tls { mode: Some(TlsMode::VerifyFull), ca_file });
    }

    #[test]
    fn parts_that_are_missing_have_the_defaults() {
        let config = Config::from_url("postgres://[::1]").unwrap();
        let default = Config::new("::1");
        assert_eq!((&config.host, config.port), (&default.host, default.port));
        assert_eq!((&config.user, &config.database), (&default.user, &default.database));
        assert!(config.password.is_none() && config.tls == default.tls);
    }

    #[test]
    fn a_url_that_cannot_be_read_is_refused_without_its_password() {
        for (url, reason) in [
            ("mysql://u:hunter2@h/d", "does not begin with postgres://"),
            ("postgres:///d", "has no host"),
            ("postgres://u:hunter2@h/d?sslmode=maybe", "has the sslmode maybe"),
            ("postgres://u:hunter2@h/d?options=x", "has the parameter options"),
            ("postgres://u:hunter2%ff@h/d", "has a password that is not UTF-8"),
            ("postgres://u:hunter2@h:port/d", "invalid port number"),
            ("u:hunter2@h/d", "does not begin with postgres://"),
            ("postgres:u:hunter2@h/d", "does not begin with postgres://"),
            ("postgres://u:7/hunter2@h:5432/d", "write %2F for `/`"),
            ("postgres://u:7?hunter2@h/d", "%3F for `?`"),
            ("postgres://u:7#hunter2@h/d", "%23 for `#`"),
            ("postgres://u:7@1/hunter2@h/d", "%40 for `@`"),
            ("postgres://u:7?sslmode=hunter2@h/d", "%3F for `?`"),
            ("postgres://u@h/d#hunter2", "has a `#`"),
            ("postgres://u:hunter2@one:5432,two:5432/d", "has several hosts"),
            ("postgres://u:hunter2@one,two/d", "has several hosts"),
        ] {
            let error = Config::from_url(url).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("hunter2"), "{url}: {error}");
            assert!(error.ends_with("; give postgres://user@host:port/database"), "{error}");
        }
    }

    #[test]
    fn messages_show_a_url_that_can_be_read_again() {
        for url in [
            "postgres://u@db.example:5432/d",
            "postgres://u@[2001:db8::1]:5433/d",
            "postgres://temporal%40app@h:5432/my%20db_1",
        ] {
            let config = Config::from_url(&format!("{url}?sslmode=require")).unwrap();
            assert_eq!(config.shown_url(), url);
        }
        let config = Config::from_url("postgres://u:hunter2@h:1/d").unwrap();
        assert_eq!(config.shown_url(), "postgres://u@h:1/d");
    }
}

//! The address, database and credentials of a PostgreSQL server.

use std::{fmt, str::FromStr};

use url::Url;

/// A database of a server, and the credentials of a superuser.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: Option<String>,
    pub(crate) database: String,
}

impl Target {
    /// The same server with another database.
    pub(crate) fn with_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }

    /// For error messages.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Part of a password would become the host or the database, which messages show.
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let credentials = rest.rsplit_once('@').map_or("", |(credentials, _)| credentials);
        if credentials.contains(['/', '?', '#']) {
            return Err(
                "a `/`, `?` or `#` is before its last `@`; in a user and a password, write \
                        %2F, %3F and %23 for them, and %40 for `@`"
                    .to_owned(),
            );
        }
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(format!("its scheme is `{}`, not `postgres`", url.scheme()));
        }
        let decoded = |text: &str| -> String {
            url::form_urlencoded::parse(format!("v={}", text.replace('+', "%2B")).as_bytes())
                .map(|(_, value)| value.into_owned())
                .collect()
        };
        let or = |text: String, default: &str| {
            if text.is_empty() { default.to_owned() } else { text }
        };
        Ok(Self {
            host: or(url.host_str().unwrap_or_default().to_owned(), "localhost"),
            port: url.port().unwrap_or(5432),
            user: or(decoded(url.username()), "postgres"),
            password: url.password().map(decoded),
            database: or(decoded(url.path().trim_start_matches('/')), "postgres"),
        })
    }
}

impl fmt::Debug for Target {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_server_user_password_and_database() {
        let target: Target = "postgresql://me:a%20b+c@db:5433/app".parse().unwrap();
        assert_eq!(target.host, "db");
        assert_eq!(target.port, 5433);
        assert_eq!(target.user, "me");
        assert_eq!(target.password.as_deref(), Some("a b+c"));
        assert_eq!(target.database, "app");
        assert!(!format!("{target:?}").contains("a b"), "{target:?}");
    }

    #[test]
    fn what_a_url_leaves_out_has_postgresqls_defaults() {
        let target: Target = "postgres://localhost".parse().unwrap();
        assert_eq!(format!("{target:?}"), "postgres://postgres@localhost:5432/postgres");
    }

    #[test]
    fn a_url_with_another_scheme_is_refused() {
        assert!("mysql://localhost".parse::<Target>().unwrap_err().contains("mysql"));
        assert!("localhost".parse::<Target>().is_err());
    }

    #[test]
    fn a_password_that_is_not_encoded_is_refused_and_not_shown() {
        for url in ["postgres://u:7/s3cr3t@h", "postgres://u:7?s3cr3t@h", "postgres://u:7#s3cr3t@h"]
        {
            let error = url.parse::<Target>().unwrap_err();
            assert!(error.contains("%2F") && !error.contains("s3cr3t"), "{url}: {error}");
        }
    }
}

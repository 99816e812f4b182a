//! IAM tokens: the passwords of DSQL connections, signed locally without a network call.
//!
//! A token is a presigned URL for service `dsql` without its scheme (aurora-dsql.md#tokens). The
//! database checks it at connect only, so an open session outlives its token.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider},
};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign},
    sign::v4,
};
use secrecy::SecretString;
use tracing::{Dispatch, dispatcher};

use crate::{config::bracketed, error_chain::ErrorChain};

/// Makes the secret that a new connection authenticates with.
#[cfg_attr(test, mockall::automock)]
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// A token that is valid now.
    ///
    /// # Errors
    /// The credentials provider failed, or signing failed.
    async fn token(&self) -> Result<Token, TokenError>;
}

/// A secret and its expiry. `Debug` does not show the secret.
#[derive(Clone, Debug)]
pub struct Token {
    /// The secret.
    pub secret: SecretString,
    /// The time from which the database refuses it.
    pub expires: SystemTime,
}

/// Why no token could be made. Carries no secret.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The credentials provider failed.
    #[error("no AWS credentials: {0}")]
    Credentials(String),
    /// The credentials provider did not answer in this time.
    #[error("no AWS credentials: the provider did not answer within {0:?}")]
    NoAnswer(Duration),
    /// The signer failed.
    #[error("cannot sign a token for `{host}`: {reason}")]
    Signing {
        /// The host that the token was for.
        host: String,
        /// The error of the signer.
        reason: String,
    },
}

/// The action that a token permits: DSQL has two (aurora-dsql.md#tokens).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `DbConnectAdmin`, for the role `admin`.
    ConnectAdmin,
    /// `DbConnect`, for every other role.
    Connect,
}

impl Action {
    /// The action that `role` needs.
    pub fn of_role(role: &str) -> Self {
        if role == "admin" { Self::ConnectAdmin } else { Self::Connect }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::ConnectAdmin => "DbConnectAdmin",
            Self::Connect => "DbConnect",
        }
    }
}

/// Signs tokens with AWS credentials.
pub struct IamTokenSource {
    host: String,
    region: String,
    action: Action,
    lifetime: Duration,
    credentials: SharedCredentialsProvider,
}

impl fmt::Debug for IamTokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IamTokenSource")
            .field("host", &self.host)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

impl IamTokenSource {
    /// A source of tokens for `role` on `host`.
    pub fn new(
        host: impl Into<String>,
        region: impl Into<String>,
        role: &str,
        lifetime: Duration,
        credentials: SharedCredentialsProvider,
    ) -> Self {
        Self {
            host: host.into(),
            region: region.into(),
            action: Action::of_role(role),
            lifetime,
            credentials,
        }
    }

    /// A token that is valid from `now`. It expires no later than the credentials.
    fn sign(&self, credentials: Credentials, now: SystemTime) -> Result<Token, TokenError> {
        let left = credentials
            .expiry()
            .map_or(self.lifetime, |expiry| expiry.duration_since(now).unwrap_or_default());
        let lifetime = self.lifetime.min(left);
        let secret =
            presign(&self.host, &self.region, self.action, lifetime, credentials, now).map_err(
                |error| TokenError::Signing { host: self.host.clone(), reason: error.to_string() },
            )?;
        Ok(Token { secret: secret.into(), expires: now + lifetime })
    }
}

#[async_trait]
impl TokenSource for IamTokenSource {
    async fn token(&self) -> Result<Token, TokenError> {
        let credentials = self
            .credentials
            .provide_credentials()
            .await
            .map_err(|error| TokenError::Credentials(ErrorChain(&error).to_string()))?;
        self.sign(credentials, SystemTime::now())
    }
}

fn presign(
    host: &str,
    region: &str,
    action: Action,
    lifetime: Duration,
    credentials: Credentials,
    now: SystemTime,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    const SCHEME: &str = "https://";
    let url = format!("{SCHEME}{}/?Action={}", bracketed(host), action.name());
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(lifetime);
    let identity = credentials.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("dsql")
        .time(now)
        .settings(settings)
        .build()?
        .into();
    let signable = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[]))?;
    // The signer's events at TRACE have the whole request in them, with the session token.
    let signed = dispatcher::with_default(&Dispatch::none(), || sign(signable, &parameters))?;
    let (instructions, _signature) = signed.into_parts();
    let mut request = http::Request::get(&url).body(())?;
    instructions.apply_to_request_http1x(&mut request);
    let signed = request.uri().to_string();
    Ok(signed.strip_prefix(SCHEME).map_or(signed.clone(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::UNIX_EPOCH};

    use secrecy::ExposeSecret;

    use super::*;
    use crate::logged::logged_by;

    fn source(host: &str, role: &str, lifetime: u64) -> IamTokenSource {
        let unused = SharedCredentialsProvider::new(credentials("unused", "unused", None));
        let lifetime = Duration::from_secs(lifetime);
        IamTokenSource::new(host, "us-east-1", role, lifetime, unused)
    }

    fn credentials(key: &str, secret: &str, session: Option<&str>) -> Credentials {
        Credentials::new(key, secret, session.map(str::to_owned), None, "test")
    }

    fn parts(token: &Token) -> (String, BTreeMap<String, String>) {
        let (path, query) = token.secret.expose_secret().split_once('?').unwrap();
        let parameters = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        (path.to_owned(), parameters.collect())
    }

    /// The vectors that the AWS CLI and the AWS SDK for Java test their generators with.
    #[test]
    fn a_token_is_the_one_that_aws_publishes_for_the_same_input() {
        let now = UNIX_EPOCH + Duration::from_secs(1_731_001_173); // 2024-11-07T17:39:33Z
        for (role, action, signature) in [
            (
                "admin",
                "DbConnectAdmin",
                "a08adc4c84a490014ce374b90c98ba9ed015b77b451c0d9f9fb3f8ca8c6f9c36",
            ),
            (
                "temporal",
                "DbConnect",
                "e319d85380261f643d78a558f76257f05aacea758a6ccd42a2510e2ae0854a47",
            ),
        ] {
            let token = source("test.dsql.us-east-1.on.aws", role, 900)
                .sign(credentials("access_key", "secret_key", None), now)
                .unwrap();
            let (path, parameters) = parts(&token);
            assert_eq!(path, "test.dsql.us-east-1.on.aws/");
            let expected = [
                ("Action", action),
                ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
                ("X-Amz-Credential", "access_key%2F20241107%2Fus-east-1%2Fdsql%2Faws4_request"),
                ("X-Amz-Date", "20241107T173933Z"),
                ("X-Amz-Expires", "900"),
                ("X-Amz-Signature", signature),
                ("X-Amz-SignedHeaders", "host"),
            ];
            assert_eq!(parameters, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
            assert_eq!(token.expires, now + Duration::from_secs(900));
        }
    }

    /// The vector of the AWS C library, which has a session token in it.
    #[test]
    fn a_session_token_is_part_of_what_is_signed() {
        let now = UNIX_EPOCH + Duration::from_secs(1_724_716_800); // 2024-08-27T00:00:00Z
        let token = source("peccy.dsql.us-east-1.on.aws", "admin", 450)
            .sign(credentials("akid", "secret", Some("token")), now)
            .unwrap();
        let (_, parameters) = parts(&token);
        assert_eq!(parameters["X-Amz-Security-Token"], "token");
        assert_eq!(
            parameters["X-Amz-Signature"],
            "dd5373133b347f82a6e8a710e5fbd367f5e1d84824dc148b96d5f45089cb47f0"
        );
    }

    #[test]
    fn a_token_ends_with_the_credentials_that_signed_it() {
        let now = UNIX_EPOCH + Duration::from_secs(1_731_001_173);
        let ending = now + Duration::from_secs(100);
        let credentials = Credentials::new("akid", "secret", None, Some(ending), "test");
        let token = source("h", "admin", 900).sign(credentials, now).unwrap();
        assert_eq!(parts(&token).1["X-Amz-Expires"], "100");
        assert_eq!(token.expires, ending);
    }

    #[test]
    fn signing_logs_no_secret_at_any_level() {
        let now = UNIX_EPOCH + Duration::from_secs(1_731_001_173);
        let credentials = credentials("akid", "the-secret-key", Some("the-session-token"));
        let logged = logged_by(|| {
            tracing::trace!("something");
            let token = source("h", "admin", 900).sign(credentials, now).unwrap();
            assert!(token.secret.expose_secret().contains("the-session-token"));
            tracing::trace!("something else");
        });
        assert!(logged.contains("something else"), "the log is on again: {logged}");
        for secret in ["the-secret-key", "the-session-token", "X-Amz-Signature"] {
            assert!(!logged.contains(secret), "{logged}");
        }
    }

    #[test]
    fn debug_output_shows_no_token() {
        let now = UNIX_EPOCH + Duration::from_secs(1_731_001_173);
        let token =
            source("h", "admin", 900).sign(credentials("akid", "secret", None), now).unwrap();
        let shown = format!("{token:?}");
        assert!(!shown.contains("X-Amz-Signature"), "{shown}");
    }
}

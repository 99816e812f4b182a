//! IAM tokens: presigned URLs for service `dsql`, without their scheme (aurora-dsql.md#tokens).
//!
//! The emulator verifies a token as AWS does: it signs the same request with the expected
//! credentials and compares the signatures. The hints are AWS's own messages.

use std::time::{Duration, SystemTime};

use ring::{digest, hmac};
use time::{OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem};

use crate::Credentials;

/// The default lifetime of a token.
pub(crate) const DEFAULT_LIFETIME: Duration = Duration::from_secs(900);
/// The maximum lifetime of a token, in seconds.
const MAX_LIFETIME: u64 = 604_800;
/// The accepted difference between the clocks of client and cluster.
const CLOCK_SKEW: Duration = Duration::from_secs(300);
const SERVICE: &str = "dsql";
const DATE: &[BorrowedFormatItem<'_>] =
    time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");

/// The IAM action that a token permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    ConnectAdmin,
    Connect,
}

impl Action {
    /// The action that `user` needs.
    fn of(user: &str) -> Self {
        if user == "admin" { Self::ConnectAdmin } else { Self::Connect }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::ConnectAdmin => "DbConnectAdmin",
            Self::Connect => "DbConnect",
        }
    }
}

impl Credentials {
    /// A token for `user` on `host`, which is the password of its connections: a request for
    /// `DbConnect`, or for `DbConnectAdmin` if the user is `admin`, presigned for `lifetime` from
    /// now, in whole seconds.
    pub fn token(&self, host: &str, region: &str, user: &str, lifetime: Duration) -> String {
        sign(self, host, region, user, lifetime, SystemTime::now())
    }
}

/// Signs a token for `user` on `host`.
pub(crate) fn sign(
    credentials: &Credentials,
    host: &str,
    region: &str,
    user: &str,
    lifetime: Duration,
    now: SystemTime,
) -> String {
    let date = OffsetDateTime::from(now).format(DATE).expect("a date that can be written");
    let scope = format!("{}/{region}/{SERVICE}/aws4_request", &date[..8]);
    let encode = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    char::from(byte).to_string()
                }
                other => format!("%{other:02X}"),
            })
            .collect()
    };
    let credential = encode(&format!("{}/{scope}", credentials.access_key_id));
    let mut query = format!(
        "Action={}&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}\
         &X-Amz-Date={date}&X-Amz-Expires={}",
        Action::of(user).name(),
        lifetime.as_secs()
    );
    if let Some(session_token) = &credentials.session_token {
        query.push_str(&format!("&X-Amz-Security-Token={}", encode(session_token)));
    }
    query.push_str("&X-Amz-SignedHeaders=host");
    let pairs: Vec<&str> = query.split('&').collect();
    let signature = signature(&credentials.secret_access_key, &date, &scope, host, pairs);
    format!("{host}/?{query}&X-Amz-Signature={signature}")
}

/// The values that a token is verified against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) credentials: &'a Credentials,
    /// The server name that the client sent by SNI.
    pub(crate) host: &'a str,
    pub(crate) region: &'a str,
    pub(crate) user: &'a str,
    pub(crate) now: SystemTime,
}

/// Verifies a token.
///
/// # Errors
/// The hint for the client: why the token is refused.
pub(crate) fn verify(token: &str, expected: &Expected<'_>) -> Result<(), String> {
    let malformed = || "The token is not a presigned request for service dsql".to_owned();
    let (host, query) = token.split_once('?').ok_or_else(malformed)?;
    let host = host.trim_end_matches('/');
    let pairs: Vec<&str> = query.split('&').collect();
    let value = |name: &str| {
        let mut named = pairs.iter().filter_map(|pair| pair.split_once('='));
        named.find(|(key, _)| *key == name).map(|(_, text)| decoded(text))
    };
    let required = |name: &str| value(name).ok_or_else(malformed);

    if required("X-Amz-Algorithm")? != "AWS4-HMAC-SHA256"
        || required("X-Amz-SignedHeaders")? != "host"
    {
        return Err(malformed());
    }
    let bare = |host: &str| host.split(':').next().unwrap_or_default().to_ascii_lowercase();
    if bare(host) != bare(expected.host) {
        return Err(format!(
            "The token was made for host {host}, and the connection is to {}",
            expected.host
        ));
    }
    let credential = required("X-Amz-Credential")?;
    let date = required("X-Amz-Date")?;
    let Some((key, scope)) = credential.split_once('/') else { return Err(malformed()) };
    let [day, region, service, "aws4_request"] = scope.split('/').collect::<Vec<_>>()[..] else {
        return Err(malformed());
    };
    if service != SERVICE {
        return Err(format!("Credential should be scoped to correct service: '{SERVICE}'."));
    }
    if region != expected.region {
        return Err(format!(
            "Credential should be scoped to a valid region: '{}', not '{region}'.",
            expected.region
        ));
    }
    if key != expected.credentials.access_key_id
        || value("X-Amz-Security-Token") != expected.credentials.session_token
    {
        return Err("The security token included in the request is invalid.".into());
    }
    let unsigned = pairs.iter().copied().filter(|pair| !pair.starts_with("X-Amz-Signature="));
    let secret = &expected.credentials.secret_access_key;
    let calculated = signature(secret, &date, scope, host, unsigned.collect());
    if !date.starts_with(day) || required("X-Amz-Signature")? != calculated {
        return Err("The request signature we calculated does not match the signature you \
                    provided. Check your AWS Secret Access Key and signing method."
            .into());
    }
    check_time(&date, &required("X-Amz-Expires")?, expected.now)?;
    let action = value("Action").unwrap_or_default();
    if action != Action::of(expected.user).name() {
        return Err(format!(
            "Wrong user to action mapping. user: {}, action: {action}",
            expected.user
        ));
    }
    Ok(())
}

/// Decodes a percent-encoded part of a query.
fn decoded(text: &str) -> String {
    // Form decoding turns a plus into a space; in a token it is a plus.
    let pair = format!("v={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes()).map(|(_, value)| value.into_owned()).collect()
}

fn check_time(date: &str, lifetime: &str, now: SystemTime) -> Result<(), String> {
    let signed = PrimitiveDateTime::parse(date, DATE).map_err(|_| {
        format!("Date in the request must be in ISO-8601 'basic format'. Got '{date}'.")
    })?;
    let signed = signed.assume_utc();
    let lifetime: u64 = lifetime.parse().unwrap_or(0);
    if !(1..=MAX_LIFETIME).contains(&lifetime) {
        // The first half is asserted [S SUITES].
        return Err(format!(
            "X-Amz-Expires must be less than a week (in seconds), and more than 0; a week is \
             {MAX_LIFETIME}"
        ));
    }
    let now = OffsetDateTime::from(now);
    let written = |moment: OffsetDateTime| moment.format(DATE).unwrap_or_default();
    let expiry = signed + Duration::from_secs(lifetime);
    if now >= expiry {
        return Err(format!(
            "Signature expired: {date} is now earlier than {} ({} - {lifetime} s.)",
            written(now - Duration::from_secs(lifetime)),
            written(now)
        ));
    }
    if signed > now + CLOCK_SKEW {
        return Err(format!(
            "Signature not yet current: {date} is still later than {} ({} + 5 min.)",
            written(now + CLOCK_SKEW),
            written(now)
        ));
    }
    Ok(())
}

/// The signature of the presigned request `GET host/?pairs`.
fn signature(secret: &str, date: &str, scope: &str, host: &str, mut pairs: Vec<&str>) -> String {
    pairs.sort_unstable();
    let nothing = hex(digest::digest(&digest::SHA256, b"").as_ref());
    let request = format!("GET\n/\n{}\nhost:{host}\n\nhost\n{nothing}", pairs.join("&"));
    let request = hex(digest::digest(&digest::SHA256, request.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{request}");
    let key = scope
        .split('/')
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| hmac(&key, part.as_bytes()));
    hex(&hmac(&key, text.as_bytes()))
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const HOST: &str = "test.dsql.us-east-1.on.aws";
    const REGION: &str = "us-east-1";

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_731_001_173) // 2024-11-07T17:39:33Z
    }

    fn keys() -> Credentials {
        Credentials::new("access_key", "secret_key")
    }

    fn token_for(user: &str) -> String {
        sign(&keys(), HOST, REGION, user, DEFAULT_LIFETIME, now())
    }

    fn expected<'a>(credentials: &'a Credentials, user: &'a str) -> Expected<'a> {
        Expected { credentials, host: HOST, region: REGION, user, now: now() }
    }

    /// The test vectors of the AWS CLI and the AWS SDK for Java.
    #[test]
    fn tokens_match_the_published_test_vectors() {
        for (user, signature) in [
            ("admin", "a08adc4c84a490014ce374b90c98ba9ed015b77b451c0d9f9fb3f8ca8c6f9c36"),
            ("app", "e319d85380261f643d78a558f76257f05aacea758a6ccd42a2510e2ae0854a47"),
        ] {
            let token = token_for(user);
            assert!(token.ends_with(&format!("X-Amz-Signature={signature}")), "{token}");
        }
    }

    #[test]
    fn a_valid_token_is_accepted_and_an_invalid_one_is_refused_with_a_hint() {
        let keys = keys();
        assert_eq!(verify(&token_for("admin"), &expected(&keys, "admin")), Ok(()));
        assert_eq!(verify(&token_for("app"), &expected(&keys, "app")), Ok(()));

        let hint = |token: &str, expected: &Expected<'_>| verify(token, expected).unwrap_err();
        let admin = token_for("admin");
        assert_eq!(
            hint(&token_for("app"), &expected(&keys, "admin")),
            "Wrong user to action mapping. user: admin, action: DbConnect"
        );
        let late = Expected { now: now() + DEFAULT_LIFETIME, ..expected(&keys, "admin") };
        let expired = hint(&admin, &late);
        assert!(expired.starts_with("Signature expired: 20241107T173933Z"), "{expired}");
        let early = Expected { now: now() - Duration::from_secs(301), ..expected(&keys, "admin") };
        assert!(hint(&admin, &early).starts_with("Signature not yet current"));
        let elsewhere = Expected { region: "eu-central-1", ..expected(&keys, "admin") };
        assert!(hint(&admin, &elsewhere).contains("'eu-central-1', not 'us-east-1'"));
        let other = Expected { host: "other.example", ..expected(&keys, "admin") };
        assert!(hint(&admin, &other).contains(HOST));
        let stranger = Credentials::new("other_key", "secret_key");
        assert!(hint(&admin, &expected(&stranger, "admin")).contains("security token"));
        let forger = Credentials::new("access_key", "guess");
        assert!(hint(&admin, &expected(&forger, "admin")).contains("signature we calculated"));
        let service = admin.replace("%2Fdsql%2F", "%2Frds-db%2F");
        assert!(hint(&service, &expected(&keys, "admin")).contains("correct service"));
        let longer = admin.replace("Expires=900", "Expires=9000");
        assert!(hint(&longer, &expected(&keys, "admin")).contains("signature we calculated"));
        for nonsense in ["", "password", "a?b", "a?X-Amz-Algorithm=AWS4-HMAC-SHA256"] {
            assert!(hint(nonsense, &expected(&keys, "admin")).contains("presigned"), "{nonsense}");
        }
    }

    #[test]
    fn the_session_token_is_part_of_the_signature() {
        let temporary = Credentials { session_token: Some("a/b+c=".into()), ..keys() };
        let token = sign(&temporary, HOST, REGION, "admin", DEFAULT_LIFETIME, now());
        assert_eq!(verify(&token, &expected(&temporary, "admin")), Ok(()));
        assert!(verify(&token, &expected(&keys(), "admin")).is_err());
        assert!(verify(&token_for("admin"), &expected(&temporary, "admin")).is_err());
    }

    #[test]
    fn a_token_is_valid_for_a_week_at_most() {
        let sign =
            |seconds| sign(&keys(), HOST, REGION, "admin", Duration::from_secs(seconds), now());
        let keys = keys();
        assert_eq!(verify(&sign(MAX_LIFETIME), &expected(&keys, "admin")), Ok(()));
        for wrong in [0, MAX_LIFETIME + 1] {
            let hint = verify(&sign(wrong), &expected(&keys, "admin")).unwrap_err();
            assert!(hint.contains("X-Amz-Expires"), "{hint}");
        }
    }

    #[test]
    fn the_port_in_a_host_does_not_matter() {
        let keys = keys();
        let with_port =
            sign(&keys, &format!("{HOST}:5432"), REGION, "admin", DEFAULT_LIFETIME, now());
        assert_eq!(verify(&with_port, &expected(&keys, "admin")), Ok(()));
    }
}

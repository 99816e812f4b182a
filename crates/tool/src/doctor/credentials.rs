//! The credentials that a login would use, and their source. Their values are never shown.

use std::time::SystemTime;

use aws_credential_types::{
    Credentials,
    credential_feature::AwsCredentialFeature,
    provider::{ProvideCredentials, SharedCredentialsProvider},
};
use temporal_dsql::{dsql::Auth, migrate::Advice};

use super::{CREDENTIALS_LIMIT, check::Check, seconds, within};

pub(super) const CREDENTIALS: &str = "credentials";

/// Finds the credentials: those of `provider`, if IAM tokens are used. Returns whether there are any.
pub(super) async fn find(
    auth: &Auth,
    provider: Option<&SharedCredentialsProvider>,
) -> (Check, Option<()>) {
    let Some(provider) = provider else {
        let detail = match auth {
            Auth::Password(_) => "the password of SQL_PASSWORD",
            _ => "none are given: the server must trust the role without a password",
        };
        return (Check::ok(CREDENTIALS, detail), Some(()));
    };
    let found = within(CREDENTIALS_LIMIT, provider.provide_credentials()).await;
    let credentials = match found {
        Ok(credentials) => credentials,
        Err(reason) => {
            let detail = format!("no AWS credentials: {reason}");
            return (Check::failed(CREDENTIALS, detail, Advice::NoCredentials), None);
        }
    };
    let source = source_of(&credentials);
    let left = credentials.expiry().map(|end| end.duration_since(SystemTime::now()));
    let check = match left {
        None => Check::ok(CREDENTIALS, format!("from {source}; they do not expire")),
        Some(Ok(left)) => {
            let check = format!("from {source}; they expire in {}", seconds(left));
            Check::ok(CREDENTIALS, check).with("expires_in_s", left.as_secs())
        }
        Some(Err(_)) => {
            let detail = format!("those from {source} have expired");
            let check = Check::failed(CREDENTIALS, detail, Advice::ExpiredCredentials);
            return (check.with("source", source), None);
        }
    };
    (check.with("source", source), Some(()))
}

/// The providers of the chain that made the credentials, the last one last.
fn source_of(credentials: &Credentials) -> String {
    let name = |feature: &AwsCredentialFeature| match feature {
        AwsCredentialFeature::CredentialsEnvVars => "environment variables".to_owned(),
        AwsCredentialFeature::CredentialsProfile => "a profile of the shared files".to_owned(),
        AwsCredentialFeature::CredentialsSso | AwsCredentialFeature::CredentialsProfileSso => {
            "a login by SSO".to_owned()
        }
        AwsCredentialFeature::CredentialsProcess
        | AwsCredentialFeature::CredentialsProfileProcess => "a credential process".to_owned(),
        AwsCredentialFeature::CredentialsStsAssumeRole => "an assumed role".to_owned(),
        AwsCredentialFeature::CredentialsEnvVarsStsWebIdToken
        | AwsCredentialFeature::CredentialsProfileStsWebIdToken
        | AwsCredentialFeature::CredentialsStsAssumeRoleWebId => "a web identity token".to_owned(),
        AwsCredentialFeature::CredentialsHttp => "the role of the container".to_owned(),
        AwsCredentialFeature::CredentialsImds => "the role of the instance".to_owned(),
        // The name of a provider that the SDK may add.
        other => format!("{other:?}"),
    };
    match credentials.get_property::<Vec<AwsCredentialFeature>>() {
        Some(features) => features.iter().map(name).collect::<Vec<_>>().join(", then "),
        None => "the AWS chain".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_of_credentials_is_named_by_their_provider() {
        let mut credentials = Credentials::new("akid", "hunter2", None, None, "test");
        assert_eq!(source_of(&credentials), "the AWS chain");
        credentials.set_property(vec![
            AwsCredentialFeature::CredentialsProfile,
            AwsCredentialFeature::CredentialsStsAssumeRole,
        ]);
        assert_eq!(source_of(&credentials), "a profile of the shared files, then an assumed role");
    }
}

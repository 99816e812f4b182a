//! Every third-party crate has a licence that `deny.toml` allows, and comes from crates.io.

use anyhow::{Context, Result, anyhow};
use cargo_metadata::Metadata;
use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

use super::Finding;

/// The file that lists the licences; `cargo deny` reads it too.
pub(super) const POLICY: &str = "deny.toml";

#[derive(Deserialize)]
struct Policy {
    licenses: Licenses,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

/// A third-party crate.
pub(super) struct Licensed {
    name: String,
    licence: Option<String>,
    from_crates_io: bool,
}

impl Licensed {
    pub(super) fn all(metadata: &Metadata) -> Vec<Self> {
        let third_party = |package: &cargo_metadata::Package| {
            let source = package.source.as_ref()?;
            Some(Self {
                name: format!("{} {}", package.name, package.version),
                licence: package.license.clone(),
                from_crates_io: source.is_crates_io(),
            })
        };
        metadata.packages.iter().filter_map(third_party).collect()
    }
}

pub(super) fn check(packages: &[Licensed], policy: &str) -> Result<Vec<Finding>> {
    let policy: Policy = toml::from_str(policy).context(POLICY)?;
    let allowed = policy
        .licenses
        .allow
        .iter()
        .map(|text| Licensee::parse(text).map_err(|error| anyhow!("{POLICY}: {text}: {error}")))
        .collect::<Result<Vec<_>>>()?;
    let mut findings = Vec::new();
    for package in packages {
        let mut find = |what| findings.push(Finding::new("Cargo.lock", what));
        let name = &package.name;
        match &package.licence {
            None => find(format!("{name} names no licence")),
            Some(licence) if !allows(&allowed, licence) => {
                find(format!("{name} is under `{licence}`, which {POLICY} does not allow"));
            }
            Some(_) => {}
        }
        if !package.from_crates_io {
            find(format!("{name} does not come from crates.io"));
        }
    }
    Ok(findings)
}

fn allows(allowed: &[Licensee], licence: &str) -> bool {
    // Lax, for the slash of old manifests: `MIT/Apache-2.0`.
    Expression::parse_mode(licence, ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|required| allowed.iter().any(|licensee| licensee.satisfies(required)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY_TEXT: &str = r#"
        [licenses]
        allow = ["MIT", "Apache-2.0", "Unicode-3.0", "MPL-2.0"]
    "#;

    fn findings(licence: Option<&str>) -> Vec<String> {
        let package = Licensed {
            name: "thing 1.0.0".into(),
            licence: licence.map(str::to_owned),
            from_crates_io: true,
        };
        let found = check(&[package], POLICY_TEXT).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_licence_is_read_as_the_expression_that_it_is() {
        for allowed in [
            "MIT",
            "MIT OR GPL-3.0",
            "MIT/Apache-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "MPL-2.0+",
        ] {
            assert_eq!(findings(Some(allowed)), [""; 0], "{allowed}");
        }
        for refused in ["GPL-3.0", "MIT AND GPL-3.0", "my own", ""] {
            assert_eq!(
                findings(Some(refused)),
                [format!(
                    "Cargo.lock: thing 1.0.0 is under `{refused}`, which deny.toml does not allow"
                )]
            );
        }
    }

    #[test]
    fn a_crate_without_a_licence_or_from_elsewhere_is_found() {
        assert_eq!(findings(None), ["Cargo.lock: thing 1.0.0 names no licence"]);
        let package = Licensed {
            name: "thing 1.0.0".into(),
            licence: Some("MIT".into()),
            from_crates_io: false,
        };
        let found = check(&[package], POLICY_TEXT).unwrap();
        assert_eq!(found[0].what, "thing 1.0.0 does not come from crates.io");
    }

    #[test]
    fn a_policy_that_cannot_be_read_is_an_error() {
        assert!(check(&[], "[licenses]").is_err());
        assert!(check(&[], "[licenses]\nallow = [\"no such\"]").is_err());
    }
}

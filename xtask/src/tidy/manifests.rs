//! Lint of manifests: every crate inherits the lints, the licence and the keywords of the workspace,
//! and has a description and the text of the licence.

use anyhow::{Context, Result};
use toml::Table;

use super::Finding;

pub(super) fn check(path: &str, manifest: &str) -> Result<Vec<Finding>> {
    let manifest: Table = manifest.parse().with_context(|| path.to_owned())?;
    let inherits = |keys: &[&str]| {
        let mut value = manifest.get(keys[0]);
        for key in &keys[1..] {
            value = value.and_then(|value| value.get(key));
        }
        value
            .and_then(|value| value.get("workspace"))
            .and_then(toml::Value::as_bool)
            .unwrap_or(false)
    };
    let mut findings = Vec::new();
    if !inherits(&["lints"]) {
        findings.push(Finding::new(path, "lacks `[lints] workspace = true`"));
    }
    for key in ["license", "keywords", "categories"] {
        if !inherits(&["package", key]) {
            findings.push(Finding::new(path, format!("lacks `{key}.workspace = true`")));
        }
    }
    if manifest.get("package").and_then(|package| package.get("description")).is_none() {
        findings.push(Finding::new(path, "lacks a description"));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(manifest: &str) -> Vec<String> {
        let found = check("Cargo.toml", manifest).unwrap();
        found.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_manifest_inherits_lints_licence_and_keywords_and_has_a_description() {
        let good = "[package]\ndescription = \"A crate\"\nlicense.workspace = true\n\
                    keywords.workspace = true\ncategories.workspace = true\n\
                    [lints]\nworkspace = true\n";
        assert_eq!(findings(good), [""; 0]);
        let own = "[package]\nlicense = \"MIT\"\n[lints.rust]\nunsafe_code = \"allow\"\n";
        assert_eq!(
            findings(own),
            [
                "lacks `[lints] workspace = true`",
                "lacks `license.workspace = true`",
                "lacks `keywords.workspace = true`",
                "lacks `categories.workspace = true`",
                "lacks a description",
            ]
        );
    }
}

//! Lint of manifests: every crate inherits the lints and the licence of the workspace.

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
    if !inherits(&["package", "license"]) {
        findings.push(Finding::new(path, "lacks `license.workspace = true`"));
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
    fn a_manifest_inherits_lints_and_licence() {
        let good = "[package]\nlicense.workspace = true\n[lints]\nworkspace = true\n";
        assert_eq!(findings(good), [""; 0]);
        let own = "[package]\nlicense = \"MIT\"\n[lints.rust]\nunsafe_code = \"allow\"\n";
        assert_eq!(
            findings(own),
            ["lacks `[lints] workspace = true`", "lacks `license.workspace = true`"]
        );
    }
}

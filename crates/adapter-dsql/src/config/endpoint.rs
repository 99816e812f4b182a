//! What the name of a DSQL host says.

/// The region in the host name of a DSQL cluster, `<cluster>.dsql.<region>.on.aws` (facts §5);
/// `None` for any other host. A private endpoint's `dsql-<suffix>` label counts as well.
///
/// ```
/// use temporal_dsql_store::region_of_host;
///
/// let host = "abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws";
/// assert_eq!(region_of_host(host).as_deref(), Some("us-east-1"));
/// assert_eq!(region_of_host("localhost"), None);
/// ```
pub fn region_of_host(host: &str) -> Option<String> {
    let host = host.to_ascii_lowercase();
    let labels: Vec<&str> = host.trim_end_matches('.').split('.').collect();
    match labels[..] {
        [cluster, service, region, "on", "aws"]
            if !cluster.is_empty()
                && (service == "dsql" || service.starts_with("dsql-"))
                && !region.is_empty() =>
        {
            Some(region.to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shape_of_a_cluster_name_has_a_region() {
        let cluster = "24abtvxzzxzrrfaxyduobmpfea";
        let region = |host: String| region_of_host(&host);
        assert_eq!(region(format!("{cluster}.dsql.us-east-1.on.aws")).unwrap(), "us-east-1");
        assert_eq!(region(format!("{cluster}.DSQL.eu-west-3.on.aws.")).unwrap(), "eu-west-3");
        assert_eq!(region(format!("{cluster}.dsql-vnbr.us-east-1.on.aws")).unwrap(), "us-east-1");
        for host in [
            format!("{cluster}.wrong.us-east-1.on.aws"),
            format!("{cluster}.dsql.us-east-1.wrong"),
            format!("{cluster}.dsql.on.aws"),
            format!("{cluster}.dsql..on.aws"),
            "dsql.us-east-1.on.aws".to_owned(),
            String::new(),
        ] {
            assert_eq!(region(host.clone()), None, "{host}");
        }
    }
}

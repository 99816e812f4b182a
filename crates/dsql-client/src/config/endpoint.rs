//! Host names: the region in the name of a cluster, and what is not a host name.

use std::net::Ipv6Addr;

use super::error::ConfigError;

/// The region in the host name of a DSQL cluster, `<cluster>.dsql.<region>.on.aws`
/// (aurora-dsql.md#connections); `None` for any other host. A private endpoint's `dsql-<suffix>`
/// label counts as well.
///
/// ```
/// use temporal_dsql_client::region_of_host;
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

/// Refuses a `host` that is a URL or includes a port or a path: it cannot be resolved, and its region
/// is not recognised. A directory of sockets, which begins with a slash, is accepted. Returns the
/// host, an IPv6 address without the brackets that may be around it.
pub(super) fn checked_host(host: &str) -> Result<String, ConfigError> {
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if let Some(address) = bracketed.filter(|address| is_ipv6(address)) {
        return Ok(address.to_owned());
    }
    let what = if host.contains("://") {
        "is a URL"
    } else if host.starts_with('/') {
        return Ok(host.to_owned());
    } else if host.contains('/') {
        "has a path"
    } else if host.contains(':') && !is_ipv6(host) {
        "has a port, which SQL_PORT is for"
    } else if host.contains(['@', '?', '=', ' ']) {
        "is more than a host name"
    } else {
        return Ok(host.to_owned());
    };
    // The part before an @, and parameters, may contain a password.
    let host = host.rsplit_once('@').map_or(host.to_owned(), |(_, host)| format!("…@{host}"));
    let host = host.split_once(['?', '=']).map_or(host.clone(), |(host, _)| format!("{host}…"));
    Err(ConfigError::InvalidHost { host, what })
}

/// Whether `host` is an IPv6 address, which may have a zone.
fn is_ipv6(host: &str) -> bool {
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    address.parse::<Ipv6Addr>().is_ok()
}

/// `host` as it stands in front of a port or in a URL: an IPv6 address in brackets.
pub(crate) fn bracketed(host: &str) -> String {
    if is_ipv6(host) { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_ipv6_address_is_bracketed() {
        assert_eq!(bracketed("fe80::1%eth0"), "[fe80::1%eth0]");
        assert_eq!(bracketed("127.0.0.1"), "127.0.0.1");
        assert_eq!(bracketed("db.example"), "db.example");
    }

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

//! The name of the host and the TCP connection to it.

use std::{net::SocketAddr, time::Instant};

use temporal_dsql::dsql::Config;
use tokio::net::{TcpStream, lookup_host};

use super::{NETWORK_LIMIT, check::Check, milliseconds, within};

const NAME: &str = "name";
pub(super) const TCP: &str = "tcp";

/// Addresses that the text shows; the JSON has all of them.
const SHOWN: usize = 4;

/// Resolves the name of the host.
pub(super) async fn resolve(config: &Config) -> (Check, Option<Vec<SocketAddr>>) {
    let host = &config.host;
    let advice = "check the endpoint (--endpoint or CLUSTER_ENDPOINT) and the DNS server of this \
                  machine; a cluster behind a private endpoint has a name in its VPC only";
    let found = within(NETWORK_LIMIT, lookup_host((host.as_str(), config.port))).await;
    let addresses: Vec<_> = match found {
        Ok(addresses) => addresses.collect(),
        Err(reason) => {
            return (
                Check::failed(NAME, format!("`{host}` does not resolve: {reason}"), advice),
                None,
            );
        }
    };
    if addresses.is_empty() {
        return (Check::failed(NAME, format!("`{host}` has no address"), advice), None);
    }
    let texts: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    let mut detail = match texts.contains(host) {
        true => format!("{host} is an address"),
        false => format!("{host} is {}", texts[..texts.len().min(SHOWN)].join(", ")),
    };
    if texts.len() > SHOWN {
        detail.push_str(&format!(" and {} more", texts.len() - SHOWN));
    }
    (Check::ok(NAME, detail).with("addresses", texts), Some(addresses))
}

/// Connects to the first address that accepts.
pub(super) async fn connect(addresses: &[SocketAddr]) -> (Check, Option<TcpStream>) {
    let mut refusals = Vec::new();
    for address in addresses {
        let start = Instant::now();
        match within(NETWORK_LIMIT, TcpStream::connect(address)).await {
            Ok(stream) => {
                let took = start.elapsed();
                let check = Check::ok(TCP, format!("{address} accepts, in {}", milliseconds(took)))
                    .with("address", address.to_string())
                    .with("connect_ms", took.as_secs_f64() * 1e3);
                return (check, Some(stream));
            }
            Err(reason) => refusals.push(format!("{address}: {reason}")),
        }
    }
    let advice = "check the port (--port or SQL_PORT; a cluster's is 5432), the security groups and \
                  firewalls between this machine and the server, and that the server runs";
    (Check::failed(TCP, format!("no address accepts: {}", refusals.join("; ")), advice), None)
}

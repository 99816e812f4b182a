//! The name of the host and the TCP connection to it.

use std::{net::SocketAddr, time::Instant};

use temporal_dsql::{dsql::Config, migrate::Advice};
use tokio::net::{TcpStream, lookup_host};

use super::{NETWORK_LIMIT, check::Check, milliseconds, within};

const NAME: &str = "name";
pub(super) const TCP: &str = "tcp";

/// Addresses that the text shows; the JSON has all of them.
const SHOWN: usize = 4;

/// Resolves the name of the host.
pub(super) async fn resolve(config: &Config) -> (Check, Option<Vec<SocketAddr>>) {
    let host = &config.host;
    let found = within(NETWORK_LIMIT, lookup_host((host.as_str(), config.port))).await;
    let addresses: Vec<_> = match found {
        Ok(addresses) => addresses.collect(),
        Err(reason) => {
            let detail = format!("`{host}` does not resolve: {reason}");
            return (Check::failed(NAME, detail, Advice::NoAddress), None);
        }
    };
    if addresses.is_empty() {
        let detail = format!("`{host}` has no address");
        return (Check::failed(NAME, detail, Advice::NoAddress), None);
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
    let detail = format!("no address accepts: {}", refusals.join("; "));
    (Check::failed(TCP, detail, Advice::Unreachable), None)
}

//! From a host name to the addresses a request goes to (RFC 3263).

use super::NetError;
use super::tls::ClientTls;
use crate::sip::{Target, Transport, UriRef};
use std::net::SocketAddr;
use std::sync::Arc;

/// A host to send requests to, as a person or a URI names it.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Host name, or IP address without brackets.
    pub host: String,
    /// The port, when it was written; then no SRV record is asked for (RFC 3263 §4.2).
    pub port: Option<u16>,
    /// The transport, when it was written; then no NAPTR record is asked for (RFC 3263 §4.1).
    pub transport: Option<Transport>,
    /// How a TLS connection there is verified; `None` uses the system's roots.
    pub tls: Option<Arc<ClientTls>>,
}

impl Destination {
    /// What the host, port, `transport` parameter and scheme of a SIP URI say; `None` when it names no host.
    #[must_use]
    pub fn from_uri(uri: &UriRef<'_>, tls: Option<Arc<ClientTls>>) -> Option<Self> {
        let host = uri.host()?;
        let host = host.address().map_or_else(|| host.to_string(), |ip| ip.to_string());
        let transport = match uri.parameter("transport").map(str::to_ascii_lowercase).as_deref() {
            Some("tcp") => Some(Transport::Tcp),
            Some("tls") => Some(Transport::Tls),
            Some("udp") => Some(Transport::Udp),
            _ => None,
        };
        Some(Self { host, port: uri.port(), transport, tls })
    }

    pub(super) async fn look_up(&self) -> Result<Vec<Target>, NetError> {
        let transport = self.transport.unwrap_or_default();
        let port = self.port.unwrap_or(if transport == Transport::Tls { 5061 } else { 5060 });
        let fail = |reason: String| NetError::Locate { host: self.host.clone(), reason };
        let found: Vec<SocketAddr> = tokio::net::lookup_host((self.host.as_str(), port))
            .await
            .map_err(|error| fail(error.to_string()))?
            .collect();
        if found.is_empty() {
            return Err(fail("it has no address".to_owned()));
        }
        Ok(found.into_iter().map(|remote| Target { transport, remote }).collect())
    }
}

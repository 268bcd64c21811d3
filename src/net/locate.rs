//! Hosts to send requests to, as people and URIs name them.

use super::tls::ClientTls;
use crate::sip::uri::Scheme;
use crate::sip::{Transport, UriRef};
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
            _ if uri.scheme() == Scheme::Sips => Some(Transport::Tls),
            _ => None,
        };
        Some(Self { host, port: uri.port(), transport, tls })
    }
}

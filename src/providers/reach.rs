//! Whether a provider's server can be reached at all: its name, its port, its certificate, each with its own remedy. No
//! word of any vendor's protocol is spoken, so that nothing is paid for and no key is shown.

use super::network::Network;
use rustls::CertificateError;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Longest wait for the whole of it.
const LIMIT: Duration = Duration::from_secs(3);

/// Why there is no way to a server: the configuration's fault, or that of the network between.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unreachable {
    /// The URL names no host.
    #[error("`{url}` names no server")]
    Url {
        /// The URL up to its query.
        url: String,
    },
    /// No TCP connection: no such name, nobody listens, or something in between refuses.
    #[error("no connection to {address}: {reason}")]
    Connection {
        /// Host and port.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// Nothing came back.
    #[error("no connection to {address} within {} s", LIMIT.as_secs())]
    Silence {
        /// Host and port.
        address: String,
    },
    /// The certificate is signed by nobody whom this machine trusts.
    #[error("the certificate of {address} is signed by no authority that is trusted here")]
    UnknownAuthority {
        /// Host and port.
        address: String,
    },
    /// The certificate is for another time.
    #[error("the certificate of {address} is not valid at this time")]
    WrongTime {
        /// Host and port.
        address: String,
    },
    /// The certificate is for another name.
    #[error("the certificate of {address} is for another name")]
    WrongName {
        /// Host and port.
        address: String,
    },
    /// TLS fails in another way.
    #[error("no TLS with {address}: {reason}")]
    Tls {
        /// Host and port.
        address: String,
        /// What went wrong.
        reason: String,
    },
}

impl Unreachable {
    /// What to do about it, in a few words.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Url { .. } => "write `url` as \"https://host/path\"",
            Self::Connection { .. } | Self::Silence { .. } => "let this machine out to it, or correct `url`",
            Self::UnknownAuthority { .. } => {
                "give the certificate of the authority as `ca_file` in [providers], where it is one of your own; else \
                 something in between reads along"
            }
            Self::WrongTime { .. } => "set the clock of this machine, or have the certificate renewed",
            Self::WrongName { .. } => "write the name of the certificate in `url`",
            Self::Tls { .. } => "correct the port or the scheme of `url`",
        }
    }
}

/// How long it takes to reach the server of a URL: name, TCP connection and, with `https` and `wss`, the handshake of TLS.
///
/// # Errors
/// [`Unreachable`].
pub async fn reach(network: &Network, url: &str) -> Result<Duration, Unreachable> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let is_clear = matches!(scheme, "http" | "ws");
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address =
        if has_port { authority.to_owned() } else { format!("{authority}:{}", if is_clear { 80 } else { 443 }) };
    let host = address.rsplit_once(':').map_or("", |(host, _)| host).trim_matches(['[', ']']).to_owned();
    if host.is_empty() {
        return Err(Unreachable::Url { url: url.split('?').next().unwrap_or_default().to_owned() });
    }
    let began = Instant::now();
    let way = async {
        let stream = TcpStream::connect(&address).await;
        let stream = stream.map_err(|e| Unreachable::Connection { address: address.clone(), reason: e.to_string() })?;
        if !is_clear {
            let tls = |reason: String| Unreachable::Tls { address: address.clone(), reason };
            let name = ServerName::try_from(host).map_err(|e| tls(e.to_string()))?;
            let handshake = TlsConnector::from(Arc::clone(&network.tls)).connect(name, stream).await;
            handshake.map_err(|error| of_tls(&address, &error))?;
        }
        Ok(began.elapsed())
    };
    timeout(LIMIT, way).await.unwrap_or_else(|_| Err(Unreachable::Silence { address: address.clone() }))
}

fn of_tls(address: &str, error: &std::io::Error) -> Unreachable {
    let address = address.to_owned();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(certificate)) = inner else {
        return Unreachable::Tls { address, reason: error.to_string() };
    };
    match certificate {
        CertificateError::UnknownIssuer => Unreachable::UnknownAuthority { address },
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Unreachable::WrongTime { address },
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Unreachable::WrongName { address }
        }
        other => Unreachable::Tls { address, reason: format!("{other:?}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Network {
        Network::new(&[]).unwrap()
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_at_is_told_from_one_that_is_open() {
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = open.local_addr().unwrap().port();
        assert!(reach(&network(), &format!("ws://127.0.0.1:{port}/v1")).await.is_ok());
        drop(open);
        let refused = reach(&network(), &format!("https://127.0.0.1:{port}/v1?key=secret")).await.unwrap_err();
        let said = refused.to_string();
        assert!(said.contains(&format!("127.0.0.1:{port}")) && !said.contains("secret"), "{said}");
        assert!(matches!(refused, Unreachable::Connection { .. }));
    }

    #[tokio::test]
    async fn a_server_that_speaks_no_tls_and_a_url_without_a_host_are_told_apart() {
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = open.local_addr().unwrap().port();
        let answering = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            let (mut stream, _) = open.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        });
        let said = reach(&network(), &format!("https://127.0.0.1:{port}")).await.unwrap_err();
        assert!(matches!(said, Unreachable::Tls { .. }) && said.fix().contains("scheme"), "{said}");
        answering.await.unwrap();
        let nameless = reach(&network(), "https:///v1?key=secret").await.unwrap_err();
        assert_eq!(nameless.to_string(), "`https:///v1` names no server");
    }
}

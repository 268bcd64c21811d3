//! Whether a provider's server can be reached at all: its name, its port, its certificate, each with its own remedy. No
//! word of any vendor's protocol is spoken, so that nothing is paid for and no key is shown.

use super::error::in_short;
use super::network::Network;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use rustls::CertificateError;
use rustls::pki_types::{ServerName, UnixTime};
use std::error::Error;
use std::io;
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
    /// The certificate has ended.
    #[error("the certificate of {address} ended on {ended}, and it is {now} by this machine's clock")]
    Expired {
        /// Host and port.
        address: String,
        /// Its last day, in UTC.
        ended: Date,
        /// Today, in UTC.
        now: Date,
    },
    /// The certificate is for a later time.
    #[error("the certificate of {address} begins on {begins}, and it is {now} by this machine's clock")]
    NotYetValid {
        /// Host and port.
        address: String,
        /// Its first day, in UTC.
        begins: Date,
        /// Today, in UTC.
        now: Date,
    },
    /// The certificate is for other names.
    #[error("the certificate of {address} is not for this name, but for {names}")]
    WrongName {
        /// Host and port.
        address: String,
        /// The names in it.
        names: String,
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
            Self::Expired { .. } => "have the certificate renewed; if that date is right, set this machine's clock",
            Self::NotYetValid { .. } => "set this machine's clock; if it is right, have the certificate corrected",
            Self::WrongName { .. } => {
                "write the name of the certificate in `url`, where the server is one of your own; else something in \
                 between answers in its place"
            }
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

fn of_tls(address: &str, error: &io::Error) -> Unreachable {
    let tls = |reason: String| Unreachable::Tls { address: address.to_owned(), reason };
    of_certificate(address, error).unwrap_or_else(|| tls(error.to_string()))
}

/// What is wrong with the certificate of the server at `address` (host and port), if that is the cause of an error, however
/// deep.
pub(super) fn of_certificate(address: &str, error: &(dyn Error + 'static)) -> Option<Unreachable> {
    let mut cause = Some(error);
    while let Some(this) = cause {
        if let Some(rustls::Error::InvalidCertificate(wrong)) = this.downcast_ref() {
            return Some(of_wrong(address.to_owned(), wrong));
        }
        // The source of an error of input and output is its inner error's.
        let inner = this.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| this.source());
    }
    None
}

fn of_wrong(address: String, wrong: &CertificateError) -> Unreachable {
    match wrong {
        // Of an authority that only bears the name of a trusted one, the signature is wrong.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Unreachable::UnknownAuthority { address },
        CertificateError::ExpiredContext { time, not_after } => {
            Unreachable::Expired { address, ended: day(*not_after), now: day(*time) }
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            Unreachable::NotYetValid { address, begins: day(*not_before), now: day(*time) }
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            Unreachable::WrongName { address, names: in_short(&bare(presented)) }
        }
        other => Unreachable::Tls { address, reason: format!("its certificate is refused: {other:?}") },
    }
}

/// The names of a certificate without the library's words for their kinds: `DnsName("pbx.example")`.
fn bare(presented: &[String]) -> String {
    let inner = |name: &String| {
        let (_, rest) = name.split_once('(').unwrap_or(("", name));
        rest.trim_end_matches(')').trim_matches('"').to_owned()
    };
    presented.iter().map(inner).collect::<Vec<_>>().join(", ")
}

/// The day of a time, in UTC.
fn day(time: UnixTime) -> Date {
    let time = i64::try_from(time.as_secs()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.unwrap_or(Timestamp::MAX).to_zoned(TimeZone::UTC).date()
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
        // Bound and not listening, a socket keeps its port and refuses.
        let held = tokio::net::TcpSocket::new_v4().unwrap();
        held.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let port = held.local_addr().unwrap().port();
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

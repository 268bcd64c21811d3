//! TLS: which certificates we trust, which we show, and what is said when one does not fit.
//!
//! Verification is on: a peer's certificate must be valid, signed by an authority we trust and made out to the host we
//! asked for. A connection to an address that nobody asked for by name is not made at all.

mod facts;
mod files;
mod verify;
mod words;

use super::NetError;
use super::connection::in_words;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ServerConfig};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub use facts::{CertificateFacts, describe_certificate};
pub(super) use verify::{Demand, Demands};

/// How we verify a server and what we show it. Certificates are verified against the system's roots, or against
/// `ca_file` alone when it is given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientTls {
    /// PEM file of the certification authorities that may have signed the server's certificate. A certificate of the server
    /// itself may stand there too, such as one it signed by itself: then that very certificate is accepted, even without
    /// any host name in it.
    pub ca_file: Option<PathBuf>,
    /// PEM files of our own certificate chain and key, for peers that want one (mTLS).
    pub identity: Option<TlsIdentity>,
    /// The name the certificate must carry; `None` takes the destination's host.
    pub server_name: Option<String>,
    /// Accepts any certificate: whoever sits in between reads and changes calls.
    pub danger_accept_any_certificate: bool,
}

/// A certificate chain with its private key, both PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsIdentity {
    /// The chain, ours first.
    pub certificate_file: PathBuf,
    /// The key: PKCS#8, PKCS#1 or SEC1.
    pub key_file: PathBuf,
}

/// How we serve TLS connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerTls {
    /// What we show.
    pub identity: TlsIdentity,
    /// PEM file of authorities; when given, peers must show a certificate signed by one of them.
    pub client_ca_file: Option<PathBuf>,
}

/// Files are looked at for changes no more often than this.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);

/// The certificates of the other end, its own first; none where it showed none.
pub(super) type PeerCertificates = Vec<CertificateDer<'static>>;

/// A stream inside TLS, whichever side opened it.
pub(super) type TlsStream = tokio_rustls::TlsStream<TcpStream>;

/// What one TLS listener shows. Its files are read again when they change, since certificates are renewed.
#[derive(Debug)]
pub(super) struct Acceptor {
    settings: ServerTls,
    config: Arc<ServerConfig>,
    changed: Vec<Option<SystemTime>>,
    checked: Instant,
}

impl Acceptor {
    /// Reads the files.
    ///
    /// # Errors
    /// [`NetError::Certificate`] for the first that cannot be used.
    pub(super) fn new(now: Instant, settings: ServerTls) -> Result<Self, NetError> {
        let changed = files::changes(&settings);
        Ok(Self { config: files::server_config(&settings)?, settings, changed, checked: now })
    }

    /// The settings for the next handshake.
    pub(super) fn current(&mut self, now: Instant) -> Arc<ServerConfig> {
        if now.saturating_duration_since(self.checked) >= RELOAD_PAUSE {
            self.checked = now;
            let changed = files::changes(&self.settings);
            if changed != self.changed {
                match files::server_config(&self.settings) {
                    Ok(config) => {
                        self.config = config;
                        self.changed = changed;
                        tracing::info!(certificate = %self.settings.identity.certificate_file.display(), "tls_reloaded");
                    }
                    // Perhaps only half of it is written yet: the old one serves until it fits.
                    Err(error) => tracing::warn!(%error, "tls_reload_failed"),
                }
            }
        }
        Arc::clone(&self.config)
    }
}

/// Reads what the demands need and makes the settings of one connection.
///
/// # Errors
/// [`NetError::Certificate`].
pub(super) async fn client_config(demands: Vec<Demand>) -> Result<(Arc<ClientConfig>, verify::Verdicts), NetError> {
    let read = tokio::task::spawn_blocking(move || files::client_config(&demands));
    read.await.unwrap_or(Err(NetError::Stopped))
}

/// Whether certificates shown by a peer meet a demand; otherwise what is wrong with them.
///
/// # Errors
/// [`NetError::Certificate`] for our files, [`NetError::Unverified`] for the peer's certificate.
pub(super) async fn check(demand: Demand, certificates: PeerCertificates) -> Result<(), NetError> {
    let host = demand.host.clone();
    let read = tokio::task::spawn_blocking(move || {
        let check = files::check(&demand)?;
        if certificates.is_empty() {
            return Ok(());
        }
        check.verify(&certificates).map_err(|reason| NetError::Unverified { host, reason })
    });
    read.await.unwrap_or(Err(NetError::Stopped))
}

/// Makes the TLS handshake of a connection of ours.
pub(super) async fn connect(stream: TcpStream, demands: Vec<Demand>) -> Result<(TlsStream, PeerCertificates), String> {
    let Some(name) = demands.last().map(|demand| demand.name.clone()) else {
        return Err("nobody said whom its certificate must name".to_owned());
    };
    if let Some(demand) = demands.iter().find(|demand| demand.settings.danger_accept_any_certificate) {
        tracing::warn!(host = demand.host, "tls_certificate_not_verified");
    }
    let (config, verdicts) = client_config(demands).await.map_err(|error| error.to_string())?;
    match TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => {
            let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
            Ok((tokio_rustls::TlsStream::Client(stream), certificates))
        }
        Err(error) => Err(verdicts.refusal().unwrap_or_else(|| in_words(&error))),
    }
}

/// Makes the TLS handshake of a connection to us.
pub(super) async fn accept(
    stream: TcpStream,
    config: Arc<ServerConfig>,
) -> Result<(TlsStream, PeerCertificates), String> {
    let stream = TlsAcceptor::from(config).accept(stream).await.map_err(|error| in_words(&error))?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    Ok((tokio_rustls::TlsStream::Server(stream), certificates))
}

/// What a person can do something with, if the error is one of TLS.
pub(super) fn tls_in_words(error: &std::io::Error) -> Option<String> {
    error.get_ref()?.downcast_ref::<rustls::Error>().map(words::of)
}

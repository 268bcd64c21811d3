//! The way out to vendors: one TLS configuration for all of them, and a pooled HTTP client for each provider, whose
//! deadline for connections and whose counter it keeps.

use super::limits::{CONNECT_TIMEOUT, HTTP_IDLE, HTTP_IDLE_PER_HOST};
use super::meter::Meter;
use rustls::{ClientConfig, RootCertStore};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tower_layer::Layer;
use tower_service::Service;

/// The way out. Cheap to clone; one per process and set of root certificates, and one made of it per provider.
#[derive(Clone)]
pub struct Network {
    pub(super) tls: Arc<ClientConfig>,
    way: Arc<Way>,
}

/// HTTP as one provider uses it. Its client is made when it is first used: most providers speak over WebSockets.
struct Way {
    connect_timeout: Duration,
    meter: Option<Arc<Meter>>,
    client: OnceLock<reqwest::Client>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

/// The way out cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The extra root certificates are no good: the configuration's fault.
    #[error("the extra root certificates (ca_file) cannot be used: {0}")]
    Roots(String),
    /// The HTTP library refused its settings.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(#[source] reqwest::Error),
}

impl Network {
    /// Trusts the system's root certificates and those in `extra_roots` (PEM; may be empty).
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn new(extra_roots: &[u8]) -> Result<Self, NetworkError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for der in pem_certificates(extra_roots)? {
            roots.add(der).map_err(|e| NetworkError::Roots(e.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| NetworkError::Roots(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Arc::new(tls), way: Way::new(CONNECT_TIMEOUT, None) })
    }

    /// The same way out for one provider: connections of HTTP are given up after `connect_timeout` and counted in `meter`.
    #[must_use]
    pub fn of_provider(&self, connect_timeout: Duration, meter: &Arc<Meter>) -> Self {
        Self { tls: Arc::clone(&self.tls), way: Way::new(connect_timeout, Some(Arc::clone(meter))) }
    }

    /// The client, and its deadline for a connection.
    ///
    /// # Errors
    /// [`NetworkError::Client`].
    pub(super) fn http(&self) -> Result<(&reqwest::Client, Duration), NetworkError> {
        let way = &*self.way;
        let client = match way.client.get() {
            Some(client) => client,
            None => {
                let made = way.build(&self.tls).map_err(NetworkError::Client)?;
                way.client.get_or_init(|| made)
            }
        };
        Ok((client, way.connect_timeout))
    }
}

impl Way {
    fn new(connect_timeout: Duration, meter: Option<Arc<Meter>>) -> Arc<Self> {
        Arc::new(Self { connect_timeout, meter, client: OnceLock::new() })
    }

    fn build(&self, tls: &ClientConfig) -> Result<reqwest::Client, reqwest::Error> {
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .connect_timeout(self.connect_timeout)
            .connector_layer(Counting(self.meter.clone()))
            .pool_max_idle_per_host(HTTP_IDLE_PER_HOST)
            .pool_idle_timeout(HTTP_IDLE)
            .tcp_nodelay(true)
            .user_agent(concat!("offhook/", env!("CARGO_PKG_VERSION")))
            .build()
    }
}

/// Counts the connections that a client opens.
#[derive(Clone)]
struct Counting(Option<Arc<Meter>>);

impl<S> Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, connector: S) -> Counted<S> {
        Counted { connector, meter: self.0.clone() }
    }
}

#[derive(Clone)]
struct Counted<S> {
    connector: S,
    meter: Option<Arc<Meter>>,
}

impl<S, R> Service<R> for Counted<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, to: R) -> Self::Future {
        let (connecting, meter) = (self.connector.call(to), self.meter.clone());
        Box::pin(async move {
            let connected = connecting.await;
            if let (Ok(_), Some(meter)) = (&connected, meter) {
                meter.connected();
            }
            connected
        })
    }
}

fn pem_certificates(pem: &[u8]) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, NetworkError> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|e| NetworkError::Roots(e.to_string()))
}

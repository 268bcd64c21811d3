//! The way out to vendors: one TLS configuration and one pooled HTTP client for all of them.

use super::limits::{CONNECT_TIMEOUT, HTTP_IDLE, HTTP_IDLE_PER_HOST};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// The way out. Cheap to clone; one per process and set of root certificates.
#[derive(Clone)]
pub struct Network {
    pub(super) tls: Arc<ClientConfig>,
    pub(super) http: reqwest::Client,
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
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(HTTP_IDLE_PER_HOST)
            .pool_idle_timeout(HTTP_IDLE)
            .tcp_nodelay(true)
            .user_agent(concat!("offhook/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(NetworkError::Client)?;
        Ok(Self { tls: Arc::new(tls), http })
    }
}

fn pem_certificates(pem: &[u8]) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, NetworkError> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|e| NetworkError::Roots(e.to_string()))
}

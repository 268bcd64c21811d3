//! The one HTTP client through which anything leaves the server on a tool's or webhook's behalf.
//!
//! A name is looked up once per connection, every address of the answer is checked, and the connection
//! goes to exactly those addresses while `Host` and the TLS server name stay the name's. So a name that
//! answers differently the second time (DNS rebinding) changes nothing. No cookies, no redirects, no
//! proxy from the environment, bounded time, bounded bytes.

use super::limits::{
    ANSWER_BYTES, ANSWER_HEADERS, CONCURRENT_EXCHANGES, CONNECT_TIMEOUT, EXCHANGE_TIMEOUT, IDLE_CONNECTION,
    IDLE_CONNECTIONS_PER_HOST, REQUEST_BYTES, RESOLVE_TIMEOUT, RESOLVED_ADDRESSES,
};
use super::policy::{CheckedUrl, EgressPolicy, Refusal};
use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, dns, redirect};
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// The addresses of a name, when they arrive.
pub type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Where names become addresses. Injected, so that tests can answer like an attacker's zone.
pub trait HostResolver: Send + Sync + 'static {
    /// Looks a name up, once.
    fn resolve(&self, host: &str) -> Addresses;
}

/// The operating system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl HostResolver for SystemResolver {
    fn resolve(&self, host: &str) -> Addresses {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|found| found.ip()).collect()) })
    }
}

/// What the HTTP library asks for addresses at connect time: look up once, check all, hand on only those.
struct CheckedResolver {
    policy: EgressPolicy,
    resolver: Arc<dyn HostResolver>,
}

impl CheckedResolver {
    async fn addresses(
        policy: &EgressPolicy,
        host: &str,
        lookup: Addresses,
        timeout: Duration,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let mut found = tokio::time::timeout(timeout, lookup)
            .await
            .map_err(|_| ResolveError::Lookup("the name look-up took too long".to_owned()))?
            .map_err(|error| ResolveError::Lookup(error.to_string()))?;
        found.truncate(RESOLVED_ADDRESSES);
        policy.check_addresses(host, &found)?;
        Ok(found.into_iter().map(|address| SocketAddr::new(address, 0)).collect())
    }
}

impl dns::Resolve for CheckedResolver {
    fn resolve(&self, name: dns::Name) -> dns::Resolving {
        let policy = self.policy.clone();
        let lookup = self.resolver.resolve(name.as_str());
        Box::pin(async move {
            let addresses = Self::addresses(&policy, name.as_str(), lookup, RESOLVE_TIMEOUT).await?;
            Ok(Box::new(addresses.into_iter()) as dns::Addrs)
        })
    }
}

#[derive(Clone, Debug, thiserror::Error)]
enum ResolveError {
    #[error("{0}")]
    Lookup(String),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// One request.
#[derive(Clone, Debug)]
pub struct EgressRequest {
    /// The method.
    pub method: Method,
    /// Where to; only [`EgressPolicy::check`] makes one.
    pub url: CheckedUrl,
    /// Headers. `Host` and framing headers are set by the client.
    pub headers: HeaderMap,
    /// The body, when there is one.
    pub body: Option<Bytes>,
    /// Give up after this long; at most [`EXCHANGE_TIMEOUT`] is granted.
    pub timeout: Duration,
}

/// One answer, whole.
#[derive(Clone, Debug)]
pub struct EgressAnswer {
    /// The status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, at most [`ANSWER_BYTES`].
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EgressError {
    /// Too many exchanges are under way in this process: try again later. Nothing was sent.
    #[error("{CONCURRENT_EXCHANGES} requests are under way already")]
    Busy,
    /// The host could not be looked up or connected to, or its certificate is not good. Nothing was sent.
    #[error("no connection: {0}")]
    Connect(String),
    /// The connection broke or spoke no HTTP after the request may have been sent.
    #[error("the exchange broke off: {0}")]
    Broken(String),
    /// The guard does not let the request out. Ours or the configuration's fault; trying again is useless.
    #[error("not allowed: {0}")]
    Refused(#[from] Refusal),
    /// No whole answer in time; the request may have taken effect.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The answer (or our request) is larger than allowed.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// Which side.
        what: &'static str,
        /// The cap.
        limit: usize,
    },
}

/// The client cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EgressSetupError {
    /// A certificate file of the configuration is not PEM.
    #[error("the extra root certificates are not PEM: {0}")]
    Roots(#[source] reqwest::Error),
    /// The HTTP library refused its settings.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(#[source] reqwest::Error),
}

/// The egress client. One per process and configuration; cheap to share.
pub struct Egress {
    client: reqwest::Client,
    policy: EgressPolicy,
    permits: Semaphore,
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Egress {
    /// Builds the client and logs each weakening of the policy. `extra_roots` are PEM certificates
    /// trusted beside the system's, for a service with a certificate of the house.
    ///
    /// # Errors
    /// [`EgressSetupError`] when the certificates or the client are no good.
    pub fn new(
        policy: EgressPolicy,
        resolver: Arc<dyn HostResolver>,
        extra_roots: &[u8],
    ) -> Result<Self, EgressSetupError> {
        install_crypto();
        for (host, switch) in policy.dangers() {
            tracing::warn!(host, switch, "egress_guard_weakened");
        }
        let roots = reqwest::Certificate::from_pem_bundle(extra_roots).map_err(EgressSetupError::Roots)?;
        let builder = || {
            reqwest::Client::builder()
                .dns_resolver(CheckedResolver { policy: policy.clone(), resolver: Arc::clone(&resolver) })
                .redirect(redirect::Policy::none())
                .retry(reqwest::retry::never())
                .no_proxy()
                .referer(false)
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(EXCHANGE_TIMEOUT)
                .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST)
                .pool_idle_timeout(IDLE_CONNECTION)
                .http1_max_headers(ANSWER_HEADERS)
                .tcp_nodelay(true)
                .user_agent("offhook")
        };
        let client = match builder().tls_certs_merge(roots.clone()).build() {
            Ok(client) => client,
            // A machine without any root certificate can still use the extra ones and allowed http.
            Err(error) => {
                tracing::warn!(%error, "no_system_root_certificates");
                builder().tls_certs_only(roots).build().map_err(EgressSetupError::Client)?
            }
        };
        Ok(Self { client, policy, permits: Semaphore::new(CONCURRENT_EXCHANGES) })
    }

    /// The rules in force.
    #[must_use]
    pub fn policy(&self) -> &EgressPolicy {
        &self.policy
    }

    /// Sends one request and reads the whole answer. Dropping the future ends the exchange.
    ///
    /// # Errors
    /// [`EgressError`]; it says whether the request can have taken effect.
    pub async fn send(&self, request: EgressRequest) -> Result<EgressAnswer, EgressError> {
        let timeout = request.timeout.min(EXCHANGE_TIMEOUT);
        // Read again under the rules in force: a checked URL may come from another client's policy.
        let url = self.policy.check(request.url.url().as_str())?;
        if request.body.as_ref().is_some_and(|body| body.len() > REQUEST_BYTES) {
            return Err(EgressError::TooLarge { what: "the request", limit: REQUEST_BYTES });
        }
        let _permit = self.permits.try_acquire().map_err(|_| EgressError::Busy)?;
        let mut headers = request.headers;
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut outgoing = self.client.request(request.method, url.url().clone()).headers(headers);
        if let Some(body) = request.body {
            outgoing = outgoing.body(body);
        }
        tokio::time::timeout(timeout, read_answer(outgoing, timeout))
            .await
            .map_err(|_| EgressError::Timeout(timeout))?
    }
}

async fn read_answer(request: reqwest::RequestBuilder, timeout: Duration) -> Result<EgressAnswer, EgressError> {
    let too_large = EgressError::TooLarge { what: "the answer", limit: ANSWER_BYTES };
    let mut response = request.send().await.map_err(|error| classify(&error, timeout))?;
    if response.content_length().is_some_and(|length| length > ANSWER_BYTES as u64) {
        return Err(too_large);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| classify(&error, timeout))? {
        if body.len() + chunk.len() > ANSWER_BYTES {
            return Err(too_large);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(EgressAnswer {
        status: response.status(),
        headers: std::mem::take(response.headers_mut()),
        body: Bytes::from(body),
    })
}

/// Sorts the library's error. Its own text repeats the URL, which may carry personal data: only the
/// innermost cause is kept.
fn classify(error: &reqwest::Error, timeout: Duration) -> EgressError {
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(inner) = cause.source() {
        cause = inner;
        match cause.downcast_ref::<ResolveError>() {
            Some(ResolveError::Refused(refusal)) => return EgressError::Refused(refusal.clone()),
            Some(ResolveError::Lookup(why)) => return EgressError::Connect(why.clone()),
            None => {}
        }
    }
    // A broken-off connect is told from a broken-off exchange by where it happened, not by its text.
    if error.is_connect() {
        EgressError::Connect(cause.to_string())
    } else if error.is_timeout() {
        EgressError::Timeout(timeout)
    } else {
        EgressError::Broken(cause.to_string())
    }
}

/// Makes ring the process's TLS provider, once. A provider that is installed already stays.
fn install_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // A failure means that another thread was first, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn checked(answer: Vec<IpAddr>) -> Result<Vec<SocketAddr>, ResolveError> {
        let lookup: Addresses = Box::pin(async move { Ok(answer) });
        CheckedResolver::addresses(&EgressPolicy::default(), "example.com", lookup, RESOLVE_TIMEOUT).await
    }

    #[tokio::test]
    async fn the_addresses_that_were_checked_are_the_addresses_handed_on() {
        let public: IpAddr = "93.184.216.34".parse().unwrap();
        assert_eq!(checked(vec![public]).await.unwrap(), [SocketAddr::new(public, 0)]);
    }

    #[tokio::test]
    async fn a_name_that_answers_with_an_inner_address_beside_a_public_one_is_refused() {
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "10.1.2.3"] {
            let error = checked(vec!["93.184.216.34".parse().unwrap(), address.parse().unwrap()]).await.unwrap_err();
            assert!(matches!(error, ResolveError::Refused(Refusal::Address { .. })), "{address}");
        }
    }

    #[tokio::test]
    async fn a_look_up_that_never_ends_is_given_up() {
        let never: Addresses = Box::pin(std::future::pending());
        let error = CheckedResolver::addresses(&EgressPolicy::default(), "example.com", never, Duration::ZERO)
            .await
            .unwrap_err();
        assert!(matches!(error, ResolveError::Lookup(_)));
    }

    #[tokio::test]
    async fn a_thousand_addresses_are_cut_before_they_are_used() {
        let flood = (0..1000).map(|n| IpAddr::from([93, 184, (n / 256) as u8, (n % 256) as u8])).collect();
        assert_eq!(checked(flood).await.unwrap().len(), RESOLVED_ADDRESSES);
    }
}

//! Certificates: which we trust, which we show.

use std::path::PathBuf;

/// How we verify a server and what we show it. Certificates are verified against the system's roots, or against
/// `ca_file` alone when it is given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientTls {
    /// PEM file of the certification authorities that may have signed the server's certificate.
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

//! Certificates and keys out of files, as rustls takes them.

use super::verify::{Check, Demand, Verdicts, Verifier};
use super::{ServerTls, TlsIdentity};
use crate::net::NetError;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The system's roots are read again after this time: packages renew them under a running server.
const ROOTS_LIFETIME: Duration = Duration::from_secs(3_600);

/// The cryptography of every connection, whatever else in the process chose for itself.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn unusable(file: &Path, reason: impl Into<String>) -> NetError {
    NetError::Certificate { file: file.display().to_string(), reason: reason.into() }
}

fn read(file: &Path) -> Result<Vec<u8>, NetError> {
    std::fs::read(file).map_err(|error| unusable(file, format!("cannot be read: {error}")))
}

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, NetError> {
    let pem = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(unusable(file, "it holds no certificate; PEM with BEGIN CERTIFICATE is expected")),
        Err(error) => Err(unusable(file, format!("its PEM cannot be read: {error}"))),
    }
}

fn key(file: &Path) -> Result<PrivateKeyDer<'static>, NetError> {
    PrivateKeyDer::from_pem_slice(&read(file)?)
        .map_err(|_| unusable(file, "it holds no private key that can be used; PEM without a passphrase is expected"))
}

fn identity(identity: &TlsIdentity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), NetError> {
    Ok((certificates(&identity.certificate_file)?, key(&identity.key_file)?))
}

/// Why rustls does not take a chain with a key.
fn mismatch(identity: &TlsIdentity, error: &rustls::Error) -> NetError {
    let file = &identity.certificate_file;
    match error {
        rustls::Error::InconsistentKeys(_) => {
            unusable(file, format!("it does not belong to the key in {}", identity.key_file.display()))
        }
        other => unusable(file, other.to_string()),
    }
}

fn roots_of(file: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), NetError> {
    let found = certificates(file)?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.iter().cloned());
    if added == 0 {
        return Err(unusable(file, "none of its certificates can be used as an authority"));
    }
    Ok((roots, found))
}

/// The system's authorities.
fn system_roots() -> Result<Arc<RootCertStore>, NetError> {
    static ROOTS: Mutex<Option<(Instant, Arc<RootCertStore>)>> = Mutex::new(None);
    let mut roots = ROOTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, roots)) = roots.as_ref().filter(|(at, _)| at.elapsed() < ROOTS_LIFETIME) {
        let _ = at;
        return Ok(Arc::clone(roots));
    }
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err(NetError::Certificate {
            file: "the system's certificates".to_owned(),
            reason: "none were found. Install the ca-certificates package, or name the peer's authority as `ca`"
                .to_owned(),
        });
    }
    let store = Arc::new(store);
    *roots = Some((Instant::now(), Arc::clone(&store)));
    Ok(store)
}

/// How the certificate of one host is judged.
pub(super) fn check(demand: &Demand) -> Result<Check, NetError> {
    let settings = &demand.settings;
    if settings.danger_accept_any_certificate {
        return Ok(Check::any());
    }
    let (roots, pinned, source) = match &settings.ca_file {
        Some(file) => {
            let (roots, pinned) = roots_of(file)?;
            (Arc::new(roots), pinned, file.display().to_string())
        }
        None => (system_roots()?, Vec::new(), "the system's authorities".to_owned()),
    };
    let chain = WebPkiServerVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| NetError::Certificate { file: source.clone(), reason: error.to_string() })?;
    Ok(Check::by_chain(demand.name.clone(), demand.host.clone(), chain, pinned, source))
}

/// The settings of a connection of ours that has to meet all demands; shows the certificate that the last one names.
pub(super) fn client_config(demands: &[Demand]) -> Result<(Arc<ClientConfig>, Verdicts), NetError> {
    let checks: Result<Vec<Check>, NetError> = demands.iter().map(check).collect();
    let (verifier, verdicts) = Verifier::new(checks?, provider());
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| NetError::Certificate { file: "TLS".to_owned(), reason: error.to_string() })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match demands.iter().rev().find_map(|demand| demand.settings.identity.as_ref()) {
        Some(files) => {
            let (chain, key) = identity(files)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| mismatch(files, &error))?
        }
        None => builder.with_no_client_auth(),
    };
    Ok((Arc::new(config), verdicts))
}

/// The settings of a listener.
pub(super) fn server_config(settings: &ServerTls) -> Result<Arc<ServerConfig>, NetError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| NetError::Certificate { file: "TLS".to_owned(), reason: error.to_string() })?;
    let builder = match &settings.client_ca_file {
        Some(file) => {
            let (roots, _) = roots_of(file)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                .build()
                .map_err(|error| unusable(file, error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let (chain, key) = identity(&settings.identity)?;
    let config = builder.with_single_cert(chain, key).map_err(|error| mismatch(&settings.identity, &error))?;
    Ok(Arc::new(config))
}

/// When the files of a listener were last changed.
pub(super) fn changes(settings: &ServerTls) -> Vec<Option<SystemTime>> {
    let files = [&settings.identity.certificate_file, &settings.identity.key_file];
    let changed = |file: &Path| std::fs::metadata(file).and_then(|meta| meta.modified()).ok();
    files.into_iter().chain(&settings.client_ca_file).map(|file| changed(file)).collect()
}

//! A certificate authority that lives as long as the process, and the certificate of `localhost` it signed.

use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

/// What all fakes of a process share.
pub struct Authority {
    /// The authority's certificate in PEM, for the client to trust.
    pub pem: String,
    /// The same in DER.
    pub der: CertificateDer<'static>,
    /// Answers for `localhost` and 127.0.0.1, with ALPN `http/1.1`.
    pub acceptor: TlsAcceptor,
}

/// The authority, made when first asked for.
pub fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| make().expect("rcgen makes a certificate of constant parameters"))
}

fn make() -> Result<Authority, Box<dyn std::error::Error>> {
    let mut root = CertificateParams::new(Vec::new())?;
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    root.distinguished_name.push(DnType::CommonName, "Authority of the fakes");
    let root_key = KeyPair::generate()?;
    let root_certificate = root.self_signed(&root_key)?;
    let issuer = Issuer::new(root, root_key);

    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()])?.signed_by(&key, &issuer)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Authority {
        pem: root_certificate.pem(),
        der: root_certificate.der().clone(),
        acceptor: TlsAcceptor::from(Arc::new(config)),
    })
}

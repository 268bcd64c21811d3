//! A certificate authority that lives as long as the process, and the certificates of `localhost` it signed.

use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

/// What a server shows for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Certificate {
    /// Good, for `localhost` and 127.0.0.1.
    Good,
    /// The same, from 2020-01-01 to 2021-02-03.
    Expired,
    /// The same, from 2200-01-01 to 2201-02-03.
    NotYetValid,
    /// For `elsewhere.example` alone.
    OfAnotherName,
    /// Good, and signed by an authority of its own.
    OfAnotherAuthority,
}

/// What all fakes of a process share.
pub struct Authority {
    /// The authority's certificate in PEM, for the client to trust.
    pub pem: String,
    /// The same in DER.
    pub der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    /// Shows [`Certificate::Good`].
    good: TlsAcceptor,
}

/// The authority, made when first asked for.
pub fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| Authority::new().expect("rcgen makes a certificate of constant parameters"))
}

type Made<T> = Result<T, Box<dyn std::error::Error>>;

impl Authority {
    fn new() -> Made<Self> {
        let mut root = CertificateParams::new(Vec::new())?;
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        root.distinguished_name.push(DnType::CommonName, "Authority of the fakes");
        let key = KeyPair::generate()?;
        let certificate = root.self_signed(&key)?;
        let issuer = Issuer::new(root, key);
        let good = sign(&issuer, Certificate::Good)?;
        Ok(Self { pem: certificate.pem(), der: certificate.der().clone(), issuer, good })
    }

    /// Shows this certificate, with ALPN `http/1.1`.
    pub fn acceptor(&self, certificate: Certificate) -> TlsAcceptor {
        let made = match certificate {
            Certificate::Good => Ok(self.good.clone()),
            Certificate::OfAnotherAuthority => Self::new().map(|other| other.good),
            other => sign(&self.issuer, other),
        };
        made.expect("rcgen makes a certificate of constant parameters")
    }
}

fn sign(issuer: &Issuer<'static, KeyPair>, certificate: Certificate) -> Made<TlsAcceptor> {
    let names: &[&str] = match certificate {
        Certificate::OfAnotherName => &["elsewhere.example"],
        _ => &["localhost", "127.0.0.1"],
    };
    let mut leaf = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
    let year = match certificate {
        Certificate::Expired => Some(2020),
        Certificate::NotYetValid => Some(2200),
        _ => None,
    };
    if let Some(year) = year {
        (leaf.not_before, leaf.not_after) = (date_time_ymd(year, 1, 1), date_time_ymd(year + 1, 2, 3));
    }
    let key = KeyPair::generate()?;
    let leaf = leaf.signed_by(&key, issuer)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

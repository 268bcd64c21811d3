//! What a certificate says of itself.

use crate::net::NetError;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// What a certificate says of itself: claims, until somebody verified it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFacts {
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The host names and addresses it is made out to (subjectAltName). A name in the subject alone does not count.
    pub names: Vec<String>,
    /// The first moment of its validity.
    pub not_before: Timestamp,
    /// The last one.
    pub not_after: Timestamp,
}

impl CertificateFacts {
    /// Reads a certificate; `None` when it is none.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let body = certificate.tbs_certificate();
        let moment = |unix: Duration| Timestamp::new(unix.as_secs().try_into().ok()?, 0).ok();
        let names = body.get_extension::<SubjectAltName>().ok().flatten().map(|(_, names)| names.0).unwrap_or_default();
        Some(Self {
            subject: body.subject().to_string(),
            issuer: body.issuer().to_string(),
            names: names.iter().filter_map(name).collect(),
            not_before: moment(body.validity().not_before.to_unix_duration())?,
            not_after: moment(body.validity().not_after.to_unix_duration())?,
        })
    }
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(octets) => {
            let octets = octets.as_bytes();
            let v4 = <[u8; 4]>::try_from(octets).map(|o| IpAddr::from(Ipv4Addr::from(o)));
            v4.or_else(|_| <[u8; 16]>::try_from(octets).map(|o| IpAddr::from(Ipv6Addr::from(o))))
                .ok()
                .map(|ip| ip.to_string())
        }
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.to_string()),
        _ => None,
    }
}

/// The first certificate of a PEM file.
///
/// # Errors
/// [`NetError::Certificate`] when there is none.
pub fn describe_certificate(file: &Path) -> Result<CertificateFacts, NetError> {
    let certificates = super::files::certificates(file)?;
    certificates.first().and_then(CertificateFacts::of).ok_or_else(|| NetError::Certificate {
        file: file.display().to_string(),
        reason: "its certificate cannot be read".to_owned(),
    })
}

//! What is wrong with a TLS connection, and what to do, in words.

use super::facts::CertificateFacts;
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{AlertDescription, CertificateError, Error};

/// What an error of a handshake or of an open connection means.
pub(super) fn of(error: &Error) -> String {
    match error {
        Error::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::NoCertificate) => {
            "the peer wants a certificate from us: name `certificate` and `key` for it".to_owned()
        }
        Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::AccessDenied,
        ) => format!("the peer does not accept our certificate, or wants one ({error})"),
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "the peer serves no host of that name: check the host, or set `server_name`".to_owned()
        }
        Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion)
        | Error::PeerIncompatible(_) => {
            format!("no common TLS version or cipher; TLS 1.2 at least is needed ({error})")
        }
        Error::InvalidMessage(_) => "the peer does not speak TLS on that port".to_owned(),
        Error::NoCertificatesPresented => "the peer showed no certificate, which our `client_ca` demands".to_owned(),
        other => other.to_string(),
    }
}

/// What is wrong with the certificate that `host` showed. `trusted` names whom we trust.
pub(super) fn of_certificate(
    error: &Error,
    host: &str,
    own: &CertificateDer<'_>,
    rest: &[CertificateDer<'_>],
    trusted: &str,
) -> String {
    let facts = CertificateFacts::of(own);
    let Error::InvalidCertificate(fault) = error else { return of(error) };
    let date = |time: &UnixTime, fallback: fn(&CertificateFacts) -> Timestamp| {
        let exact = i64::try_from(time.as_secs()).ok().and_then(|s| Timestamp::from_second(s).ok());
        day(exact.or_else(|| facts.as_ref().map(fallback)))
    };
    match fault {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!(
                "the certificate of {host} expired on {}: it has to be renewed there",
                date(not_after, |f| f.not_after)
            )
        }
        CertificateError::Expired => format!(
            "the certificate of {host} expired on {}: it has to be renewed there",
            day(facts.as_ref().map(|f| f.not_after))
        ),
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "the certificate of {host} is valid from {} on: check this machine's clock",
            date(not_before, |f| f.not_before)
        ),
        CertificateError::NotValidYet => format!(
            "the certificate of {host} is valid from {} on: check this machine's clock",
            day(facts.as_ref().map(|f| f.not_before))
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let names = facts.map(|f| f.names).unwrap_or_default();
            if names.is_empty() {
                return format!(
                    "the certificate of {host} is for no host at all (it has no subjectAltName): give it one, or name that \
                     very certificate as `ca`"
                );
            }
            let names = names.join(", ");
            format!("the certificate is for {names}, not for {host}: use its name as the host, or set `server_name`")
        }
        CertificateError::UnknownIssuer => {
            let last = rest.last().and_then(CertificateFacts::of).or(facts);
            let issuer = last.map_or_else(|| "an unknown authority".to_owned(), |f| f.issuer);
            format!(
                "the certificate of {host} was signed by {issuer}, which is not among {trusted}: \
                 name that authority's certificate as `ca`"
            )
        }
        CertificateError::BadSignature => {
            format!("the certificate of {host} is not signed by the authority of that name in {trusted}")
        }
        CertificateError::Revoked => format!("the certificate of {host} was revoked"),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!("the certificate of {host} is not meant for servers (extendedKeyUsage)")
        }
        CertificateError::BadEncoding => format!("the certificate of {host} cannot be read"),
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => format!(
            "{host} shows the certificate of an authority as its own: if it is meant so, name that very certificate as `ca`"
        ),
        other => format!("the certificate of {host} is not accepted: {other}"),
    }
}

fn day(moment: Option<Timestamp>) -> String {
    moment.map_or_else(|| "an unknown day".to_owned(), |m| m.strftime("%Y-%m-%d").to_string())
}

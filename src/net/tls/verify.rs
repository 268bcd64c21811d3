//! Whom the certificate of a peer must name, and whether it does.

use super::facts::CertificateFacts;
use super::{ClientTls, words};
use crate::net::NetError;
use crate::net::limits::REMEMBERED;
use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Different hosts that one address may stand for. A DNS answer must not make each handshake verify hundreds of names.
const DEMANDS_PER_ADDRESS: usize = 16;

/// What the certificate of a peer must show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::net) struct Demand {
    /// The name it must carry.
    pub(super) name: ServerName<'static>,
    /// The host as it was asked for.
    pub(in crate::net) host: String,
    pub(super) settings: Arc<ClientTls>,
}

impl Demand {
    /// What a destination demands.
    ///
    /// # Errors
    /// [`NetError::Locate`] when the host is no name that a certificate could carry.
    pub(in crate::net) fn new(host: &str, settings: Arc<ClientTls>) -> Result<Self, NetError> {
        let wanted = settings.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(wanted.trim_end_matches('.').to_owned()).map_err(|_| NetError::Locate {
            host: wanted.to_owned(),
            reason: "no certificate can be made out to such a name".to_owned(),
        })?;
        Ok(Self { name, host: wanted.to_owned(), settings })
    }
}

/// What has been demanded of each address. An address that several hosts resolve to has to satisfy all of them, since a
/// message does not say which one it is for: else whoever owns one of the names could take the calls of the others.
#[derive(Debug, Default)]
pub(in crate::net) struct Demands {
    by_address: HashMap<SocketAddr, Vec<Demand>>,
    order: VecDeque<SocketAddr>,
}

impl Demands {
    /// Adds a demand, or makes it the last one: the one whose name the handshake asks for.
    pub(in crate::net) fn add(&mut self, remote: SocketAddr, demand: Demand) {
        if !self.by_address.contains_key(&remote) {
            self.order.push_back(remote);
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_address.remove(&oldest);
            }
        }
        let demands = self.by_address.entry(remote).or_default();
        demands.retain(|known| *known != demand);
        if demands.len() >= DEMANDS_PER_ADDRESS {
            demands.remove(0);
        }
        demands.push(demand);
    }

    /// What is demanded of an address; empty when nobody asked for a host there.
    pub(in crate::net) fn of(&self, remote: SocketAddr) -> &[Demand] {
        self.by_address.get(&remote).map(Vec::as_slice).unwrap_or_default()
    }
}

/// How a certificate is judged.
#[derive(Debug)]
pub(in crate::net) struct Check(Option<ByChain>);

#[derive(Debug)]
struct ByChain {
    name: ServerName<'static>,
    host: String,
    chain: Arc<WebPkiServerVerifier>,
    /// Certificates accepted as they are.
    pinned: Vec<CertificateDer<'static>>,
    /// Whom we trust, in words.
    source: String,
}

impl Check {
    /// Accepts whatever is shown.
    pub(super) fn any() -> Self {
        Self(None)
    }

    /// By name, validity and signature.
    pub(super) fn by_chain(
        name: ServerName<'static>,
        host: String,
        chain: Arc<WebPkiServerVerifier>,
        pinned: Vec<CertificateDer<'static>>,
        source: String,
    ) -> Self {
        Self(Some(ByChain { name, host, chain, pinned, source }))
    }

    /// Judges certificates that were shown before.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn verify(&self, certificates: &[CertificateDer<'_>]) -> Result<(), String> {
        let Some((own, rest)) = certificates.split_first() else { return Err("no certificate was shown".to_owned()) };
        self.judge(own, rest, UnixTime::now()).map_err(|(_, words)| words)
    }

    fn judge(
        &self,
        own: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), (rustls::Error, String)> {
        let Some(check) = &self.0 else { return Ok(()) };
        check.judge(own, rest, now).map_err(|error| {
            let words = words::of_certificate(&error, &check.host, own, rest, &check.source);
            (error, words)
        })
    }
}

impl ByChain {
    fn judge(&self, own: &CertificateDer<'_>, rest: &[CertificateDer<'_>], now: UnixTime) -> Result<(), rustls::Error> {
        if !self.pinned.iter().any(|pinned| pinned.as_ref() == own.as_ref()) {
            return self.chain.verify_server_cert(own, rest, &self.name, &[], now).map(|_| ());
        }
        let facts = CertificateFacts::of(own).ok_or(CertificateError::BadEncoding)?;
        let moment = i64::try_from(now.as_secs()).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or_default();
        if moment > facts.not_after {
            return Err(CertificateError::Expired.into());
        }
        if moment < facts.not_before {
            return Err(CertificateError::NotValidYet.into());
        }
        // One without any host name, as PBXs make for themselves, can only be meant for whom the operator says.
        if facts.names.is_empty() {
            return Ok(());
        }
        verify_server_name(&ParsedCertificate::try_from(own)?, &self.name)
    }
}

/// Why a handshake was refused, in words: rustls itself keeps less.
#[derive(Clone, Debug, Default)]
pub(in crate::net) struct Verdicts(Arc<Mutex<Option<String>>>);

impl Verdicts {
    pub(super) fn refusal(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Accepts a certificate that meets every demand on its address.
#[derive(Debug)]
pub(super) struct Verifier {
    checks: Vec<Check>,
    provider: Arc<CryptoProvider>,
    verdicts: Verdicts,
}

impl Verifier {
    pub(super) fn new(checks: Vec<Check>, provider: Arc<CryptoProvider>) -> (Self, Verdicts) {
        let verdicts = Verdicts::default();
        (Self { checks, provider, verdicts: verdicts.clone() }, verdicts)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.checks.is_empty() {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        for check in &self.checks {
            check.judge(end_entity, intermediates, now).map_err(|(error, words)| {
                *self.verdicts.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
                error
            })?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(host: &str) -> Demand {
        Demand::new(host, Arc::default()).unwrap()
    }

    #[test]
    fn an_address_has_to_meet_the_demands_of_every_host_that_resolves_to_it() {
        let mut demands = Demands::default();
        let remote = ([192, 0, 2, 1], 5061).into();
        for host in ["a.example", "b.example", "a.example"] {
            demands.add(remote, demand(host));
        }
        assert_eq!(demands.of(remote), [demand("b.example"), demand("a.example")]);
        assert_eq!(demands.of(([192, 0, 2, 1], 5062).into()), []);
    }

    #[test]
    fn demands_are_bounded_in_number_and_addresses() {
        let mut demands = Demands::default();
        for i in 0..100 {
            demands.add(([192, 0, 2, 1], 5061).into(), demand(&format!("h{i}.example")));
        }
        assert_eq!(demands.of(([192, 0, 2, 1], 5061).into()).len(), DEMANDS_PER_ADDRESS);
        for i in 0..3_000u16 {
            demands.add(([192, 0, 2, 2], i).into(), demand("a.example"));
        }
        assert_eq!((demands.by_address.len(), demands.order.len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn a_host_that_no_certificate_can_name_is_refused() {
        assert!(Demand::new("exa mple", Arc::default()).is_err());
        assert!(Demand::new("192.0.2.1", Arc::default()).is_ok());
        assert!(Demand::new("2001:db8::1", Arc::default()).is_ok());
    }
}

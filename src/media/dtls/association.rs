//! One association of the DTLS library, which knows one peer only and is told everything: datagrams, time.

use super::Transmit;
use super::identity::Identity;
use super::{ALERT, SrtpKey, SrtpKeys, SrtpSuite};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_dtls::state::State;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Instant;

/// The name under which the library knows the one peer; whose address it is stays here.
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1));
/// What RFC 5764 §4.2 calls the keys.
const LABEL: &str = "EXTRACTOR-dtls_srtp";

/// Why an association is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The server chose no SRTP profile of ours.
    NoSrtp,
    /// Anything else: damage, or the peer's farewell.
    Broken,
}

pub(super) struct Association {
    endpoint: Endpoint,
    is_client: bool,
    is_connected: bool,
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_client, is_connected, .. } = self;
        f.debug_struct("Association").field("is_client", is_client).field("is_connected", is_connected).finish()
    }
}

impl Association {
    /// A client says hello at once. `None` where the system has no random numbers.
    pub(super) fn new(now: Instant, identity: &Identity, is_client: bool) -> Option<Self> {
        let server = (!is_client).then(|| Arc::clone(&identity.server));
        let mut endpoint = Endpoint::new(PEER, TransportProtocol::UDP, server);
        if is_client {
            endpoint.connect(now, PEER, Arc::clone(&identity.client), None).ok()?;
        }
        Some(Self { endpoint, is_client, is_connected: false })
    }

    /// Shows it a datagram.
    pub(super) fn show(&mut self, now: Instant, datagram: &[u8]) -> Result<(), Fault> {
        match self.endpoint.read(now, PEER, None, datagram.into()) {
            Ok(events) => {
                for event in events {
                    match event {
                        EndpointEvent::HandshakeComplete => self.is_connected = true,
                        EndpointEvent::PeerClosed => return Err(Fault::Broken),
                        _ => {}
                    }
                }
                Ok(())
            }
            Err(Error::ErrRequestedButNoSrtpExtension | Error::ErrClientNoMatchingSrtpProfile) => Err(Fault::NoSrtp),
            Err(_) => Err(Fault::Broken),
        }
    }

    /// Tells it the time.
    pub(super) fn pass_time(&mut self, now: Instant) -> Result<(), Fault> {
        self.endpoint.handle_timeout(PEER, now).map_err(|_| Fault::Broken)
    }

    /// When it wants to be told.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout(&PEER)
    }

    /// The next datagram for the peer at `to`. Alerts are not among them: in clear they would end the peer's handshake for
    /// what somebody else sent us.
    pub(super) fn poll_transmit(&mut self, to: SocketAddr) -> Option<Transmit> {
        loop {
            let datagram = self.endpoint.poll_transmit()?.message;
            if datagram.first() != Some(&ALERT) {
                return Some(Transmit { to, datagram: datagram.to_vec() });
            }
        }
    }

    /// Whether both sides have proved themselves.
    pub(super) fn is_connected(&self) -> bool {
        self.is_connected
    }

    fn state(&self) -> Option<&State> {
        self.endpoint.get_connection_state(PEER)
    }

    /// The certificate of the peer.
    pub(super) fn certificate(&self) -> Option<&[u8]> {
        self.state()?.peer_certificates.first().map(Vec::as_slice)
    }

    /// The keys of both directions (RFC 5764 §4.2: client's key, server's key, client's salt, server's salt). `None` where no
    /// profile was agreed on.
    pub(super) fn keys(&self) -> Option<SrtpKeys> {
        let state = self.state()?;
        let suite = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => SrtpSuite::AesCm128HmacSha1Tag80,
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => SrtpSuite::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => SrtpSuite::AeadAes256Gcm,
            _ => return None,
        };
        let length = 2 * (suite.key_length() + suite.salt_length());
        let material = state.export_keying_material(LABEL, &[], length).ok()?;
        let (keys, salts) = material.as_ref().split_at_checked(2 * suite.key_length())?;
        let (client_key, server_key) = keys.split_at_checked(suite.key_length())?;
        let (client_salt, server_salt) = salts.split_at_checked(suite.salt_length())?;
        let [of_client, of_server] = [(client_key, client_salt), (server_key, server_salt)]
            .map(|(key, salt)| SrtpKey::from_parts(suite, key, salt));
        let (send, receive) = if self.is_client { (of_client?, of_server?) } else { (of_server?, of_client?) };
        Some(SrtpKeys { send, receive })
    }
}

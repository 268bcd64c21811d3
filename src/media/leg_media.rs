//! What offer and answer agreed, as far as media is concerned.

use crate::audio::codec::{Coding, OpusSettings};
use crate::base::{SampleRate, SrtpKey};
use crate::sdp::{Codec, Negotiated, OpusParameters, Security};
use std::net::{IpAddr, SocketAddr};

/// How the packets of a leg are protected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LegSecurity {
    /// RTP in clear.
    Plain,
    /// Encryption was agreed and its keys are not known yet: nothing is sent, nothing is heard.
    Pending,
    /// SRTP (RFC 3711). The same keys again go on where they were; other keys start over.
    Srtp {
        /// Of what we send.
        send: SrtpKey,
        /// Of what the peer sends.
        receive: SrtpKey,
    },
}

/// The agreement that [`super::Leg::configure`] applies. Start from [`Self::new`] or [`Self::bare`], and change fields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LegMedia {
    /// Where the SDP says the peer receives RTP; an unspecified IP when the SDP names none.
    pub remote: SocketAddr,
    /// Where its signalling came from. Used only when the IP of `remote` is private or unroutable.
    pub signalling_ip: IpAddr,
    /// Where the peer receives RTCP; the address of `remote` when multiplexed.
    pub rtcp: SocketAddr,
    /// The agreed codec.
    pub codec: Codec,
    /// Its payload type.
    pub payload_type: u8,
    /// A second codec the peer may switch to.
    pub alternate: Option<(u8, Codec)>,
    /// How Opus is run where it is the codec. Its sample rate gives way to the line rate.
    pub opus: OpusSettings,
    /// Payload type of `telephone-event` to send.
    pub telephone_event: Option<u8>,
    /// Payload type of `telephone-event` to expect, where it differs from the one to send.
    pub receive_telephone_event: Option<u8>,
    /// Ticks per second in the durations of telephone-events: the clock rate of the codec (RFC 4733 §2.1).
    pub telephone_event_rate: u32,
    /// Payload type of comfort noise (RFC 3389), where it was agreed.
    pub comfort_noise: Option<u8>,
    /// We send comfort noise, or nothing, while we have nothing to say. Off unless asked for: packets that flow keep
    /// NAT bindings open and tell a quiet line from a dead one.
    pub suppress_silence: bool,
    /// Audio per packet sent, in milliseconds: 10, 20, 30, 40 or 60; others are rounded down to one of these.
    pub ptime_ms: u8,
    /// How packets are protected. Once it was not [`LegSecurity::Plain`], it never is again, unless a handshake
    /// that gave no keys was given up ([`super::Leg::give_up_handshake`]).
    pub security: LegSecurity,
    /// A DTLS handshake takes place on the RTP port: its datagrams come by [`super::Leg::next_datagram`].
    pub dtls: bool,
    /// We send (silence when there is nothing to say). False while held.
    pub send: bool,
    /// We expect audio. False stops the uplink, digits and the media timeout.
    pub receive: bool,
}

impl LegMedia {
    /// What a negotiation says about media. `signalling_ip` is where the peer's SIP messages come from. When the
    /// peer gave a host name, [`Self::remote`] has no IP: resolve it, or leave it to the source lock.
    #[must_use]
    pub fn new(negotiated: &Negotiated, signalling_ip: IpAddr) -> Self {
        Self {
            signalling_ip,
            rtcp: negotiated.rtcp,
            payload_type: negotiated.payload_type,
            alternate: negotiated.alternate,
            telephone_event: negotiated.telephone_event,
            receive_telephone_event: negotiated.receive_telephone_event,
            telephone_event_rate: negotiated.telephone_event_rate,
            comfort_noise: negotiated.comfort_noise,
            opus: opus(&negotiated.opus),
            ptime_ms: negotiated.ptime_ms,
            security: match &negotiated.security {
                Security::Plain => LegSecurity::Plain,
                Security::Sdes { send, receive, .. } => {
                    LegSecurity::Srtp { send: send.clone(), receive: receive.clone() }
                }
                Security::Dtls { .. } => LegSecurity::Pending,
            },
            dtls: matches!(negotiated.security, Security::Dtls { .. }),
            send: negotiated.direction.sends(),
            receive: negotiated.direction.receives(),
            ..Self::bare(negotiated.remote, negotiated.codec)
        }
    }

    /// One codec under its usual payload type, both ways, 20 ms, RTCP on the port above, nothing else.
    #[must_use]
    pub fn bare(remote: SocketAddr, codec: Codec) -> Self {
        Self {
            remote,
            signalling_ip: remote.ip(),
            rtcp: SocketAddr::new(remote.ip(), remote.port().saturating_add(1)),
            codec,
            payload_type: codec.offered_payload_type(),
            alternate: None,
            opus: OpusSettings::VOICE,
            telephone_event: None,
            receive_telephone_event: None,
            telephone_event_rate: codec.clock_rate(),
            comfort_noise: None,
            suppress_silence: false,
            ptime_ms: 20,
            security: LegSecurity::Plain,
            dtls: false,
            send: true,
            receive: true,
        }
    }

    /// The agreed codec as it is run on a leg of this line rate.
    pub(super) fn coding(&self, line: SampleRate) -> Coding {
        self.coding_of(self.codec, line)
    }

    /// A codec as it is run on a leg of this line rate.
    pub(super) fn coding_of(&self, codec: Codec, line: SampleRate) -> Coding {
        match codec {
            Codec::Pcmu => Coding::Pcmu,
            Codec::Pcma => Coding::Pcma,
            Codec::G722 => Coding::G722,
            // Opus speaks every line rate by itself.
            Codec::Opus => Coding::Opus(OpusSettings { sample_rate: line, ..self.opus }),
        }
    }

    /// The line rate of a leg that this configures first.
    pub(super) fn line_rate(&self, max: SampleRate) -> SampleRate {
        let wanted = self.coding(self.opus.sample_rate).sample_rate();
        if wanted <= max { wanted } else { max }
    }
}

/// Our way of running Opus, within what the peer says about itself.
fn opus(peer: &OpusParameters) -> OpusSettings {
    let ours = OpusSettings::VOICE;
    let most = peer.max_average_bitrate.unwrap_or(ours.bitrate);
    OpusSettings { bitrate: ours.bitrate.min(most).max(6_000), fec: peer.in_band_fec, ..ours }
}

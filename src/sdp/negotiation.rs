//! The two roles of RFC 3264 for one audio stream.

use super::stream::{self, Stream};
use super::{Codec, Direction, OpusParameters, SdpError, Security};
use crate::base::Random;
use sdp_types::{Attribute, Connection, Media, MediaType, Origin, Session, Time, TransportProto};
use std::net::{IpAddr, SocketAddr};

/// The payload type of telephone-event in our offers.
const TELEPHONE_EVENT: u8 = 101;

/// What both sides agreed on. The caller configures the media leg with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Negotiated {
    /// Where the peer says it receives RTP. The IP is unspecified (`0.0.0.0`, `::`) when the peer gave a host
    /// name ([`Self::remote_name`]) or put the call on hold the old way; then nothing can be sent there.
    pub remote: SocketAddr,
    /// The host name of the peer's `c=` line, when it was one: resolve it, or rely on the source lock.
    pub remote_name: Option<String>,
    /// Where the peer receives RTCP; the same as [`Self::remote`] when multiplexed.
    pub rtcp: SocketAddr,
    /// The codec to send and expect.
    pub codec: Codec,
    /// Its payload type, the peer's number.
    pub payload_type: u8,
    /// A second codec which the peer may switch to at any time, because its answer to our offer lists both.
    pub alternate: Option<(u8, Codec)>,
    /// Payload type of `telephone-event/8000` (RFC 4733) to send, when agreed.
    pub telephone_event: Option<u8>,
    /// Payload type on which the peer's telephone-events arrive.
    pub receive_telephone_event: Option<u8>,
    /// Audio per packet that we send, in milliseconds: the peer's `ptime`, within its `maxptime`, 10–60.
    pub ptime_ms: u8,
    /// **Our** direction: whether we send and whether we expect audio.
    pub direction: Direction,
    /// RTP and RTCP share one port (RFC 5761).
    pub rtcp_mux: bool,
    /// Ticks per second of the durations in telephone-events: the codec's clock rate, or 8,000 where the peer knows
    /// events at that rate only.
    pub telephone_event_rate: u32,
    /// Payload type of comfort noise (RFC 3389), when both sides listed it.
    pub comfort_noise: Option<u8>,
    /// What the peer says about its Opus; the defaults when the codec is another.
    pub opus: OpusParameters,
    /// How the stream is protected.
    pub security: Security,
}

impl Negotiated {
    /// Whether we do not send: the peer has put us on hold, or we wanted it so.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.direction.sends()
    }
}

/// Our answer to an offer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The description to put in the response or ACK.
    pub sdp: String,
    /// What was agreed.
    pub negotiated: Negotiated,
}

/// One audio stream of one dialog, with the `o=` line's session id and version (RFC 3264 §8).
///
/// Use one per dialog, for its whole life: the version grows by one whenever the text changes. Every offer
/// is answered from itself alone, never from what was agreed before.
#[derive(Debug)]
pub struct Negotiation {
    session_id: u64,
    version: u64,
    address: IpAddr,
    rtp_port: u16,
    codecs: Vec<Codec>,
    last: Option<Vec<Media>>,
    offered: Direction,
    /// The place of the audio stream among the `m=` lines; it never changes (RFC 3264 §8).
    place: usize,
    agreed: Option<Agreed>,
}

/// What re-offers of ours repeat (RFC 3264 §8.3.2: a payload type keeps its meaning for the whole session).
#[derive(Clone, PartialEq, Eq, Debug)]
struct Agreed {
    codec: (u8, Codec),
    telephone_event: Option<u8>,
    proto: String,
    rtcp_mux: bool,
}

impl Negotiation {
    /// A negotiation that advertises `address:rtp_port` and knows `codecs`, best first.
    #[must_use]
    pub fn new(address: IpAddr, rtp_port: u16, codecs: Vec<Codec>, random: &mut Random) -> Self {
        // A session id of 63 bits: some peers read it as a signed number.
        let session_id = random.next_u64() >> 1;
        Self {
            session_id,
            version: 0,
            address,
            rtp_port,
            codecs,
            last: None,
            offered: Direction::SendRecv,
            place: 0,
            agreed: None,
        }
    }

    /// Our offer, for an INVITE of ours, for the 200 to an INVITE without one, or to change a session. Its direction
    /// is remembered for [`Self::accept_answer`]. A re-offer keeps the number and order of the `m=` lines, the refused
    /// ones included, and the payload types that were agreed.
    pub fn offer(&mut self, direction: Direction) -> String {
        self.offered = direction;
        let agreed = self.agreed.clone();
        let (proto, first, mux) = agreed
            .as_ref()
            .map_or(("RTP/AVP", None, true), |agreed| (agreed.proto.as_str(), Some(agreed.codec), agreed.rtcp_mux));
        let others = self
            .codecs
            .iter()
            .filter(|codec| first.is_none_or(|(_, agreed)| agreed != **codec))
            .map(|codec| (codec.offered_payload_type(), *codec))
            .filter(|(pt, _)| first.is_none_or(|(taken, _)| taken != *pt));
        let codecs: Vec<_> = first.into_iter().chain(others).collect();
        let mut media = self.audio(proto, &codecs, Some(self.event_to_expect(&codecs)), 20, direction);
        if mux {
            media.attributes.push(Attribute::new("rtcp-mux"));
        }
        let mut lines: Vec<Media> = self.last.iter().flatten().map(refused).collect();
        match lines.get_mut(self.place) {
            Some(line) => *line = media,
            None => lines.push(media),
        }
        self.write(lines)
    }

    /// The payload type of telephone-events in an offer of ours.
    fn event_to_expect(&self, codecs: &[(u8, Codec)]) -> u8 {
        let agreed = self.agreed.as_ref().and_then(|agreed| agreed.telephone_event);
        let is_free = |pt: &u8| codecs.iter().all(|(taken, _)| taken != pt);
        agreed.into_iter().chain(TELEPHONE_EVENT..=127).find(is_free).unwrap_or(TELEPHONE_EVENT)
    }

    /// Answers the peer's `offer`. `direction` is what we want; the answer never exceeds what the offer allows.
    /// Every stream except the first usable audio stream is refused with port 0, in its place.
    ///
    /// # Errors
    /// The offer cannot be used; answer with [`SdpError::sip_status`] and keep the session as it is.
    pub fn answer(&mut self, offer: &[u8], direction: Direction) -> Result<Answer, SdpError> {
        let session = stream::parse(offer)?;
        // The stream in use stays in use where it can; otherwise the first that can be.
        let usable = |n: &usize| session.medias.get(*n).is_some_and(stream::is_usable_audio);
        let in_use = Some(self.place).filter(|_| self.agreed.is_some()).filter(usable);
        let Some((chosen, media)) = in_use
            .or_else(|| (0..session.medias.len()).find(usable))
            .and_then(|n| session.medias.get(n).map(|media| (n, media)))
        else {
            return Err(stream::why_unusable(&session));
        };
        let peer = Stream::read(&session, media)?;
        let (payload_type, codec) = self.first_common(&peer, media)?;
        let direction = peer.direction.reversed().and(direction);
        let event = peer.telephone_event();
        let mut ours = self.audio(&media.proto, &[(payload_type, codec)], event, peer.ptime_ms, direction);
        if peer.rtcp_mux {
            ours.attributes.push(Attribute::new("rtcp-mux"));
        }
        let answers = session
            .medias
            .iter()
            .enumerate()
            .map(|(n, offered)| if n == chosen { ours.clone() } else { refused(offered) })
            .collect();
        self.place = chosen;
        self.agreed = Some(Agreed {
            codec: (payload_type, codec),
            telephone_event: event,
            proto: media.proto.clone(),
            rtcp_mux: peer.rtcp_mux,
        });
        let negotiated = Negotiated {
            remote: peer.address,
            remote_name: peer.host_name,
            rtcp: if peer.rtcp_mux { peer.address } else { peer.rtcp },
            codec,
            payload_type,
            alternate: None,
            telephone_event: event,
            receive_telephone_event: event,
            ptime_ms: peer.ptime_ms,
            direction,
            rtcp_mux: peer.rtcp_mux,
            telephone_event_rate: 8_000,
            comfort_noise: None,
            opus: OpusParameters::default(),
            security: Security::Plain,
        };
        Ok(Answer { sdp: self.write(answers), negotiated })
    }

    /// Reads the peer's answer to our last offer. An answer may come more than once (183, then 200).
    ///
    /// # Errors
    /// The answer cannot be used: the call cannot have media and ends.
    pub fn accept_answer(&mut self, answer: &[u8]) -> Result<Negotiated, SdpError> {
        let session = stream::parse(answer)?;
        let media = session.medias.get(self.place).ok_or(SdpError::AnswerMismatch("it lacks our media line"))?;
        if !media.media.eq_ignore_ascii_case("audio") {
            return Err(SdpError::AnswerMismatch("its media line in the place of ours is not audio"));
        }
        if !stream::is_usable_audio(media) {
            return Err(SdpError::NoAudio);
        }
        let peer = Stream::read(&session, media)?;
        let (payload_type, codec) = self.first_common(&peer, media)?;
        let alternate = peer.codecs().find(|(_, other)| *other != codec && self.codecs.contains(other));
        let expected_event = self.offered_event();
        self.agreed = Some(Agreed {
            codec: (payload_type, codec),
            telephone_event: expected_event,
            proto: media.proto.clone(),
            rtcp_mux: peer.rtcp_mux,
        });
        Ok(Negotiated {
            remote: peer.address,
            rtcp: if peer.rtcp_mux { peer.address } else { peer.rtcp },
            codec,
            payload_type,
            alternate,
            telephone_event: peer.telephone_event(),
            receive_telephone_event: peer.telephone_event().and(expected_event),
            ptime_ms: peer.ptime_ms,
            direction: peer.direction.reversed().and(self.offered),
            rtcp_mux: peer.rtcp_mux,
            remote_name: peer.host_name,
            telephone_event_rate: 8_000,
            comfort_noise: None,
            opus: OpusParameters::default(),
            security: Security::Plain,
        })
    }

    /// The payload type of telephone-events in what we wrote last.
    fn offered_event(&self) -> Option<u8> {
        let written = self.last.as_ref().and_then(|lines| lines.get(self.place));
        written.map_or(Some(TELEPHONE_EVENT), stream::telephone_event_of)
    }

    /// The first codec in the peer's order that we know (RFC 3264 §6.1).
    fn first_common(&self, peer: &Stream, media: &Media) -> Result<(u8, Codec), SdpError> {
        peer.codecs().find(|(_, codec)| self.codecs.contains(codec)).ok_or_else(|| {
            let names = media.attributes.iter().filter(|a| a.attribute.eq_ignore_ascii_case("rtpmap"));
            let names: Vec<_> = names.filter_map(|a| a.value.as_deref()?.split_ascii_whitespace().nth(1)).collect();
            let offered = if names.is_empty() { media.fmt.clone() } else { names.join(", ") };
            SdpError::NoCommonCodec { offered: offered.chars().take(200).collect() }
        })
    }

    fn audio(
        &self,
        proto: &str,
        codecs: &[(u8, Codec)],
        event: Option<u8>,
        ptime_ms: u8,
        direction: Direction,
    ) -> Media {
        let formats: Vec<String> = codecs.iter().map(|(pt, _)| *pt).chain(event).map(|pt| pt.to_string()).collect();
        let mut media = Media::new(MediaType::Audio, self.rtp_port, TransportProto::RtpAvp, formats.join(" "));
        proto.clone_into(&mut media.proto);
        for (pt, codec) in codecs {
            let map = format!("{pt} {}/{}", codec.encoding_name(), codec.clock_rate());
            media.attributes.push(Attribute::with_value("rtpmap", map));
        }
        if let Some(pt) = event {
            media.attributes.push(Attribute::with_value("rtpmap", format!("{pt} telephone-event/8000")));
            media.attributes.push(Attribute::with_value("fmtp", format!("{pt} 0-15")));
        }
        media.attributes.push(Attribute::with_value("ptime", ptime_ms));
        media.attributes.push(Attribute::new(direction.attribute()));
        media
    }

    /// Writes a description; the version grows when it says something else than the last one.
    fn write(&mut self, medias: Vec<Media>) -> String {
        if self.last.as_ref().is_some_and(|last| *last != medias) {
            self.version += 1;
        }
        let mut session = Session::new(Origin::with_ip_addr(self.session_id, self.version, self.address), "-");
        session.connection = Some(Connection::from_ip_addr(self.address));
        session.times = vec![Time::new(0, 0)];
        session.medias.clone_from(&medias);
        self.last = Some(medias);
        let mut octets = Vec::with_capacity(512);
        // A vector takes whatever is written.
        let _ = session.write(&mut octets);
        String::from_utf8_lossy(&octets).into_owned()
    }
}

/// A stream refused in its place (RFC 3264 §6): port 0, the offer's own kind, transport and formats.
fn refused(offered: &Media) -> Media {
    let mut media = Media::new(MediaType::Audio, 0, TransportProto::RtpAvp, &offered.fmt);
    media.media.clone_from(&offered.media);
    media.proto.clone_from(&offered.proto);
    media
}

#[cfg(test)]
mod tests;

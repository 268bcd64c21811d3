//! The two roles of RFC 3264 for one audio stream.

use super::format::{COMFORT_NOISE_RATE, Format};
use super::protection::OwnKeys;
use super::stream::{self, Profile, Stream};
use super::{Codec, CodecPreference, Direction, Keying, OpusParameters, SdpError, Security, SrtpPolicy, StreamTerms};
use crate::base::Random;
use sdp_types::{Attribute, Connection, Media, MediaType, Origin, Session, Time, TransportProto};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Audio per packet that we ask for, in milliseconds.
const PTIME_MS: u8 = 20;
/// The longest packet that we take, in milliseconds.
const MAX_PTIME_MS: u8 = 60;
/// Dynamic payload types (RFC 3551 §6).
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;

/// The stream of an offer that is taken: its place among the descriptions, what it says, how it is protected, and what
/// our answer says about that.
type Choice = (usize, Stream, (Security, Vec<Attribute>));

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
    /// A second payload type that the peer may send, because its answer to our offer lets it: our own number for the
    /// codec where its answer writes another one, else another codec with the same clock that its answer lists.
    pub alternate: Option<(u8, Codec)>,
    /// Payload type of `telephone-event` (RFC 4733) to send, when agreed.
    pub telephone_event: Option<u8>,
    /// Payload type on which the peer's telephone-events arrive.
    pub receive_telephone_event: Option<u8>,
    /// Audio per packet that we send, in milliseconds: the peer's `ptime`, within its `maxptime`, rounded down to what the
    /// codec can do: 10, 20, 40 or 60, and 30 or 50 of anything but Opus.
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

/// Our answer to an offer. `Debug` does not show the description, which may hold keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The description to put in the response or ACK. May hold keys: it goes to the peer and nowhere else.
    pub sdp: String,
    /// What was agreed.
    pub negotiated: Negotiated,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("negotiated", &self.negotiated).finish_non_exhaustive()
    }
}

/// One audio stream of one dialog, with the `o=` line's session id and version (RFC 3264 §8) and our keys.
///
/// Use one per dialog, for its whole life: the version grows by one whenever the text changes. Every offer
/// is answered from itself alone, never from what was agreed before; only our own key, and a DTLS handshake with
/// the same peer, stay. `Debug` shows no descriptions.
pub struct Negotiation {
    session_id: u64,
    version: u64,
    address: IpAddr,
    rtp_port: u16,
    terms: StreamTerms,
    keys: OwnKeys,
    last: Option<Vec<Media>>,
    offered: Direction,
    /// What our last offer wrote.
    formats: Vec<(u8, Format)>,
    /// How our last offer asked for keys.
    asked: Option<Keying>,
    /// The peer refused an encrypted offer, and a plain one may follow.
    plainly: bool,
    /// The next offer of ours asks for keys anew.
    anew: bool,
    /// The place of the audio stream among the `m=` lines; it never changes (RFC 3264 §8).
    place: usize,
    agreed: Option<Agreed>,
}

impl fmt::Debug for Negotiation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Negotiation");
        shown.field("session_id", &self.session_id).field("version", &self.version);
        shown.field("terms", &self.terms).field("agreed", &self.agreed).finish_non_exhaustive()
    }
}

/// What re-offers of ours repeat (RFC 3264 §8.3.2: a payload type keeps its meaning for the whole session).
#[derive(Clone, PartialEq, Eq, Debug)]
struct Agreed {
    /// The codec with the number that we receive it on.
    codec: (u8, Codec),
    /// Payload types in use, ours and the peer's.
    formats: Vec<(u8, Format)>,
    proto: String,
    rtcp_mux: bool,
    security: Security,
}

impl Negotiation {
    /// A negotiation that advertises `address:rtp_port` by `terms`. `random` must be the system's where media may be
    /// encrypted: our keys are drawn from it.
    #[must_use]
    pub fn new(address: IpAddr, rtp_port: u16, terms: impl Into<StreamTerms>, random: &mut Random) -> Self {
        let terms = terms.into();
        // A session id of 63 bits: some peers read it as a signed number.
        let session_id = random.next_u64() >> 1;
        Self {
            session_id,
            version: 0,
            address,
            rtp_port,
            keys: OwnKeys::draw(&terms, random),
            terms,
            last: None,
            offered: Direction::SendRecv,
            formats: Vec::new(),
            asked: None,
            plainly: false,
            anew: false,
            place: 0,
            agreed: None,
        }
    }

    /// After the peer refused our offer (488, 606, 415): whether it was encrypted and a plain one may follow
    /// ([`SrtpPolicy::Preferred`]). If so, offers are plain from here on.
    pub fn fall_back_to_plain(&mut self) -> bool {
        let may = self.terms.srtp == SrtpPolicy::Preferred && self.asked.is_some() && self.agreed.is_none();
        self.plainly |= may;
        may
    }

    /// After a DTLS handshake that cannot succeed with this peer and gave no keys: whether the terms know another way, which
    /// the next offer of ours then takes: keys in the description, or none ([`SrtpPolicy::Preferred`]). DTLS is neither
    /// offered nor taken from here on.
    pub fn give_up_dtls(&mut self) -> bool {
        let left: Vec<Keying> = self.terms.keying.iter().copied().filter(|keying| *keying != Keying::Dtls).collect();
        let has_keys = left.iter().any(|keying| self.terms.allows(*keying));
        let may = has_keys || self.terms.srtp == SrtpPolicy::Preferred;
        let Some(agreed) = self.agreed.as_mut().filter(|_| may) else { return false };
        if !matches!(agreed.security, Security::Dtls { .. }) {
            return false;
        }
        agreed.security = Security::Plain;
        agreed.proto = if has_keys { "RTP/SAVP" } else { "RTP/AVP" }.to_owned();
        (self.terms.keying, self.anew) = (left, true);
        true
    }

    /// Our offer, for an INVITE of ours, for the 200 to an INVITE without one, or to change a session. Its direction
    /// is remembered for [`Self::accept_answer`]. A re-offer keeps the number and order of the `m=` lines, the refused
    /// ones included, the payload types that were agreed, and the keys.
    pub fn offer(&mut self, direction: Direction) -> String {
        self.offered = direction;
        let agreed = self.agreed.as_ref();
        let security = agreed.filter(|_| !self.anew).map(|agreed| &agreed.security);
        self.asked = match security {
            Some(Security::Plain) => None,
            Some(Security::Sdes { .. }) => Some(Keying::Sdes),
            Some(Security::Dtls { .. }) => Some(Keying::Dtls),
            None => self.terms.offered_keying().filter(|_| !self.plainly),
        };
        let is_secure = self.asked.is_some() || self.terms.srtp == SrtpPolicy::Required;
        let proto = match (agreed, self.asked) {
            (Some(agreed), _) => agreed.proto.as_str(),
            (None, Some(Keying::Dtls)) => "UDP/TLS/RTP/SAVP",
            (None, _) if is_secure => "RTP/SAVP",
            (None, _) => "RTP/AVP",
        };
        let formats = self.formats_to_offer();
        let mut media = self.audio(proto, &formats, PTIME_MS, direction);
        if agreed.is_none_or(|agreed| agreed.rtcp_mux) {
            media.attributes.push(Attribute::new("rtcp-mux"));
        }
        media.attributes.extend(self.keys.offer(&self.terms, self.asked, security));
        self.formats = formats;
        let mut lines: Vec<Media> = self.last.iter().flatten().map(refused).collect();
        match lines.get_mut(self.place) {
            Some(line) => *line = media,
            None => lines.push(media),
        }
        self.write(lines)
    }

    /// The agreed codec first, then the others, comfort noise, and telephone-events for each clock among them.
    fn formats_to_offer(&self) -> Vec<(u8, Format)> {
        let first = self.agreed.as_ref().map(|agreed| agreed.codec);
        let codecs: Vec<Codec> = self.terms.codecs.clone();
        let others = codecs.iter().filter(|codec| first.is_none_or(|(_, agreed)| agreed != **codec));
        let mut wanted: Vec<Format> = others.map(|codec| Format::Codec(*codec)).collect();
        let clocks = |rate| first.iter().map(|(_, codec)| codec).chain(&codecs).any(|codec| codec.clock_rate() == rate);
        if self.terms.comfort_noise && clocks(COMFORT_NOISE_RATE) {
            wanted.push(Format::ComfortNoise);
        }
        // RFC 4733 §2.1 wants the clock of the codec; 8,000 is what peers fall back to.
        let rates = [8_000, 48_000].into_iter().filter(|rate| clocks(*rate));
        wanted.extend(rates.map(Format::TelephoneEvent));
        let mut chosen: Vec<(u8, Format)> = first.map(|(pt, codec)| (pt, Format::Codec(codec))).into_iter().collect();
        for format in wanted {
            chosen.extend(self.number_for(format, &chosen).map(|pt| (pt, format)));
        }
        chosen
    }

    /// A payload type for `format` that means nothing else in this session; `None` for a static one that is taken.
    fn number_for(&self, format: Format, chosen: &[(u8, Format)]) -> Option<u8> {
        let known = || self.agreed.iter().flat_map(|agreed| &agreed.formats).chain(&self.formats);
        let is_free = |pt: &u8| known().chain(chosen).all(|(taken, other)| taken != pt || *other == format);
        let is_unused = |pt: &u8| chosen.iter().all(|(taken, _)| taken != pt);
        let before = known().filter(|(_, other)| *other == format).map(|(pt, _)| *pt);
        let preferred = format.preferred_payload_type();
        let dynamic = DYNAMIC.filter(|_| preferred.is_some_and(|pt| DYNAMIC.contains(&pt)));
        before.chain(preferred).chain(dynamic).find(|pt| is_free(pt) && is_unused(pt))
    }

    /// Answers the peer's `offer`. `direction` is what we want; the answer never exceeds what the offer allows.
    /// Every stream except one usable audio stream is refused with port 0, in its place: the one in use, else the first
    /// encrypted one, else the first.
    ///
    /// # Errors
    /// The offer cannot be used; answer with [`SdpError::sip_status`] and keep the session as it is.
    pub fn answer(&mut self, offer: &[u8], direction: Direction) -> Result<Answer, SdpError> {
        let session = stream::parse(offer)?;
        let (chosen, peer, (security, attributes)) = self.choose(&session)?;
        let media = session.medias.get(chosen).ok_or(SdpError::NoAudio)?;
        let (payload_type, codec) = self.common_codec(&peer, media, self.terms.preference)?;
        let direction = peer.direction.reversed().and(direction);
        let event = peer.telephone_event(codec.clock_rate());
        let noise = peer.comfort_noise(codec.clock_rate()).filter(|_| self.terms.comfort_noise);
        let ptime_ms = packet_time(codec, &peer);
        let mut formats = vec![(payload_type, Format::Codec(codec))];
        formats.extend(noise.map(|pt| (pt, Format::ComfortNoise)));
        formats.extend(event.map(|(pt, rate)| (pt, Format::TelephoneEvent(rate))));
        let mut ours = self.audio(&media.proto, &formats, ptime_ms, direction);
        if peer.rtcp_mux {
            ours.attributes.push(Attribute::new("rtcp-mux"));
        }
        ours.attributes.extend(attributes);
        let answers = session
            .medias
            .iter()
            .enumerate()
            .map(|(n, offered)| if n == chosen { ours.clone() } else { refused(offered) })
            .collect();
        self.place = chosen;
        self.anew = false;
        self.agreed = Some(Agreed {
            codec: (payload_type, codec),
            formats: peer.formats.clone(),
            proto: media.proto.clone(),
            rtcp_mux: peer.rtcp_mux,
            security: security.clone(),
        });
        let negotiated = Negotiated {
            remote: peer.address,
            remote_name: peer.host_name,
            rtcp: if peer.rtcp_mux { peer.address } else { peer.rtcp },
            codec,
            payload_type,
            alternate: None,
            telephone_event: event.map(|(pt, _)| pt),
            receive_telephone_event: event.map(|(pt, _)| pt),
            ptime_ms,
            direction,
            rtcp_mux: peer.rtcp_mux,
            telephone_event_rate: event.map_or_else(|| codec.clock_rate(), |(_, rate)| rate),
            comfort_noise: noise,
            opus: peer.opus,
            security,
        };
        Ok(Answer { sdp: self.write(answers), negotiated })
    }

    /// The stream of an offer to take.
    fn choose(&self, session: &Session) -> Result<Choice, SdpError> {
        let agreed = self.agreed.as_ref().map(|agreed| &agreed.security);
        let mut found: Option<Choice> = None;
        let mut fault = None;
        for (n, media) in session.medias.iter().enumerate().filter(|(_, media)| stream::audio_profile(media).is_some())
        {
            let peer = Stream::read(session, media);
            let read = peer.and_then(|peer| Ok((self.keys.answer(&self.terms, media, &peer, agreed)?, peer)));
            let (protection, peer) = match read {
                Ok(read) => read,
                Err(error) => {
                    fault.get_or_insert(error);
                    continue;
                }
            };
            let in_use = agreed.is_some() && n == self.place;
            let is_better =
                found.as_ref().is_none_or(|(_, _, (before, _))| !before.is_secure() && protection.0.is_secure());
            if in_use {
                return Ok((n, peer, protection));
            }
            if is_better {
                found = Some((n, peer, protection));
            }
        }
        found.ok_or_else(|| fault.unwrap_or(SdpError::NoAudio))
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
        let peer = Stream::read(&session, media)?;
        if self.asked.is_none() && peer.profile != Profile::Plain {
            return Err(SdpError::AnswerMismatch("it encrypts a stream that was offered in clear"));
        }
        let before = self.agreed.as_ref().map(|agreed| &agreed.security);
        let security = self.keys.accept(&self.terms, media, &peer, self.asked, before)?;
        let (payload_type, codec) = self.common_codec(&peer, media, CodecPreference::Theirs)?;
        let number_of = |wanted| self.formats.iter().find(|(_, format)| *format == wanted).map(|(pt, _)| *pt);
        let own_number = number_of(Format::Codec(codec)).unwrap_or(payload_type);
        let second = || {
            peer.codecs().find(|(_, other)| {
                *other != codec && other.clock_rate() == codec.clock_rate() && self.terms.codecs.contains(other)
            })
        };
        let alternate = Some((own_number, codec)).filter(|_| own_number != payload_type).or_else(second);
        let event = peer.telephone_event(codec.clock_rate());
        let expected_event = event.and_then(|(_, rate)| number_of(Format::TelephoneEvent(rate)));
        let noise = number_of(Format::ComfortNoise).and_then(|_| peer.comfort_noise(codec.clock_rate()));
        let ptime_ms = packet_time(codec, &peer);
        let formats = peer.formats.iter().chain(&self.formats).copied().collect();
        self.anew = false;
        self.agreed = Some(Agreed {
            codec: (own_number, codec),
            formats,
            proto: media.proto.clone(),
            rtcp_mux: peer.rtcp_mux,
            security: security.clone(),
        });
        Ok(Negotiated {
            remote: peer.address,
            rtcp: if peer.rtcp_mux { peer.address } else { peer.rtcp },
            codec,
            payload_type,
            alternate,
            telephone_event: event.map(|(pt, _)| pt),
            receive_telephone_event: expected_event,
            ptime_ms,
            direction: peer.direction.reversed().and(self.offered),
            rtcp_mux: peer.rtcp_mux,
            remote_name: peer.host_name,
            telephone_event_rate: event.map_or_else(|| codec.clock_rate(), |(_, rate)| rate),
            comfort_noise: noise,
            opus: peer.opus,
            security,
        })
    }

    /// The codec to use of those that both sides know (RFC 3264 §6.1).
    fn common_codec(&self, peer: &Stream, media: &Media, preference: CodecPreference) -> Result<(u8, Codec), SdpError> {
        let ours = &self.terms.codecs;
        let common = match preference {
            CodecPreference::Theirs => peer.codecs().find(|(_, codec)| ours.contains(codec)),
            CodecPreference::Ours => ours.iter().find_map(|codec| peer.codecs().find(|(_, theirs)| theirs == codec)),
        };
        common.ok_or_else(|| {
            let names = media.attributes.iter().filter(|a| a.attribute.eq_ignore_ascii_case("rtpmap"));
            let names: Vec<_> = names.filter_map(|a| a.value.as_deref()?.split_ascii_whitespace().nth(1)).collect();
            let offered = if names.is_empty() { media.fmt.clone() } else { names.join(", ") };
            SdpError::NoCommonCodec { offered: offered.chars().take(200).collect() }
        })
    }

    fn audio(&self, proto: &str, formats: &[(u8, Format)], ptime_ms: u8, direction: Direction) -> Media {
        let numbers: Vec<String> = formats.iter().map(|(pt, _)| pt.to_string()).collect();
        let mut media = Media::new(MediaType::Audio, self.rtp_port, TransportProto::RtpAvp, numbers.join(" "));
        proto.clone_into(&mut media.proto);
        for (pt, format) in formats {
            let Some(encoding) = format.encoding() else { continue };
            media.attributes.push(Attribute::with_value("rtpmap", format!("{pt} {encoding}")));
            let parameters = match format {
                Format::Codec(Codec::Opus) => self.terms.opus.format(),
                Format::TelephoneEvent(_) => "0-15".to_owned(),
                Format::Codec(_) | Format::ComfortNoise | Format::Other => continue,
            };
            media.attributes.push(Attribute::with_value("fmtp", format!("{pt} {parameters}")));
        }
        media.attributes.push(Attribute::with_value("ptime", ptime_ms));
        media.attributes.push(Attribute::with_value("maxptime", MAX_PTIME_MS));
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

/// The packet time that the peer asks for, as far as the codec has it: an Opus packet of one frame lasts 10, 20, 40 or
/// 60 ms (RFC 7587 §4.2).
fn packet_time(codec: Codec, peer: &Stream) -> u8 {
    match codec {
        Codec::Opus => match peer.ptime_ms.max(peer.opus.min_ptime_ms.min(MAX_PTIME_MS)) {
            0..=19 => 10,
            20..=39 => 20,
            40..=59 => 40,
            _ => 60,
        },
        Codec::Pcmu | Codec::Pcma | Codec::G722 => peer.ptime_ms / 10 * 10,
    }
}

#[cfg(test)]
mod tests;

//! One `m=` section as RFC 3264 needs it, read with bounds from a `sdp-types` session.

use super::crypto::Crypto;
use super::dtls::Handshake;
use super::format::{self, Format};
use super::limits::{MAX_ATTRIBUTES, MAX_DESCRIPTION, MAX_FMTP, MAX_HOST, MAX_MEDIA};
use super::{Codec, Direction, OpusParameters, SdpError};
use sdp_types::{Attribute, Media, Session};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Payload time used when the peer names none, in milliseconds.
const DEFAULT_PTIME_MS: u32 = 20;

/// The transport of a section, without the question of feedback (AVP or AVPF).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Profile {
    /// `RTP/AVP`, `RTP/AVPF`.
    Plain,
    /// `RTP/SAVP`, `RTP/SAVPF`: keys by `a=crypto`, or by DTLS the old way.
    Secure,
    /// `UDP/TLS/RTP/SAVP`, `UDP/TLS/RTP/SAVPF`.
    Dtls,
}

impl Profile {
    pub(super) fn from_proto(proto: &str) -> Option<Self> {
        let named = |names: [&str; 2]| names.iter().any(|name| proto.eq_ignore_ascii_case(name));
        if named(["RTP/AVP", "RTP/AVPF"]) {
            Some(Self::Plain)
        } else if named(["RTP/SAVP", "RTP/SAVPF"]) {
            Some(Self::Secure)
        } else if named(["UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"]) {
            Some(Self::Dtls)
        } else {
            None
        }
    }
}

/// The audio stream of a description.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) address: SocketAddr,
    pub(super) host_name: Option<String>,
    pub(super) rtcp: SocketAddr,
    pub(super) rtcp_mux: bool,
    /// In the writer's order of preference.
    pub(super) formats: Vec<(u8, Format)>,
    /// As the writer sees it; not sending to an unspecified address is taken into account.
    pub(super) direction: Direction,
    pub(super) ptime_ms: u8,
    pub(super) profile: Profile,
    /// The usable `a=crypto` lines.
    pub(super) crypto: Vec<Crypto>,
    pub(super) handshake: Handshake,
    /// Of the first Opus format.
    pub(super) opus: OpusParameters,
}

/// Parses a description within [`super::limits`].
pub(super) fn parse(octets: &[u8]) -> Result<Session, SdpError> {
    if octets.len() > MAX_DESCRIPTION {
        return Err(SdpError::TooLarge("description longer than 64 KiB"));
    }
    let lines = |prefix: &'static [u8]| octets.split(|o| *o == b'\n').filter(move |line| line.starts_with(prefix));
    if lines(b"m=").count() > MAX_MEDIA {
        return Err(SdpError::TooLarge("more than 16 media lines"));
    }
    if lines(b"a=fmtp:").any(|line| line.len() > MAX_FMTP) {
        return Err(SdpError::TooLarge("a=fmtp longer than 8 KiB"));
    }
    // Names and titles in another character set do not matter here.
    let text = String::from_utf8_lossy(octets);
    Session::parse(text.as_bytes()).map_err(|error| SdpError::Syntax(error.to_string()))
}

/// The transport of a section that is an audio stream of a kind spoken here, switched on.
pub(super) fn audio_profile(media: &Media) -> Option<Profile> {
    let is_on = media.media.eq_ignore_ascii_case("audio") && media.port != 0;
    Profile::from_proto(&media.proto).filter(|_| is_on)
}

fn value<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attributes.iter().find(|a| a.attribute.eq_ignore_ascii_case(name)).and_then(|a| a.value.as_deref())
}

impl Stream {
    /// Reads a section; session-level lines apply where the section has none of its own.
    pub(super) fn read(session: &Session, media: &Media) -> Result<Self, SdpError> {
        if media.attributes.len() > MAX_ATTRIBUTES || session.attributes.len() > MAX_ATTRIBUTES {
            return Err(SdpError::TooLarge("more than 64 attributes"));
        }
        let profile = audio_profile(media).ok_or(SdpError::NoAudio)?;
        let formats = format::read(media)?;
        let opus = formats.iter().find(|(_, format)| *format == Format::Codec(Codec::Opus));
        let connection = media.connections.first().or(session.connection.as_ref()).ok_or(SdpError::NoAddress)?;
        let (ip, host_name) = host(&connection.connection_address)?;
        let address = SocketAddr::new(ip, media.port);
        let direction = media
            .attributes
            .iter()
            .chain(&session.attributes)
            .find_map(|a| Direction::from_attribute(&a.attribute))
            .unwrap_or_default();
        // RFC 2543's way to hold: the writer cannot be sent to.
        let held = ip.is_unspecified() && host_name.is_none();
        Ok(Self {
            address,
            rtcp: rtcp_address(address, value(&media.attributes, "rtcp")),
            rtcp_mux: media.attributes.iter().any(|a| a.attribute.eq_ignore_ascii_case("rtcp-mux")),
            opus: opus
                .and_then(|(pt, _)| format::parameters(media, *pt))
                .map_or_else(OpusParameters::default, OpusParameters::parse),
            formats,
            direction: if held { Direction::new(direction.sends(), false) } else { direction },
            ptime_ms: ptime_ms(media, session),
            host_name,
            profile,
            crypto: Crypto::read_all(&media.attributes),
            handshake: Handshake::read(&media.attributes, &session.attributes),
        })
    }

    /// The `telephone-event` format for a codec with this clock, with its own clock: the codec's (RFC 4733 §2.1), or that
    /// of telephony where the peer knows events at 8,000 only and means them beside every codec.
    pub(super) fn telephone_event(&self, clock_rate: u32) -> Option<(u8, u32)> {
        [clock_rate, 8_000].into_iter().find_map(|rate| {
            self.formats.iter().find(|(_, format)| *format == Format::TelephoneEvent(rate)).map(|(pt, _)| (*pt, rate))
        })
    }

    /// The comfort noise format that goes with a codec of this clock.
    pub(super) fn comfort_noise(&self, clock_rate: u32) -> Option<u8> {
        let noise = self.formats.iter().find(|(_, format)| *format == Format::ComfortNoise);
        noise.map(|(pt, _)| *pt).filter(|_| clock_rate == format::COMFORT_NOISE_RATE)
    }

    /// The codecs with their payload types, in the writer's order.
    pub(super) fn codecs(&self) -> impl Iterator<Item = (u8, Codec)> + '_ {
        self.formats.iter().filter_map(|(pt, format)| match format {
            Format::Codec(codec) => Some((*pt, *codec)),
            Format::ComfortNoise | Format::Other | Format::TelephoneEvent(_) => None,
        })
    }
}

/// The IP of a `c=` line, or the unspecified one and the host name.
fn host(written: &str) -> Result<(IpAddr, Option<String>), SdpError> {
    // IPv4 may carry a multicast TTL, IPv6 a zone.
    let bare = written.split(['/', '%']).next().unwrap_or_default().trim();
    match bare.parse::<IpAddr>() {
        Ok(ip) if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) => Err(SdpError::NoAddress),
        Ok(ip) => Ok((ip, None)),
        Err(_) => {
            let name_like = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if bare.is_empty() || bare.len() > MAX_HOST || !bare.chars().all(name_like) {
                return Err(SdpError::NoAddress);
            }
            Ok((Ipv4Addr::UNSPECIFIED.into(), Some(bare.to_owned())))
        }
    }
}

/// RFC 3605: `a=rtcp:<port> [IN IP4 <address>]`; without it, the port above.
fn rtcp_address(rtp: SocketAddr, attribute: Option<&str>) -> SocketAddr {
    let mut fields = attribute.unwrap_or_default().split_ascii_whitespace();
    let port = fields.next().and_then(|p| p.parse().ok()).unwrap_or_else(|| rtp.port().wrapping_add(1));
    // Elsewhere than RTP only if the peer itself says so with an address that can be sent to.
    let ip = fields.nth(2).and_then(|ip| ip.parse::<IpAddr>().ok()).filter(|ip| !ip.is_multicast());
    SocketAddr::new(ip.unwrap_or_else(|| rtp.ip()), port)
}

/// The packet time the writer wants to receive, within what it can take.
fn ptime_ms(media: &Media, session: &Session) -> u8 {
    let read = |name| {
        let written = value(&media.attributes, name).or_else(|| value(&session.attributes, name))?;
        // Some write a decimal fraction.
        written.trim().split('.').next()?.parse::<u32>().ok().filter(|ms| *ms > 0)
    };
    let wanted = read("ptime").unwrap_or(DEFAULT_PTIME_MS);
    let most = read("maxptime").unwrap_or(60);
    wanted.min(most).clamp(10, 60) as u8
}

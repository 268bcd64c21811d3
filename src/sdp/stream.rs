//! One `m=` section as RFC 3264 needs it, read with bounds from a `sdp-types` session.

use super::limits::{MAX_ATTRIBUTES, MAX_DESCRIPTION, MAX_FMTP, MAX_FORMATS, MAX_HOST, MAX_MEDIA};
use super::{Codec, Direction, SdpError};
use sdp_types::{Attribute, Media, Session};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Payload time used when the peer names none, in milliseconds.
const DEFAULT_PTIME_MS: u32 = 20;

/// What a payload type stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Codec(Codec),
    /// `telephone-event` at 8 kHz.
    TelephoneEvent,
    Other,
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

/// Whether a section is an audio stream of the kind spoken here, switched on.
pub(super) fn is_usable_audio(media: &Media) -> bool {
    media.media.eq_ignore_ascii_case("audio")
        && (media.proto.eq_ignore_ascii_case("RTP/AVP") || media.proto.eq_ignore_ascii_case("RTP/AVPF"))
        && media.port != 0
}

/// Why no stream of an offer can be used.
pub(super) fn why_unusable(session: &Session) -> SdpError {
    let audio = |m: &&Media| m.media.eq_ignore_ascii_case("audio") && m.port != 0;
    match session.medias.iter().find(audio) {
        Some(media) if media.proto.to_ascii_uppercase().contains("SAVP") => {
            SdpError::OnlySecure { offered: media.proto.chars().take(40).collect() }
        }
        _ => SdpError::NoAudio,
    }
}

/// The payload type of `telephone-event` in a section of ours.
pub(super) fn telephone_event_of(media: &Media) -> Option<u8> {
    let written = formats(media).ok()?;
    written.iter().find(|(_, format)| *format == Format::TelephoneEvent).map(|(pt, _)| *pt)
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
            formats: formats(media)?,
            direction: if held { Direction::new(direction.sends(), false) } else { direction },
            ptime_ms: ptime_ms(media, session),
            host_name,
        })
    }

    /// The first `telephone-event` payload type.
    pub(super) fn telephone_event(&self) -> Option<u8> {
        self.formats.iter().find(|(_, format)| *format == Format::TelephoneEvent).map(|(pt, _)| *pt)
    }

    /// The codecs with their payload types, in the writer's order.
    pub(super) fn codecs(&self) -> impl Iterator<Item = (u8, Codec)> + '_ {
        self.formats.iter().filter_map(|(pt, format)| match format {
            Format::Codec(codec) => Some((*pt, *codec)),
            Format::TelephoneEvent | Format::Other => None,
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

fn formats(media: &Media) -> Result<Vec<(u8, Format)>, SdpError> {
    let written: Vec<&str> = media.fmt.split_ascii_whitespace().collect();
    if written.len() > MAX_FORMATS {
        return Err(SdpError::TooLarge("more than 128 payload types"));
    }
    let rtpmap = |wanted: u8| {
        media.attributes.iter().filter(|a| a.attribute.eq_ignore_ascii_case("rtpmap")).find_map(|a| {
            let (pt, encoding) = a.value.as_deref()?.trim().split_once([' ', '\t'])?;
            (pt.parse() == Ok(wanted)).then_some(encoding.trim())
        })
    };
    let format = |pt: u8| {
        let Some(encoding) = rtpmap(pt) else {
            return Codec::from_static_payload_type(pt).map_or(Format::Other, Format::Codec);
        };
        let mut parts = encoding.split('/');
        let (name, rate) = (parts.next().unwrap_or_default(), parts.next().and_then(|r| r.trim().parse().ok()));
        let channels = parts.next().map(|c| c.trim().parse().unwrap_or(0));
        match rate {
            Some(8_000) if name.eq_ignore_ascii_case("telephone-event") => Format::TelephoneEvent,
            Some(rate) => Codec::from_rtpmap(name, rate, channels).map_or(Format::Other, Format::Codec),
            None => Format::Other,
        }
    };
    Ok(written.iter().filter_map(|w| w.parse::<u8>().ok()).filter(|pt| *pt < 128).map(|pt| (pt, format(pt))).collect())
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

//! Payload types and what they stand for (`a=rtpmap`, `a=fmtp`).

use super::limits::MAX_FORMATS;
use super::{Codec, SdpError};
use sdp_types::Media;

/// The payload type of comfort noise (RFC 3389 §4).
pub(super) const COMFORT_NOISE: u8 = 13;
/// Its clock: it goes with codecs of 8,000 only.
pub(super) const COMFORT_NOISE_RATE: u32 = 8_000;

/// What a payload type stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Codec(Codec),
    ComfortNoise,
    Other,
    /// `telephone-event` with its clock rate.
    TelephoneEvent(u32),
}

impl Format {
    fn named(name: &str, rate: u32, channels: Option<u32>) -> Self {
        if name.eq_ignore_ascii_case("telephone-event") {
            Self::TelephoneEvent(rate)
        } else if name.eq_ignore_ascii_case("CN") && rate == COMFORT_NOISE_RATE {
            Self::ComfortNoise
        } else {
            Codec::from_rtpmap(name, rate, channels).map_or(Self::Other, Self::Codec)
        }
    }

    /// What a payload type without `a=rtpmap` means (RFC 3551 §6).
    fn of_static(payload_type: u8) -> Self {
        match payload_type {
            COMFORT_NOISE => Self::ComfortNoise,
            other => Codec::from_static_payload_type(other).map_or(Self::Other, Self::Codec),
        }
    }

    /// The payload type in descriptions of ours, where it is free.
    pub(super) fn preferred_payload_type(self) -> Option<u8> {
        match self {
            Self::Codec(codec) => Some(codec.offered_payload_type()),
            Self::ComfortNoise => Some(COMFORT_NOISE),
            Self::Other => None,
            Self::TelephoneEvent(8_000) => Some(101),
            Self::TelephoneEvent(_) => Some(110),
        }
    }

    /// The value of `a=rtpmap` behind the payload type.
    pub(super) fn encoding(self) -> Option<String> {
        match self {
            Self::Codec(codec) => {
                let channels = codec.rtpmap_channels().map(|channels| format!("/{channels}")).unwrap_or_default();
                Some(format!("{}/{}{channels}", codec.encoding_name(), codec.clock_rate()))
            }
            Self::ComfortNoise => Some(format!("CN/{COMFORT_NOISE_RATE}")),
            Self::Other => None,
            Self::TelephoneEvent(rate) => Some(format!("telephone-event/{rate}")),
        }
    }
}

/// The payload types of a section, in the writer's order of preference.
pub(super) fn read(media: &Media) -> Result<Vec<(u8, Format)>, SdpError> {
    let written: Vec<&str> = media.fmt.split_ascii_whitespace().collect();
    if written.len() > MAX_FORMATS {
        return Err(SdpError::TooLarge("more than 128 payload types"));
    }
    let format = |pt: u8| {
        let Some(encoding) = attribute_of(media, "rtpmap", pt) else { return Format::of_static(pt) };
        let mut parts = encoding.split('/');
        let (name, rate) = (parts.next().unwrap_or_default(), parts.next().and_then(|rate| rate.trim().parse().ok()));
        let channels = parts.next().map(|channels| channels.trim().parse().unwrap_or(0));
        rate.map_or(Format::Other, |rate| Format::named(name.trim(), rate, channels))
    };
    Ok(written.iter().filter_map(|w| w.parse::<u8>().ok()).filter(|pt| *pt < 128).map(|pt| (pt, format(pt))).collect())
}

/// The `a=fmtp` parameters of a payload type.
pub(super) fn parameters(media: &Media, payload_type: u8) -> Option<&str> {
    attribute_of(media, "fmtp", payload_type)
}

fn attribute_of<'a>(media: &'a Media, name: &str, payload_type: u8) -> Option<&'a str> {
    media.attributes.iter().filter(|a| a.attribute.eq_ignore_ascii_case(name)).find_map(|a| {
        let (pt, rest) = a.value.as_deref()?.trim().split_once([' ', '\t'])?;
        (pt.parse() == Ok(payload_type)).then_some(rest.trim())
    })
}

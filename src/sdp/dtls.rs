//! What a description says about a DTLS handshake in the media path: `a=fingerprint` (RFC 8122), `a=setup` (RFC 4145,
//! RFC 5763), `a=tls-id` (RFC 8842).

use super::limits::MAX_FINGERPRINTS;
use super::{Fingerprint, HashFunction, Setup};
use sdp_types::Attribute;
use std::fmt::Write as _;

/// Longest `a=tls-id` (RFC 8842 §4: 20 to 255 characters).
const TLS_ID: usize = 255;

/// What the writer of a section says of its DTLS.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Handshake {
    /// With hashes that can be trusted only.
    pub(super) fingerprints: Vec<Fingerprint>,
    pub(super) setup: Option<Setup>,
    pub(super) tls_id: Option<String>,
}

impl Handshake {
    /// Reads the attributes of the section, and those of the session where the section has none of the kind.
    pub(super) fn read(section: &[Attribute], session: &[Attribute]) -> Self {
        let own = fingerprints(section);
        let first = |name| value(section, name).or_else(|| value(session, name));
        Self {
            fingerprints: if own.is_empty() { fingerprints(session) } else { own },
            setup: first("setup").and_then(|text| Setup::from_name(text.trim())),
            tls_id: first("tls-id").map(str::trim).filter(|id| (1..=TLS_ID).contains(&id.len())).map(str::to_owned),
        }
    }
}

fn value<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attributes.iter().find(|a| a.attribute.eq_ignore_ascii_case(name)).and_then(|a| a.value.as_deref())
}

fn fingerprints(attributes: &[Attribute]) -> Vec<Fingerprint> {
    let lines = attributes.iter().filter(|a| a.attribute.eq_ignore_ascii_case("fingerprint"));
    lines.take(MAX_FINGERPRINTS).filter_map(|a| Fingerprint::parse(a.value.as_deref()?)).collect()
}

impl Fingerprint {
    /// Reads the value of `a=fingerprint`: a hash function and its octets in hexadecimal, separated by colons. `None` for
    /// anything else, and for hashes that can be forged.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let (name, digits) = value.trim().split_once([' ', '\t'])?;
        let functions = [HashFunction::Sha256, HashFunction::Sha384, HashFunction::Sha512];
        let hash = functions.into_iter().find(|hash| hash.name().eq_ignore_ascii_case(name))?;
        let octet = |pair: &str| {
            let is_octet = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            is_octet.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
        };
        // Longer ones are refused before they are read.
        let digits = Some(digits.trim()).filter(|digits| digits.len() == hash.length() * 3 - 1)?;
        let octets = digits.split(':').map(octet).collect::<Option<Vec<u8>>>()?;
        (octets.len() == hash.length()).then_some(Self { hash, octets })
    }
}

impl std::fmt::Display for Fingerprint {
    /// As `a=fingerprint` has it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.hash.name())?;
        for (n, octet) in self.octets.iter().enumerate() {
            f.write_char(if n == 0 { ' ' } else { ':' })?;
            write!(f, "{octet:02X}")?;
        }
        Ok(())
    }
}

impl Setup {
    /// The value of `a=setup`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::ActPass => "actpass",
            Self::Passive => "passive",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Active, Self::ActPass, Self::Passive].into_iter().find(|setup| setup.name().eq_ignore_ascii_case(name))
    }

    /// Our role beside a peer that wrote this: whoever may choose opens the handshake, since it knows both addresses first
    /// (RFC 5763 §5).
    #[must_use]
    pub const fn other_side(self) -> Self {
        match self {
            Self::Active => Self::Passive,
            Self::ActPass | Self::Passive => Self::Active,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA_256: &str =
        "SHA-256 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:3E:4B:65:2E:7D:46:3F:54:42:CD:54:F1";

    #[test]
    fn a_fingerprint_is_read_and_written() {
        let fingerprint = Fingerprint::parse(SHA_256).unwrap();
        assert_eq!(
            (fingerprint.hash, fingerprint.octets.len(), fingerprint.octets[1]),
            (HashFunction::Sha256, 32, 0xAD)
        );
        assert_eq!(fingerprint.to_string(), SHA_256.replace("SHA", "sha"));
        assert_eq!(Fingerprint::parse(&SHA_256.to_lowercase()), Some(fingerprint));
    }

    #[test]
    fn weak_and_damaged_fingerprints_are_not_read() {
        let short = &SHA_256[..SHA_256.len() - 3];
        for value in [
            "",
            "sha-256",
            short,
            &format!("{SHA_256}:00"),
            &SHA_256.replace("AD", "+D"),
            &SHA_256.replace(':', "-"),
            "sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB",
            "md5 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B",
        ] {
            assert_eq!(Fingerprint::parse(value), None, "{value}");
        }
    }

    #[test]
    fn the_section_s_own_lines_win_over_the_session_s() {
        let line = |name: &str, value: &str| Attribute::with_value(name, value);
        let session = [line("fingerprint", SHA_256), line("setup", "passive"), line("tls-id", "abc3de65cddef001be82")];
        let read = Handshake::read(&[line("setup", "ActPass")], &session);
        assert_eq!((read.fingerprints.len(), read.setup), (1, Some(Setup::ActPass)));
        assert_eq!(read.tls_id.as_deref(), Some("abc3de65cddef001be82"));
        assert_eq!(Handshake::read(&[line("setup", "holdconn")], &[]), Handshake::default());
    }
}

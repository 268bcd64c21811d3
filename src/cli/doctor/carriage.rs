//! Codecs and encryption: what offers to a peer carry, and what a call with it agreed. Pure.

use super::verdict::Finding;
use crate::call::{LineQuality, MediaTerms};
use crate::sdp::{Keying, SrtpPolicy};

const CHECK: &str = "codecs and encryption";

/// What to do where keys would travel in the open.
const KEYS_FIX: &str = "let the signalling go by TLS (`transport = \"tls\"`), or agree on keys by DTLS \
                        (`overrides = { keying = [\"dtls\", \"sdes\"] }`) where the peer knows it";

/// What an offer to the peer carries. `over_tls`: whether every way that it may take is encrypted; `accept`: the peer's
/// Accept header, where it sent one.
pub(super) fn offer(terms: &MediaTerms, over_tls: bool, accept: Option<&str>) -> Finding {
    let codecs: Vec<&str> = terms.codecs.iter().map(|codec| codec.encoding_name()).collect();
    let codecs = codecs.join(", ");
    if let Some(accept) = accept.filter(|accept| !takes_descriptions(accept)) {
        let says =
            format!("the peer's Accept header ({accept}) does not name application/sdp: it takes no offer of audio");
        return Finding::warn(CHECK, says, "ask its operator whether this address takes calls at all");
    }
    let stream = terms.stream(over_tls);
    if let Err(error) = stream.check_offer() {
        return Finding::fail(CHECK, format!("we can make no offer: {error}"), KEYS_FIX);
    }
    match (terms.srtp, stream.offered_keying()) {
        (SrtpPolicy::Off, _) if over_tls => Finding::warn(
            CHECK,
            format!("we offer {codecs} in clear, although the signalling is encrypted: who is on the way can listen"),
            "set `overrides = { srtp = \"preferred\" }`, or \"required\" once a call has shown that the peer takes it",
        ),
        (SrtpPolicy::Off, _) => Finding::ok(CHECK, format!("we offer {codecs} in clear")),
        (_, None) => Finding::warn(
            CHECK,
            format!("we offer {codecs} in clear: SRTP is preferred, but its keys may not travel in the open"),
            KEYS_FIX,
        ),
        (policy, Some(keying)) => {
            let by = match keying {
                Keying::Sdes => "keys in the description (SDES)",
                Keying::Dtls => "keys by DTLS",
            };
            let else_what = match policy {
                SrtpPolicy::Required => "a peer without SRTP gets no call",
                SrtpPolicy::Preferred | SrtpPolicy::Off => "in clear with a peer that refuses it",
            };
            Finding::ok(CHECK, format!("we offer {codecs} with SRTP, {by}; {else_what}"))
        }
    }
}

/// What a trial call agreed on.
pub(super) fn agreed(terms: &MediaTerms, quality: &LineQuality) -> Finding {
    let Some(codec) = quality.codec else {
        return Finding::fail(CHECK, "the call came up without a codec", "the peer's 200 has to carry its description");
    };
    let first = terms.codecs.first().copied();
    let carried = match quality.suite {
        Some(suite) => format!("{codec}, encrypted with {}", suite.name()),
        None => format!("{codec} in clear"),
    };
    if quality.stats.srtp_failures > 0 && quality.stats.received == 0 {
        return Finding::fail(
            CHECK,
            format!("{carried}; none of {} packets was protected with the agreed key", quality.stats.srtp_failures),
            "something between both sides changes the description or the media (SBC, ALG): keep it out, or set srtp = \"off\"",
        );
    }
    if quality.suite.is_none() && terms.srtp != SrtpPolicy::Off {
        return Finding::warn(
            CHECK,
            format!("agreed on {carried}: the peer did not take the encryption that we prefer"),
            "switch SRTP on for this account at the peer, or set `overrides = { srtp = \"off\" }` and spare it the offer",
        );
    }
    match first.filter(|first| *first != codec) {
        Some(first) => Finding::ok(CHECK, format!("agreed on {carried}; the peer did not take {first}, our first")),
        None => Finding::ok(CHECK, format!("agreed on {carried}")),
    }
}

/// Whether an Accept header covers session descriptions (RFC 3261 §20.1).
fn takes_descriptions(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let kind = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        matches!(kind.as_str(), "application/sdp" | "application/*" | "*/*")
    })
}

#[cfg(test)]
mod tests {
    use super::super::verdict::Level;
    use super::*;
    use crate::base::SrtpSuite;
    use crate::media::LegStats;
    use crate::sdp::Codec;

    fn terms(srtp: SrtpPolicy) -> MediaTerms {
        MediaTerms { srtp, ..MediaTerms::from(&[Codec::Opus, Codec::Pcmu]) }
    }

    fn quality(codec: Codec, suite: Option<SrtpSuite>) -> LineQuality {
        LineQuality { codec: Some(codec), suite, stats: LegStats { received: 150, ..LegStats::default() } }
    }

    fn expect(finding: &Finding, level: Level, says: &str, fix: &str) {
        assert_eq!(finding.level, level, "{finding:?}");
        assert!(finding.says.contains(says) && finding.fix.contains(fix), "{finding:?}");
    }

    #[test]
    fn an_offer_is_judged_by_policy_and_by_who_could_read_its_keys() {
        expect(&offer(&terms(SrtpPolicy::Off), false, None), Level::Ok, "opus, PCMU in clear", "");
        expect(&offer(&terms(SrtpPolicy::Off), true, None), Level::Warn, "signalling is encrypted", "preferred");
        expect(&offer(&terms(SrtpPolicy::Preferred), false, None), Level::Warn, "keys may not travel", "tls");
        expect(&offer(&terms(SrtpPolicy::Preferred), true, None), Level::Ok, "SDES", "");
        expect(&offer(&terms(SrtpPolicy::Required), false, None), Level::Fail, "no offer", "tls");
        expect(&offer(&terms(SrtpPolicy::Required), true, None), Level::Ok, "gets no call", "");
    }

    #[test]
    fn a_peer_that_takes_no_descriptions_is_noticed() {
        let plain = terms(SrtpPolicy::Off);
        for accept in ["application/sdp", "text/plain, Application/SDP;level=1", "*/*", "application/*;q=0.5"] {
            assert_eq!(offer(&plain, false, Some(accept)).level, Level::Ok, "{accept}");
        }
        expect(&offer(&plain, false, Some("text/plain")), Level::Warn, "text/plain", "takes calls");
    }

    #[test]
    fn a_call_shows_what_the_peer_really_takes() {
        let preferred = terms(SrtpPolicy::Preferred);
        let suite = Some(SrtpSuite::AeadAes256Gcm);
        expect(&agreed(&preferred, &quality(Codec::Opus, suite)), Level::Ok, "opus, encrypted with AEAD_AES_256", "");
        expect(&agreed(&preferred, &quality(Codec::Pcmu, suite)), Level::Ok, "did not take opus", "");
        expect(&agreed(&preferred, &quality(Codec::Opus, None)), Level::Warn, "in clear", "switch SRTP on");
        expect(&agreed(&terms(SrtpPolicy::Off), &quality(Codec::Opus, None)), Level::Ok, "in clear", "");
        let mut deaf = quality(Codec::Opus, suite);
        deaf.stats = LegStats { srtp_failures: 40, ..LegStats::default() };
        expect(&agreed(&preferred, &deaf), Level::Fail, "none of 40 packets", "ALG");
        expect(&agreed(&preferred, &LineQuality { codec: None, ..deaf }), Level::Fail, "without a codec", "200");
    }
}

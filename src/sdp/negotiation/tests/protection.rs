//! Which offers and answers are encrypted, and with which keys.

use super::*;
use crate::base::SrtpSuite;
use crate::sdp::{Fingerprint, HashFunction, Setup};

const KEY_80: &str = "a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
const KEY_32: &str = "a=crypto:4 AES_CM_128_HMAC_SHA1_32 inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj|2^20";
const PRINT: &str = "a=fingerprint:sha-256 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:3E:4B:65:2E:7D:46:3F:54:42:CD:54:F1";

fn terms(srtp: SrtpPolicy) -> StreamTerms {
    StreamTerms {
        srtp,
        keying: vec![Keying::Sdes, Keying::Dtls],
        private_signalling: true,
        fingerprint: Some(Fingerprint { hash: HashFunction::Sha256, octets: vec![7; 32] }),
        ..StreamTerms::default()
    }
}

fn with(terms: StreamTerms) -> Negotiation {
    Negotiation::new("192.0.2.1".parse().unwrap(), 20_000, terms, &mut Random::seeded(1))
}

fn crypto_lines(sdp: &str) -> Vec<&str> {
    sdp.lines().filter(|line| line.starts_with("a=crypto:")).collect()
}

/// What a call in clear, one with keys and one with a handshake look like.
fn kind(security: &Security) -> &'static str {
    match security {
        Security::Plain => "plain",
        Security::Sdes { .. } => "sdes",
        Security::Dtls { .. } => "dtls",
    }
}

#[test]
fn the_offer_matrix_policy_by_kind_of_offer() {
    use SrtpPolicy::{Off, Preferred, Required};
    let plain: &[&str] = &["m=audio 4000 RTP/AVP 0"];
    let optional: &[&str] = &["m=audio 4000 RTP/AVP 0", KEY_80];
    let sdes: &[&str] = &["m=audio 4000 RTP/SAVP 0", KEY_80];
    let dtls: &[&str] = &["m=audio 4000 UDP/TLS/RTP/SAVPF 0", PRINT, "a=setup:actpass"];
    for (policy, offer, expected) in [
        (Off, plain, "plain"),
        (Off, optional, "plain"),
        (Off, sdes, "488"),
        (Off, dtls, "488"),
        (Preferred, plain, "plain"),
        (Preferred, optional, "sdes"),
        (Preferred, sdes, "sdes"),
        (Preferred, dtls, "dtls"),
        (Required, plain, "488"),
        (Required, optional, "sdes"),
        (Required, sdes, "sdes"),
        (Required, dtls, "dtls"),
    ] {
        let outcome = with(terms(policy)).answer(&audio(offer), Direction::SendRecv);
        let found = match &outcome {
            Ok(answer) => kind(&answer.negotiated.security),
            Err(error) if error.sip_status() == 488 => "488",
            Err(error) => panic!("{policy:?} {offer:?}: {error}"),
        };
        assert_eq!(found, expected, "{policy:?} {offer:?}");
        if let Ok(answer) = outcome {
            let proto = offer[0].split(' ').nth(2).unwrap();
            assert_eq!(media_lines(&answer.sdp), [format!("m=audio 20000 {proto} 0")], "the offer's own transport");
            assert_eq!(crypto_lines(&answer.sdp).len(), usize::from(expected == "sdes"));
            assert_eq!(answer.sdp.contains("a=fingerprint:"), expected == "dtls");
        }
    }
}

#[test]
fn refusals_say_whose_fault_it_is_and_the_fix() {
    for (policy, private, offer, part) in [
        (SrtpPolicy::Off, true, &["m=audio 4000 RTP/SAVP 0", KEY_80][..], "srtp is \"off\" here"),
        (SrtpPolicy::Required, true, &["m=audio 4000 RTP/AVP 0"], "SRTP is required here"),
        (SrtpPolicy::Required, false, &["m=audio 4000 RTP/SAVP 0", KEY_80], "use TLS for the signalling"),
        (SrtpPolicy::Preferred, false, &["m=audio 4000 RTP/SAVP 0", KEY_80], "danger_sdes_without_tls"),
        (SrtpPolicy::Required, true, &["m=audio 4000 RTP/SAVP 0"], "a=crypto with one key"),
        (SrtpPolicy::Preferred, true, &["m=audio 4000 UDP/TLS/RTP/SAVP 0"], "a=fingerprint with sha-256"),
    ] {
        let ours = StreamTerms { private_signalling: private, ..terms(policy) };
        let error = with(ours).answer(&audio(offer), Direction::SendRecv).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!((error.sip_status(), error.warning().0), (488, 302), "{error}");
    }
}

#[test]
fn keys_that_strangers_could_read_leave_an_optional_stream_plain() {
    let ours = StreamTerms { private_signalling: false, ..terms(SrtpPolicy::Preferred) };
    let answer = with(ours).answer(&audio(&["m=audio 4000 RTP/AVP 0", KEY_80]), Direction::SendRecv).unwrap();
    assert_eq!(answer.negotiated.security, Security::Plain);
    assert!(crypto_lines(&answer.sdp).is_empty(), "{}", answer.sdp);
    let required = StreamTerms { private_signalling: false, ..terms(SrtpPolicy::Required) };
    let error = with(required).answer(&audio(&["m=audio 4000 RTP/AVP 0", KEY_80]), Direction::SendRecv).unwrap_err();
    assert_eq!(error, SdpError::KeysInClear);
}

#[test]
fn the_best_suite_is_taken_with_the_peer_s_tag_and_a_key_of_our_own() {
    let gcm = format!("a=crypto:9 AEAD_AES_128_GCM inline:{}", "A".repeat(38));
    let offer = audio(&["m=audio 4000 RTP/SAVP 0", KEY_32, KEY_80, &gcm]);
    let answer = with(terms(SrtpPolicy::Required)).answer(&offer, Direction::SendRecv).unwrap();
    let lines = crypto_lines(&answer.sdp);
    assert!(lines.len() == 1 && lines[0].starts_with("a=crypto:9 AEAD_AES_128_GCM inline:"), "{lines:?}");
    let Security::Sdes { suite, send, receive } = answer.negotiated.security else { panic!("no keys") };
    assert_eq!(suite, SrtpSuite::AeadAes128Gcm);
    assert!(receive.master_key() == [0; 16] && send != receive, "the peer's key and one of ours");
    let short_tags = StreamTerms { suites: vec![SrtpSuite::AesCm128HmacSha1Tag32], ..terms(SrtpPolicy::Required) };
    let answer = with(short_tags).answer(&offer, Direction::SendRecv).unwrap();
    assert!(crypto_lines(&answer.sdp)[0].starts_with("a=crypto:4 AES_CM_128_HMAC_SHA1_32"));
}

#[test]
fn our_offers_are_encrypted_by_policy_with_the_best_suite_first() {
    assert!(media_lines(&with(terms(SrtpPolicy::Off)).offer(Direction::SendRecv))[0].contains(" RTP/AVP "));
    for policy in [SrtpPolicy::Preferred, SrtpPolicy::Required] {
        let offer = with(terms(policy)).offer(Direction::SendRecv);
        assert_eq!(media_lines(&offer), ["m=audio 20000 RTP/SAVP 0 8 101"]);
        let suites: Vec<_> = crypto_lines(&offer).iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
        assert_eq!(suites, SrtpSuite::ALL.map(SrtpSuite::name));
    }
    let dtls = StreamTerms { keying: vec![Keying::Dtls, Keying::Sdes], ..terms(SrtpPolicy::Required) };
    let offer = with(dtls).offer(Direction::SendRecv);
    assert_eq!(media_lines(&offer), ["m=audio 20000 UDP/TLS/RTP/SAVP 0 8 101"]);
    assert!(offer.contains("a=setup:actpass") && offer.contains("a=fingerprint:sha-256 07:07:"), "{offer}");
}

#[test]
fn without_private_signalling_nothing_is_offered_that_needs_it() {
    let clear = |srtp, keying| StreamTerms { private_signalling: false, keying, ..terms(srtp) };
    let sdes = clear(SrtpPolicy::Required, vec![Keying::Sdes]);
    assert_eq!(sdes.check_offer(), Err(SdpError::KeysInClear));
    let mut ours = with(sdes);
    let offer = ours.offer(Direction::SendRecv);
    assert!(crypto_lines(&offer).is_empty() && offer.contains("RTP/SAVP"), "neither keys nor clear media: {offer}");
    assert_eq!(ours.accept_answer(&audio(&["m=audio 4000 RTP/AVP 0"])), Err(SdpError::KeysInClear));
    let dtls = clear(SrtpPolicy::Required, vec![Keying::Sdes, Keying::Dtls]);
    assert_eq!(dtls.check_offer(), Ok(()));
    assert!(with(dtls).offer(Direction::SendRecv).contains("UDP/TLS/RTP/SAVP"));
    let preferred = clear(SrtpPolicy::Preferred, vec![Keying::Sdes]);
    assert_eq!(preferred.check_offer(), Ok(()));
    assert!(with(preferred).offer(Direction::SendRecv).contains(" RTP/AVP "));
}

#[test]
fn both_sides_of_a_call_hold_the_same_keys_crosswise() {
    let (mut a, mut b) = (with(terms(SrtpPolicy::Preferred)), {
        let address = "192.0.2.2".parse().unwrap();
        Negotiation::new(address, 30_000, terms(SrtpPolicy::Required), &mut Random::seeded(2))
    });
    let answer = b.answer(a.offer(Direction::SendRecv).as_bytes(), Direction::SendRecv).unwrap();
    let read = a.accept_answer(answer.sdp.as_bytes()).unwrap();
    let (Security::Sdes { suite, send, receive }, Security::Sdes { suite: other, send: theirs, receive: ours }) =
        (read.security, answer.negotiated.security)
    else {
        panic!("no keys")
    };
    assert_eq!((suite, other), (SrtpSuite::AeadAes256Gcm, SrtpSuite::AeadAes256Gcm));
    assert!(send == ours && receive == theirs && send != receive);
}

#[test]
fn an_answer_that_drops_the_encryption_is_taken_only_where_it_may_be_missing() {
    let plain = audio(&["m=audio 4000 RTP/AVP 0"]);
    let keyless = audio(&["m=audio 4000 RTP/SAVP 0"]);
    let read = |policy, answer: &[u8]| {
        let mut ours = with(terms(policy));
        ours.offer(Direction::SendRecv);
        ours.accept_answer(answer).map(|n| n.security)
    };
    assert_eq!(read(SrtpPolicy::Preferred, &plain), Ok(Security::Plain));
    assert!(matches!(read(SrtpPolicy::Required, &plain), Err(SdpError::OnlyPlain { .. })));
    assert!(matches!(read(SrtpPolicy::Preferred, &keyless), Err(SdpError::NoCommonKeying { .. })));
    assert!(matches!(read(SrtpPolicy::Required, &keyless), Err(SdpError::NoCommonKeying { .. })));
    assert!(matches!(read(SrtpPolicy::Off, &keyless), Err(SdpError::AnswerMismatch(_))), "nobody asked for it");
    assert_eq!(read(SrtpPolicy::Off, &audio(&["m=audio 4000 RTP/AVP 0", KEY_80])), Ok(Security::Plain));
}

#[test]
fn a_refused_encrypted_offer_is_made_again_in_clear_only_where_that_is_allowed() {
    let mut preferred = with(terms(SrtpPolicy::Preferred));
    assert!(!preferred.fall_back_to_plain(), "nothing was offered");
    preferred.offer(Direction::SendRecv);
    assert!(preferred.fall_back_to_plain());
    let again = preferred.offer(Direction::SendRecv);
    assert!(again.contains(" RTP/AVP ") && crypto_lines(&again).is_empty(), "{again}");
    assert!(!preferred.fall_back_to_plain(), "once");
    assert_eq!(preferred.accept_answer(&audio(&["m=audio 4000 RTP/AVP 0"])).unwrap().security, Security::Plain);
    let mut required = with(terms(SrtpPolicy::Required));
    required.offer(Direction::SendRecv);
    assert!(!required.fall_back_to_plain());
}

#[test]
fn after_a_handshake_that_cannot_succeed_the_next_offer_takes_the_way_that_the_terms_leave() {
    let agreed = |srtp, keying: &[Keying], private_signalling| {
        let mut ours = with(StreamTerms { keying: keying.to_vec(), private_signalling, ..terms(srtp) });
        assert!(!ours.give_up_dtls(), "nothing was agreed");
        ours.answer(&audio(&["m=audio 4000 UDP/TLS/RTP/SAVP 0", PRINT, "a=setup:actpass"]), Direction::SendRecv)
            .unwrap();
        ours
    };
    let both = [Keying::Dtls, Keying::Sdes];
    let mut keyed = agreed(SrtpPolicy::Required, &both, true);
    assert!(keyed.give_up_dtls());
    let offer = keyed.offer(Direction::SendRecv);
    assert!(offer.contains(" RTP/SAVP 0 ") && !offer.contains("fingerprint"), "{offer}");
    assert!(!crypto_lines(&offer).is_empty(), "{offer}");
    let accepted = keyed.accept_answer(&audio(&["m=audio 4000 RTP/SAVP 0", KEY_80])).unwrap();
    assert!(matches!(accepted.security, Security::Sdes { .. }));
    assert!(!keyed.give_up_dtls(), "once");
    let mut plain = agreed(SrtpPolicy::Preferred, &[Keying::Dtls], true);
    assert!(plain.give_up_dtls());
    let offer = plain.offer(Direction::SendRecv);
    assert!(offer.contains(" RTP/AVP ") && !offer.contains("fingerprint"), "{offer}");
    assert_eq!(plain.accept_answer(&audio(&["m=audio 4000 RTP/AVP 0"])).unwrap().security, Security::Plain);
    assert!(!agreed(SrtpPolicy::Required, &[Keying::Dtls], true).give_up_dtls(), "no other way");
    assert!(!agreed(SrtpPolicy::Required, &both, false).give_up_dtls(), "keys would travel in the open");
}

#[test]
fn a_change_of_the_session_keeps_our_key_and_follows_the_peer_s() {
    let mut ours = with(terms(SrtpPolicy::Required));
    let first = ours.answer(&audio(&["m=audio 4000 RTP/SAVP 0", KEY_80]), Direction::SendRecv).unwrap();
    let held = ours.answer(&audio(&["m=audio 4000 RTP/SAVP 0", KEY_80, "a=sendonly"]), Direction::SendRecv).unwrap();
    assert_eq!(first.negotiated.security, held.negotiated.security);
    assert_eq!(crypto_lines(&first.sdp), crypto_lines(&held.sdp));
    let other = KEY_80.replace("WVNf", "AAAA");
    let rekeyed = ours.answer(&audio(&["m=audio 4000 RTP/SAVP 0", &other]), Direction::SendRecv).unwrap();
    let (Security::Sdes { send, receive, .. }, Security::Sdes { send: before, receive: old, .. }) =
        (&rekeyed.negotiated.security, &held.negotiated.security)
    else {
        panic!("no keys")
    };
    assert!(send == before && receive != old);
    // Our own re-offer has one line, of the agreed suite, with the key that is in use.
    let offer = ours.offer(Direction::SendOnly);
    assert_eq!(crypto_lines(&offer).len(), 1);
    assert!(crypto_lines(&offer)[0].ends_with(crypto_lines(&rekeyed.sdp)[0].split(' ').nth(2).unwrap()));
}

#[test]
fn a_handshake_goes_on_through_changes_and_begins_anew_with_another_certificate() {
    let setup_of = |security: &Security| match security {
        Security::Dtls { setup, .. } => *setup,
        other => panic!("{other:?}"),
    };
    let mut ours = with(terms(SrtpPolicy::Required));
    let offer =
        |setup: &str, print: &str| audio(&["m=audio 4000 UDP/TLS/RTP/SAVP 0", print, &format!("a=setup:{setup}")]);
    let answer = |ours: &mut Negotiation, offer: Vec<u8>| ours.answer(&offer, Direction::SendRecv).unwrap();
    let first = answer(&mut ours, offer("actpass", PRINT));
    assert_eq!(setup_of(&first.negotiated.security), Setup::Active, "we open it");
    assert!(first.sdp.contains("a=setup:active"));
    let again = answer(&mut ours, offer("passive", PRINT));
    assert_eq!(again.negotiated.security, first.negotiated.security);
    let other = answer(&mut ours, offer("active", &PRINT.replace("4A:AD", "00:00")));
    assert_eq!(setup_of(&other.negotiated.security), Setup::Passive);
    assert!(other.sdp.contains("a=setup:passive"));
    let dtls = StreamTerms { keying: vec![Keying::Dtls], ..terms(SrtpPolicy::Required) };
    for (written, role) in [("active", Setup::Passive), ("passive", Setup::Active)] {
        let mut ours = with(dtls.clone());
        ours.offer(Direction::SendRecv);
        assert_eq!(setup_of(&ours.accept_answer(&offer(written, PRINT)).unwrap().security), role);
    }
    let mut ours = with(dtls);
    ours.offer(Direction::SendRecv);
    let silent = audio(&["m=audio 4000 UDP/TLS/RTP/SAVP 0", PRINT]);
    assert_eq!(setup_of(&ours.accept_answer(&silent).unwrap().security), Setup::Passive, "RFC 4145: silence is active");
}

#[test]
fn an_encrypted_stream_is_taken_before_a_plain_one() {
    let two = ["m=audio 4000 RTP/AVP 0", "m=audio 4002 RTP/SAVP 0", KEY_80];
    let preferred = with(terms(SrtpPolicy::Preferred)).answer(&audio(&two), Direction::SendRecv).unwrap();
    assert_eq!(media_lines(&preferred.sdp), ["m=audio 0 RTP/AVP 0", "m=audio 20000 RTP/SAVP 0"]);
    let off = with(terms(SrtpPolicy::Off)).answer(&audio(&two), Direction::SendRecv).unwrap();
    assert_eq!(media_lines(&off.sdp), ["m=audio 20000 RTP/AVP 0", "m=audio 0 RTP/SAVP 0"]);
}

#[test]
fn keys_are_in_no_debug_output_and_in_no_error() {
    let mut ours = with(terms(SrtpPolicy::Required));
    let answer = ours.answer(&audio(&["m=audio 4000 RTP/SAVP 0", KEY_80]), Direction::SendRecv).unwrap();
    let shown = format!("{answer:?} {ours:?}");
    let own = crypto_lines(&answer.sdp)[0].split("inline:").nth(1).unwrap().to_owned();
    assert!(!shown.contains("inline") && !shown.contains(&own) && !shown.contains("WVNf"), "{shown}");
    for lines in [
        &["m=audio 4000 RTP/SAVP 18", KEY_80][..],
        &["m=audio 4000 RTP/SAVP 0", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNf"],
        &["m=audio x RTP/SAVP 0", KEY_80],
    ] {
        let error = with(terms(SrtpPolicy::Required)).answer(&audio(lines), Direction::SendRecv).unwrap_err();
        assert!(!format!("{error} {error:?} {:?}", error.warning()).contains("WVNf"), "{error}");
    }
}

#[test]
fn a_stream_that_was_encrypted_does_not_become_plain() {
    let mut ours = with(terms(SrtpPolicy::Preferred));
    ours.answer(&audio(&["m=audio 4000 RTP/SAVP 0", KEY_80]), Direction::SendRecv).unwrap();
    let plain = audio(&["m=audio 4000 RTP/AVP 0"]);
    assert!(matches!(ours.answer(&plain, Direction::SendRecv), Err(SdpError::OnlyPlain { .. })));
    ours.offer(Direction::SendRecv);
    assert!(matches!(ours.accept_answer(&plain), Err(SdpError::OnlyPlain { .. })));
    let mut plain_first = with(terms(SrtpPolicy::Preferred));
    plain_first.answer(&plain, Direction::SendRecv).unwrap();
    let later = plain_first.answer(&audio(&["m=audio 4000 RTP/SAVP 0", KEY_80]), Direction::SendRecv).unwrap();
    assert!(later.negotiated.security.is_secure());
}

use super::*;

mod codecs;
mod protection;

fn ours() -> Negotiation {
    Negotiation::new("192.0.2.1".parse().unwrap(), 20_000, Codec::G711.to_vec(), &mut Random::seeded(1))
}

/// A description of one audio stream; `lines` are joined by CRLF.
fn audio(lines: &[&str]) -> Vec<u8> {
    let mut text = String::from("v=0\r\no=- 1 1 IN IP4 10.1.2.3\r\ns=-\r\nc=IN IP4 10.1.2.3\r\nt=0 0\r\n");
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text.into_bytes()
}

fn answer(lines: &[&str]) -> Result<Answer, SdpError> {
    ours().answer(&audio(lines), Direction::SendRecv)
}

fn media_lines(sdp: &str) -> Vec<&str> {
    sdp.lines().filter(|l| l.starts_with("m=")).collect()
}

#[test]
fn our_offer_lists_both_laws_and_telephone_events() {
    let sdp = ours().offer(Direction::SendRecv);
    assert!(
        sdp.starts_with("v=0\r\no=- ") && sdp.contains(" 0 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n")
    );
    assert_eq!(media_lines(&sdp), ["m=audio 20000 RTP/AVP 0 8 101"]);
    for line in [
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=sendrecv",
    ] {
        assert!(sdp.lines().any(|l| l == line), "{line} missing in\n{sdp}");
    }
}

#[test]
fn our_own_offer_can_be_answered_and_the_answer_read() {
    let (mut a, mut b) = (ours(), ours());
    let answer = b.answer(a.offer(Direction::SendRecv).as_bytes(), Direction::SendRecv).unwrap();
    let read = a.accept_answer(answer.sdp.as_bytes()).unwrap();
    assert_eq!((read.codec, read.payload_type, read.telephone_event, read.rtcp_mux), (Codec::Pcmu, 0, Some(101), true));
    assert_eq!(read, Negotiated { remote: answer.negotiated.remote, ..answer.negotiated });
}

#[test]
fn an_asterisk_offer_is_answered_with_its_first_known_codec() {
    let offer = include_bytes!("../../../tests/sdp/asterisk-offer.sdp");
    let answer = ours().answer(offer, Direction::SendRecv).unwrap();
    assert_eq!(media_lines(&answer.sdp), ["m=audio 20000 RTP/AVP 0 101"]);
    assert!(!answer.sdp.contains("rtcp-mux") && !answer.sdp.contains("G722"));
    let n = answer.negotiated;
    assert_eq!((n.remote.to_string(), n.rtcp.to_string()), ("10.1.2.3:10234".into(), "10.1.2.3:10235".into()));
    assert_eq!((n.codec, n.ptime_ms, n.direction), (Codec::Pcmu, 20, Direction::SendRecv));
}

#[test]
fn the_offerer_s_order_and_payload_types_are_kept() {
    let n = answer(&["m=audio 4000 RTP/AVP 18 97 98", "a=rtpmap:97 pcma/8000/1", "a=rtpmap:98 Telephone-Event/8000"])
        .unwrap();
    assert_eq!(media_lines(&n.sdp), ["m=audio 20000 RTP/AVP 97 98"]);
    assert_eq!((n.negotiated.codec, n.negotiated.payload_type), (Codec::Pcma, 97));
    assert_eq!((n.negotiated.telephone_event, n.negotiated.receive_telephone_event), (Some(98), Some(98)));
    let preferred = answer(&["m=audio 4000 RTP/AVP 8 0"]).unwrap().negotiated;
    assert_eq!((preferred.codec, preferred.telephone_event), (Codec::Pcma, None), "static types need no rtpmap");
}

#[test]
fn a_codec_we_were_not_told_to_speak_is_not_agreed() {
    let mut a_law_only =
        Negotiation::new("192.0.2.1".parse().unwrap(), 20_000, vec![Codec::Pcma], &mut Random::seeded(1));
    let answer = a_law_only.answer(&audio(&["m=audio 4000 RTP/AVP 0 8"]), Direction::SendRecv).unwrap();
    assert_eq!(answer.negotiated.codec, Codec::Pcma);
}

#[test]
fn no_codec_in_common_is_488_and_names_what_was_offered() {
    let error =
        answer(&["m=audio 4000 RTP/AVP 18 96", "a=rtpmap:18 G729/8000", "a=rtpmap:96 opus/48000/2"]).unwrap_err();
    assert_eq!(error, SdpError::NoCommonCodec { offered: "G729/8000, opus/48000/2".into() });
    assert_eq!(error.sip_status(), 488);
    let stereo = answer(&["m=audio 4000 RTP/AVP 97", "a=rtpmap:97 PCMU/8000/2"]);
    assert!(matches!(stereo, Err(SdpError::NoCommonCodec { .. })));
}

#[test]
fn descriptions_without_usable_audio_are_488() {
    for lines in [&["m=video 4000 RTP/AVP 96"][..], &["m=audio 0 RTP/AVP 0"], &["m=image 4000 udptl t38"], &[]] {
        assert_eq!(answer(lines).unwrap_err(), SdpError::NoAudio, "{lines:?}");
    }
    assert_eq!(SdpError::NoAudio.sip_status(), 488);
}

#[test]
fn other_streams_are_refused_in_their_places() {
    let answer = answer(&[
        "m=video 5000 RTP/AVP 96 97",
        "a=rtpmap:96 H264/90000",
        "m=audio 4000 RTP/SAVP 0",
        "m=audio 4002 RTP/AVP 0",
        "m=image 6000 udptl t38",
        "m=chat 7000 TCP/MSRP *",
        "m=audio 4004 RTP/AVP 8",
    ])
    .unwrap();
    assert_eq!(
        media_lines(&answer.sdp),
        [
            "m=video 0 RTP/AVP 96 97",
            "m=audio 0 RTP/SAVP 0",
            "m=audio 20000 RTP/AVP 0",
            "m=image 0 udptl t38",
            "m=chat 0 TCP/MSRP *",
            "m=audio 0 RTP/AVP 8",
        ]
    );
    assert_eq!(answer.negotiated.remote.port(), 4002);
}

#[test]
fn hold_is_answered_by_the_table_of_rfc_3264() {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    for (offered, wanted, expected) in [
        ("a=sendonly", SendRecv, RecvOnly),
        ("a=inactive", SendRecv, Inactive),
        ("a=recvonly", SendRecv, SendOnly),
        ("a=sendrecv", SendRecv, SendRecv),
        ("a=ptime:20", SendRecv, SendRecv),
        ("a=sendrecv", SendOnly, SendOnly),
        ("a=sendonly", SendOnly, Inactive),
    ] {
        let answer = ours().answer(&audio(&["m=audio 4000 RTP/AVP 0", offered]), wanted).unwrap();
        assert_eq!(answer.negotiated.direction, expected, "{offered} {wanted:?}");
        assert!(answer.sdp.contains(&format!("a={}\r\n", expected.attribute())));
    }
}

#[test]
fn a_direction_for_the_whole_session_counts_and_the_stream_s_own_wins() {
    let session =
        String::from_utf8(audio(&["m=audio 4000 RTP/AVP 0"])).unwrap().replace("t=0 0\r\n", "t=0 0\r\na=inactive\r\n");
    let held = ours().answer(session.as_bytes(), Direction::SendRecv).unwrap().negotiated;
    assert!(held.is_held() && held.direction == Direction::Inactive);
    let own = session + "a=sendrecv\r\n";
    assert_eq!(ours().answer(own.as_bytes(), Direction::SendRecv).unwrap().negotiated.direction, Direction::SendRecv);
}

#[test]
fn the_unspecified_address_is_hold() {
    let answer = answer(&["m=audio 4000 RTP/AVP 0", "c=IN IP4 0.0.0.0"]).unwrap();
    assert_eq!(answer.negotiated.direction, Direction::RecvOnly);
    assert!(answer.negotiated.remote.ip().is_unspecified() && answer.negotiated.remote_name.is_none());
}

#[test]
fn host_names_ipv6_and_multicast_addresses() {
    let name = answer(&["m=audio 4000 RTP/AVP 0", "c=IN IP4 media.example.com"]).unwrap().negotiated;
    assert_eq!(name.remote_name.as_deref(), Some("media.example.com"));
    assert_eq!(name.direction, Direction::SendRecv);
    let six = answer(&["m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:db8::5"]).unwrap().negotiated;
    assert_eq!(six.remote, "[2001:db8::5]:4000".parse::<SocketAddr>().unwrap());
    for address in ["224.2.1.1/127", "255.255.255.255", "evil host", "a;b"] {
        let line = format!("c=IN IP4 {address}");
        assert!(answer(&["m=audio 4000 RTP/AVP 0", &line]).is_err(), "{address}");
    }
}

#[test]
fn a_description_without_an_address_is_refused() {
    let offer = b"v=0\r\no=- 1 1 IN IP4 10.1.2.3\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    assert_eq!(ours().answer(offer, Direction::SendRecv).unwrap_err(), SdpError::NoAddress);
}

#[test]
fn packet_time_is_the_peer_s_within_its_maximum() {
    for (lines, expected) in [
        (&["a=ptime:30"][..], 30),
        (&["a=ptime:20.0"], 20),
        (&["a=ptime:5"], 10),
        (&["a=ptime:200"], 60),
        (&["a=ptime:0"], 20),
        (&["a=ptime:abc"], 20),
        (&["a=ptime:40", "a=maxptime:20"], 20),
        (&["a=maxptime:10"], 10),
        (&[], 20),
    ] {
        let all: Vec<&str> = ["m=audio 4000 RTP/AVP 0"].iter().chain(lines).copied().collect();
        assert_eq!(answer(&all).unwrap().negotiated.ptime_ms, expected, "{lines:?}");
    }
}

#[test]
fn rtcp_goes_beside_rtp_unless_the_peer_says_otherwise() {
    let rtcp = |line: &str| answer(&["m=audio 4000 RTP/AVP 0", line]).unwrap();
    assert_eq!(rtcp("a=rtcp:5555").negotiated.rtcp.to_string(), "10.1.2.3:5555");
    assert_eq!(rtcp("a=rtcp:5555 IN IP4 10.1.2.9").negotiated.rtcp.to_string(), "10.1.2.9:5555");
    assert_eq!(rtcp("a=rtcp:x").negotiated.rtcp.to_string(), "10.1.2.3:4001");
    let mux = rtcp("a=rtcp-mux");
    assert!(mux.negotiated.rtcp_mux && mux.sdp.contains("a=rtcp-mux\r\n"));
    assert_eq!(mux.negotiated.rtcp, mux.negotiated.remote);
}

#[test]
fn the_version_grows_only_when_the_text_changes() {
    let version = |sdp: &str| sdp.lines().nth(1).unwrap().split(' ').nth(2).unwrap().to_owned();
    let mut ours = ours();
    let first = ours.offer(Direction::SendRecv);
    let again = ours.offer(Direction::SendRecv);
    let held = ours.offer(Direction::SendOnly);
    let resumed = ours.answer(&audio(&["m=audio 4000 RTP/AVP 0"]), Direction::SendRecv).unwrap().sdp;
    assert_eq!([&first, &again, &held, &resumed].map(|s| version(s)), ["0", "0", "1", "2"]);
    let id = |sdp: &str| sdp.lines().nth(1).unwrap().split(' ').nth(1).unwrap().to_owned();
    assert_eq!(id(&first), id(&resumed));
}

#[test]
fn an_answer_with_both_laws_warns_of_the_second() {
    let mut ours = ours();
    ours.offer(Direction::SendRecv);
    let answer = audio(&["m=audio 4000 RTP/AVP 8 0 96", "a=rtpmap:96 telephone-event/8000", "a=sendonly"]);
    let n = ours.accept_answer(&answer).unwrap();
    assert_eq!((n.codec, n.alternate), (Codec::Pcma, Some((0, Codec::Pcmu))));
    assert_eq!((n.telephone_event, n.receive_telephone_event), (Some(96), Some(101)));
    assert_eq!(n.direction, Direction::RecvOnly);
}

#[test]
fn answers_that_do_not_fit_our_offer_are_named() {
    let read = |lines: &[&str]| {
        let mut ours = ours();
        ours.offer(Direction::SendRecv);
        ours.accept_answer(&audio(lines)).unwrap_err()
    };
    assert!(matches!(read(&[]), SdpError::AnswerMismatch(_)));
    assert!(matches!(read(&["m=video 4000 RTP/AVP 96"]), SdpError::AnswerMismatch(_)));
    assert_eq!(read(&["m=audio 0 RTP/AVP 0"]), SdpError::NoAudio);
    assert!(matches!(read(&["m=audio 4000 RTP/AVP 18"]), SdpError::NoCommonCodec { .. }));
}

#[test]
fn bounds_are_kept() {
    let status = |offer: Vec<u8>| ours().answer(&offer, Direction::SendRecv).unwrap_err().sip_status();
    let many = |line: &str, count| {
        audio(&std::iter::once("m=audio 4000 RTP/AVP 0").chain(std::iter::repeat_n(line, count)).collect::<Vec<_>>())
    };
    assert_eq!(status(many("m=video 1 RTP/AVP 96", 16)), 413);
    assert_eq!(status(many("a=x:y", 65)), 413);
    assert!(ours().answer(&many("a=x:y", 64), Direction::SendRecv).is_ok());
    assert_eq!(status(many(&format!("a=fmtp:0 {}", "x".repeat(9_000)), 1)), 413);
    assert_eq!(status(vec![b'v'; 70_000]), 413);
    let formats = format!("m=audio 4000 RTP/AVP {}", "0 ".repeat(129));
    assert_eq!(status(audio(&[&formats])), 413);
    assert_eq!(status(b"not sdp".to_vec()), 400);
    assert_eq!(status(vec![]), 400);
}

#[test]
fn bare_line_feeds_missing_lines_and_foreign_letters_are_read() {
    let offer = b"v=0\no=- 1 1 IN IP4 10.1.2.3\ns=caf\xE9\nc=IN IP4 10.1.2.3\nm=audio 4000 RTP/AVP 0\n";
    assert!(ours().answer(offer, Direction::SendRecv).is_ok());
}

#[test]
fn a_re_offer_keeps_every_line_in_its_place_and_the_agreed_payload_types() {
    let mut ours = ours();
    ours.answer(
        &audio(&[
            "m=video 4000 RTP/AVP 96",
            "a=rtpmap:96 H264/90000",
            "m=audio 4002 RTP/AVPF 98 97",
            "a=rtpmap:98 PCMA/8000",
            "a=rtpmap:97 telephone-event/8000",
        ]),
        Direction::SendRecv,
    )
    .unwrap();
    let offer = ours.offer(Direction::SendOnly);
    assert_eq!(media_lines(&offer), ["m=video 0 RTP/AVP 96", "m=audio 20000 RTP/AVPF 98 0 97"]);
    assert!(offer.contains("a=rtpmap:98 PCMA/8000") && offer.contains("a=sendonly") && !offer.contains("rtcp-mux"));
    let answer = audio(&[
        "m=video 0 RTP/AVP 96",
        "m=audio 4002 RTP/AVPF 98 97",
        "a=rtpmap:98 PCMA/8000",
        "a=rtpmap:97 telephone-event/8000",
        "a=recvonly",
    ]);
    let agreed = ours.accept_answer(&answer).unwrap();
    assert_eq!((agreed.codec, agreed.payload_type, agreed.direction), (Codec::Pcma, 98, Direction::SendOnly));
    assert_eq!((agreed.telephone_event, agreed.receive_telephone_event), (Some(97), Some(97)));
    let one_line = ours.accept_answer(&audio(&["m=audio 4002 RTP/AVP 8"]));
    assert!(matches!(one_line, Err(SdpError::AnswerMismatch(_))), "{one_line:?}");
}

#[test]
fn a_re_offer_of_ours_repeats_what_the_peer_chose() {
    let mut ours = ours();
    let first = ours.offer(Direction::SendRecv);
    ours.accept_answer(&audio(&["m=audio 4000 RTP/AVP 8 101", "a=rtpmap:101 telephone-event/8000"])).unwrap();
    let again = ours.offer(Direction::SendRecv);
    assert_eq!(media_lines(&again), ["m=audio 20000 RTP/AVP 8 0 101"]);
    let version = |sdp: &str| sdp.lines().nth(1).and_then(|o| o.split(' ').nth(2)?.parse::<u32>().ok()).unwrap();
    assert_eq!(version(&again), version(&first) + 1);
}

#[test]
fn a_stream_in_use_stays_in_use_when_the_peer_adds_another_before_it_is_tried() {
    let mut ours = ours();
    ours.answer(&audio(&["m=audio 4000 RTP/AVP 0"]), Direction::SendRecv).unwrap();
    let two = ["m=audio 4000 RTP/AVP 0", "m=audio 5000 RTP/AVP 8"];
    let answer = ours.answer(&audio(&two), Direction::SendRecv).unwrap();
    assert_eq!(media_lines(&answer.sdp), ["m=audio 20000 RTP/AVP 0", "m=audio 0 RTP/AVP 8"]);
}

#[test]
fn an_offer_of_encrypted_media_only_is_488_and_says_so_in_a_warning() {
    let error = answer(&["m=audio 4000 RTP/SAVP 0", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x"]).unwrap_err();
    assert!(matches!(error, SdpError::OnlySecure { .. }), "{error}");
    assert_eq!((error.sip_status(), error.warning().0), (488, 302));
    let dtls = answer(&["m=audio 4000 UDP/TLS/RTP/SAVPF 0"]).unwrap_err();
    assert!(matches!(dtls, SdpError::OnlySecure { .. }), "{dtls}");
    let both = answer(&["m=audio 4000 RTP/SAVP 0", "m=audio 4002 RTP/AVP 0"]).unwrap();
    assert_eq!(media_lines(&both.sdp), ["m=audio 0 RTP/SAVP 0", "m=audio 20000 RTP/AVP 0"]);
    let quoted = SdpError::NoCommonCodec { offered: "G\"722\r\nX: y".into() }.warning();
    assert!(quoted.0 == 305 && !quoted.1.contains(['"', '\r', '\n']), "{}", quoted.1);
}

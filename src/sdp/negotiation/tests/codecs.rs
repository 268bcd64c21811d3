//! Wideband codecs, their parameters, comfort noise, clocks of telephone-events, and changes in the middle of a call.

use super::*;

const OPUS: [&str; 2] = ["a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1;maxplaybackrate=24000"];

fn with(codecs: &[Codec]) -> Negotiation {
    with_terms(StreamTerms::from(codecs))
}

fn with_terms(terms: StreamTerms) -> Negotiation {
    Negotiation::new("192.0.2.1".parse().unwrap(), 20_000, terms, &mut Random::seeded(1))
}

fn has(sdp: &str, line: &str) -> bool {
    sdp.lines().any(|l| l == line)
}

#[test]
fn our_offer_has_every_codec_and_events_for_both_clocks() {
    let sdp = with(&[Codec::Opus, Codec::G722, Codec::Pcmu]).offer(Direction::SendRecv);
    assert_eq!(media_lines(&sdp), ["m=audio 20000 RTP/AVP 107 9 0 101 110"]);
    for line in [
        "a=rtpmap:107 opus/48000/2",
        "a=fmtp:107 useinbandfec=1;stereo=0;sprop-stereo=0;minptime=10",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=rtpmap:110 telephone-event/48000",
        "a=fmtp:110 0-15",
        "a=ptime:20",
        "a=maxptime:60",
    ] {
        assert!(has(&sdp, line), "{line} missing in\n{sdp}");
    }
    let only_opus = with(&[Codec::Opus]).offer(Direction::SendRecv);
    assert_eq!(media_lines(&only_opus), ["m=audio 20000 RTP/AVP 107 110"], "events at the clocks offered only");
}

#[test]
fn a_wideband_offer_is_answered_by_its_order_or_ours() {
    let lines = ["m=audio 4000 RTP/AVP 9 0 111 126", OPUS[0], OPUS[1], "a=rtpmap:126 telephone-event/48000"];
    let offer = audio(&lines);
    let ours = StreamTerms::from(&[Codec::Opus, Codec::Pcmu, Codec::G722]);
    let theirs = with_terms(ours.clone()).answer(&offer, Direction::SendRecv).unwrap();
    assert_eq!((theirs.negotiated.codec, theirs.negotiated.payload_type), (Codec::G722, 9));
    let terms = StreamTerms { preference: CodecPreference::Ours, ..ours };
    let answer = with_terms(terms).answer(&offer, Direction::SendRecv).unwrap();
    let n = answer.negotiated;
    assert_eq!(media_lines(&answer.sdp), ["m=audio 20000 RTP/AVP 111 126"]);
    assert_eq!((n.codec, n.payload_type), (Codec::Opus, 111));
    assert_eq!((n.telephone_event, n.telephone_event_rate), (Some(126), 48_000));
    assert!(n.opus.in_band_fec && n.opus.max_playback_rate == 24_000 && n.opus.min_ptime_ms == 10, "{:?}", n.opus);
}

#[test]
fn events_fall_back_to_the_clock_of_telephony() {
    let offer = audio(&["m=audio 4000 RTP/AVP 111 101", OPUS[0], "a=rtpmap:101 telephone-event/8000"]);
    let answer = with(&[Codec::Opus]).answer(&offer, Direction::SendRecv).unwrap();
    assert!(has(&answer.sdp, "a=rtpmap:101 telephone-event/8000"), "{}", answer.sdp);
    assert_eq!((answer.negotiated.telephone_event, answer.negotiated.telephone_event_rate), (Some(101), 8_000));
    // G.722 runs on a clock of 8,000, so events at 16,000 are not for it.
    let offer = audio(&["m=audio 4000 RTP/AVP 9 96", "a=rtpmap:96 telephone-event/16000"]);
    let answer = with(&[Codec::G722]).answer(&offer, Direction::SendRecv).unwrap();
    assert_eq!(answer.negotiated.telephone_event, None);
}

#[test]
fn comfort_noise_is_agreed_only_where_both_list_it_and_the_clock_fits() {
    let quiet = |codecs: &[Codec]| with_terms(StreamTerms { comfort_noise: true, ..StreamTerms::from(codecs) });
    let offer = audio(&["m=audio 4000 RTP/AVP 0 13 111", OPUS[0]]);
    let noise = |mut ours: Negotiation| ours.answer(&offer, Direction::SendRecv).unwrap();
    let agreed = noise(quiet(&[Codec::Pcmu]));
    assert_eq!(agreed.negotiated.comfort_noise, Some(13));
    assert!(has(&agreed.sdp, "a=rtpmap:13 CN/8000") && media_lines(&agreed.sdp) == ["m=audio 20000 RTP/AVP 0 13"]);
    assert_eq!(noise(with(&[Codec::Pcmu])).negotiated.comfort_noise, None, "we do not list it");
    assert_eq!(noise(quiet(&[Codec::Opus])).negotiated.comfort_noise, None, "Opus has its own");
    let mut ours = quiet(&[Codec::Pcmu]);
    assert_eq!(media_lines(&ours.offer(Direction::SendRecv)), ["m=audio 20000 RTP/AVP 0 13 101"]);
    assert_eq!(ours.accept_answer(&audio(&["m=audio 4000 RTP/AVP 0 13"])).unwrap().comfort_noise, Some(13));
    assert_eq!(ours.accept_answer(&audio(&["m=audio 4000 RTP/AVP 0"])).unwrap().comfort_noise, None);
    let mut loud = with(&[Codec::Pcmu]);
    loud.offer(Direction::SendRecv);
    assert_eq!(loud.accept_answer(&audio(&["m=audio 4000 RTP/AVP 0 13"])).unwrap().comfort_noise, None, "not offered");
}

#[test]
fn a_peer_that_answers_with_its_own_number_may_use_ours() {
    let mut ours = with(&[Codec::Opus, Codec::Pcmu]);
    ours.offer(Direction::SendRecv);
    let lines = ["m=audio 4000 RTP/AVP 96 97", "a=rtpmap:96 opus/48000/2", "a=rtpmap:97 telephone-event/48000"];
    let n = ours.accept_answer(&audio(&lines)).unwrap();
    assert_eq!((n.codec, n.payload_type, n.alternate), (Codec::Opus, 96, Some((107, Codec::Opus))));
    assert_eq!((n.telephone_event, n.receive_telephone_event), (Some(97), Some(110)));
    // What we called 107 stays 107 (RFC 3264 §8.3.2).
    let again = ours.offer(Direction::SendRecv);
    assert!(has(&again, "a=rtpmap:107 opus/48000/2") && !again.contains("96"), "{again}");
}

#[test]
fn a_second_codec_of_another_clock_is_not_waited_for() {
    let mut ours = with(&[Codec::Opus, Codec::G722, Codec::Pcmu]);
    ours.offer(Direction::SendRecv);
    let opus_first = ["m=audio 4000 RTP/AVP 107 0", "a=rtpmap:107 opus/48000/2"];
    assert_eq!(ours.accept_answer(&audio(&opus_first)).unwrap().alternate, None);
    let n = ours.accept_answer(&audio(&["m=audio 4000 RTP/AVP 9 0"])).unwrap();
    assert_eq!((n.codec, n.alternate), (Codec::G722, Some((0, Codec::Pcmu))));
}

#[test]
fn a_re_offer_with_another_codec_is_answered_from_itself() {
    let mut ours = with(&[Codec::Opus, Codec::G722, Codec::Pcmu]);
    let codec_of = |ours: &mut Negotiation, lines: &[&str]| {
        ours.answer(&audio(lines), Direction::SendRecv).map(|answer| answer.negotiated.codec)
    };
    assert_eq!(codec_of(&mut ours, &["m=audio 4000 RTP/AVP 111 0", OPUS[0]]).unwrap(), Codec::Opus);
    assert_eq!(codec_of(&mut ours, &["m=audio 4000 RTP/AVP 0"]).unwrap(), Codec::Pcmu);
    assert_eq!(codec_of(&mut ours, &["m=audio 4000 RTP/AVP 9 0"]).unwrap(), Codec::G722);
    // 111 means Opus in this session, so our own offer neither gives it another meaning nor Opus another number.
    let offer = ours.offer(Direction::SendRecv);
    assert_eq!(media_lines(&offer), ["m=audio 20000 RTP/AVP 9 107 0 101 110"]);
}

#[test]
fn a_number_that_means_something_else_is_not_offered_for_opus() {
    let mut ours = with(&[Codec::Pcmu, Codec::Opus]);
    let lines = ["m=audio 4000 RTP/AVP 0 107 96", "a=rtpmap:107 AMR/8000", "a=rtpmap:96 telephone-event/8000"];
    ours.answer(&audio(&lines), Direction::SendRecv).unwrap();
    let offer = ours.offer(Direction::SendRecv);
    assert_eq!(media_lines(&offer), ["m=audio 20000 RTP/AVP 0 97 96 110"]);
    assert!(has(&offer, "a=rtpmap:97 opus/48000/2"));
}

#[test]
fn packets_of_opus_have_a_length_it_can_do_in_one_frame() {
    for (lines, expected) in [
        (&["a=ptime:10"][..], 10),
        (&["a=ptime:30"], 20),
        (&["a=ptime:50"], 40),
        (&["a=ptime:60"], 60),
        (&["a=ptime:10", "a=fmtp:111 minptime=20"], 20),
        (&["a=ptime:20", "a=fmtp:111 minptime=120"], 60),
    ] {
        let all: Vec<&str> = ["m=audio 4000 RTP/AVP 111", OPUS[0]].iter().chain(lines).copied().collect();
        let answer = with(&[Codec::Opus]).answer(&audio(&all), Direction::SendRecv).unwrap();
        assert_eq!(answer.negotiated.ptime_ms, expected, "{lines:?}");
        assert!(has(&answer.sdp, &format!("a=ptime:{expected}")));
    }
    let answer = with(&[Codec::G722]).answer(&audio(&["m=audio 4000 RTP/AVP 9", "a=ptime:35"]), Direction::SendRecv);
    assert_eq!(answer.unwrap().negotiated.ptime_ms, 30, "G.722 has whole steps of ten");
}

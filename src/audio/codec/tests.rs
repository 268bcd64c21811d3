use super::*;

#[test]
fn ticks_of_the_clock_follow_the_rfcs_and_not_the_samples() {
    assert_eq!(Coding::Pcmu.ticks(160), 160);
    assert_eq!(Coding::G722.ticks(320), 160);
    assert_eq!(Coding::G722.samples(160), 320);
    for khz in [8, 16, 24, 48] {
        let coding = Coding::Opus(OpusSettings { sample_rate: SampleRate(khz * 1_000), ..OpusSettings::VOICE });
        assert_eq!(coding.ticks(20 * khz as usize), 960);
        assert_eq!(coding.samples(960), 20 * khz as usize);
    }
}

use crate::audio::frame::level_dbfs;
use crate::audio::wav;

const OPUS_RATES: [u32; 4] = [8_000, 16_000, 24_000, 48_000];

fn opus(rate: u32) -> Coding {
    Coding::Opus(OpusSettings { sample_rate: SampleRate(rate), ..OpusSettings::VOICE })
}

fn every_coding() -> impl Iterator<Item = Coding> {
    [Coding::Pcmu, Coding::Pcma, Coding::G722].into_iter().chain(OPUS_RATES.map(opus))
}

fn speech(rate: SampleRate) -> Vec<i16> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/caller/");
    ["book.wav", "phone.wav", "time-2.wav"]
        .iter()
        .flat_map(|name| wav::read_at(format!("{folder}{name}"), rate).unwrap())
        .collect()
}

fn packets(coding: Coding, samples: &[i16], ptime_ms: u32) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(coding).unwrap();
    let mut out = [0; MAX_ENCODED];
    samples
        .chunks_exact(coding.sample_rate().samples_in_ms(ptime_ms))
        .map(|packet| {
            let octets = encoder.encode(packet, &mut out).unwrap();
            out[..octets].to_vec()
        })
        .collect()
}

#[test]
fn speech_survives_every_codec_at_every_packet_time() {
    for coding in every_coding() {
        let rate = coding.sample_rate();
        let samples = speech(rate);
        for ptime_ms in [10, 20, 40, 60] {
            let mut decoder = Decoder::new(coding).unwrap();
            let (mut heard, mut out) = (Vec::new(), [0; MAX_PACKET_SAMPLES]);
            for packet in packets(coding, &samples, ptime_ms) {
                assert_eq!(decoder.duration(&packet), rate.samples_in_ms(ptime_ms), "{coding:?} {ptime_ms} ms");
                let decoded = decoder.decode(&packet, &mut out).unwrap();
                assert_eq!(decoded, rate.samples_in_ms(ptime_ms));
                heard.extend_from_slice(&out[..decoded]);
            }
            let (before, after) = (level_dbfs(&samples), level_dbfs(&heard));
            assert!((before - after).abs() < 1.5, "{coding:?} {ptime_ms} ms: {before} became {after} dBFS");
        }
    }
}

#[test]
fn thirty_milliseconds_are_a_packet_of_g711_and_g722_but_not_of_opus() {
    let mut out = [0; MAX_ENCODED];
    for (coding, octets) in [(Coding::Pcmu, 240), (Coding::Pcma, 240), (Coding::G722, 240)] {
        let samples = vec![0; coding.sample_rate().samples_in_ms(30)];
        assert_eq!(Encoder::new(coding).unwrap().encode(&samples, &mut out), Ok(octets));
    }
    assert_eq!(Encoder::new(opus(16_000)).unwrap().encode(&[0; 480], &mut out), Err(CodecError::PacketLength(480)));
    assert_eq!(Encoder::new(Coding::G722).unwrap().encode(&[0; 5], &mut out), Err(CodecError::PacketLength(5)));
}

#[test]
fn what_does_not_fit_or_is_no_packet_is_an_error_and_never_a_panic() {
    for coding in every_coding() {
        let samples = speech(coding.sample_rate());
        let packet = packets(coding, &samples, 20).remove(40);
        let mut decoder = Decoder::new(coding).unwrap();
        assert_eq!(decoder.decode(&packet, &mut [0; 10]), Err(CodecError::BufferTooSmall), "{coding:?}");
        let frame = &samples[..coding.sample_rate().samples_in_ms(20)];
        assert_eq!(Encoder::new(coding).unwrap().encode(frame, &mut []), Err(CodecError::BufferTooSmall));
    }
    let mut decoder = Decoder::new(opus(48_000)).unwrap();
    let mut random = crate::base::Random::seeded(6);
    let mut out = [0; MAX_PACKET_SAMPLES];
    assert_eq!(decoder.decode(&[], &mut out), Err(CodecError::Payload("opus")));
    for round in 0..3_000usize {
        let octets: Vec<u8> = (0..round % 40).map(|_| random.next_u32() as u8).collect();
        let said = decoder.duration(&octets);
        if let Ok(decoded) = decoder.decode(&octets, &mut out) {
            assert_eq!(decoded, said);
        }
        decoder.recover(&octets, &mut out[..960]);
        decoder.conceal(&mut out[..round % 961]);
    }
}

#[test]
fn settings_that_opus_cannot_have_are_refused() {
    let good = OpusSettings::VOICE;
    for settings in [
        OpusSettings { sample_rate: SampleRate(11_025), ..good },
        OpusSettings { complexity: 11, ..good },
        OpusSettings { bitrate: 5_000, ..good },
        OpusSettings { bitrate: 600_000, ..good },
    ] {
        let error = Encoder::new(Coding::Opus(settings)).unwrap_err();
        assert!(matches!(error, CodecError::Settings { coding: "opus", .. }), "{error}");
    }
    assert!(Decoder::new(opus(44_100)).is_err());
}

#[test]
fn a_stereo_packet_comes_out_as_one_channel() {
    let mut stereo = ::opus::Encoder::new(48_000, ::opus::Channels::Stereo, ::opus::Application::Audio).unwrap();
    stereo.set_force_channels(Some(::opus::Channels::Stereo)).unwrap();
    let tone = |n: usize, hz: f32| ((n as f32 * hz / 48_000.0 * std::f32::consts::TAU).sin() * 9_000.0) as i16;
    let mut decoder = Decoder::new(opus(16_000)).unwrap();
    let mut level = 0.0;
    for packet in 0..20 {
        let samples: Vec<i16> =
            (0..960).flat_map(|n| [tone(packet * 960 + n, 500.0), tone(packet * 960 + n, 700.0)]).collect();
        let octets = stereo.encode_vec(&samples, 1_000).unwrap();
        assert_eq!(::opus::packet::get_nb_channels(&octets).unwrap(), ::opus::Channels::Stereo);
        let mut out = [0; 320];
        assert_eq!((decoder.duration(&octets), decoder.decode(&octets, &mut out)), (320, Ok(320)));
        level = level_dbfs(&out);
    }
    // Half of each of two tones that do not resemble each other: 3 dB below one of them.
    assert!((level + 17.3).abs() < 1.5, "{level}");
}

#[test]
fn opus_sends_nothing_while_nothing_is_said_when_asked_to() {
    let settings = OpusSettings { dtx: true, ..OpusSettings::VOICE };
    let mut encoder = Encoder::new(Coding::Opus(settings)).unwrap();
    let mut out = [0; MAX_ENCODED];
    let mut count = |samples: &[i16]| {
        samples.chunks_exact(320).filter(|frame| encoder.encode(frame, &mut out).unwrap() > 0).count()
    };
    let said = speech(SampleRate::WIDEBAND);
    assert!(count(&said) * 320 * 10 > said.len() * 7, "speech is sent");
    let sent = count(&[0; 16_000 * 4]);
    assert!(sent < 40, "{sent} of 200 packets of silence");
}

#[test]
fn a_lost_packet_of_opus_is_in_the_next_one_when_loss_is_expected() {
    for rate in [8_000, 16_000] {
        let settings = OpusSettings { sample_rate: SampleRate(rate), expected_loss_percent: 20, ..OpusSettings::VOICE };
        let frame = SampleRate(rate).samples_in_ms(20);
        let sent = packets(Coding::Opus(settings), &speech(SampleRate(rate)), 20);
        let mut decoder = Decoder::new(Coding::Opus(settings)).unwrap();
        let mut whole = Decoder::new(Coding::Opus(settings)).unwrap();
        let mut concealing = Decoder::new(Coding::Opus(settings)).unwrap();
        let (mut heard, mut wanted, mut guessed) = (Vec::new(), Vec::new(), Vec::new());
        let mut out = [0; 960];
        let mut recovered = 0;
        for (n, packet) in sent.iter().enumerate() {
            let lost = n % 5 == 3 && n + 1 < sent.len();
            whole.decode(packet, &mut out).unwrap();
            if lost {
                wanted.extend_from_slice(&out[..frame]);
                match decoder.recover(&sent[n + 1], &mut out[..frame]) {
                    0 => decoder.conceal(&mut out[..frame]),
                    made => recovered += made / frame,
                }
                heard.extend_from_slice(&out[..frame]);
                concealing.conceal(&mut out[..frame]);
                guessed.extend_from_slice(&out[..frame]);
            } else {
                decoder.decode(packet, &mut out).unwrap();
                concealing.decode(packet, &mut out).unwrap();
            }
        }
        let error = |made: &[i16]| {
            let error: Vec<i16> = made.iter().zip(&wanted).map(|(a, b)| a.saturating_sub(*b)).collect();
            level_dbfs(&error) - level_dbfs(&wanted)
        };
        assert!(recovered * 10 > sent.len(), "{recovered} of {} packets carried a copy", sent.len());
        let (copied, made_up) = (error(&heard), error(&guessed));
        assert!(copied < made_up - 4.0, "{rate} Hz: error {copied:.1} dB with copies, {made_up:.1} dB without");
    }
}

#[test]
fn copies_follow_the_loss_that_the_peer_reports() {
    let samples = speech(SampleRate::WIDEBAND);
    let none = OpusSettings { expected_loss_percent: 0, ..OpusSettings::VOICE };
    let mut encoder = Encoder::new(Coding::Opus(none)).unwrap();
    let mut decoder = Decoder::new(Coding::Opus(none)).unwrap();
    let mut copies = |encoder: &mut Encoder| {
        let mut out = [0; MAX_ENCODED];
        let carries = |frame: &[i16]| {
            let octets = encoder.encode(frame, &mut out).unwrap();
            decoder.recover(&out[..octets], &mut [0; 320]) > 0
        };
        samples.chunks_exact(320).map(carries).filter(|copy| *copy).count()
    };
    assert_eq!(copies(&mut encoder), 0);
    encoder.set_expected_loss(10);
    let many = copies(&mut encoder);
    assert!(many > 100, "{many}");
    encoder.set_expected_loss(0);
    assert!(copies(&mut encoder) < 5);
}

#[test]
fn concealment_goes_on_from_what_was_heard_and_ends_in_silence() {
    for coding in every_coding() {
        let rate = coding.sample_rate();
        let frame = rate.samples_in_ms(20);
        let tone: Vec<i16> = (0..rate.0 as usize)
            .map(|n| ((n as f32 * 150.0 / rate.0 as f32 * std::f32::consts::TAU).sin() * 9_000.0) as i16)
            .collect();
        let mut decoder = Decoder::new(coding).unwrap();
        let mut out = [0; MAX_PACKET_SAMPLES];
        for packet in packets(coding, &tone, 20) {
            decoder.decode(&packet, &mut out).unwrap();
        }
        let levels: Vec<f32> = (0..26)
            .map(|_| {
                decoder.conceal(&mut out[..frame]);
                level_dbfs(&out[..frame])
            })
            .collect();
        assert!(levels[0] > -22.0, "{coding:?}: {levels:?}");
        assert_eq!(levels[25], -96.0, "{coding:?}: {levels:?}");
        assert!(levels.windows(2).all(|two| two[1] < two[0] + 6.0), "{coding:?}: {levels:?}");
    }
}

#[test]
fn a_stream_that_jumps_does_not_click() {
    for coding in [Coding::Pcmu, Coding::G722] {
        let rate = coding.sample_rate().0 as f32;
        let tone = |n: usize| ((n as f32 * 200.0 / rate * std::f32::consts::TAU).sin() * 9_000.0) as i16;
        let sent = packets(coding, &(0..8_000).map(tone).collect::<Vec<_>>(), 10);
        let steepest = |skipped: bool| {
            let mut decoder = Decoder::new(coding).unwrap();
            let (mut heard, mut out) = (Vec::new(), [0; 160]);
            for (n, packet) in sent.iter().enumerate().filter(|(n, _)| *n < 20 || *n > 20 + 1) {
                // Half a cycle apart.
                let packet =
                    if n > 20 { &packets(coding, &(20..8_020).map(tone).collect::<Vec<_>>(), 10)[n] } else { packet };
                if skipped && n == 22 {
                    decoder.skipped();
                }
                let decoded = decoder.decode(packet, &mut out).unwrap();
                heard.extend_from_slice(&out[..decoded]);
            }
            heard.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap()
        };
        let (with, without) = (steepest(true), steepest(false));
        assert!(with < 2_600 && with * 2 < without.max(5_300), "{coding:?}: {with}, {without} without the fade");
    }
}

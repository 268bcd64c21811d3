//! Legs of every codec, in clear and encrypted, on real sockets of the loopback. A slow machine may make a test longer but
//! not fail.

use offhook::base::{Random, SampleRate, TurnId};
use offhook::base::{SrtpKey, SrtpSuite};
use offhook::media::{Leg, LegEvent, LegMedia, LegMode, LegOptions, LegSecurity, MediaConfig, MediaError, Workers};
use offhook::rtp::Packet;
use offhook::sdp::Codec;
use std::f32::consts::TAU;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const TURN: TurnId = TurnId(1);
const FULL: SampleRate = SampleRate(48_000);

fn workers(first_port: u16) -> Workers {
    let config = MediaConfig {
        bind_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        ports: first_port..=first_port + 99,
        workers: 1,
        ..MediaConfig::default()
    };
    Workers::start(config, Random::system()).unwrap()
}

fn open(workers: &Workers, mode: LegMode, max_sample_rate: SampleRate) -> Leg {
    workers.open(LegOptions { mode, max_sample_rate }).unwrap()
}

fn media(remote: SocketAddr, codec: Codec) -> LegMedia {
    LegMedia { telephone_event: Some(101), ..LegMedia::bare(remote, codec) }
}

fn keys(suite: SrtpSuite, send: u8, receive: u8) -> LegSecurity {
    let key = |octet| SrtpKey::new(suite, &vec![octet; suite.key_length() + suite.salt_length()]).unwrap();
    LegSecurity::Srtp { send: key(send), receive: key(receive) }
}

fn tone(hz: f32, rate: SampleRate, ms: u32) -> Vec<i16> {
    let samples = rate.samples_in_ms(ms);
    (0..samples).map(|n| (9_000.0 * (n as f32 * hz / rate.0 as f32 * TAU).sin()) as i16).collect()
}

/// Share of the energy that lies at this frequency, 0 to 1.
fn purity(samples: &[i16], hz: f32, rate: SampleRate) -> f32 {
    let (mut re, mut im, mut all) = (0.0f32, 0.0f32, 0.0f32);
    for (n, sample) in samples.iter().enumerate() {
        let (sin, cos) = (n as f32 * hz / rate.0 as f32 * TAU).sin_cos();
        re += f32::from(*sample) * cos;
        im += f32::from(*sample) * sin;
        all += f32::from(*sample) * f32::from(*sample);
    }
    2.0 * (re * re + im * im) / samples.len() as f32 / all.max(1.0)
}

/// The purest stretch of 200 ms in what a leg hears while another one speaks a tone.
fn purest(speaker: &mut Leg, listener: &mut Leg, hz: f32) -> f32 {
    let samples = tone(hz, speaker.sample_rate(), 1_000);
    let (mut pushed, mut heard) = (0, Vec::new());
    let started = Instant::now();
    let rate = listener.sample_rate();
    while heard.len() < rate.samples_in_ms(1_000) {
        assert!(started.elapsed() < Duration::from_secs(20), "{} samples heard; {:?}", heard.len(), listener.stats());
        pushed += speaker.downlink.push(TURN, &samples[pushed..]);
        while let Some(frame) = listener.uplink.try_pop() {
            assert_eq!(frame.samples.len(), rate.samples_in_ms(20));
            heard.extend_from_slice(frame.samples.samples());
        }
        while speaker.uplink.try_pop().is_some() {}
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let window = rate.samples_in_ms(200);
    let stretches = heard.windows(window).step_by(rate.samples_in_ms(20));
    stretches.map(|stretch| purity(stretch, hz, rate)).fold(0.0, f32::max)
}

#[test]
fn every_codec_carries_a_tone_from_leg_to_leg_at_its_own_rate() {
    let workers = workers(27_000);
    for (codec, max, line) in [
        (Codec::Pcmu, FULL, 8_000),
        (Codec::Pcma, FULL, 8_000),
        (Codec::G722, FULL, 16_000),
        (Codec::G722, SampleRate::NARROWBAND, 8_000),
        (Codec::Opus, FULL, 16_000),
        (Codec::Opus, SampleRate::NARROWBAND, 8_000),
    ] {
        let (mut speaker, mut listener) = (open(&workers, LegMode::Agent, max), open(&workers, LegMode::Agent, max));
        speaker.configure(media(listener.local_addr(), codec)).unwrap();
        listener.configure(media(speaker.local_addr(), codec)).unwrap();
        assert_eq!((speaker.sample_rate(), listener.sample_rate()), (SampleRate(line), SampleRate(line)));
        let purity = purest(&mut speaker, &mut listener, 1_000.0);
        assert!(purity > 0.95, "{codec} at {line} Hz: {purity}");
    }
}

#[test]
fn encrypted_legs_hear_each_other_with_every_suite_and_keys_that_differ_hear_nothing() {
    let workers = workers(27_100);
    for suite in SrtpSuite::ALL {
        let (mut speaker, mut listener) = (open(&workers, LegMode::Agent, FULL), open(&workers, LegMode::Agent, FULL));
        let near = LegMedia { security: keys(suite, 1, 2), ..media(listener.local_addr(), Codec::Opus) };
        let far = LegMedia { security: keys(suite, 2, 1), ..media(speaker.local_addr(), Codec::Opus) };
        speaker.configure(near).unwrap();
        listener.configure(far.clone()).unwrap();
        let purity = purest(&mut speaker, &mut listener, 700.0);
        assert!(purity > 0.9, "{suite}: {purity}");
        assert_eq!((speaker.stats().srtp_failures, listener.stats().srtp_failures), (0, 0), "{suite}");
    }
    let (mut speaker, mut listener) = (open(&workers, LegMode::Agent, FULL), open(&workers, LegMode::Agent, FULL));
    let suite = SrtpSuite::AesCm128HmacSha1Tag80;
    speaker.configure(LegMedia { security: keys(suite, 1, 2), ..media(listener.local_addr(), Codec::Pcmu) }).unwrap();
    listener.configure(LegMedia { security: keys(suite, 2, 9), ..media(speaker.local_addr(), Codec::Pcmu) }).unwrap();
    let started = Instant::now();
    while listener.stats().srtp_failures < 20 {
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", listener.stats());
        std::thread::park_timeout(Duration::from_millis(5));
    }
    assert!(listener.uplink.is_empty() && listener.stats().received == 0, "{:?}", listener.stats());
    assert!(listener.stats().sent > 0, "failures never end a leg");
}

#[test]
fn nothing_in_clear_leaves_or_is_heard_before_there_are_keys_and_never_again_after() {
    let workers = workers(27_200);
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let address = peer.local_addr().unwrap();
    let mut leg = open(&workers, LegMode::Agent, FULL);
    let pending = LegMedia { security: LegSecurity::Pending, dtls: true, ..media(address, Codec::Pcmu) };
    leg.configure(pending.clone()).unwrap();
    let mut packet = [0x55; 172];
    packet[..12].copy_from_slice(&offhook::rtp::Header { ssrc: 3, ..Default::default() }.to_octets());
    peer.send_to(&packet, leg.local_addr()).unwrap();
    let mut buffer = [0; 2_000];
    assert!(peer.recv(&mut buffer).is_err(), "something left before there were keys");
    assert!(leg.uplink.is_empty() && leg.stats().received == 0 && leg.stats().srtp_failures == 1);
    // The handshake's datagrams do pass, both ways.
    peer.send_to(&[22, 254, 253, 1, 2, 3], leg.local_addr()).unwrap();
    let started = Instant::now();
    let datagram = loop {
        if let Some(datagram) = leg.next_datagram() {
            break datagram;
        }
        assert!(started.elapsed() < Duration::from_secs(5));
        std::thread::park_timeout(Duration::from_millis(2));
    };
    assert_eq!((datagram.from(), datagram.octets()), (address, &[22, 254, 253, 1, 2, 3][..]));
    leg.send_datagram(datagram.from(), &[22, 9]).unwrap();
    assert_eq!(peer.recv(&mut buffer).map(|len| buffer[..len].to_vec()).ok(), Some(vec![22, 9]));
    let stranger = UdpSocket::bind("127.0.0.2:0").unwrap();
    stranger.send_to(&[22, 254, 253, 0], leg.local_addr()).unwrap();
    // Keys: what leaves is no longer readable, and what comes in clear is not heard.
    let keyed = LegMedia { security: keys(SrtpSuite::AeadAes128Gcm, 1, 2), ..pending };
    leg.configure(keyed).unwrap();
    let len = peer.recv(&mut buffer).unwrap();
    assert_eq!(len, 12 + 160 + 16);
    assert_ne!(buffer[12..172], [0xFF; 160], "silence in clear");
    peer.send_to(&packet, leg.local_addr()).unwrap();
    let started = Instant::now();
    while leg.stats().srtp_failures < 2 {
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", leg.stats());
        std::thread::park_timeout(Duration::from_millis(2));
    }
    assert!(leg.uplink.is_empty() && leg.next_datagram().is_none(), "a stranger takes no part in the handshake");
    assert!(matches!(leg.configure(media(address, Codec::Pcmu)), Err(MediaError::Downgrade)));
}

/// Two bridged legs, each with a leg of its own as the far end.
#[test]
fn a_bridge_joins_legs_of_different_codecs_and_rates() {
    let workers = workers(27_300);
    for (near_codec, far_codec) in
        [(Codec::Pcmu, Codec::G722), (Codec::G722, Codec::Opus), (Codec::Opus, Codec::Pcmu), (Codec::Pcmu, Codec::Pcmu)]
    {
        let mut caller = open(&workers, LegMode::Agent, FULL);
        let (mut near, mut far) = (open(&workers, LegMode::Agent, FULL), open(&workers, LegMode::Agent, FULL));
        let mut callee = open(&workers, LegMode::Agent, FULL);
        caller.configure(media(near.local_addr(), near_codec)).unwrap();
        near.configure(media(caller.local_addr(), near_codec)).unwrap();
        far.configure(media(callee.local_addr(), far_codec)).unwrap();
        callee.configure(media(far.local_addr(), far_codec)).unwrap();
        near.bridge(&mut far, true).unwrap();
        let there = purest(&mut caller, &mut callee, 1_000.0);
        callee.downlink.flush_through(TurnId(0));
        let back = purest(&mut callee, &mut caller, 600.0);
        assert!(there > 0.9 && back > 0.9, "{near_codec} to {far_codec}: {there}, back {back}");
        assert_eq!(near.uplink.len() + far.uplink.len(), 0);
    }
}

#[test]
fn a_change_of_codec_in_mid_call_keeps_sequence_and_time_and_misses_no_packet() {
    let workers = workers(27_400);
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let address = peer.local_addr().unwrap();
    let mut leg = open(&workers, LegMode::Agent, SampleRate::NARROWBAND);
    let mut buffer = [0; 2_000];
    let mut last: Option<(u16, u32, u32, u32)> = None;
    // A worker that the machine holds up lets whole turns of its clock go by: they count, but no more than there were.
    let (mut turns, started) = (0, Instant::now());
    for codec in [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus, Codec::Opus, Codec::Pcmu] {
        leg.configure(media(address, codec)).unwrap();
        assert_eq!(leg.sample_rate(), SampleRate::NARROWBAND, "the line rate is that of the first codec");
        let mut of_this = 0;
        while of_this < 10 {
            let len = peer.recv(&mut buffer).unwrap();
            let Packet { header, .. } = Packet::parse(&buffer[..len]).unwrap();
            if let Some((sequence, timestamp, ssrc, ticks)) = last {
                assert_eq!(header.sequence, sequence.wrapping_add(1), "{codec}");
                let step = header.timestamp.wrapping_sub(timestamp);
                assert!(header.ssrc == ssrc && step > 0 && step.is_multiple_of(ticks), "{codec}: {header:?}, {step}");
                turns += step / ticks;
            }
            assert!(u128::from(turns) <= started.elapsed().as_millis() / 20 + 2, "{codec}: {turns} turns");
            let is_new = header.payload_type == codec.offered_payload_type();
            of_this += usize::from(is_new);
            let ticks = if header.payload_type == Codec::Opus.offered_payload_type() { 960 } else { 160 };
            last = Some((header.sequence, header.timestamp, header.ssrc, ticks));
        }
    }
    assert_eq!(leg.stats().send_errors, 0);
}

#[test]
fn an_echo_comes_back_in_every_codec() {
    let workers = workers(27_500);
    for codec in Codec::ALL {
        let (mut speaker, mut echo) = (open(&workers, LegMode::Agent, FULL), open(&workers, LegMode::Echo, FULL));
        speaker.configure(media(echo.local_addr(), codec)).unwrap();
        echo.configure(media(speaker.local_addr(), codec)).unwrap();
        let samples = tone(800.0, speaker.sample_rate(), 1_000);
        let (mut pushed, mut heard, started) = (0, Vec::new(), Instant::now());
        let rate = speaker.sample_rate();
        while heard.len() < rate.samples_in_ms(1_000) {
            assert!(started.elapsed() < Duration::from_secs(20), "{codec}: {:?}", echo.stats());
            pushed += speaker.downlink.push(TURN, &samples[pushed..]);
            while let Some(frame) = speaker.uplink.try_pop() {
                heard.extend_from_slice(frame.samples.samples());
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let stretches = heard.windows(rate.samples_in_ms(200)).step_by(rate.samples_in_ms(20));
        let best = stretches.map(|stretch| purity(stretch, 800.0, rate)).fold(0.0, f32::max);
        assert!(best > 0.9, "{codec}: {best}");
    }
}

#[test]
fn keys_cross_as_events_beside_opus() {
    let workers = workers(27_600);
    let (mut presser, mut reader) = (open(&workers, LegMode::Agent, FULL), open(&workers, LegMode::Agent, FULL));
    presser.configure(media(reader.local_addr(), Codec::Opus)).unwrap();
    reader.configure(media(presser.local_addr(), Codec::Opus)).unwrap();
    for key in "19#".chars() {
        presser.send_digit(key).unwrap();
    }
    let (mut keys, started) = (String::new(), Instant::now());
    while keys.len() < 3 {
        assert!(started.elapsed() < Duration::from_secs(10), "{keys}");
        while let Some(event) = reader.events.try_pop() {
            if let LegEvent::Digit(key) = event {
                keys.push(key);
            }
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    std::thread::park_timeout(Duration::from_millis(200));
    assert!(!std::iter::from_fn(|| reader.events.try_pop()).any(|event| matches!(event, LegEvent::Digit(_))));
    assert_eq!(keys, "19#");
}

#[test]
fn a_tap_has_both_directions_in_step() {
    let workers = workers(27_700);
    let (mut near, mut far) = (open(&workers, LegMode::Agent, FULL), open(&workers, LegMode::Agent, FULL));
    near.configure(media(far.local_addr(), Codec::G722)).unwrap();
    far.configure(media(near.local_addr(), Codec::G722)).unwrap();
    let mut tap = near.tap().unwrap();
    assert_eq!(tap.sample_rate(), SampleRate::WIDEBAND);
    near.downlink.push(TURN, &tone(500.0, SampleRate::WIDEBAND, 1_000));
    far.downlink.push(TURN, &tone(1_500.0, SampleRate::WIDEBAND, 1_000));
    let (mut caller, mut agent, started) = (Vec::new(), Vec::new(), Instant::now());
    while caller.len() < 16_000 {
        assert!(started.elapsed() < Duration::from_secs(10));
        while let Some(frame) = tap.try_pop() {
            assert_eq!((frame.caller.len(), frame.agent.len()), (320, 320));
            caller.extend_from_slice(frame.caller.samples());
            agent.extend_from_slice(frame.agent.samples());
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let best = |samples: &[i16], hz| {
        samples.windows(3_200).step_by(320).map(|s| purity(s, hz, SampleRate::WIDEBAND)).fold(0.0, f32::max)
    };
    assert!(best(&agent, 500.0) > 0.95 && best(&caller, 1_500.0) > 0.9);
    assert_eq!(tap.dropped(), 0);
}

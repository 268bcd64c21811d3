//! Two legs coupled in the media plane, on real sockets of the loopback: contents, codecs, keys, backgrounds.

use offhook::audio::ToneDetector;
use offhook::audio::g711::Law;
use offhook::base::{Random, TurnId};
use offhook::media::{Leg, LegEvent, LegMedia, LegMode, MediaConfig, Workers};
use offhook::rtp::{Header, Packet};
use offhook::sdp::Codec;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Packets of one run.
const PACKETS: u16 = 150;
/// A machine that stands still for longer than a jitter buffer rides out may need a second run.
const RUNS: usize = 8;

fn workers(first_port: u16, count: usize) -> Workers {
    let config = MediaConfig {
        bind_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        ports: first_port..=first_port + 99,
        workers: count,
        ..MediaConfig::default()
    };
    Workers::start(config, Random::system()).unwrap()
}

fn media(remote: SocketAddr, codec: Codec) -> LegMedia {
    LegMedia { telephone_event: Some(101), ..LegMedia::bare(remote, codec) }
}

/// One end of the line: a plain socket and its leg.
struct End {
    socket: UdpSocket,
    leg: Leg,
    codec: Codec,
    sequence: u16,
}

impl End {
    fn open(workers: &Workers, codec: Codec) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut leg = workers.open(LegMode::Agent).unwrap();
        leg.configure(media(socket.local_addr().unwrap(), codec)).unwrap();
        Self { socket, leg, codec, sequence: 0 }
    }

    fn send(&mut self, payload: &[u8]) {
        self.send_as(self.codec.offered_payload_type(), payload);
    }

    fn send_as(&mut self, payload_type: u8, payload: &[u8]) {
        let sequence = self.sequence;
        self.sequence += 1;
        let header = Header { payload_type, sequence, timestamp: u32::from(sequence) * 160, ssrc: 9, marker: false };
        let mut packet = header.to_octets().to_vec();
        packet.extend_from_slice(payload);
        self.socket.send_to(&packet, self.leg.local_addr()).unwrap();
    }

    fn receive(&self) -> (Header, Vec<u8>) {
        let mut buffer = [0; 2_000];
        let (length, _) = self.socket.recv_from(&mut buffer).expect("a packet within five seconds");
        let packet = Packet::parse(&buffer[..length]).unwrap();
        (packet.header, packet.payload.to_vec())
    }
}

/// A loud packet that tells its number, in two octets that transcode to and fro without loss.
fn numbered(n: u16) -> [u8; 160] {
    let mut payload = [0x10; 160];
    payload[..2].copy_from_slice(&[0x10 + (n % 16) as u8, 0x10 + (n / 16 % 16) as u8]);
    payload
}

/// Sends numbered packets at the pace of the worker and says how many came out whole on the other side.
fn share_that_arrives(workers: &Workers, codecs: [Codec; 2]) -> f64 {
    let (mut near, mut far) = (End::open(workers, codecs[0]), End::open(workers, codecs[1]));
    near.leg.bridge(&mut far.leg, true).unwrap();
    let law = |codec| if codec == Codec::Pcma { Law::A } else { Law::Mu };
    let mut arrived = BTreeSet::new();
    for n in 0..PACKETS + 20 {
        near.send(&if n < PACKETS { numbered(n) } else { [law(codecs[0]).silence(); 160] });
        let (_, payload) = far.receive();
        let wanted: Vec<_> = (0..PACKETS).filter(|n| !arrived.contains(n)).collect();
        let found = wanted.into_iter().find(|n| {
            let [from, to] = codecs.map(law);
            numbered(*n).map(|code| if from == to { code } else { to.encode_sample(from.decode_sample(code)) })
                == *payload
        });
        arrived.extend(found);
    }
    assert!(near.leg.uplink.is_empty() && far.leg.uplink.is_empty(), "the calls need not take anything");
    arrived.len() as f64 / f64::from(PACKETS)
}

#[test]
fn what_one_leg_hears_the_other_sends_bit_by_bit_and_through_unlike_codecs() {
    let one = workers(26_000, 1);
    let two = workers(26_100, 2);
    for (workers, codecs) in
        [(&one, [Codec::Pcmu, Codec::Pcmu]), (&one, [Codec::Pcmu, Codec::Pcma]), (&two, [Codec::Pcma, Codec::Pcma])]
    {
        let shares: Vec<f64> = (0..RUNS)
            .scan(false, |done, _| {
                (!*done).then(|| share_that_arrives(workers, codecs)).inspect(|s| *done = *s >= 0.98)
            })
            .collect();
        assert!(shares.last().is_some_and(|share| *share >= 0.98), "{codecs:?}: {shares:?}");
    }
}

#[test]
fn a_key_on_one_leg_is_pressed_once_on_the_other_as_event_or_as_tone() {
    let workers = workers(26_200, 1);
    for agreed in [Some(101), None] {
        let (mut near, mut far) = (End::open(&workers, Codec::Pcmu), End::open(&workers, Codec::Pcmu));
        let far_media = media(far.socket.local_addr().unwrap(), Codec::Pcmu);
        far.leg.configure(LegMedia { telephone_event: agreed, ..far_media }).unwrap();
        near.leg.bridge(&mut far.leg, true).unwrap();
        let (mut detector, mut pressed, mut last) = (ToneDetector::default(), String::new(), None);
        for n in 0..60 {
            if n == 10 {
                for _ in 0..3 {
                    near.send_as(101, &[7, 0x8A, 3, 0x20]);
                    near.sequence = near.sequence.wrapping_sub(1);
                }
            }
            near.send(&[0xFF; 160]);
            let (header, payload) = far.receive();
            if header.payload_type == 101 {
                if last.replace(header.timestamp) != Some(header.timestamp) {
                    pressed.push(char::from(b'0' + payload[0]));
                }
                continue;
            }
            let mut samples = [0; 160];
            Law::Mu.decode(&payload, &mut samples);
            pressed.extend(detector.push(&samples));
        }
        assert_eq!(pressed, "7", "{agreed:?}");
        assert_eq!(last.is_some(), agreed.is_some());
        let events: Vec<_> = std::iter::from_fn(|| near.leg.events.try_pop()).collect();
        assert_eq!(events.iter().filter(|e| **e == LegEvent::Digit('7')).count(), 1, "the call knows too: {events:?}");
    }
}

#[test]
fn the_background_sounds_while_nobody_speaks_and_the_agent_speaks_over_it() {
    let workers = workers(26_300, 1);
    let (mut near, mut far) = (End::open(&workers, Codec::Pcmu), End::open(&workers, Codec::Pcmu));
    let music: Arc<[i16]> = (0..800).map(|n| if n % 16 < 8 { 3_000 } else { -3_000 }).collect();
    near.leg.set_background(Some(music)).unwrap();
    let is_music = |payload: &[u8]| Law::Mu.decode_sample(payload[3]).unsigned_abs().abs_diff(3_000) < 200;
    let until = |end: &End, what: &str, wanted: &dyn Fn(&[u8]) -> bool| {
        let started = Instant::now();
        while !wanted(&end.receive().1) {
            assert!(started.elapsed() < Duration::from_secs(20), "{what} never came");
        }
    };
    until(&near, "music", &is_music);
    near.leg.downlink.push(TurnId(1), &[9_000; 1_600]);
    near.leg.downlink.end_of_turn(TurnId(1));
    until(&near, "the agent", &|payload| Law::Mu.decode_sample(payload[80]) > 8_000);
    until(&near, "music after the agent", &is_music);
    near.leg.bridge(&mut far.leg, true).unwrap();
    until(&near, "music while the other is silent", &is_music);
    let started = Instant::now();
    loop {
        far.send(&numbered(1));
        if near.receive().1 == numbered(1) {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "the other leg never came through");
    }
    near.leg.set_background(None).unwrap();
    until(&near, "silence", &|payload| payload == [0xFF; 160]);
}

#[test]
fn a_leg_that_is_uncoupled_hears_for_its_call_again() {
    let workers = workers(26_400, 1);
    let (mut near, mut far) = (End::open(&workers, Codec::Pcmu), End::open(&workers, Codec::Pcmu));
    near.leg.bridge(&mut far.leg, true).unwrap();
    for _ in 0..5 {
        near.send(&numbered(1));
        near.receive();
    }
    drop(far);
    near.leg.unbridge().unwrap();
    let started = Instant::now();
    while near.leg.uplink.try_pop().is_none() {
        near.send(&numbered(1));
        near.receive();
        assert!(started.elapsed() < Duration::from_secs(20), "no frame came");
    }
}

#[test]
fn figures_of_a_leg_tell_where_audio_goes_and_comes_from_and_who_was_refused() {
    let workers = workers(26_500, 1);
    let mut end = End::open(&workers, Codec::Pcmu);
    let stranger = UdpSocket::bind("127.0.0.3:0").unwrap();
    let started = Instant::now();
    let stats = loop {
        end.send(&numbered(1));
        let header = Header { payload_type: 0, sequence: 7, timestamp: 0, ssrc: 66, marker: false };
        stranger.send_to(&[header.to_octets().as_slice(), &[0xFF; 160]].concat(), end.leg.local_addr()).unwrap();
        end.receive();
        let stats = end.leg.stats();
        if stats.refused_from.is_some() && stats.hears_from.is_some() {
            break stats;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{stats:?}");
    };
    let own = end.socket.local_addr().unwrap();
    assert_eq!((stats.sends_to, stats.hears_from), (Some(own), Some(own)));
    assert_eq!(stats.refused_from, Some(stranger.local_addr().unwrap()));
}

//! Legs on real sockets of the loopback, each test bounded to about a second of speech. What is asserted are
//! counts and contents; a slow machine may make a test longer but not fail.

use offhook::audio::g711::Law;
use offhook::base::{Random, TurnId};
use offhook::media::{Admission, Leg, LegEvent, LegMedia, LegMode, MediaConfig, MediaError, Workers};
use offhook::rtp::{Header, Packet};
use offhook::sdp::Codec;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

fn workers(ports: RangeInclusive<u16>) -> Workers {
    workers_with(MediaConfig { ports, ..MediaConfig::default() })
}

fn workers_with(config: MediaConfig) -> Workers {
    let config = MediaConfig { bind_ip: IpAddr::V4(own_address()), workers: 1, ..config };
    Workers::start(config, Random::system()).unwrap()
}

/// An address of the loopback network whose ports nobody else uses: by the number of this process, which is below 2²².
fn own_address() -> Ipv4Addr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 + high, middle, low)
}

fn media(remote: SocketAddr) -> LegMedia {
    LegMedia { telephone_event: Some(101), ..LegMedia::bare(remote, Codec::Pcmu) }
}

/// A peer of our own on a plain socket.
struct Peer {
    socket: UdpSocket,
    sequence: u16,
}

impl Peer {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self { socket, sequence: 65_500 }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn send(&mut self, to: SocketAddr, payload: &[u8]) {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let timestamp = u32::from(sequence.wrapping_sub(65_500)) * 160;
        let header = Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 77 };
        let mut packet = header.to_octets().to_vec();
        packet.extend_from_slice(payload);
        self.socket.send_to(&packet, to).unwrap();
    }

    fn receive(&self) -> (Header, Vec<u8>) {
        let mut buffer = [0; 2_000];
        let (length, _) = self.socket.recv_from(&mut buffer).expect("a packet within five seconds");
        let packet = Packet::parse(&buffer[..length]).unwrap();
        (packet.header, packet.payload.to_vec())
    }
}

/// Reads events until `wanted` says that the last one was it.
fn events_until(leg: &mut Leg, mut wanted: impl FnMut(&LegEvent) -> bool) -> Vec<LegEvent> {
    let mut seen = Vec::new();
    let started = Instant::now();
    loop {
        while leg.uplink.try_pop().is_some() {}
        while let Some(event) = leg.events.try_pop() {
            seen.push(event);
            if wanted(&event) {
                return seen;
            }
        }
        assert!(started.elapsed() < Duration::from_secs(20), "never came; seen: {seen:?}");
        wait_for(leg);
    }
}

/// Waits until what a worker publishes at the end of its turn is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Waits until the leg's rings have something.
fn wait_for(leg: &mut Leg) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), leg.ready()).await }).expect("woken");
}

fn tone(samples: usize) -> Vec<i16> {
    (0..samples).map(|t| (9_000.0 * (t as f32 * 300.0 / 8_000.0 * std::f32::consts::TAU).sin()) as i16).collect()
}

#[test]
fn silence_is_paced_without_gap_from_the_moment_of_configuration() {
    let workers = workers(21_000..=21_099);
    let peer = Peer::new();
    let mut leg = workers.open(LegMode::Agent).unwrap();
    leg.configure(media(peer.address())).unwrap();
    let packets: Vec<_> = (0..50).map(|_| peer.receive()).collect();
    for (n, (header, payload)) in packets.iter().enumerate() {
        assert_eq!(payload, &[0xFF; 160]);
        assert_eq!(header.marker, n == 0);
        assert_eq!(header.sequence, packets[0].0.sequence.wrapping_add(n as u16));
        assert_eq!((header.payload_type, header.ssrc), (0, packets[0].0.ssrc));
    }
    // A packet may be here before it is counted.
    until("all are counted", || leg.stats().sent >= 50);
    let stats = leg.stats();
    assert!(stats.starved == 0 && stats.send_errors == 0);
}

#[test]
fn a_call_that_keeps_time_hears_of_every_turn_even_of_a_silent_peer() {
    let workers = workers(22_700..=22_709);
    let peer = Peer::new();
    let mut leg = workers.open(LegMode::Agent).unwrap();
    leg.configure(media(peer.address())).unwrap();
    peer.receive();
    assert!(!leg.take_beat(), "nobody asked");
    leg.keep_time(true);
    let (mut beats, before) = (0, leg.stats().sent);
    while beats < 20 {
        wait_for(&mut leg);
        beats += u64::from(leg.take_beat());
    }
    let turns = leg.stats().sent - before;
    assert!(turns >= 15, "{turns} turns, more beats than that");
    leg.keep_time(false);
    // What is under way may still come.
    while leg.stats().sent < before + turns + 3 {
        peer.receive();
    }
    leg.take_beat();
    let sent = leg.stats().sent;
    while leg.stats().sent < sent + 3 {
        peer.receive();
    }
    assert!(!leg.take_beat(), "nobody wants it any more");
}

#[test]
fn a_leg_that_relays_keeps_less_and_calls_nothing_voiced_while_its_detector_rests() {
    let workers = workers(22_710..=22_719);
    let (mut speaker, mut listener) = (workers.open(LegMode::Agent).unwrap(), workers.open(LegMode::Relay).unwrap());
    speaker.configure(media(listener.local_addr())).unwrap();
    listener.configure(media(speaker.local_addr())).unwrap();
    assert_eq!([&speaker, &listener].map(|leg| leg.downlink.free() / 160), [53, 17], "frames, one of them staged");
    listener.detect_voice(false);
    let samples = tone(8_000);
    let mut hear = |listener: &mut Leg, frames: usize| {
        let mut voiced = Vec::new();
        while voiced.len() < frames {
            speaker.downlink.push(TurnId(1), &samples);
            wait_for(listener);
            voiced.extend(std::iter::from_fn(|| listener.uplink.try_pop()).map(|frame| frame.voiced));
        }
        voiced
    };
    assert!(!hear(&mut listener, 20).contains(&true), "nothing is called voiced");
    listener.detect_voice(true);
    until("a frame is voiced", || hear(&mut listener, 1).contains(&true));
}

#[test]
fn two_legs_hear_each_other_whole() {
    let workers = workers(21_100..=21_199);
    let (mut speaker, mut listener) = (workers.open(LegMode::Agent).unwrap(), workers.open(LegMode::Agent).unwrap());
    speaker.configure(media(listener.local_addr())).unwrap();
    listener.configure(media(speaker.local_addr())).unwrap();
    let samples = tone(8_000);
    assert_eq!(speaker.downlink.push(TurnId(1), &samples), samples.len());
    speaker.downlink.end_of_turn(TurnId(1));

    let mut heard = Vec::new();
    let mut timestamps = Vec::new();
    let started = Instant::now();
    while heard.iter().filter(|s: &&i16| s.unsigned_abs() > 2_000).count() < 6_000 {
        assert!(started.elapsed() < Duration::from_secs(20), "heard only {} samples", heard.len());
        wait_for(&mut listener);
        while let Some(frame) = listener.uplink.try_pop() {
            assert_eq!(frame.samples.len(), 160);
            timestamps.push(frame.rtp_timestamp);
            heard.extend_from_slice(frame.samples.samples());
        }
    }
    let loudest = heard.iter().map(|s| s.unsigned_abs()).max().unwrap();
    assert!((8_000..=9_500).contains(&loudest), "{loudest}");

    let events = events_until(&mut speaker, |e| matches!(e, LegEvent::PlayoutEnded { .. }));
    let kinds: Vec<_> = events.iter().filter(|e| !matches!(e, LegEvent::SourceLocked(_))).collect();
    let [
        LegEvent::PlayoutStarted { turn: TurnId(1), at: begun, .. },
        LegEvent::PlayoutEnded { turn: TurnId(1), at: over, samples_played: 8_000 },
    ] = kinds[..]
    else {
        panic!("{events:?}");
    };
    assert!(over > begun);
    assert_eq!(speaker.downlink.played(TurnId(1)), 8_000);
    assert_eq!(listener.stats().rejected, 0);
}

#[test]
fn an_echo_leg_returns_the_octets_it_gets() {
    let workers = workers(21_200..=21_299);
    let mut peer = Peer::new();
    let mut leg = workers.open(LegMode::Echo).unwrap();
    leg.configure(media(peer.address())).unwrap();
    let mut returned = Vec::new();
    for n in 0..50u8 {
        // One packet out for each that comes back keeps the pace of the worker.
        peer.send(leg.local_addr(), &[n.wrapping_mul(3) | 1; 160]);
        let (_, payload) = peer.receive();
        if payload != [0xFF; 160] {
            returned.push(payload[0]);
        }
    }
    let distinct: std::collections::BTreeSet<u8> = returned.iter().copied().collect();
    assert!(distinct.len() >= 40, "{} of 50 came back", distinct.len());
    assert!(leg.uplink.is_empty());
}

#[test]
fn keys_pressed_on_one_leg_arrive_on_the_other() {
    let workers = workers(21_300..=21_399);
    let (mut presser, mut reader) = (workers.open(LegMode::Agent).unwrap(), workers.open(LegMode::Agent).unwrap());
    presser.configure(media(reader.local_addr())).unwrap();
    reader.configure(media(presser.local_addr())).unwrap();
    for key in "19#".chars() {
        presser.send_digit(key).unwrap();
    }
    let events = events_until(&mut reader, |e| *e == LegEvent::Digit('#'));
    let keys: String = events.iter().filter_map(|e| if let LegEvent::Digit(d) = e { Some(*d) } else { None }).collect();
    assert_eq!(keys, "19#");
}

#[test]
fn hold_stops_the_packets_and_resume_brings_them_back() {
    let workers = workers(21_400..=21_499);
    let mut peer = Peer::new();
    let mut leg = workers.open(LegMode::Agent).unwrap();
    leg.configure(media(peer.address())).unwrap();
    let (first, _) = peer.receive();
    leg.configure(LegMedia { send: false, ..media(peer.address()) }).unwrap();
    // What the leg has heard since, it has heard on hold.
    peer.send(leg.local_addr(), &[0x55; 160]);
    until("it is on hold", || leg.stats().received > 0);
    peer.socket.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
    let mut last = first;
    let mut buffer = [0; 2_000];
    while let Ok(length) = peer.socket.recv(&mut buffer) {
        last = Packet::parse(&buffer[..length]).unwrap().header;
    }
    leg.configure(media(peer.address())).unwrap();
    peer.socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (resumed, _) = peer.receive();
    assert!(resumed.marker);
    assert_eq!(resumed.sequence, last.sequence.wrapping_add(1));
    let gap = resumed.timestamp.wrapping_sub(last.timestamp);
    assert!(gap >= 160 * 7 && gap % 160 == 0, "the clock ran on: {gap}");
}

#[test]
fn a_flush_stops_the_agent_and_tells_how_much_was_heard() {
    let workers = workers(21_500..=21_599);
    let peer = Peer::new();
    let mut leg = workers.open(LegMode::Agent).unwrap();
    leg.configure(media(peer.address())).unwrap();
    leg.downlink.push(TurnId(1), &tone(8_000));
    let mut audible = 0;
    while audible < 10 {
        audible += u32::from(peer.receive().1 != [0xFF; 160]);
    }
    leg.downlink.flush_through(TurnId(1));
    let events = events_until(&mut leg, |e| matches!(e, LegEvent::PlayoutEnded { .. }));
    let Some(LegEvent::PlayoutEnded { samples_played, .. }) = events.last() else { panic!("{events:?}") };
    assert_eq!(leg.downlink.played(TurnId(1)), *samples_played);
    let mut after = 0;
    let mut silent = 0;
    while silent < 3 {
        if peer.receive().1 == [0xFF; 160] {
            silent += 1;
        } else {
            after += 1;
            silent = 0;
        }
    }
    assert_eq!(u64::from(audible + after), samples_played.div_ceil(160), "every played frame was sent, no other");
    leg.downlink.push(TurnId(2), &tone(160));
    leg.downlink.end_of_turn(TurnId(2));
    events_until(&mut leg, |e| matches!(e, LegEvent::PlayoutEnded { turn: TurnId(2), samples_played: 160, .. }));
}

#[test]
fn missing_audio_is_reported_once() {
    let config =
        MediaConfig { ports: 21_600..=21_699, media_timeout: Duration::from_millis(200), ..MediaConfig::default() };
    let workers = workers_with(config);
    let mut peer = Peer::new();
    let mut leg = workers.open(LegMode::Agent).unwrap();
    leg.configure(media(peer.address())).unwrap();
    let timed_out =
        |e: &LegEvent| matches!(e, LegEvent::MediaTimeout { silent_for } if *silent_for >= Duration::from_millis(200));
    events_until(&mut leg, timed_out);
    peer.send(leg.local_addr(), &[0x55; 160]);
    let events = events_until(&mut leg, timed_out);
    assert_eq!(events.len(), 2, "the source, then the second silence: {events:?}");
    assert_eq!(events[0], LegEvent::SourceLocked(peer.address()));
}

#[test]
fn a_law_and_other_packet_times_are_spoken() {
    let workers = workers(21_700..=21_799);
    for (codec, ptime_ms, length) in [(Codec::Pcma, 10, 80), (Codec::Pcma, 40, 320), (Codec::Pcmu, 60, 480)] {
        let peer = Peer::new();
        let mut leg = workers.open(LegMode::Agent).unwrap();
        leg.configure(LegMedia {
            codec,
            payload_type: codec.offered_payload_type(),
            ptime_ms,
            ..media(peer.address())
        })
        .unwrap();
        let law = if codec == Codec::Pcma { Law::A } else { Law::Mu };
        let packets: Vec<_> = (0..6).map(|_| peer.receive()).collect();
        assert!(packets.iter().all(|(_, payload)| *payload == vec![law.silence(); length]));
        // Where the worker was late, time has passed in between.
        let steps = packets.windows(2).map(|pair| pair[1].0.timestamp.wrapping_sub(pair[0].0.timestamp));
        assert_eq!(steps.min(), Some(length as u32));
    }
}

#[test]
fn an_exhausted_range_is_a_clear_error_and_closed_legs_rest_in_quarantine() {
    let range = 22_720..=22_725;
    let first = *range.start();
    let workers = workers(range);
    let legs: Vec<Leg> = (0..3).map(|_| workers.open(LegMode::Agent).unwrap()).collect();
    let mut ports: Vec<u16> = legs.iter().map(|l| l.local_addr().port()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [first, first + 2, first + 4]);
    let error = workers.open(LegMode::Agent).unwrap_err();
    assert!(matches!(error, MediaError::NoFreePort { in_use: 3, quarantined: 0, taken: 0, .. }), "{error}");
    assert_eq!(error.sip_status(), 503);
    drop(legs);
    let error = workers.open(LegMode::Agent).unwrap_err();
    assert!(matches!(error, MediaError::NoFreePort { in_use: 0, quarantined: 3, taken: 0, .. }), "{error}");
}

#[test]
fn a_port_held_by_another_program_is_passed_over() {
    let range = 22_730..=22_733;
    let first = *range.start();
    let _other = UdpSocket::bind((own_address(), first + 1)).unwrap();
    let workers = workers(range);
    let leg = workers.open(LegMode::Agent).unwrap();
    assert_eq!(leg.local_addr().port(), first + 2, "the first pair lacks its RTCP port");
    let error = workers.open(LegMode::Agent).unwrap_err();
    assert!(matches!(error, MediaError::NoFreePort { in_use: 1, .. }), "{error}");
}

#[test]
fn sockets_are_closed_when_the_leg_is_dropped() {
    let range = 22_740..=22_741;
    let first = *range.start();
    let config = MediaConfig { ports: range, quarantine: Duration::ZERO, ..MediaConfig::default() };
    let workers = workers_with(config);
    for _ in 0..5 {
        let started = Instant::now();
        let leg = loop {
            // The worker lets go of the old socket within its turn.
            match workers.open(LegMode::Agent) {
                Ok(leg) => break leg,
                Err(error) => assert!(started.elapsed() < Duration::from_secs(10), "{error}"),
            }
            std::thread::yield_now();
        };
        assert_eq!(leg.local_addr().port(), first);
    }
    until("no leg is left", || workers.stats().legs == [0]);
}

#[test]
fn reports_go_to_the_peer_and_its_reports_give_the_round_trip() {
    let rtcp_interval = Duration::from_millis(150);
    let workers = workers_with(MediaConfig { ports: 22_600..=22_699, rtcp_interval, ..MediaConfig::default() });
    let (mut near, mut far) = (workers.open(LegMode::Agent).unwrap(), workers.open(LegMode::Agent).unwrap());
    near.configure(media(far.local_addr())).unwrap();
    far.configure(media(near.local_addr())).unwrap();
    // Every report measures anew, so that one that a late worker took long for is forgotten.
    let measured = |leg: &Leg| (Duration::from_micros(1)..Duration::from_millis(100)).contains(&leg.stats().round_trip);
    until("a report gives the round trip", || measured(&near) || measured(&far));
    until("the line is good", || near.stats().mos > 4.0);
    assert_eq!(near.stats().rejected + far.stats().rejected, 0);
    assert!(!near.stats().peer_left, "{:?}", near.stats());
    drop(far);
    until("a goodbye", || near.stats().peer_left);
}

#[test]
fn a_worker_that_is_late_takes_no_further_call_and_says_when_to_come_again() {
    // Every slot counts as late here, and none when the limit is far away.
    for (late, is_refused) in [(Duration::ZERO, true), (Duration::from_secs(60), false)] {
        let admission = Admission { late, window: Duration::from_millis(400), fewest_legs: 2, ..Admission::default() };
        let workers = workers_with(MediaConfig { ports: 22_750..=22_769, admission, ..MediaConfig::default() });
        let peer = Peer::new();
        let mut legs: Vec<Leg> = (0..2).map(|_| workers.open(LegMode::Agent).unwrap()).collect();
        for leg in &mut legs {
            leg.configure(media(peer.address())).unwrap();
        }
        if is_refused {
            until("it is late", || workers.stats().overloaded == 1);
        } else {
            std::thread::park_timeout(Duration::from_millis(600));
        }
        match workers.open(LegMode::Agent) {
            Err(error) if is_refused => {
                assert!(matches!(error, MediaError::Overloaded { .. }), "{error}");
                assert_eq!((error.sip_status(), error.retry_after()), (503, Some(Duration::from_secs(1))));
                assert_eq!(workers.stats().overloaded, 1);
            }
            opened => assert!(!is_refused && opened.is_ok(), "{late:?}: {opened:?}"),
        }
        // With fewer legs than it takes to make a worker late, it is not their fault.
        drop(legs.pop());
        until("it has let the leg go", || workers.stats().legs.iter().sum::<usize>() < if is_refused { 2 } else { 3 });
        assert!(workers.open(LegMode::Agent).is_ok());
    }
}

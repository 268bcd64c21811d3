//! RTP bleed and RTP injection against real legs on the loopback: a stranger on another loopback address sprays
//! and forges; nothing goes to it and nothing of it is heard. Then the honest cases still work.

#[path = "support/peers.rs"]
mod peers;

use offhook::base::Random;
use offhook::media::{Leg, LegEvent, LegMode};
use offhook::rtp::Packet;
use peers::{HONEST, HONEST_AUDIO, Heard, STRANGE_AUDIO, STRANGER, Source, media, pause};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// A machine that stands still meanwhile may need another run.
const RUNS: usize = 4;

/// Steps of 20 ms until `done` or ten seconds.
fn until(mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(10), "never happened");
        pause(20);
    }
}

#[test]
fn a_sprayer_gets_no_packet_and_is_not_heard_before_during_and_after_the_window() {
    let workers = peers::workers(23_000..=23_039, 1);
    let mut legs: Vec<Leg> = (0..10).map(|_| workers.open(LegMode::Agent).unwrap()).collect();
    let mut peers: Vec<Source> = (0..10).map(|n| Source::new(HONEST, 100 + n, HONEST_AUDIO)).collect();
    let mut sprayers: Vec<Source> = (0..4).map(|n| Source::new(STRANGER, 900 + n, STRANGE_AUDIO)).collect();
    let mut heard: Vec<Heard> = (0..10).map(|_| Heard::default()).collect();
    let spray = |sprayers: &mut Vec<Source>| {
        for sprayer in sprayers {
            // Long consecutive runs on every port, as a real stream would be.
            for _ in 0..4 {
                let first = sprayer.sequence;
                for port in 23_000..=23_039 {
                    sprayer.sequence = first;
                    sprayer.send(port);
                    sprayer.send_digit(port, 5);
                }
            }
        }
    };
    // Before the answer, and in the first moments of the window before the peer has said anything.
    spray(&mut sprayers);
    pause(25);
    for (leg, peer) in legs.iter_mut().zip(&peers) {
        leg.configure(media(peer.address(), HONEST)).unwrap();
    }
    for step in 0..60 {
        spray(&mut sprayers);
        for ((leg, peer), heard) in legs.iter_mut().zip(&mut peers).zip(&mut heard) {
            if step > 5 {
                peer.send(leg.local_addr().port());
            }
            heard.listen(leg);
        }
        pause(20);
    }
    assert_eq!(
        sprayers.iter().map(|sprayer| sprayer.received().len()).sum::<usize>(),
        0,
        "packets went to the stranger"
    );
    for ((leg, peer), heard) in legs.iter_mut().zip(&peers).zip(&mut heard) {
        heard.listen(leg);
        assert!(heard.loudest < 4_000, "the stranger was heard: {}", heard.loudest);
        assert_eq!(heard.digits, "");
        let stats = leg.stats();
        assert!(stats.rejected > 500, "{stats:?}");
        assert!(stats.received >= 40, "the peer was drowned: {stats:?}");
        assert!(heard.frames > 30 && peer.received().len() > 30);
    }
}

#[test]
fn packets_forged_from_the_peer_s_own_address_are_not_heard_while_it_talks() {
    let workers = peers::workers(23_100..=23_139, 1);
    let mut leg = workers.open(LegMode::Agent).unwrap();
    let mut peer = Source::new(HONEST, 100, HONEST_AUDIO);
    leg.configure(media(peer.address(), HONEST)).unwrap();
    let port = leg.local_addr().port();
    // A forger who can write any source address knows neither SSRC nor sequence.
    let mut forger = Source {
        socket: peer.socket.try_clone().unwrap(),
        sequence: 40_000,
        ssrc: 666,
        payload_type: 0,
        audio: STRANGE_AUDIO,
        came: 0,
    };
    let mut heard = Heard::default();
    peer.send(port);
    for _ in 0..50 {
        peer.send(port);
        for _ in 0..20 {
            forger.send(port);
            forger.send_digit(port, 9);
        }
        pause(20);
        heard.listen(&mut leg);
    }
    // The last are under way, and a loaded machine may have lost some.
    until(|| {
        peer.send(port);
        forger.send(port);
        heard.listen(&mut leg);
        leg.stats().received >= 50 && leg.stats().rejected >= 1_500
    });
    assert!(heard.loudest < 4_000 && heard.digits.is_empty(), "heard {} {}", heard.loudest, heard.digits);
}

#[test]
fn a_peer_behind_nat_is_found_within_two_hundred_milliseconds_and_a_later_thief_is_not() {
    let workers = peers::workers(23_200..=23_239, 1);
    let mut runs = Vec::new();
    let (mut leg, mut peer, port) = loop {
        let mut leg = workers.open(LegMode::Agent).unwrap();
        let mut peer = Source::new(HONEST, 100, HONEST_AUDIO);
        // The SDP names an address of the peer's own network; its signalling comes from the NAT.
        leg.configure(media("192.168.77.20:4000".parse().unwrap(), HONEST)).unwrap();
        let port = leg.local_addr().port();
        let mut packets = 0;
        until(|| {
            peer.send(port);
            packets += 1;
            !peer.received().is_empty()
        });
        runs.push(packets);
        if packets <= 10 {
            break (leg, peer, port);
        }
        assert!(runs.len() < RUNS, "found only after so many packets: {runs:?}");
    };
    let address = peer.address();
    let mut locked = None;
    until(|| {
        while let Some(event) = leg.events.try_pop() {
            if let LegEvent::SourceLocked(from) = event {
                locked = Some(from);
            }
        }
        locked.is_some()
    });
    assert_eq!(locked, Some(address));
    let mut thief = Source::new(HONEST, 777, STRANGE_AUDIO);
    let mut heard = Heard::default();
    for _ in 0..30 {
        peer.send(port);
        thief.send(port);
        pause(20);
        heard.listen(&mut leg);
    }
    assert_eq!(thief.received().len(), 0);
    assert!(heard.loudest < 4_000 && peer.received().len() > 20);
}

#[test]
fn rtcp_stun_and_garbage_on_the_port_do_no_harm() {
    let workers = peers::workers(23_300..=23_339, 1);
    let mut leg = workers.open(LegMode::Agent).unwrap();
    let mut peer = Source::new(HONEST, 100, HONEST_AUDIO);
    leg.configure(media(peer.address(), HONEST)).unwrap();
    let port = leg.local_addr().port();
    let mut random = Random::seeded(3);
    for length in 0..=64 {
        for first in [0x80u8, 0x00, 0x16, 0xBF] {
            let mut garbage: Vec<u8> = (0..length).map(|_| random.next_u32() as u8).collect();
            if let Some(octet) = garbage.first_mut() {
                *octet = first;
            }
            let _ = peer.socket.send_to(&garbage, (Ipv4Addr::LOCALHOST, port));
        }
        if length % 8 == 0 {
            pause(20);
        }
    }
    let mut heard = Heard::default();
    until(|| {
        peer.send(port);
        heard.listen(&mut leg);
        heard.frames > 20
    });
    assert!(Packet::parse(&[]).is_err());
    assert!(peer.received().len() > 5);
}

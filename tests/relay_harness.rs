//! The lossy network of the tests proves itself: it does what it says, the same way every time.

#[path = "support/relay.rs"]
mod relay;

use relay::{Link, Loss, Network, Relay, Underway, Weather};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

const PACKETS: u32 = 20_000;

/// What arrives of a stream of packets, 20 ms apart: number and time in milliseconds, in order of arrival.
fn stream(weather: Weather, seed: u64) -> Vec<(u32, f64)> {
    let (mut network, mut underway) = (Network::new(weather, seed), Underway::default());
    for number in 0..PACKETS {
        for at in network.carry(Duration::from_millis(20) * number) {
            underway.put(at, number);
        }
    }
    std::iter::from_fn(|| underway.take(Duration::MAX)).map(|(at, number)| (number, at.as_secs_f64() * 1e3)).collect()
}

fn numbers(stream: &[(u32, f64)]) -> Vec<u32> {
    let mut numbers: Vec<_> = stream.iter().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[test]
fn the_same_seed_gives_the_same_network_and_another_seed_another() {
    let weather = Weather { jitter_ms: 30, reordered: 0.05, repeated: 0.05, ..Weather::losing(5.0) };
    assert_eq!(stream(weather, 7), stream(weather, 7));
    assert_ne!(stream(weather, 7), stream(weather, 8));
    // One thing more does not change the luck of the others.
    assert_eq!(numbers(&stream(weather, 7)), numbers(&stream(Weather::losing(5.0), 7)));
}

#[test]
fn random_loss_is_as_frequent_as_asked_and_comes_alone() {
    for percent in [0.0, 1.0, 3.0, 5.0, 10.0] {
        let arrived = numbers(&stream(Weather::losing(percent), 2));
        let lost = 100.0 * (1.0 - arrived.len() as f64 / f64::from(PACKETS));
        assert!((lost - percent).abs() < 0.5, "{lost} % of {percent} %");
    }
}

#[test]
fn bursts_lose_the_share_that_was_asked_in_runs_of_the_length_that_was_asked() {
    let weather = Weather { loss: Loss::Bursts { share: 0.2, burst: 3.0 }, ..Weather::CALM };
    let arrived = numbers(&stream(weather, 3));
    let lost = f64::from(PACKETS) - arrived.len() as f64;
    let runs = arrived.windows(2).filter(|pair| pair[1] - pair[0] > 1).count() as f64;
    assert!((lost / f64::from(PACKETS) - 0.2).abs() < 0.02, "{lost}");
    assert!((lost / runs - 3.0).abs() < 0.3, "{} packets a run", lost / runs);
}

#[test]
fn jitter_delays_up_to_its_bound_and_evenly() {
    let arrived = stream(Weather::jittering(30), 5);
    let delays: Vec<f64> = arrived.iter().map(|(number, at)| at - f64::from(*number) * 20.0).collect();
    let mean = delays.iter().sum::<f64>() / delays.len() as f64;
    assert!(delays.iter().all(|delay| (5.0..=35.0).contains(delay)));
    assert!((mean - 20.0).abs() < 0.3, "{mean}");
}

#[test]
fn the_share_that_was_asked_is_overtaken_or_comes_twice() {
    let arrived = stream(Weather { reordered: 0.05, ..Weather::CALM }, 9);
    let overtaken = arrived.windows(2).filter(|pair| pair[1].0 < pair[0].0).count() as f64;
    assert!((overtaken / f64::from(PACKETS) - 0.05).abs() < 0.01, "{overtaken}");
    let arrived = stream(Weather { repeated: 0.05, ..Weather::CALM }, 9);
    let twice = arrived.len() as f64 / f64::from(PACKETS) - 1.0;
    assert!((twice - 0.05).abs() < 0.01, "{twice}");
    assert_eq!(numbers(&arrived).len(), PACKETS as usize);
}

#[test]
fn the_relay_carries_both_ways_under_its_own_address_and_for_its_two_ends_only() {
    let open = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (first, second, stranger) = (open(), open(), open());
    for socket in [&first, &second] {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    let ends = [first.local_addr().unwrap(), second.local_addr().unwrap()];
    let relay = Relay::start(Ipv4Addr::LOCALHOST.into(), &[Link { ends, weather: Weather::CALM, seed: 1 }]);
    let mut buffer = [0; 100];
    stranger.send_to(b"stranger", relay.for_first(0)).unwrap();
    stranger.send_to(b"stranger", relay.for_second(0)).unwrap();
    first.send_to(b"there", relay.for_first(0)).unwrap();
    let (length, from) = second.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (&b"there"[..], relay.for_second(0)));
    second.send_to(b"and back", relay.for_second(0)).unwrap();
    let (length, from) = first.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (&b"and back"[..], relay.for_first(0)));
    assert_eq!(relay.carried(), 2);
}

#[test]
fn a_relay_that_loses_a_tenth_delivers_the_other_nine() {
    let open = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (first, second) = (open(), open());
    let ends = [first.local_addr().unwrap(), second.local_addr().unwrap()];
    let relay = Relay::start(Ipv4Addr::LOCALHOST.into(), &[Link { ends, weather: Weather::losing(10.0), seed: 4 }]);
    let expected = {
        let mut network = Network::new(Weather::losing(10.0), 4);
        (0..200).filter(|_| network.carry(Duration::ZERO).count() == 1).count()
    };
    second.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for number in 0..200u8 {
        first.send_to(&[number], relay.for_first(0)).unwrap();
    }
    let mut buffer = [0; 100];
    for _ in 0..expected {
        second.recv_from(&mut buffer).unwrap();
    }
    second.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(second.recv_from(&mut buffer).is_err(), "no more than {expected}");
    assert!((150..200).contains(&expected));
}

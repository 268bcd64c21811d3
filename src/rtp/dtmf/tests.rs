use super::*;
use crate::base::Random;

fn payload(event: u8, end: bool, duration: u16) -> [u8; 4] {
    let [a, b] = duration.to_be_bytes();
    [event, if end { 0x8A } else { 0x0A }, a, b]
}

/// All packets of `digits` as our sender makes them, with their times.
fn sent(digits: &str) -> Vec<(Instant, Header, [u8; 4])> {
    let (mut session, mut sender) = (SendSession::new(&mut Random::seeded(9)), DigitSender::default());
    let mut now = Instant::now();
    digits.chars().for_each(|d| assert!(sender.push(d)));
    let mut packets = Vec::new();
    while sender.is_busy() {
        match sender.next_packet(&mut session, 101, 8_000, 160) {
            DigitTurn::Event(header, payload) => packets.push((now, header, payload)),
            DigitTurn::Silence | DigitTurn::Audio => {
                session.next_header(0, 160, 160);
            }
        }
        now += Duration::from_millis(20);
    }
    packets
}

fn received<'a>(packets: impl IntoIterator<Item = &'a (Instant, Header, [u8; 4])>) -> String {
    let mut receiver = DigitReceiver::default();
    packets.into_iter().filter_map(|(now, header, payload)| receiver.receive(*now, header.timestamp, payload)).collect()
}

const KEYS: &str = "15551234567*#0ABCD99";

#[test]
fn every_key_arrives_once_in_order() {
    assert_eq!(received(&sent(KEYS)), KEYS);
}

#[test]
fn digits_are_exact_at_five_percent_loss_with_repeats_and_reordering() {
    for seed in 0..200 {
        let mut random = Random::seeded(seed);
        let mut line: Vec<_> = sent(KEYS).into_iter().filter(|_| random.unit() >= 0.05).collect();
        for n in 0..line.len().saturating_sub(1) {
            match random.below(20) {
                0 => line.swap(n, n + 1),
                1 => line.insert(n + 1, line[n]),
                _ => {}
            }
        }
        assert_eq!(received(&line), KEYS, "seed {seed}");
    }
}

#[test]
fn a_press_of_which_only_one_packet_survives_still_counts() {
    for survivor in 0..8 {
        let packets = sent("7");
        assert_eq!(packets.len(), 8, "five updates and three ends");
        assert_eq!(received(&packets[survivor..=survivor]), "7");
    }
}

#[test]
fn the_same_key_twice_is_two_digits_even_without_the_ends() {
    let packets: Vec<_> = sent("55").into_iter().filter(|(_, _, p)| p[1] & 0x80 == 0).collect();
    assert_eq!(received(&packets), "55");
}

#[test]
fn a_sender_that_moves_the_timestamp_within_a_press_makes_one_digit() {
    let mut receiver = DigitReceiver::default();
    let mut now = Instant::now();
    let mut digits = String::new();
    for press in 0..3u32 {
        for n in 1..=5u32 {
            now += Duration::from_millis(20);
            let timestamp = press * 8_000 + n * 160;
            digits.extend(receiver.receive(now, timestamp, &payload(5, n == 5, n as u16 * 160)));
        }
        now += Duration::from_millis(60);
    }
    assert_eq!(digits, "555");
}

#[test]
fn a_press_longer_than_eight_seconds_is_one_digit() {
    let mut receiver = DigitReceiver::default();
    let mut now = Instant::now();
    let mut digits = String::new();
    for n in 1..=1_000u32 {
        now += Duration::from_millis(20);
        let ticks = n * 160;
        let (timestamp, duration) = (ticks / 65_535 * 65_535, ticks % 65_535);
        digits.extend(receiver.receive(now, timestamp, &payload(1, n == 1_000, duration as u16)));
    }
    assert_eq!(digits, "1");
}

#[test]
fn flash_short_payloads_and_other_events_are_no_digits() {
    let (mut receiver, now) = (DigitReceiver::default(), Instant::now());
    assert_eq!(receiver.receive(now, 1, &payload(16, false, 160)), None);
    assert_eq!(receiver.receive(now, 2, &[1, 10, 0]), None);
    assert_eq!(receiver.receive(now, 3, &payload(3, false, 0)), Some('3'));
}

#[test]
fn the_event_keeps_its_timestamp_and_the_clock_moves_on() {
    let packets = sent("12");
    let first: Vec<_> = packets.iter().take(8).collect();
    assert!(first.iter().all(|(_, h, _)| h.timestamp == first[0].1.timestamp));
    assert_eq!(packets.iter().map(|(_, h, _)| h.marker).filter(|m| *m).count(), 2);
    let apart = packets[8].1.timestamp.wrapping_sub(packets[0].1.timestamp);
    assert_eq!(apart, 8 * 160 + PAUSE_TICKS);
    let durations: Vec<u16> = first.iter().map(|(_, _, p)| u16::from_be_bytes([p[2], p[3]])).collect();
    assert_eq!(durations, [160, 320, 480, 640, 800, 800, 800, 800]);
}

#[test]
fn letters_that_are_no_keys_are_refused() {
    let mut sender = DigitSender::default();
    assert!(!sender.push('x') && !sender.is_busy());
    assert!((0..QUEUE).all(|_| sender.push('1')));
    assert!(!sender.push('2'));
}

/// What a receiver on a clock of `rate` makes of presses, each of `packets` updates and three ends, 5 % lost.
fn pressed(rate: u32, digits: &str, packets: u32, volume: u8, seed: u64) -> String {
    let mut random = Random::seeded(seed);
    let mut receiver = DigitReceiver::default();
    receiver.set_clock_rate(rate);
    let (mut now, mut clock) = (Instant::now(), 4_000_000_000u32);
    let mut heard = String::new();
    for digit in digits.chars() {
        let event = event_of(digit).unwrap();
        for n in 1..=packets + 3 {
            now += Duration::from_millis(20);
            let ticks = n.min(packets) * rate / 50;
            // RFC 4733 §2.5.1.3: segments of at most 65,535 ticks.
            let segment = (ticks - 1) / 65_535;
            let duration = (ticks - segment * 65_535) as u16;
            let end = n > packets;
            let [a, b] = duration.to_be_bytes();
            let payload = [event, volume | if end { 0x80 } else { 0 }, a, b];
            if random.unit() >= 0.05 {
                heard.extend(receiver.receive(now, clock.wrapping_add(segment * 65_535), &payload));
            }
        }
        now += Duration::from_millis(60);
        clock = clock.wrapping_add((packets + 6) * rate / 50);
    }
    heard
}

#[test]
fn digits_are_exact_on_every_clock_at_every_length_and_volume() {
    for rate in [8_000, 16_000, 48_000] {
        for seed in 0..50 {
            for (packets, volume) in [(5, 10), (2, 0), (25, 63)] {
                assert_eq!(
                    pressed(rate, KEYS, packets, volume, seed),
                    KEYS,
                    "{rate} Hz, {packets} packets, seed {seed}"
                );
            }
        }
    }
}

#[test]
fn a_press_of_ten_seconds_is_one_digit_on_every_clock_at_five_percent_loss() {
    for rate in [8_000, 16_000, 48_000] {
        for seed in 0..50 {
            assert_eq!(pressed(rate, "7#", 500, 10, seed), "7#", "{rate} Hz, seed {seed}");
        }
    }
}

#[test]
fn keys_are_heard_after_the_timestamp_leapt_forward_or_back() {
    let (mut receiver, now) = (DigitReceiver::default(), Instant::now());
    let mut digits = String::new();
    for (seconds, timestamp) in [(0, 1_000_000), (2, 900_000_000), (4, 5_000), (6, 3_000_000_000)] {
        digits.extend(receiver.receive(now + Duration::from_secs(seconds), timestamp, &payload(5, false, 160)));
    }
    assert_eq!(digits, "5555");
}

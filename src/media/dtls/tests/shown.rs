//! What the library gets to see of a peer, and what it does not.

use super::*;

/// The records of a datagram.
fn records(datagram: &[u8]) -> Vec<Vec<u8>> {
    let (mut records, mut rest) = (Vec::new(), datagram);
    while rest.len() >= RECORD_HEADER {
        let length = RECORD_HEADER + usize::from(u16::from_be_bytes([rest[11], rest[12]]));
        records.push(rest[..length].to_vec());
        rest = &rest[length..];
    }
    records
}

/// A record with one message in clear, cut in pieces of so many octets, each in a record of its own.
fn in_pieces(record: &[u8], octets: usize) -> Vec<Vec<u8>> {
    let (header, message) = record.split_at(RECORD_HEADER);
    let body = &message[MESSAGE_HEADER..];
    let mut pieces = Vec::new();
    for (at, piece) in body.chunks(octets).enumerate() {
        let mut out = header.to_vec();
        out[11..].copy_from_slice(&((piece.len() + MESSAGE_HEADER) as u16).to_be_bytes());
        out.extend(&message[..6]);
        out.extend(&((at * octets) as u32).to_be_bytes()[1..]);
        out.extend(&(piece.len() as u32).to_be_bytes()[1..]);
        out.extend(piece);
        pieces.push(out);
    }
    pieces
}

#[test]
fn flights_that_come_in_pieces_out_of_order_and_twice_are_put_together() {
    for seed in 500..520 {
        let mut pair = Pair::new(2 * seed, 0);
        let mut random = Random::seeded(seed);
        pair.run_with(|pair| {
            let flying = std::mem::take(&mut pair.flying);
            for (at, to, from, datagram) in flying {
                let is_cut = datagram[0] == HANDSHAKE && !hello::begins(&datagram) && datagram.len() > 100;
                if !is_cut {
                    pair.flying.push((at, to, from, datagram));
                    continue;
                }
                let mut pieces: Vec<_> = records(&datagram)
                    .into_iter()
                    .flat_map(|record| match record.as_slice() {
                        [HANDSHAKE, _, _, 0, 0, ..] if record.len() > 130 => in_pieces(&record, 100),
                        _ => vec![record],
                    })
                    .collect();
                for at in 0..pieces.len() {
                    if random.below(4) == 0 {
                        pieces.push(pieces[at].clone());
                    }
                }
                for (n, piece) in pieces.into_iter().enumerate() {
                    let late = Duration::from_millis(n as u64 + random.below(3));
                    pair.flying.push((at + late, to, from, piece));
                }
            }
        });
        let [client, server] = pair.keys();
        assert_eq!(client.send, server.receive, "seed {seed}");
    }
}

/// Handshake headers and nothing behind them, each of which claims an octet more of message `number` than the one before.
fn nested(kind: u8, number: u16, from: u32) -> Vec<u8> {
    let mut record = vec![HANDSHAKE, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9];
    let mut body = Vec::new();
    for offset in (from..from + 110).rev() {
        body.extend([kind, 0, 0, 0]);
        body.extend(number.to_be_bytes());
        body.extend(&offset.to_be_bytes()[1..]);
        body.extend([0, 0, 1]);
    }
    record.extend((body.len() as u16).to_be_bytes());
    record.extend(body);
    record
}

#[test]
fn messages_without_end_neither_exhaust_the_stack_nor_take_memory() {
    let mut pair = Pair::new(450, 0);
    pair.run_until(|pair| !pair.server.attempts.is_empty());
    let now = pair.now;
    for n in 0..1_000u32 {
        for (kind, number) in [(CERTIFICATE, 2), (CERTIFICATE, 1), (SERVER_HELLO, 1), (3, 0), (1, 0), (16, 3)] {
            let datagram = nested(kind, number, 110 * (1_000 - n));
            pair.server.handle(now, address(CLIENT), &datagram);
            pair.client.handle(now, address(SERVER), &datagram);
        }
        // As long as it may be said, none of it there.
        let mut empty = message(CERTIFICATE, 2, &[]);
        empty[RECORD_HEADER + 1..RECORD_HEADER + 4].copy_from_slice(&(n * 16).to_be_bytes()[1..]);
        pair.server.handle(now, address(CLIENT), &empty);
        let mut encrypted = vec![HANDSHAKE, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, (n >> 8) as u8, n as u8, 0, 100];
        encrypted.extend([7; 100]);
        pair.server.handle(now, address(CLIENT), &encrypted);
    }
    for attempt in pair.server.attempts.iter().chain(&pair.client.attempts) {
        assert!(attempt.screen.octets() <= 32_768, "{}", attempt.screen.octets());
    }
}

#[test]
fn an_established_peer_may_ask_for_the_last_flight_only_so_often() {
    let mut pair = Pair::new(460, 0);
    pair.run();
    let last = pair.seen.iter().rfind(|datagram| datagram.len() > 300).unwrap().clone();
    let (now, mut answers) = (pair.now, 0);
    for _ in 0..2_000 {
        pair.server.handle(now, address(CLIENT), &last);
        answers += std::iter::from_fn(|| pair.server.poll_transmit()).count();
    }
    assert!(answers <= 8, "{answers}");
}

#[test]
fn damaged_flights_give_no_panic_and_at_most_a_later_handshake() {
    let cases = if std::env::var("OFFHOOK_ATTACK").is_ok_and(|size| size == "full") { 100_000 } else { 300 };
    let mut random = Random::seeded(470);
    let (mut broken, mut through) = (0, 0);
    let ours = [identity(470), identity(471)];
    while broken < cases {
        let now = Instant::now();
        let [of_client, of_server] = [0, 1].map(|n: usize| vec![ours[n].fingerprint().clone()]);
        let mut client = Handshake::new(now, &ours[0], Setup::Active, address(SERVER), of_server);
        let mut server = Handshake::new(now, &ours[1], Setup::Passive, address(CLIENT), of_client);
        let target = random.below(7);
        let mut number = 0;
        for _ in 0..6 {
            for to_server in [true, false] {
                let (from, to) = if to_server { (&mut client, &mut server) } else { (&mut server, &mut client) };
                while let Some(transmit) = from.poll_transmit() {
                    let mut datagram = transmit.datagram;
                    if number == target {
                        broken += 1;
                        for _ in 0..1 + random.below(3) {
                            let at = random.below(datagram.len() as u64) as usize;
                            match random.below(4) {
                                0 => datagram[at] ^= 1 << random.below(8),
                                1 => datagram[at] = random.next_u32() as u8,
                                2 => drop(datagram.remove(at)),
                                _ => datagram.insert(at, random.next_u32() as u8),
                            }
                        }
                    }
                    number += 1;
                    to.handle(now, address(if to_server { CLIENT } else { SERVER }), &datagram);
                }
            }
        }
        let ends = [client.poll_outcome(), server.poll_outcome()].map(|end| end.and_then(Result::ok));
        if let [Some(client), Some(server)] = ends {
            assert_eq!(client.keys.send, server.keys.receive);
            through += 1;
        }
    }
    assert!(through < broken, "nothing was damaged");
}

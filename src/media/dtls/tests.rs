use super::*;
use crate::base::Random;

mod rsa;
mod shown;

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

const CLIENT: u16 = 4_000;
const SERVER: u16 = 5_000;

/// Two ends of one handshake in virtual time, and the network between them.
struct Pair {
    now: Instant,
    client: Handshake,
    server: Handshake,
    network: Random,
    lost_percent: u64,
    /// When what arrives at which port from which.
    flying: Vec<(Instant, u16, SocketAddr, Vec<u8>)>,
    outcomes: [Option<Result<Established, DtlsError>>; 2],
    seen: Vec<Vec<u8>>,
}

impl Pair {
    fn new(seed: u64, lost_percent: u64) -> Self {
        let (client, server) = (identity(seed), identity(seed + 1));
        let expected = [client.fingerprint().clone(), server.fingerprint().clone()];
        Self::expecting(seed, lost_percent, expected)
    }

    /// `expected`: what the server and what the client take for the other's fingerprint.
    fn expecting(seed: u64, lost_percent: u64, expected: [Fingerprint; 2]) -> Self {
        let now = Instant::now();
        let [of_client, of_server] = expected;
        Self {
            now,
            client: Handshake::new(now, &identity(seed), Setup::Active, address(SERVER), vec![of_server]),
            server: Handshake::new(now, &identity(seed + 1), Setup::Passive, address(CLIENT), vec![of_client]),
            network: Random::seeded(seed),
            lost_percent,
            flying: Vec::new(),
            outcomes: [None, None],
            seen: Vec::new(),
        }
    }

    fn end(&mut self, port: u16) -> &mut Handshake {
        if port == CLIENT { &mut self.client } else { &mut self.server }
    }

    /// Moves what is to be moved, then jumps to the next moment at which something happens.
    fn step(&mut self) {
        for port in [CLIENT, SERVER] {
            while let Some(transmit) = self.end(port).poll_transmit() {
                self.seen.push(transmit.datagram.clone());
                if self.network.below(100) >= self.lost_percent {
                    let delay = Duration::from_millis(5 + self.network.below(40));
                    self.flying.push((self.now + delay, transmit.to.port(), address(port), transmit.datagram));
                }
            }
            if let Some(outcome) = self.end(port).poll_outcome() {
                self.outcomes[usize::from(port == SERVER)] = Some(outcome);
            }
        }
        let due = self.flying.iter().map(|(at, ..)| *at);
        let timers = [self.client.poll_timeout(), self.server.poll_timeout()].into_iter().flatten();
        self.now = due.chain(timers).min().unwrap_or(self.now + TIME_LIMIT).max(self.now);
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.flying).into_iter().partition(|(at, ..)| *at <= now);
        self.flying = later;
        let _: &Vec<_> = &due;
        for (_, to, from, datagram) in due {
            if to == CLIENT || to == SERVER {
                self.end(to).handle(now, from, &datagram);
            }
        }
        self.client.handle_timeout(now);
        self.server.handle_timeout(now);
    }

    fn run(&mut self) {
        self.run_with(|_| {});
    }

    fn run_until(&mut self, is_over: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if is_over(self) {
                return;
            }
            self.step();
        }
        panic!("no end after 2,000 steps: {:?}", self.outcomes);
    }

    /// Runs to the end of both; something else happens before each step.
    fn run_with(&mut self, mut meanwhile: impl FnMut(&mut Self)) {
        for _ in 0..2_000 {
            if self.outcomes.iter().all(Option::is_some) {
                return;
            }
            meanwhile(self);
            self.step();
        }
        panic!("no end after 2,000 steps: {:?}", self.outcomes);
    }

    fn keys(&self) -> [SrtpKeys; 2] {
        self.outcomes.clone().map(|outcome| outcome.unwrap().unwrap().keys)
    }
}

fn identity(seed: u64) -> Identity {
    Identity::new(&mut Random::seeded(seed)).unwrap()
}

#[test]
fn two_ends_agree_on_the_same_keys_crosswise() {
    let mut pair = Pair::new(1, 0);
    pair.run();
    let [client, server] = pair.keys();
    assert_eq!((&client.send, &client.receive), (&server.receive, &server.send));
    assert_ne!(client.send, client.receive);
    assert_eq!(client.send.suite(), SrtpSuite::AeadAes256Gcm, "the strongest both have");
}

#[test]
fn losses_delay_a_handshake_but_do_not_end_it() {
    for (lost_percent, seeds) in [(10, 20), (25, 10)] {
        for seed in 0..seeds {
            let mut pair = Pair::new(100 * seed, lost_percent);
            pair.run();
            let [client, server] = pair.outcomes.map(Option::unwrap);
            let keys = (client.map(|c| c.keys.send), server.map(|s| s.keys.receive));
            assert!(keys.0.is_ok() && keys.0 == keys.1, "seed {seed}, {lost_percent} % lost: {keys:?}");
        }
    }
}

#[test]
fn another_fingerprint_than_the_descriptions_gives_no_keys() {
    let honest = [identity(30), identity(31)].map(|identity| identity.fingerprint().clone());
    let [of_client, _] = honest.clone();
    let mut pair = Pair::expecting(30, 0, [of_client, identity(99).fingerprint().clone()]);
    pair.run_until(|pair| pair.outcomes[0].is_some());
    let Some(Err(error)) = pair.outcomes[0].clone() else { panic!("{:?}", pair.outcomes) };
    let DtlsError::Fingerprint { from, found } = &error else { panic!("{error}") };
    assert_eq!((*from, found), (address(SERVER), &honest[1].to_string()));
    assert!(error.to_string().contains("not the fingerprint of its session description"), "{error}");
}

#[test]
fn one_fingerprint_of_several_is_enough_whatever_its_hash() {
    let mut pair = Pair::new(40, 0);
    pair.run();
    let certificate = pair.client.attempts[0].certificate.clone().unwrap();
    let longer = fingerprint_of(crate::sdp::HashFunction::Sha512, &certificate);
    pair = Pair::new(40, 0);
    pair.client.fingerprints = vec![identity(98).fingerprint().clone(), longer];
    pair.run();
    assert!(pair.outcomes.iter().flatten().all(Result::is_ok), "{:?}", pair.outcomes);
}

#[test]
fn silence_ends_after_ten_seconds_with_a_hint() {
    let now = Instant::now();
    for role in [Setup::Active, Setup::Passive] {
        let peer = identity(51).fingerprint().clone();
        let mut alone = Handshake::new(now, &identity(50), role, address(SERVER), vec![peer]);
        let (mut at, mut hellos) = (now, 0);
        let outcome = loop {
            while alone.poll_transmit().is_some() {
                hellos += 1;
            }
            if let Some(outcome) = alone.poll_outcome() {
                break outcome;
            }
            at = alone.poll_timeout().unwrap();
            alone.handle_timeout(at);
        };
        assert_eq!(outcome, Err(DtlsError::Timeout(Hint::Silence)));
        assert_eq!(at, now + TIME_LIMIT);
        assert!(if role == Setup::Active { (8..20).contains(&hellos) } else { hellos == 0 }, "{hellos}");
        assert_eq!((alone.poll_outcome(), alone.poll_timeout()), (None, None));
    }
}

/// The first hello of a client of its own.
fn hello(seed: u64) -> Vec<u8> {
    let mut client = Handshake::new(
        Instant::now(),
        &identity(seed),
        Setup::Active,
        address(SERVER),
        vec![identity(1).fingerprint().clone()],
    );
    client.poll_transmit().unwrap().datagram
}

#[test]
fn a_spray_of_hellos_and_rubbish_does_not_stop_a_handshake() {
    let hellos: Vec<_> = (60..64).map(hello).collect();
    for seed in 70..80 {
        let mut pair = Pair::new(seed, 0);
        let (mut random, mut sprayed) = (Random::seeded(seed), 0);
        let start = pair.now;
        pair.run_with(|pair| {
            // A thousand a second to both ends, from other ports of the peer's host.
            let due = pair.now.duration_since(start).as_millis() as u16;
            for n in std::mem::replace(&mut sprayed, due)..due {
                let mut datagram = hellos[usize::from(n) % hellos.len()].clone();
                match random.below(4) {
                    0 => {}
                    1 => datagram.truncate(random.below(datagram.len() as u64) as usize),
                    2 => datagram = (0..60).map(|_| random.next_u32() as u8).collect(),
                    _ => {
                        let at = random.below(datagram.len() as u64) as usize;
                        datagram[at] ^= 1 << random.below(8);
                    }
                }
                let (now, from) = (pair.now, address(6_000 + n % 50));
                pair.server.handle(now, from, &datagram);
                pair.client.handle(now, from, &datagram);
                assert!(pair.server.attempts.len() <= MAX_ATTEMPTS && pair.server.waiting.len() <= MAX_WAITING);
            }
        });
        let [client, server] = pair.keys();
        assert_eq!(client.send, server.receive, "seed {seed}");
    }
}

/// Datagrams that whoever can write the peer's address, but reads nothing, could send: hellos of its own, with cookies that it
/// makes up, damaged ones, handshake messages of every kind, alerts, records of later epochs, rubbish.
fn forgery(random: &mut Random, hellos: &[Vec<u8>]) -> Vec<u8> {
    let mut datagram = hellos[random.below(hellos.len() as u64) as usize].clone();
    match random.below(7) {
        0 => {
            let cookie: Vec<u8> = (0..32).map(|_| random.next_u32() as u8).collect();
            let at = RECORD_HEADER + MESSAGE_HEADER + 2 + 32 + 1;
            datagram[at] = 32;
            datagram.splice(at + 1..at + 1, cookie);
            for length in [12, RECORD_HEADER + 3, RECORD_HEADER + 11] {
                datagram[length] = datagram[length].wrapping_add(32);
            }
            datagram[RECORD_HEADER + 5] = 1;
        }
        1 => {
            let body: Vec<u8> = (0..random.below(90)).map(|_| random.next_u32() as u8).collect();
            datagram = message(random.below(25) as u8, random.below(6) as u8, &body);
        }
        2 => datagram = vec![ALERT, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, random.below(120) as u8],
        3 => datagram = (0..60).map(|_| random.next_u32() as u8).collect(),
        4 => datagram = message(CERTIFICATE, 2, &[0, 0, 0]),
        5 => {
            let at = random.below(datagram.len() as u64) as usize;
            datagram[at] ^= 1 << random.below(8);
        }
        _ => datagram.truncate(random.below(datagram.len() as u64) as usize),
    }
    if random.below(3) == 0 && datagram.len() > RECORD_HEADER {
        // Another epoch, or a high number.
        datagram[3 + random.below(8) as usize] = random.next_u32() as u8;
    }
    datagram
}

/// Handshakes that are tried under a flood; `OFFHOOK_ATTACK=full` makes it the thousand calls of the security policy.
fn flooded() -> u64 {
    if std::env::var("OFFHOOK_ATTACK").is_ok_and(|size| size == "full") { 1_000 } else { 30 }
}

#[test]
fn a_flood_forged_from_the_very_address_of_the_peer_does_not_stop_a_handshake() {
    let hellos: Vec<_> = (60..64).map(hello).collect();
    let mut took = Vec::new();
    for seed in 0..flooded() {
        let mut pair = Pair::new(10_000 + 2 * seed, 0);
        let (mut random, mut sprayed, mut last) = (Random::seeded(seed), 0, Duration::ZERO);
        let start = pair.now;
        pair.run_with(|pair| {
            // A thousand a second to each end in the name of the other.
            last = pair.now.duration_since(start);
            let due = last.as_millis() as u64;
            for _ in std::mem::replace(&mut sprayed, due)..due {
                let (now, datagram) = (pair.now, forgery(&mut random, &hellos));
                pair.server.handle(now, address(CLIENT), &datagram);
                // Forged answers to its hello cost a client its beginning: see the module.
                if !matches!(datagram.get(RECORD_HEADER), Some(&(SERVER_HELLO | 3))) {
                    pair.client.handle(now, address(SERVER), &datagram);
                }
                assert!(pair.server.waiting.len() <= MAX_WAITING);
                assert!(pair.server.attempts.len() <= 1, "a place without a cookie that came back");
            }
        });
        let [client, server] = pair.keys();
        assert_eq!(client.send, server.receive, "seed {seed}");
        took.push(last);
    }
    took.sort();
    let slowest = took.last().copied().unwrap_or_default();
    assert!(took[took.len() * 9 / 10] < Duration::from_secs(1) && slowest < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_cookie_is_good_for_its_address_in_its_handshake_only_and_nothing_is_kept_before_it_comes_back() {
    let mut pair = Pair::new(440, 0);
    pair.run_until(|pair| !pair.server.attempts.is_empty());
    let second = pair.seen.iter().filter(|datagram| hello::begins(datagram)).nth(1).unwrap().clone();
    let read = Hello::read(&second).unwrap();
    assert_eq!(read.cookie.len(), 20);
    assert!(Hello::read(&read.first()).unwrap().cookie.is_empty());
    let now = pair.now;
    let attempts = |handshake: &mut Handshake, from: u16, datagram: &[u8]| {
        handshake.attempts.clear();
        handshake.handle(now, address(from), datagram);
        handshake.attempts.len()
    };
    let client = identity(440).fingerprint().clone();
    let mut other = Handshake::new(now, &identity(441), Setup::Passive, address(CLIENT), vec![client.clone()]);
    assert_ne!(
        other.cookies.0,
        Handshake::new(now, &pair.server.identity, Setup::Passive, address(CLIENT), vec![client]).cookies.0
    );
    other.cookies.0[0] ^= 1;
    assert_eq!(attempts(&mut other, CLIENT, &second), 0, "another handshake's");
    assert_eq!(attempts(&mut pair.server, CLIENT + 1, &second), 0, "another address's");
    let mut forged = second.clone();
    forged[RECORD_HEADER + MESSAGE_HEADER + 2 + 32 + 1 + 1] ^= 1;
    assert_eq!(attempts(&mut pair.server, CLIENT, &forged), 0, "made up");
    assert_eq!(attempts(&mut pair.server, CLIENT, &read.first()), 0);
    assert_eq!(attempts(&mut pair.server, CLIENT, &second), 1);
    // The cookie that somebody else's hello brought to this address.
    let mut other_random = second.clone();
    other_random[RECORD_HEADER + MESSAGE_HEADER + 2] ^= 1;
    assert_eq!(attempts(&mut pair.server, CLIENT, &other_random), 1);
}

#[test]
fn hellos_and_high_record_numbers_in_the_peers_name_do_not_stop_a_handshake() {
    let mut pair = Pair::new(85, 0);
    let mut forged = hello(86);
    forged[5..RECORD_HEADER - 2].fill(0xFF);
    for _ in 0..3 {
        let now = pair.now;
        pair.server.handle(now, address(CLIENT), &forged);
        pair.server.handle(now, address(CLIENT), &hello(87));
        pair.client.handle(now, address(SERVER), &forged);
        pair.step();
    }
    pair.run();
    let [client, server] = pair.keys();
    assert_eq!(client.send, server.receive);
}

#[test]
fn alerts_in_clear_are_told_as_a_hint_and_not_obeyed() {
    let mut pair = Pair::new(80, 0);
    let alert = [ALERT, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40];
    let now = pair.now;
    pair.client.handle(now, address(SERVER), &alert);
    pair.server.handle(now, address(CLIENT), &alert);
    assert_eq!(pair.client.hint, Hint::Alert(40));
    pair.run();
    pair.keys();
}

/// What a client ends with whose every datagram gets this answer from the peer's address, and how long that takes.
fn answered_by(answer: &[u8]) -> (Result<Established, DtlsError>, Duration) {
    let now = Instant::now();
    let peer = identity(82).fingerprint().clone();
    let mut client = Handshake::new(now, &identity(81), Setup::Active, address(SERVER), vec![peer]);
    let mut at = now;
    loop {
        while client.poll_transmit().is_some() {
            client.handle(at, address(SERVER), answer);
        }
        if let Some(outcome) = client.poll_outcome() {
            return (outcome, at - now);
        }
        at = client.poll_timeout().unwrap();
        client.handle_timeout(at);
    }
}

/// The same of a server that hears this from a client that it has given a place to.
fn server_shown(certificate: &[u8]) -> (Result<Established, DtlsError>, Duration) {
    server_of(Pair::new(83, 0), certificate)
}

fn server_of(mut pair: Pair, certificate: &[u8]) -> (Result<Established, DtlsError>, Duration) {
    pair.run_until(|pair| !pair.server.attempts.is_empty());
    let shown = pair.now;
    pair.server.handle(shown, address(CLIENT), certificate);
    loop {
        while pair.server.poll_transmit().is_some() {}
        if let Some(outcome) = pair.server.poll_outcome() {
            return (outcome, pair.now - shown);
        }
        pair.now = pair.server.poll_timeout().unwrap();
        pair.server.handle_timeout(pair.now);
    }
}

/// A record in clear with this handshake message.
fn message(kind: u8, number: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len() as u8;
    let mut record = vec![HANDSHAKE, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 2, 0, length + MESSAGE_HEADER as u8];
    record.extend([kind, 0, 0, length, 0, number, 0, 0, 0, 0, 0, length]);
    record.extend(body);
    record
}

#[test]
fn a_peer_whose_certificate_cannot_be_checked_is_given_up_after_two_seconds_with_the_reason() {
    let alert = [ALERT, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, HANDSHAKE_FAILURE];
    let other = message(CERTIFICATE, 2, &[0, 0, 8, 0, 0, 5, 1, 2, 3, 4, 5]);
    let cases = [
        (answered_by(&alert), "refused every cipher suite (alert 40)", true),
        (rsa::server_shown_a_weak_key(), "is RSA of 1024 bits; what is verified here is", true),
        (server_shown(&message(CERTIFICATE, 2, &[0, 0, 0])), "shows no certificate", true),
        (server_shown(&other), "not the fingerprint of its session description", false),
    ];
    for ((outcome, took), words, is_incompatible) in cases {
        let error = outcome.unwrap_err();
        assert!(error.is_incompatible() == is_incompatible && error.to_string().contains(words), "{error}");
        assert!((PROOF_TIME..PROOF_TIME + Duration::from_millis(500)).contains(&took), "{took:?}");
    }
    let (outcome, took) = answered_by(&[ALERT, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 80]);
    assert_eq!(
        (outcome, took),
        (Err(DtlsError::Timeout(Hint::Alert(80))), TIME_LIMIT),
        "that alert says nothing of it"
    );
}

#[test]
fn forged_signs_of_a_certificate_that_will_not_do_stop_nothing() {
    for seed in 300..305 {
        let mut pair = Pair::new(seed, 0);
        pair.run_with(|pair| {
            let now = pair.now;
            let alert = [ALERT, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, HANDSHAKE_FAILURE];
            pair.client.handle(now, address(SERVER), &alert);
            pair.server.handle(now, address(6_001), &message(CERTIFICATE, 2, &[0, 0, 0]));
        });
        let [client, server] = pair.keys();
        assert_eq!(client.send, server.receive, "seed {seed}");
    }
}

#[test]
fn a_peer_that_missed_the_last_flight_gets_it_again_after_the_end() {
    let mut pair = Pair::new(90, 0);
    pair.run_until(|pair| matches!(pair.server.progress, Progress::Ended(_)));
    while pair.server.poll_transmit().is_some() {}
    assert!(matches!(pair.client.progress, Progress::Running), "it waits for what was lost");
    pair.run();
    let [client, server] = pair.keys();
    assert_eq!(client.send, server.receive);
}

#[test]
fn whatever_arrives_is_taken_without_panic() {
    let mut random = Random::seeded(95);
    let now = Instant::now();
    let peer = identity(96).fingerprint().clone();
    for role in [Setup::Active, Setup::Passive] {
        let mut end = Handshake::new(now, &identity(95), role, address(SERVER), vec![peer.clone()]);
        for length in 0..=300usize {
            for kind in [20, 21, 22, 23, 24, 63, random.next_u32() as u8] {
                let mut datagram: Vec<u8> = (0..length).map(|_| random.next_u32() as u8).collect();
                let header = [kind, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, length as u8, 0, (length % 250) as u8, 1];
                datagram.iter_mut().zip(header).for_each(|(slot, octet)| *slot = octet);
                end.handle(now, address(SERVER), &datagram);
                while end.poll_transmit().is_some() {}
            }
        }
        assert!(end.poll_outcome().is_none());
    }
}

use super::*;
use crate::base::Random;
use std::sync::Arc;

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
        for _ in 0..2_000 {
            if self.outcomes.iter().all(Option::is_some) {
                return;
            }
            self.step();
        }
        panic!("no end after 2,000 steps: {:?}", self.outcomes);
    }

    fn keys(&self) -> [SrtpKeys; 2] {
        self.outcomes.clone().map(|outcome| outcome.unwrap().unwrap().keys)
    }
}

fn identity(seed: u64) -> Identity {
    let config = Arc::new(identity::settings().dangerously_set_rng_seed(seed).build().unwrap());
    Identity { config, ..Identity::new(&mut Random::seeded(seed)).unwrap() }
}

#[test]
fn two_ends_agree_on_the_same_keys_crosswise() {
    let mut pair = Pair::new(1, 0);
    pair.run();
    let [client, server] = pair.keys();
    assert_eq!((&client.send, &client.receive), (&server.receive, &server.send));
    assert_ne!(client.send, client.receive);
    assert_eq!(client.send.suite(), Suite::AeadAes256Gcm, "the strongest both have");
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

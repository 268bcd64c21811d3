//! A network that loses, delays, reorders and repeats packets, the same way for the same seed: as a pure model in
//! virtual time, and as a relay between two RTP sockets on the loopback.
//!
//! The relay is placed by address: each end is told (in its SDP, or by `Leg::configure`) that the relay's socket on its
//! side is the other end, so whatever checks where packets come from sees one address only.
#![allow(dead_code, reason = "each test binary uses its part")]

use offhook::base::Random;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A packet that is overtaken comes this much later than its turn: after the next one or two of 20 ms.
const OVERTAKEN_US: (u64, u64) = (25_000, 45_000);
/// A repetition follows its packet within this.
const REPEATED_US: u64 = 30_000;

/// Which packets are lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// Each by itself with this probability.
    Random(f64),
    /// In bursts (Gilbert): of all packets `share` are lost, in runs of `burst` on average.
    Bursts { share: f64, burst: f64 },
}

/// What a network does to packets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// Which are lost.
    pub loss: Loss,
    /// Every packet takes this long, in milliseconds.
    pub delay_ms: u32,
    /// And up to this much longer, each by itself and evenly spread.
    pub jitter_ms: u32,
    /// Share of packets that are overtaken by the next.
    pub reordered: f64,
    /// Share of packets that come twice.
    pub repeated: f64,
}

impl Weather {
    /// Nothing is lost and everything takes 5 ms.
    pub const CALM: Self = Self { loss: Loss::Random(0.0), delay_ms: 5, jitter_ms: 0, reordered: 0.0, repeated: 0.0 };

    /// Calm but for random loss of so many percent.
    pub fn losing(percent: f64) -> Self {
        Self { loss: Loss::Random(percent / 100.0), ..Self::CALM }
    }

    /// Calm but for jitter.
    pub fn jittering(jitter_ms: u32) -> Self {
        Self { jitter_ms, ..Self::CALM }
    }
}

/// One direction of such a network, in virtual time.
#[derive(Debug)]
pub struct Network {
    weather: Weather,
    random: Random,
    in_burst: bool,
}

impl Network {
    /// The same seed does the same to the same packets.
    pub fn new(weather: Weather, seed: u64) -> Self {
        Self { weather, random: Random::seeded(seed), in_burst: false }
    }

    /// When a packet that is sent at `sent` arrives: never, once or twice. Takes the same number of random numbers
    /// whatever happens, so that changing one part of the weather leaves the others as they were.
    pub fn carry(&mut self, sent: Duration) -> impl Iterator<Item = Duration> + use<> {
        let draws: [f64; 6] = std::array::from_fn(|_| self.random.unit());
        let weather = self.weather;
        let lost = match weather.loss {
            Loss::Random(probability) => draws[0] < probability,
            Loss::Bursts { share, burst } => {
                let leave = 1.0 / burst;
                let enter = leave * share / (1.0 - share);
                self.in_burst = if self.in_burst { draws[0] >= leave } else { draws[0] < enter };
                self.in_burst
            }
        };
        let mut delay_us = f64::from(weather.delay_ms) * 1e3 + draws[1] * f64::from(weather.jitter_ms) * 1e3;
        if draws[2] < weather.reordered {
            let (least, most) = OVERTAKEN_US;
            delay_us += least as f64 + draws[3] * (most - least) as f64;
        }
        let first = sent + Duration::from_micros(delay_us as u64);
        let second = (draws[4] < weather.repeated)
            .then(|| first + Duration::from_micros((draws[5] * REPEATED_US as f64) as u64));
        [(!lost).then_some(first), second.filter(|_| !lost)].into_iter().flatten()
    }
}

/// Packets under way, out again in the order of their arrival; those that arrive together, as they were put in.
#[derive(Debug)]
pub struct Underway<T> {
    heap: BinaryHeap<Reverse<Travelling<T>>>,
    number: u64,
}

#[derive(Debug)]
struct Travelling<T> {
    at: Duration,
    number: u64,
    item: T,
}

impl<T> PartialEq for Travelling<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Travelling<T> {}

impl<T> PartialOrd for Travelling<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Travelling<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<T> Default for Underway<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), number: 0 }
    }
}

impl<T> Underway<T> {
    /// It arrives at `at`.
    pub fn put(&mut self, at: Duration, item: T) {
        self.heap.push(Reverse(Travelling { at, number: self.number, item }));
        self.number += 1;
    }

    /// The next that has arrived by `now`, and when it did.
    pub fn take(&mut self, now: Duration) -> Option<(Duration, T)> {
        self.heap.peek().filter(|Reverse(first)| first.at <= now)?;
        self.heap.pop().map(|Reverse(first)| (first.at, first.item))
    }

    /// When the next arrives.
    pub fn next_at(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse(first)| first.at)
    }
}

/// A relay between the two ends of each of its links, until it is dropped. Packets from anybody but the two ends are not
/// carried.
#[derive(Debug)]
pub struct Relay {
    near: Vec<SocketAddr>,
    far: Vec<SocketAddr>,
    ended: Arc<AtomicBool>,
    carried: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// What one link of a relay joins, and how it treats packets.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// The sockets of the two ends.
    pub ends: [SocketAddr; 2],
    /// Of both directions, each with its own luck.
    pub weather: Weather,
    /// Of that luck.
    pub seed: u64,
}

impl Relay {
    /// Opens two sockets for each link on `ip` and begins to carry. What the first end of a link sends to
    /// [`Self::for_first`] comes to the second from [`Self::for_second`], and the other way round.
    pub fn start(ip: IpAddr, links: &[Link]) -> Self {
        let open = || {
            let socket = UdpSocket::bind((ip, 0)).expect("a loopback port is free");
            socket.set_nonblocking(true).expect("a socket can be nonblocking");
            socket
        };
        let (ended, carried) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let routes: Vec<Route> = links
            .iter()
            .map(|link| Route {
                sockets: [open(), open()],
                ends: link.ends,
                networks: [Network::new(link.weather, link.seed), Network::new(link.weather, link.seed ^ 0x9E37_79B9)],
                underway: Underway::default(),
            })
            .collect();
        let addresses = |side: usize| {
            routes.iter().map(|route| route.sockets[side].local_addr().expect("it is bound")).collect::<Vec<_>>()
        };
        let (near, far) = (addresses(0), addresses(1));
        let mut run = Run { routes, started: Instant::now(), carried: Arc::clone(&carried) };
        let end = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                run.turn();
            }
        });
        Self { near, far, ended, carried, thread: Some(thread) }
    }

    /// Where the first end of a link sends to, and hears from.
    pub fn for_first(&self, link: usize) -> SocketAddr {
        self.near[link]
    }

    /// Where the second end of a link sends to, and hears from.
    pub fn for_second(&self, link: usize) -> SocketAddr {
        self.far[link]
    }

    /// Packets delivered so far, in both directions of all links.
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

struct Route {
    sockets: [UdpSocket; 2],
    ends: [SocketAddr; 2],
    networks: [Network; 2],
    underway: Underway<(usize, Vec<u8>)>,
}

struct Run {
    routes: Vec<Route>,
    started: Instant,
    carried: Arc<AtomicU64>,
}

impl Run {
    /// Takes what came, delivers what is due and waits a millisecond.
    fn turn(&mut self) {
        let mut buffer = [0; 2_048];
        for route in &mut self.routes {
            for side in [0, 1] {
                while let Ok((length, from)) = route.sockets[side].recv_from(&mut buffer) {
                    if from == route.ends[side] {
                        for at in route.networks[side].carry(self.started.elapsed()) {
                            route.underway.put(at, (1 - side, buffer[..length].to_vec()));
                        }
                    }
                }
            }
            while let Some((_, (side, packet))) = route.underway.take(self.started.elapsed()) {
                self.carried.fetch_add(1, Ordering::Relaxed);
                let _ = route.sockets[side].send_to(&packet, route.ends[side]);
            }
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

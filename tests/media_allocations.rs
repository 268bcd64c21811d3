//! The media thread allocates and frees nothing once a call runs, whatever the codec and with SRTP or without. Own binary,
//! because the allocator counts for the whole process.
#![allow(unsafe_code)]

use offhook::audio::g711::Law;
use offhook::base::{Random, SampleRate, TurnId};
use offhook::base::{SrtpKey, SrtpSuite};
use offhook::media::{Leg, LegEvent, LegMedia, LegMode, LegOptions, LegSecurity, MediaConfig, Workers};
use offhook::rtp::Header;
use offhook::sdp::Codec;
use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

struct Counting;

static ARMED: AtomicBool = AtomicBool::new(false);
/// Allocations and frees by thread, while armed.
static THREADS: [(AtomicI32, AtomicUsize); 64] = [const { (AtomicI32::new(0), AtomicUsize::new(0)) }; 64];

fn count() {
    if !ARMED.load(Ordering::Relaxed) {
        return;
    }
    // SAFETY: the call takes nothing and returns a plain integer.
    let thread = unsafe { libc::gettid() };
    let own = THREADS.iter().find(|(id, _)| {
        let taken = id.compare_exchange(0, thread, Ordering::Relaxed, Ordering::Relaxed);
        taken.is_ok() || taken == Err(thread)
    });
    if let Some((_, calls)) = own {
        calls.fetch_add(1, Ordering::Relaxed);
    }
}

/// Allocations and frees of the media threads; those of bells and calls do not count.
fn on_media_threads() -> usize {
    let name = |id| std::fs::read_to_string(format!("/proc/self/task/{id}/comm")).unwrap_or_default();
    let media = |id: i32| id != 0 && name(id).starts_with("media-") && !name(id).starts_with("media-bell");
    THREADS.iter().filter(|(id, _)| media(id.load(Ordering::Relaxed))).map(|(_, n)| n.load(Ordering::Relaxed)).sum()
}

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn media(remote: SocketAddr, codec: Codec) -> LegMedia {
    LegMedia { telephone_event: Some(101), ..LegMedia::bare(remote, codec) }
}

#[test]
fn a_running_call_allocates_nothing_on_the_media_thread() {
    let config = MediaConfig {
        bind_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        ports: 24_000..=24_099,
        workers: 1,
        ..MediaConfig::default()
    };
    let workers = Workers::start(config, Random::system()).unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_nonblocking(true).unwrap();
    let mut agent = workers.open(LegMode::Agent).unwrap();
    let mut echo = workers.open(LegMode::Echo).unwrap();
    agent.configure(media(peer.local_addr().unwrap(), Codec::Pcmu)).unwrap();
    echo.configure(media(peer.local_addr().unwrap(), Codec::Pcma)).unwrap();
    agent.downlink.push(TurnId(1), &[5_000; 4_000]);
    agent.downlink.end_of_turn(TurnId(1));
    agent.downlink.push(TurnId(2), &[5_000; 4_000]);
    let (mut near, mut far) = (workers.open(LegMode::Agent).unwrap(), workers.open(LegMode::Agent).unwrap());
    near.configure(media(peer.local_addr().unwrap(), Codec::Pcmu)).unwrap();
    far.configure(LegMedia { telephone_event: None, ..media(peer.local_addr().unwrap(), Codec::Pcma) }).unwrap();
    near.bridge(&mut far, true).unwrap();
    let music: std::sync::Arc<[i16]> = vec![700; 1_600].into();
    near.set_background(Some(std::sync::Arc::clone(&music))).unwrap();
    far.set_background(Some(music)).unwrap();

    let mut packet = [0x12; 172];
    let mut buffer = [0; 2_000];
    let (mut frames, mut digits, mut echoed, mut bridged) = (0, 0, 0, 0);
    let transcoded = Law::A.encode_sample(Law::Mu.decode_sample(0x12));
    for n in 0..120u16 {
        // The first steps are the call's start: threads, sockets and first packets, on a loaded machine later ones too.
        ARMED.store(n >= 20 && frames > 0 && echoed > 0 && bridged > 0, Ordering::Relaxed);
        // Every tenth packet is lost, every seventh comes a step late, some are digits.
        if n % 10 != 9 {
            let sequence = if n % 7 == 3 { n.wrapping_sub(1) } else { n };
            let header = Header { sequence, timestamp: u32::from(sequence) * 160, ssrc: 5, ..Header::default() };
            packet[..12].copy_from_slice(&header.to_octets());
            peer.send_to(&packet, agent.local_addr()).unwrap();
            peer.send_to(&packet, near.local_addr()).unwrap();
            packet[1] = Codec::Pcma.offered_payload_type();
            peer.send_to(&packet, echo.local_addr()).unwrap();
        }
        if n % 25 == 24 {
            let header =
                Header { payload_type: 101, sequence: n, timestamp: u32::from(n) * 160, ssrc: 5, marker: true };
            packet[..12].copy_from_slice(&header.to_octets());
            packet[12..16].copy_from_slice(&[7, 0x8A, 3, 32]);
            peer.send_to(&packet[..16], agent.local_addr()).unwrap();
            peer.send_to(&packet[..16], near.local_addr()).unwrap();
            packet[12..16].fill(0x12);
        }
        if n == 90 {
            near.unbridge().unwrap();
        }
        if n == 60 {
            near.set_background(None).unwrap();
            far.send_tone('5').unwrap();
            agent.downlink.flush_through(TurnId(2));
            agent.configure(media(peer.local_addr().unwrap(), Codec::Pcmu)).unwrap();
        }
        while agent.uplink.try_pop().is_some() {
            frames += 1;
        }
        while let Some(event) = agent.events.try_pop() {
            digits += u32::from(event == LegEvent::Digit('7'));
        }
        while let Ok(length) = peer.recv(&mut buffer) {
            echoed += u32::from(length == 172 && buffer[1] == 8 && buffer[100] == 0x12);
            bridged += u32::from(length == 172 && buffer[1] == 8 && buffer[100] == transcoded);
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    ARMED.store(false, Ordering::Relaxed);
    assert_eq!(on_media_threads(), 0, "allocations or frees while the call ran");
    let stats = agent.stats();
    assert!(frames > 60 && digits >= 2 && echoed > 30, "{frames} frames, {digits} digits, {echoed} echoed; {stats:?}");
    assert!(bridged > 20, "{bridged} frames came over the bridge; {:?}", near.stats());
    assert!(stats.concealed > Duration::ZERO && stats.sent > 60, "{stats:?}");
}

/// Two legs with a relay between them that loses and delays packets.
struct Pair {
    legs: [Leg; 2],
    media: [LegMedia; 2],
    /// The relay's sockets: towards the first leg, towards the second.
    sockets: [UdpSocket; 2],
    held: Option<(usize, Vec<u8>)>,
    passed: usize,
    codec: Codec,
    suite: Option<SrtpSuite>,
    heard: usize,
    digits: usize,
}

impl Pair {
    fn open(workers: &Workers, codec: Codec, suite: Option<SrtpSuite>) -> Self {
        let socket = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        let sockets = [socket(), socket()];
        let options = LegOptions { mode: LegMode::Agent, max_sample_rate: SampleRate(48_000) };
        let mut legs = [workers.open(options).unwrap(), workers.open(options).unwrap()];
        let security = |send: u8, receive: u8| {
            let Some(suite) = suite else { return LegSecurity::Plain };
            let key = |octet| SrtpKey::new(suite, &vec![octet; suite.key_length() + suite.salt_length()]).unwrap();
            LegSecurity::Srtp { send: key(send), receive: key(receive) }
        };
        let agreed = |socket: &UdpSocket, security| LegMedia {
            security,
            comfort_noise: Some(13),
            suppress_silence: codec == Codec::Pcma,
            ..media(socket.local_addr().unwrap(), codec)
        };
        let media = [agreed(&sockets[0], security(1, 2)), agreed(&sockets[1], security(2, 1))];
        for (leg, media) in legs.iter_mut().zip(&media) {
            leg.configure(media.clone()).unwrap();
        }
        Self { legs, media, sockets, held: None, passed: 0, codec, suite, heard: 0, digits: 0 }
    }

    /// Passes on what came: every eleventh packet is lost, every seventh comes after the next one.
    fn relay(&mut self) {
        let mut buffer = [0; 2_000];
        for from in [0, 1] {
            while let Ok(len) = self.sockets[from].recv(&mut buffer) {
                self.passed += 1;
                let send = |to: usize, octets: &[u8]| {
                    let _ = self.sockets[to].send_to(octets, self.legs[to].local_addr());
                };
                if self.passed.is_multiple_of(11) {
                    continue;
                }
                if self.passed.is_multiple_of(7) && self.held.is_none() {
                    self.held = Some((1 - from, buffer[..len].to_vec()));
                    continue;
                }
                send(1 - from, &buffer[..len]);
                if let Some((to, octets)) = self.held.take_if(|(to, _)| *to == 1 - from) {
                    send(to, &octets);
                }
            }
        }
    }

    fn step(&mut self, n: u32) {
        self.relay();
        let frame = vec![6_000; self.legs[0].sample_rate().samples_in_ms(20)];
        for (at, leg) in self.legs.iter_mut().enumerate() {
            // Turns with pauses between them, one of them flushed.
            if (n / 50).is_multiple_of(2) {
                leg.downlink.push(TurnId(n / 100 + 1), &frame);
            } else {
                leg.downlink.end_of_turn(TurnId(n / 100 + 1));
            }
            if n == 120 {
                leg.downlink.flush_through(TurnId(2));
                leg.send_digit('4').unwrap();
                leg.send_tone('5').unwrap();
                leg.configure(self.media[at].clone()).unwrap();
            }
            while leg.uplink.try_pop().is_some() {
                self.heard += 1;
            }
            while let Some(event) = leg.events.try_pop() {
                self.digits += usize::from(event == LegEvent::Digit('4'));
            }
        }
    }
}

#[test]
fn no_codec_allocates_or_frees_on_the_media_thread_in_clear_or_encrypted() {
    let config = MediaConfig {
        bind_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        ports: 24_100..=24_199,
        workers: 1,
        rtcp_interval: Duration::from_millis(500),
        ..MediaConfig::default()
    };
    let workers = Workers::start(config, Random::system()).unwrap();
    let suites = [None, Some(SrtpSuite::AesCm128HmacSha1Tag80), Some(SrtpSuite::AeadAes256Gcm)];
    let mut pairs: Vec<Pair> = Codec::ALL
        .into_iter()
        .flat_map(|codec| suites.map(|suite| (codec, suite)))
        .map(|(codec, suite)| Pair::open(&workers, codec, suite))
        .collect();
    let mut tap = None;
    for n in 0..200 {
        // The first steps are the calls' start, on a loaded machine later ones too.
        ARMED.store(n >= 30 && pairs.iter().all(|pair| pair.heard > 0), Ordering::Relaxed);
        for pair in &mut pairs {
            pair.step(n);
        }
        if n == 50 {
            tap = Some(pairs[0].legs[0].tap().unwrap());
        }
        if n == 150 {
            tap = None;
        }
        std::thread::park_timeout(Duration::from_millis(15));
    }
    ARMED.store(false, Ordering::Relaxed);
    assert!(tap.is_none());
    assert_eq!(on_media_threads(), 0, "allocations or frees while the calls ran");
    let counted: usize = THREADS.iter().map(|(_, calls)| calls.load(Ordering::Relaxed)).sum();
    assert!(counted > 100, "the allocator counts: this thread allocates all the time");
    for pair in &pairs {
        let stats = pair.legs[0].stats();
        let what = format!("{} {:?}: {stats:?}", pair.codec, pair.suite);
        assert!(pair.heard > 100 && pair.digits >= 1, "{} heard, {} digits; {what}", pair.heard, pair.digits);
        assert!(stats.concealed > Duration::ZERO && stats.srtp_failures == 0 && stats.send_errors == 0, "{what}");
    }
}

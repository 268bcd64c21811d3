//! SRTP allocates nothing per packet, and a million bad packets leave nothing behind (class of CVE-2021-41105: bad packets
//! that end calls; and of contexts that are kept for forged sources). Own binary, because
//! its allocator counts.
#![allow(unsafe_code)]

use offhook::base::Random;
use offhook::base::{SrtpKey, SrtpSuite};
use offhook::rtp::source_lock::{Admission, Refusal, SourceLock};
use offhook::rtp::srtp::{MAX_RTCP_OVERHEAD, MAX_RTP_OVERHEAD};
use offhook::rtp::{Header, SrtpReceiver, SrtpSender};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

struct Counting;

thread_local! {
    /// Allocations of this thread, and octets it holds: the test harness has threads of its own.
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        LIVE.set(LIVE.get() + layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size() as isize);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PAYLOAD: usize = 160;

fn write(room: &mut [u8], ssrc: u32, sequence: u16) -> usize {
    let header = Header { sequence, timestamp: u32::from(sequence) * 160, ssrc, ..Header::default() };
    room[..12].copy_from_slice(&header.to_octets());
    room[12..12 + PAYLOAD].fill(0x55);
    12 + PAYLOAD
}

#[test]
fn no_packet_is_worth_an_allocation() {
    for suite in SrtpSuite::ALL {
        let key = SrtpKey::random(suite, &mut Random::seeded(1));
        let (mut sender, mut receiver) = (SrtpSender::new(&key), SrtpReceiver::new(&key));
        let mut room = [0; 12 + PAYLOAD + MAX_RTP_OVERHEAD];
        let mut report = [0; 8 + MAX_RTCP_OVERHEAD];
        let before = CALLS.get();
        for sequence in 0..5_000 {
            let plain = write(&mut room, 7, sequence);
            let len = sender.protect(&mut room, plain).unwrap();
            receiver.check(&room[..len]).unwrap();
            assert_eq!(receiver.unprotect(&mut room[..len]), Ok(plain));
            assert!(receiver.check(&room[..len]).is_err());
            report[..8].copy_from_slice(&[0x80, 201, 0, 1, 0, 0, 0, 7]);
            let len = sender.protect_rtcp(&mut report, 8).unwrap();
            assert_eq!(receiver.unprotect_rtcp(&mut report[..len]), Ok(8));
        }
        assert_eq!(CALLS.get() - before, 0, "{suite}");
    }
}

#[test]
fn a_million_bad_packets_change_nothing() {
    let (peer, payload_types) = (SocketAddr::from(([203, 0, 113, 5], 4_000)), [0u8, 101]);
    let key = SrtpKey::random(SrtpSuite::AesCm128HmacSha1Tag80, &mut Random::seeded(2));
    let (mut sender, mut receiver) = (SrtpSender::new(&key), SrtpReceiver::new(&key));
    let start = Instant::now();
    let mut lock = SourceLock::new(start, peer, peer.ip());
    let mut room = [0; 12 + PAYLOAD + MAX_RTP_OVERHEAD];
    let mut hear = |lock: &mut SourceLock, receiver: &mut SrtpReceiver, n: u16| {
        let plain = write(&mut room, 7, n);
        let len = sender.protect(&mut room, plain).unwrap();
        let header = Header::read(&room).unwrap();
        let now = start + Duration::from_millis(20 * u64::from(n));
        lock.admit_with(now, peer, &header, &payload_types, |claim| receiver.open(claim, &mut room[..len]).is_ok())
    };
    for n in 0..10 {
        assert!(!matches!(hear(&mut lock, &mut receiver, n), Admission::Refused(_)));
    }
    let state = (format!("{lock:?}"), format!("{receiver:?}"));
    let (calls, live) = (CALLS.get(), LIVE.get());
    let mut random = Random::seeded(3);
    let mut refused = [0u32; 2];
    let now = start + Duration::from_millis(210);
    let mut forged = [0; 12 + PAYLOAD + 10];
    for n in 0..1_000_000u32 {
        // From the peer's own address: its source and next number, its source anywhere, random sources; some from elsewhere.
        let ssrc = if n % 3 == 2 { random.next_u32() } else { 7 };
        let sequence = if n % 3 == 0 { 10 } else { random.next_u32() as u16 };
        write(&mut forged, ssrc, sequence);
        forged[12] = n as u8;
        forged[172..180].copy_from_slice(&random.next_u64().to_be_bytes());
        let from = if n % 10 == 9 { SocketAddr::from(([66, 66, 66, 66], n as u16)) } else { peer };
        // A wave of short ones.
        let len = if n % 50 == 49 { 12 + random.below(12) as usize } else { forged.len() };
        let Ok(header) = Header::read(&forged) else { continue };
        let packet = &mut forged[..len];
        let verdict = lock.admit_with(now, from, &header, &payload_types, |claim| receiver.open(claim, packet).is_ok());
        match verdict {
            Admission::Refused(Refusal::Unauthentic) => refused[0] += 1,
            Admission::Refused(Refusal::Stranger) => refused[1] += 1,
            other => panic!("packet {n}: {other:?}"),
        }
    }
    assert_eq!((refused[0] + refused[1], refused[1]), (1_000_000, 100_000));
    assert_eq!(CALLS.get() - calls, 0, "allocations for bad packets");
    assert_eq!(LIVE.get() - live, 0, "octets left behind");
    assert_eq!((format!("{lock:?}"), format!("{receiver:?}")), state);
    for n in 11..20 {
        assert_eq!(hear(&mut lock, &mut receiver, n), Admission::Accepted, "the call goes on");
    }
}

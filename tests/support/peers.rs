//! RTP peers of legs on the loopback, told apart by what they send: the honest one of a call, and a stranger.
#![allow(dead_code, reason = "each test binary uses its own part")]

use offhook::base::Random;
use offhook::media::{Leg, LegEvent, LegMedia, MediaConfig, Workers};
use offhook::rtp::Header;
use offhook::sdp::Codec;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::time::Duration;

pub const HONEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);
pub const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
/// µ-law codes by which audio is told apart: the loudest for the stranger, a quiet one for the honest.
pub const STRANGE_AUDIO: u8 = 0x00;
pub const HONEST_AUDIO: u8 = 0xC0;

pub fn workers(ports: RangeInclusive<u16>, workers: usize) -> Workers {
    let config = MediaConfig { bind_ip: Ipv4Addr::UNSPECIFIED.into(), ports, workers, ..MediaConfig::default() };
    Workers::start(config, Random::system()).unwrap()
}

pub fn socket(ip: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// 20 ms of this µ-law code.
pub fn audio(sequence: u16, ssrc: u32, code: u8) -> Vec<u8> {
    let timestamp = u32::from(sequence) * 160;
    let mut packet = Header { marker: false, payload_type: 0, sequence, timestamp, ssrc }.to_octets().to_vec();
    packet.resize(172, code);
    packet
}

/// The end of a press of a key.
pub fn key_press(sequence: u16, ssrc: u32, event: u8) -> Vec<u8> {
    let timestamp = u32::from(sequence) * 160;
    let mut packet = Header { marker: true, payload_type: 101, sequence, timestamp, ssrc }.to_octets().to_vec();
    packet.extend([event, 0x8A, 3, 32]);
    packet
}

/// PCMU with keys, with a peer at `remote` whose signalling comes from `signalling_ip`.
pub fn media(remote: SocketAddr, signalling_ip: Ipv4Addr) -> LegMedia {
    let signalling_ip = IpAddr::V4(signalling_ip);
    LegMedia { signalling_ip, telephone_event: Some(101), ..LegMedia::bare(remote, Codec::Pcmu) }
}

/// One who sends RTP.
pub struct Source {
    pub socket: UdpSocket,
    pub sequence: u16,
    pub ssrc: u32,
    pub payload_type: u8,
    pub audio: u8,
    /// Packets that have come, where the test counts them.
    pub came: u64,
}

impl Source {
    pub fn new(ip: Ipv4Addr, ssrc: u32, audio: u8) -> Self {
        Self { socket: socket(ip), sequence: 1_000, ssrc, payload_type: 0, audio, came: 0 }
    }

    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// The next packet, in clear.
    pub fn packet(&mut self) -> Vec<u8> {
        let mut packet = audio(self.sequence, self.ssrc, self.audio);
        packet[1] = self.payload_type;
        self.sequence = self.sequence.wrapping_add(1);
        packet
    }

    pub fn send(&mut self, port: u16) {
        let packet = self.packet();
        let _ = self.socket.send_to(&packet, (Ipv4Addr::LOCALHOST, port));
    }

    pub fn send_digit(&mut self, port: u16, event: u8) {
        let packet = key_press(self.sequence, self.ssrc, event);
        self.sequence = self.sequence.wrapping_add(1);
        let _ = self.socket.send_to(&packet, (Ipv4Addr::LOCALHOST, port));
    }

    /// What has come.
    pub fn received(&self) -> Vec<Vec<u8>> {
        let mut buffer = [0; 2_000];
        std::iter::from_fn(|| self.socket.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec())).collect()
    }
}

/// What the call of a leg got to hear: loudest sample, and digits.
#[derive(Default, Debug)]
pub struct Heard {
    pub loudest: u16,
    pub frames: usize,
    pub digits: String,
}

impl Heard {
    pub fn listen(&mut self, leg: &mut Leg) {
        while let Some(frame) = leg.uplink.try_pop() {
            self.frames += 1;
            let loudest = frame.samples.samples().iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
            self.loudest = self.loudest.max(loudest);
        }
        while let Some(event) = leg.events.try_pop() {
            if let LegEvent::Digit(digit) = event {
                self.digits.push(digit);
            }
        }
    }
}

pub fn pause(ms: u64) {
    std::thread::park_timeout(Duration::from_millis(ms));
}

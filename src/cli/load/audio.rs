//! The thread that sends the audio of all calls and takes what comes back.
//!
//! One socket for all calls, or one for each where the far side tells calls apart by our address. The thread looks every
//! millisecond; when a packet came is known from the kernel, not from when it was read.

use super::figures::Sound;
use super::hearing::Hearing;
use super::limits::{PACKET, RECEIVE_BUFFER, SLICES};
use super::sounds::{Codec, Sounds, find_mark};
use crate::media::sys::{BATCH, Datagrams, enable_timestamps};
use crate::rtp::{Header, Packet};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Datagrams read from one socket at a time, so that a flood does not keep the others from being sent to.
const READS: usize = 512;

/// What the signalling tells the audio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// The call in this place is up: its audio goes there.
    Start(usize, SocketAddr),
    /// It is over.
    Stop(usize),
}

/// Stands for calls whose far side has one address for all of them: marks tell them apart.
const SHARED: usize = usize::MAX;

/// A call that sends.
struct Voice {
    hearing: Hearing,
    remote: SocketAddr,
    number: u32,
    ssrc: u32,
}

/// The thread's own things.
pub struct Audio {
    codec: Codec,
    sounds: Arc<Sounds>,
    sockets: Vec<UdpSocket>,
    places: Vec<Option<Voice>>,
    by_remote: HashMap<(usize, SocketAddr), usize>,
    started: u32,
    commands: Receiver<Command>,
    sound: Arc<Mutex<Sound>>,
    stop: Arc<AtomicBool>,
}

impl Audio {
    /// Opens the sockets: `sockets` of them for `calls` calls.
    ///
    /// # Errors
    /// The system's, when there are no more.
    pub fn open(
        ip: IpAddr,
        (calls, sockets): (usize, usize),
        codec: Codec,
        sounds: Arc<Sounds>,
        commands: Receiver<Command>,
        (sound, stop): (Arc<Mutex<Sound>>, Arc<AtomicBool>),
    ) -> io::Result<Self> {
        let sockets = (0..sockets.clamp(1, calls.max(1))).map(|_| open_socket(ip)).collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            codec,
            sounds,
            sockets,
            places: (0..calls).map(|_| None).collect(),
            by_remote: HashMap::new(),
            started: 0,
            commands,
            sound,
            stop,
        })
    }

    /// The address of each socket; call `n` has the one at `n` modulo their number.
    ///
    /// # Errors
    /// The system's.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.sockets.iter().map(UdpSocket::local_addr).collect()
    }

    /// Sends and receives until told to stop.
    pub fn run(mut self) {
        let mut datagrams = Datagrams::new();
        let mut packet = Vec::with_capacity(2_048);
        let mut slice = 0;
        let mut next = Instant::now();
        let shared = Arc::clone(&self.sound);
        while !self.stop.load(Relaxed) {
            if let Ok(mut sound) = shared.lock() {
                while let Ok(command) = self.commands.try_recv() {
                    self.obey(command);
                }
                self.receive(slice, &mut datagrams, &mut sound);
                for call in (slice as usize..self.places.len()).step_by(SLICES as usize) {
                    self.send(call, &mut packet, &mut sound);
                }
            }
            slice = (slice + 1) % SLICES;
            next += PACKET / SLICES;
            sleep_until(next);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Start(call, remote) => {
                let Ok(hearing) = Hearing::new(self.codec, &self.sounds, call) else { return };
                let socket = call % self.sockets.len();
                self.started += 1;
                self.by_remote.entry((socket, remote)).and_modify(|known| *known = SHARED).or_insert(call);
                if let Some(place) = self.places.get_mut(call) {
                    *place = Some(Voice { hearing, remote, number: 0, ssrc: self.started.wrapping_mul(0x9e37_79b1) });
                }
            }
            Command::Stop(call) => {
                if let Some(voice) = self.places.get_mut(call).and_then(Option::take) {
                    let key = (call % self.sockets.len(), voice.remote);
                    if self.by_remote.get(&key) == Some(&call) {
                        self.by_remote.remove(&key);
                    }
                }
            }
        }
    }

    fn send(&mut self, call: usize, packet: &mut Vec<u8>, sound: &mut Sound) {
        let Some(Some(voice)) = self.places.get_mut(call) else { return };
        let Some(socket) = self.sockets.get(call % self.sockets.len()) else { return };
        let number = voice.number;
        voice.number += 1;
        let header = Header {
            marker: number == 0,
            payload_type: self.codec.payload_type(),
            sequence: number as u16,
            timestamp: number.wrapping_mul(self.codec.ticks()),
            ssrc: voice.ssrc,
        };
        let speech = voice.hearing.sends(&self.sounds, number, now_us(), sound);
        packet.clear();
        packet.extend_from_slice(&header.to_octets());
        self.sounds.write(call, number, speech, packet);
        match socket.send_to(packet, voice.remote) {
            Ok(_) => sound.sent += 1,
            Err(_) => sound.unsent += 1,
        }
    }

    /// Empties the sockets: each in every slice while they are few, else each once in 20 ms.
    fn receive(&mut self, slice: u32, datagrams: &mut Datagrams, sound: &mut Sound) {
        let (first, step) =
            if self.sockets.len() > SLICES as usize { (slice as usize, SLICES as usize) } else { (0, 1) };
        for (index, socket) in self.sockets.iter().enumerate().skip(first).step_by(step) {
            for _ in 0..READS / BATCH {
                let count = datagrams.receive(socket);
                for (octets, from, at) in datagrams.iter() {
                    let parsed = octets.map(Packet::parse);
                    let Some(Ok(packet)) = parsed else {
                        // RTCP is welcome, and nothing that we measure.
                        let is_rtcp = matches!(parsed, Some(Err(crate::rtp::packet::PacketError::Rtcp)));
                        sound.strays += u64::from(!is_rtcp);
                        continue;
                    };
                    let call = self.by_remote.get(&(index, from)).copied().filter(|call| *call != SHARED);
                    // A far side that sends from elsewhere than it said is known by our marks.
                    let call = call.or_else(|| find_mark(packet.payload).map(|mark| mark.call));
                    let voice = call.and_then(|call| self.places.get_mut(call)).and_then(Option::as_mut);
                    match voice {
                        Some(voice) => voice.hearing.hears(&packet, at.map_or_else(now_us, micros), sound),
                        None => sound.strays += 1,
                    }
                }
                if count < BATCH {
                    break;
                }
            }
        }
    }
}

fn open_socket(ip: IpAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((ip, 0))?;
    enable_timestamps(&socket)?;
    // The kernel gives as much of it as it allows.
    socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER)?;
    Ok(socket)
}

fn micros(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64)
}

/// The kernel's timestamps are of the real-time clock, so that is the one to compare with. Nobody sets it meanwhile.
fn now_us() -> u64 {
    micros(SystemTime::now())
}

#[expect(clippy::disallowed_methods, reason = "the generator paces real packets")]
pub(super) fn sleep_until(time: Instant) {
    let left = time.saturating_duration_since(Instant::now());
    if left > Duration::ZERO {
        thread::sleep(left);
    }
}

//! The least that a bridge can cost: RTP µ-law to 16 kHz PCM on a WebSocket and back, with energy voice activity, on one
//! thread with a wheel. No jitter buffer, no concealment, no source lock.

use super::answerer::{Media, serve};
use super::designs::sleep_until;
use offhook::audio::frame::level_dbfs;
use offhook::audio::g711::Law;
use offhook::media::sys::{Datagrams, enable_timestamps};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const SLOTS: usize = 10;
const SLOT: Duration = Duration::from_millis(2);
/// Octets of 20 ms of 16 kHz PCM.
const FRAME: usize = 640;
/// A WebSocket header of the client for such a frame: binary, masked with zeros, 16 bits of length.
const HEADER: [u8; 8] = [0x82, 0xfe, (FRAME >> 8) as u8, (FRAME & 0xff) as u8, 0, 0, 0, 0];
/// Octets of the header of a frame that comes back, which is not masked.
const HEADER_BACK: usize = 4;

/// Answers calls at `ip` and bridges each to the WebSocket at `bot`, until the process ends.
pub fn run(ip: IpAddr, bot: SocketAddr) -> io::Result<()> {
    let (calls, orders) = channel();
    std::thread::spawn(move || wheel(&orders));
    serve(ip, Bridge { ip, bot, calls })
}

enum Order {
    Start(Box<Call>),
    Stop(u16),
}

struct Bridge {
    ip: IpAddr,
    bot: SocketAddr,
    calls: Sender<Order>,
}

impl Media for Bridge {
    fn open(&mut self, remote: SocketAddr) -> io::Result<u16> {
        let rtp = UdpSocket::bind((self.ip, 0))?;
        enable_timestamps(&rtp)?;
        let port = rtp.local_addr()?.port();
        let mut bot = TcpStream::connect(self.bot)?;
        bot.set_nodelay(true)?;
        bot.write_all(
            b"GET / HTTP/1.1\r\nHost: bot\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )?;
        let (mut answer, mut octet) = (Vec::new(), [0]);
        while !answer.ends_with(b"\r\n\r\n") {
            bot.read_exact(&mut octet)?;
            answer.push(octet[0]);
        }
        bot.set_nonblocking(true)?;
        let call = Call { port, rtp, remote, bot, back: Vec::with_capacity(4_096), last: 0, sequence: 0, voiced: 0 };
        self.calls.send(Order::Start(Box::new(call))).map_err(io::Error::other)?;
        Ok(port)
    }

    fn close(&mut self, port: u16) {
        let _ = self.calls.send(Order::Stop(port));
    }
}

struct Call {
    port: u16,
    rtp: UdpSocket,
    remote: SocketAddr,
    bot: TcpStream,
    /// What came from the bot and is not whole yet.
    back: Vec<u8>,
    /// The last sample sent to the bot.
    last: i16,
    sequence: u16,
    voiced: u64,
}

impl Call {
    fn turn(&mut self, datagrams: &mut Datagrams) {
        datagrams.receive(&self.rtp);
        for (octets, from, _) in datagrams.iter() {
            let Some(codes) = octets.filter(|_| from == self.remote).and_then(|o| o.get(12..172)) else { continue };
            let mut samples = [0i16; 160];
            Law::Mu.decode(codes, &mut samples);
            self.voiced += u64::from(level_dbfs(&samples) > -45.0);
            let mut frame = [0; HEADER.len() + FRAME];
            frame[..HEADER.len()].copy_from_slice(&HEADER);
            for (pair, sample) in frame[HEADER.len()..].chunks_exact_mut(4).zip(samples) {
                let between = ((i32::from(self.last) + i32::from(sample)) / 2) as i16;
                pair[..2].copy_from_slice(&between.to_le_bytes());
                pair[2..].copy_from_slice(&sample.to_le_bytes());
                self.last = sample;
            }
            let _ = self.bot.write(&frame);
        }
        let mut some = [0; 4_096];
        if let Ok(length) = self.bot.read(&mut some) {
            self.back.extend_from_slice(&some[..length]);
        }
        if self.back.len() >= HEADER_BACK + FRAME {
            let mut packet = [0; 172];
            self.sequence = self.sequence.wrapping_add(1);
            packet[0] = 0x80;
            packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
            packet[4..8].copy_from_slice(&(u32::from(self.sequence) * 160).to_be_bytes());
            packet[8..12].copy_from_slice(&[1, 2, 3, 4]);
            let mut samples = [0i16; 160];
            for (sample, pair) in samples.iter_mut().zip(self.back[HEADER_BACK..HEADER_BACK + FRAME].chunks_exact(4)) {
                let (a, b) = (i16::from_le_bytes([pair[0], pair[1]]), i16::from_le_bytes([pair[2], pair[3]]));
                *sample = ((i32::from(a) + i32::from(b)) / 2) as i16;
            }
            Law::Mu.encode(&samples, &mut packet[12..]);
            self.back.drain(..HEADER_BACK + FRAME);
            let _ = self.rtp.send_to(&packet, self.remote);
        }
    }
}

fn wheel(orders: &Receiver<Order>) {
    let mut slots: Vec<Vec<Box<Call>>> = (0..SLOTS).map(|_| Vec::new()).collect();
    let mut datagrams = Datagrams::new();
    let (mut slot, mut started) = (0, 0);
    let mut next = Instant::now();
    loop {
        while let Ok(order) = orders.try_recv() {
            match order {
                Order::Start(call) => {
                    slots[started % SLOTS].push(call);
                    started += 1;
                }
                Order::Stop(port) => slots.iter_mut().for_each(|calls| calls.retain(|call| call.port != port)),
            }
        }
        for call in &mut slots[slot] {
            call.turn(&mut datagrams);
        }
        slot = (slot + 1) % SLOTS;
        next += SLOT;
        sleep_until(next);
    }
}

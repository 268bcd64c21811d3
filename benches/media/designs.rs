//! Ways to move RTP, each as bare as it can be: an echo on one thread. What they cost is a bound for the media workers.

use super::answerer::{Media, serve};
use super::sys::{BATCH, Batch, Ring};
use offhook::media::sys::{Datagrams, enable_timestamps};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Slots of the wheel, as the media workers have them.
const SLOTS: usize = 10;
/// Time of a slot.
const SLOT: Duration = Duration::from_millis(2);

/// The designs by name, and what they are.
pub const DESIGNS: [(&str, &str); 5] = [
    ("wheel", "wheel, recvmmsg and sendto on each socket"),
    ("wheel-connected", "the same on connected sockets"),
    ("wheel-recv", "wheel, one recv on each connected socket"),
    ("shared-port", "one port for all, recvmmsg and sendmmsg ×64"),
    ("io-uring", "io_uring, connected sockets, two system calls per 2 ms"),
];

/// Runs the design as an echo that answers calls at `ip`, until the process ends.
pub fn run(design: &str, ip: IpAddr) -> io::Result<()> {
    if design == "shared-port" {
        let (calls, orders) = channel();
        let socket = UdpSocket::bind((ip, 0))?;
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20);
        let port = socket.local_addr()?.port();
        std::thread::spawn(move || shared_port(&socket, &orders));
        return serve(ip, OnePort { port, calls });
    }
    let (calls, orders) = channel();
    match design {
        "io-uring" => {
            let ring = Ring::open()?;
            drop(ring);
            std::thread::spawn(move || io_uring(&orders));
        }
        "wheel" => drop(std::thread::spawn(move || wheel(&orders, Read::Batches, false))),
        "wheel-connected" => drop(std::thread::spawn(move || wheel(&orders, Read::Batches, true))),
        "wheel-recv" => drop(std::thread::spawn(move || wheel(&orders, Read::Single, true))),
        _ => return Err(io::Error::other(format!("no design named {design}"))),
    }
    let is_connected = design != "wheel";
    serve(ip, OwnPorts { ip, is_connected, calls })
}

enum Order {
    Start(UdpSocket, SocketAddr),
    Stop(u16),
}

/// A socket for each call.
struct OwnPorts {
    ip: IpAddr,
    is_connected: bool,
    calls: Sender<Order>,
}

impl Media for OwnPorts {
    fn open(&mut self, remote: SocketAddr) -> io::Result<u16> {
        let socket = UdpSocket::bind((self.ip, 0))?;
        socket.set_nonblocking(true)?;
        enable_timestamps(&socket)?;
        if self.is_connected {
            socket.connect(remote)?;
        }
        let port = socket.local_addr()?.port();
        self.calls.send(Order::Start(socket, remote)).map_err(io::Error::other)?;
        Ok(port)
    }

    fn close(&mut self, port: u16) {
        let _ = self.calls.send(Order::Stop(port));
    }
}

/// One socket for all; calls are known by the far side's address.
struct OnePort {
    port: u16,
    calls: Sender<SocketAddr>,
}

impl Media for OnePort {
    fn open(&mut self, remote: SocketAddr) -> io::Result<u16> {
        self.calls.send(remote).map_err(io::Error::other)?;
        Ok(self.port)
    }

    fn close(&mut self, _: u16) {}
}

#[derive(Clone, Copy, PartialEq)]
enum Read {
    Batches,
    Single,
}

struct Call {
    socket: UdpSocket,
    remote: SocketAddr,
    sequence: u16,
}

/// What each design does to a packet before it goes back: a header of its own.
fn own_header(packet: &mut [u8], sequence: &mut u16) {
    *sequence = sequence.wrapping_add(1);
    if let Some(header) = packet.get_mut(2..4) {
        header.copy_from_slice(&sequence.to_be_bytes());
    }
    if let Some(ssrc) = packet.get_mut(8..12) {
        ssrc.copy_from_slice(&[1, 2, 3, 4]);
    }
}

fn wheel(orders: &Receiver<Order>, read: Read, is_connected: bool) {
    let mut slots: Vec<Vec<Call>> = (0..SLOTS).map(|_| Vec::new()).collect();
    let mut datagrams = Datagrams::new();
    let mut packet = [0; 1_024];
    let (mut slot, mut started) = (0, 0);
    let mut next = Instant::now();
    loop {
        while let Ok(order) = orders.try_recv() {
            match order {
                Order::Start(socket, remote) => {
                    slots[started % SLOTS].push(Call { socket, remote, sequence: 0 });
                    started += 1;
                }
                Order::Stop(port) => {
                    let is_it = |call: &Call| call.socket.local_addr().is_ok_and(|address| address.port() == port);
                    slots.iter_mut().for_each(|calls| calls.retain(|call| !is_it(call)));
                }
            }
        }
        for call in &mut slots[slot] {
            match read {
                Read::Single => {
                    if let Ok(length) = call.socket.recv(&mut packet) {
                        own_header(&mut packet[..length], &mut call.sequence);
                        let _ = call.socket.send(&packet[..length]);
                    }
                }
                Read::Batches => {
                    datagrams.receive(&call.socket);
                    for (octets, from, _) in datagrams.iter() {
                        let Some(octets) = octets.filter(|_| from == call.remote) else { continue };
                        packet[..octets.len()].copy_from_slice(octets);
                        let packet = &mut packet[..octets.len()];
                        own_header(packet, &mut call.sequence);
                        let _ = if is_connected { call.socket.send(packet) } else { call.socket.send_to(packet, from) };
                    }
                }
            }
        }
        slot = (slot + 1) % SLOTS;
        next += SLOT;
        sleep_until(next);
    }
}

fn shared_port(socket: &UdpSocket, calls: &Receiver<SocketAddr>) {
    let mut known: HashMap<SocketAddr, u16> = HashMap::new();
    let mut batch = Batch::new();
    let mut next = Instant::now();
    loop {
        known.extend(calls.try_iter().map(|remote| (remote, 0)));
        loop {
            let count = batch.receive(socket);
            for n in 0..count {
                let (packet, from) = batch.datagram(n);
                if let Some(sequence) = known.get_mut(&SocketAddr::V4(from)) {
                    own_header(packet, sequence);
                }
            }
            batch.send(socket, count);
            if count < BATCH {
                break;
            }
        }
        next += SLOT;
        sleep_until(next);
    }
}

fn io_uring(orders: &Receiver<Order>) {
    // A ring belongs to the thread that uses it.
    let mut ring = Ring::open().expect("it could be opened before");
    let mut sockets: Vec<Option<UdpSocket>> = Vec::new();
    let mut sequences: Vec<u16> = Vec::new();
    let mut by_port = HashMap::new();
    let mut next = Instant::now();
    loop {
        while let Ok(order) = orders.try_recv() {
            match order {
                Order::Start(socket, _) => {
                    ring.listen(&socket, sockets.len() as u64);
                    by_port.insert(socket.local_addr().map_or(0, |address| address.port()), sockets.len());
                    sockets.push(Some(socket));
                    sequences.push(0);
                }
                Order::Stop(port) => {
                    if let Some(call) = by_port.remove(&port) {
                        ring.forget(call as u64);
                        sockets[call] = None;
                    }
                }
            }
        }
        ring.turn(&sockets, |call, packet| own_header(packet, &mut sequences[call]));
        next += SLOT;
        sleep_until(next);
    }
}

#[expect(clippy::disallowed_methods, reason = "a prototype of a media worker sleeps until its slot")]
pub fn sleep_until(time: Instant) {
    std::thread::sleep(time.saturating_duration_since(Instant::now()));
}

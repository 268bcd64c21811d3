//! A load generator on plain UDP sockets: INVITE, G.711 both ways, BYE, and what came back when.
//!
//! Every packet carries its call and number in the payload, as µ-law codes, so that an echo is recognised even
//! when the server gives it another sequence number. One socket carries the audio of all calls: the server
//! sees one port of ours, we tell the calls apart by its ports.

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

/// Time between two packets of a call.
const PACKET: Duration = Duration::from_millis(20);
/// Samples, and with G.711 bytes, of a packet.
const PAYLOAD: usize = 160;
/// Begins the mark in a payload; followed by six digits for the call and the packet.
const MARK: [u8; 4] = [0x91, 0xa2, 0x8c, 0xb3];
/// Packets of one call whose time of sending is remembered.
const REMEMBERED: usize = 256;
/// How long an INVITE or BYE may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// SIP's first retransmission interval (RFC 3261 §17.1.1.1).
const T1: Duration = Duration::from_millis(500);

/// What to generate.
#[derive(Clone)]
pub struct Load {
    /// Our address; SIP on port 5060 of it.
    pub ip: IpAddr,
    /// The server's SIP address.
    pub server: SocketAddr,
    /// The number to call.
    pub number: String,
    /// Calls at the same time.
    pub calls: usize,
    /// New calls each second.
    pub rate: u32,
}

/// What was seen of the calls while all of them were up.
pub struct Seen {
    /// Audio there and back, in microseconds.
    pub round_trip_us: Histogram<u64>,
    /// Distance of the gap between two packets of a call from 20 ms, in microseconds.
    pub pacing_us: Histogram<u64>,
    /// Packets that we sent.
    pub sent: u64,
    /// Packets that came back.
    pub received: u64,
}

impl Seen {
    fn new() -> Self {
        Self { round_trip_us: microseconds(), pacing_us: microseconds(), sent: 0, received: 0 }
    }
}

fn microseconds() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are in order")
}

/// One call's state on our side.
struct Call {
    id: String,
    invited: Instant,
    /// The server's audio port, once it answered.
    audio: Option<SocketAddr>,
    /// The To header with the server's tag.
    to: String,
    contact: String,
    closed: bool,
    failed: Option<String>,
}

/// Calls that are up, with audio running.
pub struct Calls {
    load: Load,
    sip: UdpSocket,
    calls: Arc<Mutex<Vec<Call>>>,
    audio: Arc<Audio>,
    threads: Vec<thread::JoinHandle<()>>,
}

struct Audio {
    socket: UdpSocket,
    start: Instant,
    stop: AtomicBool,
    measuring: AtomicBool,
    sent: AtomicU64,
    /// When packet `n` of call `c` left, in microseconds after `start`: at `c * REMEMBERED + n % REMEMBERED`.
    times: Vec<AtomicU64>,
    setup_us: Mutex<Histogram<u64>>,
    seen: Mutex<Seen>,
}

impl Calls {
    /// Places the calls at the load's rate; all are up, with audio, when this returns.
    ///
    /// # Errors
    /// The socket's error, or what the server answered instead of 200.
    pub fn place(load: Load) -> io::Result<Self> {
        let sip = UdpSocket::bind((load.ip, 5060))?;
        sip.set_read_timeout(Some(Duration::from_millis(50)))?;
        let socket = UdpSocket::bind((load.ip, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20)?;
        let audio = Arc::new(Audio {
            socket,
            start: Instant::now(),
            stop: AtomicBool::new(false),
            measuring: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            times: (0..load.calls * REMEMBERED).map(|_| AtomicU64::new(0)).collect(),
            setup_us: Mutex::new(microseconds()),
            seen: Mutex::new(Seen::new()),
        });
        let mut this =
            Self { load, sip, calls: Arc::new(Mutex::new(Vec::new())), audio: audio.clone(), threads: Vec::new() };

        let listener = this.listener()?;
        this.threads.push(thread::spawn(listener));
        let receiving = audio.clone();
        this.threads.push(thread::spawn(move || receiving.receive()));
        let (sending, calls) = (audio, this.calls.clone());
        this.threads.push(thread::spawn(move || sending.send(&calls)));

        let gap = Duration::from_secs(1) / this.load.rate;
        let first = Instant::now();
        for index in 0..this.load.calls {
            sleep_until(first + gap * index as u32);
            this.invite(index)?;
        }
        this.wait("answered", |call| call.audio.is_some() || call.failed.is_some())?;
        let refused = this.calls.lock().expect("no thread panicked").iter().find_map(|call| call.failed.clone());
        match refused {
            Some(status) => Err(io::Error::other(format!("a call was refused: {status}"))),
            None => Ok(this),
        }
    }

    /// Watches the calls for `time`.
    pub fn watch(&self, time: Duration) -> Seen {
        *self.audio.seen.lock().expect("no thread panicked") = Seen::new();
        let before = self.audio.sent.load(Relaxed);
        self.audio.measuring.store(true, Relaxed);
        sleep_until(Instant::now() + time);
        self.audio.measuring.store(false, Relaxed);
        let sent = self.audio.sent.load(Relaxed) - before;
        let mut seen = std::mem::replace(&mut *self.audio.seen.lock().expect("no thread panicked"), Seen::new());
        seen.sent = sent;
        seen
    }

    /// INVITE to 200 of each call, in microseconds.
    pub fn setup_us(&self) -> Histogram<u64> {
        self.audio.setup_us.lock().expect("no thread panicked").clone()
    }

    /// Hangs up.
    ///
    /// # Errors
    /// A call's BYE had no answer.
    pub fn hang_up(mut self) -> io::Result<()> {
        for index in 0..self.load.calls {
            let message = self.request("BYE", index, 2, "");
            self.sip.send_to(message.as_bytes(), self.load.server)?;
            sleep_until(Instant::now() + Duration::from_millis(2));
        }
        let done = self.wait("hung up", |call| call.closed);
        self.audio.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        done
    }

    /// Waits for every call; sends the request of a call that is late again.
    fn wait(&self, what: &str, reached: impl Fn(&Call) -> bool) -> io::Result<()> {
        let start = Instant::now();
        let mut resend = start + T1;
        loop {
            let late: Vec<usize> = {
                let calls = self.calls.lock().expect("no thread panicked");
                calls.iter().enumerate().filter(|(_, call)| !reached(call)).map(|(index, _)| index).collect()
            };
            if late.is_empty() {
                return Ok(());
            }
            if start.elapsed() > ANSWER_LIMIT {
                return Err(io::Error::new(ErrorKind::TimedOut, format!("{} calls were not {what}", late.len())));
            }
            if Instant::now() > resend {
                resend += T1;
                for index in late {
                    let message =
                        if what == "answered" { self.invitation(index) } else { self.request("BYE", index, 2, "") };
                    self.sip.send_to(message.as_bytes(), self.load.server)?;
                }
            }
            sleep_until(Instant::now() + Duration::from_millis(5));
        }
    }

    fn invite(&self, index: usize) -> io::Result<()> {
        let id = format!("{}-{index}-{:08x}", std::process::id(), self.audio.start.elapsed().as_nanos() as u32);
        let target = format!("sip:{}@{}", self.load.number, self.load.server);
        self.calls.lock().expect("no thread panicked").push(Call {
            id,
            invited: Instant::now(),
            audio: None,
            to: format!("<{target}>"),
            contact: target,
            closed: false,
            failed: None,
        });
        self.sip.send_to(self.invitation(index).as_bytes(), self.load.server)?;
        Ok(())
    }

    fn invitation(&self, index: usize) -> String {
        let port = self.audio.socket.local_addr().map_or(0, |address| address.port());
        let ip = self.load.ip;
        let sdp = format!(
            "v=0\r\no=- {index} 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
             a=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n"
        );
        self.request("INVITE", index, 1, &sdp)
    }

    fn request(&self, method: &str, index: usize, cseq: u32, body: &str) -> String {
        let calls = self.calls.lock().expect("no thread panicked");
        request(&self.load, &calls[index], method, cseq, body)
    }

    /// Reads responses: answers 200 with ACK and notes what it says; answers requests with 200.
    fn listener(&self) -> io::Result<impl FnOnce() + Send + use<>> {
        let socket = self.sip.try_clone()?;
        let (calls, audio) = (self.calls.clone(), self.audio.clone());
        let load = self.load.clone();
        Ok(move || {
            let mut buffer = [0; 4096];
            while !audio.stop.load(Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                let now = Instant::now();
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if !text.starts_with("SIP/2.0 ") {
                    let _ = socket.send_to(accept(&text).as_bytes(), from);
                    continue;
                }
                let status: u16 = text.get(8..11).and_then(|s| s.parse().ok()).unwrap_or(0);
                let mut calls = calls.lock().expect("no thread panicked");
                let id = header(&text, "Call-ID");
                let Some(call) = calls.iter_mut().find(|call| call.id == id) else { continue };
                match (status, header(&text, "CSeq").ends_with("INVITE")) {
                    (200, true) => {
                        if call.audio.is_none() {
                            let took = now.duration_since(call.invited).as_micros() as u64;
                            let _ = audio.setup_us.lock().expect("no thread panicked").record(took.max(1));
                            call.to = header(&text, "To").to_owned();
                            let contact = header(&text, "Contact");
                            call.contact = contact.split(['<', '>']).nth(1).unwrap_or(contact).to_owned();
                            call.audio = audio_address(&text);
                        }
                        let _ = socket.send_to(request(&load, call, "ACK", 1, "").as_bytes(), load.server);
                    }
                    (300.., true) => {
                        call.failed = Some(text.lines().next().unwrap_or_default().to_owned());
                        let _ = socket.send_to(request(&load, call, "ACK", 1, "").as_bytes(), load.server);
                    }
                    (200.., false) => call.closed = true,
                    _ => {}
                }
            }
        })
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.audio.stop.store(true, Relaxed);
    }
}

impl Audio {
    /// Sends a packet for each call every 20 ms, the calls spread over that time.
    fn send(&self, calls: &Mutex<Vec<Call>>) {
        let mut packet = [0xff_u8; 12 + PAYLOAD];
        packet[0] = 0x80;
        packet[1] = 0;
        let slices = 20;
        let (mut slice, mut round) = (0_u32, 0_u32);
        let mut next = Instant::now();
        let mut targets: Vec<Option<SocketAddr>> = Vec::new();
        while !self.stop.load(Relaxed) {
            if slice == 0 {
                targets =
                    calls.lock().expect("no thread panicked").iter().map(|c| c.audio.filter(|_| !c.closed)).collect();
            }
            for (index, target) in targets.iter().enumerate().skip(slice as usize).step_by(slices as usize) {
                let Some(target) = target else { continue };
                packet[2..4].copy_from_slice(&(round as u16).to_be_bytes());
                packet[4..8].copy_from_slice(&round.wrapping_mul(PAYLOAD as u32).to_be_bytes());
                packet[8..12].copy_from_slice(&(index as u32 + 1).to_be_bytes());
                mark(&mut packet[12..], index, round);
                let now = self.start.elapsed().as_micros() as u64;
                self.times[index * REMEMBERED + round as usize % REMEMBERED].store(now, Relaxed);
                if self.socket.send_to(&packet, target).is_ok() {
                    self.sent.fetch_add(1, Relaxed);
                }
            }
            slice += 1;
            if slice == slices {
                slice = 0;
                round += 1;
            }
            next += PACKET / slices;
            sleep_until(next);
        }
    }

    fn receive(&self) {
        let mut buffer = [0; 2048];
        let mut last: HashMap<SocketAddr, Instant> = HashMap::new();
        while !self.stop.load(Relaxed) {
            let Ok((length, from)) = self.socket.recv_from(&mut buffer) else { continue };
            let now = Instant::now();
            let gap = last.insert(from, now).map(|before| now.duration_since(before));
            if !self.measuring.load(Relaxed) {
                continue;
            }
            let mut seen = self.seen.lock().expect("no thread panicked");
            seen.received += 1;
            if let Some(gap) = gap {
                let _ = seen.pacing_us.record((gap.abs_diff(PACKET).as_micros() as u64).max(1));
            }
            if let Some((index, number)) = find_mark(buffer.get(12..length).unwrap_or_default()) {
                let Some(time) = self.times.get(index * REMEMBERED + number % REMEMBERED) else { continue };
                let took = (self.start.elapsed().as_micros() as u64).saturating_sub(time.load(Relaxed));
                let _ = seen.round_trip_us.record(took.max(1));
            }
        }
    }
}

/// Writes the mark: call and packet number as digits of six bits. All codes survive a decoder and an encoder.
fn mark(payload: &mut [u8], call: usize, number: u32) {
    payload[..4].copy_from_slice(&MARK);
    let value = ((call as u64) << 18) | u64::from(number & 0x3_ffff);
    for (digit, byte) in payload[4..10].iter_mut().enumerate() {
        *byte = 0x80 | ((value >> (6 * digit)) & 0x3f) as u8;
    }
}

fn find_mark(payload: &[u8]) -> Option<(usize, usize)> {
    let at = payload.windows(MARK.len()).position(|window| window == MARK)?;
    let digits = payload.get(at + 4..at + 10)?;
    let value = digits.iter().rev().fold(0_u64, |value, byte| value << 6 | u64::from(byte & 0x3f));
    Some(((value >> 18) as usize, (value & 0x3_ffff) as usize))
}

fn request(load: &Load, call: &Call, method: &str, cseq: u32, body: &str) -> String {
    let Load { ip, .. } = load;
    let uri = &call.contact;
    let branch = if method == "ACK" && call.failed.is_some() { "INVITE" } else { method };
    let id = &call.id;
    let to = &call.to;
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {ip}:5060;branch=z9hG4bK{branch}{id}\r\nMax-Forwards: 70\r\n\
         From: <sip:load@{ip}:5060>;tag={id}\r\nTo: {to}\r\nCall-ID: {id}\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:load@{ip}:5060>\r\n{}Content-Length: {}\r\n\r\n{body}",
        if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" },
        body.len()
    )
}

/// A 200 to a request of the server (OPTIONS, BYE).
fn accept(text: &str) -> String {
    let mut out = "SIP/2.0 200 OK\r\n".to_owned();
    for line in text.lines().take_while(|line| !line.is_empty()) {
        if ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)) {
            out += line;
            out += "\r\n";
        }
    }
    out + "Content-Length: 0\r\n\r\n"
}

fn header<'t>(text: &'t str, name: &str) -> &'t str {
    text.lines()
        .find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
        .unwrap_or_default()
}

fn audio_address(text: &str) -> Option<SocketAddr> {
    let ip = text.lines().find_map(|line| line.strip_prefix("c=IN IP4 "))?.trim().parse().ok()?;
    let port = text.lines().find_map(|line| line.strip_prefix("m=audio "))?.split(' ').next()?.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}

#[expect(clippy::disallowed_methods, reason = "the generator paces real packets")]
fn sleep_until(time: Instant) {
    thread::sleep(time.saturating_duration_since(Instant::now()));
}

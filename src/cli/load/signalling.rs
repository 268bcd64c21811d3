//! The thread that places the calls, keeps their number, and hangs them up.

use super::audio::Command;
use super::dialog::{Dialog, Identity, Outcome};
use super::figures::{Failure, Signalling};
use super::limits::{GOODBYE, HANG_UP_GAP, SIP_DATAGRAM};
use super::pace::Pace;
use crate::base::Random;
use crate::sip::message::is_keep_alive;
use crate::sip::{Message, Method, Response, StatusCode};
use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longest sleep: retransmissions, the length of calls and the end of the run are looked at this often.
const LOOK: Duration = Duration::from_millis(5);
/// A call that is over is remembered this long, for what the far side says again.
const LINGER: Duration = Duration::from_secs(4);

/// How many calls, how fast, how long.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Calls at the same time.
    pub calls: usize,
    /// How fast they are placed.
    pub pace: Pace,
    /// How long each lasts; then, or when it failed, another takes its place. `None`: until the end, and none does.
    pub call_length: Option<Duration>,
    /// Whether a far side that hangs up has failed us. An agent may.
    pub must_stay: bool,
}

/// What the other threads may know and ask.
#[derive(Debug, Default)]
pub struct Shared {
    /// What was seen.
    pub seen: Mutex<Signalling>,
    /// Calls that are up.
    pub up: AtomicUsize,
    /// Places whose first call was answered or failed.
    pub settled: AtomicUsize,
    /// Hang up, and end.
    pub end: AtomicBool,
}

struct Place {
    dialog: Dialog,
    invited: Instant,
    up_since: Option<Instant>,
}

/// The thread's own things.
pub struct Caller {
    socket: UdpSocket,
    server: SocketAddr,
    identity: Identity,
    plan: Plan,
    audio_addresses: Vec<SocketAddr>,
    audio: Sender<Command>,
    shared: Arc<Shared>,
    places: Vec<Option<Place>>,
    free: VecDeque<usize>,
    by_call_id: HashMap<String, usize>,
    /// Calls that are over.
    lingering: VecDeque<(Instant, Dialog)>,
    random: Random,
    run: String,
    placed: u64,
    looked: Instant,
    out: Vec<Vec<u8>>,
}

impl Caller {
    /// Everything needed to call; nothing is sent yet.
    #[must_use]
    pub fn new(
        (socket, server): (UdpSocket, SocketAddr),
        identity: Identity,
        plan: Plan,
        audio_addresses: Vec<SocketAddr>,
        audio: Sender<Command>,
        shared: Arc<Shared>,
    ) -> Self {
        let mut random = Random::system();
        let run = random.hex(12);
        Self {
            socket,
            server,
            identity,
            plan,
            audio_addresses,
            audio,
            shared,
            places: (0..plan.calls).map(|_| None).collect(),
            free: (0..plan.calls).collect(),
            by_call_id: HashMap::new(),
            lingering: VecDeque::new(),
            random,
            run,
            placed: 0,
            looked: Instant::now(),
            out: Vec::new(),
        }
    }

    /// Calls until told to end, then hangs up; returns when the last call is over.
    pub fn run(mut self) {
        let start = Instant::now();
        let mut next_call = start;
        let mut buffer = vec![0; SIP_DATAGRAM];
        while !self.shared.end.load(Relaxed) {
            let now = Instant::now();
            if now >= next_call && !self.free.is_empty() {
                self.place(now);
                // A place that was long in coming is no reason to catch up.
                next_call = (next_call + self.plan.pace.gap(now - start)).max(now.checked_sub(LOOK).unwrap_or(now));
                continue;
            }
            self.look_after(now);
            let wait = if self.free.is_empty() { LOOK } else { LOOK.min(next_call.saturating_duration_since(now)) };
            self.receive(wait, &mut buffer);
        }
        let mut to_end: VecDeque<usize> = (0..self.places.len()).filter(|n| self.places[*n].is_some()).collect();
        let limit = Instant::now() + GOODBYE * 2 + HANG_UP_GAP * to_end.len() as u32;
        let mut next = Instant::now();
        while self.places.iter().any(Option::is_some) && Instant::now() < limit {
            let now = Instant::now();
            if now >= next
                && let Some(call) = to_end.pop_front()
            {
                next += HANG_UP_GAP;
                self.hang_up(call, now);
                continue;
            }
            self.look_after(now);
            self.receive(if to_end.is_empty() { LOOK } else { HANG_UP_GAP / 2 }, &mut buffer);
        }
    }

    fn place(&mut self, now: Instant) {
        let Some(call) = self.free.pop_front() else { return };
        self.placed += 1;
        let id = format!("{}-{}@load", self.run, self.placed);
        let audio = self.audio_addresses[call % self.audio_addresses.len()];
        let dialog = Dialog::invite(&self.identity, &id, audio, now, &mut self.out);
        self.by_call_id.insert(id, call);
        self.places[call] = Some(Place { dialog, invited: Instant::now(), up_since: None });
        self.note(|seen| seen.placed += 1);
        self.send();
    }

    fn hang_up(&mut self, call: usize, now: Instant) {
        let _ = self.audio.send(Command::Stop(call));
        if let Some(place) = &mut self.places[call] {
            place.dialog.hang_up(&self.identity, now, &mut self.out);
        }
        self.send();
    }

    /// Retransmissions, and calls that have lasted long enough.
    fn look_after(&mut self, now: Instant) {
        if now < self.looked + LOOK {
            return;
        }
        self.looked = now;
        for call in 0..self.places.len() {
            let Some(place) = &mut self.places[call] else { continue };
            if place.dialog.timeout().is_some_and(|at| now >= at) {
                let (outcome, is_again) = place.dialog.handle_timeout(now, &mut self.out);
                if is_again {
                    self.note(|seen| seen.retransmissions += 1);
                }
                self.send();
                self.settle(call, outcome, now);
            } else if let (Some(length), Some(since)) = (self.plan.call_length, place.up_since)
                && place.dialog.is_up()
                && now >= since + length
            {
                self.hang_up(call, now);
            }
        }
        while self.lingering.front().is_some_and(|(until, _)| now >= *until) {
            self.lingering.pop_front();
        }
    }

    fn receive(&mut self, wait: Duration, buffer: &mut [u8]) {
        let _ = self.socket.set_read_timeout(Some(wait.max(Duration::from_micros(50))));
        let Ok((length, from)) = self.socket.recv_from(buffer) else { return };
        let now = Instant::now();
        let datagram = buffer.get(..length).unwrap_or_default();
        if is_keep_alive(datagram) {
            return;
        }
        let Ok(message) = Message::parse(datagram) else { return };
        let Ok(call_id) = message.call_id() else { return };
        let call = self.by_call_id.get(call_id).copied();
        let dialog = match call.and_then(|call| self.places.get_mut(call)) {
            Some(Some(place)) => Some(&mut place.dialog),
            _ => self.lingering.iter_mut().rev().map(|(_, dialog)| dialog).find(|d| d.call_id() == call_id),
        };
        let outcome = match dialog {
            Some(dialog) if message.is_request() => {
                dialog.handle_request(&self.identity, &message, from, &mut self.out)
            }
            Some(dialog) => dialog.handle_response(&self.identity, &mut self.random, now, &message, &mut self.out),
            None => {
                refuse(&message, from, &mut self.out);
                None
            }
        };
        if message.is_request() {
            // Where it came from, not where our calls go.
            for datagram in self.out.drain(..) {
                let _ = self.socket.send_to(&datagram, from);
            }
        }
        self.send();
        if let Some(call) = call {
            self.settle(call, outcome, now);
        }
    }

    /// Draws the consequences, and gives up the place of a call that is over.
    fn settle(&mut self, call: usize, outcome: Option<Outcome>, now: Instant) {
        let Some(place) = &mut self.places[call] else { return };
        let is_over = place.dialog.is_over();
        let was_answered = place.up_since.is_some();
        match outcome {
            Some(Outcome::Answered(remote)) => {
                place.up_since = Some(now);
                let took = now.duration_since(place.invited);
                let _ = self.audio.send(Command::Start(call, remote));
                self.shared.up.fetch_add(1, Relaxed);
                self.shared.settled.fetch_add(1, Relaxed);
                self.note(|seen| {
                    seen.answered += 1;
                    seen.setup.record(took.as_micros() as u64);
                });
            }
            Some(Outcome::Failed(why)) => {
                if !was_answered {
                    self.shared.settled.fetch_add(1, Relaxed);
                }
                self.note(|seen| seen.fail(why));
            }
            Some(Outcome::HungUp) if self.plan.must_stay => self.note(|seen| seen.fail(Failure::HungUp)),
            Some(Outcome::HungUp | Outcome::Closed) if was_answered => self.note(|seen| seen.completed += 1),
            _ => {}
        }
        if is_over && let Some(place) = self.places[call].take() {
            if place.up_since.is_some() {
                let _ = self.audio.send(Command::Stop(call));
                self.shared.up.fetch_sub(1, Relaxed);
            }
            self.by_call_id.remove(place.dialog.call_id());
            self.lingering.push_back((now + LINGER, place.dialog));
            if self.plan.call_length.is_some() {
                self.free.push_back(call);
            }
        }
    }

    fn send(&mut self) {
        for datagram in self.out.drain(..) {
            let _ = self.socket.send_to(&datagram, self.server);
        }
    }

    fn note(&self, what: impl FnOnce(&mut Signalling)) {
        if let Ok(mut seen) = self.shared.seen.lock() {
            what(&mut seen);
        }
    }
}

/// The answer to a request that belongs to no call.
fn refuse(message: &Message<'_>, from: SocketAddr, out: &mut Vec<Vec<u8>>) {
    let status = match message.method() {
        Some(Method::Options) => StatusCode::OK,
        Some(Method::Ack) | None => return,
        Some(Method::Invite) => StatusCode::BUSY_HERE,
        Some(_) => StatusCode::CALL_DOES_NOT_EXIST,
    };
    out.push(Response::to_request(message, status, from, Some("load")).write());
}

//! The worker's half of a leg: everything that happens to it in its 20 ms.

use super::bridge::BridgePort;
use super::event::LegEvent;
use super::leg::{Command, LegMode};
use super::leg_media::LegMedia;
use super::limits::DATAGRAMS_PER_TURN;
use super::player::{Content, Player};
use super::receive::{Receiver, law};
use super::send::Sender;
use super::setup::{Retired, Setup};
use super::shared::Shared;
use super::sys::{BATCH, Datagrams};
use super::uplink::RingFrame;
use crate::audio::frame::NARROWBAND_FRAME;
use crate::audio::{TonePresser, VoiceDetector};
use crate::base::{Random, TurnId};
use crate::rtp::dtmf::DigitTurn;
use crate::rtp::packet::is_rtcp_type;
use rtrb::{Consumer, Producer};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// Kernel timestamps are believed up to this age: a socket is read every 20 ms, and the real-time clock may step.
const OLDEST_ARRIVAL: Duration = Duration::from_millis(60);

/// Turns without audio over the bridge after which the background sounds: a late packet must not make it flash up.
const BACKGROUND_AFTER: u32 = 10;

/// What the worker hands an engine for one turn.
pub(super) struct Turn<'a> {
    pub(super) now: Instant,
    /// The real-time clock at `now`.
    pub(super) wall: SystemTime,
    /// Turns that were skipped before this one because the worker was held up.
    pub(super) missed: u32,
    pub(super) datagrams: &'a mut Datagrams,
    /// To the bell, which frees what is replaced.
    pub(super) retired: &'a mut Producer<Retired>,
    pub(super) voice: &'a mut VoiceDetector,
}

/// What configuration says about every leg.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) media_timeout: Duration,
    pub(super) rtcp_interval: Duration,
}

/// The rings and sockets of a leg on the worker's side.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) shared: Arc<Shared>,
    pub(super) socket: UdpSocket,
    /// On the port above.
    pub(super) rtcp: UdpSocket,
    pub(super) commands: Consumer<Command>,
    pub(super) uplink: Producer<RingFrame>,
    pub(super) downlink: Consumer<super::downlink::TurnFrame>,
    pub(super) events: Producer<LegEvent>,
}

#[derive(Debug)]
pub(super) struct Engine {
    pub(super) shared: Arc<Shared>,
    socket: UdpSocket,
    rtcp: UdpSocket,
    commands: Consumer<Command>,
    uplink: Producer<RingFrame>,
    events: Producer<LegEvent>,
    mode: LegMode,
    setup: Option<Box<Setup>>,
    settings: Settings,
    receiver: Receiver,
    player: Player,
    sender: Sender,
    /// The turn whose first audible frame waits in a packet that is not full yet.
    starting: Option<TurnId>,
    sending: bool,
    report_due: Option<Instant>,
    sent: u64,
    send_errors: u64,
    uplink_dropped: u64,
    bridge: Option<BridgePort>,
    /// Turns since the last audio over the bridge.
    bridge_silent: u32,
    background: Option<Arc<[i16]>>,
    background_at: usize,
    presser: TonePresser,
    /// The addresses last published: sent to, heard from, refused.
    shown: [Option<SocketAddr>; 3],
    /// Something was put into the uplink or the events in this turn.
    pub(super) rings: bool,
}

impl Engine {
    pub(super) fn new(now: Instant, mode: LegMode, settings: Settings, ends: Ends, random: &mut Random) -> Self {
        Self {
            shared: ends.shared,
            socket: ends.socket,
            rtcp: ends.rtcp,
            commands: ends.commands,
            uplink: ends.uplink,
            events: ends.events,
            mode,
            setup: None,
            settings,
            receiver: Receiver::new(now),
            player: Player::new(ends.downlink),
            sender: Sender::new(random),
            starting: None,
            sending: false,
            report_due: None,
            sent: 0,
            send_errors: 0,
            uplink_dropped: 0,
            bridge: None,
            bridge_silent: 0,
            background: None,
            background_at: 0,
            presser: TonePresser::default(),
            shown: [None; 3],
            rings: false,
        }
    }

    /// Whether the call dropped its half.
    pub(super) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// Whether the peer's audio has begun.
    pub(super) fn hears(&self) -> bool {
        self.receiver.hears()
    }

    /// How much earlier this leg could be served, in microseconds, when that would be heard by nobody.
    pub(super) fn excess_us(&self, now: Instant) -> Option<i64> {
        self.receiver.excess_us(now)
    }

    /// The worker met a panic in this leg.
    pub(super) fn panicked(&mut self) {
        self.report(LegEvent::Panicked);
    }

    /// Twenty milliseconds: receive, hand up, take down, send.
    pub(super) fn turn(&mut self, turn: &mut Turn<'_>) {
        self.rings = false;
        self.obey(turn.now, turn.retired);
        let Some(setup) = self.setup.take() else {
            self.drain(turn);
            return;
        };
        self.serve(turn, &setup.media);
        self.setup = Some(setup);
        self.publish();
    }

    fn serve(&mut self, turn: &mut Turn<'_>, media: &LegMedia) {
        self.receive(turn, media);
        let echoed = match self.mode {
            LegMode::Agent => {
                match &mut self.bridge {
                    Some(bridge) if media.receive => {
                        if let Some(octets) = self.receiver.bridged(turn.now, media.codec) {
                            bridge.push_audio(media.codec, octets);
                        }
                    }
                    Some(_) => {}
                    None if media.receive => self.hand_up(turn, media),
                    None => {}
                }
                None
            }
            LegMode::Echo => self.receiver.playout(turn.now, media.codec).map(|p| p.octets),
        };
        self.send(turn, media, echoed);
        self.control(turn, media);
        if media.receive
            && let Some(silent_for) = self.receiver.timeout(turn.now, self.settings.media_timeout)
        {
            self.report(LegEvent::MediaTimeout { silent_for });
        }
    }

    /// Before the first configuration whatever comes is thrown away.
    fn drain(&self, turn: &mut Turn<'_>) {
        let mut taken = 0;
        while taken < DATAGRAMS_PER_TURN {
            let count = turn.datagrams.receive(&self.socket);
            if count < BATCH {
                return;
            }
            taken += count;
        }
    }

    fn obey(&mut self, now: Instant, retired: &mut Producer<Retired>) {
        // The ring to the bell has room for every leg's commands of many turns. Were it full, they are freed here.
        let mut retire = |what: Option<Retired>| {
            if let Some(what) = what {
                let _ = retired.push(what);
            }
        };
        while let Ok(command) = self.commands.pop() {
            match command {
                Command::Background(samples) => {
                    retire(std::mem::replace(&mut self.background, samples).map(Retired::Background));
                    self.background_at = 0;
                }
                Command::Bridge(port) => {
                    retire(self.bridge.replace(port).map(Retired::Bridge));
                    self.bridge_silent = BACKGROUND_AFTER;
                }
                Command::Configure(setup) => {
                    self.receiver.configure(now, &setup.media);
                    if self.setup.as_ref().is_some_and(|before| before.media.codec != setup.media.codec) {
                        self.sender.drop_pending();
                    }
                    retire(self.setup.replace(setup).map(Retired::Setup));
                }
                Command::Digit(digit) => self.press(digit),
                Command::Tone(digit) => drop(self.presser.push(digit)),
                Command::Unbridge => retire(self.bridge.take().map(Retired::Bridge)),
                #[cfg(test)]
                #[expect(clippy::panic, reason = "what a bug would do")]
                Command::Panic => panic!("asked to"),
            }
        }
    }

    /// Sends a digit as events where they were agreed, as tones otherwise.
    fn press(&mut self, digit: char) {
        if self.setup.as_ref().is_some_and(|setup| setup.media.telephone_event.is_some()) {
            self.sender.push_digit(digit);
        } else {
            self.presser.push(digit);
        }
    }

    fn receive(&mut self, turn: &mut Turn<'_>, media: &LegMedia) {
        let Self { receiver, events, shared, rings, socket, sender, bridge, .. } = self;
        let mut report = |event| {
            if let (LegEvent::Digit(key), Some(bridge)) = (&event, bridge.as_mut()) {
                bridge.push_key(*key);
            }
            push_event(events, shared, rings, event);
        };
        let mut taken = 0;
        loop {
            let count = turn.datagrams.receive(socket);
            taken += count;
            for (octets, from, at) in turn.datagrams.iter() {
                let age = at.and_then(|at| turn.wall.duration_since(at).ok()).filter(|age| *age < OLDEST_ARRIVAL);
                let arrived = turn.now.checked_sub(age.unwrap_or_default()).unwrap_or(turn.now);
                if let Some([_, kind, ..]) = octets
                    && is_rtcp_type(*kind)
                {
                    let ours = sender.session.ssrc();
                    receiver.rtcp(turn.now, turn.wall, from, octets.unwrap_or_default(), ours);
                    continue;
                }
                // A datagram that was too long is no packet of ours: an empty one is refused and counted.
                receiver.datagram(turn.now, arrived, from, octets.unwrap_or_default(), media, &mut report);
            }
            if count < BATCH || taken >= DATAGRAMS_PER_TURN {
                return;
            }
        }
    }

    fn hand_up(&mut self, turn: &mut Turn<'_>, media: &LegMedia) {
        if let Some(frame) = self.receiver.frame(turn.now, media.codec, turn.voice) {
            if self.uplink.push(frame).is_err() {
                self.uplink_dropped += 1;
            }
            self.rings = true;
        }
    }

    fn send(&mut self, turn: &Turn<'_>, media: &LegMedia, echoed: Option<[u8; NARROWBAND_FRAME]>) {
        let over = self.over_the_bridge(media);
        let destination = self.receiver.destination().filter(|_| media.send);
        let Some(destination) = destination else {
            let Self { player, events, shared, rings, .. } = self;
            player.hold(turn.now, shared, &mut |event| push_event(events, shared, rings, event));
            self.sender.pause(1 + turn.missed);
            self.sending = false;
            return;
        };
        if self.sending && turn.missed > 0 {
            // Time that was lost is not made up by a burst: the peer hears a gap.
            self.sender.session.skip(turn.missed * NARROWBAND_FRAME as u32);
        }
        self.sending = true;
        match self.sender.digit_turn(media) {
            Some(DigitTurn::Event(..)) => {}
            Some(DigitTurn::Silence) => self.sender.push(&[law(media.codec).silence(); NARROWBAND_FRAME]),
            Some(DigitTurn::Audio) | None => {
                let octets = echoed.unwrap_or_else(|| self.own_octets(turn.now, media, over));
                self.sender.push(&octets);
            }
        }
        self.send_packets(media, destination);
    }

    /// RTCP, every five seconds: reads what came to its port, sends a report.
    fn control(&mut self, turn: &mut Turn<'_>, media: &LegMedia) {
        let due = *self.report_due.get_or_insert_with(|| {
            // Legs that were opened together do not report together.
            turn.now + self.settings.rtcp_interval.mul_f64(0.2 + f64::from(self.sender.session.ssrc() % 800) / 1_000.0)
        });
        if turn.now < due {
            return;
        }
        self.report_due = Some(turn.now + self.settings.rtcp_interval);
        turn.datagrams.receive(&self.rtcp);
        for (octets, from, at) in turn.datagrams.iter() {
            // They have waited here for up to an interval.
            let age = at.and_then(|at| turn.wall.duration_since(at).ok()).unwrap_or_default();
            let arrived = turn.now.checked_sub(age).unwrap_or(turn.now);
            let ours = self.sender.session.ssrc();
            self.receiver.rtcp(arrived, turn.wall - age, from, octets.unwrap_or_default(), ours);
        }
        let Some(rtp) = self.receiver.destination() else { return };
        let report = self.receiver.report(turn.now, turn.wall, &self.sender.session);
        // Reports follow the audio: never to another IP.
        let sent = if media.rtcp == media.remote {
            self.socket.send_to(report.octets(), rtp)
        } else if media.rtcp.ip() == rtp.ip() {
            self.rtcp.send_to(report.octets(), media.rtcp)
        } else {
            self.rtcp.send_to(report.octets(), SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1)))
        };
        self.send_errors += u64::from(sent.is_err());
    }

    /// What the bridged leg says in these 20 ms.
    fn over_the_bridge(&mut self, media: &LegMedia) -> Option<[u8; NARROWBAND_FRAME]> {
        let Self { bridge, sender, presser, .. } = self;
        let octets = bridge.as_mut()?.pull(media.codec, |key| {
            if media.telephone_event.is_some() {
                sender.push_digit(key);
            } else {
                presser.push(key);
            }
        });
        self.bridge_silent = if octets.is_some() { 0 } else { self.bridge_silent.saturating_add(1) };
        octets
    }

    /// Twenty milliseconds of keys, agent audio, the other leg or the background, in this order, encoded.
    fn own_octets(
        &mut self,
        now: Instant,
        media: &LegMedia,
        over: Option<[u8; NARROWBAND_FRAME]>,
    ) -> [u8; NARROWBAND_FRAME] {
        let law = law(media.codec);
        let mut octets = [law.silence(); NARROWBAND_FRAME];
        if self.mode == LegMode::Echo {
            return octets;
        }
        let mut samples = [0; NARROWBAND_FRAME];
        if self.presser.fill(&mut samples) {
            law.encode(&samples, &mut octets);
            return octets;
        }
        let Self { player, events, shared, rings, .. } = self;
        let content = player.next(now, &mut samples, shared, &mut |event| push_event(events, shared, rings, event));
        if let Content::Audio { starts } = content {
            law.encode(&samples, &mut octets);
            self.starting = starts.or(self.starting);
            return octets;
        }
        if let Some(octets) = over {
            return octets;
        }
        if self.play_background(&mut samples) {
            law.encode(&samples, &mut octets);
        }
        octets
    }

    fn play_background(&mut self, samples: &mut [i16; NARROWBAND_FRAME]) -> bool {
        let is_free = self.bridge.is_none() || self.bridge_silent >= BACKGROUND_AFTER;
        let Some(background) = self.background.as_ref().filter(|b| !b.is_empty() && is_free) else { return false };
        for sample in samples {
            *sample = background.get(self.background_at).copied().unwrap_or(0);
            self.background_at = (self.background_at + 1) % background.len();
        }
        true
    }

    fn send_packets(&mut self, media: &LegMedia, destination: SocketAddr) {
        let mut rtp_timestamp = self.sender.session.timestamp();
        while let Some(packet) = self.sender.next_packet(media) {
            match self.socket.send_to(packet, destination) {
                Ok(_) => self.sent += 1,
                Err(_) => self.send_errors += 1,
            }
            if let Some(turn) = self.starting.take() {
                self.report(LegEvent::PlayoutStarted { turn, at: Instant::now(), rtp_timestamp });
            }
            rtp_timestamp = self.sender.session.timestamp();
        }
    }

    fn report(&mut self, event: LegEvent) {
        push_event(&mut self.events, &self.shared, &mut self.rings, event);
    }

    fn publish(&mut self) {
        let shared = &self.shared.stats;
        let sends_to = self.receiver.destination().filter(|_| self.sent > 0);
        let addresses = [sends_to, self.receiver.hears_from(), self.receiver.counters.refused_from];
        let cells = [&shared.sends_to, &shared.hears_from, &shared.refused_from];
        for ((shown, address), cell) in self.shown.iter_mut().zip(addresses).zip(cells) {
            if let Some(address) = address.filter(|_| *shown != address) {
                *shown = Some(address);
                cell.store(address);
            }
        }
        let (stats, counters) = (&self.shared.stats, &self.receiver.counters);
        let reception = &self.receiver.reception;
        for (shown, value) in [
            (&stats.sent, self.sent),
            (&stats.received, counters.packets),
            (&stats.lost, counters.lost_before + u64::from(reception.lost())),
            (&stats.late, counters.late),
            (&stats.duplicated, counters.duplicated),
            (&stats.rejected, counters.rejected),
            (&stats.concealed_ms, counters.concealed_ms),
            (&stats.starved, self.player.starved),
            (&stats.uplink_dropped, self.uplink_dropped),
            (&stats.send_errors, self.send_errors),
            (&stats.bridge_dropped, self.bridge.as_ref().map_or(0, |bridge| bridge.dropped)),
        ] {
            shown.store(value, Ordering::Relaxed);
        }
        let micros = |d: Duration| u32::try_from(d.as_micros()).unwrap_or(u32::MAX);
        stats.jitter_us.store(micros(reception.jitter()), Ordering::Relaxed);
        stats.round_trip_us.store(self.receiver.round_trip.map_or(0, micros), Ordering::Relaxed);
        stats.far_loss.store(u32::from(self.receiver.far_loss.unwrap_or(0)), Ordering::Relaxed);
        stats.delay_us.store(micros(self.receiver.held), Ordering::Relaxed);
    }
}

fn push_event(events: &mut Producer<LegEvent>, shared: &Shared, rings: &mut bool, event: LegEvent) {
    *rings = true;
    if events.push(event).is_err() {
        shared.stats.events_dropped.fetch_add(1, Ordering::Relaxed);
    }
}

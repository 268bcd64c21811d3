//! The worker's half of a leg: everything that happens to it in its 20 ms.

mod control;
mod publish;

use super::bridge::BridgePort;
use super::datagram::Datagram;
use super::downlink::TurnFrame;
use super::ear::Ears;
use super::event::LegEvent;
use super::framed::{FrameProducer, ring};
use super::leg::{Command, LegMode};
use super::leg_media::LegMedia;
use super::limits::DATAGRAMS_PER_TURN;
use super::mouth::Mouth;
use super::player::{Content, Player};
use super::protection::Protection;
use super::receive::Receiver;
use super::seam::{CUT_FADE_MS, Seam, Voice};
use super::send::{PACKET, Sender};
use super::setup::{Retired, Setup};
use super::shared::Shared;
use super::sys::{BATCH, Datagrams, prefetch};
use super::tap::TapPort;
use super::uplink::Heard;
use crate::audio::frame::{FRAME_MS, FULLBAND_FRAME};
use crate::audio::{TonePresser, VoiceDetector};
use crate::base::{Random, SampleRate, TurnId};
use crate::rtp::dtmf::DigitTurn;
use crate::rtp::packet::is_rtcp_type;
use crate::rtp::quality::LossRuns;
use rtrb::{Consumer, Producer};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// Kernel timestamps are believed up to this age: a socket is read every 20 ms, and the real-time clock may step.
const OLDEST_ARRIVAL: Duration = Duration::from_millis(60);

/// Turns without audio over the bridge after which the background sounds: a late packet must not make it flash up.
const BACKGROUND_AFTER: u32 = 10;

/// Buffers of a worker, used by one leg after the other: they stay in the processor's cache.
#[derive(Debug)]
pub(super) struct Scratch {
    /// What was heard, 20 ms at the line rate.
    heard: [i16; FULLBAND_FRAME],
    /// What is said.
    said: [i16; FULLBAND_FRAME],
    /// The packet it is said in.
    packet: [u8; PACKET],
}

impl Scratch {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self { heard: [0; FULLBAND_FRAME], said: [0; FULLBAND_FRAME], packet: [0; PACKET] })
    }
}

/// What the worker hands an engine for one turn.
pub(super) struct Turn<'a> {
    pub(super) now: Instant,
    /// The real-time clock at `now`.
    pub(super) wall: SystemTime,
    /// Turns that were skipped before this one because the worker was held up.
    pub(super) missed: u32,
    pub(super) datagrams: &'a mut Datagrams,
    pub(super) scratch: &'a mut Scratch,
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

/// The sockets of a leg and the rings on the worker's side that do not depend on the line rate.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) shared: Arc<Shared>,
    /// The call sends the datagrams of a handshake by it.
    pub(super) socket: Arc<UdpSocket>,
    /// On the port above.
    pub(super) rtcp: UdpSocket,
    pub(super) commands: Consumer<Command>,
    pub(super) events: Producer<LegEvent>,
}

#[derive(Debug)]
pub(super) struct Engine {
    pub(super) shared: Arc<Shared>,
    socket: Arc<UdpSocket>,
    rtcp: UdpSocket,
    commands: Consumer<Command>,
    events: Producer<LegEvent>,
    mode: LegMode,
    setup: Option<Box<Setup>>,
    settings: Settings,
    /// Samples of 20 ms at the line rate.
    frame: usize,
    uplink: FrameProducer<Heard>,
    receiver: Receiver,
    player: Player,
    sender: Sender,
    /// The turn whose first audible frame waits in a packet that is not full yet.
    starting: Option<TurnId>,
    sending: bool,
    report_due: Option<Instant>,
    sent: u64,
    /// Which of the peer's frames were missing when they were to be played.
    runs: LossRuns,
    send_errors: u64,
    /// Packets and reports that could not be protected, and reports that were not authentic.
    srtp_failures: u64,
    uplink_dropped: u64,
    /// Digits go out as telephone-events.
    sends_events: bool,
    bridge: Option<Box<BridgePort>>,
    /// Turns since the last audio over the bridge.
    bridge_silent: u32,
    background: Option<Arc<[i16]>>,
    background_at: usize,
    /// For a recording and for whoever guards against echoes.
    taps: [Option<Box<TapPort>>; 2],
    presser: TonePresser,
    seam: Seam,
    /// The addresses last published: sent to, heard from, refused.
    shown: [Option<SocketAddr>; 3],
    /// Turns missed before one of which only the first half is done.
    unsaid: Option<u32>,
    /// Something was put into the uplink or the events in this turn.
    pub(super) rings: bool,
}

impl Engine {
    pub(super) fn new(now: Instant, mode: LegMode, settings: Settings, ends: Ends, random: &mut Random) -> Self {
        // Stand in until the first configuration brings the rings.
        let (uplink, _) = ring(0, 0);
        let (_, downlink) = ring::<TurnFrame>(0, 0);
        Self {
            shared: ends.shared,
            socket: ends.socket,
            rtcp: ends.rtcp,
            commands: ends.commands,
            events: ends.events,
            mode,
            setup: None,
            settings,
            frame: SampleRate::NARROWBAND.samples_in_ms(FRAME_MS),
            uplink,
            receiver: Receiver::new(now),
            player: Player::new(downlink, SampleRate::NARROWBAND),
            sender: Sender::new(random),
            starting: None,
            sending: false,
            report_due: None,
            sent: 0,
            send_errors: 0,
            srtp_failures: 0,
            runs: LossRuns::default(),
            uplink_dropped: 0,
            sends_events: false,
            bridge: None,
            bridge_silent: 0,
            background: None,
            background_at: 0,
            taps: [None, None],
            presser: TonePresser::default(),
            seam: Seam::default(),
            shown: [None; 3],
            unsaid: None,
            rings: false,
        }
    }

    /// Whether the call dropped its half.
    pub(super) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// Whether the call wants beats.
    pub(super) fn keeps_time(&self) -> bool {
        self.shared.keeps_time.load(Ordering::Relaxed)
    }

    /// Whether the peer's audio has begun.
    pub(super) fn hears(&self) -> bool {
        self.receiver.hears()
    }

    /// How much earlier this leg could be served, in microseconds, when that would be heard by nobody.
    pub(super) fn excess_us(&self, now: Instant) -> Option<i64> {
        self.receiver.excess_us(now)
    }

    /// Asks for what the next turn needs beside the engine itself: with many legs nothing of one is in the processor's cache
    /// any more when its turn comes again.
    pub(super) fn prefetch(&self) {
        prefetch(&*self.shared);
        self.receiver.prefetch();
        if let Some(setup) = &self.setup {
            prefetch(&setup.media);
            prefetch(&setup.ears);
            prefetch(&setup.mouth);
        }
    }

    /// The worker met a panic in this leg.
    pub(super) fn panicked(&mut self) {
        self.report(LegEvent::Panicked);
    }

    /// Whether [`Self::speak`] is to follow the turn.
    pub(super) fn has_to_speak(&self) -> bool {
        self.unsaid.is_some()
    }

    /// The second half of a turn of a leg whose call may still answer what was heard in the first.
    pub(super) fn speak(&mut self, turn: &mut Turn<'_>) {
        self.rings = false;
        self.catch_up(turn);
    }

    /// Says what is due.
    fn catch_up(&mut self, turn: &mut Turn<'_>) {
        let Some(missed) = self.unsaid.take() else { return };
        let Some(mut setup) = self.setup.take() else { return };
        let Scratch { said, packet, .. } = &mut *turn.scratch;
        if let Some(said) = said.get_mut(..self.frame) {
            self.say_and_send(turn.now, missed, None, &mut setup, said, packet);
        }
        self.publish(&setup.media);
        self.setup = Some(setup);
    }

    /// Twenty milliseconds: receive, hand up, take down, send. The latter two may be left to [`Self::speak`].
    pub(super) fn turn(&mut self, turn: &mut Turn<'_>) {
        self.rings = false;
        self.catch_up(turn);
        self.obey(turn.now, turn.retired);
        let Some(mut setup) = self.setup.take() else {
            self.drain(turn);
            return;
        };
        self.serve(turn, &mut setup);
        if self.is_closed() {
            self.leave(turn, &mut setup);
        }
        // After the second half, where there is one: what was sent counts at once.
        if self.unsaid.is_none() || self.is_closed() {
            self.publish(&setup.media);
        }
        self.setup = Some(setup);
    }

    fn serve(&mut self, turn: &mut Turn<'_>, setup: &mut Setup) {
        self.receive(turn, setup);
        let Turn { now, missed, datagrams: _, scratch, retired, voice, .. } = turn;
        let Scratch { heard, said, packet } = &mut **scratch;
        let (Some(heard), Some(said)) = (heard.get_mut(..self.frame), said.get_mut(..self.frame)) else { return };
        let is_heard = self.hear(*now, &setup.media, &mut setup.ears, voice, heard);
        // A tap wants both directions of the same 20 ms, and what comes over a bridge is there already.
        let may_wait = self.mode != LegMode::Echo && self.bridge.is_none() && self.taps.iter().all(Option::is_none);
        if may_wait {
            self.unsaid = Some(*missed);
        } else {
            let echo = (is_heard && self.mode == LegMode::Echo).then_some(&*heard);
            let is_said = self.say_and_send(*now, *missed, echo, setup, said, packet);
            let agent = is_said.then_some(&*said);
            for slot in &mut self.taps {
                let Some(mut tap) = slot.take() else { continue };
                let mut is_read = tap.push(is_heard.then_some(&*heard), agent);
                for _ in 0..(*missed).min(super::limits::TAP_FRAMES as u32) {
                    is_read = tap.push(None, None);
                }
                if is_read {
                    *slot = Some(tap);
                } else {
                    let _ = retired.push(Retired::Tap(tap));
                }
            }
        }
        self.control(turn, &setup.media, &mut setup.mouth, &mut setup.protection);
        if setup.media.receive
            && let Some(silent_for) = self.receiver.timeout(turn.now, self.settings.media_timeout)
        {
            self.report(LegEvent::MediaTimeout { silent_for });
        }
    }

    /// The next 20 ms for the peer, into `said` and out of the socket; false while nobody speaks.
    fn say_and_send(
        &mut self,
        now: Instant,
        missed: u32,
        echo: Option<&[i16]>,
        setup: &mut Setup,
        said: &mut [i16],
        packet: &mut [u8; PACKET],
    ) -> bool {
        let Setup { media, mouth, protection, .. } = setup;
        let may_send = media.send && protection.is_open();
        let is_said = self.say(now, missed, may_send.then_some(&*media), mouth, echo, said);
        if let Some(destination) = self.receiver.destination().filter(|_| is_said.is_some()) {
            self.send_packets(media, mouth, protection, packet, destination);
        }
        is_said.unwrap_or(false)
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
                Command::Configure(setup) => retire(self.configure(now, setup).map(Retired::Setup)),
                Command::Digit(digit) => self.press(digit),
                Command::Tap(port) => {
                    let [first, second] = &mut self.taps;
                    let slot = if first.is_some() && second.is_none() { second } else { first };
                    retire(slot.replace(port).map(Retired::Tap));
                }
                Command::Tone(digit) => drop(self.presser.push(digit)),
                Command::Unbridge => retire(self.bridge.take().map(Retired::Bridge)),
                #[cfg(test)]
                #[expect(clippy::panic, reason = "what a bug would do")]
                Command::Panic => panic!("asked to"),
            }
        }
    }

    /// Puts a new configuration in place and hands out the one before, with what was in use until then.
    fn configure(&mut self, now: Instant, mut setup: Box<Setup>) -> Option<Box<Setup>> {
        self.receiver.configure(now, &setup.media);
        self.sends_events = setup.media.telephone_event.is_some();
        if let Some(rings) = &mut setup.rings {
            self.frame = rings.sample_rate.samples_in_ms(FRAME_MS);
            std::mem::swap(&mut self.uplink, &mut rings.uplink);
            std::mem::swap(&mut self.player, &mut rings.player);
        }
        if let Some(before) = &mut self.setup {
            if setup.take_over(before) {
                self.receiver.forget_audio();
            }
            // What waits for a whole packet at another rate is not heard; its time passes.
            self.sender.session.skip(before.mouth.drop_pending());
        }
        self.setup.replace(setup)
    }

    /// Sends a digit as events where they were agreed, as tones otherwise.
    fn press(&mut self, digit: char) {
        if self.sends_events {
            self.sender.push_digit(digit);
        } else {
            self.presser.push(digit);
        }
    }

    fn receive(&mut self, turn: &mut Turn<'_>, setup: &mut Setup) {
        let Setup { media, ears, protection, handshake, .. } = setup;
        let Self { receiver, events, shared, rings, socket, sender, bridge, srtp_failures, .. } = self;
        let mut woken = false;
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
            for (octets, from, at) in turn.datagrams.iter_mut() {
                let age = at.and_then(|at| turn.wall.duration_since(at).ok()).filter(|age| *age < OLDEST_ARRIVAL);
                let arrived = turn.now.checked_sub(age.unwrap_or_default()).unwrap_or(turn.now);
                // A datagram that was too long is no packet of ours: an empty one is refused and counted.
                let octets = octets.unwrap_or_default();
                if let Some(handshake) = handshake.as_mut().filter(|_| Datagram::is_dtls(octets)) {
                    // Who may not take part is ignored, and so is what does not fit.
                    woken |= receiver.admits_handshake(from) && handshake.push(Datagram::new(from, octets)).is_ok();
                    continue;
                }
                if let [_, kind, ..] = octets
                    && is_rtcp_type(*kind)
                {
                    let ours = sender.session.ssrc();
                    match protection.open_rtcp(octets) {
                        Some(octets) => receiver.rtcp(turn.now, turn.wall, from, octets, ours),
                        None => *srtp_failures += 1,
                    }
                    continue;
                }
                if protection.is_open() {
                    receiver.datagram(turn.now, arrived, from, octets, media, ears, protection.receiver(), &mut report);
                } else {
                    *srtp_failures += 1;
                }
            }
            if count < BATCH || taken >= DATAGRAMS_PER_TURN {
                break;
            }
        }
        *rings |= woken;
    }

    /// The next 20 ms of the peer, for whoever listens: the call, the other leg, or the peer itself. True when `heard`
    /// holds something.
    fn hear(
        &mut self,
        now: Instant,
        media: &LegMedia,
        ears: &mut Ears,
        voice: &mut VoiceDetector,
        heard: &mut [i16],
    ) -> bool {
        if !media.receive {
            return false;
        }
        let is_for_call = self.mode != LegMode::Echo && self.bridge.is_none();
        let voice = (is_for_call && !self.shared.voice_is_idle.load(Ordering::Relaxed)).then_some(voice);
        let Some(frame) = self.receiver.frame(now, ears, voice, heard) else { return false };
        if !frame.idle {
            self.runs.record(frame.concealed);
        }
        if let Some(bridge) = &mut self.bridge {
            if !frame.idle {
                bridge.push_audio(heard);
            }
        } else if is_for_call {
            if !self.uplink.push(frame, heard) {
                self.uplink_dropped += 1;
            }
            self.rings = true;
        }
        true
    }

    /// Puts the next 20 ms for the peer into `said` and into `mouth`. `None` when nothing may be sent, false while it is
    /// silence.
    fn say(
        &mut self,
        now: Instant,
        missed: u32,
        media: Option<&LegMedia>,
        mouth: &mut Mouth,
        echo: Option<&[i16]>,
        said: &mut [i16],
    ) -> Option<bool> {
        let bridged = self.over_the_bridge(said);
        let Some(media) = media.filter(|_| self.receiver.destination().is_some()) else {
            let Self { player, events, shared, rings, .. } = self;
            player.hold(now, shared, &mut |event| push_event(events, shared, rings, event));
            self.sender.pause(mouth, 1 + missed);
            self.sending = false;
            return None;
        };
        if self.sending && missed > 0 {
            // Time that was lost is not made up by a burst: the peer hears a gap.
            self.sender.session.skip(missed * mouth.ticks_per_turn());
        }
        self.sending = true;
        match self.sender.digit_turn(media, mouth) {
            Some(DigitTurn::Event(..)) => return Some(false),
            Some(DigitTurn::Silence) => said.fill(0),
            Some(DigitTurn::Audio) | None => {
                let voice = match echo {
                    Some(echo) => {
                        said.copy_from_slice(echo);
                        Voice::OtherLeg
                    }
                    None => self.fill(now, bridged, said),
                };
                self.seam.pass(voice, said, said.len() * CUT_FADE_MS as usize / FRAME_MS as usize);
                let is_silent = voice == Voice::Nobody && said.iter().all(|sample| *sample == 0);
                self.sender.push(media, mouth, said, true);
                return Some(!is_silent);
            }
        }
        self.sender.push(media, mouth, said, false);
        Some(false)
    }

    /// Puts what the bridged leg says in these 20 ms into `said`; false when it says nothing.
    fn over_the_bridge(&mut self, said: &mut [i16]) -> bool {
        let Self { bridge, sender, presser, sends_events, .. } = self;
        let Some(bridge) = bridge else { return false };
        let is_heard = bridge.pull(said, |key| {
            if *sends_events {
                sender.push_digit(key);
            } else {
                presser.push(key);
            }
        });
        self.bridge_silent = if is_heard { 0 } else { self.bridge_silent.saturating_add(1) };
        is_heard
    }

    /// Twenty milliseconds of keys, agent audio, the other leg (already in `said` when `bridged`) or the background, in
    /// this order.
    fn fill(&mut self, now: Instant, bridged: bool, said: &mut [i16]) -> Voice {
        if self.mode == LegMode::Echo {
            said.fill(0);
            return Voice::Nobody;
        }
        if self.presser.fill(said) {
            return Voice::Key;
        }
        let Self { player, events, shared, rings, .. } = self;
        let mut report = |event| push_event(events, shared, rings, event);
        if bridged {
            // What the other leg says stays unless the agent speaks.
            let mut own = [0; FULLBAND_FRAME];
            let Some(own) = own.get_mut(..said.len()) else { return Voice::OtherLeg };
            let Content::Audio { starts } = player.next(now, own, shared, &mut report) else { return Voice::OtherLeg };
            self.starting = starts.or(self.starting);
            said.copy_from_slice(own);
            return Voice::Agent;
        }
        if let Content::Audio { starts } = player.next(now, said, shared, &mut report) {
            self.starting = starts.or(self.starting);
            return Voice::Agent;
        }
        if self.play_background(said) { Voice::Background } else { Voice::Nobody }
    }

    fn play_background(&mut self, samples: &mut [i16]) -> bool {
        let is_free = self.bridge.is_none() || self.bridge_silent >= BACKGROUND_AFTER;
        let Some(background) = self.background.as_ref().filter(|b| !b.is_empty() && is_free) else { return false };
        for sample in samples {
            *sample = background.get(self.background_at).copied().unwrap_or(0);
            self.background_at = (self.background_at + 1) % background.len();
        }
        true
    }

    fn send_packets(
        &mut self,
        media: &LegMedia,
        mouth: &mut Mouth,
        protection: &mut Protection,
        packet: &mut [u8; PACKET],
        to: SocketAddr,
    ) {
        let mut rtp_timestamp = self.sender.session.timestamp();
        while let Some(len) = self.sender.next_packet(media, mouth, packet) {
            match protection.protect(packet, len).and_then(|len| packet.get(..len)) {
                Some(octets) => match self.socket.send_to(octets, to) {
                    Ok(_) => self.sent += 1,
                    Err(_) => self.send_errors += 1,
                },
                None => self.srtp_failures += 1,
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
}

fn push_event(events: &mut Producer<LegEvent>, shared: &Shared, rings: &mut bool, event: LegEvent) {
    *rings = true;
    if events.push(event).is_err() {
        shared.stats.events_dropped.fetch_add(1, Ordering::Relaxed);
    }
}

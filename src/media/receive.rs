//! From datagrams to caller frames: source lock, statistics, digits, jitter buffer, decoder, concealment.

use super::drift::WORTH_PPM;
use super::ear::{Ear, Ears, narrow};
use super::event::LegEvent;
use super::leg_media::LegMedia;
use super::sys::prefetch;
use super::uplink::Heard;
use crate::audio::frame::level_dbfs;
use crate::audio::{ComfortNoise, NoiseDescription, VoiceDetector};
use crate::rtp::jitter::{GRANULE, Insertion, MAX_PAYLOAD, PLAYOUT};
use crate::rtp::rtcp::{self, PeerReport, Report};
use crate::rtp::source_lock::Refusal;
use crate::rtp::srtp::SrtpReceiver;
use crate::rtp::{
    Admission, DigitReceiver, Header, JitterBuffer, Packet, Playout, Reception, SendSession, Source, SourceLock,
};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

/// The clock of the jitter buffer.
const TICKS_PER_SECOND: u32 = 8_000;
/// Below this a bridged frame counts as a pause, in which the jitter buffer may move: no voice detector runs there.
const QUIET_DBFS: f32 = -45.0;

/// Turns that following a drifting clock waits for a pause of the caller, 10 s: to begin costs 20 ms that are made up.
const FOLLOW_WITHIN: u32 = 500;

/// What the playout said from which the last frame came.
#[derive(Clone, Copy, Debug, Default)]
struct Played {
    timestamp: u32,
    arrived: Option<Instant>,
    is_idle: bool,
    is_whole: bool,
}

/// Counters of the receiving half.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    pub(super) packets: u64,
    pub(super) lost_before: u64,
    pub(super) late: u64,
    pub(super) duplicated: u64,
    pub(super) rejected: u64,
    /// Of those, packets that were not protected with the peer's key.
    pub(super) unauthentic: u64,
    pub(super) concealed_ms: u64,
    /// Where the last refused packet came from.
    pub(super) refused_from: Option<SocketAddr>,
}

/// The receiving half of a leg. Pure: packets and time come from outside.
#[derive(Debug)]
pub(super) struct Receiver {
    lock: Option<SourceLock>,
    jitter: JitterBuffer,
    digits: DigitReceiver,
    pub(super) reception: Reception,
    /// Sounds while the peer is silent, once it described its background (RFC 3389).
    noise: Option<ComfortNoise>,
    quiet: bool,
    played: Played,
    /// Turns since the sender's clock was seen to drift.
    drifting: u32,
    /// Frames are made from the first packet on.
    heard: bool,
    /// Ticks of the codec's clock per tick of the jitter buffer's 8 kHz.
    scale: u32,
    /// The last timestamp in the codec's clock, and what it is without wraps.
    unwrapped: Option<(u32, i64)>,
    expecting_since: Option<Instant>,
    timed_out: bool,
    idle_timestamp: u32,
    pub(super) held: Duration,
    pub(super) counters: Received,
    /// The NTP time of the peer's last sender report, and when it came.
    peer_report: Option<(u32, Instant)>,
    pub(super) round_trip: Option<Duration>,
    pub(super) far_loss: Option<u8>,
    /// In ticks of the codec's clock.
    pub(super) far_jitter_ticks: Option<u32>,
    /// The peer said that it leaves.
    pub(super) goodbye: bool,
}

impl Receiver {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            lock: None,
            jitter: JitterBuffer::new(now),
            digits: DigitReceiver::default(),
            reception: Reception::default(),
            noise: None,
            quiet: true,
            played: Played::default(),
            drifting: 0,
            heard: false,
            scale: 1,
            unwrapped: None,
            expecting_since: None,
            timed_out: false,
            idle_timestamp: 0,
            held: Duration::ZERO,
            counters: Received::default(),
            peer_report: None,
            round_trip: None,
            far_loss: None,
            far_jitter_ticks: None,
            goodbye: false,
        }
    }

    /// Applies what was negotiated.
    pub(super) fn configure(&mut self, now: Instant, media: &LegMedia) {
        match self.lock.as_mut() {
            Some(lock) => lock.renegotiated(now, media.remote, media.signalling_ip),
            None => self.lock = Some(SourceLock::new(now, media.remote, media.signalling_ip)),
        }
        if let Some(lock) = &mut self.lock {
            lock.set_clock_rate(media.codec.clock_rate());
        }
        self.scale = (media.codec.clock_rate() / TICKS_PER_SECOND).max(1);
        self.reception.set_clock_rate(media.codec.clock_rate());
        self.digits.set_clock_rate(media.telephone_event_rate);
        self.expecting_since = media.receive.then_some(now);
        self.timed_out = false;
    }

    /// What was received and not played yet is of a codec that is heard no more: it would be noise.
    pub(super) fn forget_audio(&mut self) {
        self.jitter.reset();
        self.unwrapped = None;
    }

    /// A timestamp in the jitter buffer's clock, without a step where the codec's clock wraps.
    fn scaled(&mut self, timestamp: u32) -> u32 {
        let unwrapped = match self.unwrapped {
            Some((last, unwrapped)) => unwrapped + i64::from(timestamp.wrapping_sub(last) as i32),
            None => i64::from(timestamp),
        };
        self.unwrapped = Some((timestamp, unwrapped));
        unwrapped.div_euclid(i64::from(self.scale)) as u32
    }

    /// Whether a DTLS datagram from there may take part in the handshake.
    pub(super) fn admits_handshake(&self, from: SocketAddr) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.admits_handshake(from))
    }

    /// Asks for what the next turn needs beside the receiver itself.
    pub(super) fn prefetch(&self) {
        prefetch(self.jitter.coming());
    }

    /// Where to send.
    pub(super) fn destination(&self) -> Option<SocketAddr> {
        self.lock.as_ref().and_then(SourceLock::destination)
    }

    /// A report about what is heard, to be sent with `session`'s own figures.
    pub(super) fn report(&mut self, now: Instant, wall: SystemTime, session: &SendSession) -> Report {
        let ssrc = self.lock.as_ref().and_then(SourceLock::ssrc);
        let (last, since) = self.peer_report.map_or((0, Duration::ZERO), |(last, at)| (last, now.duration_since(at)));
        Report::new(wall, session, &mut self.reception, ssrc.map(|ssrc| (ssrc, last, since)))
    }

    /// Takes an RTCP datagram; only the source that is heard may report.
    pub(super) fn rtcp(&mut self, now: Instant, wall: SystemTime, from: SocketAddr, octets: &[u8], ours: u32) {
        let report = rtcp::parse(octets, wall, ours);
        let is_believed =
            |report: &PeerReport| self.lock.as_ref().is_some_and(|lock| lock.admits_report(from, report.ssrc));
        let Some(report) = report.filter(is_believed) else {
            self.counters.rejected += 1;
            return;
        };
        if report.last_sender_report != 0 {
            self.peer_report = Some((report.last_sender_report, now));
        }
        self.round_trip = report.round_trip.or(self.round_trip);
        self.far_loss = report.fraction_lost.or(self.far_loss);
        self.far_jitter_ticks = report.jitter_ticks.or(self.far_jitter_ticks);
        // Signalling ends calls; a goodbye is noted and nothing more.
        self.goodbye |= report.goodbye;
    }

    /// Takes a datagram.
    #[expect(clippy::too_many_arguments, reason = "each is a different thing that the worker owns")]
    pub(super) fn datagram(
        &mut self,
        now: Instant,
        arrived: Instant,
        from: SocketAddr,
        octets: &mut [u8],
        media: &LegMedia,
        ears: &mut Ears,
        srtp: Option<&mut SrtpReceiver>,
        report: &mut dyn FnMut(LegEvent),
    ) {
        let Some(lock) = self.lock.as_mut() else { return };
        // No more than the header: payload and padding may still be encrypted.
        let Ok(header) = Header::read(octets) else {
            self.counters.rejected += 1;
            return;
        };
        // 255 is no payload type.
        let event = media.telephone_event.unwrap_or(255);
        let received_event = media.receive_telephone_event.unwrap_or(event);
        let other = media.alternate.map_or(media.payload_type, |(payload_type, _)| payload_type);
        let noise = media.comfort_noise.unwrap_or(255);
        let payload_types = [media.payload_type, other, received_event, event, noise];
        let mut len = octets.len();
        // Decrypted in place where it is to be taken; nothing moves before it is authentic.
        let authenticate = |claim| {
            let Some(srtp) = srtp else { return true };
            let opened = srtp.open(claim, octets);
            len = opened.unwrap_or(len);
            opened.is_ok()
        };
        match lock.admit_with(now, from, &header, &payload_types, authenticate) {
            Admission::Refused(reason) => {
                self.counters.rejected += 1;
                self.counters.unauthentic += u64::from(reason == Refusal::Unauthentic);
                if matches!(reason, Refusal::Stranger | Refusal::Probation) {
                    self.counters.refused_from = Some(from);
                }
                return;
            }
            Admission::AcceptedNew { from, moved } => {
                self.counters.lost_before += u64::from(self.reception.lost());
                self.jitter.reset();
                self.unwrapped = None;
                ears.current().reset();
                self.digits.reset();
                self.reception = Reception::at(TICKS_PER_SECOND * self.scale);
                if moved {
                    report(LegEvent::SourceLocked(from));
                }
            }
            Admission::Accepted => {}
        }
        let Ok(packet) = Packet::parse(octets.get(..len).unwrap_or_default()) else {
            self.counters.rejected += 1;
            return;
        };
        self.counters.packets += 1;
        self.expecting_since = Some(now);
        self.timed_out = false;
        if header.payload_type == event || header.payload_type == received_event {
            self.reception.record(arrived, header.sequence, None);
            if media.receive
                && let Some(digit) = self.digits.receive(now, header.timestamp, packet.payload)
            {
                report(LegEvent::Digit(digit));
            }
            return;
        }
        let timestamp = self.scaled(header.timestamp);
        self.reception.record(arrived, header.sequence, Some(header.timestamp));
        if header.payload_type == noise {
            if let Some(description) = NoiseDescription::parse(packet.payload) {
                self.noise.get_or_insert_with(|| ComfortNoise::new(header.ssrc)).describe(description);
            }
            self.jitter.pause(header.sequence);
            return;
        }
        if ears.turn_to(header.payload_type) {
            self.jitter.reset();
        }
        let mut room = [0; MAX_PAYLOAD];
        let Some(payload) = ears.current().lay(packet.payload, &mut room) else {
            self.counters.rejected += 1;
            return;
        };
        match self.jitter.insert(arrived, header.sequence, timestamp, payload) {
            Insertion::Kept => self.heard = true,
            Insertion::Duplicate => self.counters.duplicated += 1,
            Insertion::Late => self.counters.late += 1,
            Insertion::Unusable => self.counters.rejected += 1,
        }
    }

    /// Where the audio that is heard comes from.
    pub(super) fn hears_from(&self) -> Option<SocketAddr> {
        self.lock.as_ref().and_then(SourceLock::heard_from)
    }

    /// Puts the next 20 ms into `out`, at the line rate. `None` before the first packet. Without `voice` nobody asks
    /// whether it is voiced.
    pub(super) fn frame(
        &mut self,
        now: Instant,
        ears: &mut Ears,
        voice: Option<&mut VoiceDetector>,
        out: &mut [i16],
    ) -> Option<Heard> {
        if !self.heard {
            return None;
        }
        let ear = ears.current();
        if ear.pace.is_following() {
            self.play_at_pace(now, ear, out);
        } else {
            let playout = self.jitter.pull(now, self.quiet);
            self.note(&playout);
            ear.hear(&playout, beyond(&self.jitter, &playout), out);
            self.look_at_clock(ear);
        }
        let Played { timestamp, arrived, is_idle: idle, is_whole } = self.played;
        if let Some(noise) = self.noise.as_mut().filter(|_| idle) {
            noise.fill(out);
        }
        let turn = PLAYOUT as u32 * self.scale;
        let rtp_timestamp = if idle { self.idle_timestamp } else { timestamp.wrapping_mul(self.scale) };
        self.idle_timestamp = rtp_timestamp.wrapping_add(turn);
        let level = level_dbfs(out);
        let voiced = voice.map(|voice| !idle && narrow(out).is_some_and(|narrow| voice.is_voiced(&narrow)));
        self.quiet = voiced.map_or(level < QUIET_DBFS, |voiced| !voiced);
        Some(Heard {
            rtp_timestamp,
            arrived: arrived.unwrap_or(now),
            voiced: voiced.unwrap_or(false),
            level_dbfs: level,
            concealed: !is_whole,
            idle,
        })
    }

    /// Twenty milliseconds by our clock, of as much as that is by the sender's.
    fn play_at_pace(&mut self, now: Instant, ear: &mut Ear, out: &mut [i16]) {
        while ear.pace.wants_more() {
            self.jitter.follow_clock(ear.pace.held_us());
            let playout = self.jitter.pull(now, self.quiet);
            self.note(&playout);
            ear.keep(&playout, beyond(&self.jitter, &playout));
        }
        self.jitter.follow_clock(ear.pace.held_us());
        if self.jitter.is_playing() {
            ear.pace.steer(self.jitter.drift_ppm().unwrap_or(0.0), self.jitter.late_by_us(now));
        }
        ear.play(out);
    }

    /// Begins to follow the sender's clock once it is seen to drift, in a pause of the caller if there is one.
    fn look_at_clock(&mut self, ear: &mut Ear) {
        if self.jitter.drift_ppm().is_none_or(|ppm| ppm.abs() < WORTH_PPM) {
            self.drifting = 0;
            return;
        }
        self.drifting += 1;
        if self.jitter.is_playing() && (self.quiet || self.drifting > FOLLOW_WITHIN) {
            ear.pace.follow();
        }
    }

    fn note(&mut self, playout: &Playout) {
        if playout.arrived.is_some() {
            self.held = playout.held;
        }
        self.counters.concealed_ms += 10 * playout.halves.iter().filter(|half| **half == Source::Lost).count() as u64;
        self.played = Played {
            timestamp: playout.timestamp,
            arrived: playout.arrived,
            is_idle: playout.halves == [Source::Idle; 2],
            is_whole: playout.halves.iter().all(|half| half.is_audio()),
        };
    }

    /// How long nothing has come although it should, once per silence, when it is longer than `limit`.
    pub(super) fn timeout(&mut self, now: Instant, limit: Duration) -> Option<Duration> {
        let silent_for = now.saturating_duration_since(self.expecting_since?);
        if self.timed_out || silent_for < limit {
            return None;
        }
        self.timed_out = true;
        Some(silent_for)
    }

    /// Whether the peer's audio has begun.
    pub(super) fn hears(&self) -> bool {
        self.heard
    }

    /// By how many microseconds earlier the playouts could be asked for.
    pub(super) fn excess_us(&self, now: Instant) -> Option<i64> {
        self.jitter.excess_us(now)
    }
}

/// What lies behind a playout, for what is missing in it.
fn beyond<'a>(jitter: &'a JitterBuffer, playout: &Playout) -> Option<(usize, &'a [u8; GRANULE])> {
    playout.halves.contains(&Source::Lost).then(|| jitter.beyond()).flatten()
}

//! The jitter buffer: packets in as they come, one frame out every 20 ms.
//!
//! It is a time line of encoded octets for codecs with one octet per tick of an 8 kHz clock (G.711, G.722),
//! cut into granules of 10 ms. Packets of any length up to 120 ms are laid on it by timestamp, so
//! order, repetition and packet time of the sender do not matter. The playout point follows the delay that
//! [`DelayEstimate`] learns; it moves by whole playouts, while the caller is quiet when it can. Finer steps
//! are the asker's: see [`JitterBuffer::excess_us`].

use super::delay::DelayEstimate;
use std::time::{Duration, Instant};

/// Ticks, and octets, of a granule: 10 ms.
pub const GRANULE: usize = 80;
/// Octets of one playout: 20 ms.
pub const PLAYOUT: usize = 2 * GRANULE;
/// Granules the line holds, 1.28 s: a longer burst is an attack or a stall, of which the newest part is kept.
const GRANULES: usize = 128;
/// Longest payload laid on the line, 120 ms.
pub const MAX_PAYLOAD: usize = 960;
/// Duplicates are told from late packets this far back.
const SEEN: u64 = 64;
/// Made-up audio is worth nothing after this many granules without a packet; then the line is idle.
const MAX_STALLED: u32 = 10;
/// Audio is left out when the playout point is this far behind its target, in microseconds: a playout and a bit.
const SLACK_US: i64 = 22_000;
/// Audio is repeated when the playout point is this far before its target.
const TIGHT_US: i64 = 1_000;
/// Off by more than this, it is moved although the caller talks.
const IMPATIENT_US: i64 = 60_000;
/// So many playouts are waited for a pause before audio is left out while the caller talks: 1 s.
const PATIENCE: u32 = 50;
/// Further delay of a buffer whose playouts follow the sender's clock ([`JitterBuffer::follow_clock`]): their phase
/// against the packets goes round, so that at worst a packet comes one playout after the fastest could; what the
/// resampling looks ahead and the jitter that counts as none come on top.
const FOLLOWING_US: i64 = 25_000;
/// There, audio is repeated only when the playout point is this far before its target: smaller steps are the asker's.
const TIGHT_FOLLOWING_US: i64 = 15_000;
/// Off by more than this, it is moved all at once.
const STALE_US: i64 = 200_000;
/// Playouts between two moves: 100 ms.
const MOVE_EVERY: u32 = 5;
const GRANULE_US: i64 = 10_000;
const TICK_US: i64 = 125;

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Insertion {
    /// It will be played.
    Kept,
    /// It came before.
    Duplicate,
    /// Its turn is over.
    Late,
    /// No payload, or more than [`MAX_PAYLOAD`].
    Unusable,
}

/// Where 10 ms of a playout come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Received.
    Audio,
    /// Received, but the line jumped before it: cross-fade.
    AudioAfterJump,
    /// Missing: conceal.
    Lost,
    /// The sender is silent, or nothing has come yet: silence.
    Idle,
}

impl Source {
    /// Whether octets were received for it.
    #[must_use]
    pub const fn is_audio(self) -> bool {
        matches!(self, Self::Audio | Self::AudioAfterJump)
    }
}

/// Twenty milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Playout {
    /// Encoded octets; meaningful where the half's source is audio.
    pub octets: [u8; PLAYOUT],
    /// Of the first and the second 10 ms.
    pub halves: [Source; 2],
    /// So many halves at the beginning are [`Source::Lost`] because the line waits: no packet is missing.
    pub repeated: usize,
    /// Timestamp of the first octet.
    pub timestamp: u32,
    /// When the packet of the first audio half came; `None` without audio.
    pub arrived: Option<Instant>,
    /// From that arrival to this playout.
    pub held: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Granule {
    number: i64,
    /// Octets that came, from and up to: one stretch, or what was here before would be played in its gap.
    from: u8,
    to: u8,
    silent: bool,
    arrived_us: i64,
    octets: [u8; GRANULE],
}

impl Granule {
    const fn is_full(&self) -> bool {
        self.from == 0 && self.to as usize == GRANULE
    }
}

const EMPTY: Granule = Granule { number: i64::MIN, from: 0, to: 0, silent: false, arrived_us: 0, octets: [0; GRANULE] };

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// No line: the next packet starts one.
    Idle,
    /// A line, not yet played from.
    Filling,
    Playing,
}

/// One source's packets. [`Self::reset`] it when the source changes.
#[derive(Debug)]
pub struct JitterBuffer {
    epoch: Instant,
    state: State,
    line: Box<[Granule; GRANULES]>,
    delay: DelayEstimate,
    /// Tick at which granule 0 begins.
    anchor: i64,
    /// Next granule to play.
    cursor: i64,
    /// Tick after the newest one received.
    newest: i64,
    /// Tick up to which the line was played; what lies before it is late.
    played: i64,
    timestamp: Option<(u32, i64)>,
    highest_sequence: Option<i64>,
    seen: u64,
    stalled: u32,
    since_move: u32,
    jumped: bool,
    /// Granules per packet, and the granule at which one began.
    packet: i64,
    /// What the newest packet lacks of a granule, in microseconds: others have to come until one can be played.
    lacks_us: i64,
    packet_began: i64,
    /// Playouts in a row that were too late.
    impatience: u32,
    /// The sender announced silence (RFC 3389), and nothing came since.
    paused: bool,
    /// The asker follows the sender's clock and holds so much decoded audio, in microseconds.
    following: Option<i64>,
}

impl JitterBuffer {
    /// An empty buffer. `now` is only an origin to count from.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            state: State::Idle,
            line: Box::new([EMPTY; GRANULES]),
            delay: DelayEstimate::new(),
            anchor: 0,
            cursor: 0,
            newest: 0,
            played: i64::MIN,
            timestamp: None,
            highest_sequence: None,
            seen: 0,
            stalled: 0,
            since_move: 0,
            jumped: false,
            packet: 2,
            lacks_us: 0,
            packet_began: 0,
            impatience: 0,
            paused: false,
            following: None,
        }
    }

    /// Forgets everything without allocating: another source is heard.
    pub fn reset(&mut self) {
        self.clear_line();
        self.delay.clear();
        self.state = State::Idle;
        self.played = i64::MIN;
        (self.timestamp, self.highest_sequence, self.seen) = (None, None, 0);
        (self.stalled, self.since_move, self.jumped) = (0, 0, false);
        (self.impatience, self.paused, self.following) = (0, false, None);
    }

    /// Says that the asker takes playouts at the pace of the sender's clock, not one per turn, and how much decoded audio
    /// it holds at this moment. Once begun, say it before each turn's first [`Self::pull`].
    pub fn follow_clock(&mut self, held_us: i64) {
        self.following = Some(held_us);
    }

    /// By how many parts per million the sender's clock runs slower than ours (faster, when negative), when it is sure.
    #[must_use]
    pub fn drift_ppm(&self) -> Option<f64> {
        self.delay.drift_ppm()
    }

    /// Whether audio is being played, so that its pace matters.
    #[must_use]
    pub fn is_playing(&self) -> bool {
        self.state == State::Playing && self.stalled == 0
    }

    /// How far what the asker plays next lies behind where it should, in microseconds; for askers that
    /// [follow](Self::follow_clock) the sender's clock.
    #[must_use]
    pub fn late_by_us(&self, now: Instant) -> i64 {
        self.behind_us(now, self.cursor) - self.wanted_us()
    }

    /// The delay that is wanted, in microseconds.
    fn wanted_us(&self) -> i64 {
        self.delay.target_us() + self.lacks_us + if self.following.is_some() { FOLLOWING_US } else { 0 }
    }

    fn clear_line(&mut self) {
        for granule in self.line.iter_mut() {
            granule.number = i64::MIN;
        }
    }

    /// How long the playout point stays behind the fastest packet, as wanted at this moment.
    #[must_use]
    pub fn target(&self) -> Duration {
        Duration::from_micros(self.delay.target_us().unsigned_abs())
    }

    /// By how much the playout point lies behind its target (before it, when negative), in microseconds.
    /// An asker that can choose when to pull gains this much by pulling earlier. `None` when the next pull
    /// does not depend on a fresh packet.
    #[must_use]
    pub fn excess_us(&self, now: Instant) -> Option<i64> {
        if self.state != State::Playing || self.stalled > 0 {
            return None;
        }
        // The packet that holds the second half of the next playout must have come by now.
        let into = (self.cursor + 1 - self.packet_began).rem_euclid(self.packet);
        let began = self.cursor + 1 - into;
        (began >= self.cursor).then(|| self.behind_us(now, began) - self.wanted_us())
    }

    /// Lays a packet on the line.
    pub fn insert(&mut self, arrival: Instant, sequence: u16, timestamp: u32, payload: &[u8]) -> Insertion {
        if payload.is_empty() || payload.len() > MAX_PAYLOAD {
            return Insertion::Unusable;
        }
        let Some(follows) = self.note_sequence(sequence) else { return Insertion::Duplicate };
        let start = self.unwrap_timestamp(timestamp);
        let arrival_us = arrival.saturating_duration_since(self.epoch).as_micros() as i64;
        self.delay.record(arrival_us, start * TICK_US);
        let end = start + payload.len() as i64;
        if end <= self.played {
            return Insertion::Late;
        }
        if self.state == State::Idle {
            self.clear_line();
            (self.anchor, self.cursor, self.newest) = (start, 0, start);
            (self.state, self.stalled) = (State::Filling, 0);
        }
        let number = (start - self.anchor).div_euclid(GRANULE as i64);
        if self.state == State::Filling && number < self.cursor {
            self.cursor = number;
        }
        if number - self.cursor >= GRANULES as i64 - (MAX_PAYLOAD / GRANULE) as i64 - 1 {
            // The clock leapt, or far more came than is ever held: go on from here.
            self.clear_line();
            (self.anchor, self.cursor, self.newest) = (start, 0, start);
            (self.state, self.stalled, self.jumped) = (State::Filling, 0, true);
        }
        if follows && start > self.newest {
            self.mark_silent(self.newest, start);
        }
        self.packet = (payload.len() as i64).div_euclid(GRANULE as i64).max(1);
        self.lacks_us = GRANULE.saturating_sub(payload.len()) as i64 * TICK_US;
        self.packet_began = (start - self.anchor).div_euclid(GRANULE as i64);
        self.lay(start, arrival_us, payload);
        self.newest = self.newest.max(end);
        self.paused &= self.highest_sequence.map(|h| h as u16) != Some(sequence);
        Insertion::Kept
    }

    /// The next 20 ms. `quiet` says that the last frame was not speech, so that audio may be left out or
    /// repeated unnoticed.
    pub fn pull(&mut self, now: Instant, quiet: bool) -> Playout {
        let mut playout = Playout {
            octets: [0; PLAYOUT],
            halves: [Source::Idle; 2],
            repeated: 0,
            timestamp: 0,
            arrived: None,
            held: Duration::ZERO,
        };
        if self.state == State::Filling && self.behind_us(now, self.cursor) + TIGHT_US >= self.wanted_us() {
            self.state = State::Playing;
        }
        let repeated = if self.state == State::Playing { self.move_towards_target(now, quiet) } else { 0 };
        let now_us = now.saturating_duration_since(self.epoch).as_micros() as i64;
        playout.repeated = repeated;
        playout.timestamp = self.timestamp_at(self.cursor);
        for (n, (half, octets)) in playout.halves.iter_mut().zip(playout.octets.chunks_exact_mut(GRANULE)).enumerate() {
            if n < repeated {
                *half = Source::Lost;
                self.jumped = false;
                continue;
            }
            let arrived_us = match self.state {
                State::Playing => self.take_granule(octets, half),
                // The line stands still, the caller's clock does not.
                State::Idle | State::Filling => None,
            };
            if let Some(arrived_us) = arrived_us
                && playout.arrived.is_none()
            {
                playout.arrived = Some(self.epoch + Duration::from_micros(arrived_us.unsigned_abs()));
                playout.held = Duration::from_micros((now_us - arrived_us).max(0).unsigned_abs());
            }
        }
        playout
    }

    /// Takes the granule at the cursor; its arrival when it is audio.
    fn take_granule(&mut self, octets: &mut [u8], half: &mut Source) -> Option<i64> {
        let newest = (self.newest - self.anchor).div_euclid(GRANULE as i64);
        if self.stalled > 0 && newest > self.cursor {
            // Time that passed while nothing came was concealed already: what was lost in it is not
            // concealed again.
            while self.stalled > 0 && self.cursor < newest && !self.holds(self.cursor) {
                self.cursor += 1;
                self.stalled -= 1;
            }
            self.stalled = 0;
        }
        let cursor = self.cursor;
        let jumped = std::mem::take(&mut self.jumped);
        // One that is begun stays: the next packet brings the rest, where packets do not begin with granules.
        if let Some(granule) = self.line.get_mut(cursor.rem_euclid(GRANULES as i64) as usize)
            && granule.number == cursor
        {
            if granule.is_full() {
                granule.number = i64::MIN;
                octets.copy_from_slice(&granule.octets);
                let arrived = granule.arrived_us;
                *half = if jumped { Source::AudioAfterJump } else { Source::Audio };
                self.advance();
                return Some(arrived);
            }
            if granule.silent {
                granule.number = i64::MIN;
                *half = Source::Idle;
                self.advance();
                return None;
            }
        }
        if newest > cursor {
            *half = Source::Lost;
            self.advance();
        } else if self.stalled < MAX_STALLED && !self.paused {
            self.stalled += 1;
            *half = Source::Lost;
        } else {
            self.state = State::Idle;
            *half = Source::Idle;
        }
        None
    }

    fn advance(&mut self) {
        self.cursor += 1;
        self.played = self.anchor + self.cursor * GRANULE as i64;
    }

    fn holds(&self, number: i64) -> bool {
        self.line
            .get(number.rem_euclid(GRANULES as i64) as usize)
            .is_some_and(|g| g.number == number && (g.is_full() || g.silent))
    }

    /// Leaves granules out when the playout point is behind its target, or says how many to make up when it is
    /// before it.
    fn move_towards_target(&mut self, now: Instant, quiet: bool) -> usize {
        self.since_move = self.since_move.saturating_add(1);
        if self.since_move < MOVE_EVERY {
            return 0;
        }
        let Some(excess) = self.excess_us(now) else { return 0 };
        self.impatience = if excess > SLACK_US { self.impatience.saturating_add(1) } else { 0 };
        let tight = if self.following.is_some() { TIGHT_FOLLOWING_US } else { TIGHT_US };
        // Packets of 20 ms stay aligned with playouts: half a packet of delay would gain nothing.
        let step = if self.packet % 2 == 0 { 2 } else { 1 };
        let skip = if excess > STALE_US {
            excess / (step * GRANULE_US) * step
        } else if excess > IMPATIENT_US || (excess > SLACK_US && (quiet || self.impatience > PATIENCE)) {
            step
        } else {
            if quiet && excess < -tight {
                self.since_move = 0;
                return step as usize;
            }
            return 0;
        };
        // Never past the newest audio: it is all there is.
        let newest = (self.newest - self.anchor).div_euclid(GRANULE as i64);
        if self.cursor + skip < newest {
            self.cursor += skip;
            self.played = self.anchor + self.cursor * GRANULE as i64;
            (self.since_move, self.jumped) = (0, true);
        }
        0
    }

    /// What has come behind the last playout: how many granules are missing first, fewer than those of the longest packet,
    /// and the octets after them.
    #[must_use]
    pub fn beyond(&self) -> Option<(usize, &[u8; GRANULE])> {
        for missing in 0..MAX_PAYLOAD / GRANULE {
            let number = self.cursor + missing as i64;
            let granule = self.line.get(number.rem_euclid(GRANULES as i64) as usize)?;
            if granule.number == number && (granule.is_full() || granule.silent) {
                return granule.is_full().then_some((missing, &granule.octets));
            }
        }
        None
    }

    /// Where the next playout lies or will lie, for whoever brings it near before it is asked for.
    #[must_use]
    pub fn coming(&self) -> &[impl Sized + use<>] {
        let at = self.cursor.rem_euclid(GRANULES as i64) as usize;
        self.line.get(at..(at + PLAYOUT / GRANULE).min(GRANULES)).unwrap_or_default()
    }

    /// The sender says that it is silent from here on (RFC 3389): nothing is made up for what does not come.
    pub fn pause(&mut self, sequence: u16) {
        self.paused =
            self.note_sequence(sequence).is_some() && self.highest_sequence.map(|h| h as u16) == Some(sequence);
    }

    /// How far granule `number` is behind the fastest packet, in microseconds.
    fn behind_us(&self, now: Instant, number: i64) -> i64 {
        let now_us = now.saturating_duration_since(self.epoch).as_micros() as i64;
        now_us - (self.anchor + number * GRANULE as i64) * TICK_US - self.delay.base() + self.following.unwrap_or(0)
    }

    fn timestamp_at(&self, number: i64) -> u32 {
        let Some((timestamp, tick)) = self.timestamp else { return 0 };
        timestamp.wrapping_add((self.anchor + number * GRANULE as i64 - tick) as u32)
    }

    /// Puts the timestamp on a line without wraps.
    fn unwrap_timestamp(&mut self, timestamp: u32) -> i64 {
        let tick = match self.timestamp {
            Some((last, tick)) => tick + i64::from(timestamp.wrapping_sub(last) as i32),
            None => 0,
        };
        self.timestamp = Some((timestamp, tick));
        tick
    }

    /// Records a sequence number: `None` for a duplicate, else whether it directly follows the highest.
    fn note_sequence(&mut self, sequence: u16) -> Option<bool> {
        let Some(highest) = self.highest_sequence else {
            self.highest_sequence = Some(i64::from(sequence));
            self.seen = 1;
            return Some(false);
        };
        let ahead = i64::from(sequence.wrapping_sub(highest as u16) as i16);
        if ahead > 0 {
            self.seen = self.seen.checked_shl(ahead.min(64) as u32).unwrap_or(0) | 1;
            self.highest_sequence = Some(highest + ahead);
            return Some(ahead == 1);
        }
        let back = ahead.unsigned_abs();
        if back < SEEN {
            if self.seen & 1 << back != 0 {
                return None;
            }
            self.seen |= 1 << back;
        }
        Some(false)
    }

    /// The sender left out `from..to` on purpose: no packet is missing before `to`.
    fn mark_silent(&mut self, from: i64, to: i64) {
        let first = (from - self.anchor + GRANULE as i64 - 1).div_euclid(GRANULE as i64);
        let last = (to - self.anchor).div_euclid(GRANULE as i64);
        for number in first.max(self.cursor)..last.min(self.cursor + GRANULES as i64) {
            if let Some(granule) = self.line.get_mut(number.rem_euclid(GRANULES as i64) as usize)
                && granule.number != number
            {
                (granule.number, granule.from, granule.to, granule.silent) = (number, 0, 0, true);
            }
        }
    }

    fn lay(&mut self, start: i64, arrival_us: i64, payload: &[u8]) {
        let mut tick = start - self.anchor;
        let mut rest = payload;
        while !rest.is_empty() {
            let number = tick.div_euclid(GRANULE as i64);
            let offset = tick.rem_euclid(GRANULE as i64) as usize;
            let (now, later) = rest.split_at(rest.len().min(GRANULE - offset));
            if number >= self.cursor
                && let Some(granule) = self.line.get_mut(number.rem_euclid(GRANULES as i64) as usize)
            {
                if granule.number != number {
                    (granule.number, granule.from, granule.to, granule.silent) = (number, 0, 0, false);
                }
                let (from, to) = (offset as u8, (offset + now.len()) as u8);
                if granule.to == 0 {
                    (granule.from, granule.to, granule.arrived_us) = (from, to, arrival_us);
                }
                if from <= granule.to
                    && granule.from <= to
                    && let Some(room) = granule.octets.get_mut(offset..offset + now.len())
                {
                    room.copy_from_slice(now);
                    (granule.from, granule.to) = (granule.from.min(from), granule.to.max(to));
                }
            }
            tick += now.len() as i64;
            rest = later;
        }
    }
}

#[cfg(test)]
mod tests;

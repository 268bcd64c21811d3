//! Keypad digits as telephone-events (RFC 4733).

use super::{Header, SendSession};
use std::time::{Duration, Instant};

/// Octets of a telephone-event payload.
pub const EVENT_LEN: usize = 4;
/// A digit as we send it lasts this long in ticks of 8 kHz: 100 ms, above the 40 ms every receiver accepts (ITU-T Q.24).
pub const TONE_TICKS: u16 = 800;
/// Pause after a digit of ours in ticks of 8 kHz: 60 ms, as ITU-T Q.24 asks of a sender.
pub const PAUSE_TICKS: u32 = 480;
/// The end of an event is sent this often (RFC 4733 §2.5.1.4).
const END_REPEATS: u8 = 3;
/// Two packets of one press lie closer than this; used only for senders that change the timestamp within one.
const SAME_PRESS: Duration = Duration::from_millis(80);
/// Two segments of one long press may lie this far apart: their timestamps tell that they belong together.
const SAME_LONG_PRESS: Duration = Duration::from_millis(250);
/// An overtaken packet is not older than this: a timestamp that steps back later is of a clock that began anew.
const OVERTAKEN: Duration = Duration::from_secs(1);
/// Ticks of 8 kHz per update while a digit of ours lasts.
const TICKS_PER_PACKET: u16 = 160;

/// The character of an event code: `0`–`9`, `*`, `#`, `A`–`D`.
#[must_use]
pub const fn digit_of(event: u8) -> Option<char> {
    match event {
        0..=9 => Some((b'0' + event) as char),
        10 => Some('*'),
        11 => Some('#'),
        12..=15 => Some((b'A' + event - 12) as char),
        _ => None,
    }
}

/// The event code of a character.
#[must_use]
pub const fn event_of(digit: char) -> Option<u8> {
    match digit {
        '0'..='9' => Some(digit as u8 - b'0'),
        '*' => Some(10),
        '#' => Some(11),
        'A'..='D' => Some(digit as u8 - b'A' + 12),
        'a'..='d' => Some(digit as u8 - b'a' + 12),
        _ => None,
    }
}

#[derive(Clone, Copy, Debug)]
struct Press {
    timestamp: u32,
    event: u8,
    duration: u16,
    ended: bool,
    last: Instant,
}

/// Turns telephone-events into digits, exactly one per press.
///
/// A press is known by its timestamp, so it counts from whichever of its packets comes first: the marker
/// may be missing, repeats are ignored, and an end that was lost is not waited for.
#[derive(Debug)]
pub struct DigitReceiver {
    press: Option<Press>,
    /// Ticks of the events' clock per tick of 8 kHz.
    scale: u32,
}

impl Default for DigitReceiver {
    /// For events at 8 kHz.
    fn default() -> Self {
        Self { press: None, scale: 1 }
    }
}

impl DigitReceiver {
    /// Says how fast the clock of the events ticks: 8,000, 16,000 or 48,000 times per second.
    pub fn set_clock_rate(&mut self, clock_rate: u32) {
        self.scale = (clock_rate / 8_000).clamp(1, 6);
    }

    /// Takes the payload of a telephone-event packet that the source lock admitted; a digit when a press begins.
    pub fn receive(&mut self, now: Instant, timestamp: u32, payload: &[u8]) -> Option<char> {
        let [event, flags, d0, d1] = *payload.get(..EVENT_LEN)? else { return None };
        let digit = digit_of(event)?;
        let (ended, duration) = (flags & 0x80 != 0, u16::from_be_bytes([d0, d1]));
        if let Some(press) = self.press.as_mut() {
            let ahead = timestamp.wrapping_sub(press.timestamp);
            if ahead == 0 {
                press.ended |= ended;
                press.duration = press.duration.max(duration);
                press.last = now;
                return None;
            }
            let since = now.saturating_duration_since(press.last);
            if ahead >= 1 << 31 && since < OVERTAKEN {
                // A packet of an earlier press that was overtaken.
                return None;
            }
            // RFC 4733 §2.5.1.3: a press longer than 65,535 ticks goes on as a further segment.
            let packet = self.scale * u32::from(TICKS_PER_PACKET);
            let segment = since < SAME_LONG_PRESS && ahead.abs_diff(u32::from(u16::MAX)) <= 2 * packet;
            // Senders that move the timestamp with every packet: the duration keeps growing.
            let drifting = since < SAME_PRESS && ahead <= 3 * packet && duration > press.duration;
            if press.event == event && !press.ended && (segment || drifting) {
                *press = Press { timestamp, event, duration, ended, last: now };
                return None;
            }
        }
        self.press = Some(Press { timestamp, event, duration, ended, last: now });
        Some(digit)
    }

    /// Forgets the press in progress: the stream is a new one.
    pub fn reset(&mut self) {
        self.press = None;
    }
}

/// Sends digits one after the other. Call [`Self::next_packet`] every 20 ms in place of an audio packet.
#[derive(Debug)]
pub struct DigitSender {
    queue: [u8; QUEUE],
    queued: usize,
    state: SenderState,
}

/// Digits that can wait.
const QUEUE: usize = 32;

#[derive(Clone, Copy, Debug)]
enum SenderState {
    Idle,
    Tone { event: u8, timestamp: u32, duration: u16 },
    End { event: u8, timestamp: u32, repeats: u8 },
    Pause { ticks: u32 },
}

/// What to send in this 20 ms instead of audio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DigitTurn {
    /// Nothing of ours: send audio.
    Audio,
    /// This event packet; the session's clock moves on by 20 ms.
    Event(Header, [u8; EVENT_LEN]),
    /// Silence between two digits: send audio that is silent.
    Silence,
}

impl Default for DigitSender {
    fn default() -> Self {
        Self { queue: [0; QUEUE], queued: 0, state: SenderState::Idle }
    }
}

impl DigitSender {
    /// Queues a digit; false when it is none or 32 wait already.
    pub fn push(&mut self, digit: char) -> bool {
        let (Some(event), Some(slot)) = (event_of(digit), self.queue.get_mut(self.queued)) else { return false };
        *slot = event;
        self.queued += 1;
        true
    }

    /// Whether a digit is being sent or waits.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.queued > 0 || !matches!(self.state, SenderState::Idle)
    }

    /// What to send in this 20 ms. `event_rate` is the clock rate of the telephone-events, `ticks` what 20 ms are in
    /// that of the stream; they differ only with peers that know events at 8 kHz alone.
    pub fn next_packet(
        &mut self,
        session: &mut SendSession,
        payload_type: u8,
        event_rate: u32,
        ticks: u32,
    ) -> DigitTurn {
        if matches!(self.state, SenderState::Idle) {
            let Some(event) = self.queue.first().copied().filter(|_| self.queued > 0) else { return DigitTurn::Audio };
            self.queue.rotate_left(1);
            self.queued -= 1;
            self.state = SenderState::Tone { event, timestamp: session.timestamp(), duration: 0 };
        }
        let (event, timestamp, flags, duration, marker) = match self.state {
            SenderState::Idle => return DigitTurn::Audio,
            SenderState::Pause { ticks } => {
                self.state = match ticks.saturating_sub(u32::from(TICKS_PER_PACKET)) {
                    0 => SenderState::Idle,
                    ticks => SenderState::Pause { ticks },
                };
                return DigitTurn::Silence;
            }
            SenderState::Tone { event, timestamp, duration } => {
                let first = duration == 0;
                let duration = duration + TICKS_PER_PACKET;
                self.state = if duration >= TONE_TICKS {
                    SenderState::End { event, timestamp, repeats: END_REPEATS }
                } else {
                    SenderState::Tone { event, timestamp, duration }
                };
                (event, timestamp, 0, duration, first)
            }
            SenderState::End { event, timestamp, repeats } => {
                self.state = match repeats - 1 {
                    0 => SenderState::Pause { ticks: PAUSE_TICKS },
                    repeats => SenderState::End { event, timestamp, repeats },
                };
                (event, timestamp, 0x80, TONE_TICKS, false)
            }
        };
        let header = session.event_header(payload_type, timestamp, marker, EVENT_LEN);
        session.skip(ticks);
        // 100 ms at 48 kHz are 4,800 ticks.
        let [d0, d1] = duration.saturating_mul((event_rate / 8_000).clamp(1, 6) as u16).to_be_bytes();
        // Volume −10 dBm0 (RFC 4733 §2.3.3).
        DigitTurn::Event(header, [event, flags | 10, d0, d1])
    }
}

#[cfg(test)]
mod tests;

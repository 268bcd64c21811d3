//! What one call hears, packet by packet: what came back when, what was lost, how evenly it came.

use super::figures::Sound;
use super::limits::{LOST_AFTER, REMEMBERED};
use super::sounds::{Codec, Mark, Sounds, find_mark, is_voiced, onset};
use super::turns::{Answer, Say, Turns};
use crate::audio::codec::{CodecError, Decoder, MAX_PACKET_SAMPLES};
use crate::rtp::Packet;

/// Packets without a tone before the next one is taken for a tone of ours: 200 ms.
const QUIET: u32 = 10;
/// A gap between timestamps longer than this, in microseconds, is a pause and no matter of pacing.
const PAUSE_US: u64 = 200_000;

/// When a packet left, and whether its mark is back.
#[derive(Clone, Copy, Default, Debug)]
struct Sent {
    number: u32,
    at_us: u64,
    is_back: bool,
}

/// The newest packet of the far side.
#[derive(Clone, Copy, Debug)]
struct Newest {
    sequence: u16,
    timestamp: u32,
    at_us: u64,
    /// The 64 packets up to it, bit 0 the newest: which came.
    came: u64,
}

/// One call's ear. Times are microseconds of one clock.
#[derive(Debug)]
pub struct Hearing {
    codec: Codec,
    call: usize,
    sent: Box<[Sent; REMEMBERED]>,
    newest: Option<Newest>,
    decoder: Option<Decoder>,
    /// When the last tone left, until it is back.
    tone: Option<u64>,
    quiet: u32,
    turns: Turns,
}

impl Hearing {
    /// The ear of call number `call`, which sends `sounds`.
    ///
    /// # Errors
    /// The codec's.
    pub fn new(codec: Codec, sounds: &Sounds, call: usize) -> Result<Self, CodecError> {
        Ok(Self {
            codec,
            call,
            sent: Box::new([Sent::default(); REMEMBERED]),
            newest: None,
            decoder: if sounds.are_marks() { None } else { Some(Decoder::new(codec.coding())?) },
            tone: None,
            quiet: QUIET,
            turns: Turns::new(sounds.speech_len()),
        })
    }

    /// Notes that packet `number` leaves at `at_us`, and says which packet of the speech it carries, if any.
    pub fn sends(&mut self, sounds: &Sounds, number: u32, at_us: u64, sound: &mut Sound) -> Option<usize> {
        if sounds.are_marks() {
            if let Some(old) = number.checked_sub(LOST_AFTER)
                && let Some(entry) = self.sent.get(old as usize % REMEMBERED)
                && entry.number == old
                && entry.at_us > 0
                && !entry.is_back
            {
                sound.marks_lost += 1;
            }
            if let Some(entry) = self.sent.get_mut(number as usize % REMEMBERED) {
                *entry = Sent { number, at_us, is_back: false };
            }
            return None;
        }
        if sounds.is_tone(self.call, number) {
            // One that was not heard for a whole second is lost.
            sound.marks_lost += u64::from(self.tone.replace(at_us).is_some());
            return None;
        }
        if sounds.speech_len() == 0 {
            return None;
        }
        let (say, answer) = self.turns.next(at_us);
        sound.unanswered_turns += u64::from(answer == Some(Answer::Never));
        if let Say::Speech(at) = say { Some(at) } else { None }
    }

    /// A packet of the far side that reached us at `at_us`.
    pub fn hears(&mut self, packet: &Packet<'_>, at_us: u64, sound: &mut Sound) {
        sound.received += 1;
        let is_copy = self.note_order(packet, at_us, sound);
        if is_copy || packet.header.payload_type != self.codec.payload_type() {
            return;
        }
        let Some(decoder) = &mut self.decoder else {
            // The mark of another call is audio that was mixed up: not ours, so ours is lost.
            if let Some(mark) = find_mark(packet.payload).filter(|mark| mark.call == self.call) {
                self.note_mark(mark, at_us, sound);
            }
            return;
        };
        let mut samples = [0; MAX_PACKET_SAMPLES];
        let Ok(length) = decoder.decode(packet.payload, &mut samples) else { return };
        let samples = samples.get(..length).unwrap_or_default();
        if let Some(Answer::After(us)) = self.turns.heard(is_voiced(samples), at_us) {
            sound.turn.record(us);
        }
        match onset(samples) {
            Some(at) if self.quiet >= QUIET => {
                if let Some(left_us) = self.tone.take() {
                    let plays_us = at_us + at as u64 * 1_000_000 / u64::from(self.codec.coding().sample_rate().0);
                    sound.marks_back += 1;
                    sound.round_trip.record(plays_us.saturating_sub(left_us));
                }
                self.quiet = 0;
            }
            Some(_) => self.quiet = 0,
            None => self.quiet = self.quiet.saturating_add(1),
        }
    }

    fn note_mark(&mut self, mark: Mark, at_us: u64, sound: &mut Sound) {
        let Some(entry) = self.sent.get_mut(mark.number as usize % REMEMBERED) else { return };
        // The mark holds 18 bits of the number.
        if entry.number & 0x3_ffff != mark.number || entry.at_us == 0 || entry.is_back {
            return;
        }
        entry.is_back = true;
        sound.marks_back += 1;
        // A mark within a packet is played that much after the packet's beginning.
        let plays_us = at_us + mark.offset as u64 * 125;
        sound.round_trip.record(plays_us.saturating_sub(entry.at_us));
    }

    /// Counts what is missing, doubled or out of order, and how evenly packets came; true for a copy.
    fn note_order(&mut self, packet: &Packet<'_>, at_us: u64, sound: &mut Sound) -> bool {
        let (sequence, timestamp) = (packet.header.sequence, packet.header.timestamp);
        let Some(newest) = &mut self.newest else {
            self.newest = Some(Newest { sequence, timestamp, at_us, came: 1 });
            return false;
        };
        let ahead = sequence.wrapping_sub(newest.sequence) as i16;
        if ahead <= 0 {
            let bit = 1u64.checked_shl(u32::from(ahead.unsigned_abs())).unwrap_or(0);
            if bit == 0 {
                // Far behind: the far side began to count anew.
                self.newest = Some(Newest { sequence, timestamp, at_us, came: 1 });
                return false;
            }
            let is_copy = newest.came & bit != 0;
            newest.came |= bit;
            if is_copy {
                sound.duplicates += 1;
            } else {
                sound.reordered += 1;
                sound.missing -= 1;
            }
            return is_copy;
        }
        let ahead = ahead.unsigned_abs();
        if u32::from(ahead) > LOST_AFTER {
            self.newest = Some(Newest { sequence, timestamp, at_us, came: 1 });
            return false;
        }
        sound.missing += i64::from(ahead) - 1;
        if ahead == 1 {
            let ticks = u64::from(timestamp.wrapping_sub(newest.timestamp));
            let meant_us = ticks * 1_000_000 / u64::from(self.codec.coding().clock_rate());
            if (1..PAUSE_US).contains(&meant_us) {
                sound.pacing.record(at_us.saturating_sub(newest.at_us).abs_diff(meant_us));
            }
        }
        let came = newest.came.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
        *newest = Newest { sequence, timestamp, at_us, came };
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::sounds::Kind;
    use super::*;
    use crate::rtp::Header;

    const TICK_US: u64 = 20_000;
    /// Some time that is not zero.
    const START_US: u64 = 1_000_000;

    struct Line {
        sounds: Sounds,
        hearing: Hearing,
        sound: Sound,
    }

    impl Line {
        fn new(kind: &Kind) -> Self {
            let sounds = Sounds::new(Codec::Pcmu, kind).unwrap();
            Self { hearing: Hearing::new(Codec::Pcmu, &sounds, 3).unwrap(), sounds, sound: Sound::default() }
        }

        fn send(&mut self, number: u32) -> Vec<u8> {
            let at_us = START_US + u64::from(number) * TICK_US;
            let speech = self.hearing.sends(&self.sounds, number, at_us, &mut self.sound);
            let mut payload = Vec::new();
            self.sounds.write(3, number, speech, &mut payload);
            payload
        }

        fn hear(&mut self, sequence: u16, at_us: u64, payload: &[u8]) {
            let header = Header { sequence, timestamp: u32::from(sequence) * 160, ..Header::default() };
            self.hearing.hears(&Packet { header, payload }, at_us, &mut self.sound);
        }
    }

    #[test]
    fn each_mark_is_timed_once_and_what_is_not_back_within_a_second_is_lost() {
        let mut line = Line::new(&Kind::Marks);
        for number in 0..200 {
            let payload = line.send(number);
            if number % 10 != 0 {
                let at = START_US + u64::from(number) * TICK_US + 7_000;
                line.hear(number as u16, at, &payload);
                line.hear(number as u16, at + 100, &payload);
            }
        }
        let sound = &line.sound;
        assert_eq!((sound.marks_back, sound.duplicates, sound.received), (180, 180, 360));
        assert_eq!(sound.marks_lost, 15, "those of the last second may still come");
        assert!((sound.round_trip.ms(0.5).unwrap() - 7.0).abs() < 0.1);
        assert_eq!(sound.missing, 19);
    }

    #[test]
    fn the_audio_of_another_call_is_not_taken_for_ours() {
        let mut line = Line::new(&Kind::Marks);
        for number in 0..100 {
            line.send(number);
            let mut other = Vec::new();
            line.sounds.write(4, number, None, &mut other);
            line.hear(number as u16, START_US + u64::from(number) * TICK_US, &other);
        }
        assert_eq!((line.sound.marks_back, line.sound.marks_lost), (0, 50));
    }

    #[test]
    fn pacing_is_the_distance_from_what_the_timestamps_say() {
        let mut line = Line::new(&Kind::Marks);
        for sequence in 0..100u16 {
            let late = if sequence == 50 { 5_000 } else { 0 };
            line.hear(sequence, START_US + u64::from(sequence) * TICK_US + late, &[0xff; 160]);
        }
        assert_eq!(line.sound.pacing.count(), 99);
        assert_eq!(line.sound.pacing.count_between(4_900, 5_100), 2);
        assert!(line.sound.pacing.ms(0.9).unwrap() < 0.1);
    }

    #[test]
    fn late_packets_are_reordered_and_no_longer_missing_and_a_new_count_is_no_loss() {
        let mut line = Line::new(&Kind::Marks);
        for sequence in [65_534, 65_535, 1, 0, 2, 30_000, 30_001] {
            line.hear(sequence, START_US, &[0xff; 160]);
        }
        let sound = &line.sound;
        assert_eq!((sound.missing, sound.reordered, sound.duplicates), (0, 1, 0));
    }

    #[test]
    fn the_echo_of_a_tone_is_timed_to_the_sample_and_a_silent_far_side_loses_them() {
        let mut line = Line::new(&Kind::Tones);
        // The far side shifts everything by 45 ms: two packets and 40 samples.
        let mut echo = vec![0xff; 320 + 40];
        for number in 0..500 {
            echo.extend(line.send(number));
            let payload: Vec<u8> = echo.drain(..160).collect();
            line.hear(number as u16, START_US + u64::from(number) * TICK_US, &payload);
        }
        assert_eq!((line.sound.marks_back, line.sound.marks_lost), (10, 0));
        let (least, most) = (line.sound.round_trip.ms(0.0).unwrap(), line.sound.round_trip.max_ms().unwrap());
        assert!(least > 44.8 && most < 45.2, "{least} to {most} ms");

        let mut mute = Line::new(&Kind::Tones);
        for number in 0..500 {
            mute.send(number);
        }
        assert_eq!((mute.sound.marks_back, mute.sound.marks_lost), (0, 9));
    }

    #[test]
    fn a_turn_is_timed_from_the_last_voiced_packet_to_the_first_voiced_answer() {
        let voice: Vec<i16> = (0..160 * 10).map(|t| if t % 2 == 0 { 4_000 } else { -4_000 }).collect();
        let mut line = Line::new(&Kind::Speech(voice));
        let mut loud = Vec::new();
        Sounds::new(Codec::Pcmu, &Kind::Tones).unwrap().write(0, 0, None, &mut loud);
        let mut spoken_until = None;
        for number in 0..400 {
            let payload = line.send(number);
            let now = START_US + u64::from(number) * TICK_US;
            if payload.iter().any(|octet| *octet != 0xff) {
                spoken_until = Some(now + TICK_US);
            }
            let answers = spoken_until.is_some_and(|until| now >= until + 600_000);
            line.hear(number as u16, now, if answers { &loud } else { &[0xff; 160] });
            if answers {
                break;
            }
        }
        assert_eq!(line.sound.turn.count(), 1);
        assert!((line.sound.turn.ms(0.5).unwrap() - 600.0).abs() < 1.0, "{:?}", line.sound.turn.ms(0.5));
    }
}

//! From payloads to samples at the line rate: the jitter buffer's time line on one side, a decoder on the other.
//!
//! The jitter buffer holds octets of an 8 kHz clock, 80 for each 10 ms. G.711 and G.722 have just that many. A packet of
//! Opus has not: it is kept beside the line, and a mark that leads to it is laid upon the line in its place.

use super::MediaError;
use super::converter::Converter;
use super::drift::Pace;
use crate::audio::codec::{Coding, Decoder};
use crate::audio::frame::{FULLBAND_FRAME, NARROWBAND_FRAME};
use crate::base::SampleRate;
use crate::rtp::jitter::{GRANULE, MAX_PAYLOAD, Playout, Source};
use std::ops::Range;

/// Packets kept beside the line: twice as many of 10 ms as it holds, so that shorter ones find room.
const PACKETS: usize = 256;
/// Octets kept beside the line: 1.28 s at 128 kbit/s. A peer that sends more loses what waits longest.
const KEPT: usize = 20_480;
/// Ticks of the jitter buffer in a millisecond.
const TICKS_PER_MS: usize = 8;
/// Ticks of a piece, 2.5 ms: the shortest packet of Opus, of which every other one is a multiple.
const PIECE: usize = GRANULE / 4;
/// Set in every mark, so that a piece of silence is not taken for one.
const MARK: u8 = 0xA5;
/// Octets of a mark.
const MARK_LEN: usize = 4;

#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    number: u16,
    /// Counted from the first octet ever kept.
    start: u64,
    len: usize,
}

/// The packets of a codec whose octets do not tell time.
#[derive(Debug)]
struct Packets {
    octets: Box<[u8; KEPT]>,
    entries: Box<[Kept; PACKETS]>,
    written: u64,
    next: u16,
    /// The packet that was decoded last, and what it held.
    decoded: Option<u16>,
    samples: Box<[i16]>,
    len: usize,
    /// Of `samples`, what is still to be heard of a gap that the packet behind it has filled; then nothing is `decoded`.
    recovered: Range<usize>,
}

impl Packets {
    fn new(rate: SampleRate) -> Self {
        Self {
            octets: Box::new([0; KEPT]),
            entries: Box::new([Kept::default(); PACKETS]),
            written: 0,
            next: 0,
            decoded: None,
            samples: vec![0; rate.samples_in_ms(crate::audio::codec::MAX_PACKET_MS)].into_boxed_slice(),
            len: 0,
            recovered: 0..0,
        }
    }

    /// Keeps a packet; its number.
    fn keep(&mut self, payload: &[u8]) -> Option<u16> {
        let at = (self.written % KEPT as u64) as usize;
        // A packet lies in one piece.
        let skipped = if at + payload.len() > KEPT { KEPT - at } else { 0 };
        let start = self.written + skipped as u64;
        let at = (start % KEPT as u64) as usize;
        self.octets.get_mut(at..at + payload.len())?.copy_from_slice(payload);
        let number = self.next;
        *self.entries.get_mut(usize::from(number) % PACKETS)? = Kept { number, start, len: payload.len() };
        self.written = start + payload.len() as u64;
        self.next = number.wrapping_add(1);
        if self.decoded == Some(number) {
            self.decoded = None;
        }
        Some(number)
    }

    /// The packet of that number, unless it was overwritten.
    fn get(&self, number: u16) -> Option<&[u8]> {
        let Kept { number: kept, start, len } = *self.entries.get(usize::from(number) % PACKETS)?;
        if len == 0 || kept != number || start + (KEPT as u64) < self.written {
            return None;
        }
        let at = (start % KEPT as u64) as usize;
        self.octets.get(at..at + len)
    }
}

/// What a mark says: which packet, and which piece of it.
fn read_mark(octets: &[u8]) -> Option<(u16, usize)> {
    match octets {
        [low, high, piece, MARK, ..] => Some((u16::from_le_bytes([*low, *high]), usize::from(*piece))),
        _ => None,
    }
}

/// How many granules are missing, and what comes after them.
type Beyond<'a> = Option<(usize, &'a [u8; GRANULE])>;

/// What lies behind the gap that half `n` of a playout is in; the count includes that half.
fn following<'a>(playout: &'a Playout, n: usize, beyond: Beyond<'a>) -> Beyond<'a> {
    let (octets, _) = playout.octets.as_chunks::<GRANULE>();
    let mut gap = 0;
    for (half, octets) in playout.halves.iter().zip(octets).skip(n) {
        match half {
            Source::Lost => gap += 1,
            Source::Audio | Source::AudioAfterJump => return Some((gap, octets)),
            Source::Idle => return None,
        }
    }
    beyond.map(|(more, octets)| (gap + more, octets))
}

/// One codec that may arrive.
#[derive(Debug)]
pub(super) struct Ear {
    pub(super) payload_type: u8,
    pub(super) coding: Coding,
    decoder: Decoder,
    packets: Option<Packets>,
    /// From the codec's rate to the line rate, where they differ.
    to_line: Option<Converter>,
    /// Follows the sender's clock once it is seen to drift.
    pub(super) pace: Pace,
}

impl Ear {
    /// An ear on a leg of this line rate. Allocates.
    pub(super) fn new(payload_type: u8, coding: Coding, line: SampleRate) -> Result<Self, MediaError> {
        let to_line = Converter::new(coding.sample_rate(), line)?;
        let packets = matches!(coding, Coding::Opus(_)).then(|| Packets::new(coding.sample_rate()));
        let pace = Pace::new(coding.sample_rate().samples_in_ms(20));
        Ok(Self { payload_type, coding, decoder: Decoder::new(coding)?, packets, to_line, pace })
    }

    /// Goes on where another ear of the same codec was.
    pub(super) fn take_over(&mut self, before: &mut Self) {
        if self.coding == before.coding {
            std::mem::swap(&mut self.decoder, &mut before.decoder);
            std::mem::swap(&mut self.packets, &mut before.packets);
            std::mem::swap(&mut self.to_line, &mut before.to_line);
            std::mem::swap(&mut self.pace, &mut before.pace);
        }
    }

    /// What is laid on the jitter buffer's line for a payload: itself, or marks in `room`. `None` for what cannot be
    /// played.
    pub(super) fn lay<'a>(&mut self, payload: &'a [u8], room: &'a mut [u8; MAX_PAYLOAD]) -> Option<&'a [u8]> {
        let Some(packets) = &mut self.packets else { return Some(payload) };
        let samples = self.decoder.duration(payload);
        let ticks = samples * TICKS_PER_MS * 1_000 / self.coding.sample_rate().0 as usize;
        let room = room.get_mut(..ticks).filter(|_| ticks > 0)?;
        let [low, high] = packets.keep(payload)?.to_le_bytes();
        for (n, mark) in room.chunks_mut(MARK_LEN).enumerate() {
            let piece = (n * MARK_LEN / PIECE) as u8;
            for (slot, octet) in mark.iter_mut().zip([low, high, piece, MARK]) {
                *slot = octet;
            }
        }
        Some(room)
    }

    /// Decodes a playout, makes up what is missing, and puts 20 ms at the line rate into `out`. `beyond` is what lies on
    /// the line behind the playout ([`crate::rtp::JitterBuffer::beyond`]).
    pub(super) fn hear(&mut self, playout: &Playout, beyond: Beyond<'_>, out: &mut [i16]) {
        let mut samples = [0; FULLBAND_FRAME];
        let Some(samples) = samples.get_mut(..self.frame()) else { return };
        self.fill(playout, beyond, samples);
        self.pace.pass(samples);
        self.put(samples, out);
    }

    /// The same for a leg that follows the sender's clock: what was decoded waits.
    pub(super) fn keep(&mut self, playout: &Playout, beyond: Beyond<'_>) {
        let mut samples = [0; FULLBAND_FRAME];
        let Some(samples) = samples.get_mut(..self.frame()) else { return };
        self.fill(playout, beyond, samples);
        self.pace.push(samples);
    }

    /// Puts 20 ms of what waits into `out`, at the line rate.
    pub(super) fn play(&mut self, out: &mut [i16]) {
        let mut samples = [0; FULLBAND_FRAME];
        let Some(samples) = samples.get_mut(..self.frame()) else { return };
        self.pace.play(samples);
        self.put(samples, out);
    }

    /// Samples of 20 ms at the codec's rate.
    fn frame(&self) -> usize {
        self.coding.sample_rate().samples_in_ms(20)
    }

    fn fill(&mut self, playout: &Playout, beyond: Beyond<'_>, samples: &mut [i16]) {
        let frame = samples.len();
        let halves = playout.halves.iter().zip(playout.octets.chunks_exact(GRANULE)).enumerate();
        for ((n, (half, octets)), piece) in halves.zip(samples.chunks_exact_mut(frame / 2)) {
            match half {
                Source::Audio | Source::AudioAfterJump => {
                    if *half == Source::AudioAfterJump {
                        self.decoder.skipped();
                    }
                    if !self.decode(octets, piece) {
                        self.decoder.conceal(piece);
                    }
                }
                Source::Lost => {
                    let is_gap = n >= playout.repeated;
                    if !is_gap || !self.recover(following(playout, n, beyond), piece) {
                        self.decoder.conceal(piece);
                    }
                }
                Source::Idle => {
                    self.forget_recovered();
                    self.decoder.silence(piece);
                }
            }
        }
    }

    fn put(&mut self, samples: &[i16], out: &mut [i16]) {
        let samples = match &mut self.to_line {
            Some(converter) => converter.convert(samples),
            None => samples,
        };
        for (slot, sample) in out.iter_mut().zip(samples) {
            *slot = *sample;
        }
    }

    /// Decodes 10 ms of the line; false when they cannot be.
    fn decode(&mut self, octets: &[u8], out: &mut [i16]) -> bool {
        let Some(packets) = &mut self.packets else {
            return self.decoder.decode(octets, out).is_ok_and(|made| made == out.len());
        };
        let each = out.len() * PIECE / GRANULE;
        for (octets, out) in octets.chunks_exact(PIECE).zip(out.chunks_exact_mut(each.max(1))) {
            let Some((number, place)) = read_mark(octets) else { return false };
            if packets.decoded != Some(number) {
                let mut samples = std::mem::take(&mut packets.samples);
                let decoded = packets.get(number).map(|payload| self.decoder.decode(payload, &mut samples));
                packets.samples = samples;
                (packets.decoded, packets.recovered) = (None, 0..0);
                let Some(Ok(len)) = decoded else { return false };
                (packets.decoded, packets.len) = (Some(number), len);
            }
            let start = place * each;
            let decoded = packets.samples.get(..packets.len).unwrap_or_default();
            let Some(made) = decoded.get(start..start + each) else { return false };
            out.copy_from_slice(made);
        }
        true
    }

    /// Takes 10 ms of a gap out of the packet behind it, where it has a copy of what is missing. `following` says how many
    /// granules of the gap there are from here on, and what lies behind it.
    fn recover(&mut self, following: Beyond<'_>, out: &mut [i16]) -> bool {
        let Some(packets) = &mut self.packets else { return false };
        if packets.recovered.is_empty() {
            let Some((gap, octets)) = following else { return false };
            let Some((number, 0)) = read_mark(octets) else { return false };
            if packets.decoded == Some(number) {
                return false;
            }
            let mut samples = std::mem::take(&mut packets.samples);
            let wanted = gap * out.len();
            let made = match (packets.get(number), samples.get_mut(..wanted)) {
                (Some(packet), Some(samples)) => self.decoder.recover(packet, samples),
                _ => 0,
            };
            packets.samples = samples;
            if made == 0 || made != wanted {
                return false;
            }
            (packets.decoded, packets.recovered) = (None, 0..wanted);
        }
        let Range { start, end } = packets.recovered.clone();
        let Some(made) = packets.samples.get(start..end).and_then(|made| made.get(..out.len())) else { return false };
        out.copy_from_slice(made);
        packets.recovered.start += out.len();
        true
    }

    fn forget_recovered(&mut self) {
        if let Some(packets) = &mut self.packets {
            packets.recovered = 0..0;
        }
    }

    /// The stream is another one.
    pub(super) fn reset(&mut self) {
        self.forget_recovered();
        self.decoder.reset();
        self.pace.reset();
    }
}

/// The codecs that may arrive: the agreed one, and the one the peer may switch to.
#[derive(Debug)]
pub(super) struct Ears {
    agreed: Ear,
    alternate: Option<Ear>,
    uses_alternate: bool,
}

impl Ears {
    pub(super) fn new(agreed: Ear, alternate: Option<Ear>) -> Self {
        Self { agreed, alternate, uses_alternate: false }
    }

    /// The ear that is in use.
    pub(super) fn current(&mut self) -> &mut Ear {
        match &mut self.alternate {
            Some(alternate) if self.uses_alternate => alternate,
            _ => &mut self.agreed,
        }
    }

    /// Turns to the codec of a payload type; true when it is another than before, and what waits is of the wrong kind.
    pub(super) fn turn_to(&mut self, payload_type: u8) -> bool {
        let wants_alternate = payload_type != self.agreed.payload_type
            && self.alternate.as_ref().is_some_and(|alternate| alternate.payload_type == payload_type);
        std::mem::replace(&mut self.uses_alternate, wants_alternate) != wants_alternate
    }

    /// Goes on where the ears before were; true when what waits in the jitter buffer is of another codec.
    pub(super) fn take_over(&mut self, before: &mut Self) -> bool {
        let coding = before.current().coding;
        self.uses_alternate = before.uses_alternate && self.alternate.is_some();
        self.agreed.take_over(&mut before.agreed);
        if let (Some(ear), Some(before)) = (&mut self.alternate, &mut before.alternate) {
            ear.take_over(before);
        }
        self.current().coding != coding
    }
}

/// 20 ms of any line rate as the voice detector wants them, 8 kHz: neighbours averaged. `None` for another length.
pub(super) fn narrow(frame: &[i16]) -> Option<[i16; NARROWBAND_FRAME]> {
    let each = frame.len() / NARROWBAND_FRAME;
    if each == 0 || !frame.len().is_multiple_of(NARROWBAND_FRAME) {
        return None;
    }
    if let Ok(narrow) = frame.try_into() {
        return Some(narrow);
    }
    let mut narrow = [0; NARROWBAND_FRAME];
    for (slot, samples) in narrow.iter_mut().zip(frame.chunks_exact(each)) {
        *slot = (samples.iter().map(|sample| i32::from(*sample)).sum::<i32>() / each as i32) as i16;
    }
    Some(narrow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::codec::{Encoder, MAX_ENCODED, OpusSettings};
    use crate::audio::frame::level_dbfs;
    use crate::rtp::JitterBuffer;
    use crate::rtp::jitter::Insertion;
    use std::f32::consts::TAU;
    use std::time::{Duration, Instant};

    const WIDE: SampleRate = SampleRate::WIDEBAND;

    fn opus(settings: OpusSettings) -> (Encoder, Ear) {
        let coding = Coding::Opus(settings);
        (Encoder::new(coding).unwrap(), Ear::new(107, coding, WIDE).unwrap())
    }

    /// What a voice does: harmonics of a pitch that glides, louder and softer four times a second.
    fn voice(at: usize) -> i16 {
        let t = at as f32 / 16_000.0;
        let phase = TAU * (170.0 * t + 9.0 * (TAU * 3.0 * t).sin());
        let loud = 0.55 + 0.45 * (TAU * 4.0 * t).sin();
        (1..12).map(|k| 5_000.0 * loud / (k as f32).sqrt() * (phase * k as f32).sin()).sum::<f32>() as i16
    }

    /// Packets that last as many tenths of a millisecond as `times` says, again and again, for `turns` turns.
    fn packets(encoder: &mut Encoder, times: &[usize], turns: usize) -> Vec<(usize, Vec<u8>)> {
        let (mut at, mut made) = (0, Vec::new());
        for tenths in times.iter().cycle() {
            let samples = tenths * 16 / 10;
            let said: Vec<i16> = (at..at + samples).map(voice).collect();
            let mut payload = [0; MAX_ENCODED];
            let len = encoder.encode(&said, &mut payload).unwrap();
            made.push((at, payload[..len].to_vec()));
            at += samples;
            if at > turns * 320 {
                break;
            }
        }
        made
    }

    /// What is heard of packets of which `lost` never come, turn by turn; with gaps taken for repetitions or not.
    fn hear(packets: &[(usize, Vec<u8>)], lost: impl Fn(usize) -> bool, hidden: bool) -> Vec<[i16; 320]> {
        let mut ear = Ear::new(107, Coding::Opus(OpusSettings::VOICE), WIDE).unwrap();
        let start = Instant::now();
        let mut jitter = JitterBuffer::new(start);
        let (mut heard, mut sent) = (Vec::new(), 0);
        let last = packets.last().unwrap().0 / 320;
        for turn in 0..last {
            let now = start + Duration::from_millis(20 * turn as u64);
            // Well ahead, so that copies of lost ones are there.
            while let Some((at, payload)) = packets.get(sent).filter(|(at, _)| *at <= (turn + 6) * 320) {
                if !lost(sent) {
                    let mut room = [0; MAX_PAYLOAD];
                    let laid = ear.lay(payload, &mut room).unwrap();
                    assert_eq!(jitter.insert(now, sent as u16, (at / 2) as u32, laid), Insertion::Kept);
                }
                sent += 1;
            }
            let mut playout = jitter.pull(now, false);
            if hidden {
                playout.repeated = playout.halves.len();
            }
            let mut out = [0; 320];
            ear.hear(&playout, jitter.beyond(), &mut out);
            heard.push(out);
        }
        heard
    }

    #[test]
    fn opus_is_played_whatever_its_packet_time() {
        for tenths in [25, 50, 100, 200, 400, 600] {
            let (mut encoder, _) = opus(OpusSettings { bitrate: 96_000, ..OpusSettings::VOICE });
            let heard = hear(&packets(&mut encoder, &[tenths], 60), |_| false, false);
            // The packets came well ahead: the last turns have none.
            let levels: Vec<f32> = heard[12..50].iter().map(|out| level_dbfs(out)).collect();
            assert!(levels.iter().all(|level| (-60.0..-8.0).contains(level)), "{tenths}: {levels:?}");
        }
    }

    #[test]
    fn a_packet_of_half_a_granule_that_is_lost_costs_no_more_than_its_granule() {
        let (mut encoder, _) = opus(OpusSettings::VOICE);
        let sent = packets(&mut encoder, &[50], 60);
        let whole = hear(&sent, |_| false, false);
        let heard = hear(&sent, |n| n == 81, false);
        let differs: Vec<usize> = (0..whole.len()).filter(|turn| whole[*turn] != heard[*turn]).collect();
        assert!(!differs.is_empty() && differs.len() <= 3, "{differs:?}");
    }

    /// How far what is heard in the turns of a loss is from what was to be heard, in dB: with copies, and without.
    fn errors(times: &[usize], lost: impl Fn(usize) -> bool + Copy) -> (f32, f32) {
        let settings = OpusSettings { fec: true, expected_loss_percent: 30, bitrate: 40_000, ..OpusSettings::VOICE };
        let (mut encoder, _) = opus(settings);
        let sent = packets(&mut encoder, times, 300);
        let whole = hear(&sent, |_| false, false);
        let concealed = hear(&sent, lost, true);
        let copied = hear(&sent, lost, false);
        let (mut with, mut without, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
        for turn in 12..whole.len() {
            // Turns in which something was made up, and their neighbours, sound different.
            if whole[turn] == concealed[turn] {
                continue;
            }
            let error = |made: &[i16; 320]| made.iter().zip(&whole[turn]).map(|(a, b)| a.saturating_sub(*b)).collect();
            with.extend::<Vec<i16>>(error(&copied[turn]));
            without.extend::<Vec<i16>>(error(&concealed[turn]));
            wanted.extend_from_slice(&whole[turn]);
        }
        assert!(wanted.len() > 50 * 320, "{times:?}: {} turns", wanted.len() / 320);
        (level_dbfs(&with) - level_dbfs(&wanted), level_dbfs(&without) - level_dbfs(&wanted))
    }

    #[test]
    fn a_lost_packet_is_taken_from_the_copy_in_the_next_one_whatever_the_times_of_both() {
        for (times, every, nth) in [
            (&[200][..], 10, 5),
            (&[100], 20, 9),
            (&[100], 20, 10),
            (&[400], 5, 2),
            (&[600], 4, 2),
            // Aligned with no turn.
            (&[100, 200, 200, 200, 200], 10, 7),
            // The one behind it is longer; frames are alike, since libopus sends no copy where those change.
            (&[200, 200, 200, 1000], 4, 2),
        ] {
            let (copied, concealed) = errors(times, |n| n % every == nth);
            assert!(copied < concealed - 2.0, "{times:?}, {nth} of {every}: {copied:.1} and {concealed:.1} dB");
        }
    }

    #[test]
    fn what_is_no_packet_or_overwritten_is_made_up_and_never_breaks() {
        let (mut encoder, mut ear) = opus(OpusSettings::VOICE);
        let mut room = [0; MAX_PAYLOAD];
        assert!(ear.lay(&[], &mut room).is_none(), "empty");
        let mut payload = [0; MAX_ENCODED];
        let len = encoder.encode(&(0..320).map(voice).collect::<Vec<_>>(), &mut payload).unwrap();
        let laid = ear.lay(&payload[..len], &mut room).unwrap().to_vec();
        // Further packets of the greatest size push the first one out.
        for _ in 0..300 {
            ear.packets.as_mut().unwrap().keep(&payload).unwrap();
        }
        let mut octets = [0; 2 * GRANULE];
        octets.copy_from_slice(&laid);
        let playout = Playout {
            octets,
            halves: [Source::Audio; 2],
            repeated: 0,
            timestamp: 0,
            arrived: None,
            held: Duration::ZERO,
        };
        ear.hear(&playout, Some((0, &[0xFF; GRANULE])), &mut [0; 320]);
        ear.hear(&Playout { octets: [9; 2 * GRANULE], ..playout }, None, &mut [0; 320]);
    }

    #[test]
    fn the_detector_gets_eight_kilohertz_of_any_line_rate() {
        for (rate, samples) in [(8_000, 160), (16_000, 320), (24_000, 480), (48_000, 960)] {
            let frame: Vec<i16> = (0..samples).map(|n| ((n * 8_000 / rate) * 10) as i16).collect();
            let narrow = narrow(&frame).unwrap();
            assert_eq!((narrow[0], narrow[159]), (0, 1_590), "{rate}");
        }
        assert!(narrow(&[0; 100]).is_none() && narrow(&[]).is_none());
    }
}

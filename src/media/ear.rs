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

/// Packets kept beside the line: as many of 10 ms as it holds.
const PACKETS: usize = 128;
/// Octets kept beside the line: 1.28 s at 128 kbit/s. A peer that sends more loses what waits longest.
const KEPT: usize = 20_480;
/// Ticks of the jitter buffer in a millisecond.
const TICKS_PER_MS: usize = 8;
/// Shortest packet of Opus that is played, in ticks of the jitter buffer: 10 ms. Shorter ones save no delay on a telephone.
const SHORTEST: usize = GRANULE;
/// Set in every mark, so that a piece of silence is not taken for one.
const MARK: u8 = 0xA5;
/// Octets of a mark.
const MARK_LEN: usize = 4;

#[derive(Clone, Copy, Debug, Default)]
struct Kept {
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
    next: u8,
    /// The packet that was decoded last, and what it held.
    decoded: Option<u8>,
    samples: Box<[i16]>,
    len: usize,
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
        }
    }

    /// Keeps a packet; its number.
    fn keep(&mut self, payload: &[u8]) -> Option<u8> {
        let at = (self.written % KEPT as u64) as usize;
        // A packet lies in one piece.
        let skipped = if at + payload.len() > KEPT { KEPT - at } else { 0 };
        let start = self.written + skipped as u64;
        let at = (start % KEPT as u64) as usize;
        self.octets.get_mut(at..at + payload.len())?.copy_from_slice(payload);
        let number = self.next;
        *self.entries.get_mut(usize::from(number))? = Kept { start, len: payload.len() };
        self.written = start + payload.len() as u64;
        self.next = (number + 1) % PACKETS as u8;
        if self.decoded == Some(number) {
            self.decoded = None;
        }
        Some(number)
    }

    /// The packet of that number, unless it was overwritten.
    fn get(&self, number: u8) -> Option<&[u8]> {
        let Kept { start, len } = *self.entries.get(usize::from(number))?;
        if len == 0 || start + (KEPT as u64) < self.written {
            return None;
        }
        let at = (start % KEPT as u64) as usize;
        self.octets.get(at..at + len)
    }
}

/// What a mark says: which packet, and which 10 ms of it.
fn read_mark(octets: &[u8]) -> Option<(u8, usize)> {
    match octets {
        [number, piece, MARK, MARK, ..] => Some((*number, usize::from(*piece))),
        _ => None,
    }
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
        let room = room.get_mut(..ticks).filter(|_| ticks >= SHORTEST)?;
        let number = packets.keep(payload)?;
        for (n, mark) in room.chunks_mut(MARK_LEN).enumerate() {
            let piece = (n * MARK_LEN / GRANULE) as u8;
            for (slot, octet) in mark.iter_mut().zip([number, piece, MARK, MARK]) {
                *slot = octet;
            }
        }
        Some(room)
    }

    /// Decodes a playout, makes up what is missing, and puts 20 ms at the line rate into `out`. `next` is what lies on
    /// the line behind the playout.
    pub(super) fn hear(&mut self, playout: &Playout, next: Option<&[u8]>, out: &mut [i16]) {
        let mut samples = [0; FULLBAND_FRAME];
        let Some(samples) = samples.get_mut(..self.frame()) else { return };
        self.fill(playout, next, samples);
        self.pace.pass(samples);
        self.put(samples, out);
    }

    /// The same for a leg that follows the sender's clock: what was decoded waits.
    pub(super) fn keep(&mut self, playout: &Playout, next: Option<&[u8]>) {
        let mut samples = [0; FULLBAND_FRAME];
        let Some(samples) = samples.get_mut(..self.frame()) else { return };
        self.fill(playout, next, samples);
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

    fn fill(&mut self, playout: &Playout, next: Option<&[u8]>, samples: &mut [i16]) {
        let frame = samples.len();
        if playout.halves == [Source::Lost; 2] && self.recover(next, samples) {
            return;
        }
        let halves = playout.halves.iter().zip(playout.octets.chunks_exact(GRANULE));
        for ((half, octets), piece) in halves.zip(samples.chunks_exact_mut(frame / 2)) {
            match half {
                Source::Audio | Source::AudioAfterJump => {
                    if *half == Source::AudioAfterJump {
                        self.decoder.skipped();
                    }
                    if !self.decode(octets, piece) {
                        self.decoder.conceal(piece);
                    }
                }
                Source::Lost => self.decoder.conceal(piece),
                Source::Idle => self.decoder.silence(piece),
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
    fn decode(&mut self, octets: &[u8], piece: &mut [i16]) -> bool {
        let Some(packets) = &mut self.packets else {
            return self.decoder.decode(octets, piece).is_ok_and(|made| made == piece.len());
        };
        let Some((number, place)) = read_mark(octets) else { return false };
        if packets.decoded != Some(number) {
            let mut samples = std::mem::take(&mut packets.samples);
            let decoded = packets.get(number).map(|payload| self.decoder.decode(payload, &mut samples));
            packets.samples = samples;
            let Some(Ok(len)) = decoded else { return false };
            (packets.decoded, packets.len) = (Some(number), len);
        }
        let start = place * piece.len();
        match packets.samples.get(start..start + piece.len()).filter(|_| start + piece.len() <= packets.len) {
            Some(made) => {
                piece.copy_from_slice(made);
                true
            }
            None => false,
        }
    }

    /// Takes 20 ms that were lost out of the packet behind them, where it has a copy.
    fn recover(&mut self, next: Option<&[u8]>, samples: &mut [i16]) -> bool {
        let Some(packets) = &self.packets else { return false };
        let Some((number, 0)) = next.and_then(read_mark) else { return false };
        let Some(following) = packets.get(number).filter(|_| packets.decoded != Some(number)) else { return false };
        self.decoder.recover(following, samples) == samples.len()
    }

    /// The stream is another one.
    pub(super) fn reset(&mut self) {
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
    use std::f32::consts::TAU;
    use std::time::{Duration, Instant};

    const WIDE: SampleRate = SampleRate::WIDEBAND;

    fn opus(settings: OpusSettings) -> (Encoder, Ear) {
        let coding = Coding::Opus(settings);
        (Encoder::new(coding).unwrap(), Ear::new(107, coding, WIDE).unwrap())
    }

    fn tone(n: usize, samples: usize) -> Vec<i16> {
        let at = |k: usize| (n * samples + k) as f32 / 16_000.0 * 400.0 * TAU;
        (0..samples).map(|k| (8_000.0 * at(k).sin()) as i16).collect()
    }

    /// What is heard of packets of `ms`, of which `lost` never come.
    fn hear(settings: OpusSettings, ms: usize, lost: &[usize]) -> Vec<f32> {
        let (mut encoder, mut ear) = opus(settings);
        let start = Instant::now();
        let mut jitter = JitterBuffer::new(start);
        let (mut levels, mut packets, mut sent) = (Vec::new(), Vec::new(), 0);
        for n in 0..100 {
            let mut payload = [0; MAX_ENCODED];
            let len = encoder.encode(&tone(n, 16 * ms), &mut payload).unwrap();
            packets.push(payload[..len].to_vec());
        }
        for turn in 0..40 {
            let now = start + Duration::from_millis(20 * turn);
            // Two packets ahead, so that copies of lost ones are there.
            while sent * ms <= 20 * turn as usize + 60 {
                if !lost.contains(&sent) {
                    let mut room = [0; MAX_PAYLOAD];
                    let laid = ear.lay(&packets[sent], &mut room).unwrap();
                    assert_eq!(laid.len(), ms * 8);
                    jitter.insert(now, sent as u16, (sent * ms * 8) as u32, laid);
                }
                sent += 1;
            }
            let playout = jitter.pull(now, false);
            let mut out = [0; 320];
            ear.hear(&playout, jitter.next_octets(), &mut out);
            levels.push(level_dbfs(&out));
        }
        levels
    }

    #[test]
    fn opus_is_played_whatever_its_packet_time() {
        for ms in [10, 20, 40, 60] {
            let levels = hear(OpusSettings::VOICE, ms, &[]);
            assert!(levels[12..].iter().all(|level| (-18.0..-13.0).contains(level)), "{ms} ms: {levels:?}");
        }
    }

    #[test]
    fn a_lost_packet_is_taken_from_the_copy_in_the_next_one() {
        let settings = OpusSettings { fec: true, expected_loss_percent: 30, bitrate: 32_000, ..OpusSettings::VOICE };
        let levels = hear(settings, 20, &[20, 25]);
        assert!(levels[12..].iter().all(|level| (-20.0..-12.0).contains(level)), "{levels:?}");
    }

    #[test]
    fn what_is_no_packet_or_overwritten_is_made_up_and_never_breaks() {
        let (mut encoder, mut ear) = opus(OpusSettings::VOICE);
        let mut room = [0; MAX_PAYLOAD];
        assert!(ear.lay(&[], &mut room).is_none(), "empty");
        let mut payload = [0; MAX_ENCODED];
        let len = encoder.encode(&tone(0, 320), &mut payload).unwrap();
        let laid = ear.lay(&payload[..len], &mut room).unwrap().to_vec();
        // Two hundred further packets of the greatest size push the first one out.
        for _ in 0..200 {
            ear.packets.as_mut().unwrap().keep(&payload).unwrap();
        }
        let mut octets = [0; 2 * GRANULE];
        octets.copy_from_slice(&laid);
        let playout = Playout { octets, halves: [Source::Audio; 2], timestamp: 0, arrived: None, held: Duration::ZERO };
        ear.hear(&playout, Some(&[0xFF; GRANULE]), &mut [0; 320]);
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

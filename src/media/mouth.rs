//! From samples at the line rate to the payloads of packets: rate, packet time, encoder.

use super::MediaError;
use super::converter::Converter;
use crate::audio::codec::{Coding, Encoder};
use crate::audio::frame::FRAME_MS;
use crate::base::SampleRate;

/// A payload that is ready, or a stretch in which the codec sends nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Payload {
    /// Octets; 0 while the codec is silent (DTX).
    pub(super) octets: usize,
    /// How long it lasts in ticks of the RTP clock.
    pub(super) ticks: u32,
}

/// Makes payloads. Allocates when it is made and never again.
#[derive(Debug)]
pub(super) struct Mouth {
    coding: Coding,
    encoder: Encoder,
    /// From the line rate to the codec's, where they differ.
    from_line: Option<Converter>,
    /// Samples that wait for a whole packet.
    pending: Box<[i16]>,
    filled: usize,
    packet: usize,
}

/// The longest packet time this codec can make that does not exceed the wished one, in milliseconds: Opus has none of 30
/// (RFC 6716 §2.1.4), and packets shorter than 10 ms or longer than 60 are never made.
fn packet_ms(coding: Coding, ptime_ms: u8) -> u32 {
    match ptime_ms {
        0..20 => 10,
        30..40 if !matches!(coding, Coding::Opus(_)) => 30,
        20..40 => 20,
        40..60 => 40,
        _ => 60,
    }
}

impl Mouth {
    /// A mouth that makes packets of about `ptime_ms` out of frames at the rate `line`.
    pub(super) fn new(coding: Coding, line: SampleRate, ptime_ms: u8) -> Result<Self, MediaError> {
        let rate = coding.sample_rate();
        let packet = rate.samples_in_ms(packet_ms(coding, ptime_ms));
        Ok(Self {
            coding,
            encoder: Encoder::new(coding)?,
            from_line: Converter::new(line, rate)?,
            pending: vec![0; packet + rate.samples_in_ms(FRAME_MS)].into_boxed_slice(),
            filled: 0,
            packet,
        })
    }

    /// Takes 20 ms at the line rate.
    pub(super) fn push(&mut self, frame: &[i16]) {
        let frame = match &mut self.from_line {
            Some(converter) => converter.convert(frame),
            None => frame,
        };
        let room = self.pending.get_mut(self.filled..).unwrap_or_default();
        let taken = room.len().min(frame.len());
        for (slot, sample) in room.iter_mut().zip(frame) {
            *slot = *sample;
        }
        self.filled += taken;
    }

    /// The next payload, written to `out`; `None` until there is enough for one.
    pub(super) fn next_payload(&mut self, out: &mut [u8]) -> Option<Payload> {
        if self.filled < self.packet {
            return None;
        }
        // A packet that cannot be made is left out like one of DTX: its time passes.
        let octets = self.encoder.encode(self.pending.get(..self.packet)?, out).unwrap_or(0);
        self.pending.copy_within(self.packet..self.filled, 0);
        self.filled -= self.packet;
        Some(Payload { octets, ticks: self.coding.ticks(self.packet) })
    }

    /// Whether samples wait for a whole packet.
    pub(super) fn is_waiting(&self) -> bool {
        self.filled > 0
    }

    /// Forgets what waits for a whole packet; its length in ticks.
    pub(super) fn drop_pending(&mut self) -> u32 {
        let ticks = self.coding.ticks(self.filled);
        self.filled = 0;
        ticks
    }

    /// Ticks of the RTP clock in 20 ms.
    pub(super) fn ticks_per_turn(&self) -> u32 {
        self.coding.clock_rate() / (1_000 / FRAME_MS)
    }

    /// Tells the encoder which share of its packets the peer loses.
    pub(super) fn set_expected_loss(&mut self, percent: u8) {
        self.encoder.set_expected_loss(percent);
    }

    /// Goes on where another mouth of the same leg was: with its encoder where the codec is the same, with the samples
    /// that wait where the rate is.
    pub(super) fn take_over(&mut self, before: &mut Self) {
        if self.coding == before.coding {
            std::mem::swap(&mut self.encoder, &mut before.encoder);
            std::mem::swap(&mut self.from_line, &mut before.from_line);
        }
        if self.coding.sample_rate() == before.coding.sample_rate() {
            let waiting = before.pending.iter().take(before.filled);
            self.filled = before.filled.min(self.pending.len());
            for (slot, sample) in self.pending.iter_mut().zip(waiting) {
                *slot = *sample;
            }
            before.filled = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::codec::{MAX_ENCODED, OpusSettings};

    const LINE: SampleRate = SampleRate::NARROWBAND;

    fn payloads(coding: Coding, ptime_ms: u8, turns: usize) -> Vec<Payload> {
        let mut mouth = Mouth::new(coding, LINE, ptime_ms).unwrap();
        let (mut made, mut out) = (Vec::new(), [0; MAX_ENCODED]);
        for _ in 0..turns {
            mouth.push(&[0; 160]);
            made.extend(std::iter::from_fn(|| mouth.next_payload(&mut out)));
        }
        made
    }

    #[test]
    fn packets_have_the_peer_s_packet_time() {
        for (ptime, octets, turns, packets) in [
            (10, 80, 2, 4),
            (20, 160, 3, 3),
            (25, 160, 3, 3),
            (30, 240, 3, 2),
            (40, 320, 5, 2),
            (60, 480, 7, 2),
            (200, 480, 3, 1),
        ] {
            assert_eq!(
                payloads(Coding::Pcmu, ptime, turns),
                vec![Payload { octets, ticks: octets as u32 }; packets],
                "{ptime}"
            );
        }
    }

    #[test]
    fn opus_counts_in_its_own_clock_and_has_no_packet_of_thirty_milliseconds() {
        for (ptime, ticks, packets) in [(10, 480, 12), (20, 960, 6), (30, 960, 6), (40, 1_920, 3), (60, 2_880, 2)] {
            let made = payloads(Coding::Opus(OpusSettings::VOICE), ptime, 6);
            assert_eq!(made.len(), packets, "{ptime}");
            assert!(made.iter().all(|p| p.ticks == ticks && p.octets > 0), "{ptime}: {made:?}");
        }
    }

    #[test]
    fn another_packet_time_loses_no_sample_and_another_law_keeps_what_waits() {
        let mut before = Mouth::new(Coding::Pcmu, LINE, 60).unwrap();
        before.push(&[1_000; 160]);
        let mut after = Mouth::new(Coding::Pcma, LINE, 20).unwrap();
        after.take_over(&mut before);
        let mut out = [0; MAX_ENCODED];
        assert_eq!(after.next_payload(&mut out), Some(Payload { octets: 160, ticks: 160 }));
        let level = crate::audio::g711::Law::A.decode_sample(out[0]);
        assert!(level.abs_diff(1_000) < 40, "{level}");
        assert_eq!((before.drop_pending(), after.drop_pending()), (0, 0));
    }
}

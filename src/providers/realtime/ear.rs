//! The caller's audio on its way to a vendor: converted, cut into packets, kept while there is no connection, and for a
//! while after it was sent.

use crate::audio::resample::ResampleError;
use crate::base::SampleRate;
use crate::providers::format::{Conversions, Converter};
use crate::providers::realtime::protocol::RealtimeFormats;
use std::collections::VecDeque;
use std::time::Duration;

/// Milliseconds kept while there is no connection: longer than any reconnection may take.
const WAITING_MS: u32 = 6_000;
/// Milliseconds of a turn that is not understood yet, to be sent again over a fresh connection.
const AGAIN_MS: u32 = 6_000;

pub(super) struct Ear {
    converter: Converter,
    packet_bytes: usize,
    packet_ms: u32,
    octets: Vec<u8>,
    waiting: VecDeque<Vec<u8>>,
    sent: VecDeque<Vec<u8>>,
    lost: u64,
}

impl Ear {
    /// For samples at `rate`.
    ///
    /// # Errors
    /// A rate that cannot be converted.
    pub(super) fn new(rate: SampleRate, formats: RealtimeFormats) -> Result<Self, ResampleError> {
        Ok(Self {
            converter: Converter::outbound(rate, formats.input)?,
            packet_bytes: formats.input.bytes_of(formats.packet_ms).max(formats.input.encoding.sample_bytes()),
            packet_ms: formats.packet_ms.max(1),
            octets: Vec::new(),
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            lost: 0,
        })
    }

    pub(super) fn push(&mut self, samples: &[i16], counts: &Conversions) {
        self.converter.encode(samples, &mut self.octets, counts);
        while self.octets.len() >= self.packet_bytes {
            let rest = self.octets.split_off(self.packet_bytes);
            self.waiting.push_back(std::mem::replace(&mut self.octets, rest));
        }
        while self.waiting.len() > (WAITING_MS / self.packet_ms) as usize {
            self.waiting.pop_front();
            self.lost += 1;
        }
    }

    /// The turn is over: what does not fill a packet goes too.
    pub(super) fn finish(&mut self) {
        if !self.octets.is_empty() {
            self.waiting.push_back(std::mem::take(&mut self.octets));
        }
    }

    /// The audio that the packet under way lacks.
    pub(super) fn missing(&self) -> Duration {
        let missing = self.packet_bytes.saturating_sub(self.octets.len());
        self.packet().mul_f64(missing as f64 / self.packet_bytes as f64)
    }

    /// The next packet, to be given back by [`Self::sent`].
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.waiting.pop_front()
    }

    pub(super) fn sent(&mut self, packet: Vec<u8>) {
        self.sent.push_back(packet);
        while self.sent.len() > (AGAIN_MS / self.packet_ms) as usize {
            self.sent.pop_front();
        }
    }

    /// What was sent is understood.
    pub(super) fn understood(&mut self) {
        self.sent.clear();
    }

    /// The connection is gone: what was not understood is to be sent again.
    pub(super) fn again(&mut self) {
        while let Some(packet) = self.sent.pop_back() {
            self.waiting.push_front(packet);
        }
    }

    /// Audio that was thrown away because there was no connection for too long; starts anew with each reading.
    pub(super) fn take_lost(&mut self) -> Duration {
        Duration::from_millis(std::mem::take(&mut self.lost) * u64::from(self.packet_ms))
    }

    /// The length of a packet.
    pub(super) fn packet(&self) -> Duration {
        Duration::from_millis(u64::from(self.packet_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::format::AudioFormat;

    fn ear() -> Ear {
        let formats = RealtimeFormats { input: AudioFormat::MULAW, output: AudioFormat::MULAW, packet_ms: 40 };
        Ear::new(SampleRate::NARROWBAND, formats).unwrap()
    }

    #[test]
    fn frames_become_packets_and_a_turn_s_end_is_not_kept_back() {
        let (mut ear, counts) = (ear(), Conversions::default());
        (0..3).for_each(|_| ear.push(&[0; 160], &counts));
        assert_eq!(ear.next().map(|p| p.len()), Some(320));
        assert_eq!(ear.next(), None);
        ear.finish();
        assert_eq!(ear.next().map(|p| p.len()), Some(160));
    }

    #[test]
    fn what_was_not_understood_is_sent_again_in_order() {
        let (mut ear, counts) = (ear(), Conversions::default());
        for level in [0, 1_000, 8_000] {
            ear.push(&[level; 320], &counts);
        }
        let first = ear.next().unwrap();
        ear.sent(first);
        ear.understood();
        let second = ear.next().unwrap();
        ear.sent(second.clone());
        ear.again();
        assert_eq!(ear.next(), Some(second));
        assert!(ear.next().is_some());
        assert_eq!(ear.next(), None);
    }

    #[test]
    fn without_a_connection_the_oldest_audio_goes_and_is_counted() {
        let (mut ear, counts) = (ear(), Conversions::default());
        (0..200).for_each(|_| ear.push(&[0; 320], &counts));
        assert_eq!(ear.take_lost(), Duration::from_millis(2_000));
        assert_eq!(ear.take_lost(), Duration::ZERO);
    }
}

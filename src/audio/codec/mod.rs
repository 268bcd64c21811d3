//! Turns samples into RTP payloads and back, and makes up what was lost: G.711, G.722 and Opus behind one face.
//!
//! [`Encoder`] and [`Decoder`] allocate when they are made and never again, so that the thread of a call makes them and
//! the media thread uses them. A decoder remembers what it decoded: [`Decoder::conceal`] goes on from there, and the
//! first audio after a loss is faded in.

mod g722;
mod opus;

use super::g711::Law;
use super::plc::Concealer;
use crate::base::SampleRate;
use thiserror::Error;

/// Milliseconds of the longest packet that is decoded: what Opus may put into one (RFC 6716, section 3.2.5).
pub const MAX_PACKET_MS: u32 = 120;

/// Samples of the longest packet at the highest rate: room for any [`Decoder::decode`].
pub const MAX_PACKET_SAMPLES: usize = 5_760;

/// Octets that hold any packet of [`Encoder::encode`] up to 60 ms: G.711 and G.722 take 480, Opus is held to this.
pub const MAX_ENCODED: usize = 960;

/// Why there is no codec, or no audio in a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Ours: the codec does not run with these settings.
    #[error("{coding} cannot run with these settings: {reason}")]
    Settings {
        /// Which codec.
        coding: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// Ours: a packet lasts 2.5 ms at least and 60 ms at most, and Opus takes only 2.5, 5, 10, 20, 40 and 60.
    #[error("{0} samples make no packet of this codec")]
    PacketLength(usize),
    /// Ours: the buffer for the result is too small.
    #[error("the buffer is too small for the packet")]
    BufferTooSmall,
    /// The peer's: the payload is not of this codec, or is damaged.
    #[error("the payload is not {0}")]
    Payload(&'static str),
}

/// How Opus is run. The peer's wishes (RFC 7587, section 6.1) are for the caller to put in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpusSettings {
    /// Rate of the samples on our side, 8, 16, 24 or 48 kHz; the peer need not know it.
    pub sample_rate: SampleRate,
    /// Bits per second, from 6,000 to 510,000.
    pub bitrate: u32,
    /// Effort of the encoder, 0 to 10.
    pub complexity: u8,
    /// Whether packets may carry a copy of the one before, in-band.
    pub fec: bool,
    /// Whether nothing is sent while nothing is said.
    pub dtx: bool,
    /// Loss that the peer is expected to see: how much of the bit rate goes into in-band copies.
    pub expected_loss_percent: u8,
}

impl OpusSettings {
    /// What telephone speech needs: 16 kHz, 28 kbit/s, low complexity, in-band FEC against 5 % of loss, no DTX. With less
    /// than 28 kbit/s libopus leaves the copies out at such losses.
    pub const VOICE: Self = Self {
        sample_rate: SampleRate::WIDEBAND,
        bitrate: 28_000,
        complexity: 2,
        fec: true,
        dtx: false,
        expected_loss_percent: 5,
    };
}

impl Default for OpusSettings {
    fn default() -> Self {
        Self::VOICE
    }
}

/// A codec with its settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coding {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722 at 64 kbit/s.
    G722,
    /// Opus (RFC 6716), one channel.
    Opus(OpusSettings),
}

impl Coding {
    /// Rate of the samples that go in and come out.
    #[must_use]
    pub const fn sample_rate(self) -> SampleRate {
        match self {
            Self::Pcmu | Self::Pcma => SampleRate::NARROWBAND,
            Self::G722 => SampleRate::WIDEBAND,
            Self::Opus(settings) => settings.sample_rate,
        }
    }

    /// Ticks of the RTP timestamp per second: for G.722 8,000 in spite of its 16,000 samples (RFC 3551, section
    /// 4.5.2), for Opus always 48,000 (RFC 7587, section 4.1).
    #[must_use]
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 8_000,
            Self::Opus(_) => 48_000,
        }
    }

    /// RTP timestamp ticks of `samples` samples.
    #[must_use]
    pub const fn ticks(self, samples: usize) -> u32 {
        (samples as u64 * self.clock_rate() as u64 / self.sample_rate().0 as u64) as u32
    }

    /// Samples of `ticks` RTP timestamp ticks.
    #[must_use]
    pub const fn samples(self, ticks: u32) -> usize {
        (ticks as u64 * self.sample_rate().0 as u64 / self.clock_rate() as u64) as usize
    }
}

#[derive(Debug)]
enum EncoderState {
    G711(Law),
    G722(Box<g722::Encoder>),
    Opus(opus::Encoder),
}

/// Makes payloads of samples. `Send`; no allocation after [`Encoder::new`].
#[derive(Debug)]
pub struct Encoder {
    state: EncoderState,
}

impl Encoder {
    /// An encoder. Allocates all that it will ever need.
    ///
    /// # Errors
    /// The settings do not suit the codec.
    pub fn new(coding: Coding) -> Result<Self, CodecError> {
        let state = match coding {
            Coding::Pcmu => EncoderState::G711(Law::Mu),
            Coding::Pcma => EncoderState::G711(Law::A),
            Coding::G722 => EncoderState::G722(Box::new(g722::Encoder::new())),
            Coding::Opus(settings) => EncoderState::Opus(opus::Encoder::new(settings)?),
        };
        Ok(Self { state })
    }

    /// Encodes the samples of one packet, 10 to 60 ms, and says how many octets of `out` it takes. 0: the codec sends
    /// nothing for this stretch (DTX), and the timestamp goes on without a packet.
    ///
    /// # Errors
    /// `out` is too small ([`MAX_ENCODED`] never is), or the codec has no packet of this length.
    pub fn encode(&mut self, samples: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
        match &mut self.state {
            EncoderState::G711(law) => {
                let out = out.get_mut(..samples.len()).ok_or(CodecError::BufferTooSmall)?;
                law.encode(samples, out);
                Ok(samples.len())
            }
            EncoderState::G722(encoder) => {
                let octets = samples.len() / 2;
                if !samples.len().is_multiple_of(2) {
                    return Err(CodecError::PacketLength(samples.len()));
                }
                encoder.encode(samples, out.get_mut(..octets).ok_or(CodecError::BufferTooSmall)?);
                Ok(octets)
            }
            EncoderState::Opus(encoder) => encoder.encode(samples, out),
        }
    }

    /// Tells the encoder what share of its packets the peer loses, as RTCP reports it (RFC 3550, section 6.4.1), so that
    /// Opus spends as much on in-band copies as pays off. Other codecs do not care.
    pub fn set_expected_loss(&mut self, percent: u8) {
        if let EncoderState::Opus(encoder) = &mut self.state {
            encoder.set_expected_loss(percent);
        }
    }
}

#[derive(Debug)]
enum DecoderState {
    G711(Law, Concealer),
    G722(Box<g722::Decoder>, Concealer),
    Opus(opus::Decoder),
}

/// Makes samples of payloads, and of nothing where they are lost. `Send`; no allocation after [`Decoder::new`].
#[derive(Debug)]
pub struct Decoder {
    state: DecoderState,
}

impl Decoder {
    /// A decoder. Allocates all that it will ever need.
    ///
    /// # Errors
    /// The settings do not suit the codec.
    pub fn new(coding: Coding) -> Result<Self, CodecError> {
        let state = match coding {
            Coding::Pcmu => DecoderState::G711(Law::Mu, Concealer::default()),
            Coding::Pcma => DecoderState::G711(Law::A, Concealer::default()),
            Coding::G722 => DecoderState::G722(Box::new(g722::Decoder::new()), Concealer::new(SampleRate::WIDEBAND)),
            Coding::Opus(settings) => DecoderState::Opus(opus::Decoder::new(settings.sample_rate)?),
        };
        Ok(Self { state })
    }

    /// Decodes a payload and says how many samples it held; the rest of `out` is left alone. After a loss or
    /// [`Decoder::skipped`] the beginning is faded in from what was made up.
    ///
    /// # Errors
    /// The payload is not of this codec, or longer than `out` ([`MAX_PACKET_SAMPLES`] is room for any).
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, CodecError> {
        match &mut self.state {
            DecoderState::G711(law, concealer) => {
                let out = out.get_mut(..payload.len()).ok_or(CodecError::BufferTooSmall)?;
                law.decode(payload, out);
                concealer.received(out, false);
                Ok(payload.len())
            }
            DecoderState::G722(decoder, concealer) => {
                let out = out.get_mut(..2 * payload.len()).ok_or(CodecError::BufferTooSmall)?;
                decoder.decode(payload, out);
                concealer.received(out, false);
                Ok(out.len())
            }
            DecoderState::Opus(decoder) => decoder.decode(payload, out),
        }
    }

    /// The audio of a lost packet from the copy that the packet after it, `following`, carries: fills `out`, all of the
    /// gap before `following` that has not been [concealed](Decoder::conceal), and says how many samples it wrote. The
    /// lost packet may have been longer or shorter than `following`; of a longer gap the beginning is made up. 0 where there
    /// is no copy: then [`Decoder::conceal`]. To be called before `following` itself is decoded.
    pub fn recover(&mut self, following: &[u8], out: &mut [i16]) -> usize {
        match &mut self.state {
            DecoderState::G711(..) | DecoderState::G722(..) => 0,
            DecoderState::Opus(decoder) => decoder.recover(following, out),
        }
    }

    /// Makes up `out.len()` samples for lost ones, 20 ms at most; fades to silence while the loss goes on.
    pub fn conceal(&mut self, out: &mut [i16]) {
        match &mut self.state {
            DecoderState::G711(_, concealer) | DecoderState::G722(_, concealer) => concealer.conceal(out),
            DecoderState::Opus(decoder) => decoder.conceal(out),
        }
    }

    /// The sender is silent and says so: `out` becomes zero, after a fade from what was made up before. Opus goes on with
    /// the noise of the background instead.
    pub fn silence(&mut self, out: &mut [i16]) {
        match &mut self.state {
            DecoderState::G711(_, concealer) | DecoderState::G722(_, concealer) => concealer.silence(out),
            DecoderState::Opus(decoder) => decoder.silence(out),
        }
    }

    /// Says that the next packet does not follow the last one in time (a jump of the stream or of the jitter buffer):
    /// its beginning will be cross-faded so that it does not click.
    pub fn skipped(&mut self) {
        match &mut self.state {
            DecoderState::G711(_, concealer) | DecoderState::G722(_, concealer) => concealer.skipped(),
            DecoderState::Opus(_) => {}
        }
    }

    /// Samples in a payload, without decoding it; 0 when it is unreadable.
    #[must_use]
    pub fn duration(&self, payload: &[u8]) -> usize {
        match &self.state {
            DecoderState::G711(..) => payload.len(),
            DecoderState::G722(..) => 2 * payload.len(),
            DecoderState::Opus(decoder) => decoder.duration(payload),
        }
    }

    /// Forgets the stream: what comes next is another one.
    pub fn reset(&mut self) {
        match &mut self.state {
            DecoderState::G711(_, concealer) => concealer.reset(),
            DecoderState::G722(decoder, concealer) => {
                **decoder = g722::Decoder::new();
                concealer.reset();
            }
            DecoderState::Opus(decoder) => decoder.reset(),
        }
    }
}

#[cfg(test)]
mod tests;

//! What a call sends: numbered marks, tones, or speech, encoded once for all calls.

use super::limits::{SPEECH, TONE_EVERY};
use crate::audio::codec::{CodecError, Coding, Encoder, MAX_ENCODED, OpusSettings};
use crate::audio::frame::level_dbfs;
use clap::ValueEnum;

/// Milliseconds of a packet.
pub const PACKET_MS: u32 = 20;
/// Begins the mark in a payload; followed by six digits for the call and the packet.
const MARK: [u8; 4] = [0x91, 0xa2, 0x8c, 0xb3];
/// Octets of a mark.
const MARK_LEN: usize = MARK.len() + 6;
/// The call and the packet number in a mark have this many bits.
const NUMBER_BITS: u32 = 18;
/// From this level on audio is voice, not line noise or the leftovers of a codec.
const VOICED_DBFS: f32 = -45.0;
/// A sample above this begins a tone; what a resampler rings before it stays below.
const ONSET: u16 = 3_000;
/// Height of a tone.
const TONE_AMPLITUDE: f32 = 12_000.0;
/// Pitch of a tone: in the middle of the telephone band.
const TONE_HZ: f32 = 1_000.0;

/// A codec as it is named on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Codec {
    /// G.711 µ-law.
    #[default]
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722 at 64 kbit/s.
    G722,
    /// Opus at 24 kbit/s.
    Opus,
}

impl Codec {
    /// The codec with its settings.
    #[must_use]
    pub fn coding(self) -> Coding {
        match self {
            Self::Pcmu => Coding::Pcmu,
            Self::Pcma => Coding::Pcma,
            Self::G722 => Coding::G722,
            // Without copies of the packet before: what is measured is the way, not the codec.
            Self::Opus => Coding::Opus(OpusSettings { fec: false, ..OpusSettings::VOICE }),
        }
    }

    /// The payload type that is offered.
    #[must_use]
    pub fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::G722 => 9,
            Self::Opus => 107,
        }
    }

    /// The value of `a=rtpmap` behind the payload type.
    #[must_use]
    pub fn rtpmap(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU/8000",
            Self::Pcma => "PCMA/8000",
            Self::G722 => "G722/8000",
            Self::Opus => "opus/48000/2",
        }
    }

    /// Ticks of the RTP timestamp in a packet.
    #[must_use]
    pub fn ticks(self) -> u32 {
        self.coding().clock_rate() / 1_000 * PACKET_MS
    }

    /// Whether a far side that echoes gives back the very octets: then they can carry marks.
    #[must_use]
    pub fn keeps_octets(self) -> bool {
        matches!(self, Self::Pcmu | Self::Pcma)
    }
}

/// Which kind of sound the calls send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Packets that carry the number of call and packet in G.711 codes: an echo of the same law gives them back as they
    /// were, so each packet is timed and a lost one is known.
    Marks,
    /// A tone of 20 ms each second: it survives other codecs and a change of the sample rate, so the echo of a bot behind
    /// a bridge is timed too.
    Tones,
    /// Recorded speech, then silence until the far side has answered it.
    Speech(Vec<i16>),
}

/// Encoded sound, ready to be sent by any call.
#[derive(Clone, Debug)]
pub struct Sounds {
    kind: Sending,
    silence: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Sending {
    Marks,
    Tones(Vec<Vec<u8>>),
    Speech(Vec<Vec<u8>>),
}

impl Sounds {
    /// Encodes `kind` with `codec`. Speech is at the rate of the codec's samples; what is silent at its end is cut off.
    ///
    /// # Errors
    /// The codec's; marks with a codec that changes the octets.
    pub fn new(codec: Codec, kind: &Kind) -> Result<Self, CodecError> {
        let coding = codec.coding();
        let mut encoder = Encoder::new(coding)?;
        let length = coding.sample_rate().samples_in_ms(PACKET_MS);
        let silence = encode(&mut encoder, &vec![0; length])?;
        let sending = match kind {
            Kind::Marks if !codec.keeps_octets() => {
                return Err(CodecError::Settings {
                    coding: codec.rtpmap(),
                    reason: "its echo is not the same octets, so it cannot carry marks; send tones",
                });
            }
            Kind::Marks => Sending::Marks,
            Kind::Tones => {
                let tone = tone(coding.sample_rate().0 as f32, length);
                let packets = (0..TONE_EVERY).map(|n| if n == 0 { tone.clone() } else { vec![0; length] });
                Sending::Tones(packets.map(|samples| encode(&mut encoder, &samples)).collect::<Result<_, _>>()?)
            }
            Kind::Speech(samples) => {
                let longest = SPEECH.as_millis() as usize * coding.sample_rate().0 as usize / 1_000;
                let mut frames: Vec<_> = samples.chunks_exact(length).take(longest / length).collect();
                while frames.last().is_some_and(|frame| !is_voiced(frame)) {
                    frames.pop();
                }
                let packets = frames.iter().map(|frame| encode(&mut encoder, frame));
                Sending::Speech(packets.collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { kind: sending, silence })
    }

    /// Packets of the speech; 0 when it is none.
    #[must_use]
    pub fn speech_len(&self) -> usize {
        if let Sending::Speech(packets) = &self.kind { packets.len() } else { 0 }
    }

    /// Whether packets carry marks.
    #[must_use]
    pub fn are_marks(&self) -> bool {
        matches!(self.kind, Sending::Marks)
    }

    /// Whether packet `number` of call `call` begins a tone. Calls have theirs at different times.
    #[must_use]
    pub fn is_tone(&self, call: usize, number: u32) -> bool {
        matches!(self.kind, Sending::Tones(_)) && tone_step(call, number) == 0
    }

    /// Writes the payload of packet `number` of call `call` behind what `packet` holds; `speech` is which packet of the
    /// speech, if any.
    pub fn write(&self, call: usize, number: u32, speech: Option<usize>, packet: &mut Vec<u8>) {
        match &self.kind {
            Sending::Marks => {
                let start = packet.len();
                packet.extend_from_slice(&self.silence);
                if let Some(payload) = packet.get_mut(start..) {
                    mark(payload, call, number);
                }
            }
            Sending::Tones(packets) => {
                packet.extend_from_slice(packets.get(tone_step(call, number) as usize).unwrap_or(&self.silence));
            }
            Sending::Speech(packets) => {
                packet.extend_from_slice(speech.and_then(|at| packets.get(at)).unwrap_or(&self.silence));
            }
        }
    }
}

/// Where in its second the call is.
fn tone_step(call: usize, number: u32) -> u32 {
    // A step that has no divisor with the number of packets spreads the tones over the second.
    (number.wrapping_add((call as u32).wrapping_mul(7))) % TONE_EVERY
}

fn encode(encoder: &mut Encoder, samples: &[i16]) -> Result<Vec<u8>, CodecError> {
    let mut out = [0; MAX_ENCODED];
    let length = encoder.encode(samples, &mut out)?;
    Ok(out.get(..length).unwrap_or_default().to_vec())
}

fn tone(rate: f32, length: usize) -> Vec<i16> {
    // From its height on: the onset is one sample wide.
    (0..length).map(|t| (TONE_AMPLITUDE * (std::f32::consts::TAU * TONE_HZ * t as f32 / rate).cos()) as i16).collect()
}

/// Where a tone begins in decoded samples.
#[must_use]
pub fn onset(samples: &[i16]) -> Option<usize> {
    samples.iter().position(|sample| sample.unsigned_abs() > ONSET)
}

/// Whether the samples are voice rather than silence or line noise.
#[must_use]
pub fn is_voiced(samples: &[i16]) -> bool {
    level_dbfs(samples) > VOICED_DBFS
}

/// Writes the mark: call and packet number as digits of six bits. All codes survive a decoder and an encoder.
fn mark(payload: &mut [u8], call: usize, number: u32) {
    let Some(room) = payload.get_mut(..MARK_LEN) else { return };
    let (head, digits) = room.split_at_mut(MARK.len());
    head.copy_from_slice(&MARK);
    let mask = (1u64 << NUMBER_BITS) - 1;
    let value = ((call as u64 & mask) << NUMBER_BITS) | (u64::from(number) & mask);
    for (place, octet) in digits.iter_mut().enumerate() {
        *octet = 0x80 | ((value >> (6 * place)) & 0x3f) as u8;
    }
}

/// A mark that was found in a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The call that sent it.
    pub call: usize,
    /// The packet that carried it, less what 18 bits do not hold.
    pub number: u32,
    /// Samples before it in this payload.
    pub offset: usize,
}

/// The first mark in a G.711 payload.
#[must_use]
pub fn find_mark(payload: &[u8]) -> Option<Mark> {
    let offset = payload.windows(MARK.len()).position(|window| window == MARK)?;
    let digits = payload.get(offset + MARK.len()..offset + MARK_LEN)?;
    let value = digits.iter().rev().fold(0_u64, |value, octet| value << 6 | u64::from(octet & 0x3f));
    let mask = (1u64 << NUMBER_BITS) - 1;
    Some(Mark { call: (value >> NUMBER_BITS) as usize, number: (value & mask) as u32, offset })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::codec::{Decoder, MAX_PACKET_SAMPLES};
    use crate::audio::g711::Law;
    use crate::audio::resample::convert;
    use crate::base::SampleRate;

    fn payload(sounds: &Sounds, call: usize, number: u32) -> Vec<u8> {
        let mut packet = Vec::new();
        sounds.write(call, number, None, &mut packet);
        packet
    }

    #[test]
    fn a_mark_is_found_again_after_a_decoder_and_an_encoder_of_its_law_wherever_it_lies() {
        for (codec, law) in [(Codec::Pcmu, Law::Mu), (Codec::Pcma, Law::A)] {
            let sounds = Sounds::new(codec, &Kind::Marks).unwrap();
            for (call, number) in [(0, 0), (9_999, 262_143), (517, 70_001)] {
                let sent = payload(&sounds, call, number);
                let (mut samples, mut octets) = (vec![0; 160], vec![0; 160]);
                law.decode(&sent, &mut samples);
                law.encode(&samples, &mut octets);
                assert_eq!(find_mark(&octets), Some(Mark { call, number, offset: 0 }));
                octets.rotate_right(33);
                assert_eq!(find_mark(&octets).unwrap().offset, 33);
            }
        }
        assert_eq!(find_mark(&[0xff; 160]), None);
        let cut = payload(&Sounds::new(Codec::Pcmu, &Kind::Marks).unwrap(), 1, 1);
        assert_eq!(find_mark(&cut[..9]), None, "a mark whose digits are missing");
    }

    #[test]
    fn marks_need_a_codec_that_gives_octets_back() {
        assert!(Sounds::new(Codec::Opus, &Kind::Marks).is_err());
        assert!(Sounds::new(Codec::Opus, &Kind::Tones).is_ok());
    }

    #[test]
    fn the_onset_of_a_tone_survives_each_codec_and_a_change_of_the_sample_rate() {
        for codec in [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus] {
            let sounds = Sounds::new(codec, &Kind::Tones).unwrap();
            let mut decoder = Decoder::new(codec.coding()).unwrap();
            let mut heard = Vec::new();
            for number in 0..100 {
                let mut out = [0; MAX_PACKET_SAMPLES];
                let length = decoder.decode(&payload(&sounds, 1, number), &mut out).unwrap();
                heard.extend_from_slice(&out[..length]);
            }
            let rate = codec.coding().sample_rate();
            let other = if rate.0 == 8_000 { SampleRate::WIDEBAND } else { SampleRate::NARROWBAND };
            let back = convert(&convert(&heard, rate, other).unwrap(), other, rate).unwrap();
            let expected = (0..100).find(|n| sounds.is_tone(1, *n)).unwrap() as usize * 20;
            for samples in [heard, back] {
                let ms = onset(&samples).unwrap() * 1_000 / rate.0 as usize;
                assert!((expected..expected + 12).contains(&ms), "{codec:?}: {ms} ms, expected {expected}");
            }
        }
    }

    #[test]
    fn tones_of_different_calls_fall_into_different_packets() {
        let sounds = Sounds::new(Codec::Pcmu, &Kind::Tones).unwrap();
        let together = (0..50).filter(|call| sounds.is_tone(*call, 0)).count();
        assert_eq!(together, 1);
    }

    #[test]
    fn silence_at_the_end_of_the_speech_is_cut_off() {
        let voice: Vec<i16> = (0..160 * 5).map(|t| if t % 2 == 0 { 4_000 } else { -4_000 }).collect();
        let mut speech = vec![0; 160 * 2];
        speech.extend(&voice);
        speech.extend(vec![3; 160 * 7 + 50]);
        assert_eq!(Sounds::new(Codec::Pcmu, &Kind::Speech(speech)).unwrap().speech_len(), 7);
        assert_eq!(Sounds::new(Codec::Pcmu, &Kind::Speech(vec![0; 16_000])).unwrap().speech_len(), 0);
    }
}

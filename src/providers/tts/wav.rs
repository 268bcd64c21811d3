//! The body of an answer that is audio and nothing else: a WAV file, its head read as it arrives, or bare samples.

use super::protocol::{ONLY, TtsReply, Voiced};
use crate::base::SampleRate;
use crate::providers::format::{AudioFormat, Encoding};
use crate::providers::{ProviderError, ProviderName};

/// Octets of a head: chunks before the audio that are longer are no head of a voice.
const HEAD_BYTES: usize = 16 * 1024;
/// Rates that are taken for one, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=192_000;
/// Octets handed on at once.
const PIECE: usize = 32 * 1024;

/// Reads a body that starts with `RIFF` as WAV, any other as samples in the format that was asked for.
pub(super) struct AudioBody {
    provider: ProviderName,
    /// No other body is audio: taken for samples, it would be noise.
    is_file: bool,
    head: Vec<u8>,
    /// Octets of audio that are still to come; `None` while the head is not read. A length that is not known is endless.
    left: Option<u64>,
}

impl AudioBody {
    /// For one answer.
    pub fn new(provider: ProviderName) -> Self {
        Self { provider, is_file: false, head: Vec::new(), left: None }
    }

    /// For one answer of a server that was asked for a WAV file, or gives nothing else.
    pub fn of_file(provider: ProviderName) -> Self {
        Self { is_file: true, ..Self::new(provider) }
    }

    fn wrong(&self, reason: &str) -> ProviderError {
        ProviderError::Protocol { provider: self.provider.clone(), reason: reason.to_owned() }
    }

    fn audio(&mut self, octets: &[u8], voiced: &mut Vec<Voiced>) {
        let left = self.left.unwrap_or(u64::MAX);
        let octets = octets.get(..usize::try_from(left).unwrap_or(usize::MAX).min(octets.len())).unwrap_or_default();
        self.left = Some(left.saturating_sub(octets.len() as u64));
        voiced.extend(octets.chunks(PIECE).map(|piece| Voiced::Audio { id: ONLY, octets: piece.to_vec() }));
    }

    /// Reads the head as far as it has come.
    fn read_head(&mut self, voiced: &mut Vec<Voiced>) -> Result<(), ProviderError> {
        let head = std::mem::take(&mut self.head);
        let marker = head.get(..4.min(head.len())).unwrap_or_default();
        if !b"RIFF".starts_with(marker) {
            if self.is_file {
                return Err(self.wrong("a body that is no WAV file"));
            }
            self.left = Some(u64::MAX);
            self.audio(&head, voiced);
            return Ok(());
        }
        let mut at = 12;
        let mut format = None;
        if head.get(8..12).is_some_and(|kind| kind != b"WAVE") {
            return Err(self.wrong("a RIFF file that is no WAVE"));
        }
        while let Some((name, length)) = chunk(&head, at) {
            let body = at + 8;
            if name == *b"data" {
                let format = format.ok_or_else(|| self.wrong("a WAV file without its format"))?;
                voiced.push(Voiced::Format { id: ONLY, format });
                // A server that streams does not know the length and writes nothing, or the most there is.
                self.left = Some(if length == 0 || length >= 0x7FFF_FF00 { u64::MAX } else { u64::from(length) });
                self.audio(head.get(body..).unwrap_or_default(), voiced);
                return Ok(());
            }
            let Some(end) = body.checked_add(length as usize).map(|end| end + (end & 1)) else { break };
            if name == *b"fmt " {
                let Some(octets) = head.get(body..end) else { break };
                format = Some(self.format(octets)?);
            }
            at = end;
        }
        if head.len() > HEAD_BYTES || at > HEAD_BYTES {
            return Err(self.wrong("a WAV file whose audio does not begin"));
        }
        self.head = head;
        Ok(())
    }

    /// The `fmt ` chunk (Multimedia Programming Interface 1.0, "Wave Format").
    fn format(&self, octets: &[u8]) -> Result<AudioFormat, ProviderError> {
        let number = |at: usize| octets.get(at..at + 2).map_or(0, |two| two.iter().rev().fold(0_u32, add));
        let rate = octets.get(4..8).map_or(0, |four| four.iter().rev().fold(0_u32, add));
        // An extensible format has its real tag in front of its identifier.
        let tag = if number(0) == 0xFFFE { number(24) } else { number(0) };
        let encoding = match (tag, number(14)) {
            (1, 16) => Encoding::Pcm16,
            (6, 8) => Encoding::Alaw,
            (7, 8) => Encoding::Mulaw,
            (tag, bits) => return Err(self.wrong(&format!("a WAV file of format {tag} with {bits} bits"))),
        };
        if number(2) != 1 || !RATES.contains(&rate) {
            return Err(self.wrong(&format!("a WAV file of {} channels at {rate} Hz", number(2))));
        }
        Ok(AudioFormat { encoding, rate: SampleRate(rate) })
    }
}

fn add(sum: u32, octet: &u8) -> u32 {
    sum << 8 | u32::from(*octet)
}

fn chunk(head: &[u8], at: usize) -> Option<([u8; 4], u32)> {
    let name = head.get(at..at + 4)?.try_into().ok()?;
    let length = head.get(at + 4..at + 8)?.try_into().ok()?;
    Some((name, u32::from_le_bytes(length)))
}

impl TtsReply for AudioBody {
    fn received(&mut self, octets: &[u8], voiced: &mut Vec<Voiced>) -> Result<(), ProviderError> {
        if self.left.is_some() {
            self.audio(octets, voiced);
            return Ok(());
        }
        self.head.extend_from_slice(octets);
        self.read_head(voiced)
    }

    fn ended(&mut self, voiced: &mut Vec<Voiced>) -> Result<(), ProviderError> {
        match self.left {
            None if !self.head.is_empty() => Err(self.wrong("a WAV file that ends in its head")),
            Some(left) if left > 0 && left < u64::from(u32::MAX) => Err(ProviderError::Transient {
                provider: self.provider.clone(),
                reason: format!("the WAV file ended {left} octets early"),
            }),
            _ => {
                voiced.push(Voiced::Done { id: ONLY });
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(tag: u16, channels: u16, rate: u32, bits: u16, length: u32, extra: &[u8], data: &[u8]) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVE".to_vec();
        file.extend(extra);
        file.extend(b"fmt \x10\0\0\0");
        file.extend(tag.to_le_bytes());
        file.extend(channels.to_le_bytes());
        file.extend(rate.to_le_bytes());
        file.extend([0; 6]);
        file.extend(bits.to_le_bytes());
        file.extend(b"data");
        file.extend(length.to_le_bytes());
        file.extend(data);
        file
    }

    fn read(body: &[u8], cut: usize) -> Result<(Option<AudioFormat>, Vec<u8>), ProviderError> {
        let mut reader = AudioBody::new("v".into());
        let mut voiced = Vec::new();
        for part in body.chunks(cut) {
            reader.received(part, &mut voiced)?;
        }
        reader.ended(&mut voiced)?;
        assert_eq!(voiced.pop(), Some(Voiced::Done { id: ONLY }));
        let (mut format, mut audio) = (None, Vec::new());
        for news in voiced {
            match news {
                Voiced::Format { format: f, .. } => format = Some(f),
                Voiced::Audio { octets, .. } => audio.extend(octets),
                other => panic!("{other:?}"),
            }
        }
        Ok((format, audio))
    }

    #[test]
    fn a_wav_file_cut_anywhere_is_its_rate_and_its_samples() {
        for cut in [1, 3, 44, 1_000] {
            let file = wav(1, 1, 22_050, 16, 6, b"LIST\x03\0\0\0abc\0", &[1, 2, 3, 4, 5, 6, 99, 99]);
            let heard = read(&file, cut).unwrap();
            assert_eq!(heard, (Some(AudioFormat::pcm(22_050)), vec![1, 2, 3, 4, 5, 6]), "nothing behind the audio");
        }
        let unknown = wav(7, 1, 8_000, 8, u32::MAX, b"", &[1, 2, 3]);
        assert_eq!(read(&unknown, 7).unwrap(), (Some(AudioFormat::MULAW), vec![1, 2, 3]));
    }

    #[test]
    fn samples_without_a_head_are_samples() {
        assert_eq!(read(&[82, 73, 1, 2], 1).unwrap(), (None, vec![82, 73, 1, 2]));
        assert_eq!(read(&[], 1).unwrap(), (None, vec![]));
    }

    #[test]
    fn samples_in_place_of_a_wav_file_are_no_audio() {
        let mut reader = AudioBody::of_file("v".into());
        let refused = reader.received(&[82, 73, 1, 2], &mut Vec::new()).unwrap_err();
        assert_eq!((refused.kind(), refused.to_string().contains("no WAV file")), ("protocol", true));
    }

    #[test]
    fn a_head_that_cannot_be_used_says_why() {
        let of = |body: &[u8]| read(body, 100).unwrap_err().to_string();
        assert!(of(&wav(3, 1, 8_000, 32, 4, b"", &[0; 4])).contains("format 3 with 32 bits"));
        assert!(of(&wav(1, 2, 8_000, 16, 4, b"", &[0; 4])).contains("2 channels"));
        assert!(of(&wav(1, 1, 8_000, 16, 9, b"", &[0; 4])).contains("5 octets early"));
        assert!(of(b"RIFF\0\0").contains("ends in its head"));
        assert!(of(b"RIFF\0\0\0\0AVI data").contains("no WAVE"));
        assert!(of(b"RIFF\0\0\0\0WAVEdata\x01\0\0\0x").contains("without its format"));
        assert!(of(b"RIFF\0\0\0\0WAVEjunk\xFF\xFF\xFF\xFFx").contains("does not begin"));
    }
}

//! The body of ElevenLabs' `stream/with-timestamps`: a JSON object per line with audio and the characters spoken in it.

use super::elevenlabs::{Alignment, Spelling};
use super::protocol::{ONLY, TtsReply, Voiced};
use crate::providers::error::in_short;
use crate::providers::format::AudioFormat;
use crate::providers::limits::MESSAGE_BYTES;
use crate::providers::{ProviderError, ProviderName, base64};
use serde::Deserialize;

/// One answer.
pub(super) struct Lines {
    provider: ProviderName,
    format: AudioFormat,
    line: Vec<u8>,
    spelling: Spelling,
}

#[derive(Deserialize)]
struct Line {
    audio_base64: Option<String>,
    alignment: Option<Alignment>,
}

impl Lines {
    pub fn new(provider: ProviderName, format: AudioFormat) -> Self {
        Self { provider, format, line: Vec::new(), spelling: Spelling::default() }
    }

    fn wrong(&self, reason: &str) -> ProviderError {
        ProviderError::Protocol { provider: self.provider.clone(), reason: in_short(reason) }
    }

    fn read(&mut self, voiced: &mut Vec<Voiced>) -> Result<(), ProviderError> {
        let line = std::mem::take(&mut self.line);
        let line = line.trim_ascii();
        // Some builds frame the objects as server-sent events.
        let line = line.strip_prefix(b"data:").unwrap_or(line).trim_ascii();
        if line.is_empty() || !line.starts_with(b"{") && line.starts_with(b"event:") {
            return Ok(());
        }
        let line: Line = serde_json::from_slice(line).map_err(|error| self.wrong(&error.to_string()))?;
        let octets = line.audio_base64.as_deref().map_or(Some(Vec::new()), base64::decoded);
        let octets = octets.ok_or_else(|| self.wrong("audio that is no base64"))?;
        let samples = octets.len() / self.format.encoding.sample_bytes();
        let words = self.spelling.hear(self.format.rate.duration_of(samples), line.alignment.as_ref());
        if !octets.is_empty() {
            voiced.push(Voiced::Audio { id: ONLY, octets });
        }
        if !words.is_empty() {
            voiced.push(Voiced::Words { id: ONLY, words });
        }
        Ok(())
    }
}

impl TtsReply for Lines {
    fn received(&mut self, octets: &[u8], voiced: &mut Vec<Voiced>) -> Result<(), ProviderError> {
        let mut rest = octets;
        while let Some(end) = rest.iter().position(|octet| *octet == b'\n') {
            let (line, later) = rest.split_at(end);
            self.line.extend_from_slice(line);
            self.read(voiced)?;
            rest = later.get(1..).unwrap_or_default();
        }
        self.line.extend_from_slice(rest);
        if self.line.len() > MESSAGE_BYTES {
            return Err(self.wrong(&format!("a line of more than {MESSAGE_BYTES} octets")));
        }
        Ok(())
    }

    fn ended(&mut self, voiced: &mut Vec<Voiced>) -> Result<(), ProviderError> {
        self.read(voiced)?;
        if let Some(word) = self.spelling.word_over() {
            voiced.push(Voiced::Words { id: ONLY, words: vec![word] });
        }
        voiced.push(Voiced::Done { id: ONLY });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn lines_cut_anywhere_are_audio_and_words() {
        let body = concat!(
            r#"{"audio_base64":"AQID","alignment":{"characters":["a","b"," "],"#,
            r#""character_start_times_seconds":[0,0.1,0.2],"character_end_times_seconds":[0.1,0.2,0.3]},"new":1}"#,
            "\n\n",
            r#"{"audio_base64":"BA==","alignment":null}"#,
        );
        for cut in [1, 7, 1_000] {
            let mut lines = Lines::new("e".into(), AudioFormat::MULAW);
            let mut voiced = Vec::new();
            for part in body.as_bytes().chunks(cut) {
                lines.received(part, &mut voiced).unwrap();
            }
            lines.ended(&mut voiced).unwrap();
            let expected = [
                Voiced::Audio { id: ONLY, octets: vec![1, 2, 3] },
                Voiced::Words { id: ONLY, words: vec![("ab".into(), Duration::from_millis(200))] },
                Voiced::Audio { id: ONLY, octets: vec![4] },
                Voiced::Done { id: ONLY },
            ];
            assert_eq!(voiced, expected);
        }
    }

    #[test]
    fn a_line_that_is_no_json_or_never_ends_is_an_error() {
        let mut lines = Lines::new("e".into(), AudioFormat::MULAW);
        assert!(lines.received(b"{\"audio_base64\":\n", &mut Vec::new()).is_err());
        let mut lines = Lines::new("e".into(), AudioFormat::MULAW);
        assert!(lines.received(&vec![b'x'; MESSAGE_BYTES + 1], &mut Vec::new()).is_err());
    }
}

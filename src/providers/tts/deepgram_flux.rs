//! Deepgram Flux over `v2/speak` (deepgram-sdk 7.17.0): a turn per utterance, ended by `SpeechMetadata` or, when it was
//! interrupted, by `SpeechInterrupted`.

use super::SpeakRequest;
use super::deepgram::{close_of, error_of, message};
use super::protocol::{TtsProtocol, Utterance, Voiced};
use crate::providers::wire::{Closed, Frame, Handshake, Outbox};
use crate::providers::{ProviderError, ProviderName};
use serde_json::json;

/// One connection.
pub(super) struct Turns {
    name: ProviderName,
    handshake: Handshake,
    current: Option<Utterance>,
    /// The vendor's name of the turn under way, and of the last one that is over: its news may come late.
    speech: Option<String>,
    past: Option<String>,
}

impl Turns {
    pub fn new(name: ProviderName, handshake: Handshake) -> Self {
        Self { name, handshake, current: None, speech: None, past: None }
    }

    fn over(&mut self, voiced: &mut Vec<Voiced>) {
        if let Some(speech) = self.speech.take() {
            self.past = Some(speech);
        }
        voiced.extend(self.current.take().map(|id| Voiced::Done { id }));
    }
}

impl TtsProtocol for Turns {
    fn handshake(&self) -> Handshake {
        self.handshake.clone()
    }

    fn opened(&mut self, _: &mut Outbox) {}

    fn speak(&mut self, id: Utterance, request: &SpeakRequest, out: &mut Outbox) {
        self.current = Some(id);
        out.json(&json!({"type": "Speak", "text": request.text}));
        out.json(&json!({"type": "Flush"}));
    }

    /// Without a place in the audio: what the caller has heard is known here, and the vendor needs it for its own texts
    /// only. An interrupt that the vendor ignores because nothing is under way yet lets the turn run to its end.
    fn cancel(&mut self, id: Utterance, out: &mut Outbox) {
        if self.current == Some(id) {
            out.json(&json!({"type": "Interrupt"}));
        }
    }

    fn received(&mut self, frame: Frame, _: &mut Outbox, voiced: &mut Vec<Voiced>) -> Result<(), ProviderError> {
        let text = match frame {
            Frame::Binary(octets) => {
                voiced.extend(self.current.map(|id| Voiced::Audio { id, octets: octets.to_vec() }));
                return Ok(());
            }
            Frame::Text(text) => text,
        };
        let message = message(&self.name, &text)?;
        match message.kind.as_str() {
            Some("Error") => return Err(error_of(&self.name, &message)),
            Some("SpeechStarted") => self.speech = message.speech_id,
            Some("SpeechInterrupted") => self.over(voiced),
            Some("SpeechMetadata") if message.speech_id.is_none() || message.speech_id != self.past => {
                self.speech = message.speech_id;
                self.over(voiced);
            }
            _ => {}
        }
        Ok(())
    }

    fn goodbye(&mut self, out: &mut Outbox) {
        out.json(&json!({"type": "Close"}));
    }

    fn closed(&self, closed: &Closed) -> Option<ProviderError> {
        close_of(&self.name, closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SampleRate;

    #[test]
    fn a_turn_ends_with_its_own_metadata_not_with_that_of_an_interrupted_one() {
        let mut turns = Turns::new("flux".into(), Handshake { url: String::new(), headers: Vec::new() });
        let request = SpeakRequest::new("one", SampleRate::NARROWBAND);
        let mut out = Outbox::default();
        let hear = |turns: &mut Turns, kind: &str, speech: &str| {
            let mut voiced = Vec::new();
            let text = json!({"type": kind, "speech_id": speech}).to_string();
            turns.received(Frame::Text(text), &mut Outbox::default(), &mut voiced).unwrap();
            voiced
        };
        turns.speak(Utterance(1), &request, &mut out);
        assert_eq!(hear(&mut turns, "SpeechStarted", "s1"), []);
        assert_eq!(hear(&mut turns, "Flushed", "s1"), [], "the text is taken, the audio is to come");
        turns.cancel(Utterance(1), &mut out);
        assert_eq!(hear(&mut turns, "SpeechInterrupted", ""), [Voiced::Done { id: Utterance(1) }]);
        turns.speak(Utterance(2), &request, &mut out);
        assert_eq!(hear(&mut turns, "SpeechMetadata", "s1"), []);
        assert_eq!(hear(&mut turns, "SpeechMetadata", "s2"), [Voiced::Done { id: Utterance(2) }]);
        let kinds: Vec<_> = std::iter::from_fn(|| out.next_frame()).collect();
        assert_eq!(kinds.len(), 5);
        turns.cancel(Utterance(2), &mut out);
        assert!(out.is_empty(), "it is over");
    }
}

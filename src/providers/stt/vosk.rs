//! A Vosk server of one's own (alphacep/vosk-server, `websocket`): one JSON reply to each binary message.
//!
//! The only way to have it report at once is the end of its stream, so each pause of the caller ends a connection.

use super::message::{ending, mean, object, span_of_words, text, transient, words};
use super::protocol::{Answers, Heard, SttProtocol, SttVendor};
use super::stream::VendorSpeechToText;
use crate::base::Pii;
use crate::providers::catalogue::Offer;
use crate::providers::format::AudioFormat;
use crate::providers::wire::{Closed, Frame, Handshake, Outbox, url};
use crate::providers::{
    Network, ProviderError, ProviderName, Settings, SettingsError, SpeechToText, SttCapabilities, SttRequest,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// The vendor in the catalogue.
pub(super) const OFFER: Offer<dyn SpeechToText> = Offer {
    vendor: "vosk",
    title: "Vosk server",
    key_variable: "",
    url: "",
    model: "",
    voice: "",
    options: OPTIONS,
    build,
};

const OPTIONS: &[&str] = &["phrase_list", "sample_rate"];
/// Byte for byte: the server compares.
const END: &str = r#"{"eof" : 1}"#;
/// The rate of telephone models.
const RATE: u64 = 8_000;

fn build(settings: &Settings, network: &Network) -> Result<Arc<dyn SpeechToText>, SettingsError> {
    settings.only_options(OPTIONS)?;
    let rate = settings.options.get("sample_rate").map_or(Some(RATE), Value::as_u64);
    let rate = rate.and_then(|rate| u32::try_from(rate).ok()).filter(|rate| [8_000, 16_000].contains(rate));
    let rate = rate.ok_or_else(|| settings.error("sample_rate is 8000 or 16000, as the server's model wants"))?;
    let vendor = Vosk { settings: settings.clone(), rate };
    Ok(Arc::new(VendorSpeechToText::new(settings, network, vendor)))
}

struct Vosk {
    settings: Settings,
    rate: u32,
}

impl SttVendor for Vosk {
    fn capabilities(&self) -> SttCapabilities {
        SttCapabilities {
            formats: vec![AudioFormat::pcm(self.rate)],
            partials: true,
            end_of_turn: true,
            timestamps: true,
            detects_language: false,
            languages: &[],
        }
    }

    fn packet_ms(&self) -> u32 {
        100
    }

    fn answers(&self) -> Answers {
        Answers::Audio
    }

    fn connect(&self, _: &SttRequest, format: AudioFormat) -> Box<dyn SttProtocol> {
        let mut config = json!({"sample_rate": format.rate.0, "words": true, "max_alternatives": 0});
        if let Some(phrases) = self.settings.options.get("phrase_list") {
            config["phrase_list"] = phrases.clone();
        }
        Box::new(Stream {
            provider: self.settings.name.clone(),
            url: url(&self.settings.url, "/", &[], true),
            config: json!({"config": config}),
            sent: 0,
            replies: 0,
            ended: false,
        })
    }
}

struct Stream {
    provider: ProviderName,
    url: String,
    config: Value,
    /// Messages of audio sent, and messages answered: one for each, and one for the end.
    sent: u64,
    replies: u64,
    /// The end was announced.
    ended: bool,
}

impl Stream {
    fn is_done(&self) -> bool {
        self.ended && self.replies > self.sent
    }
}

impl SttProtocol for Stream {
    fn handshake(&self) -> Handshake {
        Handshake { url: self.url.clone(), headers: Vec::new() }
    }

    fn opened(&mut self, out: &mut Outbox) {
        out.json(&self.config);
    }

    fn audio(&mut self, octets: &[u8], out: &mut Outbox) -> usize {
        // What follows the end is told to the next connection.
        if !self.ended {
            self.sent += 1;
            out.binary(octets.to_vec());
        }
        0
    }

    fn finish(&mut self, out: &mut Outbox) -> usize {
        if !std::mem::replace(&mut self.ended, true) {
            out.text(END);
        }
        0
    }

    fn received(&mut self, frame: Frame, _: &mut Outbox, heard: &mut Vec<Heard>) -> Result<(), ProviderError> {
        let message = object(&self.provider, &frame)?;
        if message.get("partial").is_some() {
            self.replies += 1;
            heard.push(Heard::Interim { text: words(&message, "/partial"), span: None });
            return Ok(());
        }
        let said = match message.get("alternatives") {
            Some(_) => text(&message, "/alternatives/0/text"),
            None if message.get("text").is_some() => text(&message, "/text"),
            None => return Ok(()),
        };
        self.replies += 1;
        let list = message.get("result");
        let said = Pii::new(said.trim().to_owned());
        let empty = said.expose().is_empty();
        heard.push(Heard::Final { text: said, confidence: mean(list, "conf"), span: span_of_words(list, 1.0) });
        if self.is_done() {
            heard.extend([Heard::Flushed, Heard::Expiring]);
        } else if !empty {
            heard.push(Heard::EndOfTurn { eager: false });
        }
        Ok(())
    }

    fn goodbye(&mut self, out: &mut Outbox) {
        self.finish(out);
    }

    fn closed(&self, closed: &Closed) -> Option<ProviderError> {
        (!self.is_done()).then(|| transient(&self.provider, &ending(closed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SampleRate;
    use crate::providers::stt::query::tests::settings;
    use std::time::Duration;

    #[test]
    fn the_end_is_told_byte_for_byte_and_answered_when_every_message_is() {
        let vendor = Vosk { settings: settings(&[]), rate: 8_000 };
        let request = SttRequest { line: AudioFormat::MULAW, ..SttRequest::new(SampleRate(8_000), Duration::ZERO) };
        let format = vendor.format(&request);
        assert_eq!(format, AudioFormat::pcm(8_000), "it takes no µ-law");
        let mut machine = vendor.connect(&request, format);
        let (mut out, mut heard) = (Outbox::default(), Vec::new());
        machine.audio(&[0; 320], &mut out);
        machine.finish(&mut out);
        machine.audio(&[0; 320], &mut out);
        let sent: Vec<Frame> = std::iter::from_fn(|| out.next_frame()).collect();
        assert_eq!(sent.len(), 2, "nothing follows the end");
        assert_eq!(sent[1], Frame::Text("{\"eof\" : 1}".into()));
        let end = Closed { code: Some(1000), reason: String::new() };
        let mut hear = |machine: &mut dyn SttProtocol, message: Value| {
            heard.clear();
            machine.received(Frame::Text(message.to_string()), &mut Outbox::default(), &mut heard).expect("good");
            heard.clone()
        };
        assert!(matches!(
            hear(machine.as_mut(), json!({"text": "one"}))[..],
            [Heard::Final { .. }, Heard::EndOfTurn { .. }]
        ));
        assert!(machine.closed(&end).is_some(), "the end was not answered");
        let result = json!({"text": "two", "result": [{"word": "two", "start": 0.1, "end": 0.4, "conf": 0.75}]});
        assert!(matches!(
            hear(machine.as_mut(), result)[..],
            [Heard::Final { confidence: Some(0.75), span: Some(_), .. }, Heard::Flushed, Heard::Expiring]
        ));
        assert!(vendor.capabilities().timestamps);
        assert!(machine.closed(&end).is_none());
    }
}

//! Deepgram `v1/listen` (AsyncAPI of deepgram-api-specs, 2026-07): audio in binary messages, words in `Results`.

use super::keyterms::Keyterms;
use super::message::{ending, mean, number, object, refused, seconds, span_of_words, text, transient, truth, words};
use super::protocol::{Heard, SttProtocol, SttVendor};
use super::query::{Query, encoding, language, silence};
use super::stream::VendorSpeechToText;
use crate::base::Pii;
use crate::providers::catalogue::Offer;
use crate::providers::format::AudioFormat;
use crate::providers::wire::{Closed, Frame, Handshake, Outbox};
use crate::providers::{
    Network, ProviderError, ProviderName, Settings, SettingsError, SpeechToText, SttCapabilities, SttRequest,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The vendor in the catalogue.
pub(super) const OFFER: Offer<dyn SpeechToText> = Offer {
    vendor: "deepgram",
    title: "Deepgram Nova",
    key_variable: "DEEPGRAM_API_KEY",
    url: "https://api.deepgram.com",
    model: "nova-3",
    voice: "",
    options: OPTIONS,
    build,
};

const OPTIONS: &[&str] = &[
    "endpointing",
    "utterance_end_ms",
    "vad_events",
    "punctuate",
    "smart_format",
    "numerals",
    "dictation",
    "profanity_filter",
    "redact",
    "keyterm",
    "keywords",
    "replace",
    "search",
    "language_hint",
    "detect_entities",
    "filler_words",
    "no_delay",
    "version",
    "tag",
    "extra",
    "mip_opt_out",
    EXPECTED,
    KEEP_ALIVE,
];
/// Ours: whether the words that the flow expects are told the vendor, by `Configure`. Off: it counts key terms extra.
pub(super) const EXPECTED: &str = "expected_words";
/// Ours: milliseconds without audio after which a `KeepAlive` is sent. The vendor closes after ten seconds.
const KEEP_ALIVE: &str = "keep_alive_ms";
const KEEP_ALIVE_MS: u64 = 4_000;
/// Silence in place of the first `KeepAlive` of a connection that has heard nothing: the vendor keeps alive only what it has
/// answered to once, and it answers to a second of audio (deepgram-dotnet-sdk issue 131). In pieces of a packet's length.
const FIRST_SILENCE_MS: u32 = 1_000;
const PACKET_MS: u32 = 100;
/// The vendor refuses less, in milliseconds.
const UTTERANCE_END_LEAST: u64 = 1_000;

fn build(settings: &Settings, network: &Network) -> Result<Arc<dyn SpeechToText>, SettingsError> {
    settings.only_options(OPTIONS)?;
    settings.required_key()?;
    let keep_alive = match settings.options.get(KEEP_ALIVE) {
        None => KEEP_ALIVE_MS,
        Some(value) => value
            .as_u64()
            .filter(|ms| (100..10_000).contains(ms))
            .ok_or_else(|| settings.error(format!("{KEEP_ALIVE} is a number from 100 to 9999")))?,
    };
    let utterance_end = settings.options.get("utterance_end_ms").and_then(Value::as_u64);
    if utterance_end.is_some_and(|ms| ms < UTTERANCE_END_LEAST) {
        return Err(settings.error(format!("utterance_end_ms is a number from {UTTERANCE_END_LEAST}")));
    }
    let keyterms = Keyterms::of(settings, false)?;
    let vendor = Deepgram { settings: settings.clone(), keep_alive: Duration::from_millis(keep_alive), keyterms };
    Ok(Arc::new(VendorSpeechToText::new(settings, network, vendor)))
}

/// The header that carries the key: `Token` for keys, as the vendor's own tools do.
pub(super) fn authorization(settings: &Settings) -> Vec<(&'static str, Pii<String>)> {
    let key = settings.key.as_ref().map(|key| ("authorization", Pii::new(format!("Token {}", key.expose()))));
    key.into_iter().collect()
}

/// The formats both of its interfaces take.
pub(super) fn formats() -> Vec<AudioFormat> {
    vec![AudioFormat::MULAW, AudioFormat::ALAW, AudioFormat::pcm(8_000), AudioFormat::pcm(16_000)]
}

/// What a close means: the reason begins with a code of the vendor's (`DATA-0000`, `NET-0001`).
pub(super) fn closed(provider: &ProviderName, closed: &Closed, leaving: bool) -> Option<ProviderError> {
    match closed.code {
        Some(1000) if leaving => None,
        Some(1008 | 1003) => Some(refused(provider, &ending(closed))),
        _ => Some(transient(provider, &ending(closed))),
    }
}

struct Deepgram {
    settings: Settings,
    keep_alive: Duration,
    keyterms: Keyterms,
}

impl SttVendor for Deepgram {
    fn capabilities(&self) -> SttCapabilities {
        SttCapabilities {
            formats: formats(),
            partials: true,
            end_of_turn: true,
            timestamps: true,
            detects_language: self.settings.language == "multi",
            languages: &[],
        }
    }

    fn packet_ms(&self) -> u32 {
        PACKET_MS
    }

    fn connect(&self, request: &SttRequest, format: AudioFormat) -> Box<dyn SttProtocol> {
        let query = Query::default()
            .with("model", &self.settings.model)
            .with("encoding", encoding(format, ["linear16", "mulaw", "alaw"]))
            .with("sample_rate", format.rate.0.to_string())
            .with("channels", "1")
            .with_some("language", &language(request, &self.settings))
            .with("interim_results", "true")
            .with("endpointing", "300")
            .with("utterance_end_ms", "1000")
            .with("smart_format", "true")
            .with_options(&self.settings, OPTIONS.strip_suffix(&[EXPECTED, KEEP_ALIVE]).unwrap_or(OPTIONS));
        let handshake =
            Handshake { url: query.url(&self.settings.url, "/v1/listen"), headers: authorization(&self.settings) };
        Box::new(Listen {
            provider: self.settings.name.clone(),
            handshake,
            format,
            keep_alive: self.keep_alive,
            keyterms: self.keyterms.clone(),
            has_audio: false,
            spoken: false,
            leaving: false,
        })
    }
}

struct Listen {
    provider: ProviderName,
    handshake: Handshake,
    format: AudioFormat,
    keep_alive: Duration,
    keyterms: Keyterms,
    /// It has been sent audio.
    has_audio: bool,
    /// Words have come since the last end of a turn.
    spoken: bool,
    leaving: bool,
}

impl Listen {
    fn results(&mut self, message: &Value, heard: &mut Vec<Heard>) {
        let best = message.pointer("/channel/alternatives/0").unwrap_or(&Value::Null);
        let (transcript, list) = (words(best, "/transcript"), best.get("words"));
        let window = number(message, "/start").zip(number(message, "/duration"));
        let window = window.and_then(|(start, length)| Some((seconds(start)?, seconds(start + length)?)));
        let span = span_of_words(list, 1.0).or(window);
        let empty = transcript.expose().is_empty();
        self.spoken |= !empty;
        let is_final = truth(message, "/is_final");
        if !empty && is_final {
            let tag = best.pointer("/languages/0").and_then(Value::as_str);
            heard.extend(tag.map(|tag| Heard::Language { tag: tag.to_owned(), confidence: None }));
        }
        if is_final {
            let confidence = number(best, "/confidence").map(|c| c as f32).or_else(|| mean(list, "confidence"));
            heard.push(Heard::Final { text: transcript, confidence, span });
        } else if !empty {
            heard.push(Heard::Interim { text: transcript, span });
        }
        if truth(message, "/from_finalize") {
            self.spoken = false;
            heard.push(Heard::Flushed);
        } else if truth(message, "/speech_final") {
            self.end_of_turn(heard);
        }
    }

    /// `speech_final` and `UtteranceEnd` are two signs of one thing.
    fn end_of_turn(&mut self, heard: &mut Vec<Heard>) {
        if std::mem::take(&mut self.spoken) {
            heard.push(Heard::EndOfTurn { eager: false });
        }
    }
}

impl SttProtocol for Listen {
    fn handshake(&self) -> Handshake {
        self.handshake.clone()
    }

    fn opened(&mut self, _: &mut Outbox) {}

    fn expect(&mut self, phrases: &[String], out: &mut Outbox) {
        self.keyterms.expect(phrases, out);
    }

    fn audio(&mut self, octets: &[u8], out: &mut Outbox) -> usize {
        self.has_audio = true;
        out.binary(octets.to_vec());
        0
    }

    fn finish(&mut self, out: &mut Outbox) -> usize {
        out.json(&json!({"type": "Finalize"}));
        0
    }

    fn received(&mut self, frame: Frame, out: &mut Outbox, heard: &mut Vec<Heard>) -> Result<(), ProviderError> {
        let message = object(&self.provider, &frame)?;
        match text(&message, "/type") {
            "Results" => self.results(&message, heard),
            "UtteranceEnd" => self.end_of_turn(heard),
            kind @ ("ConfigureSuccess" | "ConfigureFailure") => {
                self.keyterms.answered(&self.provider, kind, &message, out);
            }
            "Error" => {
                let words = ["/description", "/message", "/variant"].map(|at| text(&message, at));
                let words = words.into_iter().find(|words| !words.is_empty()).unwrap_or("an error without words");
                return Err(transient(&self.provider, words));
            }
            _ => {}
        }
        Ok(())
    }

    fn idle_after(&self) -> Option<Duration> {
        Some(self.keep_alive)
    }

    fn idle(&mut self, out: &mut Outbox) -> usize {
        if std::mem::replace(&mut self.has_audio, true) {
            out.json(&json!({"type": "KeepAlive"}));
            return 0;
        }
        let packet = silence(self.format, PACKET_MS);
        (0..FIRST_SILENCE_MS / PACKET_MS).for_each(|_| out.binary(packet.clone()));
        packet.len() * (FIRST_SILENCE_MS / PACKET_MS) as usize
    }

    fn goodbye(&mut self, out: &mut Outbox) {
        self.leaving = true;
        out.json(&json!({"type": "CloseStream"}));
    }

    fn closed(&self, by: &Closed) -> Option<ProviderError> {
        closed(&self.provider, by, self.leaving)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SampleRate;
    use crate::providers::stt::query::tests::settings;

    fn listen() -> Box<dyn SttProtocol> {
        let vendor = Deepgram {
            settings: settings(&[("endpointing", json!(false))]),
            keep_alive: Duration::from_secs(4),
            keyterms: Keyterms::default(),
        };
        let request = SttRequest { line: AudioFormat::MULAW, ..SttRequest::new(SampleRate(8_000), Duration::ZERO) };
        let format = vendor.format(&request);
        vendor.connect(&request, format)
    }

    fn hear(machine: &mut dyn SttProtocol, message: Value) -> Vec<Heard> {
        let mut heard = Vec::new();
        let received = machine.received(Frame::Text(message.to_string()), &mut Outbox::default(), &mut heard);
        received.expect("a good message");
        heard
    }

    #[test]
    fn a_mulaw_line_is_announced_as_it_is_and_the_key_stands_in_the_header_only() {
        let handshake = listen().handshake();
        assert_eq!(
            handshake.url,
            "wss://vendor.example/v1/listen?model=model-1&encoding=mulaw&sample_rate=8000&channels=1&language=en\
             &interim_results=true&utterance_end_ms=1000&smart_format=true&endpointing=false"
        );
        assert_eq!(handshake.headers, [("authorization", Pii::new("Token secret-key".to_owned()))]);
        assert!(!format!("{handshake:?}").contains("secret"));
    }

    #[test]
    fn one_end_of_turn_comes_of_its_two_signs_and_none_of_our_own_request() {
        let mut machine = listen();
        let results = |final_: bool, speech_final: bool, finalize: bool| {
            json!({"type": "Results", "start": 1.0, "duration": 0.5, "is_final": final_, "speech_final": speech_final,
                "from_finalize": finalize, "channel": {"alternatives": [{"transcript": "hello", "confidence": 0.9}]}})
        };
        assert!(matches!(hear(machine.as_mut(), results(false, false, false))[..], [Heard::Interim { .. }]));
        let heard = hear(machine.as_mut(), results(true, true, false));
        assert!(
            matches!(heard[..], [Heard::Final { span: Some((s, _)), .. }, Heard::EndOfTurn { eager: false }] if s == Duration::from_secs(1)),
            "{heard:?}"
        );
        assert_eq!(hear(machine.as_mut(), json!({"type": "UtteranceEnd", "last_word_end": 1.4})), []);
        let heard = hear(machine.as_mut(), results(true, false, true));
        assert!(matches!(heard[..], [Heard::Final { .. }, Heard::Flushed]), "{heard:?}");
        assert_eq!(hear(machine.as_mut(), json!({"type": "UtteranceEnd"})), []);
    }

    #[test]
    fn a_connection_that_has_heard_nothing_is_kept_alive_by_silence_first_and_one_that_has_by_a_word() {
        let word = Some(Frame::Text(r#"{"type":"KeepAlive"}"#.into()));
        let mut machine = listen();
        let mut out = Outbox::default();
        assert_eq!(machine.idle(&mut out), 8_000, "the vendor's clock goes on");
        let sent: Vec<Frame> = std::iter::from_fn(|| out.next_frame()).collect();
        assert_eq!(sent, vec![Frame::Binary(vec![0xFF; 800].into()); 10], "a second of it, of µ-law");
        assert_eq!((machine.idle(&mut out), out.next_frame()), (0, word.clone()));
        let mut machine = listen();
        machine.audio(&[0; 800], &mut out);
        out.next_frame();
        assert_eq!((machine.idle(&mut out), out.next_frame()), (0, word));
    }

    #[test]
    fn a_gap_that_the_vendor_refuses_is_refused_here() {
        let network = Network::new(&[]).expect("a network");
        let refused = |ms: u64| build(&settings(&[("utterance_end_ms", json!(ms))]), &network).is_err();
        assert!(refused(999) && !refused(1_000));
    }

    #[test]
    fn what_is_unknown_is_passed_over_and_what_is_no_json_is_the_vendor_s_fault() {
        let mut machine = listen();
        assert_eq!(hear(machine.as_mut(), json!({"type": "Tomorrow"})), []);
        assert_eq!(hear(machine.as_mut(), json!({"type": 7})), []);
        assert_eq!(hear(machine.as_mut(), json!({"type": "Results", "start": -1e300, "duration": "x"})), []);
        let error = machine.received(Frame::Text("{".into()), &mut Outbox::default(), &mut Vec::new());
        assert_eq!(error.map_err(|e| e.kind()), Err("protocol"));
    }

    #[test]
    fn a_close_says_whose_fault_it_is() {
        let mut machine = listen();
        let close = |code, reason: &str| Closed { code, reason: reason.into() };
        let kind = |machine: &dyn SttProtocol, by: &Closed| machine.closed(by).map(|error| error.kind());
        assert_eq!(kind(machine.as_ref(), &close(Some(1008), "DATA-0000")), Some("bad_request"));
        assert_eq!(kind(machine.as_ref(), &close(Some(1011), "NET-0001")), Some("transient"));
        assert_eq!(kind(machine.as_ref(), &close(None, "reset")), Some("transient"));
        assert_eq!(kind(machine.as_ref(), &close(Some(1000), "")), Some("transient"));
        machine.goodbye(&mut Outbox::default());
        assert_eq!(kind(machine.as_ref(), &close(Some(1000), "")), None);
    }
}

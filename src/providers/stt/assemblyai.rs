//! AssemblyAI Universal-Streaming v3 (assemblyai-api-spec, 2026-03; SDK 1.8.2).
//!
//! It refuses messages below 50 ms and audio that comes faster than real time (close 3007), and bills a session until it
//! is told `Terminate`.

use super::message::{
    ending, limited, mean, number, object, refused, span_of_words, text, transient, truth, unauthorized, unpaid, words,
};
use super::owed::{Answer, Owed};
use super::pace::Pace;
use super::protocol::{Answers, Heard, SttProtocol, SttVendor};
use super::query::{Query, encoding, silence};
use super::stream::VendorSpeechToText;
use crate::base::Pii;
use crate::providers::catalogue::{Offer, languages};
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
    vendor: "assemblyai",
    title: "AssemblyAI Universal-Streaming",
    key_variable: "ASSEMBLYAI_API_KEY",
    url: "https://streaming.assemblyai.com",
    model: "universal-streaming-english",
    voice: "",
    options: OPTIONS,
    build,
};

const OPTIONS: &[&str] = &[
    "mode",
    "format_turns",
    "end_of_turn_confidence_threshold",
    "min_turn_silence",
    "max_turn_silence",
    "vad_threshold",
    KEYTERMS,
    "prompt",
    "agent_context",
    "inactivity_timeout",
    "language_codes",
    "language_detection",
    "filter_profanity",
    "redact_pii",
    "voice_focus",
    "voice_focus_threshold",
    "interruption_delay",
    "include_partial_turns",
    "continuous_partials",
    EXPECTED,
    SPEED,
    VERSION,
];
/// Most terms of a list; the vendor refuses more.
const TERMS: usize = 100;
const KEYTERMS: &str = "keyterms_prompt";
/// Ours: whether the words that the flow expects are told the vendor. Off: it counts key terms extra.
const EXPECTED: &str = "expected_words";
/// Ours: how much faster than real time audio is sent that has piled up; 1.25 is where the vendor begins to refuse.
const SPEED: &str = "replay_speed";
const SPEED_DEFAULT: f64 = 1.2;
/// Ours: the date in the header that pins the interface.
const VERSION: &str = "api_version";
const VERSION_DEFAULT: &str = "2025-05-12";
/// Shortest and longest message, in milliseconds.
const SHORTEST_MS: u32 = 50;
const LONGEST: Duration = Duration::from_secs(1);
/// The vendor ends a session after three hours.
const LIFETIME: Duration = Duration::from_secs(170 * 60);

fn build(settings: &Settings, network: &Network) -> Result<Arc<dyn SpeechToText>, SettingsError> {
    settings.only_options(OPTIONS)?;
    settings.required_key()?;
    let speed = settings.options.get(SPEED).map_or(Some(SPEED_DEFAULT), Value::as_f64);
    let speed = speed.filter(|speed| (1.0..=8.0).contains(speed));
    let speed = speed.ok_or_else(|| settings.error(format!("{SPEED} is a number from 1 to 8")))?;
    let patience = settings.options.get("inactivity_timeout").and_then(Value::as_u64);
    let keep_alive = patience.map(|seconds| Duration::from_secs(seconds) / 2);
    let expects = settings.options.get(EXPECTED).map_or(Some(false), Value::as_bool);
    let expects = expects.ok_or_else(|| settings.error(format!("{EXPECTED} is true or false")))?;
    let vendor = AssemblyAi { settings: settings.clone(), speed, keep_alive, expects };
    Ok(Arc::new(VendorSpeechToText::new(settings, network, vendor)))
}

struct AssemblyAi {
    settings: Settings,
    speed: f64,
    keep_alive: Option<Duration>,
    expects: bool,
}

impl SttVendor for AssemblyAi {
    fn capabilities(&self) -> SttCapabilities {
        SttCapabilities {
            formats: vec![AudioFormat::MULAW, AudioFormat::pcm(8_000), AudioFormat::pcm(16_000)],
            partials: true,
            end_of_turn: true,
            timestamps: true,
            detects_language: self.settings.options.get("language_detection").and_then(Value::as_bool) == Some(true),
            languages: languages(OFFER.vendor, &self.settings.model),
        }
    }

    fn packet_ms(&self) -> u32 {
        100
    }

    fn pace(&self) -> Pace {
        Pace { speed: self.speed, burst: LONGEST }
    }

    fn answers(&self) -> Answers {
        Answers::Words
    }

    fn lifetime(&self) -> Option<Duration> {
        Some(LIFETIME)
    }

    fn connect(&self, _: &SttRequest, format: AudioFormat) -> Box<dyn SttProtocol> {
        let mut query = Query::default()
            .with("sample_rate", format.rate.0.to_string())
            .with("encoding", encoding(format, ["pcm_s16le", "pcm_mulaw", ""]))
            .with_some("speech_model", &self.settings.model);
        for name in OPTIONS.iter().filter(|name| ![EXPECTED, SPEED, VERSION].contains(name)) {
            // Lists travel as JSON in one parameter.
            if let Some(value) = self.settings.option(name) {
                query = query.with(name, value);
            }
        }
        let key = self.settings.key.as_ref().map(|key| ("authorization", key.clone()));
        let version = self.settings.option(VERSION).unwrap_or_else(|| VERSION_DEFAULT.to_owned());
        let headers = key.into_iter().chain([("assemblyai-version", Pii::new(version))]).collect();
        Box::new(Session {
            provider: self.settings.name.clone(),
            handshake: Handshake { url: query.url(&self.settings.url, "/v3/ws"), headers },
            format,
            formats_turns: self.settings.options.get("format_turns").and_then(Value::as_bool).unwrap_or(false),
            keep_alive: self.keep_alive,
            expects: self.expects,
            keyterms: self.settings.options.get(KEYTERMS).and_then(Value::as_array).cloned().unwrap_or_default(),
            owed: Owed::default(),
            open: None,
            ended: None,
            stood: None,
            leaving: false,
        })
    }
}

struct Session {
    provider: ProviderName,
    handshake: Handshake,
    format: AudioFormat,
    /// Each turn ends twice: as it was heard, then with punctuation.
    formats_turns: bool,
    /// Half of the vendor's patience, where it was given one.
    keep_alive: Option<Duration>,
    expects: bool,
    keyterms: Vec<Value>,
    /// Requests to end the turn; one that is open will end.
    owed: Owed,
    /// `turn_order` of the last turn whose words were heard.
    open: Option<u64>,
    /// `turn_order` of the last turn that has ended, and of the last whose words stand.
    ended: Option<u64>,
    stood: Option<u64>,
    leaving: bool,
}

impl Session {
    fn turn(&mut self, message: &Value, heard: &mut Vec<Heard>) {
        let order = message.get("turn_order").and_then(Value::as_u64).unwrap_or_default();
        if self.stood.is_some_and(|stood| order <= stood) {
            return;
        }
        self.open = Some(order);
        let list = message.get("words");
        let span = span_of_words(list, 0.001);
        let mut said = words(message, "/transcript");
        // Before the end, the transcript lacks the words that may still change.
        let ends = truth(message, "/end_of_turn");
        if let Some(all) = list.and_then(Value::as_array).filter(|all| !ends && !all.is_empty()) {
            let all: Vec<&str> = all.iter().filter_map(|word| word.get("text")?.as_str()).collect();
            said = Pii::new(all.join(" "));
        }
        if !ends {
            heard.push(Heard::Interim { text: said, span });
            return;
        }
        let is_first = self.ended != Some(order);
        self.ended = Some(order);
        if self.formats_turns && !truth(message, "/turn_is_formatted") {
            heard.push(Heard::Interim { text: said, span });
        } else {
            self.stood = Some(order);
            let tag = text(message, "/language_code");
            if !tag.is_empty() {
                let confidence = number(message, "/language_confidence").map(|c| c as f32);
                heard.push(Heard::Language { tag: tag.to_owned(), confidence });
            }
            let words = Heard::Final { text: said, confidence: mean(list, "confidence"), span };
            match self.owed.all_answered() {
                Answer::Overdue(request) => return heard.extend([Heard::Overdue(request), words]),
                Answer::InTime => return heard.extend([words, Heard::Flushed]),
                Answer::Unasked => heard.push(words),
            }
        }
        if is_first && !self.owed.is_waited_for() && self.owed.overdue().is_none() {
            heard.push(Heard::EndOfTurn { eager: false });
        }
    }

    /// A code of an `Error` message, or of a close: the vendor uses the same ones.
    fn failure(&self, code: u64, words: &str) -> ProviderError {
        let provider = &self.provider;
        match code {
            1008 | 3009 | 4102 if words.to_ascii_lowercase().contains("concurrent") => limited(provider),
            3009 | 4029 | 4102 => limited(provider),
            4002 | 4003 => unpaid(provider, words),
            1008 | 4001 => unauthorized(provider, words),
            3006 | 3007 | 4100 | 4101 => refused(provider, words),
            _ => transient(provider, words),
        }
    }
}

impl SttProtocol for Session {
    fn handshake(&self) -> Handshake {
        self.handshake.clone()
    }

    fn opened(&mut self, _: &mut Outbox) {}

    fn awaits_ready(&self) -> bool {
        true
    }

    fn expect(&mut self, phrases: &[String], out: &mut Outbox) {
        if self.expects {
            let expected = phrases.iter().map(|phrase| json!(phrase));
            let terms: Vec<Value> = self.keyterms.iter().cloned().chain(expected).take(TERMS).collect();
            out.json(&json!({"type": "UpdateConfiguration", "keyterms_prompt": terms}));
        }
    }

    fn audio(&mut self, octets: &[u8], out: &mut Outbox) -> usize {
        let shortest = self.format.bytes_of(SHORTEST_MS);
        let missing = shortest.saturating_sub(octets.len());
        let mut octets = octets.to_vec();
        octets.extend(silence(self.format, SHORTEST_MS).into_iter().take(missing));
        out.binary(octets);
        missing
    }

    fn finish(&mut self, out: &mut Outbox) -> usize {
        self.owed.ask();
        out.json(&json!({"type": "ForceEndpoint"}));
        0
    }

    fn give_up(&mut self) {
        self.owed.give_up(self.open > self.stood);
    }

    fn forget(&mut self) {
        self.owed.forget();
    }

    fn received(&mut self, frame: Frame, _: &mut Outbox, heard: &mut Vec<Heard>) -> Result<(), ProviderError> {
        let message = object(&self.provider, &frame)?;
        match text(&message, "/type") {
            "Begin" => heard.push(Heard::Ready),
            "Turn" => self.turn(&message, heard),
            "Warning" => {
                let code = message.get("warning_code").and_then(Value::as_u64);
                tracing::info!(provider = %self.provider, code, "provider_warning");
            }
            // Old servers give no type.
            "Error" | "" if message.get("error").is_some() => {
                let code = message.get("error_code").and_then(Value::as_u64).unwrap_or_default();
                return Err(self.failure(code, text(&message, "/error")));
            }
            _ => {}
        }
        Ok(())
    }

    fn idle_after(&self) -> Option<Duration> {
        self.keep_alive
    }

    fn idle(&mut self, out: &mut Outbox) -> usize {
        out.json(&json!({"type": "KeepAlive"}));
        0
    }

    fn goodbye(&mut self, out: &mut Outbox) {
        self.leaving = true;
        out.json(&json!({"type": "Terminate"}));
    }

    fn closed(&self, closed: &Closed) -> Option<ProviderError> {
        match closed.code {
            Some(1000) if self.leaving => None,
            Some(code) => Some(self.failure(u64::from(code), &ending(closed))),
            None => Some(transient(&self.provider, &ending(closed))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SampleRate;
    use crate::providers::stt::query::tests::settings;

    fn session(line: AudioFormat, options: &[(&str, Value)]) -> Box<dyn SttProtocol> {
        let vendor = AssemblyAi { settings: settings(options), speed: SPEED_DEFAULT, keep_alive: None, expects: true };
        let request = SttRequest { line, ..SttRequest::new(SampleRate(8_000), Duration::ZERO) };
        let format = vendor.format(&request);
        vendor.connect(&request, format)
    }

    fn turn(machine: &mut dyn SttProtocol, order: u64, ends: bool, formatted: bool) -> Vec<Heard> {
        let mut heard = Vec::new();
        let message = json!({"type": "Turn", "turn_order": order, "end_of_turn": ends, "turn_is_formatted": formatted,
            "transcript": "a table", "words": [
                {"text": "a", "start": 1000, "end": 1200, "confidence": 0.5},
                {"text": "tab", "start": 1200, "end": 1500, "confidence": 1.0}]});
        machine.received(Frame::Text(message.to_string()), &mut Outbox::default(), &mut heard).expect("a good message");
        heard
    }

    #[test]
    fn alaw_is_not_for_this_vendor_and_a_list_travels_as_json() {
        let machine = session(AudioFormat::ALAW, &[("keyterms_prompt", json!(["Lindenhof"]))]);
        assert_eq!(
            machine.handshake().url,
            "wss://vendor.example/v3/ws?sample_rate=8000&encoding=pcm_s16le&speech_model=model-1\
             &keyterms_prompt=%5B%22Lindenhof%22%5D"
        );
        assert_eq!(machine.handshake().headers[0], ("authorization", Pii::new("secret-key".to_owned())));
    }

    #[test]
    fn a_detection_that_is_switched_off_is_none() {
        let detects = |on: bool| {
            let settings = settings(&[("language_detection", json!(on))]);
            let vendor = AssemblyAi { settings, speed: SPEED_DEFAULT, keep_alive: None, expects: true };
            vendor.capabilities().detects_language
        };
        assert!(detects(true) && !detects(false));
    }

    #[test]
    fn a_short_message_is_filled_up_to_what_the_vendor_takes() {
        let mut machine = session(AudioFormat::MULAW, &[]);
        let mut out = Outbox::default();
        assert_eq!(machine.audio(&[1; 160], &mut out), 240);
        let Some(Frame::Binary(octets)) = out.next_frame() else { panic!("no audio") };
        assert_eq!((octets.len(), octets[160]), (400, 0xFF));
        assert_eq!(machine.audio(&[1; 800], &mut out), 0);
    }

    #[test]
    fn a_turn_that_ends_twice_is_told_once_with_the_words_as_they_are_written() {
        let mut machine = session(AudioFormat::MULAW, &[("format_turns", json!(true))]);
        let interim = turn(machine.as_mut(), 0, false, false);
        let [Heard::Interim { text, span }] = &interim[..] else { panic!("{interim:?}") };
        assert_eq!(text.expose(), "a tab", "the words that may change count");
        assert_eq!(*span, Some((Duration::from_millis(1_000), Duration::from_millis(1_500))));
        assert!(matches!(turn(machine.as_mut(), 0, true, false)[..], [Heard::Interim { .. }, Heard::EndOfTurn { .. }]));
        let end = turn(machine.as_mut(), 0, true, true);
        assert!(matches!(end[..], [Heard::Final { confidence: Some(0.75), .. }]), "{end:?}");
        assert_eq!(turn(machine.as_mut(), 0, true, true), [], "once more");
        machine.finish(&mut Outbox::default());
        assert!(matches!(turn(machine.as_mut(), 1, true, true)[..], [Heard::Final { .. }, Heard::Flushed]));
    }

    #[test]
    fn what_is_expected_stands_behind_the_configured_terms() {
        let mut machine = session(AudioFormat::MULAW, &[(KEYTERMS, json!(["Lindenhof"]))]);
        let mut out = Outbox::default();
        machine.expect(&["window seat".to_owned()], &mut out);
        let Some(Frame::Text(text)) = out.next_frame() else { panic!("nothing was sent") };
        assert_eq!(text, r#"{"type":"UpdateConfiguration","keyterms_prompt":["Lindenhof","window seat"]}"#);
    }

    #[test]
    fn codes_say_whose_fault_it_is() {
        let machine = session(AudioFormat::MULAW, &[]);
        let kind = |code, reason: &str| {
            machine.closed(&Closed { code: Some(code), reason: reason.into() }).map(|error| error.kind())
        };
        assert_eq!(kind(1008, "Unauthorized"), Some("authentication"));
        assert_eq!(kind(1008, "Too many concurrent sessions"), Some("rate_limited"));
        assert_eq!(kind(3007, ""), Some("bad_request"));
        assert_eq!(kind(3008, ""), Some("transient"));
        assert_eq!(kind(4002, ""), Some("quota"));
    }
}

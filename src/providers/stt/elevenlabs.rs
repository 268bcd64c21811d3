//! ElevenLabs Scribe, realtime (SDK 2.78.0): audio in base64, words by commit.

use super::message::{
    ending, limited, mean, object, refused, span_of_words, text, transient, unauthorized, unpaid, words,
};
use super::owed::{Answer, Owed};
use super::protocol::{Heard, SttProtocol, SttVendor};
use super::query::{Query, language, silence};
use super::stream::VendorSpeechToText;
use crate::providers::catalogue::Offer;
use crate::providers::format::{AudioFormat, Encoding};
use crate::providers::wire::{Closed, Frame, Handshake, Outbox};
use crate::providers::{
    Network, ProviderError, ProviderName, Settings, SettingsError, SpeechToText, SttCapabilities, SttRequest,
};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// The vendor in the catalogue.
pub(super) const OFFER: Offer<dyn SpeechToText> = Offer {
    vendor: "elevenlabs",
    title: "ElevenLabs Scribe",
    key_variable: "ELEVENLABS_API_KEY",
    url: "https://api.elevenlabs.io",
    model: "scribe_v2_realtime",
    voice: "",
    options: OPTIONS,
    build,
};

const OPTIONS: &[&str] = &[
    "commit_strategy",
    "secondary_languages",
    "include_timestamps",
    "include_language_detection",
    "vad_silence_threshold_secs",
    "vad_threshold",
    "min_speech_duration_ms",
    "min_silence_duration_ms",
    "keyterms",
    "no_verbatim",
    "filter_background_audio",
    "entity_detection",
    "entity_redaction",
    "entity_redaction_mode",
    "enable_logging",
    KEEP_ALIVE,
];
/// Ours: milliseconds without audio after which an empty piece of audio is sent; pings do not count with this vendor.
const KEEP_ALIVE: &str = "keep_alive_ms";
const KEEP_ALIVE_MS: u64 = 5_000;
/// A commit of less ends the session, in milliseconds; some to spare.
const SHORTEST_COMMIT_MS: u32 = 320;

fn build(settings: &Settings, network: &Network) -> Result<Arc<dyn SpeechToText>, SettingsError> {
    settings.only_options(OPTIONS)?;
    settings.required_key()?;
    let keep_alive = settings.options.get(KEEP_ALIVE).map_or(Some(KEEP_ALIVE_MS), Value::as_u64);
    let keep_alive = keep_alive.filter(|ms| (100..10_000).contains(ms));
    let keep_alive = keep_alive.ok_or_else(|| settings.error(format!("{KEEP_ALIVE} is a number from 100 to 9999")))?;
    let vendor = Scribe { settings: settings.clone(), keep_alive: Duration::from_millis(keep_alive) };
    Ok(Arc::new(VendorSpeechToText::new(settings, network, vendor)))
}

struct Scribe {
    settings: Settings,
    keep_alive: Duration,
}

impl Scribe {
    fn commits_itself(&self) -> bool {
        self.settings.option("commit_strategy").as_deref() == Some("vad")
    }

    fn asks_for(&self, option: &str) -> bool {
        self.settings.options.get(option).and_then(Value::as_bool) == Some(true)
    }
}

impl SttVendor for Scribe {
    fn capabilities(&self) -> SttCapabilities {
        SttCapabilities {
            formats: vec![AudioFormat::MULAW, AudioFormat::pcm(8_000), AudioFormat::pcm(16_000)],
            partials: true,
            end_of_turn: self.commits_itself(),
            timestamps: self.asks_for("include_timestamps"),
            detects_language: self.asks_for("include_language_detection"),
            languages: &[],
        }
    }

    fn packet_ms(&self) -> u32 {
        100
    }

    fn connect(&self, request: &SttRequest, format: AudioFormat) -> Box<dyn SttProtocol> {
        let name = if format.encoding == Encoding::Pcm16 { "pcm" } else { "ulaw" };
        let parameters = OPTIONS.strip_suffix(&[KEEP_ALIVE]).unwrap_or(OPTIONS);
        let query = Query::default()
            .with("model_id", &self.settings.model)
            .with("audio_format", format!("{name}_{}", format.rate.0))
            .with("commit_strategy", "manual")
            .with_some("language_code", &language(request, &self.settings))
            .with_options(&self.settings, parameters);
        let key = self.settings.key.as_ref().map(|key| ("xi-api-key", key.clone()));
        Box::new(Realtime {
            provider: self.settings.name.clone(),
            handshake: Handshake {
                url: query.url(&self.settings.url, "/v1/speech-to-text/realtime"),
                headers: key.into_iter().collect(),
            },
            format,
            keep_alive: self.keep_alive,
            in_detail: self.asks_for("include_timestamps") || self.asks_for("include_language_detection"),
            commits_itself: self.commits_itself(),
            uncommitted: 0,
            owed: Owed::default(),
        })
    }
}

struct Realtime {
    provider: ProviderName,
    handshake: Handshake,
    format: AudioFormat,
    keep_alive: Duration,
    /// Each commit is answered twice, the second time in detail; that one counts.
    in_detail: bool,
    /// It finds pauses itself.
    commits_itself: bool,
    /// Octets since the last commit.
    uncommitted: usize,
    /// Every commit is answered; its own cannot be told from ours.
    owed: Owed,
}

impl Realtime {
    fn send(&self, octets: &[u8], commit: bool, out: &mut Outbox) {
        let rate = self.format.rate;
        let before = format!(
            r#"{{"message_type":"input_audio_chunk","commit":{commit},"sample_rate":{},"audio_base_64":""#,
            rate.0
        );
        out.audio_in_json(&before, octets, r#""}"#);
    }

    fn committed(&mut self, message: &Value, heard: &mut Vec<Heard>) {
        let answer = self.owed.answered();
        if answer == Answer::Unasked && !self.commits_itself {
            return;
        }
        let list = message.get("words");
        let tag = text(message, "/language_code");
        if !tag.is_empty() {
            heard.push(Heard::Language { tag: tag.to_owned(), confidence: None });
        }
        let confidence = mean(list, "logprob").map(|mean| mean.exp().clamp(0.0, 1.0));
        let words = Heard::Final { text: words(message, "/text"), confidence, span: span_of_words(list, 1.0) };
        match answer {
            Answer::Overdue(request) => heard.extend([Heard::Overdue(request), words]),
            Answer::InTime => heard.extend([words, Heard::Flushed]),
            Answer::Unasked => heard.extend([words, Heard::EndOfTurn { eager: false }]),
        }
    }
}

impl SttProtocol for Realtime {
    fn handshake(&self) -> Handshake {
        self.handshake.clone()
    }

    fn opened(&mut self, _: &mut Outbox) {}

    fn awaits_ready(&self) -> bool {
        true
    }

    fn audio(&mut self, octets: &[u8], out: &mut Outbox) -> usize {
        self.uncommitted += octets.len();
        self.send(octets, false, out);
        0
    }

    fn finish(&mut self, out: &mut Outbox) -> usize {
        let missing = self.format.bytes_of(SHORTEST_COMMIT_MS).saturating_sub(self.uncommitted);
        let filling: Vec<u8> = silence(self.format, SHORTEST_COMMIT_MS).into_iter().take(missing).collect();
        self.send(&filling, true, out);
        self.uncommitted = 0;
        self.owed.ask();
        missing
    }

    fn give_up(&mut self) {
        self.owed.give_up(!self.commits_itself);
    }

    fn forget(&mut self) {
        self.owed.forget();
    }

    fn received(&mut self, frame: Frame, _: &mut Outbox, heard: &mut Vec<Heard>) -> Result<(), ProviderError> {
        let message = object(&self.provider, &frame)?;
        let reason = text(&message, "/error");
        let provider = &self.provider;
        match text(&message, "/message_type") {
            "session_started" => heard.push(Heard::Ready),
            "partial_transcript" => {
                let said = words(&message, "/text");
                if !said.expose().is_empty() {
                    heard.extend(self.owed.overdue().map(Heard::Overdue));
                    heard.push(Heard::Interim { text: said, span: None });
                }
            }
            "committed_transcript" if !self.in_detail => self.committed(&message, heard),
            "committed_transcript_with_timestamps" if self.in_detail => self.committed(&message, heard),
            "auth_error" | "unaccepted_terms" => return Err(unauthorized(provider, reason)),
            "quota_exceeded" => return Err(unpaid(provider, reason)),
            "rate_limited" | "resource_exhausted" => return Err(limited(provider)),
            "input_error" | "invalid_request" | "chunk_size_exceeded" => return Err(refused(provider, reason)),
            kind @ ("error"
            | "queue_overflow"
            | "session_time_limit_exceeded"
            | "insufficient_audio_activity"
            | "commit_throttled"
            | "transcriber_error") => return Err(transient(provider, &format!("{kind} {reason}"))),
            _ => {}
        }
        Ok(())
    }

    fn idle_after(&self) -> Option<Duration> {
        Some(self.keep_alive)
    }

    fn idle(&mut self, out: &mut Outbox) -> usize {
        self.send(&[], false, out);
        0
    }

    fn goodbye(&mut self, out: &mut Outbox) {
        out.close(1000);
    }

    fn closed(&self, closed: &Closed) -> Option<ProviderError> {
        Some(match closed.code {
            Some(1008) => refused(&self.provider, &ending(closed)),
            _ => transient(&self.provider, &ending(closed)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SampleRate;
    use crate::providers::stt::query::tests::settings;
    use serde_json::json;

    fn realtime(options: &[(&str, Value)]) -> Box<dyn SttProtocol> {
        let vendor = Scribe { settings: settings(options), keep_alive: Duration::from_secs(5) };
        let request = SttRequest { line: AudioFormat::MULAW, ..SttRequest::new(SampleRate(8_000), Duration::ZERO) };
        let format = vendor.format(&request);
        vendor.connect(&request, format)
    }

    fn hear(machine: &mut dyn SttProtocol, message: Value) -> Vec<Heard> {
        let mut heard = Vec::new();
        machine.received(Frame::Text(message.to_string()), &mut Outbox::default(), &mut heard).expect("a good message");
        heard
    }

    #[test]
    fn a_commit_of_little_audio_is_filled_with_silence() {
        let mut machine = realtime(&[]);
        assert!(machine.handshake().url.contains("audio_format=ulaw_8000&commit_strategy=manual&language_code=en"));
        let mut out = Outbox::default();
        machine.audio(&[1; 800], &mut out);
        out.next_frame();
        assert_eq!(machine.finish(&mut out), 1_760);
        let Some(Frame::Text(commit)) = out.next_frame() else { panic!("no commit") };
        let commit: Value = serde_json::from_str(&commit).expect("JSON");
        assert_eq!((&commit["commit"], &commit["sample_rate"]), (&json!(true), &json!(8_000)));
        machine.audio(&[1; 8_000], &mut out);
        assert_eq!(machine.finish(&mut out), 0);
    }

    #[test]
    fn of_two_copies_of_a_commit_one_counts() {
        let plain = json!({"message_type": "committed_transcript", "text": "hello"});
        let detailed = json!({"message_type": "committed_transcript_with_timestamps", "text": "hello",
            "language_code": "de", "words": [{"text": "hello", "start": 1.0, "end": 1.5, "logprob": 0.0}]});
        let mut machine = realtime(&[("include_timestamps", json!(true))]);
        machine.finish(&mut Outbox::default());
        assert_eq!(hear(machine.as_mut(), plain.clone()), []);
        let heard = hear(machine.as_mut(), detailed.clone());
        assert!(matches!(
            heard[..],
            [Heard::Language { .. }, Heard::Final { confidence: Some(1.0), span: Some(_), .. }, Heard::Flushed]
        ));
        assert_eq!(hear(machine.as_mut(), detailed.clone()), [], "nobody asked");
        let mut machine = realtime(&[("commit_strategy", json!("vad"))]);
        assert_eq!(hear(machine.as_mut(), detailed), []);
        assert!(matches!(hear(machine.as_mut(), plain)[..], [Heard::Final { .. }, Heard::EndOfTurn { .. }]));
    }

    #[test]
    fn errors_say_whose_fault_it_is() {
        let mut machine = realtime(&[]);
        let mut kind = |kind: &str| {
            let message = json!({"message_type": kind, "error": "why"}).to_string();
            machine
                .received(Frame::Text(message), &mut Outbox::default(), &mut Vec::new())
                .map_err(|error| error.kind())
        };
        assert_eq!(kind("auth_error"), Err("authentication"));
        assert_eq!(kind("quota_exceeded"), Err("quota"));
        assert_eq!(kind("rate_limited"), Err("rate_limited"));
        assert_eq!(kind("input_error"), Err("bad_request"));
        assert_eq!(kind("session_time_limit_exceeded"), Err("transient"));
        assert_eq!(kind("warning"), Ok(()));
    }
}

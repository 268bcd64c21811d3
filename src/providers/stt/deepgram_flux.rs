//! Deepgram Flux, `v2/listen` (AsyncAPI of deepgram-api-specs, 2026-07): a model that finds the turns itself.
//!
//! There is no keep-alive: a turn whose audio stops dangles, so silence is sent instead.

use super::deepgram::{EXPECTED, authorization, closed, formats};
use super::keyterms::Keyterms;
use super::message::{mean, number, object, refused, seconds, text, transient, words};
use super::owed::{Answer, Owed};
use super::protocol::{Answers, Heard, SttProtocol, SttVendor};
use super::query::{Query, encoding, silence};
use super::stream::VendorSpeechToText;
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
    vendor: "deepgram-flux",
    title: "Deepgram Flux",
    key_variable: "DEEPGRAM_API_KEY",
    url: "https://api.deepgram.com",
    model: "flux-general-en",
    voice: "",
    options: OPTIONS,
    build,
};

const OPTIONS: &[&str] = &[
    "eot_threshold",
    "eager_eot_threshold",
    "eot_timeout_ms",
    "keyterm",
    "language_hint",
    "profanity_filter",
    "numerals",
    "redact",
    "mip_opt_out",
    "tag",
    EXPECTED,
    KEEP_ALIVE,
    FORCE,
];
/// Ours: milliseconds without audio after which silence is sent while no turn is open.
const KEEP_ALIVE: &str = "keep_alive_ms";
const KEEP_ALIVE_MS: u64 = 4_000;
/// Ours: whether turns are ended by `ForceEndTurn`, which servers of one's own may be too old for; else by silence.
const FORCE: &str = "force_end_turn";
/// What the model is made for.
const PACKET_MS: u32 = 80;
/// Without audio for so long, an open turn dangles.
const DANGLES_AFTER: Duration = Duration::from_millis(500);
/// Silence that lets the model end a turn.
const ENDING_SILENCE_MS: u32 = 500;
/// Silence that shows that we are there.
const PRESENCE_SILENCE_MS: u32 = 80;

fn build(settings: &Settings, network: &Network) -> Result<Arc<dyn SpeechToText>, SettingsError> {
    settings.only_options(OPTIONS)?;
    settings.required_key()?;
    let threshold = |name: &str| settings.options.get(name).and_then(Value::as_f64);
    if let Some(eager) = threshold("eager_eot_threshold")
        && eager > threshold("eot_threshold").unwrap_or(0.7)
    {
        return Err(settings.error("eager_eot_threshold has to be at most eot_threshold (0.7 unless given)"));
    }
    let keep_alive = settings.options.get(KEEP_ALIVE).map_or(Some(KEEP_ALIVE_MS), Value::as_u64);
    let keep_alive = keep_alive.filter(|ms| (100..10_000).contains(ms));
    let keep_alive = keep_alive.ok_or_else(|| settings.error(format!("{KEEP_ALIVE} is a number from 100 to 9999")))?;
    let keyterms = Keyterms::of(settings, true)?;
    let vendor = Flux { settings: settings.clone(), keep_alive: Duration::from_millis(keep_alive), keyterms };
    Ok(Arc::new(VendorSpeechToText::new(settings, network, vendor)))
}

struct Flux {
    settings: Settings,
    keep_alive: Duration,
    keyterms: Keyterms,
}

impl SttVendor for Flux {
    fn capabilities(&self) -> SttCapabilities {
        SttCapabilities {
            formats: formats(),
            partials: true,
            end_of_turn: true,
            timestamps: true,
            detects_language: self.settings.model.ends_with("multi"),
            languages: languages(OFFER.vendor, &self.settings.model),
        }
    }

    fn packet_ms(&self) -> u32 {
        PACKET_MS
    }

    /// Noise opens no turn, and a turn that is not open is not ended.
    fn answers(&self) -> Answers {
        Answers::Words
    }

    fn connect(&self, request: &SttRequest, format: AudioFormat) -> Box<dyn SttProtocol> {
        let ours = [EXPECTED, KEEP_ALIVE, FORCE];
        let parameters: Vec<_> = OPTIONS.iter().copied().filter(|name| !ours.contains(name)).collect();
        let mut query = Query::default()
            .with("model", &self.settings.model)
            .with("encoding", encoding(format, ["linear16", "mulaw", "alaw"]))
            .with("sample_rate", format.rate.0.to_string());
        if self.settings.model.ends_with("multi") {
            let hint = super::query::language(request, &self.settings);
            query = query.with_some("language_hint", &hint);
        }
        let query = query.with_options(&self.settings, &parameters);
        let handshake =
            Handshake { url: query.url(&self.settings.url, "/v2/listen"), headers: authorization(&self.settings) };
        Box::new(Listen {
            provider: self.settings.name.clone(),
            handshake,
            format,
            keep_alive: self.keep_alive,
            keyterms: self.keyterms.clone(),
            forces: self.settings.options.get(FORCE).and_then(Value::as_bool).unwrap_or(true),
            in_turn: false,
            ended: None,
            owed: Owed::default(),
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
    forces: bool,
    in_turn: bool,
    /// `turn_index` of the last turn that has ended.
    ended: Option<u64>,
    /// Requests to end the turn; one that is open will end.
    owed: Owed,
    leaving: bool,
}

impl Listen {
    fn send_silence(&self, milliseconds: u32, out: &mut Outbox) -> usize {
        let octets = silence(self.format, milliseconds);
        octets.chunks(self.format.bytes_of(PACKET_MS)).for_each(|packet| out.binary(packet.to_vec()));
        octets.len()
    }

    fn turn_info(&mut self, message: &Value, heard: &mut Vec<Heard>) {
        let (transcript, list) = (words(message, "/transcript"), message.get("words"));
        let window = number(message, "/audio_window_start").zip(number(message, "/audio_window_end"));
        let span = window.and_then(|(start, end)| Some((seconds(start)?, seconds(end)?)));
        let interim = Heard::Interim { text: transcript.clone(), span };
        match text(message, "/event") {
            "StartOfTurn" => {
                self.in_turn = true;
                heard.push(interim);
            }
            "Update" => heard.push(interim),
            "EagerEndOfTurn" => heard.extend([interim, Heard::EndOfTurn { eager: true }]),
            "TurnResumed" => heard.extend([Heard::TurnResumed, interim]),
            "EndOfTurn" => {
                self.in_turn = false;
                let turn = message.get("turn_index").and_then(Value::as_u64);
                if turn.is_some() && turn == self.ended {
                    return;
                }
                self.ended = turn;
                let tag = message.pointer("/languages/0").and_then(Value::as_str);
                heard.extend(tag.map(|tag| Heard::Language { tag: tag.to_owned(), confidence: None }));
                let words = Heard::Final { text: transcript, confidence: mean(list, "confidence"), span };
                match self.owed.all_answered() {
                    Answer::Overdue(request) => heard.extend([Heard::Overdue(request), words]),
                    Answer::InTime => heard.extend([words, Heard::Flushed]),
                    Answer::Unasked => heard.extend([words, Heard::EndOfTurn { eager: false }]),
                }
            }
            _ => {}
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

    fn awaits_ready(&self) -> bool {
        true
    }

    fn audio(&mut self, octets: &[u8], out: &mut Outbox) -> usize {
        out.binary(octets.to_vec());
        0
    }

    fn finish(&mut self, out: &mut Outbox) -> usize {
        self.owed.ask();
        if !self.forces {
            return self.send_silence(ENDING_SILENCE_MS, out);
        }
        out.json(&json!({"type": "ForceEndTurn"}));
        0
    }

    fn give_up(&mut self) {
        self.owed.give_up(self.in_turn);
    }

    fn forget(&mut self) {
        self.owed.forget();
    }

    fn received(&mut self, frame: Frame, out: &mut Outbox, heard: &mut Vec<Heard>) -> Result<(), ProviderError> {
        let message = object(&self.provider, &frame)?;
        let reason = || format!("{}: {}", text(&message, "/code"), text(&message, "/description"));
        match text(&message, "/type") {
            "Connected" => heard.push(Heard::Ready),
            "TurnInfo" => self.turn_info(&message, heard),
            kind @ ("ConfigureSuccess" | "ConfigureFailure") => {
                self.keyterms.answered(&self.provider, kind, &message, out);
            }
            "Error" if text(&message, "/code").contains("INVALID") => return Err(refused(&self.provider, &reason())),
            "Error" => return Err(transient(&self.provider, &reason())),
            "Warning" => tracing::info!(provider = %self.provider, code = text(&message, "/code"), "provider_warning"),
            _ => {}
        }
        Ok(())
    }

    fn idle_after(&self) -> Option<Duration> {
        Some(if self.in_turn { DANGLES_AFTER } else { self.keep_alive })
    }

    fn idle(&mut self, out: &mut Outbox) -> usize {
        let milliseconds = if self.in_turn { ENDING_SILENCE_MS } else { PRESENCE_SILENCE_MS };
        self.send_silence(milliseconds, out)
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

    fn listen(options: &[(&str, Value)]) -> Box<dyn SttProtocol> {
        let settings = settings(options);
        let keyterms = Keyterms::of(&settings, true).expect("good settings");
        let vendor = Flux { settings, keep_alive: Duration::from_secs(4), keyterms };
        let request = SttRequest { line: AudioFormat::MULAW, ..SttRequest::new(SampleRate(8_000), Duration::ZERO) };
        let format = vendor.format(&request);
        vendor.connect(&request, format)
    }

    fn turn(machine: &mut dyn SttProtocol, event: &str) -> Vec<Heard> {
        let mut heard = Vec::new();
        let message = json!({"type": "TurnInfo", "event": event, "transcript": "hello", "words": [{"confidence": 0.5}],
                "audio_window_start": 1.0, "audio_window_end": 1.5});
        machine.received(Frame::Text(message.to_string()), &mut Outbox::default(), &mut heard).expect("a good message");
        heard
    }

    #[test]
    fn an_early_end_of_turn_can_be_taken_back_and_the_real_one_stands() {
        let mut machine = listen(&[]);
        assert!(matches!(turn(machine.as_mut(), "StartOfTurn")[..], [Heard::Interim { .. }]));
        assert!(matches!(turn(machine.as_mut(), "EagerEndOfTurn")[..], [_, Heard::EndOfTurn { eager: true }]));
        assert!(matches!(turn(machine.as_mut(), "TurnResumed")[..], [Heard::TurnResumed, _]));
        let end = turn(machine.as_mut(), "EndOfTurn");
        assert!(matches!(
            end[..],
            [Heard::Final { confidence: Some(0.5), span: Some(_), .. }, Heard::EndOfTurn { eager: false }]
        ));
        assert_eq!(turn(machine.as_mut(), "Tomorrow"), []);
    }

    #[test]
    fn a_turn_that_we_end_is_no_hint_and_is_asked_for_in_the_way_that_is_set() {
        let mut machine = listen(&[]);
        let mut out = Outbox::default();
        assert_eq!(machine.finish(&mut out), 0);
        assert_eq!(out.next_frame(), Some(Frame::Text(r#"{"type":"ForceEndTurn"}"#.into())));
        assert!(matches!(turn(machine.as_mut(), "EndOfTurn")[..], [Heard::Final { .. }, Heard::Flushed]));
        let mut machine = listen(&[("force_end_turn", json!(false))]);
        assert_eq!(machine.finish(&mut out), 4_000);
        let sent: Vec<Frame> = std::iter::from_fn(|| out.next_frame()).collect();
        assert_eq!((sent.len(), &sent[0]), (7, &Frame::Binary(vec![0xFF; 640].into())), "silence of µ-law, in packets");
    }

    #[test]
    fn a_turn_that_ends_after_it_was_given_up_neither_answers_nor_ends_the_next_one() {
        let mut machine = listen(&[]);
        turn(machine.as_mut(), "StartOfTurn");
        machine.finish(&mut Outbox::default());
        machine.give_up();
        machine.finish(&mut Outbox::default());
        assert!(matches!(turn(machine.as_mut(), "EndOfTurn")[..], [Heard::Overdue(1), Heard::Final { .. }]));
        assert!(matches!(turn(machine.as_mut(), "EndOfTurn")[..], [Heard::Final { .. }, Heard::Flushed]));
    }

    #[test]
    fn foreign_parameters_stay_away_and_an_open_turn_gets_silence_soon() {
        let mut machine = listen(&[("keep_alive_ms", json!(500)), ("eot_timeout_ms", json!(3000))]);
        assert_eq!(
            machine.handshake().url,
            "wss://vendor.example/v2/listen?model=model-1&encoding=mulaw&sample_rate=8000&eot_timeout_ms=3000"
        );
        assert_eq!(machine.idle_after(), Some(Duration::from_secs(4)));
        turn(machine.as_mut(), "StartOfTurn");
        assert_eq!(machine.idle_after(), Some(DANGLES_AFTER));
        assert_eq!(machine.idle(&mut Outbox::default()), 4_000);
    }
}

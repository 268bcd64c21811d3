//! Cartesia Ink (SDK 4.2.0): `stt/websocket`, which reports when asked, and `stt/turns/websocket`, which finds the turns.

use super::message::{ending, limited, object, refused, text, transient, truth, words};
use super::message::{unauthorized, unpaid};
use super::owed::{Answer, Owed};
use super::protocol::{Answers, Heard, SttProtocol, SttVendor};
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
    vendor: "cartesia",
    title: "Cartesia Ink",
    key_variable: "CARTESIA_API_KEY",
    url: "https://api.cartesia.ai",
    model: "ink-2",
    voice: "",
    options: OPTIONS,
    build,
};

const OPTIONS: &[&str] = &[
    "keyterm",
    "turn_start_threshold",
    "turn_eager_end_threshold",
    "turn_end_threshold",
    "turn_end_timeout_ms",
    "min_volume",
    "max_silence_duration_secs",
    TURNS,
    VERSION,
    KEEP_ALIVE,
];
const OF_TURNS: &[&str] =
    &["keyterm", "turn_start_threshold", "turn_eager_end_threshold", "turn_end_threshold", "turn_end_timeout_ms"];
const OF_WORDS: &[&str] = &["keyterm", "min_volume", "max_silence_duration_secs"];
/// Ours: whether the vendor finds the turns. It cannot be asked for words then: it ends a turn when it hears silence.
const TURNS: &str = "turns";
/// Ours: the date in the header that pins the interface.
const VERSION: &str = "api_version";
const VERSION_DEFAULT: &str = "2026-08-14";
/// Ours: milliseconds without audio after which silence is sent.
const KEEP_ALIVE: &str = "keep_alive_ms";
const KEEP_ALIVE_MS: u64 = 20_000;
/// Silence that shows that we are there.
const PRESENCE_SILENCE_MS: u32 = 100;
/// Silence that lets the model end a turn.
const ENDING_SILENCE_MS: u32 = 800;
/// Most octets of words between two reports.
const WORDS_BYTES: usize = 16 * 1024;

fn build(settings: &Settings, network: &Network) -> Result<Arc<dyn SpeechToText>, SettingsError> {
    settings.only_options(OPTIONS)?;
    settings.required_key()?;
    let turns = settings.options.get(TURNS).map_or(Some(false), Value::as_bool);
    let turns = turns.ok_or_else(|| settings.error(format!("{TURNS} is true or false")))?;
    let foreign = if turns { OF_WORDS } else { OF_TURNS };
    if let Some(name) = foreign.iter().find(|name| settings.options.contains_key(**name) && **name != "keyterm") {
        return Err(settings.error(format!("`{name}` needs `{TURNS} = {}`", !turns)));
    }
    let keep_alive = settings.options.get(KEEP_ALIVE).map_or(Some(KEEP_ALIVE_MS), Value::as_u64);
    let keep_alive = keep_alive.filter(|ms| (100..180_000).contains(ms));
    let keep_alive =
        keep_alive.ok_or_else(|| settings.error(format!("{KEEP_ALIVE} is a number from 100 to 179999")))?;
    let vendor = Ink { settings: settings.clone(), turns, keep_alive: Duration::from_millis(keep_alive) };
    Ok(Arc::new(VendorSpeechToText::new(settings, network, vendor)))
}

struct Ink {
    settings: Settings,
    turns: bool,
    keep_alive: Duration,
}

impl SttVendor for Ink {
    fn capabilities(&self) -> SttCapabilities {
        SttCapabilities {
            formats: vec![AudioFormat::MULAW, AudioFormat::ALAW, AudioFormat::pcm(8_000), AudioFormat::pcm(16_000)],
            partials: true,
            end_of_turn: self.turns,
            timestamps: false,
            detects_language: !self.turns,
            languages: &[],
        }
    }

    fn packet_ms(&self) -> u32 {
        80
    }

    fn answers(&self) -> Answers {
        if self.turns { Answers::Words } else { Answers::Finish }
    }

    fn connect(&self, request: &SttRequest, format: AudioFormat) -> Box<dyn SttProtocol> {
        let settings = &self.settings;
        let mut query = Query::default()
            .with("model", &settings.model)
            .with("encoding", encoding(format, ["pcm_s16le", "pcm_mulaw", "pcm_alaw"]))
            .with("sample_rate", format.rate.0.to_string());
        if !self.turns {
            query = query.with_some("language", &language(request, settings));
        }
        let (path, options) =
            if self.turns { ("/stt/turns/websocket", OF_TURNS) } else { ("/stt/websocket", OF_WORDS) };
        let version = settings.option(VERSION).unwrap_or_else(|| VERSION_DEFAULT.to_owned());
        let key = settings.key.as_ref();
        let key = key.map(|key| ("authorization", Pii::new(format!("Bearer {}", key.expose()))));
        let connection = Connection {
            provider: settings.name.clone(),
            handshake: Handshake {
                url: query.with_options(settings, options).url(&settings.url, path),
                headers: key.into_iter().chain([("cartesia-version", Pii::new(version))]).collect(),
            },
            format,
            keep_alive: self.keep_alive,
            leaving: false,
        };
        if self.turns {
            Box::new(Turns { connection, in_turn: false, owed: Owed::default() })
        } else {
            Box::new(Words { connection, said: Pii::default(), owed: Owed::default() })
        }
    }
}

/// What both interfaces have.
struct Connection {
    provider: ProviderName,
    handshake: Handshake,
    format: AudioFormat,
    keep_alive: Duration,
    leaving: bool,
}

impl Connection {
    fn send_silence(&self, milliseconds: u32, out: &mut Outbox) -> usize {
        let octets = silence(self.format, milliseconds);
        let length = octets.len();
        out.binary(octets);
        length
    }

    fn failure(&self, message: &Value) -> ProviderError {
        let words = ["/message", "/title", "/error"].map(|at| text(message, at));
        let words = words.into_iter().find(|words| !words.is_empty()).unwrap_or("an error without words");
        let (provider, code) = (&self.provider, text(message, "/error_code"));
        match message.get("status_code").and_then(Value::as_u64) {
            _ if code.contains("quota") || code.contains("credit") => unpaid(provider, words),
            Some(401 | 403) => unauthorized(provider, words),
            Some(402) => unpaid(provider, words),
            Some(429) => limited(provider),
            Some(400..=499) => refused(provider, words),
            _ => transient(provider, words),
        }
    }

    fn closed(&self, closed: &Closed) -> Option<ProviderError> {
        match closed.code {
            Some(1000) if self.leaving => None,
            Some(1008) => Some(refused(&self.provider, &ending(closed))),
            _ => Some(transient(&self.provider, &ending(closed))),
        }
    }
}

/// `stt/websocket`: its words are pieces to be put together as they are.
struct Words {
    connection: Connection,
    /// Since the last report that was asked for.
    said: Pii<String>,
    /// Every request is answered.
    owed: Owed,
}

impl SttProtocol for Words {
    fn handshake(&self) -> Handshake {
        self.connection.handshake.clone()
    }

    fn opened(&mut self, _: &mut Outbox) {}

    fn audio(&mut self, octets: &[u8], out: &mut Outbox) -> usize {
        out.binary(octets.to_vec());
        0
    }

    fn finish(&mut self, out: &mut Outbox) -> usize {
        self.owed.ask();
        out.text("finalize");
        0
    }

    fn give_up(&mut self) {
        self.owed.give_up(true);
    }

    fn forget(&mut self) {
        self.owed.forget();
    }

    fn received(&mut self, frame: Frame, _: &mut Outbox, heard: &mut Vec<Heard>) -> Result<(), ProviderError> {
        let message = object(&self.connection.provider, &frame)?;
        match text(&message, "/type") {
            "transcript" => {
                let piece = text(&message, "/text");
                let whole = Pii::new(format!("{}{piece}", self.said.expose()));
                let tag = text(&message, "/language");
                if truth(&message, "/is_final") {
                    if !tag.is_empty() && !piece.trim().is_empty() {
                        heard.push(Heard::Language { tag: tag.to_owned(), confidence: None });
                    }
                    if whole.expose().len() <= WORDS_BYTES {
                        self.said = whole.clone();
                    }
                }
                if !whole.expose().trim().is_empty() {
                    heard.extend(self.owed.overdue().map(Heard::Overdue));
                    heard.push(Heard::Interim { text: whole, span: None });
                }
            }
            "flush_done" => {
                let said = std::mem::take(&mut self.said);
                let words = Heard::Final { text: said, confidence: None, span: None };
                match self.owed.answered() {
                    Answer::Overdue(request) => heard.extend([Heard::Overdue(request), words]),
                    Answer::InTime => heard.extend([words, Heard::Flushed]),
                    Answer::Unasked => heard.push(words),
                }
            }
            "error" => return Err(self.connection.failure(&message)),
            _ => {}
        }
        Ok(())
    }

    fn idle_after(&self) -> Option<Duration> {
        Some(self.connection.keep_alive)
    }

    fn idle(&mut self, out: &mut Outbox) -> usize {
        self.connection.send_silence(PRESENCE_SILENCE_MS, out)
    }

    fn goodbye(&mut self, out: &mut Outbox) {
        self.connection.leaving = true;
        out.text("close");
    }

    fn closed(&self, closed: &Closed) -> Option<ProviderError> {
        self.connection.closed(closed)
    }
}

/// `stt/turns/websocket`.
struct Turns {
    connection: Connection,
    in_turn: bool,
    /// A turn that is open will end.
    owed: Owed,
}

impl SttProtocol for Turns {
    fn handshake(&self) -> Handshake {
        self.connection.handshake.clone()
    }

    fn opened(&mut self, _: &mut Outbox) {}

    fn awaits_ready(&self) -> bool {
        true
    }

    fn audio(&mut self, octets: &[u8], out: &mut Outbox) -> usize {
        out.binary(octets.to_vec());
        0
    }

    fn finish(&mut self, out: &mut Outbox) -> usize {
        self.owed.ask();
        self.connection.send_silence(ENDING_SILENCE_MS, out)
    }

    fn give_up(&mut self) {
        self.owed.give_up(self.in_turn);
    }

    fn forget(&mut self) {
        self.owed.forget();
    }

    fn received(&mut self, frame: Frame, _: &mut Outbox, heard: &mut Vec<Heard>) -> Result<(), ProviderError> {
        let message = object(&self.connection.provider, &frame)?;
        let said = words(&message, "/transcript");
        let overdue = self.owed.overdue().map(Heard::Overdue);
        match text(&message, "/type") {
            "connected" => heard.push(Heard::Ready),
            "turn.start" => self.in_turn = true,
            kind @ ("turn.update" | "turn.eager_end") => {
                let is_hint = kind == "turn.eager_end" && overdue.is_none() && !self.owed.is_waited_for();
                heard.extend(overdue);
                heard.push(Heard::Interim { text: said, span: None });
                heard.extend(is_hint.then_some(Heard::EndOfTurn { eager: true }));
            }
            "turn.resume" => heard.push(Heard::TurnResumed),
            // A turn ends once.
            "turn.end" if std::mem::take(&mut self.in_turn) => {
                let words = Heard::Final { text: said, confidence: None, span: None };
                match self.owed.all_answered() {
                    Answer::Overdue(request) => heard.extend([Heard::Overdue(request), words]),
                    Answer::InTime => heard.extend([words, Heard::Flushed]),
                    Answer::Unasked => heard.extend([words, Heard::EndOfTurn { eager: false }]),
                }
            }
            "error" => return Err(self.connection.failure(&message)),
            _ => {}
        }
        Ok(())
    }

    fn idle_after(&self) -> Option<Duration> {
        Some(self.connection.keep_alive)
    }

    fn idle(&mut self, out: &mut Outbox) -> usize {
        self.connection.send_silence(PRESENCE_SILENCE_MS, out)
    }

    fn goodbye(&mut self, out: &mut Outbox) {
        self.connection.leaving = true;
        out.json(&json!({"type": "close"}));
    }

    fn closed(&self, closed: &Closed) -> Option<ProviderError> {
        self.connection.closed(closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SampleRate;
    use crate::providers::stt::query::tests::settings;

    fn connect(turns: bool) -> Box<dyn SttProtocol> {
        let vendor = Ink { settings: settings(&[]), turns, keep_alive: Duration::from_secs(20) };
        let request = SttRequest { line: AudioFormat::ALAW, ..SttRequest::new(SampleRate(8_000), Duration::ZERO) };
        let format = vendor.format(&request);
        vendor.connect(&request, format)
    }

    fn hear(machine: &mut dyn SttProtocol, message: Value) -> Vec<Heard> {
        let mut heard = Vec::new();
        machine.received(Frame::Text(message.to_string()), &mut Outbox::default(), &mut heard).expect("a good message");
        heard
    }

    #[test]
    fn pieces_are_put_together_as_they_are_and_stand_when_asked_for() {
        let mut machine = connect(false);
        assert_eq!(
            machine.handshake().url,
            "wss://vendor.example/stt/websocket?model=model-1&encoding=pcm_alaw&sample_rate=8000&language=en"
        );
        let piece = |text: &str, is_final: bool| json!({"type": "transcript", "text": text, "is_final": is_final});
        hear(machine.as_mut(), piece("a ta", true));
        let heard = hear(machine.as_mut(), piece("ble for", false));
        assert!(matches!(&heard[..], [Heard::Interim { text, .. }] if text.expose() == "a table for"));
        hear(machine.as_mut(), piece("ble for two", true));
        let mut out = Outbox::default();
        machine.finish(&mut out);
        assert_eq!(out.next_frame(), Some(Frame::Text("finalize".into())), "bare text");
        let heard = hear(machine.as_mut(), json!({"type": "flush_done"}));
        assert!(
            matches!(&heard[..], [Heard::Final { text, .. }, Heard::Flushed] if text.expose() == "a table for two")
        );
    }

    #[test]
    fn what_comes_before_the_answer_to_a_request_given_up_belongs_to_it() {
        let mut machine = connect(false);
        machine.finish(&mut Outbox::default());
        machine.give_up();
        machine.finish(&mut Outbox::default());
        let piece = json!({"type": "transcript", "text": "old", "is_final": true});
        assert!(matches!(hear(machine.as_mut(), piece)[..], [Heard::Overdue(1), Heard::Interim { .. }]));
        let done = json!({"type": "flush_done"});
        assert!(matches!(hear(machine.as_mut(), done.clone())[..], [Heard::Overdue(1), Heard::Final { .. }]));
        assert!(matches!(hear(machine.as_mut(), done)[..], [Heard::Final { .. }, Heard::Flushed]));
        let mut machine = connect(true);
        let (start, end) = (json!({"type": "turn.start"}), json!({"type": "turn.end", "transcript": "hello"}));
        hear(machine.as_mut(), start.clone());
        machine.finish(&mut Outbox::default());
        machine.give_up();
        assert!(matches!(hear(machine.as_mut(), end.clone())[..], [Heard::Overdue(1), Heard::Final { .. }]));
        machine.finish(&mut Outbox::default());
        machine.give_up();
        hear(machine.as_mut(), start);
        assert!(
            matches!(hear(machine.as_mut(), end)[..], [Heard::Final { .. }, Heard::EndOfTurn { .. }]),
            "no turn was open"
        );
    }

    #[test]
    fn a_turn_is_ended_by_silence_and_its_end_answers_us() {
        let mut machine = connect(true);
        assert_eq!(hear(machine.as_mut(), json!({"type": "connected"})), [Heard::Ready]);
        let (start, end) = (json!({"type": "turn.start"}), json!({"type": "turn.end", "transcript": "hello"}));
        hear(machine.as_mut(), start.clone());
        assert!(matches!(
            hear(machine.as_mut(), end.clone())[..],
            [Heard::Final { .. }, Heard::EndOfTurn { eager: false }]
        ));
        assert_eq!(hear(machine.as_mut(), end.clone()), [], "once more");
        assert_eq!(machine.finish(&mut Outbox::default()), 6_400);
        hear(machine.as_mut(), start);
        assert!(matches!(hear(machine.as_mut(), end)[..], [Heard::Final { .. }, Heard::Flushed]));
        assert_eq!(hear(machine.as_mut(), json!({"type": "turn.resume"})), [Heard::TurnResumed]);
    }

    #[test]
    fn an_option_of_the_other_interface_is_refused_with_the_way_out() {
        let network = Network::new(&[]).expect("a network");
        let error = build(&settings(&[("turn_end_threshold", json!(0.3))]), &network).err().map(|error| error.reason);
        assert_eq!(error.as_deref(), Some("`turn_end_threshold` needs `turns = true`"));
    }
}

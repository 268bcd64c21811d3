//! The vendors there are, by stage: what each is called, where it is, what it starts with. The only list; adapters stand
//! in it by one line each.

use super::network::Network;
use super::settings::{Settings, SettingsError};
use super::{LanguageModel, SpeechToSpeech, SpeechToText, TextToSpeech};
use jiff::civil::Date;
use std::sync::Arc;

/// Makes a provider of its settings. Opens no connection.
pub type Build<P> = fn(&Settings, &Network) -> Result<Arc<P>, SettingsError>;

/// A vendor for one stage.
pub struct Offer<P: ?Sized + 'static> {
    /// `deepgram`: its name in `vendor = "…"`, and in an agent file without any further configuration.
    pub vendor: &'static str,
    /// One line for people.
    pub title: &'static str,
    /// The environment variable its own tools read the key from; empty where there is none. See [`Self::needs_key`].
    pub key_variable: &'static str,
    /// Base of its URLs; empty where every user has their own server.
    pub url: &'static str,
    /// The model where no other is configured; a setting, because models are withdrawn.
    pub model: &'static str,
    /// The voice where no other is configured; empty where there is none.
    pub voice: &'static str,
    /// Options it knows beside model, voice and language.
    pub options: &'static [&'static str],
    /// Makes it.
    pub build: Build<P>,
}

impl<P: ?Sized> Offer<P> {
    /// Whether it serves nobody without a key. A server of one's own, whose usual address is on this machine, takes one
    /// where it was started with one.
    #[must_use]
    pub fn needs_key(&self) -> bool {
        !self.key_variable.is_empty() && !self.url.starts_with(OWN_SERVER)
    }
}

/// How the address of a server of one's own begins.
const OWN_SERVER: &str = "http://127.0.0.1";

/// Finds a vendor by its name.
#[must_use]
pub fn offer<P: ?Sized>(offers: &'static [Offer<P>], vendor: &str) -> Option<&'static Offer<P>> {
    offers.iter().find(|offer| offer.vendor == vendor)
}

/// Every vendor of speech to text.
pub const STT: &[Offer<dyn SpeechToText>] = super::stt::vendors::OFFERS;
/// Every vendor of language models.
pub const LLM: &[Offer<dyn LanguageModel>] = super::llm::vendors::OFFERS;
/// Every vendor of text to speech.
pub const TTS: &[Offer<dyn TextToSpeech>] = super::tts::vendors::OFFERS;
/// Every vendor of speech to speech.
pub const REALTIME: &[Offer<dyn SpeechToSpeech>] = super::realtime::vendors::OFFERS;

/// A model that its vendor will withdraw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sunset {
    /// [`Offer::vendor`].
    pub vendor: &'static str,
    /// The model, or the start of its name up to a `*`.
    pub model: &'static str,
    /// Its last day.
    pub on: Date,
    /// What its vendor names instead; empty for nothing.
    pub instead: &'static str,
}

const fn day(year: i16, month: i8, day: i8) -> Date {
    jiff::civil::date(year, month, day)
}

/// Withdrawals that vendors have announced (docstrings of openai-python 3.54.0, warnings of anthropic-python 2.12.0).
pub const SUNSETS: &[Sunset] = &[
    Sunset { vendor: "openai", model: "gpt-5", on: day(2026, 12, 11), instead: "" },
    Sunset { vendor: "openai", model: "gpt-5-mini*", on: day(2026, 12, 11), instead: "" },
    Sunset { vendor: "openai", model: "gpt-5-nano*", on: day(2026, 12, 11), instead: "" },
    Sunset { vendor: "openai", model: "gpt-5-2025-08-07", on: day(2026, 12, 11), instead: "" },
    Sunset { vendor: "openai", model: "gpt-4.1", on: day(2027, 1, 14), instead: "" },
    Sunset { vendor: "openai", model: "gpt-4.1-mini*", on: day(2027, 1, 14), instead: "" },
    Sunset { vendor: "openai", model: "gpt-4.1-2025-04-14", on: day(2027, 1, 14), instead: "" },
    Sunset { vendor: "openai", model: "gpt-4o", on: day(2027, 1, 14), instead: "" },
    Sunset { vendor: "openai", model: "gpt-4o-2024-11-20", on: day(2027, 1, 14), instead: "" },
    Sunset { vendor: "openai", model: "gpt-4o-2024-08-06", on: day(2027, 1, 14), instead: "" },
    Sunset { vendor: "openai", model: "gpt-4o-mini", on: day(2027, 1, 14), instead: "" },
    Sunset { vendor: "openai", model: "gpt-4o-mini-2024-07-18", on: day(2027, 1, 14), instead: "" },
    Sunset { vendor: "openai", model: "gpt-5.4-nano*", on: day(2027, 4, 1), instead: "" },
    Sunset { vendor: "openai", model: "gpt-5.1", on: day(2027, 4, 1), instead: "" },
    Sunset { vendor: "openai", model: "gpt-5.1-2025-11-13", on: day(2027, 4, 1), instead: "" },
    Sunset { vendor: "anthropic", model: "claude-sonnet-4-5*", on: day(2026, 11, 30), instead: "" },
    Sunset { vendor: "openai", model: "whisper-1", on: day(2027, 2, 26), instead: "gpt-transcribe" },
    Sunset { vendor: "openai", model: "gpt-4o-transcribe*", on: day(2027, 2, 26), instead: "gpt-live-transcribe" },
    Sunset { vendor: "openai", model: "gpt-4o-mini-transcribe*", on: day(2027, 2, 26), instead: "gpt-live-transcribe" },
    Sunset { vendor: "openai", model: "tts-1*", on: day(2027, 1, 6), instead: "" },
    Sunset { vendor: "openai", model: "gpt-4o-mini-tts*", on: day(2027, 1, 6), instead: "" },
    Sunset { vendor: "openai", model: "gpt-realtime", on: day(2027, 1, 20), instead: "gpt-realtime-2.1" },
    Sunset { vendor: "openai", model: "gpt-realtime-2025-08-28", on: day(2027, 1, 20), instead: "gpt-realtime-2.1" },
    Sunset { vendor: "openai", model: "gpt-realtime-mini*", on: day(2027, 1, 20), instead: "gpt-realtime-2.1-mini" },
    Sunset { vendor: "openai", model: "gpt-audio-mini", on: day(2027, 1, 20), instead: "gpt-realtime-2.1-mini" },
];

/// The withdrawal that concerns a model, if one is known.
#[must_use]
pub fn sunset(vendor: &str, model: &str) -> Option<&'static Sunset> {
    let concerns = |known: &str| match known.strip_suffix('*') {
        Some(start) => model.starts_with(start),
        None => model == known,
    };
    // One vendor by either of its interfaces; and Deepgram's agents think with OpenAI's models unless told otherwise.
    let vendor = match vendor.strip_suffix("-chat").unwrap_or(vendor) {
        "deepgram" if model.starts_with("gpt-") => "openai",
        vendor => vendor,
    };
    SUNSETS.iter().find(|sunset| sunset.vendor == vendor && concerns(sunset.model))
}

/// What the offline engines understand and speak.
pub const LOCAL_LANGUAGES: &[&str] = &["en"];

/// A model of few languages, each by the first part of its tag (BCP 47). Of all others the vendor knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tongue {
    /// [`Offer::vendor`].
    pub vendor: &'static str,
    /// The model.
    pub model: &'static str,
    /// What it understands.
    pub languages: &'static [&'static str],
    /// The vendor's model for the others; empty for none.
    pub instead: &'static str,
}

/// Models that understand what their names say (AsyncAPI of deepgram-api-specs, 2026-07; assemblyai-api-spec, 2026-03).
pub const TONGUES: &[Tongue] = &[
    Tongue { vendor: "deepgram-flux", model: "flux-general-en", languages: &["en"], instead: "flux-general-multi" },
    Tongue {
        vendor: "assemblyai",
        model: "universal-streaming-english",
        languages: &["en"],
        instead: "universal-streaming-multilingual",
    },
];

/// What is known of the languages of a model.
#[must_use]
pub fn tongue(vendor: &str, model: &str) -> Option<&'static Tongue> {
    TONGUES.iter().find(|tongue| tongue.vendor == vendor && tongue.model == model)
}

/// The languages of a model; none where the vendor has to be asked.
#[must_use]
pub fn languages(vendor: &str, model: &str) -> &'static [&'static str] {
    tongue(vendor, model).map_or(&[], |tongue| tongue.languages)
}

/// Whether a language (BCP 47) is among those of a model; anything is where none are known.
#[must_use]
pub fn has_language(known: &[&str], language: &str) -> bool {
    let primary = |tag: &str| tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
    known.is_empty() || known.iter().any(|tag| primary(tag) == primary(language))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_withdrawn_is_known_with_its_successor() {
        assert_eq!(sunset("openai", "gpt-4o-mini-tts-2025-12-15").map(|s| s.on), Some(day(2027, 1, 6)));
        assert_eq!(sunset("openai", "gpt-realtime").map(|s| s.instead), Some("gpt-realtime-2.1"));
        assert_eq!(sunset("openai", "gpt-realtime-2.1"), None);
        assert_eq!(sunset("groq", "whisper-1"), None);
        assert_eq!(sunset("deepgram", "gpt-4o-mini").map(|s| s.on), Some(day(2027, 1, 14)));
        assert_eq!(sunset("deepgram", "nova-3"), None);
    }

    #[test]
    fn no_vendor_stands_twice_in_a_stage_and_none_starts_with_a_model_that_has_a_successor() {
        fn check<P: ?Sized>(offers: &'static [Offer<P>]) {
            for (place, offer) in offers.iter().enumerate() {
                assert!(offers[..place].iter().all(|other| other.vendor != offer.vendor), "{}", offer.vendor);
                let replaced = sunset(offer.vendor, offer.model).filter(|sunset| !sunset.instead.is_empty());
                assert_eq!(replaced, None, "{} {}", offer.vendor, offer.model);
            }
        }
        check(STT);
        check(LLM);
        check(TTS);
        check(REALTIME);
    }
}

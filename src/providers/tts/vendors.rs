//! The vendors of text to speech, a line each.

use super::{cartesia, deepgram, elevenlabs, openai, piper};
use crate::providers::catalogue::{Build, Offer};
use crate::providers::{Settings, SettingsError, TextToSpeech};
use std::time::Duration;

/// Each vendor once.
pub const OFFERS: &[Offer<dyn TextToSpeech>] = &[
    Offer {
        vendor: "elevenlabs",
        title: "ElevenLabs, streaming",
        key_variable: "ELEVENLABS_API_KEY",
        url: "https://api.elevenlabs.io",
        model: "eleven_flash_v2_5",
        voice: "21m00Tcm4TlvDq8ikWAM",
        options: elevenlabs::OPTIONS,
        build: elevenlabs::build,
    },
    Offer {
        vendor: "cartesia",
        title: "Cartesia Sonic, streaming",
        key_variable: "CARTESIA_API_KEY",
        url: "https://api.cartesia.ai",
        model: "sonic-3",
        voice: "e07c00bc-4134-4eae-9ea4-1a55fb45746b",
        options: cartesia::OPTIONS,
        build: cartesia::build,
    },
    Offer {
        vendor: "deepgram",
        title: "Deepgram Aura and Flux, streaming",
        key_variable: "DEEPGRAM_API_KEY",
        url: "https://api.deepgram.com",
        model: "aura-2-thalia-en",
        voice: "",
        options: deepgram::OPTIONS,
        build: deepgram::build,
    },
    Offer {
        vendor: "openai",
        title: "OpenAI speech",
        key_variable: "OPENAI_API_KEY",
        url: "https://api.openai.com/v1",
        model: "gpt-4o-mini-tts",
        voice: "alloy",
        options: openai::OPTIONS,
        build: openai::build,
    },
    server(
        "openai-compatible",
        "A server of one's own that speaks like OpenAI's",
        "tts-1",
        "alloy",
        openai::OPTIONS,
        openai::build_compatible,
    ),
    server("piper", "Piper on a machine of one's own", "", "", piper::OPTIONS, piper::build),
];

/// A vendor whose every user has their own server.
const fn server(
    vendor: &'static str,
    title: &'static str,
    model: &'static str,
    voice: &'static str,
    options: &'static [&'static str],
    build: Build<dyn TextToSpeech>,
) -> Offer<dyn TextToSpeech> {
    Offer { vendor, title, key_variable: "", url: "", model, voice, options, build }
}

/// An option that is a whole number.
pub(super) fn number(settings: &Settings, name: &str, usual: usize) -> Result<usize, SettingsError> {
    let Some(value) = settings.option(name) else { return Ok(usual) };
    value.parse().map_err(|_| settings.error(format!("`{name}` is a whole number, not `{value}`")))
}

/// A time in a vendor's audio; nonsense is its start, and a day is its end.
pub(super) fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value.min(86_400.0)).unwrap_or_default()
}

//! The AI outside the call: speech-to-text, text-to-speech and embeddings behind traits, the offline
//! engines behind those, and the registry that picks one by name.
//!
//! Every trait here is a plain handle plus a channel: the call's driver pushes audio or text in without
//! waiting, and reads events from a [`tokio::sync::mpsc`] receiver. A provider may be slow or dead; it
//! may never block its caller.

pub mod base64;
pub mod bot;
pub mod catalogue;
pub mod embed;
mod error;
pub mod exchange;
pub mod format;
pub mod inbox;
pub mod limits;
pub mod listing;
pub mod llm;
pub mod local;
pub mod meter;
pub mod network;
pub mod reach;
pub mod realtime;
pub mod registry;
pub mod resilience;
pub mod settings;
pub mod socket;
pub mod speakable;
pub mod stt;
pub mod tts;
pub mod voice;
pub mod wire;

pub use embed::Embedder;
pub use error::{ProviderError, ProviderName};
pub use llm::{LanguageModel, Thought, ThoughtStream};
pub use meter::Meter;
pub use network::Network;
pub use realtime::{RealtimeEvent, RealtimeRequest, SpeechToSpeech};
pub use settings::{Settings, SettingsError, StageKind};
pub use stt::{SegmentId, SpeechToText, SttCapabilities, SttEvent, SttRequest, SttStream};
pub use tts::{SpeakRequest, SpeechStream, TextToSpeech, TtsCapabilities, TtsChunk, WordMark};
pub use voice::{VoiceDetector, VoiceStream, VoiceVerdict};

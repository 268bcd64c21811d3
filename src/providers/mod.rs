//! The AI outside the call: speech-to-text, text-to-speech and embeddings behind traits, the offline
//! engines behind those, and the registry that picks one by name.
//!
//! Every trait here is a plain handle plus a channel: the call's driver pushes audio or text in without
//! waiting, and reads events from a [`tokio::sync::mpsc`] receiver. A provider may be slow or dead; it
//! may never block its caller.

pub mod bot;
pub mod embed;
mod error;
pub mod local;
pub mod stt;
pub mod tts;
pub mod voice;

pub use embed::Embedder;
pub use error::ProviderError;
pub use stt::{SegmentId, SpeechToText, SttEvent, SttRequest, SttStream};
pub use tts::{SpeakRequest, SpeechStream, TextToSpeech, TtsChunk, WordMark};
pub use voice::{OpenVoice, VoiceDetector, VoiceStream, VoiceVerdict};

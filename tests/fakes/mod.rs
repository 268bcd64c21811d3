//! Fake vendors: servers on the loopback interface that speak like the vendors of speech and language do, keep the
//! client to the vendor's rules, and misbehave when told to.
//!
//! Nothing in here uses the library under test, so a mistake in the library's idea of a protocol is not repeated by
//! the fake that checks it. A test includes the module with `#[path = "fakes/mod.rs"] mod fakes;`, a bench with
//! `#[path = "../tests/fakes/mod.rs"] mod fakes;`.
//!
//! # Use
//!
//! ```ignore
//! let server = FakeServer::start(Echo);               // TLS, certificate for `localhost`
//! trust(server.ca_pem());                              // one authority per process, the same for every server
//! connect(server.url("/v1/listen"));                   // wss://localhost:PORT/v1/listen
//! server.misbehave_on(2, Misbehaviour::status(503));   // the second connection is answered 503
//! server.misbehave_after(Duration::from_secs(5), Misbehaviour::CloseMidWord(1011));
//! server.behave();                                     // all of it is over
//! assert!(server.until(Duration::from_secs(5), |server| server.open_connections() == 0).await);
//! assert_eq!(server.complaints(), Vec::<String>::new());
//! ```
//!
//! # Writing a vendor
//!
//! One file, one type that implements [`Vendor`]; declare it below. [`echo`] is the smallest example.
//!
//! 1. `http` answers a plain request with a [`Reply`]: whole, or a stream of timed chunks ([`Reply::events`] for
//!    server-sent events, [`Reply::stream`] for audio). Emit one whole event per chunk, so that damage hits one event.
//! 2. `websocket` looks at an upgrade's path, query and headers and returns a [`Conversation`] or the [`Reply`] that
//!    refuses it. The conversation is a machine without input or output of its own: it is told what happened and
//!    returns what to [`Say`] and when. Keep a clone of `request.context`.
//! 3. Call `context.complain(…)` for every use the vendor's documentation forbids: a first message that is not the
//!    session's configuration, audio in a format that was not announced, no key. Name the rule that was broken.
//!    Complaining does not end the connection; do what the vendor does (an error message, a close code) besides.
//! 4. Answer [`Misbehaviour::LateAudioAfterCancel`], which the server can not produce without knowing the protocol, by
//!    asking `context.misbehaves(…)` at the moment of speaking. The server does all the others.
//! 5. Override [`Conversation::is_final`] where there are results that stand, [`Conversation::unknown`] where messages are
//!    not told apart by a field `type`, and [`Vendor::refusal`] where an error's body has the vendor's own shape.
//! 6. Sound comes from [`voice`]: every word has its own pitch, so a test recognises what it hears.
#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]

mod damage;
pub mod echo;
pub mod frames;
mod http;
pub mod llm_anthropic;
pub mod llm_gemini;
pub mod llm_openai;
pub mod llm_script;
pub mod misbehaviour;
pub mod plain;
pub mod realtime_deepgram;
pub mod realtime_elevenlabs;
pub mod realtime_gemini;
pub mod realtime_openai;
pub mod realtime_script;
pub mod realtime_ultravox;
pub mod server;
pub mod stt_assemblyai;
pub mod stt_azure;
pub mod stt_cartesia;
pub mod stt_deepgram;
pub mod stt_ear;
pub mod stt_elevenlabs;
pub mod stt_openai;
pub mod stt_vosk;
pub mod stt_whisper;
mod tls;
pub mod tts_cartesia;
pub mod tts_deepgram;
pub mod tts_elevenlabs;
pub mod tts_servers;
pub mod vendor;
pub mod voice;
mod websocket;
mod wire;

pub use misbehaviour::Misbehaviour;
pub use server::FakeServer;
pub use tls::Certificate;
pub use vendor::{Body, Context, Conversation, Message, Reply, Request, Say, Vendor};

//! Offhook: a native SIP/RTP media server that puts a voice AI agent on a phone line.
//!
//! The house has floors; a room imports only from rooms below it (`tests/layers.rs`).
//!
//! | floor | room | one sentence |
//! |---|---|---|
//! | roof | [`cli`] | one file per subcommand |
//! | roof | [`config`] | `offhook.toml` and the profiles become checked types |
//! | third | [`call`] | one call from ring to hang-up; the only place an effect is executed |
//! | second | [`net`] | SIP messages in and out: sockets, streams, names to addresses |
//! | second | [`media`] | worker threads that move audio between RTP and the call every 20 ms |
//! | second | [`providers`] | speech-to-text, language models, text-to-speech, speech-to-speech by vendor, fail-over among them; embeddings, bots outside, the offline engines |
//! | second | [`tools`] | actions during the call, behind a gate |
//! | first | [`agent`] | what to say and do: flow, slots, templates |
//! | first | [`turn`] | when to speak: end of turn, barge-in, the latency ledger |
//! | ground | [`sip`] | messages, admission, transactions, dialogs, registrations |
//! | ground | [`sdp`] | offer and answer |
//! | ground | [`rtp`] | packets, jitter buffer, digits, source lock, SRTP, RTCP |
//! | ground | [`audio`] | frames, codecs, resampling, voice activity, concealment, what is heard made clearer |
//! | cellar | [`base`] | ids, redaction, randomness, units |

pub mod agent;
pub mod audio;
pub mod base;
pub mod call;
pub mod cli;
pub mod config;
pub mod media;
pub mod net;
pub mod providers;
pub mod rtp;
pub mod sdp;
pub mod sip;
pub mod tools;
pub mod turn;

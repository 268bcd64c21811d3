//! One call from ring to hang-up: the driver that feeds the pure machines and executes their effects.
//!
//! [`Supervisor`] takes calls in and places them, [`Line`] is a call's SIP leg with its media leg, `session` drives the agent
//! on a line and [`bot`] a bot outside, `effects` is the only place where an effect of the agent is executed.
//!
//! Calls leave through a [`Gateway`]: [`Outbound`] makes the INVITE, and [`dial_policy`] decides whom it may be to.
//! [`transfer`] decides how a call is handed over, `handover` does it and holds both legs, `referral` follows a peer's
//! REFER and lets another call take a leg's place; `switchboard` knows who holds which leg.

pub mod bot;
mod classify;
mod context;
mod conversing;
pub mod dial_policy;
mod ears;
mod effects;
pub mod event;
mod fallback;
pub mod gateway;
#[cfg(test)]
mod hand_played_ring;
mod handover;
mod handshake;
pub mod hearing;
mod legs;
pub mod line;
mod line_error;
pub mod media_terms;
mod number_format;
pub mod outbound;
pub mod playout;
pub mod quality;
pub mod recording;
mod referral;
mod session;
mod signals;
pub mod sounds;
pub mod supervisor;
mod switchboard;
pub mod terms;
mod thinking;
pub mod transfer;
pub mod unanswered;

pub use dial_policy::Approved;
pub use event::{CallEvent, EventStream};
pub use gateway::{CallerIdentity, Gateway};
pub use hearing::Hearing;
pub use line::{Line, LineError, LineEvent, TransferRequest};
pub use media_terms::MediaTerms;
pub use number_format::NumberFormat;
pub use outbound::Outbound;
pub use quality::LineQuality;
pub use recording::Recordings;
pub use sounds::{Sound, Sounds};
pub use supervisor::{Dial, Supervisor, SupervisorConfig};
pub use switchboard::{CallFacts, CallStanding};
pub use terms::{AgentSetup, BeforeAnswer, DigitsBy, Engines, PeerTerms, Program, Route, TransferBy};
pub use unanswered::Unanswered;

//! Decides **when** the agent speaks: end of turn, barge-in, no input; and keeps the latency ledger.
//!
//! [`TurnTaker`] is pure: frames, transcripts and playout marks go in with their times, decisions come out.
//! Every wait is a named field of [`TurnSettings`] and shows up in the turn's [`ledger::TurnRecord`].

pub mod backchannel;
pub mod digits;
pub mod end_of_turn;
pub mod ledger;
pub mod settings;
pub mod taker;
pub mod voice;

pub use digits::DigitCollector;
pub use ledger::{Ledger, Stage, TurnRecord};
pub use settings::TurnSettings;
pub use taker::{Playout, TurnInput, TurnOutput, TurnTaker};
pub use voice::{VoiceActivity, VoiceEvent};

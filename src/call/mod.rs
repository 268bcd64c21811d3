//! One call from ring to hang-up: the driver that feeds the pure machines and executes their effects.
//!
//! [`Supervisor`] takes calls in and places them, [`Line`] is a call's SIP leg with its media leg,
//! `session` drives the agent on a line, `effects` is the only place where an effect of the agent is executed.

mod classify;
mod ears;
mod effects;
pub mod event;
mod fallback;
pub mod gateway;
pub mod line;
pub mod playout;
mod session;
pub mod supervisor;

pub use event::{CallEvent, EventStream};
pub use gateway::{CallerIdentity, Gateway};
pub use line::{Line, LineError, LineEvent};
pub use supervisor::{
    AgentSetup, Dial, DigitsBy, Engines, PeerTerms, Program, Route, Supervisor, SupervisorConfig, TransferBy,
};

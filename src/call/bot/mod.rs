//! A call whose talking is done by a bot outside, over a WebSocket (`docs/bridge.md`).
//!
//! [`BotSetup`] is a bot ready for calls; `session` drives one call with it, on one of the `threads`. `connect` opens the
//! connection over a `stream` and a `pipe`, `socket` holds it, `ear` takes caller audio there and `mouth` brings the bot's
//! back, `meter` says when a bot is too much. What the bytes mean is decided in [`crate::providers::bot`].

mod connect;
mod ear;
mod limits;
mod link;
mod meter;
mod mouth;
mod notice;
mod pipe;
mod session;
mod setup;
mod socket;
mod stream;
mod threads;

pub use connect::ConnectError;
pub(super) use session::BotCall;
pub use setup::{BotSetup, BotSurroundings, Connecting};
pub use socket::Socket;
pub(super) use threads::BotThreads;

//! SIP as pure machines: messages, transactions, dialogs, registrations. No socket, no clock.
//!
//! A datagram goes through [`judge`], which reads it ([`message`], typed views in [`header`]) and says whether to act on
//! it, refuse it or drop it ([`validate`]). What we send is built in [`compose`] from values that cannot hold a line
//! break. Caps are in [`limits`].
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects
    )
)]

pub mod admission;
pub mod bucket;
pub mod compose;
pub mod config;
pub mod dialog;
pub mod digest;
pub mod endpoint;
pub mod event;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz_ops;
pub mod header;
pub mod host;
pub mod limits;
pub mod message;
pub mod method;
pub mod multipart;
pub mod nonce;
#[cfg(any(test, feature = "fuzzing"))]
pub mod pair;
pub mod parse;
pub mod refer;
pub mod registration;
pub mod reliable;
pub mod replaces;
pub mod session_timer;
pub mod status;
pub mod stream;
pub mod table;
pub mod timer;
pub mod transaction;
pub mod uri;
pub mod validate;

pub use compose::{Headers, OwnedMessage, Request, Response};
pub use config::{
    Account, CallLimits, DialogPolicy, EndpointConfig, InboundAuthentication, KnownPeer, LocalAddress, OutgoingInvite,
    OutgoingOptions, Refer, Refresher, RegistrationConfig, ReliableProvisional, SessionTimer, Target, Transport,
};
pub use endpoint::{CommandError, Counters, Endpoint, Received, Transmit};
pub use event::{Event, LegId, ProbeId, RegistrationId};
pub use header::{HeaderName, HeaderValue};
pub use message::{Message, StartLine};
pub use method::Method;
pub use parse::{Fault, ParseError};
pub use status::StatusCode;
pub use stream::{Framer, StreamDeadlines, StreamFault, StreamItem};
pub use uri::{Uri, UriRef};
pub use validate::{Head, Verdict, judge};

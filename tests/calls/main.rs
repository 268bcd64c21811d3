//! Whole calls over SIP and RTP on loopback, with agents and with bots of others.

mod bridge_lean;
mod bridge_pipecat;
mod bridge_tls;
mod bridge_twilio;
#[path = "../support/certificates.rs"]
mod certificates;
#[path = "../common/mod.rs"]
mod common;
mod dtls;
mod outbound;
mod privacy;
mod quality;
mod recorded;
mod session;
#[path = "../support/mod.rs"]
mod support;
mod thinking;
mod transfer;

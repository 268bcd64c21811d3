//! How speech sounds after what networks, codecs and concealment did to it.

#[path = "../common/mod.rs"]
mod common;
mod concealment;
mod network;
#[path = "../support/relay.rs"]
mod relay;
mod scoring;

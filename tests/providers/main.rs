//! Vendors of speech and language: each adapter against its fake, whole calls, faults, and the vendors' own SDKs.

mod account;
#[path = "../chaos/mod.rs"]
mod chaos;
mod command;
#[path = "../fakes/mod.rs"]
mod fakes;
mod fakes_base;
mod fakes_voice;
mod faults;
mod faults_alone;
mod faults_by_vendor;
mod faults_in_calls;
mod llm;
mod pipelines;
mod realtime;
mod roster;
mod sdk;
mod sdk_llm;
mod sdk_realtime;
mod sdk_stt;
mod sdk_tts;
mod secrets;
mod stt;
#[path = "../support/mod.rs"]
mod support;
mod trust;
mod tts;

//! Any bytes as RTP, RTCP and telephone-event payloads.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offhook::providers::bot::fuzz::bridge_frames(bytes));

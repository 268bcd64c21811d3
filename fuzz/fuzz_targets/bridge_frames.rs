//! Messages of bots, with both protocols.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offhook::providers::bot::fuzz::bridge_frames(bytes));

//! Any bytes as a session description.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offhook::sdp::fuzz::sdp(bytes));

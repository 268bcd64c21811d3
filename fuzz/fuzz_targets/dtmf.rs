//! Any bytes as telephone-events.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offhook::rtp::fuzz::dtmf(bytes));

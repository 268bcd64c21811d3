//! Any bytes as operations on a jitter buffer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offhook::rtp::fuzz::jitter_ops(bytes));

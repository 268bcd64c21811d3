//! Any bytes as RTP, RTCP and telephone-event payloads.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offhook::rtp::fuzz::rtp(bytes));

//! Any bytes as an RTCP datagram.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offhook::rtp::fuzz_secure::rtcp(bytes));

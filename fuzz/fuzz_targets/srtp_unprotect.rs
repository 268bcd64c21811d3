//! Any bytes as datagrams of an encrypted stream.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offhook::rtp::fuzz_secure::srtp_unprotect(bytes));

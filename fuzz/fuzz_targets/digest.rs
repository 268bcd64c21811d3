//! Any bytes as challenges and credentials.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offhook::sip::fuzz::digest(bytes));

//! Any bytes as a stream of SIP messages; the first one chooses the size of the pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offhook::sip::fuzz::sip_stream(bytes));
